//! `cavractl doctor`: the checks as people or programs read them.

use super::{FAILED, Said, Style};
use crate::doctor::{Check, State, checks};
use crate::text::harmless;

/// 0 only when a session would be at full strength.
pub(super) fn run(json: bool, style: Style) -> Said {
    let checks = checks();
    let status = u8::from(checks.iter().any(|check| check.state != State::Full));
    if json {
        return match serde_json::to_string_pretty(&checks) {
            Ok(text) => Said {
                out: text + "\n",
                status,
                ..Said::default()
            },
            Err(error) => Said::failed(FAILED, &error),
        };
    }
    let mut out: String = checks.iter().map(|check| row(check, style)).collect();
    out.push_str(
        match checks.iter().map(|check| check.state).max_by_key(|state| *state as u8) {
            Some(State::Missing) => "No session can be held here.\n",
            Some(State::Weaker) => "A session can be held here, with less than full strength.\n",
            Some(State::Full) | None => "A session is at full strength here.\n",
        },
    );
    Said {
        out,
        status,
        ..Said::default()
    }
}

fn row(check: &Check, style: Style) -> String {
    let state = match check.state {
        State::Full => style.green("full   "),
        State::Weaker => style.yellow("weaker "),
        State::Missing => style.red("missing"),
    };
    let mut text = format!("{state}  {:<22}{}\n", check.id, harmless(&check.found));
    for line in [&check.consequence, &check.remedy]
        .into_iter()
        .filter(|line| !line.is_empty())
    {
        text.push_str(&format!("{:31}{}\n", "", harmless(line)));
    }
    text
}
