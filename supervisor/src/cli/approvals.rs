//! `cavractl approvals`: what waits, shown so that nothing in it can pass for something else, and the answer to it.

use clap::{Args, Subcommand};

use super::{FAILED, Said, Style};
use crate::approvals::client::{ClientError, Session, sessions};
use crate::approvals::{Answer, Approval, State, run_root};
use crate::text::{clipped, command_line, harmless};

/// Columns of a target in a list.
const TARGET_COLUMNS: usize = 160;

#[derive(Debug, Subcommand)]
pub(super) enum Approvals {
    /// Show the requests that wait, of all running sessions
    List {
        /// All members as a JSON array, those answered before included
        #[arg(long)]
        json: bool,
        /// Of this session only
        #[arg(long, value_name = "ID")]
        session: Option<String>,
    },
    /// Show one request with everything that is known of it
    Show {
        /// Its name: apr_ and 12 hexadecimal digits
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let one request be performed, once
    Approve(Reasoned),
    /// Refuse one request
    Deny(Reasoned),
}

#[derive(Debug, Args)]
pub(super) struct Reasoned {
    /// The request's name: apr_ and 12 hexadecimal digits
    id: String,
    /// Why; kept in the evidence
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Approvals {
    pub(super) fn run(self, style: Style) -> Said {
        let live = match run_root().map_err(ClientError::from).and_then(|root| sessions(&root)) {
            Ok(live) => live,
            Err(error) => return Said::failed(FAILED, &error),
        };
        match self {
            Self::List { json, session } => list(&live, json, session.as_deref(), style),
            Self::Show { id, json } => match first_known(&live, &id, |session| session.show(&id)) {
                Ok((_, approval)) if json => print_json(&approval),
                Ok((session, approval)) => Said::fine(detailed(&session, &approval, style)),
                Err(error) => Said::failed(1, &error),
            },
            Self::Approve(it) => decide(&live, &it, Answer::Approve, style),
            Self::Deny(it) => decide(&live, &it, Answer::Deny, style),
        }
    }
}

fn list(live: &[Session], json: bool, only: Option<&str>, style: Style) -> Said {
    if let Some(only) = only
        && !live.iter().any(|session| session.id == only)
    {
        return Said::failed(1, &ClientError::NoSession(only.to_owned()));
    }
    let mut said = Said::default();
    let mut found = Vec::new();
    for session in live.iter().filter(|session| only.is_none_or(|only| session.id == only)) {
        match session.list() {
            Ok(approvals) => found.extend(approvals.into_iter().map(|approval| (session.id.clone(), approval))),
            Err(error) => said = Said::failed(1, &error),
        }
    }
    said.out = if json {
        let approvals: Vec<_> = found.iter().map(|(_, approval)| approval).collect();
        print_json(&approvals).out
    } else {
        let waiting = found.iter().filter(|(_, approval)| approval.state == State::Pending);
        let lines: String = waiting
            .map(|(session, approval)| brief(session, approval, style))
            .collect();
        match (lines.is_empty(), live.is_empty()) {
            (true, true) => "nothing waits: no session is running\n".to_owned(),
            (true, false) => "nothing waits for an answer\n".to_owned(),
            _ => lines,
        }
    };
    said
}

fn decide(live: &[Session], it: &Reasoned, answer: Answer, style: Style) -> Said {
    match first_known(live, &it.id, |session| session.decide(&it.id, answer, &it.reason)) {
        Ok((_, approval)) => {
            let word = match answer {
                Answer::Approve => style.green("approved"),
                Answer::Deny => style.red("denied"),
            };
            Said::fine(format!(
                "{word} {}: {}\n",
                harmless(&approval.approval_id),
                asked(&approval)
            ))
        }
        Err(error) => Said::failed(1, &error),
    }
}

/// Asks the sessions in turn until one knows the request; a silent one is an error only when none does.
fn first_known(
    live: &[Session],
    id: &str,
    ask: impl Fn(&Session) -> Result<Vec<Approval>, ClientError>,
) -> Result<(String, Approval), ClientError> {
    let mut silent = None;
    for session in live {
        match ask(session) {
            Ok(approvals) => {
                if let Some(approval) = approvals.into_iter().find(|approval| approval.approval_id == id) {
                    return Ok((session.id.clone(), approval));
                }
            }
            Err(ClientError::Unknown(_)) => {}
            Err(error @ ClientError::Refused(_)) => return Err(error),
            Err(error) => silent = Some(error),
        }
    }
    Err(silent.unwrap_or_else(|| ClientError::Unknown(id.to_owned())))
}

fn print_json(value: &impl serde::Serialize) -> Said {
    match serde_json::to_string_pretty(value) {
        Ok(text) => Said::fine(text + "\n"),
        Err(error) => Said::failed(FAILED, &error),
    }
}

fn asked(approval: &Approval) -> String {
    let ask = &approval.decision;
    let file = format!("{} {}", harmless(&ask.action), harmless(&ask.target));
    if ask.argv.is_empty() {
        return file;
    }
    // The first argument is the caller's to choose: what is executed stands before it.
    format!("{file}: {}", command_line(&ask.argv))
}

fn brief(session: &str, approval: &Approval, style: Style) -> String {
    let ask = &approval.decision;
    let group = Some(harmless(&ask.approver_group)).filter(|group| !group.is_empty());
    format!(
        "{}  {}\n    by {} (pid {}), rule {}{}, session {}, until {}\n",
        style.bold(&harmless(&approval.approval_id)),
        clipped(&asked(approval), TARGET_COLUMNS),
        clipped(&harmless(&ask.exe), TARGET_COLUMNS),
        ask.pid,
        harmless(&ask.rule_id),
        group.map(|group| format!(" for {group}")).unwrap_or_default(),
        harmless(session),
        harmless(&approval.expires_at),
    )
}

fn detailed(session: &str, approval: &Approval, style: Style) -> String {
    let ask = &approval.decision;
    let state = match approval.state {
        State::Pending => style.yellow("pending"),
        State::Approved => style.green("approved"),
        State::Denied => style.red("denied"),
        State::Expired => style.red("expired"),
    };
    let pid = ask.pid.to_string();
    let arguments = if ask.argv.is_empty() {
        String::new()
    } else {
        command_line(&ask.argv)
    };
    let rows = [
        ("operation", ask.action.as_str()),
        ("target", &ask.target),
        ("arguments", &arguments),
        ("program", &ask.exe),
        ("folder", &ask.cwd),
        ("process", &pid),
        ("rule", &ask.rule_id),
        ("reason", &ask.reason),
        ("approvers", &ask.approver_group),
        ("requested", &approval.requested_at),
        ("expires", &approval.expires_at),
        ("record", &ask.decision_id),
        ("session", session),
        ("answered by", approval.decided_by.as_deref().unwrap_or_default()),
        ("answered at", approval.decided_at.as_deref().unwrap_or_default()),
        ("answer", approval.decision_reason.as_deref().unwrap_or_default()),
    ];
    let mut text = format!("{}  {state}\n", style.bold(&harmless(&approval.approval_id)));
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("  {name:<12} {}\n", harmless(value)));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use super::{brief, detailed};
    use crate::approvals::{Approval, Ask, State};
    use crate::cli::Style;

    #[test]
    fn what_the_agent_writes_can_not_pass_for_our_own_lines() {
        let evil = "x\x1b[2J\r\napr_000000000000  pending\n\u{202e}";
        let ask = Ask {
            target: evil.to_owned(),
            argv: vec![evil.to_owned()],
            reason: evil.to_owned(),
            ..Ask::default()
        };
        let approval = Approval {
            approval_id: "apr_0123456789ab".to_owned(),
            state: State::Pending,
            approver_group: evil.to_owned(),
            requested_at: String::new(),
            expires_at: String::new(),
            decision: ask,
            decided_by: None,
            decided_at: None,
            decision_reason: None,
        };
        for text in [
            brief("ses_1", &approval, Style::Plain),
            detailed("ses_1", &approval, Style::Plain),
        ] {
            assert!(
                !text.chars().any(|c| c != '\n' && crate::text::is_deceptive(c)),
                "{text}"
            );
            assert_eq!(
                text.lines().filter(|line| line.starts_with("apr_")).count(),
                1,
                "{text}"
            );
        }
    }
}
