//! git's configuration as git reads it: keys with their values, in order; git-config(1), "Syntax".

/// Keys and values, in the order in which git reads them: the last value of a key is the one in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether some of it could not be read, so that an absent key means nothing.
    pub incomplete: bool,
}

impl Config {
    /// Adds `key`, in any case of letters, with its value.
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) {
        self.entries.push((canonical(key), value.to_vec()));
    }

    /// Adds `key=value` as `git -c` takes it; without `=` it is true.
    pub(crate) fn set_pair(&mut self, pair: &[u8]) {
        match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => self.set(
                pair.get(..at).unwrap_or_default(),
                pair.get(at + 1..).unwrap_or_default(),
            ),
            None => self.set(pair, b"true"),
        }
    }

    /// Adds all of `other`, which is stronger.
    pub(crate) fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.incomplete |= other.incomplete;
    }

    /// The values of a key in canonical form (section and name in lower case).
    pub(crate) fn values<'c>(&'c self, key: &[u8]) -> impl DoubleEndedIterator<Item = &'c [u8]> {
        let key = key.to_vec();
        self.entries
            .iter()
            .filter(move |(known, _)| *known == key)
            .map(|(_, value)| value.as_slice())
    }

    /// The value in force.
    #[must_use]
    pub(crate) fn last(&self, key: &[u8]) -> Option<&[u8]> {
        self.values(key).next_back()
    }

    /// Whether it names further files, as the environment and `-c` may.
    pub(super) fn includes(&self) -> bool {
        self.below(b"include").next().is_some()
    }

    /// Whether a key stands in it that says what a push means.
    pub(super) fn is_about_pushes(&self) -> bool {
        let sections: [&[u8]; 7] = [
            b"alias.",
            b"push.",
            b"remote.",
            b"branch.",
            b"include.",
            b"includeif.",
            b"help.",
        ];
        self.entries
            .iter()
            .any(|(key, _)| sections.iter().any(|section| key.starts_with(section)))
    }

    /// The values of `section.ANY.name`.
    pub(super) fn any<'c>(&'c self, section: &'c [u8], name: &'c [u8]) -> impl Iterator<Item = &'c [u8]> {
        let fits = move |key: &[u8]| {
            key.strip_prefix(section)
                .is_some_and(|key| key.starts_with(b".") && key.ends_with(name))
        };
        self.entries
            .iter()
            .filter(move |(key, _)| fits(key))
            .map(|(_, value)| value.as_slice())
    }

    /// The entries whose key begins so, with the rest of the key.
    pub(super) fn below<'c>(&'c self, prefix: &'c [u8]) -> impl Iterator<Item = (&'c [u8], &'c [u8])> {
        self.entries
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_slice())))
    }

    /// The text of a configuration file, read as `git_parse_source` in git's config.c reads it; incomplete where git would refuse it.
    #[must_use]
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut config = Self::default();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut source = Source { text, at: 0 };
        config.incomplete = source.read(&mut config).is_none();
        config
    }
}

/// Section and name in lower case; what stands between them keeps its case.
fn canonical(key: &[u8]) -> Vec<u8> {
    let first = key.iter().position(|byte| *byte == b'.').unwrap_or(key.len());
    let last = key.iter().rposition(|byte| *byte == b'.').unwrap_or(0);
    let mut key = key.to_vec();
    for (at, byte) in key.iter_mut().enumerate() {
        if at < first || at > last {
            byte.make_ascii_lowercase();
        }
    }
    key
}

/// Bytes of a file; its end reads as a line's end.
struct Source<'t> {
    text: &'t [u8],
    at: usize,
}

