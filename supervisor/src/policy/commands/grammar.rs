//! How programs read the options in front of their first operand, as data, and one reader for all of them.

use std::borrow::Cow;

use serde::Deserialize;

/// Places at which a command line's operand may begin, where the table does not know its options; the two plain readings (each unknown
/// option has a value, none has) come always.
const READINGS_MAX: usize = 16;

/// The options of one program. An option in neither list is read both ways: without a value and with one.
#[derive(Clone, Debug, Default)]
pub(super) struct Grammar {
    /// Each sorted.
    valued: Vec<Box<[u8]>>,
    flags: Vec<Box<[u8]>>,
    stops: Vec<Box<[u8]>>,
    style: Style,
}

/// How words become options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Style {
    /// `-abc` is three options, `--long` may be abbreviated: getopt, argparse, pflag, clap.
    #[default]
    Gnu,
    /// `-long` and `--long` are the same option: Go's flag package, Java, ld.so.
    Go,
}

/// What one word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Operand,
    /// `--`: the next word is an operand whatever it looks like.
    End,
    Flag,
    Valued,
    Stop,
    Unknown,
}

/// Where the first operand may stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Indices, rising, without duplicates.
    pub(super) at: Vec<usize>,
    /// There would have been more.
    pub(super) cut: bool,
}

impl Grammar {
    /// A grammar of these options.
    pub(super) fn new(valued: &[String], flags: &[String], stops: &[String], style: Style) -> Self {
        let sorted = |list: &[String]| {
            let mut list: Vec<Box<[u8]>> = list.iter().map(|option| option.as_bytes().into()).collect();
            list.sort_unstable();
            list
        };
        Self {
            valued: sorted(valued),
            flags: sorted(flags),
            stops: sorted(stops),
            style,
        }
    }

    /// The indices in `words`, from `start` on, at which the first operand may stand.
    pub(super) fn operands(&self, words: &[&[u8]], start: usize) -> Places {
        match words.get(start) {
            None => return Places::default(),
            Some(word) if !word.starts_with(b"-") => {
                return Places {
                    at: vec![start],
                    cut: false,
                };
            }
            Some(_) => {}
        }
        let mut found = Places::default();
        // A step is one word or two, so two flags say which of the next places are reached.
        let (mut here, mut next) = (true, false);
        for (at, word) in words.iter().enumerate().skip(start) {
            let mut after = false;
            if here {
                match self.word(word) {
                    Word::Operand => found.at.push(at),
                    Word::End => found.at.extend((at + 1 < words.len()).then_some(at + 1)),
                    Word::Stop => {}
                    Word::Flag => next = true,
                    Word::Valued => after = true,
                    Word::Unknown => (next, after) = (true, true),
                }
            }
            (here, next) = (next, after);
            if !(here || next) {
                break;
            }
            if found.at.len() >= READINGS_MAX {
                found.cut = true;
                found
                    .at
                    .extend([1, 2].into_iter().filter_map(|step| self.plainly(words, start, step)));
                break;
            }
        }
        found.at.sort_unstable();
        found.at.dedup();
        found
    }

    /// The operand in the two plain readings only: of a verb's later words, behind whose first one a program knows more options than a table.
    pub(super) fn plain_operands(&self, words: &[&[u8]], start: usize) -> Vec<usize> {
        let mut found: Vec<usize> = [2, 1]
            .into_iter()
            .filter_map(|step| self.plainly(words, start, step))
            .collect();
        found.dedup();
        found
    }

    /// The operand when each unknown option takes `step` words.
    fn plainly(&self, words: &[&[u8]], start: usize, step: usize) -> Option<usize> {
        let mut at = start;
        loop {
            match self.word(words.get(at)?) {
                Word::Operand => return Some(at),
                Word::End => return (at + 1 < words.len()).then_some(at + 1),
                Word::Stop => return None,
                Word::Flag => at += 1,
                Word::Valued => at += 2,
                Word::Unknown => at += step,
            }
        }
    }

