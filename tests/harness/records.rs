//! Decision records, read from the evidence folder as an auditor reads them, and claims about them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// All records of an evidence folder in their order, rotated files included; lines that are not JSON are left to `verify`.
#[must_use]
pub fn read(folder: &Path) -> Vec<Value> {
    let mut records: Vec<Value> = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("decisions") && name.ends_with(".jsonl") {
            let text = fs::read(entry.path()).unwrap_or_default();
            records.extend(
                text.split(|byte| *byte == b'\n')
                    .filter_map(|line| serde_json::from_slice(line).ok()),
            );
        }
    }
    records.sort_by_key(|record| record["seq"].as_u64());
    records
}

/// Lines that a message shows at most; beyond, allowed ones are left out, then the first.
const SHOWN: usize = 60;

/// One short line a record, for messages.
#[must_use]
pub fn table<'a>(records: impl IntoIterator<Item = &'a Value>) -> String {
    let mut records: Vec<&Value> = records.into_iter().collect();
    let mut text = String::new();
    if records.len() > SHOWN {
        let _ = writeln!(
            text,
            "  of {} records, the last that are not plainly allowed:",
            records.len()
        );
        records.retain(|record| record["decision"] != "allow");
        records.drain(..records.len().saturating_sub(SHOWN));
    }
    for record in records {
        let field = |name: &str| record[name].as_str().unwrap_or("-").to_owned();
        let _ = writeln!(
            text,
            "  {:>5} {:<16} {:<22} {:<40} {} {}",
            record["seq"],
            field("action_type"),
            field("decision"),
            field("target"),
            field("rule_id"),
            record["errno"]
        );
    }
    text
}

/// Records that are left after narrowing. `only_*` narrow quietly; the others panic when nothing is left.
#[derive(Clone)]
pub struct Found<'a> {
    all: &'a [Value],
    left: Vec<&'a Value>,
    asked: String,
}

impl<'a> Found<'a> {
    /// All of them.
    #[must_use]
    pub fn all(all: &'a [Value]) -> Self {
        Self {
            all,
            left: all.iter().collect(),
            asked: String::new(),
        }
    }

    /// Narrows to what `wanted` accepts; may leave nothing.
    #[must_use]
    pub fn only(mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Self {
        self.left.retain(|record| wanted(record));
        self.asked.push_str(&format!(" {what}"));
        self
    }

    /// Narrows by the text of a field; may leave nothing.
    #[must_use]
    pub fn only_field(self, name: &str, value: &str) -> Self {
        self.only(&format!("{name}={value:?}"), |record| {
            record[name].as_str() == Some(value)
        })
    }

    /// Narrows by a piece of `target` or of an argument; may leave nothing.
    #[must_use]
    pub fn only_about(self, piece: &str) -> Self {
        self.only(&format!("about {piece:?}"), |record| {
            record["target"].as_str().is_some_and(|target| target.contains(piece))
                || record["argv"].to_string().contains(piece)
        })
    }

    /// Of this action type.
    #[track_caller]
    pub fn action(self, action_type: &str) -> Self {
        self.only_field("action_type", action_type).some()
    }

    /// With exactly this target.
    #[track_caller]
    pub fn target(self, target: &str) -> Self {
        self.only_field("target", target).some()
    }

    /// With a target that ends so.
    #[track_caller]
    pub fn target_ends(self, end: &str) -> Self {
        self.only(&format!("target …{end:?}"), |record| {
            record["target"].as_str().is_some_and(|t| t.ends_with(end))
        })
        .some()
    }

    /// With a target or an argument that holds `piece`.
    #[track_caller]
    pub fn about(self, piece: &str) -> Self {
        self.only_about(piece).some()
    }

    /// With this decision.
    #[track_caller]
    pub fn decision(self, decision: &str) -> Self {
        self.only_field("decision", decision).some()
    }

    /// By this rule.
    #[track_caller]
    pub fn rule(self, rule_id: &str) -> Self {
        self.only_field("rule_id", rule_id).some()
    }

    /// By a rule whose id begins so.
    #[track_caller]
    pub fn rule_of(self, family: &str) -> Self {
        self.only(&format!("rule_id {family:?}…"), |record| {
            record["rule_id"].as_str().is_some_and(|rule| rule.starts_with(family))
        })
        .some()
    }

    /// With this text in a field.
    #[track_caller]
    pub fn field(self, name: &str, value: &str) -> Self {
        self.only_field(name, value).some()
    }

    /// How many are left.
    #[must_use]
    pub fn count(&self) -> usize {
        self.left.len()
    }

    /// The first that is left.
    #[must_use]
    pub fn first(&self) -> Option<&'a Value> {
        self.left.first().copied()
    }

    /// Panics when one is left.
    #[track_caller]
    pub fn none(&self) {
        assert!(
            self.left.is_empty(),
            "unexpected records{}:\n{}",
            self.asked,
            table(self.left.iter().copied())
        );
    }

    #[track_caller]
    fn some(self) -> Self {
        assert!(
            !self.left.is_empty(),
            "no record{} among:\n{}",
            self.asked,
            table(self.all)
        );
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Vec<Value> {
        vec![
            json!({"seq": 0, "action_type": "read_file", "target": "/w/.env", "decision": "block", "rule_id": "filesystem.read.block"}),
            json!({"seq": 1, "action_type": "execute_command", "target": "/bin/git", "argv": ["git", "push"], "decision": "allow"}),
        ]
    }

    #[test]
    fn narrowing_finds_what_is_there() {
        let records = sample();
        let found = Found::all(&records)
            .action("read_file")
            .target_ends("/.env")
            .decision("block")
            .rule_of("filesystem.");
        assert_eq!(found.count(), 1);
        Found::all(&records).about("push").decision("allow");
        Found::all(&records).only_field("decision", "warn").none();
    }

    #[test]
    #[should_panic(expected = "no record action_type=\"read_file\" decision=\"allow\"")]
    fn narrowing_to_nothing_names_what_was_asked() {
        Found::all(&sample()).action("read_file").decision("allow");
    }

    #[test]
    fn rotated_files_are_read_in_order_and_torn_lines_left_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("decisions.jsonl"), "{\"seq\":2}\n{\"seq\":3").unwrap();
        fs::write(folder.path().join("decisions.1.jsonl"), "{\"seq\":0}\n{\"seq\":1}\n").unwrap();
        let numbers: Vec<_> = read(folder.path())
            .iter()
            .map(|record| record["seq"].as_u64())
            .collect();
        assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    }
}
