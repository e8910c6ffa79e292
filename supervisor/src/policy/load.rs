//! Layers: which packs are in force, in which order, read and compiled into one policy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::commands::Table;
use super::compile::{Compiled, Maker, Session, group};
use super::diagnostics::{Code, Diagnostics};
use super::engine::{Needs, Policy};
use super::fold::folded_if;
use super::network::Entry;
use super::node::Node;
use super::pack::{Admits, BUILTIN, Library, Part};
use super::pattern::{Role, expand};
use super::probe::canonical;
use super::profile::Profile;
use super::sign::signature_path;
use super::types::{Layer, Mode, Rule, Scope};
use crate::decision::{Decision, Severity};

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
    /// `--agent-id`, for rules that are about one agent.
    pub agent: &'a str,
    /// Judges each pack's file before it counts; for signatures.
    pub admits: Option<&'a Admits<'a>>,
}

/// Reads and compiles everything; all errors of all packs in one answer. A policy is whole or it is not.
pub fn load(request: &Request<'_>) -> Result<Policy, Diagnostics> {
    let mut library = Library::new(request.search);
    library.admits = request.admits;
    let mut packs: Vec<(Layer, Compiled)> = Vec::new();
    let mut parts: Vec<Part> = Vec::new();
    let mut table = Arc::clone(Table::shipped());
    for (layer, name) in names(request, &mut library.diagnostics) {
        let Some(merged) = library.named(&name) else { continue };
        for part in &merged.parts {
            let twin = parts
                .iter()
                .find(|known| known.id == part.id && known.sha256 != part.sha256);
            if let Some(twin) = twin {
                let title = format!("two packs are called `{}`: {} and {}", part.id, twin.file, part.file);
                let help = "give one of them another `metadata.id`: records name packs by it";
                library
                    .diagnostics
                    .error_with_help(Code::DuplicateId, None, title, "", help);
            }
            if !parts.contains(part) {
                parts.push(part.clone());
            }
        }
        let grammar = merged.node.get("command_grammar").map(Node::items).unwrap_or_default();
        table = with_rows(table, grammar, &mut library.diagnostics);
        let compiled = Maker {
            layer,
            pack: &merged,
            scope: request.scope,
            session: Session {
                agent: request.agent,
                profile: &request.profile.name,
            },
            diagnostics: &mut library.diagnostics,
        }
        .compile();
        packs.push((layer, compiled));
    }
    let needs = needs(request, &mut library.diagnostics);
    if !library.diagnostics.is_clean() {
        return Err(library.diagnostics);
    }
    // A session only watches where all packs of machine and launch say so; the workspace's own pack has no say in that (I10).
    let mut outside = packs.iter().filter(|(layer, _)| *layer != Layer::Repository).peekable();
    let watches = outside.peek().is_some() && outside.all(|(_, pack)| pack.mode == Mode::Audit);
    let mut hash = Sha256::new();
    for part in &parts {
        hash.update(part.sha256.as_bytes());
    }
    let path = |path: &PathBuf| {
        let path = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        folded_if(request.scope.fold, path).into_owned()
    };
    let own = [&request.scope.workspace, &request.scope.home];
    Ok(Policy {
        packs,
        needs,
        table,
        system: request.system_trees.iter().map(path).collect(),
        own: own.into_iter().chain(&request.scope.tmp).map(path).collect(),
        folded: None,
        fallback: fallback(),
        metadata: rule(
            "boundary.metadata.block",
            Decision::Block,
            "a cloud's metadata service hands out credentials",
            Layer::Boundary,
        ),
        unreadable: rule(
            "boundary.command.unreadable",
            Decision::Block,
            "more options, wrappers or refs than any command has; split it into several",
            Layer::Boundary,
        ),
        info: parts
            .iter()
            .map(|part| format!("{} {} sha256:{}", part.id, part.file, part.sha256))
            .collect(),
        notes: library.diagnostics.take_notes(),
        digest: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        reserved: reserved(request, &parts),
        mode: if watches { Mode::Audit } else { Mode::Enforce },
        apart: !watches,
    })
}

/// What the tree must not write, lest it choose the next session's policy.
fn reserved(request: &Request<'_>, parts: &[Part]) -> Vec<Vec<u8>> {
    let files = parts
        .iter()
        .filter(|part| !part.file.starts_with(BUILTIN))
        .map(|part| PathBuf::from(&part.file));
    let files = files.flat_map(|file| [signature_path(&file), file]);
    let home = request.scope.home.join(".config/cavra");
    let folders = request
        .search
        .iter()
        .cloned()
        .chain([home, PathBuf::from("/etc/cavra")]);
    files
        .chain(folders)
        .map(|path| std::os::unix::ffi::OsStrExt::as_bytes(canonical(&path).as_os_str()).to_vec())
        .collect()
}

