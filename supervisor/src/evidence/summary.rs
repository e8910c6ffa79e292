//! What a session came to, in a few lines for the terminal.

use std::path::Path;

use super::Totals;
use crate::text::{clipped, harmless};

/// Columns of a refused target.
const TARGET: usize = 100;

/// Decisions by kind, the refusals with their rules, and where the evidence lies; each line harmless.
#[must_use]
pub fn summary(totals: &Totals, folder: &Path) -> String {
    let mut counts: Vec<String> = totals
        .by_decision
        .iter()
        .map(|(decision, count)| format!("{count} {}", harmless(decision)))
        .collect();
    counts.push(format!("{} reads allowed", totals.reads));
    let mut text = format!("cavra: {}\n", counts.join(", "));
    for (target, rule, times) in &totals.refusals {
        text.push_str(&format!(
            "  refused {times}x {}  ({})\n",
            clipped(&harmless(target), TARGET),
            harmless(rule)
        ));
    }
    let named = totals.refusals.iter().map(|(.., times)| times).sum();
    let more = totals.refused.saturating_sub(named);
    if more > 0 {
        text.push_str(&format!("  and {more} more: cavractl evidence show --refused\n"));
    }
    if totals.lost > 0 {
        text.push_str(&format!(
            "  {} records were lost: the evidence's disk was full or failed\n",
            totals.lost
        ));
    }
    text.push_str(&format!("  evidence: {}\n", harmless(&folder.to_string_lossy())));
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::summary;
    use crate::evidence::Totals;

    #[test]
    fn it_names_what_was_refused_and_where_the_rest_is() {
        let totals = Totals {
            by_decision: [("allow".to_owned(), 3), ("block".to_owned(), 5)].into(),
            reads: 7,
            refusals: vec![("/ws/\u{1b}[2J.env".to_owned(), "filesystem.read.block".to_owned(), 2)],
            refused: 5,
            lost: 0,
        };
        assert_eq!(
            summary(&totals, Path::new("/e")),
            "cavra: 3 allow, 5 block, 7 reads allowed\n  refused 2x /ws/\\x1b[2J.env  (filesystem.read.block)\n  \
             and 3 more: cavractl evidence show --refused\n  evidence: /e\n"
        );
    }
}
