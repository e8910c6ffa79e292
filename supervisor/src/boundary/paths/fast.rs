//! The fast way of a read: a name is guessed, decided on, and opened in such a way that the kernel accepts it only as a canonical one.
//!
//! *Invariant:* a guess never decides what is reached. Handed out is only what was opened under the very name that was decided on and, where
//! the caller's path is not that name, is the object that the caller's own way led to. A wrong or stale guess costs time and nothing else.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

use super::open::{Open, TMPFILE_BIT};
use crate::boundary::judge::Matter;
use crate::boundary::{Call, Reply, Stop, fixed};
use crate::caller::memory::CallerPath;
use crate::caller::resolve::Object;
use crate::mixer::Mixer;
use crate::policy::FileOp;
use crate::sys::fs::{self, At, Kind, Stat, resolve as how};

/// What the fast way came to.
pub(super) enum Outcome {
    /// Opened.
    Done(Reply),
    /// To be looked at carefully.
    Careful(Met),
}

/// What the fast way met on a path that it gave up.
#[derive(Default)]
pub(super) struct Met {
    /// A link: where this name leads is worth knowing the next time.
    pub(super) link: Option<CString>,
    /// A FIFO, opened by now: who waits for a reader must not lose this one before the caller has its own.
    _reader: Option<OwnedFd>,
}

impl Outcome {
    fn careful() -> Self {
        Self::Careful(Met::default())
    }

    fn link(name: CString) -> Self {
        Self::Careful(Met {
            link: Some(name),
            _reader: None,
        })
    }
}

/// What one guess came to.
enum Tried {
    Done(Reply),
    Link,
    Not(Option<OwnedFd>),
}

pub(super) fn open(call: &Call<'_>, open: &Open) -> Result<Outcome, Stop> {
    let special = libc::O_CREAT | libc::O_EXCL | TMPFILE_BIT;
    if open.writes() || open.has(special) || open.resolve != 0 {
        return Ok(Outcome::careful());
    }
    if plain(open.path.bytes()) {
        own_name(call, open)
    } else {
        relative(call, open)
    }
}

/// A path that is its own canonical name, unless there are links on it.
fn own_name(call: &Call<'_>, open: &Open) -> Result<Outcome, Stop> {
    let (path, kinds) = (open.path.as_c_str(), &call.boundary.kinds);
    let place = kinds.place(path);
    let before = match kinds.last(place) {
        Some(Seen::File) => None,
        Some(Seen::Link) => {
            let found = linked(call, open, path)?;
            if let Outcome::Careful(_) = found {
                kinds.forget(place);
            }
            return Ok(found);
        }
        // The kind first: opening must not wait, or wake who waits, before anything is decided.
        None => match fs::stat_at(At::Root, path, libc::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::ENOENT) => return missing(path),
            // A missing right, or no folder in between: looked at carefully.
            Err(_) => return Ok(Outcome::careful()),
        },
    };
    let is_link = before.is_some_and(|before| before.kind() == Kind::Symlink);
    let tried = if is_link {
        Tried::Link
    } else {
        attempt(call, open, path, before.as_ref(), Name::Own)?
    };
    match tried {
        Tried::Done(reply) => {
            if before.is_some_and(|before| before.kind() == Kind::File) {
                kinds.remember(place, Seen::File);
            }
            Ok(Outcome::Done(reply))
        }
        Tried::Not(reader) => {
            kinds.forget(place);
            Ok(Outcome::Careful(Met {
                link: None,
                _reader: reader,
            }))
        }
        Tried::Link => {
            kinds.forget(place);
            let found = linked(call, open, path)?;
            if let Outcome::Done(_) = found {
                kinds.remember(place, Seen::Link);
            }
            Ok(found)
        }
    }
}

/// A path with links on it, by where they led before.
fn linked(call: &Call<'_>, open: &Open, path: &CStr) -> Result<Outcome, Stop> {
    let Some(guess) = call.boundary.shortcuts.of(path) else {
        return Ok(Outcome::link(path.to_owned()));
    };
    match fs::stat_at(At::Root, path, open.follow()) {
        Ok(before) => guessed(call, open, path.to_owned(), &guess, &before),
        Err(_) => Ok(Outcome::careful()),
    }
}

