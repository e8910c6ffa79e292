//! From a caller's path to held objects.
//!
//! Every step stays on held descriptors, so what is decided is what is acted on. Where a name in /proc means its opener, it is
//! resolved as the caller's.

use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::memory::CallerPath;
use super::{Task, Tasks, duplicate_of, rights};
use crate::sys::fs::{self, At, Kind, Stat, resolve as how};
use crate::sys::path::c_string;

/// Symbolic links in one resolution; MAXSYMLINKS, include/linux/namei.h.
const LINKS_MAX: u32 = 40;
/// `PROC_SUPER_MAGIC`, include/uapi/linux/magic.h.
const PROC_MAGIC: i64 = 0x9fa0;
/// The inode of procfs' root; PROC_ROOT_INO, include/linux/proc_ns.h.
const PROC_ROOT_INO: u64 = 1;

/// What happens to a symbolic link in the last place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It is followed.
    Follow,
    /// It is the object, unless a slash behind it asks for what it leads to.
    Keep,
    /// It is the name itself, whatever follows it: what is created, removed or renamed.
    Name,
}

/// An object that is held.
#[derive(Debug)]
pub struct Object {
    /// O_PATH.
    pub fd: OwnedFd,
    /// As it was when it was found.
    pub stat: Stat,
    /// When it was reached through `/proc/PID/fd/N`: that descriptor's own rights, as permission bits of the owner.
    pub via: Option<u32>,
}

/// Where a path leads.
#[derive(Debug)]
pub struct Held {
    /// The folder and the last component; none for `/`, `.`, `..` and magic links.
    pub entry: Option<(OwnedFd, CString)>,
    /// What is there; none where the last component does not exist.
    pub object: Option<Object>,
    /// The path ended in a slash: only a folder will do.
    pub slash: bool,
}

impl Held {
    /// The object, or ENOENT.
    pub fn existing(self) -> Result<Object, Errno> {
        let object = self.object.ok_or(Errno::ENOENT)?;
        if self.slash && object.stat.kind() != Kind::Dir {
            Err(Errno::ENOTDIR)
        } else {
            Ok(object)
        }
    }
}

/// The name of an object as policies know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Canonical and absolute.
    Path(Vec<u8>),
    /// No path leads there (any more): pipes, sockets, memfd, deleted files.
    Unnamed(Vec<u8>),
}

impl Name {
    /// For records.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Path(bytes) | Self::Unnamed(bytes) => bytes,
        }
    }
}

/// Names a held object.
pub fn name(fd: BorrowedFd<'_>, stat: &Stat) -> Result<Name, Errno> {
    let path = fs::name_of(fd)?;
    if !path.starts_with(b"/") {
        return Ok(Name::Unnamed(path));
    }
    if path.ends_with(b" (deleted)") {
        // Either the kernel's mark or a file that is called so: the path tells.
        let same = c_string(&path).and_then(|path| fs::stat_at(At::Root, &path, libc::AT_SYMLINK_NOFOLLOW));
        if !same.is_ok_and(|found| found.id == stat.id) {
            return Ok(Name::Unnamed(path));
        }
    }
    Ok(Name::Path(path))
}

/// Names an entry that need not exist.
pub fn entry_name(dir: BorrowedFd<'_>, last: &CString) -> Result<Vec<u8>, Errno> {
    match name(dir, &fs::fstat(dir)?)? {
        Name::Unnamed(_) => Err(Errno::ENOENT),
        Name::Path(mut path) => {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(last.as_bytes());
            Ok(path)
        }
    }
}

/// Whose view a path is resolved in.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The caller.
    pub task: &'a Task,
    /// Who else is in the tree.
    pub tasks: &'a Tasks,
}

