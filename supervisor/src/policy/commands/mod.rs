//! Commands understood: the spellings of one command, and the branches that a `git push` would change.

mod config;
mod grammar;
mod names;
mod push;
mod refspec;
mod repo;
mod spellings;
#[cfg(test)]
mod tests;
mod tools;
mod wrappers;

use std::borrow::Cow;
use std::ops::ControlFlow;

pub(super) use push::PushTarget;
pub(super) use repo::{Disk, Repo};

use super::types::Command;

/// The spellings of a command as lines, the one as given first. The most restrictive match over all of them decides.
///
/// Takes as much memory as the arguments for each spelling; [`each_spelling`] takes it once.
#[must_use]
pub(super) fn spellings(command: &Command<'_>) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let _all: ControlFlow<()> = each_spelling(command, &Disk, |line| {
        if !lines.iter().any(|known| known == line) {
            lines.push(line.to_vec());
        }
        ControlFlow::Continue(())
    });
    lines
}

/// Gives each spelling's line to `see` until it breaks. Lines with runs of blanks are given a second time with single ones.
pub(super) fn each_spelling<B>(
    command: &Command<'_>,
    repo: &dyn Repo,
    mut see: impl FnMut(&[u8]) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let mut all = spellings::plain(command);
    for push in push::pushes(command, repo) {
        all.extend(push.spellings());
    }
    let mut line = Vec::new();
    for spelling in all {
        spelling.write(command, &mut line);
        see(&line)?;
        if let Cow::Owned(collapsed) = collapsed(&line) {
            see(&collapsed)?;
        }
    }
    ControlFlow::Continue(())
}

/// The branches that the command would change in other repositories; empty for what is no push. Read from the repository on disk.
#[must_use]
pub(super) fn pushes(command: &Command<'_>) -> Vec<PushTarget> {
    pushes_in(command, &Disk)
}

/// As [`pushes`], in a repository that `repo` knows.
#[must_use]
pub(super) fn pushes_in(command: &Command<'_>, repo: &dyn Repo) -> Vec<PushTarget> {
    let mut targets = Vec::new();
    for push in push::pushes(command, repo) {
        for target in push.targets {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    targets
}

/// Blanks and tabs in runs as one space; line ends stay, for an allow never reaches over them.
fn collapsed(line: &[u8]) -> Cow<'_, [u8]> {
    let blank = |byte: &u8| matches!(*byte, b' ' | b'\t');
    if !line.contains(&b'\t') && !line.windows(2).any(|pair| pair == b"  ") {
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
