//! Layers of packs, compiled into one policy, and its answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::commands::{Meaning, PushTarget, Table, meaning};
use super::network::Entry;
use super::pack::{Diagnostics, Loaded, Network, OneOrMany, RuleEntry, find};
use super::pattern::{Glob, expand};
use super::profile::Profile;
use super::types::{Command, Endpoint, FileOp, Layer, Mode, NetOp, Rule, Scope, Source, Subject, Verdict};
use crate::decision::{Decision, Severity};

/// Addresses of clouds' metadata services.
const METADATA: &[&str] = &[
    "169.254.169.254",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
];

/// What a policy is made from.
pub struct Request<'a> {
    /// `--policy` values; empty for the profile's packs.
    pub launch: &'a [String],
    /// The profile.
    pub profile: &'a Profile,
    /// Packs of the machine.
    pub machine_dir: &'a Path,
    /// The workspace's own pack, where there is one.
    pub repository: Option<&'a Path>,
    /// Where packs are found by id.
    pub search: &'a [PathBuf],
    /// What variables stand for.
    pub scope: &'a Scope,
    /// Trees that patterns by name do not reach into.
    pub system_trees: &'a [PathBuf],
    /// The launcher's environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

struct PathRule {
    globs: Vec<Glob>,
    except: Vec<Glob>,
    by: Vec<String>,
    rule: Rule,
}

struct NetRule {
    entry: Entry,
    by: Vec<String>,
    rule: Rule,
}

/// One layer's pack with its parents.
#[derive(Default)]
struct Compiled {
    read: Vec<PathRule>,
    write: Vec<PathRule>,
    commands: Vec<PathRule>,
    connect: Vec<NetRule>,
    bind: Vec<NetRule>,
    protected: Option<(Vec<Glob>, Rule)>,
    default_read: Option<Rule>,
    default_write: Option<Rule>,
    default_command: Option<Rule>,
    default_network: Option<Rule>,
}

/// A session's policy: immutable.
pub struct Policy {
    packs: Vec<(Layer, Compiled)>,
    needs: Needs,
    table: Arc<Table>,
    system: Vec<Vec<u8>>,
    fallback: [Rule; 3],
    metadata: Rule,
    unreadable: Rule,
    info: Vec<String>,
    notes: Vec<String>,
    digest: String,
    mode: Mode,
}

struct Needs {
    read: Vec<Glob>,
    write: Vec<Glob>,
    network: Vec<Entry>,
    rule: Rule,
}

fn group(decision: Decision, kind: &str) -> Option<String> {
    (decision == Decision::RequireApproval).then(|| match kind {
        "filesystem" => "Platform Security".to_owned(),
        _ => "Repository Owners".to_owned(),
    })
}

fn severity(decision: Decision) -> Severity {
    match decision {
        Decision::Block | Decision::RequireApproval => Severity::High,
        Decision::AllowWithAttestation | Decision::Warn => Severity::Medium,
        Decision::AuditOnly | Decision::Allow => Severity::Low,
    }
}

struct Maker<'a> {
    layer: Layer,
    loaded: &'a Loaded,
    scope: &'a Scope,
    errors: &'a mut Vec<String>,
}

