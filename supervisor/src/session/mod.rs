//! Launch, terminal, signals, exit, summary.

mod confine;
mod launch;
mod orphans;
mod reads;
mod run;

use std::path::PathBuf;
use std::time::Duration;

pub use launch::{LaunchError, prepare};
pub use run::run;

use crate::boundary::Approvals;
use crate::policy::Mode;

/// Who decides opens that only read a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadsBy {
    /// The supervisor, each with a record.
    #[default]
    Supervisor,
    /// The floor, by what the policy says when the session starts.
    Kernel,
}

/// What was asked for on the command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// The agent's folder; the current one by default.
    pub workspace: Option<PathBuf>,
    /// Profile by name.
    pub profile: Option<String>,
    /// Packs by id or file.
    pub policy: Vec<String>,
    /// Whether only packs count that a trusted key signed.
    pub require_signed: bool,
    /// Enforce or audit; the packs' own by default.
    pub mode: Option<Mode>,
    /// Who decides what is only read.
    pub reads: ReadsBy,
    /// Further trees that can be read where the kernel decides.
    pub reads_in: Vec<PathBuf>,
    /// Whether anybody is asked.
    pub approvals: Approvals,
    /// How long a request is held.
    pub approval_timeout: Duration,
    /// Evidence folder.
    pub evidence: Option<PathBuf>,
    /// Which allowed reads are recorded.
    pub evidence_level: crate::evidence::Level,
    /// The agent, for records.
    pub agent_id: Option<String>,
    /// For whom, for records.
    pub actor: Option<String>,
    /// Variables that pass although they look like secrets.
    pub env: Vec<String>,
    /// No summary.
    pub quiet: bool,
    /// What happens to processes that the command leaves behind.
    pub leftovers: cavra_shim::Leftovers,
    /// Program and arguments.
    pub command: Vec<std::ffi::OsString>,
}
