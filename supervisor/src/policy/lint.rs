//! What loads and probably does not mean what its author thinks: rules that another makes void, and parts that the kernel boundary can not
//! enforce.

use std::fmt;

use super::compile::PatternRule;
use super::diagnostics::Code;
use super::engine::Policy;
use super::types::{FileOp, Layer, Nobody, Rule};
use crate::decision::Decision;

/// Something that loads and is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Its kind, where it is one of ours; what a section can not do at the kernel boundary has none.
    pub code: Option<Code>,
    /// `file:line:column: …`.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "[{}]: {}", code.name(), self.text),
            None => write!(f, ": {}", self.text),
        }
    }
}

impl Policy {
    /// Warnings about the packs in force, each with its place; the notes of loading first.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let note = |text: &String| Warning {
            code: None,
            text: text.clone(),
        };
        let mut all: Vec<Warning> = self.notes().iter().map(note).collect();
        for (at, (_, pack)) in self.packs.iter().enumerate() {
            // A pack that only watches takes nothing away from others.
            let beside = || {
                let packs = self.packs.iter().enumerate();
                let counts = packs.filter(move |(other, (_, pack))| *other == at || !self.only_watches(pack));
                counts.map(|(_, (_, pack))| pack)
            };
            for (op, rules) in [
                (FileOp::Read, &pack.read),
                (FileOp::Write, &pack.write),
                (FileOp::Delete, &pack.delete),
            ] {
                for rule in rules.iter() {
                    all.extend(never(rule));
                    all.extend(self.void(rule, |text, system| {
                        let view = beside().map(|pack| match op {
                            FileOp::Read => &pack.read,
                            FileOp::Write => &pack.write,
                            FileOp::Delete => &pack.delete,
                        });
                        let rules = view.filter_map(|rules| rules.strictest(text, &|| system, &Nobody));
                        rules.max_by_key(|rule| rule.rule.decision)
                    }));
                }
            }
            for rule in pack.commands.iter() {
                all.extend(never(rule));
                all.extend(self.void(rule, |text, system| {
                    let rules = beside().filter_map(|pack| pack.commands.strictest(text, &|| system, &Nobody));
                    rules.max_by_key(|rule| rule.rule.decision)
                }));
            }
        }
        all
    }

    /// A rule whose every match a more restrictive rule answers.
    ///
    /// A pattern read as text, its stars being bytes that only a star matches, lies in each pattern that matches all of what it matches.
    fn void<'p>(
        &self,
        rule: &PatternRule,
        strictest: impl Fn(&[u8], bool) -> Option<&'p PatternRule>,
    ) -> Option<Warning> {
        let mut by: Option<&Rule> = None;
        for glob in &rule.globs {
            let text = glob.parts().join(&b'*');
            let covering = strictest(&text, glob.reaches_system())?;
            if covering.rule.decision <= rule.rule.decision || !covering.except.is_empty() {
                return None;
            }
            by = Some(&covering.rule);
        }
        let other = by?;
        let place = other
            .source
            .as_ref()
            .map(|source| format!("{}:{}", source.file, source.line));
        let layer = if other.layer == rule.rule.layer {
            ""
        } else {
            layer_words(other.layer)
        };
        Some(warning(
            &rule.rule,
            Code::Void,
            &format!(
                "never answers: `{}` in {}{layer} is more restrictive ({})",
                other.pattern,
                place.unwrap_or_default(),
                other.decision
            ),
        ))
    }
}

const fn layer_words(layer: Layer) -> &'static str {
    match layer {
        Layer::Boundary => " (of the boundary itself)",
        Layer::Machine => " (a pack of the machine)",
        Layer::Launch => " (a pack of the launch)",
        Layer::Repository => " (the workspace's own pack)",
        Layer::Default => "",
    }
}

/// A rule whose exceptions take all of it away.
fn never(rule: &PatternRule) -> Option<Warning> {
    let nothing = !rule.except.is_empty()
        && rule.globs.iter().all(|glob| {
            let text = glob.parts().join(&b'*');
            rule.except.iter().any(|except| except.matches(&text))
        });
    nothing.then(|| {
        warning(
            &rule.rule,
            Code::Never,
            "never matches: `except` names all that `match` does",
        )
    })
}

fn warning(rule: &Rule, code: Code, text: &str) -> Warning {
    let place = rule.source.as_ref();
    let place = place.map(|source| format!("{}:{}:{}", source.file, source.line, source.column));
    let decision: Decision = rule.decision;
    Warning {
        code: Some(code),
        text: format!("{}: {decision} `{}` {text}", place.unwrap_or_default(), rule.pattern),
    }
}
