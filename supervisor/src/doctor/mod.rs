//! What is enforced on this machine, what is not, why, and the way out.
//!
//! [`checks`] is what `cavractl doctor` shows; [`require`] is what a launch asks. Both try what a session needs (see
//! [`crate::sys::probe`]) and must be called while the process has one thread, because they fork.

mod rows;
mod surroundings;

use std::fmt;

use serde::Serialize;

pub use surroundings::Surroundings;

use crate::sys::probe;

/// How much of one protection there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All of it.
    Full,
    /// A session runs, with less than the design's strength or speed.
    Weaker,
    /// No session can run.
    Missing,
}

/// One thing that a session needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub id: &'static str,
    /// How much of it there is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What follows from it; empty at full strength.
    pub consequence: String,
    /// What helps; empty at full strength.
    pub remedy: String,
}

impl Check {
    fn full(id: &'static str, found: impl Into<String>) -> Self {
        Self {
            id,
            state: State::Full,
            found: found.into(),
            consequence: String::new(),
            remedy: String::new(),
        }
    }

    fn lacking(state: State, id: &'static str, found: impl Into<String>, consequence: &str, remedy: &str) -> Self {
        Self {
            id,
            state,
            found: found.into(),
            consequence: consequence.to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}

/// What a session can build on.
#[derive(Clone, Debug)]
pub struct Features {
    /// Landlock's ABI, at least 2.
    pub landlock_abi: u32,
    /// Whether answers can wake their caller on this CPU.
    pub sync_wake_up: bool,
    /// What is weaker than the design asks.
    pub weaker: Vec<Check>,
}

/// Why no session can start here: the checks that found something missing.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Refusal(pub Vec<Check>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no session can be held here")?;
        for check in &self.0 {
            write!(
                f,
                "\n  {}: {}; {}: {}",
                check.id, check.found, check.consequence, check.remedy
            )?;
        }
        Ok(())
    }
}

/// Everything that was found out by trying and reading; the rows judge it.
#[derive(Clone, Debug)]
pub struct Findings {
    /// What lies around this process.
    pub around: Surroundings,
    /// Bytes of a notification and of an answer.
    pub notif_sizes: Result<(u16, u16), nix::errno::Errno>,
    /// Filters and domains.
    pub confinement: Result<probe::Confinement, probe::Died>,
    /// Landlock's ABI.
    pub landlock_abi: Result<u32, nix::errno::Errno>,
    /// Landlock's fixed errata.
    pub landlock_errata: Result<u32, nix::errno::Errno>,
    /// What may be done to an own child.
    pub access: Result<probe::Access, nix::errno::Errno>,
    /// openat2(2).
    pub openat2: probe::Tried,
}

impl Findings {
    /// Tries and reads everything.
    #[must_use]
    pub fn gather() -> Self {
        Self {
            around: Surroundings::read(),
            notif_sizes: probe::notif_sizes(),
            confinement: probe::confinement(),
            landlock_abi: probe::landlock_abi(),
            landlock_errata: probe::landlock_errata(),
            access: probe::access(),
            openat2: probe::openat2(),
        }
    }

    /// The judgement of each.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        rows::all(self)
    }

    /// What a session can build on, or why there can be none.
    pub fn require(&self) -> Result<Features, Refusal> {
        let of = |state| move |check: &Check| check.state == state;
        let (missing, rest): (Vec<_>, Vec<_>) = self.checks().into_iter().partition(of(State::Missing));
        if !missing.is_empty() {
            // Inside another session most else is missing too, and no advice on it would help.
            let cause = |check: &Check| !rows::is_nested(self) || check.id == rows::LISTENER;
            return Err(Refusal(missing.into_iter().filter(cause).collect()));
        }
        Ok(Features {
            landlock_abi: self.landlock_abi.unwrap_or(0),
            sync_wake_up: self.confinement.is_ok_and(|found| found.sync_wake_up.is_ok()),
            weaker: rest.into_iter().filter(of(State::Weaker)).collect(),
        })
    }
}

/// All checks of this machine.
#[must_use]
pub fn checks() -> Vec<Check> {
    Findings::gather().checks()
}

/// What a session can build on here, or why there can be none.
pub fn require() -> Result<Features, Refusal> {
    Findings::gather().require()
}
