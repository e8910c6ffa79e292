//! The control socket: one JSON line asks, one JSON line answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use super::Desk;
use crate::evidence::state_home;

/// Bytes of one request.
const REQUEST_MAX: u64 = 64 * 1024;
/// Connections at a time.
const PEERS_MAX: usize = 16;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
#[error("control socket {0}: {1}")]
pub struct ControlError(PathBuf, io::Error);

/// The listening socket of one session; its file goes with it.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
}

fn folder() -> PathBuf {
    state_home().join("run")
}

impl ControlServer {
    /// Makes the socket, 0600 in a folder 0700.
    pub fn bind(session_id: &str) -> Result<Self, ControlError> {
        let path = folder().join(format!("{session_id}.sock"));
        let wrong = |error| ControlError(path.clone(), error);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder())
            .map_err(wrong)?;
        let listener = UnixListener::bind(&path).map_err(wrong)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        Ok(Self { listener, path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves on a thread of its own. `in_tree` tells whether a process belongs to the session: those are not answered.
    pub fn start(self, desk: Arc<Desk>, in_tree: impl Fn(i32) -> bool + Send + Sync + 'static) -> io::Result<()> {
        std::thread::Builder::new().name("control".into()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            let in_tree = Arc::new(in_tree);
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::UnixListener::from_std(self.listener) else {
                    return;
                };
                let slots = Arc::new(tokio::sync::Semaphore::new(PEERS_MAX));
                while let Ok((stream, _)) = listener.accept().await {
                    let (desk, in_tree) = (desk.clone(), in_tree.clone());
                    let Ok(slot) = slots.clone().try_acquire_owned() else {
                        continue;
                    };
                    tokio::spawn(async move {
                        let served =
                            tokio::time::timeout(Duration::from_secs(10), serve(stream, &desk, &*in_tree)).await;
                        if let Ok(Err(error)) = served {
                            tracing::debug!(%error, "a peer of the control socket left");
                        }
                        drop(slot);
                    });
                }
            });
        })?;
        Ok(())
    }
}

async fn serve(stream: tokio::net::UnixStream, desk: &Desk, in_tree: &(impl Fn(i32) -> bool + Sync)) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let own = nix::unistd::geteuid().as_raw();
    let refused = (peer.uid() != own && peer.uid() != 0) || peer.pid().is_none_or(in_tree);
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    tokio::io::BufReader::new(read.take(REQUEST_MAX))
        .read_line(&mut line)
        .await?;
    let answer = if refused {
        json!({"error": "only the session's user, from outside the session, is answered here"})
    } else {
        let by = nix::unistd::User::from_uid(peer.uid().into())
            .ok()
            .flatten()
            .map_or_else(|| peer.uid().to_string(), |user| user.name);
        answer(desk, &by, &serde_json::from_str(&line).unwrap_or(Value::Null))
    };
    write.write_all(format!("{answer}\n").as_bytes()).await
}

fn answer(desk: &Desk, by: &str, request: &Value) -> Value {
    let text = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default();
    let result = match text("call") {
        "list" => return json!({"approvals": desk.list()}),
        call @ ("approve" | "deny") if !text("reason").is_empty() => {
            desk.decide(text("id"), call == "approve", by, text("reason"))
        }
        "approve" | "deny" => Err("a reason is needed".to_owned()),
        _ => Err("unknown request".to_owned()),
    };
    match result {
        Ok(approval) => json!({"approval": approval}),
        Err(error) => json!({"error": error}),
    }
}

/// The sockets of the user's live sessions; those of dead ones are removed.
#[must_use]
pub fn sockets() -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    all.filter(|path| match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            drop(std::fs::remove_file(path));
            false
        }
        Err(_) => false,
    })
    .collect()
}

/// Asks one session.
pub fn ask(socket: &Path, request: &Value) -> io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(16 << 20)).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}
