//! Warnings and held requests as lines on stderr, when that is not the agent's terminal: one a kind, and few in all (I8).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::sys::stderr;
use crate::text::{clipped, harmless};

/// Lines of one session.
const LINES: usize = 100;
/// Columns of a target.
const TARGET: usize = 400;
/// Columns of the rest.
const REASON: usize = 200;

/// What a session's warnings have said so far.
#[derive(Debug, Default)]
pub struct Notices {
    said: Mutex<HashSet<(String, String)>>,
}

impl Notices {
    /// Says once on stderr that `rule` warns of `operation` on `target`. Nobody waits for a reader who does not read: the
    /// record has it all.
    pub fn warn(&self, operation: &str, target: &str, rule: &str, reason: &str) {
        let what = format!("warning: {}", about(operation, target, rule));
        let reason = harmless(reason);
        self.say(rule, target, &format!("{what}: {}", clipped(&reason, REASON)));
    }

    /// Says that `approval` is held, and how it is answered.
    pub fn held(&self, operation: &str, target: &str, rule: &str, approval: &str) {
        let what = about(operation, target, rule);
        let how = format!("cavractl approvals approve {approval} --reason TEXT (or deny)");
        self.say(approval, "", &format!("held: {what}: {how}"));
    }

    fn say(&self, kind: &str, of: &str, text: &str) {
        if let Some(line) = self.line(kind, of, text) {
            stderr::say(line.as_bytes());
        }
    }

    fn line(&self, kind: &str, of: &str, text: &str) -> Option<String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() > LINES || !said.insert((kind.to_owned(), of.to_owned())) {
            return None;
        }
        if said.len() > LINES {
            return Some(format!(
                "cavra: {LINES} lines so far; further warnings are in the evidence only\n"
            ));
        }
        Some(format!("cavra: {text}\n"))
    }
}

fn about(operation: &str, target: &str, rule: &str) -> String {
    let (target, rule) = (harmless(target), harmless(rule));
    format!(
        "{} {} (rule {})",
        harmless(operation),
        clipped(&target, TARGET),
        clipped(&rule, REASON)
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use super::{LINES, Notices, about};

    #[test]
    fn a_warning_is_said_once_and_a_storm_ends_in_one_line() {
        let notices = Notices::default();
        let evil = about("open", "/a\u{1b}[2J\nx", "r");
        assert_eq!(evil, "open /a\\x1b[2J\\x0ax (rule r)");
        assert!(
            about("open", &"ä".repeat(100_000), &"r".repeat(10_000)).len() < 2048,
            "less than PIPE_BUF in all"
        );
        assert_eq!(notices.line("r", "/a", &evil).unwrap(), format!("cavra: {evil}\n"));
        assert_eq!(notices.line("r", "/a", &evil), None);
        let said = (0..10_000)
            .filter_map(|n| notices.line("r", &n.to_string(), ""))
            .count();
        assert_eq!(said, LINES - 1 + 1);
    }
}
