//! connect, bind, socket: on duplicates of the caller's socket, with one copy of the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::direct::Going;
use super::flows::Flow;
use super::judge::Matter;
use super::{Call, Reply, Stop, fixed, pool, services};
use crate::caller::memory::CallerPath;
use crate::caller::resolve::{Last, Name, name};
use crate::decision::Decision;
use crate::policy::{Endpoint, FileOp, Mode, NetOp, Verdict, Verify};
use crate::relay::Plan;
use crate::sys::fs::{self, Kind};
use crate::sys::memory::read_exact;
use crate::sys::path::{FdPath, c_string};
use crate::sys::process::interrupted;
use crate::sys::socket as sys;

/// An address as the caller wrote it, and what it means.
pub(super) enum Meaning {
    Tcp(IpAddr, u16),
    UnixPath(CallerPath),
    Abstract(Vec<u8>),
    /// AF_UNSPEC disconnects; netlink's addresses are the kernel's; an unnamed unix address binds to an abstract name of the kernel's choice.
    Harmless,
}

pub(super) fn address(call: &Call<'_>, arg: usize, len: u64) -> Result<Vec<u8>, Stop> {
    let len = usize::try_from(len & 0xffff_ffff).map_err(|_| Errno::EINVAL)?;
    if len > sys::ADDRESS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let mut bytes = vec![0; len];
    if len > 0 {
        read_exact(call.notification.tid, call.pointer(arg), &mut bytes)?;
    }
    Ok(bytes)
}

