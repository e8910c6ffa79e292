//! Calls on other processes and on the supervisor's own threads.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::notify::{Tgid, Tid};
use super::{check, owned};

/// `PIDFD_THREAD`, since Linux 6.9: a pidfd of one thread.
const PIDFD_THREAD: libc::c_uint = libc::O_EXCL.cast_unsigned();

/// `pidfd_open` of a thread group. pidfd_open(2).
pub fn pidfd_open(tgid: Tgid) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, tgid.0, 0) })
}

/// `pidfd_open` of one thread; EINVAL before Linux 6.9 (K20).
pub fn pidfd_open_thread(tid: Tid) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, tid.0, PIDFD_THREAD) })
}

/// `pidfd_getfd`: a duplicate of descriptor `number` of that task. pidfd_getfd(2).
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) })
}

/// `pidfd_send_signal`. pidfd_send_signal(2).
pub fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: a null siginfo asks for an ordinary kill.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(rc).map(|_| ())
}

/// `tgkill`: a signal to one thread. tgkill(2).
pub fn tgkill(tgid: Tgid, tid: Tid, signal: i32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_tgkill, tgid.0, tid.0, signal) }).map(|_| ())
}

/// `F_SETOWN`, `F_SETSIG` and `O_ASYNC`: the kernel sends this signal to the supervisor whenever something can be read. fcntl(2).
pub fn signal_when_readable(fd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    /// include/uapi/asm-generic/fcntl.h
    const F_SETSIG: i32 = 10;
    let own = std::process::id().cast_signed();
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETOWN, own) }.into())?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), F_SETSIG, signal) }.into())?;
    // SAFETY: no memory is passed.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }.into())?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::c_long::from(libc::O_ASYNC)) }.into())
        .map(|_| ())
}

/// `kill`. kill(2).
pub fn kill(pid: libc::pid_t, signal: i32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    let rc = unsafe { libc::kill(pid, signal) };
    check(rc.into()).map(|_| ())
}

/// `getrlimit(RLIMIT_NOFILE)`: how many descriptors this process may have. getrlimit(2).
#[must_use]
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// `setrlimit(RLIMIT_NOFILE)`: as many descriptors as this process may give itself. setrlimit(2).
pub fn raise_descriptor_limit() -> Result<(), Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}

/// `PTRACE_SEIZE` with TRACEEXEC and EXITKILL: the new program stops before its first instruction, and dies with the tracer (K31, K37).
pub fn seize(tid: Tid) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL;
    // SAFETY: address and data are plain numbers for this request.
    check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, tid.0, 0usize, options as usize) }).map(|_| ())
}

/// `PTRACE_INTERRUPT`: a stop at the end of the call in progress, at the latest (K32).
pub fn interrupt(tid: Tid) -> Result<(), Errno> {
    // SAFETY: address and data are ignored for this request.
    check(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, tid.0, 0usize, 0usize) }).map(|_| ())
}

/// `PTRACE_DETACH` of a stopped tracee, delivering `signal` (0: none).
pub fn detach(pid: libc::pid_t, signal: i32) -> Result<(), Errno> {
    // SAFETY: address is ignored, data is a signal's number.
    check(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0usize, usize::try_from(signal).unwrap_or(0)) }).map(|_| ())
}

/// `PTRACE_CONT` of a stopped tracee, delivering `signal` (0: none).
pub fn cont(pid: libc::pid_t, signal: i32) -> Result<(), Errno> {
    // SAFETY: address is ignored, data is a signal's number.
    check(unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0usize, usize::try_from(signal).unwrap_or(0)) }).map(|_| ())
}

/// Whether a tracee is still in its stop: only a fatal signal takes it out of one without us. `PTRACE_GETEVENTMSG`, ptrace(2).
#[must_use]
pub fn is_stopped(pid: libc::pid_t) -> bool {
    let mut message: libc::c_ulong = 0;
    // SAFETY: address is ignored, data points at one unsigned long, which outlives the call.
    check(unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0usize, &raw mut message) }).is_ok()
}

/// What waitpid(2) reports of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Stopped; the raw status tells by what.
    Stopped {
        /// Which task.
        pid: libc::pid_t,
        /// The stopping signal.
        signal: i32,
        /// `PTRACE_EVENT_*`, 0 for none.
        event: i32,
    },
    /// Ended and reaped.
    Ended {
        /// Which task.
        pid: libc::pid_t,
        /// The raw wait status.
        status: i32,
    },
    /// Continued by SIGCONT.
    Continued,
    /// With WNOHANG: nothing to tell.
    Nothing,
}

/// `waitpid(-1, …, __WALL | __WNOTHREAD | flags)`: only this thread's own children and tracees (K33).
pub fn wait_own(flags: i32) -> Result<Waited, Errno> {
    let mut status = 0;
    // SAFETY: the kernel writes one int into `status`, which outlives the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD | flags) };
    check(pid.into())?;
    Ok(match pid {
        0 => Waited::Nothing,
        pid if libc::WIFSTOPPED(status) => Waited::Stopped {
            pid,
            signal: libc::WSTOPSIG(status),
            event: (status >> 16) & 0xff,
        },
        _ if libc::WIFCONTINUED(status) => Waited::Continued,
        pid => Waited::Ended { pid, status },
    })
}

