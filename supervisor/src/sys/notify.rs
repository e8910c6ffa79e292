//! The listener of seccomp user notification. seccomp_unotify(2), kernel/seccomp.c.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::check;

/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`: `SECCOMP_IOW(4, __u64)`, include/uapi/linux/seccomp.h.
const NOTIF_SET_FLAGS: libc::c_ulong = 0x4008_2104;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`, since Linux 6.6.
const FD_SYNC_WAKE_UP: u64 = 1;
/// `ERESTARTSYS` of include/linux/errno.h: the kernel runs the call again after the signal's handler, or answers EINTR.
const ERESTARTSYS: i32 = 512;

/// The kernel's number of one waiting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NotifId(u64);

impl NotifId {
    /// For logs.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Thread id of a caller, as the supervisor's pid namespace numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tid(pub libc::pid_t);

/// Thread group id (process id) of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tgid(pub libc::pid_t);

/// One call that waits for its answer: registers as they were at entry; no signal and no thread can change them.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    /// Which wait.
    pub id: NotifId,
    /// Who waits.
    pub tid: Tid,
    /// System call number.
    pub nr: i64,
    /// The six argument registers, all 64 bits.
    pub args: [u64; 6],
}

/// What a call is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The call's result.
    Value(i64),
    /// It fails.
    Fail(Errno),
    /// A signal is pending: run again after its handler, or EINTR (K21). Only ever with a signal pending (K22).
    Restart,
    /// The kernel performs it. Only for what is safe whatever the caller's memory says by then (I2).
    Continue,
}

/// The listener; the supervisor holds the only descriptor of it (K25).
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Takes over the descriptor that `seccomp(SECCOMP_SET_MODE_FILTER, NEW_LISTENER)` returned.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`: wake the caller on this CPU when it is answered (K4). False where the kernel has no such flag.
    pub fn set_sync_wake_up(&self) -> bool {
        // SAFETY: the third argument is a plain number.
        unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_SET_FLAGS, FD_SYNC_WAKE_UP) == 0 }
    }

    /// `SECCOMP_IOCTL_NOTIF_RECV`: waits for the next call. ENOENT when the tree has ended, or the caller died meanwhile; EINTR on a signal.
    pub fn receive(&self) -> Result<Notification, Errno> {
        // SAFETY: all-zero bytes are a valid value of this C struct, and the kernel demands zeroes.
        let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one struct seccomp_notif into `raw`, which outlives the call.
        let rc = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut raw) };
        check(rc.into())?;
        Ok(Notification {
            id: NotifId(raw.id),
            tid: Tid(raw.pid.cast_signed()),
            nr: i64::from(raw.data.nr),
            args: raw.data.args,
        })
    }

    /// `SECCOMP_IOCTL_NOTIF_ID_VALID`: whether the caller still waits; false once it died.
    #[must_use]
    pub fn waits(&self, id: NotifId) -> bool {
        // SAFETY: the kernel reads eight bytes at `&id.0`, which outlives the call.
        unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id.0) == 0 }
    }

    /// Whether the last task under the filter has exited: poll tells a hang-up (K26).
    #[must_use]
    pub fn ended(&self) -> bool {
        let mut entry = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: 0,
            revents: 0,
        };
        // SAFETY: the kernel reads and writes one struct pollfd, which outlives the call.
        unsafe { libc::poll(&raw mut entry, 1, 0) > 0 && entry.revents & libc::POLLHUP != 0 }
    }

    /// `SECCOMP_IOCTL_NOTIF_SEND`. ENOENT when the caller died.
    pub fn send(&self, id: NotifId, answer: Answer) -> Result<(), Errno> {
        let mut resp = libc::seccomp_notif_resp {
            id: id.0,
            val: 0,
            error: 0,
            flags: 0,
        };
        match answer {
            Answer::Value(val) => resp.val = val,
            Answer::Fail(errno) => resp.error = -(errno as i32),
            Answer::Restart => resp.error = -ERESTARTSYS,
            Answer::Continue => resp.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        }
        // SAFETY: the kernel reads one struct seccomp_notif_resp, which outlives the call.
        let rc = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut resp) };
        check(rc.into())?;
        Ok(())
    }

    /// `SECCOMP_IOCTL_NOTIF_ADDFD` with SEND: installs a duplicate of `fd` as the caller's lowest free descriptor and answers with
    /// its number, at once. EMFILE when the caller's table is full (K52): the call still waits then.
    pub fn install_and_send(&self, id: NotifId, fd: BorrowedFd<'_>, cloexec: bool) -> Result<(), Errno> {
        self.add(id, fd, cloexec, libc::SECCOMP_ADDFD_FLAG_SEND as u32)
            .map(|_| ())
    }

    /// `SECCOMP_IOCTL_NOTIF_ADDFD`: installs a duplicate of `fd` and returns its number there; the call still waits.
    pub fn install(&self, id: NotifId, fd: BorrowedFd<'_>, cloexec: bool) -> Result<i64, Errno> {
        self.add(id, fd, cloexec, 0)
    }

    fn add(&self, id: NotifId, fd: BorrowedFd<'_>, cloexec: bool, flags: u32) -> Result<i64, Errno> {
        let addfd = libc::seccomp_notif_addfd {
            id: id.0,
            flags,
            srcfd: fd.as_raw_fd().cast_unsigned(),
            newfd: 0,
            newfd_flags: if cloexec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
        };
        // SAFETY: the kernel reads one struct seccomp_notif_addfd, which outlives the call.
        let rc = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const addfd) };
        check(rc.into())
    }
}
