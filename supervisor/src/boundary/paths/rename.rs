//! rename, renameat, renameat2.

use std::os::fd::AsFd;
use std::sync::PoisonError;

use nix::errno::Errno;

use super::{Entry, NAMES};
use crate::boundary::{Call, Reply, Stop};
use crate::caller::resolve::{Held, Last, Name};
use crate::policy::FileOp;
use crate::sys::fs::{self, Kind};

pub(in crate::boundary) fn rename(call: &Call<'_>) -> Result<Reply, Stop> {
    perform(call, (libc::AT_FDCWD, 0), (libc::AT_FDCWD, 1), 0)
}

pub(in crate::boundary) fn renameat(call: &Call<'_>) -> Result<Reply, Stop> {
    perform(call, (call.int(0), 1), (call.int(2), 3), 0)
}

pub(in crate::boundary) fn renameat2(call: &Call<'_>) -> Result<Reply, Stop> {
    perform(call, (call.int(0), 1), (call.int(2), 3), call.int(4).cast_unsigned())
}

fn perform(call: &Call<'_>, old: (i32, usize), new: (i32, usize), flags: u32) -> Result<Reply, Stop> {
    let known = libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE;
    // RENAME_WHITEOUT makes a device node, which nobody in the tree may.
    if flags & libc::RENAME_WHITEOUT != 0 {
        return Err(Errno::EPERM.into());
    }
    if flags & !known != 0 || flags & known == known {
        return Err(Errno::EINVAL.into());
    }
    // The way to both is gone before either's last component is looked at; do_renameat2, fs/namei.c.
    let from = call.lookup(old.0, old.1, Last::Name)?;
    let to = call.lookup(new.0, new.1, Last::Name)?;
    if device(&from)? != device(&to)? {
        return Err(Errno::EXDEV.into());
    }
    if from.entry.is_none() {
        return Err(Errno::EBUSY.into());
    }
    if to.entry.is_none() && flags & libc::RENAME_NOREPLACE != 0 {
        return Err(Errno::EEXIST.into());
    }
    let (from, to) = (Call::entry_of(from)?, Call::entry_of(to)?);
    if from.object.is_none() {
        return Err(Errno::ENOENT.into());
    }
    let exchange = flags & libc::RENAME_EXCHANGE != 0;
    if exchange && to.object.is_none() {
        return Err(Errno::ENOENT.into());
    }
    if flags & libc::RENAME_NOREPLACE != 0 && to.object.is_some() {
        return Err(Errno::EEXIST.into());
    }
    if call.boundary.carries_own(&from.canonical) || call.boundary.carries_own(&to.canonical) {
        return Err(Errno::EXDEV.into());
    }
    moved(call, &from, &to)?;
    if exchange {
        moved(call, &to, &from)?;
    }
    let act = || {
        fs::rename(
            from.dir.as_fd(),
            from.name()?.as_c_str(),
            to.dir.as_fd(),
            to.name()?.as_c_str(),
            flags,
        )
        .map_err(Stop::Errno)
    };
    // Asked of folders alone: it goes through every pattern, and a file carries nothing but itself.
    let folder = |entry: &Entry| entry.stat.is_some_and(|stat| stat.kind() == Kind::Dir);
    let folders = folder(&from) || exchange && folder(&to);
    let same = folders && call.boundary.same_below(&from.canonical, &to.canonical);
    if same && call.boundary.granted.is_empty() {
        let _shared = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        act()?;
        return Ok(Reply::Value(0));
    }
    // Its border was checked against a kind of object: nothing of the tree may put a folder where a file was looked at.
    let _alone = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    let is_dir = |entry: &Entry| {
        fs::stat_at(fs::At::Dir(entry.dir.as_fd()), &entry.last, libc::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|s| s.kind() == Kind::Dir)
    };
    let opens = |from: &Entry, to: &Entry| call.boundary.granted.opens(from.dir.as_fd(), to.dir.as_fd());
    let past = |from: &Entry, to: &Entry| Ok::<_, Errno>(is_dir(from) && (!same || opens(from, to)?));
    if !crate::faults::off("border") && (past(&from, &to)? || exchange && past(&to, &from)?) {
        // A folder that crosses a rule's border, came where a file was, or comes to where the floor lets all be read, carries files past it: mv
        // copies after EXDEV, and each file is decided.
        return Err(Errno::EXDEV.into());
    }
    act()?;
    Ok(Reply::Value(0))
}

/// The device of the folder that a name is in. ENOTDIR for `.` of a file.
fn device(held: &Held) -> Result<u64, Stop> {
    match (&held.entry, &held.object) {
        (Some((dir, _)), _) => Ok(fs::fstat(dir.as_fd())?.id.dev),
        (None, Some(object)) if held.slash && object.stat.kind() != Kind::Dir => Err(Errno::ENOTDIR.into()),
        (None, Some(object)) => Ok(object.stat.id.dev),
        (None, None) => Err(Errno::ENOENT.into()),
    }
}

/// Read and write at the old name, write at the new.
fn moved(call: &Call<'_>, from: &Entry, to: &Entry) -> Result<(), Stop> {
    let name = Name::Path(from.canonical.clone());
    if from.stat.is_some_and(|stat| stat.kind() != Kind::Dir) {
        call.permit(FileOp::Read, "rename", &name, from.object.as_ref())?;
    }
    call.permit(FileOp::Write, "rename", &name, from.object.as_ref())?;
    call.permit_entry("rename", to)
}
