//! What is known of a caller: its thread group, program, memory, working folder and descriptors.

pub mod memory;
pub mod resolve;

use std::collections::HashMap;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use crate::policy::{Subject, Trust};
use crate::sys::fs::{self, At, ObjectId, resolve as flags};
use crate::sys::notify::{Listener, NotifId, Tgid, Tid};
use crate::sys::process::{descriptor_limit, pidfd_open_thread};
use crate::sys::socket::poll;

/// Tasks that are kept at most, each with up to two descriptors (I8).
const TASKS_MAX: usize = 4096;
/// Of the supervisor's descriptors the kept tasks may hold a half; what handles calls and answers has the rest.
const DESCRIPTORS_A_TASK: u64 = 4;

/// The program that a thread group runs, as it was verified at its exec.
#[derive(Debug)]
pub struct Program {
    /// Which file.
    pub id: ObjectId,
    /// Its canonical path at exec.
    pub path: Vec<u8>,
    /// The script that it interprets, where that counts as the program.
    pub script: Option<Script>,
    /// Whether `by` rules may hold for it, and for what it starts.
    pub trust: Trust,
    /// Who started it.
    pub parent: Option<Arc<Program>>,
}

/// A file that an interpreter runs, and that the tree can not replace.
#[derive(Debug)]
pub struct Script {
    /// Which file.
    pub id: ObjectId,
    /// Its canonical path at exec.
    pub path: Vec<u8>,
}

impl Subject for Program {
    fn is_program(&self, program: &str, digest: Option<&str>, tree: bool) -> bool {
        self.counts_as(program, digest, Trust::Itself)
            || tree
                && self
                    .ancestors()
                    .any(|ancestor| ancestor.counts_as(program, digest, Trust::AndWhatItStarts))
    }

    fn is_below(&self, program: &str) -> bool {
        self.ancestors()
            .any(|ancestor| ancestor.counts_as(program, None, Trust::AndWhatItStarts))
    }
}

impl Program {
    fn ancestors(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(self.parent.as_deref(), |program| program.parent.as_deref())
    }

    fn counts_as(&self, program: &str, digest: Option<&str>, trust: Trust) -> bool {
        let files =
            std::iter::once((self.id, &self.path)).chain(self.script.as_ref().map(|script| (script.id, &script.path)));
        self.trust >= trust
            && files
                .filter(|(id, _)| is_file(*id, program))
                .any(|(id, path)| digest.is_none_or(|want| digest_of(id, path).as_deref() == Some(want)))
    }
}

/// Whether a rule's program is this file.
fn is_file(id: ObjectId, program: &str) -> bool {
    let candidates: Vec<String> = if program.contains('/') {
        vec![program.to_owned()]
    } else {
        // The trusted folders of any PATH; a program elsewhere is named by its path.
        [
            "/usr/local/sbin",
            "/usr/local/bin",
            "/usr/sbin",
            "/usr/bin",
            "/sbin",
            "/bin",
        ]
        .iter()
        .map(|d| format!("{d}/{program}"))
        .collect()
    };
    candidates.iter().any(|path| {
        CString::new(path.as_str()).is_ok_and(|path| fs::stat_at(At::Root, &path, 0).is_ok_and(|stat| stat.id == id))
    })
}

fn digest_of(id: ObjectId, path: &[u8]) -> Option<String> {
    let path = CString::new(path).ok()?;
    let fd = fs::open(At::Root, &path, libc::O_RDONLY | libc::O_NOCTTY, 0, flags::NO_SYMLINKS).ok()?;
    (fs::fstat(fd.as_fd()).ok()?.id == id)
        .then(|| crate::boundary::digest(fd.as_fd()).ok())
        .flatten()
}

/// One thread that calls.
#[derive(Debug)]
pub struct Task {
    /// Its thread id.
    pub tid: Tid,
    /// Its process.
    pub tgid: Tgid,
    /// Its program.
    pub program: Arc<Program>,
    /// `/proc/TID`, O_PATH: what is opened below it fails with ESRCH once that very task is gone, whoever has its number then.
    dir: Arc<OwnedFd>,
    /// A pidfd of this very thread; none before Linux 6.9.
    pidfd: Option<Arc<OwnedFd>>,
}

