//! Raw calls of the shim.
#![allow(unsafe_code)]
// One message or pair is made from several raw steps that only hold together.
#![allow(clippy::multiple_unsafe_ops_per_block, clippy::indexing_slicing)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::Instruction;

fn check(rc: libc::c_long) -> io::Result<i32> {
    if rc == -1 {
        Err(io::Error::last_os_error())
    } else {
        i32::try_from(rc).map_err(io::Error::other)
    }
}

fn pair(fds: [RawFd; 2]) -> (OwnedFd, OwnedFd) {
    // SAFETY: the kernel has just returned both numbers as new descriptors that nobody else knows.
    unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) }
}

/// pipe2(2): read end, write end.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the kernel writes two ints into `fds`.
    let rc = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) };
    check(rc.into())?;
    Ok(pair(fds))
}

/// A pipe whose ends never make anybody wait.
pub(crate) fn bell() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the kernel writes two ints into `fds`.
    let rc = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
    check(rc.into())?;
    Ok(pair(fds))
}

/// One byte into a pipe of [`bell`]; a full one has rung already.
pub(crate) fn ring(fd: RawFd) {
    // SAFETY: the kernel reads one byte of a constant.
    unsafe { libc::write(fd, b"!".as_ptr().cast(), 1) };
}

/// socketpair(2), stream.
pub(crate) fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the kernel writes two ints into `fds`.
    let rc = unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
            0,
            fds.as_mut_ptr(),
        )
    };
    check(rc.into())?;
    Ok(pair(fds))
}

/// `setrlimit(resource)` with `limit` for both, or the hard limit that is in force where that is lower. setrlimit(2).
pub(crate) fn limit(resource: u32, limit: u64) -> io::Result<()> {
    let mut now = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes two numbers to `now`, which outlives the call.
    if unsafe { libc::getrlimit(resource, &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let limit = limit.min(now.rlim_max);
    let wanted = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: the kernel reads two numbers from `wanted`, which outlives the call.
    if unsafe { libc::setrlimit(resource, &raw const wanted) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// fork(2). The process has one thread, so the child may go on as any program.
pub(crate) fn fork() -> io::Result<i32> {
    // SAFETY: one thread only (documented at `spawn`): no lock can be held by a thread that is not copied.
    let rc = unsafe { libc::fork() };
    check(rc.into())
}

/// write(2) until all is written or it fails; a lost message shows as the end of the pipe.
pub(crate) fn write_all(fd: RawFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the kernel reads `bytes.len()` bytes that outlive the call.
        let done = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(done) {
            Ok(done) => bytes = bytes.get(done..).unwrap_or_default(),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// read(2) of one byte; false at the end.
pub(crate) fn read_byte(fd: RawFd) -> bool {
    let mut byte = 0u8;
    // SAFETY: the kernel writes at most one byte into `byte`.
    unsafe { libc::read(fd, (&raw mut byte).cast(), 1) == 1 }
}

/// close(2).
pub(crate) fn close(fd: RawFd) {
    // SAFETY: no memory is passed; the number is not used again by the process that closes it.
    unsafe { libc::close(fd) };
}

/// _exit(2).
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

/// prctl(2), PR_SET_CHILD_SUBREAPER.
pub(crate) fn become_subreaper() {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1usize, 0usize, 0usize, 0usize) };
}

/// prctl(2), PR_SET_PDEATHSIG: dies with the reaper.
pub(crate) fn die_with_parent() {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as usize, 0usize, 0usize, 0usize) };
}

/// prctl(2), PR_SET_DUMPABLE: the supervisor must read this process before its first exec (K29).
pub(crate) fn be_dumpable() {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1usize, 0usize, 0usize, 0usize) };
}

/// landlock_restrict_self(2).
pub(crate) fn restrict_self(ruleset: RawFd) -> io::Result<()> {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1usize, 0usize, 0usize, 0usize) };
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) }).map(|_| ())
}

