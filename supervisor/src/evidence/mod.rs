//! Decision records: written, chained, read, verified.
//!
//! One JSON object a line. `hash` is the SHA-256 of the line without it, `prev_hash` the hash of the line before: a line that is changed,
//! removed or put elsewhere breaks the chain, and a session that ended has a closing record.

mod verify;

use std::collections::{BTreeMap, HashMap};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::decision::{Decision, Severity};

pub use verify::{Verification, sessions, verify};

/// Reads that are counted apart; further ones are counted together (I8).
const READS_MAX: usize = 100_000;
/// Identical refusals that are recorded one by one.
const SAME_REFUSALS_MAX: u64 = 1000;
/// Distinct refusals that the summary names.
const SUMMARY_MAX: usize = 20;

/// What the session's first record holds.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Which session.
    pub session_id: String,
    /// The agent.
    pub agent_id: String,
    /// For whom.
    pub actor: String,
    /// The command.
    pub command: Vec<String>,
    /// The workspace.
    pub workspace: String,
    /// Digest of the policy.
    pub policy_digest: String,
    /// Each pack with file and digest.
    pub packs: Vec<String>,
    /// enforce or audit.
    pub mode: String,
    /// Of cavra-run.
    pub version: String,
}

/// When a record must be where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Soon.
    Buffered,
    /// Handed to the kernel.
    Written,
    /// On disk.
    Synced,
}

/// One decision, before it has its place in the chain.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Draft {
    pub action_type: &'static str,
    pub target: String,
    pub requested_operation: String,
    pub decision: Option<Decision>,
    pub rule_id: String,
    pub policy_pack: String,
    pub policy_id: String,
    pub severity: Option<Severity>,
    pub reason: String,
    pub approver_group: Option<String>,
    pub layer: String,
    pub source: Option<String>,
    pub pid: i32,
    pub tid: i32,
    pub exe: String,
    pub argv: Option<Vec<String>>,
    pub syscall: String,
    pub errno: Option<String>,
    pub mode: String,
    pub digest: Option<String>,
    pub approval: Option<ApprovalNote>,
    pub correlation_id: Option<String>,
}

/// How a held request was decided.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ApprovalNote {
    pub id: String,
    pub approver: String,
    pub reason: String,
    pub waited_ms: u64,
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The folder.
    #[error("evidence folder {0}: {1}")]
    Folder(PathBuf, String),
    /// A record.
    #[error("a record could not be written: {0}")]
    Write(#[from] io::Error),
}

/// Counts of one session.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Totals {
    pub by_decision: BTreeMap<String, u64>,
    pub reads: u64,
    /// Target, rule, times; the first distinct ones.
    pub refusals: Vec<(String, String, u64)>,
}

/// The session's records; thread-safe.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    session_id: String,
    agent_id: String,
    actor: String,
    state: Mutex<State>,
    reads: Mutex<Reads>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Bytes of whole lines in the file.
    len: u64,
    seq: u64,
    hash: String,
    totals: Totals,
    same: HashMap<(String, String), u64>,
}

/// Device and inode.
type Id = (u64, u64);

#[derive(Debug, Default)]
struct Reads {
    seen: HashMap<(Id, Id), u64>,
    total: u64,
}

/// `prefix` and `bytes` random bytes in hex.
pub fn new_id(prefix: &str, bytes: usize) -> io::Result<String> {
    let mut raw = vec![0u8; bytes];
    getrandom::fill(&mut raw).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(raw
        .iter()
        .fold(prefix.to_owned(), |text, byte| text + &format!("{byte:02x}")))
}

/// `$XDG_STATE_HOME/cavra` or `~/.local/state/cavra`.
#[must_use]
pub fn state_home() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    std::env::var_os("XDG_STATE_HOME")
        .filter(|dir| Path::new(dir).is_absolute())
        .map_or_else(|| home.join(".local/state"), PathBuf::from)
        .join("cavra")
}

impl Journal {
    /// Starts a chain in `dir`, which must be new or empty and no symbolic link; by default in the user's state folder.
    pub fn create(dir: Option<&Path>, opening: &Opening) -> Result<Self, EvidenceError> {
        let dir = dir.map_or_else(
            || state_home().join("sessions").join(&opening.session_id),
            Path::to_path_buf,
        );
        let wrong = |text: &str| EvidenceError::Folder(dir.clone(), text.to_owned());
        if std::fs::symlink_metadata(&dir).is_ok_and(|meta| meta.file_type().is_symlink()) {
            return Err(wrong("is a symbolic link; name the folder itself"));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|error| wrong(&error.to_string()))?;
        let mut entries = std::fs::read_dir(&dir).map_err(|error| wrong(&error.to_string()))?;
        if entries.next().is_some() {
            return Err(wrong(
                "is not empty; evidence of two sessions is not mixed: name a new folder",
            ));
        }
        let path = dir.join("decisions.jsonl");
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|error| wrong(&error.to_string()))?;
        let journal = Self {
            dir,
            session_id: opening.session_id.clone(),
            agent_id: opening.agent_id.clone(),
            actor: opening.actor.clone(),
            state: Mutex::new(State {
                file,
                len: 0,
                seq: 0,
                hash: "0".repeat(64),
                totals: Totals::default(),
                same: HashMap::new(),
            }),
            reads: Mutex::default(),
        };
        let mut record = journal.envelope("session_start")?;
        record.insert("command".into(), json!(opening.command));
        record.insert("workspace".into(), json!(opening.workspace));
        record.insert("policy_digest".into(), json!(opening.policy_digest));
        record.insert("packs".into(), json!(opening.packs));
        record.insert("mode".into(), json!(opening.mode));
        record.insert("version".into(), json!(opening.version));
        journal.lock().write(record, Durability::Synced)?;
        Ok(journal)
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn envelope(&self, action: &str) -> io::Result<Map<String, Value>> {
        let id = new_id("dec_", 6)?;
        let mut record = Map::new();
        record.insert(
            "evidence_refs".into(),
            json!([format!("evidence://{}/{id}", self.session_id)]),
        );
        record.insert("decision_id".into(), json!(id));
        record.insert("session_id".into(), json!(self.session_id));
        record.insert("agent_id".into(), json!(self.agent_id));
        record.insert("actor".into(), json!(self.actor));
        record.insert("action_type".into(), json!(action));
        record.insert("timestamp".into(), json!(jiff::Timestamp::now().to_string()));
        Ok(record)
    }

