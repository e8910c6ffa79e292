//! What a session does when the supervisor is starved, stopped, killed, crowded or panics: nothing is let through (I4), nothing hangs (I7),
//! nothing grows (I8), and the records stay whole (I6).
//!
//! `CAVRA_SCALE=all` runs the large numbers (200 kills, 10 000 tasks, an hour's soak); `CAVRA_SOAK` is the soak's duration in seconds,
//! `CAVRA_SEED` what the random instants and calls come from (printed, so that a failure can be had again).

mod calls;
mod clock;
mod crowd;
mod killed;
mod limits;
mod panics;
mod slow;
mod soak;
mod stopped;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use cavra_tests::*;

/// One file is not read, one folder not written, nothing is reached; all else is allowed.
const PACK: &str = "metadata: {id: faults}\n\
    filesystem: {block_read: ['${workspace}/secret'], block_write: ['${workspace}/locked/**'], default_read: allow, default_write: allow}\n\
    commands: {default: allow}\nnetwork: {default: block}\n";

fn main() -> ExitCode {
    Suite::new("faults")
        .both(limits::cases())
        .both(stopped::cases())
        .both(killed::cases())
        .ordinary(calls::cases())
        .root(panics::cases())
        .root(slow::cases())
        .both(clock::cases())
        .alone(crowd::cases())
        .alone(soak::cases())
        .main()
}

/// The number of the test command, or with `CAVRA_SCALE=all` the large one.
fn scale(usual: u32, all: u32) -> u32 {
    match std::env::var("CAVRA_SCALE") {
        Ok(scale) if scale == "all" => all,
        _ => usual,
    }
}

/// A stage with a secret that the pack blocks, and a file that it allows.
fn stage(user: User) -> Result<Stage, Unmet> {
    let stage = Stage::new(user)?;
    stage.write("ws/secret", "SECRET\n");
    stage.write("ws/public", "public\n");
    Ok(stage)
}

/// Starts a session whose supervisor may have so many descriptors, and no way to more: what is kept soon has to be forgotten.
fn start_with_descriptors<'s>(
    stage: &'s Stage,
    session: Session<'s>,
    descriptors: u32,
    words: &[&str],
) -> Result<session::Live<'s>, Unmet> {
    let mut command = stage.command("sh")?;
    let limited = format!("ulimit -n {descriptors} || exit 99; exec \"$@\"");
    command.args(["-c", &limited, "sh"]).args(session.words()?).args(words);
    Ok(session.launch(command))
}

/// Builds a program of tests/programs into the stage's `bin`.
fn program(stage: &Stage, name: &str) -> PathBuf {
    let out = stage.at("bin").join(name);
    let source = places::repository().join("tests/programs").join(format!("{name}.c"));
    let status = Command::new("cc")
        .args(["-O2", "-pthread", "-o"])
        .arg(&out)
        .arg(source)
        .status();
    assert!(status.expect("cc").success(), "{name} does not compile");
    out
}

/// Processes whose working folder lies in the stage: the supervisor, the reaper and the whole tree.
fn living(stage: &Stage) -> Vec<i32> {
    let inside = |pid: &i32| {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        // A zombie has no working folder any more.
        std::fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(stage.root()))
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(inside)
        .collect()
}

/// Numbers that look random and come again from the same seed (SplitMix64).
struct Random(u64);

impl Random {
    /// From `CAVRA_SEED`, else from the clock; says which.
    fn new(what: &str) -> Self {
        let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
        let seed = std::env::var("CAVRA_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(clock);
        println!("{what}: CAVRA_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
