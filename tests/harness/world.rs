//! The short form, for tests that need one shell line and its records: a [`World`] is a [`Stage`] in /tmp with a program
//! folder, and [`World::run`] is a whole session.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use crate::places;
use crate::records;
use crate::stage::{SYSTEM_PATH, Stage};
use crate::users::User;

/// How long a whole session may take.
const SESSION: Duration = Duration::from_secs(240);

/// The users that this run can test as; says what it can not.
#[must_use]
pub fn users() -> Vec<User> {
    if geteuid().is_root() {
        return vec![User::Own, User::Ordinary];
    }
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| eprintln!("SKIPPED: sessions as root (the tests run as an ordinary user)"));
    vec![User::Own]
}

/// A workspace (`ws`), a home and a program folder that everybody can enter; gone at the end.
pub struct World {
    stage: Stage,
}

impl World {
    /// An empty world below /tmp.
    #[must_use]
    pub fn new(user: User) -> Self {
        Self::below(Path::new("/tmp"), user)
    }

    /// An empty world outside /tmp, or none where `user` reaches no such folder.
    #[must_use]
    pub fn far(user: User) -> Option<Self> {
        let base = places::base(user);
        (!base.starts_with("/tmp")).then(|| Self::below(&base, user))
    }

    fn below(base: &Path, user: User) -> Self {
        let stage = Stage::below(base, user).expect("users() gives only users that there are");
        for program in ["cavra-run", "cavractl"] {
            let (built, here) = (places::products().join(program), stage.at("bin").join(program));
            // A link where the file system allows it: a debug build is some 60 MB.
            let made = std::fs::hard_link(&built, &here).or_else(|_| std::fs::copy(&built, &here).map(drop));
            made.expect("run `cargo build` first");
        }
        Self { stage }
    }

    /// Who runs its sessions.
    #[must_use]
    pub fn user(&self) -> User {
        self.stage.user()
    }

    /// A path in the workspace.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.stage.workspace().join(name)
    }

    /// The program folder `bin`, the `home`, and what else lies beside the workspace.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.stage.at(name)
    }

    /// Writes a file of the session's user into the workspace.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        self.stage.write(self.path(name), text)
    }

    /// Builds a C program of `tests/programs` into the program folder.
    pub fn program(&self, name: &str) -> PathBuf {
        let source = places::repository().join("tests/programs").join(format!("{name}.c"));
        let out = self.folder("bin").join(name);
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-pthread", "-o"]).arg(&out).arg(source);
        assert!(compiler.status().expect("cc").success(), "{name} does not compile");
        out
    }

    /// A command in the workspace, with the world's home, not yet started.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path(""))
            .env("HOME", self.folder("home"))
            .env("PATH", format!("{}:{SYSTEM_PATH}", self.folder("bin").display()))
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::null());
        self.stage.user().dress(&mut command).expect("the world's user exists");
        command
    }

    /// `cavra-run OPTIONS --evidence … -- WORDS`, not yet started.
    #[must_use]
    pub fn session(&self, options: &[&str], words: &[&str]) -> Command {
        self.session_of("cavra-run", options, words)
    }

    /// The same with another build of cavra-run, which lies in `bin`.
    #[must_use]
    pub fn session_of(&self, program: &str, options: &[&str], words: &[&str]) -> Command {
        let mut command = self.command(self.folder("bin").join(program));
        command
            .args(options)
            .arg("--evidence")
            .arg(self.evidence())
            .arg("--")
            .args(words);
        command
    }

    /// Runs a session to its end.
    pub fn run(&self, options: &[&str], words: &[&str]) -> Outcome {
        drop(std::fs::remove_dir_all(self.evidence()));
        let mut command = self.session(options, words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = wait(command.spawn().expect("cavra-run"), SESSION);
        Outcome {
            output,
            records: self.records(),
        }
    }

    /// The records so far.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        records::read(&self.evidence())
    }

    fn evidence(&self) -> PathBuf {
        self.folder("home").join("evidence")
    }
}

/// What a session came to.
pub struct Outcome {
    /// Status and output.
    pub output: Output,
    /// Its records.
    pub records: Vec<Value>,
}

impl Outcome {
    /// Standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Exit status.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// Whether there is a record with this decision, rule and end of the target.
    #[must_use]
    pub fn recorded(&self, decision: &str, rule: &str, target: &str) -> bool {
        self.records.iter().any(|record| {
            let is = |name: &str| record[name].as_str().unwrap_or_default();
            is("decision") == decision && is("rule_id") == rule && is("target").ends_with(target)
        })
    }
}

/// Waits for the end, and kills what does not come to one: with its group, where it leads one, as its children hold its output open.
pub fn wait(mut child: Child, limit: Duration) -> Output {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process number"));
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        // Only a timeout ends it: the sender goes once the child is reaped, so the number is still its own.
        if end.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = killpg(pid, Signal::SIGKILL);
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("output");
    drop(ended);
    drop(watch.join());
    output
}
