//! The journal: records from any thread, in one chain, on disk as soon as they owe it.
//!
//! Two locks. `queue` is held for lines only and takes records in order. `sink` is held over write(2), because the order of
//! lines is the chain: who holds it writes whatever is queued, so threads that wait for it find their record written (group
//! commit). Hashes are made there, so that a record that could not be written leaves no gap in the chain.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::Duration;

use super::EvidenceError;
use super::bounds::{TEXT_BYTES, bounded_arguments, clip, parts};
use super::counts::{FileId, Reads, Refusals};
use super::folder::{EvidenceFolder, sessions_root};
use super::names::{decision_id, is_session_name};
use super::queue::{Entry, Queue};
use super::record::{Draft, End, NO_HASH, Opening, Record, Totals, WouldHave};
use super::redact;
use super::sink::{SESSION_BYTES, Sink, quiet_thread};
use crate::decision::Decision;

/// How long a buffered record may stay in memory.
const FLUSH_AFTER: Duration = Duration::from_millis(50);
/// Bytes of queued records above which whoever adds one writes them himself (I8).
const QUEUE_BYTES: usize = 4 << 20;

/// When `append` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// At once; the record is written within 50 ms, and before any later one.
    Buffered,
    /// Once the record is written: it survives the supervisor.
    Written,
    /// Once the record is on disk (fdatasync): it survives the machine.
    Synced,
}

/// Which allowed reads are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The first of each (executable, object, rule); the others are counted.
    #[default]
    First,
    /// Each one (`--evidence-level all`).
    All,
}

/// One session's evidence.
pub struct Journal {
    inner: Arc<Inner>,
    flusher: OnceLock<bool>,
}

struct Inner {
    opening: Opening,
    path: PathBuf,
    folder: Arc<EvidenceFolder>,
    level: Level,
    reads: Reads,
    queue: Mutex<Queue>,
    wake: Condvar,
    sink: Mutex<Chain>,
    sync: Mutex<Synced>,
}

struct Chain {
    sink: Sink,
    seq: u64,
    prev_hash: String,
    /// Buffered records that could not be written: since the last one that could, and in all.
    lost: u64,
    lost_ever: u64,
}

#[derive(Default)]
struct Synced {
    ticket: u64,
    /// After a failed fdatasync the kernel forgets which pages were lost: no later one proves anything.
    failed: Option<i32>,
}

impl Journal {
    /// Takes a new or empty folder (default: the session's below [`sessions_root`]) and writes the opening record; it is on disk with the first
    /// record that owes it, at the latest with the closing one. Starts no thread: the supervisor forks after this.
    pub fn create(dir: Option<&Path>, opening: &Opening, level: Level) -> Result<Self, EvidenceError> {
        if !is_session_name(&opening.session_id) {
            return Err(EvidenceError::SessionName(opening.session_id.clone()));
        }
        let folder = match dir {
            Some(dir) => EvidenceFolder::create(dir)?,
            None => EvidenceFolder::create(&sessions_root()?.join(&opening.session_id))?,
        };
        let (path, folder) = (folder.path().to_owned(), Arc::new(folder));
        let mut opening = opening.clone();
        opening.command = redact::arguments(bounded_arguments(opening.command));
        let record = Record {
            action_type: "session_start".to_owned(),
            target: crate::text::command_line(&opening.command),
            requested_operation: "session_start".to_owned(),
            decision: Some(Decision::Allow),
            reason: "the session was started".to_owned(),
            opening: Some(opening.clone()),
            ..Record::default()
        };
        let inner = Inner {
            path,
            level,
            reads: Reads::new(),
            queue: Mutex::new(Queue {
                refusals: Some(Refusals::new()),
                ..Queue::default()
            }),
            wake: Condvar::new(),
            sink: Mutex::new(Chain {
                sink: Sink::create(Arc::clone(&folder))?,
                seq: 0,
                prev_hash: NO_HASH.to_owned(),
                lost: 0,
                lost_ever: 0,
            }),
            sync: Mutex::default(),
            folder,
            opening,
        };
        let journal = Self {
            inner: Arc::new(inner),
            flusher: OnceLock::new(),
        };
        journal
            .inner
            .add(record, Durability::Written)
            .map_err(|error| match error {
                EvidenceError::Write(source) => EvidenceError::Io {
                    path: journal.inner.path.clone(),
                    action: "write its first record",
                    source,
                },
                other => other,
            })?;
        Ok(journal)
    }

