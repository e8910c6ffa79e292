//! The kernel boundary, asked about targets as adapters write them: packs as a session's launch layer, in a workspace that is nowhere.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::request::Request;
use crate::decision::Decision;
use crate::policy::{self, Command, Diagnostics, Endpoint, FileOp, NetOp, Nobody, Policy, Profile, Scope, Verdict};

/// No folder has this name, so nothing of this machine answers for it.
const WORKSPACE: &str = "/nowhere/workspace";
/// Trees that patterns by name do not reach into.
const SYSTEM_TREES: &[&str] = &["/usr", "/lib", "/bin", "/sbin", "/opt", "/etc/ssl", "/proc", "/sys"];

/// Packs as the boundary would enforce them, without a profile's needs and without the machine's packs.
pub struct Boundary {
    policy: Policy,
}

impl Boundary {
    /// Loads packs by id or file.
    pub fn load(packs: &[String], search: &[PathBuf]) -> Result<Self, Diagnostics> {
        let scope = Scope {
            workspace: WORKSPACE.into(),
            home: "/nowhere/home".into(),
            tmp: vec!["/tmp".into()],
            fold: false,
        };
        let mut profile = Profile::load(Some("default"), "", &[])?;
        profile.needs = policy::Needs::default();
        let trees: Vec<PathBuf> = SYSTEM_TREES.iter().map(PathBuf::from).collect();
        let policy = policy::load(&policy::Request {
            launch: packs,
            profile: &profile,
            machine_dir: Path::new("/nowhere/policy.d"),
            repository: None,
            search,
            scope: &scope,
            system_trees: &trees,
            env: &|_| None,
            agent: "",
            admits: None,
        })?;
        Ok(Self { policy })
    }

    /// What the boundary answers; nothing where it is not asked such a thing, or the target names no one object.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Option<Decision> {
        self.verdict(request).map(|verdict| verdict.decision)
    }

    /// The same, with the rule that says so.
    #[must_use]
    pub fn verdict(&self, request: &Request) -> Option<Verdict<'_>> {
        match (request.action_type.as_str(), request.operation()) {
            ("read_file", _) => self.file(FileOp::Read, &request.target),
            ("write_file", _) => self.file(FileOp::Write, &request.target),
            ("delete_file", _) => self.file(FileOp::Delete, &request.target),
            ("execute_command", _) => self.command(&words(&request.target)?),
            ("git_operation", "push") => {
                let branch = &request.target;
                let branch = branch.strip_prefix("origin/").unwrap_or(branch);
                let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
                self.command(&["git", "push", "origin", branch].map(str::to_owned))
            }
            ("network_connect", _) => {
                let (host, port) = request.target.rsplit_once(':')?;
                let ip: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
                Some(self.connect(ip, port.parse().ok()?))
            }
            _ => None,
        }
    }

    /// A file by a target as it is written; relative ones lie in the workspace. Nothing for what is not written in its shortest form
    /// (the boundary asks for the object), for a pattern's variable, and below system trees.
    fn file(&self, op: FileOp, target: &str) -> Option<Verdict<'_>> {
        let path = object(target)?;
        Some(self.policy.file(op, path.as_bytes(), &Nobody))
    }

    /// A command by its words.
    pub(crate) fn command(&self, words: &[String]) -> Option<Verdict<'_>> {
        let first = words.first()?;
        let file = if first.starts_with('/') {
            first.clone()
        } else {
            format!("/usr/bin/{first}")
        };
        let command = Command {
            file: file.as_bytes(),
            chain: vec![file.as_bytes()],
            argv: words.iter().map(String::as_bytes).collect(),
            cwd: WORKSPACE.as_bytes(),
            ..Command::default()
        };
        Some(self.policy.command(&command, &Nobody))
    }

    /// A connection by TCP.
    fn connect(&self, ip: IpAddr, port: u16) -> Verdict<'_> {
        self.policy.network(NetOp::Connect, &Endpoint::Tcp(ip, port), &Nobody)
    }
}

/// The path of the object that a target names.
fn object(target: &str) -> Option<String> {
    let plain = target
        .strip_prefix("./")
        .filter(|rest| !rest.starts_with('/'))
        .unwrap_or(target);
    let below = plain.strip_prefix('/').unwrap_or(plain);
    if below.split('/').any(|part| matches!(part, "" | "." | "..")) || target.contains("${") || target.contains('\0') {
        return None;
    }
    let path = if below.len() < plain.len() {
        plain.to_owned()
    } else {
        format!("{WORKSPACE}/{plain}")
    };
    let in_system = SYSTEM_TREES
        .iter()
        .any(|tree| path.strip_prefix(tree).is_some_and(|rest| rest.starts_with('/')));
    (!in_system).then_some(path)
}

/// The words that a shell makes of a line that has only words; a pipe, a list or a substitution is several commands.
fn words(line: &str) -> Option<Vec<String>> {
    if line.contains(|c: char| ";|&<>$`(){}*?~#!\\\"'\n".contains(c)) {
        return None;
    }
    let words: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
    // Another spacing is another text to CAVRA, and the same words to the kernel.
    (!words.is_empty() && words.join(" ") == line.trim()).then_some(words)
}
