//! The table of programs' command lines: what ships in `table.yaml`, and rows that a pack adds under `command_grammar`.
//!
//! A pack's rows stand beside the shipped ones and never replace them: all rows of a name are read, and the readings united. So a row can add
//! spellings and refusals, never take one away (I10).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use super::grammar::{Grammar, Style};
use super::names::unversioned;

/// Rows that one pack may add.
const ROWS_MAX: usize = 1000;
/// Words that a verb may have.
const WORDS_MAX: usize = 6;

/// One row as it is written; `table.yaml` explains the keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Row {
    pub(super) names: Vec<String>,
    pub(super) files: Vec<String>,
    pub(super) style: Style,
    pub(super) valued: Vec<String>,
    pub(super) flags: Vec<String>,
    pub(super) stops: Vec<String>,
    pub(super) words: usize,
    pub(super) groups: Vec<String>,
    pub(super) verbs: Vec<String>,
    pub(super) abbreviates: bool,
    pub(super) same: BTreeMap<String, String>,
    pub(super) toolchain: bool,
    pub(super) dashed: bool,
    pub(super) ignores_case: bool,
    pub(super) aliases: Option<Aliases>,
    pub(super) words_from: Option<String>,
    pub(super) runs: Option<Runs>,
    pub(super) modes: BTreeMap<String, ModeRow>,
}

/// How one verb's options choose what it does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ModeRow {
    valued: Vec<String>,
    flags: Vec<String>,
    chosen: Vec<String>,
    same: BTreeMap<String, String>,
    verbs: Vec<String>,
    one: Option<String>,
}

/// Where a tool's users name verbs of their own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Aliases {
    /// Prefix of environment variables, the alias in capitals behind it.
    pub(super) env: Option<String>,
    /// Options whose values are settings, files of settings, or folders to work in.
    pub(super) options: Vec<String>,
    /// Files: `^/x` is searched for from the working folder upwards; `${home}` and `${VARIABLE}` stand for themselves.
    pub(super) files: Vec<String>,
}

/// How a wrapper's own words end and the command begins.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Runs {
    pub(super) verb: Vec<String>,
    pub(super) operands: usize,
    pub(super) assignments: bool,
    pub(super) in_process: bool,
    pub(super) module: Option<char>,
    pub(super) remote: Option<Remote>,
}

/// How words are read in another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Remote {
    /// Joined, as a shell's line: ssh.
    Line,
    /// As arguments: `docker exec`.
    Words,
}

/// Words of a verb.
pub(super) type Words = Vec<Box<[u8]>>;

/// A row ready for reading.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) grammar: Grammar,
    /// Words of a verb at most; 0 for what has no verbs.
    pub(super) words: usize,
    pub(super) groups: Vec<Box<[u8]>>,
    pub(super) verbs: Vec<Box<[u8]>>,
    pub(super) abbreviates: bool,
    /// The words of a verb, and those that it means.
    pub(super) same: Vec<(Words, Words)>,
    pub(super) toolchain: bool,
    pub(super) ignores_case: bool,
    pub(super) aliases: Option<Aliases>,
    pub(super) words_from: Option<String>,
    pub(super) runs: Option<Runs>,
    pub(super) modes: Vec<(Box<[u8]>, Modes)>,
}

/// What one verb does, by the options in front of its first operand.
#[derive(Debug)]
pub(super) struct Modes {
    pub(super) grammar: Grammar,
    /// An option that chooses, and the name of what it chooses.
    pub(super) chosen: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// First operands that are verbs of its own, with other options.
    pub(super) verbs: Vec<Box<[u8]>>,
    /// What it does with one operand where nothing is chosen.
    pub(super) one: Option<Box<[u8]>>,
}

/// All rows, by the names of their programs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    by_name: HashMap<Box<[u8]>, Vec<Arc<Program>>>,
    /// Files that are a program under another name.
    files: HashMap<Box<[u8]>, Box<[u8]>>,
    /// Programs that are called as `name-verb` too.
    dashed: Vec<Box<[u8]>>,
}

/// Why a row can not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("command_grammar: row {row}: {text}")]
pub(crate) struct RowError {
    /// The row, from 1.
    pub(crate) row: usize,
    /// What is wrong with it, and what would be right.
    pub(crate) text: String,
}

