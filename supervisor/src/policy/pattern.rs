//! Patterns: anchored, `*` and `**` match any run of bytes, `/` too; everything else is literal.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::fold::folded_if;
use super::links;
use super::types::Scope;
use crate::decision::Decision;

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

    /// The literals between stars; the first stands at the beginning, the last at the end.
    #[must_use]
    pub(crate) fn parts(&self) -> &[Vec<u8>] {
        &self.parts
    }

    /// The name where the pattern is that name at any depth.
    #[must_use]
    pub(crate) fn name(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [start, name] if start.is_empty() => name.strip_prefix(b"/").filter(|name| !name.contains(&b'/')),
            _ => None,
        }
    }

    /// The first word, where the pattern has one without a star.
    #[must_use]
    pub(crate) fn first_word(&self) -> Option<&[u8]> {
        let (first, rest) = self.parts.split_first()?;
        let end = memchr::memchr(b' ', first);
        // `mkfs*` is a prefix of a word, and still the word itself.
        let word = first.get(..end.unwrap_or(first.len()))?;
        (!word.is_empty() && (end.is_some() || rest.len() <= 1)).then_some(word)
    }

    /// Whether some path that begins with `text` can match.
    #[must_use]
    pub(crate) fn may_match_after(&self, text: &[u8]) -> bool {
        let Some((first, rest)) = self.parts.split_first() else {
            return false;
        };
        if first.starts_with(text) {
            return true;
        }
        // Behind the first star anything may come.
        let behind = text.strip_prefix(first.as_slice()).filter(|_| !rest.is_empty());
        behind.is_some_and(|behind| {
            self.newlines || !behind.contains(&b'\n') || rest.iter().any(|part| part.contains(&b'\n'))
        })
    }

    /// Literal bytes, and None for a star.
    pub(super) fn tokens(&self) -> Vec<Option<u8>> {
        let mut tokens = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                tokens.push(None);
            }
            tokens.extend(part.iter().map(|byte| Some(*byte)));
        }
        tokens
    }

    /// The positions of the pattern's automaton after `text`: equal sets answer equally for whatever follows.
    fn positions(&self, text: &[u8]) -> Vec<bool> {
        let tokens = self.tokens();
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
        let dead = |text| !self.may_match_after(text);
        (dead(old) && dead(new)) || self.positions(old) == self.positions(new)
    }

    /// Whether it may match in system trees.
    #[must_use]
    pub(crate) fn reaches_system(&self) -> bool {
        self.system
    }
}

/// What a match does, which says how far a pattern reaches where it can be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Something becomes possible: no star reaches over a line end, and links that the tree may have made are not followed.
    Grant,
    /// Something is recorded, or both roles use it.
    Note,
    /// Something becomes impossible or waits: all links are followed.
    Restrict,
}

impl From<Decision> for Role {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Allow => Self::Grant,
            Decision::AuditOnly | Decision::Warn | Decision::AllowWithAttestation => Self::Note,
            Decision::RequireApproval | Decision::Block => Self::Restrict,
        }
    }
}

impl Role {
    /// The role of what a rule with this decision is not about.
    #[must_use]
    pub(crate) fn of_exception(decision: Decision) -> Self {
        match decision {
            Decision::Allow | Decision::AuditOnly | Decision::Warn | Decision::AllowWithAttestation => Self::Restrict,
            Decision::RequireApproval | Decision::Block => Self::Grant,
        }
    }
}

/// Bytes of one pattern; PATH_MAX, include/uapi/linux/limits.h.
pub(crate) const PATTERN_MAX: usize = 4096;
/// Stars of one pattern; each costs a search through what is left of the path.
pub(crate) const STARS_MAX: usize = 32;

