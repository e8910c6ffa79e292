//! Decision records: written, chained, read, verified.
//!
//! [`Journal`] writes one folder a session; [`verify()`] and [`sessions`] read such folders. A folder holds `decisions.jsonl`, then
//! `decisions.1.jsonl`, … (a new file every 64 MiB), one JSON object a line. Each line ends in `"hash"`: SHA-256 over the line
//! without that member; `prev_hash` is the hash of the line before, 64 zeros in the first. The first record opens the session
//! (`session_start`, with digests, command, versions), the last one ends it (`session_end`, with the totals).

mod bounds;
mod counts;
mod folder;
mod journal;
mod names;
mod notices;
mod queue;
mod record;
mod redact;
pub mod sessions;
mod sink;
mod summary;
mod verify;

use std::io;
use std::path::PathBuf;

pub(crate) use bounds::bounded_arguments;
pub(crate) use folder::open_existing as folder_for_reading;
pub use folder::{EvidenceFolder, sessions_root, state_root};
pub use journal::{Durability, Journal, Level};
pub(crate) use names::is_session_name;
pub use names::{approval_id, correlation_id, decision_id, session_id};
pub use notices::Notices;
pub use record::{ACTIONS, ApprovalNote, Draft, End, Opening, Reads, Record, Totals, WouldHave};
pub(crate) use sink::quiet_thread;
pub use summary::summary;
pub use verify::{Verification, Wrong, verify};

/// Why evidence can not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// No place for sessions is known.
    #[error("neither XDG_STATE_HOME nor HOME is an absolute path: set one of them, or name a folder with --evidence")]
    NoHome,
    /// The folder's last component is a symlink.
    #[error("evidence folder {}: is a symlink; name the folder itself", .0.display())]
    Symlink(PathBuf),
    /// The folder's path leads to something else.
    #[error("evidence folder {}: is not a folder; name a new or empty one", .0.display())]
    NotAFolder(PathBuf),
    /// The folder has files in it.
    #[error("evidence folder {}: is not empty; each session needs a new or empty one", .0.display())]
    NotEmpty(PathBuf),
    /// The folder belongs to somebody else.
    #[error("evidence folder {}: belongs to user {owner}, who could change records; name a folder of your own", .path.display())]
    ForeignOwner {
        /// The folder.
        path: PathBuf,
        /// Its owner's uid.
        owner: u32,
    },
    /// A system call on the folder or a file in it failed.
    #[error("evidence folder {}: can not {action}: {source}; check its permissions and free space", .path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The record is not on disk.
    #[error("the record could not be written: {0}; free space on the evidence folder's disk")]
    Write(io::Error),
    /// The record is written, but may not survive a crash of the machine.
    #[error("the record could not be made durable: {0}; check the evidence folder's disk")]
    Sync(io::Error),
    /// The session's evidence has reached its bound.
    #[error("this session's evidence has reached its bound of {0} MiB; end the session")]
    Full(u64),
    /// After `close`.
    #[error("the session's evidence is closed")]
    Closed,
    /// A writer panicked: nothing is known of the chain any more.
    #[error("the evidence writer failed inside; end the session")]
    Broken,
    /// The kernel gave no random numbers.
    #[error("no random numbers for a record's name: {0}")]
    Random(String),
    /// The session's name can not be a file name.
    #[error("session name {0:?}: use 1 to 64 letters, digits, '_' or '-'")]
    SessionName(String),
}
