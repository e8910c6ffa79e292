//! The harness of the black-box sessions: a world of its own for each test, as root or as an ordinary user.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Who runs a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Whoever runs the tests.
    Own,
    /// An unprivileged number that no account has; only root can become it.
    Ordinary,
}

const ORDINARY: u32 = 61_234;

/// The users that this run can test as; says what it can not.
pub fn users() -> Vec<User> {
    // SAFETY: can not fail.
    if unsafe { libc::geteuid() } == 0 {
        return vec![User::Own, User::Ordinary];
    }
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| eprintln!("SKIPPED: sessions as root (the tests run as an ordinary user)"));
    vec![User::Own]
}

/// A workspace, a home and a program folder that everybody can enter; gone at the end.
pub struct World {
    dir: tempfile::TempDir,
    user: User,
}

fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let folder = test.ancestors().nth(2).expect("target folder").to_path_buf();
    std::env::var_os("CAVRA_BIN_DIR")
        .map_or(folder, PathBuf::from)
        .join(name)
}

impl World {
    /// An empty world.
    pub fn new(user: User) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("cavra-test-")
            .tempdir_in("/tmp")
            .expect("temporary folder");
        let world = Self { dir, user };
        for folder in ["", "ws", "home", "bin"] {
            let path = world.dir.path().join(folder);
            std::fs::create_dir_all(&path).expect("folder");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
            world.own(&path);
        }
        for program in ["cavra-run", "cavractl"] {
            std::fs::copy(built(program), world.dir.path().join("bin").join(program)).expect("run `cargo build` first");
        }
        world
    }

    fn own(&self, path: &Path) {
        if self.user == User::Ordinary {
            std::os::unix::fs::chown(path, Some(ORDINARY), Some(ORDINARY)).expect("chown");
        }
    }

    /// A path in the workspace.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("ws").join(name)
    }

    /// The program folder, the home, the evidence.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the session's user into the workspace.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let mut made = Vec::new();
        let mut parent = path.parent();
        while let Some(folder) = parent.filter(|folder| !folder.exists()) {
            made.push(folder.to_path_buf());
            parent = folder.parent();
        }
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(&path, text).expect("file");
        made.iter().chain([&path]).for_each(|path| self.own(path));
        path
    }

    /// Builds a C program into the program folder.
    pub fn program(&self, name: &str) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("programs")
            .join(format!("{name}.c"));
        let out = self.dir.path().join("bin").join(name);
        let status = Command::new("cc")
            .args(["-O2", "-pthread", "-o"])
            .arg(&out)
            .arg(source)
            .status()
            .expect("cc");
        assert!(status.success(), "{name} does not compile");
        out
    }

    /// A command in the workspace, with the world's home, not yet started.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path(""))
            .env("HOME", self.folder("home"))
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::null());
        command.env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", self.folder("bin").display()),
        );
        if self.user == User::Ordinary {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        command
    }

    /// `cavra-run OPTIONS --evidence … -- WORDS`, not yet started.
    pub fn session(&self, options: &[&str], words: &[&str]) -> Command {
        let mut command = self.command(self.folder("bin").join("cavra-run"));
        command
            .args(options)
            .arg("--evidence")
            .arg(self.folder("home").join("evidence"))
            .arg("--")
            .args(words);
        command
    }

    /// Runs a session to its end.
    pub fn run(&self, options: &[&str], words: &[&str]) -> Outcome {
        drop(std::fs::remove_dir_all(self.folder("home").join("evidence")));
        let child = self
            .session(options, words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cavra-run");
        let output = wait(child, Duration::from_secs(240));
        Outcome {
            output,
            records: self.records(),
        }
    }

    /// The records so far.
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder("home").join("evidence/decisions.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
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
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Exit status.
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// Whether there is a record with this decision, rule and end of the target.
    pub fn recorded(&self, decision: &str, rule: &str, target: &str) -> bool {
        self.records.iter().any(|record| {
            let is = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
            is("decision") == decision && is("rule_id") == rule && is("target").ends_with(target)
        })
    }
}

/// Waits for the end, and kills what does not come to one.
pub fn wait(mut child: std::process::Child, limit: Duration) -> Output {
    let end = Instant::now() + limit;
    let pid = child.id();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if receiver
            .recv_timeout(end.saturating_duration_since(Instant::now()))
            .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            // SAFETY: the child is not reaped before the sender is dropped.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        }
    });
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("output");
    drop(sender);
    drop(watch.join());
    output
}

/// Waits until `condition` holds; fails after a minute.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
