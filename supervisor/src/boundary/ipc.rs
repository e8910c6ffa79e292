//! System V memory, queues and semaphores: the session reaches those that it made, and none of a process outside (class 32).
//!
//! They have no path and no peer, and an id is a small number that anybody can guess. So the supervisor makes them for the tree, remembers
//! their ids, and lets the kernel perform what names one of these: an id is in a register, and what lies in memory is the caller's own affair.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use super::judge::Matter;
use super::{Call, Reply, Stop, fixed};
use crate::sys::ipc::{self, Kind};
use crate::sys::notify::Answer;

/// Above this many ids those whose object is gone are forgotten.
const IDS_TIDY: usize = 256;
/// Ids at most (I8); the kernel's own default limit is 32 000 of each kind.
const IDS_MAX: usize = 96_000;

/// What the session made.
#[derive(Debug, Default)]
pub(super) struct Made(Mutex<HashSet<(Kind, i32)>>);

impl Made {
    fn lock(&self) -> MutexGuard<'_, HashSet<(Kind, i32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, kind: Kind, id: i32) -> bool {
        self.lock().contains(&(kind, id))
    }

    fn add(&self, kind: Kind, id: i32) {
        let mut ids = self.lock();
        if ids.len() >= IDS_TIDY && ids.len().is_power_of_two() || ids.len() >= IDS_MAX {
            ids.retain(|(kind, id)| ipc::exists(*kind, *id));
        }
        ids.insert((kind, id));
    }
}

pub(super) fn shmget(call: &Call<'_>) -> Result<Reply, Stop> {
    get(call, Kind::Memory, call.arg(1), call.int(2))
}

pub(super) fn semget(call: &Call<'_>) -> Result<Reply, Stop> {
    get(call, Kind::Semaphores, call.arg(1), call.int(2))
}

pub(super) fn msgget(call: &Call<'_>) -> Result<Reply, Stop> {
    get(call, Kind::Queue, 0, call.int(1))
}

fn get(call: &Call<'_>, kind: Kind, size: u64, flags: i32) -> Result<Reply, Stop> {
    let (key, made) = (call.int(0), &call.boundary.ipc);
    let made_now = |flags: i32| -> Result<i64, Errno> {
        let id = ipc::get(kind, key, size, flags)?;
        made.add(kind, id);
        Ok(id.into())
    };
    if key == libc::IPC_PRIVATE {
        return Ok(Reply::Value(made_now(flags)?));
    }
    // Between two looks an object can come or go: the exclusive creation tells.
    for _ in 0..16 {
        match ipc::get(kind, key, 0, 0) {
            Ok(_) => {
                let id = ipc::get(kind, key, size, flags)?;
                if made.has(kind, id) {
                    return Ok(Reply::Value(id.into()));
                }
                return Err(refused(call, &format!("{kind:?} of key {key:#x}")));
            }
            Err(Errno::ENOENT) if flags & libc::IPC_CREAT != 0 => match made_now(flags | libc::IPC_EXCL) {
                Err(Errno::EEXIST) => {}
                other => return Ok(Reply::Value(other?)),
            },
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::EAGAIN.into())
}

pub(super) fn memory(call: &Call<'_>) -> Result<Reply, Stop> {
    by_id(call, Kind::Memory)
}

pub(super) fn semaphores(call: &Call<'_>) -> Result<Reply, Stop> {
    by_id(call, Kind::Semaphores)
}

pub(super) fn queue(call: &Call<'_>) -> Result<Reply, Stop> {
    by_id(call, Kind::Queue)
}

/// `SHM_STAT`, `SHM_INFO`, `SHM_STAT_ANY` and their kin list what there is, as /proc/sysvipc does; include/uapi/linux/{shm,msg,sem}.h.
pub(super) fn shmctl(call: &Call<'_>) -> Result<Reply, Stop> {
    control(call, Kind::Memory, call.int(1), &[libc::IPC_INFO, 13, 14, 15])
}

pub(super) fn msgctl(call: &Call<'_>) -> Result<Reply, Stop> {
    control(call, Kind::Queue, call.int(1), &[libc::IPC_INFO, 11, 12, 13])
}

pub(super) fn semctl(call: &Call<'_>) -> Result<Reply, Stop> {
    control(call, Kind::Semaphores, call.int(2), &[libc::IPC_INFO, 18, 19, 20])
}

fn control(call: &Call<'_>, kind: Kind, command: i32, lists: &[i32]) -> Result<Reply, Stop> {
    if lists.contains(&command) {
        goes_on(call)
    } else {
        by_id(call, kind)
    }
}

fn by_id(call: &Call<'_>, kind: Kind) -> Result<Reply, Stop> {
    let id = call.int(0);
    if call.boundary.ipc.has(kind, id) {
        return goes_on(call);
    }
    if ipc::exists(kind, id) {
        Err(refused(call, &format!("{kind:?} {id}")))
    } else {
        Err(Errno::EINVAL.into())
    }
}

fn goes_on(call: &Call<'_>) -> Result<Reply, Stop> {
    call.boundary.listener.send(call.notification.id, Answer::Continue)?;
    Ok(Reply::Answered)
}

fn refused(call: &Call<'_>, target: &str) -> Stop {
    let target = format!("System V {}", target.to_lowercase());
    let matter = Matter {
        action: "network_connect",
        operation: call.name.strip_prefix("SYS_").unwrap_or(call.name),
        target: target.as_bytes(),
        object: None,
        argv: None,
    };
    call.refuse_fixed(&matter, &fixed::IPC, Errno::EACCES)
}
