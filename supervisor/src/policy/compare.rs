//! Two policies side by side: which decisions differ, shown by requests.
//!
//! The requests are made from the patterns of both: each pattern with several texts for its stars, each name in each folder that a pattern
//! names, each command, address and branch. So a difference is shown wherever one of the patterns, or two of them together, make it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::compile::{Compiled, PatternRule};
use super::engine::Policy;
use super::explain::Because;
use super::meeting::meeting;
use super::pattern::Glob;
use super::probe::{Address, Probe};
use super::types::{FileOp, NetOp, Nobody};
use crate::decision::Decision;

/// Requests that are tried.
const PROBES_MAX: usize = 200_000;
/// Folders that each name is tried in.
const FOLDERS_MAX: usize = 64;

/// Pairs of patterns that are looked at.
const PAIRS_MAX: usize = 100_000;

/// A request that two policies answer differently.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// The request, as text.
    pub request: String,
    /// Which way.
    pub way: Way,
    /// The first policy's answer.
    pub before: Because,
    /// The second policy's answer.
    pub after: Because,
    /// Further requests that change for the same two rules.
    pub more: usize,
}

/// Which way a decision changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// More is refused or recorded.
    Tightened,
    /// Less is.
    Loosened,
}

/// What differs, one example for each pair of rules, what is loosened first.
#[must_use]
pub fn compare(before: &Policy, after: &Policy) -> Vec<Change> {
    let mut changes = Changes::default();
    for probe in probes(&[before, after]) {
        let met = |policy: &Policy| Because::met(probe.ask(policy, &Nobody), policy.mode());
        changes.add(&probe, met(before), met(after));
    }
    changes.finish()
}

/// Changes, gathered by the pair of rules that make them.
#[derive(Default)]
pub struct Changes {
    list: Vec<Change>,
}

impl Changes {
    /// Adds a request with its two answers.
    pub fn add(
        &mut self,
        request: &dyn std::fmt::Display,
        (old, before): (Decision, Because),
        (new, after): (Decision, Because),
    ) {
        if old == new {
            return;
        }
        let way = if new > old { Way::Tightened } else { Way::Loosened };
        let same =
            |a: &Because, b: &Because| a.rule_id == b.rule_id && a.pattern == b.pattern && a.decision == b.decision;
        let known = self
            .list
            .iter_mut()
            .find(|change| same(&change.before, &before) && same(&change.after, &after));
        match known {
            Some(change) => change.more += 1,
            None => self.list.push(Change {
                request: request.to_string(),
                way,
                before,
                after,
                more: 0,
            }),
        }
    }

    /// The changes, what is loosened first.
    #[must_use]
    pub fn finish(mut self) -> Vec<Change> {
        self.list.sort_by_key(|change| std::cmp::Reverse(change.way));
        self.list
    }
}

/// Requests that tell these policies apart.
fn probes(policies: &[&Policy]) -> Vec<Probe> {
    let mut all = Probes::default();
    let packs = || {
        policies
            .iter()
            .flat_map(|policy| policy.packs.iter().map(|(_, pack)| pack))
    };
    let mut folders: Vec<Vec<u8>> = policies.iter().flat_map(|policy| policy.own.clone()).collect();
    folders.extend([b"/srv/data".to_vec(), b"/usr/share".to_vec()]);
    for rule in packs().flat_map(paths) {
        folders.extend(rule.globs.iter().filter_map(folder));
    }
    let mut known = HashSet::new();
    folders.retain(|folder| known.insert(folder.clone()));
    folders.truncate(FOLDERS_MAX);
    for rule in packs().flat_map(paths) {
        for glob in rule.globs.iter().chain(&rule.except) {
            for path in samples(glob, &folders) {
                all.path(path);
            }
        }
    }
    for folder in &folders {
        for name in [&b"/x"[..], b"/x/y", b""] {
            all.path([folder, name].concat());
        }
        // What lies below a folder decides on its listing.
        for above in Path::new(OsStr::from_bytes(folder)).ancestors().skip(1) {
            all.path(above.as_os_str().as_bytes().to_vec());
        }
    }
    for text in meetings(policies, paths) {
        if text.starts_with(b"/") {
            all.path(text);
        } else {
            folders
                .iter()
                .for_each(|folder| all.path([folder, &b"/"[..], &text].concat()));
        }
    }
    for line in meetings(policies, |pack| pack.commands.iter()) {
        all.command(&line);
    }
    for pack in packs() {
        for rule in pack.commands.iter() {
            for glob in rule.globs.iter().chain(&rule.except) {
                for star in [&b""[..], b" x", b"x", b"x\ny"] {
                    all.command(&glob.parts().join(star));
                }
            }
        }
        if let Some((branches, _)) = &pack.protected {
            for branch in branches {
                all.command(&[b"git push origin ", &branch.parts().join(&b'x')[..]].concat());
            }
        }
        for rule in pack.connect.iter().chain(&pack.bind) {
            all.address(&rule.rule.pattern);
        }
    }
    for line in [&b"some-command"[..], b"git push origin topic", b"git push origin main"] {
        all.command(line);
    }
    for address in [
        "192.0.2.1",
        "127.0.0.1",
        "udp:192.0.2.1",
        "host.example",
        "unix:/run/some.sock",
        "169.254.169.254",
    ] {
        all.address(address);
    }
    all.list
}

