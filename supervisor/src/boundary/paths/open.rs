//! open, openat, openat2, creat.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::fast;
use crate::boundary::judge::Matter;
use crate::boundary::{Call, Reply, Stop, pool};
use crate::caller::memory::CallerPath;
use crate::caller::resolve::{Held, Last, Name, Object, entry_name, name, process_of};
use crate::policy::FileOp;
use crate::sys::fs::{self, At, Kind, resolve as how};
use crate::sys::memory::read_exact;

/// Flags that a caller may pass to open and openat; VALID_OPEN_FLAGS, include/linux/fcntl.h. Others are ignored there as here.
const VALID: i32 = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_EXCL
    | libc::O_NOCTTY
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_SYNC
    | libc::O_ASYNC
    | libc::O_DIRECT
    | O_LARGEFILE
    | libc::O_DIRECTORY
    | libc::O_NOFOLLOW
    | libc::O_NOATIME
    | libc::O_CLOEXEC
    | libc::O_PATH
    | libc::O_TMPFILE;
/// `O_LARGEFILE` as the kernel numbers it on x86_64; the C library says 0 there.
const O_LARGEFILE: i32 = 0o100_000;
/// The bit of O_TMPFILE that is not O_DIRECTORY.
pub(super) const TMPFILE_BIT: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

/// One open, its registers and structures copied.
pub(super) struct Open {
    pub(super) dirfd: i32,
    pub(super) path: CallerPath,
    pub(super) flags: i32,
    mode: u32,
    pub(super) resolve: u64,
}

impl Open {
    pub(super) fn writes(&self) -> bool {
        self.flags & libc::O_ACCMODE != libc::O_RDONLY || self.flags & (libc::O_TRUNC | TMPFILE_BIT) != 0
    }

    fn reads(&self) -> bool {
        self.flags & libc::O_ACCMODE != libc::O_WRONLY
    }

    pub(super) fn has(&self, flag: i32) -> bool {
        self.flags & flag != 0
    }

    /// How fstatat(2) treats a link in the last place as this open does.
    pub(super) fn follow(&self) -> i32 {
        if self.has(libc::O_NOFOLLOW) {
            libc::AT_SYMLINK_NOFOLLOW
        } else {
            0
        }
    }
}

pub(in crate::boundary) fn open(call: &Call<'_>) -> Result<Reply, Stop> {
    legacy(call, libc::AT_FDCWD, 0, call.int(1), call.arg(2))
}

pub(in crate::boundary) fn openat(call: &Call<'_>) -> Result<Reply, Stop> {
    legacy(call, call.int(0), 1, call.int(2), call.arg(3))
}

pub(in crate::boundary) fn creat(call: &Call<'_>) -> Result<Reply, Stop> {
    legacy(
        call,
        libc::AT_FDCWD,
        0,
        libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC,
        call.arg(1),
    )
}

fn legacy(call: &Call<'_>, dirfd: i32, arg: usize, flags: i32, mode: u64) -> Result<Reply, Stop> {
    let flags = flags & VALID;
    possible(flags)?;
    let creates = flags & (libc::O_CREAT | TMPFILE_BIT) != 0;
    let mode = if creates {
        u32::try_from(mode & 0o7777).unwrap_or(0)
    } else {
        0
    };
    perform(
        call,
        &Open {
            dirfd,
            path: call.path(arg)?,
            flags,
            mode,
            resolve: 0,
        },
    )
}

