//! The desk: requests that wait for a person.
//!
//! *Invariant:* an answer is for one request, once. It leaves `pending` under the desk's lock and never returns to it: by an
//! answer, by its deadline, or because its caller no longer waits. A no stands a moment for the thread that asks the same again.
//! No lock is held while anybody waits for a peer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evidence::{approval_id, bounded_arguments};

/// Requests that may wait at once; one more is refused (I8).
const PENDING: usize = 256;
/// Requests that no longer wait and can still be asked for.
const REMEMBERED: usize = 256;
/// How long a request whose caller runs a signal's handler waits for the caller to ask again.
const PARKED: Duration = Duration::from_secs(5);
/// How long a denied exec stays denied for its thread: execvp goes on to PATH's next folder, which may be the same one (`/bin`).
const STANDS: Duration = Duration::from_secs(1);

/// What is asked for; texts as [`crate::text::printable`] writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The record of the request.
    pub decision_id: String,
    /// What is asked of the target.
    #[serde(rename = "requested_operation")]
    pub action: String,
    /// The path, command line or address.
    pub target: String,
    /// The caller's executable.
    pub exe: String,
    /// The arguments, of an exec.
    pub argv: Vec<String>,
    /// The caller's working folder.
    pub cwd: String,
    /// The rule that asks for an approval.
    pub rule_id: String,
    /// Who may approve.
    pub approver_group: String,
    /// Why the rule asks.
    pub reason: String,
    /// The caller.
    pub pid: i32,
    /// The caller's thread, which waits.
    pub tid: i32,
}

impl Ask {
    /// Whether the same thread asks for the same thing, whatever its record is.
    fn is_again(&self, other: &Self) -> bool {
        Self {
            decision_id: String::new(),
            ..self.clone()
        } == Self {
            decision_id: String::new(),
            ..other.clone()
        }
    }
}

/// What a person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// How a held request ended, for the one who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may be performed.
    Approved {
        /// The user who said so.
        by: String,
        /// The reason given.
        reason: String,
        /// How long it was held.
        waited_ms: u64,
    },
    /// It is refused.
    Denied {
        /// The user who said so.
        by: String,
        /// The reason given.
        reason: String,
        /// How long it was held.
        waited_ms: u64,
    },
    /// Nobody answered.
    Expired {
        /// Why nobody can any more.
        why: String,
        /// How long it was held.
        waited_ms: u64,
    },
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its caller waits.
    Pending,
    /// A person said yes.
    Approved,
    /// A person said no.
    Denied,
    /// Its time ran out, or its caller no longer waits.
    Expired,
}

/// A request as approvers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// `apr_` and 12 hexadecimal digits.
    pub approval_id: String,
    /// Where it stands.
    pub state: State,
    /// Who may approve.
    pub approver_group: String,
    /// When it was asked for (RFC 3339, UTC).
    pub requested_at: String,
    /// When it is refused if nobody answers.
    pub expires_at: String,
    /// What is asked for.
    pub decision: Ask,
    /// The user who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When it left `pending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<String>,
    /// The reason given, or why nobody could answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_reason: Option<String>,
}

/// Why an answer has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// No such request.
    #[error("{0}: no such request in this session; `cavractl approvals list` shows those that wait")]
    Unknown(String),
    /// Somebody else was first.
    #[error("{id}: already {state} by {by}; an answer counts once")]
    Decided {
        /// The request.
        id: String,
        /// `approved` or `denied`.
        state: &'static str,
        /// Who was first.
        by: String,
    },
    /// Nobody waits for the answer any more.
    #[error("{id}: no longer waits ({why}); it was refused, and when the agent asks again the request has a new name")]
    Expired {
        /// The request.
        id: String,
        /// What happened.
        why: String,
    },
}

/// Too many requests wait.
#[derive(Debug, thiserror::Error)]
#[error("{PENDING} requests already wait for an approval: refused; answer some of them first")]
pub struct Full;

