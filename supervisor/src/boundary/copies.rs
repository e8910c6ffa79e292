//! Programs that rules name, under other names: the same file by another link, or a file of the same bytes (classes 37 and 38).
//!
//! A copy that was changed by a byte is another program, and what an interpreter or a loader of its own computes is the caller's: this
//! catches renaming, not rewriting.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use super::digest;
use super::interpreter::LOADERS;
use crate::sys::fs::{self, At, Kind, ObjectId, Stat};
use crate::sys::path::c_string;

/// Programs at most, each with one descriptor (I8).
const KNOWN_MAX: usize = 256;
/// What the rules name, as it was found at launch.
#[derive(Debug, Default)]
pub(super) struct Copies(Vec<Known>);

#[derive(Debug)]
struct Known {
    name: String,
    stat: Stat,
    fd: OwnedFd,
    digest: OnceLock<Option<String>>,
    loader: bool,
}

impl Copies {
    /// Looks for the names in the folders of `path`, as `PATH` has them.
    pub(super) fn new(names: &[String], path: &std::ffi::OsStr) -> Self {
        let mut known: Vec<Known> = Vec::new();
        // Held and looked at once: a PATH names most of its folders twice, and there are names by the dozen.
        let mut folders: Vec<(ObjectId, OwnedFd)> = Vec::new();
        for dir in std::env::split_paths(path).filter(|dir| dir.is_absolute()) {
            let held = c_string(dir.as_os_str().as_bytes())
                .and_then(|dir| fs::open(At::Root, &dir, libc::O_PATH | libc::O_DIRECTORY, 0, 0))
                .and_then(|dir| Ok((fs::fstat(dir.as_fd())?.id, dir)));
            if let Ok(held) = held
                && folders.iter().all(|(id, _)| *id != held.0)
            {
                folders.push(held);
            }
        }
        let named = names.iter().flat_map(|name| {
            folders
                .iter()
                .map(move |(_, dir)| (name.as_str(), At::Dir(dir.as_fd()), name.as_str(), false))
        });
        let loaders = LOADERS.iter().map(|path| {
            let name = path.rsplit('/').next().unwrap_or(path);
            (name, At::Root, *path, true)
        });
        for (name, at, path, loader) in loaders.chain(named) {
            if known.len() >= KNOWN_MAX {
                tracing::warn!(
                    name,
                    "too many programs are named by rules: copies of this one are not recognised"
                );
                break;
            }
            let Some((fd, stat)) = open(at, path.as_bytes()) else {
                continue;
            };
            if known.iter().all(|old| old.stat.id != stat.id || old.name != name) {
                known.push(Known {
                    name: name.to_owned(),
                    stat,
                    fd,
                    digest: OnceLock::new(),
                    loader,
                });
            }
        }
        Self(known)
    }

    fn matching(&self, fd: BorrowedFd<'_>, stat: &Stat) -> Vec<&Known> {
        let own = OnceLock::new();
        let same = |known: &&Known| {
            known.stat.id == stat.id
                || known.stat.size == stat.size && {
                    let theirs = known.digest.get_or_init(|| digest(known.fd.as_fd()).ok());
                    theirs.is_some() && own.get_or_init(|| digest(fd).ok()) == theirs
                }
        };
        self.0.iter().filter(same).collect()
    }

    /// The names that rules have for the file behind a readable descriptor.
    pub(super) fn names(&self, fd: BorrowedFd<'_>, stat: &Stat) -> Vec<&str> {
        let found = self.matching(fd, stat);
        found.into_iter().map(|known| known.name.as_str()).collect()
    }

    /// Whether the file is a dynamic loader.
    pub(super) fn is_loader(&self, fd: BorrowedFd<'_>, stat: &Stat) -> bool {
        self.matching(fd, stat).iter().any(|known| known.loader)
    }
}

fn open(at: At<'_>, path: &[u8]) -> Option<(OwnedFd, Stat)> {
    let path = c_string(path).ok()?;
    // The kind first: what lies there may be a FIFO.
    let held = fs::open(at, &path, libc::O_PATH, 0, 0).ok()?;
    if fs::fstat(held.as_fd()).ok()?.kind() != Kind::File {
        return None;
    }
    let fd = fs::reopen(held.as_fd(), libc::O_RDONLY).ok()?;
    let stat = fs::fstat(fd.as_fd()).ok()?;
    Some((fd, stat))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;

    use super::{At, Copies, open};

    #[test]
    fn a_file_is_known_by_its_links_and_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("tool"), "tool's bytes").unwrap();
        std::fs::write(at("other"), "other bytes!").unwrap();
        std::fs::hard_link(at("tool"), at("link")).unwrap();
        std::fs::copy(at("tool"), at("copy")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        let copies = Copies::new(
            &["tool".into(), "folder".into(), "absent".into()],
            dir.path().as_os_str(),
        );
        for (name, wanted) in [("tool", true), ("link", true), ("copy", true), ("other", false)] {
            let (fd, stat) = open(At::Root, at(name).as_os_str().as_bytes()).unwrap();
            assert_eq!(!copies.names(fd.as_fd(), &stat).is_empty(), wanted, "{name}");
            assert!(!copies.is_loader(fd.as_fd(), &stat));
        }
    }
}
