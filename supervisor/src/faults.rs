//! Panics, delays, needless work and missing guards where a test asks for them; compiled in by the feature `fault-injection` alone, which a
//! release build refuses.

#[cfg(all(feature = "fault-injection", not(debug_assertions)))]
compile_error!("fault-injection is for test builds: it lets an environment variable break the supervisor");

/// Panics when the supervisor's own `CAVRA_FAULT` is `POINT@N` and this is the N-th time that `POINT` is passed; with `POINT@N+` each later
/// time too. With `POINT+` each passing makes a system call for nothing, with `POINT~` it computes for nothing; with `POINT@N~MS` the N-th and
/// each later one takes so many milliseconds longer.
#[cfg(feature = "fault-injection")]
#[allow(clippy::panic, reason = "it is what this is for")]
pub(crate) fn point(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSED: AtomicU32 = AtomicU32::new(0);
    // Looked up once: a build without a fault asked for shall cost what others cost.
    static WANTED: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("CAVRA_FAULT").unwrap_or_default());
    let wanted = WANTED.as_str();
    if wanted.strip_suffix('+') == Some(name) {
        std::hint::black_box(nix::unistd::getppid());
    } else if wanted.strip_suffix('~') == Some(name) {
        for n in 0..1_000 {
            std::hint::black_box(n);
        }
    }
    let Some((point, times)) = wanted.split_once('@').filter(|(point, _)| *point == name) else {
        return;
    };
    let (times, delay_ms) = match times.split_once('~') {
        Some((times, delay)) => (times, delay.parse().ok()),
        None => (times, None),
    };
    let passed = PASSED.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    if let Some(delay_ms) = delay_ms {
        if times.parse().is_ok_and(|from: u32| passed >= from) {
            std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        }
        return;
    }
    let struck = match times.strip_suffix('+') {
        Some(from) => from.parse().is_ok_and(|from: u32| passed >= from),
        None => times.parse().is_ok_and(|at: u32| passed == at),
    };
    assert!(!struck, "fault at {point}");
}

/// Nothing.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(crate) fn point(_name: &str) {}

/// The time of day, for records and for what people read; what waits is measured by [`std::time::Instant`], which no setting of the clock moves.
/// A test sets it by so many seconds as the file says that the supervisor's own `CAVRA_CLOCK` names.
#[cfg(feature = "fault-injection")]
pub(crate) fn time_of_day() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    let set = std::env::var_os("CAVRA_CLOCK").and_then(|file| std::fs::read_to_string(file).ok());
    let seconds = set.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now)
}

/// The time of day, for records and for what people read; what waits is measured by [`std::time::Instant`], which no setting of the clock moves.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(crate) fn time_of_day() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Whether the supervisor's own `CAVRA_GUARDS_OFF`, names with commas between, names this guard: what it keeps out must then get in, else
/// a test of it proves nothing.
#[cfg(feature = "fault-injection")]
pub(crate) fn off(guard: &str) -> bool {
    static OFF: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("CAVRA_GUARDS_OFF").unwrap_or_default());
    OFF.split(',').any(|name| name == guard)
}

/// Never.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(crate) const fn off(_guard: &str) -> bool {
    false
}