/// One session's held requests.
#[derive(Debug)]
pub struct Desk {
    inner: Arc<Inner>,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct Inner {
    requests: Mutex<Requests>,
    /// Told when a ticket is dropped.
    left: Condvar,
    socket: Mutex<Option<Box<dyn Removes>>>,
}

/// What disappears when it is dropped.
pub(super) trait Removes: Send + std::fmt::Debug {}

#[derive(Debug, Default)]
struct Requests {
    pending: BTreeMap<String, Pending>,
    /// The oldest first.
    settled: VecDeque<Approval>,
    /// Requests whose callers may ask again, by name; they have an answer meanwhile, or still wait for it.
    parked: BTreeMap<String, Parked>,
    /// Tickets that are out.
    tickets: usize,
    closed: bool,
}

#[derive(Debug)]
struct Pending {
    approval: Approval,
    deadline: Instant,
    wake: Arc<Condvar>,
}

#[derive(Debug)]
struct Parked {
    until: Instant,
    /// The request's own, which is shortened meanwhile.
    deadline: Instant,
    since: Instant,
    wake: Arc<Condvar>,
}

/// The place of one held request. Dropping it while it waits gives the request up.
#[derive(Debug)]
pub struct Ticket {
    inner: Arc<Inner>,
    id: String,
    since: Instant,
    deadline: Instant,
    wake: Arc<Condvar>,
    /// How long the place is kept for a thread that asks again.
    kept: Option<Duration>,
}

impl Desk {
    /// A desk on which a request waits for at most `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::default(),
            timeout,
        })
    }

    /// Lets a request wait. Its texts are bounded like a record's.
    pub fn hold(&self, mut ask: Ask) -> Result<Ticket, Full> {
        ask.argv = bounded_arguments(ask.argv);
        let id = approval_id().map_err(|_| Full)?;
        let (now, since) = (crate::faults::time_of_day(), Instant::now());
        // Longer than a year is for ever; neither clock can overflow by it.
        let timeout = self.timeout.min(Duration::from_secs(365 * 86_400));
        let deadline = since.checked_add(timeout).unwrap_or(since);
        let approval = Approval {
            approval_id: id.clone(),
            state: State::Pending,
            approver_group: ask.approver_group.clone(),
            requested_at: written(now),
            expires_at: written(now.checked_add(timeout).unwrap_or(now)),
            decision: ask,
            decided_by: None,
            decided_at: None,
            decision_reason: None,
        };
        let wake = Arc::new(Condvar::new());
        let mut requests = self.inner.lock();
        if requests.closed || requests.pending.len() >= PENDING || requests.pending.contains_key(&id) {
            return Err(Full);
        }
        requests.pending.insert(
            id.clone(),
            Pending {
                approval,
                deadline,
                wake: Arc::clone(&wake),
            },
        );
        requests.tickets = requests.tickets.saturating_add(1);
        Ok(Ticket {
            inner: Arc::clone(&self.inner),
            id,
            since,
            deadline,
            wake,
            kept: None,
        })
    }

    /// The place of a request that was kept, when its thread asks for the same thing again in time.
    #[must_use]
    pub fn reclaim(&self, ask: &Ask) -> Option<Ticket> {
        let mut ask = ask.clone();
        ask.argv = bounded_arguments(ask.argv);
        let mut requests = self.inner.lock();
        requests.expire(Instant::now());
        let id = requests
            .parked
            .keys()
            .find(|id| requests.of(id).is_some_and(|approval| approval.decision.is_again(&ask)))?
            .clone();
        let Parked {
            deadline, since, wake, ..
        } = requests.parked.remove(&id)?;
        if let Some(pending) = requests.pending.get_mut(&id) {
            pending.deadline = deadline;
        }
        requests.tickets = requests.tickets.saturating_add(1);
        Some(Ticket {
            inner: Arc::clone(&self.inner),
            id,
            since,
            deadline,
            wake,
            kept: None,
        })
    }

    /// All requests that wait, then those that did, the latest last.
    #[must_use]
    pub fn list(&self) -> Vec<Approval> {
        let mut requests = self.inner.lock();
        requests.expire(Instant::now());
        let mut waiting: Vec<Approval> = requests
            .pending
            .values()
            .map(|pending| pending.approval.clone())
            .collect();
        waiting.sort_by(|a, b| a.requested_at.cmp(&b.requested_at));
        waiting.extend(requests.settled.iter().cloned());
        waiting
    }

    /// One request.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Approval> {
        let mut requests = self.inner.lock();
        requests.expire(Instant::now());
        requests.of(id).cloned()
    }

    /// Answers a request that waits; the first answer counts.
    pub fn decide(&self, id: &str, answer: Answer, by: &str, reason: &str) -> Result<Approval, DecideError> {
        let mut requests = self.inner.lock();
        requests.expire(Instant::now());
        let state = match answer {
            Answer::Approve => State::Approved,
            Answer::Deny => State::Denied,
        };
        if let Some(approval) = requests.settle(id, state, Some(by), reason) {
            return Ok(approval);
        }
        let Some(approval) = requests.settled.iter().find(|approval| approval.approval_id == id) else {
            return Err(DecideError::Unknown(id.to_owned()));
        };
        let decided = |state| DecideError::Decided {
            id: id.to_owned(),
            state,
            by: approval.decided_by.clone().unwrap_or_default(),
        };
        Err(match approval.state {
            State::Approved => decided("approved"),
            State::Denied => decided("denied"),
            State::Pending | State::Expired => DecideError::Expired {
                id: id.to_owned(),
                why: approval.decision_reason.clone().unwrap_or_default(),
            },
        })
    }

    /// What is dropped, and so removed, at [`Self::close`].
    pub(super) fn removes_when_closed(&self, socket: Box<dyn Removes>) {
        *self.inner.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }

    /// The session ends: nothing waits any more, nothing will, and its control socket is removed. Returns when those who held
    /// requests have done with them (their last records), or after a second.
    pub fn close(&self) {
        /// Long enough to write a few hundred records.
        const PATIENCE: Duration = Duration::from_secs(1);
        drop(self.inner.socket.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut requests = self.inner.lock();
        requests.closed = true;
        let waiting: Vec<String> = requests.pending.keys().cloned().collect();
        for id in waiting {
            requests.settle(&id, State::Expired, None, "the session ended");
        }
        let out = |requests: &mut Requests| requests.tickets > 0;
        drop(self.inner.left.wait_timeout_while(requests, PATIENCE, out));
    }
}

