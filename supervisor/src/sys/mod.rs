//! Raw system calls: the only unsafe code of the supervisor.
//!
//! One safe function a call; borrowed descriptors in, owned descriptors out, [`nix::errno::Errno`] as the error because
//! what fails here is mostly what the caller is to see.
#![allow(unsafe_code)]
// Constants of C headers and descriptor numbers change their type at this border.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

pub mod attempt;
pub mod diag;
pub mod fs;
pub mod ipc;
pub mod memory;
pub mod notify;
pub mod path;
pub mod probe;
pub mod process;
pub mod socket;
pub mod stderr;

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

/// -1 of a libc call into the thread's errno.
fn check(rc: libc::c_long) -> Result<libc::c_long, Errno> {
    if rc == -1 { Err(Errno::last()) } else { Ok(rc) }
}

/// A descriptor that a call has just returned.
fn owned(rc: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(check(rc)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this number as a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
