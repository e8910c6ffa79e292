//! The part of a merged pack that CAVRA evaluates.

use std::path::PathBuf;

use super::pattern::Pattern;
use crate::policy::pack::{Loaded, find};

/// A pack with its parents merged in, as CAVRA merges: lists are joined without duplicates, scalars overridden. The lists of a pack with
/// parents are sorted by code point; those of a pack without keep their order, and the first that matches is named in the answer.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `metadata.id`.
    pub(crate) id: String,
    pub(crate) block_read: Vec<Pattern>,
    pub(crate) block_write: Vec<Pattern>,
    pub(crate) require_approval_write: Vec<Pattern>,
    pub(crate) command_block: Vec<Pattern>,
    pub(crate) command_allow: Vec<Pattern>,
    pub(crate) mcp_allowed: Vec<String>,
    pub(crate) mcp_blocked: Vec<String>,
    pub(crate) mcp_block_unknown: bool,
}

/// Why a pack can not decide; the text names file, place and remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RulesError(String);

impl Rules {
    /// Finds a pack by id in `search` and among those built in, or by file where `name` has a slash or ends in `.yaml`.
    pub fn load(name: &str, search: &[PathBuf]) -> Result<Self, RulesError> {
        let packs = find(name, search, &mut Vec::new()).map_err(|error| RulesError(error.to_string()))?;
        Self::merge(&packs)
    }

    /// The id of the pack.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Parents come before their children.
    fn merge(packs: &[Loaded]) -> Result<Self, RulesError> {
        let mut rules = Self {
            mcp_block_unknown: true,
            ..Self::default()
        };
        let mut lists: [Vec<String>; 7] = Default::default();
        for loaded in packs {
            let pack = &loaded.pack;
            rules.id.clone_from(&pack.metadata.id);
            let of = |list: &Option<Vec<serde_saphyr::Spanned<String>>>| {
                list.iter()
                    .flatten()
                    .map(|entry| entry.value.trim().to_owned())
                    .collect::<Vec<_>>()
            };
            let mcp = Mcp::of(loaded)?;
            let [read, write, approval, block, allow, allowed, blocked] = &mut lists;
            join(read, of(&pack.filesystem.block_read));
            join(write, of(&pack.filesystem.block_write));
            join(approval, of(&pack.filesystem.require_approval_write));
            join(block, of(&pack.commands.block));
            join(allow, of(&pack.commands.allow));
            join(allowed, mcp.allowed);
            join(blocked, mcp.blocked);
            rules.mcp_block_unknown = mcp.block_unknown.unwrap_or(rules.mcp_block_unknown);
        }
        if packs.len() > 1 {
            lists.iter_mut().for_each(|list| list.sort());
        }
        let patterns = |list: Vec<String>| list.iter().map(|text| Pattern::new(text)).collect();
        let [read, write, approval, block, allow, allowed, blocked] = lists;
        Ok(Self {
            block_read: patterns(read),
            block_write: patterns(write),
            require_approval_write: patterns(approval),
            command_block: patterns(block),
            command_allow: patterns(allow),
            mcp_allowed: allowed,
            mcp_blocked: blocked,
            ..rules
        })
    }
}

fn join(list: &mut Vec<String>, more: Vec<String>) {
    for text in more {
        if !text.is_empty() && !list.contains(&text) {
            list.push(text);
        }
    }
}

#[derive(Default)]
struct Mcp {
    allowed: Vec<String>,
    blocked: Vec<String>,
    block_unknown: Option<bool>,
}

impl Mcp {
    fn of(loaded: &Loaded) -> Result<Self, RulesError> {
        let Some(section) = loaded.pack.mcp.as_ref().filter(|value| !value.is_null()) else {
            return Ok(Self::default());
        };
        let wrong = |key: &str, wanted: &str| RulesError(format!("{}: mcp{key} must be {wanted}", loaded.file));
        let section = section.as_object().ok_or_else(|| wrong("", "a map"))?;
        let servers = |key: &str| match section.get(key) {
            None | Some(serde_json::Value::Null) => Ok(Vec::new()),
            Some(value) => value
                .as_array()
                .and_then(|list| list.iter().map(|name| name.as_str().map(str::to_owned)).collect())
                .ok_or_else(|| wrong(&format!(".{key}"), "a list of server names")),
        };
        Ok(Self {
            allowed: servers("allowed_servers")?,
            blocked: servers("blocked_servers")?,
            block_unknown: match section.get("block_unknown_servers") {
                None | Some(serde_json::Value::Null) => None,
                Some(value) => Some(
                    value
                        .as_bool()
                        .ok_or_else(|| wrong(".block_unknown_servers", "true or false"))?,
                ),
            },
        })
    }
}