/// A path that starts at the caller's working folder or at a folder that it holds, or that has dots.
fn relative(call: &Call<'_>, open: &Open) -> Result<Outcome, Stop> {
    let path = open.path.bytes();
    let base = if path.starts_with(b"/") {
        Vec::new()
    } else {
        match call.task.base_name(open.dirfd) {
            Ok(base) if base.starts_with(b"/") && !path.is_empty() => base,
            // Without a name, or none at all.
            _ => return Ok(Outcome::careful()),
        }
    };
    let Some((name, up)) = lexical(&base, path).filter(|(name, _)| plain(name.to_bytes())) else {
        return Ok(Outcome::careful());
    };
    let look = if path.starts_with(b"/") {
        fs::stat_at(At::Root, open.path.as_c_str(), open.follow())
    } else {
        call.task.stat_from(open.dirfd, path, open.follow())
    };
    let before = match look {
        Ok(stat) => stat,
        Err(Errno::ENOENT) if !up => return missing(&name),
        Err(_) => return Ok(Outcome::careful()),
    };
    match attempt(call, open, &name, Some(&before), Name::Guessed)? {
        Tried::Done(reply) => Ok(Outcome::Done(reply)),
        Tried::Not(_) => Ok(Outcome::careful()),
        Tried::Link => match call.boundary.shortcuts.of(&name) {
            Some(guess) => guessed(call, open, name, &guess, &before),
            None => Ok(Outcome::link(name)),
        },
    }
}

fn guessed(call: &Call<'_>, open: &Open, name: CString, guess: &CStr, before: &Stat) -> Result<Outcome, Stop> {
    Ok(match attempt(call, open, guess, Some(before), Name::Guessed)? {
        Tried::Done(reply) => Outcome::Done(reply),
        // Perhaps a link that leads elsewhere by now.
        Tried::Link | Tried::Not(_) => Outcome::link(name),
    })
}

/// What a name is to the caller's path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    /// The path itself.
    Own,
    /// Where it may lead.
    Guessed,
}

/// Opens what has this canonical name, when it may be read. `before` is what the caller's path led to; without it, a file had this name the
/// last time.
fn attempt(call: &Call<'_>, open: &Open, path: &CStr, before: Option<&Stat>, kind: Name) -> Result<Tried, Stop> {
    let opens = |stat: &Stat| match stat.kind() {
        // Of a file with several names the guess can be another than the caller's.
        Kind::File => kind == Name::Own || stat.nlink <= 1,
        kind => kind == Kind::Dir && before.is_some(),
    };
    if before.is_some_and(|before| !opens(before)) {
        return Ok(Tried::Not(None));
    }
    let verdict = call.verdict(FileOp::Read, path.to_bytes(), before);
    if !verdict.is_plain() {
        return Ok(Tried::Not(None));
    }
    // What lies there may be a FIFO by now: no thread of ours waits for its other side.
    let flags = open.flags | libc::O_NOCTTY | libc::O_NONBLOCK;
    let fd = match fs::open(At::Root, path, flags, 0, how::NO_SYMLINKS | how::NO_MAGICLINKS) {
        Ok(fd) => fd,
        Err(Errno::ELOOP) => return Ok(Tried::Link),
        Err(Errno::EAGAIN | Errno::ENXIO) => return Ok(Tried::Not(None)),
        Err(errno) if kind == Name::Own => return Err(errno.into()),
        Err(_) => return Ok(Tried::Not(None)),
    };
    let stat = fs::fstat(fd.as_fd())?;
    let same = match before {
        Some(before) if kind == Name::Guessed => stat.id == before.id,
        Some(before) => stat.kind() == before.kind(),
        None => stat.kind() == Kind::File,
    };
    let aliased = call.boundary.links.path_of(&stat).is_some();
    if !same || aliased || !opens(&stat) || fixed::foreign_proc(path.to_bytes(), &stat, fd.as_fd())? {
        return Ok(Tried::Not((stat.kind() == Kind::Fifo).then_some(fd)));
    }
    if !open.has(libc::O_NONBLOCK) {
        fs::set_status_flags(fd.as_fd(), open.flags & fs::STATUS_FLAGS)?;
    }
    let matter = Matter {
        action: "read_file",
        operation: "open",
        target: path.to_bytes(),
        object: None,
        argv: None,
    };
    call.count_read(&matter, &verdict, stat.id)?;
    Ok(Tried::Done(Reply::Descriptor {
        fd,
        cloexec: open.has(libc::O_CLOEXEC),
        last: false,
    }))
}

