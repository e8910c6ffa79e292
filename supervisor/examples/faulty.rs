//! cavra-run with the points of `src/faults.rs` in it, for tests/faults.

use std::process::ExitCode;

fn main() -> ExitCode {
    cavra::cli::log_to_stderr();
    cavra::cli::run_session(std::env::args_os())
}
