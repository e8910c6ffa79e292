//! What is said on the control socket: one JSON object a line, one request and one reply a connection.

use serde::{Deserialize, Serialize};

use super::desk::{Answer, Approval};

/// Bytes of a request's line.
pub(super) const REQUEST_BYTES: u64 = 64 << 10;
/// Bytes of a reason.
pub(super) const REASON_BYTES: usize = 4 << 10;
/// Bytes of a reply's line that a client reads: all requests that a desk keeps, each with all its arguments.
pub(super) const REPLY_BYTES: u64 = 512 << 20;

/// What is asked of a session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// All requests.
    List {},
    /// One request.
    Show {
        /// Its name.
        id: String,
    },
    /// An answer.
    Decide {
        /// The request's name.
        id: String,
        /// Yes or no.
        answer: Answer,
        /// Why.
        reason: String,
    },
}

/// What a session says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// The requests that were asked for, or the one that was answered.
    Approvals(Vec<Approval>),
    /// No such request here.
    Unknown(String),
    /// Nothing was done, and why.
    Refused(String),
}