/// Flags that no open takes together; build_open_flags, fs/open.c. The kernel tells before it reads the path.
fn possible(flags: i32) -> Result<(), Errno> {
    if flags & libc::O_PATH != 0 {
        return Ok(());
    }
    let unwritable = flags & libc::O_ACCMODE == libc::O_RDONLY;
    let directory = flags & libc::O_DIRECTORY != 0;
    let unnamed = flags & TMPFILE_BIT != 0;
    if unnamed && (!directory || unwritable) || flags & libc::O_CREAT != 0 && (directory || unnamed) {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

/// `openat2(dirfd, path, how, size)`: the structure is copied once; sizes and unknown bytes as copy_struct_from_user, include/linux/uaccess.h.
pub(in crate::boundary) fn openat2(call: &Call<'_>) -> Result<Reply, Stop> {
    const KNOWN: usize = 24;
    let size = usize::try_from(call.arg(3)).map_err(|_| Errno::E2BIG)?;
    if size < KNOWN {
        return Err(Errno::EINVAL.into());
    }
    if size > 4096 {
        return Err(Errno::E2BIG.into());
    }
    let mut raw = [0u8; 4096];
    let raw = raw.get_mut(..size).ok_or(Errno::E2BIG)?;
    read_exact(call.tid(), call.pointer(2), raw)?;
    if raw.iter().skip(KNOWN).any(|byte| *byte != 0) {
        return Err(Errno::E2BIG.into());
    }
    let word = |at: usize| {
        raw.get(at..at + 8)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u64::from_ne_bytes)
    };
    let (flags, mode, resolve) = (word(0), word(8), word(16));
    let flags32 = i32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    if flags32 & !VALID != 0
        || resolve & !how::KNOWN != 0
        || resolve & (how::BENEATH | how::IN_ROOT) == how::BENEATH | how::IN_ROOT
    {
        return Err(Errno::EINVAL.into());
    }
    let creates = flags32 & (libc::O_CREAT | TMPFILE_BIT) != 0;
    if mode & !0o7777 != 0 || (mode != 0 && !creates) {
        return Err(Errno::EINVAL.into());
    }
    if flags32 & libc::O_PATH != 0 {
        if flags32 & !(libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC) != 0 {
            return Err(Errno::EINVAL.into());
        }
        // Such a descriptor can not be installed (K18), and the kernel must not read these flags again: openat has them in a register.
        return Err(Errno::ENOSYS.into());
    }
    possible(flags32)?;
    if resolve & how::CACHED != 0 && flags32 & (libc::O_TRUNC | libc::O_CREAT | TMPFILE_BIT) != 0 {
        return Err(Errno::EAGAIN.into());
    }
    let mode = u32::try_from(mode).map_err(|_| Errno::EINVAL)?;
    perform(
        call,
        &Open {
            dirfd: call.int(0),
            path: call.path(1)?,
            flags: flags32,
            mode,
            resolve,
        },
    )
}

fn perform(call: &Call<'_>, open: &Open) -> Result<Reply, Stop> {
    if let Some(reply) = call.substitute(open.path.bytes(), open.flags)? {
        return Ok(reply);
    }
    let met = match fast::open(call, open)? {
        fast::Outcome::Done(reply) => return Ok(reply),
        fast::Outcome::Careful(met) => met,
    };
    // A creation can lose against another, and starts again with what is there then.
    for _ in 0..32 {
        let held = lookup(call, open)?;
        match held.object {
            Some(_) => return existing(call, open, held, met.link.as_deref()),
            None if open.has(libc::O_CREAT) => {
                if let Some(reply) = create(call, open, held)? {
                    return Ok(reply);
                }
            }
            None => return Err(Errno::ENOENT.into()),
        }
    }
    Err(Errno::EAGAIN.into())
}

fn lookup(call: &Call<'_>, open: &Open) -> Result<Held, Stop> {
    let exclusive = open.has(libc::O_CREAT) && open.has(libc::O_EXCL);
    let last = if open.has(libc::O_NOFOLLOW) || exclusive {
        Last::Keep
    } else {
        Last::Follow
    };
    if open.resolve == 0 && open.has(libc::O_CREAT) && open.path.bytes().ends_with(b"/") {
        // No file has such a name, whatever is there.
        call.view().resolve(open.dirfd, &open.path, Last::Name)?;
        return Err(Errno::EISDIR.into());
    }
    if open.resolve == 0 {
        return Ok(call.view().resolve(open.dirfd, &open.path, last)?);
    }
    scoped(call, open, last)
}

/// With resolve flags the kernel walks, on the supervisor's copy of the path and from the held folder; nothing has an effect yet.
fn scoped(call: &Call<'_>, open: &Open, last: Last) -> Result<Held, Stop> {
    let path = open.path.as_c_str();
    if path.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    // An absolute path does not look at the descriptor, unless that is the root.
    let start = if path.to_bytes().starts_with(b"/") && open.resolve & how::IN_ROOT == 0 {
        None
    } else {
        Some(call.view().start(open.dirfd)?)
    };
    let (mut start, mut path) = (start, path.to_owned());
    for _ in 0..LINKS_MAX {
        match scoped_step(call, open, last, start.as_ref(), &path)? {
            Step::Held(held) => return Ok(held),
            Step::Dangling(dir, target) => {
                start = (!target.to_bytes().starts_with(b"/")).then_some(dir);
                path = target;
            }
        }
    }
    Err(Errno::ELOOP.into())
}

/// Symbolic links in one resolution; MAXSYMLINKS, include/linux/namei.h.
const LINKS_MAX: u32 = 40;

/// What one walk came to.
enum Step {
    Held(Held),
    /// The last component is a link in this folder, and nothing is where it leads: that is to be created.
    Dangling(OwnedFd, CString),
}

fn scoped_step(call: &Call<'_>, open: &Open, last: Last, start: Option<&OwnedFd>, path: &CStr) -> Result<Step, Stop> {
    let start = start.map_or(At::Root, |start| At::Dir(start.as_fd()));
    let resolve = open.resolve | how::NO_MAGICLINKS;
    let way = |bytes| {
        let (parent, last) = split(bytes);
        let dir = fs::open(start, &call.c(parent)?, libc::O_PATH | libc::O_DIRECTORY, 0, resolve)?;
        Ok::<_, Stop>((dir, last))
    };
    if let Some(bytes) = path.to_bytes().strip_suffix(b"/")
        && open.has(libc::O_CREAT)
    {
        let bytes = bytes.get(..=bytes.iter().rposition(|byte| *byte != b'/').unwrap_or(0));
        let (dir, last) = way(bytes.unwrap_or_default())?;
        if !is_dots(last) {
            // No file has such a name, whatever is there.
            fs::may(dir.as_fd(), libc::X_OK)?;
            return Err(Errno::EISDIR.into());
        }
    }
    let keep = if last == Last::Keep { libc::O_NOFOLLOW } else { 0 };
    match fs::open(start, path, libc::O_PATH | keep, 0, resolve) {
        Ok(fd) => {
            let stat = fs::fstat(fd.as_fd())?;
            let path = fs::name_of(fd.as_fd())?;
            if process_of(&path) == Some(std::process::id().cast_signed()) {
                // `self` meant the supervisor. As the caller's it stays in /proc just the same, or a magic link led away.
                let held = call.view().resolve(open.dirfd, &open.path, last)?;
                let there = held.object.as_ref().map(|object| fs::name_of(object.fd.as_fd()));
                return match there.transpose()? {
                    Some(path) if !path.starts_with(b"/proc/") => Err(Errno::ELOOP.into()),
                    _ => Ok(Step::Held(held)),
                };
            }
            Ok(Step::Held(Held {
                entry: None,
                object: Some(Object { fd, stat, via: None }),
                slash: false,
            }))
        }
        Err(Errno::ENOENT) if open.has(libc::O_CREAT) => {
            let (dir, last) = way(path.to_bytes())?;
            if is_dots(last) {
                return Err(Errno::ENOENT.into());
            }
            let last = call.c(last)?;
            match fs::open(At::Dir(dir.as_fd()), &last, libc::O_PATH | libc::O_NOFOLLOW, 0, 0) {
                Err(Errno::ENOENT) => Ok(Step::Held(Held {
                    entry: Some((dir, last)),
                    object: None,
                    slash: false,
                })),
                // A dangling link, or something that has just come. Where a target is bound to the scope that the walk began in, it is not followed.
                Ok(link) if open.resolve & !(how::NO_MAGICLINKS | how::CACHED) == 0 => {
                    let target = fs::readlink(At::Dir(link.as_fd()), c"")?;
                    Ok(Step::Dangling(dir, call.c(&target)?))
                }
                Ok(_) => Err(Errno::ELOOP.into()),
                Err(errno) => Err(errno.into()),
            }
        }
        Err(errno) => Err(errno.into()),
    }
}

/// The folder of a path without a slash at its end, and the last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', path) {
        Some(0) => (b"/", path.get(1..).unwrap_or_default()),
        Some(cut) => (
            path.get(..cut).unwrap_or_default(),
            path.get(cut + 1..).unwrap_or_default(),
        ),
        None => (b".", path),
    }
}

