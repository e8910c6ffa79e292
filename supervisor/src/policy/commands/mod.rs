//! Commands understood: the spellings of one command, and the branches that a `git push` would change.

#[cfg(test)]
mod against_git;
mod aliases;
mod certain;
mod config;
mod files;
#[cfg(test)]
mod generated;
mod grammar;
mod names;
mod plain;
mod push;
mod refspec;
mod repo;
mod shell;
mod spellings;
mod table;
#[cfg(test)]
mod tests;
mod tools;
mod wrappers;

use std::borrow::Cow;

pub(super) use certain::Program;
pub(super) use plain::{Lines, lines as plain_lines};
pub(super) use push::PushTarget;
use repo::{Disk, Repo};
pub(super) use table::Table;

use super::types::Command;

/// Bytes of all spellings of one command: two megabytes of arguments, the kernel's limit, have room for a dozen.
const LINES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a command may mean. The most restrictive answer over all of it decides.
#[derive(Debug)]
pub(super) struct Meaning {
    /// Its spellings as lines, the one as given first.
    pub(super) lines: Vec<Line>,
    /// The branches that it would change in other repositories; empty for what is no push.
    pub(super) pushes: Vec<PushTarget>,
    /// It has more readings than any command that runs: to be refused.
    pub(super) unreadable: bool,
    /// What runs for certain: what an allow goes by.
    pub(super) program: Program,
}

/// One spelling, ready for patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// What a rule's patterns see, and its exceptions.
    pub(super) text: Vec<u8>,
    /// What its exceptions see too: the command by what it does, `git config --list` for `git config --local -z --list`.
    pub(super) mode: Option<Vec<u8>>,
}

/// Reads a command by the rows of `table`; what a push means, by the repository on disk.
#[must_use]
pub(super) fn meaning(table: &Table, command: &Command<'_>) -> Meaning {
    meaning_in(&Disk, table, command)
}

fn meaning_in(repo: &dyn Repo, table: &Table, command: &Command<'_>) -> Meaning {
    let reading = spellings::read(table, repo, command);
    let mut meaning = Meaning {
        lines: Vec::with_capacity(reading.spellings.len()),
        pushes: Vec::new(),
        unreadable: reading.cut,
        program: Program::of(command),
    };
    let mut bytes = 0;
    for spelling in &reading.spellings {
        let mut line = Vec::new();
        spelling.write(command, &mut line);
        bytes += line.len();
        let second = match collapsed(&line) {
            Cow::Owned(second) => Some(second),
            Cow::Borrowed(_) => None,
        };
        let mode = spelling.mode().map(|mode| {
            let mut line = Vec::new();
            mode.write(command, &mut line);
            line
        });
        bytes += second.as_ref().map_or(0, Vec::len) + mode.as_ref().map_or(0, Vec::len);
        let lines = std::iter::once(line).chain(second);
        meaning.lines.extend(lines.map(|text| Line {
            text,
            mode: mode.clone(),
        }));
        if bytes > LINES_BYTES_MAX {
            meaning.unreadable = true;
            break;
        }
    }
    for target in reading.pushes.into_iter().flat_map(|push| push.targets) {
        if !meaning.pushes.contains(&target) {
            meaning.pushes.push(target);
        }
    }
    meaning
}

/// Blanks and tabs in runs as one space; line ends stay, for an allow never reaches over them.
fn collapsed(line: &[u8]) -> Cow<'_, [u8]> {
    let blank = |byte: &u8| matches!(*byte, b' ' | b'\t');
    if memchr::memchr(b'\t', line).is_none() && memchr::memmem::find(line, b"  ").is_none() {
        return Cow::Borrowed(line);
    }
    let mut out: Vec<u8> = Vec::with_capacity(line.len());
    for byte in line {
        if !blank(byte) {
            out.push(*byte);
        } else if out.last() != Some(&b' ') {
            out.push(b' ');
        }
    }
    Cow::Owned(out)
}