/// `prlimit`, read only: the soft limit of another process. prlimit(2).
pub fn soft_limit(tid: Tid, resource: libc::__rlimit_resource_t) -> Result<u64, Errno> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: nothing is set; the kernel writes one struct rlimit into `limit`, which outlives the call.
    let rc = unsafe { libc::prlimit(tid.0, resource, std::ptr::null(), &raw mut limit) };
    check(rc.into())?;
    Ok(limit.rlim_cur)
}

/// `unshare(CLONE_FS)`: this thread gets an umask and cwd of its own. unshare(2).
pub fn own_fs() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    let rc = unsafe { libc::unshare(libc::CLONE_FS) };
    check(rc.into()).map(|_| ())
}

/// `umask`, of this thread after [`own_fs`]. umask(2).
pub fn set_umask(mask: u32) {
    // SAFETY: no memory is passed; it can not fail.
    unsafe { libc::umask(mask) };
}

/// Runs `act` in `folder`, and goes back to `/`: `fchdir`, of this thread after [`own_fs`]. chdir(2).
pub fn in_folder<T>(folder: BorrowedFd<'_>, act: impl FnOnce() -> T) -> Result<T, Errno> {
    nix::unistd::fchdir(folder)?;
    let result = act();
    nix::unistd::chdir("/")?;
    Ok(result)
}

/// `prctl` of a number alone. prctl(2).
pub fn prctl(option: i32, value: usize) -> Result<i32, Errno> {
    // SAFETY: only options whose arguments are plain numbers are asked for.
    let rc = unsafe { libc::prctl(option, value, 0usize, 0usize, 0usize) };
    check(rc.into())?;
    Ok(rc)
}

/// `gettid`. gettid(2).
#[must_use]
pub fn own_tid() -> Tid {
    // SAFETY: no memory is passed; it can not fail.
    Tid(unsafe { libc::gettid() })
}

/// Runs a call that may wait; every `interval` a signal to this thread ends it with EINTR. timer_create(2), SIGEV_THREAD_ID.
///
/// The signal is SIGURG, which nothing else here uses and which is ignored where no handler is.
pub fn interrupted<T>(interval: std::time::Duration, act: impl FnOnce() -> T) -> Result<T, Errno> {
    extern "C" fn nothing(_: libc::c_int) {}
    static HANDLER: std::sync::OnceLock<Result<(), Errno>> = std::sync::OnceLock::new();
    HANDLER
        .get_or_init(|| {
            // SAFETY: all-zero bytes are a valid value of this C struct: no flags, so no SA_RESTART.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            // SAFETY: the kernel reads one struct sigaction, whose handler does nothing and so is safe at any time.
            check(unsafe { libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()) }.into()).map(|_| ())
        })
        .as_ref()
        .map_err(|errno| *errno)?;
    INTERRUPTER.with(|timer| {
        let timer = match timer.get() {
            Some(timer) => timer,
            None => {
                let made = Interrupter::new()?;
                timer.get_or_init(|| made)
            }
        };
        timer.every(interval)?;
        let result = act();
        timer.every(std::time::Duration::ZERO)?;
        Ok(result)
    })
}

thread_local! {
    /// Made once a thread: making and deleting one costs as much as a whole connect's checks.
    static INTERRUPTER: std::cell::OnceCell<Interrupter> = const { std::cell::OnceCell::new() };
}

/// A timer that sends SIGURG to the thread that made it.
struct Interrupter(libc::timer_t);

impl Interrupter {
    fn new() -> Result<Self, Errno> {
        // SAFETY: all-zero bytes are a valid value of this C struct.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGURG;
        event.sigev_notify_thread_id = own_tid().0;
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: the kernel reads one struct sigevent and writes one timer's number; both outlive the call.
        check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) }.into())?;
        Ok(Self(timer))
    }

    /// Each `interval` from now on; never for zero.
    fn every(&self, interval: std::time::Duration) -> Result<(), Errno> {
        let every = libc::timespec {
            tv_sec: interval.as_secs().try_into().unwrap_or(1),
            tv_nsec: interval.subsec_nanos().into(),
        };
        let times = libc::itimerspec {
            it_interval: every,
            it_value: every,
        };
        // SAFETY: the timer lives as long as `self`; the kernel reads one struct itimerspec, which outlives the call.
        check(unsafe { libc::timer_settime(self.0, 0, &raw const times, std::ptr::null_mut()) }.into()).map(|_| ())
    }
}

impl Drop for Interrupter {
    fn drop(&mut self) {
        // SAFETY: the timer is this object's own and not used again.
        unsafe { libc::timer_delete(self.0) };
    }
}
