//! What the boundary itself refuses, whatever a pack says.

use std::os::fd::BorrowedFd;
use std::sync::LazyLock;

use nix::errno::Errno;

use crate::caller::resolve::process_of;
use crate::decision::{Decision, Severity};
use crate::policy::{FileOp, Layer, Rule};
use crate::sys::fs::{self, Kind, Stat};

fn rule(id: &str, reason: &str) -> Rule {
    Rule {
        id: id.to_owned(),
        severity: Severity::High,
        layer: Layer::Boundary,
        pack: String::new(),
        decision: Decision::Block,
        pattern: String::new(),
        reason: reason.to_owned(),
        approver_group: None,
        source: None,
    }
}

macro_rules! rules {
    ($($name:ident = $id:literal, $reason:literal;)*) => {
        $(pub(super) static $name: LazyLock<Rule> = LazyLock::new(|| rule($id, $reason));)*
    };
}

rules! {
    DEVICE = "boundary.device.block", "devices other than terminals, null, zero, full, random and urandom are not handed out";
    KERNEL = "boundary.kernel.block", "settings of the kernel (/proc, /sys) are not written from inside a session";
    SUPERVISOR = "boundary.supervisor.block", "the supervisor is out of reach";
    MEMORY = "boundary.memory.block", "memory of processes is not written through /proc";
    UNNAMED = "boundary.unnamed.block", "an object without a name is not reopened with more rights than the descriptor has";
    SWAPPED = "boundary.exec.swapped", "the program, its arguments or its environment changed after the decision: killed before it ran";
    SERVICE = "boundary.service.block", "a service outside the session would act there with the user's rights";
    SOCKET_KIND = "boundary.socket.block", "this kind of socket is not handed out";
    DATAGRAMS = "boundary.datagram.block", "datagrams are off: no rule says `udp:`";
    ANCILLARY = "boundary.ancillary.block", "this ancillary data could send a message another way, or speak for another process";
    IPC = "boundary.ipc.block", "memory, queues and semaphores of processes outside the session are out of reach";
    REBINDING = "boundary.rebinding.block", "a name points at a loopback, private, link-local or metadata address, and no rule places it there (`addresses=`)";
    NAME = "boundary.name.block", "what the connection begins with does not prove a name that a rule allows there";
    CARRIED = "boundary.connection.end", "a connection by name has ended";
    DIRECT = "boundary.direct.end", "a connection to the other end itself has ended";
    FLOW = "boundary.datagrams.end", "datagrams by name or address have ended";
    LOOPBACK = "boundary.loopback.allow", "the session itself listens there";
}

/// Character devices that are handed out, as (major, minor); Documentation/admin-guide/devices.txt.
const DEVICES: &[(u64, u64)] = &[(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];
/// Majors of unix98 pty slaves.
const PTYS: std::ops::RangeInclusive<u64> = 136..=143;
/// What may be read of the supervisor itself: `ps` and `top` do.
const SUPERVISOR_READ: &[&[u8]] = &[
    b"stat",
    b"statm",
    b"status",
    b"cmdline",
    b"comm",
    b"cgroup",
    b"oom_score",
    b"loginuid",
    b"wchan",
];
/// What a process may write of itself below /proc/PID.
const PROC_WRITE: &[&[u8]] = &[
    b"oom_score_adj",
    b"oom_adj",
    b"comm",
    b"coredump_filter",
    b"timerslack_ns",
    b"clear_refs",
];

/// The boundary's own answer to one file operation.
pub(super) fn file(
    op: FileOp,
    path: &[u8],
    stat: Option<&Stat>,
    own: impl Fn(i32) -> bool,
    in_tree: impl Fn(i32) -> bool,
) -> Option<&'static Rule> {
    if let Some(stat) = stat {
        let (major, minor) = (libc::major(stat.rdev).into(), libc::minor(stat.rdev).into());
        match stat.kind() {
            Kind::Block => return Some(&DEVICE),
            Kind::Char if !DEVICES.contains(&(major, minor)) && !PTYS.contains(&major) => return Some(&DEVICE),
            Kind::File | Kind::Dir | Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::Char | Kind::Other => {}
        }
    }
    if path.starts_with(b"/sys/") && op.changes() {
        return Some(&KERNEL);
    }
    if !path.starts_with(b"/proc/") {
        return None;
    }
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match (process_of(path), op) {
        (Some(pid), FileOp::Read) if own(pid) => {
            let folder =
                stat.is_some_and(|stat| stat.kind() == Kind::Dir) && path.iter().filter(|b| **b == b'/').count() == 2;
            (!folder && !SUPERVISOR_READ.contains(&last)).then_some(&*SUPERVISOR)
        }
        (Some(pid), FileOp::Write | FileOp::Delete) => match last {
            b"mem" => Some(&MEMORY),
            last if PROC_WRITE.contains(&last) && !own(pid) && in_tree(pid) => None,
            _ => Some(&KERNEL),
        },
        (None, FileOp::Write | FileOp::Delete) => Some(&KERNEL),
        (Some(_) | None, FileOp::Read) => None,
    }
}

/// Whether an object lies on a procfs that is mounted elsewhere (a host's, in a container): its processes are not told apart there.
/// Its files are empty by size, so that others need no look.
pub(super) fn foreign_proc(path: &[u8], stat: &Stat, fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    /// `PROC_SUPER_MAGIC`, include/uapi/linux/magic.h.
    const PROC_MAGIC: i64 = 0x9fa0;
    Ok(stat.kind() == Kind::File && stat.size == 0 && !path.starts_with(b"/proc/") && fs::fs_magic(fd)? == PROC_MAGIC)
}