/// A pattern as it is written in a pack, as the absolute patterns that it stands for at the kernel boundary; else what is wrong with it.
///
/// | written | means |
/// |---|---|
/// | `/x`, `${home}/x`, `~/x`, `${workspace}/x`, `${tmp}/x` | that path |
/// | `./x`, `x/y` | below the workspace |
/// | `x`, `**/x`, `*x/y` | at any depth, in and outside the workspace, but not in system trees |
/// | any of them with `/` at the end | the folder and all below it |
///
/// Paths are judged as they are after all links are followed. A pattern whose folders go through links means both places.
pub(crate) fn expand(text: &str, scope: &Scope, role: Role) -> Result<Vec<Glob>, String> {
    let newlines = role != Role::Grant;
    check(text)?;
    let (text, folder) = match text.strip_suffix('/') {
        Some(rest) if !rest.is_empty() => (rest, true),
        _ => (text, false),
    };
    let below =
        |path: &Path, rest: &str| [path.as_os_str().as_bytes().trim_ascii_end_slash(), rest.as_bytes()].concat();
    let mut absolute: Vec<Vec<u8>> = Vec::new();
    let mut anywhere: Option<Vec<u8>> = None;
    if let Some(rest) = text.strip_prefix("${tmp}") {
        absolute.extend(scope.tmp.iter().map(|tmp| below(tmp, rest)));
    } else if let Some(rest) = text.strip_prefix("${workspace}") {
        absolute.push(below(&scope.workspace, rest));
    } else if let Some(rest) = text.strip_prefix("${home}").or_else(|| text.strip_prefix('~')) {
        absolute.push(below(&scope.home, rest));
    } else if text.starts_with('/') {
        absolute.push(text.as_bytes().to_vec());
    } else if let Some(rest) = text.strip_prefix("./") {
        absolute.push(below(&scope.workspace, &format!("/{rest}")));
    } else if let Some(name) = text.strip_prefix("**/") {
        anywhere = Some(format!("*/{name}").into_bytes());
    } else if !text.contains('/') && !folder {
        anywhere = Some(format!("*/{text}").into_bytes());
    } else if text.starts_with('*') {
        anywhere = Some(text.as_bytes().to_vec());
    } else {
        absolute.push(below(&scope.workspace, &format!("/{text}")));
    }
    let relative = !text.starts_with('/') && !text.starts_with("${") && !text.starts_with('~');
    let linked: Vec<Vec<u8>> = absolute
        .iter()
        .filter_map(|path| links::resolved(path, scope, role))
        .collect();
    absolute.extend(linked);
    let mut globs: Vec<Glob> = Vec::new();
    for path in absolute.into_iter().chain(anywhere) {
        let path = if path.is_empty() { b"/".to_vec() } else { path };
        let glob = |text: &[u8]| Glob {
            system: !relative,
            ..Glob::new(&folded_if(scope.fold, text), newlines)
        };
        if folder {
            globs.push(glob(&[&path[..], b"/*"].concat()));
        }
        globs.push(glob(&path));
    }
    Ok(globs)
}

/// Whether a pattern has more stars than are matched.
pub(crate) fn has_too_many_stars(text: &str) -> bool {
    text.matches('*').count() > STARS_MAX
}

/// What can not mean anything, or not what it seems to mean.
fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("an empty pattern matches nothing; remove it".to_owned());
    }
    if text.len() > PATTERN_MAX {
        return Err(format!(
            "{} bytes; no path is longer than {PATTERN_MAX}: name a folder above",
            text.len()
        ));
    }
    if has_too_many_stars(text) {
        return Err(format!(
            "more than {STARS_MAX} stars; `*` and `**` match any characters, `/` too, so one is enough in a row"
        ));
    }
    const VARIABLES: [&str; 3] = ["${workspace}", "${home}", "${tmp}"];
    let named = VARIABLES.iter().find_map(|variable| text.strip_prefix(variable));
    if let Some(rest) = named {
        if !rest.is_empty() && !rest.starts_with('/') {
            return Err("a variable is a folder: write a `/` behind it".to_owned());
        }
        if rest.contains("${") {
            return Err("a variable may only stand at the beginning".to_owned());
        }
    } else if text.starts_with('$') || text.contains("${") {
        return Err(format!(
            "a pattern may begin with {}; other variables have no value here",
            VARIABLES.join(", ")
        ));
    }
    if text.starts_with('~') && text != "~" && !text.starts_with("~/") {
        return Err("only the user's own home has a name here: write `~/…`, or the path in full".to_owned());
    }
    let path = named.unwrap_or(text);
    let path = path.strip_prefix("./").unwrap_or(path);
    let inner = path.strip_suffix('/').unwrap_or(path);
    let inner = inner.strip_prefix('/').unwrap_or(inner);
    let odd = |part: &str| part == "." || part == ".." || (part.is_empty() && !inner.is_empty());
    if inner.split('/').any(odd) {
        return Err(
            "paths are judged without `.`, `..` and `//`: this never matches; write the path that is meant".to_owned(),
        );
    }
    Ok(())
}

