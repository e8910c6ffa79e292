//! Connections that go to the other end without the relay: the kernel tells what went over each when it ends.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Boundary;
use super::names::Who;
use crate::sys::diag::{Bytes, Diag, Ended};

/// Connections whose end is waited for; of further ones only the number is known (I8).
const GOING_MAX: usize = 8192;
/// Sockets of others that end, one after the other, before it is asked whether any of ours is left.
const STRANGE_MAX: u32 = 16;
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

/// Those that go on.
#[derive(Default)]
pub(super) struct Direct {
    awaited: Mutex<Awaited>,
    news: OnceLock<Arc<Ended>>,
}

#[derive(Default)]
struct Awaited {
    /// By the socket's cookie.
    going: HashMap<u64, Going>,
    /// How many have ended and are being told of.
    telling: usize,
    /// Whether news come.
    listens: bool,
}

impl Direct {
    fn lock(&self) -> MutexGuard<'_, Awaited> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a connection while its socket is held; false when nobody will tell of its end.
    pub(super) fn begin(&self, cookie: u64, going: impl FnOnce() -> Going) -> bool {
        let Some(news) = self.news.get() else { return false };
        let mut known = self.lock();
        if known.going.len() >= GOING_MAX && !known.going.contains_key(&cookie) {
            return false;
        }
        if !known.listens && news.listen(true).is_err() {
            return false;
        }
        known.listens = true;
        // Asked again about one that is being made: still the same.
        known.going.entry(cookie).or_insert_with(going);
        true
    }

    /// One that has ended, to be told of; [`Self::told`] afterwards.
    fn end(&self, cookie: u64) -> Option<Going> {
        let mut known = self.lock();
        let going = known.going.remove(&cookie)?;
        known.telling += 1;
        Some(going)
    }

    fn told(&self) {
        let mut known = self.lock();
        known.telling = known.telling.saturating_sub(1);
    }

    /// Whether every connection so far was told of.
    fn settled(&self) -> bool {
        let known = self.lock();
        known.going.is_empty() && known.telling == 0
    }

    /// Has no more news come, where no connection goes on.
    fn rest(&self) {
        let mut known = self.lock();
        if known.going.is_empty()
            && known.listens
            && let Some(news) = self.news.get()
        {
            // Else they go on coming, and nothing is lost.
            known.listens = news.listen(false).is_err();
        }
    }
}

impl Boundary {
    /// Listens to the ends of connections, on a thread of its own. Where that can not be had, bytes of such connections are not told.
    pub fn account(self: &Arc<Self>) {
        let started = Ended::open()
            .map(Arc::new)
            .map_err(std::io::Error::from)
            .and_then(|news| {
                // Asked for once.
                drop(self.direct.news.set(news.clone()));
                let boundary = Arc::downgrade(self);
                std::thread::Builder::new().name("account".into()).spawn(move || {
                    let mut strange = 0;
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
                            strange = if boundary.went(cookie, Some(bytes)) {
                                0
                            } else {
                                strange + 1
                            };
                        }
                        if strange >= STRANGE_MAX {
                            strange = 0;
                            boundary.direct.rest();
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

    /// Gives an account of a connection; false when it is none of ours.
    fn went(&self, cookie: u64, bytes: Option<Bytes>) -> bool {
        let going = self.direct.end(cookie);
        if let Some(going) = &going {
            self.direct_ended(going, bytes);
            self.direct.told();
        }
        going.is_some()
    }

    /// Gives an account of what still goes on. The tree has ended; its sockets may take a moment to follow.
    pub(super) fn end_direct(&self) {
        let until = Instant::now() + LAST_NEWS;
        while !self.direct.settled() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        if self.direct.settled() {
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
        let left: Vec<u64> = self.direct.lock().going.keys().copied().collect();
        for cookie in left {
            self.went(cookie, None);
        }
    }
}
