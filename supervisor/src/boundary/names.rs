//! The boundary's side of names: what the tree reads as resolv.conf, and what the resolver may ask and tell.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use super::direct::Going;
use super::flows::{Flow, Sum};
use super::judge::Matter;
use super::{Boundary, Call, Reply, Stop};
use crate::caller::Program;
use crate::decision::Decision;
use crate::evidence::{Draft, Durability};
use crate::policy::{FileOp, Mode, Rule, Verdict};
use crate::relay::{Carried, Guard, Plan, Relay};
use crate::resolver::{Bindings, Hosts, Judge, Prepared, SOCKETS, Service};
use crate::sys::diag::Bytes;
use crate::sys::fs::{self, ObjectId};
use crate::sys::socket as sys;
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
/// Hosts that are counted apart (I8), and how many of them for a refusal: those that something went to are not to be crowded out.
const HOSTS_COUNTED: usize = 1000;
const HOSTS_REFUSED: usize = HOSTS_COUNTED / 2;
/// Names of /etc/hosts that are known for one address (I8).
const MACHINE_NAMES_MAX: usize = 32;
/// Refused lookups that are recorded one by one (I8).
const RECORDED_MAX: u32 = 1000;

/// Hosts that the summary names.
const SUMMARY_MAX: usize = 12;

/// The hosts of a session for its summary, the busiest first; one line each.
#[must_use]
pub fn egress(hosts: &BTreeMap<String, Host>) -> String {
    let mut list: Vec<(&String, &Host)> = hosts.iter().collect();
    list.sort_by_key(|(_, host)| std::cmp::Reverse((host.sent + host.received, host.connections)));
    let mut text = String::new();
    for (name, host) in list.iter().take(SUMMARY_MAX) {
        let bytes = if host.uncounted < host.connections {
            format!(", {} sent, {} received", size(host.sent), size(host.received))
        } else {
            String::new()
        };
        let uncounted = if host.uncounted > 0 {
            format!(", {} uncounted", host.uncounted)
        } else {
            String::new()
        };
        let refused = if host.refused > 0 {
            format!(", {} refused", host.refused)
        } else {
            String::new()
        };
        text.push_str(&format!(
            "  {name}: {} connection{}{bytes}{uncounted}{refused}\n",
            host.connections,
            if host.connections == 1 { "" } else { "s" }
        ));
    }
    if list.len() > SUMMARY_MAX {
        text.push_str(&format!("  and {} more hosts\n", list.len() - SUMMARY_MAX));
    }
    text
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// What the boundary knows of names.
#[derive(Default)]
pub(super) struct Names {
    /// Which names the session was told for which address.
    told: Bindings,
    /// Names of the machine's /etc/hosts that rules are about, by their addresses: libraries read it themselves, and ask nobody.
    machine: OnceLock<HashMap<IpAddr, Vec<Arc<str>>>>,
    resolver: OnceLock<Resolving>,
    refused: AtomicU32,
    /// Programs whose C library asks in datagrams only.
    datagrams_only: Mutex<HashMap<ObjectId, bool>>,
    hosts: Mutex<BTreeMap<String, Host>>,
    /// The session is over: what ends now was told of already, or has no records to go into.
    over: AtomicBool,
}

/// What went to one host, for the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Connections.
    pub connections: u64,
    /// Bytes to it.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
    /// Connections whose bytes nobody counted.
    pub uncounted: u64,
    /// Connections that were refused, by rule or for the name on the wire.
    pub refused: u64,
}

struct Resolving {
    service: Service<Who>,
    relay: Relay<Who>,
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

    /// The relay, where this session has one.
    pub(super) fn relay(&self) -> Option<&Relay<Who>> {
        self.resolver.get().map(|resolving| &resolving.relay)
    }

    fn count(&self, host: String, room: usize, change: impl FnOnce(&mut Host)) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = if hosts.len() < room || hosts.contains_key(&host) {
            host
        } else {
            "others".to_owned()
        };
        change(hosts.entry(host).or_default());
    }

    fn count_refused(&self, host: String) {
        self.count(host, HOSTS_REFUSED, |host| host.refused += 1);
    }
}

