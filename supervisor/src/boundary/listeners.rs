//! The session's own TCP listeners: loopback connections to them need no rule.
//!
//! *Invariant:* a port counts as the session's own only while the socket that would take the connection is one that the tree bound. What else
//! listens on the machine is another program's, reachable by rule only.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use super::judge::Matter;
use super::{Call, Reply, Stop};
use crate::policy::{Endpoint, NetOp};
use crate::sys::diag::Diag;
use crate::sys::socket;

/// Sockets remembered for one port; a port's former ones are forgotten (I8).
const PER_PORT: usize = 16;

/// What the tree has bound.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    cookies: HashMap<u16, Vec<u64>>,
    /// Whether the tree ever asked for SO_REUSEPORT: then a port can have several listeners, others' among them, and the kernel chooses one by
    /// the connection's own numbers.
    shares: bool,
    diag: Option<Diag>,
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a socket that the tree bound to `port`.
    pub(super) fn bound(&self, port: u16, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        let cookie = socket::cookie(socket)?;
        let mut known = self.lock();
        let cookies = known.cookies.entry(port).or_default();
        if cookies.len() >= PER_PORT {
            cookies.remove(0);
        }
        cookies.push(cookie);
        Ok(())
    }

    /// From now on ports may be shared.
    pub(super) fn shares(&self) {
        self.lock().shares = true;
    }

    /// Whether a connection to this address can only reach a socket of the tree's.
    pub(super) fn own(&self, ip: IpAddr, port: u16) -> bool {
        let mut known = self.lock();
        if !known.cookies.contains_key(&port) {
            return false;
        }
        if crate::faults::off("listeners") {
            return true;
        }
        let Ok(diag) = known.diag.take().map_or_else(Diag::open, Ok) else {
            return false;
        };
        let ours = |cookie: &u64| known.cookies.get(&port).is_some_and(|own| own.contains(cookie));
        let own = if known.shares {
            diag.listeners(port)
                .map(|found| !found.is_empty() && found.iter().all(ours))
        } else {
            diag.listener(ip, port)
                .map(|found| found.is_some_and(|cookie| ours(&cookie)))
        };
        // After an error an answer may still be on its way: it must not be taken for the next one's.
        known.diag = own.is_ok().then_some(diag);
        own.unwrap_or(false)
    }

    /// Whether a connection to this address would be refused natively, because nothing listens there.
    pub(super) fn nobody(&self, ip: IpAddr, port: u16) -> bool {
        let mut known = self.lock();
        let Ok(diag) = known.diag.take().map_or_else(Diag::open, Ok) else {
            return false;
        };
        let listener = diag.listener(ip, port);
        known.diag = listener.is_ok().then_some(diag);
        listener == Ok(None)
    }
}

/// `listen`: an internet socket without a name gets a port of the kernel's choice on every interface here, so it is decided as that bind.
/// Done on a duplicate: the number may mean another socket by the time the kernel would look.
pub(super) fn listen(call: &Call<'_>) -> Result<Reply, Stop> {
    let socket = call.duplicate(call.int(0))?;
    let everywhere: Option<IpAddr> = match socket::option(socket.as_fd(), libc::SO_DOMAIN)? {
        libc::AF_INET => Some(Ipv4Addr::UNSPECIFIED.into()),
        libc::AF_INET6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    };
    // The port in sockaddr_in and sockaddr_in6; ip(7), ipv6(7).
    let port = |name: &[u8]| match name.get(2..4) {
        Some([high, low]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    let unnamed = everywhere.filter(|_| socket::local_address(socket.as_fd()).is_ok_and(|name| port(&name) == 0));
    if let Some(ip) = unnamed {
        let target = std::net::SocketAddr::new(ip, 0).to_string();
        let matter = Matter {
            action: "network_bind",
            operation: "listen",
            target: target.as_bytes(),
            object: None,
            argv: None,
        };
        let verdict = call
            .boundary
            .policy
            .network(NetOp::Bind, &Endpoint::Tcp(ip, 0), &*call.task.program);
        call.settle(&matter, &verdict)?;
    }
    socket::listen(socket.as_fd(), call.int(1))?;
    if unnamed.is_some() {
        let port = port(&socket::local_address(socket.as_fd())?);
        call.boundary.listeners.bound(port, socket.as_fd())?;
    }
    Ok(Reply::Value(0))
}
