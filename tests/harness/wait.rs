//! Waiting for conditions, never for time: each wait has a deadline and names what it waited for.

use std::time::{Duration, Instant};

/// How long a condition may take before a test gives up on it, unless it says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(5);

/// Looks at `condition` until it gives a value; panics, naming `what`, after [`DEADLINE`].
#[track_caller]
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, condition)
}

/// Looks at `condition` until it gives a value; panics, naming `what`, when `deadline` has passed.
#[track_caller]
pub fn within<T>(deadline: Duration, what: &str, condition: impl FnMut() -> Option<T>) -> T {
    match attempt(deadline, condition) {
        Some(value) => value,
        None => panic!("waited {deadline:?} in vain for {what}"),
    }
}

/// Looks at `condition` until it gives a value or `deadline` has passed.
pub fn attempt<T>(deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(EVERY);
    }
}
