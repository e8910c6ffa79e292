//! One command in the several spellings that patterns are matched against.
//!
//! No spelling is ever cut: a spelling is a few words and a place in the caller's own argument list, from which [`Spelling::write`] makes
//! its line when it is asked for, so that two megabytes of arguments cost their own size once and not once a spelling. Bounded are the
//! wrappers that are looked through ([`WRAPPERS_MAX`]), because what is behind them comes as an exec of its own and meets the same patterns
//! again; and the readings of what comes as none, and of options that no table knows. Where those bounds are met, [`Reading::cut`] says
//! so, and the command is refused: no program has such a command line.

use std::borrow::Cow;
use std::sync::Arc;

use super::aliases;
use super::names::{add_names, base};
use super::push::{self, Meant, Push};
use super::repo::{Place, Repo};
use super::shell;
use super::table::{Program, Remote, Table};
use super::tools::{self, Verb};
use super::wrappers;
use crate::policy::Command;

/// Wrappers in front of one command that are looked through; the commands behind more of them are decided when they are executed.
const WRAPPERS_MAX: usize = 16;
/// Commands that one command line may contain, all readings counted.
const INNER_MAX: usize = 64;
/// Aliases in aliases, and shells' lines in shells' lines.
const NESTED_MAX: usize = 4;
/// Lines that aliases and other machines' shells may add.
const LINES_MAX: usize = 1024;
/// Shells whose `-c` is read where it runs unseen.
const SHELLS: &[&[u8]] = &[b"sh", b"bash", b"dash", b"zsh", b"ksh", b"ash", b"mksh", b"busybox"];

/// What a command may mean.
#[derive(Debug, Default)]
pub(super) struct Reading<'a> {
    /// Its spellings, the one as given first.
    pub(super) spellings: Vec<Spelling<'a>>,
    /// What it would push.
    pub(super) pushes: Vec<Push>,
    /// It has more readings than any command that runs: to be refused.
    pub(super) cut: bool,
}

/// One spelling: words of ours, then the caller's arguments from a place on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spelling<'a> {
    head: Vec<Cow<'a, [u8]>>,
    rest: usize,
    /// The same command by what it does, where that is beyond doubt: what a rule's exceptions see too.
    mode: Option<Box<Self>>,
}

/// A command inside a command line: the names of its program, and where its arguments begin.
#[derive(Clone, Debug)]
struct Inner<'a> {
    names: Vec<&'a [u8]>,
    arguments: usize,
    depth: usize,
}

impl<'a> Spelling<'a> {
    /// A spelling of whole words.
    pub(super) fn of(words: Vec<Cow<'a, [u8]>>) -> Self {
        Self {
            head: words,
            rest: usize::MAX,
            mode: None,
        }
    }

    /// Words, and the caller's arguments from `rest` on.
    fn from(head: Vec<Cow<'a, [u8]>>, rest: usize) -> Self {
        Self { head, rest, mode: None }
    }

    /// The spelling by what the command does.
    pub(super) fn mode(&self) -> Option<&Self> {
        self.mode.as_deref()
    }

    /// Writes the line into `out`: words joined by single spaces, blanks at both ends removed.
    pub(super) fn write(&self, command: &Command<'_>, out: &mut Vec<u8>) {
        out.clear();
        let rest = command.argv.get(self.rest..).unwrap_or_default();
        for word in self.head.iter().map(AsRef::as_ref).chain(rest.iter().copied()) {
            out.extend_from_slice(word);
            out.push(b' ');
        }
        let end = out.trim_ascii_end().len();
        out.truncate(end);
        let begin = out.len() - out.trim_ascii_start().len();
        if begin > 0 {
            out.drain(..begin);
        }
    }
}

/// Reads a command and what it contains.
pub(super) fn read<'a>(table: &'a Table, repo: &dyn Repo, command: &Command<'a>) -> Reading<'a> {
    let mut reading = Reading::default();
    Reader {
        table,
        repo,
        command,
        depth: 0,
    }
    .read(&mut reading);
    for push in &reading.pushes {
        reading.spellings.extend(push.spellings());
    }
    reading
}

struct Reader<'r, 'a> {
    table: &'a Table,
    repo: &'r dyn Repo,
    command: &'r Command<'a>,
    /// Aliases and shells' lines that led here.
    depth: usize,
}

