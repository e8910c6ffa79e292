//! A disk that takes long for each record: what owes one waits for it (I6), nothing is lost, and what owes none goes on (I7).

use std::time::{Duration, Instant};

use cavra_tests::*;

use crate::panics::with_fault;
use crate::{living, stage};

pub fn cases() -> Vec<Case> {
    cases![a_slow_disk_delays_what_owes_a_record_and_loses_nothing]
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
