//! The commands that run everything: their exit status tells "all held" (0), "something did not" (1) and "a part could not run here" (3) apart,
//! and the part is named.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use cavra_tests::places;

/// In the place of cargo: says and ends as the test asks, and knows no fuzzer.
const CARGO: &str =
    "#!/bin/sh\ncase \"$*\" in '+nightly fuzz'*) exit 1 ;; *--test*) echo \"$SAID\"; exit \"$ENDS\" ;; esac\n";
/// The programs that the scripts may find; no apt-get, no QEMU.
const TOOLS: &[&str] = &[
    "awk", "bash", "cat", "date", "dirname", "env", "grep", "head", "mkdir", "mktemp", "rm", "sed", "sh", "sort", "tee",
];
const OK: &str = "test one ... ok (0.1 s)";
const LEFT_OUT: &str = "test two::root ... SKIPPED: go is not installed";

/// Script, words, what the tests say, how they end, the script's status, what it names.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static str,
    i32,
    i32,
    &'static str,
);

const ROWS: &[Row] = &[
    ("scripts/attacks.sh", &[], OK, 0, 0, ""),
    (
        "scripts/attacks.sh",
        &["--full"],
        LEFT_OUT,
        0,
        3,
        "two::root: go is not installed",
    ),
    ("scripts/attacks.sh", &["two"], LEFT_OUT, 0, 0, ""),
    ("scripts/attacks.sh", &[], LEFT_OUT, 1, 1, ""),
    ("scripts/compat.sh", &[], OK, 0, 0, ""),
    (
        "scripts/compat.sh",
        &[],
        LEFT_OUT,
        0,
        3,
        "two::root: go is not installed",
    ),
    ("scripts/compat.sh", &["two"], LEFT_OUT, 0, 0, ""),
    ("scripts/compat.sh", &[], LEFT_OUT, 1, 1, ""),
    ("scripts/faults.sh", &[], OK, 0, 0, ""),
    (
        "scripts/faults.sh",
        &[],
        LEFT_OUT,
        0,
        3,
        "two::root: go is not installed",
    ),
    ("scripts/faults.sh", &["two"], LEFT_OUT, 0, 0, ""),
    ("scripts/faults.sh", &[], OK, 1, 1, ""),
    ("scripts/fuzz.sh", &["1"], OK, 0, 3, "cargo-fuzz"),
    ("scripts/fuzz.sh", &["1"], OK, 1, 1, ""),
    ("vm-tests/run", &["--all"], "", 0, 3, "apt-get"),
    ("vm-tests/run", &[], "", 0, 0, ""),
];

/// The scripts alone, with programs of the test's own around them.
fn scene() -> tempfile::TempDir {
    let scene = tempfile::tempdir().unwrap();
    for folder in ["scripts", "vm-tests", "bin"] {
        fs::create_dir(scene.path().join(folder)).unwrap();
    }
    let scripts = ["attacks", "compat", "faults", "fuzz", "partial", "totals"].map(|name| format!("scripts/{name}.sh"));
    for file in scripts
        .iter()
        .map(String::as_str)
        .chain(["vm-tests/run", "vm-tests/kernels"])
    {
        fs::copy(places::repository().join(file), scene.path().join(file)).unwrap();
    }
    for (file, text) in [("bin/cargo", CARGO), ("scripts/setup.sh", "#!/bin/sh\n")] {
        let file = scene.path().join(file);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for tool in TOOLS {
        symlink(
            places::tool(tool).expect("a usual tool"),
            scene.path().join("bin").join(tool),
        )
        .unwrap();
    }
    scene
}

fn run(scene: &Path, (script, words, said, ends, ..): &Row) -> Output {
    Command::new(scene.join(script))
        .args(*words)
        .env_clear()
        .env("PATH", scene.join("bin"))
        .env("TMPDIR", scene)
        .envs([("SAID", *said), ("ENDS", &ends.to_string())])
        .output()
        .expect(script)
}

#[test]
fn the_status_tells_all_wrong_and_partial_apart() {
    let scene = scene();
    for row in ROWS {
        let output = run(scene.path(), row);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(row.4), "{row:?}: {said}");
        let (_, named) = said.split_once("SKIPPED").unwrap_or_default();
        assert!(row.4 != 3 || named.contains(row.5), "{row:?}: {said}");
    }
}

#[test]
fn what_failed_is_named_with_what_it_said() {
    for (printed, named) in [
        ("test a ... ok\n\ntest result: ok. 1 passed; 0 failed\n", ""),
        (
            "test a::root ... FAILED (0.1 s)\ntold: 1\n\ntest b ... ok (0.1 s)\nother\n",
            "test a::root ... FAILED (0.1 s)\n    told: 1\n    \n",
        ),
        (
            "---- a::b stdout ----\npanicked: 1\n   0: frame\n             at x.rs\n\nfailures:\n    a::b\n",
            "---- a::b stdout ----\n    panicked: 1\n    \n",
        ),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), printed).unwrap();
        let script = places::repository().join("scripts/failures.sh");
        let output = Command::new(script).stdin(file.reopen().unwrap()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), named);
    }
}
