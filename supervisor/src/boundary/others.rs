//! Calls that set limits or priorities of another process by its number: inside the tree only.

use nix::errno::Errno;

use super::{Call, Reply, Stop};
use crate::sys::notify::Answer;

pub(super) fn by_first(call: &Call<'_>) -> Result<Reply, Stop> {
    within_tree(call, call.int(0))
}

pub(super) fn by_second(call: &Call<'_>) -> Result<Reply, Stop> {
    within_tree(call, call.int(1))
}

/// The number is in a register, so the kernel performs just what was looked at; what lies in memory (limits) is the caller's own affair.
pub(super) fn within_tree(call: &Call<'_>, pid: i32) -> Result<Reply, Stop> {
    if pid != call.task.tgid.0 && !call.boundary.tasks.in_tree(pid) {
        return Err(Errno::EPERM.into());
    }
    call.boundary.listener.send(call.notification.id, Answer::Continue)?;
    Ok(Reply::Answered)
}