/// Whether a last component names no entry.
fn is_dots(last: &[u8]) -> bool {
    matches!(last, b"" | b"." | b"..")
}

fn existing(call: &Call<'_>, open: &Open, held: Held, met: Option<&CStr>) -> Result<Reply, Stop> {
    let is_dir = |object: &Object| object.stat.kind() == Kind::Dir;
    if open.path.bytes().ends_with(b"/.") && !held.object.as_ref().is_none_or(is_dir) {
        return Err(Errno::ENOTDIR.into());
    }
    if open.has(libc::O_CREAT) && open.has(libc::O_EXCL) && !open.has(TMPFILE_BIT) {
        return Err(Errno::EEXIST.into());
    }
    if open.has(libc::O_CREAT) && held.slash {
        return Err(Errno::EISDIR.into());
    }
    let object = held.existing()?;
    let kind = object.stat.kind();
    if open.has(libc::O_DIRECTORY) && kind != Kind::Dir {
        return Err(Errno::ENOTDIR.into());
    }
    if kind == Kind::Symlink {
        return Err(Errno::ELOOP.into());
    }
    if kind == Kind::Dir && !open.has(TMPFILE_BIT) && (open.writes() || open.has(libc::O_CREAT)) {
        return Err(Errno::EISDIR.into());
    }
    let name = name(object.fd.as_fd(), &object.stat)?;
    if open.has(TMPFILE_BIT) {
        return tmpfile(call, open, &object, name);
    }
    if open.reads() {
        call.permit(FileOp::Read, "open", &name, Some(&object))?;
    }
    if open.writes() {
        call.permit(FileOp::Write, "open for writing", &name, Some(&object))?;
    }
    let flags = (open.flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW)) | libc::O_NOCTTY;
    let fd = match kind {
        Kind::Fifo if !open.has(libc::O_NONBLOCK) => fifo(call, &object, flags)?,
        Kind::Char => device(call, &object, &name, flags)?,
        _ => fs::reopen(object.fd.as_fd(), flags)?,
    };
    if let (Some(met), Name::Path(path), Kind::File | Kind::Dir) = (met, &name, kind) {
        call.boundary.shortcuts.learn(met, path);
    }
    let last = open.writes() || !matches!(kind, Kind::File | Kind::Dir);
    Ok(Reply::Descriptor {
        fd,
        cloexec: open.has(libc::O_CLOEXEC),
        last,
    })
}

