//! What the floor lets a session read where the kernel decides reads: trees in which the policy has nothing to say.
//!
//! *Invariant:* what is granted can be read under every name that leads to it. So a folder is granted as a whole only where everybody may read
//! all that is in it and what is not there yet, and nothing in it has a path elsewhere; of all others each file by itself.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use landlock::{AccessFs, BitFlags, PathBeneath, RulesetCreated, RulesetCreatedAttr, RulesetError};
use nix::errno::Errno;

use super::launch::LaunchError;
use crate::boundary::Mounts;
use crate::evidence::Reads;
use crate::policy::{Policy, SYSTEM_TREES, folded};
use crate::sys::fs::{self, At, Kind, ObjectId, resolve as how};
use crate::sys::path::{FdPath, c_string};
use crate::text::printable;

/// Entries of one tree that are looked at.
const ENTRIES_MAX: usize = 200_000;
/// Folders in folders that are looked at.
const DEPTH_MAX: usize = 200;
/// Trees that the opening record names.
const NAMED_MAX: usize = 20;
/// What programs read besides: configuration, state of the running system, and the stores of two package managers.
pub(super) const BESIDES: [&str; 4] = ["/etc", "/run", "/nix/store", "/snap"];
/// Trees of the kernel's own, which no walk shows: as a whole or not at all.
const KERNEL: [&str; 2] = ["/proc", "/sys"];
/// Devices that the boundary hands out for reading to whoever asks; a terminal only means its opener by this name.
const DEVICES: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];

/// File systems whose files the kernel makes up, processes of others and queues among them: procfs (another than /proc), sysfs, devpts, mqueue,
/// debugfs, tracefs, bpf, cgroup2; include/uapi/linux/magic.h, fs/devpts/inode.c, ipc/mqueue.c.
const PSEUDO: [i64; 8] = [
    0x9fa0,
    0x6265_6572,
    0x1cd1,
    0x1980_0202,
    0x6462_6720,
    0x7472_6163,
    0xcafe_4a11,
    0x6367_7270,
];

/// What was granted.
pub(super) struct Granted {
    /// Folders that are granted as a whole.
    pub(super) folders: HashSet<ObjectId>,
    /// For the opening record.
    pub(super) reads: Reads,
    /// The first thing in the workspace that keeps it from being granted as a whole.
    pub(super) obstacle: Option<Vec<u8>>,
}

/// Where a session reads.
pub(super) struct Wanted<'a> {
    /// Looked at to the end, or nothing is started.
    pub(super) whole: Vec<&'a Path>,
    /// Looked at as far as the bound allows.
    pub(super) besides: Vec<PathBuf>,
    /// The session's own folders and those of others, which nobody in the tree reads.
    pub(super) own: Vec<Vec<u8>>,
}

/// Adds the rules.
pub(super) fn grant(floor: &mut RulesetCreated, policy: &Policy, wanted: &Wanted<'_>) -> Result<Granted, LaunchError> {
    let guarded = policy.literal_paths().into_iter().filter_map(|path| {
        let stat = fs::stat_at(At::Root, &c_string(&path).ok()?, 0).ok()?;
        (stat.kind() == Kind::File && stat.nlink > 1).then_some(stat.id)
    });
    let mut walk = Walk {
        floor,
        policy,
        mounts: Mounts::read(),
        own: &wanted.own,
        guarded: guarded.collect(),
        seen: HashMap::new(),
        left: ENTRIES_MAX,
        obstacle: None,
        granted: Granted {
            folders: HashSet::new(),
            reads: Reads {
                by: "kernel".to_owned(),
                ..Reads::default()
            },
            obstacle: None,
        },
    };
    for path in KERNEL {
        walk.kernel(path)?;
    }
    let terminals = [0, 1, 2].map(|fd| fs::readlink(At::Root, FdPath::new(fd).as_c_str()).unwrap_or_default());
    let terminals = terminals.iter().filter(|name| name.starts_with(b"/dev/pts/"));
    for path in DEVICES
        .iter()
        .map(|path| path.as_bytes())
        .chain(terminals.map(Vec::as_slice))
    {
        walk.device(path)?;
    }
    // Where programs and what they load lie. Links among them lead to others.
    for path in SYSTEM_TREES.iter().filter(|path| !KERNEL.contains(path)) {
        walk.system(path)?;
    }
    for (index, path) in wanted.whole.iter().enumerate() {
        let obstacle = walk.tree(path)?;
        if walk.left == 0 {
            return Err(LaunchError::Reads(format!(
                "{} has more than {ENTRIES_MAX} entries, too many to look at: name a smaller folder, or leave out --reads kernel",
                path.display()
            )));
        }
        if index == 0 {
            walk.granted.obstacle = obstacle;
        }
    }
    for path in &wanted.besides {
        walk.tree(path)?;
        if walk.left == 0 {
            walk.granted.reads.left_out.push(printable(path.as_os_str().as_bytes()));
        }
    }
    Ok(walk.granted)
}

