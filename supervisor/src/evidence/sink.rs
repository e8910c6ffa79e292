//! The files of a chain: whole lines or nothing, a new file every 64 MiB, an end to them all.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use super::EvidenceError;
use super::folder::EvidenceFolder;

/// Bytes after which a new file begins.
const FILE_BYTES: u64 = 64 << 20;
/// Bytes of one session's evidence; only its end is still written beyond (I8).
pub(crate) const SESSION_BYTES: u64 = 4 << 30;

/// The name of the `index`th file.
pub(crate) fn file_name(index: u32) -> String {
    match index {
        0 => "decisions.jsonl".to_owned(),
        _ => format!("decisions.{index}.jsonl"),
    }
}

/// The file that is written to.
#[derive(Debug)]
pub(crate) struct Sink {
    folder: Arc<EvidenceFolder>,
    file: Arc<File>,
    index: u32,
    /// Bytes of whole lines in the file.
    len: u64,
    /// Bytes of whole lines in the files before.
    before: u64,
    /// Whether bytes of an unfinished line may follow the whole ones.
    torn: bool,
    /// A failed fdatasync of the file: the kernel forgets which pages were lost, so a later one would prove nothing.
    unsynced: Option<i32>,
    file_bytes: u64,
}

impl Sink {
    pub(crate) fn create(folder: Arc<EvidenceFolder>) -> Result<Self, EvidenceError> {
        let file = folder
            .new_file(&file_name(0))
            .map_err(|e| folder.error("make decisions.jsonl", e.into()))?;
        Ok(Self {
            folder,
            file: Arc::new(file),
            index: 0,
            len: 0,
            before: 0,
            torn: false,
            unsynced: None,
            file_bytes: FILE_BYTES,
        })
    }

    /// As if the session had written all that it may.
    #[cfg(test)]
    pub(crate) fn fill(&mut self) {
        self.before = SESSION_BYTES;
    }

    #[cfg(test)]
    pub(crate) fn rotate_every(&mut self, bytes: u64) {
        self.file_bytes = bytes;
    }

    /// Writes to `file` from now on: `/dev/full` stands for a full disk.
    #[cfg(test)]
    pub(crate) fn write_to(&mut self, file: File) -> Arc<File> {
        std::mem::replace(&mut self.file, Arc::new(file))
    }

    /// As after a write that ended within a line.
    #[cfg(test)]
    pub(crate) fn tear(&mut self) {
        self.torn = true;
    }

    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Why nothing more can be made durable, if so.
    pub(crate) fn unsynced(&self) -> Option<i32> {
        self.unsynced
    }

    /// Bytes of all whole lines.
    pub(crate) fn total(&self) -> u64 {
        self.before.saturating_add(self.len)
    }

    /// Writes lines in order; `ends` are the offsets in `bytes` at which each of them ends. Returns how many are whole in
    /// the file; fewer than all only with the error that stopped them.
    pub(crate) fn write(&mut self, bytes: &[u8], ends: &[usize]) -> (usize, Option<io::Error>) {
        if let Err(error) = self.mend().and_then(|()| self.make_room(bytes.len())) {
            return (0, Some(error));
        }
        let mut written = 0_usize;
        let mut failure = None;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match write(&self.file, rest) {
                Ok(0) => failure = Some(io::ErrorKind::WriteZero.into()),
                Ok(count) => written = written.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => failure = Some(error),
            }
            if failure.is_some() {
                break;
            }
        }
        let whole = ends.iter().take_while(|end| **end <= written).count();
        let kept = whole
            .checked_sub(1)
            .and_then(|last| ends.get(last))
            .copied()
            .unwrap_or(0);
        self.len = self.len.saturating_add(kept as u64);
        if written > kept {
            self.torn = true;
            // When this fails too, the next write tries again before it adds a byte.
            drop(self.mend());
        }
        (whole, failure)
    }

    /// Cuts off what an unfinished write left behind.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        if self.len == 0 || self.len.saturating_add(bytes as u64) <= self.file_bytes {
            return Ok(());
        }
        // A later fdatasync is for the new file only.
        if let Err(error) = self.file.sync_data() {
            self.unsynced = Some(error.raw_os_error().unwrap_or(libc::EIO));
        }
        if let Some(errno) = self.unsynced {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let index = self.index.saturating_add(1);
        self.file = Arc::new(self.folder.new_file(&file_name(index))?);
        self.index = index;
        self.before = self.total();
        self.len = 0;
        Ok(())
    }
}

thread_local! {
    /// SIGXFSZ is blocked in this thread for good.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// For a thread of the supervisor's own that starts no program: it blocks SIGXFSZ once instead of around each write.
pub(crate) fn quiet_thread() {
    let mut limit = SigSet::empty();
    limit.add(Signal::SIGXFSZ);
    QUIET.set(limit.thread_block().is_ok());
}

/// write(2) that fails with EFBIG at the limit on file sizes (`ulimit -f`) and is not ended by SIGXFSZ.
fn write(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    if QUIET.get() {
        return file.write(bytes);
    }
    let mut limit = SigSet::empty();
    limit.add(Signal::SIGXFSZ);
    let before = limit.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let written = file.write(bytes);
    // The signal waits for this thread now, which therefore leaves it blocked.
    if written.as_ref().err().and_then(io::Error::raw_os_error) != Some(libc::EFBIG) {
        before.thread_set_mask()?;
    }
    written
}
