//! Mixed load for as long as wanted: the supervisor's memory, descriptors and threads stay flat (I8).

use std::time::{Duration, Instant};

use cavra_tests::*;

use crate::{PACK, living, program, scale, stage, start_with_descriptors};

pub fn cases() -> Vec<Case> {
    cases![memory_descriptors_and_threads_stay_flat]
}

/// What the supervisor holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub resident_kb: u64,
    pub descriptors: u64,
    pub threads: u64,
}

impl Held {
    /// Of a process that lives; none once it has ended.
    pub fn of(pid: i32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Self {
            resident_kb: field("VmRSS:")?,
            threads: field("Threads:")?,
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd"))
                .ok()?
                .count()
                .try_into()
                .ok()?,
        })
    }

    /// The most of each.
    pub fn most<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        all.into_iter().fold(Self::default(), |most, held| Self {
            resident_kb: most.resident_kb.max(held.resident_kb),
            descriptors: most.descriptors.max(held.descriptors),
            threads: most.threads.max(held.threads),
        })
    }
}

fn memory_descriptors_and_threads_stay_flat(user: User) -> Verdict {
    let seconds = std::env::var("CAVRA_SOAK").ok().and_then(|text| text.parse().ok());
    let seconds: u64 = seconds.unwrap_or_else(|| scale(15, 3_600).into());
    let stage = stage(user)?;
    let mixed = program(&stage, "mixed");
    // Several at once, and each of them threads: what is kept for tasks has something to forget.
    let one = format!("{} {seconds} public secret", mixed.display());
    let script = format!("{one} beats & {one} two & {one} three; wait");
    let deadline = Duration::from_secs(seconds * 2 + 120);
    let session = stage.session().pack(PACK).deadline(deadline);
    let live = start_with_descriptors(&stage, session, 256, &["sh", "-c", &script])?;
    let (started, mut samples) = (Instant::now(), Vec::new());
    while started.elapsed() < Duration::from_secs(seconds) {
        // The rate of the samples.
        std::thread::sleep(Duration::from_millis(250));
        samples.extend(Held::of(live.running.pid()));
    }
    // The records of an hour are too many to be held: they are verified, and not read.
    let evidence = live.evidence().to_owned();
    let finished = live.running.finish(deadline);
    assert_eq!(finished.code(), Some(0), "{finished:?}");
    assert!(!finished.stdout.contains("LEAK"), "{}", finished.stdout);
    assert_eq!(living(&stage), Vec::<i32>::new());
    // Warm-up: caches fill in the first third.
    let third = samples.len() / 3;
    let (middle, last) = (
        Held::most(&samples[third..2 * third]),
        Held::most(&samples[2 * third..]),
    );
    println!(
        "soak of {seconds} s: {middle:?} then {last:?}, {} samples",
        samples.len()
    );
    assert!(
        last.descriptors <= middle.descriptors + 32,
        "descriptors grow: {middle:?} then {last:?}"
    );
    assert!(
        last.threads <= middle.threads + 8,
        "threads grow: {middle:?} then {last:?}"
    );
    assert!(
        last.resident_kb <= middle.resident_kb + middle.resident_kb / 5 + 1024,
        "memory grows: {middle:?} then {last:?}"
    );
    let mut verify = stage.command(places::cavractl(user)?)?;
    verify.args(["evidence", "verify"]).arg(evidence);
    let verified = Running::start(verify, None).finish(deadline);
    assert_eq!(verified.code(), Some(0), "{verified:?}");
    Ok(())
}
