//! Names: the session's own resolver, and which names the session was told for which addresses.
//!
//! The tree reads a resolv.conf that names an address of loopback; its connections to that port 53 are made to [`Service::listening`], its
//! datagrams are handed to [`Service::ask`], and what it asks of nscd is answered by
//! [`Local`]. Of a question only name and type go on, and only for names that some rule allows or asks about.

mod answers;
mod at_hand;
mod bindings;
mod conf;
mod local;
mod nscd;
mod peers;
mod question;
#[doc(hidden)]
pub mod readers;
mod secure;
mod service;
mod upstream;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use bindings::Bindings;
pub use conf::{Conf, Hosts};
pub use local::{Local, SOCKETS};
pub use peers::{Askers, Peers};
pub use service::{Prepared, Service};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What decides about names, and remembers what was told.
pub trait Judge: Send + Sync + 'static {
    /// Who asks.
    type Who: Send + Sync + 'static;

    /// Whether a name may be looked up. A refusal is recorded, unless it is `expected`.
    fn may_look_up(&self, name: &str, who: &Self::Who, expected: bool) -> bool;
    /// Whether a rule is about this name, and lets it be looked up.
    fn knows(&self, name: &str, who: &Self::Who) -> bool;
    /// Whether a rule blocks a name that another one is an alias of. Nothing is recorded.
    fn blocks(&self, alias: &str, who: &Self::Who) -> bool;
    /// Whether a rule forbids it, which is recorded.
    fn forbids(&self, alias: &str, who: &Self::Who) -> bool;
    /// Whether a name may have this address.
    fn may_be_at(&self, name: &str, ip: IpAddr) -> bool;
    /// An answer pointed a name at an address that it may not have.
    fn misplaced(&self, name: &str, ip: IpAddr, who: &Self::Who);
    /// The session is told an address.
    fn told(&self, name: &Arc<str>, ip: IpAddr, ttl: Duration);
    /// Whether datagrams are of any use.
    fn admits_datagrams(&self) -> bool;
}
