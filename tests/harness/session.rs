//! A session of cavra-run and what came of it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Finished, Running};
use crate::records::{self, Found};
use crate::stage::Stage;
use crate::suite::Unmet;
use crate::{places, wait};

/// A session being set up; [`Session::run`] runs it to its end, [`Session::start`] hands it out running.
#[must_use]
pub struct Session<'w> {
    world: &'w Stage,
    evidence: PathBuf,
    options: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    removed: Vec<OsString>,
    input: Option<Vec<u8>>,
    deadline: Duration,
    workspace: Option<PathBuf>,
    states_evidence: bool,
}

/// What came of a session.
pub struct Outcome {
    /// cavra-run's own status and output.
    pub finished: Finished,
    /// The decision records, in order.
    pub records: Vec<Value>,
    /// The evidence folder.
    pub evidence: PathBuf,
    /// Exit code of `cavractl evidence verify` on it; none where cavractl is not built or a signal ended it.
    pub verify: Option<i32>,
}

/// A session that runs.
pub struct Live<'w> {
    /// cavra-run.
    pub running: Running,
    world: &'w Stage,
    evidence: PathBuf,
    deadline: Duration,
}

impl<'w> Session<'w> {
    pub(crate) fn new(world: &'w Stage, number: u32) -> Self {
        Self {
            world,
            evidence: world.at(format!("evidence/{number}")),
            options: Vec::new(),
            variables: Vec::new(),
            removed: Vec::new(),
            input: None,
            deadline: wait::DEADLINE,
            workspace: Some(world.workspace()),
            states_evidence: true,
        }
    }

    /// `--policy`: the id of a pack, or a file. May be given again.
    pub fn policy(self, pack: impl AsRef<OsStr>) -> Self {
        self.option("--policy").option(pack)
    }

    /// A pack given as text, as a further `--policy`.
    pub fn pack(self, yaml: &str) -> Self {
        let name = format!(
            "p{}-{}",
            self.evidence.file_name().unwrap().to_string_lossy(),
            self.options.len()
        );
        let path = self.world.pack(&name, yaml);
        self.policy(path)
    }

    /// `--profile`.
    pub fn profile(self, name: &str) -> Self {
        self.option("--profile").option(name)
    }

    /// `--mode`.
    pub fn mode(self, mode: &str) -> Self {
        self.option("--mode").option(mode)
    }

    /// `--approvals`.
    pub fn approvals(self, answer: &str) -> Self {
        self.option("--approvals").option(answer)
    }

    /// Any other option or its value.
    pub fn option(mut self, word: impl AsRef<OsStr>) -> Self {
        self.options.push(word.as_ref().to_owned());
        self
    }

    /// A variable in the environment of cavra-run (whether the command sees it is the profile's business).
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Takes a variable of the world out of the environment.
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.removed.push(name.as_ref().to_owned());
        self
    }

    /// The command's standard input; without it, /dev/null.
    pub fn stdin(mut self, input: impl AsRef<[u8]>) -> Self {
        self.input = Some(input.as_ref().to_owned());
        self
    }

    /// How long it may take before the test fails.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Another `--workspace`; none leaves the option out.
    pub fn workspace(mut self, workspace: Option<&Path>) -> Self {
        self.workspace = workspace.map(Path::to_owned);
        self
    }

    /// Another `--evidence`.
    pub fn evidence(mut self, folder: impl Into<PathBuf>) -> Self {
        self.evidence = folder.into();
        self
    }

    /// Leaves `--evidence` out: the default folder below the home.
    pub fn default_evidence(mut self) -> Self {
        self.states_evidence = false;
        self
    }

    /// The words before the command, program included.
    pub fn words(&self) -> Result<Vec<OsString>, Unmet> {
        let mut words = vec![places::cavra_run(self.world.user())?.into_os_string()];
        if let Some(workspace) = &self.workspace {
            words.extend([OsString::from("--workspace"), workspace.into()]);
        }
        if self.states_evidence {
            words.extend([OsString::from("--evidence"), self.evidence.clone().into()]);
        }
        words.extend(self.options.iter().cloned());
        words.push("--".into());
        Ok(words)
    }

    /// The same, as a shell takes them.
    pub fn quoted(&self) -> Result<String, Unmet> {
        let words = self.words()?;
        let words = words.iter().map(|word| format!("'{}'", word.to_string_lossy()));
        Ok(words.collect::<Vec<_>>().join(" "))
    }

    /// The evidence folder that it will write.
    #[must_use]
    pub fn evidence_folder(&self) -> &Path {
        &self.evidence
    }

    /// Starts the session and hands it out.
    #[track_caller]
    pub fn start<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(self, words: I) -> Result<Live<'w>, Unmet> {
        let prefix = self.words()?;
        let mut command = self.world.command(&prefix[0])?;
        command
            .args(&prefix[1..])
            .args(words)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        self.removed.iter().for_each(|name| {
            command.env_remove(name);
        });
        Ok(self.launch(command))
    }

    /// Starts `command`, which runs [`Session::words`] in its own way (under unshare, tmux, another cavra-run).
    #[track_caller]
    pub fn launch(self, command: Command) -> Live<'w> {
        let running = Running::start(command, self.input.as_deref());
        Live {
            running,
            world: self.world,
            evidence: self.evidence,
            deadline: self.deadline,
        }
    }

    /// Runs the session to its end.
    #[track_caller]
    pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(self, words: I) -> Result<Outcome, Unmet> {
        Ok(self.start(words)?.finish())
    }

    /// Runs `sh -c script` to its end.
    #[track_caller]
    pub fn sh(self, script: &str) -> Result<Outcome, Unmet> {
        self.run(["sh", "-c", script])
    }
}

