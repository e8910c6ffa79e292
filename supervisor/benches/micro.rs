//! Single calls, native, under the bare mechanism and in a session: hands over to `benches/run`, which takes the words after `--`.
#![allow(clippy::print_stderr, missing_docs)]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/run");
    // cargo's own word.
    let words = std::env::args_os().skip(1).filter(|word| word != "--bench");
    let error = Command::new(&script)
        .args(["--cavra-run", env!("CARGO_BIN_EXE_cavra-run")])
        .args(words)
        .exec();
    eprintln!("{}: {error} (it needs python3)", script.display());
    ExitCode::FAILURE
}
