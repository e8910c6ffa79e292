//! Connections whose name is proved on the wire: carried by the supervisor, which reads the name that the client means before a byte goes on.
//!
//! The boundary opens the connection to the other end itself, connects the caller's socket to [`Relay::listening`], and announces it with a
//! [`Plan`]. TLS is read as far as its hello (`hello.rs`), plain HTTP request by request (`http.rs`); nothing is changed, and TLS stays between
//! the two ends.

mod hello;
mod http;
mod pipe;
#[doc(hidden)]
pub mod readers;
mod tls;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::policy::Verify;
use crate::resolver::Peers;

/// Connections that are carried at once; further ones wait to be accepted (I8).
const CONNECTIONS_MAX: usize = 2048;

/// One connection that is to be carried.
pub struct Plan<W> {
    /// The socket that is connected, or being connected, to the other end; taken by the relay.
    pub upstream: Mutex<Option<OwnedFd>>,
    /// The other end.
    pub to: SocketAddr,
    /// What is to be read.
    pub verify: Verify,
    /// The names that the boundary decided about.
    pub names: Vec<Arc<str>>,
    /// Who connects.
    pub who: W,
}

/// What decides about names that are seen, and keeps account.
pub trait Guard: Send + Sync + 'static {
    /// Who connects.
    type Who: Send + Sync + 'static;

    /// Whether the client may mean this name on the connection; a refusal is recorded.
    fn may_mean(&self, plan: &Plan<Self::Who>, name: &str) -> bool;
    /// The connection is refused for what it begins with.
    fn refused(&self, plan: &Plan<Self::Who>, why: &str);
    /// The connection has ended.
    fn ended(&self, plan: &Plan<Self::Who>, carried: &Carried);
}

/// What went over a connection so far.
#[derive(Debug)]
pub struct Carried {
    /// The name that was proved.
    pub name: OnceLock<String>,
    /// Bytes to the other end.
    pub sent: AtomicU64,
    /// Bytes from it.
    pub received: AtomicU64,
    /// When it was accepted.
    pub since: Instant,
    /// Whether its end was told. Held while it is told: the session's end waits for that.
    told: Mutex<bool>,
}

impl Carried {
    fn new() -> Self {
        Self {
            name: OnceLock::new(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            since: Instant::now(),
            told: Mutex::new(false),
        }
    }
}

/// A connection that goes on.
type Live<W> = Weak<(Plan<W>, Carried)>;

/// The boundary's side.
pub struct Relay<W> {
    /// Connections to [`Self::listening`] are announced here.
    pub peers: Arc<Peers<Plan<W>>>,
    /// Where callers' sockets are connected to.
    pub listening: SocketAddr,
    live: Arc<Mutex<Vec<Live<W>>>>,
}

impl<W> Relay<W> {
    /// Gives an account of what still goes on, at the session's end.
    pub fn end(&self, guard: &impl Guard<Who = W>) {
        let live = std::mem::take(&mut *self.live.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in live.iter().filter_map(Weak::upgrade) {
            ended(guard, &connection.0, &connection.1);
        }
    }
}

/// Each connection's end is told once.
fn ended<G: Guard>(guard: &G, plan: &Plan<G::Who>, carried: &Carried) {
    let mut told = carried.told.lock().unwrap_or_else(PoisonError::into_inner);
    if !std::mem::replace(&mut *told, true) {
        guard.ended(plan, carried);
    }
}

/// Starts carrying, on a thread of its own.
pub fn start<G: Guard>(guard: Arc<G>) -> io::Result<Relay<G::Who>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let relay = Relay {
        peers: Arc::new(Peers::default()),
        listening: listener.local_addr()?,
        live: Arc::default(),
    };
    let (peers, live) = (relay.peers.clone(), relay.live.clone());
    std::thread::Builder::new().name("relay".into()).spawn(
        move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(accept(guard, peers, live, listener)),
            Err(error) => tracing::error!(%error, "connections by name can not be carried"),
        },
    )?;
    Ok(relay)
}