    /// Puts one record at the end of the chain and returns its `decision_id`.
    pub fn append(&self, draft: Draft, durability: Durability) -> Result<String, EvidenceError> {
        let mut record = self.envelope(draft.action_type)?;
        let id = record
            .get("decision_id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let decision = draft.decision.map_or("", Decision::name);
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                record.insert(name.into(), value);
            }
        };
        put("target", json!(draft.target));
        put("requested_operation", json!(draft.requested_operation));
        put("policy_pack", json!(draft.policy_pack));
        put("policy_id", json!(draft.policy_id));
        put("rule_id", json!(draft.rule_id));
        put("decision", json!(decision));
        put("severity", json!(draft.severity.map(Severity::name)));
        put("reason", json!(draft.reason));
        put("approver_group", json!(draft.approver_group));
        put(
            "correlation_id",
            json!(draft.correlation_id.unwrap_or_else(|| id.clone())),
        );
        put("pid", json!(draft.pid));
        put("tid", json!(draft.tid));
        put("exe", json!(draft.exe));
        put("argv", json!(draft.argv));
        put("syscall", json!(draft.syscall));
        put("errno", json!(draft.errno));
        put("mode", json!(draft.mode));
        put("layer", json!(draft.layer));
        put("source", json!(draft.source));
        put("digest", json!(draft.digest));
        if let Some(note) = &draft.approval {
            put(
                "approval",
                json!({"id": note.id, "approver": note.approver, "reason": note.reason, "waited_ms": note.waited_ms}),
            );
        }
        let mut state = self.lock();
        *state.totals.by_decision.entry(decision.to_owned()).or_default() += 1;
        if draft.errno.is_some() {
            let times = state
                .same
                .entry((draft.target.clone(), draft.rule_id.clone()))
                .or_default();
            *times += 1;
            let times = *times;
            if times > SAME_REFUSALS_MAX {
                return Ok(id);
            }
            let refusals = &mut state.totals.refusals;
            if let Some((.., count)) = refusals
                .iter_mut()
                .find(|(target, rule, _)| *target == draft.target && *rule == draft.rule_id)
            {
                *count = times;
            } else if refusals.len() < SUMMARY_MAX {
                refusals.push((draft.target, draft.rule_id, times));
            }
        }
        state.write(record, durability)?;
        Ok(id)
    }

    /// Counts an allowed read; true for the first of its kind, which is to be recorded.
    pub fn first_read(&self, exe: (u64, u64), object: (u64, u64), _rule: &str) -> bool {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads.total += 1;
        if let Some(count) = reads.seen.get_mut(&(exe, object)) {
            *count += 1;
            return false;
        }
        if reads.seen.len() >= READS_MAX {
            return false;
        }
        reads.seen.insert((exe, object), 1);
        true
    }

    /// The counts so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner).total;
        Totals {
            reads,
            ..self.lock().totals.clone()
        }
    }

    /// Ends the chain with the totals.
    pub fn close(&self, status: &str) -> Result<Totals, EvidenceError> {
        let totals = self.totals();
        let mut record = self.envelope("session_end")?;
        record.insert("status".into(), json!(status));
        record.insert("totals".into(), json!(totals.by_decision));
        record.insert("reads".into(), json!(totals.reads));
        self.lock().write(record, Durability::Synced)?;
        Ok(totals)
    }
}

impl State {
    fn write(&mut self, mut record: Map<String, Value>, durability: Durability) -> Result<(), EvidenceError> {
        record.insert("seq".into(), json!(self.seq));
        record.insert("prev_hash".into(), json!(self.hash));
        let hash = hash(&record);
        record.insert("hash".into(), json!(hash));
        let mut line = Value::Object(record).to_string().into_bytes();
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // A part of a line would break the chain for all that follows.
            self.file.set_len(self.len)?;
            return Err(error.into());
        }
        if durability == Durability::Synced {
            self.file.sync_data()?;
        }
        self.len += line.len() as u64;
        self.seq += 1;
        self.hash = hash;
        Ok(())
    }
}

/// SHA-256 of a record without its `hash`, as it is written, in lower-case hex.
pub(crate) fn hash(record: &Map<String, Value>) -> String {
    let mut record = record.clone();
    record.remove("hash");
    Sha256::digest(Value::Object(record).to_string())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