/// Lets the supervisor have as many descriptors as the user may. The session goes on with fewer, for fewer connections.
fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of descriptors could not be raised");
    }
}

impl Boundary {
    /// Starts the session's resolver. Before the first call of the tree.
    pub fn resolve_names(self: &Arc<Self>, prepared: Prepared) -> std::io::Result<()> {
        // Two descriptors for each connection that is carried; the tree has its limit already.
        raise_descriptors();
        let substitute = fs::sealed(c"resolv.conf", prepared.substitute().as_bytes())?;
        // Asked for once.
        drop(self.names.machine.set(self.machine_names(prepared.hosts())));
        let service = prepared.start(self.clone())?;
        let relay = crate::relay::start(self.clone())?;
        self.names
            .resolver
            .set(Resolving {
                service,
                relay,
                substitute,
            })
            .map_err(|_| std::io::Error::other("the resolver runs already"))
    }

    /// The names of /etc/hosts that rules are about, where those rules let them be.
    fn machine_names(&self, hosts: &Hosts) -> HashMap<IpAddr, Vec<Arc<str>>> {
        let mut names: HashMap<IpAddr, Vec<Arc<str>>> = HashMap::new();
        for (name, ips) in hosts.iter().filter(|(name, _)| self.policy.concerns(name)) {
            for ip in ips.iter().filter(|ip| self.may_be_at(name, **ip)) {
                let known = names.entry(ip.to_canonical()).or_default();
                if known.len() < MACHINE_NAMES_MAX {
                    known.push(name.into());
                }
            }
        }
        names
    }

    /// The names that this address is known by: those that the session was told, and the machine's own that this program may look up.
    pub(super) fn names_of(&self, ip: IpAddr, by: &Program) -> Vec<Arc<str>> {
        let mut names = self.names.told.names(ip);
        let machine = self.names.machine.get().and_then(|machine| machine.get(&ip));
        for name in machine.into_iter().flatten() {
            if !names.contains(name) && self.policy.lookup(name, by).decision < Decision::Block {
                names.push(name.clone());
            }
        }
        names
    }

    /// Gives an account of the connections that still go on. At the session's end, before its records are closed.
    pub fn end_connections(&self) {
        if let Some(relay) = self.names.relay() {
            relay.end(self);
        }
        self.end_direct();
        for (flow, sum) in self.flows.take() {
            self.flow_ended(&flow, &sum);
        }
        self.names.over.store(true, Ordering::Release);
    }