impl Task {
    /// Whether this very task has not ended, whoever has its number now. Asked at each call: where the kernel has just come to a number, it is
    /// given anew in the moment in which it is free.
    fn lives(&self) -> bool {
        match &self.pidfd {
            // Read when the thread has ended; pidfd_open(2). It says so of no other, and it is the cheapest question.
            Some(pidfd) => poll(pidfd.as_fd(), libc::POLLIN, 0) == Ok(false),
            None => fs::stat_at(At::Dir(self.dir.as_fd()), c"comm", 0).is_ok(),
        }
    }

    /// Opens `/proc/TID/NAME`.
    pub fn open(&self, name: &std::ffi::CStr, open_flags: i32) -> Result<OwnedFd, Errno> {
        fs::open(At::Dir(self.dir.as_fd()), name, open_flags, 0, 0)
    }

    /// The working folder, as a held object.
    pub fn cwd(&self) -> Result<OwnedFd, Errno> {
        self.open(c"cwd", libc::O_PATH | libc::O_DIRECTORY)
    }

    /// The name that the kernel has for its working folder, or for what is behind a descriptor; it need not be a path.
    pub fn base_name(&self, dirfd: i32) -> Result<Vec<u8>, Errno> {
        fs::readlink(At::Dir(self.dir.as_fd()), &Self::base(dirfd, b"")?)
    }

    /// What a path that starts there leads to now.
    pub fn stat_from(&self, dirfd: i32, path: &[u8], at_flags: i32) -> Result<fs::Stat, Errno> {
        fs::stat_at(At::Dir(self.dir.as_fd()), &Self::base(dirfd, path)?, at_flags)
    }

    fn base(dirfd: i32, path: &[u8]) -> Result<CString, Errno> {
        let mut name = Vec::with_capacity(path.len() + 16);
        match dirfd {
            libc::AT_FDCWD => name.extend_from_slice(b"cwd"),
            0.. => write!(name, "fd/{dirfd}").map_err(|_| Errno::EBADF)?,
            _ => return Err(Errno::EBADF),
        }
        if !path.is_empty() {
            name.push(b'/');
            name.extend_from_slice(path);
        }
        CString::new(name).map_err(|_| Errno::EINVAL)
    }

    /// The object behind one of its descriptors. EBADF when there is none.
    pub fn descriptor(&self, number: i32) -> Result<OwnedFd, Errno> {
        if number < 0 {
            return Err(Errno::EBADF);
        }
        let name = CString::new(format!("fd/{number}")).map_err(|_| Errno::EBADF)?;
        self.open(&name, libc::O_PATH)
            .map_err(|errno| if errno == Errno::ENOENT { Errno::EBADF } else { errno })
    }

    /// A line `NAME:\tvalue` of `/proc/TID/status`. proc_pid_status(5).
    pub fn status(&self) -> Result<Status, Errno> {
        let file = self.open(c"status", libc::O_RDONLY)?;
        Ok(Status(fs::read_all(file.as_fd(), 16384)?))
    }

    /// Whether a signal ends its wait, or its process is being stopped: then the other threads have stopped already, and this one is waited for.
    pub fn is_interrupted(&self) -> Result<bool, Errno> {
        let status = self.status()?;
        Ok(status.signal_waits() || self.siblings_stop(status.threads()))
    }

