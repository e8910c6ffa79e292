//! From a merged pack to the rules that are in force: patterns expanded, subjects checked, each rule with its place.

use super::diagnostics::{Code, Diagnostics, Span};
use super::matcher::Rules;
use super::network::Entry;
use super::node::Node;
use super::pack::Merged;
use super::pattern::{Glob, PATTERN_MAX, Role, STARS_MAX, expand, has_too_many_stars};
use super::types::{Layer, Mode, NetOp, Rule, Scope, Source, Subject};
use crate::decision::{Decision, Severity};

/// A rule over paths or command lines.
pub(super) struct PatternRule {
    pub(super) globs: Vec<Glob>,
    pub(super) except: Vec<Glob>,
    pub(super) by: Vec<By>,
    pub(super) rule: Rule,
}

/// A rule over addresses.
pub(super) struct NetRule {
    pub(super) entry: Entry,
    pub(super) by: Vec<By>,
    pub(super) rule: Rule,
}

/// A program that a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct By {
    program: String,
    digest: Option<String>,
    tree: bool,
    /// Programs one of which must be among its ancestors.
    ancestor: Vec<String>,
}

impl By {
    fn holds(&self, subject: &dyn Subject) -> bool {
        subject.is_program(&self.program, self.digest.as_deref(), self.tree)
            && (self.ancestor.is_empty() || self.ancestor.iter().any(|program| subject.is_below(program)))
    }
}

/// Whether a rule with these subjects holds for who asks; one without any holds for all.
pub(super) fn holds(by: &[By], subject: &dyn Subject) -> bool {
    by.is_empty() || by.iter().any(|by| by.holds(subject))
}

/// One layer's pack with its parents.
#[derive(Default)]
pub(super) struct Compiled {
    /// `metadata.id`.
    pub(super) id: String,
    /// What the pack says of itself.
    pub(super) mode: Mode,
    pub(super) read: Rules,
    pub(super) write: Rules,
    /// Of names that are taken away only.
    pub(super) delete: Rules,
    pub(super) commands: Rules,
    pub(super) connect: Vec<NetRule>,
    pub(super) bind: Vec<NetRule>,
    pub(super) resolvers: Vec<super::network::Server>,
    pub(super) protected: Option<(Vec<Glob>, Rule)>,
    pub(super) default_read: Option<Rule>,
    pub(super) default_write: Option<Rule>,
    pub(super) default_command: Option<Rule>,
    pub(super) default_network: Option<Rule>,
}

impl Compiled {
    /// The rules over paths.
    pub(super) fn of_paths(&self) -> impl Iterator<Item = &PatternRule> {
        [&self.read, &self.write, &self.delete]
            .into_iter()
            .flat_map(Rules::iter)
    }
}

/// A pack while its rules are gathered.
#[derive(Default)]
struct Lists {
    read: Vec<PatternRule>,
    write: Vec<PatternRule>,
    delete: Vec<PatternRule>,
    commands: Vec<PatternRule>,
    /// The rest of the pack.
    out: Compiled,
}

/// Who is started, for rules that ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session<'a> {
    /// `--agent-id`, else the command's name.
    pub agent: &'a str,
    /// The profile's name.
    pub profile: &'a str,
}

/// Who may approve what a list of this area holds.
pub(super) fn group(decision: Decision, area: &str) -> Option<String> {
    (decision == Decision::RequireApproval).then(|| match area {
        "filesystem" => "Platform Security".to_owned(),
        _ => "Repository Owners".to_owned(),
    })
}

const fn severity(decision: Decision) -> Severity {
    match decision {
        Decision::Block | Decision::RequireApproval => Severity::High,
        Decision::AllowWithAttestation | Decision::Warn => Severity::Medium,
        Decision::AuditOnly | Decision::Allow => Severity::Low,
    }
}

fn decision_of(node: &Node) -> Option<Decision> {
    let name = node.text()?;
    Decision::ALL.into_iter().find(|decision| decision.name() == name)
}

fn severity_of(node: &Node) -> Option<Severity> {
    let name = node.text()?;
    [Severity::Low, Severity::Medium, Severity::High, Severity::Critical]
        .into_iter()
        .find(|severity| severity.name() == name)
}

