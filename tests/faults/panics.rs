//! A panic in any handler refuses that call and no other (I4, I7); one where decisions are settled or records written lets nothing through.

use std::path::PathBuf;
use std::process::Command;

use cavra_tests::*;

use crate::{PACK, living, stage};

pub fn cases() -> Vec<Case> {
    cases![
        a_panic_in_a_handler_refuses_that_call_alone,
        a_panic_where_decisions_are_settled_lets_nothing_through,
        a_panic_where_records_are_written_lets_nothing_through,
    ]
}

/// EIO: what a panic is answered with.
const PANICKED: &str = "5";

/// Runs `words` under the test build with `CAVRA_FAULT` set.
pub fn with_fault(stage: &Stage, faulty: &PathBuf, fault: &str, words: &[&str]) -> Result<session::Outcome, Unmet> {
    let session = stage.session().pack(PACK);
    let mut command = stage.command(faulty)?;
    command
        .args(&session.words()?[1..])
        .args(words)
        .env("CAVRA_FAULT", fault);
    Ok(session.launch(command).finish())
}

fn a_panic_in_a_handler_refuses_that_call_alone(user: User) -> Verdict {
    let faulty = places::faulty(user)?;
    let calls = |fault: &str| -> Result<Vec<(String, String)>, Unmet> {
        let stage = stage(user)?;
        let program = stage.at("bin/each_call");
        let source = places::repository().join("tests/programs/each_call.c");
        // Static: a loader's own opens would be calls of the same names.
        let status = Command::new("cc")
            .args(["-static", "-O2", "-o"])
            .arg(&program)
            .arg(&source)
            .status();
        assert!(status.unwrap().success(), "each_call does not compile");
        for line in std::fs::read_to_string(&source).unwrap().split('"') {
            if line.starts_with("f.") {
                stage.write(format!("ws/{line}"), "hello");
            } else if line.starts_with("d.") {
                stage.folder(format!("ws/{line}"));
            }
        }
        let outcome = with_fault(&stage, &faulty, fault, &[program.to_str().unwrap()])?;
        outcome.exits(0).verifies();
        assert_eq!(living(&stage), Vec::<i32>::new(), "{fault}");
        let line = |line: &str| {
            line.split_once(' ')
                .map(|(name, errno)| (name.to_owned(), errno.to_owned()))
        };
        Ok(outcome.stdout().lines().filter_map(line).collect())
    };
    let whole = calls("none@1")?;
    assert!(
        whole.len() > 45 && whole.iter().filter(|(_, errno)| errno == "0").count() > 35,
        "{whole:?}"
    );
    for (name, errno) in &whole {
        assert_ne!(errno, PANICKED, "{name}: proves nothing");
        // The session's own first exec is one too.
        let nth = if name == "execve" { 2 } else { 1 };
        let struck = calls(&format!("SYS_{name}@{nth}"))?;
        for (line, usual) in struck.iter().zip(&whole) {
            let wanted = if line.0 == *name { PANICKED } else { &usual.1 };
            assert_eq!(
                (line.0.as_str(), line.1.as_str()),
                (usual.0.as_str(), wanted),
                "fault at {name}"
            );
        }
        assert_eq!(struck.len(), whole.len(), "fault at {name}: the program did not go on");
    }
    Ok(())
}

/// The secret stays unread, the session ends by itself, and what was recorded before holds.
fn closed(user: User, point: &str) -> Verdict {
    let faulty = places::faulty(user)?;
    for from in 1..=12 {
        let stage = stage(user)?;
        stage.folder("ws/locked");
        let script = "cat public; cat secret; echo x > made; echo x > locked/x; echo end";
        let outcome = with_fault(&stage, &faulty, &format!("{point}@{from}+"), &["sh", "-c", script])?;
        let told = format!("{point} from {from}: {} {}", outcome.stdout(), outcome.stderr());
        if !outcome.stderr().contains("fault at") {
            // Fewer times than that is the point passed.
            assert!(from > 4, "the fault was not met: {told}");
            return Ok(());
        }
        assert!(
            !outcome.stdout().contains("SECRET") && !stage.has("ws/locked/x"),
            "{told}"
        );
        assert!(
            outcome.records.is_empty() || matches!(outcome.verify, Some(0 | 3)),
            "{:?} {told}",
            outcome.verify
        );
        assert_eq!(living(&stage), Vec::<i32>::new(), "{told}");
        // I6: what was done has its record.
        let recorded = outcome
            .records
            .iter()
            .any(|record| record["target"].as_str().is_some_and(|t| t.ends_with("/made")));
        assert!(!stage.has("ws/made") || recorded, "written without a record: {told}");
    }
    Ok(())
}

fn a_panic_where_decisions_are_settled_lets_nothing_through(user: User) -> Verdict {
    closed(user, "settle")
}

fn a_panic_where_records_are_written_lets_nothing_through(user: User) -> Verdict {
    closed(user, "write")
}
