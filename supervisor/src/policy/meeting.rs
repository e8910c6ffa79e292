//! Texts that two patterns both match: where the answer of one meets that of the other.

use super::pattern::Glob;

/// Steps into the pattern of one and of the other.
type At = (usize, usize);

/// A text that both match, with `filler` where a star of one meets a star of the other; None where no text is matched by both.
/// The patterns' own limits on line ends are not looked at.
pub(super) fn meeting(one: &Glob, other: &Glob, filler: u8) -> Option<Vec<u8>> {
    let (one, other) = (one.tokens(), other.tokens());
    let width = other.len() + 1;
    let index = |(first, second): At| first * width + second;
    // By what step, with which byte, each pair of positions was reached; the beginning by itself.
    let mut reached: Vec<Option<(At, Option<u8>)>> = vec![None; (one.len() + 1) * width];
    if let Some(start) = reached.first_mut() {
        *start = Some(((0, 0), None));
    }
    let mut frontier = vec![(0, 0)];
    while !frontier.is_empty() {
        for at in std::mem::take(&mut frontier) {
            let (first, second) = at;
            let steps: [Option<(At, Option<u8>)>; 2] = match (one.get(first), other.get(second)) {
                (Some(Some(byte)), Some(Some(same))) if byte == same => {
                    [Some(((first + 1, second + 1), Some(*byte))), None]
                }
                (Some(Some(_)) | None, Some(Some(_)) | None) => [None, None],
                (Some(None), Some(None)) => [
                    Some(((first + 1, second), Some(filler))),
                    Some(((first, second + 1), Some(filler))),
                ],
                (Some(None), byte) => [
                    byte.map(|byte| ((first, second + 1), *byte)),
                    Some(((first + 1, second), None)),
                ],
                (byte, Some(None)) => [
                    byte.map(|byte| ((first + 1, second), *byte)),
                    Some(((first, second + 1), None)),
                ],
            };
            for (to, byte) in steps.into_iter().flatten() {
                if let Some(slot @ None) = reached.get_mut(index(to)) {
                    *slot = Some((at, byte));
                    frontier.push(to);
                }
            }
        }
    }
    let mut at = (one.len(), other.len());
    let mut text = Vec::new();
    while at != (0, 0) {
        let (before, byte) = (*reached.get(index(at))?)?;
        text.extend(byte);
        at = before;
    }
    text.reverse();
    Some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Glob, meeting};

    #[test]
    fn two_patterns_meet_in_a_text_that_both_match() {
        for (one, other, meet) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/a*", "/b*", false),
            ("/ws/b*", "*/a", true),
            ("*/a", "*.b", false),
            ("*/a*", "*.b", true),
            ("/ws/*", "*/.env", true),
            ("*", "*", true),
            ("", "*", true),
            ("a*c", "ab*", true),
            ("/ws/*", "/ws", false),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let globs = [one, other].map(|text| Glob::new(text.as_bytes(), true));
                let found = meeting(&globs[0], &globs[1], b'x');
                assert_eq!(found.is_some(), meet, "{one} {other}");
                let matched = |text: &[u8]| globs.iter().all(|glob| glob.matches(text));
                assert!(found.as_deref().is_none_or(matched), "{one} {other}: {found:?}");
            }
        }
    }
}