/// Compiles one pack; what is wrong gathers in the diagnostics.
pub(super) struct Maker<'a> {
    pub(super) layer: Layer,
    pub(super) pack: &'a Merged,
    pub(super) scope: &'a Scope,
    pub(super) session: Session<'a>,
    pub(super) diagnostics: &'a mut Diagnostics,
}

impl Maker<'_> {
    fn rule(&self, area: &str, what: &str, decision: Decision, pattern: &str, span: Span) -> Rule {
        let file = self.diagnostics.file_name(span);
        let part = self.pack.parts.iter().find(|part| part.file == file);
        let pack = part.map_or(&self.pack.id, |part| &part.id);
        let reason = if pattern.is_empty() {
            format!(
                "the default of pack {pack} for {} is {decision}",
                format!("{area} {what}").trim()
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
            pack: pack.clone(),
            decision,
            pattern: pattern.to_owned(),
            reason,
            approver_group: group(decision, area),
            source: Some(Source {
                file: file.to_owned(),
                line: span.line,
                column: span.column,
            }),
        }
    }

    /// The rule for a stated default.
    fn default(&self, keys: &[&str], area: &str, what: &str) -> Option<Rule> {
        let node = self.pack.node.at(keys)?;
        Some(self.rule(area, what, decision_of(node)?, "", node.span))
    }

    /// A path pattern; nothing when it is wrong.
    fn paths(&mut self, text: &str, span: Span, role: Role) -> Vec<Glob> {
        if text.contains(['[', '{', '?']) && !text.contains("${") {
            self.diagnostics.note(
                span,
                &format!("`{text}`: only `*` is special; `?`, `[` and `{{` stand for themselves"),
            );
        }
        expand(text, self.scope, role).unwrap_or_else(|error| {
            let code = match has_too_many_stars(text) {
                true => Code::Stars,
                false => Code::BadPattern,
            };
            self.diagnostics
                .error(code, span, format!("pattern `{}`", short(text)), error);
            Vec::new()
        })
    }

    /// A command pattern; nothing when it is wrong.
    fn command(&mut self, text: &str, span: Span, role: Role) -> Vec<Glob> {
        let text = text.trim();
        if text.is_empty() || text.len() > PATTERN_MAX {
            let label = if text.is_empty() {
                "an empty pattern matches no command; remove it".to_owned()
            } else {
                format!("{} bytes; a pattern has at most {PATTERN_MAX}", text.len())
            };
            self.diagnostics
                .error(Code::BadPattern, span, format!("pattern `{}`", short(text)), label);
            return Vec::new();
        }
        if has_too_many_stars(text) {
            let label = format!("more than {STARS_MAX} stars; `*` matches any characters, so one is enough in a row");
            self.diagnostics
                .error(Code::Stars, span, format!("pattern `{}`", short(text)), label);
            return Vec::new();
        }
        if text.contains(['|', ';', '&']) && !text.contains(" -c ") {
            self.diagnostics.note(
                span,
                &format!(
                    "`{}`: a line of several commands; at the kernel boundary each is one of its own, and only CAVRA's adapters see the line",
                    short(text)
                ),
            );
        }
        vec![Glob::new(text.as_bytes(), role != Role::Grant)]
    }

    pub(super) fn compile(&mut self) -> Compiled {
        let mut lists = Lists::default();
        let root = &self.pack.node;
        for decision in Decision::ALL.into_iter().rev() {
            for (op, rules) in [("read", &mut lists.read), ("write", &mut lists.write)] {
                let list = root.at(&["filesystem", &format!("{decision}_{op}")]);
                for entry in list.map(Node::items).unwrap_or_default() {
                    let text = entry.text().unwrap_or_default();
                    rules.push(PatternRule {
                        globs: self.paths(text, entry.span, decision.into()),
                        except: Vec::new(),
                        by: Vec::new(),
                        rule: self.rule("filesystem", op, decision, text, entry.span),
                    });
                }
            }
            for entry in root
                .at(&["commands", decision.name()])
                .map(Node::items)
                .unwrap_or_default()
            {
                let text = entry.text().unwrap_or_default();
                let mut rule = self.rule("commands", "", decision, text, entry.span);
                if decision == Decision::Block && (text.contains("apply") || text.contains("delete")) {
                    rule.severity = Severity::Critical;
                }
                lists.commands.push(PatternRule {
                    globs: self.command(text, entry.span, decision.into()),
                    except: Vec::new(),
                    by: Vec::new(),
                    rule,
                });
            }
        }
        for adapters in ["mcp", "approvals", "evidence", "compliance"] {
            if let Some(node) = root.get(adapters) {
                let text =
                    format!("`{adapters}` is CAVRA's, for its adapters: the kernel boundary neither sees nor needs it");
                self.diagnostics.note(node.span, &text);
            }
        }
        self.network(&mut lists.out);
        self.rules(&mut lists);
        self.git(&mut lists.out);
        let mut out = lists.out;
        out.id.clone_from(&self.pack.id);
        out.mode = self.mode();
        out.read = Rules::new(lists.read);
        out.write = Rules::new(lists.write);
        out.delete = Rules::new(lists.delete);
        out.commands = Rules::new(lists.commands);
        out.default_read = self.default(&["filesystem", "default_read"], "filesystem.default", "read");
        out.default_write = self.default(&["filesystem", "default_write"], "filesystem.default", "write");
        out.default_command = self.default(&["commands", "default"], "commands.default", "");
        out
    }

    fn mode(&self) -> Mode {
        let root = &self.pack.node;
        let mode = root.get("mode").or_else(|| root.at(&["metadata", "mode"]));
        match mode.and_then(Node::text) {
            Some("audit" | "audit_only") => Mode::Audit,
            Some(_) | None => Mode::Enforce,
        }
    }

    /// A push to a protected branch; without a list main and master are.
    fn git(&mut self, out: &mut Compiled) {
        let Some(git) = self.pack.node.get("git").filter(|git| !git.entries().is_empty()) else {
            return;
        };
        let list = git.get("protected_branches");
        let span = list.unwrap_or(git).span;
        let mut branches: Vec<&str> = list
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(Node::text)
            .collect();
        if list.is_none() {
            branches = vec!["main", "master"];
        }
        let decision = git
            .get("push_protected")
            .and_then(decision_of)
            .unwrap_or(Decision::Block);
        let mut rule = self.rule("git", "protected_branch", decision, &branches.join(", "), span);
        rule.id = "git.protected_branch.block_direct_push".to_owned();
        let globs = branches.iter().map(|branch| Glob::new(branch.as_bytes(), true));
        out.protected = Some((globs.collect(), rule));
    }

    fn network(&mut self, out: &mut Compiled) {
        let Some(network) = self.pack.node.get("network") else {
            return;
        };
        if network.text() == Some("none") {
            for everything in ["*", "bind:*"] {
                self.address(out, everything, Decision::Block, Vec::new(), network.span);
            }
            out.default_network = Some(self.rule("network.default", "", Decision::Block, "", network.span));
            return;
        }
        for decision in Decision::ALL.into_iter().rev() {
            for entry in network.get(decision.name()).map(Node::items).unwrap_or_default() {
                let Some(to) = entry.get("to").unwrap_or(entry).text() else {
                    continue;
                };
                let words = ["verify", "addresses"].map(|key| {
                    let texts = entry.get(key).map(Node::items).unwrap_or_default();
                    let texts: Vec<&str> = texts.iter().filter_map(Node::text).collect();
                    (key, texts.join(","))
                });
                let words = words.iter().filter(|(_, text)| !text.is_empty());
                let text = words.fold(to.to_owned(), |text, (key, value)| format!("{text} {key}={value}"));
                if let Some(by) = self.subjects(entry.get("by")) {
                    self.address(out, &text, decision, by, entry.span);
                }
            }
        }
        out.default_network = self.default(&["network", "default"], "network.default", "");
        for server in network.get("resolver").map(Node::items).unwrap_or_default() {
            let text = server.text().unwrap_or_default();
            match super::network::server(text) {
                // What the tree can write does not choose who is asked (I10).
                Ok(_) if self.layer == Layer::Repository => {
                    let label =
                        "a workspace's own pack chooses no resolver; remove it, or name it in a pack of the launch";
                    let title = format!("resolver `{}`", short(text));
                    self.diagnostics.error(Code::BadNetwork, server.span, title, label);
                }
                Ok(server) => out.resolvers.push(server),
                Err(error) => self.bad_address(text, server.span, error),
            }
        }
    }

    fn address(&mut self, out: &mut Compiled, text: &str, decision: Decision, by: Vec<By>, span: Span) {
        match Entry::parse(text, self.scope) {
            Ok(entry) => {
                let (what, list) = if entry.binds() {
                    ("bind", &mut out.bind)
                } else {
                    ("connect", &mut out.connect)
                };
                let rule = self.rule("network", what, decision, text, span);
                if entry.is_udp() && decision < Decision::Block {
                    let text = "datagrams are received and not sent yet: a `udp:` entry that allows has no effect";
                    self.diagnostics.note(span, text);
                }
                let entry = entry.deciding(decision);
                list.push(NetRule { entry, by, rule });
            }
            Err(error) => self.bad_address(text, span, error),
        }
    }

    fn bad_address(&mut self, text: &str, span: Span, error: String) {
        self.diagnostics
            .error(Code::BadNetwork, span, format!("address `{}`", short(text)), error);
    }

    /// `rules`: each with more to say than a list's entry.
    fn rules(&mut self, lists: &mut Lists) {
        let mut ids: std::collections::HashMap<&str, (Decision, u32)> = std::collections::HashMap::new();
        for entry in self.pack.node.get("rules").map(Node::items).unwrap_or_default() {
            // A wrong decision is an error already; the rest of the rule is looked at all the same.
            let decision = entry.get("decision").and_then(decision_of).unwrap_or(Decision::Block);
            if let Some(id) = entry.get("id")
                && let Some(name) = id.text()
            {
                let (first, line) = *ids.entry(name).or_insert((decision, id.span.line));
                if first != decision {
                    let label = format!("line {line} answers {first}: one id, one answer");
                    self.diagnostics.error(
                        Code::DuplicateId,
                        id.span,
                        format!("rule id `{name}` answers twice"),
                        label,
                    );
                }
            }
            let Some(by) = self.subjects(entry.get("by")) else {
                continue;
            };
            for action in entry.get("action").map(Node::items).unwrap_or_default() {
                for pattern in entry.get("match").map(Node::items).unwrap_or_default() {
                    self.own(
                        lists,
                        entry,
                        action.text().unwrap_or_default(),
                        pattern,
                        decision,
                        by.clone(),
                    );
                }
            }
        }
    }

    fn own(&mut self, lists: &mut Lists, entry: &Node, action: &str, node: &Node, decision: Decision, by: Vec<By>) {
        let (area, what) = match action {
            "read_file" => ("filesystem", "read"),
            "write_file" => ("filesystem", "write"),
            "delete_file" => ("filesystem", "delete"),
            "execute_command" => ("commands", ""),
            "network_connect" => ("network", "connect"),
            "network_bind" => ("network", "bind"),
            // The shape has said so.
            _ => return,
        };
        let pattern = node.text().unwrap_or_default();
        let mut rule = self.rule(area, what, decision, pattern, node.span);
        let text = |key: &str| entry.get(key).and_then(Node::text).map(str::to_owned);
        if let Some(id) = text("id") {
            rule.id = id;
        }
        if let Some(severity) = entry.get("severity").and_then(severity_of) {
            rule.severity = severity;
        }
        if let Some(reason) = text("reason") {
            rule.reason = format!("{reason} (`{pattern}`)");
        }
        rule.approver_group = text("approver_group").or(rule.approver_group);
        let exceptions = entry.get("except").map(Node::items).unwrap_or_default();
        let but = Role::of_exception(decision);
        if area == "network" {
            if let Some(first) = exceptions.first() {
                let label = "name the addresses in a rule that is less restrictive";
                self.diagnostics
                    .error(Code::BadValue, first.span, "a rule on addresses has no `except`", label);
            }
            match Entry::parse(pattern, self.scope) {
                Ok(entry) => {
                    let (op, list) = if what == "bind" {
                        (NetOp::Bind, &mut lists.out.bind)
                    } else {
                        (NetOp::Connect, &mut lists.out.connect)
                    };
                    let entry = entry.for_operation(op).deciding(decision);
                    list.push(NetRule { entry, by, rule });
                }
                Err(error) => self.bad_address(pattern, node.span, error),
            }
            return;
        }
        let mut except = Vec::new();
        for exception in exceptions {
            let text = exception.text().unwrap_or_default();
            except.extend(match area {
                "filesystem" => self.paths(text, exception.span, but),
                _ => self.command(text, exception.span, but),
            });
        }
        let globs = match area {
            "filesystem" => self.paths(pattern, node.span, decision.into()),
            _ => self.command(pattern, node.span, decision.into()),
        };
        let list = match (area, what) {
            ("filesystem", "read") => &mut lists.read,
            ("filesystem", "delete") => &mut lists.delete,
            ("filesystem", _) => &mut lists.write,
            _ => &mut lists.commands,
        };
        list.push(PatternRule {
            globs,
            except,
            by,
            rule,
        });
    }

    /// Who must ask for a rule to hold: nobody in particular, or one of these. Nothing when the rule is about another session.
    fn subjects(&mut self, node: Option<&Node>) -> Option<Vec<By>> {
        let Some(node) = node.filter(|node| !node.items().is_empty()) else {
            return Some(Vec::new());
        };
        let mut all = Vec::new();
        let mut anyone = false;
        for entry in node.items() {
            let here =
                |key: &str, value: &str| entry.get(key).and_then(Node::text).is_none_or(|wanted| wanted == value);
            if !here("agent", self.session.agent) || !here("profile", self.session.profile) {
                continue;
            }
            let named = entry.get("program").unwrap_or(entry);
            let Some(program) = named.text() else {
                anyone = true;
                if entry.get("agent").is_none() && entry.get("profile").is_none() {
                    let label = "name a `program`, an `agent` or a `profile`";
                    self.diagnostics
                        .error(Code::MissingKey, entry.span, "`by` names nobody", label);
                }
                continue;
            };
            let digest = entry.get("digest").and_then(|node| Some((node.text()?, node.span)));
            let digest = digest.map(|(text, span)| {
                let hex = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
                if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    let label = "expected the SHA-256 of the executable: 64 hex digits";
                    self.diagnostics
                        .error(Code::BadValue, span, format!("`{text}` is no digest"), label);
                }
                hex
            });
            let tree = entry.get("tree").and_then(Node::flag).unwrap_or_default();
            let mut ancestor = Vec::new();
            for node in entry.get("ancestor").map(Node::items).unwrap_or_default() {
                ancestor.extend(self.program(node.text().unwrap_or_default(), node.span));
            }
            for program in self.program(program, named.span) {
                all.push(By {
                    program,
                    digest: digest.clone(),
                    tree,
                    ancestor: ancestor.clone(),
                });
            }
        }
        if anyone {
            return Some(Vec::new());
        }
        (!all.is_empty()).then_some(all)
    }

    /// A program by bare name, or as the absolute paths that are meant.
    fn program(&mut self, text: &str, span: Span) -> Vec<String> {
        if !text.contains(['/', '*']) && !text.is_empty() {
            return vec![text.to_owned()];
        }
        let globs = self.paths(text, span, Role::Note);
        let literal: Option<Vec<String>> = globs
            .iter()
            .map(|glob| glob.literal().and_then(|path| String::from_utf8(path.to_vec()).ok()))
            .collect();
        literal.unwrap_or_else(|| {
            let label = "name one executable: a path without stars, or a name";
            self.diagnostics
                .error(Code::BadPattern, span, format!("program `{}`", short(text)), label);
            Vec::new()
        })
    }
}

/// A text cut for a message.
fn short(text: &str) -> String {
    if text.chars().count() <= 80 {
        return text.to_owned();
    }
    text.chars().take(79).chain(['…']).collect()
}
