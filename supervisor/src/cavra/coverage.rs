//! Which control each rule of a pack serves, and what enforces that rule.
//!
//! A pack maps its rules under `maps_to`: `section.list` stands for all entries of that list, `section.list: entry` for one of them; an
//! entry of `rules` has its own `maps_to`. Whether the boundary enforces a rule is not assumed: an example is made from its pattern, and
//! the engine that enforces is asked.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::boundary::Boundary;
use super::request::Request;
use crate::decision::Decision;
use crate::policy::node::{Node, Value};
use crate::policy::pack::{Library, Merged};
use crate::policy::{Code, Diagnostics};

/// What carries a rule out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcer {
    /// The kernel boundary, at opens and changes of paths.
    Open,
    /// The kernel boundary, at execs.
    Exec,
    /// The kernel boundary, at connects and binds.
    Connect,
    /// CAVRA's adapter only: the kernel does not see what the rule is about.
    Adapter,
}

impl fmt::Display for Enforcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Exec => "exec",
            Self::Connect => "connect",
            Self::Adapter => "adapter",
        })
    }
}

/// One entry of a pack.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The pack that was asked for.
    pub pack: String,
    /// `section.list`, or `rules`.
    pub key: String,
    /// The rule's id in records.
    pub rule_id: String,
    /// The pattern, server or branches.
    pub entry: String,
    /// What it answers; none for a setting.
    pub decision: Option<Decision>,
    /// The controls that it serves.
    pub controls: Vec<String>,
    /// What carries it out.
    pub enforced_by: Enforcer,
    /// `file:line` of the entry.
    pub source: String,
}

/// All entries of some packs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Coverage {
    /// In the packs' order.
    pub rows: Vec<Row>,
}

/// Reads packs by id or file, with their parents, and lists what they map. What `maps_to` names and no list holds is an error.
pub fn coverage(packs: &[String], search: &[PathBuf]) -> Result<Coverage, Diagnostics> {
    let mut library = Library::new(search);
    let mut rows = Vec::new();
    for name in packs {
        let Some(merged) = library.named(name) else { continue };
        let boundary = Boundary::load(std::slice::from_ref(name), search)?;
        let mut lister = Lister {
            merged: &merged,
            boundary: &boundary,
            diagnostics: &mut library.diagnostics,
            rows: Vec::new(),
        };
        lister.lists();
        lister.rules();
        lister.dangling();
        rows.extend(lister.rows);
    }
    if library.diagnostics.is_clean() {
        Ok(Coverage { rows })
    } else {
        Err(library.diagnostics)
    }
}

struct Lister<'a> {
    merged: &'a Merged,
    boundary: &'a Boundary,
    diagnostics: &'a mut Diagnostics,
    rows: Vec<Row>,
}

/// The words of an action in rule ids: `filesystem.block_read` is `filesystem.read.block`.
fn rule_id(section: &str, list: &str) -> (String, Option<Decision>) {
    let found = Decision::ALL
        .into_iter()
        .filter(|decision| list.starts_with(decision.name()))
        .max_by_key(|decision| decision.name().len());
    let Some(decision) = found else {
        return (format!("{section}.{list}"), None);
    };
    let rest = list
        .strip_prefix(decision.name())
        .unwrap_or_default()
        .trim_start_matches('_');
    let id = match (section, rest) {
        ("network", _) => format!("network.connect.{decision}"),
        (_, "") => format!("{section}.{decision}"),
        _ => format!("{section}.{rest}.{decision}"),
    };
    (id, Some(decision))
}

