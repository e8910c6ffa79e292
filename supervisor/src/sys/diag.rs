//! Which TCP sockets listen, with their cookies, what went over those that end, and to which names unix sockets were bound. sock_diag(7).

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::check;
use super::socket::{send_message, socket};

/// `SOCK_DIAG_BY_FAMILY`, include/uapi/linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR` and `NLMSG_DONE`, include/uapi/linux/netlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `TCP_LISTEN` as a bit of the states asked for; include/net/tcp_states.h.
const LISTEN: u32 = 1 << 10;
/// Bytes of struct nlmsghdr and of struct inet_diag_req_v2, include/uapi/linux/inet_diag.h.
const HEADER: usize = 16;
const REQUEST: usize = 56;
/// Where a message's source port and cookie stand in struct inet_diag_msg.
const SOURCE_PORT: usize = 4;
const COOKIE: usize = 44;

/// Bytes of struct unix_diag_req and unix_diag_msg, with their headers; what is asked for (`UDIAG_SHOW_NAME | UDIAG_SHOW_VFS`) and the
/// attributes that answer it. include/uapi/linux/unix_diag.h.
const UNIX_REQUEST: usize = HEADER + 24;
const UNIX_MESSAGE: usize = 16;
const SHOW: u32 = 1 | 2;
const NAME: u16 = 0;
const VFS: u16 = 1;

/// A unix socket that has a name in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The lower half of its inode's number.
    pub ino: u32,
    /// Its file system's device, as `st_dev` is made from it.
    pub dev: u64,
    /// The name as it was given to bind(2), which no later rename or link changes.
    pub name: Vec<u8>,
}

/// Bytes of struct inet_diag_msg, behind which attributes stand; INET_DIAG_INFO, include/uapi/linux/inet_diag.h.
const MESSAGE: usize = 72;
const INFO: u16 = 2;
/// Where struct tcp_info has tcpi_bytes_received, tcpi_bytes_sent and tcpi_bytes_retrans; include/uapi/linux/tcp.h.
const RECEIVED: usize = 128;
const SENT: usize = 200;
const SENT_AGAIN: usize = 208;
/// SKNLGRP_INET_TCP_DESTROY and SKNLGRP_INET6_TCP_DESTROY; include/uapi/linux/sock_diag.h.
const ENDED: [i32; 2] = [1, 3];
/// Bytes of news that the kernel keeps for a slow reader.
const NEWS_MAX: i32 = 1 << 20;

/// What went over a TCP connection: data without what was sent again. The end of the other side's stream counts as a byte received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// To the other end.
    pub sent: u64,
    /// From it.
    pub received: u64,
}

impl Bytes {
    /// From the attributes behind a struct inet_diag_msg.
    fn of(message: &[u8]) -> Option<Self> {
        let mut rest = message.get(MESSAGE..)?;
        // struct nlattr, include/uapi/linux/netlink.h: length with the head, type.
        loop {
            let len = usize::from(u16::from_ne_bytes(field(rest, 0)?));
            if u16::from_ne_bytes(field(rest, 2)?) == INFO {
                let info = rest.get(4..len)?;
                let number = |at| field(info, at).map(u64::from_ne_bytes);
                return Some(Self {
                    sent: number(SENT)?.saturating_sub(number(SENT_AGAIN)?),
                    received: number(RECEIVED)?,
                });
            }
            rest = rest.get((len.max(4) + 3) & !3..)?;
        }
    }
}

/// News of TCP sockets that end, of the whole network namespace. Needs no rights.
#[derive(Debug)]
pub struct Ended(Diag);

impl Ended {
    /// Opens the way that news come by; none do yet.
    pub fn open() -> Result<Self, Errno> {
        let diag = Diag::open()?;
        let mut address = [0u8; 12];
        let family = u16::try_from(libc::AF_NETLINK).map_err(|_| Errno::EINVAL)?;
        address
            .iter_mut()
            .zip(family.to_ne_bytes())
            .for_each(|(to, from)| *to = from);
        // Without a number of its own the socket counts as the kernel's, which sends nothing to itself (do_one_broadcast, net/netlink/af_netlink.c).
        super::socket::bind(diag.0.as_fd(), &address)?;
        super::socket::set_option(diag.0.as_fd(), libc::SO_RCVBUF, NEWS_MAX)?;
        Ok(Self(diag))
    }

