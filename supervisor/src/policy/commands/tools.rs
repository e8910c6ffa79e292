//! Verbs of tools: options in front of and between their words left out, abbreviations, verbs that mean another one.

use super::table::{Program, Words};

/// Readings of one command line; more belong to no command that runs.
const READINGS_MAX: usize = 256;
/// One reading of a tool's command line: the words of the verb, and where the rest begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verb<'a> {
    /// The verb's words, options between them left out.
    pub(super) words: Vec<&'a [u8]>,
    /// Index of the first word after its first one.
    pub(super) first: usize,
    /// Index of the first word after it.
    pub(super) rest: usize,
}

/// Each way to read the verb of a program called with `words`, from its first word alone to all that it may have; and whether there would have
/// been more.
pub(super) fn verbs<'a>(program: &'a Program, words: &[&'a [u8]]) -> (Vec<Verb<'a>>, bool) {
    if program.words == 0 {
        return (Vec::new(), false);
    }
    // `cargo +nightly publish`
    let start = usize::from(program.toolchain && words.first().is_some_and(|word| word.starts_with(b"+")));
    let first = program.grammar.operands(words, start);
    let mut cut = first.cut;
    let mut last: Vec<Verb<'a>> = Vec::new();
    for at in first.at {
        let Some(word) = words.get(at) else { continue };
        last.push(Verb {
            words: vec![*word],
            first: at + 1,
            rest: at + 1,
        });
        last.extend(abbreviated(program, word).map(|verb| Verb {
            words: vec![verb],
            first: at + 1,
            rest: at + 1,
        }));
    }
    let mut all = last.clone();
    last.retain(|verb| program.groups.is_empty() || verb.words.iter().any(|word| has(&program.groups, word)));
    for _ in 1..program.words {
        let mut longer: Vec<Verb<'a>> = Vec::new();
        for verb in &last {
            for at in program.grammar.plain_operands(words, verb.rest) {
                let read = Verb {
                    words: verb.words.iter().copied().chain(words.get(at).copied()).collect(),
                    first: verb.first,
                    rest: at + 1,
                };
                if !longer.contains(&read) {
                    longer.push(read);
                }
            }
        }
        cut |= all.len() + longer.len() > READINGS_MAX;
        all.extend(longer.iter().take(READINGS_MAX.saturating_sub(all.len())).cloned());
        last = longer;
        last.truncate(READINGS_MAX);
    }
    let others: Vec<Verb<'a>> = all.iter().flat_map(|verb| meant(program, verb, words)).collect();
    all.extend(others);
    (all, cut)
}

/// What a verb does, where its options say so beyond doubt.
pub(super) struct Mode<'a> {
    /// The verb's first word.
    pub(super) verb: &'a [u8],
    /// The option that chooses; none where the operands alone say it.
    pub(super) chosen: Option<&'a [u8]>,
    /// Index of the first operand.
    pub(super) operands: usize,
}

/// What a verb with modes does.
pub(super) fn mode<'a>(program: &'a Program, verb: &Verb<'a>, words: &[&'a [u8]]) -> Option<Mode<'a>> {
    let first = *verb.words.first()?;
    let (_, modes) = program.modes.iter().find(|(name, _)| **name == *first)?;
    let (at, options) = modes.grammar.certainly(words, verb.first)?;
    let mut chosen: Option<&[u8]> = None;
    for option in options {
        let Some(mode) = modes.chosen.get(option.as_ref()) else {
            continue;
        };
        if chosen.is_some_and(|other| other != &**mode) {
            return None;
        }
        chosen = Some(mode);
    }
    let operands = words.get(at..).unwrap_or_default();
    // An operand that looks like an option, or one with options of its own, would make another command of the line.
    let strange = |word: &&&[u8]| word.starts_with(b"-") || has(&modes.verbs, word);
    if chosen.is_none() && operands.first().filter(strange).is_some() {
        return None;
    }
    let one = modes.one.as_deref().filter(|_| operands.len() == 1);
    Some(Mode {
        verb: first,
        chosen: chosen.or(one),
        operands: at,
    })
}

/// The verbs that an unknown word abbreviates.
fn abbreviated<'p>(program: &'p Program, word: &[u8]) -> impl Iterator<Item = &'p [u8]> {
    let known = !program.abbreviates || is_own(program, word);
    let word = word.to_vec();
    program
        .verbs
        .iter()
        .map(AsRef::as_ref)
        .filter(move |verb| !known && verb.starts_with(&word))
}

/// Whether a word is one of the program's own verbs, so that nobody can have defined it.
pub(super) fn is_own(program: &Program, word: &[u8]) -> bool {
    has(&program.verbs, word)
        || program
            .same
            .iter()
            .any(|(verb, _)| verb.len() == 1 && verb.first().is_some_and(|only| **only == *word))
}

/// The verbs that this one means; a word with a dash may stand anywhere behind it.
fn meant<'a>(program: &'a Program, verb: &Verb<'a>, words: &[&[u8]]) -> Vec<Verb<'a>> {
    let is = |same: &Words| {
        let mut read = verb.words.iter();
        let rest = words.get(verb.rest..).unwrap_or_default();
        let fits = same.iter().all(|word| {
            if word.starts_with(b"-") {
                rest.iter().any(|given| option(given) == option(word))
            } else {
                read.next() == Some(&word.as_ref())
            }
        });
        fits && read.next().is_none()
    };
    let same = program.same.iter().filter(|(same, _)| is(same));
    same.map(|(_, other)| Verb {
        words: other.iter().map(AsRef::as_ref).collect(),
        first: verb.first,
        rest: verb.rest,
    })
    .collect()
}

/// An option without its dashes, `--flag=true` as `flag`.
fn option(word: &[u8]) -> &[u8] {
    let word = word
        .strip_prefix(b"--")
        .or_else(|| word.strip_prefix(b"-"))
        .unwrap_or_default();
    word.split(|byte| *byte == b'=').next().unwrap_or_default()
}

fn has(list: &[Box<[u8]>], word: &[u8]) -> bool {
    list.iter().any(|entry| **entry == *word)
}
