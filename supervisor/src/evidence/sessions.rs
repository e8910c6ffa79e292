//! The sessions below a root, as `cavractl evidence list` shows them.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::unistd::symlinkat;
use serde::Serialize;

use super::folder::{names, open_existing, open_file};
use super::record::Record;
use super::sink::file_name;

/// Bytes that are read at either end of a chain.
const GLANCE_BYTES: u64 = 256 << 10;

/// One session, as its first and last records tell. Nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Its name.
    pub session_id: String,
    /// Its evidence folder.
    pub folder: PathBuf,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// `ended`, `running`, `interrupted`, or `unreadable`.
    pub state: &'static str,
    /// How the command ended, or why nothing is known.
    pub status: String,
    /// Records.
    pub records: u64,
    /// Refused calls; none unless the session ended.
    pub refusals: Option<u64>,
    /// The command.
    pub command: Vec<String>,
}

/// The sessions in `root`, the latest first; `live` are the names of those that run.
pub fn list(root: &Path, live: &[String]) -> io::Result<Vec<Session>> {
    let folder = match open_existing(root) {
        Ok(folder) => folder,
        Err(nix::errno::Errno::ENOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(errno.into()),
    };
    let mut sessions: Vec<Session> = names(folder.as_fd())?
        .into_iter()
        // A link to a folder that was removed tells of nothing any more.
        .filter(|name| root.join(name).exists())
        .map(|name| glance(&root.join(&name), name, live))
        .collect();
    sessions.sort_by(|a, b| b.started.cmp(&a.started));
    Ok(sessions)
}

/// Notes in the usual place that a session's evidence lies elsewhere, so that it is found by its name: a symlink. Without it
/// the evidence is as good, so a failure is none of the session's.
pub(crate) fn register(session_id: &str, elsewhere: &Path) -> Result<(), super::EvidenceError> {
    let root = super::EvidenceFolder::open_or_make(&super::sessions_root()?)?;
    symlinkat(elsewhere, &root, session_id).map_err(|errno| root.error("make a link in", errno.into()))
}

/// The folders outside the usual place to which sessions write that run now.
#[must_use]
pub fn live_elsewhere() -> Vec<PathBuf> {
    let (Ok(root), Ok(run)) = (super::sessions_root(), crate::approvals::run_root()) else {
        return Vec::new();
    };
    let sockets = std::fs::read_dir(run).into_iter().flatten().flatten();
    let names = sockets.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".sock")?.to_owned()));
    names
        .filter_map(|name| std::fs::read_link(root.join(name)).ok())
        .collect()
}

fn glance(folder: &Path, name: String, live: &[String]) -> Session {
    let mut session = Session {
        session_id: name,
        folder: folder.to_owned(),
        started: String::new(),
        state: "unreadable",
        status: String::new(),
        records: 0,
        refusals: None,
        command: Vec::new(),
    };
    let ends = open_existing(folder)
        .map_err(io::Error::from)
        .and_then(|fd| Ok((first(fd.as_fd())?, last(fd.as_fd())?)));
    let (first, last) = match ends {
        Ok(ends) => ends,
        Err(error) => {
            session.status = error.to_string();
            return session;
        }
    };
    session.started = first.timestamp;
    session.command = first.opening.map(|opening| opening.command).unwrap_or_default();
    session.records = last.seq.saturating_add(1);
    session.state = if live.contains(&session.session_id) {
        "running"
    } else {
        "interrupted"
    };
    if let Some(totals) = last.totals {
        session.state = "ended";
        session.status = totals.status;
        session.refusals = Some(totals.refusals);
    }
    session
}

fn first(folder: BorrowedFd<'_>) -> io::Result<Record> {
    let mut line = Vec::new();
    let file = open_file(folder, &file_name(0))?;
    BufReader::new(file.take(GLANCE_BYTES)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

fn last(folder: BorrowedFd<'_>) -> io::Result<Record> {
    let files = names(folder)?
        .into_iter()
        .filter(|name| name.starts_with("decisions."))
        .count();
    let index = u32::try_from(files).unwrap_or(u32::MAX).saturating_sub(1);
    // A file that was begun when the session was killed may be empty.
    for index in [index, index.saturating_sub(1)] {
        let mut file = open_file(folder, &file_name(index))?;
        let start = file.metadata()?.len().saturating_sub(GLANCE_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(GLANCE_BYTES).read_to_end(&mut bytes)?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .and_then(|end| bytes.get(..end));
        let Some(whole) = whole else { continue };
        return Ok(serde_json::from_slice(
            whole.rsplit(|byte| *byte == b'\n').next().unwrap_or(whole),
        )?);
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "there is no record"))
}

/// Reads all records in order, showing each that is right; tells what became of the chain.
pub fn read(folder: &Path, each: &mut dyn FnMut(Record)) -> io::Result<super::Verification> {
    super::verify::read(folder, each)
}
