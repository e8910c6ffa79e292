//! Verbs that a tool's user has named: cargo's, gh's, glab's, aws's. The tool replaces them itself, so no exec shows what they mean.
//!
//! The files are TOML, YAML or INI, and read by one rule for all: a line whose key is the verb, and the words behind it up to the next
//! key. That finds more than the tool would, in sections that are not about aliases, and so refuses more; it never finds less.

use super::files::{Content, read, upwards};
use super::repo::Place;
use super::table::Aliases;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Lines that one alias may have.
const LINES_MAX: usize = 32;

/// The meanings that `verb` may have by its users' files and variables, each as words; and whether a file could not be read.
pub(super) fn meanings(aliases: &Aliases, verb: &[u8], place: &Place<'_>) -> (Vec<Vec<Vec<u8>>>, bool) {
    let mut all = Vec::new();
    let mut hidden = false;
    if let Some(prefix) = &aliases.env {
        let name = [prefix.as_bytes(), &variable(verb)].concat();
        let values = place
            .env
            .iter()
            .filter_map(|entry| entry.strip_prefix(name.as_slice())?.strip_prefix(b"="));
        all.extend(values.map(words));
    }
    for file in aliases.files.iter().flat_map(|file| paths(file, place)) {
        match read(&file) {
            Content::Bytes(text) => all.extend(in_text(&text, verb)),
            Content::Missing => {}
            Content::Hidden => hidden = true,
        }
    }
    all.retain(|words| !words.is_empty());
    (all, hidden)
}

/// `publish-all` as `PUBLISH_ALL`.
fn variable(verb: &[u8]) -> Vec<u8> {
    verb.iter()
        .map(|byte| {
            if matches!(byte, b'-' | b'.') {
                b'_'
            } else {
                byte.to_ascii_uppercase()
            }
        })
        .collect()
}

fn paths(file: &str, place: &Place<'_>) -> Vec<PathBuf> {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    if let Some(name) = file.strip_prefix("^/") {
        return upwards(&path(&place.cwd)).map(|folder| folder.join(name)).collect();
    }
    let Some((name, rest)) = file.strip_prefix("${").and_then(|file| file.split_once("}/")) else {
        return vec![PathBuf::from(file)];
    };
    let name = if name == "home" { "HOME" } else { name };
    place
        .variable(name)
        .filter(|value| !value.is_empty())
        .map(|folder| path(&place.cwd).join(path(folder)).join(rest))
        .into_iter()
        .collect()
}

fn in_text(text: &[u8], verb: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(mut value) = value_of(line, verb).map(<[u8]>::to_vec) else {
            continue;
        };
        for more in lines.iter().skip(at + 1).take(LINES_MAX) {
            // A value goes on in lines that are indented, or up to the bracket that closes it.
            let open = value.contains(&b'[') && !value.contains(&b']');
            if !open && !more.starts_with(b" ") && !more.starts_with(b"\t") {
                break;
            }
            value.push(b' ');
            value.extend_from_slice(more);
        }
        found.push(words(&value));
        // `d: release create` with another key indented as deep behind it.
        found.push(words(value_of(line, verb).unwrap_or_default()));
    }
    found
}

/// What stands behind `verb =`, `verb:`, `"verb" =` or `alias.verb =`.
fn value_of<'t>(line: &'t [u8], verb: &[u8]) -> Option<&'t [u8]> {
    memchr::memmem::find_iter(line, verb).find_map(|at| {
        let (before, rest) = (line.get(..at)?, line.get(at + verb.len()..)?);
        let begins = before
            .last()
            .is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'.' | b'{' | b','));
        let rest = rest
            .strip_prefix(b"\"")
            .or_else(|| rest.strip_prefix(b"'"))
            .unwrap_or(rest)
            .trim_ascii_start();
        let value = rest.strip_prefix(b"=").or_else(|| rest.strip_prefix(b":"))?;
        begins.then_some(value)
    })
}

/// Words of a value, with quotes, brackets and commas as blanks.
fn words(value: &[u8]) -> Vec<Vec<u8>> {
    let blank =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'[' | b']' | b',' | b'{' | b'}');
    let words = value
        .split(blank)
        .filter(|word| !word.is_empty() && !matches!(*word, b"|" | b">" | b"|-" | b">-"));
    words.map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::in_text;

    #[test]
    fn aliases_are_found_in_each_format() {
        for (text, wanted) in [
            ("[alias]\np = \"publish --token x\"\n", "publish --token x"),
            ("[alias]\np = [\"publish\", \"--no-verify\"]\n", "publish --no-verify"),
            ("[alias]\np = [\n  \"publish\",\n  \"-q\",\n]\nz = 1\n", "publish -q"),
            ("alias.p = 'publish'\n", "publish"),
            ("alias = { p = \"publish\" }\n", "publish"),
            ("[alias]\n\"p\" = \"publish\"", "publish"),
            ("aliases:\n    p: publish now\n", "publish now"),
            ("aliases:\n    p: >-\n        publish now\n", "publish now"),
            ("[toplevel]\np = iam create-access-key\n", "iam create-access-key"),
            ("[toplevel]\np =\n  iam create-access-key\n", "iam create-access-key"),
            ("pp = publish", ""),
        ] {
            let found = in_text(text.as_bytes(), b"p");
            let joined: Vec<String> = found
                .iter()
                .map(|words| String::from_utf8_lossy(&words.join(&b' ')).into_owned())
                .collect();
            assert_eq!(joined.first().map(String::as_str).unwrap_or_default(), wanted, "{text}");
        }
    }
}
