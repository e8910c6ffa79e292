//! The part of a merged pack that CAVRA evaluates.

use std::path::PathBuf;

use super::pattern::Pattern;
use crate::policy::node::Node;
use crate::policy::pack::{Library, Merged};

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
        let mut library = Library::new(search);
        match library.named(name) {
            Some(merged) if library.diagnostics.is_clean() => Ok(Self::of(&merged)),
            Some(_) | None => Err(RulesError(library.diagnostics.to_string())),
        }
    }

    /// The id of the pack.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn of(merged: &Merged) -> Self {
        let has_parents = merged.parts.len() > 1;
        let list = |section: &str, key: &str| {
            let mut all: Vec<String> = Vec::new();
            let items = merged.node.at(&[section, key]).map(Node::items).unwrap_or_default();
            for text in items.iter().filter_map(Node::text).map(str::trim) {
                if !text.is_empty() && !all.iter().any(|known| known == text) {
                    all.push(text.to_owned());
                }
            }
            if has_parents {
                all.sort();
            }
            all
        };
        let patterns = |section: &str, key: &str| list(section, key).iter().map(|text| Pattern::new(text)).collect();
        Self {
            id: merged.id.clone(),
            block_read: patterns("filesystem", "block_read"),
            block_write: patterns("filesystem", "block_write"),
            require_approval_write: patterns("filesystem", "require_approval_write"),
            command_block: patterns("commands", "block"),
            command_allow: patterns("commands", "allow"),
            mcp_allowed: list("mcp", "allowed_servers"),
            mcp_blocked: list("mcp", "blocked_servers"),
            mcp_block_unknown: merged
                .node
                .at(&["mcp", "block_unknown_servers"])
                .and_then(Node::flag)
                .unwrap_or(true),
        }
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
            ("servers", "servers/policy.yaml:3:24"),
            ("flag", "expected true or false"),
            ("circle", "inherits itself"),
            ("orphan", "no policy `nowhere`"),
            ("missing", "no policy `missing`"),
        ] {
            let error = Rules::load(pack, &search).unwrap_err().to_string();
            assert!(error.contains(text), "{pack}: {error}");
        }
    }
}