    /// Whether news come. Each wakes the reader, whoever on the machine closes a connection.
    pub fn listen(&self, listens: bool) -> Result<(), Errno> {
        ENDED
            .iter()
            .try_for_each(|group| super::socket::set_membership(self.0.0.as_fd(), *group, listens))
    }

    /// Waits up to `timeout_ms` (-1: for ever) and tells of all sockets that ended until now; false when none did. ENOBUFS when news were lost.
    pub fn next(&self, timeout_ms: i32, mut each: impl FnMut(u64, Bytes)) -> Result<bool, Errno> {
        if !super::socket::poll(self.0.0.as_fd(), libc::POLLIN, timeout_ms)? {
            return Ok(false);
        }
        let mut buf = [0u8; 4096];
        loop {
            let read = self.0.receive(&mut buf, libc::MSG_DONTWAIT, |message| {
                if let (Some(cookie), Some(bytes)) = (cookie(message), Bytes::of(message)) {
                    each(cookie, bytes);
                }
            });
            match read {
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Ok(true),
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// A connection to the kernel's list of sockets.
#[derive(Debug)]
pub struct Diag(OwnedFd);

impl Diag {
    /// Opens it; it sees the network namespace that the caller is in now.
    pub fn open() -> Result<Self, Errno> {
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_SOCK_DIAG).map(Self)
    }

    /// The cookie of the socket that a connection to `ip`:`port` from the same address would reach, by the kernel's own lookup (inet_lookup,
    /// net/ipv4/inet_diag.c). Of several that share the port with SO_REUSEPORT, one.
    pub fn listener(&self, ip: IpAddr, port: u16) -> Result<Option<u64>, Errno> {
        let mut request = header(libc::NLM_F_REQUEST, family(ip))?;
        request.extend_from_slice(&port.to_be_bytes());
        request.extend_from_slice(&[0; 2]);
        for _ in 0..2 {
            let mut address = [0u8; 16];
            match ip {
                IpAddr::V4(ip) => address.iter_mut().zip(ip.octets()).for_each(|(to, from)| *to = from),
                IpAddr::V6(ip) => address = ip.octets(),
            }
            request.extend_from_slice(&address);
        }
        // No interface, and no cookie asked for (INET_DIAG_NOCOOKIE).
        request.extend_from_slice(&[0; 4]);
        request.extend_from_slice(&[0xff; 8]);
        self.send(&request)?;
        let mut found = None;
        let mut buf = vec![0u8; 4096];
        self.receive(&mut buf, 0, |message| found = cookie(message))?;
        Ok(found)
    }

    /// The cookies of all sockets that listen on `port`, whatever their address.
    pub fn listeners(&self, port: u16) -> Result<Vec<u64>, Errno> {
        let mut cookies = Vec::new();
        let mut buf = vec![0u8; 32768];
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut request = header(libc::NLM_F_REQUEST | libc::NLM_F_DUMP, family)?;
            request.resize(HEADER + REQUEST, 0);
            self.send(&request)?;
            while self.receive(&mut buf, 0, |message| {
                if field(message, SOURCE_PORT).map(u16::from_be_bytes) == Some(port) {
                    cookies.extend(cookie(message));
                }
            })? {}
        }
        Ok(cookies)
    }

    /// All unix sockets of this network namespace that are bound in a file system.
    pub fn bound(&self) -> Result<Vec<Bound>, Errno> {
        let mut request = Vec::with_capacity(UNIX_REQUEST);
        let size = u32::try_from(UNIX_REQUEST).map_err(|_| Errno::EINVAL)?;
        let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).map_err(|_| Errno::EINVAL)?;
        request.extend_from_slice(&size.to_ne_bytes());
        request.extend_from_slice(&BY_FAMILY.to_ne_bytes());
        request.extend_from_slice(&flags.to_ne_bytes());
        request.extend_from_slice(&[0; 8]);
        let family = u8::try_from(libc::AF_UNIX).map_err(|_| Errno::EINVAL)?;
        request.extend_from_slice(&[family, 0, 0, 0]);
        // All states; no inode; what is shown; no cookie.
        for word in [u32::MAX, 0, SHOW, u32::MAX, u32::MAX] {
            request.extend_from_slice(&word.to_ne_bytes());
        }
        self.send(&request)?;
        let mut found = Vec::new();
        let mut buf = vec![0u8; 32768];
        while self.receive(&mut buf, 0, |message| found.extend(bound(message)))? {}
        Ok(found)
    }

    /// What went so far over each TCP socket of this network namespace, by cookie.
    pub fn carried(&self, mut each: impl FnMut(u64, Bytes)) -> Result<(), Errno> {
        let mut buf = vec![0u8; 32768];
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut request = header(libc::NLM_F_REQUEST | libc::NLM_F_DUMP, family)?;
            request.resize(HEADER + REQUEST, 0);
            // The extension INET_DIAG_INFO, and every state.
            if let Some(extensions) = request.get_mut(HEADER + 2) {
                *extensions = 1 << (INFO - 1);
            }
            if let Some(states) = request.get_mut(HEADER + 4..HEADER + 8) {
                states.fill(0xff);
            }
            self.send(&request)?;
            while self.receive(&mut buf, 0, |message| {
                if let (Some(cookie), Some(bytes)) = (cookie(message), Bytes::of(message)) {
                    each(cookie, bytes);
                }
            })? {}
        }
        Ok(())
    }

