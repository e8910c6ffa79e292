//! Commands that mean what they say: no row of the table knows their program, so their spellings are its names in front of the arguments.
//!
//! Most execs are of this kind, and their lines are written into memory that each thread keeps: such a decision allocates nothing.

use std::cell::RefCell;

use super::names::each_name;
use super::push;
use super::table::Table;
use crate::policy::Command;

/// Names of one program; those with more are read the long way.
const NAMES_MAX: usize = 8;
/// Bytes that a thread keeps for lines; longer ones are read the long way.
const KEPT_BYTES: usize = 16 * 1024;

thread_local! {
    static KEPT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The lines of a plain command, the one as given first.
pub(crate) struct Lines<'l> {
    text: &'l [u8],
    ends: [usize; NAMES_MAX],
    count: usize,
}

impl<'l> Lines<'l> {
    /// Each line.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'l [u8]> {
        let text = self.text;
        let ends = self.ends;
        (0..self.count).filter_map(move |at| {
            let begin = at
                .checked_sub(1)
                .and_then(|before| ends.get(before))
                .copied()
                .unwrap_or(0);
            text.get(begin..*ends.get(at)?)
        })
    }
}

/// Hands the lines of a plain command to `answer`; nothing for one that has to be read.
pub(crate) fn lines<R>(table: &Table, command: &Command<'_>, answer: impl FnOnce(&Lines<'_>) -> R) -> Option<R> {
    let (first, words) = command.argv.split_first()?;
    // What patterns see has no runs of blanks, and none at its ends.
    let blank = |byte: u8| byte.is_ascii_whitespace();
    let joins = |word: &&[u8]| {
        let edges = word.first().is_none_or(|byte| blank(*byte)) || word.last().is_some_and(|byte| blank(*byte));
        !edges && memchr::memchr(b'\t', word).is_none() && memchr::memmem::find(word, b"  ").is_none()
    };
    if !command.argv.iter().all(joins) {
        return None;
    }
    let mut names = [&b""[..]; NAMES_MAX];
    let mut count = 0;
    let mut all = true;
    let copies = command.copies_of.iter().map(|name| name.as_bytes());
    for word in [*first, command.file].into_iter().chain(copies) {
        each_name(table, word, &mut |name| {
            let known = names.get(..count).is_some_and(|names| names.contains(&name));
            if name.is_empty() || known {
                return;
            }
            match names.get_mut(count) {
                Some(place) => *place = name,
                None => all = false,
            }
            count += 1;
        });
    }
    let names = names.get(..count).filter(|_| all)?;
    let read = |name: &&[u8]| !table.programs(name).is_empty() || table.dashed(name).is_some() || push::is_client(name);
    let bytes = words.iter().map(|word| word.len().saturating_add(1));
    let bytes = bytes.fold(0, usize::saturating_add).saturating_mul(count);
    let of_names: usize = names.iter().map(|name| name.len()).sum();
    if names.iter().any(read) || !names.iter().all(joins) || bytes.saturating_add(of_names) > KEPT_BYTES {
        return None;
    }
    KEPT.with(|kept| {
        let mut text = kept.try_borrow_mut().ok()?;
        text.clear();
        // Once a thread: what is kept is never given back.
        text.reserve(KEPT_BYTES);
        let mut ends = [0; NAMES_MAX];
        for (name, end) in names.iter().zip(&mut ends) {
            text.extend_from_slice(name);
            for word in words {
                text.push(b' ');
                text.extend_from_slice(word);
            }
            *end = text.len();
        }
        Some(answer(&Lines {
            text: text.as_slice(),
            ends,
            count,
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Table, meaning};
    use super::lines;
    use crate::policy::Command;

    fn command<'a>(file: &'a str, argv: &'a [&'a str]) -> Command<'a> {
        Command {
            file: file.as_bytes(),
            argv: argv.iter().map(|word| word.as_bytes()).collect(),
            cwd: b"/nonexistent",
            ..Command::default()
        }
    }

    #[test]
    fn a_plain_command_has_the_lines_that_reading_it_gives() {
        let table = Table::shipped();
        let rows: &[(&str, &[&str], bool)] = &[
            ("/usr/bin/ls", &["ls", "-la", "src"], true),
            ("/usr/bin/ls", &["/usr/bin/ls"], true),
            ("/opt/deploy-1.5", &["deploy", "a b", "--x=y"], true),
            ("/opt/tool.exe", &["./tool.exe", "delete", "x\ny"], true),
            ("/usr/bin/true", &["true", "git", "push", "origin", "main"], true),
            // An empty word, runs of blanks and blanks at an end are more than one line.
            ("/usr/bin/ls", &["ls", "", "x"], false),
            ("/usr/bin/ls", &["ls", "a  b"], false),
            ("/usr/bin/ls", &["ls", "a\tb"], false),
            ("/usr/bin/ls", &["ls", "a "], false),
            ("/usr/bin/ls", &["ls", "\u{b}x"], true),
            ("/opt/ tool", &["./tool"], false),
            ("/opt/tool 1.5", &["./tool"], false),
            ("/usr/bin/ls", &[""], false),
            ("/usr/bin/ls", &[], false),
            // Known programs, by whichever name.
            ("/usr/bin/git", &["x", "push"], false),
            ("/usr/bin/x", &["/lib/git-push", "origin"], false),
            ("/usr/bin/x", &["hub", "push"], false),
            ("/usr/bin/kubectl1.28", &["x", "get"], false),
            ("/usr/bin/env", &["env", "x"], false),
            ("/usr/bin/dash", &["sh", "-c", "x"], false),
        ];
        for (file, argv, plain) in rows {
            let command = command(file, argv);
            let found = lines(table, &command, |lines| {
                lines.iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
            });
            assert_eq!(found.is_some(), *plain, "{file} {argv:?}");
            if let Some(found) = found {
                let read = meaning(table, &command);
                assert!(!read.unreadable && read.pushes.is_empty());
                let read: Vec<Vec<u8>> = read.lines.into_iter().map(|line| line.text).collect();
                assert_eq!(found, read, "{file} {argv:?}");
            }
        }
        let long = "x".repeat(20_000);
        assert!(lines(table, &command("/usr/bin/ls", &["ls", &long]), |_| ()).is_none());
        let copy = Command {
            copies_of: vec!["terraform"],
            ..command("/usr/bin/ls", &["ls"])
        };
        assert!(lines(table, &copy, |_| ()).is_none());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_plain_is_read_as_it_stands(
            file in "[ab/. 1v-]{1,8}",
            argv in proptest::collection::vec("[abgit/. \t\n\\x0b-]{0,6}", 0..4),
        ) {
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            let command = command(&file, &argv);
            let found = lines(Table::shipped(), &command, |lines| {
                lines.iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
            });
            if let Some(found) = found {
                let read = meaning(Table::shipped(), &command);
                let read: Vec<Vec<u8>> = read.lines.into_iter().map(|line| line.text).collect();
                proptest::prop_assert_eq!(found, read);
            }
        }
    }
}
