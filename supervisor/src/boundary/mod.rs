//! Receive, dispatch, reply.
//!
//! *Invariant:* each notification gets exactly one answer; what no handler knows, what fails and what panics is refused (I4).

mod ancillary;
mod copies;
mod direct;
mod exec;
mod fixed;
mod flows;
mod granted;
mod identity;
mod interpreter;
mod ipc;
mod judge;
mod kinds;
mod links;
mod listeners;
mod messages;
mod mounts;
mod names;
mod network;
mod others;
mod paths;
mod pool;
mod services;
mod signals;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use sha2::{Digest, Sha256};

use crate::approvals::Desk;
use crate::caller::resolve::View;
use crate::caller::{Task, Tasks};
use crate::evidence::{Journal, Notices};
use crate::policy::{FileOp, Mode, Policy, canonical_path, folded};
use crate::sys::fs;
use crate::sys::memory::RemotePtr;
use crate::sys::notify::{Answer, Listener, Notification};

pub use granted::Granted;
pub(crate) use mounts::Mounts;
pub use names::{Host, egress};
pub use pool::serve;

/// Whether requests that need an approval are held or refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approvals {
    /// Held until a person answers.
    Ask,
    /// Refused.
    Deny,
}

/// One session's boundary: what every handler needs, shared by all receiving threads.
pub struct Boundary {
    /// Where calls come from.
    pub listener: Listener,
    /// What decides.
    pub policy: Policy,
    /// Where decisions are recorded.
    pub journal: Journal,
    /// Where requests are held.
    pub desk: Arc<Desk>,
    /// Who calls.
    pub tasks: Tasks,
    /// Whether decisions take effect.
    pub mode: Mode,
    /// Whether anybody is asked.
    pub approvals: Approvals,
    /// Warnings as lines on stderr: only when that is not the agent's terminal.
    pub notices: Option<Notices>,
    /// What the floor lets the tree read as a whole.
    pub granted: Granted,
    names: names::Names,
    links: links::LinkGuard,
    ipc: ipc::Made,
    copies: copies::Copies,
    /// Loaders that the tree can not change.
    loaders: Vec<&'static str>,
    listeners: listeners::Listeners,
    shortcuts: paths::fast::Shortcuts,
    kinds: paths::fast::Kinds,
    flows: flows::Flows,
    direct: direct::Direct,
    mounts: mounts::Mounts,
    pool: pool::Pool,
    own_folders: Vec<Vec<u8>>,
    policy_folders: Vec<Vec<u8>>,
}

impl Boundary {
    /// A boundary for the tree whose calls come from `listener` and whose parent is `reaper`.
    #[must_use]
    #[allow(clippy::too_many_arguments, reason = "each is another part of the session")]
    pub fn new(
        listener: Listener,
        policy: Policy,
        journal: Journal,
        desk: Arc<Desk>,
        reaper: i32,
        mode: Mode,
        approvals: Approvals,
        warn: bool,
        workspace: &Path,
    ) -> Self {
        let mounts = Mounts::read();
        let own_folders = own_folders(Some(journal.dir()), &mounts, &policy);
        let own_policy = canonical_path(workspace).join(".cavra").into_os_string().into_vec();
        let policy_folders = [own_policy]
            .into_iter()
            .chain(policy.reserved().iter().cloned())
            .collect();
        let policy_folders = spellings(mounts.with_others(policy_folders), &policy);
        let links = links::LinkGuard::new(policy.literal_paths());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let loaders = interpreter::fixed(&policy, mode);
        let copies = copies::Copies::new(&policy.named_programs(), &path);
        Self {
            listener,
            policy,
            journal,
            desk,
            tasks: Tasks::new(reaper),
            mode,
            approvals,
            notices: warn.then(Notices::default),
            granted: Granted::default(),
            names: names::Names::default(),
            links,
            ipc: ipc::Made::default(),
            copies,
            loaders,
            listeners: listeners::Listeners::default(),
            shortcuts: paths::fast::Shortcuts::default(),
            kinds: paths::fast::Kinds::default(),
            flows: flows::Flows::default(),
            direct: direct::Direct::default(),
            mounts,
            pool: pool::Pool::new(),
            own_folders,
            policy_folders,
        }
    }
}

