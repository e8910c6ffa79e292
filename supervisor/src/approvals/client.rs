//! The other end of control sockets, for `cavractl`: all live sessions of the user.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::unistd::Uid;

use super::desk::{Answer, Approval};
use super::protocol::{REPLY_BYTES, Reply, Request};
use crate::evidence::{EvidenceError, folder_for_reading};

/// How long a session may take to answer: longer than it gives its peers.
const PATIENCE: Duration = Duration::from_secs(10);
/// A socket that is refused and older than this belongs to a dead session; a younger one may be about to listen.
const STALE_AFTER: Duration = Duration::from_secs(2);

/// Why a session could not be asked or did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No place for sockets is known.
    #[error(transparent)]
    Root(#[from] EvidenceError),
    /// The folder of sockets can not be read.
    #[error("control sockets {}: {source}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The session does not answer.
    #[error("session {session}: does not answer ({source}); is it stopped (Ctrl-Z)?")]
    Silent {
        /// The session.
        session: String,
        /// Why not.
        source: io::Error,
    },
    /// The socket is not for this process.
    #[error(
        "session {0}: its control socket refuses this process (permission denied); use a terminal outside of the session"
    )]
    Inside(String),
    /// There is no such session.
    #[error("session {0}: is not running; `cavractl evidence list` shows those that were")]
    NoSession(String),
    /// There is no such request.
    #[error("{0}: no running session has such a request; `cavractl approvals list` shows those that wait")]
    Unknown(String),
    /// The session says no.
    #[error("{0}")]
    Refused(String),
}

/// One live session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its name.
    pub id: String,
    folder: Arc<OwnedFd>,
}

/// A path below which sockets' paths stay short enough for sun_path (108 bytes).
fn magic(folder: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

/// The sessions that have a control socket in `root`; sockets of dead ones are removed.
pub fn sessions(root: &Path) -> Result<Vec<Session>, ClientError> {
    let error = |source| ClientError::Folder {
        path: root.to_owned(),
        source,
    };
    let folder = match folder_for_reading(root) {
        Ok(folder) => folder,
        Err(nix::errno::Errno::ENOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(error(errno.into())),
    };
    let mut sessions = Vec::new();
    let folder = Arc::new(folder);
    for entry in std::fs::read_dir(magic(&folder)).map_err(error)? {
        let entry = entry.map_err(error)?;
        let (path, name) = (entry.path(), entry.file_name());
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".sock")) else {
            continue;
        };
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.file_type().is_socket()
            || !(metadata.uid() == Uid::effective().as_raw() || Uid::effective().is_root())
        {
            continue;
        }
        match UnixStream::connect(&path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let age = metadata
                    .modified()
                    .ok()
                    .and_then(|at| SystemTime::now().duration_since(at).ok());
                if age.is_some_and(|age| age > STALE_AFTER) {
                    tracing::debug!(session = id, "removing the socket of a dead session");
                    drop(std::fs::remove_file(&path));
                }
            }
            _ => sessions.push(Session {
                id: id.to_owned(),
                folder: Arc::clone(&folder),
            }),
        }
    }
    sessions.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(sessions)
}

impl Session {
    /// All its requests.
    pub fn list(&self) -> Result<Vec<Approval>, ClientError> {
        self.ask(&Request::List {})
    }

    /// One of its requests.
    pub fn show(&self, id: &str) -> Result<Vec<Approval>, ClientError> {
        self.ask(&Request::Show { id: id.to_owned() })
    }

    /// Answers one of its requests.
    pub fn decide(&self, id: &str, answer: Answer, reason: &str) -> Result<Vec<Approval>, ClientError> {
        self.ask(&Request::Decide {
            id: id.to_owned(),
            answer,
            reason: reason.to_owned(),
        })
    }

    fn ask(&self, request: &Request) -> Result<Vec<Approval>, ClientError> {
        match self.exchange(request) {
            Ok(Reply::Approvals(approvals)) => Ok(approvals),
            Ok(Reply::Unknown(id)) => Err(ClientError::Unknown(id)),
            Ok(Reply::Refused(why)) => Err(ClientError::Refused(why)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(ClientError::Inside(self.id.clone())),
            Err(source) => Err(ClientError::Silent {
                session: self.id.clone(),
                source,
            }),
        }
    }

    fn exchange(&self, request: &Request) -> io::Result<Reply> {
        let mut stream = UnixStream::connect(magic(&self.folder).join(format!("{}.sock", self.id)))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        // A session that refuses this peer says so without reading.
        let sent = stream.write_all(&line);
        let mut reply = Vec::new();
        BufReader::new(stream.take(REPLY_BYTES)).read_until(b'\n', &mut reply)?;
        if reply.is_empty() {
            sent?;
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
        }
        Ok(serde_json::from_slice(&reply)?)
    }
}