/// Requests without duplicates, up to a limit.
#[derive(Default)]
struct Probes {
    list: Vec<Probe>,
    known: HashSet<Probe>,
}

impl Probes {
    fn add(&mut self, probe: Probe) {
        if self.list.len() < PROBES_MAX && self.known.insert(probe.clone()) {
            self.list.push(probe);
        }
    }

    fn path(&mut self, path: Vec<u8>) {
        if !path.starts_with(b"/") {
            return;
        }
        self.add(Probe::Names(path.clone()));
        self.add(Probe::File(FileOp::Write, path.clone()));
        self.add(Probe::File(FileOp::Delete, path.clone()));
        self.add(Probe::File(FileOp::Read, path));
    }

    fn command(&mut self, line: &[u8]) {
        let argv: Vec<Vec<u8>> = line
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        if let Some(first) = argv.first() {
            self.add(Probe::Command(first.clone(), argv, b"/".to_vec()));
        }
    }

    /// Ends that an entry is about: its host at its ports, and one beside it.
    fn address(&mut self, entry: &str) {
        let entry = entry.split_ascii_whitespace().next().unwrap_or_default();
        let entry = entry.strip_prefix("bind:").unwrap_or(entry);
        let (udp, rest) = match entry.strip_prefix("udp:") {
            Some(rest) => (true, rest),
            None => (false, entry.strip_prefix("tcp:").unwrap_or(entry)),
        };
        let mut ends = Vec::new();
        if rest.starts_with("unix:") {
            ends.extend(Address::parse(&rest.replace('*', "x")));
        } else {
            let (host, port) = match rest.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') || host.ends_with(']') || host.contains("]/") => (host, port),
                _ => (rest, "*"),
            };
            let (low, high) = port.split_once('-').unwrap_or((port, port));
            let mut ports: Vec<u16> = [low, high].iter().filter_map(|port| port.parse().ok()).collect();
            ports.extend([80, 443]);
            let address = host
                .split('/')
                .next()
                .unwrap_or(host)
                .trim_start_matches('[')
                .trim_end_matches(']');
            let ip: Option<IpAddr> = match address {
                "*" => Some(IpAddr::from([192, 0, 2, 1])),
                "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
                other => other.parse().ok(),
            };
            for port in ports {
                for udp in [udp, !udp] {
                    match ip {
                        Some(ip) => ends.push(Address::Ip(udp, ip, port)),
                        None => ends.extend(
                            super::hostname::canonical(&address.replace('*', "sub"))
                                .ok()
                                .map(|name| Address::Name(udp, name, port)),
                        ),
                    }
                }
            }
        }
        for end in ends {
            self.add(Probe::Network(NetOp::Connect, end.clone()));
            self.add(Probe::Network(NetOp::Bind, end));
        }
    }
}

fn paths(pack: &Compiled) -> impl Iterator<Item = &PatternRule> {
    pack.of_paths()
}

/// Texts where a pattern of one policy meets another one of the other: there its answer takes the place of the other's.
fn meetings<'p, Of>(policies: &[&'p Policy], of: impl Fn(&'p Compiled) -> Of) -> Vec<Vec<u8>>
where
    Of: Iterator<Item = &'p PatternRule>,
{
    let each_once = |policy: &&'p Policy| -> Vec<&'p Glob> {
        let rules = policy.packs.iter().flat_map(|(_, pack)| of(pack));
        let mut known = HashSet::new();
        let all = rules.flat_map(|rule| rule.globs.iter().chain(&rule.except));
        all.filter(|glob| known.insert(glob.parts())).collect()
    };
    let of_each: Vec<Vec<&Glob>> = policies.iter().map(each_once).collect();
    let [before, after] = of_each.as_slice() else {
        return Vec::new();
    };
    let pairs = before
        .iter()
        .flat_map(|one| after.iter().map(move |other| (one, other)));
    let pairs = pairs
        .filter(|(one, other)| one.parts() != other.parts())
        .take(PAIRS_MAX);
    let met = |(one, other): (&&Glob, &&Glob)| [b'x', b'\n'].map(|filler| meeting(one, other, filler));
    pairs.flat_map(met).flatten().collect()
}

/// The folder that a pattern is about, where it names one.
fn folder(glob: &Glob) -> Option<Vec<u8>> {
    let first = glob.parts().first()?;
    let end = first.iter().rposition(|byte| *byte == b'/')?;
    first.get(..end).filter(|folder| !folder.is_empty()).map(<[u8]>::to_vec)
}

/// Texts that a pattern matches, and some that it nearly does.
fn samples(glob: &Glob, folders: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let parts = glob.parts();
    let Some((first, rest)) = parts.split_first() else {
        return Vec::new();
    };
    let mut all = Vec::new();
    // The last one, because an allow does not reach over a line end where other decisions do.
    for star in [&b"x"[..], b"x/y", b"", b"x\ny"] {
        if first.is_empty() && !rest.is_empty() {
            let tail = rest.join(star);
            all.extend(folders.iter().map(|folder| [folder, &tail[..]].concat()));
            all.extend(folders.iter().map(|folder| [folder, &b"/sub"[..], &tail[..]].concat()));
        } else {
            all.push(parts.join(star));
        }
    }
    all
}