static SHIPPED: LazyLock<Arc<Table>> = LazyLock::new(|| {
    // `table.yaml`, as build.rs wrote it.
    let rows: Vec<Row> =
        serde_json::from_str(include_str!(concat!(env!("OUT_DIR"), "/table.json"))).unwrap_or_default();
    Arc::new(Table::default().with(&rows).unwrap_or_default())
});

impl Table {
    /// The shipped rows.
    #[must_use]
    pub(crate) fn shipped() -> &'static Arc<Self> {
        &SHIPPED
    }

    /// The rows of a pack's `command_grammar`, as its loader read them.
    ///
    /// # Errors
    /// The first thing that is wrong in each row.
    pub(crate) fn rows(values: &[serde_json::Value]) -> Result<Vec<Row>, Vec<RowError>> {
        let mut errors = Vec::new();
        let mut rows = Vec::new();
        for (at, value) in values.iter().enumerate() {
            match serde_json::from_value::<Row>(value.clone()) {
                Ok(row) => rows.push(row),
                Err(error) => errors.push(RowError {
                    row: at + 1,
                    text: error.to_string(),
                }),
            }
        }
        if values.len() > ROWS_MAX {
            errors.push(RowError {
                row: ROWS_MAX + 1,
                text: format!("a pack may add {ROWS_MAX} rows at most"),
            });
        }
        errors.extend(rows.iter().enumerate().filter_map(|(at, row)| {
            let text = match row.wrong() {
                // A mode lets an exception of another layer's rule hold (I10).
                None if !row.modes.is_empty() => {
                    "`modes` is for the shipped rows: a pack's rows add readings and take none away".to_owned()
                }
                wrong => wrong?,
            };
            Some(RowError { row: at + 1, text })
        }));
        if errors.is_empty() { Ok(rows) } else { Err(errors) }
    }

    /// This table and more rows.
    ///
    /// # Errors
    /// The first thing that is wrong in each row.
    pub(crate) fn with(&self, rows: &[Row]) -> Result<Self, Vec<RowError>> {
        let mut table = self.clone();
        let mut errors = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            match row.wrong() {
                None => table.add(row),
                Some(text) => errors.push(RowError { row: at + 1, text }),
            }
        }
        if errors.is_empty() { Ok(table) } else { Err(errors) }
    }

    /// The rows of a program by one of its names.
    pub(super) fn programs(&self, name: &[u8]) -> &[Arc<Program>] {
        self.by_name.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The program that a file of this base name is.
    pub(super) fn of_file(&self, file: &[u8]) -> Option<&[u8]> {
        self.files.get(file).map(AsRef::as_ref)
    }

    /// The program and the verb that one of its dashed names means.
    pub(super) fn dashed<'t, 'n>(&'t self, name: &'n [u8]) -> Option<(&'t [u8], &'n [u8])> {
        self.dashed.iter().find_map(|program| {
            let verb = name.strip_prefix(program.as_ref())?.strip_prefix(b"-")?;
            (!verb.is_empty()).then_some((program.as_ref(), verb))
        })
    }

    fn add(&mut self, row: &Row) {
        let program = Arc::new(row.compiled());
        for name in &row.names {
            self.by_name.entry(bytes(name)).or_default().push(Arc::clone(&program));
        }
        if row.dashed {
            self.dashed.extend(row.names.iter().map(|name| bytes(name)));
        }
        if let Some(first) = row.names.first() {
            for file in &row.files {
                self.files.entry(bytes(file)).or_insert_with(|| bytes(first));
            }
        }
    }
}

impl Row {
    /// What is wrong with it.
    fn wrong(&self) -> Option<String> {
        let options = self.valued.iter().chain(&self.flags).chain(&self.stops);
        if self.names.is_empty() {
            return Some("`names` is missing: the base names of the programs that it is about".to_owned());
        }
        if let Some(name) = self
            .names
            .iter()
            .chain(&self.files)
            .find(|name| name.is_empty() || name.contains('/'))
        {
            return Some(format!("name `{name}`: a base name is needed, without folders"));
        }
        if let Some(name) = self
            .names
            .iter()
            .find(|name| unversioned(name.as_bytes()) != name.as_bytes() && self.words > 0)
        {
            let plain = String::from_utf8_lossy(unversioned(name.as_bytes())).into_owned();
            return Some(format!(
                "name `{name}` ends in a version, which is taken off before the table is asked; write `{plain}`"
            ));
        }
        for option in options {
            if !option.starts_with('-') {
                return Some(format!(
                    "option `{option}` does not begin with a dash; write it as it is typed"
                ));
            }
            if option.contains(['=', ' ']) {
                return Some(format!("option `{option}`: only its name, without a value"));
            }
        }
        if self.words > WORDS_MAX {
            return Some(format!("words: {}: a verb has {WORDS_MAX} words at most", self.words));
        }
        if self.words == 0 && self.runs.is_none() {
            return Some(
                "neither `words` (it has verbs) nor `runs` (it runs another command): the row has no effect".to_owned(),
            );
        }
        None
    }

