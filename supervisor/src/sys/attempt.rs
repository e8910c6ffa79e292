//! Calls as an attacker makes them, for `cavractl selftest`: they are to be refused.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{check, owned};

/// io_uring_setup(2): a ring would open, connect and read beside the filter.
pub fn io_uring() -> Result<OwnedFd, Errno> {
    // struct io_uring_params, include/uapi/linux/io_uring.h: 120 bytes.
    let mut parameters = [0u64; 15];
    // SAFETY: the kernel reads and writes one io_uring_params, which is what the pointer leads to.
    owned(unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) })
}

/// openat(2) for reading, with garbage in the halves of registers that the kernel does not look at; among it O_PATH.
pub fn open_with_high_halves(path: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let high = 0xdead_0000_0000_0000_u64 | u64::from(libc::O_PATH.cast_unsigned()) << 32;
    let dirfd = high | u64::from(libc::AT_FDCWD.cast_unsigned());
    // SAFETY: `path` is a C string that outlives the call.
    owned(unsafe {
        libc::syscall(
            libc::SYS_openat,
            dirfd,
            path.as_ptr(),
            high | u64::from(libc::O_RDONLY.cast_unsigned()),
            0,
        )
    })
}

/// Whether a call with this number is answered by anything but "no such call" and "not permitted". Its arguments are no addresses.
#[must_use]
pub fn is_answered(number: i64) -> bool {
    // SAFETY: all arguments are -1 or 0: no memory is passed.
    let rc = unsafe { libc::syscall(number, -1, 0, 0, 0, 0, 0) };
    check(rc).map_or_else(|errno| errno != Errno::ENOSYS && errno != Errno::EPERM, |_| true)
}

/// getpid(2) under its i386 number: another table of calls. A filter of one architecture does not see it; ours kills whoever asks.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn foreign_getpid() -> i32 {
    let result: i64;
    // SAFETY: i386's getpid (20) takes no arguments; the gate clobbers r8 to r11 and no memory.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    result as i32
}

/// Bytes that another thread changes between two texts of one length while the kernel may read them.
struct Changing(Vec<AtomicU8>);

impl Changing {
    fn new(text: &[u8]) -> Self {
        Self(text.iter().copied().chain([0]).map(AtomicU8::new).collect())
    }

    fn set(&self, text: &[u8]) {
        for (to, from) in self.0.iter().zip(text) {
            to.store(*from, Ordering::Relaxed);
        }
    }

    fn as_ptr(&self) -> *const libc::c_char {
        self.0.as_ptr().cast()
    }
}

/// Runs `attempt` again and again while a thread changes what the pointer leads to; ends when it has won or the time is over.
fn while_changing(
    harmless: &[u8],
    forbidden: &[u8],
    time: Duration,
    attempt: impl Fn(*const libc::c_char) -> bool,
) -> bool {
    let text = Changing::new(harmless);
    let ends = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turns = 0_u32;
            while !ends.load(Ordering::Relaxed) {
                text.set(harmless);
                turns = turns.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (0..turns >> 20).for_each(|_| std::hint::spin_loop());
                text.set(forbidden);
                (0..turns >> 22).for_each(|_| std::hint::spin_loop());
            }
        });
        let mut won = false;
        while !won && began.elapsed() < time {
            won = attempt(text.as_ptr());
        }
        ends.store(true, Ordering::Relaxed);
        won
    })
}

/// open(2) of a path that changes; `is_forbidden` looks at what was opened.
pub fn open_while_changing(
    harmless: &[u8],
    forbidden: &[u8],
    time: Duration,
    is_forbidden: impl Fn(OwnedFd) -> bool,
) -> bool {
    while_changing(harmless, forbidden, time, |path| {
        // SAFETY: the bytes end with a NUL that no thread changes, and outlive the call.
        let fd = unsafe { libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC) };
        owned(fd.into()).is_ok_and(&is_forbidden)
    })
}

/// posix_spawn(3) of `sh -c LINE`, where LINE changes while the kernel may read it; whether one ended with `status`.
pub fn spawn_while_changing(harmless: &[u8], forbidden: &[u8], time: Duration, status: i32) -> bool {
    let (program, name, option) = (c"/bin/sh", c"sh", CString::from(c"-c"));
    while_changing(harmless, forbidden, time, |line| {
        let argv = [
            name.as_ptr().cast_mut(),
            option.as_ptr().cast_mut(),
            line.cast_mut(),
            ptr::null_mut(),
        ];
        let env = [ptr::null_mut()];
        let mut pid = 0;
        // SAFETY: all strings end with a NUL that no thread changes, both lists with a null pointer, and they outlive the call.
        let rc = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                program.as_ptr(),
                ptr::null(),
                ptr::null(),
                argv.as_ptr(),
                env.as_ptr(),
            )
        };
        let mut ended = 0;
        // SAFETY: the kernel writes one int.
        rc == 0
            && unsafe { libc::waitpid(pid, &raw mut ended, 0) } == pid
            && libc::WIFEXITED(ended)
            && libc::WEXITSTATUS(ended) == status
    })
}