/// Where CAVRA's users keep packs as `<id>/policy.yaml`, first match first: `$CAVRA_POLICY_DIR`, else `./policies`; then the user's
/// and the machine's. Those built in come after all.
#[must_use]
pub fn search_path(env: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Vec<PathBuf> {
    let named = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = named("CAVRA_POLICY_DIR")
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("policies"));
    let mut all = vec![own];
    all.extend(named("HOME").map(|home| home.join(".config/cavra/policies")));
    all.push(PathBuf::from("/etc/cavra/policies"));
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Rules;
    use crate::cavra::{Request, evaluate};

    fn packs(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (id, text) in files {
            let folder = dir.path().join(id);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("policy.yaml"), format!("metadata:\n  id: {id}\n{text}")).unwrap();
        }
        dir
    }

    fn ask(rules: &Rules, action: &str, target: &str) -> (String, String) {
        let request = Request {
            action_type: action.to_owned(),
            target: target.to_owned(),
            server: target.to_owned(),
            ..Request::default()
        };
        let answer = evaluate(&request, rules, None);
        (answer.rule_id.to_owned(), answer.reason)
    }

    #[test]
    fn a_pack_without_parents_names_the_first_match_as_written_one_with_parents_in_code_point_order() {
        let dir = packs(&[
            ("alone", "filesystem: {block_read: [\"b*\", \"*\", \"a*\"]}\n"),
            (
                "child",
                "  inherits: alone\nfilesystem: {block_read: [\"B*\", \"a*\"]}\n",
            ),
        ]);
        let search = [dir.path().to_owned()];
        let alone = Rules::load("alone", &search).unwrap();
        let child = Rules::load("child", &search).unwrap();
        for (rules, target, pattern) in [
            (&alone, "bx", "b*"),
            (&alone, "ax", "*"),
            (&child, "bx", "*"),
            (&child, "Bx", "*"),
        ] {
            let reason = format!("Matched sensitive path policy: {pattern}");
            assert_eq!(ask(rules, "read_file", target).1, reason, "{target}");
        }
        assert_eq!(child.block_read.len(), 4, "no duplicates");
    }

    #[test]
    fn parents_join_in_order_and_a_scalar_of_the_child_wins() {
        let dir = packs(&[
            ("a", "mcp: {allowed_servers: [one], block_unknown_servers: true}\n"),
            ("b", "  inherits: [a]\nmcp: {blocked_servers: [two]}\n"),
            ("c", "  inherits: [a, b]\nmcp: {block_unknown_servers: false}\n"),
            ("d", "  inherits: [c]\n"),
            ("none", ""),
        ]);
        let search = [dir.path().to_owned()];
        let rule = |pack: &str, server: &str| ask(&Rules::load(pack, &search).unwrap(), "mcp_tool_call", server).0;
        for (pack, server, wanted) in [
            ("a", "one", "mcp.server.trust.allow"),
            ("a", "three", "mcp.server.trust.block_unknown"),
            ("b", "one", "mcp.server.trust.allow"),
            ("c", "two", "mcp.server.trust.block_unknown"),
            ("c", "three", "mcp.server.trust.allow"),
            ("d", "three", "mcp.server.trust.allow"),
            ("d", "two", "mcp.server.trust.block_unknown"),
            ("none", "one", "mcp.server.trust.block_unknown"),
        ] {
            assert_eq!(rule(pack, server), wanted, "{pack} {server}");
        }
    }

    #[test]
    fn a_pack_that_can_not_be_meant_is_refused_whole() {
        let dir = packs(&[
            ("servers", "mcp: {allowed_servers: github}\n"),
            ("flag", "mcp: {block_unknown_servers: \"no\"}\n"),
            ("circle", "  inherits: circle\n"),
            ("orphan", "  inherits: nowhere\n"),
        ]);
        let search = [dir.path().to_owned()];
        for (pack, text) in [
            ("servers", "mcp.allowed_servers must be a list of server names"),
            ("flag", "mcp.block_unknown_servers must be true or false"),
            ("circle", "inherits itself"),
            ("orphan", "no policy `nowhere`"),
            ("missing", "no policy `missing`"),
        ] {
            let error = Rules::load(pack, &search).unwrap_err().to_string();
            assert!(error.contains(text), "{pack}: {error}");
        }
    }
}