/// The file that a path leads to, to be run, and its canonical name, where a guess finds both at once.
pub(in crate::boundary) fn hold(call: &Call<'_>, dirfd: i32, path: &CallerPath) -> Option<(Object, Vec<u8>)> {
    let canonical = how::NO_SYMLINKS | how::NO_MAGICLINKS;
    let held = |name: &CStr, meant: Option<&Stat>| -> Result<Option<(Object, Vec<u8>)>, Errno> {
        let fd = fs::open(At::Root, name, libc::O_PATH, 0, canonical)?;
        let stat = fs::fstat(fd.as_fd())?;
        // Of a file with several names the guess can be another than the caller's.
        let same = meant.is_none_or(|meant| meant.id == stat.id && stat.nlink <= 1);
        let object = Object { fd, stat, via: None };
        Ok((same && stat.kind() == Kind::File).then(|| (object, name.to_bytes().to_vec())))
    };
    let shortcut = |name: &CStr, meant: Option<Stat>| -> Option<(Object, Vec<u8>)> {
        let guess = call.boundary.shortcuts.of(name)?;
        let meant = meant.or_else(|| fs::stat_at(At::Root, name, 0).ok())?;
        held(&guess, Some(&meant)).ok()?
    };
    if plain(path.bytes()) {
        return match held(path.as_c_str(), None) {
            Ok(found) => found,
            Err(Errno::ELOOP) => shortcut(path.as_c_str(), None),
            Err(_) => None,
        };
    }
    if path.bytes().is_empty() || path.bytes().starts_with(b"/") {
        return None;
    }
    let base = call.task.base_name(dirfd).ok().filter(|base| base.starts_with(b"/"))?;
    let (name, _) = lexical(&base, path.bytes()).filter(|(name, _)| plain(name.to_bytes()))?;
    let meant = call.task.stat_from(dirfd, path.bytes(), 0).ok()?;
    match held(&name, Some(&meant)) {
        Ok(found) => found,
        Err(Errno::ELOOP) => shortcut(&name, Some(meant)),
        Err(_) => None,
    }
}

/// ENOENT of a path without links on the way is the answer; with links in between the careful way gives it.
fn missing(name: &CStr) -> Result<Outcome, Stop> {
    match fs::open(At::Root, name, libc::O_PATH, 0, how::NO_SYMLINKS | how::NO_MAGICLINKS) {
        Err(Errno::ENOENT) => Err(Errno::ENOENT.into()),
        _ => Ok(Outcome::careful()),
    }
}

/// A path that is its own canonical name where no link is on it.
fn plain(path: &[u8]) -> bool {
    let is_name = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    let names = || path.split(|byte| *byte == b'/').skip(1).all(is_name);
    // Without a branch in it, this is a few instructions for sixteen bytes; few paths have a part that begins with a dot.
    let after_slash = path.iter().zip(path.get(1..).unwrap_or_default());
    let unusual = after_slash.fold(false, |found, (byte, next)| {
        found | ((*byte == b'/') & ((*next == b'/') | (*next == b'.')))
    });
    path.starts_with(b"/")
        && !path.ends_with(b"/")
        && !path.starts_with(b"/proc/")
        && !path.starts_with(b"/dev/")
        && (!unusual || names())
}

/// A path from a folder's name, without dots and doubled slashes, as it would be without links; and whether it goes up.
fn lexical(base: &[u8], path: &[u8]) -> Option<(CString, bool)> {
    let mut name = Vec::with_capacity(base.len() + path.len() + 2);
    name.extend_from_slice(base.strip_suffix(b"/").unwrap_or(base));
    let mut up = false;
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                up = true;
                name.truncate(memchr::memrchr(b'/', &name).unwrap_or(0));
            }
            part => {
                name.push(b'/');
                name.extend_from_slice(part);
            }
        }
    }
    Some((CString::new(name).ok()?, up))
}

/// What was found under a path the last time, so that it need not be looked at before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    File = 1,
    Link = 2,
}

/// Paths that were opened lately, each in the one place that its hash gives it (I8).
#[derive(Debug)]
pub(in crate::boundary) struct Kinds {
    mixer: Mixer,
    places: Box<[AtomicU64]>,
}

/// Paths remembered; 32 KiB.
const KINDS: usize = 4096;
/// The bits of a place that hold what was seen; the others are the path's hash.
const SEEN: u64 = 3;

