//! cavractl: approvals, evidence, and what this machine enforces.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the program's own messages")]

use std::path::PathBuf;
use std::process::ExitCode;

use cavra::{approvals, doctor, evidence};
use clap::{CommandFactory, Parser, Subcommand};
use serde_json::{Value, json};

/// Answers held requests, reads evidence, and tells what this machine enforces.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  cavractl approvals list\n  cavractl approvals approve apr_0123456789ab --reason 'reviewed the diff'\n  cavractl evidence verify DIR\n  cavractl doctor"
)]
struct Arguments {
    #[command(subcommand)]
    command: Top,
}

#[derive(Subcommand)]
enum Top {
    /// Requests that wait for a person
    #[command(subcommand)]
    Approvals(Approvals),
    /// Records of sessions
    #[command(subcommand)]
    Evidence(Evidence),
    /// What is enforced on this machine, what is not, and why
    Doctor {
        /// For scripts
        #[arg(long)]
        json: bool,
    },
    /// Completion for a shell
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
enum Approvals {
    /// All that are held
    List {
        /// For scripts
        #[arg(long)]
        json: bool,
    },
    /// One, whole
    Show {
        /// apr_…
        id: String,
    },
    /// Yes
    Approve {
        /// apr_…
        id: String,
        /// Why; kept in the record
        #[arg(long)]
        reason: String,
    },
    /// No
    Deny {
        /// apr_…
        id: String,
        /// Why; kept in the record
        #[arg(long)]
        reason: String,
    },
}

#[derive(Subcommand)]
enum Evidence {
    /// Sessions of this user
    List,
    /// The decisions of one session
    Show {
        /// Its folder
        dir: PathBuf,
    },
    /// Whether the chain is whole (0), interrupted (3) or broken (1)
    Verify {
        /// Its folder
        dir: PathBuf,
    },
}

fn held() -> Vec<(PathBuf, Value)> {
    let ask = |socket: PathBuf| {
        let answer = approvals::ask(&socket, &json!({"call": "list"})).ok()?;
        let list = answer.get("approvals")?.as_array()?.clone();
        Some(
            list.into_iter()
                .map(move |approval| (socket.clone(), approval))
                .collect::<Vec<_>>(),
        )
    };
    approvals::sockets().into_iter().filter_map(ask).flatten().collect()
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn decide(call: &str, id: &str, reason: &str) -> ExitCode {
    let Some((socket, _)) = held()
        .into_iter()
        .find(|(_, approval)| text(approval, "/approval_id") == id)
    else {
        eprintln!("cavractl: {id}: no such request is held; `cavractl approvals list` shows those that are");
        return ExitCode::FAILURE;
    };
    match approvals::ask(&socket, &json!({"call": call, "id": id, "reason": reason})) {
        Ok(answer) if answer.get("error").is_none() => {
            println!("{id}: {}", text(&answer, "/approval/state"));
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            eprintln!("cavractl: {}", text(&answer, "/error"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("cavractl: {}: {error}", socket.display());
            ExitCode::FAILURE
        }
    }
}

fn approvals_command(command: &Approvals) -> ExitCode {
    match command {
        Approvals::List { json: true } => println!(
            "{}",
            Value::Array(held().into_iter().map(|(_, approval)| approval).collect())
        ),
        Approvals::List { json: false } => {
            for (_, approval) in held() {
                let of = |path| text(&approval, path);
                println!(
                    "{}  {}  {} {}  [{}]  {}",
                    of("/approval_id"),
                    of("/state"),
                    of("/decision/action"),
                    of("/decision/target"),
                    of("/decision/rule_id"),
                    of("/approver_group")
                );
            }
        }
        Approvals::Show { id } => {
            let Some((_, approval)) = held()
                .into_iter()
                .find(|(_, approval)| text(approval, "/approval_id") == id)
            else {
                eprintln!("cavractl: {id}: no such request is held");
                return ExitCode::FAILURE;
            };
            println!("{}", serde_json::to_string_pretty(&approval).unwrap_or_default());
        }
        Approvals::Approve { id, reason } => return decide("approve", id, reason),
        Approvals::Deny { id, reason } => return decide("deny", id, reason),
    }
    ExitCode::SUCCESS
}

fn evidence_command(command: &Evidence) -> ExitCode {
    match command {
        Evidence::List => {
            for dir in evidence::sessions() {
                println!("{}  {}", dir.display(), evidence::verify(&dir));
            }
        }
        Evidence::Show { dir } => {
            let Ok(lines) = std::fs::read_to_string(dir.join("decisions.jsonl")) else {
                eprintln!("cavractl: {}: no records there", dir.display());
                return ExitCode::FAILURE;
            };
            for record in lines
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            {
                let of = |path| cavra::text::printable(text(&record, path).as_bytes());
                println!(
                    "{}  {:<22} {:<16} {}  {}",
                    of("/timestamp"),
                    of("/decision"),
                    of("/action_type"),
                    of("/target"),
                    of("/rule_id")
                );
            }
        }
        Evidence::Verify { dir } => {
            let found = evidence::verify(dir);
            println!("{found}");
            return ExitCode::from(found.exit_code());
        }
    }
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Top::Approvals(command) => approvals_command(&command),
        Top::Evidence(command) => evidence_command(&command),
        Top::Doctor { json } => {
            let checks = doctor::checks();
            if json {
                println!("{}", json!(checks));
            } else {
                for check in &checks {
                    println!(
                        "{:<8} {:<22} {}{}",
                        check.state,
                        check.id,
                        check.found,
                        check
                            .consequence
                            .as_deref()
                            .map(|c| format!("\n         {c}"))
                            .unwrap_or_default()
                    );
                }
            }
            ExitCode::from(u8::from(checks.iter().any(|check| check.state != "full")))
        }
        Top::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "cavractl", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}
