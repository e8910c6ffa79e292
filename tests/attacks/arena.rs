//! Where an attack takes place: its folder, who lives outside, and the guard that it meets.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cavra_tests::{User, World, places, until, wait};
use serde_json::Value;

use crate::launch::Launch;
use crate::table::{Row, Rules};

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
    /// The same in the test build of the supervisor, without the guard of this name, or those with commas between (`supervisor/src/faults.rs`).
    Off(&'static str),
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

impl Line {
    /// Why it was not tried here.
    pub fn skipped(&self) -> Option<&str> {
        self.note.strip_prefix("skipped: ")
    }
}

/// What an attack came to.
pub struct Outcome {
    pub lines: Vec<Line>,
    /// The first thing outside its reach that changed.
    pub changed: Option<String>,
}

/// Worlds with the programs built.
pub struct Arena {
    world: World,
    /// Outside /tmp, for rules that speak of temporary folders; none where the user reaches no such folder.
    far: Option<World>,
    next: AtomicU32,
    /// Options of each session that it must not win in.
    inside: &'static [&'static str],
}

impl Arena {
    pub fn new(user: User, inside: &'static [&'static str]) -> Self {
        let programs = places::target().join("attacks");
        let status = Command::new("sh")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/build.sh"))
            .arg(&programs)
            .status()
            .expect("sh");
        assert!(status.success(), "the attack programs do not compile");
        let faulty = places::faulty(user).expect("the test build of the supervisor");
        let furnished = |world: World| {
            let bin = world.folder("bin");
            for entry in std::fs::read_dir(&programs).expect("the programs").flatten() {
                std::fs::copy(entry.path(), bin.join(entry.file_name())).expect("a copy of a program");
            }
            std::fs::copy(&faulty, bin.join("faulty")).expect("a copy of the test build");
            world
        };
        Self {
            world: furnished(World::new(user)),
            far: World::far(user).map(furnished),
            next: AtomicU32::new(0),
            inside,
        }
    }

    /// Whether the kernel decides reads in its sessions.
    pub fn by_kernel(&self) -> bool {
        !self.inside.is_empty()
    }

    /// Why a row can not be run here.
    pub fn unmet(&self, row: &Row) -> Option<&'static str> {
        if row.rules == Rules::Default && self.far.is_none() {
            return Some("the user reaches no folder outside /tmp");
        }
        row.launch.unmet(self.world.user())
    }

    fn world(&self, row: &Row) -> &World {
        match &self.far {
            Some(far) if row.rules == Rules::Default => far,
            _ => &self.world,
        }
    }

    /// The options that name the rules.
    fn rules(world: &World, row: &Row, dir: &Path, guard: Guard) -> Vec<String> {
        let workspace = dir.display().to_string();
        let mut options = match row.rules {
            Rules::Default => vec!["--workspace".to_owned(), workspace],
            Rules::Arena | Rules::By if row.launch == Launch::Dirty => vec!["--workspace".to_owned(), workspace],
            Rules::Arena | Rules::By => Vec::new(),
        };
        if row.rules != Rules::Default || guard == Guard::Open {
            let pack = pack(world, row, dir, guard).display().to_string();
            options.extend(["--policy".to_owned(), pack]);
        }
        options
    }

    /// Runs one row's program against a guard, in a folder of its own.
    pub fn run(&self, row: &Row, attempts: u64, guard: Guard) -> Outcome {
        let world = self.world(row);
        let dir = world.path(&format!("a{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let program = |name: &str| world.folder("bin").join(name);
        let tool = |name: &str, action: &str| {
            let output = world.command(program(name)).arg(action).arg(&dir).output().expect(name);
            (output.status.success(), output)
        };
        let (made, output) = tool("world", "make");
        assert!(made, "{}", String::from_utf8_lossy(&output.stderr));
        if row.program == "plants" {
            assert!(tool("plants", "make").0, "the secrets can not be made");
        }
        row.launch.prepare(&dir);
        let outside = Outside::start(world, &program("outside"), &dir);
        let _beside = (row.launch == Launch::Beside).then(|| Beside::start(world, &dir));
        tool("world", "seal");
        let attempts = if guard == Guard::Session || attempts == 1 {
            attempts
        } else {
            CONTROL_ATTEMPTS
        };
        let (attack, dir_text, number) = (
            program(row.program).display().to_string(),
            dir.display().to_string(),
            attempts.to_string(),
        );
        let mut words = vec![attack.as_str(), &dir_text, &number];
        words.extend((!row.technique.is_empty()).then_some(row.technique));
        let rules = Self::rules(world, row, &dir, guard);
        drop(std::fs::remove_dir_all(world.folder("home").join("evidence")));
        let mut command = match guard {
            Guard::Native => world.command(words[0]),
            Guard::Naive => world.command(program("naive")),
            Guard::Open | Guard::Session | Guard::Off(_) => {
                let mut options: Vec<&str> = rules.iter().map(String::as_str).collect();
                options.extend(["--approvals", "deny", "--quiet"]);
                if guard == Guard::Session {
                    options.extend(self.inside);
                }
                let program = if matches!(guard, Guard::Off(_)) {
                    "faulty"
                } else {
                    "cavra-run"
                };
                world.session_of(program, &options, &words)
            }
        };
        match guard {
            Guard::Native => drop(command.args(&words[1..])),
            Guard::Naive => drop(command.args(&words)),
            Guard::Off(name) => drop(command.env("CAVRA_GUARDS_OFF", name)),
            Guard::Open | Guard::Session => {}
        }
        if guard != Guard::Session {
            command
                .env("ATTACK_WINS", CONTROL_WINS)
                .env("ATTACK_SECONDS", CONTROL_SECONDS);
        }
        // Commands are named as they are found in PATH at the start.
        let tools = if row.launch == Launch::Tools {
            format!("{dir_text}/tools:")
        } else {
            String::new()
        };
        let path = format!(
            "{tools}{dir_text}/bin:{}:/usr/local/bin:/usr/bin:/bin",
            world.folder("bin").display()
        );
        command.env("NAIVE_PORT", outside.value("tcp")).env("PATH", path);
        let mut command = row.launch.around(world, &dir, command);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
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
        let checked: Value = serde_json::from_slice(&tool("world", "check").1.stdout).unwrap_or_default();
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

/// The pack of a row as a file.
fn pack(world: &World, row: &Row, dir: &Path, guard: Guard) -> PathBuf {
    let dir = dir.display();
    let rules = match (guard, row.rules) {
        (Guard::Open, _) => {
            "network: {default: allow}\ncommands: {default: allow}\nfilesystem: {default_read: allow, default_write: allow}\n".to_owned()
        }
        (_, Rules::By) => format!(
            "filesystem: {{default_read: allow, default_write: block, allow_write: ['{dir}/ok/**', '/dev/**', '/proc/**']}}\n\
             commands: {{default: allow}}\nnetwork: {{default: block}}\n\
             rules:\n  - {{id: attacks.by, action: write_file, match: '{dir}/by/**', by: /usr/bin/true, decision: allow}}\n"
        ),
        _ => format!(
            "filesystem:\n  default_read: allow\n  default_write: allow\n  block_read: ['{dir}/no/**', '{dir}/no/literal', '{dir}/guard/iam/**']\n  \
             block_write: ['{dir}/no/**', '{dir}/ro/**', '{dir}/ro', '{dir}/guard/iam/**']\n\
             commands: {{default: allow, block: ['good-tool forbidden*', 'evil-tool*', 'evil-dynamic*', 'good-dynamic forbidden*']}}\n\
             network: {{default: block}}\n"
        ),
    };
    let name = if guard == Guard::Open { "open.yaml" } else { "pack.yaml" };
    world.write(name, &format!("metadata: {{id: attacks}}\n{rules}"))
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

/// Another session of the same user, in which nothing happens.
struct Beside(Child);

impl Beside {
    fn start(world: &World, dir: &Path) -> Self {
        let evidence = world.folder("home").join("other");
        drop(std::fs::remove_dir_all(&evidence));
        let child = world
            .command(world.folder("bin").join("cavra-run"))
            .args(["--quiet", "--approvals", "ask", "--evidence"])
            .arg(&evidence)
            .args(["--", "sh", "-c", "echo there; exec sleep 1000"])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = child.expect("the session beside");
        let mut said = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().expect("its output"), &mut said).expect("the session beside");
        std::fs::write(dir.join("other"), child.id().to_string()).expect("its number");
        Self(child)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