impl Maker<'_> {
    fn rule(&self, area: &str, what: &str, decision: Decision, pattern: &str, place: Option<(u64, u64)>) -> Rule {
        let reason = if pattern.is_empty() {
            format!(
                "the default of pack {} for {area} is {decision}",
                self.loaded.pack.metadata.id
            )
        } else {
            format!("{} matches `{pattern}`: {decision}", format!("{area} {what}").trim())
        };
        Rule {
            id: if what.is_empty() {
                format!("{area}.{decision}")
            } else {
                format!("{area}.{what}.{decision}")
            },
            severity: severity(decision),
            layer: self.layer,
            pack: self.loaded.pack.metadata.id.clone(),
            decision,
            pattern: pattern.to_owned(),
            reason,
            approver_group: group(decision, area),
            source: place.map(|(line, column)| Source {
                file: self.loaded.file.clone(),
                line: u32::try_from(line).unwrap_or(0),
                column: u32::try_from(column).unwrap_or(0),
            }),
        }
    }

    fn error(&mut self, (line, column): (u64, u64), text: &str) {
        self.errors
            .push(format!("{}:{line}:{column}: {text}", self.loaded.file));
    }

    fn checked(&mut self, pattern: &str, place: (u64, u64)) -> bool {
        if pattern.is_empty() {
            self.error(place, "an empty pattern matches nothing; remove it");
        } else if let Some(at) = pattern.find("${") {
            let known = ["${workspace}", "${home}", "${tmp}"];
            if !known
                .iter()
                .any(|variable| pattern.get(at..).is_some_and(|rest| rest.starts_with(variable)))
                || at != 0
            {
                self.error(
                    place,
                    &format!("`{pattern}`: a pattern may begin with {}", known.join(", ")),
                );
                return false;
            }
            return true;
        } else {
            return true;
        }
        false
    }

    fn compile(&mut self, out: &mut Compiled) {
        let pack = self.loaded.pack.clone();
        for (op, lists, rules) in [
            ("read", pack.filesystem.reads(), &mut out.read),
            ("write", pack.filesystem.writes(), &mut out.write),
        ] {
            for (decision, list) in lists {
                for entry in list.iter().flatten() {
                    let place = (entry.referenced.line(), entry.referenced.column());
                    if self.checked(&entry.value, place) {
                        let globs = expand(&entry.value, self.scope, decision != Decision::Allow);
                        let rule = self.rule("filesystem", op, decision, &entry.value, Some(place));
                        rules.push(PathRule {
                            globs,
                            except: Vec::new(),
                            by: Vec::new(),
                            rule,
                        });
                    }
                }
            }
        }
        for (decision, list) in pack.commands.lists() {
            for entry in list.iter().flatten() {
                let place = (entry.referenced.line(), entry.referenced.column());
                let mut rule = self.rule("commands", "", decision, &entry.value, Some(place));
                if decision == Decision::Block && (entry.value.contains("apply") || entry.value.contains("delete")) {
                    rule.severity = Severity::Critical;
                }
                let globs = vec![Glob::new(entry.value.trim().as_bytes(), decision != Decision::Allow)];
                out.commands.push(PathRule {
                    globs,
                    except: Vec::new(),
                    by: Vec::new(),
                    rule,
                });
            }
        }
        match &pack.network {
            Some(Network::Lists(lists)) => {
                for (decision, list) in lists.lists() {
                    for entry in list.iter().flatten() {
                        let place = (entry.referenced.line(), entry.referenced.column());
                        self.net(out, &entry.value, decision, place);
                    }
                }
                if let Some(decision) = lists.default {
                    out.default_network = Some(self.rule("network.default", "", decision, "", None));
                }
            }
            Some(Network::Word(word)) if word == "none" => {
                self.net(out, "*", Decision::Block, (0, 0));
                self.net(out, "bind:*", Decision::Block, (0, 0));
                out.default_network = Some(self.rule("network.default", "", Decision::Block, "", None));
            }
            Some(Network::Word(word)) => self.error((0, 0), &format!("network: `{word}`; expected lists or `none`")),
            None => {}
        }
        for rule in &pack.rules {
            self.own(out, rule);
        }
        let default = |decision: Option<Decision>, area: &str, what: &str| {
            decision.map(|decision| self.rule(area, what, decision, "", None))
        };
        out.default_read =
            default(pack.filesystem.default_read, "filesystem.default", "read").or(out.default_read.take());
        out.default_write =
            default(pack.filesystem.default_write, "filesystem.default", "write").or(out.default_write.take());
        out.default_command = default(pack.commands.default, "commands.default", "").or(out.default_command.take());
        if let Some(git) = &pack.git {
            let names = |value: &serde_json::Value| {
                value.as_array().map(|list| {
                    list.iter()
                        .filter_map(|v| v.as_str().map(str::to_owned))
                        .collect::<Vec<_>>()
                })
            };
            if let Some(branches) = git.get("protected_branches").and_then(names) {
                let decision = match git.get("push_protected").and_then(|v| v.as_str()) {
                    None | Some("block") => Decision::Block,
                    Some(name) => Decision::ALL.into_iter().find(|d| d.name() == name).unwrap_or_else(|| {
                        self.error((0, 0), &format!("git.push_protected: `{name}` is no decision"));
                        Decision::Block
                    }),
                };
                let mut rule = self.rule("git", "protected_branch", decision, &branches.join(", "), None);
                rule.id = "git.protected_branch.block_direct_push".to_owned();
                out.protected = Some((branches.iter().map(|b| Glob::new(b.as_bytes(), true)).collect(), rule));
            }
        }
    }

    fn net(&mut self, out: &mut Compiled, text: &str, decision: Decision, place: (u64, u64)) {
        match Entry::parse(text, self.scope) {
            Ok(entry) => {
                let (what, list) = if entry.binds() {
                    ("bind", &mut out.bind)
                } else {
                    ("connect", &mut out.connect)
                };
                let rule = self.rule("network", what, decision, text, Some(place));
                list.push(NetRule {
                    entry: entry.deciding(decision),
                    by: Vec::new(),
                    rule,
                });
            }
            Err(text) => self.error(place, &text),
        }
    }

    fn own(&mut self, out: &mut Compiled, entry: &RuleEntry) {
        let place = (entry.matches.referenced.line(), entry.matches.referenced.column());
        let by = entry.by.as_ref().map(OneOrMany::list).unwrap_or_default();
        for action in entry.action.list() {
            for pattern in entry.matches.value.list() {
                let (area, what) = match action.as_str() {
                    "read_file" => ("filesystem", "read"),
                    "write_file" => ("filesystem", "write"),
                    "execute_command" => ("commands", ""),
                    "network_connect" => ("network", "connect"),
                    "network_bind" => ("network", "bind"),
                    other => {
                        self.error(place, &format!("action `{other}`; expected read_file, write_file, execute_command, network_connect or network_bind"));
                        continue;
                    }
                };
                let mut rule = self.rule(area, what, entry.decision, &pattern, Some(place));
                if let Some(id) = &entry.id {
                    rule.id.clone_from(id);
                }
                if let Some(severity) = entry.severity {
                    rule.severity = severity;
                }
                if let Some(reason) = &entry.reason {
                    rule.reason = format!("{reason} (`{pattern}`)");
                }
                if entry.approver_group.is_some() {
                    rule.approver_group.clone_from(&entry.approver_group);
                }
                let newlines = entry.decision != Decision::Allow;
                let paths = |list: &[String], scope: &Scope| {
                    list.iter().flat_map(|p| expand(p, scope, true)).collect::<Vec<_>>()
                };
                let except = entry.except.as_ref().map(OneOrMany::list).unwrap_or_default();
                match area {
                    "filesystem" if self.checked(&pattern, place) => {
                        let path_rule = PathRule {
                            globs: expand(&pattern, self.scope, newlines),
                            except: paths(&except, self.scope),
                            by: by.clone(),
                            rule,
                        };
                        if what == "read" {
                            out.read.push(path_rule)
                        } else {
                            out.write.push(path_rule)
                        }
                    }
                    "filesystem" => {}
                    "commands" => {
                        let except = except.iter().map(|p| Glob::new(p.as_bytes(), true)).collect();
                        out.commands.push(PathRule {
                            globs: vec![Glob::new(pattern.as_bytes(), newlines)],
                            except,
                            by: by.clone(),
                            rule,
                        });
                    }
                    _ => match Entry::parse(&pattern, self.scope) {
                        Ok(parsed) => {
                            let (op, list) = if what == "bind" {
                                (NetOp::Bind, &mut out.bind)
                            } else {
                                (NetOp::Connect, &mut out.connect)
                            };
                            list.push(NetRule {
                                entry: parsed.for_operation(op).deciding(entry.decision),
                                by: by.clone(),
                                rule,
                            });
                        }
                        Err(text) => self.error(place, &text),
                    },
                }
            }
        }
    }
}

