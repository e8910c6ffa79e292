//! Calls that name paths: opens, names, renames, inodes.

pub(super) mod bind;
pub(super) mod fast;
pub(super) mod inode;
pub(super) mod names;
pub(super) mod open;
pub(super) mod rename;

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::RwLock;

use nix::errno::Errno;

use super::judge::Matter;
use super::{Call, Stop};
use crate::caller::memory::CallerPath;
use crate::caller::resolve::{Held, Last, Name, Object, entry_name, name};
use crate::policy::{FileOp, Layer};
use crate::sys::fs::Stat;
use crate::sys::notify::Tid;

/// All names of the tree change here: a rename, and what makes a name lead elsewhere (a symlink, a link to one), holds it
/// shared. Who holds it alone knows that a path which is its own canonical name still leads where it was looked at.
static NAMES: RwLock<()> = RwLock::new(());

impl Call<'_> {
    fn tid(&self) -> Tid {
        self.notification.tid
    }

    fn path(&self, arg: usize) -> Result<CallerPath, Stop> {
        Ok(CallerPath::read(self.tid(), self.pointer(arg))?)
    }

    fn lookup(&self, dirfd: i32, arg: usize, last: Last) -> Result<Held, Stop> {
        Ok(self.view().resolve(dirfd, &self.path(arg)?, last)?)
    }

    /// The entry of a path whose last component is created, removed or renamed, and its canonical name.
    fn entry(&self, dirfd: i32, arg: usize) -> Result<Entry, Stop> {
        Self::entry_of(self.lookup(dirfd, arg, Last::Name)?)
    }

    fn entry_of(held: Held) -> Result<Entry, Stop> {
        let Some((dir, last)) = held.entry else {
            // `/`, `.` and `..`: they exist and have no entry of their own; of a file there are none.
            held.existing()?;
            return Err(Errno::EBUSY.into());
        };
        let canonical = entry_name(dir.as_fd(), &last)?;
        Ok(Entry {
            stat: held.object.as_ref().map(|object| object.stat),
            object: held.object,
            dir,
            last,
            canonical,
            slash: held.slash,
        })
    }

    /// Decides a write at an entry.
    fn permit_entry(&self, operation: &'static str, entry: &Entry) -> Result<(), Stop> {
        self.permit(FileOp::Write, operation, &Name::Path(entry.canonical.clone()), None)
    }

    /// Decides a new folder. `${home}/.cache/**` names what is below it; where only a default speaks of the folder itself, it may
    /// be made as what is in it may: else nothing could be put there on a machine where it is not yet.
    fn permit_new_folder(&self, entry: &Entry) -> Result<(), Stop> {
        let folder = self.verdict(FileOp::Write, &entry.canonical, None);
        let by_default = folder.rule.pattern.is_empty() && folder.rule.layer != Layer::Boundary;
        let inside = self.verdict(FileOp::Write, &[&*entry.canonical, b"/"].concat(), None);
        if !by_default || inside.decision >= folder.decision {
            return self.permit_entry("mkdir", entry);
        }
        let matter = Matter {
            action: "write_file",
            operation: "mkdir",
            target: &entry.canonical,
            object: None,
            argv: None,
        };
        self.settle(&matter, &inside)
    }

    /// Decides a change of a held object.
    fn permit_change(&self, operation: &'static str, object: &Object) -> Result<(), Stop> {
        self.permit(
            FileOp::Write,
            operation,
            &name(object.fd.as_fd(), &object.stat)?,
            Some(object),
        )
    }

    /// Creates with the caller's umask, which is this thread's own until the next creation.
    fn with_umask<T>(&self, create: impl FnOnce() -> Result<T, Errno>) -> Result<T, Stop> {
        crate::sys::process::set_umask(self.task.status()?.umask().ok_or(Errno::EACCES)?);
        Ok(create()?)
    }
}

/// A name in a held folder.
struct Entry {
    dir: OwnedFd,
    last: CString,
    canonical: Vec<u8>,
    object: Option<Object>,
    stat: Option<Stat>,
    slash: bool,
}

impl Entry {
    /// With the slash that the caller wrote, for calls whose errno depends on it.
    fn name(&self) -> Result<CString, Stop> {
        if !self.slash {
            return Ok(self.last.clone());
        }
        let mut bytes = self.last.as_bytes().to_vec();
        bytes.push(b'/');
        Ok(CString::new(bytes).map_err(|_| Errno::EINVAL)?)
    }
}
