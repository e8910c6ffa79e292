//! Whether a folder's chain is whole, ended, and as it was written.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Serialize;

use super::folder::{names, open_existing, open_file};
use super::record::{NO_HASH, Record, hash_of, split_hash};
use super::sink::file_name;

/// Bytes of one line; the journal's own are far shorter.
const LINE_BYTES: u64 = 4 << 20;

/// What became of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Verification {
    /// Every record is as it was written, and the last one ends the session.
    Whole {
        /// How many records there are.
        records: u64,
    },
    /// Every record is as it was written, but none ends the session: it was killed, it still runs, or lines were cut off.
    Interrupted {
        /// How many records there are.
        records: u64,
        /// The last one.
        last: String,
        /// Bytes of an unfinished line after it.
        unfinished_bytes: u64,
    },
    /// Something is not as it was written.
    Broken {
        /// The first record that is wrong.
        first: Wrong,
    },
}

/// A place in a chain, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 for the file as such.
    pub line: u64,
    /// The record's name, if the line has one.
    pub decision_id: Option<String>,
    /// What is wrong with it.
    pub what: String,
}

impl Verification {
    /// 0 whole and ended, 3 intact but interrupted, 1 broken.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Whole { .. } => 0,
            Self::Interrupted { .. } => 3,
            Self::Broken { .. } => 1,
        }
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { records } => write!(f, "whole: {records} records, the session ended"),
            Self::Interrupted {
                records,
                last,
                unfinished_bytes,
            } => {
                write!(
                    f,
                    "interrupted: {records} records are intact up to {last}, but the session's end is missing"
                )?;
                if *unfinished_bytes > 0 {
                    write!(f, "; {unfinished_bytes} bytes of an unfinished line follow")?;
                }
                write!(f, " (it was killed, it still runs, or lines were cut off)")
            }
            Self::Broken { first } => {
                let id = first
                    .decision_id
                    .as_deref()
                    .map(crate::text::harmless)
                    .unwrap_or_else(|| "no record".into());
                write!(
                    f,
                    "broken: {} line {} ({id}): {}",
                    first.file,
                    first.line,
                    crate::text::harmless(&first.what)
                )
            }
        }
    }
}

/// Reads the whole chain of a session's folder.
#[must_use]
pub fn verify(dir: &Path) -> Verification {
    match read(dir, &mut |_| ()) {
        Ok(verification) => verification,
        Err(error) => Verification::Broken {
            first: Wrong {
                file: dir.display().to_string(),
                line: 0,
                decision_id: None,
                what: error.to_string(),
            },
        },
    }
}

/// As [`verify`], showing each record that is right; an error is the folder's or a file's.
pub(crate) fn read(dir: &Path, each: &mut dyn FnMut(Record)) -> io::Result<Verification> {
    let folder = open_existing(dir)?;
    let mut files = Vec::new();
    for name in names(std::os::fd::AsFd::as_fd(&folder))? {
        if name.starts_with("decisions.") {
            files.push(name);
        }
    }
    let mut chain = Chain::default();
    let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
    for index in 0..count.max(1) {
        let name = file_name(index);
        let wrong = |line, what: String| Verification::Broken {
            first: Wrong {
                file: name.clone(),
                line,
                decision_id: None,
                what,
            },
        };
        if count > 0 && !files.contains(&name) {
            return Ok(wrong(
                0,
                format!("is missing, though there are {count} files of the chain"),
            ));
        }
        let file = match open_file(std::os::fd::AsFd::as_fd(&folder), &name) {
            Ok(file) => file,
            Err(error) => return Ok(wrong(0, error.to_string())),
        };
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let got = reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)?;
            if got == 0 {
                break;
            }
            if chain.unfinished > 0 {
                return Ok(wrong(number, "follows an unfinished line".to_owned()));
            }
            let Some(body) = line.strip_suffix(b"\n") else {
                if got as u64 == LINE_BYTES {
                    return Ok(wrong(number, format!("the line is longer than {LINE_BYTES} bytes")));
                }
                chain.unfinished = got as u64;
                continue;
            };
            match chain.next(body) {
                Ok(record) => each(record),
                Err((decision_id, what)) => {
                    return Ok(Verification::Broken {
                        first: Wrong {
                            file: name,
                            line: number,
                            decision_id,
                            what,
                        },
                    });
                }
            }
        }
    }
    Ok(chain.end())
}

#[derive(Default)]
struct Chain {
    records: u64,
    last: String,
    prev_hash: String,
    session: String,
    ended: bool,
    unfinished: u64,
}

impl Chain {
    fn next(&mut self, line: &[u8]) -> Result<Record, (Option<String>, String)> {
        let parsed = serde_json::from_slice::<Record>(line);
        let id = parsed.as_ref().ok().map(|record| record.decision_id.clone());
        let wrong = |what: &str| (id.clone(), what.to_owned());
        let record = match &parsed {
            Ok(record) => record,
            Err(error) => return Err((None, format!("is not a record: {error}"))),
        };
        let Some((hashed, claimed)) = split_hash(line) else {
            return Err(wrong("does not end in a hash"));
        };
        if hash_of(&hashed) != claimed {
            return Err(wrong("its hash is not that of its content: it was changed"));
        }
        let plain = Record {
            hash: String::new(),
            ..record.clone()
        };
        if plain.canonical().ok().as_ref() != Some(&hashed) {
            return Err(wrong(
                "is not written as the journal writes it: duplicate, unknown or reordered members",
            ));
        }
        if record.seq != self.records {
            return Err(wrong(&format!(
                "has seq {} where {} is due: records are missing, doubled or reordered",
                record.seq, self.records
            )));
        }
        let expected = if self.records == 0 { NO_HASH } else { &self.prev_hash };
        if record.prev_hash != expected {
            return Err(wrong(
                "does not follow the record before it: one of them was replaced or removed",
            ));
        }
        if (self.records == 0) != record.opening.is_some() {
            return Err(wrong(if self.records == 0 {
                "does not open a session"
            } else {
                "opens a second session"
            }));
        }
        if self.ended {
            return Err(wrong("follows the end of the session"));
        }
        if self.records > 0 && record.session_id != self.session {
            return Err(wrong("belongs to another session"));
        }
        self.session.clone_from(&record.session_id);
        self.ended = record.totals.is_some();
        claimed.clone_into(&mut self.prev_hash);
        self.last.clone_from(&record.decision_id);
        self.records = self.records.saturating_add(1);
        parsed.map_err(|error| (None, error.to_string()))
    }

    fn end(self) -> Verification {
        match self.records {
            0 => Verification::Broken {
                first: Wrong {
                    file: file_name(0),
                    line: 1,
                    decision_id: None,
                    what: "there is no record: the opening one is missing".to_owned(),
                },
            },
            records if self.ended && self.unfinished == 0 => Verification::Whole { records },
            _ if self.ended => Verification::Broken {
                first: Wrong {
                    file: file_name(0),
                    line: self.records.saturating_add(1),
                    decision_id: None,
                    what: "bytes follow the end of the session".to_owned(),
                },
            },
            records => Verification::Interrupted {
                records,
                last: self.last,
                unfinished_bytes: self.unfinished,
            },
        }
    }
}
