//! `cavractl policy explain`: what decides, and why.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Args, ValueEnum};

use super::super::{FAILED, Said, Style};
use super::Session;
use crate::policy::{Address, Because, Explanation, FileOp, Mode, Named, NetOp, Probe};
use crate::text::harmless;

pub(super) const EXAMPLES: &str = "\
Examples:
  cavractl policy explain .env                        reading and writing a path
  cavractl policy explain -- kubectl --context p delete pod x
  cavractl policy explain api.example.com:443
  cavractl policy explain --as write --by /usr/bin/git ~/.git-credentials";

/// What is asked.
#[derive(Debug, Args)]
pub(in crate::cli) struct Explain {
    /// What is asked of it [default: by what it looks like]
    #[arg(long = "as", value_name = "WHAT")]
    kind: Option<Kind>,
    /// The executable that asks, for rules with `by`: its path or name as the rule has it
    #[arg(long, value_name = "PROGRAM")]
    by: Option<String>,
    /// A program that started it, for rules with `ancestor` or `tree`; may be given again
    #[arg(long, value_name = "PROGRAM", requires = "by")]
    below: Vec<String>,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    session: Session,
    /// A path, a command with its arguments, or an address (host:port, unix:/path, udp:…)
    #[arg(required = true, trailing_var_arg = true, value_name = "PATH|COMMAND|ADDRESS")]
    what: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Read,
    Write,
    Delete,
    Execute,
    Connect,
    Bind,
}

impl Explain {
    pub(super) fn run(self, style: Style) -> Result<Said, Said> {
        let place = self.session.place()?;
        let first = self.what.first().map_or("", String::as_str);
        let policy = self.session.policy(&place, first)?;
        let by = Named {
            program: self.by.as_deref(),
            below: &self.below,
        };
        let cwd = std::env::current_dir().unwrap_or_default();
        let mut answers: Vec<(String, Explanation)> = Vec::new();
        for kind in self.kinds(first) {
            let file = |op| Probe::file(op, first, &cwd, &place.scope.home);
            let probe = match kind {
                Kind::Read => file(FileOp::Read),
                Kind::Write => file(FileOp::Write),
                Kind::Delete => file(FileOp::Delete),
                Kind::Execute => Probe::command(&self.what, &cwd),
                Kind::Connect | Kind::Bind => {
                    let op = if kind == Kind::Bind {
                        NetOp::Bind
                    } else {
                        NetOp::Connect
                    };
                    let address = Address::parse(first).ok_or_else(|| {
                        let text = format!(
                            "`{first}` is no address; expected host:port, [v6]:port, udp:host:port or unix:/path"
                        );
                        Said::failed(2, &text)
                    })?;
                    Probe::Network(op, address)
                }
            };
            answers.push((probe.to_string(), probe.explain(&policy, &by)));
        }
        if self.json {
            let list: Vec<serde_json::Value> = answers
                .iter()
                .map(|(request, answer)| serde_json::json!({"request": request, "explanation": answer}))
                .collect();
            return match serde_json::to_string_pretty(&list) {
                Ok(text) => Ok(Said::fine(text + "\n")),
                Err(error) => Err(Said::failed(FAILED, &error)),
            };
        }
        let texts: Vec<String> = answers
            .iter()
            .map(|(request, answer)| draw(request, answer, style))
            .collect();
        Ok(Said::fine(texts.join("\n")))
    }

    fn kinds(&self, first: &str) -> Vec<Kind> {
        if let Some(kind) = self.kind {
            return vec![kind];
        }
        if self.what.len() > 1 {
            return vec![Kind::Execute];
        }
        let path = first.starts_with(['/', '.', '~']) || first.contains('/') || Path::new(first).exists();
        if first.starts_with("unix:") || first.starts_with("udp:") || (!path && first.contains(':')) {
            return vec![Kind::Connect];
        }
        if path {
            return vec![Kind::Read, Kind::Write];
        }
        vec![Kind::Execute]
    }
}

fn draw(request: &str, explanation: &Explanation, style: Style) -> String {
    let answer = &explanation.answer;
    let word = match answer.decision.as_str() {
        "allow" | "audit_only" => style.green(&answer.decision),
        "block" => style.red(&answer.decision),
        _ => style.yellow(&answer.decision),
    };
    let mut text = format!("{}: {word}\n", harmless(request));
    text += &because(answer, "  ");
    if let Some(would) = &explanation.would_have {
        let _ = writeln!(
            text,
            "  would be    {} if {} did not only watch:",
            style.yellow(&would.decision),
            harmless(&would.policy_pack)
        );
        text += &because(would, "    ");
    }
    for said in &explanation.packs {
        let mut line = match &said.because {
            Some(because) => format!("{} by {}", because.decision, because.rule_id),
            None => "abstains".to_owned(),
        };
        if said.mode == Mode::Audit.name() {
            line += " (only watches)";
        }
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "  {:<11} {}: {}",
            said.layer,
            harmless(&said.policy_pack),
            harmless(&line)
        );
    }
    for (name, list) in [("read as", &explanation.spellings), ("pushes to", &explanation.pushes)] {
        for entry in list {
            let _ = writeln!(text, "  {name:<11} {}", harmless(entry));
        }
    }
    if let Some(everywhere) = explanation.everywhere {
        let _ = writeln!(text, "  {:<11} {everywhere}", "everywhere");
    }
    text + &format!("  enforced    {}\n", explanation.mechanism)
}

fn because(answer: &Because, margin: &str) -> String {
    let place = answer
        .source
        .as_deref()
        .map(|source| format!(", {source}"))
        .unwrap_or_default();
    let pack = if answer.policy_pack.is_empty() {
        answer.layer
    } else {
        &answer.policy_pack
    };
    let rule = format!("{} (severity {}) of {pack}{place}", answer.rule_id, answer.severity);
    let rows = [
        ("rule", rule.as_str()),
        ("pattern", answer.pattern.as_str()),
        ("reason", answer.reason.as_str()),
        ("approvers", answer.approver_group.as_deref().unwrap_or_default()),
    ];
    let rows = rows.iter().filter(|(_, text)| !text.is_empty());
    rows.map(|(name, text)| format!("{margin}{name:<11} {}\n", harmless(text)))
        .collect()
}
