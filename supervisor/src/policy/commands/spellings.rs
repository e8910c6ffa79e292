//! One command in the several spellings that patterns are matched against.
//!
//! No spelling is ever cut: a spelling is a few words and a place in the caller's own argument list, from which [`Spelling::write`] makes
//! its line when it is asked for, so that two megabytes of arguments cost their own size once and not once a spelling. Bounded are the
//! wrappers that are looked through ([`WRAPPERS_MAX`]), because what is behind them comes as an exec of its own and meets the same patterns
//! again, and the readings of options that no table knows, because programs refuse such options.

use std::borrow::Cow;

use super::names::{base, names};
use super::tools;
use super::wrappers;
use crate::policy::Command;

/// Wrappers in front of one command that are looked through; the commands behind more of them are decided when they are executed.
const WRAPPERS_MAX: usize = 16;
/// Commands that one command line may contain, all readings counted.
const INNER_MAX: usize = 64;

/// A command inside a command line: the names of its program, and where its arguments begin.
#[derive(Clone, Debug)]
pub(super) struct Inner<'a> {
    pub(super) names: Vec<&'a [u8]>,
    pub(super) arguments: usize,
}

/// One spelling: words of ours, then the caller's arguments from a place on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spelling<'a> {
    head: Vec<Cow<'a, [u8]>>,
    rest: usize,
}

impl<'a> Spelling<'a> {
    /// A spelling of whole words.
    pub(super) fn of(words: Vec<Cow<'a, [u8]>>) -> Self {
        Self {
            head: words,
            rest: usize::MAX,
        }
    }

    /// Writes the line into `out`: words joined by single spaces, blanks at both ends removed.
    pub(crate) fn write(&self, command: &Command<'_>, out: &mut Vec<u8>) {
        out.clear();
        let rest = command.argv.get(self.rest..).unwrap_or_default();
        for word in self.head.iter().map(AsRef::as_ref).chain(rest.iter().copied()) {
            out.extend_from_slice(word);
            out.push(b' ');
        }
        let end = out.trim_ascii_end().len();
        out.truncate(end);
        let begin = out.len() - out.trim_ascii_start().len();
        out.drain(..begin);
    }
}

/// The command and all commands inside it, the outermost first.
pub(super) fn inner_commands<'a>(command: &Command<'a>) -> Vec<Inner<'a>> {
    let mut own: Vec<&'a [u8]> = Vec::new();
    let mut add = |name: &'a [u8]| {
        for name in names(name) {
            if !name.is_empty() && !own.contains(&name) {
                own.push(name);
            }
        }
    };
    if let Some(first) = command.argv.first() {
        add(first);
    }
    add(base(command.file));
    for script in &command.chain {
        add(base(script));
    }
    for copy in &command.copies_of {
        add(copy.as_bytes());
    }
    let mut all = vec![(
        Inner {
            names: own,
            arguments: 1,
        },
        0,
    )];
    let mut at = 0;
    while let Some((outer, depth)) = all.get(at).cloned() {
        at += 1;
        let words = command.argv.get(outer.arguments..).unwrap_or_default();
        for name in &outer.names {
            for found in wrappers::inner(name, words) {
                let arguments = outer.arguments + found.arguments;
                let depth = if found.in_process { depth } else { depth + 1 };
                let known = all
                    .iter()
                    .any(|(inner, _)| inner.arguments == arguments && inner.names.first() == Some(&found.name));
                if depth <= WRAPPERS_MAX && all.len() < INNER_MAX && !known {
                    all.push((
                        Inner {
                            names: names(found.name),
                            arguments,
                        },
                        depth,
                    ));
                }
            }
        }
    }
    all.into_iter().map(|(inner, _)| inner).collect()
}

/// Every way in which the command may be written in a pattern; pushes of git are not among them.
pub(super) fn plain<'a>(command: &Command<'a>) -> Vec<Spelling<'a>> {
    let mut all: Vec<Spelling<'a>> = Vec::new();
    let mut add = |words: &[&'a [u8]], rest: usize| {
        let spelling = Spelling {
            head: words.iter().map(|word| Cow::Borrowed(*word)).collect(),
            rest,
        };
        if !all.contains(&spelling) {
            all.push(spelling);
        }
    };
    for inner in inner_commands(command) {
        let words = command.argv.get(inner.arguments..).unwrap_or_default();
        for name in &inner.names {
            add(&[*name], inner.arguments);
            for verb in tools::verbs(name, words) {
                add(&[&[*name][..], &verb.words].concat(), inner.arguments + verb.rest);
            }
        }
    }
    all
}