impl<'a> Reader<'_, 'a> {
    fn read(&self, out: &mut Reading<'a>) {
        let mut all = vec![Inner {
            names: self.names(),
            arguments: 1,
            depth: 0,
        }];
        if self.command.argv.first().is_none_or(|first| first.is_empty()) {
            add(&mut out.spellings, Spelling::from(Vec::new(), 1));
        }
        let mut at = 0;
        while let Some(inner) = all.get(at).cloned() {
            at += 1;
            let words = self.command.argv.get(inner.arguments..).unwrap_or_default();
            for name in &inner.names {
                let given = out.spellings.len();
                let mut whole = Spelling::from(vec![Cow::Borrowed(name)], inner.arguments);
                // The line as given, in its place in front of what it also means.
                out.spellings.push(whole.clone());
                let mut modes: Vec<Option<Spelling<'a>>> = Vec::new();
                for program in self.table.programs(name) {
                    modes.extend(self.verbs(program, name, words, inner.arguments, out));
                    self.wrapped(program, &inner, words, &mut all, out);
                }
                // `git-config` in git's own folder, or as argv[0], is `git config`.
                if let Some((tool, verb)) = self.table.dashed(name) {
                    let words: Vec<&[u8]> = std::iter::once(verb).chain(words.iter().copied()).collect();
                    let mut plain = Spelling::from(vec![Cow::Borrowed(tool), Cow::Borrowed(verb)], inner.arguments);
                    let programs = self.table.programs(tool).iter();
                    let mut found: Vec<Option<Spelling<'a>>> = programs
                        .flat_map(|program| self.verbs(program, &tool, &words, inner.arguments - 1, out))
                        .collect();
                    found.dedup();
                    if let [Some(mode)] = found.as_slice() {
                        plain.mode = Some(Box::new(mode.clone()));
                    }
                    add(&mut out.spellings, plain);
                }
                modes.dedup();
                if let [Some(mode)] = modes.as_slice() {
                    whole.mode = Some(Box::new(mode.clone()));
                }
                let known = out
                    .spellings
                    .iter()
                    .enumerate()
                    .any(|(at, old)| at != given && *old == whole);
                if known {
                    out.spellings.remove(given);
                } else if let Some(place) = out.spellings.get_mut(given) {
                    *place = whole;
                }
            }
            for meant in push::meant(&inner.names, words, self.command, self.repo) {
                match meant {
                    Meant::Push(push) if !out.pushes.contains(&push) => out.pushes.push(push),
                    Meant::Push(_) => {}
                    Meant::Other(words) => {
                        let words = words.iter().map(Vec::as_slice);
                        self.nested(&std::iter::once(&b"git"[..]).chain(words).collect::<Vec<_>>(), out);
                    }
                }
            }
        }
    }

    /// The names of the program itself. What a script's first line makes of it is a command of its own, with words of its own.
    fn names(&self) -> Vec<&'a [u8]> {
        let mut names: Vec<&'a [u8]> = Vec::with_capacity(4);
        if let Some(first) = self.command.argv.first() {
            add_names(self.table, first, &mut names);
        }
        add_names(self.table, self.command.file, &mut names);
        for copy in &self.command.copies_of {
            add_names(self.table, copy.as_bytes(), &mut names);
        }
        names
    }

    fn wrapped(
        &self,
        program: &Program,
        outer: &Inner<'a>,
        words: &[&'a [u8]],
        all: &mut Vec<Inner<'a>>,
        out: &mut Reading<'a>,
    ) {
        let (found, cut) = wrappers::inner(program, words);
        out.cut |= cut;
        for found in found {
            if let Some(remote) = found.remote {
                self.elsewhere(remote, words.get(found.arguments - 1..).unwrap_or_default(), out);
            }
            let depth = outer.depth + usize::from(!found.unseen);
            let arguments = outer.arguments + found.arguments;
            let known = all
                .iter()
                .any(|inner| inner.arguments == arguments && inner.names.contains(&found.name));
            if known || depth > WRAPPERS_MAX {
                continue;
            }
            if all.len() >= INNER_MAX {
                out.cut |= found.unseen;
                continue;
            }
            let mut names = Vec::with_capacity(2);
            add_names(self.table, found.name, &mut names);
            all.push(Inner {
                names,
                arguments,
                depth,
            });
        }
    }

    fn verbs(
        &self,
        program: &'a Arc<Program>,
        name: &&'a [u8],
        words: &[&'a [u8]],
        arguments: usize,
        out: &mut Reading<'a>,
    ) -> Vec<Option<Spelling<'a>>> {
        let (verbs, cut) = tools::verbs(program, words);
        out.cut |= cut;
        self.added_words(program, name, words, &verbs, out);
        let mut modes = Vec::new();
        for verb in verbs {
            let mode = tools::mode(program, &verb, words).filter(|_| !cut);
            let mode = mode.map(|mode| {
                let head = [Some(*name), Some(mode.verb), mode.chosen].into_iter().flatten();
                Spelling::from(head.map(Cow::Borrowed).collect(), arguments + mode.operands)
            });
            modes.push(mode.clone());
            let mode = mode.map(Box::new);
            let Verb { words: verb, rest, .. } = verb;
            if let (Some(aliases), Some((last, before))) = (&program.aliases, verb.split_last())
                && !tools::is_own(program, last)
            {
                let behind = words.get(rest..).unwrap_or_default();
                let (meanings, hidden) = aliases::meanings(aliases, last, words, &Place::of(self.command));
                out.cut |= hidden;
                for meaning in meanings {
                    let meaning: Vec<&[u8]> = meaning.iter().map(Vec::as_slice).collect();
                    self.nested(&[&[*name], before, &meaning[..], behind].concat(), out);
                }
            }
            if program.ignores_case && verb.iter().any(|word| word.iter().any(u8::is_ascii_uppercase)) {
                let lower = verb.iter().map(|word| Cow::Owned(word.to_ascii_lowercase()));
                let head = std::iter::once(Cow::Borrowed(*name)).chain(lower).collect();
                add(&mut out.spellings, Spelling::from(head, arguments + rest));
            }
            // The same line as without looking for a verb.
            if words.get(..rest).is_some_and(|given| given == verb) {
                continue;
            }
            let head = std::iter::once(*name).chain(verb).map(Cow::Borrowed).collect();
            let spelling = Spelling::from(head, arguments + rest);
            add(&mut out.spellings, Spelling { mode, ..spelling });
        }
        modes
    }

    /// Words that a variable adds behind the verb, or in its place.
    fn added_words(
        &self,
        program: &Program,
        name: &&'a [u8],
        words: &[&'a [u8]],
        verbs: &[Verb<'a>],
        out: &mut Reading<'a>,
    ) {
        let Some(variable) = &program.words_from else { return };
        let place = Place::of(self.command);
        let of_verb = verbs.iter().find(|verb| verb.words.len() == 1);
        let own =
            of_verb.and_then(|verb| Some([variable, "_", std::str::from_utf8(verb.words.first()?).ok()?].concat()));
        for variable in [Some(variable.clone()), own].into_iter().flatten() {
            let Some(value) = place.variable(&variable).filter(|value| !value.is_empty()) else {
                continue;
            };
            let added: Vec<Vec<u8>> = shlex::bytes::Shlex::new(value).collect();
            let added: Vec<&[u8]> = added.iter().map(Vec::as_slice).collect();
            let (front, behind) = words.split_at(of_verb.map_or(0, |verb| verb.rest.min(words.len())));
            if self.depth == 0 {
                self.nested(&[&[*name], front, &added[..], behind].concat(), out);
            }
        }
    }

    /// A command whose words run where no exec is seen: those of a shell's line too.
    fn elsewhere(&self, remote: Remote, words: &[&[u8]], out: &mut Reading<'a>) {
        let line = match remote {
            Remote::Line => Some(words.join(&b' ')),
            Remote::Words => {
                let shell = words.iter().position(|word| SHELLS.contains(&base(word)));
                let behind = shell.and_then(|at| words.get(at + 1..)).unwrap_or_default();
                let option = behind
                    .iter()
                    .position(|word| word.starts_with(b"-") && word.contains(&b'c'));
                option.and_then(|at| behind.get(at + 1)).map(|line| line.to_vec())
            }
        };
        let Some(line) = line else { return };
        let (commands, cut) = shell::commands(&line);
        out.cut |= cut;
        for words in commands {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            self.nested(&words, out);
        }
    }

    /// Reads a command made of other words than the caller's, and adds its lines.
    fn nested(&self, argv: &[&[u8]], out: &mut Reading<'a>) {
        if self.depth >= NESTED_MAX {
            out.cut = true;
            return;
        }
        let command = Command {
            file: argv.first().copied().unwrap_or_default(),
            argv: argv.to_vec(),
            env: self.command.env.clone(),
            cwd: self.command.cwd,
            ..Command::default()
        };
        let mut reading = Reading::default();
        Reader {
            table: self.table,
            repo: self.repo,
            command: &command,
            depth: self.depth + 1,
        }
        .read(&mut reading);
        out.cut |= reading.cut;
        let mut line = Vec::new();
        for spelling in &reading.spellings {
            if out.spellings.len() > LINES_MAX {
                out.cut = true;
                return;
            }
            let mut whole = |spelling: &Spelling<'_>| {
                spelling.write(&command, &mut line);
                Spelling::of(vec![Cow::Owned(line.clone())])
            };
            let mode = spelling.mode().map(|mode| Box::new(whole(mode)));
            let spelling = whole(spelling);
            add(&mut out.spellings, Spelling { mode, ..spelling });
        }
        for push in reading.pushes {
            if !out.pushes.contains(&push) {
                out.pushes.push(push);
            }
        }
    }
}

fn add<'a>(all: &mut Vec<Spelling<'a>>, spelling: Spelling<'a>) {
    if !all.contains(&spelling) {
        all.push(spelling);
    }
}
