//! Files that literal rules name, by device and inode: a further name of such a file counts as the path that a rule has for it (class 11).

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::fs::{self, At, Kind, ObjectId, Stat};

/// How long a look at the paths is good for: files are replaced, and a storm of opens must not pay for it.
const FRESH: Duration = Duration::from_millis(100);
/// Files that are held at most (I8).
const HELD_MAX: usize = 256;

/// What lies, or lay, at the paths.
#[derive(Debug)]
pub(super) struct LinkGuard {
    paths: Vec<CString>,
    seen: Mutex<Seen>,
    /// Whether any file is held.
    holds: AtomicBool,
}

#[derive(Debug, Default)]
struct Seen {
    at: Option<Instant>,
    /// What was there at that time: object and index of its path.
    now: Vec<(ObjectId, usize)>,
    /// Files that had further names when they lay there. Their path may come to mean another file and those names stay: while one is held, its
    /// number means no other.
    held: HashMap<ObjectId, (usize, OwnedFd)>,
}

impl LinkGuard {
    /// Looks at what is there now.
    pub(super) fn new(paths: Vec<Vec<u8>>) -> Self {
        let guard = Self {
            paths: paths.into_iter().filter_map(|path| CString::new(path).ok()).collect(),
            seen: Mutex::default(),
            holds: AtomicBool::new(false),
        };
        guard.look(&mut guard.seen.lock().unwrap_or_else(PoisonError::into_inner));
        guard
    }

    fn look(&self, seen: &mut Seen) {
        seen.now.clear();
        for (index, path) in self.paths.iter().enumerate() {
            let Ok(stat) = fs::stat_at(At::Root, path, 0) else {
                continue;
            };
            seen.now.push((stat.id, index));
            if stat.kind() == Kind::File
                && stat.nlink > 1
                && seen.held.len() < HELD_MAX
                && !seen.held.contains_key(&stat.id)
                && let Ok(fd) = fs::open(At::Root, path, libc::O_PATH, 0, 0)
                && fs::fstat(fd.as_fd()).is_ok_and(|held| held.id == stat.id)
            {
                seen.held.insert(stat.id, (index, fd));
                self.holds.store(true, Ordering::Release);
            }
        }
        seen.at = Some(Instant::now());
    }

    /// The path that a rule names for this file, if it has one and can have been reached by another name.
    pub(super) fn path_of(&self, stat: &Stat) -> Option<&[u8]> {
        if stat.nlink <= 1 && !self.holds.load(Ordering::Acquire) {
            return None;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if stat.nlink > 1 && seen.at.is_none_or(|at| at.elapsed() > FRESH) {
            self.look(&mut seen);
        }
        let held = seen.held.get(&stat.id).map(|(index, _)| *index);
        let now = || seen.now.iter().find(|(id, _)| *id == stat.id).map(|(_, index)| *index);
        let index = held.or_else(|| if stat.nlink > 1 { now() } else { None })?;
        self.paths.get(index).map(|path| path.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;

    use super::LinkGuard;
    use crate::sys::fs::{At, Stat, stat_at};
    use crate::sys::path::c_string;

    #[test]
    fn a_further_name_counts_even_when_the_path_has_come_to_mean_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let stat =
            |name: &str| -> Stat { stat_at(At::Root, &c_string(at(name).as_os_str().as_bytes()).unwrap(), 0).unwrap() };
        std::fs::write(at("secret"), "x").unwrap();
        std::fs::hard_link(at("secret"), at("alias")).unwrap();
        std::fs::write(at("other"), "y").unwrap();
        let secret = at("secret").as_os_str().as_bytes().to_vec();
        let guard = LinkGuard::new(vec![secret.clone()]);
        assert_eq!(guard.path_of(&stat("alias")), Some(secret.as_slice()));
        std::fs::rename(at("other"), at("secret")).unwrap();
        assert_eq!(stat("alias").nlink, 1);
        assert_eq!(guard.path_of(&stat("alias")), Some(secret.as_slice()));
        assert_eq!(guard.path_of(&stat("secret")), None, "reached by its own name");
        // While it is held, no new file gets its number.
        let number = at("alias").metadata().unwrap().ino();
        std::fs::remove_file(at("alias")).unwrap();
        for name in 0..50 {
            std::fs::write(at(&name.to_string()), "z").unwrap();
            assert_ne!(at(&name.to_string()).metadata().unwrap().ino(), number);
        }
    }
}
