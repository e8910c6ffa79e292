//! Requests of enforcement-v1, read from JSON.

use serde_json::Value;

/// Bytes of one request's JSON.
pub const REQUEST_MAX: usize = 1024 * 1024;

/// One enforcement-v1 request; what was not given is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The session that asks; `local` in the answer when empty.
    pub session_id: String,
    /// The agent; `unknown-agent` in the answer when empty.
    pub agent_id: String,
    /// For whom it acts; `ai-agent` in the answer when empty.
    pub actor: String,
    /// `read_file`, `write_file`, `execute_command`, `git_operation`, `mcp_tool_call`; others need an approval.
    pub action_type: String,
    /// The path, command line, or branch.
    pub target: String,
    /// What is done to it; see [`Request::operation`].
    pub operation: String,
    /// The same under its other name.
    pub requested_operation: String,
    /// The pack that should decide.
    pub policy_pack: String,
    /// The MCP server, by id or name.
    pub server: String,
    /// Its tool.
    pub tool: String,
    /// What the tool needs.
    pub capability: String,
}

/// Why something is no request; the text names the member and what it must be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not JSON.
    #[error("not JSON: {0}; expected one object with action_type and target")]
    Json(String),
    /// JSON, but no object.
    #[error("the request is {0}; expected an object with action_type and target")]
    NoObject(&'static str),
    /// A member of another type.
    #[error("`{member}` is {found}; expected a text")]
    NoText {
        /// Which.
        member: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A member that differs from a known one only in letters' case: some of CAVRA's readers take it, others do not.
    #[error("unknown member `{found}`; did you mean `{member}`?")]
    Case {
        /// As it was given.
        found: String,
        /// As it must be.
        member: &'static str,
    },
    /// Too long.
    #[error("{0} bytes; a request may have {REQUEST_MAX} at most")]
    TooLong(usize),
    /// A pack that is named by a path.
    #[error("`policy_pack` is `{0}`; a request names a pack by its id: letters, digits, `-`, `_` and `.`")]
    PackName(String),
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl Request {
    /// Reads one JSON object. Members that CAVRA does not know are ignored, and `null` counts as not given, as there.
    pub fn from_json(text: &[u8]) -> Result<Self, RequestError> {
        if text.len() > REQUEST_MAX {
            return Err(RequestError::TooLong(text.len()));
        }
        let value: Value = serde_json::from_slice(text).map_err(|error| RequestError::Json(error.to_string()))?;
        Self::from_value(&value)
    }

    /// Reads a JSON value.
    pub fn from_value(value: &Value) -> Result<Self, RequestError> {
        let Value::Object(members) = value else {
            return Err(RequestError::NoObject(kind(value)));
        };
        let mut request = Self::default();
        for (member, field) in request.fields() {
            match members.get(member) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => field.clone_from(text),
                Some(other) => {
                    return Err(RequestError::NoText {
                        member,
                        found: kind(other),
                    });
                }
            }
        }
        for (member, _) in request.fields() {
            if let Some(found) = members
                .keys()
                .find(|key| *key != member && key.eq_ignore_ascii_case(member))
            {
                return Err(RequestError::Case {
                    found: found.clone(),
                    member,
                });
            }
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !request.policy_pack.chars().all(plain) || request.policy_pack.starts_with('.') {
            return Err(RequestError::PackName(request.policy_pack));
        }
        Ok(request)
    }

    fn fields(&mut self) -> [(&'static str, &mut String); 11] {
        [
            ("session_id", &mut self.session_id),
            ("agent_id", &mut self.agent_id),
            ("actor", &mut self.actor),
            ("action_type", &mut self.action_type),
            ("target", &mut self.target),
            ("operation", &mut self.operation),
            ("requested_operation", &mut self.requested_operation),
            ("policy_pack", &mut self.policy_pack),
            ("server", &mut self.server),
            ("tool", &mut self.tool),
            ("capability", &mut self.capability),
        ]
    }

    /// What is done: `operation`, else `requested_operation`, else `capability`.
    #[must_use]
    pub fn operation(&self) -> &str {
        [&self.operation, &self.requested_operation, &self.capability]
            .into_iter()
            .find(|text| !text.is_empty())
            .map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{REQUEST_MAX, Request};

    #[test]
    fn what_is_no_request_is_told_why() {
        for (json, text) in [
            ("", "not JSON: EOF while parsing a value at line 1 column 0"),
            ("{", "not JSON: EOF while parsing an object"),
            ("[]", "the request is a list"),
            ("\"read_file\"", "the request is a text"),
            ("{} {}", "not JSON: trailing characters"),
            (r#"{"target": 1}"#, "`target` is a number; expected a text"),
            (r#"{"server": ["a"]}"#, "`server` is a list; expected a text"),
            (
                r#"{"Target": ".env"}"#,
                "unknown member `Target`; did you mean `target`?",
            ),
            (r#"{"policy_pack": "../x"}"#, "`policy_pack` is `../x`"),
            (r#"{"policy_pack": "/etc/passwd"}"#, "`policy_pack` is `/etc/passwd`"),
            (r#"{"policy_pack": ".."}"#, "`policy_pack` is `..`"),
        ] {
            let error = Request::from_json(json.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(text), "{json}: {error}");
        }
        let long = format!(r#"{{"target": "{}"}}"#, "a".repeat(REQUEST_MAX));
        assert!(
            Request::from_json(long.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("1048576 at most")
        );
    }

    #[test]
    fn null_and_unknown_members_count_as_not_given() {
        let request = Request::from_json(br#"{"target": null, "runner_auth": {}, "record": [1]}"#).unwrap();
        assert_eq!(request, Request::default());
    }

    #[test]
    fn the_operation_falls_back_in_order() {
        for (json, wanted) in [
            (
                r#"{"operation": "a", "requested_operation": "b", "capability": "c"}"#,
                "a",
            ),
            (r#"{"requested_operation": "b", "capability": "c"}"#, "b"),
            (r#"{"capability": "c"}"#, "c"),
            ("{}", ""),
        ] {
            assert_eq!(Request::from_json(json.as_bytes()).unwrap().operation(), wanted);
        }
    }
}
