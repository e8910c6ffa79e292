//! connect, bind, sendto, socket: on duplicates of the caller's socket, with one copy of the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;

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
use crate::sys::socket as sys;

/// Bytes of one datagram or message with an address that are copied.
const MESSAGE_MAX: u64 = 1 << 20;

/// An address as the caller wrote it, and what it means.
enum Meaning {
    Tcp(IpAddr, u16),
    UnixPath(CallerPath),
    Abstract(Vec<u8>),
    /// AF_UNSPEC disconnects; netlink's addresses are the kernel's; an unnamed unix address binds to an abstract name of the kernel's choice.
    Harmless,
}

fn address(call: &Call<'_>, arg: usize, len: u64) -> Result<Vec<u8>, Stop> {
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
fn canonical(ip: IpAddr) -> IpAddr {
    let ip = ip.to_canonical();
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

fn meaning(bytes: &[u8]) -> Result<Meaning, Errno> {
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
        libc::AF_INET | libc::AF_INET6 => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// Where the kernel takes AF_UNSPEC for AF_INET: a bind to the wildcard (`inet_bind`, net/ipv4/af_inet.c) and a datagram's address
/// (`udp_sendmsg`, net/ipv4/udp.c) of IPv4 sockets. Only a connect disconnects by it.
fn as_inet(socket: BorrowedFd<'_>, mut bytes: Vec<u8>) -> Result<Vec<u8>, Errno> {
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
fn socket_address(bytes: &[u8]) -> Result<SocketAddr, Errno> {
    match meaning(bytes)? {
        Meaning::Tcp(ip, port) => Ok(SocketAddr::new(ip, port)),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// `struct sockaddr_in`, or for sockets of IPv6 `struct sockaddr_in6` with a mapped address. ip(7), ipv6(7).
fn inet_address(domain: i32, to: SocketAddr) -> Vec<u8> {
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

pub(super) fn connect(call: &Call<'_>) -> Result<Reply, Stop> {
    let bytes = address(call, 1, call.arg(2))?;
    let socket = call.duplicate(call.int(0))?;
    let target = permit(call, "connect", socket.as_fd(), &bytes)?;
    if let Some(proof) = target.proof {
        return carried(call, socket, &bytes, proof);
    }
    if target.far && fs::status_flags(socket.as_fd())? & libc::O_NONBLOCK == 0 {
        pool::about_to_block()?;
    }
    let result = sys::connect(socket.as_fd(), &target.address);
    if target.resolver && matches!(result, Ok(()) | Err(Errno::EINPROGRESS)) {
        call.announce(socket_address(&sys::local_address(socket.as_fd())?)?);
    }
    // Closed before the answer: what the caller does next must not meet our reference (K51).
    drop(socket);
    result?;
    Ok(Reply::Value(0))
}

pub(super) fn sendto(call: &Call<'_>) -> Result<Reply, Stop> {
    let bytes = address(call, 4, call.arg(5))?;
    let socket = call.duplicate(call.int(0))?;
    let bytes = as_inet(socket.as_fd(), bytes)?;
    if question(call, socket.as_fd(), &bytes)? {
        return Ok(Reply::Value(call.arg(2).cast_signed()));
    }
    let target = permit(call, "sendto", socket.as_fd(), &bytes)?;
    let data = message(call)?;
    pool::about_to_block()?;
    Ok(Reply::Value(sys::send_to(
        socket.as_fd(),
        &data,
        call.int(3),
        &target.address,
    )?))
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

/// What is to be sent.
fn message(call: &Call<'_>) -> Result<Vec<u8>, Stop> {
    let len = call.arg(2);
    if len > MESSAGE_MAX {
        return Err(Errno::EMSGSIZE.into());
    }
    let mut data = vec![0; usize::try_from(len).map_err(|_| Errno::EMSGSIZE)?];
    if !data.is_empty() {
        read_exact(call.notification.tid, call.pointer(1), &mut data)?;
    }
    Ok(data)
}

/// A question to the resolver in a datagram: taken from the caller, and not sent. The answer comes to the caller's socket from port 53.
fn question(call: &Call<'_>, socket: BorrowedFd<'_>, address: &[u8]) -> Result<bool, Stop> {
    let Some(service) = call.boundary.names.service().filter(|service| service.takes_datagrams) else {
        return Ok(false);
    };
    let Meaning::Tcp(ip, port) = meaning(address)? else {
        return Ok(false);
    };
    if !service.is_server(canonical(ip), port) || sys::option(socket, libc::SO_TYPE)? != libc::SOCK_DGRAM {
        return Ok(false);
    }
    let data = message(call)?;
    let mut local = socket_address(&sys::local_address(socket)?)?;
    if local.port() == 0 {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        sys::bind(socket, &inet_address(sys::option(socket, libc::SO_DOMAIN)?, any))?;
        local = socket_address(&sys::local_address(socket)?)?;
    }
    service.ask(data, SocketAddr::new(canonical(local.ip()), local.port()), call.who());
    Ok(true)
}

/// The address to use, and what keeps its object alive until then.
struct Target {
    address: Vec<u8>,
    /// Whether the answer comes from elsewhere, and can take its time. What is near answers at once, and where it does not the pool's watch
    /// sees to the others.
    far: bool,
    /// Whether this is the session's resolver, which serves only connections that it is told of.
    resolver: bool,
    /// What is to be proved of the name before anything goes on.
    proof: Option<Proof>,
    _held: Option<OwnedFd>,
}

/// A connection whose name is proved on the wire.
struct Proof {
    to: SocketAddr,
    verify: Verify,
    names: Vec<Arc<str>>,
}

fn permit(call: &Call<'_>, operation: &'static str, socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<Target, Stop> {
    let plain = |far| Target {
        address: bytes.to_vec(),
        far,
        resolver: false,
        proof: None,
        _held: None,
    };
    match meaning(bytes)? {
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
                    resolver: true,
                    proof: None,
                    _held: None,
                });
            }
            if udp && !call.boundary.policy.admits_datagrams() && operation == "connect" {
                // Such a socket can send nothing: libraries connect it to learn which of their own addresses they would use.
                return Ok(plain(false));
            }
            let names = call.boundary.names.told.names(ip);
            let by = &*call.task.program;
            let (verdict, name) = call.boundary.policy.connect(udp, ip, port, &names, by);
            let target = shown(name, ip, port);
            let matter = Matter {
                action: "network_connect",
                operation,
                target: target.as_bytes(),
                object: None,
                argv: None,
            };
            if ip.is_loopback() && call.boundary.listeners.own(ip, port) {
                let rule = &*fixed::LOOPBACK;
                call.settle(
                    &matter,
                    &Verdict {
                        decision: Decision::Allow,
                        rule,
                    },
                )?;
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
            call.settle_as(&matter, &verdict, refusal)?;
            let mut target = plain(!ip.is_loopback());
            let to = SocketAddr::new(ip, port);
            if verify == Verify::None || udp || call.boundary.mode == Mode::Audit {
                if !known.is_empty() {
                    call.boundary.names.direct(&known, to);
                }
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
                resolver: false,
                proof: None,
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
    let bytes = address(call, 1, call.arg(2))?;
    let socket = call.duplicate(call.int(0))?;
    let bytes = as_inet(socket.as_fd(), bytes)?;
    match meaning(&bytes)? {
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
            if udp && port == 0 && ip.to_canonical().is_unspecified() && !call.boundary.policy.admits_datagrams() {
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
    if inet && base == libc::SOCK_DGRAM && matches!(protocol, 0 | libc::IPPROTO_UDP) && call.mute_sockets() {
        return Ok(Reply::Descriptor {
            fd: sys::mute(family, kind & libc::SOCK_NONBLOCK)?,
            cloexec: kind & libc::SOCK_CLOEXEC != 0,
            last: false,
        });
    }
    let target = format!("family {family}, type {base}, protocol {protocol}");
    let matter = Matter {
        action: "network_connect",
        operation: "socket",
        target: target.as_bytes(),
        object: None,
        argv: None,
    };
    let refusal = match family {
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
