//! The control socket: where people's answers come in.
//!
//! `bind` before the tree exists, `start` after the fork, so that no thread is forked. A slow or silent peer costs one of a
//! few places for a few seconds, and never the desk's lock.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, Uid, UnlinkatFlags, User, unlinkat};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::desk::Desk;
use super::protocol::{REASON_BYTES, REQUEST_BYTES, Reply, Request};
use crate::evidence::{EvidenceError, EvidenceFolder, is_session_name, state_root};

/// Peers that are served at once; one more is turned away.
const PEERS: usize = 32;
/// How long a peer may take for a request and for reading the reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The folder of control sockets can not be used.
    #[error("control sockets: {0}")]
    Folder(#[from] EvidenceError),
    /// The socket could not be made.
    #[error("control socket {}: {source}; check the folder's permissions and free space", .path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Where control sockets lie: `run` below [`state_root`], one `<session>.sock` each.
pub fn run_root() -> Result<PathBuf, EvidenceError> {
    Ok(state_root()?.join("run"))
}

/// A session's control socket. Dropped before `start`, it is removed.
#[derive(Debug)]
pub struct ControlServer {
    listener: StdListener,
    place: Place,
}

/// The socket's file; removed with this.
#[derive(Debug)]
struct Place {
    folder: EvidenceFolder,
    name: String,
    path: PathBuf,
}

impl super::desk::Removes for Place {}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(errno) = unlinkat(&self.folder, self.name.as_str(), UnlinkatFlags::NoRemoveDir) {
            // It costs nothing: a socket that refuses tells by itself that its session is over.
            tracing::debug!(%errno, "control socket: not removed");
        }
    }
}

impl ControlServer {
    /// Makes `<session>.sock`, 0600, in the user's folder for them, 0700.
    pub fn bind(session_id: &str) -> Result<Self, ControlError> {
        Self::bind_in(&run_root()?, session_id)
    }

    /// As [`Self::bind`], in another folder.
    pub fn bind_in(folder: &Path, session_id: &str) -> Result<Self, ControlError> {
        if !is_session_name(session_id) {
            return Err(EvidenceError::SessionName(session_id.to_owned()).into());
        }
        let folder = EvidenceFolder::open_or_make(folder)?;
        let name = format!("{session_id}.sock");
        let path = folder.path().join(&name);
        let error = |source| ControlError::Bind {
            path: path.clone(),
            source,
        };
        // Through the held folder: no symlink is followed to it, and its own path may be longer than sun_path (108 bytes).
        let listener = StdListener::bind(folder.magic_path().join(&name)).map_err(error)?;
        let place = Place {
            folder,
            name,
            path: path.clone(),
        };
        place
            .folder
            .chmod(&place.name, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|e| error(e.into()))?;
        listener.set_nonblocking(true).map_err(error)?;
        Ok(Self { listener, place })
    }

    /// The socket's path, for people.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// The socket's folder, for the supervisor's own Landlock domain: removing a socket in it is all that is needed.
    #[must_use]
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.place.folder.as_fd()
    }

    /// Serves `desk` in a thread of its own until [`Desk::close`], which removes the socket. `is_in_tree` tells whether a
    /// process belongs to the session: such a peer is refused.
    pub fn start(self, desk: Arc<Desk>, is_in_tree: impl Fn(i32) -> bool + Send + Sync + 'static) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            UnixListener::from_std(self.listener)?
        };
        let uid = Uid::effective();
        // Asked now: name services may not be in reach later.
        let own = User::from_uid(uid)
            .ok()
            .flatten()
            .map_or_else(|| format!("uid {uid}"), |user| user.name);
        desk.removes_when_closed(Box::new(self.place));
        let server = Arc::new(Server {
            desk,
            uid,
            own,
            is_in_tree: Box::new(is_in_tree),
        });
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || runtime.block_on(accept(&listener, server)))?;
        Ok(())
    }
}

struct Server {
    desk: Arc<Desk>,
    uid: Uid,
    own: String,
    is_in_tree: Box<dyn Fn(i32) -> bool + Send + Sync>,
}

async fn accept(listener: &UnixListener, server: Arc<Server>) {
    let places = Arc::new(Semaphore::new(PEERS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    continue;
                };
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    if tokio::time::timeout(PATIENCE, server.serve(stream)).await.is_err() {
                        tracing::debug!("a peer of the control socket took too long");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: those who ask wait for a moment, nobody else does.
                tracing::warn!(%error, "control socket: accept");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

impl Server {
    async fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        let reply = match self.judge_peer(&stream) {
            Ok(by) => {
                let mut line = Vec::new();
                BufReader::new((&mut stream).take(REQUEST_BYTES))
                    .read_until(b'\n', &mut line)
                    .await?;
                self.answer(&line, &by)
            }
            Err(why) => Reply::Refused(why),
        };
        let mut line = serde_json::to_vec(&reply)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        stream.shutdown().await
    }

    /// The peer's user name, if it may speak here.
    fn judge_peer(&self, stream: &UnixStream) -> Result<String, String> {
        let peer = stream
            .peer_cred()
            .map_err(|error| format!("the peer is not known: {error}"))?;
        let uid = Uid::from_raw(peer.uid());
        if uid != self.uid && !uid.is_root() {
            return Err(format!(
                "user {uid} may not answer for user {}: run cavractl as that user",
                self.uid
            ));
        }
        let Some(pid) = peer.pid() else {
            return Err("the peer's process is not known".to_owned());
        };
        // A peer that is gone may have handed its connection to anybody; most only looked whether anybody listens.
        if nix::sys::signal::kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
            return Err("the peer has ended".to_owned());
        }
        if pid <= 0 || (self.is_in_tree)(pid) {
            tracing::warn!(
                pid,
                "a process of the session's own tree asked for the control socket: refused"
            );
            return Err("a session can not answer its own requests: use a terminal outside of it".to_owned());
        }
        Ok(if uid == self.uid {
            self.own.clone()
        } else {
            "root".to_owned()
        })
    }

    fn answer(&self, line: &[u8], by: &str) -> Reply {
        let request = match line.strip_suffix(b"\n").map(serde_json::from_slice::<Request>) {
            Some(Ok(request)) => request,
            Some(Err(error)) => return Reply::Refused(format!("not a request: {error}")),
            None => return Reply::Refused(format!("a request is one line of at most {REQUEST_BYTES} bytes")),
        };
        match request {
            Request::List {} => Reply::Approvals(self.desk.list()),
            Request::Show { id } => match self.desk.find(&id) {
                Some(approval) => Reply::Approvals(vec![approval]),
                None => Reply::Unknown(id),
            },
            Request::Decide { reason, .. } if reason.trim().is_empty() || reason.len() > REASON_BYTES => {
                Reply::Refused(format!(
                    "a reason of 1 to {REASON_BYTES} bytes is needed: --reason TEXT"
                ))
            }
            Request::Decide { id, answer, reason } => match self.desk.decide(&id, answer, by, &reason) {
                Ok(approval) => Reply::Approvals(vec![approval]),
                Err(super::DecideError::Unknown(id)) => Reply::Unknown(id),
                Err(error) => Reply::Refused(error.to_string()),
            },
        }
    }
}
