//! What waits to be written, and what is counted on the way.

use std::collections::{BTreeMap, HashMap};

use super::counts::Refusals;
use super::journal::Durability;
use super::record::{Record, Totals};

/// Distinct refusals in [`Totals`].
const SHOWN_REFUSALS: usize = 20;

#[derive(Default)]
pub(super) struct Queue {
    pub(super) entries: Vec<Entry>,
    pub(super) bytes: usize,
    /// Tickets are given from 1 in the order of the chain.
    pub(super) tickets: u64,
    /// The last ticket whose record is written, or has failed.
    pub(super) settled: u64,
    /// Errors for those who wait.
    pub(super) failed: HashMap<u64, i32>,
    /// Why the last write failed, if it did: buffered records are no longer believed in unseen.
    pub(super) failing: Option<i32>,
    pub(super) ended: bool,
    pub(super) tally: Tally,
    pub(super) refusals: Option<Refusals>,
}

pub(super) struct Entry {
    pub(super) ticket: u64,
    pub(super) waits: bool,
    pub(super) record: Record,
}

#[derive(Default)]
pub(super) struct Tally {
    pub(super) by_decision: BTreeMap<String, u64>,
    pub(super) by_action: BTreeMap<String, u64>,
    pub(super) refusals: u64,
    pub(super) shown: Vec<(String, String, u64)>,
}

pub(super) struct Ticket {
    pub(super) number: u64,
    /// Nothing else was queued.
    pub(super) first: bool,
}

impl Queue {
    pub(super) fn push(&mut self, mut record: Record, durability: Durability) -> Ticket {
        let first = self.entries.is_empty();
        self.tickets = self.tickets.saturating_add(1);
        record.timestamp = format!("{:.6}", crate::faults::time_of_day());
        let argv: usize = record.argv.iter().flatten().map(String::len).sum();
        let size = record
            .target
            .len()
            .saturating_add(argv)
            .saturating_add(record.reason.len())
            .saturating_add(512);
        self.bytes = self.bytes.saturating_add(size);
        self.entries.push(Entry {
            ticket: self.tickets,
            waits: durability > Durability::Buffered,
            record,
        });
        Ticket {
            number: self.tickets,
            first,
        }
    }
}

impl Tally {
    pub(super) fn recorded(&mut self, record: &Record) {
        if record.count.is_some() || record.opening.is_some() || record.totals.is_some() {
            return;
        }
        if let Some(decision) = record.decision {
            increment(&mut self.by_decision, decision.name());
        }
        increment(&mut self.by_action, &record.action_type);
    }

    pub(super) fn refused(&mut self, record: &Record) {
        self.refusals = self.refusals.saturating_add(1);
        let same = |(target, rule, _): &&mut (String, String, u64)| *target == record.target && *rule == record.rule_id;
        if let Some((_, _, count)) = self.shown.iter_mut().find(same) {
            *count = count.saturating_add(1);
        } else if self.shown.len() < SHOWN_REFUSALS {
            self.shown.push((record.target.clone(), record.rule_id.clone(), 1));
        }
    }

    pub(super) fn totals(&self, reads: u64) -> Totals {
        Totals {
            by_decision: self.by_decision.clone(),
            reads,
            refusals: self.shown.clone(),
            refused: self.refusals,
            lost: 0,
        }
    }
}

fn increment(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count = count.saturating_add(1),
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}