struct Walk<'a> {
    floor: &'a mut RulesetCreated,
    policy: &'a Policy,
    mounts: Mounts,
    own: &'a [Vec<u8>],
    /// Files that literal rules name and that have further names.
    guarded: HashSet<ObjectId>,
    /// Folders that were looked at, and whether they can be granted as a whole.
    seen: HashMap<ObjectId, bool>,
    /// Entries that this tree may still have.
    left: usize,
    /// What kept the first folder from being granted as a whole.
    obstacle: Option<Vec<u8>>,
    granted: Granted,
}

impl Walk<'_> {
    /// A tree of the machine's or the user's, folder or file; what kept it from being granted as a whole.
    fn tree(&mut self, path: &Path) -> Result<Option<Vec<u8>>, LaunchError> {
        (self.left, self.obstacle) = (ENTRIES_MAX, None);
        let Ok(path) = path.canonicalize() else { return Ok(None) };
        let path = path.as_os_str().as_bytes();
        let Some((fd, stat)) = held(At::Root, path, 0) else {
            return Ok(None);
        };
        let free = match stat.kind() {
            Kind::Dir => self.folder(fd.as_fd(), path, stat.id, 0)?,
            Kind::File => self.is_free(path) && !self.guarded.contains(&stat.id),
            Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::Char | Kind::Block | Kind::Other => false,
        };
        if free {
            self.allow(fd, path, stat.kind(), stat.id)?;
        }
        Ok(self.obstacle.take().filter(|_| !free))
    }

    /// A tree that patterns by name do not reach into: the policy as a whole shows that all of it is free. Where it does not, it is looked at as
    /// any other.
    fn system(&mut self, path: &str) -> Result<(), LaunchError> {
        let Ok(path) = Path::new(path).canonicalize() else {
            return Ok(());
        };
        let name = path.as_os_str().as_bytes();
        let proved = self.guarded.is_empty()
            && self.policy.is_system_tree(name)
            && self.policy.reads_below(name)
            && !self.is_around_own(name)
            && !self.mounts.is_around(name);
        let Some((fd, stat)) = held(At::Root, name, libc::O_DIRECTORY).filter(|_| proved) else {
            return self.tree(&path).map(drop);
        };
        // Root may open the nodes of a system in a folder (a container's image).
        if nix::unistd::geteuid().is_root() && has_devices(&path, &mut 0) {
            return self.tree(&path).map(drop);
        }
        self.seen.insert(stat.id, true);
        self.allow(fd, name, Kind::Dir, stat.id)
    }

    fn kernel(&mut self, path: &str) -> Result<(), LaunchError> {
        let name = path.as_bytes();
        if !self.policy.reads_below(name) {
            return Err(LaunchError::Reads(format!(
                "a rule is about reading in {path}, and the kernel grants that as a whole or not at all: leave out --reads kernel"
            )));
        }
        match held(At::Root, name, libc::O_DIRECTORY) {
            Some((fd, _)) => self.rule(fd, name, AccessFs::ReadFile.into()),
            None => Ok(()),
        }
    }

    fn device(&mut self, path: &[u8]) -> Result<(), LaunchError> {
        match held(At::Root, path, 0) {
            Some((fd, stat)) if stat.kind() == Kind::Char && self.policy.reads_plainly(path) => {
                self.rule(fd, path, AccessFs::ReadFile | AccessFs::IoctlDev)
            }
            _ => Ok(()),
        }
    }

    /// Whether all of a folder is free. Where not, what is free in it has been granted.
    fn folder(&mut self, dir: BorrowedFd<'_>, path: &[u8], id: ObjectId, depth: usize) -> Result<bool, LaunchError> {
        if let Some(whole) = self.seen.get(&id) {
            return Ok(*whole);
        }
        self.seen.insert(id, false);
        if depth > DEPTH_MAX
            || self.is_own(path)
            || path == b"/dev"
            || fs::fs_magic(dir).map_or(true, |magic| PSEUDO.contains(&magic))
        {
            return Ok(self.keeps(path));
        }
        let Ok(entries) = std::fs::read_dir(Path::new(std::ffi::OsStr::from_bytes(
            FdPath::new(std::os::fd::AsRawFd::as_raw_fd(&dir)).as_c_str().to_bytes(),
        ))) else {
            return Ok(self.keeps(path));
        };
        let mut whole =
            self.policy.reads_below(path) && !self.is_around_own(path) && self.mounts.others(path).is_empty();
        if !whole {
            self.keeps(path);
        }
        let mut free: Vec<(CString, Option<ObjectId>)> = Vec::new();
        for entry in entries {
            // A folder that changes while it is looked at, or that runs over the bound, is not known as a whole.
            let Some((entry, left)) = entry.ok().zip(self.left.checked_sub(1)) else {
                whole = self.keeps(path);
                break;
            };
            self.left = left;
            let name = entry.file_name();
            let below = [path.strip_suffix(b"/").unwrap_or(path), b"/", name.as_bytes()].concat();
            let (Ok(name), Ok(kind)) = (c_string(name.as_bytes()), entry.file_type()) else {
                whole = self.keeps(&below);
                continue;
            };
            if kind.is_symlink() || kind.is_socket() {
                continue;
            }
            let found = if kind.is_dir() {
                self.below(dir, &name, &below, depth)?.map(Some)
            } else {
                let is_file = kind.is_file() || kind.is_fifo();
                (is_file && self.is_free(&below) && !self.is_guarded(dir, &name)).then_some(None)
            };
            match found {
                Some(id) => free.push((name, id)),
                None => whole = self.keeps(&below),
            }
        }
        if whole {
            self.seen.insert(id, true);
            return Ok(true);
        }
        for (name, id) in free {
            let Some((fd, stat)) = held(At::Dir(dir), name.as_bytes(), 0) else {
                continue;
            };
            let below = [path.strip_suffix(b"/").unwrap_or(path), b"/", name.as_bytes()].concat();
            // What was looked at, or a file that came in its place: that has the same name, and must have no other.
            let same = match id {
                Some(id) => stat.id == id,
                None => matches!(stat.kind(), Kind::File | Kind::Fifo) && !self.guarded.contains(&stat.id),
            };
            if same {
                self.allow(fd, &below, stat.kind(), stat.id)?;
            }
        }
        Ok(false)
    }

    /// A folder in a folder: its identity where it is free as a whole.
    fn below(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CString,
        path: &[u8],
        depth: usize,
    ) -> Result<Option<ObjectId>, LaunchError> {
        match held(At::Dir(dir), name.as_bytes(), libc::O_DIRECTORY) {
            Some((fd, stat)) => Ok(self.folder(fd.as_fd(), path, stat.id, depth + 1)?.then_some(stat.id)),
            None => Ok(None),
        }
    }

    /// Remembers what was in the way first; false.
    fn keeps(&mut self, path: &[u8]) -> bool {
        self.obstacle.get_or_insert_with(|| path.to_vec());
        false
    }

    fn is_free(&self, path: &[u8]) -> bool {
        self.policy.reads_plainly(path)
            && !self.is_own(path)
            && self
                .mounts
                .others(path)
                .iter()
                .all(|other| self.policy.reads_plainly(other) && !self.is_own(other))
    }

    fn is_guarded(&self, dir: BorrowedFd<'_>, name: &CString) -> bool {
        !self.guarded.is_empty()
            && fs::stat_at(At::Dir(dir), name, libc::AT_SYMLINK_NOFOLLOW)
                .map_or(true, |stat| self.guarded.contains(&stat.id))
    }

    fn spellings(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let folds = self.policy.folds().then(|| folded(path));
        std::iter::once(path.to_vec()).chain(folds).collect()
    }

    /// Whether a path is one of the session's own, or below it.
    fn is_own(&self, path: &[u8]) -> bool {
        let below = |path: &[u8]| self.own.iter().any(|own| lies_in(path, own));
        self.spellings(path).iter().any(|path| below(path))
    }

    /// Whether one of the session's own folders is in this one, or will be.
    fn is_around_own(&self, path: &[u8]) -> bool {
        let around = |path: &[u8]| self.own.iter().any(|own| lies_in(own, path));
        self.spellings(path).iter().any(|path| around(path))
    }

    fn allow(&mut self, fd: OwnedFd, path: &[u8], kind: Kind, id: ObjectId) -> Result<(), LaunchError> {
        let file = AccessFs::Execute | AccessFs::ReadFile;
        if kind != Kind::Dir {
            return self.rule(fd, path, file);
        }
        self.granted.folders.insert(id);
        self.rule(fd, path, file | AccessFs::ReadDir)
    }

    fn rule(&mut self, fd: OwnedFd, path: &[u8], rights: BitFlags<AccessFs>) -> Result<(), LaunchError> {
        let reads = &mut self.granted.reads;
        reads.trees += 1;
        if reads.named.len() < NAMED_MAX {
            reads.named.push(printable(path));
        }
        let landlock = |error: RulesetError| LaunchError::Landlock(error.to_string());
        (&mut *self.floor)
            .add_rule(PathBeneath::new(fd, rights))
            .map(drop)
            .map_err(landlock)
    }
}

