//! The evidence folder: made or taken once, then only reached by the descriptor that is held.

use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{Uid, UnlinkatFlags, fsync, unlinkat};

use super::EvidenceError;

/// A folder of ours, 0700, and the descriptor through which alone it is used.
#[derive(Debug)]
pub struct EvidenceFolder {
    fd: OwnedFd,
    path: PathBuf,
}

/// `$XDG_STATE_HOME/cavra`, by default `~/.local/state/cavra`.
pub fn state_root() -> Result<PathBuf, EvidenceError> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("cavra"))
        .ok_or(EvidenceError::NoHome)
}

/// Where sessions keep their evidence unless told otherwise: `sessions` below [`state_root`].
pub fn sessions_root() -> Result<PathBuf, EvidenceError> {
    Ok(state_root()?.join("sessions"))
}

impl EvidenceFolder {
    /// Makes the folder, or takes one that is there, ours and empty. Its last component must be no symlink.
    pub(crate) fn create(path: &Path) -> Result<Self, EvidenceError> {
        let folder = Self::open_or_make(path)?;
        let mut entries = std::fs::read_dir(folder.magic_path()).map_err(|e| folder.error("list", e))?;
        match entries.next() {
            None => Ok(folder),
            Some(_) => Err(EvidenceError::NotEmpty(path.to_owned())),
        }
    }

    /// As [`Self::create`], but files may be in it: for folders that several sessions share.
    pub(crate) fn open_or_make(path: &Path) -> Result<Self, EvidenceError> {
        let error = |action, errno: Errno| EvidenceError::Io {
            path: path.to_owned(),
            action,
            source: errno.into(),
        };
        let path = std::path::absolute(path).map_err(|source| EvidenceError::Io {
            path: path.to_owned(),
            action: "find",
            source,
        })?;
        // `absolute` keeps a trailing slash, with which O_NOFOLLOW would follow; components drop it.
        let path: PathBuf = path.components().collect();
        let (parent, name) = match (path.parent(), path.components().next_back()) {
            (Some(parent), Some(Component::Normal(name))) => (parent, name),
            _ => return Err(EvidenceError::NotAFolder(path)),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|source| EvidenceError::Io {
                path: parent.to_owned(),
                action: "make",
                source,
            })?;
        let directory = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let parent =
            openat(AT_FDCWD, parent, directory | OFlag::O_PATH, Mode::empty()).map_err(|e| error("open", e))?;
        match mkdirat(&parent, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(error("make", errno)),
        }
        let fd = match openat(
            &parent,
            name,
            directory | OFlag::O_NOFOLLOW | OFlag::O_RDONLY,
            Mode::empty(),
        ) {
            Ok(fd) => fd,
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                let stat = fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|e| error("look at", e))?;
                let symlink = SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) == SFlag::S_IFLNK;
                return Err(if symlink {
                    EvidenceError::Symlink(path)
                } else {
                    EvidenceError::NotAFolder(path)
                });
            }
            Err(errno) => return Err(error("open", errno)),
        };
        let owner = fstat(&fd).map_err(|e| error("look at", e))?.st_uid;
        if owner != Uid::effective().as_raw() {
            return Err(EvidenceError::ForeignOwner { path, owner });
        }
        // A folder that was there may be open to others, and the umask may have closed a new one to us.
        fchmod(&fd, Mode::S_IRWXU).map_err(|e| error("close to others", e))?;
        Ok(Self { fd, path })
    }

    /// The folder's absolute path, for people.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path that means the held folder whatever its name means by now.
    pub(crate) fn magic_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// Makes a file in the folder that was not there, 0600, for appending.
    pub(crate) fn new_file(&self, name: &str) -> Result<File, Errno> {
        let flags =
            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_WRONLY | OFlag::O_APPEND;
        let file = openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // The thread that rotates may have a caller's umask.
        let kept = fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR).and_then(|()| fsync(&self.fd));
        if let Err(errno) = kept {
            // Left there, it would be in the way of the next attempt, for good.
            return unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir).and(Err(errno));
        }
        Ok(File::from(file))
    }

    /// Sets the mode of an entry, which must be no symlink.
    pub(crate) fn chmod(&self, name: &str, mode: Mode) -> Result<(), Errno> {
        fchmodat(&self.fd, name, mode, FchmodatFlags::FollowSymlink)
    }

    pub(crate) fn error(&self, action: &'static str, source: std::io::Error) -> EvidenceError {
        EvidenceError::Io {
            path: self.path.clone(),
            action,
            source,
        }
    }
}

impl AsFd for EvidenceFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a folder for reading: whoever may read it may verify it.
pub(crate) fn open_existing(path: &Path) -> Result<OwnedFd, Errno> {
    openat(
        AT_FDCWD,
        path,
        OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY,
        Mode::empty(),
    )
}

/// Opens a regular file in `folder` for reading, never a symlink, FIFO or device.
pub(crate) fn open_file(folder: BorrowedFd<'_>, name: &str) -> std::io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::from(openat(folder, name.as_bytes(), flags, Mode::empty())?);
    if file.metadata()?.mode() & libc::S_IFMT != libc::S_IFREG {
        return Err(std::io::Error::other("is not a regular file"));
    }
    Ok(file)
}

/// The names in a folder that is held.
pub(crate) fn names(folder: BorrowedFd<'_>) -> std::io::Result<Vec<String>> {
    let entries = std::fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()))?;
    entries
        .map(|entry| Ok(String::from_utf8_lossy(entry?.file_name().as_bytes()).into_owned()))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::EvidenceFolder;
    use crate::evidence::EvidenceError;

    #[test]
    fn only_a_new_or_empty_folder_of_ours_is_taken() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        EvidenceFolder::create(&at("new/deep")).unwrap();
        std::fs::create_dir(at("empty")).unwrap();
        EvidenceFolder::create(&at("empty/")).unwrap();
        assert_eq!(
            std::fs::metadata(at("empty")).unwrap().permissions().mode() & 0o777,
            0o700
        );

        symlink(at("empty"), at("link")).unwrap();
        assert!(matches!(
            EvidenceFolder::create(&at("link")),
            Err(EvidenceError::Symlink(_))
        ));
        assert!(matches!(
            EvidenceFolder::create(&at("link/")),
            Err(EvidenceError::Symlink(_))
        ));
        symlink(at("nothing"), at("dangling")).unwrap();
        assert!(matches!(
            EvidenceFolder::create(&at("dangling")),
            Err(EvidenceError::Symlink(_))
        ));
        std::fs::write(at("file"), "").unwrap();
        assert!(matches!(
            EvidenceFolder::create(&at("file")),
            Err(EvidenceError::NotAFolder(_))
        ));
        std::fs::write(at("empty/x"), "").unwrap();
        assert!(matches!(
            EvidenceFolder::create(&at("empty")),
            Err(EvidenceError::NotEmpty(_))
        ));
        assert!(matches!(
            EvidenceFolder::create(&at("empty/..")),
            Err(EvidenceError::NotAFolder(_))
        ));
    }

    #[test]
    fn the_held_folder_stays_the_folder() {
        let temp = tempfile::tempdir().unwrap();
        let folder = EvidenceFolder::create(&temp.path().join("a")).unwrap();
        std::fs::rename(temp.path().join("a"), temp.path().join("b")).unwrap();
        std::fs::create_dir(temp.path().join("a")).unwrap();
        folder.new_file("x").unwrap();
        assert!(temp.path().join("b/x").exists());
    }
}
