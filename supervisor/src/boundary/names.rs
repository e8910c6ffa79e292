//! The boundary's side of names: what the tree reads as resolv.conf, and what the resolver may ask and tell.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use super::judge::Matter;
use super::{Boundary, Call, Reply, Stop};
use crate::caller::Program;
use crate::decision::Decision;
use crate::evidence::{Draft, Durability};
use crate::policy::{FileOp, Mode, Verdict};
use crate::resolver::{Bindings, Judge, Prepared, Service};
use crate::sys::fs::{self, ObjectId};
use crate::text::printable;

/// The file that C libraries take their servers from. resolv.conf(5).
const RESOLV_CONF: &[u8] = b"/etc/resolv.conf";
/// The file that names are looked up in first. hosts(5).
const HOSTS: &[u8] = b"/etc/hosts";
/// Names that are put into a hosts file.
const HOSTS_MAX: usize = 64;
/// How long opening such a hosts file may take.
const HOSTS_PATIENCE: Duration = Duration::from_secs(3);
/// Programs of which it is remembered how they ask (I8).
const PROGRAMS_MAX: usize = 1024;
/// Refused lookups that are recorded one by one (I8).
const RECORDED_MAX: u32 = 1000;

/// What the boundary knows of names.
#[derive(Default)]
pub(super) struct Names {
    /// Which names the session was told for which address.
    pub(super) told: Bindings,
    resolver: OnceLock<Resolving>,
    refused: AtomicU32,
    /// Programs whose C library asks in datagrams only.
    datagrams_only: Mutex<HashMap<ObjectId, bool>>,
}

struct Resolving {
    service: Service<Who>,
    substitute: OwnedFd,
}

/// Who asks for a name, as records say it.
pub struct Who {
    pid: i32,
    tid: i32,
    program: Arc<Program>,
}

impl Names {
    /// The resolver, where this session has one.
    pub(super) fn service(&self) -> Option<&Service<Who>> {
        self.resolver.get().map(|resolving| &resolving.service)
    }
}

/// A file that nobody can change, whoever gets it.
fn sealed(text: &str) -> std::io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let fd = memfd_create(c"resolv.conf", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(text.as_bytes())?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o444))?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

impl Boundary {
    /// Starts the session's resolver. Before the first call of the tree.
    pub fn resolve_names(self: &Arc<Self>, prepared: Prepared) -> std::io::Result<()> {
        let substitute = sealed(&prepared.substitute())?;
        let service = prepared.start(self.clone())?;
        self.names
            .resolver
            .set(Resolving { service, substitute })
            .map_err(|_| std::io::Error::other("the resolver runs already"))
    }

    fn record_name(&self, operation: &str, target: String, reason: Option<String>, verdict: &Verdict<'_>, who: &Who) {
        let count = self.names.refused.fetch_add(1, Ordering::Relaxed);
        if count > RECORDED_MAX {
            return;
        }
        let rule = verdict.rule;
        let last = count == RECORDED_MAX;
        let draft = Draft {
            action_type: "network_connect",
            target: if last { "further names".to_owned() } else { target },
            requested_operation: operation.to_owned(),
            decision: Some(Decision::Block),
            rule_id: rule.id.clone(),
            policy_pack: rule.pack.clone(),
            policy_id: rule.pack.clone(),
            severity: Some(rule.severity),
            reason: if last {
                format!("more than {RECORDED_MAX} lookups were refused; later ones are not recorded one by one")
            } else {
                reason.unwrap_or_else(|| rule.reason.clone())
            },
            layer: rule.layer.name().to_owned(),
            source: rule
                .source
                .as_ref()
                .map(|source| format!("{}:{}", source.file, source.line)),
            pid: who.pid,
            tid: who.tid,
            exe: printable(&who.program.path),
            errno: Some(Errno::ENOENT.to_string()),
            ..Draft::default()
        };
        if let Err(error) = self.journal.append(draft, Durability::Written) {
            tracing::error!(%error, "a refused lookup could not be recorded");
        }
    }
}

impl Judge for Boundary {
    type Who = Who;

    fn may_look_up(&self, name: &str, who: &Who, expected: bool) -> bool {
        let verdict = self.policy.lookup(name, &*who.program);
        if verdict.decision < Decision::Block {
            return true;
        }
        if !expected {
            self.record_name("resolve", printable(name.as_bytes()), None, &verdict, who);
        }
        self.mode == Mode::Audit
    }

    fn knows(&self, name: &str, who: &Who) -> bool {
        self.policy.lookup(name, &*who.program).decision < Decision::Block
    }

    fn forbids(&self, alias: &str, who: &Who) -> bool {
        let verdict = self.policy.lookup(alias, &*who.program);
        let by_rule = verdict.decision == Decision::Block && !verdict.rule.pattern.is_empty();
        if by_rule {
            self.record_name("resolve", printable(alias.as_bytes()), None, &verdict, who);
        }
        by_rule && self.mode == Mode::Enforce
    }

    fn may_be_at(&self, name: &str, ip: IpAddr) -> bool {
        self.mode == Mode::Audit || self.policy.may_be_at(name, ip)
    }

    fn misplaced(&self, name: &str, ip: IpAddr, who: &Who) {
        let verdict = Verdict {
            decision: Decision::Block,
            rule: &super::fixed::REBINDING,
        };
        let target = format!("{} ({ip})", printable(name.as_bytes()));
        self.record_name("resolve", target, None, &verdict, who);
    }