impl Inner {
    /// A panic between two states of a request can not be: each change is one insertion or removal.
    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    /// A request that waits or did.
    fn of(&self, id: &str) -> Option<&Approval> {
        let pending = self.pending.get(id).map(|pending| &pending.approval);
        pending.or_else(|| self.settled.iter().find(|approval| approval.approval_id == id))
    }

    fn expire(&mut self, now: Instant) {
        let over = |pending: &&Pending| pending.deadline <= now;
        let ids: Vec<String> = self
            .pending
            .values()
            .filter(over)
            .map(|pending| pending.approval.approval_id.clone())
            .collect();
        for id in ids {
            let why = match self.parked.get(&id) {
                Some(parked) if parked.deadline > now => "interrupted by a signal, and its caller did not ask again",
                _ => "nobody answered in time",
            };
            self.settle(&id, State::Expired, None, why);
        }
        self.parked.retain(|_, parked| parked.until > now);
    }

    /// Takes a request out of those that wait; none when it does not wait.
    fn settle(&mut self, id: &str, state: State, by: Option<&str>, reason: &str) -> Option<Approval> {
        let Pending { approval, wake, .. } = self.pending.remove(id)?;
        let approval = Approval {
            state,
            decided_by: by.map(str::to_owned),
            decided_at: Some(written(crate::faults::time_of_day())),
            decision_reason: Some(reason.to_owned()),
            ..approval
        };
        if self.settled.len() >= REMEMBERED {
            self.settled.pop_front();
        }
        self.settled.push_back(approval.clone());
        wake.notify_all();
        Some(approval)
    }
}

