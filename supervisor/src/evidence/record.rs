//! One record: its members in their order on the line, and its canonical line.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use sha2::{Digest, Sha256};

use super::names::hex;
use crate::decision::{Decision, Severity};
use crate::text::is_deceptive;

/// `prev_hash` of a session's first record.
pub(crate) const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What holds for the whole session; kept in its first record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The session's name: letters, digits, `_` and `-`.
    #[serde(skip)]
    pub session_id: String,
    /// Which agent runs (`--agent-id`).
    #[serde(skip)]
    pub agent_id: String,
    /// For whom it runs (`--actor`).
    #[serde(skip)]
    pub actor: String,
    /// The command that is started.
    pub command: Vec<String>,
    /// The workspace's canonical path.
    pub workspace: String,
    /// SHA-256 of the compiled policy's sources.
    pub policy_digest: String,
    /// The packs in force.
    pub packs: Vec<String>,
    /// `enforce` or `audit`.
    pub mode: String,
    /// Ids of the packs that only watch while the others enforce.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watching: Vec<String>,
    /// How reads are decided, where not by the supervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<Reads>,
    /// The program's version, and what else identifies the build and the machine.
    pub version: String,
}

/// Reads that the kernel decides: no record is made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reads {
    /// `kernel`.
    pub by: String,
    /// Folders as a whole, and files, that can be read.
    pub trees: u64,
    /// The first of them.
    pub named: Vec<String>,
    /// Trees that were too large to be looked at to their end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// All `action_type`s.
pub const ACTIONS: [&str; 9] = [
    "read_file",
    "write_file",
    "execute_command",
    "git_operation",
    "network_connect",
    "network_bind",
    "session_start",
    "session_end",
    "approval",
];

/// What is known of one decision; the journal adds names, time, order and hashes. Paths and arguments are given as
/// [`crate::text::printable`] writes them.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// `read_file`, `write_file`, `execute_command`, `git_operation`, `network_connect`, `network_bind`, `approval`.
    pub action_type: &'static str,
    /// The path, command line or address.
    pub target: String,
    /// What was asked of it (`open`, `rename`, …).
    pub requested_operation: String,
    /// What was decided.
    pub decision: Option<Decision>,
    /// The rule that decided.
    pub rule_id: String,
    /// The pack that wrote the rule.
    pub policy_pack: String,
    /// The pack's id in CAVRA's records.
    pub policy_id: String,
    /// How much it matters.
    pub severity: Option<Severity>,
    /// A sentence for people.
    pub reason: String,
    /// Who may approve.
    pub approver_group: Option<String>,
    /// The layer of the rule.
    pub layer: String,
    /// File and line of the rule.
    pub source: Option<String>,
    /// The caller's thread group.
    pub pid: i32,
    /// The caller's thread.
    pub tid: i32,
    /// The caller's executable.
    pub exe: String,
    /// The arguments, of an exec.
    pub argv: Option<Vec<String>>,
    /// The system call.
    pub syscall: String,
    /// The errno that the caller gets; none when the call is performed.
    pub errno: Option<String>,
    /// `enforce` or `audit`; the session's when empty.
    pub mode: String,
    /// What packs that only watch would have decided.
    pub would_have: Option<WouldHave>,
    /// SHA-256 of what was attested.
    pub digest: Option<String>,
    /// How a held request ended.
    pub approval: Option<ApprovalNote>,
    /// The record that this one continues; its own name when none.
    pub correlation_id: Option<String>,
}

/// The strictest answer of the packs that only watch (`mode: audit`), where it is stricter than what was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WouldHave {
    /// What would have been decided.
    pub decision: Decision,
    /// By which rule.
    pub rule_id: String,
    /// How much it matters.
    pub severity: Severity,
    /// The pack that watches.
    pub policy_pack: String,
    /// Its layer.
    pub layer: String,
    /// File and line of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A sentence for people.
    pub reason: String,
}

/// How a held request ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalNote {
    /// `apr_` and 12 hexadecimal digits.
    pub id: String,
    /// The user who answered; empty when nobody did.
    pub approver: String,
    /// The reason given.
    pub reason: String,
    /// How long the caller was held.
    pub waited_ms: u64,
}

/// What a session came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records by decision.
    pub by_decision: BTreeMap<String, u64>,
    /// Allowed reads, recorded or counted.
    pub reads: u64,
    /// Distinct refusals in order: target, rule, how often; the first 20.
    pub refusals: Vec<(String, String, u64)>,
    /// All refusals.
    pub refused: u64,
    /// Buffered records that could not be written, as known at the end.
    pub lost: u64,
}

