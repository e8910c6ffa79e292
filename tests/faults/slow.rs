//! A disk that takes long for each record: what owes one waits for it (I6), nothing is lost, and what owes none goes on (I7).

use std::time::{Duration, Instant};

use cavra_tests::*;

use crate::panics::with_fault;
use crate::{living, stage};

pub fn cases() -> Vec<Case> {
    cases![
        a_slow_disk_delays_what_owes_a_record_and_loses_nothing,
        calls_that_owe_no_record_do_not_wait_for_the_disk,
    ]
}

/// What each record takes.
const EACH_MS: u64 = 60;

fn a_slow_disk_delays_what_owes_a_record_and_loses_nothing(user: User) -> Verdict {
    let faulty = places::faulty(user)?;
    let stage = stage(user)?;
    stage.folder("ws/locked");
    let script = "for i in 1 2 3 4 5 6 7 8; do cat secret; echo x > made$i; echo x > locked/x; done; echo end";
    let started = Instant::now();
    let outcome = with_fault(&stage, &faulty, &format!("write@1~{EACH_MS}"), &["sh", "-c", script])?;
    outcome.exits(0).verifies();
    let took = started.elapsed();
    assert!(
        outcome.stdout().ends_with("end\n") && !outcome.stdout().contains("SECRET"),
        "{}",
        outcome.stdout()
    );
    assert!(!stage.has("ws/locked/x"));
    let recorded = |name: &str| {
        let ends = |record: &&serde_json::Value| record["target"].as_str().is_some_and(|target| target.ends_with(name));
        outcome.records.iter().filter(ends).count()
    };
    for i in 1..=8 {
        assert!(
            stage.has(format!("ws/made{i}")) && recorded(&format!("/made{i}")) > 0,
            "made{i}"
        );
    }
    assert!(recorded("/secret") >= 8 && recorded("/locked/x") >= 8);
    // Else nothing was slow.
    assert!(took > Duration::from_millis(24 * EACH_MS), "{took:?}");
    assert_eq!(living(&stage), Vec::<i32>::new());
    Ok(())
}

/// While one process waits for its eight records, another reads and looks: the first read of a file is recorded, and no other.
fn calls_that_owe_no_record_do_not_wait_for_the_disk(user: User) -> Verdict {
    let faulty = places::faulty(user)?;
    let stage = stage(user)?;
    let script = "(for i in 1 2 3 4 5 6 7 8; do echo x > made$i; done) & \
                  n=0; while ! [ -e made8 ]; do : < public; n=$((n + 1)); done; wait; echo $n";
    let outcome = with_fault(&stage, &faulty, &format!("write@1~{EACH_MS}"), &["sh", "-c", script])?;
    outcome.exits(0).verifies();
    let read: u32 = outcome.stdout().trim().parse().unwrap_or(0);
    // Had each waited, there had been no more of them than records.
    assert!(read > 100, "{read} reads while eight records were written");
    Ok(())
}
