//! One request, one merged pack, one answer.

use super::mcp::{self, Registry};
use super::pattern::Pattern;
use super::request::Request;
use super::rules::Rules;
use crate::decision::{Decision, Severity};

/// What CAVRA answers, without what differs from call to call (ids, time).
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `allow`, `block` or `require_approval`.
    pub decision: Decision,
    /// CAVRA's id of what answered.
    pub rule_id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// A sentence; names the pattern that matched.
    pub reason: String,
    /// Who may approve.
    pub approver_group: Option<&'static str>,
    /// As asked.
    pub action_type: String,
    /// As asked; a command without the blanks around it, an MCP call as `server:tool`.
    pub target: String,
    /// What is done to the target.
    pub requested_operation: String,
}

/// Answers `request` by `rules`; MCP calls by `registry` where there is one.
pub fn evaluate(request: &Request, rules: &Rules, registry: Option<&Registry>) -> Answer {
    match request.action_type.as_str() {
        "read_file" => file(&request.target, Mode::Read, rules),
        "write_file" => file(&request.target, Mode::Write, rules),
        "execute_command" => command(&request.target, rules),
        "git_operation" => git(request.operation(), &request.target),
        "mcp_tool_call" => mcp::call(request, rules, registry),
        _ => Answer {
            decision: Decision::RequireApproval,
            rule_id: "runtime.default.require_approval",
            severity: Severity::Medium,
            reason: "Unknown action type; review required.".to_owned(),
            approver_group: Some("Repository Owners"),
            action_type: request.action_type.clone(),
            target: request.target.clone(),
            requested_operation: request.operation().to_owned(),
        },
    }
}

#[derive(Clone, Copy)]
enum Mode {
    Read,
    Write,
}

fn first<'p>(patterns: &'p [Pattern], value: &str) -> Option<&'p str> {
    patterns
        .iter()
        .find(|pattern| pattern.matches(value))
        .map(Pattern::text)
}

fn file(target: &str, mode: Mode, rules: &Rules) -> Answer {
    let (action, operation, block, allow, patterns) = match mode {
        Mode::Read => (
            "read_file",
            "read",
            "filesystem.read.block",
            "filesystem.read.allow",
            &rules.block_read,
        ),
        Mode::Write => (
            "write_file",
            "write",
            "filesystem.write.block",
            "filesystem.write.allow",
            &rules.block_write,
        ),
    };
    let answer = |decision, rule_id, severity, reason, approver_group| Answer {
        decision,
        rule_id,
        severity,
        reason,
        approver_group,
        action_type: action.to_owned(),
        target: target.to_owned(),
        requested_operation: operation.to_owned(),
    };
    if let Some(pattern) = first(patterns, target) {
        let reason = format!("Matched sensitive path policy: {pattern}");
        return answer(Decision::Block, block, Severity::High, reason, None);
    }
    if let (Mode::Write, Some(pattern)) = (mode, first(&rules.require_approval_write, target)) {
        return answer(
            Decision::RequireApproval,
            "filesystem.write.require_approval",
            Severity::High,
            format!("Matched approval-required path policy: {pattern}"),
            Some("Platform Security"),
        );
    }
    let reason = "No sensitive path policy matched.".to_owned();
    answer(Decision::Allow, allow, Severity::Low, reason, None)
}

fn command(line: &str, rules: &Rules) -> Answer {
    let line = line.trim();
    let answer = |decision, rule_id, severity, reason, approver_group| Answer {
        decision,
        rule_id,
        severity,
        reason,
        approver_group,
        action_type: "execute_command".to_owned(),
        target: line.to_owned(),
        requested_operation: line.to_owned(),
    };
    if let Some(pattern) = first(&rules.command_block, line) {
        let severity = if line.contains("apply") || line.contains("delete") {
            Severity::Critical
        } else {
            Severity::High
        };
        let reason = format!("Matched blocked command policy: {pattern}");
        return answer(Decision::Block, "commands.block", severity, reason, None);
    }
    if let Some(pattern) = first(&rules.command_allow, line) {
        let reason = format!("Matched allowed command policy: {pattern}");
        return answer(Decision::Allow, "commands.allow", Severity::Low, reason, None);
    }
    answer(
        Decision::RequireApproval,
        "commands.default.require_approval",
        Severity::Medium,
        "No allow rule matched; review required.".to_owned(),
        Some("Repository Owners"),
    )
}

fn git(operation: &str, target: &str) -> Answer {
    let answer = |decision, rule_id, severity, reason: &str, requested: &str| Answer {
        decision,
        rule_id,
        severity,
        reason: reason.to_owned(),
        approver_group: None,
        action_type: "git_operation".to_owned(),
        target: target.to_owned(),
        requested_operation: requested.to_owned(),
    };
    if operation == "push" && (target.ends_with("main") || target.ends_with("master")) {
        return answer(
            Decision::Block,
            "git.protected_branch.block_direct_push",
            Severity::High,
            "Direct push to protected branch is prohibited.",
            operation,
        );
    }
    let requested = if operation.is_empty() { target } else { operation };
    answer(
        Decision::Allow,
        "git.allow",
        Severity::Low,
        "Git operation is allowed by policy.",
        requested,
    )
}