    fn compiled(&self) -> Program {
        let words = |text: &String| text.split_whitespace().map(bytes).collect::<Vec<_>>();
        Program {
            grammar: Grammar::new(&self.valued, &self.flags, &self.stops, self.style),
            words: self.words,
            groups: self.groups.iter().map(|name| bytes(name)).collect(),
            verbs: self.verbs.iter().map(|name| bytes(name)).collect(),
            abbreviates: self.abbreviates,
            same: self
                .same
                .iter()
                .map(|(verb, other)| (words(verb), words(other)))
                .collect(),
            toolchain: self.toolchain,
            ignores_case: self.ignores_case,
            aliases: self.aliases.clone(),
            words_from: self.words_from.clone(),
            runs: self.runs.clone(),
            modes: self
                .modes
                .iter()
                .map(|(verb, row)| (bytes(verb), row.compiled()))
                .collect(),
        }
    }
}

impl ModeRow {
    fn compiled(&self) -> Modes {
        let flags: Vec<String> = self
            .flags
            .iter()
            .chain(&self.chosen)
            .chain(self.same.keys())
            .cloned()
            .collect();
        let own = self.chosen.iter().map(|option| (bytes(option), bytes(option)));
        let same = self.same.iter().map(|(option, other)| (bytes(option), bytes(other)));
        Modes {
            grammar: Grammar::new(&self.valued, &flags, &[], Style::Gnu),
            chosen: own.chain(same).collect(),
            verbs: self.verbs.iter().map(|verb| bytes(verb)).collect(),
            one: self.one.as_deref().map(bytes),
        }
    }
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::{Row, Table};

    #[test]
    fn the_shipped_table_is_whole() {
        let rows: Vec<Row> = serde_saphyr::from_str(include_str!("table.yaml")).unwrap();
        assert_eq!(Table::default().with(&rows).err(), None);
        assert!(rows.len() > 50);
        for name in [
            "git",
            "kubectl",
            "helm",
            "terraform",
            "tofu",
            "aws",
            "az",
            "gcloud",
            "docker",
            "podman",
            "gh",
            "glab",
            "npm",
            "pnpm",
            "yarn",
            "pip",
            "cargo",
            "twine",
            "ssh",
            "sh",
            "bash",
            "env",
            "nice",
            "timeout",
            "nohup",
            "setsid",
            "xargs",
            "sudo",
            "doas",
            "busybox",
        ] {
            assert!(!Table::shipped().programs(name.as_bytes()).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_row_that_says_nothing_or_nonsense_is_named() {
        for (row, wanted) in [
            (json!({"names": ["x"]}), "neither `words`"),
            (json!({"words": 1}), "`names` is missing"),
            (json!({"names": ["/bin/x"], "words": 1}), "without folders"),
            (json!({"names": ["x"], "words": 99}), "6 words at most"),
            (
                json!({"names": ["x"], "words": 1, "valued": ["context"]}),
                "does not begin with a dash",
            ),
            (
                json!({"names": ["x"], "words": 1, "valued": ["--context=y"]}),
                "without a value",
            ),
            (json!({"names": ["x1.2"], "words": 1}), "write `x`"),
            (json!({"names": ["x"], "word": 1}), "unknown field `word`"),
            (
                json!({"names": ["git"], "words": 1, "modes": {"config": {"chosen": ["--add"]}}}),
                "for the shipped rows",
            ),
            (json!({"names": ["x"], "runs": {"verbs": []}}), "unknown field `verbs`"),
            (json!("x"), "invalid type"),
        ] {
            let errors = Table::rows(&[json!({"names": ["fine"], "words": 1}), row]).unwrap_err();
            let [error] = errors.as_slice() else {
                unreachable!("{errors:?}")
            };
            assert!(error.text.contains(wanted), "{error}");
        }
        let many = vec![json!({"names": ["x"], "words": 1}); 1001];
        assert!(Table::rows(&many).is_err());
    }
}
