//! A supervisor that is stopped: nothing happens without it, and everything goes on with it.

use std::time::Duration;

use cavra_tests::*;
use nix::sys::signal::Signal;

use crate::killed::Beats;
use crate::{PACK, living, program, stage};

pub fn cases() -> Vec<Case> {
    cases![nothing_gets_through_while_the_supervisor_is_stopped]
}

fn nothing_gets_through_while_the_supervisor_is_stopped(user: User) -> Verdict {
    let stage = stage(user)?;
    let mixed = program(&stage, "mixed");
    let words = [mixed.to_str().unwrap(), "6", "public", "secret", "beats"];
    let mut live = stage.session().pack(PACK).start(words)?;
    live.running.wait_for_stdout("started");
    let beats = Beats::of(&stage);
    until("some turns", || (beats.turns() > 2).then_some(()));
    live.running.signal(Signal::SIGSTOP);
    // Stopped once its state says so; a call that was answered just before may still be going on.
    until("the stop", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", live.running.pid())).ok()?;
        stat.contains(") T ").then_some(())
    });
    let settled = within(Duration::from_secs(20), "the tree's last call", || {
        let before = beats.turns();
        std::thread::sleep(Duration::from_millis(300));
        (beats.turns() == before).then_some(before)
    });
    // The span of the claim itself.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(beats.turns(), settled, "the tree went on without its supervisor");
    live.running.signal(Signal::SIGCONT);
    until("the tree to go on", || (beats.turns() > settled).then_some(()));
    let outcome = live.finish();
    outcome.exits(0).verifies();
    assert!(!outcome.stdout().contains("LEAK"), "{}", outcome.stdout());
    assert_eq!(living(&stage), Vec::<i32>::new());
    Ok(())
}
