//! `cavractl policy diff` and `simulate`: what another policy would change.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::{FAILED, Said, Style};
use super::{Session, shown};
use crate::decision::Decision;
use crate::evidence::{Record, sessions};
use crate::policy::{
    Address, Because, Change, Changes, FileOp, Mode, Named, NetOp, Place, Probe, Way, compare, unprintable,
};
use crate::text::harmless;

/// The exit status when all that changes is tightened.
const TIGHTENED: u8 = 3;
/// The exit status when something is loosened.
const LOOSENED: u8 = 4;

/// Two policies.
#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// The policy as it was: a pack by id or file
    #[arg(value_name = "BEFORE")]
    before: String,
    /// The policy as it is to be
    #[arg(value_name = "AFTER")]
    after: String,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    session: Session,
}

impl Diff {
    pub(super) fn run(self, style: Style) -> Result<Said, Said> {
        let place = self.session.place()?;
        let profile = self.session.profile(&place, "")?;
        let load = |name: &String| {
            let loaded = place.load_alone(std::slice::from_ref(name), &profile, &self.session.agent_id);
            loaded.map_err(|wrong| shown(&wrong, style))
        };
        let changes = compare(&load(&self.before)?, &load(&self.after)?);
        report(&changes, self.json, style)
    }
}

/// A recorded session, and a policy.
#[derive(Debug, Args)]
pub(in crate::cli) struct Simulate {
    /// The session's evidence folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    session: Session,
}

impl Simulate {
    pub(super) fn run(mut self, style: Style) -> Result<Said, Said> {
        let mut records: Vec<Record> = Vec::new();
        let found = sessions::read(&self.folder, &mut |record| records.push(record));
        let found = found.map_err(|error| Said::failed(FAILED, &format!("{}: {error}", self.folder.display())))?;
        if found.exit_code() == 1 {
            return Err(Said::failed(
                1,
                &format!("{}: {found}: nothing is concluded from it", self.folder.display()),
            ));
        }
        let opening = records.iter().find_map(|record| record.opening.as_ref());
        if let (None, Some(opening)) = (&self.session.workspace, opening) {
            self.session.workspace = Some(PathBuf::from(&opening.workspace));
        }
        let command = opening
            .and_then(|opening| opening.command.first().cloned())
            .unwrap_or_default();
        if self.session.agent_id.is_empty() {
            self.session.agent_id = opening.map(|opening| opening.agent_id.clone()).unwrap_or_default();
        }
        let place = self.session.place()?;
        let policy = self.session.policy(&place, &command)?;
        let mut changes = Changes::default();
        let mut asked = 0_usize;
        for record in &records {
            let (Some(old), Some(probe)) = (record.decision, probe(record, &place)) else {
                continue;
            };
            asked += 1;
            let by = Named {
                program: Some(record.exe.as_str()).filter(|exe| !exe.is_empty()),
                below: &[],
            };
            // Records of a session that only watched hold what would have been, so that is compared with what would be.
            let new = Because::met(probe.ask(&policy, &by), Mode::Enforce);
            changes.add(&probe, as_recorded(record, old), new);
        }
        let mut said = report(&changes.finish(), self.json, style)?;
        if !self.json {
            said.out += &format!("{asked} recorded decisions were asked again\n");
        }
        Ok(said)
    }
}

/// The request that a record is about; nothing for records of sessions and approvals, and for what the boundary itself refuses.
fn probe(record: &Record, place: &Place) -> Option<Probe> {
    if record.layer == "boundary" {
        return None;
    }
    let path = || unprintable(&record.target);
    match record.action_type.as_str() {
        "read_file" if Path::new(&record.target).is_dir() => Some(Probe::Names(path())),
        "read_file" => Some(Probe::File(FileOp::Read, path())),
        "write_file" if record.requested_operation == "delete" => Some(Probe::File(FileOp::Delete, path())),
        "write_file" => Some(Probe::File(FileOp::Write, path())),
        "execute_command" | "git_operation" => {
            let argv = record.argv.as_ref()?.iter().map(|word| unprintable(word));
            let cwd = place.scope.workspace.as_os_str().as_encoded_bytes().to_vec();
            Some(Probe::Command(path(), argv.collect(), cwd))
        }
        "network_connect" => Some(Probe::Network(NetOp::Connect, Address::parse(&record.target)?)),
        "network_bind" => Some(Probe::Network(NetOp::Bind, Address::parse(&record.target)?)),
        _ => None,
    }
}

/// What the session met, told as [`Because::met`] tells it.
fn as_recorded(record: &Record, decision: Decision) -> (Decision, Because) {
    let watched = record.would_have.as_ref();
    let watched = watched.filter(|would| decision == Decision::Allow && would.decision > Decision::AuditOnly);
    if let Some(would) = watched {
        let because = Because {
            decision: Decision::AuditOnly.to_string(),
            would_be: Some(would.decision.to_string()),
            rule_id: would.rule_id.clone(),
            severity: would.severity.name(),
            layer: "recorded",
            policy_pack: would.policy_pack.clone(),
            source: would.source.clone(),
            pattern: String::new(),
            reason: would.reason.clone(),
            approver_group: None,
        };
        return (Decision::AuditOnly, because);
    }
    let because = Because {
        decision: decision.to_string(),
        would_be: None,
        rule_id: record.rule_id.clone(),
        severity: record.severity.map_or("", |severity| severity.name()),
        layer: "recorded",
        policy_pack: record.policy_pack.clone(),
        source: record.source.clone(),
        pattern: String::new(),
        reason: record.reason.clone(),
        approver_group: record.approver_group.clone(),
    };
    (decision, because)
}

/// What changes, for people or programs; the status tells what is loosened.
fn report(changes: &[Change], json: bool, style: Style) -> Result<Said, Said> {
    let status = match changes.iter().map(|change| change.way).max() {
        None => 0,
        Some(Way::Tightened) => TIGHTENED,
        Some(Way::Loosened) => LOOSENED,
    };
    if json {
        let text = serde_json::to_string_pretty(changes).map_err(|error| Said::failed(FAILED, &error))?;
        return Ok(Said {
            out: text + "\n",
            status,
            ..Said::default()
        });
    }
    let mut out = String::new();
    for change in changes {
        let way = match change.way {
            Way::Tightened => style.green("tightened"),
            Way::Loosened => style.red("loosened "),
        };
        let more = match change.more {
            0 => String::new(),
            more => format!(" (and {more} more requests)"),
        };
        let (before, after) = (&change.before, &change.after);
        out += &format!(
            "{way} {}: {} -> {}{more}\n",
            harmless(&change.request),
            before.decision,
            after.decision
        );
        out += &side("before", before);
        out += &side("after ", after);
    }
    if changes.is_empty() {
        out += "no decision changes\n";
    }
    Ok(Said {
        out,
        status,
        ..Said::default()
    })
}

fn side(name: &str, because: &Because) -> String {
    let place = because.source.as_deref().unwrap_or(because.layer);
    let pattern = match because.pattern.as_str() {
        "" => String::new(),
        pattern => format!(" `{pattern}`"),
    };
    let would = because.would_be.as_deref();
    let would = would.map_or_else(String::new, |would| {
        format!(", would be {would}: the pack only watches")
    });
    format!(
        "    {name} {}{} ({}){would}\n",
        harmless(&because.rule_id),
        harmless(&pattern),
        harmless(place)
    )
}
