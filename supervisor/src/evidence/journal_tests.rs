use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Durability, Journal, Level};
use crate::decision::Decision;
use crate::evidence::{Draft, EvidenceError, Opening, Verification, verify};

fn opening() -> Opening {
    Opening {
        session_id: "ses_000000000001".to_owned(),
        command: vec!["sh".to_owned(), "-c".to_owned(), "true; true".to_owned()],
        mode: "enforce".to_owned(),
        ..Opening::default()
    }
}

fn read(target: &str) -> Draft {
    Draft {
        action_type: "read_file",
        target: target.to_owned(),
        decision: Some(Decision::Allow),
        ..Draft::default()
    }
}

fn refusal(target: &str) -> Draft {
    let errno = Some("EACCES".to_owned());
    Draft {
        decision: Some(Decision::Block),
        rule_id: "filesystem.read.block".to_owned(),
        errno,
        ..read(target)
    }
}

fn session(dir: &Path, records: u32) {
    let journal = Journal::create(Some(dir), &opening(), Level::First).unwrap();
    for number in 0..records {
        let durability = [Durability::Buffered, Durability::Written, Durability::Synced][number as usize % 3];
        journal.append(read(&format!("/a/{number}")), durability).unwrap();
    }
    journal.close("exit 0").unwrap();
}

