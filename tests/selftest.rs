//! `cavractl selftest`: nothing fails on a healthy session, and each guard that is off is named with what follows from it.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use cavra_tests::{User, World, places, users};
use serde_json::Value;

/// What a person waits at most; a busy machine is given more before a test fails.
const SECONDS: u64 = 10;

fn each(test: impl Fn(&World)) {
    for user in users() {
        test(&World::new(user));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn selftest(world: &World, cavractl: &Path, words: &[&str], guards_off: &str) -> Output {
    let mut command = world.command(cavractl);
    command.arg("selftest").args(words).env("TMPDIR", world.folder("tmp"));
    if !guards_off.is_empty() {
        command.env("CAVRA_GUARDS_OFF", guards_off);
    }
    command.output().expect("cavractl")
}

fn classes(output: &Output) -> Vec<Value> {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

fn grades(output: &Output, grade: &str) -> Vec<u64> {
    classes(output)
        .iter()
        .filter(|class| class["grade"] == grade)
        .filter_map(|class| class["class"].as_u64())
        .collect()
}

#[test]
fn a_healthy_session_holds_everything_under_each_profile_and_pack() {
    each(|world| {
        let cavractl = world.folder("bin").join("cavractl");
        for words in [
            &[][..],
            &["--profile", "claude"],
            &["--policy", "cavra-hipaa"],
            &["--policy", "cavra-workstation", "--policy", "cavra-pci-dss"],
        ] {
            let began = Instant::now();
            // A switch of the test build means nothing to the product.
            let output = selftest(
                world,
                &cavractl,
                &[words, &["--json"]].concat(),
                "policy,boundary,exec,floor,filter",
            );
            assert!(output.status.success(), "{words:?}: {}", said(&output));
            assert!(grades(&output, "failed").is_empty(), "{words:?}: {}", said(&output));
            let held = grades(&output, "held");
            // What every machine shows.
            for class in [
                9, 10, 12, 13, 14, 15, 17, 19, 24, 30, 38, 45, 48, 57, 59, 60, 64, 67, 68, 71, 72, 73,
            ] {
                assert!(held.contains(&class), "{words:?}, class {class}: {}", said(&output));
            }
            let took = began.elapsed();
            assert!(took < Duration::from_secs(2 * SECONDS), "{words:?} took {took:?}");
        }
        let output = selftest(world, &cavractl, &[], "");
        let text = said(&output);
        assert!(text.contains("Every guard held") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(
            text.lines().filter(|line| line.starts_with("held")).count(),
            held_lines(&text),
            "{text}"
        );
        let left = std::fs::read_dir(world.folder("tmp")).expect("tmp").count();
        assert_eq!(left, 0, "scratch folders are left");
    });
}

/// One line a class: no number twice.
fn held_lines(text: &str) -> usize {
    let numbers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("held")?.split_whitespace().next())
        .collect();
    let mut once = numbers.clone();
    once.dedup();
    assert_eq!(numbers, once, "{text}");
    numbers.len()
}

/// A guard of the test build, a class that it alone holds, and what is said about it.
const GUARDS: &[(&str, u64, &str)] = &[
    ("policy", 9, "a link is enough to read what is blocked"),
    ("policy", 38, "blocked commands run"),
    ("policy", 45, "blocked hosts are reached"),
    ("boundary", 59, "the tree knows what is recorded"),
    ("exec", 34, "a blocked command runs under an allowed one's decision"),
    ("border", 12, "moving a folder takes its files out of the rules"),
    ("filter", 22, "files are opened and hosts reached beside the filter"),
    ("filter", 40, "a tracer changes calls after they were decided"),
];

#[test]
fn a_guard_that_is_off_is_named_with_its_consequence() {
    let faulty = places::faulty(User::Own).expect("the test build of the supervisor");
    each(|world| {
        // cavractl starts the cavra-run beside it.
        let bin = world.folder("faulty");
        std::fs::create_dir(&bin).expect("a folder");
        std::fs::copy(&faulty, bin.join("cavra-run")).expect("a copy of the test build");
        std::fs::copy(world.folder("bin").join("cavractl"), bin.join("cavractl")).expect("a copy of cavractl");
        let cavractl = bin.join("cavractl");
        let mut guards: Vec<&str> = GUARDS.iter().map(|(guard, ..)| *guard).collect();
        guards.dedup();
        for guard in guards {
            let output = selftest(world, &cavractl, &["--json"], guard);
            assert_eq!(output.status.code(), Some(1), "{guard}: {}", said(&output));
            for (_, class, consequence) in GUARDS.iter().filter(|(name, ..)| *name == guard) {
                let classes = classes(&output);
                let found = classes
                    .iter()
                    .find(|found| found["class"] == *class)
                    .expect("the class");
                // What does not work here outside a session either can not be seen to work inside.
                if found["grade"] == "not_shown" {
                    continue;
                }
                assert_eq!(found["grade"], "failed", "{guard}, class {class}: {found:#}");
                assert!(found["consequences"].to_string().contains(consequence), "{found:#}");
            }
        }
        let output = selftest(world, &cavractl, &[], "policy");
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("FAILED") && text.contains("a link is enough") && text.contains("guards do not hold"),
            "{text}"
        );
        // With all of them on it is the same build that holds.
        let output = selftest(world, &cavractl, &[], "");
        assert!(output.status.success(), "{}", said(&output));
    });
}

#[test]
fn packs_that_let_nothing_be_tried_are_named() {
    each(|world| {
        let cavractl = world.folder("bin").join("cavractl");
        let output = selftest(world, &cavractl, &["--policy", "no-such-pack"], "");
        assert_eq!(output.status.code(), Some(125), "{}", said(&output));
        assert!(said(&output).contains("no-such-pack"), "{}", said(&output));
        let pack = world.write("shut.yaml", "metadata: {id: shut}\ncommands: {default: block}\n");
        let output = selftest(world, &cavractl, &["--policy", &pack.display().to_string()], "");
        assert_eq!(output.status.code(), Some(125), "{}", said(&output));
        assert!(said(&output).contains("commands.default"), "{}", said(&output));
        let inside = world.run(&["--approvals", "deny"], &["cavractl", "selftest"]);
        assert_eq!(inside.code(), Some(125), "{}", inside.stdout());
    });
}