    fn siblings_stop(&self, threads: u32) -> bool {
        /// A thousand threads that wait must not look at a thousand each: of more than this the leader stands for all.
        const FEW: u32 = 16;
        let stopped = |stat: &[u8]| {
            let rest = memchr::memrchr(b')', stat).and_then(|at| stat.get(at + 1..));
            rest.is_some_and(|rest| rest.trim_ascii_start().first() == Some(&b'T'))
        };
        let process = format!("/proc/{}", self.tgid.0);
        match threads {
            0 | 1 => false,
            2..=FEW => std::fs::read_dir(process + "/task")
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|thread| std::fs::read(thread.path().join("stat")).ok())
                .any(|stat| stopped(&stat)),
            _ => std::fs::read(process + "/stat").is_ok_and(|stat| stopped(&stat)),
        }
    }

    /// A duplicate of one of its descriptors. `waits` tells whether the call is still the one that was received: what is looked up by number
    /// before that is the caller's.
    pub fn duplicate(&self, number: i32, waits: impl Fn() -> bool) -> Result<OwnedFd, Errno> {
        use crate::sys::process::{pidfd_getfd, pidfd_open, pidfd_open_thread};
        if let Some(pidfd) = &self.pidfd {
            return pidfd_getfd(pidfd.as_fd(), number);
        }
        let certain = |pidfd| if waits() { Ok(pidfd) } else { Err(Errno::ESRCH) };
        match pidfd_open_thread(self.tid) {
            Ok(pidfd) => pidfd_getfd(certain(pidfd)?.as_fd(), number),
            // Before Linux 6.9 only the group's leader can be asked; a thread with a table of its own is refused.
            Err(Errno::EINVAL) => {
                let duplicate = pidfd_getfd(certain(pidfd_open(self.tgid)?)?.as_fd(), number)?;
                let meant = fs::fstat(self.descriptor(number)?.as_fd())?;
                if fs::fstat(duplicate.as_fd())?.id == meant.id {
                    Ok(duplicate)
                } else {
                    Err(Errno::EBADF)
                }
            }
            Err(errno) => Err(errno),
        }
    }
}

/// What a descriptor allows on the object `of`, as permission bits of the owner: nothing when it is of O_PATH, or of another object. A mode of 3 was
/// opened with both rights, and has them. open(2).
#[must_use]
pub fn rights(descriptor: BorrowedFd<'_>, of: ObjectId) -> u32 {
    let same = fs::fstat(descriptor).is_ok_and(|stat| stat.id == of);
    match fs::status_flags(descriptor) {
        Ok(flags) if same && flags & libc::O_PATH == 0 => match flags & libc::O_ACCMODE {
            libc::O_RDONLY => 0o400,
            libc::O_WRONLY => 0o200,
            _ => 0o600,
        },
        _ => 0,
    }
}

/// A duplicate of a descriptor in the table of any task of the tree. pidfd_getfd(2).
pub(crate) fn duplicate_of(task: i32, number: i32) -> Result<OwnedFd, Errno> {
    use crate::sys::process::{pidfd_getfd, pidfd_open, pidfd_open_thread};
    let pidfd = match pidfd_open_thread(Tid(task)) {
        // Before Linux 6.9 only a group's leader can be asked.
        Err(Errno::EINVAL) => pidfd_open(Tgid(task)),
        other => other,
    };
    pidfd_getfd(pidfd?.as_fd(), number)
}

/// The text of `/proc/TID/status`.
pub struct Status(Vec<u8>);

impl Status {
    fn field(&self, name: &str) -> Option<&str> {
        self.0.split(|byte| *byte == b'\n').find_map(|line| {
            let rest = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
            std::str::from_utf8(rest).ok().map(str::trim)
        })
    }

    /// `Tgid`.
    #[must_use]
    pub fn tgid(&self) -> Option<Tgid> {
        self.field("Tgid")?.parse().ok().map(Tgid)
    }

    /// `PPid`.
    #[must_use]
    pub fn parent(&self) -> Option<Tgid> {
        self.field("PPid")?.parse().ok().map(Tgid)
    }

    /// `Umask`.
    #[must_use]
    pub fn umask(&self) -> Option<u32> {
        u32::from_str_radix(self.field("Umask")?, 8).ok()
    }

    /// Whether a signal waits that ends the caller's wait natively: pending, not blocked, and caught or stopping its process (K22).
    #[must_use]
    pub fn signal_waits(&self) -> bool {
        /// The signals that stop a process unless it says otherwise. signal(7).
        const STOPS: u64 =
            1 << (libc::SIGSTOP - 1) | 1 << (libc::SIGTSTP - 1) | 1 << (libc::SIGTTIN - 1) | 1 << (libc::SIGTTOU - 1);
        let mask = |name| {
            self.field(name)
                .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                .unwrap_or(0)
        };
        let acts = mask("SigCgt") | STOPS & !mask("SigIgn");
        (mask("SigPnd") | mask("ShdPnd")) & !mask("SigBlk") & acts != 0
    }

