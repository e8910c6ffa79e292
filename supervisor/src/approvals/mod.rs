//! Held requests and the control socket.

mod control;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use control::{ControlError, ControlServer, ask, sockets};

/// Requests that are held at a time (I8).
const HELD_MAX: usize = 256;

/// What a person is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Ask {
    pub decision_id: String,
    pub action: String,
    pub target: String,
    pub exe: String,
    pub argv: Vec<String>,
    pub cwd: String,
    pub rule_id: String,
    pub approver_group: String,
    pub reason: String,
    pub pid: i32,
}

/// One held request, as it is listed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Approval {
    pub approval_id: String,
    pub state: String,
    pub approver_group: String,
    pub requested_at: String,
    pub expires_at: String,
    pub decision: Ask,
    pub decided_by: Option<String>,
    pub decided_at: Option<String>,
    pub decision_reason: Option<String>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome {
    Approved { by: String, reason: String, waited_ms: u64 },
    Denied { by: String, reason: String, waited_ms: u64 },
    Expired { waited_ms: u64 },
}

/// No more requests are held.
#[derive(Debug)]
pub struct Full;

/// The requests of one session.
#[derive(Debug)]
pub struct Desk {
    timeout: Duration,
    held: Mutex<BTreeMap<String, Approval>>,
    decided: Condvar,
}

/// One held request, in the hands of the thread that waits for it; dropped, the request is gone.
#[derive(Debug)]
pub struct Ticket {
    desk: Arc<Desk>,
    id: String,
    since: Instant,
}

impl Desk {
    /// A desk whose requests expire after `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            timeout,
            held: Mutex::default(),
            decided: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Approval>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a request.
    pub fn hold(self: &Arc<Self>, ask: Ask) -> Result<Ticket, Full> {
        let id = crate::evidence::new_id("apr_", 6).map_err(|_| Full)?;
        let now = jiff::Timestamp::now();
        let expires = now
            .checked_add(jiff::SignedDuration::try_from(self.timeout).unwrap_or(jiff::SignedDuration::ZERO))
            .unwrap_or(now);
        let approval = Approval {
            approval_id: id.clone(),
            state: "pending".into(),
            approver_group: ask.approver_group.clone(),
            requested_at: now.to_string(),
            expires_at: expires.to_string(),
            decision: ask,
            decided_by: None,
            decided_at: None,
            decision_reason: None,
        };
        let mut held = self.lock();
        if held.len() >= HELD_MAX {
            return Err(Full);
        }
        held.insert(id.clone(), approval);
        Ok(Ticket {
            desk: self.clone(),
            id,
            since: Instant::now(),
        })
    }

    /// All held requests.
    #[must_use]
    pub fn list(&self) -> Vec<Approval> {
        self.lock().values().cloned().collect()
    }

    /// Decides one; the first answer counts. The error says why not.
    pub fn decide(&self, id: &str, yes: bool, by: &str, reason: &str) -> Result<Approval, String> {
        let mut held = self.lock();
        let approval = held.get_mut(id).ok_or_else(|| {
            format!("{id}: no such request is held; it was decided, expired, or its program has ended")
        })?;
        if approval.state != "pending" {
            return Err(format!(
                "{id}: already {} by {}",
                approval.state,
                approval.decided_by.as_deref().unwrap_or("somebody")
            ));
        }
        approval.state = if yes { "approved" } else { "denied" }.into();
        approval.decided_by = Some(by.to_owned());
        approval.decided_at = Some(jiff::Timestamp::now().to_string());
        approval.decision_reason = Some(reason.to_owned());
        let decided = approval.clone();
        drop(held);
        self.decided.notify_all();
        Ok(decided)
    }
}

impl Ticket {
    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits up to `slice`; none while nobody has answered.
    #[must_use]
    pub fn wait(&self, slice: Duration) -> Option<Outcome> {
        let left = self.desk.timeout.saturating_sub(self.since.elapsed());
        let held = self.desk.lock();
        let pending = |held: &mut BTreeMap<String, Approval>| {
            held.get(&self.id).is_some_and(|approval| approval.state == "pending")
        };
        let (held, _) = self
            .desk
            .decided
            .wait_timeout_while(held, slice.min(left), pending)
            .unwrap_or_else(PoisonError::into_inner);
        let waited_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let approval = held.get(&self.id)?;
        let (by, reason) = (
            approval.decided_by.clone().unwrap_or_default(),
            approval.decision_reason.clone().unwrap_or_default(),
        );
        match approval.state.as_str() {
            "approved" => Some(Outcome::Approved { by, reason, waited_ms }),
            "denied" => Some(Outcome::Denied { by, reason, waited_ms }),
            _ if self.since.elapsed() >= self.desk.timeout => Some(Outcome::Expired { waited_ms }),
            _ => None,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.desk.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Ask, Desk, Outcome};
    use std::time::Duration;

    fn ask() -> Ask {
        let s = String::new;
        Ask {
            decision_id: s(),
            action: s(),
            target: s(),
            exe: s(),
            argv: vec![],
            cwd: s(),
            rule_id: s(),
            approver_group: s(),
            reason: s(),
            pid: 1,
        }
    }

    #[test]
    fn the_first_answer_counts_and_an_ended_request_takes_none() {
        let desk = Desk::new(Duration::from_secs(60));
        let ticket = desk.hold(ask()).unwrap();
        desk.decide(ticket.id(), true, "ann", "ok").unwrap();
        assert!(desk.decide(ticket.id(), false, "bob", "no").is_err());
        assert!(matches!(ticket.wait(Duration::ZERO), Some(Outcome::Approved { by, .. }) if by == "ann"));
        let id = ticket.id().to_owned();
        drop(ticket);
        assert!(desk.decide(&id, true, "ann", "late").is_err());
    }

    #[test]
    fn no_answer_is_a_no() {
        let ticket = Desk::new(Duration::ZERO).hold(ask()).unwrap();
        assert!(matches!(
            ticket.wait(Duration::from_secs(1)),
            Some(Outcome::Expired { .. })
        ));
    }
}
