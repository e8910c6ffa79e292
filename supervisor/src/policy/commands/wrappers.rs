//! Programs that run another command given on their command line, and where that command begins.
//!
//! What a wrapper runs comes as an exec of its own and is decided again then; reading it here refuses it before the wrapper starts.
//! Loaders, applets and interpreters run it without an exec, and `ssh` or `docker exec` somewhere else, so for them this reading is the only one.

use super::grammar::Places;
use super::table::{Program, Remote, Runs};

/// A command found inside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inner<'a> {
    /// Its first word, or the module's name.
    pub(super) name: &'a [u8],
    /// Index of its first argument in the words given.
    pub(super) arguments: usize,
    /// Whether no exec follows by which it would be decided again.
    pub(super) unseen: bool,
    /// How its words are read where it runs.
    pub(super) remote: Option<Remote>,
}

/// The commands that a program with the arguments `words` may run, and whether there would have been more.
pub(super) fn inner<'a>(program: &Program, words: &[&'a [u8]]) -> (Vec<Inner<'a>>, bool) {
    let Some(runs) = &program.runs else {
        return (Vec::new(), false);
    };
    let unseen = runs.in_process || runs.remote.is_some();
    let mut found: Vec<Inner<'a>> = runs
        .module
        .and_then(|letter| module(letter, words))
        .into_iter()
        .collect();
    let places = starts(program, runs, words);
    for at in places.at {
        if let Some(name) = words.get(at) {
            found.push(Inner {
                name,
                arguments: at + 1,
                unseen,
                remote: runs.remote,
            });
        }
    }
    (found, places.cut && unseen)
}

/// Where the command may begin.
fn starts(program: &Program, runs: &Runs, words: &[&[u8]]) -> Places {
    let mut places = program.grammar.operands(words, 0);
    for verb in &runs.verb {
        places.at.retain(|at| words.get(*at) == Some(&verb.as_bytes()));
        places = again(program, words, places, 1);
    }
    if runs.operands > 0 {
        // `setarch x86_64 -R cmd`, `flock file -- cmd`: some read options once more.
        places = again(program, words, places, runs.operands);
    }
    if runs.assignments {
        let assigned = |at: usize| {
            words
                .get(at..)
                .unwrap_or_default()
                .iter()
                .take_while(|word| word.contains(&b'='))
                .count()
        };
        // `sudo A=1 -u root cmd`: options may follow. Each round takes a word away from each place.
        while places.at.iter().any(|at| assigned(*at) > 0) {
            for at in &mut places.at {
                *at += assigned(*at);
            }
            places = again(program, words, places, 0);
        }
    }
    places
}

/// Where the command begins when options are read once more, `skipped` words behind each of `places`.
fn again(program: &Program, words: &[&[u8]], places: Places, skipped: usize) -> Places {
    let mut next = Places {
        at: Vec::new(),
        cut: places.cut,
    };
    for at in places.at {
        let more = program.grammar.operands(words, at + skipped);
        next.at.extend(more.at);
        next.cut |= more.cut;
    }
    next.at.sort_unstable();
    next.at.dedup();
    next
}

/// `-m NAME`, `-mNAME`, `-Im NAME`, before any script.
fn module<'a>(letter: char, words: &[&'a [u8]]) -> Option<Inner<'a>> {
    let is_module = |found: u8| char::from(found) == letter;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let letters = word
            .strip_prefix(b"-")
            .filter(|rest| !rest.is_empty() && !rest.starts_with(b"-"))?;
        let Some(place) = letters
            .iter()
            .position(|found| matches!(*found, b'W' | b'X' | b'c') || is_module(*found))
        else {
            at += 1;
            continue;
        };
        let attached = letters.get(place + 1..).unwrap_or_default();
        match letters.get(place) {
            Some(b'c') => return None,
            Some(found) if is_module(*found) => {
                let (name, arguments) = if attached.is_empty() {
                    (*words.get(at + 1)?, at + 2)
                } else {
                    (attached, at + 1)
                };
                return Some(Inner {
                    name,
                    arguments,
                    unseen: true,
                    remote: None,
                });
            }
            _ => at += if attached.is_empty() { 2 } else { 1 },
        }
    }
    None
}