/// Folders that nobody in the tree reads: this session's evidence, the state of all, and the evidence of those that run elsewhere. They need not be
/// there yet.
pub(crate) fn own_folders(evidence: Option<&Path>, mounts: &Mounts, policy: &Policy) -> Vec<Vec<u8>> {
    let state = crate::evidence::state_root().ok();
    let others = crate::evidence::sessions::live_elsewhere();
    let folders = evidence.map(Path::to_path_buf).into_iter().chain(state).chain(others);
    let folders = folders.map(|path| canonical_path(&path).into_os_string().into_vec());
    spellings(mounts.with_others(folders.collect()), policy)
}

/// With the one spelling that stands for all where a file system folds names.
fn spellings(mut paths: Vec<Vec<u8>>, policy: &Policy) -> Vec<Vec<u8>> {
    if policy.folds() {
        paths.extend(paths.iter().map(|path| folded(path)).collect::<Vec<_>>());
    }
    paths
}

impl Boundary {
    /// Whether a path is the session's own evidence or state, or, for writing, this policy or the next one's place (I5, I10).
    fn out_of_reach(&self, path: &[u8], op: FileOp) -> bool {
        let reached = |path: &[u8]| {
            let below = |folder: &[u8]| {
                path.strip_prefix(folder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            };
            self.own_folders.iter().any(|folder| below(folder))
                || op.changes() && self.policy_folders.iter().any(|folder| below(folder))
        };
        reached(path) || self.policy.folds() && reached(&folded(path))
    }

    /// Whether moving or removing a path would take one of the session's own folders with it.
    fn carries_own(&self, path: &[u8]) -> bool {
        let carries = |path: &[u8]| {
            let prefix = [path, b"/"].concat();
            self.own_folders
                .iter()
                .chain(&self.policy_folders)
                .any(|folder| folder.starts_with(&prefix))
        };
        let spelled = self.policy.folds().then(|| folded(path));
        carries(path)
            || spelled.is_some_and(|path| carries(&path))
            || self.mounts.others(path).iter().any(|other| carries(other))
    }

    /// Whether rules answer for all below `old` as for all below `new`, under each of their paths.
    fn same_below(&self, old: &[u8], new: &[u8]) -> bool {
        let paths = |path: &[u8]| [vec![path.to_vec()], self.mounts.others(path)].concat();
        let news = paths(new);
        paths(old)
            .iter()
            .all(|old| news.iter().all(|new| self.policy.same_below(old, new)))
    }

    /// Whether a number is a thread of the supervisor's or the reaper's: /proc knows threads by their own numbers too.
    fn is_own(&self, pid: i32) -> bool {
        pid == self.tasks.reaper() || std::path::Path::new(&format!("/proc/self/task/{pid}")).exists()
    }
}

/// Why a call is not performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It fails.
    Errno(Errno),
    /// A signal waits for the caller: it runs its handler, and the call again.
    Restart,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// What a performed call is answered with.
enum Reply {
    /// The call's result.
    Value(i64),
    /// A new descriptor. `last` when the caller may depend on ours being closed first (K51).
    Descriptor { fd: OwnedFd, cloexec: bool, last: bool },
    /// Answered already.
    Answered,
}

/// One call with its caller.
struct Call<'a> {
    boundary: &'a Boundary,
    notification: Notification,
    task: Arc<Task>,
    name: &'static str,
}

