//! A supervisor, or a reaper, that is killed at any instant: the tree dies with it, and no decided call succeeds afterwards.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use cavra_tests::*;
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::{PACK, Random, living, program, scale, stage};

/// How long the tree may live on.
const SOON: Duration = Duration::from_secs(5);

pub fn cases() -> Vec<Case> {
    cases![
        the_tree_dies_with_its_supervisor_at_any_instant,
        the_tree_dies_with_its_reaper,
        without_reaper_and_supervisor_no_call_succeeds,
    ]
}

/// What tests/programs/mixed.c tells in its shared file.
pub struct Beats(File);

impl Beats {
    pub fn of(stage: &Stage) -> Self {
        Self(until("the beats", || File::open(stage.at("ws/beats")).ok()))
    }

    fn word(&self, index: u64) -> u64 {
        let mut word = [0; 8];
        self.0
            .read_at(&mut word, index * 8)
            .map_or(0, |_| u64::from_ne_bytes(word))
    }

    /// When the last decided call that succeeded had begun; CLOCK_MONOTONIC, ns.
    pub fn last_success(&self) -> u64 {
        self.word(0)
    }

    pub fn turns(&self) -> u64 {
        self.word(1)
    }
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    u64::try_from(now.tv_sec()).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap()
}

fn gone(stage: &Stage) {
    within(SOON, "the end of the tree", || living(stage).is_empty().then_some(()));
}

fn the_tree_dies_with_its_supervisor_at_any_instant(user: User) -> Verdict {
    let mut random = Random::new("kills");
    let rounds = scale(10, 100);
    let mut begun = 0;
    for round in 0..rounds {
        let stage = stage(user)?;
        let mixed = program(&stage, "mixed");
        let words = [mixed.to_str().unwrap(), "60", "public", "secret", "beats"];
        let mut live = stage.session().pack(PACK).start(words)?;
        // The instant, from before the first record to the middle of the work.
        std::thread::sleep(Duration::from_micros(random.below(600_000)));
        live.running.signal(Signal::SIGKILL);
        until("the supervisor's end", || live.running.ended());
        let dead = now();
        gone(&stage);
        if let Ok(file) = File::open(stage.at("ws/beats")) {
            let last = Beats(file).last_success();
            assert!(
                last < dead,
                "round {round}: a call succeeded {} ns after the end",
                last - dead
            );
            begun += u32::from(last > 0);
        }
        assert!(!live.running.stdout().contains("LEAK"), "round {round}");
        let outcome = live.finish();
        assert!(
            outcome.records.is_empty() || outcome.verify == Some(3),
            "round {round}: {:?}, {} records",
            outcome.verify,
            outcome.records.len()
        );
    }
    assert!(begun > rounds / 4, "only {begun} of {rounds} kills met a tree at work");
    Ok(())
}

/// The session's second process: the supervisor's only child.
fn reaper(supervisor: i32) -> i32 {
    until("the reaper", || {
        let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    })
}

fn the_tree_dies_with_its_reaper(user: User) -> Verdict {
    without_reaper(user, false)
}

fn without_reaper_and_supervisor_no_call_succeeds(user: User) -> Verdict {
    without_reaper(user, true)
}

fn without_reaper(user: User, supervisor_too: bool) -> Verdict {
    let stage = stage(user)?;
    let mixed = program(&stage, "mixed");
    // A second process, in a session of its own: nobody's child once its parent is gone.
    let script = format!(
        "setsid {0} 60 public secret beats & exec {0} 60 public secret other",
        mixed.display()
    );
    let mut live = stage.session().pack(PACK).start(["sh", "-c", &script])?;
    let beats = Beats::of(&stage);
    until("some turns", || (beats.turns() > 2).then_some(()));
    let supervisor = live.running.pid();
    let reaper = reaper(supervisor);
    if supervisor_too {
        // As close together as two calls are: neither can act on the other's end.
        live.running.signal(Signal::SIGSTOP);
    }
    kill(Pid::from_raw(reaper), Signal::SIGKILL).unwrap();
    if supervisor_too {
        live.running.signal(Signal::SIGKILL);
    }
    until("the session's end", || live.running.ended());
    let dead = now();
    let alone = cavra_tests::wait::attempt(SOON, || living(&stage).is_empty().then_some(()));
    let last = beats.last_success();
    let outcome = live.finish();
    assert!(last < dead, "a call succeeded after the end");
    assert!(!outcome.stdout().contains("LEAK"));
    if !supervisor_too {
        assert_eq!(outcome.code(), Some(125), "{}", outcome.stderr());
    }
    if alone.is_none() {
        for pid in living(&stage) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        assert!(supervisor_too, "the tree outlived its reaper");
    }
    Ok(())
}
