//! Evidence as `cavractl` shows and verifies it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

use cavra::decision::Decision;
use cavra::evidence::{Draft, Durability, Journal, Level, Opening};

fn cavractl(state: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cavractl"))
        .args(args)
        .env("XDG_STATE_HOME", state)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn sessions_are_listed_shown_and_verified() {
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path();
    let folder = state.join("cavra/sessions/ses_0123456789ab");
    let opening = Opening {
        session_id: "ses_0123456789ab".to_owned(),
        command: vec!["make".to_owned(), "-j2".to_owned()],
        ..Opening::default()
    };
    assert!(text(&cavractl(state, &["evidence", "list"])).contains("no sessions yet"));
    let journal = Journal::create(Some(&folder), &opening, Level::First).unwrap();
    let draft = |target: &str, decision| Draft {
        action_type: "read_file",
        target: target.to_owned(),
        decision: Some(decision),
        reason: "matches .env".to_owned(),
        ..Draft::default()
    };
    journal
        .append(draft("/ws/.env", Decision::Block), Durability::Written)
        .unwrap();
    journal
        .append(draft("/ws/a\u{1b}[2J", Decision::Allow), Durability::Written)
        .unwrap();

    let verified = cavractl(state, &["evidence", "verify", "ses_0123456789ab"]);
    assert_eq!(verified.status.code(), Some(3), "{}", text(&verified));
    assert!(text(&cavractl(state, &["evidence", "list"])).contains("interrupted"));
    journal.close("exit 0").unwrap();
    let dir = folder.to_str().unwrap();
    assert_eq!(cavractl(state, &["evidence", "verify", dir]).status.code(), Some(0));
    let listed = text(&cavractl(state, &["evidence", "list"]));
    assert!(listed.contains("ended") && listed.contains("make -j2"), "{listed}");

    let shown = text(&cavractl(state, &["evidence", "show", dir]));
    assert!(
        shown.contains("/ws/a\\x1b[2J") && shown.contains("matches .env"),
        "{shown}"
    );
    let blocked = text(&cavractl(
        state,
        &["evidence", "show", dir, "--decision", "block", "--json"],
    ));
    assert_eq!(blocked.lines().count(), 1);
    let file = std::fs::read_to_string(folder.join("decisions.jsonl")).unwrap();
    assert_eq!(blocked.lines().next(), file.lines().nth(1));
    let wrong = cavractl(state, &["evidence", "show", dir, "--decision", "maybe"]);
    assert_eq!(wrong.status.code(), Some(2));

    std::fs::write(folder.join("decisions.jsonl"), file.replacen(".env", ".ena", 1)).unwrap();
    let broken = cavractl(state, &["evidence", "verify", dir]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken).contains("line 2 (dec_"), "{}", text(&broken));
    assert_eq!(
        cavractl(state, &["evidence", "verify", "/nothing/here"]).status.code(),
        Some(1)
    );
}

#[test]
fn completions_are_printed() {
    let temp = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = cavractl(temp.path(), &["completions", shell]);
        assert!(
            output.status.success() && text(&output).contains("approvals"),
            "{shell}"
        );
    }
}
