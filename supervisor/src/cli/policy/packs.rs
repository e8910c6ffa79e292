//! `cavractl policy coverage` and `test`: what packs hold, and what they answer.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::super::{FAILED, Said};
use crate::cavra::{self, Coverage, Enforcer, search_path};
use crate::text::harmless;

/// What can be done with packs.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Packs {
    /// Show which control each rule serves, and what enforces the rule
    Coverage {
        /// Packs, by id or file
        #[arg(required = true, value_name = "ID|FILE")]
        packs: Vec<String>,
        /// For scripts
        #[arg(long)]
        json: bool,
    },
    /// Ask a pack what its tests.yaml asks; 1 when an answer is another than expected
    Test {
        /// The pack, by id or file
        #[arg(value_name = "ID|FILE")]
        pack: String,
        /// The requests and answers; else tests.yaml beside the pack
        #[arg(long, value_name = "FILE")]
        tests: Option<PathBuf>,
    },
}

impl Packs {
    /// Does it.
    pub(super) fn run(self) -> Said {
        let search = search_path(&|name| std::env::var_os(name));
        match self {
            Self::Coverage { packs, json } => match cavra::coverage(&packs, &search) {
                Ok(coverage) if json => match serde_json::to_string_pretty(&coverage.rows) {
                    Ok(text) => Said::fine(text + "\n"),
                    Err(error) => Said::failed(FAILED, &error),
                },
                Ok(coverage) => Said::fine(table(&coverage)),
                Err(errors) => Said::failed(1, &errors),
            },
            Self::Test { pack, tests } => test(&pack, tests, &search),
        }
    }
}

fn test(pack: &str, tests: Option<PathBuf>, search: &[PathBuf]) -> Said {
    let file = tests.unwrap_or_else(|| beside(pack, search));
    let name = file.display().to_string();
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            return Said::failed(FAILED, &format!("{name}: {error}; name the file with --tests"));
        }
    };
    match cavra::run_cases(pack, search, &name, &text) {
        Ok(outcome) => {
            let mut out: String = outcome
                .failed
                .iter()
                .map(|line| format!("{}\n", harmless(line)))
                .collect();
            let _ = writeln!(out, "{} as expected, {} not", outcome.passed, outcome.failed.len());
            Said {
                out,
                status: u8::from(!outcome.failed.is_empty()),
                ..Said::default()
            }
        }
        Err(errors) => Said::failed(1, &errors),
    }
}

/// `tests.yaml` beside the pack's file.
fn beside(pack: &str, search: &[PathBuf]) -> PathBuf {
    if pack.contains('/') || pack.ends_with(".yaml") {
        return Path::new(pack).with_file_name("tests.yaml");
    }
    let mut all = search.iter().map(|root| root.join(pack).join("tests.yaml"));
    let first = all.next().unwrap_or_default();
    if first.exists() {
        return first;
    }
    all.find(|path| path.exists()).unwrap_or(first)
}

/// Control, rule, entry, enforcer and place, by control.
fn table(coverage: &Coverage) -> String {
    let none = ["-".to_owned()];
    let mut lines: Vec<(&str, String)> = Vec::new();
    let width =
        |of: &dyn Fn(&cavra::Row) -> usize, most: usize| coverage.rows.iter().map(of).max().unwrap_or(0).min(most);
    let controls = width(&|row| row.controls.iter().map(String::len).max().unwrap_or(0), 36);
    let (rules, entries) = (width(&|row| row.rule_id.len(), 44), width(&|row| row.entry.len(), 48));
    for row in &coverage.rows {
        let named = if row.controls.is_empty() {
            &none
        } else {
            row.controls.as_slice()
        };
        for control in named {
            let line = format!(
                "{:controls$}  {:rules$}  {:entries$}  {:7}  {}",
                harmless(control),
                row.rule_id,
                harmless(&row.entry),
                row.enforced_by,
                row.source
            );
            lines.push((control, line));
        }
    }
    lines.sort_by_key(|(control, _)| *control);
    let mut out = format!(
        "{:controls$}  {:rules$}  {:entries$}  {:7}  SOURCE\n",
        "CONTROL", "RULE", "ENTRY", "BY"
    );
    for (_, line) in &lines {
        out.push_str(line);
        out.push('\n');
    }
    let mut distinct: Vec<&str> = coverage
        .rows
        .iter()
        .flat_map(|row| row.controls.iter().map(String::as_str))
        .collect();
    distinct.sort_unstable();
    distinct.dedup();
    let adapter = coverage
        .rows
        .iter()
        .filter(|row| row.enforced_by == Enforcer::Adapter)
        .count();
    let unmapped = coverage.rows.iter().filter(|row| row.controls.is_empty()).count();
    let _ = writeln!(
        out,
        "\n{} controls, {} entries: {} at the kernel boundary, {adapter} by CAVRA's adapter only, {unmapped} without a control",
        distinct.len(),
        coverage.rows.len(),
        coverage.rows.len() - adapter
    );
    out
}