    /// Each host that connections by name went to.
    #[must_use]
    pub fn hosts(&self) -> BTreeMap<String, Host> {
        self.names.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives an account of a connection that went to the other end directly; nothing of its bytes is known where the kernel could not tell.
    pub(super) fn direct_ended(&self, going: &Going, bytes: Option<Bytes>) {
        let host = shown(going.name.as_deref(), going.to);
        let took = going.since.elapsed().as_millis();
        let reason = match bytes {
            Some(bytes) => format!("{} bytes sent, {} received, {took} ms", bytes.sent, bytes.received),
            None => format!("bytes unknown, {took} ms"),
        };
        self.record_end(&host, reason, &super::fixed::DIRECT, &going.who);
        self.count_direct(host, bytes);
    }

    /// Counts a connection that went to the other end directly.
    pub(super) fn count_direct(&self, host: String, bytes: Option<Bytes>) {
        self.names.count(host, HOSTS_COUNTED, |host| {
            host.connections += 1;
            match bytes {
                Some(bytes) => {
                    host.sent += bytes.sent;
                    host.received += bytes.received;
                }
                None => host.uncounted += 1,
            }
        });
    }

    /// Counts a connection, or a flow of datagrams, that a rule refused.
    pub(super) fn count_refused(&self, udp: bool, name: Option<&str>, to: SocketAddr) {
        let host = shown(name, to);
        self.names.count_refused(if udp { format!("udp:{host}") } else { host });
    }

    /// Gives an account of datagrams to one other end.
    pub(super) fn flow_ended(&self, flow: &Flow, sum: &Sum) {
        if sum.datagrams == 0 {
            // Decided, and then refused by the kernel or for its ancillary data.
            return;
        }
        let host = shown(sum.name.as_deref(), flow.to);
        let reason = format!(
            "{} datagrams, {} bytes sent, {} ms",
            sum.datagrams,
            sum.bytes,
            sum.since.elapsed().as_millis()
        );
        self.record_end(&host, reason, &super::fixed::FLOW, &sum.who);
        self.names.count(format!("udp:{host}"), HOSTS_COUNTED, |host| {
            host.connections += 1;
            host.sent += sum.bytes;
        });
    }

    /// The end of something that was allowed.
    fn record_end(&self, host: &str, reason: String, rule: &Rule, who: &Who) {
        let draft = Draft {
            action_type: "network_connect",
            target: host.to_owned(),
            requested_operation: "close".to_owned(),
            decision: Some(Decision::Allow),
            rule_id: rule.id.clone(),
            severity: Some(crate::decision::Severity::Low),
            reason,
            layer: rule.layer.name().to_owned(),
            pid: who.pid,
            tid: who.tid,
            exe: printable(&who.program.path),
            ..Draft::default()
        };
        // Between the two looks the journal can have been closed.
        if let Err(error) = self.journal.append(draft, Durability::Buffered)
            && !self.names.over.load(Ordering::Acquire)
        {
            tracing::error!(%error, "the end of a connection could not be recorded");
        }
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
            source: rule.place(),
            pid: who.pid,
            tid: who.tid,
            exe: printable(&who.program.path),
            errno: Some(
                if operation == "resolve" {
                    Errno::ENOENT
                } else {
                    Errno::ECONNRESET
                }
                .to_string(),
            ),
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

    fn blocks(&self, alias: &str, who: &Who) -> bool {
        let verdict = self.policy.lookup(alias, &*who.program);
        verdict.decision == Decision::Block && !verdict.rule.pattern.is_empty()
    }

    fn forbids(&self, alias: &str, who: &Who) -> bool {
        let by_rule = self.blocks(alias, who);
        if by_rule {
            let verdict = self.policy.lookup(alias, &*who.program);
            self.record_name("resolve", printable(alias.as_bytes()), None, &verdict, who);
        }
        by_rule && self.mode == Mode::Enforce
    }

    fn may_be_at(&self, name: &str, ip: IpAddr) -> bool {
        self.mode == Mode::Audit || self.policy.may_be_at(name, ip)
    }

    fn misplaced(&self, name: &str, ip: IpAddr, who: &Who) {
        let verdict = Verdict::as_by(Decision::Block, &super::fixed::REBINDING);
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

impl Guard for Boundary {
    type Who = Who;

    fn may_mean(&self, plan: &Plan<Who>, name: &str) -> bool {
        let name: Arc<str> = name.into();
        let decided = plan.names.contains(&name);
        let (ip, port, names) = (plan.to.ip(), plan.to.port(), [name]);
        let (verdict, _) = self.policy.connect(false, ip, port, &names, &*plan.who.program);
        // An approval was for the names that the address was known by.
        let may = verdict.decision < Decision::RequireApproval
            || decided && verdict.decision == Decision::RequireApproval && !verdict.rule.pattern.is_empty();
        if !may {
            let [name] = &names;
            let reason = format!(
                "the connection is to {} and means {}: {}",
                shown(plan.names.first().map(|name| &**name), plan.to),
                printable(name.as_bytes()),
                verdict.rule.reason
            );
            self.refuse_name(plan, &printable(name.as_bytes()), reason);
        }
        may
    }

    fn refused(&self, plan: &Plan<Who>, why: &str) {
        self.refuse_name(
            plan,
            &shown(plan.names.first().map(|name| &**name), plan.to),
            why.to_owned(),
        );
    }

    fn ended(&self, plan: &Plan<Who>, carried: &Carried) {
        if self.names.over.load(Ordering::Acquire) {
            return;
        }
        let name = carried
            .name
            .get()
            .map(String::as_str)
            .or(plan.names.first().map(|name| &**name));
        let host = shown(name, plan.to);
        let reason = format!(
            "{} bytes sent, {} received, {} ms",
            carried.sent.load(Ordering::Relaxed),
            carried.received.load(Ordering::Relaxed),
            carried.since.elapsed().as_millis()
        );
        self.record_end(&host, reason, &super::fixed::CARRIED, &plan.who);
        self.names.count(host, HOSTS_COUNTED, |host| {
            host.connections += 1;
            host.sent += carried.sent.load(Ordering::Relaxed);
            host.received += carried.received.load(Ordering::Relaxed);
        });
    }
}

/// `name:port`, or the address.
pub(super) fn shown(name: Option<&str>, to: SocketAddr) -> String {
    match name {
        Some(name) => format!("{}:{}", printable(name.as_bytes()), to.port()),
        None => to.to_string(),
    }
}

impl Boundary {
    fn refuse_name(&self, plan: &Plan<Who>, target: &str, reason: String) {
        let verdict = Verdict::as_by(Decision::Block, &super::fixed::NAME);
        let target = format!("{target} ({})", plan.to);
        self.names
            .count_refused(shown(plan.names.first().map(|name| &**name), plan.to));
        self.record_name("connect", target, Some(reason), &verdict, &plan.who);
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

    /// The datagram socket with this local address has been connected to the resolver.
    pub(super) fn announce_asker(&self, local: SocketAddr) {
        if let Some(service) = self.boundary.names.service() {
            service.askers.announce(local, self.who());
        }
    }

    /// The socket with this local address has been connected to the resolver.
    pub(super) fn announce(&self, local: SocketAddr) {
        if let Some(service) = self.boundary.names.service() {
            service.peers.announce(local, self.who());
        }
    }

    /// Connects a socket that is to reach nscd to the resolver instead, where that has something to tell; by nscd's own name only. Programs of
    /// another C library than glibc find no nscd.
    pub(super) fn asks_nscd(&self, socket: BorrowedFd<'_>, address: &[u8]) -> Result<bool, Stop> {
        let Some(local) = self.boundary.names.service().and_then(|service| service.local.as_ref()) else {
            return Ok(false);
        };
        let family = u16::try_from(libc::AF_UNIX).unwrap_or_default().to_ne_bytes();
        let path = address
            .strip_prefix(&family)
            .and_then(|path| path.split(|byte| *byte == 0).next());
        if !path.is_some_and(|path| SOCKETS.contains(&path))
            || sys::option(socket, libc::SO_DOMAIN)? != libc::AF_UNIX
            || sys::option(socket, libc::SO_TYPE)? != libc::SOCK_STREAM
            || self.asks_in_datagrams_only()
        {
            return Ok(false);
        }
        Ok(local.connect(socket, self.who())?)
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
        if !verdict.is_plain() {
            return Ok(None);
        }
        // Each opener its own position in the file.
        let fd = if hosts {
            let text = self.hosts(&resolving.service);
            fs::reopen(fs::sealed(c"hosts", text.as_bytes())?.as_fd(), libc::O_RDONLY)?
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
    use super::{Host, egress, interpreter};

    #[test]
    fn the_summary_names_hosts_with_their_bytes() {
        let host = |connections, uncounted, sent, refused| Host {
            connections,
            sent,
            received: 2 * sent,
            uncounted,
            refused,
        };
        let hosts = [
            ("a.test:443".to_owned(), host(2, 0, 20_000, 1)),
            ("b.test:22".to_owned(), host(1, 1, 0, 0)),
        ];
        assert_eq!(
            egress(&hosts.into()),
            "  a.test:443: 2 connections, 20 kB sent, 40 kB received, 1 refused\n  b.test:22: 1 connection, 1 uncounted\n"
        );
    }

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