    /// The first operand's index (the number of words where there is none) and the options in front of it by their listed names, where no
    /// other reading of the words exists: each option is listed, and none may be abbreviated, have a value that is not its own, or be a stop.
    pub(super) fn certainly<'w>(&self, words: &[&'w [u8]], start: usize) -> Option<(usize, Vec<Cow<'w, [u8]>>)> {
        let mut options = Vec::new();
        let mut at = start;
        while let Some(word) = words.get(at) {
            match *word {
                b"--" => return Some((at + 1, options)),
                [b'-', b'-', ..] => {
                    let end = word.iter().position(|byte| *byte == b'=');
                    let name = word.get(..end.unwrap_or(word.len()))?;
                    let (valued, flag) = (has(&self.valued, name), has(&self.flags, name));
                    if valued == flag || (flag && end.is_some()) {
                        return None;
                    }
                    options.push(Cow::Borrowed(name));
                    at += if valued && end.is_none() { 2 } else { 1 };
                }
                [b'-', letters @ ..] if !letters.is_empty() && self.style == Style::Gnu => {
                    at += 1;
                    for (index, letter) in letters.iter().enumerate() {
                        let name = [b'-', *letter];
                        let (valued, flag) = (has(&self.valued, &name), has(&self.flags, &name));
                        if valued == flag {
                            return None;
                        }
                        options.push(Cow::Owned(name.to_vec()));
                        if valued {
                            at += usize::from(index + 1 == letters.len());
                            break;
                        }
                    }
                }
                [b'-', ..] => return None,
                _ => break,
            }
        }
        (at <= words.len()).then_some((at, options))
    }

    fn word(&self, word: &[u8]) -> Word {
        let Some(rest) = word.strip_prefix(b"-") else {
            return Word::Operand;
        };
        if word == b"--" {
            return Word::End;
        }
        if has(&self.stops, word) {
            return Word::Stop;
        }
        // In both lists, by two versions of a program: both ways.
        match (has(&self.flags, word), has(&self.valued, word)) {
            (true, true) => return Word::Unknown,
            (true, false) => return Word::Flag,
            (false, true) => return Word::Valued,
            (false, false) => {}
        }
        if rest.is_empty() {
            return Word::Operand;
        }
        if rest.starts_with(b"-") || self.style == Style::Go {
            return self.long(word);
        }
        self.bundle(rest)
    }

    fn long(&self, word: &[u8]) -> Word {
        if word.contains(&b'=') {
            return Word::Flag;
        }
        let bare = word
            .strip_prefix(b"-")
            .filter(|rest| rest.starts_with(b"-"))
            .unwrap_or(word);
        let begins = |entry: &[u8]| match self.style {
            Style::Gnu => entry.starts_with(word),
            Style::Go => entry == bare || entry.strip_prefix(b"-") == Some(bare),
        };
        match (
            self.valued.iter().any(|entry| begins(entry)),
            self.flags.iter().any(|entry| begins(entry)),
        ) {
            (true, false) => Word::Valued,
            (false, true) => Word::Flag,
            (true, true) | (false, false) => Word::Unknown,
        }
    }

    fn bundle(&self, letters: &[u8]) -> Word {
        let listed = |list: &[Box<[u8]>], letter: u8| has(list, &[b'-', letter]);
        for (at, letter) in letters.iter().enumerate() {
            if listed(&self.stops, *letter) {
                return Word::Stop;
            }
            if listed(&self.valued, *letter) {
                return if at + 1 == letters.len() {
                    Word::Valued
                } else {
                    Word::Flag
                };
            }
            if !listed(&self.flags, *letter) && !letter.is_ascii_digit() {
                return Word::Unknown;
            }
        }
        Word::Flag
    }
}

fn has(list: &[Box<[u8]>], word: &[u8]) -> bool {
    list.binary_search_by(|entry| entry.as_ref().cmp(word)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{Grammar, Style};

    fn grammar(valued: &[&str], flags: &[&str], stops: &[&str], style: Style) -> Grammar {
        let own = |list: &[&str]| list.iter().map(|&option| option.to_owned()).collect::<Vec<_>>();
        Grammar::new(&own(valued), &own(flags), &own(stops), style)
    }

    #[test]
    fn operands_are_found_behind_options() {
        let gnu = grammar(
            &["-n", "--adjustment", "-u"],
            &["-i", "-0", "--all", "--null"],
            &["-c"],
            Style::Gnu,
        );
        let go = grammar(&["-chdir"], &["-version"], &[], Style::Go);
        let rows: &[(&Grammar, &str, &[usize])] = &[
            (&gnu, "cmd", &[0]),
            (&gnu, "-n 5 cmd", &[2]),
            (&gnu, "-n5 cmd", &[1]),
            (&gnu, "-in 5 cmd", &[2]),
            (&gnu, "-in5 cmd", &[1]),
            (&gnu, "-5 cmd", &[1]),
            (&gnu, "--adjustment 5 cmd", &[2]),
            (&gnu, "--adjustment=5 cmd", &[1]),
            (&gnu, "--adj 5 cmd", &[2]),
            (&gnu, "--al cmd", &[1]),
            (&gnu, "-- -n cmd", &[1]),
            (&gnu, "- cmd", &[0]),
            (&gnu, "-i -c cmd", &[]),
            (&gnu, "-ic cmd", &[]),
            (&gnu, "-z cmd x", &[1, 2]),
            (&gnu, "--unknown -n 5 cmd", &[2, 3]),
            (&gnu, "--unknown v -n 5 cmd", &[1, 4]),
            (&gnu, "--a 5 cmd", &[1, 2]),
            (&gnu, "-n", &[]),
            (&go, "-chdir=d apply", &[1]),
            (&go, "-chdir d apply", &[2]),
            (&go, "--chdir d apply", &[2]),
            (&go, "-version apply", &[1]),
        ];
        for (grammar, line, wanted) in rows {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(grammar.operands(&words, 0).at, *wanted, "{line}");
        }
    }

    #[test]
    fn behind_a_flood_of_unknown_options_the_operand_is_found_and_the_cut_is_told() {
        let gnu = grammar(&["-n"], &[], &[], Style::Gnu);
        let mut words = [&b"--unknown"[..], b"5"].repeat(1000);
        words.extend([&b"delete"[..], b"pod"]);
        let places = gnu.operands(&words, 0);
        assert!(places.cut && places.at.contains(&2000));
        let flood = gnu.operands(&vec![&b"-z"[..]; 1_000_000], 0);
        assert!(flood.at.is_empty() && !flood.cut);
    }
}