/// Reads and compiles everything; all errors of the compiled packs in one text.
pub fn load(request: &Request<'_>) -> Result<Policy, Diagnostics> {
    let (mut errors, notes, mut info) = (Vec::new(), Vec::new(), Vec::new());
    let mut packs = Vec::new();
    let mut table = Arc::clone(Table::shipped());
    let mut hash = Sha256::new();
    // One pack that enforces is enough: to watch only, all of them must say so.
    let (mut audits, mut enforces) = (false, false);
    let mut add = |layer: Layer, name: &str| -> Result<(), Diagnostics> {
        let mut compiled = Compiled::default();
        for loaded in find(name, request.search, &mut Vec::new())? {
            hash.update(loaded.sha256.as_bytes());
            info.push(format!(
                "{} {} sha256:{}",
                loaded.pack.metadata.id, loaded.file, loaded.sha256
            ));
            if !loaded.pack.command_grammar.is_empty() {
                match Table::rows(&loaded.pack.command_grammar).and_then(|rows| table.with(&rows)) {
                    Ok(more) => table = Arc::new(more),
                    Err(wrong) => errors.extend(wrong.iter().map(|error| format!("{}: {error}", loaded.file))),
                }
            }
            match loaded.pack.mode.as_deref() {
                // The workspace's own pack may tighten only (I10): it never switches enforcement off.
                Some("audit" | "audit_only") if layer == Layer::Repository => {}
                Some("audit" | "audit_only") => audits = true,
                Some("enforce") | None => enforces |= layer != Layer::Repository,
                Some(other) => errors.push(format!("{}: mode `{other}`; expected enforce or audit", loaded.file)),
            }
            Maker {
                layer,
                loaded: &loaded,
                scope: request.scope,
                errors: &mut errors,
            }
            .compile(&mut compiled);
        }
        packs.push((layer, compiled));
        Ok(())
    };
    let mut machine: Vec<PathBuf> = std::fs::read_dir(request.machine_dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    machine.sort();
    for file in machine {
        add(Layer::Machine, &file.display().to_string())?;
    }
    let launch = if request.launch.is_empty() {
        &request.profile.packs
    } else {
        request.launch
    };
    for name in launch {
        add(Layer::Launch, name)?;
    }
    if let Some(file) = request.repository.filter(|file| file.exists()) {
        add(Layer::Repository, &file.display().to_string())?;
    }
    let profile = request.profile;
    let mut network = Vec::new();
    let of_env = profile
        .needs
        .network_env
        .iter()
        .filter_map(|name| host_of((request.env)(name)?.as_str()));
    for text in profile.needs.network.iter().cloned().chain(of_env) {
        match Entry::parse(&text, request.scope) {
            Ok(entry) => network.push(entry),
            Err(error) => errors.push(format!("profile {}: {error}", profile.name)),
        }
    }
    if !errors.is_empty() {
        return Err(Diagnostics(errors.join("\n")));
    }
    let own = |id: &str, decision: Decision, reason: &str, layer: Layer| Rule {
        id: id.to_owned(),
        severity: if decision == Decision::Block {
            Severity::High
        } else {
            Severity::Medium
        },
        layer,
        pack: String::new(),
        decision,
        pattern: String::new(),
        reason: reason.to_owned(),
        approver_group: group(decision, ""),
        source: None,
    };
    let globs = |list: &[String]| list.iter().flat_map(|p| expand(p, request.scope, false)).collect();
    Ok(Policy {
        packs,
        needs: Needs {
            read: globs(&profile.needs.read),
            write: globs(&profile.needs.write),
            network,
            rule: own(
                "profile.needs.allow",
                Decision::Allow,
                &format!("profile {} needs it", profile.name),
                Layer::Launch,
            ),
        },
        table,
        system: request
            .system_trees
            .iter()
            .map(|path| std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec())
            .collect(),
        fallback: [
            own(
                "filesystem.default.allow",
                Decision::Allow,
                "no rule matches",
                Layer::Default,
            ),
            own(
                "commands.default.require_approval",
                Decision::RequireApproval,
                "no rule matches the command",
                Layer::Default,
            ),
            own(
                "network.default.require_approval",
                Decision::RequireApproval,
                "no rule matches the address",
                Layer::Default,
            ),
        ],
        metadata: own(
            "boundary.metadata.block",
            Decision::Block,
            "a cloud's metadata service hands out credentials",
            Layer::Boundary,
        ),
        unreadable: own(
            "boundary.command.unreadable",
            Decision::Block,
            "more options, wrappers or refs than any command has; split it into several",
            Layer::Boundary,
        ),
        info,
        notes,
        digest: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        mode: if audits && !enforces {
            Mode::Audit
        } else {
            Mode::Enforce
        },
    })
}

/// `host:port` of a URL.
fn host_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let has_port = host.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    Some(if has_port {
        host.to_owned()
    } else {
        format!("{host}:{}", if scheme == "http" { 80 } else { 443 })
    })
}