    /// `Threads`: how many the process has.
    fn threads(&self) -> u32 {
        self.field("Threads").and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}

/// The tasks that have called, and the programs of their thread groups.
#[derive(Debug)]
pub struct Tasks {
    known: Mutex<Known>,
    reaper: i32,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Known {
    tasks: HashMap<Tid, Arc<Task>>,
    /// Programs of thread groups whose leader is not among the tasks, each with its group's start: a number alone comes to mean another group,
    /// and must not give it what was trusted.
    programs: HashMap<Tgid, (u64, Arc<Program>)>,
}

impl Known {
    /// The program that a living thread group is known to run.
    fn program(&self, tgid: Tgid) -> Option<Arc<Program>> {
        let leader = self.tasks.get(&Tid(tgid.0)).filter(|task| task.tgid == tgid);
        if let Some(leader) = leader.filter(|leader| crate::faults::off("reuse") || leader.lives()) {
            return Some(leader.program.clone());
        }
        let (start, program) = self.programs.get(&tgid)?;
        (start_of(tgid) == Some(*start)).then(|| program.clone())
    }

    /// Remembers a program without a task.
    fn remember(&mut self, tgid: Tgid, program: Arc<Program>) {
        if let Some(start) = start_of(tgid) {
            self.programs.insert(tgid, (start, program));
        }
    }

