//! Connections that go to the other end without the relay: the kernel tells what went over each when it ends.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Boundary;
use super::names::Who;
use crate::sys::diag::{Bytes, Diag, Ended};

/// Connections whose end is waited for; of further ones only the number is known (I8).
const GOING_MAX: usize = 8192;
/// How long news may gather once some came: a thread that wakes for each connection takes as long as what it tells. The kernel keeps some
/// three hundred of them meanwhile.
const GATHERING: Duration = Duration::from_millis(10);
/// How long the news of connections that end with the session are waited for.
const LAST_NEWS: Duration = Duration::from_millis(200);

/// One connection.
pub(super) struct Going {
    pub(super) name: Option<Arc<str>>,
    pub(super) to: SocketAddr,
    pub(super) who: Who,
    pub(super) since: Instant,
}

/// Those that go on, by the socket's cookie.
#[derive(Default)]
pub(super) struct Direct {
    going: Mutex<HashMap<u64, Going>>,
    news: Mutex<Option<Arc<Ended>>>,
}

impl Direct {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Going>> {
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a connection while its socket is held; false when nobody will tell of its end.
    pub(super) fn begin(&self, cookie: u64, going: impl FnOnce() -> Going) -> bool {
        let listened = self.news.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let mut known = self.lock();
        if !listened || known.len() >= GOING_MAX && !known.contains_key(&cookie) {
            return false;
        }
        // Asked again about one that is being made: still the same.
        known.entry(cookie).or_insert_with(going);
        true
    }

    fn end(&self, cookie: u64) -> Option<Going> {
        self.lock().remove(&cookie)
    }
}

impl Boundary {
    /// Listens to the ends of connections, on a thread of its own. Where that can not be had, bytes of such connections are not told.
    pub fn account(self: &Arc<Self>) {
        let started = Ended::listen()
            .map(Arc::new)
            .map_err(std::io::Error::from)
            .and_then(|news| {
                *self.direct.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(news.clone());
                let boundary = Arc::downgrade(self);
                std::thread::Builder::new().name("account".into()).spawn(move || {
                    loop {
                        let mut ended = Vec::new();
                        match news.next(-1, |cookie, bytes| ended.push((cookie, bytes))) {
                            // Lost news: those connections are looked for at the session's end.
                            Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => {}
                            Err(error) => {
                                return tracing::warn!(%error, "bytes of connections are not counted any more");
                            }
                        }
                        let Some(boundary) = boundary.upgrade() else { return };
                        for (cookie, bytes) in ended {
                            boundary.went(cookie, Some(bytes));
                        }
                        drop(boundary);
                        std::thread::sleep(GATHERING);
                    }
                })
            });
        if let Err(error) = started {
            tracing::warn!(%error, "bytes of direct connections are not counted");
        }
    }

    fn went(&self, cookie: u64, bytes: Option<Bytes>) {
        if let Some(going) = self.direct.end(cookie) {
            self.direct_ended(&going, bytes);
        }
    }

    /// Gives an account of what still goes on. The tree has ended; its sockets may take a moment to follow.
    pub(super) fn end_direct(&self) {
        let until = Instant::now() + LAST_NEWS;
        while !self.direct.lock().is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        if self.direct.lock().is_empty() {
            return;
        }
        let mut found = Vec::new();
        if let Ok(diag) = Diag::open() {
            let listed = diag.carried(|cookie, bytes| found.push((cookie, bytes)));
            if let Err(error) = listed {
                tracing::warn!(%error, "bytes of some connections are not counted");
            }
        }
        for (cookie, bytes) in found {
            self.went(cookie, Some(bytes));
        }
        let left: Vec<u64> = self.direct.lock().keys().copied().collect();
        left.into_iter().for_each(|cookie| self.went(cookie, None));
    }
}