impl Policy {
    fn in_system(&self, path: &[u8]) -> bool {
        self.system.iter().any(|tree| {
            path.strip_prefix(tree.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }

    fn layers<'p>(
        &'p self,
        answer: impl Fn(&'p Compiled) -> Option<&'p Rule>,
        default: impl Fn(&'p Compiled) -> Option<&'p Rule>,
        needed: impl Fn() -> bool,
        fallback: &'p Rule,
    ) -> Verdict<'p> {
        let mut strictest: Option<&'p Rule> = None;
        for (layer, pack) in &self.packs {
            let found = answer(pack).or_else(|| {
                let stated = default(pack)?;
                // A need turns only a launch layer's stated default into allow.
                Some(
                    if *layer == Layer::Launch && stated.decision != Decision::Allow && needed() {
                        &self.needs.rule
                    } else {
                        stated
                    },
                )
            });
            if let Some(rule) = found
                && strictest.is_none_or(|old| rule.decision > old.decision)
            {
                strictest = Some(rule);
            }
        }
        let rule = strictest.unwrap_or(fallback);
        Verdict {
            decision: rule.decision,
            rule,
        }
    }

    fn path_rule<'p>(&self, rules: &'p [PathRule], path: &[u8], by: &dyn Subject) -> Option<&'p Rule> {
        let system = self.in_system(path);
        let mut strictest: Option<&'p Rule> = None;
        for rule in rules {
            if strictest.is_none_or(|old| rule.rule.decision > old.decision)
                && rule
                    .globs
                    .iter()
                    .any(|glob| (!system || glob.reaches_system()) && glob.matches(path))
                && !rule.except.iter().any(|glob| glob.matches(path))
                && asked_by(&rule.by, by)
            {
                strictest = Some(&rule.rule);
            }
        }
        strictest
    }

    /// The answer for a path.
    pub fn file(&self, op: FileOp, path: &[u8], by: &dyn Subject) -> Verdict<'_> {
        let [fallback, ..] = &self.fallback;
        match op {
            FileOp::Read => self.layers(
                |pack| self.path_rule(&pack.read, path, by),
                |pack| pack.default_read.as_ref(),
                || self.needs.read.iter().any(|glob| glob.matches(path)),
                fallback,
            ),
            FileOp::Write => self.layers(
                |pack| self.path_rule(&pack.write, path, by),
                |pack| pack.default_write.as_ref(),
                || self.needs.write.iter().any(|glob| glob.matches(path)),
                fallback,
            ),
        }
    }

