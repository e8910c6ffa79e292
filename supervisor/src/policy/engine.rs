//! The policy in force, and its answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::commands::{Lines, Meaning, Program, PushTarget, Table, meaning, plain_lines};
use super::compile::{Compiled, NetRule, PatternRule, holds};
use super::fold::folded;
use super::matcher::Rules;
use super::network::Entry;
use super::pattern::{Glob, is_below};
use super::types::{Command, Endpoint, FileOp, Layer, Mode, NetOp, Rule, Subject, Verdict};
use crate::decision::Decision;

/// Addresses of clouds' metadata services.
const METADATA: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// A session's policy: immutable.
pub struct Policy {
    pub(super) packs: Vec<(Layer, Compiled)>,
    pub(super) needs: Needs,
    pub(super) table: Arc<Table>,
    /// Trees that patterns by name do not reach into.
    pub(super) system: Vec<Vec<u8>>,
    /// Workspace, home and temporary folders: patterns by name reach into them wherever they lie.
    pub(super) own: Vec<Vec<u8>>,
    pub(super) fallback: [Rule; 3],
    pub(super) metadata: Rule,
    pub(super) unreadable: Rule,
    pub(super) info: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) digest: String,
    pub(super) mode: Mode,
    /// Whether packs that only watch are told apart from those that enforce: not where one mode holds for all of them.
    pub(super) apart: bool,
    /// The same, for paths in the one spelling that file systems without regard to case take for all others.
    pub(super) folded: Option<Box<Self>>,
    /// Files that the policy was read from, and folders in which the next session looks for its own.
    pub(super) reserved: Vec<Vec<u8>>,
}

/// What a profile turns into allow where a launch pack has only a default.
pub(super) struct Needs {
    pub(super) read: Vec<Glob>,
    pub(super) write: Vec<Glob>,
    pub(super) network: Vec<Entry>,
    pub(super) rule: Rule,
}

impl Policy {
    /// Whether patterns by name do not reach a path: of the trees that it lies in, the innermost says so.
    fn in_system(&self, path: &[u8]) -> bool {
        let innermost = |trees: &[Vec<u8>]| {
            let around = trees.iter().filter(|tree| is_below(path, tree));
            around.map(Vec::len).max()
        };
        innermost(&self.system) > innermost(&self.own)
    }