async fn accept<G: Guard>(
    guard: Arc<G>,
    peers: Arc<Peers<Plan<G::Who>>>,
    live: Arc<Mutex<Vec<Live<G::Who>>>>,
    listener: TcpListener,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        tracing::error!("connections by name can not be carried: the listener is unusable");
        return;
    };
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        let (client, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (guard, peers, live) = (guard.clone(), peers.clone(), live.clone());
        tokio::spawn(async move {
            if let Some(plan) = peers.claim(peer).await {
                let connection = Arc::new((plan, Carried::new()));
                {
                    let mut live = live.lock().unwrap_or_else(PoisonError::into_inner);
                    live.retain(|other| other.strong_count() > 0);
                    live.push(Arc::downgrade(&connection));
                }
                carry(&*guard, &connection.0, &connection.1, client).await;
            }
            drop(slot);
        });
    }
}

async fn carry<G: Guard>(guard: &G, plan: &Plan<G::Who>, carried: &Carried, client: TcpStream) {
    let Some(upstream) = arrived(plan).await else {
        pipe::reset(&client);
        ended(guard, plan, carried);
        return;
    };
    // What the two ends want of delays is theirs to say; here nothing waits for more.
    drop(client.set_nodelay(true));
    drop(upstream.set_nodelay(true));
    let ends = pipe::Ends {
        client: &client,
        upstream: &upstream,
    };
    let whole = match plan.verify {
        Verify::Tls => tls::carry(guard, plan, &ends, carried).await,
        Verify::Http => http::carry(guard, plan, &ends, carried).await,
        Verify::None => pipe::both(&ends, carried).await,
    };
    if whole.is_err() {
        pipe::reset(&client);
        pipe::reset(&upstream);
    }
    ended(guard, plan, carried);
}

/// The other end's socket, connected.
async fn arrived<W>(plan: &Plan<W>) -> Option<TcpStream> {
    let socket = plan.upstream.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    let stream = TcpStream::from_std(std::net::TcpStream::from(socket)).ok()?;
    stream.writable().await.ok()?;
    stream.take_error().ok()?.is_none().then_some(stream)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Says that it is telling of an end, and tells once it may.
    struct Slow(Mutex<(Sender<&'static str>, Receiver<()>)>);

    impl Guard for Slow {
        type Who = ();

        fn may_mean(&self, _: &Plan<()>, _: &str) -> bool {
            false
        }
        fn refused(&self, _: &Plan<()>, _: &str) {}
        fn ended(&self, _: &Plan<()>, _: &Carried) {
            let ways = self.0.lock().unwrap();
            ways.0.send("telling").unwrap();
            ways.1.recv().unwrap();
            ways.0.send("told").unwrap();
        }
    }

    #[test]
    fn the_sessions_end_waits_for_an_end_that_is_being_told() {
        let ((says, said), (go, may)) = (channel(), channel());
        let guard = Slow(Mutex::new((says.clone(), may)));
        let plan = Plan {
            upstream: Mutex::default(),
            to: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            verify: Verify::None,
            names: Vec::new(),
            who: (),
        };
        let connection = Arc::new((plan, Carried::new()));
        let relay = Relay {
            peers: Arc::default(),
            listening: connection.0.to,
            live: Arc::new(Mutex::new(vec![Arc::downgrade(&connection)])),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| ended(&guard, &connection.0, &connection.1));
            assert_eq!(said.recv(), Ok("telling"));
            scope.spawn(|| {
                relay.end(&guard);
                says.send("over").unwrap();
            });
            // One that does not wait is over by then.
            assert!(said.recv_timeout(Duration::from_millis(200)).is_err());
            go.send(()).unwrap();
            assert_eq!([said.recv(), said.recv()], [Ok("told"), Ok("over")]);
        });
    }
}
