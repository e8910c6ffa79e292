//! Reading chains back.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{hash, state_home};

/// What a chain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Whole and ended; how many records.
    Whole(u64),
    /// Intact, without a closing record: a killed session, or lines cut off the end. Names the last record.
    Interrupted(String),
    /// Broken; names the first record that is wrong, and how.
    Broken(String),
}

impl Verification {
    /// 0, 3 and 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Whole(_) => 0,
            Self::Interrupted(_) => 3,
            Self::Broken(_) => 1,
        }
    }
}

impl std::fmt::Display for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(count) => write!(f, "whole: {count} records, ended"),
            Self::Interrupted(last) => write!(f, "interrupted: intact up to {last}, no closing record"),
            Self::Broken(first) => write!(f, "broken: {first}"),
        }
    }
}

/// Verifies the chain in `dir`.
#[must_use]
pub fn verify(dir: &Path) -> Verification {
    match std::fs::read_to_string(dir.join("decisions.jsonl")) {
        Ok(text) => verify_text(&text),
        Err(error) => Verification::Broken(format!("{}: {error}", dir.join("decisions.jsonl").display())),
    }
}

fn verify_text(text: &str) -> Verification {
    let mut previous = "0".repeat(64);
    let mut last = String::new();
    let mut ended = false;
    let mut count = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let number = index + 1;
        if !line.ends_with('\n') {
            return Verification::Interrupted(format!("{last} (line {index}); line {number} is cut"));
        }
        let line = line.trim_end_matches('\n');
        let Ok(record) = serde_json::from_str::<Map<String, Value>>(line) else {
            return Verification::Broken(format!("line {number} is no record"));
        };
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        let id = text("decision_id");
        // Written back it must be the same line: duplicate keys and other spellings are not what was written.
        let written = Value::Object(record.clone()).to_string();
        if written != line {
            return Verification::Broken(format!("line {number} ({id}) is not written as records are"));
        }
        if ended {
            return Verification::Broken(format!("line {number} ({id}) stands behind the closing record"));
        }
        if text("prev_hash") != previous || record.get("seq").and_then(Value::as_u64) != Some(index as u64) {
            return Verification::Broken(format!("line {number} ({id}) does not follow the line before it"));
        }
        if text("hash") != hash(&record) {
            return Verification::Broken(format!("line {number} ({id}) was changed"));
        }
        if index == 0 && text("action_type") != "session_start" {
            return Verification::Broken(format!("line 1 ({id}) is no opening record"));
        }
        previous = text("hash").to_owned();
        last = id.to_owned();
        ended = text("action_type") == "session_end";
        count += 1;
    }
    match (count, ended) {
        (0, _) => Verification::Broken("there are no records".to_owned()),
        (count, true) => Verification::Whole(count),
        (count, false) => Verification::Interrupted(format!("{last} (line {count})")),
    }
}

/// The folders of the user's sessions, oldest first.
#[must_use]
pub fn sessions() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(state_home().join("sessions"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    all.sort_by_key(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok());
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::{Draft, Durability, Journal, Opening};
    use super::{Verification, verify, verify_text};

    fn chain() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let opening = Opening {
            session_id: "s".into(),
            agent_id: "a".into(),
            actor: "u".into(),
            command: vec!["true".into()],
            workspace: "/w".into(),
            policy_digest: String::new(),
            packs: vec![],
            mode: "enforce".into(),
            version: "0".into(),
        };
        let journal = Journal::create(Some(&dir.path().join("e")), &opening).unwrap();
        for target in ["/a", "/b\n{}", "/c"] {
            journal
                .append(
                    Draft {
                        action_type: "read_file",
                        target: target.into(),
                        ..Draft::default()
                    },
                    Durability::Written,
                )
                .unwrap();
        }
        journal.close("0").unwrap();
        assert_eq!(verify(&dir.path().join("e")), Verification::Whole(5));
        let text = std::fs::read_to_string(dir.path().join("e/decisions.jsonl")).unwrap();
        (dir, text)
    }

    #[test]
    fn each_change_of_a_chain_shows() {
        let (_dir, text) = chain();
        let lines: Vec<&str> = text.lines().collect();
        let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        for (what, text, code) in [
            ("whole", text.clone(), 0),
            ("edited", text.replace("/a", "/x"), 1),
            (
                "reordered",
                join(&[lines[0], lines[2], lines[1], lines[3], lines[4]]),
                1,
            ),
            ("removed", join(&[lines[0], lines[2], lines[3], lines[4]]), 1),
            ("last removed", join(&lines[..4]), 3),
            ("cut", text[..text.len() - 5].to_owned(), 3),
            ("duplicate key", text.replacen("{\"evid", "{\"seq\":0,\"evid", 1), 1),
            ("forged line", text.clone() + "{}\n", 1),
            ("empty", String::new(), 1),
        ] {
            assert_eq!(verify_text(&text).exit_code(), code, "{what}: {}", verify_text(&text));
        }
    }

    #[test]
    fn a_folder_that_is_not_empty_or_a_link_is_refused() {
        let (dir, _) = chain();
        let link = dir.path().join("l");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let opening = Opening {
            session_id: "s".into(),
            agent_id: String::new(),
            actor: String::new(),
            command: vec![],
            workspace: String::new(),
            policy_digest: String::new(),
            packs: vec![],
            mode: String::new(),
            version: String::new(),
        };
        assert!(Journal::create(Some(&link), &opening).is_err());
        assert!(Journal::create(Some(&dir.path().join("e")), &opening).is_err());
    }
}
