//! `cavractl`: what is typed, and what is printed.
//!
//! Each command builds its text and one exit status; only [`run`] writes. 0 done, 1 refused or found wrong, 2 typed wrongly,
//! 3 evidence intact but interrupted, 125 cavractl itself failed.

mod approvals;
mod decide;
mod doctor;
mod evidence;
mod policy;
mod run;
mod selftest;
mod serve;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub use run::{log_to_stderr, run_session};

/// Answer held requests, read evidence, look at this machine.
#[derive(Debug, Parser)]
#[command(name = "cavractl", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cavractl {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cavractl approvals list                                 what waits for an answer
  cavractl approvals approve apr_0123456789ab --reason 'reviewed, fine'
  cavractl evidence show ~/.local/state/cavra/sessions/ses_0123456789ab --decision block
  cavractl evidence verify ./evidence && echo whole
  cavractl policy explain .env                            what decides, from which pack and line
  cavractl decide --policy cavra-hipaa read_file a/phi/1.json
  cavractl policy coverage cavra-pci-dss                  which control each rule serves
  cavractl doctor                                         what this machine lacks
  cavractl selftest --profile claude                      whether a session of it can be broken here";

#[derive(Debug, Subcommand)]
enum Command {
    /// Requests that wait for a person
    #[command(subcommand)]
    Approvals(approvals::Approvals),
    /// Decision records of sessions
    #[command(subcommand)]
    Evidence(evidence::Evidence),
    /// Packs: check, explain, compare, try, sign
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Answer requests of CAVRA's adapters: 0 allow, 1 block, 4 require_approval, 2 no request
    Decide(Box<decide::Decide>),
    /// Answer such requests on a unix socket, as CAVRA's daemon does
    Serve(serve::Serve),
    /// Show what is enforced on this machine, what is not and why; 0 only at full strength
    Doctor {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Attack a live session of this machine; 0 only when every guard holds
    Selftest(selftest::Selftest),
    /// What `selftest` runs in the session
    #[command(name = "selftest-probe", hide = true)]
    Probe(selftest::Probe),
    /// Print completions for a shell
    Completions {
        /// The shell: bash, zsh, fish
        shell: Shell,
        /// The program that is completed
        #[arg(long = "for", value_name = "PROGRAM", default_value = "cavractl")]
        program: Program,
    },
    /// Print a manual page: `cavractl man cavra-run | man -l -`
    Man {
        /// The program
        #[arg(value_name = "PROGRAM", default_value = "cavra-run")]
        program: Program,
    },
}

/// One of our programs.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Program {
    CavraRun,
    Cavractl,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::CavraRun => "cavra-run",
            Self::Cavractl => "cavractl",
        }
    }

    fn command(self) -> clap::Command {
        match self {
            Self::CavraRun => run::CavraRun::command(),
            Self::Cavractl => Cavractl::command(),
        }
    }
}

/// What a command says, and how it ends.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// For stdout.
    pub(crate) out: String,
    /// For stderr: what went wrong.
    pub(crate) err: String,
    /// The exit status.
    pub(crate) status: u8,
}

impl Said {
    pub(crate) fn fine(out: String) -> Self {
        Self { out, ..Self::default() }
    }

    pub(crate) fn failed(status: u8, error: &dyn std::fmt::Display) -> Self {
        Self {
            err: error.to_string(),
            status,
            ..Self::default()
        }
    }
}

/// cavractl itself failed.
pub(crate) const FAILED: u8 = 125;

/// Runs `cavractl` with these arguments, the program's name included.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cavractl = match Cavractl::try_parse_from(args) {
        Ok(cavractl) => cavractl,
        Err(error) => {
            let status = u8::try_from(error.exit_code()).unwrap_or(2);
            // Printing fails only when nobody reads.
            return if error.print().is_ok() {
                ExitCode::from(status)
            } else {
                ExitCode::from(FAILED)
            };
        }
    };
    let said = match cavractl.command {
        Command::Approvals(command) => command.run(Style::of_stdout()),
        Command::Policy(command) => command.run(Style::of_stdout()),
        Command::Evidence(command) => command.run(Style::of_stdout(), &mut io::BufWriter::new(io::stdout().lock())),
        Command::Decide(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Doctor { json } => doctor::run(json, Style::of_stdout()),
        Command::Selftest(command) => command.run(Style::of_stdout()),
        Command::Probe(command) => command.run(),
        Command::Completions { shell, program } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut program.command(), program.name(), &mut script);
            Said::fine(String::from_utf8_lossy(&script).into_owned())
        }
        Command::Man { program } => {
            let mut page = Vec::new();
            match clap_mangen::Man::new(program.command()).render(&mut page) {
                Ok(()) => Said::fine(String::from_utf8_lossy(&page).into_owned()),
                Err(error) => Said::failed(FAILED, &error),
            }
        }
    };
    let printed = io::stdout().lock().write_all(said.out.as_bytes());
    if !said.err.is_empty() {
        // The status says it too, should stderr be closed.
        drop(writeln!(
            io::stderr().lock(),
            "cavractl: {}",
            crate::text::harmless(&said.err)
        ));
    }
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(FAILED),
        _ => ExitCode::from(said.status),
    }
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// For a terminal.
    Coloured,
    /// For files, pipes, and those who set NO_COLOR.
    Plain,
}

impl Style {
    fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && io::stdout().is_terminal() {
            Self::Coloured
        } else {
            Self::Plain
        }
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cavractl::command().debug_assert();
        super::run::CavraRun::command().debug_assert();
    }
}