impl View<'_> {
    /// Where a path of an `*at` call starts: the caller's cwd, or the object behind its dirfd.
    pub fn start(&self, dirfd: i32) -> Result<OwnedFd, Errno> {
        if dirfd == libc::AT_FDCWD {
            self.task.cwd()
        } else {
            self.task.descriptor(dirfd)
        }
    }

    /// Resolves `path`, relative to `dirfd` where it is not absolute. An empty path is ENOENT.
    pub fn resolve(&self, dirfd: i32, path: &CallerPath, last: Last) -> Result<Held, Errno> {
        let bytes = path.bytes();
        if bytes.is_empty() {
            return Err(Errno::ENOENT);
        }
        let start = if bytes.starts_with(b"/") {
            None
        } else {
            Some(self.start(dirfd)?)
        };
        let at = start.as_ref().map_or(At::Root, |start| At::Dir(start.as_fd()));
        let trimmed = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        let (whole, slash) = (bytes.get(..trimmed).unwrap_or_default(), trimmed < bytes.len());
        // In one go up to the last component, unless that meets a magic link or ends in /proc, where names mean their opener.
        if let Some(cut) = memchr::memrchr(b'/', whole) {
            let (parent, name) = whole.split_at(cut);
            let parent = if parent.is_empty() {
                c_string(b"/")?
            } else {
                c_string(parent)?
            };
            match fs::open(at, &parent, libc::O_PATH | libc::O_DIRECTORY, 0, how::NO_MAGICLINKS) {
                Ok(dir) if !on_proc(dir.as_fd())? => {
                    return self.walk(dir, name.get(1..).unwrap_or_default(), slash, last);
                }
                Ok(_) | Err(Errno::ELOOP) => {}
                Err(errno) => return Err(errno),
            }
        }
        let start = match start {
            Some(start) => start,
            None => root()?,
        };
        self.walk(start, whole, slash, last)
    }

    fn walk(&self, start: OwnedFd, path: &[u8], slash: bool, last: Last) -> Result<Held, Errno> {
        let mut dir = start;
        let mut rest: VecDeque<Vec<u8>> = components(path);
        // `x/.` is what x leads to, and has no entry of its own.
        let dot = path == b"." || path.ends_with(b"/.");
        let mut slash = slash || dot;
        let last = if dot { Last::Follow } else { last };
        let mut links = 0;
        while let Some(component) = rest.pop_front() {
            let is_last = rest.is_empty();
            if component == b".." {
                dir = fs::open(At::Dir(dir.as_fd()), c"..", libc::O_PATH | libc::O_DIRECTORY, 0, 0)?;
                continue;
            }
            let part = c_string(&component)?;
            let found = match fs::open(At::Dir(dir.as_fd()), &part, libc::O_PATH | libc::O_NOFOLLOW, 0, 0) {
                Ok(found) => found,
                Err(Errno::ENOENT) if is_last && !dot => {
                    // A folder that may not be searched or that is none has answered with another errno.
                    return Ok(Held {
                        entry: Some((dir, part)),
                        object: None,
                        slash,
                    });
                }
                Err(errno) => return Err(errno),
            };
            let stat = fs::fstat(found.as_fd())?;
            if stat.kind() == Kind::Symlink && (!is_last || follows(last, slash)) {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::ELOOP);
                }
                match self.link(&dir, &part, &found, &stat)? {
                    Link::Text(target) => {
                        if target.is_empty() {
                            return Err(Errno::ENOENT);
                        }
                        if target.starts_with(b"/") {
                            dir = root()?;
                        }
                        slash |= is_last && target.ends_with(b"/");
                        for component in components(&target).into_iter().rev() {
                            rest.push_front(component);
                        }
                        if rest.is_empty() {
                            break;
                        }
                    }
                    Link::Magic(object) if is_last => {
                        return Ok(Held {
                            entry: None,
                            object: Some(object),
                            slash,
                        });
                    }
                    Link::Magic(object) => {
                        if object.stat.kind() != Kind::Dir {
                            return Err(Errno::ENOTDIR);
                        }
                        dir = object.fd;
                    }
                }
                continue;
            }
            if is_last {
                return Ok(Held {
                    entry: (!dot).then_some((dir, part)),
                    object: Some(Object {
                        fd: found,
                        stat,
                        via: None,
                    }),
                    slash,
                });
            }
            if stat.kind() != Kind::Dir {
                return Err(Errno::ENOTDIR);
            }
            dir = found;
        }
        if !path.is_empty() {
            // A start that is no folder, or may not be searched, is told by the kernel.
            dir = fs::open(At::Dir(dir.as_fd()), c".", libc::O_PATH | libc::O_DIRECTORY, 0, 0)?;
        }
        let stat = fs::fstat(dir.as_fd())?;
        Ok(Held {
            entry: None,
            object: Some(Object {
                fd: dir,
                stat,
                via: None,
            }),
            slash,
        })
    }

    fn link(&self, dir: &OwnedFd, part: &CString, link: &OwnedFd, stat: &Stat) -> Result<Link, Errno> {
        if !on_proc(link.as_fd())? {
            protected_symlink(dir, stat)?;
            return fs::readlink(At::Dir(link.as_fd()), c"").map(Link::Text);
        }
        let parent = fs::fstat(dir.as_fd())?;
        if parent.id.ino == PROC_ROOT_INO {
            return Ok(Link::Text(match part.as_bytes() {
                b"self" => self.task.tgid.0.to_string().into_bytes(),
                b"thread-self" => format!("{}/task/{}", self.task.tgid.0, self.task.tid.0).into_bytes(),
                _ => fs::readlink(At::Dir(link.as_fd()), c"")?,
            }));
        }
        let folder = fs::name_of(dir.as_fd())?;
        let pid = process_of(&folder).ok_or(Errno::EACCES)?;
        if !self.tasks.in_tree(pid) {
            return Err(Errno::EACCES);
        }
        let fd = fs::open(At::Dir(dir.as_fd()), part, libc::O_PATH, 0, 0)?;
        let object = fs::fstat(fd.as_fd())?;
        // Not from the mode of the entry in /proc: by now the number may mean another descriptor.
        let via = folder.strip_suffix(b"/fd").map(|table| {
            let number = |text: Option<&[u8]>| std::str::from_utf8(text?).ok()?.parse().ok();
            let task = number(table.rsplit(|byte| *byte == b'/').next());
            let descriptor = task.zip(number(Some(part.as_bytes())));
            let duplicate = descriptor.and_then(|(task, number)| duplicate_of(task, number).ok());
            duplicate.map_or(0, |duplicate| rights(duplicate.as_fd(), object.id))
        });
        Ok(Link::Magic(Object { fd, stat: object, via }))
    }
}

