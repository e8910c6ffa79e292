//! `cavractl doctor` where something is lacking, and `cavra-run` there: nothing is started, and both name the same cause.

use std::process::Output;

use cavra_tests::{World, users};
use serde_json::Value;

fn each(test: impl Fn(&World)) {
    for user in users() {
        test(&World::new(user));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn of<'a>(check: &'a Value, member: &str) -> &'a str {
    check[member].as_str().unwrap_or_default()
}

fn checks(output: &Output) -> Vec<Value> {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

#[test]
fn here_a_session_can_be_held_and_the_status_says_how_well() {
    each(|world| {
        let doctor = world.folder("bin").join("cavractl");
        let output = world
            .command(&doctor)
            .args(["doctor", "--json"])
            .output()
            .expect("doctor");
        let found = checks(&output);
        let ids: Vec<&str> = found.iter().map(|check| of(check, "id")).collect();
        for id in [
            "kernel",
            "seccomp.listener",
            "seccomp.wait_killable",
            "landlock.abi",
            "landlock.domain",
            "yama.ptrace_scope",
            "callers",
            "openat2",
            "container",
        ] {
            assert!(ids.contains(&id), "{id}: {ids:?}");
        }
        let full = found.iter().all(|check| of(check, "state") == "full");
        assert_eq!(output.status.success(), full, "{}", said(&output));
        for check in &found {
            assert!(!of(check, "found").is_empty());
            assert_eq!(
                of(check, "state") != "full",
                !of(check, "consequence").is_empty() && !of(check, "remedy").is_empty(),
                "{check:#}"
            );
        }
        assert!(
            world.run(&[], &["true"]).code() == Some(0) || found.iter().any(|check| of(check, "state") == "missing")
        );
        let text = said(&world.command(&doctor).arg("doctor").output().expect("doctor"));
        assert!(text.contains("full strength") && !text.contains('\u{1b}'), "{text}");
    });
}

/// What a filter around us takes away (calls of x86_64), which check sees it, and what `cavra-run` says.
#[cfg(target_arch = "x86_64")]
const TAKEN: &[(&[&str], &str, &str, &str)] = &[
    (&["listener=1"], "seccomp.listener", "EPERM", "seccomp.listener"),
    (&["317=1"], "seccomp.listener", "EPERM", "seccomp.listener"),
    (&["444=38"], "landlock.abi", "ENOSYS", "landlock.abi"),
    (&["444=95"], "landlock.abi", "off since boot", "lsm="),
    (&["446=1"], "landlock.domain", "EPERM", "landlock.domain"),
    (&["438=1"], "callers", "pidfd_getfd EPERM", "pidfd_getfd"),
    (&["434=38"], "callers", "pidfd_open ENOSYS", "pidfd_open"),
    (&["310=1"], "callers", "process_vm_readv EPERM", "process_vm_readv"),
    (&["101=1"], "callers", "PTRACE_SEIZE EPERM", "PTRACE_SEIZE"),
    (&["437=38"], "openat2", "ENOSYS", "openat2"),
];

#[cfg(target_arch = "x86_64")]
#[test]
fn what_is_taken_away_is_named_and_starts_nothing() {
    each(|world| {
        let without = world.program("without");
        for (calls, id, shows, says) in TAKEN {
            let below = |words: &[&str]| {
                let mut command = world.command(&without);
                command.args(*calls).arg("--").args(words);
                command.output().expect("without")
            };
            let output = below(&["cavractl", "doctor", "--json"]);
            assert_eq!(output.status.code(), Some(1), "{calls:?}: {}", said(&output));
            let check = checks(&output)
                .into_iter()
                .find(|check| of(check, "id") == *id)
                .expect("the check");
            assert_eq!(of(&check, "state"), "missing", "{calls:?}: {check:#}");
            assert!(
                of(&check, "found").contains(shows) && !of(&check, "remedy").is_empty(),
                "{calls:?}: {check:#}"
            );
            let text = said(&below(&["cavractl", "doctor"]));
            assert!(text.contains("No session can be held here"), "{text}");

            let output = below(&["cavra-run", "--", "touch", "ran"]);
            assert_eq!(output.status.code(), Some(125), "{calls:?}: {}", said(&output));
            assert!(said(&output).contains(says), "{calls:?}: {}", said(&output));
            assert!(!world.path("ran").exists(), "{calls:?}: the command ran");
        }
        // The twin: below a filter that takes nothing of ours away, it runs.
        let mut command = world.command(&without);
        let output = command
            .args(["169=1", "--", "cavra-run", "--", "touch", "ran"])
            .output()
            .expect("without");
        assert!(
            output.status.success() && world.path("ran").exists(),
            "{}",
            said(&output)
        );
    });
}

#[test]
fn without_a_place_for_state_nothing_starts() {
    each(|world| {
        let file = world.write("file", "");
        for (variable, place) in [("HOME", file.to_str().expect("utf-8")), ("HOME", "relative")] {
            let below = |words: &[&str]| {
                let mut command = world.command(world.folder("bin").join(words[0]));
                command.args(&words[1..]).env(variable, place).output().expect("run")
            };
            let output = below(&["cavractl", "doctor", "--json"]);
            assert_eq!(output.status.code(), Some(1), "{place}: {}", said(&output));
            let check = checks(&output)
                .into_iter()
                .find(|check| of(check, "id") == "state")
                .expect("the check");
            assert!(
                of(&check, "state") == "missing" && of(&check, "remedy").contains("XDG_STATE_HOME"),
                "{place}: {check:#}"
            );
            let output = below(&["cavra-run", "--", "touch", "ran"]);
            assert_eq!(output.status.code(), Some(125), "{place}: {}", said(&output));
            assert!(
                said(&output).contains("XDG_STATE_HOME") && !world.path("ran").exists(),
                "{place}: {}",
                said(&output)
            );
        }
    });
}

#[test]
fn inside_a_session_both_say_so() {
    each(|world| {
        let outcome = world.run(&[], &["cavractl", "doctor", "--json"]);
        assert_eq!(outcome.code(), Some(1), "{}", outcome.stderr());
        let found: Vec<Value> = serde_json::from_str(&outcome.stdout()).expect("json");
        let listener = found
            .iter()
            .find(|check| of(check, "id") == "seccomp.listener")
            .expect("the check");
        assert_eq!(of(listener, "state"), "missing", "{listener:#}");
        assert!(
            of(listener, "found").contains("already inside a cavra-run session")
                && of(listener, "remedy").contains("outside"),
            "{listener:#}"
        );
        let nested = world.run(&[], &["cavra-run", "--", "touch", "ran"]);
        assert_eq!(nested.code(), Some(125));
        assert!(
            nested.stderr().contains("already inside")
                && nested.stderr().contains("outside")
                && nested.stderr().lines().count() == 2,
            "{}",
            nested.stderr()
        );
        assert!(!world.path("ran").exists());
    });
}