impl Default for Kinds {
    fn default() -> Self {
        Self {
            mixer: Mixer::default(),
            places: (0..KINDS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Kinds {
    fn place(&self, path: &CStr) -> (Option<&AtomicU64>, u64) {
        let hash = self.mixer.bytes(path.to_bytes());
        let index = usize::try_from(hash >> 32).unwrap_or(0) % KINDS;
        (self.places.get(index), hash & !SEEN)
    }

    fn last(&self, (place, hash): (Option<&AtomicU64>, u64)) -> Option<Seen> {
        let found = place?.load(Ordering::Relaxed);
        match found ^ hash {
            1 => Some(Seen::File),
            2 => Some(Seen::Link),
            _ => None,
        }
    }

    fn remember(&self, (place, hash): (Option<&AtomicU64>, u64), seen: Seen) {
        if let Some(place) = place {
            place.store(hash | seen as u64, Ordering::Relaxed);
        }
    }

    fn forget(&self, (place, _): (Option<&AtomicU64>, u64)) {
        if let Some(place) = place {
            place.store(0, Ordering::Relaxed);
        }
    }
}

/// Where links were found to lead: prefixes of paths. Only ever guesses.
#[derive(Debug, Default)]
pub(in crate::boundary) struct Shortcuts(Mutex<HashMap<Prefix, Prefix>>);

/// Whole components of a path, from its beginning.
type Prefix = Box<[u8]>;

/// Shortcuts at most, and bytes of one (I8).
const SHORTCUTS_MAX: usize = 1024;
const SHORTCUT_BYTES: usize = 256;

impl Shortcuts {
    /// The name with its longest known prefix replaced.
    fn of(&self, name: &CStr) -> Option<CString> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut prefix = name.to_bytes();
        while !prefix.is_empty() {
            if let Some(target) = known.get(prefix) {
                let rest = name.to_bytes().get(prefix.len()..)?;
                return CString::new([target, rest].concat()).ok();
            }
            prefix = prefix.get(..memchr::memrchr(b'/', prefix)?)?;
        }
        None
    }

    /// A name led to an object whose canonical name is another.
    pub(in crate::boundary) fn learn(&self, name: &CStr, canonical: &[u8]) {
        let (mut from, mut to) = (name.to_bytes(), canonical);
        if !plain(from) || !plain(to) {
            return;
        }
        // What both end with says nothing.
        while let (Some(cut), Some(other)) = (memchr::memrchr(b'/', from), memchr::memrchr(b'/', to)) {
            if cut == 0 || from.get(cut..) != to.get(other..) {
                break;
            }
            (from, to) = (from.get(..cut).unwrap_or_default(), to.get(..other).unwrap_or_default());
        }
        if from == to || from.len() > SHORTCUT_BYTES || to.len() > SHORTCUT_BYTES {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SHORTCUTS_MAX {
            known.clear();
        }
        known.insert(from.into(), to.into());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Shortcuts, lexical, plain};

    #[test]
    fn only_paths_that_are_their_own_names_are_plain() {
        for (path, is) in [
            ("/a/b", true),
            ("/", false),
            ("/a/", false),
            ("/a//b", false),
            ("/a/./b", false),
            ("/a/../b", false),
            ("a/b", false),
            ("/proc/self/x", false),
            ("/dev/tty", false),
            ("/a/...", true),
            ("/.a/b", true),
            ("/a/..", false),
            ("/a/.", false),
            ("//a", false),
            ("/.", false),
            ("", false),
        ] {
            assert_eq!(plain(path.as_bytes()), is, "{path}");
        }
    }

    #[test]
    fn a_path_has_one_name_from_its_folder() {
        for (base, path, name, up) in [
            ("/w", "a/b", "/w/a/b", false),
            ("/w", "./a//b/", "/w/a/b", false),
            ("/w/x", "../a", "/w/a", true),
            ("/w", "../../../a", "/a", true),
            ("/", "a", "/a", false),
            ("/w", ".", "/w", false),
            ("", "/a/./b/..", "/a", true),
        ] {
            let found = lexical(base.as_bytes(), path.as_bytes()).unwrap();
            assert_eq!((found.0.to_str().unwrap(), found.1), (name, up), "{base} {path}");
        }
    }

    #[test]
    fn a_link_that_was_met_is_a_guess_for_all_below_it() {
        let known = Shortcuts::default();
        let of = |name: &std::ffi::CStr| known.of(name).map(|found| found.into_string().unwrap());
        assert_eq!(of(c"/lib/a/b.so"), None);
        known.learn(c"/lib/a/b.so", b"/usr/lib/a/b.so");
        assert_eq!(of(c"/lib/c/d.so").as_deref(), Some("/usr/lib/c/d.so"));
        assert_eq!(of(c"/library/x"), None);
        known.learn(c"/lib/a/d.so", b"/usr/lib/a/d.so.1");
        assert_eq!(of(c"/lib/a/d.so").as_deref(), Some("/usr/lib/a/d.so.1"));
        assert_eq!(of(c"/lib/a/e.so").as_deref(), Some("/usr/lib/a/e.so"));
        known.learn(c"/same", b"/same");
        assert_eq!(of(c"/same"), None);
    }
}
