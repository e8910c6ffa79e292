//! What a policy is asked, and what it answers.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::decision::{Decision, Severity};

/// Where a rule stands in the order of authority; each layer answers for itself (I10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// What the kernel boundary itself refuses, whatever a pack says (devices, writes below /sys, …).
    Boundary,
    /// `/etc/cavra/policy.d`, root's.
    Machine,
    /// `--policy`, else the profile's packs.
    Launch,
    /// `.cavra/policy.yaml` of the workspace.
    Repository,
    /// No layer had a rule or a default: CAVRA's own default answers.
    Default,
}

impl Layer {
    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boundary => "boundary",
            Self::Machine => "machine",
            Self::Launch => "launch",
            Self::Repository => "repository",
            Self::Default => "default",
        }
    }
}

/// Where a rule was written: pack file (or `builtin:<id>`), line and column from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The pack's file, or `builtin:<id>`.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// One rule, as records and people see it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// CAVRA's id, such as `filesystem.read.block`.
    pub id: String,
    /// How much it matters.
    pub severity: Severity,
    /// Its layer.
    pub layer: Layer,
    /// The pack that wrote it (`metadata.id`), empty for the boundary's own.
    pub pack: String,
    /// What it answers.
    pub decision: Decision,
    /// The pattern as written; empty for a default.
    pub pattern: String,
    /// A sentence for people; names the pattern that matched.
    pub reason: String,
    /// Who may approve.
    pub approver_group: Option<String>,
    /// Where it was written.
    pub source: Option<Source>,
}

impl Rule {
    /// `file:line`, where it was written down.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        let source = self.source.as_ref();
        source.map(|source| format!("{}:{}", source.file, source.line))
    }
}

/// The answer to one request: what to do, and the rule that says so.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'p> {
    /// The most restrictive of the layers' answers.
    pub decision: Decision,
    /// The rule that gave it.
    pub rule: &'p Rule,
    /// What packs that only watch would have made of it, where that is more restrictive.
    pub watched: Option<&'p Rule>,
}

impl<'p> Verdict<'p> {
    /// What a rule says by itself.
    pub const fn of(rule: &'p Rule) -> Self {
        Self::as_by(rule.decision, rule)
    }

    /// A decision that a rule led to.
    pub const fn as_by(decision: Decision, rule: &'p Rule) -> Self {
        Self {
            decision,
            rule,
            watched: None,
        }
    }

    /// The same answer, beside what a pack that only watches says.
    pub fn beside(self, watched: Option<&'p Rule>) -> Self {
        let more = |rule: &&Rule| rule.decision > self.watched.map_or(self.decision, |known| known.decision);
        Self {
            watched: watched.filter(more).or(self.watched),
            ..self
        }
    }

    /// The more restrictive of two answers about one thing.
    pub fn stricter(self, other: Self) -> Self {
        let (strict, loose) = if other.decision > self.decision {
            (other, self)
        } else {
            (self, other)
        };
        strict.beside(loose.watched)
    }

    /// Whether nothing speaks against it, of packs that only watch either.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.decision == Decision::Allow && self.watched.is_none()
    }
}

/// What is asked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileOp {
    /// Its bytes, or a folder's names.
    Read,
    /// Its bytes, name or metadata are changed.
    Write,
    /// Its name is taken away: a write, and besides what rules about `delete_file` say.
    Delete,
}

impl FileOp {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Delete];

    /// Whether something is changed.
    #[must_use]
    pub const fn changes(self) -> bool {
        match self {
            Self::Read => false,
            Self::Write | Self::Delete => true,
        }
    }

    /// The action type of its records: to CAVRA a deletion is a write.
    #[must_use]
    pub const fn action(self) -> &'static str {
        if self.changes() { "write_file" } else { "read_file" }
    }
}

/// Who asks, as far as rules with `by` want to know; asked only when such a rule's pattern matches.
pub trait Subject {
    /// Whether the subject counts as the executable `program` (an absolute path, or a bare name looked up in the
    /// launch's PATH): the same file by device and inode, with `digest` (lower-case hex SHA-256) where given, started with nothing in its
    /// environment that runs other code, not writable by the tree, not traced. With `tree`, an ancestor may be it.
    fn is_program(&self, program: &str, digest: Option<&str>, tree: bool) -> bool;

    /// Whether the executable `program` is one of its ancestors, on the same terms; not the subject itself.
    fn is_below(&self, program: &str) -> bool;
}

/// How far what a program does can be taken for what its file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// The tree can write the file, or the environment loads code into it.
    No,
    /// It does what its file says; what it starts may be named by its environment.
    Itself,
    /// So do the programs that it starts, as far as its environment goes.
    AndWhatItStarts,
}

/// A subject that is nobody: no `by` rule holds for it.
pub struct Nobody;

impl Subject for Nobody {
    fn is_program(&self, _program: &str, _digest: Option<&str>, _tree: bool) -> bool {
        false
    }

    fn is_below(&self, _program: &str) -> bool {
        false
    }
}

/// A command that is about to run.
#[derive(Clone, Debug, Default)]
pub struct Command<'a> {
    /// Canonical path of the file that runs (for a script: the script).
    pub file: &'a [u8],
    /// Scripts and interpreters from the file asked for to the ELF that runs, canonical.
    pub chain: Vec<&'a [u8]>,
    /// The arguments, `argv[0]` included.
    pub argv: Vec<&'a [u8]>,
    /// `NAME=value` strings.
    pub env: Vec<&'a [u8]>,
    /// Canonical working folder.
    pub cwd: &'a [u8],
    /// Names under which a program that is a copy of another counts (base names), found by digest.
    pub copies_of: Vec<&'a str>,
}

/// What is asked of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetOp {
    /// A connection, or a datagram's destination.
    Connect,
    /// A local address to listen or receive on.
    Bind,
}

/// The other end, already in its canonical form (v4-mapped as IPv4, unspecified as loopback).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// TCP.
    Tcp(IpAddr, u16),
    /// UDP.
    Udp(IpAddr, u16),
    /// A host by its name in the one spelling of [`super::canonical_name`], at an address where one is known already.
    Host {
        /// Datagrams.
        udp: bool,
        /// Its name.
        name: &'a str,
        /// Its address.
        ip: Option<IpAddr>,
        /// The port.
        port: u16,
    },
    /// A unix socket at a canonical path.
    Unix(&'a [u8]),
    /// A unix socket in the abstract namespace, without the leading NUL.
    Abstract(&'a [u8]),
}

/// How a host's name is proved on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verify {
    /// Not: the connection goes where the name pointed.
    None,
    /// By the Host of the first request over plain HTTP.
    Http,
    /// By the name in the ClientHello of TLS.
    Tls,
}

/// What the variables of patterns stand for in this session.
#[derive(Clone, Debug)]
pub struct Scope {
    /// `${workspace}`, canonical.
    pub workspace: PathBuf,
    /// `${home}`, canonical.
    pub home: PathBuf,
    /// `${tmp}`: the temporary folders (`/tmp`, `/var/tmp`, `$TMPDIR`), canonical.
    pub tmp: Vec<PathBuf>,
    /// Whether patterns are kept in the one spelling of file systems that fold names, for paths that are spelled so too.
    pub fold: bool,
}

/// Whether decisions take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are recorded only.
    Audit,
}

impl Mode {
    /// The name in packs and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }
}