    /// Forgets tasks: those that have ended, or all where that is not enough. Lineage outlives them: a program that came from a trusted one stays so.
    fn tidy(&mut self, capacity: usize) {
        self.tasks.retain(|_, task| task.lives());
        if self.tasks.len() >= capacity {
            for task in std::mem::take(&mut self.tasks).into_values() {
                if task.tid.0 == task.tgid.0 {
                    self.remember(task.tgid, task.program.clone());
                }
            }
        }
        self.programs.retain(|tgid, (start, _)| start_of(*tgid) == Some(*start));
    }
}

/// When a thread group started, in clock ticks since boot: field 22 of /proc/PID/stat. proc_pid_stat(5).
fn start_of(tgid: Tgid) -> Option<u64> {
    start_in(&std::fs::read(format!("/proc/{}/stat", tgid.0)).ok()?)
}

/// The second field, the name, may hold anything, closing brackets too.
fn start_in(stat: &[u8]) -> Option<u64> {
    let rest = stat.get(memchr::memrchr(b')', stat)? + 1..)?;
    let field = rest
        .split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty())
        .nth(19)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// How many tasks may be kept with so many descriptors.
fn capacity(descriptors: u64) -> usize {
    usize::try_from(descriptors / DESCRIPTORS_A_TASK).map_or(TASKS_MAX, |tasks| tasks.clamp(1, TASKS_MAX))
}

impl Tasks {
    /// An empty table; `reaper` is the parent of the tree.
    #[must_use]
    pub fn new(reaper: i32) -> Self {
        Self {
            known: Mutex::default(),
            reaper,
            capacity: capacity(descriptor_limit()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The parent of the tree.
    #[must_use]
    pub fn reaper(&self) -> i32 {
        self.reaper
    }

    /// The task that waits with `id`.
    pub fn get(&self, listener: &Listener, id: NotifId, tid: Tid) -> Result<Arc<Task>, Errno> {
        let old = self.lock().tasks.get(&tid).cloned();
        if let Some(task) = old.filter(|task| crate::faults::off("belief") || task.lives()) {
            return Ok(task);
        }
        let name = CString::new(format!("/proc/{}", tid.0)).map_err(|_| Errno::ESRCH)?;
        let dir = fs::open(At::Root, &name, libc::O_PATH | libc::O_DIRECTORY, 0, 0)?;
        let status = fs::open(At::Dir(dir.as_fd()), c"status", libc::O_RDONLY, 0, 0)?;
        let status = Status(fs::read_all(status.as_fd(), 16384)?);
        let tgid = status.tgid().ok_or(Errno::ESRCH)?;
        let exe = fs::stat_at(At::Dir(dir.as_fd()), c"exe", 0)
            .map_err(|_| Errno::EACCES)?
            .id;
        let pidfd = pidfd_open_thread(tid).ok().map(Arc::new);
        // The number was looked up by hand: only now is it certain that it is still the caller's.
        if !listener.waits(id) {
            return Err(Errno::ESRCH);
        }
        let mut known = self.lock();
        if known.tasks.len() >= self.capacity {
            known.tidy(self.capacity);
        }
        let inherited = [Some(tgid), status.parent()]
            .into_iter()
            .flatten()
            .find_map(|tgid| known.program(tgid).filter(|program| program.id == exe));
        let program = match inherited {
            Some(program) => program,
            None => Arc::new(Program {
                id: exe,
                path: fs::readlink(At::Dir(dir.as_fd()), c"exe").map_err(|_| Errno::EACCES)?,
                script: None,
                trust: Trust::No,
                parent: None,
            }),
        };
        if tid.0 != tgid.0 && known.program(tgid).is_none() {
            known.remember(tgid, program.clone());
        }
        let task = Arc::new(Task {
            tid,
            tgid,
            program,
            dir: Arc::new(dir),
            pidfd,
        });
        known.tasks.insert(tid, task.clone());
        Ok(task)
    }

    /// A thread group runs a new program from now on; of its threads the one is left that has the group's number. What is known of the others is
    /// found to be dead when one of their numbers calls.
    pub fn executed(&self, tgid: Tgid, program: Program) {
        let program = Arc::new(program);
        let mut known = self.lock();
        let leader = known.tasks.get(&Tid(tgid.0)).filter(|task| task.tgid == tgid).cloned();
        known.programs.remove(&tgid);
        // The folder of a leader that lost its place to another thread is dead: the next call looks it up anew.
        let Some(leader) = leader.filter(|leader| leader.lives()) else {
            known.tasks.remove(&Tid(tgid.0));
            known.remember(tgid, program);
            return;
        };
        let task = Task {
            tid: leader.tid,
            tgid,
            program,
            dir: leader.dir.clone(),
            pidfd: leader.pidfd.clone(),
        };
        known.tasks.insert(task.tid, Arc::new(task));
    }

    /// Whether a process or thread belongs to the tree: the reaper is among its ancestors.
    #[must_use]
    pub fn in_tree(&self, pid: i32) -> bool {
        let mut pid = pid;
        for _ in 0..4096 {
            if pid == self.reaper {
                return false;
            }
            let Some(parent) = std::fs::read(format!("/proc/{pid}/status"))
                .ok()
                .and_then(|text| Status(text).parent())
            else {
                return false;
            };
            if parent.0 == self.reaper {
                return true;
            }
            if parent.0 <= 1 {
                return false;
            }
            pid = parent.0;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::AsFd;

    use super::{Tgid, fs, rights, start_in, start_of};

    #[test]
    fn a_start_is_read_behind_any_name_and_is_the_groups_own() {
        let fields: Vec<String> = (3..=22).map(|n| n.to_string()).collect();
        let stat = format!("7 (a) b 1 2) {}", fields.join(" "));
        assert_eq!(start_in(stat.as_bytes()), Some(22));
        assert_eq!(start_in(b"7 (a"), None);
        let own = Tgid(std::process::id().cast_signed());
        assert!(start_of(own).unwrap() > 0);
        assert_eq!(start_of(Tgid(0)), None);
    }

    #[test]
    fn rights_are_those_of_a_descriptor_of_that_very_object() {
        let open = |flags| fs::open(fs::At::Root, c"/dev/null", flags, 0, 0).unwrap();
        let null = fs::fstat(open(libc::O_PATH).as_fd()).unwrap().id;
        for (flags, has) in [
            (libc::O_PATH, 0),
            (libc::O_RDONLY, 0o400),
            (libc::O_WRONLY, 0o200),
            (libc::O_RDWR, 0o600),
            (libc::O_ACCMODE, 0o600),
        ] {
            assert_eq!(rights(open(flags).as_fd(), null), has, "{flags:#o}");
        }
        let zero = fs::open(fs::At::Root, c"/dev/zero", libc::O_RDWR, 0, 0).unwrap();
        assert_eq!(rights(zero.as_fd(), null), 0);
    }
}
