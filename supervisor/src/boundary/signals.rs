//! Signals on kernels whose Landlock does not scope them (below ABI 6): inside the tree only.
//!
//! What names one receiver in a register is performed by the kernel after the look, so that the receiver sees the sender that it would see
//! natively. A group that reaches out of the tree, and everybody (-1), are walked here: the members inside the tree get the signal from the supervisor.

use nix::errno::Errno;

use super::others::within_tree;
use super::{Call, Reply, Stop};
use crate::sys::notify::{Answer, Tgid};
use crate::sys::process::{pidfd_kill, pidfd_open};

/// `kill`: a process, a group or everybody. kill(2).
pub(super) fn kill(call: &Call<'_>) -> Result<Reply, Stop> {
    match call.int(0) {
        pid @ 1.. => within_tree(call, pid),
        -1 => reach(call, &|process| process.pid != call.task.tgid.0),
        group => {
            // The smallest number has no positive twin, and names no group.
            let group = group.checked_neg().ok_or(Errno::ESRCH)?;
            let group = if group == 0 {
                Process::read(call.task.tgid.0).ok_or(Errno::ESRCH)?.group
            } else {
                group
            };
            if within(call, group) {
                return natively(call);
            }
            reach(call, &|process| process.group == group)
        }
    }
}

/// `tkill`: a thread. tkill(2).
pub(super) fn tkill(call: &Call<'_>) -> Result<Reply, Stop> {
    within_tree(call, call.int(0))
}

/// `tgkill`, `rt_tgsigqueueinfo`: a thread of a process; the kernel refuses one that is not of that process. tkill(2).
pub(super) fn tgkill(call: &Call<'_>) -> Result<Reply, Stop> {
    within_tree(call, call.int(0))
}

/// `rt_sigqueueinfo`: a process; the information in memory is for the receiver. rt_sigqueueinfo(2).
pub(super) fn queue(call: &Call<'_>) -> Result<Reply, Stop> {
    within_tree(call, call.int(0))
}

/// `pidfd_send_signal`: the descriptor could be another one by the time the kernel looks, so a duplicate is asked and used. pidfd_send_signal(2).
pub(super) fn pidfd_send_signal(call: &Call<'_>) -> Result<Reply, Stop> {
    // Own information, and groups, can not be passed on as the caller's.
    if call.arg(2) != 0 || call.int(3) != 0 {
        return Err(Errno::EPERM.into());
    }
    let pidfd = call.duplicate(call.int(0))?;
    let pid = described(&pidfd).ok_or(Errno::EBADF)?;
    // A receiver that has ended has no number any more.
    if pid > 0 && pid != call.task.tgid.0 && !call.boundary.tasks.in_tree(pid) {
        return Err(Errno::EPERM.into());
    }
    pidfd_kill(std::os::fd::AsFd::as_fd(&pidfd), call.int(1))?;
    Ok(Reply::Value(0))
}

/// `fcntl(F_SETOWN)`: who gets the descriptor's signals. fcntl(2).
pub(super) fn set_owner(call: &Call<'_>) -> Result<Reply, Stop> {
    match call.int(2) {
        0 => natively(call),
        pid @ 1.. => within_tree(call, pid),
        group => {
            let group = group.checked_neg().ok_or(Errno::EINVAL)?;
            if within(call, group) {
                natively(call)
            } else {
                Err(Errno::EPERM.into())
            }
        }
    }
}

fn natively(call: &Call<'_>) -> Result<Reply, Stop> {
    call.boundary.listener.send(call.notification.id, Answer::Continue)?;
    Ok(Reply::Answered)
}

/// Whether all members of a group are inside the tree. Nobody from outside joins a group that the tree has made: only its own session could.
fn within(call: &Call<'_>, group: i32) -> bool {
    Process::all().all(|process| process.group != group || call.boundary.tasks.in_tree(process.pid))
}

/// Signals those of the tree that are `meant`: as kill, ESRCH when nobody is meant, EPERM when none of them is inside.
fn reach(call: &Call<'_>, meant: &dyn Fn(&Process) -> bool) -> Result<Reply, Stop> {
    let (mut outcome, mut reached) = (Errno::ESRCH, false);
    for process in Process::all().filter(|process| meant(process)) {
        if outcome == Errno::ESRCH {
            outcome = Errno::EPERM;
        }
        // Held first, then looked at: the number can not come to mean another.
        let Ok(pidfd) = pidfd_open(Tgid(process.pid)) else {
            continue;
        };
        if !call.boundary.tasks.in_tree(process.pid) {
            continue;
        }
        match pidfd_kill(std::os::fd::AsFd::as_fd(&pidfd), call.int(1)) {
            Ok(()) => reached = true,
            Err(errno) => outcome = errno,
        }
    }
    if reached {
        Ok(Reply::Value(0))
    } else {
        Err(outcome.into())
    }
}

/// The process that a pidfd means, from `/proc/self/fdinfo`; -1 once it has ended. proc_pid_fdinfo(5).
fn described(pidfd: &std::os::fd::OwnedFd) -> Option<i32> {
    let number = std::os::fd::AsRawFd::as_raw_fd(pidfd);
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pid:"))?
        .trim()
        .parse()
        .ok()
}

/// One process with its group, from `/proc/PID/stat`. proc_pid_stat(5).
struct Process {
    pid: i32,
    group: i32,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        Some(Self {
            pid,
            group: group(&stat)?,
        })
    }

    fn all() -> impl Iterator<Item = Self> {
        std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?))
    }
}

/// The fifth field; the second, the name, may hold anything, closing brackets too.
fn group(stat: &[u8]) -> Option<i32> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Process, group};

    #[test]
    fn a_group_is_read_behind_any_name() {
        assert_eq!(group(b"7 (a) R 1 2) S 3 41 5"), Some(41));
        assert_eq!(group(b"7 (a"), None);
        let own = Process::read(std::process::id().cast_signed()).unwrap();
        assert_eq!(own.group, nix::unistd::getpgrp().as_raw());
    }
}
