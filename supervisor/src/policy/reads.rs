//! What may be read by whoever asks, without a record: what can be left to the kernel for a whole session.

use super::engine::Policy;
use super::fold::folded;
use super::pattern::{Glob, is_below};
use super::types::{FileOp, Nobody, Subject};
use crate::decision::Decision;

/// Whoever a rule is about.
struct Anybody;

impl Subject for Anybody {
    fn is_program(&self, _program: &str, _digest: Option<&str>, _tree: bool) -> bool {
        true
    }

    fn is_below(&self, _program: &str) -> bool {
        true
    }
}

/// What no rule names: only what holds for everything in a folder holds for it.
const NO_NAME: &[u8] = b"/\x01";

impl Policy {
    /// Whether everybody may read a file, and nothing is owed for it. Of the rules that hold for one program only, those that restrict are seen
    /// by `Anybody`, and what is left where those that allow do not hold by [`Nobody`].
    #[must_use]
    pub fn reads_plainly(&self, path: &[u8]) -> bool {
        [&Nobody as &dyn Subject, &Anybody]
            .iter()
            .all(|by| self.file(FileOp::Read, path, *by).is_plain())
    }

    /// Whether everybody may read what nothing is known of yet below a folder. Patterns by name at any depth say nothing here: what
    /// they name is looked for in the folder.
    #[must_use]
    pub fn reads_below(&self, dir: &[u8]) -> bool {
        let listed = [&Nobody as &dyn Subject, &Anybody]
            .iter()
            .all(|by| self.names(dir, *by).is_plain());
        listed && self.reads_plainly(&[dir, NO_NAME].concat()) && !self.names_below(dir)
    }

    /// Whether a rule that restricts reading, or records it, names something below a folder from the root on.
    fn names_below(&self, dir: &[u8]) -> bool {
        let below = [dir.strip_suffix(b"/").unwrap_or(dir), b"/"].concat();
        let reaches =
            |glob: &Glob| glob.parts().first().is_some_and(|first| !first.is_empty()) && glob.may_match_after(&below);
        let rules = self.packs.iter().flat_map(|(_, pack)| pack.read.iter());
        let named = rules
            .filter(|rule| rule.rule.decision != Decision::Allow)
            .any(|rule| rule.globs.iter().any(reaches));
        named || self.folded.as_ref().is_some_and(|twin| twin.names_below(&folded(dir)))
    }

    /// Whether patterns by name do not reach into a tree, nor into anything below it.
    #[must_use]
    pub fn is_system_tree(&self, dir: &[u8]) -> bool {
        self.system.iter().any(|tree| is_below(dir, tree))
            && !self.own.iter().any(|own| is_below(own, dir) || is_below(dir, own))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use crate::policy::{Place, Policy, Profile};

    fn policy(read: &str) -> Policy {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yaml");
        std::fs::write(&file, format!("metadata: {{id: p, version: '1'}}\n{read}\n")).unwrap();
        Place::of(Path::new("/ws"))
            .load_alone(&[file.display().to_string()], &Profile::default(), "x")
            .unwrap()
    }

    #[test]
    fn a_folder_is_free_where_everybody_may_read_what_is_not_there_yet() {
        let rule = |decision: &str, by: &str, pattern: &str| {
            format!("rules: [{{id: a, action: read_file, match: '{pattern}', decision: {decision}, reason: r{by}}}]")
        };
        for (text, free, other) in [
            (rule("block", "", ".env"), true, true),
            (rule("block", "", "/ws/a/.env"), false, true),
            (rule("block", "", "/ws/*/.env"), false, false),
            (rule("warn", "", "/ws/a/x"), false, true),
            (rule("allow_with_attestation", ", by: git", "/ws/a/x"), false, true),
            (rule("allow", "", "/ws/a/x"), true, true),
            ("filesystem: {default_read: block}".to_owned(), false, false),
            (
                "filesystem: {default_read: block, allow_read: ['/ws/a/**']}".to_owned(),
                true,
                false,
            ),
            (
                format!(
                    "filesystem: {{default_read: block}}\n{}",
                    rule("allow", ", by: git", "/ws/a/**")
                ),
                false,
                false,
            ),
        ] {
            let policy = policy(&text);
            assert_eq!(policy.reads_below(b"/ws/a"), free, "{text}");
            assert_eq!(policy.reads_below(b"/ws/b"), other, "{text}");
        }
    }

    #[test]
    fn a_file_is_free_where_no_program_is_kept_from_it() {
        let of = |decision: &str| {
            policy(&format!(
                "rules: [{{id: a, action: read_file, match: /ws/x, decision: {decision}, reason: r, by: git}}]"
            ))
        };
        for decision in [
            "block",
            "require_approval",
            "warn",
            "audit_only",
            "allow_with_attestation",
        ] {
            assert!(!of(decision).reads_plainly(b"/ws/x"), "{decision}");
            assert!(of(decision).reads_plainly(b"/ws/y"), "{decision}");
        }
        assert!(of("allow").reads_plainly(b"/ws/x"));
    }

    #[test]
    fn a_system_tree_with_the_workspace_in_it_is_none() {
        let policy = policy("filesystem: {default_read: allow}");
        assert!(policy.is_system_tree(b"/usr") && policy.is_system_tree(b"/etc/ssl"));
        assert!(!policy.is_system_tree(b"/etc") && !policy.is_system_tree(b"/ws"));
    }
}