fn create(call: &Call<'_>, open: &Open, held: Held) -> Result<Option<Reply>, Stop> {
    let Some((dir, last)) = held.entry else {
        return Err(Errno::ENOENT.into());
    };
    if held.slash {
        return Err(Errno::EISDIR.into());
    }
    let canonical = Name::Path(entry_name(dir.as_fd(), &last)?);
    if canonical.bytes().starts_with(b"/proc/") {
        return Err(Errno::ENOENT.into());
    }
    call.permit(FileOp::Write, "create", &canonical, None)?;
    if open.flags & libc::O_ACCMODE == libc::O_RDWR {
        call.permit(FileOp::Read, "create", &canonical, None)?;
    }
    // O_EXCL follows no link; O_NOFOLLOW would show in F_GETFL.
    let flags = (open.flags & !libc::O_TRUNC) | libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY;
    match call.with_umask(|| fs::open(At::Dir(dir.as_fd()), &last, flags, open.mode, 0)) {
        Ok(fd) => Ok(Some(Reply::Descriptor {
            fd,
            cloexec: open.has(libc::O_CLOEXEC),
            last: true,
        })),
        Err(Stop::Errno(Errno::EEXIST)) if !open.has(libc::O_EXCL) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// An unnamed file in a folder: decided as a file there, because linkat can name it without a further look at what it holds.
fn tmpfile(call: &Call<'_>, open: &Open, dir: &Object, name: Name) -> Result<Reply, Stop> {
    let Name::Path(mut path) = name else {
        return Err(Errno::ENOENT.into());
    };
    path.extend_from_slice(b"/#tmpfile");
    call.permit(FileOp::Write, "create", &Name::Path(path), None)?;
    let flags = open.flags & !libc::O_NOFOLLOW;
    let fd = call.with_umask(|| fs::open(At::Dir(dir.fd.as_fd()), c".", flags, open.mode, 0))?;
    Ok(Reply::Descriptor {
        fd,
        cloexec: open.has(libc::O_CLOEXEC),
        last: true,
    })
}

/// A FIFO whose open waits for the other side. The supervisor never sits in that wait: it opens without waiting and looks, so that
/// the caller's death and its signals end it.
fn fifo(call: &Call<'_>, object: &Object, flags: i32) -> Result<OwnedFd, Stop> {
    /// Between two looks: soon at first, because the other side mostly comes at once, and a hundredth of the time waited so far later.
    const SOONEST: Duration = Duration::from_millis(2);
    const LATEST: Duration = Duration::from_millis(50);
    /// Between two looks at the caller.
    const CALLER: Duration = Duration::from_millis(30);
    let since = Instant::now();
    let mut looked = since;
    pool::about_to_block()?;
    let reader = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => Some(fs::reopen(object.fd.as_fd(), flags | libc::O_NONBLOCK)?),
        _ => None,
    };
    loop {
        let found = match &reader {
            Some(reader) => {
                crate::sys::fs::fifo_has_writer(reader.as_fd())?.then(|| reader.try_clone().map_err(|_| Errno::EMFILE))
            }
            None => match fs::reopen(object.fd.as_fd(), flags | libc::O_NONBLOCK) {
                Err(Errno::ENXIO) => None,
                other => Some(other),
            },
        };
        if let Some(fd) = found {
            let fd = fd?;
            fs::set_status_flags(fd.as_fd(), flags & fs::STATUS_FLAGS)?;
            return Ok(fd);
        }
        if looked.elapsed() >= CALLER {
            call.still_waits()?;
            looked = Instant::now();
        }
        std::thread::sleep((since.elapsed() / 100).clamp(SOONEST, LATEST));
    }
}

/// Terminals mean their opener: `/dev/tty` is the caller's, and a pty of others is not handed out.
fn device(call: &Call<'_>, object: &Object, name: &Name, flags: i32) -> Result<OwnedFd, Stop> {
    let (major, minor): (u64, u64) = (
        libc::major(object.stat.rdev).into(),
        libc::minor(object.stat.rdev).into(),
    );
    if (major, minor) == (5, 0) {
        return controlling_tty(call, flags);
    }
    if (136..=143).contains(&major) && !owns_pty(call, (major - 136) * 256 + minor)? {
        let matter = Matter {
            action: "read_file",
            operation: "open",
            target: name.bytes(),
            object: None,
            argv: None,
        };
        return Err(call.refuse_fixed(&matter, &crate::boundary::fixed::DEVICE, Errno::EACCES));
    }
    Ok(fs::reopen(object.fd.as_fd(), flags)?)
}

/// Field 7 of /proc/PID/stat: the number of the controlling terminal. proc_pid_stat(5).
fn tty_of(stat: &[u8]) -> Option<u64> {
    let close = memchr::memrchr(b')', stat)?;
    let field = stat
        .get(close + 1..)?
        .split(|byte| *byte == b' ')
        .filter(|part| !part.is_empty())
        .nth(4)?;
    let number: i64 = std::str::from_utf8(field).ok()?.parse().ok()?;
    let number = u64::try_from(number).ok().filter(|n| *n != 0)?;
    // new_encode_dev: minor's low byte, major, minor's rest.
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    (136..=143).contains(&major).then_some((major - 136) * 256 + minor)
}

fn controlling_tty(call: &Call<'_>, flags: i32) -> Result<OwnedFd, Stop> {
    let stat = fs::read_all(call.task.open(c"stat", libc::O_RDONLY)?.as_fd(), 4096)?;
    let own = std::fs::read("/proc/self/stat").ok().and_then(|stat| tty_of(&stat));
    match tty_of(&stat) {
        None => Err(Errno::ENXIO.into()),
        // The supervisor's own: open it by the name that keeps meaning "the controlling terminal".
        theirs if theirs == own => Ok(fs::open(At::Root, c"/dev/tty", flags, 0, 0)?),
        Some(number) => {
            let path = call.c(format!("/dev/pts/{number}").as_bytes())?;
            Ok(fs::open(At::Root, &path, flags, 0, how::NO_SYMLINKS)?)
        }
    }
}

/// Whether a pty belongs to the session: the controlling terminal that it started on, or one whose master the tree holds.
fn owns_pty(call: &Call<'_>, number: u64) -> Result<bool, Stop> {
    let own = std::fs::read("/proc/self/stat").ok().and_then(|stat| tty_of(&stat));
    if own == Some(number) {
        return Ok(true);
    }
    let wanted = format!("tty-index:\t{number}");
    for process in std::fs::read_dir("/proc").map_err(|_| Errno::EACCES)?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(fds) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = fds.flatten().any(|fd| {
            std::fs::read_link(fd.path())
                .is_ok_and(|target| target.as_os_str() == "/dev/ptmx" || target.as_os_str() == "/dev/pts/ptmx")
                && std::fs::read_to_string(process.path().join("fdinfo").join(fd.file_name()))
                    .is_ok_and(|info| info.lines().any(|l| l == wanted))
        });
        if holds && call.boundary.tasks.in_tree(pid) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::tty_of;

    #[test]
    fn the_terminal_is_read_behind_the_name() {
        assert_eq!(tty_of(b"7 (a) b) c) S 1 2 3 34817 5"), Some(1));
        assert_eq!(tty_of(b"7 (sh) S 1 2 3 0 5"), None);
    }
}
