//! `cavractl doctor` on the machine that runs the tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::process::Command;

#[test]
fn the_status_says_whether_all_is_at_full_strength() {
    let output = Command::new(env!("CARGO_BIN_EXE_cavractl"))
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = checks.as_array().unwrap();
    assert!(checks.len() >= 12);
    let full = checks.iter().all(|check| check["state"] == "full");
    assert_eq!(output.status.code(), Some(i32::from(!full)), "{checks:?}");
    for check in checks.iter().filter(|check| check["state"] != "full") {
        assert!(!check["consequence"].as_str().unwrap().is_empty() && !check["remedy"].as_str().unwrap().is_empty());
    }
    let plain = Command::new(env!("CARGO_BIN_EXE_cavractl"))
        .arg("doctor")
        .output()
        .unwrap();
    assert!(String::from_utf8(plain.stdout).unwrap().contains("landlock.abi"));
}
