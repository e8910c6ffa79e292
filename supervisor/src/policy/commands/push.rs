//! `git push` and `git send-pack`, recognised from the command line, and the branches that they would change.

use std::borrow::Cow;

use super::config::Config;
use super::refspec::{Destination, destination, mapped, named};
use super::repo::{Place, Repo};
use super::spellings::Spelling;
use crate::policy::Command;

/// Aliases that one command may go through; git refuses loops.
const ALIASES_MAX: usize = 16;

/// Refs that one push names; one with more is as good as `--all`.
const REFS_MAX: usize = 256;

/// What a push would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PushTarget {
    /// This branch, without `refs/heads/`.
    Branch(Vec<u8>),
    /// Several or unknown ones: to be treated as protected.
    Unresolved,
}

/// One push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Push {
    /// The remote's name or address.
    pub remote: Vec<u8>,
    /// Branches.
    pub targets: Vec<PushTarget>,
    /// Tags; `*` for all.
    pub tags: Vec<Vec<u8>>,
}

type Word<'a> = Cow<'a, [u8]>;

impl Push {
    /// A push that may change anything.
    fn unresolved() -> Self {
        Self {
            remote: b"origin".to_vec(),
            targets: vec![PushTarget::Unresolved],
            tags: Vec::new(),
        }
    }

    fn add_branch(&mut self, name: Vec<u8>) {
        let target = PushTarget::Branch(name);
        if !self.targets.contains(&target) {
            self.targets.push(target);
        }
    }

    /// `git push REMOTE BRANCH` for each branch, `git push REMOTE refs/tags/TAG` for each tag, whatever way it was written.
    pub(super) fn spellings<'a>(&self) -> Vec<Spelling<'a>> {
        let branches = self.targets.iter().filter_map(|target| match target {
            PushTarget::Branch(name) => Some(name.clone()),
            PushTarget::Unresolved => None,
        });
        let tags = self.tags.iter().map(|tag| [b"refs/tags/", &tag[..]].concat());
        let line = |name| {
            Spelling::of(vec![
                Cow::Borrowed(b"git"),
                Cow::Borrowed(b"push"),
                Cow::Owned(self.remote.clone()),
                Cow::Owned(name),
            ])
        };
        branches.chain(tags).map(line).collect()
    }
}

/// What an invocation of git comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// A push.
    Push(Push),
    /// Another of its commands, by an alias or by its guess at a misspelt verb: the verb and what follows.
    Other(Vec<Vec<u8>>),
}

/// Programs that push, with the verb that their name is.
const CLIENTS: [(&str, Option<&str>); 5] = [
    ("git", None),
    ("hub", None),
    ("git-push", Some("push")),
    ("git-send-pack", Some("send-pack")),
    ("git-http-push", Some("http-push")),
];

/// Whether [`meant`] reads the arguments of a program of this name.
pub(super) fn is_client(name: &[u8]) -> bool {
    CLIENTS.iter().any(|(program, _)| program.as_bytes() == name)
}

/// What a program of these names, called with `words`, would push, and which other commands of git its words stand for.
pub(super) fn meant(names: &[&[u8]], words: &[&[u8]], command: &Command<'_>, repo: &dyn Repo) -> Vec<Meant> {
    let mut found: Vec<Meant> = Vec::new();
    // git goes by argv[0] too: `exec -a git-push git origin main`.
    for (program, verb) in CLIENTS {
        let ordinary = verb.is_none() && words.first().is_some_and(|word| is_command(word));
        if ordinary || !names.contains(&program.as_bytes()) {
            continue;
        }
        let verb = verb.map(|verb| Cow::Borrowed(verb.as_bytes()));
        let words: Vec<Word<'_>> = verb
            .into_iter()
            .chain(words.iter().map(|word| Cow::Borrowed(*word)))
            .collect();
        for meant in Git::new(command, repo).run(&words) {
            if !found.contains(&meant) {
                found.push(meant);
            }
        }
    }
    found
}

/// One invocation of git, as far as it has been read.
struct Git<'r, 'a> {
    repo: &'r dyn Repo,
    place: Place<'a>,
    /// What `-c` and the environment set, which outranks files.
    overrides: Config,
}

impl<'r, 'a> Git<'r, 'a> {
    fn new(command: &Command<'a>, repo: &'r dyn Repo) -> Self {
        let place = Place::of(command);
        let overrides = from_environment(&place);
        Self { repo, place, overrides }
    }

