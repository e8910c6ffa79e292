//! sendto, sendmsg, sendmmsg: copied once, decided, and performed on a duplicate of the caller's socket.
//!
//! Where the policy admits datagrams every sendmsg comes here, whatever its socket: a filter does not see which one a descriptor means, and which
//! one the caller's table means can change until the kernel looks.
//!
//! *Invariant:* header, address, list of parts and ancillary data are copied once each, and the kernel is given the copies.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::ancillary::ancillary;
use super::network::{Meaning, as_inet, canonical, inet_address, meaning, permit, socket_address};
use super::{Call, Reply, Stop, pool};
use crate::caller::memory::bytes;
use crate::sys::fs;
use crate::sys::memory::{RemotePtr, read_exact, write_exact};
use crate::sys::process::tgkill;
use crate::sys::socket as sys;

/// Bytes of one datagram that are copied; larger ones are EMSGSIZE (UDP has 65 507, unix sockets net.core.wmem_max).
const DATAGRAM_MAX: u64 = 1 << 20;
/// Bytes of a stream that are copied at once (I8).
const CHUNK: usize = 256 * 1024;
/// `UIO_MAXIOV`, include/uapi/linux/uio.h: parts of a message, and messages of one sendmmsg.
const PARTS_MAX: usize = 1024;
/// `MAX_RW_COUNT`, include/linux/fs.h.
const TOTAL_MAX: u64 = 0x7fff_f000;
/// Bytes of ancillary data; net.core.optmem_max, as newer kernels have it.
const CONTROL_MAX: usize = 128 * 1024;
/// struct msghdr and struct mmsghdr on 64 bits, and where the latter has its result. sendmsg(2), sendmmsg(2).
const HEADER: usize = 56;
const MANY: u64 = 64;
/// How long a datagram waits when its socket says that there is room, and there is none at the receiver.
const FULL: Duration = Duration::from_millis(5);

/// The caller's socket.
pub(super) struct Socket {
    fd: OwnedFd,
    pub(super) domain: i32,
    kind: i32,
    /// Whether a call on it waits.
    waits: bool,
}

impl Socket {
    fn of(call: &Call<'_>, flags: i32) -> Result<Self, Errno> {
        let fd = call.duplicate(call.int(0))?;
        Ok(Self {
            // ENOTSOCK as natively.
            domain: sys::option(fd.as_fd(), libc::SO_DOMAIN)?,
            kind: sys::option(fd.as_fd(), libc::SO_TYPE)?,
            waits: flags & libc::MSG_DONTWAIT == 0 && fs::status_flags(fd.as_fd())? & libc::O_NONBLOCK == 0,
            fd,
        })
    }

    pub(super) fn is_inet(&self) -> bool {
        matches!(self.domain, libc::AF_INET | libc::AF_INET6)
    }

    pub(super) fn streams(&self) -> bool {
        self.kind == libc::SOCK_STREAM
    }

    /// Whether a message's own address says where it goes. Connected kinds ignore it or refuse it.
    fn is_addressed(&self) -> bool {
        !self.streams() && self.kind != libc::SOCK_SEQPACKET
    }
}

/// A message as the caller wrote it: its head, not its data.
struct Message {
    address: Vec<u8>,
    parts: Vec<(RemotePtr, u64)>,
    total: u64,
    control: Vec<u8>,
}

pub(super) fn word(bytes: &[u8], at: usize) -> Result<u64, Errno> {
    let part = bytes.get(at..at + 8).ok_or(Errno::EINVAL)?;
    Ok(u64::from_ne_bytes(part.try_into().map_err(|_| Errno::EINVAL)?))
}

pub(super) fn half(bytes: &[u8], at: usize) -> Result<u32, Errno> {
    let part = bytes.get(at..at + 4).ok_or(Errno::EINVAL)?;
    Ok(u32::from_ne_bytes(part.try_into().map_err(|_| Errno::EINVAL)?))
}

