//! The session's own TCP listeners: loopback connections to them need no rule.
//!
//! *Invariant:* a port counts as the session's own only while the socket that would take the connection is one that the tree bound. What else
//! listens on the machine is another program's, reachable by rule only.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

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
        let diag = match known.diag.take() {
            Some(diag) => diag,
            None => match Diag::open() {
                Ok(diag) => diag,
                Err(_) => return false,
            },
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
}
