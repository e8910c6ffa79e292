//! Who may use the supervisor's own listeners: connections that the supervisor itself made for the session.
//!
//! The listeners are on loopback, where everybody on the machine can connect. A connection is served only when its other end is one that the
//! boundary announced: the local address of the socket that it connected on behalf of a caller.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long an announced connection may take to arrive: the resolver's listener has it with its first question, or a second or two later.
const ARRIVING: Duration = Duration::from_secs(10);
/// How long an arrived connection may take to be announced.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections that are announced and not yet there (I8).
const ANNOUNCED_MAX: usize = 4096;

/// Announced connections, each with what is known of it.
#[derive(Debug)]
pub struct Peers<T> {
    announced: Mutex<HashMap<SocketAddr, (Instant, T)>>,
    news: Notify,
}

impl<T> Default for Peers<T> {
    fn default() -> Self {
        Self {
            announced: Mutex::default(),
            news: Notify::new(),
        }
    }
}

fn key(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl<T> Peers<T> {
    /// The socket with this local address has been connected to the listener.
    pub fn announce(&self, local: SocketAddr, what: T) {
        let now = Instant::now();
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if announced.len() >= ANNOUNCED_MAX {
            announced.retain(|_, (since, _)| now.duration_since(*since) < ARRIVING);
        }
        if announced.len() < ANNOUNCED_MAX {
            announced.insert(key(local), (now, what));
        }
        drop(announced);
        self.news.notify_waiters();
    }

    /// What was announced for a connection, where that was done already.
    pub(super) fn take(&self, peer: SocketAddr) -> Option<T> {
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, what) = announced.remove(&key(peer))?;
        (since.elapsed() < ARRIVING).then_some(what)
    }

    /// What was announced for a connection that has arrived: it can arrive first, because connecting is what announces it.
    pub async fn claim(&self, peer: SocketAddr) -> Option<T> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // Registered before the look, so that nothing announced in between is missed.
            news.as_mut().enable();
            if let Some(what) = self.take(peer) {
                return Some(what);
            }
            tokio::time::timeout_at(end, news).await.ok()?;
        }
    }
}

/// How long a datagram socket may ask after it was announced, or has asked last.
const ASKING: Duration = Duration::from_secs(60);
/// Datagram sockets that are known to ask (I8).
const ASKERS_MAX: usize = 1024;

/// Datagram sockets that were connected to the resolver, each with who did so.
#[derive(Debug)]
pub struct Askers<T>(Mutex<HashMap<SocketAddr, (Instant, Arc<T>)>>);

impl<T> Default for Askers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Askers<T> {
    /// The socket with this local address has been connected to the resolver.
    pub fn announce(&self, local: SocketAddr, who: T) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ASKERS_MAX {
            known.retain(|_, (since, _)| since.elapsed() < ASKING);
        }
        if known.len() < ASKERS_MAX || known.contains_key(&key(local)) {
            known.insert(key(local), (Instant::now(), Arc::new(who)));
        }
    }

    /// Who asks from this address.
    #[must_use]
    pub fn known(&self, from: SocketAddr) -> Option<Arc<T>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, who) = known.get_mut(&key(from))?;
        let fresh = since.elapsed() < ASKING;
        *since = Instant::now();
        fresh.then(|| who.clone())
    }
}
