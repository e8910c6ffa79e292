//! From a request to a decision that has taken effect: recorded, approved, attested, or refused.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use super::{Approvals, Call, Stop, digest, fixed, pool};
use crate::approvals::{Ask, Outcome};
use crate::caller::resolve::{Name, Object};
use crate::decision::Decision;
use crate::evidence::{ApprovalNote, Draft, Durability, WouldHave};
use crate::policy::{FileOp, Layer, Mode, Rule, Verdict};
use crate::sys::fs::{self, Kind, ObjectId, Stat};
use crate::sys::path::c_string;
use crate::text::printable;

/// What is asked, as records name it.
pub(super) struct Matter<'a> {
    pub(super) action: &'static str,
    pub(super) operation: &'static str,
    pub(super) target: &'a [u8],
    /// For an attestation.
    pub(super) object: Option<BorrowedFd<'a>>,
    pub(super) argv: Option<&'a [CString]>,
}

impl Call<'_> {
    /// The answer to one operation on a named object: the strictest rule of all its paths.
    pub(super) fn verdict(&self, op: FileOp, path: &[u8], stat: Option<&Stat>) -> Verdict<'_> {
        let mut verdict = self.verdict_at(op, path, stat);
        for other in self.boundary.mounts.others(path) {
            let further = self.verdict_at(op, &other, stat);
            let is_rule = |rule: &Rule| rule.layer == Layer::Boundary || !rule.pattern.is_empty();
            let watched = further.watched.filter(|rule| is_rule(rule));
            verdict = match is_rule(further.rule) {
                true => verdict.stricter(Verdict::as_by(further.decision, further.rule)),
                false => verdict,
            }
            .beside(watched);
        }
        verdict
    }

    fn verdict_at(&self, op: FileOp, path: &[u8], stat: Option<&Stat>) -> Verdict<'_> {
        let by = &*self.task.program;
        if self.boundary.out_of_reach(path, op) {
            let rule = &*fixed::SUPERVISOR;
            return Verdict::of(rule);
        }
        let own = |pid| self.boundary.is_own(pid);
        if let Some(rule) = fixed::file(op, path, stat, own, |pid| self.boundary.tasks.in_tree(pid)) {
            return Verdict::of(rule);
        }
        let mut verdict = match stat.map(Stat::kind) {
            Some(Kind::Dir) if op == FileOp::Read => self.boundary.policy.names(path, by),
            _ => self.boundary.policy.file(op, path, by),
        };
        if let Some(stat) = stat
            && !crate::faults::off("links")
            && stat.kind() == Kind::File
            && let Some(named) = self.boundary.links.path_of(stat)
        {
            verdict = verdict.stricter(self.boundary.policy.file(op, named, by));
        }
        verdict
    }

    /// Decides `op` on an object or on an entry that is to be made, and sees the decision through.
    pub(super) fn permit(
        &self,
        op: FileOp,
        operation: &'static str,
        name: &Name,
        object: Option<&Object>,
    ) -> Result<(), Stop> {
        let path = match name {
            Name::Path(path) => path,
            Name::Unnamed(_) => return self.permit_unnamed(op, operation, name, object),
        };
        let mut verdict = self.verdict(op, path, object.map(|object| &object.stat));
        if let Some(object) = object
            && fixed::foreign_proc(path, &object.stat, object.fd.as_fd())?
        {
            let rule = &*fixed::KERNEL;
            verdict = Verdict::of(rule);
        }
        let matter = Matter {
            action: op.action(),
            operation,
            target: path,
            object: object
                .filter(|object| object.stat.kind() == Kind::File)
                .map(|object| object.fd.as_fd()),
            argv: None,
        };
        if op == FileOp::Read && verdict.is_plain() {
            let object = object.map_or(ObjectId { dev: 0, ino: 0 }, |object| object.stat.id);
            return self.count_read(&matter, &verdict, object);
        }
        self.settle(&matter, &verdict)
    }

    /// Objects without a name are the tree's own; a descriptor to one gives another only what it has itself.
    fn permit_unnamed(
        &self,
        op: FileOp,
        operation: &'static str,
        name: &Name,
        object: Option<&Object>,
    ) -> Result<(), Stop> {
        let Some(object) = object else {
            return Err(Errno::ENOENT.into());
        };
        let needed = if op == FileOp::Read { 0o400 } else { 0o200 };
        let ordinary = object.stat.kind() == Kind::File && !name.bytes().starts_with(b"/memfd:");
        if ordinary && object.via.is_some_and(|mode| mode & needed == 0) {
            let rule = &*fixed::UNNAMED;
            let matter = Matter {
                action: op.action(),
                operation,
                target: name.bytes(),
                object: None,
                argv: None,
            };
            return self.settle(&matter, &Verdict::of(rule));
        }
        Ok(())
    }

    /// An allowed read: the first of its kind is recorded, the others are counted.
    pub(super) fn count_read(&self, matter: &Matter<'_>, verdict: &Verdict<'_>, object: ObjectId) -> Result<(), Stop> {
        let exe = self.task.program.id;
        if self
            .boundary
            .journal
            .first_read((exe.dev, exe.ino), (object.dev, object.ino), &verdict.rule.id)
        {
            let recorded = self.record(matter, verdict, Durability::Buffered, |_| ());
            if recorded.is_err() {
                let (exe, object) = ((exe.dev, exe.ino), (object.dev, object.ino));
                self.boundary.journal.not_read(exe, object, &verdict.rule.id);
            }
            recorded.map(drop)?;
        }
        Ok(())
    }

    fn draft(&self, matter: &Matter<'_>, verdict: &Verdict<'_>) -> Draft {
        let rule = verdict.rule;
        Draft {
            action_type: matter.action,
            target: printable(matter.target),
            requested_operation: matter.operation.to_owned(),
            decision: Some(verdict.decision),
            rule_id: rule.id.clone(),
            policy_pack: rule.pack.clone(),
            policy_id: rule.pack.clone(),
            severity: Some(rule.severity),
            reason: rule.reason.clone(),
            approver_group: rule.approver_group.clone(),
            layer: rule.layer.name().to_owned(),
            source: rule.place(),
            would_have: verdict.watched.map(|rule| WouldHave {
                decision: rule.decision,
                rule_id: rule.id.clone(),
                severity: rule.severity,
                policy_pack: rule.pack.clone(),
                layer: rule.layer.name().to_owned(),
                source: rule.place(),
                reason: rule.reason.clone(),
            }),
            pid: self.task.tgid.0,
            tid: self.task.tid.0,
            exe: printable(&self.task.program.path),
            argv: matter
                .argv
                .map(|argv| argv.iter().map(|arg| printable(arg.as_bytes())).collect()),
            syscall: self.name.strip_prefix("SYS_").unwrap_or(self.name).to_owned(),
            mode: self.boundary.mode.name().to_owned(),
            ..Draft::default()
        }
    }

    fn record(
        &self,
        matter: &Matter<'_>,
        verdict: &Verdict<'_>,
        durability: Durability,
        fill: impl FnOnce(&mut Draft),
    ) -> Result<String, Stop> {
        let mut draft = self.draft(matter, verdict);
        fill(&mut draft);
        // Where evidence can not be written, what owes it is refused (I6).
        self.boundary.journal.append(draft, durability).map_err(|error| {
            // Said for the 1st, 10th, 100th, …: a tree can ask as often as it likes (I8).
            static REFUSED: AtomicU64 = AtomicU64::new(0);
            let times = REFUSED.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if 10_u64.checked_pow(times.ilog10()) == Some(times) {
                tracing::error!(%error, times, "evidence could not be written: refused");
            }
            Stop::Errno(Errno::EACCES)
        })
    }

    /// Sees a decision through: returns when the request may be performed.
    pub(super) fn settle(&self, matter: &Matter<'_>, verdict: &Verdict<'_>) -> Result<(), Stop> {
        self.settle_as(matter, verdict, Errno::EACCES)
    }

    /// As [`Self::settle`], with the errno of a refusal.
    pub(super) fn settle_as(&self, matter: &Matter<'_>, verdict: &Verdict<'_>, refusal: Errno) -> Result<(), Stop> {
        crate::faults::point("settle");
        let guard = if verdict.rule.layer == Layer::Boundary {
            "boundary"
        } else {
            "policy"
        };
        if crate::faults::off(guard) {
            return Ok(());
        }
        // The boundary itself is never only watched: what is out of reach stays so.
        if self.boundary.mode == Mode::Audit && verdict.rule.layer != Layer::Boundary {
            return self.record(matter, verdict, Durability::Written, |_| ()).map(drop);
        }
        match verdict.decision {
            // Written, not buffered: on a disk that fills, a thousand writes would be done before the loss of their records shows.
            Decision::Allow | Decision::AuditOnly => {
                self.record(matter, verdict, Durability::Written, |_| ()).map(drop)
            }
            Decision::Warn => {
                self.record(matter, verdict, Durability::Written, |_| ())?;
                if let Some(notices) = &self.boundary.notices {
                    let (target, rule) = (printable(matter.target), verdict.rule);
                    notices.warn(matter.operation, &target, &rule.id, &rule.reason);
                }
                Ok(())
            }
            Decision::AllowWithAttestation => self.attest(matter, verdict).map(drop),
            Decision::RequireApproval => self.hold(matter, verdict, refusal),
            Decision::Block => {
                self.record(matter, verdict, Durability::Written, |draft| {
                    draft.errno = Some(format!("{refusal:?}"))
                })?;
                Err(refusal.into())
            }
        }
    }

    /// As [`Self::settle`]; the digest where one is attested.
    pub(super) fn settle_attested(&self, matter: &Matter<'_>, verdict: &Verdict<'_>) -> Result<Option<String>, Stop> {
        if self.boundary.mode == Mode::Enforce && verdict.decision == Decision::AllowWithAttestation {
            self.attest(matter, verdict)
        } else {
            self.settle(matter, verdict).map(|()| None)
        }
    }

    fn attest(&self, matter: &Matter<'_>, verdict: &Verdict<'_>) -> Result<Option<String>, Stop> {
        let digest = match matter.object {
            Some(object) => Some(digest(fs::reopen(object, libc::O_RDONLY | libc::O_NOCTTY)?.as_fd())?),
            None => None,
        };
        let kept = digest.clone();
        self.record(matter, verdict, Durability::Synced, |draft| draft.digest = digest)?;
        Ok(kept)
    }

    fn hold(&self, matter: &Matter<'_>, verdict: &Verdict<'_>, refusal: Errno) -> Result<(), Stop> {
        let refuse = |why: &str| -> Result<(), Stop> {
            self.record(matter, verdict, Durability::Written, |draft| {
                draft.errno = Some(format!("{refusal:?}"));
                draft.reason = format!("{}; {why}", draft.reason);
            })?;
            Err(refusal.into())
        };
        if self.boundary.approvals == Approvals::Deny {
            return refuse("approvals are off in this session");
        }
        let cwd = self
            .task
            .cwd()
            .and_then(|fd| fs::name_of(fd.as_fd()))
            .unwrap_or_default();
        let mut ask = Ask {
            decision_id: String::new(),
            action: matter.operation.to_owned(),
            target: printable(matter.target),
            exe: printable(&self.task.program.path),
            argv: matter
                .argv
                .map(|argv| argv.iter().map(|arg| printable(arg.as_bytes())).collect())
                .unwrap_or_default(),
            cwd: printable(&cwd),
            rule_id: verdict.rule.id.clone(),
            approver_group: verdict.rule.approver_group.clone().unwrap_or_default(),
            reason: verdict.rule.reason.clone(),
            pid: self.task.tgid.0,
            tid: self.task.tid.0,
        };
        if pool::about_to_block().is_err() {
            return refuse("too many calls wait");
        }
        let ticket = match self.boundary.desk.reclaim(&ask) {
            Some(ticket) => ticket,
            None => {
                ask.decision_id = self.record(matter, verdict, Durability::Synced, |_| ())?;
                let Ok(ticket) = self.boundary.desk.hold(ask) else {
                    return refuse("too many requests are held");
                };
                if let Some(notices) = &self.boundary.notices {
                    notices.held(
                        matter.operation,
                        &printable(matter.target),
                        &verdict.rule.id,
                        ticket.id(),
                    );
                }
                ticket
            }
        };
        let decision_id = ticket.decision_id();
        let outcome = loop {
            if let Some(outcome) = ticket.wait(Duration::from_millis(100)) {
                break outcome;
            }
            if let Err(stop) = self.still_waits() {
                if stop == Stop::Restart {
                    ticket.park();
                    return Err(stop);
                }
                let note = ApprovalNote {
                    id: ticket.id().to_owned(),
                    reason: "its caller ended".to_owned(),
                    waited_ms: ticket.waited_ms(),
                    ..ApprovalNote::default()
                };
                self.record(matter, verdict, Durability::Written, |draft| {
                    draft.action_type = "approval";
                    draft.approval = Some(note);
                    draft.correlation_id = Some(decision_id);
                })?;
                return Err(stop);
            }
        };
        let (approver, reason, waited_ms, yes) = match outcome {
            Outcome::Approved { by, reason, waited_ms } => (by, reason, waited_ms, true),
            Outcome::Denied { by, reason, waited_ms } => (by, reason, waited_ms, false),
            Outcome::Expired { why, waited_ms } => (String::new(), why, waited_ms, false),
        };
        let note = ApprovalNote {
            id: ticket.id().to_owned(),
            approver,
            reason,
            waited_ms,
        };
        let decided = Verdict::as_by(if yes { Decision::Allow } else { Decision::Block }, verdict.rule);
        self.record(matter, &decided, Durability::Synced, |draft| {
            draft.action_type = "approval";
            draft.approval = Some(note);
            draft.correlation_id = Some(decision_id);
            draft.errno = (!yes).then(|| format!("{refusal:?}"));
        })?;
        if yes {
            return Ok(());
        }
        if matter.argv.is_some() {
            ticket.stands();
        }
        Err(refusal.into())
    }

    /// A verdict of the boundary's own.
    pub(super) fn refuse_fixed(&self, matter: &Matter<'_>, rule: &'static Rule, refusal: Errno) -> Stop {
        match self.settle_as(matter, &Verdict::as_by(Decision::Block, rule), refusal) {
            Ok(()) => Stop::Errno(refusal),
            Err(stop) => stop,
        }
    }

    /// A path to a literal name.
    pub(super) fn c(&self, bytes: &[u8]) -> Result<CString, Stop> {
        c_string(bytes).map_err(Stop::Errno)
    }
}
