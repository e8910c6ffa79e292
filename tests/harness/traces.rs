//! Traces of `tests/programs/differ.c`: a step a line, `number call = what came of it`.

use crate::known::{Comparison, Known};

const KNOWN: &str = include_str!("../compat/differences/calls.txt");
const OLDER: &str = include_str!("../compat/differences/older-kernels.txt");

/// The differences that are known of the kernel that runs.
#[must_use]
pub fn known() -> Known {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    Known::read(KNOWN).before(OLDER, &release)
}

/// Adds each step of `native`, up to the first after which the two can not be compared any more; whether all were.
pub fn compare(known: &Known, comparison: &mut Comparison, native: &str, inside: &str) -> bool {
    let mut others = inside.lines();
    native.lines().all(|step| {
        let (call, came) = step.split_once(" = ").unwrap_or((step, ""));
        let other = others.next().unwrap_or("missing");
        let (_, other) = other.split_once(" = ").unwrap_or(("", other));
        let unnumbered = call.split_once(' ').map_or(call, |(_, call)| call);
        let same = comparison.add(known, unnumbered, came, other);
        // What comes after the first success that was none follows from it.
        same && (came == other || came.starts_with('E') && other.starts_with('E'))
    })
}
