//! Answers as enforcement-v1 writes them.

use serde::Serialize;
use serde_json::{Value, json};

use super::DEFAULT_PACK;
use super::evaluate::Answer;
use super::request::Request;
use super::rules::Rules;
use crate::decision::{Decision, Severity};
use crate::evidence::{EvidenceError, correlation_id, decision_id};

/// One answer; the members in CAVRA's order.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "enforcement-v1's own names")]
pub struct Response {
    pub decision_id: String,
    pub session_id: String,
    pub agent_id: String,
    pub actor: String,
    pub action_type: String,
    pub target: String,
    pub requested_operation: String,
    /// The pack that the request named, else the one that decided.
    pub policy_pack: String,
    /// The pack that decided.
    pub policy_id: String,
    pub rule_id: &'static str,
    pub decision: Decision,
    pub severity: Severity,
    pub reason: String,
    pub evidence_refs: [String; 1],
    pub approver_group: Option<&'static str>,
    pub timestamp: String,
    pub correlation_id: String,
}

impl Response {
    /// Puts names and time to an answer. Fails only where the kernel gives no random numbers.
    pub fn new(request: &Request, answer: Answer, rules: &Rules) -> Result<Self, EvidenceError> {
        let or = |text: &str, fallback: &str| if text.is_empty() { fallback } else { text }.to_owned();
        let decision_id = decision_id()?;
        let session_id = or(&request.session_id, "local");
        let policy_id = or(rules.id(), DEFAULT_PACK);
        Ok(Self {
            evidence_refs: [format!("evidence://{session_id}/{decision_id}")],
            decision_id,
            session_id,
            agent_id: or(&request.agent_id, "unknown-agent"),
            actor: or(&request.actor, "ai-agent"),
            action_type: answer.action_type,
            target: answer.target,
            requested_operation: answer.requested_operation,
            policy_pack: or(&request.policy_pack, &policy_id),
            policy_id,
            rule_id: answer.rule_id,
            decision: answer.decision,
            severity: answer.severity,
            reason: answer.reason,
            approver_group: answer.approver_group,
            timestamp: jiff::Timestamp::now().to_string(),
            correlation_id: correlation_id()?,
        })
    }
}

/// What is answered where there is no decision: a refusal, so that an adapter that reads `decision` only fails closed.
#[must_use]
pub fn refusal(error: &dyn std::fmt::Display) -> Value {
    json!({
        "error": error.to_string(),
        "decision": Decision::Block,
        "rule_id": "runtime.request.invalid",
        "severity": Severity::High,
        "reason": format!("No decision: {error}"),
    })
}
