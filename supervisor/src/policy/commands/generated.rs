//! Command lines made from the table's own rows: each must be read as the plain command that it was made from.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::grammar::Style;
use super::table::Row;
use super::{Table, meaning};
use crate::policy::Command;

/// Command lines of one run.
const LINES: usize = 5_000;

/// Marsaglia's xorshift64: the same lines in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let at = self.below(list.len());
        list.get(at)
    }

    /// Up to three options of a row, as one may write them.
    fn options(&mut self, row: &Row, out: &mut Vec<String>) {
        for _ in 0..self.below(4) {
            let valued = self.below(2) == 0;
            let list = if valued { &row.valued } else { &row.flags };
            let Some(option) = self.of(list).filter(|option| option.len() > 1) else {
                continue;
            };
            let long = option.starts_with("--") || row.style == Style::Go;
            match (valued, self.below(2), long) {
                (false, _, _) => out.push(option.clone()),
                (true, 0, true) => out.push(format!("{option}=value")),
                (true, 0, false) => out.push(format!("{option}value")),
                (true, _, _) => out.extend([option.clone(), "value".to_owned()]),
            }
        }
    }

    /// A tool's command with options in front of and between the words of its verb, and the plain line.
    fn tool(&mut self, row: &Row) -> (Vec<String>, String) {
        let name = self.of(&row.names).unwrap().clone();
        let first = self.of(&row.groups).cloned().unwrap_or_else(|| "first".to_owned());
        let (mut words, mut plain) = (vec![name.clone()], name);
        for word in [first, "second".to_owned()].into_iter().take(row.words) {
            self.options(row, &mut words);
            words.push(word.clone());
            plain = format!("{plain} {word}");
        }
        words.extend(["third", "--fourth=x"].map(str::to_owned));
        (words, format!("{plain} third --fourth=x"))
    }

    /// What runs the command, with options and words of its own.
    fn wrapped(&mut self, row: &Row, inner: Vec<String>) -> Vec<String> {
        let runs = row.runs.as_ref().unwrap();
        let mut words = vec![format!("/usr/bin/{}", self.of(&row.names).unwrap())];
        for verb in &runs.verb {
            self.options(row, &mut words);
            words.push(verb.clone());
        }
        self.options(row, &mut words);
        words.extend((0..runs.operands).map(|_| "7".to_owned()));
        if runs.assignments && self.below(2) == 0 {
            words.push("NAME=value".to_owned());
        }
        words.extend(inner);
        words
    }
}

#[test]
fn a_command_made_from_the_table_is_read_as_what_it_was_made_from() {
    let rows: Vec<Row> = serde_saphyr::from_str(include_str!("table.yaml")).unwrap();
    let tools: Vec<&Row> = rows.iter().filter(|row| row.words > 0).collect();
    let wrappers: Vec<&Row> = rows.iter().filter(|row| row.runs.is_some()).collect();
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let mut wrong = Vec::new();
    for _ in 0..LINES {
        let tool = dice.below(tools.len());
        let (mut words, plain) = dice.tool(tools[tool]);
        for _ in 0..dice.below(4) {
            let wrapper = dice.below(wrappers.len());
            words = dice.wrapped(wrappers[wrapper], words);
        }
        let file = words[0].clone();
        let command = Command {
            file: file.as_bytes(),
            argv: words.iter().map(String::as_bytes).collect(),
            cwd: b"/nowhere",
            ..Command::default()
        };
        let meaning = meaning(Table::shipped(), &command);
        if meaning.unreadable || !meaning.lines.iter().any(|line| line.text == plain.as_bytes()) {
            wrong.push((words.join(" "), plain, meaning.unreadable));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {LINES}, the first: {:#?}",
        wrong.len(),
        wrong.iter().take(5).collect::<Vec<_>>()
    );
}

/// Arguments of any bytes and any number: read in bounded time, never with a panic, and never looser than with fewer names.
#[test]
fn any_arguments_are_read_within_bounds() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let vocabulary: &[&[u8]] = &[
        b"git",
        b"push",
        b"env",
        b"-c",
        b"alias.p=push",
        b"p",
        b"--",
        b"-",
        b"",
        b"busybox",
        b"sh",
        b"ssh",
        b"h",
        b"'",
        b"\\",
        b"$(",
        b";",
        b"kubectl",
        b"exec",
        b"docker",
        b"run",
        b"-n",
        b"--x",
        b"A=1",
        b"timeout",
        b"python3",
        b"-m",
        b"twine",
        b"\xff\xfe",
        b"\n",
        b"main",
        b"HEAD:main",
        b"+:",
        b"refs/heads/*",
        b"--all",
        b"--delete",
        b"sudo",
        b"xargs",
        b"cargo",
        b"+x",
        b"npm",
        b"publ",
        b"terraform",
        b"apply",
        b"-destroy",
    ];
    for _ in 0..LINES {
        let argv: Vec<&[u8]> = (0..dice.below(24)).map(|_| *dice.of(vocabulary).unwrap()).collect();
        let command = Command {
            file: argv.first().copied().unwrap_or(b"/bin/x"),
            argv: argv.clone(),
            cwd: b"/nowhere",
            ..Command::default()
        };
        let read = meaning(Table::shipped(), &command);
        let copied = meaning(
            Table::shipped(),
            &Command {
                copies_of: vec!["terraform"],
                ..command.clone()
            },
        );
        assert!(read.lines.len() <= 2048);
        assert!(
            copied.unreadable || read.lines.iter().all(|line| copied.lines.contains(line)),
            "{argv:?}"
        );
    }
}
