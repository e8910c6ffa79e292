//! CAVRA's patterns: anchored at both ends; `*`, `**` and longer runs match any characters, `/` too, but no line feed; all else is
//! literal. Kept apart from the boundary's patterns, so that closing a gap there never changes an answer here.

/// One pattern as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// The text is the pattern; every text is one.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `value` matches; linear in `value` for each literal between stars.
    pub(crate) fn matches(&self, value: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else {
            return self.0 == value;
        };
        // Literals hold the line feeds that they name; one more than those would have to lie under a star.
        let feeds = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
        if feeds(&self.0) != feeds(value) {
            return false;
        }
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(mut open) = value.strip_prefix(first).and_then(|value| value.strip_suffix(last)) else {
            return false;
        };
        for literal in middle.split('*') {
            let Some(at) = open.find(literal) else {
                return false;
            };
            open = open.get(at + literal.len()..).unwrap_or_default();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_as_cavra_matches_them() {
        for (pattern, value, wanted) in [
            (".env", ".env", true),
            (".env", "a/.env", false),
            (".env", "./.env", false),
            ("**/secrets.*", "a/secrets.yml", true),
            ("**/secrets.*", "secrets.yml", false),
            ("**/secrets.*", "/secrets.", true),
            ("*", "", true),
            ("*", "a/b", true),
            ("*", "a\nb", false),
            ("a\n*", "a\nb", true),
            ("a\n*", "a\nb\n", false),
            ("", "", true),
            ("", "a", false),
            ("terraform apply*", "terraform apply", true),
            ("terraform apply*", "Terraform apply", false),
            ("terraform apply*", "terraform  apply", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "acb", false),
            ("***", "anything", true),
            ("a.c", "abc", false),
            ("[ab]?", "a?", false),
            ("[ab]?", "[ab]?", true),
            ("*é*", "caf\u{e9}s", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(value), wanted, "{pattern:?} {value:?}");
        }
    }

    /// By trying everything, as a regular expression would.
    fn naive(pattern: &[char], value: &[char]) -> bool {
        match pattern {
            [] => value.is_empty(),
            ['*', rest @ ..] => {
                naive(rest, value) || matches!(value, [head, tail @ ..] if *head != '\n' && naive(pattern, tail))
            }
            [head, rest @ ..] => matches!(value, [first, tail @ ..] if first == head && naive(rest, tail)),
        }
    }

    #[test]
    fn it_equals_trying_everything() {
        let words = |letters: &[char], longest: usize| {
            let mut all: Vec<Vec<char>> = vec![Vec::new()];
            let mut last = all.clone();
            for _ in 0..longest {
                last = last
                    .iter()
                    .flat_map(|word| letters.iter().map(|letter| [word.as_slice(), &[*letter]].concat()))
                    .collect();
                all.extend(last.iter().cloned());
            }
            all
        };
        let values = words(&['a', 'b', '\n'], 4);
        for pattern in words(&['a', 'b', '*', '\n'], 5) {
            let compiled = Pattern::new(&pattern.iter().collect::<String>());
            for value in &values {
                let text: String = value.iter().collect();
                assert_eq!(compiled.matches(&text), naive(&pattern, value), "{pattern:?} {text:?}");
            }
        }
    }

    #[test]
    fn many_stars_stay_fast() {
        assert!(!Pattern::new(&"*a".repeat(200)).matches(&format!("{}b", "a".repeat(10_000))));
    }
}
