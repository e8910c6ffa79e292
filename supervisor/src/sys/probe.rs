//! What this kernel, and whatever is around this process, lets a supervisor do: tried, not inferred from versions.
//!
//! Filters and domains can not be taken off again, so they are tried in a forked child that lives for nothing else.

use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

/// How one attempt went.
pub type Tried = Result<(), Errno>;

/// What a child that tried seccomp and Landlock on itself found.
#[derive(Clone, Copy, Debug)]
pub struct Confinement {
    /// A filter with a listener; EBUSY inside another user-notify sandbox.
    pub listener: Tried,
    /// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` (Linux 5.19).
    pub wait_killable: Tried,
    /// `SECCOMP_ADDFD_FLAG_SEND` (Linux 5.14).
    pub addfd_send: Tried,
    /// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (Linux 6.6).
    pub sync_wake_up: Tried,
    /// `landlock_restrict_self`; E2BIG below 16 domains.
    pub landlock: Tried,
}

/// What a supervisor may do to a child of its own.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// pidfd_open(2).
    pub pidfd_open: Tried,
    /// pidfd_getfd(2).
    pub pidfd_getfd: Tried,
    /// process_vm_readv(2).
    pub read_memory: Tried,
    /// PTRACE_SEIZE with TRACEEXEC and EXITKILL.
    pub seize: Tried,
}

/// `seccomp(SECCOMP_GET_NOTIF_SIZES)`: bytes of a notification and of an answer. seccomp(2).
pub fn notif_sizes() -> Result<(u16, u16), Errno> {
    let mut sizes = libc::seccomp_notif_sizes {
        seccomp_notif: 0,
        seccomp_notif_resp: 0,
        seccomp_data: 0,
    };
    // SAFETY: the kernel writes one `seccomp_notif_sizes`, which is what the pointer leads to.
    let rc = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes) };
    Errno::result(rc)?;
    Ok((sizes.seccomp_notif, sizes.seccomp_notif_resp))
}

/// `landlock_create_ruleset(LANDLOCK_CREATE_RULESET_VERSION)`: the ABI. landlock_create_ruleset(2).
pub fn landlock_abi() -> Result<u32, Errno> {
    landlock_asked(1)
}

/// `landlock_create_ruleset(LANDLOCK_CREATE_RULESET_ERRATA)`: a bit for each erratum that is fixed; EINVAL before 6.15.
pub fn landlock_errata() -> Result<u32, Errno> {
    landlock_asked(2)
}

fn landlock_asked(what: libc::c_uint) -> Result<u32, Errno> {
    // SAFETY: with these flags no attribute is read, and null is what the call wants.
    let rc = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0_usize, what) };
    u32::try_from(Errno::result(rc)?).map_err(|_| Errno::ERANGE)
}

/// `openat2` of `/` with RESOLVE_NO_SYMLINKS. openat2(2).
pub fn openat2() -> Tried {
    let how = nix::fcntl::OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
    let how = how.resolve(nix::fcntl::ResolveFlag::RESOLVE_NO_SYMLINKS);
    nix::fcntl::openat2(nix::fcntl::AT_FDCWD, "/", how).map(drop)
}

/// Tries filters and domains in a child. An error is fork's or, as the signal, the child's death.
pub fn confinement() -> Result<Confinement, Died> {
    let found = in_child(confine_self)?;
    let [listener, wait_killable, addfd_send, sync_wake_up, landlock] = found.map(tried);
    Ok(Confinement {
        listener,
        wait_killable,
        addfd_send,
        sync_wake_up,
        landlock,
    })
}

/// Why a child told nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Died {
    /// It could not be made or asked.
    #[error("{0}")]
    Call(#[from] Errno),
    /// It was killed: a filter around us kills for what it tried.
    #[error("killed by {0}")]
    Signal(Signal),
}

/// Attempts of one child, as errnos; 0 is success.
type Found = [i32; 5];

fn tried(errno: i32) -> Tried {
    if errno == 0 {
        Ok(())
    } else {
        Err(Errno::from_raw(errno))
    }
}

fn in_child(probe: fn() -> Found) -> Result<Found, Died> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: the child only makes system calls on memory of its own and leaves with _exit: no lock and no allocation.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let found = probe();
            // SAFETY: `found` is as long as said, and the descriptor is the child's own.
            let _ = unsafe { libc::write(write.as_raw_fd(), found.as_ptr().cast(), size_of::<Found>()) };
            // SAFETY: ends this process, and runs nothing of the parent's on its way.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(write);
            let mut bytes = [0_u8; size_of::<Found>()];
            let told = File::from(read).read_exact(&mut bytes);
            match (told, waitpid(child, None)) {
                (Ok(()), _) => {
                    let mut found = [0; 5];
                    for (errno, bytes) in found.iter_mut().zip(bytes.as_chunks().0) {
                        *errno = i32::from_ne_bytes(*bytes);
                    }
                    Ok(found)
                }
                (Err(_), Ok(WaitStatus::Signaled(_, signal, _))) => Err(Died::Signal(signal)),
                (Err(_), _) => Err(Died::Call(Errno::EIO)),
            }
        }
    }
}