fn lines(dir: &Path) -> Vec<String> {
    std::fs::read_to_string(dir.join("decisions.jsonl"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_session_that_ended_is_whole() {
    let temp = tempfile::tempdir().unwrap();
    session(temp.path(), 9);
    assert_eq!(verify(temp.path()), Verification::Whole { records: 11 });
    let record: serde_json::Value = serde_json::from_str(&lines(temp.path())[1]).unwrap();
    for member in [
        "policy_pack",
        "policy_id",
        "severity",
        "approver_group",
        "agent_id",
        "actor",
        "rule_id",
        "reason",
    ] {
        assert!(record.get(member).is_some(), "{member}");
    }
    let id = record["decision_id"].as_str().unwrap();
    assert_eq!(record["evidence_refs"][0], format!("evidence://ses_000000000001/{id}"));
    assert_eq!(record["correlation_id"], id);
    assert!(record["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn each_way_of_changing_a_chain_is_seen() {
    type Change = fn(&mut Vec<String>);
    let rows: [(&str, Change, u8); 12] = [
        ("untouched", |_| (), 0),
        ("end cut off", |lines| drop(lines.pop()), 3),
        ("more cut off", |lines| lines.truncate(4), 3),
        ("opening removed", |lines| drop(lines.remove(0)), 1),
        ("one removed", |lines| drop(lines.remove(3)), 1),
        ("two swapped", |lines| lines.swap(2, 3), 1),
        ("one doubled", |lines| lines.insert(3, lines[3].clone()), 1),
        ("one edited", |lines| lines[2] = lines[2].replace("/a/1", "/a/x"), 1),
        (
            "a member doubled",
            |lines| lines[2] = lines[2].replacen('{', "{\"target\":\"/b\",", 1),
            1,
        ),
        ("a line forged", |lines| lines.insert(2, "{}".to_owned()), 1),
        ("an empty line", |lines| lines.insert(2, String::new()), 1),
        ("everything", Vec::clear, 1),
    ];
    for (name, change, code) in rows {
        let temp = tempfile::tempdir().unwrap();
        session(temp.path(), 5);
        let mut lines = lines(temp.path());
        change(&mut lines);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(temp.path().join("decisions.jsonl"), text).unwrap();
        let verification = verify(temp.path());
        assert_eq!(verification.exit_code(), code, "{name}: {verification}");
    }
}

#[test]
fn a_record_that_was_hashed_anew_does_not_fit_its_neighbours() {
    let temp = tempfile::tempdir().unwrap();
    session(temp.path(), 5);
    let mut lines = lines(temp.path());
    let mut record: crate::evidence::Record = serde_json::from_str(&lines[2]).unwrap();
    record.target = "/forged".to_owned();
    record.hash.clear();
    lines[2] = String::from_utf8(record.line().unwrap().0)
        .unwrap()
        .trim_end()
        .to_owned();
    std::fs::write(temp.path().join("decisions.jsonl"), lines.join("\n") + "\n").unwrap();
    let Verification::Broken { first } = verify(temp.path()) else {
        panic!("not seen")
    };
    assert_eq!((first.line, first.file.as_str()), (4, "decisions.jsonl"));
}

#[test]
fn an_unfinished_last_line_is_an_interruption() {
    let temp = tempfile::tempdir().unwrap();
    session(temp.path(), 5);
    let path = temp.path().join("decisions.jsonl");
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 20]).unwrap();
    let verification = verify(temp.path());
    assert!(
        matches!(
            verification,
            Verification::Interrupted {
                records: 6,
                unfinished_bytes: 1..,
                ..
            }
        ),
        "{verification}"
    );
}

#[test]
fn what_a_target_says_stays_in_its_line() {
    let temp = tempfile::tempdir().unwrap();
    let journal = Journal::create(Some(temp.path()), &opening(), Level::First).unwrap();
    journal
        .append(read("x\"}\n{\"seq\":7}\n"), Durability::Written)
        .unwrap();
    journal.close("exit 0").unwrap();
    assert_eq!(verify(temp.path()), Verification::Whole { records: 3 });
}

#[test]
fn eight_threads_write_one_chain() {
    let temp = tempfile::tempdir().unwrap();
    let journal = Arc::new(Journal::create(Some(temp.path()), &opening(), Level::First).unwrap());
    journal.rotate_every(100_000);
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let journal = Arc::clone(&journal);
            std::thread::spawn(move || {
                for number in 0..200 {
                    let durability = match number % 20 {
                        0 => Durability::Synced,
                        1..5 => Durability::Written,
                        _ => Durability::Buffered,
                    };
                    journal
                        .append(read(&format!("/{thread}/{number}")), durability)
                        .unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let totals = journal.close("exit 0").unwrap();
    assert_eq!(totals.by_decision["allow"], 1600);
    assert_eq!(verify(temp.path()), Verification::Whole { records: 1602 });
    assert!(temp.path().join("decisions.3.jsonl").exists());
    std::fs::remove_file(temp.path().join("decisions.2.jsonl")).unwrap();
    assert_eq!(verify(temp.path()).exit_code(), 1);
}

#[test]
fn written_records_are_there_at_once_and_buffered_ones_soon_and_in_order() {
    let temp = tempfile::tempdir().unwrap();
    let journal = Journal::create(Some(temp.path()), &opening(), Level::First).unwrap();
    journal.append(read("/buffered"), Durability::Buffered).unwrap();
    journal.append(refusal("/written"), Durability::Written).unwrap();
    let seen = lines(temp.path());
    assert!(seen.len() == 3 && seen[1].contains("/buffered") && seen[2].contains("/written"));
    journal.append(read("/later"), Durability::Buffered).unwrap();
    let start = Instant::now();
    while lines(temp.path()).len() < 4 {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(journal);
    assert_eq!(verify(temp.path()).exit_code(), 3);
}

#[test]
fn identical_refusals_are_counted_and_the_totals_name_them() {
    let temp = tempfile::tempdir().unwrap();
    let journal = Journal::create(Some(temp.path()), &opening(), Level::First).unwrap();
    let first = journal.append(refusal("/.env"), Durability::Written).unwrap();
    let names: Vec<_> = (0..1_009)
        .map(|_| journal.append(refusal("/.env"), Durability::Written).unwrap())
        .collect();
    assert_eq!(names.last(), Some(&first));
    assert!(journal.first_read((1, 1), (1, 2), "r") && !journal.first_read((1, 1), (1, 2), "r"));
    let totals = journal.close("exit 0").unwrap();
    assert_eq!(
        totals.refusals,
        [("/.env".to_owned(), "filesystem.read.block".to_owned(), 1_010)]
    );
    assert_eq!(totals.reads, 2);
    assert!(matches!(
        journal.append(read("/x"), Durability::Buffered),
        Err(EvidenceError::Closed)
    ));
    assert_eq!(
        verify(temp.path()),
        Verification::Whole {
            records: 1 + 1_000 + 2 + 1
        }
    );
    let lines = lines(temp.path());
    assert!(lines[1001].contains("\"repeats\":{\"1:1 1:2\":1}"), "{}", lines[1001]);
    assert!(
        lines[1002].contains(&format!("\"repeats\":{{\"{first}\":10}}")),
        "{}",
        lines[1002]
    );
}

#[test]
fn long_arguments_are_bounded_and_say_so() {
    let temp = tempfile::tempdir().unwrap();
    let journal = Journal::create(Some(temp.path()), &opening(), Level::First).unwrap();
    let argv = vec!["ä".repeat(20_000); 100];
    journal
        .append(
            Draft {
                argv: Some(argv),
                ..read("/x")
            },
            Durability::Written,
        )
        .unwrap();
    let line = &lines(temp.path())[1];
    assert!(line.len() < 100_000 && line.contains("bytes more") && line.contains("further arguments"));
}

/// `/dev/full` answers ENOSPC to each write, as a full disk does.
fn fill_up(journal: &Journal) {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    drop(journal.inner.sink.lock().unwrap().sink.write_to(full));
}

#[test]
fn a_session_that_reached_its_bound_still_ends() {
    let temp = tempfile::tempdir().unwrap();
    let journal = Journal::create(Some(temp.path()), &opening(), Level::First).unwrap();
    // More than are recorded one by one: the end has a count of them to write.
    for _ in 0..1_002 {
        let record = journal.inner.record(refusal("/repeated")).unwrap();
        journal.inner.push(record, Durability::Written).unwrap();
    }
    journal.inner.sink.lock().unwrap().sink.fill();
    let record = journal.inner.record(refusal("/later")).unwrap();
    let full = journal.inner.push(record, Durability::Written);
    assert!(matches!(full, Err(EvidenceError::Full(_))), "{full:?}");
    journal.close("exit 0").unwrap();
    drop(journal);
    let last = lines(temp.path()).pop().unwrap();
    assert!(last.contains("session_end") && last.contains("\"lost\":1"), "{last}");
}

#[test]
fn whoever_writes_for_others_leaves_them_their_errors() {
    let temp = tempfile::tempdir().unwrap();
    let journal = Journal::create(Some(temp.path()), &opening(), Level::First).unwrap();
    fill_up(&journal);
    let record = journal.inner.record(refusal("/owed")).unwrap();
    let owed = journal.inner.queue().unwrap().push(record, Durability::Written).number;
    // The flusher, or `close`, comes before the one who waits for the record.
    assert!(journal.inner.settle_all().is_err());
    assert!(matches!(journal.inner.settle(owed), Err(EvidenceError::Write(_))));
}

#[test]
fn no_thread_believes_in_a_record_that_a_full_disk_did_not_take() {
    let temp = tempfile::tempdir().unwrap();
    let journal = Arc::new(Journal::create(Some(temp.path()), &opening(), Level::First).unwrap());
    fill_up(&journal);
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flusher = {
        let (journal, over) = (Arc::clone(&journal), Arc::clone(&over));
        std::thread::spawn(move || {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                drop(journal.inner.settle_all());
            }
        })
    };
    let threads: Vec<_> = (0..2)
        .map(|thread| {
            let journal = Arc::clone(&journal);
            std::thread::spawn(move || {
                (0..5_000)
                    .filter(|n| {
                        journal
                            .append(refusal(&format!("/{thread}/{n}")), Durability::Written)
                            .is_ok()
                    })
                    .count()
            })
        })
        .collect();
    let believed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    flusher.join().unwrap();
    assert_eq!(believed, 0);
    assert_eq!(lines(temp.path()).len(), 1);
    assert!(journal.inner.queue().unwrap().failed.is_empty(), "errors nobody took");
    assert_eq!(journal.totals().by_decision.get("block"), None, "only records count");
}

/// Rotation, and cutting off an unfinished line, in the domain that a supervisor lives in.
#[test]
fn a_domain_that_leaves_only_its_folder_is_enough() {
    use landlock::{ABI, Access, AccessFs, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr};
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("session");
    let journal = Journal::create(Some(&dir), &opening(), Level::First).unwrap();
    journal.rotate_every(2_000);
    let outside = temp.path().join("outside");
    std::thread::scope(|scope| {
        // A domain is a thread's; the flusher, started by the first record, is in it too.
        scope.spawn(|| {
            Ruleset::default()
                .handle_access(AccessFs::from_all(ABI::V3))
                .unwrap()
                .create()
                .unwrap()
                .add_rule(PathBeneath::new(journal.folder(), AccessFs::from_all(ABI::V3)))
                .unwrap()
                .restrict_self()
                .unwrap();
            assert!(std::fs::write(&outside, "x").is_err(), "the domain is real");
            for number in 0..20 {
                let durability = [Durability::Buffered, Durability::Written, Durability::Synced][number % 3];
                journal.append(read(&format!("/{number}")), durability).unwrap();
            }
            {
                let mut chain = journal.inner.sink.lock().unwrap();
                std::io::Write::write_all(&mut &*chain.sink.file(), b"{\"torn").unwrap();
                chain.sink.tear();
            }
            journal.append(refusal("/after"), Durability::Synced).unwrap();
            journal.close("exit 0").unwrap();
        });
    });
    assert!(dir.join("decisions.3.jsonl").exists());
    assert_eq!(verify(&dir), Verification::Whole { records: 23 });
}

#[test]
fn each_answer_of_a_person_is_a_record() {
    let temp = tempfile::tempdir().unwrap();
    let journal = Journal::create(Some(temp.path()), &opening(), Level::First).unwrap();
    for number in 0..1_100_u32 {
        let note = crate::evidence::ApprovalNote {
            id: format!("apr_{number:012x}"),
            approver: "ann".to_owned(),
            reason: "no".to_owned(),
            waited_ms: 1,
        };
        let denied = Draft {
            action_type: "approval",
            approval: Some(note),
            ..refusal("/same")
        };
        journal.append(denied, Durability::Written).unwrap();
    }
    let totals = journal.close("exit 0").unwrap();
    assert_eq!(totals.refusals.first().map(|(_, _, count)| *count), Some(1_100));
    assert_eq!(verify(temp.path()), Verification::Whole { records: 1_102 });
}

/// The disk is full: what owes a record is refused, the chain stays intact, and goes on when there is room. Run again in a
/// process of its own, because the limit on file sizes, which stands for the disk, is a process's.
#[test]
fn a_full_disk_refuses_and_the_chain_goes_on_after() {
    if std::env::var_os("CAVRA_TEST_FULL_DISK").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "evidence::journal::tests::a_full_disk_refuses_and_the_chain_goes_on_after",
            ])
            .env("CAVRA_TEST_FULL_DISK", "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let temp = tempfile::tempdir().unwrap();
    let journal = Journal::create(Some(temp.path()), &opening(), Level::First).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 8_000, RLIM_INFINITY).unwrap();
    let failed = (0..100)
        .filter(|n| journal.append(refusal(&format!("/{n}")), Durability::Written).is_err())
        .count();
    assert!((50..99).contains(&failed), "{failed}");
    assert!(
        journal.append(read("/buffered"), Durability::Buffered).is_err(),
        "a failing journal believes in nothing"
    );
    assert_eq!(verify(temp.path()).exit_code(), 3);
    setrlimit(Resource::RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY).unwrap();
    journal.append(refusal("/again"), Durability::Synced).unwrap();
    // A disk that fills up behind buffered records: they are lost, and the next record says so.
    setrlimit(Resource::RLIMIT_FSIZE, 1, RLIM_INFINITY).unwrap();
    for _ in 0..3 {
        journal.append(read("/lost"), Durability::Buffered).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    setrlimit(Resource::RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY).unwrap();
    journal.append(refusal("/after"), Durability::Written).unwrap();
    assert!(lines(temp.path()).last().unwrap().contains("\"lost\":3"));
    journal.close("exit 0").unwrap();
    assert_eq!(verify(temp.path()).exit_code(), 0);
}