    fn send(&self, request: &[u8]) -> Result<(), Errno> {
        let mut kernel = [0u8; 12];
        let family = u16::try_from(libc::AF_NETLINK).map_err(|_| Errno::EINVAL)?;
        kernel
            .iter_mut()
            .zip(family.to_ne_bytes())
            .for_each(|(to, from)| *to = from);
        send_message(self.0.as_fd(), &kernel, request, &[], 0).map(|_| ())
    }

    /// One read of answers; whether more of a dump can follow.
    fn receive(&self, buf: &mut [u8], flags: i32, mut each: impl FnMut(&[u8])) -> Result<bool, Errno> {
        // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`, which outlives the call.
        let got = unsafe { libc::recv(self.0.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) };
        let got = usize::try_from(check(got as libc::c_long)?).map_err(|_| Errno::EIO)?;
        let mut rest = buf.get(..got).unwrap_or_default();
        while rest.len() >= HEADER {
            let len = field(rest, 0).map_or(0, u32::from_ne_bytes) as usize;
            let kind = field(rest, 4).map_or(DONE, u16::from_ne_bytes);
            if kind == DONE || kind == ERROR || len < HEADER {
                return Ok(false);
            }
            each(rest.get(HEADER..len).unwrap_or_default());
            rest = rest.get((len + 3) & !3..).unwrap_or_default();
        }
        Ok(true)
    }
}

/// A struct unix_diag_msg with its attributes (struct nlattr, each at a multiple of four).
fn bound(message: &[u8]) -> Option<Bound> {
    let (mut name, mut vfs) = (None, None);
    let mut rest = message.get(UNIX_MESSAGE..)?;
    while let Some(len) = field(rest, 0).map(u16::from_ne_bytes).map(usize::from) {
        let value = rest.get(4..len)?;
        match field(rest, 2).map(u16::from_ne_bytes)? {
            NAME => name = Some(value),
            VFS => {
                vfs = field(value, 0)
                    .map(u32::from_ne_bytes)
                    .zip(field(value, 4).map(u32::from_ne_bytes))
            }
            _ => {}
        }
        rest = rest.get((len + 3) & !3..).unwrap_or_default();
    }
    let (ino, dev) = vfs?;
    let name = name?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Some(Bound {
        ino,
        // MKDEV of the kernel's own; include/linux/kdev_t.h.
        dev: libc::makedev(dev >> 20, dev & 0xf_ffff),
        name: name.get(..end)?.to_vec(),
    })
}

