//! Bounds of what a record holds, whatever the tree hands over (I8).

use std::collections::BTreeMap;

/// Bytes of one argument or other text in a record; MAX_ARG_STRLEN would allow 128 KiB each, and 2 MiB in all.
pub(super) const TEXT_BYTES: usize = 16 << 10;
/// Bytes of all arguments in a record.
const ARGV_BYTES: usize = 64 << 10;
/// Counts in one record of repeats.
const REPEATS_A_RECORD: usize = 1_000;

/// Arguments of bounded length; what was cut off is said in its place.
pub(crate) fn bounded_arguments(argv: Vec<String>) -> Vec<String> {
    let count = argv.len();
    let mut left = ARGV_BYTES;
    let mut kept = Vec::with_capacity(count.min(64));
    for argument in argv {
        let argument = clip(argument, TEXT_BYTES);
        let Some(rest) = left.checked_sub(argument.len().saturating_add(8)) else {
            kept.push(format!("… {} further arguments", count.saturating_sub(kept.len())));
            break;
        };
        left = rest;
        kept.push(argument);
    }
    kept
}

/// At most `limit` bytes of `text`, and how many more there were.
pub(super) fn clip(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let more = text.len().saturating_sub(limit);
        let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str(&format!("… {more} bytes more"));
    }
    text
}

/// Counts, a thousand a record.
pub(super) fn parts(repeats: BTreeMap<String, u64>) -> Vec<BTreeMap<String, u64>> {
    let mut parts = vec![BTreeMap::new()];
    for (name, count) in repeats {
        if parts.last().is_none_or(|part| part.len() >= REPEATS_A_RECORD) {
            parts.push(BTreeMap::new());
        }
        if let Some(part) = parts.last_mut() {
            part.insert(name, count);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}
