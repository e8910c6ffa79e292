//! Patterns: anchored, `*` and `**` match any run of bytes, `/` too; everything else is literal.

use super::types::Scope;

/// One absolute pattern over bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    /// The literals between stars; the first is anchored at the start, the last at the end.
    parts: Vec<Vec<u8>>,
    /// An allow never reaches over a line end.
    newlines: bool,
    /// Whether it may match in system trees.
    system: bool,
}

impl Glob {
    /// Compiles the text. With `newlines` a star matches line ends too.
    #[must_use]
    pub(crate) fn new(text: &[u8], newlines: bool) -> Self {
        let mut parts = vec![Vec::new()];
        let mut star = false;
        for byte in text {
            if *byte == b'*' {
                if !star {
                    parts.push(Vec::new());
                }
                star = true;
            } else {
                star = false;
                if let Some(part) = parts.last_mut() {
                    part.push(*byte);
                }
            }
        }
        Self {
            parts,
            newlines,
            system: true,
        }
    }

    /// Whether all of `text` matches; linear in its length for each literal part.
    #[must_use]
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let [first, rest @ ..] = self.parts.as_slice() else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return first == text;
        };
        let lines = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count();
        if !self.newlines && lines(text) != self.parts.iter().map(|part| lines(part)).sum::<usize>() {
            return false;
        }
        let Some(mut text) = text
            .strip_prefix(first.as_slice())
            .and_then(|text| text.strip_suffix(last.as_slice()))
        else {
            return false;
        };
        for part in middle {
            let Some(at) = memchr::memmem::find(text, part) else {
                return false;
            };
            text = text.get(at + part.len()..).unwrap_or_default();
        }
        true
    }

    /// The text itself when there is no star.
    #[must_use]
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The positions of the pattern's automaton after `text`: equal sets answer equally for whatever follows.
    fn positions(&self, text: &[u8]) -> Vec<bool> {
        let mut tokens: Vec<Option<u8>> = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                tokens.push(None);
            }
            tokens.extend(part.iter().map(|byte| Some(*byte)));
        }
        let close = |set: &mut Vec<bool>| {
            for (at, token) in tokens.iter().enumerate() {
                if set.get(at) == Some(&true)
                    && token.is_none()
                    && let Some(next) = set.get_mut(at + 1)
                {
                    *next = true;
                }
            }
        };
        let mut set = vec![false; tokens.len() + 1];
        if let Some(start) = set.first_mut() {
            *start = true;
        }
        close(&mut set);
        for byte in text {
            let mut next = vec![false; set.len()];
            for (at, token) in tokens.iter().enumerate() {
                if set.get(at) != Some(&true) {
                    continue;
                }
                let to = match token {
                    None => at,
                    Some(wanted) if wanted == byte => at + 1,
                    Some(_) => continue,
                };
                if let Some(slot) = next.get_mut(to) {
                    *slot = true;
                }
            }
            close(&mut next);
            set = next;
        }
        set
    }

    /// Whether every path below `old` matches exactly when the same path below `new` does.
    #[must_use]
    pub(crate) fn same_below(&self, old: &[u8], new: &[u8]) -> bool {
        self.positions(old) == self.positions(new)
    }

    /// Whether it may match in system trees.
    #[must_use]
    pub(crate) fn reaches_system(&self) -> bool {
        self.system
    }
}

/// A pattern as it is written in a pack, as the absolute patterns that it stands for at the kernel boundary.
///
/// `/x` and `${…}/x` are absolute. `**/x` and names without a slash match at any depth, but not in system trees. Others are relative to
/// the workspace.
#[must_use]
pub(crate) fn expand(text: &str, scope: &Scope, newlines: bool) -> Vec<Glob> {
    let bytes = |path: &std::path::Path| std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec();
    let glob = |text: &[u8]| Glob::new(text, newlines);
    if let Some(rest) = text.strip_prefix("${tmp}") {
        return scope
            .tmp
            .iter()
            .map(|tmp| glob(&[&bytes(tmp), rest.as_bytes()].concat()))
            .collect();
    }
    for (variable, path) in [("${workspace}", &scope.workspace), ("${home}", &scope.home)] {
        if let Some(rest) = text.strip_prefix(variable) {
            return vec![glob(&[&bytes(path), rest.as_bytes()].concat())];
        }
    }
    if text.starts_with('/') {
        return vec![glob(text.as_bytes())];
    }
    let any_depth = text.strip_prefix("**/").unwrap_or(text);
    if any_depth.len() < text.len() || !text.contains('/') {
        return vec![Glob {
            system: false,
            ..glob(format!("*/{any_depth}").as_bytes())
        }];
    }
    vec![Glob {
        system: false,
        ..glob(&[&bytes(&scope.workspace), &b"/"[..], text.as_bytes()].concat())
    }]
}

#[cfg(test)]
mod tests {
    use super::{Glob, expand};
    use crate::policy::Scope;

    fn scope() -> Scope {
        Scope {
            workspace: "/ws".into(),
            home: "/home/u".into(),
            tmp: vec!["/tmp".into(), "/var/tmp".into()],
        }
    }

    #[test]
    fn patterns_match_as_written() {
        for (pattern, path, wanted) in [
            (".env", "/ws/.env", true),
            (".env", "/ws/a/.env", true),
            (".env", "/ws/a.env", false),
            (".env", "/ws/.env/x", false),
            ("**/secrets.*", "/ws/secrets.yml", true),
            ("**/secrets.*", "/other/a/secrets.yml", true),
            ("iam/**", "/ws/iam/a/b", true),
            ("iam/**", "/ws/x/iam/a", false),
            ("iam/**", "/ws/iam", false),
            ("${home}/.ssh/**", "/home/u/.ssh/id", true),
            ("${tmp}/**", "/var/tmp/x", true),
            ("/etc/*", "/etc/a/b", true),
            ("*.pem", "/ws/k.pem", true),
            ("/a*b*c", "/axbxc", true),
            ("/a*b*c", "/axcxb", false),
        ] {
            assert_eq!(
                expand(pattern, &scope(), true)
                    .iter()
                    .any(|g| g.matches(path.as_bytes())),
                wanted,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn an_allow_stops_at_a_line_end() {
        assert!(!Glob::new(b"npm test*", false).matches(b"npm test\nrm"));
        assert!(Glob::new(b"npm test*", true).matches(b"npm test\nrm"));
    }

    #[test]
    fn adversarial_patterns_stay_fast() {
        let glob = Glob::new(&b"*a".repeat(200), true);
        assert!(!glob.matches(&[&b"a".repeat(4000)[..], b"b"].concat()));
    }

    #[test]
    fn a_move_keeps_answers_only_where_the_automaton_says_so() {
        for (pattern, old, new, same) in [
            ("**/secrets.*", "/ws/a/", "/ws/b/", true),
            ("iam/**", "/ws/iam/", "/ws/docs/", false),
            ("iam/**", "/ws/a/", "/ws/docs/", true),
            ("iam/**", "/ws/a/", "/ws/iam/", false),
            (".env", "/ws/a/", "/ws/b/c/", true),
        ] {
            assert_eq!(
                expand(pattern, &scope(), true)
                    .iter()
                    .all(|g| g.same_below(old.as_bytes(), new.as_bytes())),
                same,
                "{pattern} {old} {new}"
            );
        }
    }
}