fn family(ip: IpAddr) -> i32 {
    match ip {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    }
}

/// struct nlmsghdr and the head of struct inet_diag_req_v2 up to the socket's id.
fn header(flags: i32, family: i32) -> Result<Vec<u8>, Errno> {
    let mut request = Vec::with_capacity(HEADER + REQUEST);
    let size = u32::try_from(HEADER + REQUEST).map_err(|_| Errno::EINVAL)?;
    request.extend_from_slice(&size.to_ne_bytes());
    request.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    request.extend_from_slice(&u16::try_from(flags).map_err(|_| Errno::EINVAL)?.to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    let tcp = u8::try_from(libc::IPPROTO_TCP).map_err(|_| Errno::EINVAL)?;
    request.extend_from_slice(&[u8::try_from(family).map_err(|_| Errno::EINVAL)?, tcp, 0, 0]);
    request.extend_from_slice(&LISTEN.to_ne_bytes());
    Ok(request)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N).and_then(|b| b.try_into().ok())
}

fn cookie(message: &[u8]) -> Option<u64> {
    field(message, COOKIE).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    use super::*;
    use crate::sys::socket;

    #[test]
    fn a_unix_socket_keeps_the_name_that_it_was_bound_to() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let _listener = std::os::unix::net::UnixListener::bind(&first).unwrap();
        std::fs::rename(&first, &second).unwrap();
        let meta = std::fs::metadata(&second).unwrap();
        let found = Diag::open().unwrap().bound().unwrap();
        let ours = |bound: &&Bound| u64::from(bound.ino) == meta.ino() & 0xffff_ffff && bound.dev == meta.dev();
        let found = found.iter().find(ours).unwrap();
        assert_eq!(found.name, first.to_str().unwrap().as_bytes());
    }

    #[test]
    fn what_a_connection_carried_is_told_at_its_end() {
        use std::io::{Read, Write};
        let (diag, ended) = (Diag::open().unwrap(), Ended::open().unwrap());
        ended.listen(true).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let id = socket::cookie(client.as_fd()).unwrap();
        client.write_all(&[1; 70_000]).unwrap();
        server.read_exact(&mut [0; 70_000]).unwrap();
        server.write_all(&[2; 300]).unwrap();
        client.read_exact(&mut [0; 300]).unwrap();
        let wanted = Bytes {
            sent: 70_000,
            received: 300,
        };
        let mut found = None;
        diag.carried(|cookie, bytes| found = found.or((cookie == id).then_some(bytes)))
            .unwrap();
        assert_eq!(found, Some(wanted));
        drop(client);
        let mut found = None;
        while found.is_none()
            && ended
                .next(20_000, |cookie, bytes| {
                    found = found.or((cookie == id).then_some(bytes))
                })
                .unwrap()
        {}
        assert_eq!(found, Some(wanted));
    }

    #[test]
    fn the_listener_is_the_one_that_a_connection_reaches() {
        let diag = Diag::open().unwrap();
        let exact = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = exact.local_addr().unwrap().port();
        let id = socket::cookie(exact.as_fd()).unwrap();
        let v4 = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(diag.listener(v4, port), Ok(Some(id)));
        assert_eq!(diag.listener(Ipv4Addr::new(127, 0, 0, 2).into(), port), Ok(None));
        assert_eq!(diag.listener(Ipv6Addr::LOCALHOST.into(), port), Ok(None));
        assert_eq!(diag.listeners(port), Ok(vec![id]));
        drop(exact);
        assert_eq!(diag.listener(v4, port), Ok(None));

        let any = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let port = any.local_addr().unwrap().port();
        let id = socket::cookie(any.as_fd()).unwrap();
        assert_eq!(diag.listener(v4, port), Ok(Some(id)), "one for both families");
        assert_eq!(diag.listener(Ipv6Addr::LOCALHOST.into(), port), Ok(Some(id)));
    }
}
