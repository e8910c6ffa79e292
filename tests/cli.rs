//! The command lines: what is typed wrongly is named with what would be right, and nothing is started.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use cavra_tests::{World, users, wait};

fn each(test: impl Fn(&World)) {
    for user in users() {
        let world = World::new(user);
        world.write("README.md", "read me\n");
        world.write(".env", "SECRET=1\n");
        test(&world);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Options and command as typed in the workspace, the exit status, and what the message has in it.
type Row = (&'static [&'static str], i32, &'static [&'static str]);

const WRONG: &[Row] = &[
    (&["--polisy", "x", "--", "touch", "ran"], 125, &["--polisy", "--policy"]),
    (
        &["--profile", "clawd", "--", "touch", "ran"],
        125,
        &["clawd", "claude", "default"],
    ),
    (
        &["--policy", "cavra-workstaton", "--", "touch", "ran"],
        125,
        &["cavra-workstaton"],
    ),
    (
        &["--policy", "./missing.yaml", "--", "touch", "ran"],
        125,
        &["missing.yaml"],
    ),
    (
        &["--policy", "decision.yaml", "--", "touch", "ran"],
        125,
        &["decision.yaml", "3", "permit"],
    ),
    (
        &["--policy", "key.yaml", "--", "touch", "ran"],
        125,
        &["key.yaml", "2", "blok_read", "block_read"],
    ),
    (&["--policy", "none.yaml", "--", "touch", "ran"], 125, &["none.yaml"]),
    (
        &["--mode", "watch", "--", "touch", "ran"],
        125,
        &["watch", "enforce", "audit"],
    ),
    (
        &["--approvals", "maybe", "--", "touch", "ran"],
        125,
        &["maybe", "ask", "deny"],
    ),
    (
        &["--approval-timeout", "soon", "--", "touch", "ran"],
        125,
        &["soon", "30s"],
    ),
    (
        &["--approval-timeout", "99999999999999999999h", "--", "touch", "ran"],
        125,
        &["99999999999999999999h"],
    ),
    (
        &["--evidence-level", "some", "--", "touch", "ran"],
        125,
        &["some", "first", "all"],
    ),
    (
        &["--leftovers", "keep", "--", "touch", "ran"],
        125,
        &["keep", "wait", "kill"],
    ),
    (
        &["--workspace", "/nowhere/at/all", "--", "touch", "ran"],
        125,
        &["/nowhere/at/all", "--workspace"],
    ),
    (
        &["--workspace", "README.md", "--", "touch", "ran"],
        125,
        &["README.md", "--workspace"],
    ),
    (
        &["--evidence", "full", "--", "touch", "ran"],
        125,
        &["full", "new or empty"],
    ),
    (&[], 125, &["COMMAND", "--help"]),
    (&["--"], 125, &["COMMAND"]),
    (&["no-such-command"], 127, &["no-such-command", "not found"]),
    (&["./no-such-file"], 127, &["./no-such-file", "not found"]),
    (&["./README.md"], 126, &["./README.md"]),
    (&["/"], 126, &["/"]),
    (&["./bad-format"], 126, &["./bad-format"]),
    (&["\u{1b}[2Jx"], 127, &["\\x1b[2Jx"]),
];

