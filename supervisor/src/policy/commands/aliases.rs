//! Verbs that a tool's user has named: cargo's, gh's, glab's, aws's. The tool replaces them itself, so no exec shows what they mean.
//!
//! The files are TOML, YAML or INI, and read by one rule for all: a line whose key is the verb, and the words behind it up to the next
//! key. That finds more than the tool would, in sections that are not about aliases, and so refuses more. What that rule could not find
//! (escapes, anchors, strings of several lines) makes a file count as hidden, and a command that it may be about as unreadable.

use super::files::{Content, read, upwards};
use super::repo::Place;
use super::table::Aliases;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Lines that one alias may have.
const LINES_MAX: usize = 32;

/// Words of one alias from each of which on it may mean a command.
const STARTS_MAX: usize = 12;

/// The meanings that `verb` may have by its users' files and variables and by the options in `words`, each as words; and whether a file could
/// not be read.
pub(super) fn meanings(
    aliases: &Aliases,
    verb: &[u8],
    words: &[&[u8]],
    place: &Place<'_>,
) -> (Vec<Vec<Vec<u8>>>, bool) {
    let mut all = Vec::new();
    let mut hidden = false;
    if let Some(prefix) = &aliases.env {
        let name = [prefix.as_bytes(), &variable(verb)].concat();
        let values = place
            .env
            .iter()
            .filter_map(|entry| entry.strip_prefix(name.as_slice())?.strip_prefix(b"="));
        all.extend(values.map(in_words));
    }
    let mut folders = vec![place.cwd.clone()];
    let mut files: Vec<PathBuf> = Vec::new();
    for value in values_of(&aliases.options, words) {
        // A setting, a file of settings, or a folder to work in.
        all.extend(in_text(value, verb, &mut hidden));
        let path = path(&place.cwd).join(path(value));
        if path.is_dir() {
            folders.push(path.into_os_string().into_encoded_bytes());
        } else if !value.contains(&b'=') {
            files.push(path);
        }
    }
    for folder in folders {
        let place = Place {
            cwd: folder,
            ..place.clone()
        };
        files.extend(aliases.files.iter().flat_map(|file| paths(file, &place)));
    }
    for file in files {
        match read(&file) {
            Content::Bytes(text) => all.extend(in_text(&text, verb, &mut hidden)),
            Content::Missing => {}
            Content::Hidden => hidden = true,
        }
    }
    // `[ # a comment` and tags stand in front of what is meant.
    let starts = |words: Vec<Vec<u8>>| {
        (0..words.len().min(STARTS_MAX)).map(move |at| words.get(at..).unwrap_or_default().to_vec())
    };
    let mut meanings: Vec<Vec<Vec<u8>>> = all.into_iter().flat_map(starts).collect();
    meanings.dedup();
    (meanings, hidden)
}

/// The values of these options among the words.
fn values_of<'w>(options: &[String], words: &[&'w [u8]]) -> Vec<&'w [u8]> {
    let mut values = Vec::new();
    for (at, word) in words.iter().enumerate() {
        for option in options {
            match word.strip_prefix(option.as_bytes()) {
                Some([]) => values.extend(words.get(at + 1)),
                Some([b'=', value @ ..]) => values.push(value),
                Some(value) if !option.starts_with("--") => values.push(value),
                _ => {}
            }
        }
    }
    values
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

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn paths(file: &str, place: &Place<'_>) -> Vec<PathBuf> {
    if let Some(name) = file.strip_prefix("^/") {
        return upwards(&path(&place.cwd)).map(|folder| folder.join(name)).collect();
    }
    let Some((name, rest)) = file.strip_prefix("${").and_then(|file| file.split_once('}')) else {
        return vec![PathBuf::from(file)];
    };
    let name = if name == "home" { "HOME" } else { name };
    place
        .variable(name)
        .filter(|value| !value.is_empty())
        .map(|value| path(&place.cwd).join(path(&[value, rest.as_bytes()].concat())))
        .into_iter()
        .collect()
}

fn in_text(text: &[u8], verb: &[u8], hidden: &mut bool) -> Vec<Vec<Vec<u8>>> {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let mut found = Vec::new();
    *hidden |= is_strange(text);
    for (at, line) in lines.iter().enumerate() {
        // kuberc: `- name: VERB` beside `command: …`.
        if value_of(line, b"name").is_some_and(|name| in_words(name) == [verb]) {
            let near = lines.iter().skip(at.saturating_sub(LINES_MAX)).take(2 * LINES_MAX);
            found.extend(near.filter_map(|line| value_of(line, b"command")).map(in_words));
        }
        let Some(own) = value_of(line, verb) else { continue };
        *hidden |= matches!(own.trim_ascii_start(), [b'*' | b'!', ..]);
        let mut value = own.to_vec();
        for more in lines.iter().skip(at + 1).take(LINES_MAX) {
            // A value goes on in lines that are indented, or up to the bracket that closes it.
            let open = value.contains(&b'[') && !value.contains(&b']');
            if !open && !more.starts_with(b" ") && !more.starts_with(b"\t") {
                break;
            }
            value.push(b' ');
            value.extend_from_slice(more);
        }
        found.push(in_words(&value));
        // `d: release create` with another key indented as deep behind it.
        found.push(in_words(own));
    }
    found
}

/// Whether a text is written in ways that one rule for all formats does not read.
fn is_strange(text: &[u8]) -> bool {
    let has = |piece: &[u8]| memchr::memmem::find(text, piece).is_some();
    let complex = |line: &[u8]| line.trim_ascii_start().starts_with(b"? ");
    has(b"\\") || has(b"\"\"\"") || has(b"'''") || text.split(|byte| *byte == b'\n').any(complex)
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
fn in_words(value: &[u8]) -> Vec<Vec<u8>> {
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
            let mut hidden = false;
            let found = in_text(text.as_bytes(), b"p", &mut hidden);
            assert!(!hidden, "{text}");
            let joined: Vec<String> = found
                .iter()
                .map(|words| String::from_utf8_lossy(&words.join(&b' ')).into_owned())
                .collect();
            assert_eq!(joined.first().map(String::as_str).unwrap_or_default(), wanted, "{text}");
        }
    }

    #[test]
    fn what_one_rule_does_not_read_is_told() {
        for text in [
            "[alias]\n\"\\u0070\" = \"publish\"\n",
            "[alias]\np = \"pub\\u006cish\"\n",
            "[alias]\np = \"\"\"\npublish\"\"\"\n",
            "aliases:\n  x: &v publish\n  p: *v\n",
            "aliases:\n  p: !!str publish\n",
            "aliases:\n  ? p\n  : publish\n",
        ] {
            let mut hidden = false;
            in_text(text.as_bytes(), b"p", &mut hidden);
            assert!(hidden, "{text}");
        }
    }
}
