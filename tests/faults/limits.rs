//! Too few descriptors, too little memory, too few processes, no room for records: refused, and never let through.

use cavra_tests::*;

use crate::{PACK, living, stage};

pub fn cases() -> Vec<Case> {
    cases![
        few_descriptors_let_nothing_through,
        little_memory_lets_nothing_through,
        no_room_for_records_lets_nothing_through,
        without_threads_no_session_starts,
    ]
}

/// Runs a session under `ulimit OPTION VALUE` for each value. Whatever becomes of it, the secret is not read and nothing is left over; with
/// the last value everything works.
fn starved(user: User, option: &str, values: impl IntoIterator<Item = u64>) -> Verdict {
    let script = "cat secret; cat public; echo x > locked/x; echo through";
    let mut worked = false;
    for value in values {
        let stage = stage(user)?;
        stage.folder("ws/locked");
        let session = stage.session().pack(PACK);
        let mut command = stage.command("sh")?;
        let limit = format!("ulimit {option} {value} || exit 99; exec \"$@\"");
        command
            .args(["-c", &limit, "sh"])
            .args(session.words()?)
            .args(["sh", "-c", script]);
        let outcome = session.launch(command).finish();
        let told = format!("ulimit {option} {value}: {} {}", outcome.stdout(), outcome.stderr());
        assert!(
            !outcome.stdout().contains("SECRET") && !stage.has("ws/locked/x"),
            "{told}"
        );
        assert_eq!(living(&stage), Vec::<i32>::new(), "{told}");
        worked = outcome.stdout().contains("public\nthrough");
        assert_ne!(outcome.code(), Some(99), "{told}");
        if outcome.code() == Some(125) {
            assert!(!outcome.stderr().is_empty(), "{told}");
        }
        // Whole; or interrupted where the supervisor could not go on; or not even begun.
        assert!(
            outcome.records.is_empty() || matches!(outcome.verify, Some(0 | 3)),
            "{:?} {told}",
            outcome.verify
        );
    }
    assert!(worked, "ulimit {option}: with the last value everything should work");
    Ok(())
}

fn few_descriptors_let_nothing_through(user: User) -> Verdict {
    starved(user, "-n", (4..=32).step_by(2).chain([256]))
}

/// Address space in KiB: from what does not even load to plenty.
fn little_memory_lets_nothing_through(user: User) -> Verdict {
    starved(
        user,
        "-v",
        (1..=12).map(|step| step * 8 * 1024).chain([4 * 1024 * 1024]),
    )
}

/// File size in blocks of 512 bytes: the opening record, some records, all.
fn no_room_for_records_lets_nothing_through(user: User) -> Verdict {
    starved(user, "-f", [0, 1, 2, 4, 1024])
}

/// Root is not bound by the number of processes.
fn without_threads_no_session_starts(user: User) -> Verdict {
    if user == User::Root {
        return skip("root has no limit on processes");
    }
    // As dash calls the limit on processes.
    starved(user, "-p", [1, 2, 3, 4, 5, 6, 8, 12, 4096])
}
