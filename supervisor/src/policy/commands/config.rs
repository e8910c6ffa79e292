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

    /// The files that it includes, on whatever condition.
    pub(super) fn includes(&self) -> impl Iterator<Item = &[u8]> {
        let named = |key: &[u8]| key == b"include.path" || (key.starts_with(b"includeif.") && key.ends_with(b".path"));
        self.entries
            .iter()
            .filter(move |(key, _)| named(key))
            .map(|(_, value)| value.as_slice())
    }

    /// The text of a configuration file; what is no configuration is passed over, as nothing in it can be in force for git either.
    #[must_use]
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut config = Self::default();
        let mut section: Vec<u8> = Vec::new();
        for line in logical_lines(text) {
            let mut line = line.trim_ascii_start();
            if let Some(rest) = line.strip_prefix(b"[") {
                let Some((name, after)) = header(rest) else { continue };
                section = name;
                line = after.trim_ascii_start();
            }
            let name_len = line
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
                .count();
            let (name, rest) = line.split_at(name_len);
            if name.is_empty() || section.is_empty() {
                continue;
            }
            let key = [&section[..], b".", name].concat();
            match rest.trim_ascii_start().strip_prefix(b"=") {
                Some(raw) => config.set(&key, &value(raw)),
                None => config.set(&key, b"true"),
            }
        }
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

/// Lines, those that end in a backslash joined with their next.
fn logical_lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut open = false;
    for line in text
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(text)
        .split(|byte| *byte == b'\n')
    {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let slashes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
        let continues = slashes % 2 == 1;
        let kept = if continues {
            line.split_last().map_or(line, |(_, kept)| kept)
        } else {
            line
        };
        match lines.last_mut().filter(|_| open) {
            Some(last) => last.extend_from_slice(kept),
            None => lines.push(kept.to_vec()),
        }
        open = continues;
    }
    lines
}

/// `name]`, `name "sub"]` or `name.sub]`: the section, and what follows on the line.
fn header(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let name_len = text
        .iter()
        .take_while(|byte| !matches!(**byte, b']' | b'"' | b' ' | b'\t'))
        .count();
    let (name, rest) = text.split_at(name_len);
    let mut section = name.to_ascii_lowercase();
    let rest = rest.trim_ascii_start();
    if let Some(after) = rest.strip_prefix(b"]") {
        return Some((section, after));
    }
    let mut bytes = rest.strip_prefix(b"\"")?.iter();
    section.push(b'.');
    loop {
        match bytes.next()? {
            b'"' => break,
            b'\\' => section.push(*bytes.next()?),
            byte => section.push(*byte),
        }
    }
    let after = bytes.as_slice().trim_ascii_start().strip_prefix(b"]")?;
    Some((section, after))
}

/// A value: quotes and escapes resolved, comment and blanks at the end removed.
fn value(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut quoted = false;
    let mut kept = 0;
    let mut bytes = raw.trim_ascii_start().iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'#' | b';' if !quoted => break,
            b'\\' => {
                out.push(match bytes.next() {
                    Some(b'n') => b'\n',
                    Some(b't') => b'\t',
                    Some(b'b') => 8,
                    Some(other) => *other,
                    None => break,
                });
            }
            byte => out.push(*byte),
        }
        if quoted || !byte.is_ascii_whitespace() {
            kept = out.len();
        }
    }
    out.truncate(kept);
    out
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
            ("p = push", ".p", None),
            ("[broken\np = push", "broken.p", None),
        ];
        for (text, key, wanted) in rows {
            let config = Config::parse(text.as_bytes());
            assert_eq!(config.last(key.as_bytes()), wanted.map(str::as_bytes), "{text}");
        }
    }
}
