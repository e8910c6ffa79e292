//! `cavractl serve`: enforcement-v1 over a unix socket, one request and one answer a connection, as CAVRA's daemon speaks it.
//!
//! The socket is the user's alone. A request that is none is answered with what is wrong and a refusal. Bounded are the connections,
//! the bytes of a request and the time that it may take; a crowd that says nothing makes room for who comes after it.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::decide::{Basis, Decider};
use super::{FAILED, Said};
use crate::cavra::{REQUEST_MAX, Request, refusal};

/// Connections at once; the one that came first makes room.
const CONNECTIONS_MAX: usize = 64;
/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one read.
const CHUNK: usize = 16 * 1024;

/// `cavractl serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    basis: Basis,
    /// Where to listen; CAVRA's clients look there
    #[arg(long, value_name = "PATH", default_value = ".cavra/cavra-runtime.sock")]
    socket: PathBuf,
}

/// Why there is no server; the text names the socket and the way out.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("{0} is no socket; name another place with --socket")]
    NoSocket(PathBuf),
    #[error("{0} is served already; end that server, or name another place with --socket")]
    Served(PathBuf),
    #[error("{0}: {1}")]
    Place(PathBuf, io::Error),
    #[error("signals: {0}")]
    Signals(io::Error),
}

impl Serve {
    /// Serves until SIGINT, SIGTERM or SIGHUP.
    pub(super) fn run(self) -> Said {
        let decider = match Decider::new(&self.basis) {
            Ok(decider) => Arc::new(Mutex::new(decider)),
            Err(error) => return Said::failed(FAILED, &error),
        };
        let served = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServeError::Signals)
            .and_then(|runtime| runtime.block_on(serve(&self.socket, &decider)));
        match served {
            Ok(()) => Said::default(),
            Err(error) => Said::failed(FAILED, &error),
        }
    }
}

/// A socket of ours at `path`, for this user only.
fn listen(path: &Path) -> Result<UnixListener, ServeError> {
    let place = |error| ServeError::Place(path.to_owned(), error);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(place)?;
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => return Err(ServeError::NoSocket(path.to_owned())),
        Ok(_) => match StdStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(place)?,
            Err(error) => return Err(place(error)),
            Ok(_) => return Err(ServeError::Served(path.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(place(error)),
    }
    // Made with its rights, not given them later: nobody else can connect in between.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    listener.map_err(place)
}

/// Told once, when the user or the system ends the server.
fn ended() -> io::Result<oneshot::Receiver<Signal>> {
    let ends = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Blocked in this thread and so in those that it starts, for the one that waits for them.
    ends.thread_block()?;
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Ok(signal) = ends.wait() {
            // The server that is not there any more needs not be told.
            let _told = tell.send(signal);
        }
    })?;
    Ok(told)
}

async fn serve(path: &Path, decider: &Arc<Mutex<Decider>>) -> Result<(), ServeError> {
    let mut ended = ended().map_err(ServeError::Signals)?;
    let listener = listen(path)?;
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            _ = &mut ended => {
                return fs::remove_file(path).map_err(|error| ServeError::Place(path.to_owned(), error));
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    open.retain(|handle| !handle.is_finished());
                    if open.len() >= CONNECTIONS_MAX && let Some(first) = open.pop_front() {
                        first.abort();
                    }
                    let decider = Arc::clone(decider);
                    let task = tokio::spawn(async move {
                        // Nobody is left to tell that this connection failed: its client sees it end without an answer.
                        drop(tokio::time::timeout(PATIENCE, connection(stream, &decider)).await);
                    });
                    open.push_back(task.abort_handle());
                }
                // No descriptors are left: those that wait make room as their time ends.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

async fn connection(mut stream: UnixStream, decider: &Mutex<Decider>) -> io::Result<()> {
    let mut text = Vec::new();
    let mut end = Scan::default();
    let mut chunk = vec![0; CHUNK];
    let whole = loop {
        let count = stream.read(&mut chunk).await?;
        let read = chunk.get(..count).unwrap_or_default();
        text.extend_from_slice(read);
        if let Some(rest) = end.feed(read) {
            text.truncate(text.len() - rest);
            break true;
        }
        // One byte more than fits is enough for the error that says so.
        if count == 0 || text.len() > REQUEST_MAX {
            break text.iter().any(|byte| !byte.is_ascii_whitespace());
        }
    };
    if !whole {
        return Ok(());
    }
    let mut answer = Request::from_json(&text)
        .map_err(|error| error.to_string())
        .and_then(|request| decider.lock().unwrap_or_else(PoisonError::into_inner).answer(&request))
        .and_then(|response| serde_json::to_string(&response).map_err(|error| error.to_string()))
        .unwrap_or_else(|error| refusal(&error).to_string());
    answer.push('\n');
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Finds the end of a JSON object as its bytes arrive; whether it is one at all is for the parser to say.
#[derive(Debug, Default)]
struct Scan {
    depth: u32,
    in_text: bool,
    escaped: bool,
}

impl Scan {
    /// How many of these bytes lie behind the end, once it is among them. What begins as neither object nor list ends at once.
    fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            let ended = match byte {
                _ if self.escaped => {
                    self.escaped = false;
                    false
                }
                b'\\' if self.in_text => {
                    self.escaped = true;
                    false
                }
                b'"' if self.depth > 0 => {
                    self.in_text = !self.in_text;
                    false
                }
                _ if self.in_text => false,
                b'{' | b'[' => {
                    self.depth = self.depth.saturating_add(1);
                    false
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.depth == 0
                }
                byte if self.depth == 0 && !byte.is_ascii_whitespace() => return Some(0),
                _ => false,
            };
            if ended {
                return Some(bytes.len() - at - 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Scan;

    #[test]
    fn the_end_of_a_request_is_found_however_it_arrives() {
        for (text, rest) in [
            ("{}", Some(0)),
            (" {} ", Some(1)),
            ("{}{}", Some(2)),
            ("{\"a\": \"}\"}", Some(0)),
            ("{\"a\": \"\\\"}\"}x", Some(1)),
            ("{\"a\": \"\\\\\"}", Some(0)),
            ("{\"a\": {\"b\": [1]}}", Some(0)),
            ("[{}]", Some(0)),
            ("{", None),
            ("{\"a\": \"}", None),
            ("  ", None),
            ("", None),
            ("x{}", Some(0)),
        ] {
            assert_eq!(Scan::default().feed(text.as_bytes()), rest, "{text}");
            let mut scan = Scan::default();
            let by_byte = text.bytes().position(|byte| scan.feed(&[byte]).is_some());
            assert_eq!(by_byte.is_some(), rest.is_some(), "{text} byte by byte");
        }
    }
}
