//! The lines of a command that a loosening rule may go by.
//!
//! A block holds for whatever a command may mean. An allow, where commands are else held or refused, must hold for what it does mean: not for
//! `argv[0]`, which the caller chooses (`exec -a git ./evil status`), not for what stands behind a wrapper with options of its own, and for a
//! program's bare name only where the tree could not have given that name to another file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::names::base;
use super::table::Table;
use crate::policy::Command;

/// Folders whose names are the machine's.
const FOLDERS: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// A command, kept until somebody asks what it is for certain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// Canonical path of what runs.
    file: Vec<u8>,
    /// The script that it interprets.
    script: Option<Vec<u8>>,
    /// The arguments, `argv[0]` included, a NUL behind each.
    words: Vec<u8>,
    cwd: Vec<u8>,
}

/// What runs, under which names, with which arguments.
struct Certain<'p> {
    file: &'p [u8],
    given: Vec<&'p [u8]>,
    words: Vec<&'p [u8]>,
    cwd: &'p [u8],
}

impl Program {
    pub(crate) fn of(command: &Command<'_>) -> Self {
        let mut words = Vec::with_capacity(command.argv.iter().map(|word| word.len() + 1).sum());
        for word in &command.argv {
            words.extend_from_slice(word);
            words.push(0);
        }
        let script = match command.chain.as_slice() {
            [script, .., interpreter] if *interpreter == command.file => Some(script.to_vec()),
            _ => None,
        };
        Self {
            file: command.file.to_vec(),
            script,
            words,
            cwd: command.cwd.to_vec(),
        }
    }

    /// The lines: by the file's path, as given where that names this file, and by its name where `reserved` says that the tree can not write
    /// the path.
    pub(crate) fn lines(&self, table: &Table, reserved: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let certain = self.certain();
        let line = |name: &[u8]| {
            let words = std::iter::once(name).chain(certain.words.iter().copied());
            words.collect::<Vec<_>>().join(&b' ').trim_ascii().to_vec()
        };
        let mut lines = vec![line(certain.file)];
        lines.extend(
            certain
                .given
                .iter()
                .filter(|given| certain.is_path(given))
                .map(|given| line(given)),
        );
        if reserved(certain.file) {
            let own = base(certain.file);
            lines.push(line(own));
            lines.extend(table.of_file(own).map(line));
            lines.extend(
                certain
                    .given
                    .iter()
                    .filter(|given| certain.is_known_as(given))
                    .map(|given| line(given)),
            );
        }
        lines
    }

    fn certain(&self) -> Certain<'_> {
        let mut words: Vec<&[u8]> = self.words.split(|byte| *byte == 0).collect();
        // What stands behind the last NUL.
        words.pop();
        let given = if words.is_empty() { &b""[..] } else { words.remove(0) };
        let mut certain = Certain {
            file: &self.file,
            given: vec![given],
            words,
            cwd: &self.cwd,
        };
        // What a script's first line makes of it is allowed where the script is.
        if let Some(script) = &self.script
            && let Some(at) = certain.words.iter().position(|word| certain.leads_to(word, script))
        {
            let behind = certain.words.split_off(at);
            let (name, words) = behind
                .split_first()
                .map_or((&b""[..], &[][..]), |(name, words)| (*name, words));
            certain.file = script;
            certain.given = vec![name, base(name)];
            certain.words = words.to_vec();
        }
        certain
    }
}

impl Certain<'_> {
    fn leads_to(&self, word: &[u8], file: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(self.cwd)).join(OsStr::from_bytes(word));
        word == file || std::fs::canonicalize(path).is_ok_and(|path| path.as_os_str().as_bytes() == file)
    }

    /// Whether a name is a path to this file.
    fn is_path(&self, given: &[u8]) -> bool {
        let mut at = PathBuf::from(OsStr::from_bytes(self.cwd));
        for component in Path::new(OsStr::from_bytes(given)).components() {
            match component {
                Component::RootDir => at = PathBuf::from("/"),
                Component::Normal(name) => at.push(name),
                Component::ParentDir => drop(at.pop()),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
        given.contains(&b'/') && at.as_os_str().as_bytes() == self.file
    }

    /// Whether a folder of the machine's has the file under this name: `sh` for dash, `python3` for python3.12.
    fn is_known_as(&self, given: &[u8]) -> bool {
        let leads = |folder: &&str| self.leads_to(&[folder.as_bytes(), b"/", given].concat(), self.file);
        !given.contains(&b'/') && (base(self.file) == given || FOLDERS.iter().any(leads))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Program, Table};
    use crate::policy::Command;

    #[test]
    fn an_allow_goes_by_what_is_certain() {
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        let shell = shell.to_str().unwrap();
        for (file, argv, wanted) in [
            (
                "/usr/bin/git",
                "git status",
                "/usr/bin/git status|git status|git status",
            ),
            (
                "/usr/bin/git",
                "/usr/bin/git status",
                "/usr/bin/git status|/usr/bin/git status|git status",
            ),
            ("/usr/bin/git", "ls status", "/usr/bin/git status|git status"),
            ("/ws/evil", "git status", "/ws/evil status"),
            ("/ws/git", "git status", "/ws/git status"),
            ("/ws/git", "./git status", "/ws/git status|./git status"),
            ("/ws/run", "../ws/./run x", "/ws/run x|../ws/./run x"),
            ("/ws/evil", "./run x", "/ws/evil x"),
            (
                "/usr/lib/npm/npm-cli.js",
                "npm test",
                "/usr/lib/npm/npm-cli.js test|npm-cli.js test|npm test",
            ),
            (
                "/usr/bin/env",
                "env A=1 git status",
                "/usr/bin/env A=1 git status|env A=1 git status|env A=1 git status",
            ),
            (
                shell,
                "sh x",
                &format!("{shell} x|{} x|sh x", shell.rsplit('/').next().unwrap()),
            ),
        ] {
            let command = Command {
                file: file.as_bytes(),
                argv: argv.split(' ').map(str::as_bytes).collect(),
                cwd: b"/ws",
                ..Command::default()
            };
            let lines = Program::of(&command).lines(Table::shipped(), |path| path.starts_with(b"/usr/"));
            let joined: Vec<String> = lines
                .iter()
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect();
            assert_eq!(joined.join("|"), wanted, "{file} {argv}");
        }
    }

    #[test]
    fn an_interpreter_is_allowed_with_its_script() {
        let command = Command {
            file: b"/usr/bin/node",
            chain: vec![b"/usr/lib/npm/npm-cli.js", b"/usr/bin/node"],
            argv: vec![b"/usr/bin/node", b"--x", b"/usr/lib/npm/npm-cli.js", b"test"],
            cwd: b"/ws",
            ..Command::default()
        };
        let lines = Program::of(&command).lines(Table::shipped(), |_| true);
        assert!(lines.contains(&b"npm test".to_vec()));
        assert!(!lines.iter().any(|line| line.starts_with(b"node")));
    }
}