    /// The answer for a path.
    pub fn file(&self, op: FileOp, path: &[u8], by: &dyn Subject) -> Verdict<'_> {
        let verdict = self.whole().file(op, path, by);
        match &self.folded {
            None => verdict,
            Some(policy) => verdict.stricter(policy.file(op, &folded(path), by)),
        }
    }

    /// The answer for listing a folder's names: refused where a rule matches it or all that is below it, or where a default does and
    /// nothing below can be read either.
    pub fn names(&self, dir: &[u8], by: &dyn Subject) -> Verdict<'_> {
        let verdict = self.whole().names(dir, by);
        match &self.folded {
            None => verdict,
            Some(policy) => verdict.stricter(policy.names(&folded(dir), by)),
        }
    }

    /// The answer for a command: the most restrictive over its spellings, and over the branches that it would push to.
    pub fn command(&self, command: &Command<'_>, by: &dyn Subject) -> Verdict<'_> {
        let answer = |command: &Command<'_>| {
            let plain = plain_lines(&self.table, command, |lines| self.whole().plain(command, lines, by));
            plain.unwrap_or_else(|| self.whole().command(&meaning(&self.table, command), by))
        };
        if self.folded.is_none() {
            return answer(command);
        }
        // Programs are found by any spelling, arguments mean what they say.
        let file = folded(command.file);
        let chain: Vec<Vec<u8>> = command.chain.iter().map(|path| folded(path)).collect();
        let spelled = Command {
            file: &file,
            chain: chain.iter().map(Vec::as_slice).collect(),
            ..command.clone()
        };
        answer(command).stricter(answer(&spelled))
    }

    /// With a twin that was compiled for folded paths: the stricter of both answers counts.
    #[must_use]
    pub fn also_folded(self, twin: Self) -> Self {
        Self {
            folded: Some(Box::new(twin)),
            ..self
        }
    }

    /// Whether a file system of this session takes several spellings for one name.
    #[must_use]
    pub fn folds(&self) -> bool {
        self.folded.is_some()
    }

    /// The answer for an address. Binding to loopback is allowed unless a rule says otherwise.
    pub fn network(&self, op: NetOp, endpoint: &Endpoint<'_>, by: &dyn Subject) -> Verdict<'_> {
        self.whole().network(op, endpoint, by)
    }

    fn whole(&self) -> View<'_> {
        View {
            policy: self,
            packs: &self.packs,
            alone: false,
        }
    }

    /// Whether a pack's answers take no effect while those of others do.
    pub(super) fn only_watches(&self, pack: &Compiled) -> bool {
        self.apart && pack.mode == Mode::Audit
    }

    /// The packs whose answers count together.
    pub(super) fn counting(&self) -> impl Iterator<Item = &(Layer, Compiled)> {
        self.packs.iter().filter(|(_, pack)| !self.only_watches(pack))
    }

    /// One mode for the whole session, whatever packs say of themselves: each answers as the others do.
    #[must_use]
    pub fn in_one_mode(self) -> Self {
        Self {
            apart: false,
            folded: self.folded.map(|twin| Box::new(twin.in_one_mode())),
            ..self
        }
    }

    /// Ids of the packs that only watch, beside others that enforce.
    #[must_use]
    pub fn watching(&self) -> Vec<String> {
        let watching = self.packs.iter().filter(|(_, pack)| self.only_watches(pack));
        watching.map(|(_, pack)| pack.id.clone()).collect()
    }

    /// Each pack in force by itself, whether it enforces or watches; what it does not answer has the rule of [`Layer::Default`].
    pub(super) fn each(&self) -> impl Iterator<Item = (Layer, &Compiled, View<'_>)> {
        self.packs.iter().map(|pack| {
            let view = View {
                policy: self,
                packs: std::slice::from_ref(pack),
                alone: true,
            };
            (pack.0, &pack.1, view)
        })
    }

    /// What a command may mean.
    pub(super) fn meaning(&self, command: &Command<'_>) -> Meaning {
        meaning(&self.table, command)
    }

    /// Whether moving a folder keeps each rule's answer for everything below it.
    #[must_use]
    pub fn same_below(&self, old: &[u8], new: &[u8]) -> bool {
        if self
            .folded
            .as_ref()
            .is_some_and(|twin| !twin.same_below(&folded(old), &folded(new)))
        {
            return false;
        }
        let (old, new) = ([old, b"/"].concat(), [new, b"/"].concat());
        let same = |globs: &[Glob]| globs.iter().all(|glob| glob.same_below(&old, &new));
        self.in_system(&old) == self.in_system(&new)
            && same(&self.needs.read)
            && same(&self.needs.write)
            && self
                .counting()
                .all(|(_, pack)| pack.of_paths().all(|rule| same(&rule.globs) && same(&rule.except)))
    }

    /// Paths that restrictive rules name literally. What they name at any depth is looked for in the workspace and the home folder.
    #[must_use]
    pub fn literal_paths(&self) -> Vec<Vec<u8>> {
        let rules = self.packs.iter().flat_map(|(_, pack)| pack.of_paths());
        let globs = rules
            .filter(|rule| rule.rule.decision >= Decision::RequireApproval)
            .flat_map(|rule| &rule.globs);
        let mut paths: Vec<Vec<u8>> = Vec::new();
        for glob in globs {
            paths.extend(glob.literal().map(<[u8]>::to_vec));
            if let Some(name) = glob.name() {
                let folders = self.own.iter().take(2);
                paths.extend(folders.map(|folder| [folder, &b"/"[..], name].concat()));
            }
        }
        paths.sort();
        paths.dedup();
        paths
    }

    /// Programs that restrictive rules over commands name, as they are looked for in PATH.
    #[must_use]
    pub fn named_programs(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (_, pack) in &self.packs {
            let restrictive = |rule: &&PatternRule| rule.rule.decision >= Decision::AllowWithAttestation;
            let globs = pack.commands.iter().filter(restrictive).flat_map(|rule| &rule.globs);
            let words = globs.filter_map(Glob::first_word).filter(|word| !word.contains(&b'/'));
            names.extend(words.filter_map(|word| std::str::from_utf8(word).ok().map(str::to_owned)));
            names.extend(pack.protected.is_some().then(|| "git".to_owned()));
        }
        names.sort();
        names.dedup();
        names
    }

    /// Whether a rule of the pack matches what the command is for certain.
    fn is_certain(&self, program: &Program, pack: &Compiled, by: &dyn Subject) -> bool {
        let reserved = |path: &[u8]| {
            self.in_system(path) || self.file(FileOp::Write, path, by).decision >= Decision::RequireApproval
        };
        let lines = program.lines(&self.table, reserved);
        lines.iter().any(|line| {
            // What loosens a default does not reach over a line end, whatever it is called.
            let reaches = |rule: &PatternRule| rule.rule.decision == Decision::Allow || !line.contains(&b'\n');
            pack.commands.strictest(line, &|| false, by).is_some_and(reaches)
        })
    }

    /// Whether a rule of the machine or the launch names this very address; a block of addresses that holds it is not enough.
    fn names_exactly(&self, ip: IpAddr, endpoint: &Endpoint<'_>, by: &dyn Subject) -> bool {
        self.counting()
            .filter(|(layer, _)| *layer != Layer::Repository)
            .flat_map(|(_, pack)| &pack.connect)
            .any(|rule| {
                rule.rule.decision < Decision::Block
                    && rule.entry.is_exactly(ip)
                    && rule.entry.matches(endpoint)
                    && holds(&rule.by, by)
            })
    }

    /// What rules say about connecting: the entries with their decisions, and those of the profile's needs.
    pub(super) fn destinations(&self) -> impl Iterator<Item = (&Entry, Decision)> {
        let rules = self.counting().flat_map(|(_, pack)| &pack.connect);
        let needs = self.needs.network.iter().map(|entry| (entry, Decision::Allow));
        rules.map(|rule| (&rule.entry, rule.rule.decision)).chain(needs)
    }

    /// Files that the policy was read from, with their signatures, and folders in which the next session looks for its own: canonical, and
    /// nothing that the tree may write (I10).
    #[must_use]
    pub fn reserved(&self) -> &[Vec<u8>] {
        &self.reserved
    }

    /// Whether the packs decide or only watch.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// SHA-256 over the packs' digests.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Id, file and digest of each pack.
    #[must_use]
    pub fn packs(&self) -> &[String] {
        &self.info
    }

    /// What loads and does not decide.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// Some of the packs, asked together.
