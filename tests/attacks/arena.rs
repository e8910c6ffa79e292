//! Where an attack takes place: its folder, who lives outside, and the guard that it meets.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cavra_tests::{User, World, until, wait};
use serde_json::Value;

use crate::table::Row;

/// A control has shown its point after so many wins, or it never does.
const CONTROL_WINS: &str = "3";
const CONTROL_SECONDS: &str = "10";
const CONTROL_ATTEMPTS: u64 = 20_000;
/// A session that has not ended by then is stuck.
const LIMIT: Duration = Duration::from_secs(500);

/// What stands between the attack and its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    Native,
    /// The supervisor that looks at the argument and lets the kernel read it again.
    Naive,
    /// A session whose pack has no rule against it: the positive twin.
    Open,
    /// A session whose pack forbids it.
    Session,
}

/// One line of an attack program.
#[derive(Clone, Debug)]
pub struct Line {
    pub class: u64,
    pub technique: String,
    pub asked: u64,
    pub attempts: u64,
    pub wins: u64,
    pub errors: String,
    pub through: u64,
    pub note: String,
}

/// What an attack came to.
pub struct Outcome {
    pub lines: Vec<Line>,
    /// The first thing outside its reach that changed.
    pub changed: Option<String>,
}

/// A world with the programs built.
pub struct Arena {
    world: World,
    next: AtomicU32,
}

impl Arena {
    pub fn new(user: User) -> Self {
        let world = World::new(user);
        let status = Command::new("sh")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/build.sh"))
            .arg(world.folder("bin"))
            .status()
            .expect("sh");
        assert!(status.success(), "the attack programs do not compile");
        Self {
            world,
            next: AtomicU32::new(0),
        }
    }

    fn program(&self, name: &str) -> PathBuf {
        self.world.folder("bin").join(name)
    }

    fn tool(&self, action: &str, dir: &Path) -> std::process::Output {
        self.world
            .command(self.program("world"))
            .arg(action)
            .arg(dir)
            .output()
            .expect("world")
    }

    fn pack(&self, dir: &Path, guard: Guard) -> PathBuf {
        let dir = dir.display();
        let rules = if guard == Guard::Open {
            "network: {default: allow}\ncommands: {default: allow}\nfilesystem: {default_read: allow, default_write: allow}\n".to_owned()
        } else {
            format!(
                "filesystem:\n  default_read: allow\n  default_write: allow\n  block_read: ['{dir}/no/**', '{dir}/no/literal', '{dir}/guard/iam/**']\n  \
                 block_write: ['{dir}/no/**', '{dir}/ro/**', '{dir}/ro', '{dir}/guard/iam/**']\n\
                 commands: {{default: allow, block: ['good-tool forbidden*', 'evil-tool*', 'evil-dynamic*', 'good-dynamic forbidden*']}}\n\
                 network: {{default: block}}\n"
            )
        };
        let name = if guard == Guard::Open { "open.yaml" } else { "pack.yaml" };
        self.world.write(name, &format!("metadata: {{id: attacks}}\n{rules}"))
    }

    /// Runs one row's program against a guard, in a folder of its own.
    pub fn run(&self, row: &Row, attempts: u64, guard: Guard) -> Outcome {
        let dir = self
            .world
            .path(&format!("a{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let made = self.tool("make", &dir);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let outside = Outside::start(&self.world, &self.program("outside"), &dir);
        self.tool("seal", &dir);
        let attempts = if guard == Guard::Session || attempts == 1 {
            attempts
        } else {
            CONTROL_ATTEMPTS
        };
        let (program, dir_text, number) = (
            self.program(row.program),
            dir.display().to_string(),
            attempts.to_string(),
        );
        let program = program.display().to_string();
        let mut words = vec![program.as_str(), &dir_text, &number];
        words.extend((!row.technique.is_empty()).then_some(row.technique));
        let mut command = match guard {
            Guard::Native => self.world.command(words[0]),
            Guard::Naive => self.world.command(self.program("naive")),
            Guard::Open | Guard::Session => {
                drop(std::fs::remove_dir_all(self.world.folder("home").join("evidence")));
                let pack = self.pack(&dir, guard).display().to_string();
                self.world
                    .session(&["--policy", &pack, "--approvals", "deny", "--quiet"], &words)
            }
        };
        match guard {
            Guard::Native => drop(command.args(&words[1..])),
            Guard::Naive => drop(command.args(&words)),
            Guard::Open | Guard::Session => {}
        }
        if guard != Guard::Session {
            command
                .env("ATTACK_WINS", CONTROL_WINS)
                .env("ATTACK_SECONDS", CONTROL_SECONDS);
        }
        // Commands are named as they are found in PATH at the start.
        let path = format!(
            "{dir_text}/bin:{}:/usr/local/bin:/usr/bin:/bin",
            self.world.folder("bin").display()
        );
        command.env("NAIVE_PORT", outside.value("tcp")).env("PATH", path);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the attack");
        let output = wait(child, LIMIT);
        let lines: Vec<Line> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(parse)
            .collect();
        if !output.status.success() {
            println!(
                "{} under {guard:?} ended with {}: {}",
                row.program,
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let checked: Value = serde_json::from_slice(&self.tool("check", &dir).stdout).unwrap_or_default();
        let changed = checked["changed"].as_u64().is_none_or(|n| n > 0).then(|| {
            checked["what"]
                .as_str()
                .unwrap_or("the world can not be read")
                .to_owned()
        });
        drop(outside);
        drop(std::fs::remove_dir_all(&dir));
        Outcome { lines, changed }
    }
}

fn parse(text: &str) -> Option<Line> {
    let value: Value = serde_json::from_str(text).ok()?;
    let errors = value["errors"].as_object()?;
    Some(Line {
        class: value["class"].as_u64()?,
        technique: value["technique"].as_str()?.to_owned(),
        asked: value["asked"].as_u64()?,
        attempts: value["attempts"].as_u64()?,
        wins: value["wins"].as_u64()?,
        through: errors.get("none").and_then(Value::as_u64).unwrap_or(0),
        errors: errors
            .iter()
            .filter(|(name, _)| *name != "none")
            .map(|(name, count)| format!("{name} {count}"))
            .collect::<Vec<_>>()
            .join(", "),
        note: value["note"].as_str().unwrap_or_default().to_owned(),
    })
}

/// The process outside, with the user's rights; ends when this is dropped.
struct Outside {
    child: Child,
    dir: PathBuf,
}

impl Outside {
    fn start(world: &World, program: &Path, dir: &Path) -> Self {
        let child = world
            .command(program)
            .arg(dir)
            .stdin(Stdio::piped())
            .spawn()
            .expect("outside");
        let outside = Self {
            child,
            dir: dir.to_path_buf(),
        };
        until("the process outside", || {
            outside.dir.join("outside").exists().then_some(())
        });
        outside
    }

    /// What it wrote about itself.
    fn value(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join("outside"))
            .unwrap_or_default()
            .lines()
            .find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
            .unwrap_or_default()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // It serves until its standard input ends.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}
