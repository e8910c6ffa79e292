//! How programs read the options in front of their first operand, as data, and one reader for all of them.

/// Places at which a command line's operand may begin, when the table does not know one of its options. Programs refuse options
/// that they do not know, so more readings than this belong to no command that runs.
const READINGS_MAX: usize = 16;

/// The options of one program. An option in neither list is read both ways: without a value and with one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grammar {
    /// Options whose value is the next word, unless it is attached (`-n5`, `--name=x`).
    pub(super) valued: &'static [&'static str],
    /// Options without a value.
    pub(super) flags: &'static [&'static str],
    /// Options after which no operand is a command (`sh -c`, `python3 -c`).
    pub(super) stops: &'static [&'static str],
    /// How words become options.
    pub(super) style: Style,
}

/// How words become options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `-abc` is three options, `--long` may be abbreviated: getopt, argparse, pflag, clap.
    Bundled,
    /// `-long` and `--long` are the same option: Go's flag package, Java.
    Long,
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

impl Grammar {
    /// A program without options of its own.
    pub(super) const NONE: Self = Self::new(&[], &[]);

    /// Options with values and without, in GNU's style.
    pub(super) const fn new(valued: &'static [&'static str], flags: &'static [&'static str]) -> Self {
        Self {
            valued,
            flags,
            stops: &[],
            style: Style::Bundled,
        }
    }

    /// The indices in `words`, from `start` on, at which the first operand may stand; in rising order, without duplicates.
    pub(super) fn operands(&self, words: &[&[u8]], start: usize) -> Vec<usize> {
        let mut found = Vec::new();
        // A step is one word or two, so two flags say which of the next places are reached.
        let (mut here, mut next) = (true, false);
        for (at, word) in words.iter().enumerate().skip(start) {
            let after = if !here {
                false
            } else {
                let value_follows = words.get(at + 1).is_some_and(|value| !value.starts_with(b"-"));
                match self.word(word) {
                    Word::Operand => {
                        found.push(at);
                        false
                    }
                    Word::End => {
                        found.extend((at + 1 < words.len()).then_some(at + 1));
                        false
                    }
                    Word::Stop => false,
                    Word::Flag => {
                        next = true;
                        false
                    }
                    Word::Valued => true,
                    Word::Unknown => {
                        next = true;
                        value_follows
                    }
                }
            };
            (here, next) = (next, after);
            if !(here || next) || found.len() >= READINGS_MAX {
                break;
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn word(&self, word: &[u8]) -> Word {
        if word == b"--" {
            return Word::End;
        }
        if has(self.stops, word) {
            return Word::Stop;
        }
        if has(self.flags, word) {
            return Word::Flag;
        }
        if has(self.valued, word) {
            return Word::Valued;
        }
        let Some(rest) = word.strip_prefix(b"-").filter(|rest| !rest.is_empty()) else {
            return Word::Operand;
        };
        if rest.starts_with(b"-") || self.style == Style::Long {
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
        let begins = |entry: &&str| match self.style {
            Style::Bundled => entry.as_bytes().starts_with(word),
            Style::Long => entry.as_bytes() == bare || entry.as_bytes().strip_prefix(b"-") == Some(bare),
        };
        match (self.valued.iter().any(begins), self.flags.iter().any(begins)) {
            (true, false) => Word::Valued,
            (false, true) => Word::Flag,
            (true, true) | (false, false) => Word::Unknown,
        }
    }

    fn bundle(&self, letters: &[u8]) -> Word {
        let listed = |list: &[&str], letter: u8| list.iter().any(|entry| entry.as_bytes() == [b'-', letter]);
        for (at, letter) in letters.iter().enumerate() {
            if listed(self.stops, *letter) {
                return Word::Stop;
            }
            if listed(self.valued, *letter) {
                return if at + 1 == letters.len() {
                    Word::Valued
                } else {
                    Word::Flag
                };
            }
            if !listed(self.flags, *letter) && !letter.is_ascii_digit() {
                return Word::Unknown;
            }
        }
        Word::Flag
    }
}

fn has(list: &[&str], word: &[u8]) -> bool {
    list.iter().any(|entry| entry.as_bytes() == word)
}

#[cfg(test)]
mod tests {
    use super::{Grammar, Style};

    const GNU: Grammar = Grammar {
        stops: &["-c"],
        ..Grammar::new(&["-n", "--adjustment", "-u"], &["-i", "-0", "--all", "--null"])
    };
    const GO: Grammar = Grammar {
        style: Style::Long,
        ..Grammar::new(&["-chdir"], &["-version"])
    };

    #[test]
    fn operands_are_found_behind_options() {
        let rows: &[(&Grammar, &str, &[usize])] = &[
            (&GNU, "cmd", &[0]),
            (&GNU, "-n 5 cmd", &[2]),
            (&GNU, "-n5 cmd", &[1]),
            (&GNU, "-in 5 cmd", &[2]),
            (&GNU, "-in5 cmd", &[1]),
            (&GNU, "-5 cmd", &[1]),
            (&GNU, "--adjustment 5 cmd", &[2]),
            (&GNU, "--adjustment=5 cmd", &[1]),
            (&GNU, "--adj 5 cmd", &[2]),
            (&GNU, "--al cmd", &[1]),
            (&GNU, "-- -n cmd", &[1]),
            (&GNU, "- cmd", &[0]),
            (&GNU, "-i -c cmd", &[]),
            (&GNU, "-ic cmd", &[]),
            (&GNU, "-z cmd x", &[1, 2]),
            (&GNU, "--unknown -n 5 cmd", &[3]),
            (&GNU, "--unknown v -n 5 cmd", &[1, 4]),
            (&GNU, "--a 5 cmd", &[1, 2]),
            (&GNU, "-n", &[]),
            (&GO, "-chdir=d apply", &[1]),
            (&GO, "-chdir d apply", &[2]),
            (&GO, "--chdir d apply", &[2]),
            (&GO, "-version apply", &[1]),
        ];
        for (grammar, line, wanted) in rows {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(grammar.operands(&words, 0), *wanted, "{line}");
        }
    }

    #[test]
    fn a_million_unknown_options_cost_one_pass() {
        let words = vec![&b"-z"[..]; 1_000_000];
        assert!(GNU.operands(&words, 0).is_empty());
    }
}