    /// The folder's path, for people.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.path
    }

    /// The folder itself, for the supervisor's own Landlock domain: making and writing files in it is all that is needed.
    #[must_use]
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.inner.folder.as_fd()
    }

    /// Adds a record and returns its name once it is as durable as asked. On an error the record counts as not made: what
    /// owes it must be refused (I6).
    pub fn append(&self, draft: Draft, durability: Durability) -> Result<String, EvidenceError> {
        let record = self.inner.record(draft)?;
        // Without the thread that writes buffered records, each is written at once.
        let durability = if self.flushes() {
            durability
        } else {
            durability.max(Durability::Written)
        };
        self.inner.add(record, durability)
    }

    /// Counts an allowed read; true when it is to be recorded, because it is the first of this executable on this object by
    /// this rule, or because each one is.
    #[must_use]
    pub fn first_read(&self, exe: FileId, object: FileId, rule: &str) -> bool {
        self.inner.reads.first(exe, object, rule) || self.inner.level == Level::All
    }

    /// Takes back what [`Self::first_read`] counted, because its record could not be made: the next one is the first again.
    pub fn not_read(&self, exe: FileId, object: FileId, rule: &str) {
        self.inner.reads.forget(exe, object, rule);
    }

    /// What the session came to so far; buffered records count once they are written.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let reads = self.inner.reads.total();
        match self.inner.queue.lock() {
            Ok(queue) => queue.tally.totals(reads),
            Err(_) => Totals {
                reads,
                ..Totals::default()
            },
        }
    }

    /// Writes what was counted and the closing record, and ends the chain: later records are refused.
    pub fn close(&self, status: &str) -> Result<Totals, EvidenceError> {
        let inner = &self.inner;
        let note = |operation: &str, rule: String, repeats: BTreeMap<String, u64>| Record {
            action_type: if operation == "repeated_reads" {
                "read_file"
            } else {
                "session_end"
            }
            .to_owned(),
            requested_operation: operation.to_owned(),
            rule_id: rule,
            count: Some(repeats.values().sum()),
            repeats,
            ..Record::default()
        };
        // A count that can not be written (the session's bound, a full disk) does not keep the end from it.
        let mut uncounted = 0_u64;
        if inner.level == Level::First {
            for (rule, repeats) in inner.reads.repeats() {
                for part in parts(repeats) {
                    let record = Record {
                        decision: Some(Decision::Allow),
                        ..note("repeated_reads", rule.clone(), part)
                    };
                    uncounted = uncounted.saturating_add(inner.push(record, Durability::Buffered).is_err().into());
                }
            }
        }
        let refusals = inner
            .queue()?
            .refusals
            .as_ref()
            .map(Refusals::repeats)
            .unwrap_or_default();
        for part in parts(refusals) {
            let record = Record {
                decision: Some(Decision::Block),
                ..note("repeated_refusals", String::new(), part)
            };
            uncounted = uncounted.saturating_add(inner.push(record, Durability::Buffered).is_err().into());
        }
        let reads = inner.reads.total();
        let end = {
            // So that the totals say what was lost, everything before is written first.
            drop(inner.settle_all());
            let lost = inner.sink.lock().map_err(|_| EvidenceError::Broken)?.lost_ever;
            let queue = inner.queue()?;
            End {
                status: status.to_owned(),
                by_decision: queue.tally.by_decision.clone(),
                by_action: queue.tally.by_action.clone(),
                reads,
                refusals: queue.tally.refusals,
                lost: lost.saturating_add(uncounted),
            }
        };
        let totals = Totals {
            lost: end.lost,
            ..self.totals()
        };
        let record = Record {
            action_type: "session_end".to_owned(),
            requested_operation: "session_end".to_owned(),
            decision: Some(Decision::Allow),
            reason: format!("the session ended: {status}"),
            totals: Some(end),
            ..Record::default()
        };
        inner.add(record, Durability::Synced)?;
        Ok(totals)
    }

    /// Whether the thread that writes buffered records runs; it is started with the first record after the opening.
    fn flushes(&self) -> bool {
        *self.flusher.get_or_init(|| {
            let inner = Arc::clone(&self.inner);
            thread::Builder::new()
                .name("evidence".to_owned())
                .spawn(move || inner.flush())
                .is_ok()
        })
    }

    #[cfg(test)]
    pub(crate) fn rotate_every(&self, bytes: u64) {
        if let Ok(mut chain) = self.inner.sink.lock() {
            chain.sink.rotate_every(bytes);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The folder of a session that failed before its end stays intact and interrupted.
        drop(self.inner.settle_all());
        if let Ok(mut queue) = self.inner.queue.lock() {
            queue.ended = true;
        }
        self.inner.wake.notify_all();
    }
}