#[derive(Clone, Copy)]
pub(super) struct View<'p> {
    policy: &'p Policy,
    packs: &'p [(Layer, Compiled)],
    /// One pack by itself, which answers also where it only watches.
    alone: bool,
}

impl<'p> View<'p> {
    fn layers(
        self,
        answer: impl Fn(&'p Compiled) -> Option<&'p Rule>,
        default: impl Fn(&'p Compiled) -> Option<&'p Rule>,
        needed: impl Fn() -> bool,
        fallback: &'p Rule,
    ) -> Verdict<'p> {
        let (mut strictest, mut watched): (Option<&'p Rule>, Option<&'p Rule>) = (None, None);
        for (layer, pack) in self.packs {
            let found = answer(pack).or_else(|| {
                let stated = default(pack)?;
                // A need turns only a launch layer's stated default into allow.
                Some(
                    if *layer == Layer::Launch && stated.decision != Decision::Allow && needed() {
                        &self.policy.needs.rule
                    } else {
                        stated
                    },
                )
            });
            // What a pack that watches allows opens nothing, and what it refuses shuts nothing.
            let strictest = if !self.alone && self.policy.only_watches(pack) {
                &mut watched
            } else {
                &mut strictest
            };
            if let Some(rule) = found
                && strictest.is_none_or(|old| rule.decision > old.decision)
            {
                *strictest = Some(rule);
            }
        }
        Verdict::of(strictest.unwrap_or(fallback)).beside(watched)
    }

    fn path_rule(self, rules: &'p Rules, path: &[u8], by: &dyn Subject) -> Option<&'p Rule> {
        rules
            .strictest(path, &|| self.policy.in_system(path), by)
            .map(|found| &found.rule)
    }

    /// The answer for a path.
    pub(super) fn file(self, op: FileOp, path: &[u8], by: &dyn Subject) -> Verdict<'p> {
        let [fallback, ..] = &self.policy.fallback;
        match op {
            FileOp::Read => self.layers(
                |pack| self.path_rule(&pack.read, path, by),
                |pack| pack.default_read.as_ref(),
                || self.policy.needs.read.iter().any(|glob| glob.matches(path)),
                fallback,
            ),
            FileOp::Write | FileOp::Delete => self.layers(
                |pack| {
                    let write = self.path_rule(&pack.write, path, by);
                    match op {
                        FileOp::Read | FileOp::Write => write,
                        FileOp::Delete => write.max_by_decision(self.path_rule(&pack.delete, path, by)),
                    }
                },
                |pack| pack.default_write.as_ref(),
                || self.policy.needs.write.iter().any(|glob| glob.matches(path)),
                fallback,
            ),
        }
    }

    /// The answer for listing a folder's names: refused where a rule matches it or all that is below it, or where a default does and
    /// nothing below can be read either.
    pub(super) fn names(self, dir: &[u8], by: &dyn Subject) -> Verdict<'p> {
        let below = match dir {
            b"/" => dir.to_vec(),
            _ => [dir, b"/"].concat(),
        };
        let leads = |globs: &[Glob]| globs.iter().any(|glob| glob.may_match_after(&below));
        let [fallback, ..] = &self.policy.fallback;
        self.layers(
            |pack| {
                self.path_rule(&pack.read, dir, by)
                    .max_by_decision(self.path_rule(&pack.read, &below, by))
            },
            |pack| {
                let default = pack.default_read.as_ref()?;
                let looser = |rule: &&PatternRule| rule.rule.decision < default.decision;
                let some = pack.read.iter().filter(looser).any(|rule| leads(&rule.globs));
                (!some).then_some(default)
            },
            || leads(&self.policy.needs.read),
            fallback,
        )
    }

