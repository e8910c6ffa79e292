//! Calls of MCP tools: by the pack's lists, or by a trust registry.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::evaluate::Answer;
use super::request::Request;
use super::rules::Rules;
use crate::decision::{Decision, Severity};

/// Bytes of a registry file.
const REGISTRY_MAX: u64 = 10 * 1024 * 1024;
const TRUST_TIERS: &[&str] = &["trusted", "approved", "experimental", "blocked", "unknown"];
const APPROVAL_STATES: &[&str] = &["approved", "pending", "denied", "not_required"];

/// A trust registry: `{"mcp_servers": [{server_id, name, trust_tier, approval_state, capabilities, allowed_tools}]}`.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    servers: Vec<Server>,
}

/// Why a registry can not be used; the text names file, record and remedy.
#[derive(Debug, thiserror::Error)]
#[error("trust registry {file}: {what}")]
pub struct RegistryError {
    file: String,
    what: String,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    mcp_servers: Vec<Server>,
}

#[derive(Clone, Debug, Deserialize)]
struct Server {
    #[serde(default)]
    server_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    trust_tier: Option<String>,
    #[serde(default)]
    approval_state: Option<String>,
    #[serde(default)]
    capabilities: Option<Vec<String>>,
    #[serde(default)]
    allowed_tools: Option<Vec<String>>,
}

impl Registry {
    /// Reads a registry file.
    pub fn read(path: &Path) -> Result<Self, RegistryError> {
        let file = || path.display().to_string();
        let failed = |what: String| RegistryError { file: file(), what };
        let mut text = Vec::new();
        std::fs::File::open(path)
            .and_then(|open| open.take(REGISTRY_MAX).read_to_end(&mut text))
            .map_err(|error| failed(error.to_string()))?;
        if u64::try_from(text.len()) == Ok(REGISTRY_MAX) {
            return Err(failed(format!("{REGISTRY_MAX} bytes or more; fewer are read")));
        }
        Self::parse(&file(), &text)
    }

    /// Reads a registry's text; `file` is for messages.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, RegistryError> {
        let failed = |what: String| RegistryError {
            file: file.to_owned(),
            what,
        };
        let read: File = serde_json::from_slice(text).map_err(|error| failed(error.to_string()))?;
        for (number, server) in read.mcp_servers.iter().enumerate() {
            let of = |text: &Option<String>| text.clone().unwrap_or_default();
            let who = format!("mcp_servers[{number}] `{}`", of(&server.server_id));
            if of(&server.server_id).is_empty() && of(&server.name).is_empty() {
                return Err(failed(format!(
                    "{who} has neither server_id nor name: nothing could ask for it"
                )));
            }
            // CAVRA's store writes both; a record with neither would count as approved.
            if of(&server.trust_tier).is_empty() && of(&server.approval_state).is_empty() {
                return Err(failed(format!("{who} has neither trust_tier nor approval_state")));
            }
            for (member, value, known) in [
                ("trust_tier", &server.trust_tier, TRUST_TIERS),
                ("approval_state", &server.approval_state, APPROVAL_STATES),
            ] {
                // A word that nothing compares with would count as approved.
                if let Some(value) = value
                    && !value.is_empty()
                    && !known.contains(&value.as_str())
                {
                    return Err(failed(format!(
                        "{who}: {member} is `{value}`; expected {}",
                        known.join(", ")
                    )));
                }
            }
        }
        Ok(Self {
            servers: read.mcp_servers,
        })
    }

    /// The first record whose id or name is `server`.
    fn find(&self, server: &str) -> Option<&Server> {
        let is = |text: &Option<String>| text.as_deref().unwrap_or_default() == server;
        self.servers
            .iter()
            .find(|record| is(&record.server_id) || is(&record.name))
    }
}

fn answer(request: &Request, decision: Decision, rule_id: &'static str, severity: Severity, reason: &str) -> Answer {
    let operation = request.operation();
    Answer {
        decision,
        rule_id,
        severity,
        reason: reason.to_owned(),
        approver_group: (decision == Decision::RequireApproval).then_some("AI Governance"),
        action_type: "mcp_tool_call".to_owned(),
        target: format!("{}:{}", request.server, request.tool),
        requested_operation: if operation.is_empty() { &request.tool } else { operation }.to_owned(),
    }
}

/// Answers an `mcp_tool_call`.
pub(crate) fn call(request: &Request, rules: &Rules, registry: Option<&Registry>) -> Answer {
    if let Some(registry) = registry {
        return by_registry(request, registry);
    }
    let listed = |list: &[String]| list.contains(&request.server);
    if listed(&rules.mcp_blocked) || (rules.mcp_block_unknown && !listed(&rules.mcp_allowed)) {
        return answer(
            request,
            Decision::Block,
            "mcp.server.trust.block_unknown",
            Severity::High,
            "Untrusted MCP server with filesystem/tool capability is not approved.",
        );
    }
    answer(
        request,
        Decision::Allow,
        "mcp.server.trust.allow",
        Severity::Low,
        "MCP server is trusted for this tool call.",
    )
}

fn by_registry(request: &Request, registry: &Registry) -> Answer {
    let Some(record) = registry.find(&request.server) else {
        return answer(
            request,
            Decision::Block,
            "mcp.registry.unknown",
            Severity::High,
            "MCP server is not registered.",
        );
    };
    let tier = record.trust_tier.as_deref().unwrap_or_default();
    let state = record.approval_state.as_deref().unwrap_or_default();
    if tier == "blocked" || state == "denied" {
        return answer(
            request,
            Decision::Block,
            "mcp.registry.blocked",
            Severity::High,
            "MCP server is blocked or denied in the trust registry.",
        );
    }
    let ask = |rule_id, reason| answer(request, Decision::RequireApproval, rule_id, Severity::Medium, reason);
    if state == "pending" || matches!(tier, "unknown" | "experimental") {
        return ask(
            "mcp.registry.requires_approval",
            "MCP server requires trust approval before use.",
        );
    }
    let outside = |scope: &Option<Vec<String>>, word: &String| {
        scope
            .as_ref()
            .is_some_and(|scope| !scope.is_empty() && !scope.contains(word))
    };
    if outside(&record.allowed_tools, &request.tool) {
        return ask(
            "mcp.registry.tool_scope",
            "MCP tool is outside the server's approved tool scope.",
        );
    }
    if !request.capability.is_empty() && outside(&record.capabilities, &request.capability) {
        return ask(
            "mcp.registry.capability_scope",
            "MCP capability is outside the server's approved capability scope.",
        );
    }
    answer(
        request,
        Decision::Allow,
        "mcp.registry.allow",
        Severity::Low,
        "MCP server is approved in the trust registry.",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Registry;

    #[test]
    fn a_registry_that_can_not_be_meant_is_refused() {
        for (text, wanted) in [
            ("", "trust registry r.json: EOF while parsing"),
            (r#"{"mcp_servers": {}}"#, "expected a sequence"),
            (
                r#"{"mcp_servers": [{"trust_tier": "trusted"}]}"#,
                "has neither server_id nor name",
            ),
            (
                r#"{"mcp_servers": [{"name": "a"}]}"#,
                "has neither trust_tier nor approval_state",
            ),
            (
                r#"{"mcp_servers": [{"server_id": "a", "trust_tier": "Blocked"}]}"#,
                "mcp_servers[0] `a`: trust_tier is `Blocked`; expected trusted, approved",
            ),
            (
                r#"{"mcp_servers": [{"server_id": "a", "approval_state": "rejected"}]}"#,
                "approval_state is `rejected`; expected approved, pending, denied",
            ),
        ] {
            let error = Registry::parse("r.json", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
