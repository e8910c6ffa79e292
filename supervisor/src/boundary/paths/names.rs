//! Names that come and go: unlink, rmdir, mkdir, mknod, symlink, link.

use std::os::fd::AsFd;
use std::sync::PoisonError;

use nix::errno::Errno;

use super::NAMES;
use crate::boundary::{Call, Reply, Stop};
use crate::caller::memory::CallerPath;
use crate::caller::resolve::{Held, Last, Name, name};
use crate::policy::FileOp;
use crate::sys::fs::{self, Kind};

pub(in crate::boundary) fn unlink(call: &Call<'_>) -> Result<Reply, Stop> {
    remove(call, libc::AT_FDCWD, 0, 0)
}

pub(in crate::boundary) fn rmdir(call: &Call<'_>) -> Result<Reply, Stop> {
    remove(call, libc::AT_FDCWD, 0, libc::AT_REMOVEDIR)
}

pub(in crate::boundary) fn unlinkat(call: &Call<'_>) -> Result<Reply, Stop> {
    let flags = call.int(2);
    if flags & !libc::AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL.into());
    }
    remove(call, call.int(0), 1, flags)
}

fn remove(call: &Call<'_>, dirfd: i32, arg: usize, flags: i32) -> Result<Reply, Stop> {
    let entry = match call.entry(dirfd, arg) {
        // The last component is `.`, `..` or nothing; natively each has its errno.
        Err(Stop::Errno(Errno::EBUSY)) => {
            let path = call.path(arg)?;
            return Err(if flags == 0 {
                Errno::EISDIR
            } else if path.bytes().ends_with(b"..") {
                Errno::ENOTEMPTY
            } else if path.bytes().ends_with(b".") {
                Errno::EINVAL
            } else {
                Errno::EBUSY
            }
            .into());
        }
        other => other?,
    };
    if entry.object.is_none() {
        return Err(Errno::ENOENT.into());
    }
    let name = Name::Path(entry.canonical.clone());
    call.permit(FileOp::Delete, "delete", &name, None)?;
    fs::unlink(entry.dir.as_fd(), entry.name()?.as_c_str(), flags)?;
    Ok(Reply::Value(0))
}

pub(in crate::boundary) fn mkdir(call: &Call<'_>) -> Result<Reply, Stop> {
    make_dir(call, libc::AT_FDCWD, 0, call.arg(1))
}

pub(in crate::boundary) fn mkdirat(call: &Call<'_>) -> Result<Reply, Stop> {
    make_dir(call, call.int(0), 1, call.arg(2))
}

fn new_entry(call: &Call<'_>, dirfd: i32, arg: usize) -> Result<super::Entry, Stop> {
    match call.entry(dirfd, arg) {
        Err(Stop::Errno(Errno::EBUSY)) => Err(Errno::EEXIST.into()),
        Ok(entry) if entry.object.is_some() => Err(Errno::EEXIST.into()),
        // procfs makes nothing, whatever a rule says.
        Ok(entry) if entry.canonical.starts_with(b"/proc/") => Err(Errno::ENOENT.into()),
        other => other,
    }
}

fn make_dir(call: &Call<'_>, dirfd: i32, arg: usize, mode: u64) -> Result<Reply, Stop> {
    let entry = new_entry(call, dirfd, arg)?;
    call.permit_new_folder(&entry)?;
    let mode = u32::try_from(mode & 0o7777).unwrap_or(0);
    call.with_umask(|| fs::mkdir(entry.dir.as_fd(), &entry.last, mode))?;
    Ok(Reply::Value(0))
}

pub(in crate::boundary) fn mknod(call: &Call<'_>) -> Result<Reply, Stop> {
    make_node(call, libc::AT_FDCWD, 0, call.arg(1))
}

pub(in crate::boundary) fn mknodat(call: &Call<'_>) -> Result<Reply, Stop> {
    make_node(call, call.int(0), 1, call.arg(2))
}

