//! Changes of an inode: truncate, mode, owner, times, attributes, flags.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::boundary::{Call, Reply, Stop};
use crate::caller::memory::{bytes, string};
use crate::caller::resolve::{Last, Object};
use crate::caller::rights;
use crate::sys::fs::{self, Kind};
use crate::sys::memory::{RemotePtr, read_exact};
use crate::sys::process::{soft_limit, tgkill};

/// Longest attribute name with its NUL, and largest value; include/uapi/linux/limits.h.
const XATTR_NAME: usize = 256;
const XATTR_SIZE: u64 = 65536;

impl Call<'_> {
    fn target(&self, dirfd: i32, arg: usize, last: Last) -> Result<Object, Stop> {
        Ok(self.lookup(dirfd, arg, last)?.existing()?)
    }

    /// The object of an `*at` call that may name a descriptor itself (AT_EMPTY_PATH).
    fn target_at(&self, dirfd: i32, arg: usize, flags: i32) -> Result<Object, Stop> {
        let path = self.path(arg)?;
        if path.bytes().is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
            return self.held(dirfd);
        }
        let last = if flags & libc::AT_SYMLINK_NOFOLLOW != 0 {
            Last::Keep
        } else {
            Last::Follow
        };
        Ok(self.view().resolve(dirfd, &path, last)?.existing()?)
    }

    /// The object behind a descriptor.
    pub(super) fn held(&self, number: i32) -> Result<Object, Stop> {
        let fd = self.view().start(number)?;
        let stat = fs::fstat(fd.as_fd())?;
        let path_only = number != libc::AT_FDCWD && rights(self.duplicate(number)?.as_fd(), stat.id) == 0;
        let via = path_only.then_some(0);
        Ok(Object { fd, stat, via })
    }

    /// The object behind a descriptor that is more than O_PATH.
    fn opened(&self, number: i32) -> Result<Object, Stop> {
        let object = self.held(number)?;
        if fs::status_flags(self.duplicate(number)?.as_fd())? & libc::O_PATH != 0 {
            return Err(Errno::EBADF.into());
        }
        Ok(object)
    }

    /// The object behind a descriptor that is to be changed by it, and a duplicate to do it on.
    fn changed(&self, operation: &'static str) -> Result<OwnedFd, Stop> {
        let object = self.held(self.int(0))?;
        let duplicate = self.duplicate(self.int(0))?;
        if fs::status_flags(duplicate.as_fd())? & libc::O_PATH != 0 {
            return Err(Errno::EBADF.into());
        }
        self.permit_change(operation, &object)?;
        // The number may mean another file by now: what was decided is what is changed.
        if fs::fstat(duplicate.as_fd())?.id == object.stat.id {
            Ok(duplicate)
        } else {
            Err(Errno::EBADF.into())
        }
    }
}

fn done(result: Result<(), Errno>) -> Result<Reply, Stop> {
    result?;
    Ok(Reply::Value(0))
}

