//! `cavractl policy explain`: what decides, and why.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::super::{FAILED, Said, Style};
use super::Session;
use crate::policy::{
    Because, Command, Endpoint, Explanation, FileOp, NetOp, Question, Subject, canonical_name, explain,
};
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
    Execute,
    Connect,
    Bind,
}

/// A subject that is the one program that was named.
struct By<'a>(Option<&'a str>);

impl Subject for By<'_> {
    fn is_program(&self, program: &str, digest: Option<&str>, _tree: bool) -> bool {
        digest.is_none() && self.0 == Some(program)
    }
}

impl Explain {
    pub(super) fn run(self, style: Style) -> Result<Said, Said> {
        let place = self.session.place()?;
        let first = self.what.first().map_or("", String::as_str);
        let policy = self.session.policy(&place, first)?;
        let by = By(self.by.as_deref());
        let mut answers: Vec<(String, Explanation)> = Vec::new();
        for kind in self.kinds(first) {
            let answer = match kind {
                Kind::Read | Kind::Write => {
                    let op = if kind == Kind::Read {
                        FileOp::Read
                    } else {
                        FileOp::Write
                    };
                    let path = canonical(first, &place.scope.home);
                    let bytes = path.as_os_str().as_bytes();
                    let question = match op {
                        FileOp::Read if path.is_dir() => Question::Names(bytes),
                        FileOp::Read | FileOp::Write => Question::File(op, bytes),
                    };
                    let name = if op == FileOp::Read { "read" } else { "write" };
                    (format!("{name} {}", path.display()), explain(&policy, &question, &by))
                }
                Kind::Execute => {
                    let file = program(first);
                    let cwd = std::env::current_dir().unwrap_or_default();
                    let command = Command {
                        file: file.as_os_str().as_bytes(),
                        chain: vec![file.as_os_str().as_bytes()],
                        argv: self.what.iter().map(String::as_bytes).collect(),
                        cwd: cwd.as_os_str().as_bytes(),
                        ..Command::default()
                    };
                    let text = format!("execute {}", self.what.join(" "));
                    (text, explain(&policy, &Question::Command(&command), &by))
                }
                Kind::Connect | Kind::Bind => {
                    let (op, name) = match kind {
                        Kind::Bind => (NetOp::Bind, "bind"),
                        _ => (NetOp::Connect, "connect"),
                    };
                    let address = Address::parse(first).ok_or_else(|| {
                        let text = format!(
                            "`{first}` is no address; expected host:port, [v6]:port, udp:host:port or unix:/path"
                        );
                        Said::failed(2, &text)
                    })?;
                    let question = Question::Network(op, &address.endpoint());
                    (format!("{name} {first}"), explain(&policy, &question, &by))
                }
            };
            answers.push(answer);
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

/// The path as the engine is asked: links followed as far as it exists.
fn canonical(text: &str, home: &Path) -> PathBuf {
    let path = match text.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(text),
    };
    let path = std::path::absolute(&path).unwrap_or(path);
    let mut missing = Vec::new();
    let mut existing = path.as_path();
    loop {
        if let Ok(real) = existing.canonicalize() {
            return missing.iter().rev().fold(real, |path: PathBuf, name| path.join(name));
        }
        let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
            return path;
        };
        missing.push(name);
        existing = parent;
    }
}

/// The file that a command's first word runs.
fn program(word: &str) -> PathBuf {
    let found = if word.contains('/') {
        Some(PathBuf::from(word))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(word))
            .find(|path| path.is_file())
    };
    let found = found.unwrap_or_else(|| PathBuf::from(word));
    found.canonicalize().unwrap_or(found)
}

/// An address as it was typed.
enum Address {
    Ip(bool, IpAddr, u16),
    Name(bool, String, u16),
    Unix(String),
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Some(Self::Unix(path.to_owned()));
        }
        let (udp, rest) = match text.strip_prefix("udp:") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("tcp:").unwrap_or(text)),
        };
        if let Ok(ip) = rest.parse::<IpAddr>() {
            return Some(Self::Ip(udp, ip, 443));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (rest, 443),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        match host.parse::<IpAddr>() {
            Ok(ip) => Some(Self::Ip(udp, ip.to_canonical(), port)),
            Err(_) => Some(Self::Name(udp, canonical_name(host).ok()?, port)),
        }
    }

    fn endpoint(&self) -> Endpoint<'_> {
        match self {
            Self::Ip(false, ip, port) => Endpoint::Tcp(*ip, *port),
            Self::Ip(true, ip, port) => Endpoint::Udp(*ip, *port),
            Self::Name(udp, name, port) => Endpoint::Host {
                udp: *udp,
                name,
                ip: None,
                port: *port,
            },
            Self::Unix(path) => Endpoint::Unix(path.as_bytes()),
        }
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
    for said in &explanation.packs {
        let line = match &said.because {
            Some(because) => format!("{} by {}", because.decision, because.rule_id),
            None => "abstains".to_owned(),
        };
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