    /// The answer for listing a folder's names: refused where a rule matches it or all that is below it; names are visible natively.
    pub fn names(&self, dir: &[u8], by: &dyn Subject) -> Verdict<'_> {
        let below = [dir, b"/"].concat();
        let [fallback, ..] = &self.fallback;
        self.layers(
            |pack| {
                self.path_rule(&pack.read, dir, by)
                    .max_by_decision(self.path_rule(&pack.read, &below, by))
            },
            |_| None,
            || false,
            fallback,
        )
    }

    /// Whether moving a folder keeps each rule's answer for everything below it.
    #[must_use]
    pub fn same_below(&self, old: &[u8], new: &[u8]) -> bool {
        let (old, new) = ([old, b"/"].concat(), [new, b"/"].concat());
        let same = |globs: &[Glob]| globs.iter().all(|glob| glob.same_below(&old, &new));
        self.in_system(&old) == self.in_system(&new)
            && same(&self.needs.read)
            && same(&self.needs.write)
            && self.packs.iter().all(|(_, pack)| {
                pack.read
                    .iter()
                    .chain(&pack.write)
                    .all(|rule| same(&rule.globs) && same(&rule.except))
            })
    }

    /// Paths that restrictive rules name literally.
    #[must_use]
    pub fn literal_paths(&self) -> Vec<Vec<u8>> {
        let rules = self
            .packs
            .iter()
            .flat_map(|(_, pack)| pack.read.iter().chain(&pack.write));
        rules
            .filter(|rule| rule.rule.decision >= Decision::RequireApproval)
            .flat_map(|rule| &rule.globs)
            .filter_map(|glob| glob.literal().map(<[u8]>::to_vec))
            .collect()
    }

    /// The answer for a command: the most restrictive over its spellings, and over the branches that it would push to.
    pub fn command(&self, command: &Command<'_>, by: &dyn Subject) -> Verdict<'_> {
        let Meaning {
            lines,
            given,
            pushes: targets,
            unreadable,
        } = meaning(&self.table, command);
        if unreadable {
            return Verdict {
                decision: Decision::Block,
                rule: &self.unreadable,
            };
        }
        let [_, fallback, _] = &self.fallback;
        self.layers(
            |pack| {
                let mut strictest: Option<&Rule> = None;
                for rule in &pack.commands {
                    if strictest.is_none_or(|old| rule.rule.decision > old.decision)
                        // A refusal holds for all that a command can mean, an allow only for what was typed.
                        && lines.iter().enumerate().any(|(at, line)| {
                            (rule.rule.decision != Decision::Allow || given.contains(&at))
                                && rule.globs.iter().any(|g| g.matches(line))
                                && !rule.except.iter().any(|g| g.matches(line))
                        })
                        && asked_by(&rule.by, by)
                    {
                        strictest = Some(&rule.rule);
                    }
                }
                let protected = pack.protected.as_ref().filter(|(branches, _)| {
                    targets.iter().any(|target| match target {
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

    /// The answer for an address. Binding to loopback is allowed unless a rule says otherwise.
    pub fn network(&self, op: NetOp, endpoint: &Endpoint<'_>, by: &dyn Subject) -> Verdict<'_> {
        let strictest = |rules: &'_ [NetRule]| -> Option<usize> {
            let matching = rules
                .iter()
                .enumerate()
                .filter(|(_, rule)| rule.entry.matches(endpoint) && asked_by(&rule.by, by));
            matching
                .max_by_key(|(_, rule)| rule.rule.decision)
                .map(|(index, _)| index)
        };
        if op == NetOp::Connect
            && let Endpoint::Tcp(ip, _) | Endpoint::Udp(ip, _) | Endpoint::Host { ip: Some(ip), .. } = endpoint
            && METADATA.iter().any(|metadata| metadata.parse() == Ok(*ip))
            && !self.names_exactly(*ip, endpoint, by)
        {
            return Verdict {
                decision: Decision::Block,
                rule: &self.metadata,
            };
        }
        let [free, _, fallback] = &self.fallback;
        let loopback = matches!(endpoint, Endpoint::Tcp(ip, _) | Endpoint::Udp(ip, _) if ip.is_loopback());
        if op == NetOp::Bind {
            let rule_for =
                |pack| -> Option<&Rule> { list(pack, op).get(strictest(list(pack, op))?).map(|rule| &rule.rule) };
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
            || self.needs.network.iter().any(|entry| entry.matches(endpoint)),
            fallback,
        )
    }

    /// Whether a rule of the machine or the launch names this very address; a block of addresses that holds it is not enough.
    fn names_exactly(&self, ip: std::net::IpAddr, endpoint: &Endpoint<'_>, by: &dyn Subject) -> bool {
        self.packs
            .iter()
            .filter(|(layer, _)| *layer != Layer::Repository)
            .flat_map(|(_, pack)| &pack.connect)
            .any(|rule| {
                rule.rule.decision < Decision::Block
                    && rule.entry.is_exactly(ip)
                    && rule.entry.matches(endpoint)
                    && asked_by(&rule.by, by)
            })
    }

    /// What rules say about connecting: the entries with their decisions, and those of the profile's needs.
    pub(super) fn destinations(&self) -> impl Iterator<Item = (&Entry, Decision)> {
        let rules = self.packs.iter().flat_map(|(_, pack)| &pack.connect);
        let needs = self.needs.network.iter().map(|entry| (entry, Decision::Allow));
        rules.map(|rule| (&rule.entry, rule.rule.decision)).chain(needs)
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

fn list(pack: &Compiled, op: NetOp) -> &[NetRule] {
    match op {
        NetOp::Connect => &pack.connect,
        NetOp::Bind => &pack.bind,
    }
}

fn asked_by(programs: &[String], by: &dyn Subject) -> bool {
    programs.is_empty() || programs.iter().any(|program| by.is_program(program, None, false))
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
