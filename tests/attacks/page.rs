//! What each technique came to, its line on the terminal, and the page of all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cavra_tests::User;

use crate::arena::{Guard, Line};
use crate::elsewhere::{Elsewhere, Shown};
use crate::table::{ALWAYS, CLASSES, NO_CONTROL, Row, Twin};

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

    fn has_control(&self) -> bool {
        self.control.is_some()
    }

    pub fn is_skipped(&self) -> bool {
        self.line.skipped().is_some()
    }

    /// Whether a control is to be shown yet.
    pub fn wants_control(&self) -> bool {
        !self.has_control() && !self.is_skipped()
    }

    pub fn control(&mut self, guard: Guard, line: &Line) {
        self.lost_control += line.attempts;
        if line.wins > 0 && self.control.is_none() {
            self.control = Some((guard, line.clone()));
        }
    }

    /// It was tried where this guard does not stand either.
    pub fn stands_without(&mut self, guard: &str) {
        self.line.note = format!("without the guard `{guard}`");
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
                    Guard::Native => "native".to_owned(),
                    Guard::Naive => "naive supervisor".to_owned(),
                    Guard::Off(guard) => format!("without the guard `{guard}`"),
                    Guard::Open | Guard::Session => "session".to_owned(),
                };
                format!("{name}: {} of {}", line.wins, line.attempts)
            }
            (None, Some(reason)) => format!("none: {reason}"),
            (None, None) => "none won".to_owned(),
        }
    }

    /// One line for the terminal.
    pub fn report(&self) -> String {
        if let Some(reason) = self.line.skipped() {
            return format!(
                "test attack {} {} ... SKIPPED: {reason}",
                self.line.class, self.line.technique
            );
        }
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
pub struct Proofs {
    proofs: Vec<Proof>,
    claims: Vec<(&'static Elsewhere, Option<Shown>)>,
    /// What else was found wrong or right, as (what, right).
    checks: Vec<(String, bool)>,
    skipped: Vec<String>,
}

impl Proofs {
    pub fn add(&mut self, proof: Proof) {
        self.proofs.push(proof);
    }

    /// A row that this machine can not run.
    pub fn skip(&mut self, who: User, row: &Row, reason: &str) {
        let text = format!("{} {:?} as {}: {reason}", row.program, row.launch, user(who));
        println!("test attack {text} ... SKIPPED: {reason}");
        self.skipped.push(text);
    }

    /// A claim of the harness's own.
    pub fn check(&mut self, what: &str, right: bool) {
        println!("{what} ... {}", if right { "ok" } else { "FAILED" });
        self.checks.push((what.to_owned(), right));
    }

    /// A claim that another program shows.
    pub fn claim(&mut self, claim: &'static Elsewhere, shown: Option<Shown>) {
        if matches!(shown, None | Some(Shown::Failed)) {
            let how = if shown.is_none() {
                "there is no such test"
            } else {
                "it failed"
            };
            println!("class {} {}: {} FAILED: {how}", claim.class, claim.program, claim.test);
        }
        self.claims.push((claim, shown));
    }

    /// Each class has a technique or a claim.
    pub fn every_class(&mut self) {
        let own = self.proofs.iter().map(|proof| proof.line.class);
        let known: BTreeSet<u64> = own.chain(self.claims.iter().map(|(claim, _)| claim.class)).collect();
        let missing: Vec<_> = CLASSES.filter(|class| !known.contains(class)).collect();
        // As an ordinary user some rows can not be run: their classes are then among the skipped.
        let whole = self.skipped.is_empty() || nix::unistd::geteuid().is_root();
        self.check(
            &format!("every class has a technique (missing: {missing:?})"),
            missing.is_empty() || !whole,
        );
    }

    /// Whoever has no control of its own may have one as another user or in another row; else it proves nothing.
    pub fn settle_controls(&mut self) {
        let shown: BTreeMap<String, (Guard, Line)> = self
            .proofs
            .iter()
            .filter_map(|proof| Some((proof.line.technique.clone(), proof.control.clone()?)))
            .collect();
        for proof in &mut self.proofs {
            if !proof.wants_control() {
                continue;
            }
            proof.control = shown.get(&proof.line.technique).cloned();
            if proof.control.is_some() || no_control(&proof.line.technique).is_some() {
                continue;
            }
            // Run by an ordinary user, there is no row of root's whose control it could have.
            if proof.held() && !nix::unistd::geteuid().is_root() {
                proof.line.note = "skipped: no control of it wins without root, so it proves nothing".to_owned();
                println!("{}", proof.report());
            } else {
                let text = format!("proves nothing: no control won in {} attempts", proof.lost_control);
                println!("attack {:>2} {} FAILED: {text}", proof.line.class, proof.line.technique);
                proof.failures.push(text);
            }
        }
    }

    /// How many held, how many did not, how many were not tried.
    pub fn totals(&self) -> (usize, usize, usize) {
        let (skipped, tried): (Vec<_>, Vec<_>) = self.proofs.iter().partition(|proof| proof.is_skipped());
        let held = tried.iter().filter(|proof| proof.held()).count();
        let wrong = self
            .claims
            .iter()
            .filter(|(_, shown)| matches!(shown, None | Some(Shown::Failed)));
        let wrong = wrong.count() + self.checks.iter().filter(|(_, right)| !right).count();
        (held, tried.len() - held + wrong, skipped.len() + self.skipped.len())
    }

    /// The page, one row a technique: all attempts and wins of all users and rows.
    pub fn page(&self, full: bool) -> String {
        let mut merged: BTreeMap<(u64, &str), Vec<&Proof>> = BTreeMap::new();
        for proof in &self.proofs {
            merged
                .entry((proof.line.class, proof.line.technique.as_str()))
                .or_default()
                .push(proof);
        }
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let (held, failed, skipped) = self.totals();
        let mut page = format!(
            "# Attacks\n\nMade by `scripts/attacks.sh{}` from a run on Linux {}: {held} refused of {} tried, {skipped} not run here. Classes are \
             those of the design; a technique is named as its program in `tests/programs` prints it, with the users that it ran as. *Control*: \
             the same technique where the guard is not there, as wins of attempts (natively, under `naive.c`, a supervisor that looks and lets \
             the kernel read again, or in a test build of cavra-run without that one guard).\n\n\
             | class | technique | as | attempts | wins | result | control |\n|---|---|---|---|---|---|---|\n",
            if full { " --full" } else { "" },
            release.trim(),
            held + failed
        );
        for ((class, technique), proofs) in merged {
            let attempts: u64 = proofs.iter().map(|proof| proof.line.attempts).sum();
            let wins: u64 = proofs.iter().map(|proof| proof.line.wins).sum();
            let mut who: Vec<&str> = proofs.iter().map(|proof| user(proof.user)).collect();
            who.sort_unstable();
            who.dedup();
            let tried = proofs.iter().find(|proof| !proof.is_skipped());
            let result = match tried {
                None => "not run",
                Some(_) if wins > 0 => "WON",
                Some(_) if proofs.iter().all(|proof| proof.is_skipped() || proof.held()) => "refused",
                Some(_) => "proves nothing",
            };
            let control = proofs.iter().find(|proof| proof.has_control()).or(tried);
            let control = match (control, tried) {
                (Some(proof), Some(_)) if proof.line.note.starts_with("without the guard") => {
                    format!("(tried {}) {}", proof.line.note, proof.shown_control())
                }
                (Some(proof), Some(_)) => proof.shown_control(),
                _ => proofs
                    .first()
                    .and_then(|proof| proof.line.skipped())
                    .unwrap_or_default()
                    .to_owned(),
            };
            let technique = technique.replace('|', "\\|");
            let _never = writeln!(
                page,
                "| {class} | `{technique}` | {} | {attempts} | {wins} | {result} | {control} |",
                who.join(", ")
            );
        }
        page.push_str("\n## Shown by other test programs\n\nEach has its own twin or control.\n\n| class | test | result |\n|---|---|---|\n");
        let mut claims: Vec<_> = self.claims.iter().collect();
        claims.sort_by_key(|(claim, _)| (claim.class, claim.program, claim.test));
        for (claim, shown) in claims {
            let result = match shown {
                Some(Shown::Passed) => "passed",
                Some(Shown::There) => "not run now",
                Some(Shown::Skipped) => "skipped here",
                Some(Shown::Failed) => "FAILED",
                None => "MISSING",
            };
            let _never = writeln!(
                page,
                "| {} | {}: `{}` | {result} |",
                claim.class, claim.program, claim.test
            );
        }
        page
    }
}
