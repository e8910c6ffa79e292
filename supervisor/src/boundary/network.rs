//! connect, bind, sendto, socket: on duplicates of the caller's socket, with one copy of the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::judge::Matter;
use super::{Call, Reply, Stop, fixed, pool};
use crate::caller::memory::CallerPath;
use crate::caller::resolve::{Last, Name, name};
use crate::decision::Decision;
use crate::policy::{Endpoint, FileOp, NetOp, Verdict};
use crate::sys::fs::{self, Kind};
use crate::sys::memory::read_exact;
use crate::sys::path::{FdPath, c_string};
use crate::sys::socket as sys;

/// `AF_INET` as it stands in an address.
const INET: u16 = 2;
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

/// A unix address with another path.
fn unix_address(path: &[u8]) -> Result<Vec<u8>, Errno> {
    if path.len() > 107 {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok([&1u16.to_ne_bytes(), path, b"\0"].concat())
}

/// An address of which the kernel itself reads AF_UNSPEC as AF_INET: of binds and of datagrams (inet_bind, net/ipv4/af_inet.c; udp_sendmsg,
/// net/ipv4/udp.c). Only connect means "disconnect" by it.
fn named(mut bytes: Vec<u8>) -> Vec<u8> {
    if let [low, high, _, ..] = bytes.as_mut_slice()
        && [*low, *high] == [0, 0]
    {
        [*low, *high] = INET.to_ne_bytes();
    }
    bytes
}

pub(super) fn connect(call: &Call<'_>) -> Result<Reply, Stop> {
    let bytes = address(call, 1, call.arg(2))?;
    let socket = call.duplicate(call.int(0))?;
    let target = permit(call, "connect", socket.as_fd(), &bytes)?;
    if target.far && fs::status_flags(socket.as_fd())? & libc::O_NONBLOCK == 0 {
        pool::about_to_block()?;
    }
    sys::connect(socket.as_fd(), &target.address)?;
    drop(socket);
    Ok(Reply::Value(0))
}

pub(super) fn sendto(call: &Call<'_>) -> Result<Reply, Stop> {
    let bytes = named(address(call, 4, call.arg(5))?);
    let socket = call.duplicate(call.int(0))?;
    let target = permit(call, "sendto", socket.as_fd(), &bytes)?;
    let len = call.arg(2);
    if len > MESSAGE_MAX {
        return Err(Errno::EMSGSIZE.into());
    }
    let mut data = vec![0; usize::try_from(len).map_err(|_| Errno::EMSGSIZE)?];
    if !data.is_empty() {
        read_exact(call.notification.tid, call.pointer(1), &mut data)?;
    }
    pool::about_to_block()?;
    Ok(Reply::Value(sys::send_to(
        socket.as_fd(),
        &data,
        call.int(3),
        &target.address,
    )?))
}

/// The address to use, and what keeps its object alive until then.
struct Target {
    address: Vec<u8>,
    /// Whether the answer comes from elsewhere, and can take its time. What is near answers at once, and where it does not the pool's watch
    /// sees to the others.
    far: bool,
    _held: Option<OwnedFd>,
}

fn permit(call: &Call<'_>, operation: &'static str, socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<Target, Stop> {
    let plain = |far| Target {
        address: bytes.to_vec(),
        far,
        _held: None,
    };
    match meaning(bytes)? {
        Meaning::Harmless => Ok(plain(false)),
        Meaning::Tcp(ip, port) => {
            let ip = canonical(ip);
            let udp = sys::option(socket, libc::SO_TYPE)? != libc::SOCK_STREAM;
            let names = call.boundary.names.names(ip);
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
            call.settle(&matter, &verdict)?;
            Ok(plain(!ip.is_loopback()))
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
            if let Some(row) = crate::policy::tables::refused_socket(&canonical) {
                return Err(call.refuse_fixed(&matter, &fixed::SERVICE, row));
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
    let bytes = named(address(call, 1, call.arg(2))?);
    let socket = call.duplicate(call.int(0))?;
    match meaning(&bytes)? {
        Meaning::Harmless | Meaning::Abstract(_) => sys::bind(socket.as_fd(), &bytes)?,
        Meaning::Tcp(ip, port) => {
            permit_bind(call, "bind", ip, port)?;
            sys::bind(socket.as_fd(), &bytes)?;
            remember(call, socket.as_fd())?;
        }
        Meaning::UnixPath(path) => super::paths::bind::bind_unix(call, socket.as_fd(), &bytes, &path)?,
    }
    drop(socket);
    Ok(Reply::Value(0))
}

/// `listen`: a socket without a port gets one here, on every interface, as if it had been bound there (inet_autobind).
pub(super) fn listen(call: &Call<'_>) -> Result<Reply, Stop> {
    let socket = call.duplicate(call.int(0))?;
    match sys::local_address(socket.as_fd()).map(|bytes| meaning(&bytes)) {
        Ok(Ok(Meaning::Tcp(ip, 0))) => {
            permit_bind(call, "listen", ip, 0)?;
            sys::listen(socket.as_fd(), call.int(1))?;
            remember(call, socket.as_fd())?;
        }
        _ => sys::listen(socket.as_fd(), call.int(1))?,
    }
    drop(socket);
    Ok(Reply::Value(0))
}

/// Decides a local address. Unspecified is every interface here, not loopback.
fn permit_bind(call: &Call<'_>, operation: &'static str, ip: IpAddr, port: u16) -> Result<(), Stop> {
    let target = shown(None, ip, port);
    let matter = Matter {
        action: "network_bind",
        operation,
        target: target.as_bytes(),
        object: None,
        argv: None,
    };
    let endpoint = Endpoint::Tcp(ip.to_canonical(), port);
    let verdict = call
        .boundary
        .policy
        .network(NetOp::Bind, &endpoint, &*call.task.program);
    call.settle(&matter, &verdict)
}

/// What is bound is the session's own from now on.
fn remember(call: &Call<'_>, socket: BorrowedFd<'_>) -> Result<(), Errno> {
    if let Meaning::Tcp(_, port) = meaning(&sys::local_address(socket)?)? {
        call.boundary.listeners.bound(port, socket)?;
    }
    Ok(())
}

/// Sockets that are not plainly native.
pub(super) fn socket(call: &Call<'_>) -> Result<Reply, Stop> {
    let (family, kind, protocol) = (call.int(0), call.int(1), call.int(2));
    let base = kind & 0xf;
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
