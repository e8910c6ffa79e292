//! What runs between fork and the agent's first exec, and the reaper that stays as the tree's parent.
//!
//! [`spawn`] forks a *reaper*, which forks the *child*. The child confines itself (floor, filter), sends the listener to the supervisor and executes
//! the command. The reaper is the tree's subreaper: it reports what becomes of the command, ends what the command leaves behind, and
//! kills the whole tree when the supervisor is gone (I4): being neither tracer nor filtered it can always do so.

mod reaper;
mod sys;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// One instruction of a filter, `struct sock_filter`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump if true.
    pub jt: u8,
    /// Jump if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// What happens to processes that the command leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// SIGTERM, and SIGKILL after two seconds.
    Kill,
    /// The session lasts until they end.
    Wait,
}

/// Everything that is needed after fork, made before it.
#[derive(Debug)]
pub struct Plan {
    /// Program as execve takes it.
    pub program: CString,
    /// Its arguments, the zeroth included.
    pub argv: Vec<CString>,
    /// Its environment.
    pub env: Vec<CString>,
    /// Its working folder.
    pub cwd: CString,
    /// Resources (`RLIMIT_*`) and their limits, soft and hard; never above what the launcher has. setrlimit(2).
    pub limits: Vec<(u32, u64)>,
    /// Landlock ruleset of the floor.
    pub floor: OwnedFd,
    /// Landlock ruleset that keeps the reaper's signals inside the tree; none before Linux 6.12.
    pub signal_scope: Option<OwnedFd>,
    /// The filter with the listener.
    pub notify: Vec<Instruction>,
    /// The filters without.
    pub plain: Vec<Vec<Instruction>>,
    /// What happens to leftovers.
    pub leftovers: Leftovers,
}

/// What the reaper or child tells the supervisor: one message of eight bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The command's process id.
    Started(i32),
    /// The command ended with this wait status.
    Ended(i32),
    /// A step before the command failed with this errno.
    Failed(Step, i32),
    /// Nothing of the tree is left.
    Gone,
}

/// The child's steps before its first exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Step {
    /// `chdir` to the working folder.
    Chdir = 1,
    /// `landlock_restrict_self`.
    Floor = 2,
    /// The filter with the listener.
    Listener = 3,
    /// The filters without.
    Filter = 5,
    /// The command itself.
    Exec = 6,
    /// fork.
    Fork = 7,
    /// `setrlimit`.
    Limits = 8,
}

impl Event {
    fn encode(self) -> [u8; 8] {
        let (kind, value): (u32, i32) = match self {
            Self::Started(pid) => (1, pid),
            Self::Ended(status) => (3, status),
            Self::Failed(step, errno) => (0x100 | step as u32, errno),
            Self::Gone => (4, 0),
        };
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    /// Reads a message back; none for bytes that are no message.
    #[must_use]
    pub fn decode(bytes: [u8; 8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = bytes;
        let value = i32::from_le_bytes([e, f, g, h]);
        Some(match u32::from_le_bytes([a, b, c, d]) {
            1 => Self::Started(value),
            3 => Self::Ended(value),
            4 => Self::Gone,
            0x101 => Self::Failed(Step::Chdir, value),
            0x102 => Self::Failed(Step::Floor, value),
            0x103 => Self::Failed(Step::Listener, value),
            0x105 => Self::Failed(Step::Filter, value),
            0x106 => Self::Failed(Step::Exec, value),
            0x108 => Self::Failed(Step::Limits, value),
            0x107 => Self::Failed(Step::Fork, value),
            _ => return None,
        })
    }
}

/// The supervisor's ends.
#[derive(Debug)]
pub struct Spawned {
    /// The reaper's process id.
    pub reaper: i32,
    /// Messages of [`Event`].
    pub events: OwnedFd,
    /// The listener's number in the child arrives here as an int; one byte sent back says that it was taken, another is the go.
    pub handover: OwnedFd,
    /// As long as this is open the supervisor lives.
    pub alive: OwnedFd,
    /// Whether the command is stopped.
    pub bells: Bells,
}

/// Pipes into which the reaper writes a byte; it tells of one before it sees the other. Never to be waited for.
///
/// The kernel signals a reader too when the last writer is gone (`pipe_release`, fs/pipe.c). So the supervisor holds the writers as well, and
/// closes them after the readers; and the readers are its own alone, as it is signalled for as long as anybody has them open.
#[derive(Debug)]
pub struct Bells {
    /// A byte each time that the command was stopped.
    pub stops: OwnedFd,
    /// A byte each time that the command goes on, or has ended.
    pub continues: OwnedFd,
    _ringers: Ringers,
}

/// The ends of [`Bells`] that are written to.
#[derive(Debug)]
struct Ringers {
    stop: OwnedFd,
    go_on: OwnedFd,
}

/// The reaper's ends.
struct Ends {
    events: OwnedFd,
    alive: OwnedFd,
    handover: OwnedFd,
    ringers: Ringers,
}

/// Forks reaper and child. The process must have one thread only.
pub fn spawn(plan: &Plan, mask: &libc::sigset_t) -> io::Result<Spawned> {
    let (events, events_end) = sys::pipe()?;
    let (alive_end, alive) = sys::pipe()?;
    let (handover, handover_end) = sys::socketpair()?;
    let (stops, stop) = sys::bell()?;
    let (continues, go_on) = sys::bell()?;
    let ringers = Ringers { stop, go_on };
    match sys::fork()? {
        0 => {
            drop((events, alive, handover, stops, continues));
            let ends = Ends {
                events: events_end,
                alive: alive_end,
                handover: handover_end,
                ringers,
            };
            reaper::run(plan, mask, &ends)
        }
        reaper => Ok(Spawned {
            reaper,
            events,
            handover,
            alive,
            bells: Bells {
                stops,
                continues,
                _ringers: ringers,
            },
        }),
    }
}

fn report(events: &OwnedFd, event: Event) {
    sys::write_all(events.as_raw_fd(), &event.encode());
}