impl Ticket {
    /// The request's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for an answer for at most `slice`; none when there is none yet, and the caller should be looked after.
    #[must_use]
    pub fn wait(&self, slice: Duration) -> Option<Outcome> {
        let until = Instant::now()
            .checked_add(slice)
            .unwrap_or(self.deadline)
            .min(self.deadline);
        let mut requests = self.inner.lock();
        loop {
            let now = Instant::now();
            requests.expire(now);
            if !requests.pending.contains_key(&self.id) {
                return Some(self.outcome(&requests));
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return None;
            }
            requests = self
                .wake
                .wait_timeout(requests, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// The record of the request.
    #[must_use]
    pub fn decision_id(&self) -> String {
        let requests = self.inner.lock();
        requests
            .of(&self.id)
            .map(|approval| approval.decision.decision_id.clone())
            .unwrap_or_default()
    }

    /// The caller runs a signal's handler and will ask again: its request, and what a person answers, stay for it a while.
    pub fn park(mut self) {
        self.kept = Some(PARKED);
    }

    /// The same thread asks for the same thing at once: it is told the same, and nobody is asked twice.
    pub fn stands(mut self) {
        self.kept = Some(STANDS);
    }

    /// How long it was held so far.
    #[must_use]
    pub fn waited_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn outcome(&self, requests: &Requests) -> Outcome {
        let waited_ms = self.waited_ms();
        // Forgotten after so many later ones: nobody knows of an approval, so there is none.
        let Some(approval) = requests.settled.iter().find(|approval| approval.approval_id == self.id) else {
            let why = "nobody answered in time".to_owned();
            return Outcome::Expired { why, waited_ms };
        };
        let by = approval.decided_by.clone().unwrap_or_default();
        let reason = approval.decision_reason.clone().unwrap_or_default();
        match approval.state {
            State::Approved => Outcome::Approved { by, reason, waited_ms },
            State::Denied => Outcome::Denied { by, reason, waited_ms },
            State::Pending | State::Expired => Outcome::Expired { why: reason, waited_ms },
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut requests = self.inner.lock();
        if let Some(kept) = self.kept.filter(|_| !requests.closed) {
            let until = Instant::now().checked_add(kept).unwrap_or(self.deadline);
            if let Some(pending) = requests.pending.get_mut(&self.id) {
                pending.deadline = pending.deadline.min(until);
            }
            let parked = Parked {
                until,
                deadline: self.deadline,
                since: self.since,
                wake: Arc::clone(&self.wake),
            };
            requests.parked.insert(self.id.clone(), parked);
        } else {
            requests.settle(&self.id, State::Expired, None, "its caller ended");
        }
        requests.tickets = requests.tickets.saturating_sub(1);
        drop(requests);
        self.inner.left.notify_all();
    }
}

fn written(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Answer, Ask, DecideError, Desk, Full, Outcome, PENDING, State};

    const SLICE: Duration = Duration::from_millis(5);

    fn desk() -> Arc<Desk> {
        Desk::new(Duration::from_secs(60))
    }

    #[test]
    fn the_first_answer_counts_once_and_for_its_request_only() {
        let desk = desk();
        let (one, two) = (desk.hold(Ask::default()).unwrap(), desk.hold(Ask::default()).unwrap());
        assert_eq!(one.wait(SLICE), None);
        desk.decide(one.id(), Answer::Approve, "ann", "fine").unwrap();
        let Some(Outcome::Approved { by, reason, .. }) = one.wait(SLICE) else {
            panic!("not approved")
        };
        assert_eq!((by.as_str(), reason.as_str()), ("ann", "fine"));
        let again = desk.decide(one.id(), Answer::Deny, "bob", "no").unwrap_err();
        assert_eq!(
            again.to_string(),
            format!("{}: already approved by ann; an answer counts once", one.id())
        );
        assert_eq!(two.wait(SLICE), None);
        desk.decide(two.id(), Answer::Deny, "bob", "no").unwrap();
        assert!(matches!(two.wait(SLICE), Some(Outcome::Denied { .. })));
        assert!(matches!(
            desk.decide("apr_x", Answer::Approve, "", ""),
            Err(DecideError::Unknown(_))
        ));
    }

    #[test]
    fn of_many_approvers_at_once_one_is_first() {
        let desk = desk();
        let ticket = desk.hold(Ask::default()).unwrap();
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let (desk, id) = (Arc::clone(&desk), ticket.id().to_owned());
                let answer = if n % 2 == 0 { Answer::Approve } else { Answer::Deny };
                std::thread::spawn(move || desk.decide(&id, answer, &n.to_string(), "").is_ok())
            })
            .collect();
        assert_eq!(
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|first| *first)
                .count(),
            1
        );
    }

