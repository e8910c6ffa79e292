//! The suite of benches/ itself: what it says of wrong names, of missing tools and of what it measured. Its figures are nobody's test.

use std::path::Path;
use std::process::{Command, Output};

use cavra_tests::*;

pub fn cases() -> Vec<Case> {
    cases![
        unknown_benchmarks_end_it_and_the_known_are_listed,
        a_run_names_the_machine_judges_budgets_and_writes_json,
        missing_tools_are_named_and_skipped,
        the_models_ends_are_right,
    ]
}

/// benches/run with the words, measuring the build under test.
fn run(user: User, path: Option<&Path>, words: &[&str]) -> Result<Output, Unmet> {
    places::tool("python3")?;
    let mut command = Command::new(places::repository().join("benches/run"));
    command.arg("--cavra-run").arg(places::cavra_run(user)?).args(words);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    Ok(command.output().expect("benches/run starts"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn unknown_benchmarks_end_it_and_the_known_are_listed(user: User) -> Verdict {
    let out = run(user, None, &["absolute", "absolut"])?;
    let told = text(&out.stderr);
    assert!(!out.status.success() && out.stdout.is_empty(), "{told}");
    assert!(told.contains("no such benchmark: absolut\n"), "{told}");
    for known in [
        "absolute",
        "absolute-64t",
        "tcp",
        "memory",
        "git-status",
        "cargo-build",
        "agent",
    ] {
        assert!(told.split_whitespace().any(|word| word == known), "{known}: {told}");
    }
    Ok(())
}

fn a_run_names_the_machine_judges_budgets_and_writes_json(user: User) -> Verdict {
    let stage = Stage::new(user)?;
    let json = stage.at("figures.json");
    let words = [
        "absolute",
        "absolute-8t",
        "stat",
        "--rounds",
        "2",
        "--json",
        json.to_str().unwrap(),
    ];
    let out = run(user, None, &words)?;
    let (table, told) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{told}");
    let kernel = text(&Command::new("uname").arg("-r").output().expect("uname").stdout);
    assert!(
        table.contains(&format!("Linux {}", kernel.trim())) && table.contains("CPUs"),
        "{table}"
    );
    assert!(
        table.contains("| open + close, absolute |") && table.contains("≤ 1.25 x"),
        "{table}"
    );
    let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).expect("the file")).expect("JSON");
    let rows = figures["results"].as_array().expect("rows");
    assert_eq!(rows.len(), 3, "{figures}");
    for row in rows {
        let quartiles: Vec<_> = row["value"]
            .as_array()
            .expect("quartiles")
            .iter()
            .filter_map(serde_json::Value::as_f64)
            .collect();
        assert!(
            quartiles.len() == 3 && quartiles.is_sorted() && quartiles[0] > 0.0,
            "{row}"
        );
        // The verdict follows from the figure.
        let met = quartiles[1] <= row["budget"].as_f64().expect("a budget");
        assert_eq!(
            row["verdict"]
                .as_str()
                .is_some_and(|verdict| verdict.starts_with("met")),
            met,
            "{row}"
        );
    }
    Ok(())
}

/// Only what the suite itself cannot do without is in PATH.
fn missing_tools_are_named_and_skipped(user: User) -> Verdict {
    let stage = Stage::new(user)?;
    for name in ["python3", "cc", "as", "ld", "git", "env"] {
        std::os::unix::fs::symlink(places::tool(name)?, stage.at("bin").join(name)).expect("a link");
    }
    let words = [
        "ripgrep",
        "npm-ci",
        "pytest",
        "--rounds",
        "1",
        "--files",
        "50",
        "--side",
        "other=no-such-tool -x",
    ];
    let out = run(user, Some(&stage.at("bin")), &words)?;
    let told = text(&out.stderr);
    assert!(out.status.success(), "{told}");
    for missing in [
        "side other: no-such-tool",
        "ripgrep: rg",
        "npm-ci: npm",
        "pytest: pytest",
    ] {
        assert!(told.contains(&format!("SKIPPED {missing} is not installed")), "{told}");
    }
    Ok(())
}

/// One caller meets latency alone; many meet the receiver, the processors or the lock, whichever is slowest.
fn the_models_ends_are_right(_: User) -> Verdict {
    let python = places::tool("python3")?;
    let script = "
from suite.model import throughput_time as t
near = lambda a, b: abs(a - b) < 0.02 * b
assert near(t(1, 3.0, 7.0, 64, 4.0), 10.0), t(1, 3.0, 7.0, 64, 4.0)
assert near(t(1, 3.0, 7.0, 64, 4.0, receivers=4), 10.0)
assert near(t(200, 3.0, 7.0, 64, 4.0), 3.0)
assert near(t(200, 3.0, 7.0, 1, 4.0), 4.0)
assert near(t(400, 3.0, 7.0, 64, 4.0, receivers=4), 0.75)
assert near(t(400, 3.0, 7.0, 64, 4.0, receivers=8, sequential=1.0), 1.0)
assert t(1, 3.0, 7.0, 64, 4.0) > t(2, 3.0, 7.0, 64, 4.0) > t(3, 3.0, 7.0, 64, 4.0)
";
    let mut command = Command::new(python);
    command
        .args(["-B", "-c", script])
        .current_dir(places::repository().join("benches"));
    let out = command.output().expect("python3");
    assert!(out.status.success(), "{}", text(&out.stderr));
    Ok(())
}
