//! Suites by others and our own generated calls, natively and inside under a permissive pack: every difference is known, with its reason
//! (`differences/`), or fails.
//!
//! `scripts/compat.sh` runs everything; the test command a bounded share. `CAVRA_SCALE=all` takes the large numbers.

mod differential;
mod programs;
mod suites;

use std::process::ExitCode;
use std::time::Duration;

use cavra_tests::Suite;

/// Allows everything, datagrams too, which no default speaks of: what differs under it is the boundary's doing, not a rule's.
const OPEN: &str = "metadata: {id: open}\nfilesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\nnetwork: {default: allow, allow: ['udp:*']}\n";

/// How long one suite may take, natively or inside.
const DEADLINE: Duration = Duration::from_secs(4 * 3_600);

fn main() -> ExitCode {
    Suite::new("compat")
        .both(differential::cases())
        .both(programs::cases())
        .both(suites::both())
        .ordinary(suites::ordinary())
        .main()
}

fn whole() -> bool {
    std::env::var("CAVRA_SCALE").is_ok_and(|scale| scale == "all")
}

/// The number of the test command, or with `CAVRA_SCALE=all` the large one.
fn scale(usual: u64, all: u64) -> u64 {
    if whole() { all } else { usual }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}