    #[test]
    fn after_its_time_or_its_callers_death_nothing_can_be_approved() {
        let desk = Desk::new(Duration::from_millis(20));
        let late = desk.hold(Ask::default()).unwrap();
        assert!(matches!(
            late.wait(Duration::from_secs(10)),
            Some(Outcome::Expired { waited_ms: 20.., .. })
        ));
        let error = desk.decide(late.id(), Answer::Approve, "ann", "").unwrap_err();
        assert!(error.to_string().contains("nobody answered in time"), "{error}");

        let desk = self::desk();
        let dead = desk.hold(Ask::default()).unwrap();
        let id = dead.id().to_owned();
        drop(dead);
        let error = desk.decide(&id, Answer::Approve, "ann", "").unwrap_err();
        assert!(error.to_string().contains("its caller ended"), "{error}");
        assert_eq!(desk.find(&id).unwrap().state, State::Expired);
    }

    #[test]
    fn who_asks_again_after_a_signal_finds_its_request_and_its_answer_once() {
        let desk = desk();
        let ask = |tid| Ask {
            target: "/iam/x".to_owned(),
            decision_id: "dec_1".to_owned(),
            tid,
            ..Ask::default()
        };
        let again = |tid| Ask {
            decision_id: String::new(),
            ..ask(tid)
        };
        let ticket = desk.hold(ask(7)).unwrap();
        let id = ticket.id().to_owned();
        assert!(desk.reclaim(&again(7)).is_none(), "its caller still waits");
        ticket.park();
        assert_eq!(desk.find(&id).unwrap().state, State::Pending);
        let other = Ask {
            target: "/iam/y".to_owned(),
            ..again(7)
        };
        assert!(desk.reclaim(&other).is_none() && desk.reclaim(&again(8)).is_none());
        let ticket = desk.reclaim(&again(7)).unwrap();
        assert_eq!((ticket.id(), ticket.decision_id().as_str()), (id.as_str(), "dec_1"));
        assert_eq!(ticket.wait(SLICE), None);
        ticket.park();
        desk.decide(&id, Answer::Approve, "ann", "fine").unwrap();
        let ticket = desk.reclaim(&again(7)).unwrap();
        assert!(matches!(ticket.wait(SLICE), Some(Outcome::Approved { .. })));
        drop(ticket);
        assert!(desk.reclaim(&again(7)).is_none(), "an answer counts once");
    }

    #[test]
    fn held_requests_are_bounded_and_end_with_the_session() {
        let desk = desk();
        let tickets: Vec<_> = (0..PENDING).map(|_| desk.hold(Ask::default()).unwrap()).collect();
        assert!(matches!(desk.hold(Ask::default()), Err(Full)));
        drop(tickets);
        let ticket = desk.hold(Ask::default()).unwrap();
        let holder = std::thread::spawn(move || ticket.wait(Duration::from_secs(10)));
        desk.close();
        let Some(Outcome::Expired { why, .. }) = holder.join().unwrap() else {
            panic!("not expired")
        };
        assert_eq!(why, "the session ended");
        assert!(desk.hold(Ask::default()).is_err());
    }

    #[test]
    fn an_answer_wakes_the_one_who_waits() {
        let desk = desk();
        let ticket = desk.hold(Ask::default()).unwrap();
        let id = ticket.id().to_owned();
        let waiter = std::thread::spawn(move || ticket.wait(Duration::from_secs(30)));
        std::thread::sleep(Duration::from_millis(20));
        desk.decide(&id, Answer::Approve, "ann", "ok").unwrap();
        assert!(matches!(
            waiter.join().unwrap(),
            Some(Outcome::Approved { waited_ms: ..5_000, .. })
        ));
    }
}
