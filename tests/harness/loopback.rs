//! Listeners outside of the session, to see what reaches the wire.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A loopback listener that counts who came, and says "hello".
pub struct Listener {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// On a free port of 127.0.0.1.
    #[must_use]
    pub fn new() -> Self {
        Self::at("127.0.0.1:0")
    }

    /// At a given address.
    #[must_use]
    pub fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(AtomicUsize::new(0));
        let ends = Arc::new(AtomicBool::new(false));
        let (count, end) = (came.clone(), ends.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
                if let Ok(mut stream) = stream {
                    let _ = std::io::Write::write_all(&mut stream, b"hello\n");
                }
            }
        });
        Self {
            address,
            came,
            ends,
            thread: Some(thread),
        }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections it accepted.
    #[must_use]
    pub fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        if std::net::TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}