trait TrimSlash {
    fn trim_ascii_end_slash(&self) -> &[u8];
}

impl TrimSlash for [u8] {
    /// `/` as a folder in front of `/x` is empty.
    fn trim_ascii_end_slash(&self) -> &[u8] {
        self.strip_suffix(b"/").unwrap_or(self)
    }
}

/// Whether a path is `tree` or below it.
#[must_use]
pub(crate) fn is_below(path: &[u8], tree: &[u8]) -> bool {
    path.strip_prefix(tree.trim_ascii_end_slash())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Glob, Role, expand};
    use crate::policy::Scope;

    fn scope() -> Scope {
        Scope {
            workspace: "/ws".into(),
            home: "/home/u".into(),
            tmp: vec!["/tmp".into(), "/var/tmp".into()],
            fold: false,
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
            ("~/.ssh/**", "/home/u/.ssh/id", true),
            ("~/.netrc", "/home/u/.netrc", true),
            ("./iam/**", "/ws/iam/a", true),
            ("./.env", "/ws/.env", true),
            ("./.env", "/ws/a/.env", false),
            ("iam/", "/ws/iam/a/b", true),
            ("iam/", "/ws/iam", true),
            ("iam/", "/ws/iamb", false),
            ("/data/", "/data/x", true),
            ("**/node_modules/", "/ws/a/node_modules/x/y", true),
            ("*secret/x", "/ws/mysecret/x", true),
            ("*secret/x", "/other/secret/x", true),
            ("**foo/bar", "/ws/foo/bar", true),
            ("${workspace}", "/ws", true),
            ("~", "/home/u", true),
            ("/", "/", true),
            ("/a*b*c", "/axbxc", true),
            ("/a*b*c", "/axcxb", false),
        ] {
            assert_eq!(
                expand(pattern, &scope(), Role::Restrict)
                    .unwrap()
                    .iter()
                    .any(|g| g.matches(path.as_bytes())),
                wanted,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn a_pattern_that_means_nothing_is_an_error() {
        for (pattern, says) in [
            ("", "empty"),
            ("${home}x", "a `/` behind it"),
            ("${home}*", "a `/` behind it"),
            ("${workspace", "may begin with"),
            ("$HOME/.ssh", "may begin with"),
            ("a/${home}/x", "may begin with"),
            ("${home}/${tmp}", "only stand at the beginning"),
            ("~root/x", "user's own home"),
            ("/a/../b", "never matches"),
            ("/a/./b", "never matches"),
            ("a//b", "never matches"),
            ("${home}/..", "never matches"),
            ("../x", "never matches"),
            (&"*a".repeat(40), "stars"),
            (&"a".repeat(5000), "4096"),
        ] {
            let error = expand(pattern, &scope(), Role::Restrict).unwrap_err();
            assert!(error.contains(says), "{pattern}: {error}");
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
                expand(pattern, &scope(), Role::Restrict)
                    .unwrap()
                    .iter()
                    .all(|g| g.same_below(old.as_bytes(), new.as_bytes())),
                same,
                "{pattern} {old} {new}"
            );
        }
    }
}
