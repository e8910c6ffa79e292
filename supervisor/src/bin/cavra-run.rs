//! cavra-run: starts a command whose every open, exec and connect is decided.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cavra::boundary::Approvals;
use cavra::policy::Mode;
use cavra::session::{Options, prepare, run};
use clap::{Parser, ValueEnum};

/// Runs a command with every open, exec and connect of it and its descendants resolved to a CAVRA policy decision.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  cavra-run claude\n  cavra-run --policy team.yaml -- make test\n  cavra-run --mode audit --evidence ./evidence -- npm ci\n\nExit status: the command's own; 128+N for signal N; 125 when cavra-run itself fails; 126 and 127 as a shell's."
)]
struct Arguments {
    /// The agent's folder [default: the current one]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// What the program needs [default: chosen by the command's name]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// A pack by id or file; several are all in force
    #[arg(long, value_name = "ID|FILE")]
    policy: Vec<String>,
    /// Whether decisions take effect or are only recorded
    #[arg(long)]
    mode: Option<ModeArgument>,
    /// Whether requests that need an approval are held or refused
    #[arg(long, default_value = "ask")]
    approvals: ApprovalsArgument,
    /// How long a request is held (30s, 5m)
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "TIME")]
    approval_timeout: Duration,
    /// A new or empty folder for the records [default: below ~/.local/state/cavra/sessions]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
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

#[derive(Clone, Copy, ValueEnum)]
enum ModeArgument {
    Enforce,
    Audit,
}

#[derive(Clone, Copy, ValueEnum)]
enum ApprovalsArgument {
    Ask,
    Deny,
}

#[derive(Clone, Copy, ValueEnum)]
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

#[allow(clippy::print_stderr, reason = "the program's own messages")]
fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .without_time()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("CAVRA_LOG").unwrap_or_else(|_| "warn".into()))
        .init();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 125 } else { 0 });
        }
    };
    let options = Options {
        workspace: arguments.workspace,
        profile: arguments.profile,
        policy: arguments.policy,
        mode: arguments.mode.map(|mode| match mode {
            ModeArgument::Enforce => Mode::Enforce,
            ModeArgument::Audit => Mode::Audit,
        }),
        approvals: match arguments.approvals {
            ApprovalsArgument::Ask => Approvals::Ask,
            ApprovalsArgument::Deny => Approvals::Deny,
        },
        approval_timeout: arguments.approval_timeout,
        evidence: arguments.evidence,
        agent_id: arguments.agent_id,
        actor: arguments.actor,
        env: arguments.env,
        quiet: arguments.quiet,
        leftovers: match arguments.leftovers {
            LeftoversArgument::Wait => cavra_shim::Leftovers::Wait,
            LeftoversArgument::Kill => cavra_shim::Leftovers::Kill,
        },
        command: arguments.command,
    };
    match prepare(options).and_then(run) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cavra-run: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
