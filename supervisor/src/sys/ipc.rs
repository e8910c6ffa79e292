//! System V memory, queues and semaphores. sysvipc(7).

use nix::errno::Errno;

use super::check;

/// What kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Shared memory.
    Memory,
    /// A queue of messages.
    Queue,
    /// A set of semaphores.
    Semaphores,
}

/// `shmget`, `msgget`, `semget`: the id of the object with `key`. `size` is bytes of memory or a number of semaphores. shmget(2), msgget(2), semget(2).
pub fn get(kind: Kind, key: i32, size: u64, flags: i32) -> Result<i32, Errno> {
    let size_of = |size: u64| usize::try_from(size).map_err(|_| Errno::EINVAL);
    let rc = match kind {
        // SAFETY: no memory is passed.
        Kind::Memory => unsafe { libc::shmget(key, size_of(size)?, flags) },
        // SAFETY: no memory is passed.
        Kind::Queue => unsafe { libc::msgget(key, flags) },
        Kind::Semaphores => {
            let count = i32::try_from(size & 0xffff_ffff).map_err(|_| Errno::EINVAL)?;
            // SAFETY: no memory is passed.
            unsafe { libc::semget(key, count, flags) }
        }
    };
    Ok(check(rc.into())? as i32)
}

/// `IPC_STAT`: whether there is an object with this id, readable or not. shmctl(2), msgctl(2), semctl(2).
#[must_use]
pub fn exists(kind: Kind, id: i32) -> bool {
    let rc = match kind {
        Kind::Memory => {
            let mut found = std::mem::MaybeUninit::<libc::shmid_ds>::uninit();
            // SAFETY: the kernel writes one shmid_ds into a buffer of that size.
            unsafe { libc::shmctl(id, libc::IPC_STAT, found.as_mut_ptr()) }
        }
        Kind::Queue => {
            let mut found = std::mem::MaybeUninit::<libc::msqid_ds>::uninit();
            // SAFETY: the kernel writes one msqid_ds into a buffer of that size.
            unsafe { libc::msgctl(id, libc::IPC_STAT, found.as_mut_ptr()) }
        }
        Kind::Semaphores => {
            let mut found = std::mem::MaybeUninit::<libc::semid_ds>::uninit();
            // SAFETY: the kernel writes one semid_ds into a buffer of that size.
            unsafe { libc::semctl(id, 0, libc::IPC_STAT, found.as_mut_ptr()) }
        }
    };
    rc == 0 || Errno::last() == Errno::EACCES
}
