//! Calls that follow from a seed (tests/programs/differ.c), natively and in sessions that allow everything, half of them without datagrams: each
//! result and the tree that is left must be the same.
//!
//! `CAVRA_SEED` is the first seed, `CAVRA_SEEDS` how many (`cargo test --test compat -- calls`). A seed that showed a difference is kept in
//! `seeds.txt` and runs each time.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cavra_tests::*;

use crate::{OPEN, number, scale};

const STEPS: &str = "400";
const KEPT: &str = include_str!("seeds.txt");
/// As [`OPEN`] without datagrams: the filter then leaves sendmsg and sendmmsg to the kernel.
const STREAMS: &str = "metadata: {id: streams}\nfilesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\nnetwork: {default: allow}\n";
/// Seeds of one session.
const BATCH: usize = 20;
const DEADLINE: Duration = Duration::from_secs(600);

pub fn cases() -> Vec<Case> {
    cases![random_calls_end_as_natively, a_planted_difference_is_found]
}

/// Builds the program into the stage.
fn differ(stage: &Stage) -> PathBuf {
    let out = stage.at("bin/differ");
    let status = Command::new("cc")
        .args(["-std=gnu17", "-O2", "-pthread", "-Wno-unused-result", "-o"])
        .arg(&out)
        .arg(places::repository().join("tests/programs/differ.c"))
        .status();
    assert!(status.expect("cc").success(), "differ does not compile");
    out
}

/// Each seed in a folder of its own.
fn script(seeds: &[u64]) -> String {
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    format!(
        "for s in {}; do mkdir $s && cd $s && differ $s {STEPS} > trace; cd ..; done",
        seeds.join(" ")
    )
}

/// Compares one batch; `pack` is the session's.
fn compare(user: User, seeds: &[u64], pack: &str, known: &Known, comparison: &mut Comparison) -> Verdict {
    let (outside, inside) = (Stage::new(user)?, Stage::new(user)?);
    differ(&outside);
    differ(&inside);
    let script = script(seeds);
    let mut command = outside.command("sh")?;
    command.args(["-c", &script]);
    Running::start(command, None).finish(DEADLINE).success();
    let outcome = inside.session().pack(pack).deadline(DEADLINE).sh(&script)?;
    outcome.exits(0).verifies();
    for seed in seeds {
        let tree = |stage: &Stage| {
            let look = format!("cd {seed} && differ tree");
            stage.native(["sh", "-c", &look]).success().stdout
        };
        let trace = |stage: &Stage| stage.read(format!("ws/{seed}/trace")).unwrap_or_default();
        let (native, within) = (trace(&outside), trace(&inside));
        assert_eq!(
            native.lines().count().to_string(),
            STEPS,
            "seed {seed} natively:\n{native}"
        );
        let before = comparison.unexplained.len();
        let same_steps = traces::compare(known, comparison, &native, &within);
        for line in &mut comparison.unexplained[before..] {
            *line = format!("seed {seed} step {line}");
        }
        if same_steps {
            comparison.add(
                known,
                &format!("seed {seed}: the tree"),
                &tree(&outside),
                &tree(&inside),
            );
        }
    }
    Ok(())
}

fn random_calls_end_as_natively(user: User) -> Verdict {
    let first = number("CAVRA_SEED", 1_000);
    let count = number("CAVRA_SEEDS", scale(40, 2_000));
    let kept = KEPT.lines().filter(|line| !line.starts_with('#'));
    let kept: Vec<u64> = kept
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    let middle = first + count / 2;
    let (known, mut comparison) = (traces::known(), Comparison::default());
    for (pack, seeds) in [(STREAMS, first..middle), (OPEN, middle..first + count)] {
        let seeds: Vec<u64> = kept.iter().copied().chain(seeds).collect();
        for batch in seeds.chunks(BATCH) {
            compare(user, batch, pack, &known, &mut comparison)?;
        }
    }
    comparison.ends("calls from seeds", 1_000);
    Ok(())
}

/// A pack that refuses one folder plants what the comparison has to find.
fn a_planted_difference_is_found(user: User) -> Verdict {
    let planted =
        format!("{STREAMS}rules: [{{id: planted, action: write_file, match: ['**/t/d/e/**'], decision: block}}]\n");
    let (known, mut comparison) = (traces::known(), Comparison::default());
    compare(user, &[1, 2, 3, 4, 5], &planted, &known, &mut comparison)?;
    let found = &comparison.unexplained;
    assert!(
        !found.is_empty()
            && found
                .iter()
                .all(|line| line.contains("inside EACCES") || line.contains("inside EXDEV")),
        "{found:?}"
    );
    Ok(())
}