    fn config(&self) -> Config {
        let mut config = self.repo.config(&self.place);
        config.extend(self.overrides.clone());
        config
    }

    fn run(&mut self, words: &[Word<'_>]) -> Vec<Meant> {
        let mut words: Vec<Word<'_>> = words.to_vec();
        for round in 0..ALIASES_MAX {
            let verb_at = self.global_options(&words);
            let Some((verb, rest)) = words.get(verb_at..).and_then(<[_]>::split_first) else {
                return Vec::new();
            };
            let push = |push: Push| vec![Meant::Push(push)];
            let with = |verb: &[u8]| {
                let rest = rest.iter().map(|word| word.to_vec());
                Meant::Other(std::iter::once(verb.to_vec()).chain(rest).collect())
            };
            match verb.as_ref() {
                b"push" => return push(self.push(rest)),
                b"send-pack" => return self.send_pack(rest).map(push).unwrap_or_default(),
                b"http-push" => return push(Push::unresolved()),
                // As it stands there, others have read it.
                verb if is_command(verb) => return (round > 0).then(|| with(verb)).into_iter().collect(),
                _ => {}
            }
            let config = self.config();
            // Any verb may be an alias for a push then.
            if config.incomplete {
                return push(Push::unresolved());
            }
            let Some(alias) = alias(&config, verb) else {
                if !corrects(&config) {
                    return Vec::new();
                }
                let guessed = COMMANDS.iter().filter(|name| resembles(name.as_bytes(), verb));
                let pushes = corrected(&config, verb).then(|| Meant::Push(Push::unresolved()));
                return guessed.map(|name| with(name.as_bytes())).chain(pushes).collect();
            };
            // A shell's command line comes as execs of its own.
            if alias.starts_with(b"!") {
                return Vec::new();
            }
            let expanded = split(&alias).into_iter().map(Cow::Owned);
            words = expanded
                .chain(rest.iter().map(|word| Cow::Owned(word.to_vec())))
                .collect();
        }
        vec![Meant::Push(Push::unresolved())]
    }

    /// Reads git's own options; the index of the verb.
    fn global_options(&mut self, words: &[Word<'_>]) -> usize {
        let mut at = 0;
        while let Some(word) = words.get(at).filter(|word| word.starts_with(b"-")) {
            let next = words.get(at + 1).map(AsRef::as_ref).unwrap_or_default();
            let (name, attached) = match word.iter().position(|byte| *byte == b'=') {
                Some(at) if word.starts_with(b"--") => (word.get(..at).unwrap_or_default(), word.get(at + 1..)),
                _ => (word.as_ref(), None),
            };
            let value = attached.unwrap_or(next);
            match name {
                b"-C" => self.place.cwd = join(&self.place.cwd, next),
                b"-c" => {
                    self.overrides.set_pair(next);
                    self.overrides.incomplete |= self.overrides.includes();
                }
                b"--git-dir" => self.place.git_dir = Some(value.to_vec()),
                b"--bare" => self.place.git_dir = Some(self.place.git_dir.clone().unwrap_or_else(|| b".".to_vec())),
                b"--config-env" => self.config_env(value),
                _ => {}
            }
            let takes_next = match name {
                b"-C" | b"-c" => true,
                b"--git-dir" | b"--work-tree" | b"--namespace" | b"--super-prefix" | b"--config-env"
                | b"--attr-source" => attached.is_none(),
                _ => false,
            };
            at += if takes_next { 2 } else { 1 };
        }
        at
    }

    fn config_env(&mut self, pair: &[u8]) {
        let Some(at) = pair.iter().rposition(|byte| *byte == b'=') else {
            return;
        };
        let (key, variable) = (
            pair.get(..at).unwrap_or_default(),
            pair.get(at + 1..).unwrap_or_default(),
        );
        match std::str::from_utf8(variable)
            .ok()
            .and_then(|name| self.place.variable(name))
        {
            Some(value) => {
                self.overrides.set(key, value);
                self.overrides.incomplete |= self.overrides.includes();
            }
            None => self.overrides.incomplete = true,
        }
    }

    fn push(&self, words: &[Word<'_>]) -> Push {
        let line = Line::read(words, PUSH);
        let config = self.config();
        let current = self.repo.current_branch(&self.place);
        let mut operands = line.operands.into_iter();
        let remote = operands.next().or(line.repo);
        let remote = remote.unwrap_or_else(|| default_remote(&config, current.as_deref()));
        let mut push = Push {
            remote,
            targets: Vec::new(),
            tags: Vec::new(),
        };
        if line.wide {
            push.targets.push(PushTarget::Unresolved);
        }
        if line.tags {
            push.tags.push(b"*".to_vec());
        }
        let specs: Vec<Vec<u8>> = operands.collect();
        if specs.len() > REFS_MAX {
            push.targets.push(PushTarget::Unresolved);
        }
        if specs.is_empty() {
            let configured = config.last(&key("remote", &push.remote, "push")).is_some();
            if !line.wide && (configured || !line.only_tags) {
                self.without_refspec(&config, current, &mut push);
            }
            return push;
        }
        let mut specs = specs.into_iter().take(REFS_MAX);
        while let Some(spec) = specs.next() {
            let end = match () {
                () if spec == b"tag" => specs.next().map_or(Destination::Nothing, |tag| {
                    destination(&[b"refs/tags/", &tag[..]].concat())
                }),
                () if line.delete => match named(&spec) {
                    Destination::Source(name) => Destination::Branch(name),
                    other => other,
                },
                () => destination(&spec),
            };
            self.add(end, &config, current.as_deref(), &mut push);
        }
        push
    }

    fn send_pack(&self, words: &[Word<'_>]) -> Option<Push> {
        let line = Line::read(words, SEND_PACK);
        // With it git speaks to a helper over its own input and output, and reaches nobody.
        if line.stateless {
            return None;
        }
        let mut operands = line.operands.into_iter();
        let mut push = Push {
            remote: operands.next().unwrap_or_default(),
            targets: Vec::new(),
            tags: Vec::new(),
        };
        let specs: Vec<Vec<u8>> = operands.collect();
        if line.wide || specs.is_empty() || specs.len() > REFS_MAX {
            push.targets.push(PushTarget::Unresolved);
        }
        let current = self.repo.current_branch(&self.place);
        for spec in specs.into_iter().take(REFS_MAX) {
            self.add(destination(&spec), &Config::default(), current.as_deref(), &mut push);
        }
        Some(push)
    }

    fn without_refspec(&self, config: &Config, current: Option<Vec<u8>>, push: &mut Push) {
        let specs: Vec<&[u8]> = specs_of(config, &push.remote);
        let mirror = config
            .last(&key("remote", &push.remote, "mirror"))
            .is_some_and(|value| !is_false(value));
        let mode = config.last(b"push.default").unwrap_or(b"simple");
        if config.incomplete || mirror || mode == b"matching" {
            push.targets.push(PushTarget::Unresolved);
        } else if !specs.is_empty() {
            for spec in specs {
                self.add(destination(spec), &Config::default(), current.as_deref(), push);
            }
        } else if mode != b"nothing" {
            self.add(Destination::Source(b"HEAD".to_vec()), config, current.as_deref(), push);
        }
    }

    fn add(&self, end: Destination, config: &Config, current: Option<&[u8]>, push: &mut Push) {
        match end {
            Destination::Branch(name) => push.add_branch(name),
            Destination::Tag(name) => push.tags.push(name),
            Destination::Unresolved => push.targets.push(PushTarget::Unresolved),
            Destination::Elsewhere | Destination::Nothing => {}
            Destination::Source(name) if matches!(name.as_slice(), b"HEAD" | b"@") => match current {
                Some(branch) => self.add_source(&[b"refs/heads/", branch].concat(), config, push),
                None => push.targets.push(PushTarget::Unresolved),
            },
            Destination::Source(name) => self.add_source(&name, config, push),
        }
    }

    /// A source without a destination: its own name, and what the configuration makes of it.
    fn add_source(&self, source: &[u8], config: &Config, push: &mut Push) {
        if config.incomplete {
            push.targets.push(PushTarget::Unresolved);
        }
        let branch = match named(source) {
            Destination::Branch(name) => Some(name),
            Destination::Source(name) => {
                // A tag now may be a branch when git looks, so that it counts as both.
                if self.repo.is_tag(&self.place, &name) {
                    push.tags.push(name.clone());
                }
                Some(name)
            }
            Destination::Tag(name) => {
                push.tags.push(name);
                None
            }
            Destination::Unresolved => {
                push.targets.push(PushTarget::Unresolved);
                None
            }
            Destination::Elsewhere | Destination::Nothing => None,
        };
        let specs = specs_of(config, &push.remote);
        let mut ends = mapped(specs.iter().copied(), source);
        for behind in self.repo.behind(&self.place, source) {
            match behind {
                Some(full) => {
                    ends.extend(mapped(specs.iter().copied(), &full));
                    ends.push(named(&full));
                }
                None => push.targets.push(PushTarget::Unresolved),
            }
        }
        if let Some(branch) = branch {
            if matches!(config.last(b"push.default"), Some(b"upstream" | b"tracking")) {
                let merge = key("branch", &branch, "merge");
                let merges = config.values(&merge);
                ends.extend(merges.map(|merge| destination(&[b":", merge].concat())));
            }
            push.add_branch(branch);
        }
        for end in ends {
            match end {
                Destination::Branch(name) | Destination::Source(name) => push.add_branch(name),
                Destination::Tag(name) => push.tags.push(name),
                Destination::Unresolved => push.targets.push(PushTarget::Unresolved),
                Destination::Elsewhere | Destination::Nothing => {}
            }
        }
    }
}

/// The refspecs that the configuration gives to a remote; for an address, those of all remotes, one of which may be meant.
fn specs_of<'c>(config: &'c Config, remote: &[u8]) -> Vec<&'c [u8]> {
    let own: Vec<&[u8]> = config.values(&key("remote", remote, "push")).collect();
    let known = ["url", "pushurl", "vcs"]
        .iter()
        .any(|name| config.last(&key("remote", remote, name)).is_some());
    if known || !own.is_empty() {
        own
    } else {
        config.any(b"remote", b".push").collect()
    }
}

fn default_remote(config: &Config, current: Option<&[u8]>) -> Vec<u8> {
    let of_branch = |name| current.and_then(|branch| config.last(&key("branch", branch, name)));
    of_branch("pushremote")
        .or_else(|| config.last(b"remote.pushdefault"))
        .or_else(|| of_branch("remote"))
        .unwrap_or(b"origin")
        .to_vec()
}

fn key(section: &str, middle: &[u8], name: &str) -> Vec<u8> {
    [section.as_bytes(), b".", middle, b".", name.as_bytes()].concat()
}

fn alias(config: &Config, verb: &[u8]) -> Option<Vec<u8>> {
    let plain = [b"alias.", &verb.to_ascii_lowercase()[..]].concat();
    config
        .last(&key("alias", verb, "command"))
        .or_else(|| config.last(&plain))
        .map(<[u8]>::to_vec)
}

fn is_false(value: &[u8]) -> bool {
    matches!(
        value.to_ascii_lowercase().as_slice(),
        b"" | b"false" | b"no" | b"off" | b"0"
    )
}

/// Whether git runs what it takes a misspelt verb for; git-config(1), `help.autoCorrect`.
fn corrects(config: &Config) -> bool {
    config
        .last(b"help.autocorrect")
        .is_some_and(|value| !is_false(value) && !matches!(value, b"never" | b"show" | b"prompt"))
}

/// Whether git may take `verb` for a push, or for an alias that may be one.
fn corrected(config: &Config, verb: &[u8]) -> bool {
    let pushes = |name: &[u8], meaning: &[u8]| {
        resembles(name, verb)
            && !meaning.starts_with(b"!")
            && !split(meaning).first().is_some_and(|word| is_command(word))
    };
    resembles(b"push", verb)
        || resembles(b"send-pack", verb)
        || config.below(b"alias.").any(|(name, meaning)| pushes(name, meaning))
}

/// Whether half of a name's letters are in the word: more than git asks for in help.c.
fn resembles(name: &[u8], word: &[u8]) -> bool {
    let common = name.iter().filter(|letter| word.contains(letter)).count();
    common * 2 >= name.len()
}

/// The words of an alias; alias.c, `split_cmdline`.
fn split(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quoted = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quoted, byte) {
            (None, b' ' | b'\t' | b'\n' | b'\r') => words.extend(word.take()),
            (None, b'\'' | b'"') => {
                quoted = Some(byte);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == byte => quoted = None,
            (None | Some(b'"'), b'\\') => word.get_or_insert_default().extend(bytes.next()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

/// `GIT_CONFIG_COUNT` with its keys and values, then `GIT_CONFIG_PARAMETERS`.
fn from_environment(place: &Place<'_>) -> Config {
    let mut config = Config::default();
    if let Some(count) = place.variable("GIT_CONFIG_COUNT").filter(|count| !count.is_empty()) {
        match std::str::from_utf8(count)
            .ok()
            .and_then(|count| count.trim().parse::<u32>().ok())
        {
            Some(count) => {
                for index in 0..count.min(1024) {
                    match (
                        place.variable(&format!("GIT_CONFIG_KEY_{index}")),
                        place.variable(&format!("GIT_CONFIG_VALUE_{index}")),
                    ) {
                        (Some(key), Some(value)) => config.set(key, value),
                        _ => config.incomplete = true,
                    }
                }
                config.incomplete |= count > 1024;
            }
            None => config.incomplete = true,
        }
    }
    if let Some(parameters) = place.variable("GIT_CONFIG_PARAMETERS") {
        let mut words = shlex::bytes::Shlex::new(parameters);
        for pair in words.by_ref() {
            config.set_pair(&pair);
        }
        config.incomplete |= words.had_error;
    }
    config.incomplete |= config.includes();
    config
}

/// `-C` after `-C`.
fn join(cwd: &[u8], next: &[u8]) -> Vec<u8> {
    match next {
        b"" => cwd.to_vec(),
        [b'/', ..] => next.to_vec(),
        _ => [cwd, b"/", next].concat(),
    }
}

/// What an option does to a push.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Plain,
    /// All branches.
    Wide,
    Tags,
    FollowTags,
    Delete,
    Value,
    Repo,
    Stateless,
}

type Options = &'static [(&'static str, Effect)];

const PUSH: Options = &[
    ("all", Effect::Wide),
    ("branches", Effect::Wide),
    ("mirror", Effect::Wide),
    ("tags", Effect::Tags),
    ("follow-tags", Effect::FollowTags),
    ("delete", Effect::Delete),
    ("repo", Effect::Repo),
    ("push-option", Effect::Value),
    ("receive-pack", Effect::Value),
    ("exec", Effect::Value),
    ("recurse-submodules", Effect::Value),
    ("verbose", Effect::Plain),
    ("quiet", Effect::Plain),
    ("dry-run", Effect::Plain),
    ("porcelain", Effect::Plain),
    ("force", Effect::Plain),
    ("force-with-lease", Effect::Plain),
    ("force-if-includes", Effect::Plain),
    ("thin", Effect::Plain),
    ("set-upstream", Effect::Plain),
    ("progress", Effect::Plain),
    ("prune", Effect::Plain),
    ("signed", Effect::Plain),
    ("atomic", Effect::Plain),
    ("ipv4", Effect::Plain),
    ("ipv6", Effect::Plain),
    ("verify", Effect::Plain),
];

const SEND_PACK: Options = &[
    ("all", Effect::Wide),
    ("mirror", Effect::Wide),
    ("stdin", Effect::Wide),
    ("stateless-rpc", Effect::Stateless),
    ("receive-pack", Effect::Value),
    ("exec", Effect::Value),
    ("remote", Effect::Value),
    ("push-option", Effect::Value),
    ("verbose", Effect::Plain),
    ("quiet", Effect::Plain),
    ("dry-run", Effect::Plain),
    ("force", Effect::Plain),
    ("force-with-lease", Effect::Plain),
    ("force-if-includes", Effect::Plain),
    ("signed", Effect::Plain),
    ("thin", Effect::Plain),
    ("atomic", Effect::Plain),
    ("progress", Effect::Plain),
    ("helper-status", Effect::Plain),
];

/// A push's options and operands, read as git's own parser reads them: bundled, abbreviated, and after operands too.
#[derive(Default)]
struct Line {
    operands: Vec<Vec<u8>>,
    repo: Option<Vec<u8>>,
    wide: bool,
    tags: bool,
    only_tags: bool,
    delete: bool,
    stateless: bool,
}

impl Line {
    fn read(words: &[Word<'_>], options: Options) -> Self {
        let mut line = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word.as_ref() == b"--" {
                line.operands.extend(words.by_ref().map(|word| word.to_vec()));
            } else if let Some(long) = word.strip_prefix(b"--") {
                let at = long.iter().position(|byte| *byte == b'=');
                let attached = at.and_then(|at| long.get(at + 1..)).map(<[u8]>::to_vec);
                let effects = effects(long.get(..at.unwrap_or(long.len())).unwrap_or_default(), options);
                let takes_value = effects
                    .iter()
                    .any(|effect| matches!(effect, Effect::Value | Effect::Repo));
                let value = match attached {
                    None if takes_value => words.next().map(|word| word.to_vec()),
                    attached => attached,
                };
                for effect in effects {
                    line.apply(effect, value.clone());
                }
            } else if word.starts_with(b"-") && word.len() > 1 {
                let letters = word.get(1..).unwrap_or_default();
                line.delete |= letters
                    .iter()
                    .take_while(|letter| **letter != b'o')
                    .any(|letter| *letter == b'd');
                if letters.iter().position(|letter| *letter == b'o') == Some(letters.len() - 1) {
                    words.next();
                }
            } else {
                line.operands.push(word.to_vec());
            }
        }
        line
    }

    fn apply(&mut self, effect: Effect, value: Option<Vec<u8>>) {
        match effect {
            Effect::Wide => self.wide = true,
            Effect::Tags => (self.tags, self.only_tags) = (true, true),
            Effect::FollowTags => self.tags = true,
            Effect::Delete => self.delete = true,
            Effect::Stateless => self.stateless = true,
            Effect::Repo => self.repo = value,
            Effect::Plain | Effect::Value => {}
        }
    }
}

/// What a long option may mean: the one of this name, else all that it abbreviates.
fn effects(name: &[u8], options: Options) -> Vec<Effect> {
    if let Some((_, effect)) = options.iter().find(|(option, _)| option.as_bytes() == name) {
        return vec![*effect];
    }
    options
        .iter()
        .filter(|(option, _)| option.as_bytes().starts_with(name))
        .map(|(_, effect)| *effect)
        .collect()
}

/// git's own commands since 2.29, which no alias can stand for. Those that became so later (bisect, hook) are scripts in older ones, and an alias takes
/// their place where `--exec-path` hides them.
pub(super) const COMMANDS: &[&str] = &[
    "add",
    "am",
    "annotate",
    "apply",
    "archive",
    "blame",
    "branch",
    "bundle",
    "cat-file",
    "check-attr",
    "check-ignore",
    "check-mailmap",
    "check-ref-format",
    "checkout",
    "checkout-index",
    "cherry",
    "cherry-pick",
    "clean",
    "clone",
    "column",
    "commit",
    "commit-graph",
    "commit-tree",
    "config",
    "count-objects",
    "credential",
    "describe",
    "diff",
    "diff-files",
    "diff-index",
    "diff-tree",
    "fast-export",
    "fast-import",
    "fetch",
    "fetch-pack",
    "fmt-merge-msg",
    "for-each-ref",
    "format-patch",
    "fsck",
    "gc",
    "grep",
    "hash-object",
    "help",
    "index-pack",
    "init",
    "init-db",
    "interpret-trailers",
    "log",
    "ls-files",
    "ls-remote",
    "ls-tree",
    "mailinfo",
    "mailsplit",
    "maintenance",
    "merge",
    "merge-base",
    "merge-file",
    "merge-index",
    "merge-tree",
    "mktag",
    "mktree",
    "mv",
    "name-rev",
    "notes",
    "pack-objects",
    "pack-refs",
    "patch-id",
    "prune",
    "pull",
    "range-diff",
    "read-tree",
    "rebase",
    "receive-pack",
    "reflog",
    "remote",
    "repack",
    "replace",
    "rerere",
    "reset",
    "rev-list",
    "rev-parse",
    "revert",
    "rm",
    "shortlog",
    "show",
    "show-branch",
    "show-index",
    "show-ref",
    "sparse-checkout",
    "stash",
    "status",
    "stripspace",
    "switch",
    "symbolic-ref",
    "tag",
    "unpack-file",
    "unpack-objects",
    "update-index",
    "update-ref",
    "update-server-info",
    "upload-archive",
    "upload-pack",
    "var",
    "verify-commit",
    "verify-pack",
    "verify-tag",
    "version",
    "worktree",
    "write-tree",
];

fn is_command(verb: &[u8]) -> bool {
    COMMANDS.binary_search_by(|known| known.as_bytes().cmp(verb)).is_ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_of_commands_is_sorted() {
        for name in ["add", "write-tree", "checkout-index", "status", "init-db"] {
            assert!(super::is_command(name.as_bytes()), "{name}");
        }
        assert!(!super::is_command(b"push"));
    }
}