/// v4-mapped as IPv4, unspecified as loopback.
pub(super) fn canonical(ip: IpAddr) -> IpAddr {
    let ip = ip.to_canonical();
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

pub(super) fn meaning(bytes: &[u8]) -> Result<Meaning, Errno> {
    let array = |at: usize, len: usize| bytes.get(at..at + len).ok_or(Errno::EINVAL);
    let family = u16::from_ne_bytes(array(0, 2)?.try_into().map_err(|_| Errno::EINVAL)?);
    let port = || Ok::<_, Errno>(u16::from_be_bytes(array(2, 2)?.try_into().map_err(|_| Errno::EINVAL)?));
    match i32::from(family) {
        libc::AF_UNSPEC | libc::AF_NETLINK => Ok(Meaning::Harmless),
        libc::AF_INET if bytes.len() >= 16 => {
            let ip: [u8; 4] = array(4, 4)?.try_into().map_err(|_| Errno::EINVAL)?;
            Ok(Meaning::Tcp(IpAddr::from(ip), port()?))
        }
        libc::AF_INET6 if bytes.len() >= 24 => {
            let ip: [u8; 16] = array(8, 16)?.try_into().map_err(|_| Errno::EINVAL)?;
            Ok(Meaning::Tcp(IpAddr::from(ip), port()?))
        }
        libc::AF_UNIX => {
            let path = bytes.get(2..).unwrap_or_default();
            match path.first() {
                None => Ok(Meaning::Harmless),
                Some(0) => Ok(Meaning::Abstract(path.get(1..).unwrap_or_default().to_vec())),
                Some(_) => {
                    let end = memchr::memchr(0, path).unwrap_or(path.len());
                    Ok(Meaning::UnixPath(CallerPath::of(c_string(
                        path.get(..end).unwrap_or_default(),
                    )?)))
                }
            }
        }
        // Too short, or no socket that is handed out takes it: which errno tells so depends on the socket's state.
        _ => Ok(Meaning::Harmless),
    }
}

/// What an address means to a socket: between unix sockets and others the kernel reads none, and its errno depends on the socket's state.
fn meaning_to(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<Meaning, Errno> {
    let unix = |family: i32| family == libc::AF_UNIX;
    match bytes.first_chunk() {
        Some(family) => match i32::from(u16::from_ne_bytes(*family)) {
            libc::AF_UNSPEC => meaning(bytes),
            family if unix(family) != unix(sys::option(socket, libc::SO_DOMAIN)?) => Ok(Meaning::Harmless),
            _ => meaning(bytes),
        },
        None => meaning(bytes),
    }
}

/// Where the kernel takes AF_UNSPEC for AF_INET: a bind to the wildcard (`inet_bind`, net/ipv4/af_inet.c) and a datagram's address
/// (`udp_sendmsg`, net/ipv4/udp.c) of IPv4 sockets. Only a connect disconnects by it.
pub(super) fn as_inet(socket: BorrowedFd<'_>, mut bytes: Vec<u8>) -> Result<Vec<u8>, Errno> {
    let family = |family: i32| u16::try_from(family).unwrap_or(0).to_ne_bytes();
    if bytes.len() >= 16
        && bytes.starts_with(&family(libc::AF_UNSPEC))
        && sys::option(socket, libc::SO_DOMAIN)? == libc::AF_INET
    {
        bytes.splice(..2, family(libc::AF_INET));
    }
    Ok(bytes)
}

/// The address and port of a socket's own address.
pub(super) fn socket_address(bytes: &[u8]) -> Result<SocketAddr, Errno> {
    match meaning(bytes)? {
        Meaning::Tcp(ip, port) => Ok(SocketAddr::new(ip, port)),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// `struct sockaddr_in`, or for sockets of IPv6 `struct sockaddr_in6` with a mapped address. ip(7), ipv6(7).
pub(super) fn inet_address(domain: i32, to: SocketAddr) -> Vec<u8> {
    let port = to.port().to_be_bytes();
    let family = |family: i32| u16::try_from(family).unwrap_or(0).to_ne_bytes();
    match to.ip() {
        IpAddr::V4(v4) if domain != libc::AF_INET6 => {
            [&family(libc::AF_INET)[..], &port, &v4.octets(), &[0; 8]].concat()
        }
        ip => {
            let v6 = match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            [&family(libc::AF_INET6)[..], &port, &[0; 4], &v6.octets(), &[0; 4]].concat()
        }
    }
}

/// A unix address with another path.
fn unix_address(path: &[u8]) -> Result<Vec<u8>, Errno> {
    if path.len() > 107 {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok([&1u16.to_ne_bytes(), path, b"\0"].concat())
}

/// Runs a call that waits on its socket, and goes on with it as long as the caller neither died nor must run a handler: asked again, connect
/// waits for the connection that it has begun (`__inet_stream_connect`, net/ipv4/af_inet.c).
fn patiently(call: &Call<'_>, act: impl Fn() -> Result<(), Errno>) -> Result<Result<(), Errno>, Stop> {
    const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
    loop {
        match interrupted(BETWEEN_LOOKS, &act)? {
            Err(Errno::EINTR) => call.still_waits()?,
            result => return Ok(result),
        }
    }
}

pub(super) fn connect(call: &Call<'_>) -> Result<Reply, Stop> {
    let socket = call.duplicate(call.int(0))?;
    let bytes = address(call, 1, call.arg(2))?;
    if call.asks_nscd(socket.as_fd(), &bytes)? {
        return Ok(Reply::Value(0));
    }
    let target = permit(call, "connect", socket.as_fd(), &bytes)?;
    if let Some(proof) = target.proof {
        return carried(call, socket, &bytes, proof);
    }
    let waits = fs::status_flags(socket.as_fd())? & libc::O_NONBLOCK == 0;
    if target.far && waits {
        pool::about_to_block()?;
    }
    // One with a limit of its own ends by itself, and would begin its time anew after each interruption.
    let result = if waits && !sys::has_send_timeout(socket.as_fd())? {
        patiently(call, || sys::connect(socket.as_fd(), &target.address))?
    } else {
        sys::connect(socket.as_fd(), &target.address)
    };
    if let Some(asked) = target.resolver
        && matches!(result, Ok(()) | Err(Errno::EINPROGRESS))
    {
        let local = socket_address(&sys::local_address(socket.as_fd())?)?;
        match asked {
            Asked::Stream => call.announce(local),
            Asked::Datagrams => call.announce_asker(local),
        }
    }
    if let Some((name, to)) = target.direct
        && matches!(result, Ok(()) | Err(Errno::EINPROGRESS))
    {
        let (boundary, who, host) = (call.boundary, call.who(), super::names::shown(name.as_deref(), to));
        let stream = sys::option(socket.as_fd(), libc::SO_TYPE)? == libc::SOCK_STREAM;
        let since = Instant::now();
        let going = || Going { name, to, who, since };
        // While the socket is held: it does not end before it is known.
        if !stream {
            boundary.count_direct(format!("udp:{host}"), None);
        } else if !boundary.direct.begin(sys::cookie(socket.as_fd())?, going) {
            boundary.count_direct(host, None);
        }
    }
    // Closed before the answer: what the caller does next must not meet our reference (K51).
    drop(socket);
    result?;
    Ok(Reply::Value(0))
}

/// How long a caller that does not wait is held until the other end has answered: a failure is then the one that it expects of connect.
const NOT_WAITING: Duration = Duration::from_millis(300);
/// `TCP_CLOSE`: a socket that was not connected yet. include/net/tcp_states.h.
const CLOSED: u8 = 7;

/// Connects to the other end, and the caller's socket to the relay between. getpeername says so.
fn carried(call: &Call<'_>, socket: OwnedFd, bytes: &[u8], proof: Proof) -> Result<Reply, Stop> {
    let relay = call.boundary.names.relay().ok_or(Errno::ECONNREFUSED)?;
    let domain = sys::option(socket.as_fd(), libc::SO_DOMAIN)?;
    let near = inet_address(domain, relay.listening);
    if sys::tcp_state(socket.as_fd())? != CLOSED {
        // Asked again: EALREADY, EISCONN or 0 as the kernel knows.
        sys::connect(socket.as_fd(), &near)?;
        return Ok(Reply::Value(0));
    }
    let waits = fs::status_flags(socket.as_fd())? & libc::O_NONBLOCK == 0;
    let upstream = sys::socket(domain, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, libc::IPPROTO_TCP)?;
    match sys::connect(upstream.as_fd(), bytes) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS) => {
            let began = Instant::now();
            if !proof.to.ip().is_loopback() {
                pool::about_to_block()?;
            }
            while !sys::poll(upstream.as_fd(), libc::POLLOUT, 50)? && (waits || began.elapsed() < NOT_WAITING) {
                call.still_waits()?;
            }
            match sys::option(upstream.as_fd(), libc::SO_ERROR)? {
                0 => {}
                errno => return Err(Errno::from_raw(errno).into()),
            }
        }
        Err(errno) => return Err(errno.into()),
    }
    let result = sys::connect(socket.as_fd(), &near);
    if matches!(result, Ok(()) | Err(Errno::EINPROGRESS)) {
        let local = socket_address(&sys::local_address(socket.as_fd())?)?;
        let Proof { to, verify, names } = proof;
        let who = call.who();
        let plan = Plan {
            upstream: Mutex::new(Some(upstream)),
            to,
            verify,
            names,
            who,
        };
        relay.peers.announce(local, plan);
    }
    drop(socket);
    result?;
    Ok(Reply::Value(0))
}

/// The address to use, and what keeps its object alive until then.
pub(super) struct Target {
    pub(super) address: Vec<u8>,
    /// Whether the answer comes from elsewhere, and can take its time. What is near answers at once, and where it does not the pool's watch
    /// sees to the others.
    far: bool,
    /// The session's resolver, which serves only those that it is told of.
    resolver: Option<Asked>,
    /// The datagrams that this is one of.
    pub(super) flow: Option<Flow>,
    /// The other end, where the connection goes there itself, and the name that it is known by.
    direct: Option<(Option<Arc<str>>, SocketAddr)>,
    /// What is to be proved of the name before anything goes on.
    proof: Option<Proof>,
    _held: Option<OwnedFd>,
}

/// How the resolver is asked.
#[derive(Clone, Copy)]
enum Asked {
    Stream,
    Datagrams,
}

/// A connection whose name is proved on the wire.
struct Proof {
    to: SocketAddr,
    verify: Verify,
    names: Vec<Arc<str>>,
}

pub(super) fn permit(
    call: &Call<'_>,
    operation: &'static str,
    socket: BorrowedFd<'_>,
    bytes: &[u8],
) -> Result<Target, Stop> {
    let plain = |far| Target {
        address: bytes.to_vec(),
        far,
        resolver: None,
        flow: None,
        proof: None,
        direct: None,
        _held: None,
    };
    match meaning_to(socket, bytes)? {
        Meaning::Harmless => Ok(plain(false)),
        Meaning::Tcp(ip, port) => {
            let ip = canonical(ip);
            let udp = sys::option(socket, libc::SO_TYPE)? != libc::SOCK_STREAM;
            if !udp
                && let Some(service) = call.boundary.names.service()
                && service.is_server(ip, port)
            {
                return Ok(Target {
                    address: inet_address(sys::option(socket, libc::SO_DOMAIN)?, service.listening),
                    far: false,
                    resolver: Some(Asked::Stream),
                    flow: None,
                    proof: None,
                    direct: None,
                    _held: None,
                });
            }
            let connects = operation == "connect";
            if udp && connects && !call.boundary.policy.admits_datagrams() {
                // Such a socket can send nothing: libraries connect it to learn which of their own addresses they would use.
                return Ok(plain(false));
            }
            if udp && !call.boundary.policy.admits_datagrams() {
                let target = shown(None, ip, port);
                let matter = Matter {
                    action: "network_connect",
                    operation,
                    target: target.as_bytes(),
                    object: None,
                    argv: None,
                };
                return Err(call.refuse_fixed(&matter, &fixed::DATAGRAMS, Errno::EACCES));
            }
            if udp
                && connects
                && let Some(service) = call.boundary.names.service()
                && let Some(questions) = service.questions
                && service.is_server(ip, port)
            {
                let mut target = plain(false);
                target.address = inet_address(sys::option(socket, libc::SO_DOMAIN)?, questions);
                target.resolver = Some(Asked::Datagrams);
                return Ok(target);
            }
            let by = &*call.task.program;
            let names = call.boundary.names_of(ip, by);
            let (verdict, name) = call.boundary.policy.connect(udp, ip, port, &names, by);
            if udp && connects && verdict.decision == Decision::Block && verdict.rule.pattern.is_empty() {
                // As above: C libraries ask so for the order of a name's addresses, whatever they will connect then.
                sys::mute_for_good(socket)?;
                return Ok(plain(false));
            }
            let target = shown(name, ip, port);
            let matter = Matter {
                action: "network_connect",
                operation,
                target: target.as_bytes(),
                object: None,
                argv: None,
            };
            if !udp && ip.is_loopback() && call.boundary.listeners.own(ip, port) {
                let rule = &*fixed::LOOPBACK;
                call.settle(&matter, &Verdict::as_by(Decision::Allow, rule))?;
                return Ok(plain(false));
            }
            let verify = name.map_or(Verify::None, |name| call.boundary.policy.verify(name, port));
            let known: Vec<Arc<str>> = name.into_iter().map(Arc::from).collect();
            // What waits for a server to come up tries again after ECONNREFUSED, and gives up after EACCES.
            let refused = verdict.decision == Decision::Block && !udp && ip.is_loopback();
            let refusal = if refused && call.boundary.listeners.nobody(ip, port) {
                Errno::ECONNREFUSED
            } else {
                Errno::EACCES
            };
            let to = SocketAddr::new(ip, port);
            let flow = match udp && !connects {
                true => Some(call.flow(sys::cookie(socket)?, to, &verdict.rule.id)),
                false => None,
            };
            // Of a flow the first datagram is recorded, and approved where that is asked for.
            if !flow.as_ref().is_some_and(|flow| call.boundary.flows.goes_on(flow)) {
                let settled = call.settle_as(&matter, &verdict, refusal);
                if matches!(settled, Err(Stop::Errno(_))) {
                    call.boundary.count_refused(udp, name, to);
                }
                settled?;
            }
            let mut target = plain(!ip.is_loopback());
            if let Some(flow) = flow {
                call.boundary.begin_flow(&flow, || (name.map(Arc::from), call.who()));
                target.flow = Some(flow);
                return Ok(target);
            }
            if verify == Verify::None || udp || call.boundary.mode == Mode::Audit {
                target.direct = Some((known.into_iter().next(), to));
            } else {
                let names = known;
                target.proof = Some(Proof { to, verify, names });
            }
            Ok(target)
        }
        Meaning::Abstract(name) => {
            // The envelope's scope lets only the session's own listeners be reached (Linux 6.12); before, a rule must name it.
            let matter = Matter {
                action: "network_connect",
                operation,
                target: &name,
                object: None,
                argv: None,
            };
            let verdict = call
                .boundary
                .policy
                .network(NetOp::Connect, &Endpoint::Abstract(&name), &*call.task.program);
            call.settle(&matter, &verdict)?;
            Ok(plain(false))
        }
        Meaning::UnixPath(path) => {
            let object = call.view().resolve(libc::AT_FDCWD, &path, Last::Follow)?.existing()?;
            if object.stat.kind() != Kind::Socket {
                // The right to it is asked before its kind.
                fs::may(object.fd.as_fd(), libc::W_OK)?;
                return Err(Errno::ECONNREFUSED.into());
            }
            let Name::Path(canonical) = name(object.fd.as_fd(), &object.stat)? else {
                return Err(Errno::ECONNREFUSED.into());
            };
            let matter = Matter {
                action: "network_connect",
                operation,
                target: &canonical,
                object: None,
                argv: None,
            };
            if let Some(errno) = services::refused(&canonical, object.stat.id) {
                return Err(call.refuse_fixed(&matter, &fixed::SERVICE, errno));
            }
            call.permit(FileOp::Read, operation, &Name::Path(canonical.clone()), Some(&object))?;
            call.permit(FileOp::Write, operation, &Name::Path(canonical.clone()), Some(&object))?;
            let address = unix_address(
                FdPath::new(std::os::fd::AsRawFd::as_raw_fd(&object.fd))
                    .as_c_str()
                    .to_bytes(),
            )?;
            Ok(Target {
                address,
                far: false,
                resolver: None,
                flow: None,
                proof: None,
                direct: None,
                _held: Some(object.fd),
            })
        }
    }
}

/// How prompts and records show the other end: by the name where one is known.
fn shown(name: Option<&str>, ip: IpAddr, port: u16) -> String {
    match name {
        Some(name) => format!("{name}:{port} ({ip})"),
        None => std::net::SocketAddr::new(ip, port).to_string(),
    }
}

pub(super) fn bind(call: &Call<'_>) -> Result<Reply, Stop> {
    let socket = call.duplicate(call.int(0))?;
    let bytes = address(call, 1, call.arg(2))?;
    let bytes = as_inet(socket.as_fd(), bytes)?;
    match meaning_to(socket.as_fd(), &bytes)? {
        Meaning::Harmless | Meaning::Abstract(_) => sys::bind(socket.as_fd(), &bytes)?,
        Meaning::Tcp(ip, port) => {
            let target = shown(None, ip, port);
            let matter = Matter {
                action: "network_bind",
                operation: "bind",
                target: target.as_bytes(),
                object: None,
                argv: None,
            };
            let udp = sys::option(socket.as_fd(), libc::SO_TYPE)? != libc::SOCK_STREAM;
            if udp && port == 0 && ip.to_canonical().is_unspecified() {
                if call.boundary.policy.admits_datagrams() {
                    // As the kernel does it for a socket that sends without a name of its own.
                    sys::bind(socket.as_fd(), &bytes)?;
                    return Ok(Reply::Value(0));
                }
                // What can only receive answers from the session's resolver need not be open to others.
                let own = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let own = inet_address(sys::option(socket.as_fd(), libc::SO_DOMAIN)?, own);
                sys::bind(socket.as_fd(), &own)?;
                return Ok(Reply::Value(0));
            }
            // Unspecified is every interface here, not loopback.
            let ip = ip.to_canonical();
            let endpoint = if udp {
                Endpoint::Udp(ip, port)
            } else {
                Endpoint::Tcp(ip, port)
            };
            let by = &*call.task.program;
            let verdict = call.boundary.policy.network(NetOp::Bind, &endpoint, by);
            call.settle(&matter, &verdict)?;
            sys::bind(socket.as_fd(), &bytes)?;
            if !udp && let Meaning::Tcp(_, port) = meaning(&sys::local_address(socket.as_fd())?)? {
                call.boundary.listeners.bound(port, socket.as_fd())?;
            }
        }
        Meaning::UnixPath(path) => super::paths::bind::bind_unix(call, socket.as_fd(), &bytes, &path)?,
    }
    drop(socket);
    Ok(Reply::Value(0))
}

/// Sockets that are not plainly native.
pub(super) fn socket(call: &Call<'_>) -> Result<Reply, Stop> {
    let (family, kind, protocol) = (call.int(0), call.int(1), call.int(2));
    let base = kind & 0xf;
    let inet = matches!(family, libc::AF_INET | libc::AF_INET6);
    let datagrams = base == libc::SOCK_DGRAM
        && (inet && matches!(protocol, 0 | libc::IPPROTO_UDP) || family == libc::AF_UNIX && protocol == 0);
    if datagrams && call.boundary.policy.admits_datagrams() {
        // Messages are decided one by one in such a session.
        return Ok(Reply::Descriptor {
            fd: sys::socket(family, libc::SOCK_DGRAM | kind & libc::SOCK_NONBLOCK, protocol)?,
            cloexec: kind & libc::SOCK_CLOEXEC != 0,
            last: false,
        });
    }
    if inet && base == libc::SOCK_DGRAM && matches!(protocol, 0 | libc::IPPROTO_UDP) && call.mute_sockets() {
        return Ok(Reply::Descriptor {
            fd: sys::mute(family, kind & libc::SOCK_NONBLOCK)?,
            cloexec: kind & libc::SOCK_CLOEXEC != 0,
            last: false,
        });
    }
    let target = super::kinds::described(family, base, protocol);
    let matter = Matter {
        action: "network_connect",
        operation: "socket",
        target: target.as_bytes(),
        object: None,
        argv: None,
    };
    let known = matches!(base, libc::SOCK_STREAM | libc::SOCK_DGRAM | libc::SOCK_RAW);
    let refusal = match family {
        libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX if !known => Errno::ESOCKTNOSUPPORT,
        libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX | libc::AF_NETLINK => Errno::EPROTONOSUPPORT,
        _ => Errno::EAFNOSUPPORT,
    };
    // sendmsg is native, so a datagram socket could name any address there: none is handed out.
    Err(call.refuse_fixed(&matter, &fixed::SOCKET_KIND, refusal))
}

/// `setsockopt(SO_REUSEPORT)`: performed on the duplicate; whoever shares a port is looked for from then on.
pub(super) fn reuse_port(call: &Call<'_>) -> Result<Reply, Stop> {
    let len = usize::try_from(call.int(4)).map_err(|_| Errno::EINVAL)?;
    let mut value = [0u8; 4];
    if len < value.len() {
        return Err(Errno::EINVAL.into());
    }
    read_exact(call.notification.tid, call.pointer(3), &mut value)?;
    let socket = call.duplicate(call.int(0))?;
    call.boundary.listeners.shares();
    sys::set_option(socket.as_fd(), libc::SO_REUSEPORT, i32::from_ne_bytes(value))?;
    Ok(Reply::Value(0))
}