impl Call<'_> {
    fn arg(&self, index: usize) -> u64 {
        self.notification.args.get(index).copied().unwrap_or(0)
    }

    /// The lower half, as the kernel reads an int.
    fn int(&self, index: usize) -> i32 {
        u32::try_from(self.arg(index) & 0xffff_ffff).map_or(0, u32::cast_signed)
    }

    fn pointer(&self, index: usize) -> RemotePtr {
        RemotePtr(self.arg(index))
    }

    fn view(&self) -> View<'_> {
        View {
            task: &self.task,
            tasks: &self.boundary.tasks,
        }
    }

    /// A duplicate of one of the caller's descriptors.
    fn duplicate(&self, number: i32) -> Result<OwnedFd, Errno> {
        self.task
            .duplicate(number, || self.boundary.listener.waits(self.notification.id))
    }

    /// To be called in loops that wait: ends the wait when the caller died or must run a handler.
    fn still_waits(&self) -> Result<(), Stop> {
        if !self.boundary.listener.waits(self.notification.id) {
            return Err(Stop::Errno(Errno::ESRCH));
        }
        if self.task.is_interrupted()? {
            Err(Stop::Restart)
        } else {
            Ok(())
        }
    }
}

/// Decides and performs one call, and answers it; true when a descriptor was the answer.
fn handle(boundary: &Boundary, notification: Notification) -> bool {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| dispatch(boundary, notification)));
    let outcome = outcome.unwrap_or_else(|_| {
        tracing::error!(
            nr = notification.nr,
            tid = notification.tid.0,
            "a handler panicked: refused"
        );
        Err(Stop::Errno(Errno::EIO))
    });
    let by_descriptor = matches!(outcome, Ok(Reply::Descriptor { .. }));
    let id = notification.id;
    // ENOENT below: the caller died meanwhile, and nobody waits for an answer.
    let sent = match outcome {
        Ok(Reply::Answered) => Ok(()),
        Ok(Reply::Value(value)) => boundary.listener.send(id, Answer::Value(value)),
        Ok(Reply::Descriptor {
            fd,
            cloexec,
            last: false,
        }) => boundary
            .listener
            .install_and_send(id, fd.as_fd(), cloexec)
            .or_else(|errno| boundary.listener.send(id, Answer::Fail(errno))),
        Ok(Reply::Descriptor {
            fd,
            cloexec,
            last: true,
        }) => match boundary.listener.install(id, fd.as_fd(), cloexec) {
            Ok(number) => {
                drop(fd);
                boundary.listener.send(id, Answer::Value(number))
            }
            Err(errno) => boundary.listener.send(id, Answer::Fail(errno)),
        },
        Err(Stop::Errno(errno)) => boundary.listener.send(id, Answer::Fail(errno)),
        Err(Stop::Restart) => exec::restart(boundary, notification),
    };
    if let Err(errno) = sent
        && errno != Errno::ENOENT
    {
        tracing::warn!(%errno, nr = notification.nr, "a call could not be answered");
    }
    by_descriptor
}

fn dispatch(boundary: &Boundary, notification: Notification) -> Result<Reply, Stop> {
    let Some((name, handler)) = handler(notification.nr) else {
        return Err(Errno::ENOSYS.into());
    };
    let task = boundary
        .tasks
        .get(&boundary.listener, notification.id, notification.tid)?;
    crate::faults::point(name);
    handler(&Call {
        boundary,
        notification,
        task,
        name,
    })
}

