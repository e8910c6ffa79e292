//! Random calls thrown at a live session (tests/programs/fuzz_calls.c): it survives, answers everything, grows nothing and lets nothing out.
//! At least `CAVRA_CALLS` of them, and for `CAVRA_FUZZ_SECONDS`, which the test command sets to a minute.

use std::time::Duration;

use cavra_tests::*;

use crate::soak::Held;
use crate::{Random, living, program, scale, stage, start_with_descriptors};

/// Only the workspace may be written, the secret neither read nor moved.
const PACK: &str = "metadata: {id: calls}\n\
    filesystem: {block_read: ['${workspace}/secret'], block_write: ['${workspace}/secret', '${workspace}/locked/**', '${workspace}/locked'], \
    allow_write: ['${workspace}/**'], default_read: allow, default_write: block}\n\
    commands: {default: allow}\nnetwork: {default: block}\n";

/// For an ordinary user only: random calls of root that came through would change the machine itself.
pub fn cases() -> Vec<Case> {
    cases![random_calls_are_all_answered_and_win_nothing]
}

fn random_calls_are_all_answered_and_win_nothing(user: User) -> Verdict {
    let mut random = Random::new("random calls");
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let calls: u32 = number("CAVRA_CALLS").unwrap_or_else(|| scale(20_000, 2_000_000));
    let seconds = number("CAVRA_FUZZ_SECONDS").unwrap_or(0);
    let stage = stage(user)?;
    stage.folder("ws/locked");
    let fuzz = program(&stage, "fuzz_calls");
    let mut session = stage
        .session()
        .pack(PACK)
        .deadline(Duration::from_secs(1_200 + u64::from(seconds)));
    session = session.approvals("deny");
    let seed = random.below(u64::MAX).to_string();
    let (least, lasts) = (calls.to_string(), seconds.to_string());
    let words = [fuzz.to_str().unwrap(), &seed, &least, &lasts, "secret"];
    let mut live = start_with_descriptors(&stage, session, 256, &words)?;
    let mut samples = Vec::new();
    while live.running.ended().is_none() {
        samples.extend(Held::of(live.running.pid()));
        // The rate of the samples.
        std::thread::sleep(Duration::from_millis(100));
    }
    let outcome = live.finish();
    outcome.exits(0).verifies();
    let told = outcome.stdout().lines().last().unwrap_or_default().to_owned();
    assert!(told.ends_with("broken 0") && told.starts_with("calls "), "{told}");
    let made = |word: &str| {
        told.split(' ')
            .skip_while(|found| *found != word)
            .nth(1)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    };
    assert!(
        made("calls") > calls / 2 && made("allowed") > calls / 50 && made("refused") > calls / 50,
        "{told}"
    );
    assert!(!outcome.stdout().contains("LEAK"), "the secret was read");
    assert_eq!(
        std::fs::read_dir(stage.at("ws/locked")).unwrap().count(),
        0,
        "something was written where nothing may be"
    );
    assert_eq!(stage.read("ws/secret").as_deref(), Some("SECRET\n"));
    assert_eq!(living(&stage), Vec::<i32>::new());
    let half = samples.len() / 2;
    let (first, last) = (Held::most(&samples[..half]), Held::most(&samples[half..]));
    println!("{told}; {first:?} then {last:?}");
    assert!(
        last.descriptors <= first.descriptors + 64
            && last.threads <= first.threads + 16
            && last.resident_kb <= first.resident_kb + first.resident_kb / 2 + 4_096,
        "{first:?} then {last:?}"
    );
    Ok(())
}
