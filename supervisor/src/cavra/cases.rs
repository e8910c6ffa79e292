//! A pack's `tests.yaml`: requests and the answers that its author expects.
//!
//! ```yaml
//! tests:
//!   - {action_type: read_file, target: .env, decision: block, rule_id: filesystem.read.block, boundary: block}
//! ```
//!
//! The members of a request are enforcement-v1's. `decision`, `rule_id`, `severity` and `approver_group` are what CAVRA answers (`cavractl
//! decide`), `boundary` is what cavra-run decides; what is left out is not compared.

use std::path::PathBuf;

use super::boundary::Boundary;
use super::evaluate::evaluate;
use super::request::Request;
use super::rules::Rules;
use crate::policy::node::{Node, parse};
use crate::policy::{Code, Diagnostics};

/// What came of a pack's cases.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Cases that were answered as expected.
    pub passed: usize,
    /// The others, a line each: place, request, expected and found.
    pub failed: Vec<String>,
}

const REQUEST: &[&str] = &[
    "action_type",
    "target",
    "operation",
    "requested_operation",
    "server",
    "tool",
    "capability",
];
const EXPECTED: &[&str] = &["decision", "rule_id", "severity", "approver_group", "boundary"];

/// Asks what the text of a `tests.yaml` asks, of the pack as both engines read it. `file` is for messages.
pub fn run(pack: &str, search: &[PathBuf], file: &str, text: &str) -> Result<Outcome, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let cases = parse(file, text, &mut diagnostics);
    let cases = cases.as_ref().and_then(|node| node.get("tests")).map(Node::items);
    let cases = cases.unwrap_or_default();
    if cases.is_empty() && diagnostics.is_clean() {
        return Err(Diagnostics::one(
            Code::MissingKey,
            format!("{file} holds no tests"),
            "write a list under `tests`",
        ));
    }
    for case in cases {
        check(case, &mut diagnostics);
    }
    if !diagnostics.is_clean() {
        return Err(diagnostics);
    }
    let failed =
        |error: &dyn std::fmt::Display| Diagnostics::one(Code::NotFound, error.to_string(), "mend the pack first");
    let rules = Rules::load(pack, search).map_err(|error| failed(&error))?;
    let boundary = Boundary::load(&[pack.to_owned()], search)?;
    let mut outcome = Outcome::default();
    for case in cases {
        match compare(case, &rules, &boundary) {
            None => outcome.passed += 1,
            Some(what) => outcome.failed.push(format!("{file}:{}: {what}", case.span.line)),
        }
    }
    Ok(outcome)
}

fn check(case: &Node, diagnostics: &mut Diagnostics) {
    for (key, value) in case.entries() {
        let known = |list: &[&str]| list.contains(&key.text.as_str());
        if !known(REQUEST) && !known(EXPECTED) {
            let title = format!("unknown member `{}`", key.text);
            let label = format!("expected one of {}, {}", REQUEST.join(", "), EXPECTED.join(", "));
            diagnostics.error(Code::UnknownKey, key.span, title, label);
        } else if value.text().is_none() {
            let title = format!("`{}` is {}", key.text, value.value.kind());
            diagnostics.error(Code::WrongType, value.span, title, "expected a text");
        }
    }
    let expects = EXPECTED.iter().any(|key| case.get(key).is_some());
    if case.get("action_type").is_none() || !expects {
        let label = format!("a test has action_type and one of {}", EXPECTED.join(", "));
        diagnostics.error(Code::MissingKey, case.span, "this tests nothing", label);
    }
}

/// What is not as expected.
fn compare(case: &Node, rules: &Rules, boundary: &Boundary) -> Option<String> {
    let of = |key: &str| case.get(key).and_then(Node::text).unwrap_or_default().to_owned();
    let request = Request {
        action_type: of("action_type"),
        target: of("target"),
        operation: of("operation"),
        requested_operation: of("requested_operation"),
        server: of("server"),
        tool: of("tool"),
        capability: of("capability"),
        ..Request::default()
    };
    let answer = evaluate(&request, rules, None);
    let at_boundary = case.get("boundary").map(|_| boundary.answer(&request));
    let found = [
        ("decision", answer.decision.name()),
        ("rule_id", answer.rule_id),
        ("severity", answer.severity.name()),
        ("approver_group", answer.approver_group.unwrap_or_default()),
        (
            "boundary",
            at_boundary.map_or("", |decision| {
                decision.map_or("nothing: it is never asked this", |d| d.name())
            }),
        ),
    ];
    let wrong: Vec<String> = found
        .iter()
        .filter(|(key, found)| {
            case.get(key)
                .and_then(Node::text)
                .is_some_and(|wanted| wanted != *found)
        })
        .map(|(key, found)| format!("{key} is {found}, expected {}", of(key)))
        .collect();
    let what = format!(
        "{} {} {}{}",
        request.action_type, request.operation, request.target, request.server
    );
    (!wrong.is_empty()).then(|| {
        format!(
            "{}: {}",
            what.split_whitespace().collect::<Vec<_>>().join(" "),
            wrong.join("; ")
        )
    })
}