type Handler = fn(&Call<'_>) -> Result<Reply, Stop>;

macro_rules! handlers {
    ($nr:expr; $($call:ident => $handler:expr,)*) => {
        match $nr {
            $(nr if nr == libc::$call => Some((stringify!($call), $handler)),)*
            nr if nr == 452 => Some(("SYS_fchmodat2", paths::inode::fchmodat2 as Handler)),
            _ => None,
        }
    };
}

fn handler(nr: i64) -> Option<(&'static str, Handler)> {
    handlers! { nr;
        SYS_openat => paths::open::openat as Handler,
        SYS_open => paths::open::open,
        SYS_openat2 => paths::open::openat2,
        SYS_creat => paths::open::creat,
        SYS_execve => exec::execve,
        SYS_execveat => exec::execveat,
        SYS_connect => network::connect,
        SYS_listen => listeners::listen,
        SYS_bind => network::bind,
        SYS_sendto => messages::sendto,
        SYS_sendmsg => messages::sendmsg,
        SYS_sendmmsg => messages::sendmmsg,
        SYS_socket => network::socket,
        SYS_setsockopt => network::reuse_port,
        SYS_unlink => paths::names::unlink,
        SYS_rmdir => paths::names::rmdir,
        SYS_unlinkat => paths::names::unlinkat,
        SYS_mkdir => paths::names::mkdir,
        SYS_mkdirat => paths::names::mkdirat,
        SYS_mknod => paths::names::mknod,
        SYS_mknodat => paths::names::mknodat,
        SYS_symlink => paths::names::symlink,
        SYS_symlinkat => paths::names::symlinkat,
        SYS_link => paths::names::link,
        SYS_linkat => paths::names::linkat,
        SYS_rename => paths::rename::rename,
        SYS_renameat => paths::rename::renameat,
        SYS_renameat2 => paths::rename::renameat2,
        SYS_truncate => paths::inode::truncate,
        SYS_chmod => paths::inode::chmod,
        SYS_fchmodat => paths::inode::fchmodat,
        SYS_chown => paths::inode::chown,
        SYS_lchown => paths::inode::lchown,
        SYS_fchownat => paths::inode::fchownat,
        SYS_utime => paths::inode::utime,
        SYS_utimes => paths::inode::utimes,
        SYS_futimesat => paths::inode::futimesat,
        SYS_utimensat => paths::inode::utimensat,
        SYS_setxattr => paths::inode::setxattr,
        SYS_lsetxattr => paths::inode::lsetxattr,
        SYS_removexattr => paths::inode::removexattr,
        SYS_lremovexattr => paths::inode::lremovexattr,
        SYS_fchmod => paths::inode::fchmod,
        SYS_fchown => paths::inode::fchown,
        SYS_fsetxattr => paths::inode::fsetxattr,
        SYS_fremovexattr => paths::inode::fremovexattr,
        SYS_prlimit64 => others::by_first,
        SYS_sched_setaffinity => others::by_first,
        SYS_sched_setscheduler => others::by_first,
        SYS_sched_setparam => others::by_first,
        SYS_sched_setattr => others::by_first,
        SYS_setpriority => others::by_second,
        SYS_ioprio_set => others::by_second,
        SYS_ioctl => paths::inode::ioctl,
        SYS_kill => signals::kill,
        SYS_tkill => signals::tkill,
        SYS_tgkill => signals::tgkill,
        SYS_rt_sigqueueinfo => signals::queue,
        SYS_rt_tgsigqueueinfo => signals::tgkill,
        SYS_pidfd_send_signal => signals::pidfd_send_signal,
        SYS_fcntl => signals::set_owner,
        SYS_shmget => ipc::shmget,
        SYS_semget => ipc::semget,
        SYS_msgget => ipc::msgget,
        SYS_shmat => ipc::memory,
        SYS_shmctl => ipc::shmctl,
        SYS_semop => ipc::semaphores,
        SYS_semtimedop => ipc::semaphores,
        SYS_semctl => ipc::semctl,
        SYS_msgsnd => ipc::queue,
        SYS_msgrcv => ipc::queue,
        SYS_msgctl => ipc::msgctl,
    }
}

/// SHA-256 of a readable file, in lower-case hex.
pub fn digest(fd: BorrowedFd<'_>) -> Result<String, Errno> {
    let mut hash = Sha256::new();
    let mut buf = vec![0u8; 65536];
    let mut offset = 0i64;
    loop {
        let got = fs::pread(fd, &mut buf, offset)?;
        if got == 0 {
            break;
        }
        hash.update(buf.get(..got).unwrap_or_default());
        offset += i64::try_from(got).map_err(|_| Errno::EFBIG)?;
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
