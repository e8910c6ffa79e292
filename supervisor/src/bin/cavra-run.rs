//! cavra-run: starts a command whose every open, exec and connect is decided.

use std::process::ExitCode;

fn main() -> ExitCode {
    cavra::cli::log_to_stderr();
    cavra::cli::run_session(std::env::args_os())
}