/// The table with a pack's own rows of command lines.
fn with_rows(table: Arc<Table>, grammar: &[Node], diagnostics: &mut Diagnostics) -> Arc<Table> {
    if grammar.is_empty() {
        return table;
    }
    let values: Vec<serde_json::Value> = grammar.iter().map(Node::json).collect();
    match Table::rows(&values).and_then(|rows| table.with(&rows)) {
        Ok(more) => Arc::new(more),
        Err(wrong) => {
            for error in wrong {
                let row = error
                    .row
                    .checked_sub(1)
                    .and_then(|row| grammar.get(row))
                    .or(grammar.last());
                if let Some(row) = row {
                    let title = "a row of `command_grammar` that can not be used";
                    diagnostics.error(Code::BadValue, row.span, title, error.text);
                }
            }
            table
        }
    }
}

/// The packs in force, by id or file, in the order of their layers.
fn names(request: &Request<'_>, diagnostics: &mut Diagnostics) -> Vec<(Layer, String)> {
    let mut all = Vec::new();
    match machine(request.machine_dir) {
        Ok(files) => all.extend(files.into_iter().map(|file| (Layer::Machine, file))),
        Err((title, help)) => diagnostics.error_with_help(Code::Unreadable, None, title, "", help),
    }
    let launch = if request.launch.is_empty() {
        &request.profile.packs
    } else {
        request.launch
    };
    all.extend(launch.iter().map(|name| (Layer::Launch, name.clone())));
    // Only what is certainly not there is no layer: a pack that can not be read is an error when it is.
    let repository = request.repository.filter(|file| {
        file.symlink_metadata()
            .err()
            .is_none_or(|error| error.kind() != std::io::ErrorKind::NotFound)
    });
    all.extend(repository.map(|file| (Layer::Repository, file.display().to_string())));
    all
}

/// The machine's packs in the order of their names.
fn machine(dir: &Path) -> Result<Vec<String>, (String, String)> {
    let broken = |error: &dyn std::fmt::Display| {
        let help = "the machine's policy is never left out silently: make it a folder that can be read, or remove it";
        (format!("{}: {error}", dir.display()), help.to_owned())
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(broken(&error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| broken(&error))?.path();
        match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("yaml") => files.push(path.display().to_string()),
            Some("yml") => {
                let help = "the machine's packs end in .yaml: rename it, so that it is in force".to_owned();
                return Err((format!("{} is not read", path.display()), help));
            }
            Some(_) | None => {}
        }
    }
    files.sort();
    Ok(files)
}

fn needs(request: &Request<'_>, diagnostics: &mut Diagnostics) -> Needs {
    let profile = request.profile;
    let mut wrong = |what: &str, text: &str, error: &str| {
        let title = format!("profile {}: {what} `{text}`: {error}", profile.name);
        diagnostics.error_with_help(Code::BadValue, None, title, "", "mend the profile");
    };
    let mut network = Vec::new();
    let of_env = profile.needs.network_env.iter();
    let of_env = of_env.filter_map(|name| host_of((request.env)(name)?.as_str()));
    for text in profile.needs.network.iter().cloned().chain(of_env) {
        match Entry::parse(&text, request.scope) {
            Ok(entry) => network.push(entry),
            Err(error) => wrong("needs.network", &text, &error),
        }
    }
    let mut paths = |what: &str, list: &[String]| {
        let mut globs = Vec::new();
        for text in list {
            match expand(text, request.scope, Role::Grant) {
                Ok(found) => globs.extend(found),
                Err(error) => wrong(what, text, &error),
            }
        }
        globs
    };
    Needs {
        read: paths("needs.read", &profile.needs.read),
        write: paths("needs.write", &profile.needs.write),
        network,
        rule: rule(
            "profile.needs.allow",
            Decision::Allow,
            &format!("profile {} needs it", profile.name),
            Layer::Launch,
        ),
    }
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

/// A rule that no pack wrote.
fn rule(id: &str, decision: Decision, reason: &str, layer: Layer) -> Rule {
    Rule {
        id: id.to_owned(),
        severity: match decision {
            Decision::Block => Severity::High,
            Decision::RequireApproval
            | Decision::AllowWithAttestation
            | Decision::Warn
            | Decision::AuditOnly
            | Decision::Allow => Severity::Medium,
        },
        layer,
        pack: String::new(),
        decision,
        pattern: String::new(),
        reason: reason.to_owned(),
        approver_group: group(decision, ""),
        source: None,
    }
}

/// CAVRA's own answers where no layer has one: files, commands, network.
fn fallback() -> [Rule; 3] {
    [
        ("filesystem.default.allow", Decision::Allow, "no rule matches"),
        (
            "commands.default.require_approval",
            Decision::RequireApproval,
            "no rule matches the command",
        ),
        (
            "network.default.require_approval",
            Decision::RequireApproval,
            "no rule matches the address",
        ),
    ]
    .map(|(id, decision, reason)| rule(id, decision, reason, Layer::Default))
}