impl Lister<'_> {
    fn lists(&mut self) {
        let merged = self.merged;
        for section in ["filesystem", "commands", "network"] {
            for (key, list) in merged.node.get(section).map(Node::entries).unwrap_or_default() {
                let (id, decision) = rule_id(section, &key.text);
                let Some(decision) = decision else { continue };
                for item in list.items() {
                    let entry = item.text().or_else(|| item.get("to").and_then(Node::text));
                    let entry = entry.unwrap_or_default().to_owned();
                    let enforced_by = self.enforcer(section, &key.text, &entry, decision);
                    let controls = self.controls(&format!("{section}.{}", key.text), &entry);
                    self.row(
                        item,
                        format!("{section}.{}", key.text),
                        (id.clone(), entry, Some(decision)),
                        (controls, enforced_by),
                    );
                }
            }
        }
        if let Some(branches) = merged.node.at(&["git", "protected_branches"]) {
            let names: Vec<&str> = branches.items().iter().filter_map(Node::text).collect();
            let push = merged.node.at(&["git", "push_protected"]).and_then(Node::text);
            let decision = Decision::ALL.into_iter().find(|decision| Some(decision.name()) == push);
            let decision = decision.unwrap_or(Decision::Block);
            let held = names.iter().all(|name| {
                let request = Request {
                    action_type: "git_operation".to_owned(),
                    operation: "push".to_owned(),
                    target: name.replace('*', "x"),
                    ..Request::default()
                };
                self.boundary.answer(&request) >= Some(decision)
            });
            let enforcer = if held { Enforcer::Exec } else { Enforcer::Adapter };
            let controls = self.controls("git.protected_branches", "");
            let id = "git.protected_branch.block_direct_push".to_owned();
            self.row(
                branches,
                "git.protected_branches".to_owned(),
                (id, names.join(", "), Some(decision)),
                (controls, enforcer),
            );
        }
        for (key, node) in merged.node.get("mcp").map(Node::entries).unwrap_or_default() {
            let decision = match key.text.as_str() {
                "allowed_servers" => Decision::Allow,
                "blocked_servers" | "block_unknown_servers" => Decision::Block,
                _ => continue,
            };
            let id = if decision == Decision::Allow {
                "mcp.server.trust.allow"
            } else {
                "mcp.server.trust.block_unknown"
            };
            for item in node.items() {
                let entry = item.text().unwrap_or_default().to_owned();
                let mut controls = self.controls("mcp", "");
                controls.extend(self.controls(&format!("mcp.{}", key.text), &entry));
                self.row(
                    item,
                    format!("mcp.{}", key.text),
                    (id.to_owned(), entry, Some(decision)),
                    (controls, Enforcer::Adapter),
                );
            }
        }
    }

    fn rules(&mut self) {
        let merged = self.merged;
        for rule in merged.node.get("rules").map(Node::items).unwrap_or_default() {
            let of = |key: &str| rule.get(key).and_then(Node::text);
            let decision = Decision::ALL
                .into_iter()
                .find(|decision| Some(decision.name()) == of("decision"));
            let controls: Vec<String> = rule.get("maps_to").map(texts).unwrap_or_default();
            for action in rule.get("action").map(texts).unwrap_or_default() {
                for pattern in rule.get("match").map(Node::items).unwrap_or_default() {
                    let id = of("id").map_or_else(|| action.clone(), str::to_owned);
                    let entry = pattern.text().unwrap_or_default().to_owned();
                    // Nobody in particular asks about an example: a rule about somebody would not hold.
                    let decision_asked = if rule.get("by").is_some() {
                        Some(Decision::Allow)
                    } else {
                        decision
                    };
                    let enforcer = self.asked(&action, &entry, decision_asked.unwrap_or(Decision::Block));
                    self.row(
                        pattern,
                        "rules".to_owned(),
                        (id, entry, decision),
                        (controls.clone(), enforcer),
                    );
                }
            }
        }
    }

    fn row(
        &mut self,
        place: &Node,
        key: String,
        (rule_id, entry, decision): (String, String, Option<Decision>),
        (controls, enforced_by): (Vec<String>, Enforcer),
    ) {
        self.rows.push(Row {
            pack: self.merged.id.clone(),
            key,
            rule_id,
            entry,
            decision,
            controls,
            enforced_by,
            source: format!("{}:{}", self.diagnostics.file_name(place.span), place.span.line),
        });
    }

    /// The controls of a whole list, then those of one entry.
    fn controls(&self, list: &str, entry: &str) -> Vec<String> {
        let map = self.merged.node.get("maps_to").map(Node::entries).unwrap_or_default();
        let mut all: Vec<String> = Vec::new();
        for wanted in [list.to_owned(), format!("{list}: {entry}")] {
            let found = map.iter().filter(|(key, _)| key.text == wanted);
            for control in found.flat_map(|(_, controls)| texts(controls)) {
                if !all.contains(&control) {
                    all.push(control);
                }
            }
        }
        all
    }

    /// What carries out an entry of a list.
    fn enforcer(&self, section: &str, list: &str, entry: &str, decision: Decision) -> Enforcer {
        let action = match (section, list.ends_with("_read")) {
            ("network", _) => "network_connect",
            ("commands", _) => "execute_command",
            (_, true) => "read_file",
            (_, false) => "write_file",
        };
        self.asked(action, entry, decision)
    }

    /// What carries out a rule about an action, found by asking the boundary about an example of its entry.
    fn asked(&self, action: &str, entry: &str, decision: Decision) -> Enforcer {
        let enforcer = match action {
            "read_file" | "write_file" | "delete_file" => Enforcer::Open,
            "execute_command" => Enforcer::Exec,
            "network_connect" | "network_bind" => Enforcer::Connect,
            _ => return Enforcer::Adapter,
        };
        let target = example(action, entry);
        // A shell's own line is one argument, whatever is in it.
        let found = match target.split_once(" -c ") {
            Some((shell, line)) if action == "execute_command" => {
                self.boundary.command(&[shell, "-c", line].map(str::to_owned))
            }
            Some(_) | None => self.boundary.verdict(&Request {
                action_type: action.to_owned(),
                target,
                ..Request::default()
            }),
        };
        let found = found.map(|verdict| verdict.decision);
        let carried_out = match (decision, found) {
            // Names of hosts are known at the connect only, binding has no example of its own, system trees are not asked about, and the
            // workspace itself has no name that a request could give.
            (_, None) if enforcer == Enforcer::Connect || entry.starts_with('/') || entry == "${workspace}" => true,
            // Other rules of the pack may be stricter about the example; an allow is nothing that must be carried out.
            (Decision::Allow, found) => found.is_some(),
            (_, Some(found)) => found >= decision,
            (_, None) => false,
        };
        if carried_out { enforcer } else { Enforcer::Adapter }
    }

    /// Keys of `maps_to` that name nothing: a control that nobody serves is worse than one that nobody names.
    fn dangling(&mut self) {
        let merged = self.merged;
        for (key, controls) in merged.node.get("maps_to").map(Node::entries).unwrap_or_default() {
            if !matches!(controls.value, Value::List(_)) || controls.items().iter().any(|item| item.text().is_none()) {
                let title = format!("`maps_to` of `{}` is {}", key.text, controls.value.kind());
                self.diagnostics
                    .error(Code::WrongType, controls.span, title, "expected a list of controls");
            }
            let named = self.rows.iter().any(|row| {
                row.key == key.text
                    || key.text == "mcp" && row.key.starts_with("mcp.")
                    || format!("{}: {}", row.key, row.entry) == key.text
            });
            if !named {
                let title = format!("`maps_to` names `{}`, which no list of the pack holds", key.text);
                let label = "expected `section.list`, or `section.list: entry` with the entry as it is written there";
                self.diagnostics.error(Code::BadValue, key.span, title, label);
            }
        }
    }
}

/// The shortest form of what a pattern matches: its variables and stars filled.
fn example(action: &str, entry: &str) -> String {
    let filled = entry
        .replace("${workspace}/", "")
        .replace("${home}", "/nowhere/home")
        .replace("${tmp}", "/tmp");
    let filled = match action {
        "execute_command" => filled.replace(" *", " x").replace('*', ""),
        "network_connect" => match filled.strip_suffix(":*") {
            Some(host) => format!("{host}:80"),
            None => filled,
        },
        _ => filled.replace("**", "x").replace('*', "x").replace("//", "/"),
    };
    filled.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn texts(node: &Node) -> Vec<String> {
    node.items().iter().filter_map(Node::text).map(str::to_owned).collect()
}