impl Message {
    /// Copies what a struct msghdr at this place points at, but for the data. Errors as `copy_msghdr_from_user` has them (net/socket.c).
    fn read(call: &Call<'_>, at: RemotePtr) -> Result<Self, Errno> {
        let tid = call.notification.tid;
        let header: [u8; HEADER] = bytes(tid, at)?;
        let (name, name_len) = (word(&header, 0)?, half(&header, 8)?);
        let (list, count) = (word(&header, 16)?, word(&header, 24)?);
        let (control, control_len) = (word(&header, 32)?, word(&header, 40)?);
        if i32::try_from(name_len).is_err() && name != 0 {
            return Err(Errno::EINVAL);
        }
        let len = if name == 0 { 0 } else { name_len as usize };
        let mut address = vec![0; len.min(sys::ADDRESS_MAX)];
        if !address.is_empty() {
            read_exact(tid, RemotePtr(name), &mut address)?;
        }
        let count = usize::try_from(count).map_err(|_| Errno::EMSGSIZE)?;
        if count > PARTS_MAX {
            return Err(Errno::EMSGSIZE);
        }
        let mut table = vec![0; count * 16];
        if count > 0 {
            read_exact(tid, RemotePtr(list), &mut table)?;
        }
        let (mut parts, mut total) = (Vec::with_capacity(count), 0u64);
        for entry in table.chunks_exact(16) {
            let len = word(entry, 8)?;
            if i64::try_from(len).is_err() {
                return Err(Errno::EINVAL);
            }
            // Cut off, as `__import_iovec` does (lib/iov_iter.c).
            let len = len.min(TOTAL_MAX - total);
            total += len;
            parts.push((RemotePtr(word(entry, 0)?), len));
        }
        let control_len = usize::try_from(control_len).map_err(|_| Errno::ENOBUFS)?;
        if control_len > CONTROL_MAX {
            return Err(Errno::ENOBUFS);
        }
        let mut own = vec![0; if control == 0 { 0 } else { control_len }];
        if !own.is_empty() {
            read_exact(tid, RemotePtr(control), &mut own)?;
        }
        Ok(Self {
            address,
            parts,
            total,
            control: own,
        })
    }

    /// Up to `room` bytes of the data behind the first `skip`.
    fn data(&self, call: &Call<'_>, skip: u64, room: usize) -> Result<Vec<u8>, Errno> {
        let mut data = Vec::new();
        let mut skip = skip;
        for (at, len) in &self.parts {
            let from = skip.min(*len);
            skip -= from;
            let left = usize::try_from(len - from).unwrap_or(usize::MAX).min(room - data.len());
            if left > 0 {
                let begin = data.len();
                data.resize(begin + left, 0);
                let room = data.get_mut(begin..).ok_or(Errno::EFAULT)?;
                read_exact(call.notification.tid, at.offset(from)?, room)?;
            }
            if data.len() == room {
                break;
            }
        }
        Ok(data)
    }
}

pub(super) fn sendto(call: &Call<'_>) -> Result<Reply, Stop> {
    let message = Message {
        address: super::network::address(call, 4, call.arg(5))?,
        parts: vec![(call.pointer(1), call.arg(2).min(TOTAL_MAX))],
        total: call.arg(2).min(TOTAL_MAX),
        control: Vec::new(),
    };
    let socket = Socket::of(call, call.int(3))?;
    let sent = send(call, &socket, &message, call.int(3));
    // Before the answer: what the caller does next must not meet our reference (K51).
    drop(socket);
    Ok(Reply::Value(sent?))
}

pub(super) fn sendmsg(call: &Call<'_>) -> Result<Reply, Stop> {
    let flags = call.int(2);
    let socket = Socket::of(call, flags)?;
    let message = Message::read(call, call.pointer(1))?;
    let sent = send(call, &socket, &message, flags);
    drop(socket);
    Ok(Reply::Value(sent?))
}

/// As `__sys_sendmmsg` (net/socket.c): an error is told only when nothing was sent before it.
pub(super) fn sendmmsg(call: &Call<'_>) -> Result<Reply, Stop> {
    let flags = call.int(3);
    let socket = Socket::of(call, flags)?;
    let count = u64::from(call.int(2).cast_unsigned()).min(PARTS_MAX as u64);
    let mut done = 0u64;
    while done < count {
        let at = call.pointer(1).offset(done * MANY);
        let one = at.map_err(Stop::from).and_then(|at| {
            let message = Message::read(call, at)?;
            let sent = send(call, &socket, &message, flags)?;
            let result = u32::try_from(sent).map_err(|_| Errno::EIO)?;
            // The number may be another thread's by now, should the caller have died.
            if !call.boundary.listener.waits(call.notification.id) {
                return Err(Errno::ESRCH.into());
            }
            write_exact(call.notification.tid, at.offset(HEADER as u64)?, &result.to_ne_bytes())?;
            Ok(u64::try_from(sent).is_ok_and(|sent| sent < message.total))
        });
        match one {
            Ok(partial) => {
                done += 1;
                if partial {
                    break;
                }
            }
            Err(stop) if done == 0 => return Err(stop),
            Err(_) => break,
        }
    }
    drop(socket);
    Ok(Reply::Value(i64::try_from(done).unwrap_or(0)))
}