    /// The answer for a command: the most restrictive over its spellings, and over the branches that it would push to.
    pub(super) fn command(self, meaning: &Meaning, by: &dyn Subject) -> Verdict<'p> {
        if meaning.unreadable {
            return Verdict::of(&self.policy.unreadable);
        }
        let [_, fallback, _] = &self.policy.fallback;
        self.layers(
            |pack| {
                let lines = meaning.lines.iter().map(|line| (&*line.text, line.mode.as_deref()));
                let strictest = self.strictest_line(pack, lines, by, |certain| certain(&meaning.program));
                let protected = pack.protected.as_ref().filter(|(branches, _)| {
                    meaning.pushes.iter().any(|target| match target {
                        PushTarget::Unresolved => true,
                        PushTarget::Branch(name) => branches.iter().any(|branch| branch.matches(name)),
                    })
                });
                strictest.max_by_decision(protected.map(|(_, rule)| rule))
            },
            |pack| pack.default_command.as_ref(),
            || false,
            fallback,
        )
    }

    /// The answer for a command whose lines are all that it means.
    fn plain(self, command: &Command<'_>, lines: &Lines<'_>, by: &dyn Subject) -> Verdict<'p> {
        let [_, fallback, _] = &self.policy.fallback;
        self.layers(
            |pack| {
                let lines = lines.iter().map(|line| (line, None));
                self.strictest_line(pack, lines, by, |certain| certain(&Program::of(command)))
            },
            |pack| pack.default_command.as_ref(),
            || false,
            fallback,
        )
    }

    /// The strictest of a pack's rules over lines. One that is looser than what holds without it goes by what is certain, and not by all that
    /// the command may mean: `program` is asked for then only.
    fn strictest_line<'l>(
        self,
        pack: &'p Compiled,
        lines: impl Iterator<Item = (&'l [u8], Option<&'l [u8]>)>,
        by: &dyn Subject,
        program: impl FnOnce(&dyn Fn(&Program) -> bool) -> bool,
    ) -> Option<&'p Rule> {
        let found = lines
            .filter_map(|(line, mode)| pack.commands.strictest_but(line, mode, &|| false, by))
            .map(|found| &found.rule)
            .reduce(|a, b| if b.decision > a.decision { b } else { a })?;
        let stated = pack.default_command.as_ref();
        let stated = stated.map_or(Decision::RequireApproval, |rule| rule.decision);
        let holds = found.decision >= stated || program(&|program| self.policy.is_certain(program, pack, by));
        holds.then_some(found)
    }

    /// The answer for an address. Binding to loopback is allowed unless a rule says otherwise.
    pub(super) fn network(self, op: NetOp, endpoint: &Endpoint<'_>, by: &dyn Subject) -> Verdict<'p> {
        let strictest = |rules: &'_ [NetRule]| -> Option<usize> {
            let matching = rules
                .iter()
                .enumerate()
                .filter(|(_, rule)| rule.entry.matches(endpoint) && holds(&rule.by, by));
            matching
                .max_by_key(|(_, rule)| rule.rule.decision)
                .map(|(index, _)| index)
        };
        if op == NetOp::Connect
            && let Endpoint::Tcp(ip, _) | Endpoint::Udp(ip, _) | Endpoint::Host { ip: Some(ip), .. } = endpoint
            && METADATA.contains(ip)
            && !self.policy.names_exactly(*ip, endpoint, by)
        {
            return Verdict::of(&self.policy.metadata);
        }
        let [free, _, fallback] = &self.policy.fallback;
        let loopback = matches!(endpoint, Endpoint::Tcp(ip, _) | Endpoint::Udp(ip, _) if ip.is_loopback());
        if op == NetOp::Bind {
            let rule_for = |pack: &'p Compiled| -> Option<&'p Rule> {
                list(pack, op).get(strictest(list(pack, op))?).map(|rule| &rule.rule)
            };
            return self.layers(
                rule_for,
                |pack| if loopback { None } else { pack.default_network.as_ref() },
                || false,
                if loopback { free } else { fallback },
            );
        }
        self.layers(
            |pack| list(pack, op).get(strictest(list(pack, op))?).map(|rule| &rule.rule),
            |pack| pack.default_network.as_ref(),
            || self.policy.needs.network.iter().any(|entry| entry.matches(endpoint)),
            fallback,
        )
    }
}

fn list(pack: &Compiled, op: NetOp) -> &[NetRule] {
    match op {
        NetOp::Connect => &pack.connect,
        NetOp::Bind => &pack.bind,
    }
}

trait MaxByDecision<'p> {
    fn max_by_decision(self, other: Option<&'p Rule>) -> Option<&'p Rule>;
}

impl<'p> MaxByDecision<'p> for Option<&'p Rule> {
    fn max_by_decision(self, other: Option<&'p Rule>) -> Option<&'p Rule> {
        match (self, other) {
            (Some(a), Some(b)) => Some(if b.decision > a.decision { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}