/// Whether a path is a folder, or below it.
fn lies_in(path: &[u8], folder: &[u8]) -> bool {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// What is there, held; no link is followed.
fn held(at: At<'_>, path: &[u8], flags: i32) -> Option<(OwnedFd, fs::Stat)> {
    let open = || -> Result<(OwnedFd, fs::Stat), Errno> {
        let flags = flags | libc::O_PATH | libc::O_NOFOLLOW;
        let fd = fs::open(at, &c_string(path)?, flags, 0, how::NO_SYMLINKS | how::NO_MAGICLINKS)?;
        let stat = fs::fstat(fd.as_fd())?;
        Ok((fd, stat))
    };
    open().ok()
}

/// Whether there are devices in a tree, or too much to tell.
fn has_devices(path: &Path, seen: &mut usize) -> bool {
    /// Entries of a large distribution are a third of this.
    const MAX: usize = 2_000_000;
    let Ok(entries) = std::fs::read_dir(path) else {
        return true;
    };
    for entry in entries {
        *seen += 1;
        let Some((entry, kind)) = entry
            .ok()
            .and_then(|entry| Some((entry.file_type().ok()?, entry)))
            .map(|(k, e)| (e, k))
        else {
            return true;
        };
        let device = kind.is_block_device() || kind.is_char_device();
        if device || *seen > MAX || kind.is_dir() && has_devices(&entry.path(), seen) {
            return true;
        }
    }
    false
}