impl Inner {
    fn queue(&self) -> Result<MutexGuard<'_, Queue>, EvidenceError> {
        self.queue.lock().map_err(|_| EvidenceError::Broken)
    }

    fn record(&self, draft: Draft) -> Result<Record, EvidenceError> {
        let text = |text: String| clip(text, TEXT_BYTES);
        let id = decision_id()?;
        Ok(Record {
            correlation_id: draft.correlation_id.unwrap_or_else(|| id.clone()),
            decision_id: id,
            action_type: draft.action_type.to_owned(),
            target: text(redact::text(draft.target)),
            requested_operation: draft.requested_operation,
            policy_pack: draft.policy_pack,
            policy_id: draft.policy_id,
            rule_id: draft.rule_id,
            decision: draft.decision,
            severity: draft.severity,
            reason: text(draft.reason),
            approver_group: draft.approver_group,
            pid: draft.pid,
            tid: draft.tid,
            exe: text(draft.exe),
            argv: draft.argv.map(|argv| redact::arguments(bounded_arguments(argv))),
            syscall: draft.syscall,
            errno: draft.errno,
            mode: draft.mode,
            layer: draft.layer,
            source: draft.source,
            would_have: draft.would_have.map(|would| WouldHave {
                reason: text(would.reason),
                ..would
            }),
            digest: draft.digest,
            approval: draft.approval,
            ..Record::default()
        })
    }

    /// Names and dates a record, queues it, and sees to its durability.
    fn add(&self, mut record: Record, durability: Durability) -> Result<String, EvidenceError> {
        if record.decision_id.is_empty() {
            record.decision_id = decision_id()?;
            record.correlation_id.clone_from(&record.decision_id);
        }
        let id = record.decision_id.clone();
        let closes = record.totals.is_some();
        let refused = record.errno.is_some() || record.decision == Some(Decision::Block);
        let (ticket, durability) = {
            let mut queue = self.queue()?;
            if queue.ended {
                return Err(EvidenceError::Closed);
            }
            let refused = refused && record.count.is_none();
            if refused {
                queue.tally.refused(&record);
            }
            // What a person answered is a record each time, however often it was asked.
            if refused && record.action_type != "approval" && record.approval.is_none() {
                let identity = (
                    &record.action_type,
                    &record.target,
                    &record.rule_id,
                    &record.exe,
                    &record.errno,
                );
                if let Some(first) = queue
                    .refusals
                    .as_mut()
                    .and_then(|refusals| refusals.counted(&identity, &id))
                {
                    return Ok(first);
                }
            }
            queue.ended = closes;
            let overdue = queue.failing.is_some() || queue.bytes > QUEUE_BYTES;
            let durability = if overdue {
                durability.max(Durability::Written)
            } else {
                durability
            };
            (queue.push(record, durability), durability)
        };
        match durability {
            Durability::Buffered => {
                if ticket.first {
                    self.wake.notify_one();
                }
            }
            Durability::Written => self.settle(ticket.number)?,
            Durability::Synced => {
                self.settle(ticket.number)?;
                self.sync(ticket.number)?;
            }
        }
        if closes {
            self.wake.notify_all();
        }
        Ok(id)
    }

    fn push(&self, record: Record, durability: Durability) -> Result<(), EvidenceError> {
        self.add(record, durability).map(drop)
    }

    /// Returns once the record of `ticket` is written; writes all that is queued when nobody else has.
    fn settle(&self, ticket: u64) -> Result<(), EvidenceError> {
        let mut chain = self.sink.lock().map_err(|_| EvidenceError::Broken)?;
        if self.queue()?.settled < ticket {
            self.write(&mut chain)?;
        }
        drop(chain);
        failure(self.queue()?.failed.remove(&ticket))
    }

    /// Writes all that is queued. Its records may be owed to others, so their errors are left for those who wait.
    fn settle_all(&self) -> Result<(), EvidenceError> {
        let mut chain = self.sink.lock().map_err(|_| EvidenceError::Broken)?;
        self.write(&mut chain)?;
        failure(self.queue()?.failing)
    }

    /// Writes what is queued. Whoever holds the sink's lock is the only one who takes from the queue.
    fn write(&self, chain: &mut Chain) -> Result<(), EvidenceError> {
        crate::faults::point("write");
        let entries = {
            let mut queue = self.queue()?;
            queue.bytes = 0;
            std::mem::take(&mut queue.entries)
        };
        let Some(last) = entries.last().map(|entry| entry.ticket) else {
            return Ok(());
        };
        let (entries, whole, error) = self.write_entries(chain, entries);
        let mut lost = 0_u64;
        let mut queue = self.queue()?;
        for entry in entries.get(..whole).unwrap_or_default() {
            queue.tally.recorded(&entry.record);
        }
        for entry in entries.get(whole..).unwrap_or_default() {
            match error {
                Some(errno) if entry.waits => drop(queue.failed.insert(entry.ticket, errno)),
                _ => lost = lost.saturating_add(1),
            }
        }
        queue.settled = last;
        queue.failing = error;
        chain.lost = chain.lost.saturating_add(lost);
        chain.lost_ever = chain.lost_ever.saturating_add(lost);
        Ok(())
    }

    /// Chains and writes `entries`; returns them, how many are in the file, and why no more.
    fn write_entries(&self, chain: &mut Chain, mut entries: Vec<Entry>) -> (Vec<Entry>, usize, Option<i32>) {
        let (mut bytes, mut ends, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut seq, mut prev_hash, mut error) = (chain.seq, chain.prev_hash.clone(), None);
        for (index, entry) in entries.iter_mut().enumerate() {
            let record = &mut entry.record;
            record.seq = seq;
            record.prev_hash.clone_from(&prev_hash);
            record.lost = Some(chain.lost).filter(|lost| *lost > 0 && index == 0);
            self.complete(record);
            let Ok((line, hash)) = record.line() else {
                error = Some(libc::EINVAL);
                break;
            };
            let size = chain
                .sink
                .total()
                .saturating_add(bytes.len() as u64)
                .saturating_add(line.len() as u64);
            if size > SESSION_BYTES && record.totals.is_none() {
                error = Some(FULL);
                break;
            }
            bytes.extend_from_slice(&line);
            ends.push(bytes.len());
            seq = seq.saturating_add(1);
            prev_hash.clone_from(&hash);
            hashes.push(hash);
        }
        let (whole, failure) = chain.sink.write(&bytes, &ends);
        if let Some(hash) = whole.checked_sub(1).and_then(|last| hashes.into_iter().nth(last)) {
            chain.prev_hash = hash;
            chain.seq = chain.seq.saturating_add(whole as u64);
            chain.lost = 0;
        }
        let failure = failure.map(|error| error.raw_os_error().unwrap_or(libc::EIO));
        (entries, whole, failure.or(error))
    }

    /// What all records of the session have alike.
    fn complete(&self, record: &mut Record) {
        let opening = &self.opening;
        record.session_id.clone_from(&opening.session_id);
        record.agent_id.clone_from(&opening.agent_id);
        record.actor.clone_from(&opening.actor);
        record.evidence_refs = vec![format!("evidence://{}/{}", opening.session_id, record.decision_id)];
        if record.mode.is_empty() {
            record.mode.clone_from(&opening.mode);
        }
    }

    /// Returns once the record of `ticket`, which is written, is on disk.
    fn sync(&self, ticket: u64) -> Result<(), EvidenceError> {
        let mut synced = self.sync.lock().map_err(|_| EvidenceError::Broken)?;
        if synced.ticket < ticket && synced.failed.is_none() {
            let (file, upto, unsynced): (Arc<File>, u64, Option<i32>) = {
                let chain = self.sink.lock().map_err(|_| EvidenceError::Broken)?;
                (chain.sink.file(), self.queue()?.settled, chain.sink.unsynced())
            };
            match (unsynced, file.sync_data()) {
                (None, Ok(())) => synced.ticket = upto,
                (Some(errno), _) => synced.failed = Some(errno),
                (None, Err(error)) => synced.failed = Some(error.raw_os_error().unwrap_or(libc::EIO)),
            }
        }
        match synced.failed {
            Some(errno) if synced.ticket < ticket => Err(EvidenceError::Sync(io::Error::from_raw_os_error(errno))),
            _ => Ok(()),
        }
    }

    /// Writes buffered records until the journal is closed.
    fn flush(&self) {
        quiet_thread();
        loop {
            {
                let Ok(queue) = self.queue.lock() else { return };
                let Ok(queue) = self
                    .wake
                    .wait_while(queue, |queue| queue.entries.is_empty() && !queue.ended)
                else {
                    return;
                };
                if queue.ended && queue.entries.is_empty() {
                    return;
                }
            }
            thread::sleep(FLUSH_AFTER);
            if let Err(error) = self.settle_all() {
                tracing::error!(%error, "buffered records could not be written");
            }
        }
    }
}

/// Stands for [`EvidenceError::Full`] among errnos.
const FULL: i32 = -1;

fn failure(errno: Option<i32>) -> Result<(), EvidenceError> {
    match errno {
        None => Ok(()),
        Some(FULL) => Err(EvidenceError::Full(SESSION_BYTES >> 20)),
        Some(errno) => Err(EvidenceError::Write(io::Error::from_raw_os_error(errno))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#[path = "journal_tests.rs"]
mod tests;
