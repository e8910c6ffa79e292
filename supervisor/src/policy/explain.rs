//! Why the answer is what it is: asked of the very engine that enforces, then of each pack by itself.

use serde::Serialize;

use super::commands::PushTarget;
use super::engine::Policy;
use super::types::{Command, Endpoint, FileOp, Layer, Mode, NetOp, Rule, Subject, Verdict};
use crate::decision::Decision;
use crate::text::printable;

/// One request.
#[derive(Clone, Debug)]
pub enum Question<'a> {
    /// A canonical path.
    File(FileOp, &'a [u8]),
    /// A canonical folder's names.
    Names(&'a [u8]),
    /// A command.
    Command(&'a Command<'a>),
    /// An address.
    Network(NetOp, &'a Endpoint<'a>),
}

/// The answer, and what it came from.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// What decides.
    pub answer: Because,
    /// What packs that only watch would have made of it, where that is more restrictive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_have: Option<Because>,
    /// What holds for every host, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub everywhere: Option<&'static str>,
    /// Which mechanism sees to it.
    pub mechanism: &'static str,
    /// What each pack in force says, in the order of layers.
    pub packs: Vec<Said>,
    /// The lines that command patterns were matched against.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spellings: Vec<String>,
    /// The branches that the command would push to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pushes: Vec<String>,
}

/// A rule, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct Because {
    /// One of the six.
    pub decision: String,
    /// What it would be if the pack did not only watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_be: Option<String>,
    /// The rule's id.
    pub rule_id: String,
    /// low, medium, high, critical.
    pub severity: &'static str,
    /// machine, launch, repository; boundary or default for what no pack wrote.
    pub layer: &'static str,
    /// The pack that wrote it.
    pub policy_pack: String,
    /// `file:line:column`.
    pub source: Option<String>,
    /// The pattern as written.
    pub pattern: String,
    /// A sentence.
    pub reason: String,
    /// Who may approve.
    pub approver_group: Option<String>,
}

/// One pack's part in the answer.
#[derive(Clone, Debug, Serialize)]
pub struct Said {
    /// Its layer.
    pub layer: &'static str,
    /// Its id.
    pub policy_pack: String,
    /// `enforce`, or `audit` where it only watches.
    pub mode: &'static str,
    /// What it says; nothing when it abstains.
    pub because: Option<Because>,
}

impl Because {
    /// What a rule says of itself.
    pub(crate) fn of(rule: &Rule) -> Self {
        let source = rule.source.as_ref();
        Self {
            decision: rule.decision.to_string(),
            would_be: None,
            rule_id: rule.id.clone(),
            severity: rule.severity.name(),
            layer: rule.layer.name(),
            policy_pack: rule.pack.clone(),
            source: source.map(|source| format!("{}:{}:{}", source.file, source.line, source.column)),
            pattern: rule.pattern.clone(),
            reason: rule.reason.clone(),
            approver_group: rule.approver_group.clone(),
        }
    }

    /// What comes of an answer that is recorded only.
    fn watched(rule: &Rule) -> Self {
        Self {
            decision: Decision::AuditOnly.to_string(),
            would_be: Some(rule.decision.to_string()),
            ..Self::of(rule)
        }
    }

    /// What a session meets: a restrictive answer that only watches, of one pack or in a session as a whole, records and does no more.
    pub(crate) fn met(verdict: Verdict<'_>, mode: Mode) -> (Decision, Self) {
        let session = Some(verdict.rule).filter(|rule| mode == Mode::Audit && rule.layer != Layer::Boundary);
        let recorded = |rule: &&Rule| rule.decision > Decision::AuditOnly;
        let only = session.filter(recorded).or_else(|| {
            let watched = verdict.watched.filter(recorded)?;
            (verdict.decision < Decision::AuditOnly).then_some(watched)
        });
        match only {
            Some(rule) => (Decision::AuditOnly, Self::watched(rule)),
            None => (verdict.decision, Self::of(verdict.rule)),
        }
    }
}

/// Answers a request and says why.
#[must_use]
pub fn explain(policy: &Policy, question: &Question<'_>, by: &dyn Subject) -> Explanation {
    let meaning = match question {
        Question::Command(command) => Some(policy.meaning(command)),
        Question::File(..) | Question::Names(_) | Question::Network(..) => None,
    };
    let verdict = match question {
        Question::File(op, path) => policy.file(*op, path, by),
        Question::Names(dir) => policy.names(dir, by),
        Question::Command(command) => policy.command(command, by),
        Question::Network(op, endpoint) => policy.network(*op, endpoint, by),
    };
    let packs = policy.each().map(|(layer, pack, view)| {
        let said = match (question, &meaning) {
            (Question::File(op, path), _) => view.file(*op, path, by),
            (Question::Names(dir), _) => view.names(dir, by),
            (Question::Command(_), Some(meaning)) => view.command(meaning, by),
            (Question::Command(command), None) => policy.command(command, by),
            (Question::Network(op, endpoint), _) => view.network(*op, endpoint, by),
        };
        Said {
            layer: layer.name(),
            policy_pack: pack.id.clone(),
            mode: pack.mode.name(),
            because: (said.rule.layer != Layer::Default).then(|| Because::of(said.rule)),
        }
    });
    let mut spellings: Vec<String> = Vec::new();
    for line in meaning.iter().flat_map(|meaning| &meaning.lines) {
        let line = printable(&line.text);
        if !spellings.contains(&line) {
            spellings.push(line);
        }
    }
    Explanation {
        answer: Because::of(verdict.rule),
        would_have: verdict.watched.map(Because::of),
        everywhere: (matches!(question, Question::Network(NetOp::Connect, _)) && policy.reaches_nothing()).then_some(
            "nothing can connect: this policy blocks every host, over TCP and in datagrams, and no name is looked up",
        ),
        mechanism: mechanism(question),
        packs: packs.collect(),
        spellings,
        pushes: meaning
            .iter()
            .flat_map(|meaning| &meaning.pushes)
            .map(|target| match target {
                PushTarget::Branch(name) => printable(name),
                PushTarget::Unresolved => "any branch: not to be resolved, so treated as protected".to_owned(),
            })
            .collect(),
    }
}

const fn mechanism(question: &Question<'_>) -> &'static str {
    match question {
        Question::File(FileOp::Read, _) | Question::Names(_) => {
            "the supervisor decides at each open, on the resolved object (seccomp user notification); the kernel's floor does not bound reading"
        }
        Question::File(FileOp::Write | FileOp::Delete, _) => {
            "the supervisor decides at each open and path change, on the resolved object; beneath it the kernel's floor (Landlock) grants no writing at all"
        }
        Question::Command(_) => {
            "the supervisor decides at each exec, and verifies file, arguments and environment before the first instruction runs"
        }
        Question::Network(NetOp::Connect, _) => {
            "the supervisor decides and connects a duplicate of the socket with its own copy of the address; beneath it the kernel's floor grants no port"
        }
        Question::Network(NetOp::Bind, _) => {
            "the supervisor decides and binds a duplicate of the socket with its own copy of the address; beneath it the kernel's floor grants no port"
        }
    }
}
