//! What each technique came to, its line on the terminal, and the page of all.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cavra_tests::User;

use crate::arena::{Guard, Line};
use crate::table::{ALWAYS, NO_CONTROL, Row, Twin};

/// One technique as one user.
pub struct Proof {
    user: User,
    line: Line,
    control: Option<(Guard, Line)>,
    lost_control: u64,
    twin: Option<Line>,
    failures: Vec<String>,
}

impl Proof {
    pub fn new(user: User, line: Line) -> Self {
        Self {
            user,
            line,
            control: None,
            lost_control: 0,
            twin: None,
            failures: Vec::new(),
        }
    }

    /// A technique that a control tried and that said nothing inside.
    pub fn missing(user: User, class: u64, technique: &str) -> Self {
        let line = Line {
            class,
            technique: technique.to_owned(),
            asked: 0,
            attempts: 0,
            wins: 0,
            errors: String::new(),
            through: 0,
            note: String::new(),
        };
        let mut proof = Self::new(user, line);
        proof.failures.push("it said nothing inside".to_owned());
        proof
    }

    pub fn is(&self, line: &Line) -> bool {
        self.line.technique == line.technique
    }

    pub fn has_control(&self) -> bool {
        self.control.is_some()
    }

    pub fn control(&mut self, guard: Guard, line: &Line) {
        self.lost_control += line.attempts;
        if line.wins > 0 && self.control.is_none() {
            self.control = Some((guard, line.clone()));
        }
    }

    pub fn twin(&mut self, line: &Line) {
        self.twin = Some(line.clone());
    }

    /// Finds what is wrong with it.
    pub fn judge(&mut self, row: &Row, changed: Option<&str>) {
        let mut fail = |text: String| self.failures.push(text);
        if self.line.wins > 0 {
            fail(format!("WON {} times", self.line.wins));
        }
        if let Some(what) = changed {
            fail(format!("changed what it may not (one of the row's techniques): {what}"));
        }
        if self.line.attempts < self.line.asked {
            fail(format!(
                "only {} of {} attempts in time",
                self.line.attempts, self.line.asked
            ));
        }
        match row.twin {
            Twin::Open
                if self.twin.as_ref().is_none_or(|twin| twin.wins == 0)
                    && !ALWAYS.iter().any(|prefix| self.line.technique.starts_with(prefix)) =>
            {
                fail("its twin in an open session did not work".to_owned());
            }
            Twin::Open | Twin::Mixed | Twin::None => {}
        }
    }

    fn held(&self) -> bool {
        self.failures.is_empty()
    }

    fn shown_control(&self) -> String {
        match (&self.control, no_control(&self.line.technique)) {
            (Some((guard, line)), _) => {
                let name = match guard {
                    Guard::Native => "native",
                    Guard::Naive => "naive supervisor",
                    Guard::Open | Guard::Session => "session",
                };
                format!("{name}: {} of {}", line.wins, line.attempts)
            }
            (None, Some(reason)) => format!("none: {reason}"),
            (None, None) => "none won".to_owned(),
        }
    }

    /// One line for the terminal.
    pub fn report(&self) -> String {
        format!(
            "attack {:>2} {} [{}] {} attempts, {} wins, {} went through{}{}; control {}{}",
            self.line.class,
            self.line.technique,
            user(self.user),
            self.line.attempts,
            self.line.wins,
            self.line.through,
            if self.line.errors.is_empty() { "" } else { ", " },
            [self.line.errors.as_str(), self.line.note.as_str()]
                .join(" ")
                .trim_end(),
            self.shown_control(),
            if self.held() {
                " ... ok".to_owned()
            } else {
                format!(" ... FAILED: {}", self.failures.join("; "))
            }
        )
    }
}

fn user(user: User) -> &'static str {
    match user {
        // SAFETY: can not fail.
        User::Own if unsafe { libc::geteuid() } == 0 => "root",
        User::Root => "root",
        User::Own | User::Ordinary => "user",
    }
}

fn no_control(technique: &str) -> Option<&'static str> {
    NO_CONTROL
        .iter()
        .find(|(prefix, _)| technique.starts_with(prefix))
        .map(|(_, reason)| *reason)
}

/// All of them.
#[derive(Default)]
pub struct Proofs(Vec<Proof>);

impl Proofs {
    pub fn add(&mut self, proof: Proof) {
        self.0.push(proof);
    }

    /// Whoever has no control of its own may have one as another user or in another row; else it proves nothing.
    pub fn settle_controls(&mut self) {
        let shown: BTreeMap<String, (Guard, Line)> = self
            .0
            .iter()
            .filter_map(|proof| Some((proof.line.technique.clone(), proof.control.clone()?)))
            .collect();
        for proof in &mut self.0 {
            if proof.control.is_some() {
                continue;
            }
            proof.control = shown.get(&proof.line.technique).cloned();
            if proof.control.is_none() && no_control(&proof.line.technique).is_none() {
                let text = format!("proves nothing: no control won in {} attempts", proof.lost_control);
                println!("attack {:>2} {} FAILED: {text}", proof.line.class, proof.line.technique);
                proof.failures.push(text);
            }
        }
    }

    /// How many held and how many did not.
    pub fn totals(&self) -> (usize, usize) {
        let held = self.0.iter().filter(|proof| proof.held()).count();
        (held, self.0.len() - held)
    }

    /// The page, one row a technique: most attempts and the strictest result of all users and rows.
    pub fn page(&self) -> String {
        let mut merged: BTreeMap<(u64, &str), Vec<&Proof>> = BTreeMap::new();
        for proof in &self.0 {
            merged
                .entry((proof.line.class, proof.line.technique.as_str()))
                .or_default()
                .push(proof);
        }
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let (held, failed) = self.totals();
        let mut page = format!(
            "# Attacks\n\nMade by `scripts/attacks.sh` from a run on Linux {}: {held} refused of {} tried. Classes are those of the design; a \
             technique is named as its program in `tests/programs` prints it. *Control*: the same technique where the guard is not there, as wins \
             of attempts (natively, or under `naive.c`, a supervisor that looks and lets the kernel read again).\n\n\
             | class | technique | as | attempts | wins | control |\n|---|---|---|---|---|---|\n",
            release.trim(),
            held + failed
        );
        for ((class, technique), proofs) in merged {
            let attempts: u64 = proofs.iter().map(|proof| proof.line.attempts).sum();
            let wins: u64 = proofs.iter().map(|proof| proof.line.wins).sum();
            let mut who: Vec<&str> = proofs.iter().map(|proof| user(proof.user)).collect();
            who.sort_unstable();
            who.dedup();
            let control = proofs
                .iter()
                .find(|proof| proof.has_control())
                .or(proofs.first())
                .map(|proof| proof.shown_control())
                .unwrap_or_default();
            let _never = writeln!(
                page,
                "| {class} | {technique} | {} | {attempts} | {wins} | {control} |",
                who.join(", ")
            );
        }
        page
    }
}