/// What the closing record says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// How the command ended.
    pub status: String,
    /// Records by decision.
    pub by_decision: BTreeMap<String, u64>,
    /// Records by action.
    pub by_action: BTreeMap<String, u64>,
    /// Allowed reads, recorded or counted.
    pub reads: u64,
    /// Refused calls, recorded or counted.
    pub refusals: u64,
    /// Buffered records that could not be written.
    pub lost: u64,
}

/// One line of `decisions.jsonl`. CAVRA's members come first and are always there; ours follow, and those that say
/// nothing are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the members are those of Draft, Opening and the module's table"
)]
pub struct Record {
    pub decision_id: String,
    pub session_id: String,
    pub agent_id: String,
    pub actor: String,
    pub action_type: String,
    pub target: String,
    pub requested_operation: String,
    pub policy_pack: String,
    pub policy_id: String,
    pub rule_id: String,
    pub decision: Option<Decision>,
    pub severity: Option<Severity>,
    pub reason: String,
    pub evidence_refs: Vec<String>,
    pub approver_group: Option<String>,
    pub timestamp: String,
    pub correlation_id: String,
    pub seq: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pid: i32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tid: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub exe: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub syscall: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    pub mode: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub layer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How many further requests this record stands for (`repeated_reads`, `repeated_refusals`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_have: Option<WouldHave>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalNote>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<End>,
    /// Which requests `count` adds up: a record's name, or `executable object` as `dev:inode dev:inode`, to how many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repeats: BTreeMap<String, u64>,
    /// Buffered records just before this one that could not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    pub prev_hash: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

impl Record {
    /// The record's line, newline included, and its hash; `seq` and `prev_hash` are set, `hash` is empty.
    pub(crate) fn line(&self) -> Result<(Vec<u8>, String), serde_json::Error> {
        let mut line = self.canonical()?;
        let hash = hex(&Sha256::digest(&line));
        line.pop();
        line.extend_from_slice(HASH_MEMBER);
        line.extend_from_slice(hash.as_bytes());
        line.extend_from_slice(b"\"}\n");
        Ok((line, hash))
    }

    /// The line of a record that was read, newline included.
    #[must_use]
    pub fn as_written(&self) -> Option<String> {
        String::from_utf8(self.canonical().ok()?).ok().map(|line| line + "\n")
    }

    /// The record as compact JSON, its members in order, deceptive characters as `\u` escapes.
    pub(crate) fn canonical(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = Vec::with_capacity(1024);
        self.serialize(&mut Serializer::with_formatter(&mut bytes, Harmless))?;
        Ok(bytes)
    }
}

const HASH_MEMBER: &[u8] = b",\"hash\":\"";

/// Splits a line (without its newline) into what was hashed and the hash that it claims.
pub(crate) fn split_hash(line: &[u8]) -> Option<(Vec<u8>, &str)> {
    let body = line.strip_suffix(b"\"}")?;
    let (rest, hash) = body.split_at_checked(body.len().checked_sub(64)?)?;
    let mut hashed = rest.strip_suffix(HASH_MEMBER)?.to_vec();
    hashed.push(b'}');
    Some((hashed, std::str::from_utf8(hash).ok()?))
}

/// The hash of what [`split_hash`] found.
pub(crate) fn hash_of(hashed: &[u8]) -> String {
    hex(&Sha256::digest(hashed))
}

/// JSON that can be shown by `cat`: serde_json escapes C0 only, this all that a terminal obeys, hides or reorders.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.is_ascii() && !fragment.contains('\x7f') {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        for c in fragment.chars() {
            if is_deceptive(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            } else {
                writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use super::{Record, hash_of, split_hash};

    #[test]
    fn a_line_can_be_shown_and_read_back() {
        let target = "a\n\"}\u{1b}[2J\u{9b}\u{202e}\u{e0041}\u{7f}ä\\";
        let record = Record {
            target: target.to_owned(),
            ..Record::default()
        };
        let (line, hash) = record.line().unwrap();
        let text = std::str::from_utf8(&line).unwrap();
        assert!(
            text.trim_end_matches('\n')
                .chars()
                .all(|c| !crate::text::is_deceptive(c)),
            "{text}"
        );
        let (hashed, claimed) = split_hash(line.trim_ascii_end()).unwrap();
        assert_eq!((hash_of(&hashed), claimed), (hash.clone(), hash.as_str()));
        let read: Record = serde_json::from_slice(&line).unwrap();
        assert_eq!(read.target, target);
        assert_eq!(
            Record {
                hash: String::new(),
                ..read
            }
            .canonical()
            .unwrap(),
            hashed
        );
    }
}
