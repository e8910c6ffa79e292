//! `cavra-run`: what is typed, and what it means.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::FAILED;
use crate::boundary::Approvals;
use crate::evidence::Level;
use crate::policy::Mode;
use crate::session::{Options, ReadsBy, prepare, run};
use crate::sys::stderr;
use crate::text::harmless;

const EXAMPLES: &str = "\
Examples:
  cavra-run claude                                        the agent as ever, with its own profile
  cavra-run --policy team.yaml -- make test               the team's rules instead of the profile's packs
  cavra-run --mode audit --evidence ./evidence -- npm ci  refuse nothing, and see what would have been
  cavra-run --approvals deny --profile ci -- ./release.sh nobody there to ask
  cavractl approvals list                                 from another terminal: what waits for an answer

Exit status: the command's own; 128+N for signal N; 125 when cavra-run itself fails and nothing was started;
126 when the command can not be executed, 127 when there is none.

Files: ~/.local/state/cavra/sessions/ has the evidence of each session, /etc/cavra/policy.d/*.yaml is always in force,
.cavra/policy.yaml in the workspace can only tighten.";

/// Runs a command with every open, exec and connect of it and its descendants resolved to a CAVRA policy decision
#[derive(Debug, Parser)]
#[command(name = "cavra-run", version, after_help = EXAMPLES)]
pub(super) struct CavraRun {
    /// The agent's folder [default: the current one]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// What the program needs [default: chosen by the command's name]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// A pack by id or file; several are all in force
    #[arg(long, value_name = "ID|FILE")]
    policy: Vec<String>,
    /// Refuse packs that no trusted key signed (`cavractl policy sign`), and profiles that are not built in
    #[arg(long)]
    require_signed: bool,
    /// Whether decisions take effect or are only recorded
    #[arg(long)]
    mode: Option<ModeArgument>,
    /// Who decides opens that only read. The kernel does it at native speed, by what the policy says at the start: no record is made of
    /// them, nobody is asked, what it refuses is a plain EACCES, and what is made beside a refused file can not be read
    #[arg(long, default_value = "supervisor", value_name = "WHO")]
    reads: ReadsArgument,
    /// With `--reads kernel`: a further tree to look through for what may be read (the workspace, the home folder, temporary folders, PATH and
    /// the system's are)
    #[arg(long, value_name = "DIR")]
    reads_in: Vec<PathBuf>,
    /// Whether requests that need an approval are held or refused
    #[arg(long, default_value = "ask")]
    approvals: ApprovalsArgument,
    /// How long a request is held (30s, 5m)
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "TIME")]
    approval_timeout: Duration,
    /// A new or empty folder for the records [default: below ~/.local/state/cavra/sessions]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Which allowed reads are recorded: the first of each program, file and rule with a count of the rest, or each one
    #[arg(long, default_value = "first", value_name = "LEVEL")]
    evidence_level: LevelArgument,
    /// The agent's name in records
    #[arg(long, value_name = "ID")]
    agent_id: Option<String>,
    /// Who it works for, in records
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// A variable that passes although it looks like a secret
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
    /// What happens to processes that the command leaves behind
    #[arg(long, default_value = "kill")]
    leftovers: LeftoversArgument,
    /// No summary at the end
    #[arg(long)]
    quiet: bool,
    /// Program and arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArgument {
    Enforce,
    Audit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReadsArgument {
    Supervisor,
    Kernel,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ApprovalsArgument {
    Ask,
    Deny,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelArgument {
    First,
    All,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LeftoversArgument {
    Wait,
    Kill,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("expected a number with s, m or h, such as 30s".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a number with s, m or h, such as 30s".to_owned())?;
    number
        .checked_mul(factor)
        .map(Duration::from_secs)
        .ok_or_else(|| "too long".to_owned())
}

impl CavraRun {
    fn meant(self) -> Options {
        Options {
            workspace: self.workspace,
            profile: self.profile,
            policy: self.policy,
            require_signed: self.require_signed,
            mode: self.mode.map(|mode| match mode {
                ModeArgument::Enforce => Mode::Enforce,
                ModeArgument::Audit => Mode::Audit,
            }),
            reads: match self.reads {
                ReadsArgument::Supervisor => ReadsBy::Supervisor,
                ReadsArgument::Kernel => ReadsBy::Kernel,
            },
            reads_in: self.reads_in,
            approvals: match self.approvals {
                ApprovalsArgument::Ask => Approvals::Ask,
                ApprovalsArgument::Deny => Approvals::Deny,
            },
            approval_timeout: self.approval_timeout,
            evidence: self.evidence,
            evidence_level: match self.evidence_level {
                LevelArgument::First => Level::First,
                LevelArgument::All => Level::All,
            },
            agent_id: self.agent_id,
            actor: self.actor,
            env: self.env,
            quiet: self.quiet,
            leftovers: match self.leftovers {
                LeftoversArgument::Wait => cavra_shim::Leftovers::Wait,
                LeftoversArgument::Kill => cavra_shim::Leftovers::Kill,
            },
            command: self.command,
        }
    }
}

/// Runs `cavra-run` with these arguments, the program's name included: to the end of the session.
pub fn run_session(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed = match CavraRun::try_parse_from(args) {
        Ok(typed) => typed,
        Err(error) => {
            // Printing fails only when nobody reads.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { FAILED } else { 0 });
        }
    };
    match prepare(typed.meant()).and_then(run) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let text = error.to_string();
            // A policy's error is several lines with an excerpt; each of them is made harmless.
            let lines: Vec<_> = text.lines().map(harmless).collect();
            drop(writeln!(std::io::stderr().lock(), "cavra-run: {}", lines.join("\n")));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Messages of the program itself go to stderr: plain in files, and on the agent's own terminal only errors, so that a
/// full-screen program is not written over. `CAVRA_LOG` asks for more or less.
pub fn log_to_stderr() {
    stderr::prepare();
    let terminal = std::io::stderr().is_terminal();
    let usual = if terminal { "error" } else { "warn" };
    tracing_subscriber::fmt()
        .with_writer(|| stderr::Lines)
        .with_ansi(terminal)
        .without_time()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("CAVRA_LOG").unwrap_or_else(|_| usual.into()))
        .init();
}
