//! Datagrams to one other end from one socket and program: recorded once at the first, and once with their sum at the end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::names::Who;
use super::{Boundary, Call};
use crate::sys::fs::ObjectId;

/// Flows that are known at once; the one that was used least recently makes room (I8).
const FLOWS_MAX: usize = 1024;

/// What datagrams have in common to be one flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    cookie: u64,
    pub(super) to: SocketAddr,
    program: ObjectId,
    /// The rule that lets them go: under another one the flow is another, and decided anew.
    rule: String,
}

/// What went over a flow.
pub(super) struct Sum {
    pub(super) name: Option<Arc<str>>,
    pub(super) who: Who,
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
    pub(super) since: Instant,
    used: Instant,
}

/// Flows of the session.
#[derive(Default)]
pub(super) struct Flows(Mutex<HashMap<Flow, Sum>>);

impl Flows {
    fn lock(&self) -> MutexGuard<'_, HashMap<Flow, Sum>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this flow was decided before.
    pub(super) fn goes_on(&self, flow: &Flow) -> bool {
        self.lock().contains_key(flow)
    }

    /// Counts a datagram that was sent.
    pub(super) fn sent(&self, flow: &Flow, bytes: usize) {
        if let Some(sum) = self.lock().get_mut(flow) {
            sum.datagrams = sum.datagrams.saturating_add(1);
            sum.bytes = sum.bytes.saturating_add(bytes as u64);
            sum.used = Instant::now();
        }
    }

    /// Everything that was sent, at the end.
    pub(super) fn take(&self) -> HashMap<Flow, Sum> {
        std::mem::take(&mut *self.lock())
    }

    /// Makes a decided flow known; what made room for it.
    fn insert(&self, flow: &Flow, what: impl FnOnce() -> (Option<Arc<str>>, Who)) -> Option<(Flow, Sum)> {
        let mut flows = self.lock();
        if flows.contains_key(flow) {
            return None;
        }
        let oldest = (flows.len() >= FLOWS_MAX)
            .then(|| {
                flows
                    .iter()
                    .min_by_key(|(_, sum)| sum.used)
                    .map(|(flow, _)| flow.clone())
            })
            .flatten();
        let gone = oldest.and_then(|oldest| flows.remove_entry(&oldest));
        let (name, who) = what();
        let now = Instant::now();
        let sum = Sum {
            name,
            who,
            datagrams: 0,
            bytes: 0,
            since: now,
            used: now,
        };
        flows.insert(flow.clone(), sum);
        gone
    }
}

impl Call<'_> {
    /// The flow that a datagram of this caller belongs to.
    pub(super) fn flow(&self, cookie: u64, to: SocketAddr, rule: &str) -> Flow {
        Flow {
            cookie,
            to,
            program: self.task.program.id,
            rule: rule.to_owned(),
        }
    }
}

impl Boundary {
    /// Makes a decided flow known.
    pub(super) fn begin_flow(&self, flow: &Flow, what: impl FnOnce() -> (Option<Arc<str>>, Who)) {
        if let Some((flow, sum)) = self.flows.insert(flow, what) {
            self.flow_ended(&flow, &sum);
        }
    }
}
