//! cavractl: answers held requests, reads evidence, looks at this machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    cavra::cli::run(std::env::args_os())
}
