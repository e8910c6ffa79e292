//! Folders that the floor lets the tree read as a whole (`--reads kernel`), and what may come to lie in them.
//!
//! *Invariant:* a file comes below such a folder only where it may be read; a rename and a link decide that. A folder carries what nobody looked at.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use crate::sys::fs::{self, At, ObjectId};

/// Folders in folders; PATH_MAX allows fewer names in one path.
const DEPTH_MAX: usize = 4096;

/// The folders, by what they are: a rename keeps the grant.
#[derive(Debug, Default)]
pub struct Granted(HashSet<ObjectId>);

impl Granted {
    /// These folders.
    #[must_use]
    pub fn new(folders: HashSet<ObjectId>) -> Self {
        Self(folders)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether what moves from one held folder to another comes to be readable by that.
    pub(super) fn opens(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<bool, Errno> {
        Ok(self.covers(to)? && !self.covers(from)?)
    }

    /// Whether a held folder is one of them or below one, as Landlock finds it: up to the root, over the borders of mounts.
    fn covers(&self, dir: BorrowedFd<'_>) -> Result<bool, Errno> {
        let mut at = dir.try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
        let mut id = fs::fstat(at.as_fd())?.id;
        for _ in 0..DEPTH_MAX {
            if self.0.contains(&id) {
                return Ok(true);
            }
            let above = fs::open(At::Dir(at.as_fd()), c"..", libc::O_PATH | libc::O_DIRECTORY, 0, 0)?;
            let next = fs::fstat(above.as_fd())?.id;
            if next == id {
                return Ok(false);
            }
            (at, id) = (above, next);
        }
        Err(Errno::ELOOP)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;

    use super::Granted;
    use crate::sys::fs::{At, fstat, open};
    use crate::sys::path::c_string;

    #[test]
    fn a_folder_that_moves_into_a_granted_one_is_opened_by_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("granted/below")).unwrap();
        std::fs::create_dir_all(dir.path().join("other/below")).unwrap();
        let held = |name: &str| -> OwnedFd {
            let path = c_string(dir.path().join(name).as_os_str().as_bytes()).unwrap();
            open(At::Root, &path, libc::O_PATH, 0, 0).unwrap()
        };
        let granted = Granted::new([fstat(held("granted").as_fd()).unwrap().id].into());
        let opens = |from: &str, to: &str| granted.opens(held(from).as_fd(), held(to).as_fd()).unwrap();
        assert!(opens("other", "granted") && opens("other/below", "granted/below"));
        assert!(!opens("granted/below", "granted") && !opens("granted", "other") && !opens("other", "other/below"));
        std::fs::rename(dir.path().join("granted"), dir.path().join("other/moved")).unwrap();
        assert!(opens("other", "other/moved/below"), "under its new name too");
    }
}
