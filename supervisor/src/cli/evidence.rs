//! `cavractl evidence`: the sessions, their records, and whether those are as they were written.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{FAILED, Said, Style};
use crate::approvals::{client, run_root};
use crate::decision::Decision;
use crate::evidence::{ACTIONS, Record, Verification, sessions, sessions_root, verify};
use crate::policy::Glob;
use crate::text::{clipped, command_line, harmless};

/// Columns of a command or target in a table.
const COLUMNS: usize = 72;

#[derive(Debug, Subcommand)]
pub(super) enum Evidence {
    /// Show the sessions, the latest first
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a session's records
    Show {
        /// Its evidence folder, or its name
        dir: PathBuf,
        /// One JSON object a line, as recorded
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        only: Only,
    },
    /// Check a session's chain: 0 whole and ended, 3 intact but interrupted, 1 broken
    Verify {
        /// Its evidence folder, or its name
        dir: PathBuf,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Which records are shown: those that meet all that is asked.
#[derive(Debug, Args)]
pub(super) struct Only {
    /// Only requests that were refused
    #[arg(long)]
    refused: bool,
    /// Only records with one of these decisions
    #[arg(long, value_name = "DECISION", value_delimiter = ',', value_parser = decision)]
    decision: Vec<Decision>,
    /// Only records with one of these actions
    #[arg(long, value_name = "ACTION", value_delimiter = ',', value_parser = action)]
    action: Vec<String>,
    /// Only records whose target has this in it, or, with a `*` in it, is matched by this whole pattern
    #[arg(long, value_name = "TEXT|PATTERN")]
    path: Option<String>,
}

impl Only {
    fn takes(&self, record: &Record) -> bool {
        let path = |path: &String| match path.contains('*') {
            true => Glob::new(path.as_bytes(), true).matches(record.target.as_bytes()),
            false => record.target.contains(path.as_str()),
        };
        (!self.refused || record.errno.is_some())
            && (self.decision.is_empty()
                || record
                    .decision
                    .is_some_and(|decision| self.decision.contains(&decision)))
            && (self.action.is_empty() || self.action.contains(&record.action_type))
            && self.path.as_ref().is_none_or(path)
    }
}

fn action(text: &str) -> Result<String, String> {
    let found = ACTIONS.iter().find(|action| **action == text);
    found
        .map(|action| (*action).to_owned())
        .ok_or_else(|| format!("not an action; one of {}", ACTIONS.join(", ")))
}

fn decision(text: &str) -> Result<Decision, String> {
    let names = Decision::ALL.map(Decision::name);
    let found = Decision::ALL.into_iter().find(|decision| decision.name() == text);
    found.ok_or_else(|| format!("not a decision; one of {}", names.join(", ")))
}

impl Evidence {
    /// Records are written to `out` as they are read: a chain may be larger than memory.
    pub(super) fn run(self, style: Style, out: &mut dyn Write) -> Said {
        match self {
            Self::List { json } => list(json, style),
            Self::Show { dir, json, only } => show(&folder(&dir), json, &only, style, out),
            Self::Verify { dir, json } => {
                let verification = verify(&folder(&dir));
                let out = match serde_json::to_string(&verification) {
                    Ok(text) if json => text + "\n",
                    _ => format!("{}\n", judged(&verification, style)),
                };
                Said {
                    out,
                    status: verification.exit_code(),
                    ..Said::default()
                }
            }
        }
    }
}

/// A folder as typed, or a session's below the default root when only its name was typed.
fn folder(typed: &Path) -> PathBuf {
    let named = sessions_root().ok().map(|root| root.join(typed));
    let bare = typed.components().count() == 1 && !typed.exists();
    named
        .filter(|named| bare && named.is_dir())
        .unwrap_or_else(|| typed.to_owned())
}

fn judged(verification: &Verification, style: Style) -> String {
    let text = verification.to_string();
    match verification {
        Verification::Whole { .. } => style.green(&text),
        Verification::Interrupted { .. } => style.yellow(&text),
        Verification::Broken { .. } => style.red(&text),
    }
}

fn list(json: bool, style: Style) -> Said {
    let live = run_root()
        .ok()
        .and_then(|root| client::sessions(&root).ok())
        .unwrap_or_default();
    let live: Vec<String> = live.into_iter().map(|session| session.id).collect();
    let found = match sessions_root() {
        Ok(root) => sessions::list(&root, &live).map_err(|error| format!("{}: {error}", root.display())),
        Err(error) => Err(error.to_string()),
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => return Said::failed(FAILED, &error),
    };
    if json {
        return match serde_json::to_string_pretty(&found) {
            Ok(text) => Said::fine(text + "\n"),
            Err(error) => Said::failed(FAILED, &error),
        };
    }
    if found.is_empty() {
        return Said::fine("no sessions yet\n".to_owned());
    }
    let mut text = String::new();
    for session in found {
        let state = match session.state {
            "ended" => style.green("ended      "),
            "running" => style.bold("running    "),
            "interrupted" => style.yellow("interrupted"),
            _ => style.red("unreadable "),
        };
        let about = if session.command.is_empty() {
            session.status.clone()
        } else {
            command_line(&session.command)
        };
        text.push_str(&format!(
            "{:<16}  {:<19}  {state}  {:>7} records  {}\n",
            harmless(&session.session_id),
            harmless(&session.started).chars().take(19).collect::<String>(),
            session.records,
            clipped(&harmless(&about), COLUMNS),
        ));
    }
    Said::fine(text)
}

fn show(dir: &Path, json: bool, only: &Only, style: Style, out: &mut dyn Write) -> Said {
    let mut written = Ok(());
    let read = sessions::read(dir, &mut |record| {
        if written.is_err() || !only.takes(&record) {
            return;
        }
        let text = if json {
            record.as_written().unwrap_or_default()
        } else {
            row(&record, style)
        };
        written = out.write_all(text.as_bytes());
    });
    match (read, written.and_then(|()| out.flush())) {
        (Ok(_), Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Said::failed(FAILED, &error),
        (Ok(verification), _) if verification.exit_code() == 0 => Said::default(),
        (Ok(verification), _) => Said::failed(verification.exit_code(), &verification),
        (Err(error), _) => {
            let error = format!("{}: {error}; name a session's evidence folder", dir.display());
            Said::failed(FAILED, &error)
        }
    }
}

fn row(record: &Record, style: Style) -> String {
    let time = record.timestamp.get(11..23).unwrap_or(&record.timestamp);
    let name = record.decision.map_or("", Decision::name);
    let decision = match record.decision {
        Some(Decision::Block) => style.red(&format!("{name:<22}")),
        Some(Decision::Warn | Decision::RequireApproval) => style.yellow(&format!("{name:<22}")),
        Some(Decision::Allow | Decision::AuditOnly | Decision::AllowWithAttestation) | None => format!("{name:<22}"),
    };
    let what = match &record.argv {
        Some(argv) => command_line(argv),
        None => harmless(&record.target).into_owned(),
    };
    let mut more = Vec::new();
    more.extend(record.errno.as_deref().map(|errno| format!("answered {errno}")));
    more.extend(record.would_have.as_ref().map(|would| {
        let place = would.source.as_deref().unwrap_or(&would.layer);
        format!(
            "{} would have made it {} (rule {}, {})",
            harmless(&would.policy_pack),
            would.decision,
            harmless(&would.rule_id),
            harmless(place)
        )
    }));
    more.extend(record.count.map(|count| format!("{count} more")));
    more.extend(record.lost.map(|lost| format!("{lost} records before it were lost")));
    if let Some(approval) = &record.approval {
        let by = if approval.approver.is_empty() {
            "nobody"
        } else {
            &approval.approver
        };
        more.push(format!(
            "{} answered by {by} after {} ms: {}",
            approval.id, approval.waited_ms, approval.reason
        ));
    }
    if !record.rule_id.is_empty() {
        more.push(format!("rule {}", record.rule_id));
    }
    // How a connection ended says what went over it.
    let closed = record.action_type == "network_connect" && record.requested_operation == "close";
    if closed
        || !matches!(record.decision, Some(Decision::Allow) | None)
        || record.opening.is_some()
        || record.totals.is_some()
    {
        more.push(record.reason.clone());
    }
    more.retain(|text| !text.is_empty());
    let more = if more.is_empty() {
        String::new()
    } else {
        format!("\n{:14}{}", "", harmless(&more.join("; ")))
    };
    format!(
        "{time:<12}  {decision}  {:<16} {}{more}\n",
        harmless(&record.action_type),
        clipped(&what, COLUMNS)
    )
}