/// Runs in the child, between fork and _exit.
fn confine_self() -> Found {
    // SAFETY: no memory is passed.
    let privileges = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if privileges == -1 {
        return [Errno::last_raw(); 5];
    }
    let landlock = errno_of(restrict_self());
    let killable = new_listener(libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    let wait_killable = killable.as_ref().map_or_else(|errno| *errno as i32, |_| 0);
    let listener = match killable {
        // The flag is not known: is a listener possible at all?
        Err(Errno::EINVAL) => new_listener(0),
        killable => killable,
    };
    let Ok(listener) = listener.as_ref() else {
        let errno = listener.err().map_or(0, |errno| errno as i32);
        return [errno, wait_killable, errno, errno, landlock];
    };
    [
        0,
        wait_killable,
        errno_of(addfd_send(listener)),
        errno_of(sync_wake_up(listener)),
        landlock,
    ]
}

fn errno_of(tried: Tried) -> i32 {
    tried.err().map_or(0, |errno| errno as i32)
}

/// A filter that allows everything, with a listener.
fn new_listener(flags: libc::c_ulong) -> Result<OwnedFd, Errno> {
    /// `BPF_RET | BPF_K`, include/uapi/linux/bpf_common.h.
    const RETURN: u16 = 0x06;
    let mut allow = libc::sock_filter {
        code: RETURN,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut allow,
    };
    let flags = flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the kernel copies the one instruction that `program` points to before it returns.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    let fd = i32::try_from(Errno::result(rc)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this number as a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// No call waits, so a kernel that knows the flag answers ENOENT; one that does not, EINVAL.
fn addfd_send(listener: &OwnedFd) -> Tried {
    let request = libc::seccomp_notif_addfd {
        id: u64::MAX,
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the flag is 2; libc has it as unsigned long"
        )]
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: listener.as_raw_fd().cast_unsigned(),
        newfd: 0,
        newfd_flags: 0,
    };
    // SAFETY: the kernel reads one `seccomp_notif_addfd`, which is what the pointer leads to.
    let rc = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ADDFD,
            &raw const request,
        )
    };
    match Errno::result(rc) {
        Ok(_) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn sync_wake_up(listener: &OwnedFd) -> Tried {
    /// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`, include/uapi/linux/seccomp.h.
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the argument is a number, not a pointer.
    let rc = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
    Errno::result(rc).map(drop)
}

/// A domain that handles EXECUTE and grants nothing.
fn restrict_self() -> Tried {
    // `LANDLOCK_ACCESS_FS_EXECUTE`, the first member of `struct landlock_ruleset_attr`.
    let handled: u64 = 1;
    let size = size_of::<u64>();
    // SAFETY: the kernel reads `size` bytes at the pointer, all of `handled`.
    let rc = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size, 0) };
    let fd = Errno::result(rc)?;
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, fd, 0) }).map(drop)
}

/// Makes a child and does to it what a supervisor does to callers.
pub fn access() -> Result<Access, Errno> {
    static MARK: u64 = 0x6361_7672_612d_7275;
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: the child makes two system calls and leaves with _exit: no lock and no allocation.
    let child = match unsafe { fork() }? {
        ForkResult::Child => {
            // The parent's end alone keeps the pipe open: when the parent dies, so does the child.
            drop(write);
            let mut byte = 0_u8;
            // SAFETY: one byte is written, to a byte of the child's own.
            let _ = unsafe { libc::read(read.as_raw_fd(), (&raw mut byte).cast(), 1) };
            // SAFETY: ends this process, and runs nothing of the parent's on its way.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => child,
    };
    let found = access_to(child, &read, &raw const MARK as usize, MARK);
    // The child is ours and not waited for yet: its number is still its own.
    let killed = kill(child, Signal::SIGKILL);
    while let Ok(WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..)) = waitpid(child, None) {}
    killed.map(|()| found)
}

fn access_to(child: Pid, shared: &OwnedFd, address: usize, mark: u64) -> Access {
    // SAFETY: no memory is passed.
    let rc = unsafe { libc::syscall(libc::SYS_pidfd_open, child.as_raw(), 0) };
    // SAFETY: the kernel has just returned this number as a new descriptor that nobody else knows.
    let own = |fd: libc::c_long| unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) };
    let pidfd = Errno::result(rc).map(own);
    let pidfd_getfd = pidfd.as_ref().map_err(|errno| *errno).and_then(|pidfd| {
        // SAFETY: no memory is passed.
        let rc = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), shared.as_raw_fd(), 0) };
        Errno::result(rc).map(own).map(drop)
    });
    let mut bytes = [0_u8; size_of::<u64>()];
    let remote = [RemoteIoVec {
        base: address,
        len: bytes.len(),
    }];
    let read = process_vm_readv(child, &mut [IoSliceMut::new(&mut bytes)], &remote);
    let read_memory = match read {
        Ok(_) if u64::from_ne_bytes(bytes) == mark => Ok(()),
        Ok(_) => Err(Errno::EFAULT),
        Err(errno) => Err(errno),
    };
    let seize = ptrace::seize(child, Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL);
    Access {
        pidfd_open: pidfd.map(drop),
        pidfd_getfd,
        read_memory,
        seize,
    }
}