/// The signals that a terminal or shell sends to a whole job reach the reaper too and must not end it.
pub(crate) fn ignore_terminal_signals() {
    for signal in [
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGPIPE,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
    ] {
        // SAFETY: SIG_IGN is no function of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// The launcher's signal mask, and SIGPIPE as programs expect it (the Rust runtime ignores it).
pub(crate) fn restore_signals(mask: &libc::sigset_t) {
    // SAFETY: SIG_DFL is no function of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: the kernel reads one sigset that outlives the call.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC.
pub(crate) fn close_on_exec_from(first: u32) {
    // SAFETY: numbers only.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// chdir(2).
pub(crate) fn chdir(path: &CStr) -> io::Result<()> {
    // SAFETY: the kernel reads the path up to its NUL.
    let rc = unsafe { libc::chdir(path.as_ptr()) };
    check(rc.into()).map(|_| ())
}

/// kill(2).
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: numbers only.
    unsafe { libc::kill(pid, signal) };
}

/// Whether the kernel refuses this process to signal `pid`, which has the same user: only a Landlock scope does.
pub(crate) fn signal_is_refused(pid: i32) -> bool {
    // SAFETY: signal 0 only asks.
    let rc = unsafe { libc::kill(pid, 0) };
    rc == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// getppid(2).
pub(crate) fn parent() -> i32 {
    // SAFETY: can not fail.
    unsafe { libc::getppid() }
}

/// getpid(2).
pub(crate) fn own_pid() -> i32 {
    // SAFETY: can not fail.
    unsafe { libc::getpid() }
}

/// What waitpid(2) told.
pub(crate) enum Waited {
    Ended(i32, i32),
    Stopped(i32),
    Continued(i32),
    Nothing,
    Nobody,
}

/// waitpid(2) of any child, without waiting.
pub(crate) fn wait_any() -> Waited {
    let mut status = 0;
    let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED | libc::__WALL;
    // SAFETY: the kernel writes one int into `status`.
    match unsafe { libc::waitpid(-1, &raw mut status, flags) } {
        0 => Waited::Nothing,
        -1 => Waited::Nobody,
        pid if libc::WIFSTOPPED(status) => Waited::Stopped(pid),
        pid if libc::WIFCONTINUED(status) => Waited::Continued(pid),
        pid => Waited::Ended(pid, status),
    }
}

/// signalfd(2) of SIGCHLD, which is blocked for it.
pub(crate) fn child_signals() -> OwnedFd {
    // SAFETY: all-zero bytes are a valid sigset.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a sigset of ours.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    // SAFETY: the kernel reads one sigset.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    // SAFETY: the kernel reads one sigset.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    // SAFETY: the kernel has just returned this number as a new descriptor (or -1, on which every later use fails).
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Waits for a child's signal (drained) or the supervisor's end (true).
pub(crate) fn wait_readable(children: RawFd, alive: RawFd, timeout_ms: i32) -> bool {
    let mut polled = [
        libc::pollfd {
            fd: children,
            events: libc::POLLIN,
            revents: 0,
        },
        libc::pollfd {
            fd: alive,
            events: libc::POLLIN,
            revents: 0,
        },
    ];
    // SAFETY: the kernel reads and writes two struct pollfd.
    unsafe { libc::poll(polled.as_mut_ptr(), 2, timeout_ms) };
    let mut info = [0u8; 128];
    // SAFETY: the kernel writes at most 128 bytes into `info`.
    while unsafe { libc::read(children, info.as_mut_ptr().cast(), info.len()) } > 0 {}
    polled[1].revents != 0
}

/// Whether a filter comes with a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Plain,
    Listener,
}

/// seccomp(2), SECCOMP_SET_MODE_FILTER; the listener's number, or 0.
pub(crate) fn load_filter(program: &[Instruction], load: Load) -> io::Result<RawFd> {
    let flags = match load {
        Load::Plain => 0,
        Load::Listener => libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    };
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel reads `len` instructions of eight bytes; `Instruction` has sock_filter's layout.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })
}

/// A NULL-terminated array of C strings.
pub(crate) struct Strings(Vec<*const libc::c_char>);

impl Strings {
    pub(crate) fn new(strings: &[CString]) -> Self {
        Self(strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect())
    }
}

/// execve(2); returns only its error.
pub(crate) fn exec(program: &CStr, argv: &Strings, env: &Strings) -> io::Error {
    // SAFETY: path and both arrays are NUL- and NULL-terminated; their strings belong to the plan.
    unsafe { libc::execve(program.as_ptr(), argv.0.as_ptr(), env.0.as_ptr()) };
    io::Error::last_os_error()
}