fn make_node(call: &Call<'_>, dirfd: i32, arg: usize, mode: u64) -> Result<Reply, Stop> {
    let mode = u32::try_from(mode & 0o177_777).unwrap_or(0);
    let device = match mode & libc::S_IFMT {
        0 | libc::S_IFREG | libc::S_IFIFO | libc::S_IFSOCK => false,
        libc::S_IFCHR | libc::S_IFBLK => true,
        libc::S_IFDIR => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::EINVAL.into()),
    };
    let entry = new_entry(call, dirfd, arg)?;
    if entry.slash {
        return Err(Errno::ENOENT.into());
    }
    if device {
        fs::may(entry.dir.as_fd(), libc::W_OK | libc::X_OK)?;
        return Err(Errno::EPERM.into());
    }
    call.permit_entry("mknod", &entry)?;
    call.with_umask(|| fs::mknod(entry.dir.as_fd(), &entry.last, mode))?;
    Ok(Reply::Value(0))
}

pub(in crate::boundary) fn symlink(call: &Call<'_>) -> Result<Reply, Stop> {
    make_symlink(call, libc::AT_FDCWD, 1)
}

pub(in crate::boundary) fn symlinkat(call: &Call<'_>) -> Result<Reply, Stop> {
    make_symlink(call, call.int(1), 2)
}

fn make_symlink(call: &Call<'_>, dirfd: i32, arg: usize) -> Result<Reply, Stop> {
    let target = CallerPath::read(call.tid(), call.pointer(0))?;
    if target.bytes().is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let entry = new_entry(call, dirfd, arg)?;
    if entry.slash {
        return Err(Errno::ENOENT.into());
    }
    call.permit_entry("symlink", &entry)?;
    let _shared = NAMES.read().unwrap_or_else(PoisonError::into_inner);
    fs::symlink(target.as_c_str(), entry.dir.as_fd(), &entry.last)?;
    Ok(Reply::Value(0))
}

pub(in crate::boundary) fn link(call: &Call<'_>) -> Result<Reply, Stop> {
    make_link(call, (libc::AT_FDCWD, 0), (libc::AT_FDCWD, 1), 0)
}

pub(in crate::boundary) fn linkat(call: &Call<'_>) -> Result<Reply, Stop> {
    make_link(call, (call.int(0), 1), (call.int(2), 3), call.int(4))
}

/// An alias must not give what its origin does not: read and write at the old name, write at the new.
fn make_link(call: &Call<'_>, old: (i32, usize), new: (i32, usize), flags: i32) -> Result<Reply, Stop> {
    if flags & !(libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = call.path(old.1)?;
    let last = if flags & libc::AT_SYMLINK_FOLLOW != 0 {
        Last::Follow
    } else {
        Last::Keep
    };
    // Without a path a descriptor is meant, from Linux 6.10 on without a capability; before, its name below /proc does the same.
    let held = if path.bytes().is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
        Held {
            entry: None,
            object: Some(call.held(old.0)?),
            slash: false,
        }
    } else {
        call.view().resolve(old.0, &path, last)?
    };
    let entry_of_old = held.entry.as_ref().map(|(dir, last)| {
        Ok::<_, Errno>((
            dir.as_fd().try_clone_to_owned().map_err(|_| Errno::EMFILE)?,
            last.clone(),
        ))
    });
    let entry_of_old = entry_of_old.transpose()?;
    let object = held.existing()?;
    let entry = new_entry(call, new.0, new.1)?;
    if entry.slash {
        return Err(Errno::ENOENT.into());
    }
    if fs::fstat(entry.dir.as_fd())?.id.dev != object.stat.id.dev {
        return Err(Errno::EXDEV.into());
    }
    let origin = name(object.fd.as_fd(), &object.stat)?;
    // What has no name any more may be another's by a second link: O_PATH, which is not decided, must not give it one here.
    if matches!(origin, Name::Path(_)) || object.via == Some(0) {
        call.permit(FileOp::Read, "link", &origin, Some(&object))?;
        call.permit(FileOp::Write, "link", &origin, Some(&object))?;
    }
    call.permit_entry("link", &entry)?;
    let _shared = NAMES.read().unwrap_or_else(PoisonError::into_inner);
    match (object.stat.kind(), entry_of_old) {
        (Kind::Symlink, Some((dir, old))) => fs::link_name(dir.as_fd(), &old, entry.dir.as_fd(), &entry.last)?,
        (Kind::Symlink, None) => return Err(Errno::EPERM.into()),
        _ => fs::link_object(object.fd.as_fd(), entry.dir.as_fd(), &entry.last)?,
    }
    Ok(Reply::Value(0))
}