#[test]
fn what_is_typed_wrongly_is_named_and_starts_nothing() {
    each(|world| {
        world.write("decision.yaml", "metadata: {id: d}\ncommands:\n  default: permit\n");
        world.write("key.yaml", "metadata: {id: k}\nfilesystem: {blok_read: [x]}\n");
        world.write("none.yaml", "just a text\n");
        world.write("full/x", "");
        let bad = world.write("bad-format", "no program");
        std::fs::set_permissions(bad, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
        for (words, code, says) in WRONG {
            let mut command = world.command(world.folder("bin").join("cavra-run"));
            let output = command.args(*words).output().expect("cavra-run");
            let text = said(&output);
            assert_eq!(output.status.code(), Some(*code), "{words:?}: {text}");
            for piece in *says {
                assert!(text.contains(piece), "{words:?}: no {piece:?} in {text}");
            }
            assert!(
                !text.contains('\u{1b}') && !text.contains("panicked"),
                "{words:?}: {text}"
            );
            assert!(!world.path("ran").exists(), "{words:?}: the command ran");
        }
        let mut command = world.command(world.folder("bin").join("cavra-run"));
        assert!(
            command
                .args(["--", "touch", "ran"])
                .status()
                .expect("cavra-run")
                .success()
                && world.path("ran").exists()
        );
    });
}

#[test]
fn help_shows_how_it_is_used() {
    each(|world| {
        for (program, pieces) in [
            (
                "cavra-run",
                &[
                    "Examples:",
                    "cavra-run claude",
                    "--policy",
                    "--evidence-level",
                    "Exit status",
                    "125",
                    "policy.d",
                ][..],
            ),
            (
                "cavractl",
                &["Examples:", "approvals approve", "evidence verify", "doctor"],
            ),
        ] {
            let at = world.folder("bin").join(program);
            let help = world.command(&at).arg("--help").output().expect("help");
            assert!(help.status.success());
            for piece in pieces {
                assert!(
                    said(&help).contains(piece),
                    "{program}: no {piece:?} in {}",
                    said(&help)
                );
            }
            assert!(said(&world.command(&at).arg("--version").output().expect("version")).starts_with(program));
        }
        let cavractl = |words: &[&str]| {
            said(
                &world
                    .command(world.folder("bin").join("cavractl"))
                    .args(words)
                    .output()
                    .expect("cavractl"),
            )
        };
        for shell in ["bash", "zsh", "fish"] {
            assert!(cavractl(&["completions", shell]).contains("approvals"), "{shell}");
            assert!(
                cavractl(&["completions", shell, "--for", "cavra-run"]).contains("evidence-level"),
                "{shell}"
            );
        }
        for program in ["cavra-run", "cavractl"] {
            let page = cavractl(&["man", program]);
            assert!(page.contains(".TH") && page.contains(program), "{page}");
        }
    });
}

/// A session of which a person sees the end: `script` is its terminal.
fn on_a_terminal(world: &World, options: &[&str], line: &str) -> String {
    let session = world.session(options, &["sh", "-c", line]);
    drop(std::fs::remove_dir_all(world.folder("home").join("evidence")));
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().expect("utf-8").replace('\'', "'\\''"));
    let words: Vec<String> = std::iter::once(session.get_program())
        .chain(session.get_args())
        .map(quoted)
        .collect();
    let script = world
        .command("script")
        .args(["-qec", &words.join(" "), "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("script");
    said(&wait(script, Duration::from_secs(60)))
}

#[test]
fn the_summary_is_for_terminals_only() {
    each(|world| {
        let line = "cat .env 2>/dev/null; cat .env 2>/dev/null; cat README.md; cat \"$(printf 'e\\033[2J')/.env\" 2>/dev/null; true";
        let shown = on_a_terminal(world, &[], line);
        let dir = world.folder("home").join("evidence");
        for piece in [
            "cavra: ",
            " allow",
            "2 block",
            "reads allowed",
            "refused 2x ",
            "/ws/.env  (filesystem.read.block)",
            "evidence: ",
            dir.to_str().expect("utf-8"),
        ] {
            assert!(shown.contains(piece), "no {piece:?} in {shown}");
        }
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        let lines = shown.lines().skip_while(|line| !line.starts_with("cavra: ")).count();
        assert!((3..8).contains(&lines), "{shown}");
        let quiet = on_a_terminal(world, &["--quiet"], line);
        assert!(quiet.contains("read me") && !quiet.contains("cavra:"), "{quiet}");
        let piped = world.run(&[], &["sh", "-c", line]);
        assert!(
            piped.stderr().is_empty() && piped.stdout() == "read me\n",
            "{}",
            piped.stderr()
        );
        let many = on_a_terminal(
            world,
            &[],
            "i=0; while [ $i -lt 40 ]; do mkdir -p d$i; cp README.md d$i/x; cat d$i/id_rsa < /dev/null; echo > d$i/.envrc; i=$((i+1)); done 2>/dev/null",
        );
        assert!(many.contains("and 20 more: cavractl evidence show --refused"), "{many}");
    });
}

/// A reader that goes away ends a listing quietly, as it does other programs.
#[test]
fn a_listing_ends_with_its_reader() {
    each(|world| {
        world.run(
            &["--evidence-level", "all"],
            &["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do cat README.md README.md; done"],
        );
        let dir = world.folder("home").join("evidence");
        let mut command: Command = world.command(world.folder("bin").join("cavractl"));
        command
            .args(["evidence", "show"])
            .arg(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("cavractl");
        let mut some = [0; 10];
        child
            .stdout
            .take()
            .expect("stdout")
            .read_exact(&mut some)
            .expect("read");
        let output = wait(child, Duration::from_secs(60));
        assert!(output.stderr.is_empty(), "{}", said(&output));
    });
}