impl Live<'_> {
    /// The evidence folder.
    #[must_use]
    pub fn evidence(&self) -> &Path {
        &self.evidence
    }

    /// The records so far.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        records::read(&self.evidence)
    }

    /// Waits for a record that `wanted` accepts.
    #[track_caller]
    pub fn wait_for_record(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait::until(what, || {
            let found = self.records().into_iter().find(|record| wanted(record));
            let ended = self.running.ended();
            assert!(
                found.is_some() || ended.is_none(),
                "the session ended ({ended:?}) without {what}; stdout {:?}, stderr {:?}",
                self.running.stdout(),
                self.running.stderr()
            );
            found
        })
    }

    /// Waits for a held request whose `cavractl approvals list --json` entry holds `about`, and gives its id.
    #[track_caller]
    pub fn wait_for_approval(&mut self, about: &str) -> Result<String, Unmet> {
        places::cavractl(self.world.user())?;
        Ok(wait::until(&format!("a held request about {about:?}"), || {
            let ended = self.running.ended();
            assert!(
                ended.is_none(),
                "the session ended ({ended:?}) before it asked; stderr {:?}",
                self.running.stderr()
            );
            let listed = self.world.cavractl(["approvals", "list", "--json"]).ok()?;
            let list: Value = serde_json::from_str(&listed.stdout).ok()?;
            let pending = list
                .as_array()?
                .iter()
                .find(|entry| entry["state"] == "pending" && entry.to_string().contains(about))?;
            pending["approval_id"].as_str().map(str::to_owned)
        }))
    }

    /// Waits for the end.
    #[track_caller]
    pub fn finish(self) -> Outcome {
        let finished = self.running.finish(self.deadline);
        Outcome::of(self.world, finished, self.evidence)
    }
}

impl Outcome {
    /// Reads what `finished` left in `evidence`, and verifies it.
    pub fn of(world: &Stage, finished: Finished, evidence: PathBuf) -> Self {
        let verify = if evidence.is_dir() {
            let folder = evidence.as_os_str();
            world
                .cavractl([OsStr::new("evidence"), OsStr::new("verify"), folder])
                .ok()
                .and_then(|end| end.code())
        } else {
            None
        };
        Self {
            records: records::read(&evidence),
            finished,
            evidence,
            verify,
        }
    }

    /// The exit code, or none after a signal.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.finished.code()
    }

    /// Standard output.
    #[must_use]
    pub fn stdout(&self) -> &str {
        &self.finished.stdout
    }

    /// Standard error.
    #[must_use]
    pub fn stderr(&self) -> &str {
        &self.finished.stderr
    }

    /// Panics with everything that is known when the exit code is another one.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code(), Some(code), "{}", self.told());
        self
    }

    /// Panics when the evidence is not whole and ended.
    #[track_caller]
    pub fn verifies(&self) -> &Self {
        assert_eq!(
            self.verify,
            Some(0),
            "evidence of {}: {}",
            self.evidence.display(),
            self.told()
        );
        self
    }

    /// The records of one action type; panics when there is none. Each further word narrows and panics likewise.
    #[track_caller]
    pub fn record(&self, action_type: &str) -> Found<'_> {
        Found::all(&self.records).action(action_type)
    }

    /// All records, for counting and for claims that there is none.
    #[must_use]
    pub fn find(&self) -> Found<'_> {
        Found::all(&self.records)
    }

    fn told(&self) -> String {
        let Finished { status, stdout, stderr } = &self.finished;
        format!(
            "{status}\nstdout: {stdout}\nstderr: {stderr}\nrecords:\n{}",
            records::table(self.records.iter())
        )
    }
}