/// Decides about one message and sends it; the bytes that went.
fn send(call: &Call<'_>, socket: &Socket, message: &Message, flags: i32) -> Result<i64, Stop> {
    let fd = socket.fd.as_fd();
    let mut address = message.address.clone();
    let mut target = None;
    if !address.is_empty() && socket.is_addressed() {
        address = as_inet(fd, address)?;
        if let Some(len) = question(call, socket, &address, message)? {
            return Ok(len);
        }
        let decided = permit(call, call.name.trim_start_matches("SYS_"), fd, &address)?;
        address.clone_from(&decided.address);
        target = Some(decided);
    } else if socket.is_inet() {
        // TCP looks at it for fast open only, which the filter refuses.
        address.clear();
    } else if socket.domain != libc::AF_UNIX && socket.domain != libc::AF_NETLINK {
        return Err(Errno::EACCES.into());
    }
    let (control, passed) = ancillary(call, socket, &message.control)?;
    let sent = deliver(call, socket, message, &address, &control, flags);
    drop(passed);
    if let (Some(flow), Ok(sent)) = (target.as_ref().and_then(|target| target.flow.as_ref()), &sent) {
        call.boundary.flows.sent(flow, usize::try_from(*sent).unwrap_or(0));
    }
    if sent == Err(Stop::Errno(Errno::EPIPE)) && socket.streams() && flags & libc::MSG_NOSIGNAL == 0 {
        tgkill(call.task.tgid, call.task.tid, libc::SIGPIPE)?;
    }
    sent
}

/// Sends, and waits where the caller would. A stream is sent piece by piece.
fn deliver(
    call: &Call<'_>,
    socket: &Socket,
    message: &Message,
    address: &[u8],
    control: &[u8],
    flags: i32,
) -> Result<i64, Stop> {
    /// `MSG_ZEROCOPY`, include/linux/socket.h: ignored on sockets that did not ask for it, and none can.
    const ZEROCOPY: i32 = 0x0400_0000;
    let fd = socket.fd.as_fd();
    let (room, flags) = (CHUNK, flags & !ZEROCOPY | libc::MSG_DONTWAIT);
    if !socket.streams() && message.total > DATAGRAM_MAX {
        return Err(Errno::EMSGSIZE.into());
    }
    let room = if socket.streams() {
        room
    } else {
        usize::try_from(DATAGRAM_MAX).unwrap_or(room)
    };
    let began = Instant::now();
    let mut patience = None;
    let mut sent = 0u64;
    let mut handed_over = false;
    loop {
        let so_far = |stop: Stop| match i64::try_from(sent) {
            Ok(sent) if sent > 0 => Ok(sent),
            _ => Err(stop),
        };
        let data = match message.data(call, sent, room) {
            Ok(data) => data,
            Err(errno) => return so_far(errno.into()),
        };
        let first = sent == 0;
        let control = if first { control } else { &[] };
        match sys::send_message(fd, address, &data, control, flags) {
            Ok(len) => {
                sent += len as u64;
                if !socket.streams() || sent >= message.total || (!socket.waits && len < data.len()) {
                    return Ok(i64::try_from(sent).unwrap_or(0));
                }
            }
            Err(Errno::EAGAIN) if socket.waits => {
                if !handed_over {
                    pool::about_to_block()?;
                    patience = sys::send_patience(fd)?;
                    handed_over = true;
                } else if sys::poll(fd, libc::POLLOUT, 0)? {
                    // There was room before, and none at the receiver: its queue wakes nobody here.
                    std::thread::sleep(FULL);
                }
                sys::poll(fd, libc::POLLOUT, 50)?;
                if patience.is_some_and(|patience| began.elapsed() >= patience) {
                    return so_far(Errno::EAGAIN.into());
                }
                if let Err(stop) = call.still_waits() {
                    // sock_intr_errno, include/net/sock.h.
                    let stop = match (stop, patience) {
                        (Stop::Restart, Some(_)) => Errno::EINTR.into(),
                        (stop, _) => stop,
                    };
                    return so_far(stop);
                }
            }
            Err(errno) => return so_far(errno.into()),
        }
    }
}

/// A question to the resolver in a datagram: taken from the caller, and not sent. The answer comes to the caller's socket from port 53.
fn question(call: &Call<'_>, socket: &Socket, address: &[u8], message: &Message) -> Result<Option<i64>, Stop> {
    let Some(service) = call.boundary.names.service().filter(|service| service.takes_datagrams) else {
        return Ok(None);
    };
    let Meaning::Tcp(ip, port) = meaning(address)? else {
        return Ok(None);
    };
    if !service.is_server(canonical(ip), port) || !socket.is_inet() {
        return Ok(None);
    }
    if message.total > DATAGRAM_MAX {
        return Err(Errno::EMSGSIZE.into());
    }
    let fd = socket.fd.as_fd();
    let data = message.data(call, 0, usize::try_from(DATAGRAM_MAX).unwrap_or(0))?;
    let mut local = socket_address(&sys::local_address(fd)?)?;
    if local.port() == 0 {
        let any = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
        sys::bind(fd, &inet_address(socket.domain, any))?;
        local = socket_address(&sys::local_address(fd)?)?;
    }
    let asker = std::net::SocketAddr::new(canonical(local.ip()), local.port());
    let len = i64::try_from(data.len()).unwrap_or(0);
    service.ask(data, asker, call.who());
    Ok(Some(len))
}
