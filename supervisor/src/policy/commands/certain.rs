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

/// What a command's program and words are for certain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// Canonical path of what runs.
    file: Vec<u8>,
    /// Names that the caller gave it.
    given: Vec<Vec<u8>>,
    /// The arguments behind `argv[0]`, each with a space before it.
    rest: Vec<u8>,
    cwd: Vec<u8>,
}

impl Program {
    pub(super) fn of(command: &Command<'_>) -> Self {
        let first = command.argv.first().copied().unwrap_or_default();
        let mut program = Self {
            file: command.file.to_vec(),
            given: vec![first.to_vec()],
            rest: Vec::new(),
            cwd: command.cwd.to_vec(),
        };
        let mut words = command.argv.get(1..).unwrap_or_default();
        // What a script's first line makes of it is allowed where the script is.
        if let [script, .., interpreter] = command.chain.as_slice()
            && *interpreter == command.file
            && let Some(at) = words.iter().position(|word| program.leads_to(word, script))
        {
            let name = words.get(at).copied().unwrap_or_default();
            program.file = script.to_vec();
            program.given = vec![name.to_vec(), base(name).to_vec()];
            words = words.get(at + 1..).unwrap_or_default();
        }
        for word in words {
            program.rest.push(b' ');
            program.rest.extend_from_slice(word);
        }
        program
    }

    fn leads_to(&self, word: &[u8], file: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(&self.cwd)).join(OsStr::from_bytes(word));
        word == file || std::fs::canonicalize(path).is_ok_and(|path| path.as_os_str().as_bytes() == file)
    }

    /// The lines: by the file's path, as given where that names this file, and by its name where `reserved` says that the tree can not write
    /// the path.
    pub(crate) fn lines(&self, table: &Table, reserved: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let line = |name: &[u8]| [name, &self.rest].concat().trim_ascii().to_vec();
        let mut lines = vec![line(&self.file)];
        lines.extend(
            self.given
                .iter()
                .filter(|given| self.is_path(given))
                .map(|given| line(given)),
        );
        if reserved(&self.file) {
            let own = base(&self.file);
            lines.push(line(own));
            lines.extend(table.of_file(own).map(line));
            lines.extend(
                self.given
                    .iter()
                    .filter(|given| self.is_known_as(given))
                    .map(|given| line(given)),
            );
        }
        lines
    }

    /// Whether a name is a path to this file.
    fn is_path(&self, given: &[u8]) -> bool {
        let mut at = PathBuf::from(OsStr::from_bytes(&self.cwd));
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
        let leads = |folder: &&str| self.leads_to(&[folder.as_bytes(), b"/", given].concat(), &self.file);
        !given.contains(&b'/') && (base(&self.file) == given || FOLDERS.iter().any(leads))
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