impl Source<'_> {
    fn next(&mut self) -> u8 {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (byte, length) = match rest {
            [b'\r', b'\n', ..] => (b'\n', 2),
            [byte, ..] => (*byte, 1),
            [] => (b'\n', 1),
        };
        self.at += length;
        byte
    }

    fn ended(&self) -> bool {
        self.at >= self.text.len()
    }

    /// None where git would stop with an error.
    fn read(&mut self, config: &mut Config) -> Option<()> {
        let mut section: Vec<u8> = Vec::new();
        let mut comment = false;
        while !self.ended() {
            match self.next() {
                b'\n' => comment = false,
                _ if comment => {}
                byte if is_space(byte) => {}
                b'#' | b';' => comment = true,
                b'[' => section = self.section()?,
                byte if byte.is_ascii_alphabetic() => {
                    let mut key = [&section[..], b"."].concat();
                    key.push(byte.to_ascii_lowercase());
                    let value = self.entry(&mut key)?;
                    config.entries.push((key, value));
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// `section]` or `section "sub"]`, behind the bracket.
    fn section(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        loop {
            match self.next() {
                b']' => return Some(name),
                b'\n' => return None,
                byte if is_space(byte) => break,
                byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.') => {
                    name.push(byte.to_ascii_lowercase())
                }
                _ => return None,
            }
        }
        let mut byte = self.next();
        while is_space(byte) && byte != b'\n' {
            byte = self.next();
        }
        if byte != b'"' {
            return None;
        }
        name.push(b'.');
        loop {
            match self.next() {
                b'\n' => return None,
                b'"' => break,
                b'\\' => name.push(Some(self.next()).filter(|byte| *byte != b'\n')?),
                byte => name.push(byte),
            }
        }
        (self.next() == b']').then_some(name)
    }

    /// The rest of a key, and its value.
    fn entry(&mut self, key: &mut Vec<u8>) -> Option<Vec<u8>> {
        let mut byte = self.next();
        while byte.is_ascii_alphanumeric() || byte == b'-' {
            key.push(byte.to_ascii_lowercase());
            byte = self.next();
        }
        while matches!(byte, b' ' | b'\t') {
            byte = self.next();
        }
        match byte {
            b'\n' => Some(b"true".to_vec()),
            b'=' => self.value(),
            _ => None,
        }
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let (mut out, mut quoted, mut comment, mut kept) = (Vec::new(), false, false, 0);
        loop {
            match self.next() {
                b'\n' if quoted => return None,
                b'\n' => break,
                _ if comment => continue,
                byte if is_space(byte) && !quoted => {
                    if !out.is_empty() {
                        out.push(byte);
                    }
                    continue;
                }
                b';' | b'#' if !quoted => {
                    comment = true;
                    continue;
                }
                b'\\' => match self.next() {
                    // The line goes on.
                    b'\n' => {}
                    b't' => out.push(b'\t'),
                    b'b' => out.push(8),
                    b'n' => out.push(b'\n'),
                    byte @ (b'\\' | b'"') => out.push(byte),
                    _ => return None,
                },
                b'"' => quoted = !quoted,
                byte => out.push(byte),
            }
            kept = out.len();
        }
        out.truncate(kept);
        Some(out)
    }
}

/// git's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn values_are_read_as_git_reads_them() {
        let rows: &[(&str, &str, Option<&str>)] = &[
            ("[alias]\n\tp = push", "alias.p", Some("push")),
            ("[Alias]\nP=push origin  # x", "alias.p", Some("push origin")),
            ("[alias] p = push", "alias.p", Some("push")),
            ("[alias]\np = pu\\\nsh", "alias.p", Some("push")),
            ("[alias]\np = \"push origin\" main", "alias.p", Some("push origin main")),
            ("[alias]\np = \"push # main\"", "alias.p", Some("push # main")),
            ("[alias]\np = push\n[alias]\np = pull", "alias.p", Some("pull")),
            ("[remote \"Up\"]\nmirror", "remote.Up.mirror", Some("true")),
            ("[remote \"up\"]\nmirror", "remote.Up.mirror", None),
            (
                "[branch \"a\\\"b\"]\nMerge = refs/heads/main",
                "branch.a\"b.merge",
                Some("refs/heads/main"),
            ),
            ("[branch.topic]\nmerge = x", "branch.topic.merge", Some("x")),
            (
                "; c\n# d\n[push]\r\n default = current\r\n",
                "push.default",
                Some("current"),
            ),
            ("p = push", "p", None),
            ("[broken\np = push", "broken.p", None),
            ("[alias]\nx = status # c \\\np = push", "alias.p", Some("push")),
            ("[alias]\n; c \\\np = push", "alias.p", Some("push")),
            ("[alias]p=push", "alias.p", Some("push")),
            ("\u{feff}[alias]\np=push", "alias.p", Some("push")),
            ("[alias]\np = \"a;b\" ; c", "alias.p", Some("a;b")),
            (
                "[alias]\np = push  \t \\\n  origin",
                "alias.p",
                Some("push  \t   origin"),
            ),
        ];
        for (text, key, wanted) in rows {
            let config = Config::parse(text.as_bytes());
            assert_eq!(config.last(key.as_bytes()), wanted.map(str::as_bytes), "{text}");
        }
    }
}