    fn told(&self, name: &Arc<str>, ip: IpAddr, ttl: Duration) {
        self.names.told.tell(name, ip, ttl);
    }

    fn admits_datagrams(&self) -> bool {
        self.policy.admits_datagrams()
    }
}

impl Call<'_> {
    /// Who asks, for the resolver.
    pub(super) fn who(&self) -> Who {
        Who {
            pid: self.task.tgid.0,
            tid: self.task.tid.0,
            program: self.task.program.clone(),
        }
    }

    /// The socket with this local address has been connected to the resolver.
    pub(super) fn announce(&self, local: SocketAddr) {
        if let Some(service) = self.boundary.names.service() {
            service.peers.announce(local, self.who());
        }
    }

    /// What is opened instead of `/etc/resolv.conf`, and instead of `/etc/hosts` by programs that could ask in datagrams only. By this name only:
    /// whoever reads the file under another sees the machine's, and finds its servers answered by the same resolver.
    pub(super) fn substitute(&self, path: &[u8], flags: i32) -> Result<Option<Reply>, Stop> {
        let Some(resolving) = self.boundary.names.resolver.get() else {
            return Ok(None);
        };
        let plain = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK | 0o100_000;
        let hosts = path == HOSTS;
        if flags & !plain != 0 || path != RESOLV_CONF && !(hosts && self.needs_hosts(&resolving.service)) {
            return Ok(None);
        }
        let verdict = self.verdict(FileOp::Read, path, None);
        if verdict.decision != Decision::Allow {
            return Ok(None);
        }
        // Each opener its own position in the file.
        let fd = if hosts {
            let text = self.hosts(&resolving.service);
            fs::reopen(sealed(&text).map_err(|_| Errno::ENOMEM)?.as_fd(), libc::O_RDONLY)?
        } else {
            fs::reopen(resolving.substitute.as_fd(), libc::O_RDONLY)?
        };
        let matter = Matter {
            action: "read_file",
            operation: "open",
            target: path,
            object: None,
            argv: None,
        };
        self.count_read(&matter, &verdict, fs::fstat(fd.as_fd())?.id)?;
        Ok(Some(Reply::Descriptor {
            fd,
            cloexec: flags & libc::O_CLOEXEC != 0,
            last: false,
        }))
    }

    /// Whether datagram sockets that can send nothing are handed out: where the resolver takes questions from them, and to programs that ask over
    /// TCP and want one only to learn their own address.
    pub(super) fn mute_sockets(&self) -> bool {
        self.boundary
            .names
            .service()
            .is_some_and(|service| service.mute && (service.takes_datagrams || !self.asks_in_datagrams_only()))
    }

    fn needs_hosts(&self, service: &Service<Who>) -> bool {
        !service.takes_datagrams && self.asks_in_datagrams_only()
    }

    /// The machine's hosts, and the names that rules spell out with their addresses of now.
    fn hosts(&self, service: &Service<Who>) -> String {
        let mut names = self.boundary.policy.literal_names();
        names.truncate(HOSTS_MAX);
        // Bounded by its patience: without another thread the others wait as long.
        let _alone = super::pool::about_to_block();
        let mut text = service.hosts_text.clone();
        for (name, ip) in service.addresses(names, self.who(), HOSTS_PATIENCE) {
            text.push_str(&format!("{ip} {name}\n"));
        }
        text
    }

    /// Whether the program is linked with a C library that knows no TCP for names (musl), or carries an unknown one in itself.
    fn asks_in_datagrams_only(&self) -> bool {
        let known = &self.boundary.names.datagrams_only;
        let id = self.task.program.id;
        if let Some(known) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return *known;
        }
        let head = self
            .task
            .open(c"exe", libc::O_RDONLY)
            .and_then(|exe| fs::read_all(exe.as_fd(), 4096))
            .unwrap_or_default();
        let answer = interpreter(&head).is_none_or(|name| memchr::memmem::find(name, b"musl").is_some());
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PROGRAMS_MAX {
            known.clear();
        }
        known.insert(id, answer);
        answer
    }
}

/// The interpreter that an ELF file of 64 bits names (PT_INTERP) within its first bytes. elf(5).
fn interpreter(head: &[u8]) -> Option<&[u8]> {
    let word = |at: usize, len: usize| -> Option<usize> {
        let bytes = head.get(at..at.checked_add(len)?)?;
        let value = bytes
            .iter()
            .rev()
            .fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        usize::try_from(value).ok()
    };
    let (headers, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
    (0..count).find_map(|index| {
        let at = headers.checked_add(index.checked_mul(size)?)?;
        // PT_INTERP is 3; offset at 8, size at 32.
        if word(at, 4)? != 3 {
            return None;
        }
        let (offset, len) = (word(at.checked_add(8)?, 8)?, word(at.checked_add(32)?, 8)?);
        head.get(offset..offset.checked_add(len)?)
    })
}

#[cfg(test)]
mod tests {
    use super::interpreter;

    #[test]
    fn the_interpreter_is_read_and_nonsense_is_not() {
        let own = std::fs::read("/bin/sh").unwrap_or_default();
        let head = own.get(..4096).unwrap_or(&own);
        assert!(interpreter(head).is_some_and(|name| name.starts_with(b"/lib")));
        for cut in 0..head.len().min(512) {
            assert!(interpreter(head.get(..cut).unwrap_or_default()).is_none());
        }
        assert!(interpreter(&[0xff; 4096]).is_none());
    }
}