pub(in crate::boundary) fn truncate(call: &Call<'_>) -> Result<Reply, Stop> {
    let length = call.arg(1).cast_signed();
    if length < 0 {
        return Err(Errno::EINVAL.into());
    }
    let object = call.target(libc::AT_FDCWD, 0, Last::Follow)?;
    match object.stat.kind() {
        Kind::Dir => return Err(Errno::EISDIR.into()),
        Kind::File => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    call.permit_change("truncate", &object)?;
    // The limit is the caller's, not the supervisor's (I3); natively its signal comes with the errno.
    if u64::try_from(length).unwrap_or(0) > soft_limit(call.tid(), libc::RLIMIT_FSIZE)? {
        tgkill(call.task.tgid, call.tid(), libc::SIGXFSZ)?;
        return Err(Errno::EFBIG.into());
    }
    done(fs::ftruncate(
        fs::reopen(object.fd.as_fd(), libc::O_WRONLY | libc::O_NOCTTY)?.as_fd(),
        length,
    ))
}

fn set_mode(call: &Call<'_>, object: &Object, mode: u64) -> Result<Reply, Stop> {
    if object.stat.kind() == Kind::Symlink {
        return Err(Errno::EOPNOTSUPP.into());
    }
    call.permit_change("chmod", object)?;
    done(fs::chmod(object.fd.as_fd(), u32::try_from(mode & 0o7777).unwrap_or(0)))
}

pub(in crate::boundary) fn chmod(call: &Call<'_>) -> Result<Reply, Stop> {
    set_mode(call, &call.target(libc::AT_FDCWD, 0, Last::Follow)?, call.arg(1))
}

pub(in crate::boundary) fn fchmodat(call: &Call<'_>) -> Result<Reply, Stop> {
    set_mode(call, &call.target(call.int(0), 1, Last::Follow)?, call.arg(2))
}

pub(in crate::boundary) fn fchmodat2(call: &Call<'_>) -> Result<Reply, Stop> {
    let flags = call.int(3);
    if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    set_mode(call, &call.target_at(call.int(0), 1, flags)?, call.arg(2))
}

pub(in crate::boundary) fn fchmod(call: &Call<'_>) -> Result<Reply, Stop> {
    let fd = call.changed("chmod")?;
    done(fs::fchmod(fd.as_fd(), u32::try_from(call.arg(1) & 0o7777).unwrap_or(0)))
}

fn set_owner(call: &Call<'_>, object: &Object, first: usize) -> Result<Reply, Stop> {
    call.permit_change("chown", object)?;
    done(fs::chown(
        object.fd.as_fd(),
        call.int(first).cast_unsigned(),
        call.int(first + 1).cast_unsigned(),
    ))
}

pub(in crate::boundary) fn chown(call: &Call<'_>) -> Result<Reply, Stop> {
    set_owner(call, &call.target(libc::AT_FDCWD, 0, Last::Follow)?, 1)
}

pub(in crate::boundary) fn lchown(call: &Call<'_>) -> Result<Reply, Stop> {
    set_owner(call, &call.target(libc::AT_FDCWD, 0, Last::Keep)?, 1)
}

pub(in crate::boundary) fn fchownat(call: &Call<'_>) -> Result<Reply, Stop> {
    let flags = call.int(4);
    if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    set_owner(call, &call.target_at(call.int(0), 1, flags)?, 2)
}

pub(in crate::boundary) fn fchown(call: &Call<'_>) -> Result<Reply, Stop> {
    let fd = call.changed("chown")?;
    done(fs::chown(
        fd.as_fd(),
        call.int(1).cast_unsigned(),
        call.int(2).cast_unsigned(),
    ))
}

/// Two timespecs, or now for a null pointer.
fn timespecs(call: &Call<'_>, at: RemotePtr, to_nanos: i64) -> Result<Option<[libc::timespec; 2]>, Stop> {
    if at.0 == 0 {
        return Ok(None);
    }
    let raw: [u8; 32] = bytes(call.tid(), at)?;
    let word = |index: usize| {
        raw.as_chunks::<8>()
            .0
            .get(index)
            .map_or(0, |chunk| i64::from_ne_bytes(*chunk))
    };
    let time = |index: usize| -> Result<libc::timespec, Stop> {
        let fraction = word(index + 1);
        // Microseconds are checked here; nanoseconds and their special values by the kernel.
        if to_nanos != 1 && !(0..1_000_000).contains(&fraction) {
            return Err(Errno::EINVAL.into());
        }
        Ok(libc::timespec {
            tv_sec: word(index),
            tv_nsec: fraction.checked_mul(to_nanos).ok_or(Errno::EINVAL)?,
        })
    };
    Ok(Some([time(0)?, time(2)?]))
}

fn set_times(call: &Call<'_>, object: &Object, times: Option<[libc::timespec; 2]>) -> Result<Reply, Stop> {
    call.permit_change("utimes", object)?;
    done(fs::utimens(object.fd.as_fd(), times))
}

pub(in crate::boundary) fn utime(call: &Call<'_>) -> Result<Reply, Stop> {
    let times = if call.arg(1) == 0 {
        None
    } else {
        let raw: [u8; 16] = bytes(call.tid(), call.pointer(1))?;
        let second = |index: usize| {
            raw.as_chunks::<8>()
                .0
                .get(index)
                .map_or(0, |chunk| i64::from_ne_bytes(*chunk))
        };
        Some([0, 1].map(|index| libc::timespec {
            tv_sec: second(index),
            tv_nsec: 0,
        }))
    };
    set_times(call, &call.target(libc::AT_FDCWD, 0, Last::Follow)?, times)
}

pub(in crate::boundary) fn utimes(call: &Call<'_>) -> Result<Reply, Stop> {
    let times = timespecs(call, call.pointer(1), 1000)?;
    set_times(call, &call.target(libc::AT_FDCWD, 0, Last::Follow)?, times)
}

pub(in crate::boundary) fn futimesat(call: &Call<'_>) -> Result<Reply, Stop> {
    let times = timespecs(call, call.pointer(2), 1000)?;
    let object = if call.arg(1) == 0 {
        call.opened(call.int(0))?
    } else {
        call.target(call.int(0), 1, Last::Follow)?
    };
    set_times(call, &object, times)
}

pub(in crate::boundary) fn utimensat(call: &Call<'_>) -> Result<Reply, Stop> {
    let flags = call.int(3);
    let times = timespecs(call, call.pointer(2), 1)?;
    if times.is_some_and(|times| times.iter().all(|time| time.tv_nsec == libc::UTIME_OMIT)) {
        return Ok(Reply::Value(0));
    }
    if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    // Without a path the descriptor itself is meant: futimens. The working folder is none.
    let object = if call.arg(1) == 0 && call.int(0) != libc::AT_FDCWD {
        if flags != 0 {
            return Err(Errno::EINVAL.into());
        }
        call.opened(call.int(0))?
    } else {
        call.target_at(call.int(0), 1, flags)?
    };
    set_times(call, &object, times)
}

fn attribute(call: &Call<'_>, arg: usize) -> Result<CString, Stop> {
    let name = string(call.tid(), call.pointer(arg), XATTR_NAME, Errno::ERANGE)?;
    if name.is_empty() {
        Err(Errno::ERANGE.into())
    } else {
        Ok(name)
    }
}

fn value(call: &Call<'_>) -> Result<Vec<u8>, Stop> {
    if call.arg(3) > XATTR_SIZE {
        return Err(Errno::E2BIG.into());
    }
    let mut value = vec![0; usize::try_from(call.arg(3)).map_err(|_| Errno::E2BIG)?];
    if !value.is_empty() {
        read_exact(call.tid(), call.pointer(2), &mut value)?;
    }
    Ok(value)
}

fn set_attribute(call: &Call<'_>, last: Last) -> Result<Reply, Stop> {
    let (name, value) = (attribute(call, 1)?, value(call)?);
    let object = call.target(libc::AT_FDCWD, 0, last)?;
    call.permit_change("setxattr", &object)?;
    done(fs::setxattr(object.fd.as_fd(), &name, &value, call.int(4)))
}

pub(in crate::boundary) fn setxattr(call: &Call<'_>) -> Result<Reply, Stop> {
    set_attribute(call, Last::Follow)
}

pub(in crate::boundary) fn lsetxattr(call: &Call<'_>) -> Result<Reply, Stop> {
    set_attribute(call, Last::Keep)
}

pub(in crate::boundary) fn fsetxattr(call: &Call<'_>) -> Result<Reply, Stop> {
    let (name, value) = (attribute(call, 1)?, value(call)?);
    done(fs::setxattr(
        call.changed("setxattr")?.as_fd(),
        &name,
        &value,
        call.int(4),
    ))
}

fn remove_attribute(call: &Call<'_>, last: Last) -> Result<Reply, Stop> {
    let name = attribute(call, 1)?;
    let object = call.target(libc::AT_FDCWD, 0, last)?;
    call.permit_change("removexattr", &object)?;
    done(fs::removexattr(object.fd.as_fd(), &name))
}

pub(in crate::boundary) fn removexattr(call: &Call<'_>) -> Result<Reply, Stop> {
    remove_attribute(call, Last::Follow)
}

pub(in crate::boundary) fn lremovexattr(call: &Call<'_>) -> Result<Reply, Stop> {
    remove_attribute(call, Last::Keep)
}

pub(in crate::boundary) fn fremovexattr(call: &Call<'_>) -> Result<Reply, Stop> {
    let name = attribute(call, 1)?;
    done(fs::removexattr(call.changed("removexattr")?.as_fd(), &name))
}

/// FS_IOC_SETFLAGS and FS_IOC32_SETFLAGS, and of their flags FS_CASEFOLD_FL; include/uapi/linux/fs.h.
const SET_FLAGS: [u64; 2] = [0x4008_6602, 0x4004_6602];
const CASEFOLD: u32 = 0x4000_0000;

/// The requests that change an inode through a merely readable descriptor; the filter notifies no others.
pub(in crate::boundary) fn ioctl(call: &Call<'_>) -> Result<Reply, Stop> {
    let request = call.arg(1) & 0xffff_ffff;
    if !crate::filter::INODE_IOCTLS.contains(&request) {
        return Err(Errno::ENOTTY.into());
    }
    // Bits 16 to 29 of a request are the size of what it reads; include/uapi/asm-generic/ioctl.h. FS_IOC_SETFLAGS says long and reads an int.
    let size = usize::try_from((request >> 16) & 0x3fff).map_err(|_| Errno::EINVAL)?;
    let mut data = vec![0u8; size.max(8)];
    let read = if request == 0x401c_5820 { size } else { 4 };
    read_exact(call.tid(), call.pointer(2), data.get_mut(..read).ok_or(Errno::EINVAL)?)?;
    // A folder that begins to fold names would be one that the policy was not compiled for.
    let flags = data.first_chunk().map_or(0, |flags| u32::from_ne_bytes(*flags));
    if SET_FLAGS.contains(&request) && flags & CASEFOLD != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let fd = call.changed("ioctl")?;
    Ok(Reply::Value(fs::ioctl_write(fd.as_fd(), request, &mut data)?))
}