fn follows(last: Last, slash: bool) -> bool {
    match last {
        Last::Follow => true,
        Last::Keep => slash,
        Last::Name => false,
    }
}

enum Link {
    Text(Vec<u8>),
    Magic(Object),
}

fn root() -> Result<OwnedFd, Errno> {
    fs::open(At::Root, c"/", libc::O_PATH | libc::O_DIRECTORY, 0, 0)
}

fn on_proc(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(fs::fs_magic(fd)? == PROC_MAGIC)
}

/// The process in `/proc/PID/…` or `/proc/PID/task/TID/…`.
#[must_use]
pub fn process_of(path: &[u8]) -> Option<i32> {
    let rest = path.strip_prefix(b"/proc/")?;
    let first = rest.split(|byte| *byte == b'/').next()?;
    std::str::from_utf8(first).ok()?.parse().ok()
}

fn components(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

/// What the kernel asks of a link in a sticky, world-writable folder; may_follow_link, fs/namei.c. Where the sysctl is off it is
/// asked all the same: the caller gets the stricter answer.
fn protected_symlink(dir: &OwnedFd, link: &Stat) -> Result<(), Errno> {
    let dir = fs::fstat(dir.as_fd())?;
    let shared = dir.mode & 0o1002 == 0o1002;
    if shared && link.uid != nix::unistd::geteuid().as_raw() && link.uid != dir.uid {
        Err(Errno::EACCES)
    } else {
        Ok(())
    }
}
