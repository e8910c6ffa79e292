//! `cavractl selftest`: attacks on a live session of this machine, under the user's own profile and packs.
//!
//! A session is started with one pack more, which blocks a scratch folder, a command and a port, and abstains otherwise. In it
//! [`probe`] tries every technique of `techniques.rs`; outside it tries the same on a folder of its own: what does not work there proves
//! nothing here. Nothing is tried on the user's own files.

mod scene;
mod techniques;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use scene::Scene;
pub use techniques::{TECHNIQUES, Technique};

use crate::approvals::client::sessions;
use crate::approvals::{Answer, State, run_root};
use crate::evidence::verify;

/// What forbidden files and listeners say, and permitted ones.
const FORBIDDEN: &str = "FORBIDDEN";
const PERMITTED: &str = "PERMITTED";
/// A shell line that the scratch pack blocks, one that it does not, and the status of the first.
const FORBIDDEN_LINE: &str = "exit 23";
const PERMITTED_LINE: &str = "exit 11";
const FORBIDDEN_STATUS: i32 = 23;
/// Between looks at what is held.
const PAUSE: Duration = Duration::from_millis(20);
/// All of it takes no longer.
const LIMIT: Duration = Duration::from_secs(8);
/// What is left of a tree whose supervisor was killed is gone by then.
const DEATH: Duration = Duration::from_secs(2);

/// Which session is tried.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The workspace; its `.cavra/policy.yaml` is in force.
    pub workspace: Option<PathBuf>,
    /// The profile.
    pub profile: Option<String>,
    /// The packs; the profile's by default.
    pub policy: Vec<String>,
}

/// How one class did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// It does not work outside a session either: nothing was shown.
    NotShown,
    /// Everything was refused that works outside.
    Held,
    /// Something was not refused.
    Failed,
}

/// The result for one class.
#[derive(Clone, Debug, Serialize)]
pub struct Class {
    /// Its number.
    pub class: u32,
    /// How it did.
    pub grade: Grade,
    /// What was tried.
    pub tried: Vec<&'static str>,
    /// For each that was not refused, what follows from it.
    pub consequences: Vec<&'static str>,
    /// What else is to be said.
    pub note: &'static str,
}

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
pub enum SelftestError {
    /// The scratch folder, a listener or a process can not be had.
    #[error("{0}: {1}")]
    Step(&'static str, std::io::Error),
    /// The profile's packs are not known.
    #[error("{0}")]
    Profile(#[from] crate::policy::Diagnostics),
    /// The session did not start, or the packs do not let cavractl run in it.
    #[error("the session did not answer: {0}")]
    Session(String),
}

/// What one technique came to, as the probe tells.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    name: String,
    won: bool,
    harmless: bool,
    /// A process that would live on.
    left: Option<u32>,
}

/// Runs in the session, or outside it as the control: tries everything below `root` and tells on stdout, a line each.
pub fn probe(root: &Path, tell: &mut dyn FnMut(String)) -> Result<(), std::io::Error> {
    let scene = Scene::load(root)?;
    let mut line = |told: &Told| tell(serde_json::to_string(told).unwrap_or_default());
    for technique in TECHNIQUES {
        line(&Told {
            name: technique.name.to_owned(),
            won: (technique.attempt)(&scene),
            harmless: technique.harmless.is_none_or(|harmless| harmless(&scene)),
            left: None,
        });
    }
    line(&Told {
        name: String::new(),
        won: false,
        harmless: true,
        left: techniques::leave_behind(),
    });
    Ok(())
}

/// Tries everything; one result a class, by number.
pub fn run(options: &Options) -> Result<Vec<Class>, SelftestError> {
    let step = |what| move |error| SelftestError::Step(what, error);
    let inside = Scene::make("in").map_err(step("scratch folder"))?;
    let outside = Scene::make("out").map_err(step("scratch folder"))?.beside(&inside);
    outside.save().map_err(step("scratch folder"))?;
    let packs = packs(options)?;
    let mut session = inside
        .session(options, &packs, &["selftest-probe".into(), inside.root.clone().into()])
        .spawn()
        .map_err(step("cavra-run"))?;
    inside.started(&session).map_err(step("scratch folder"))?;
    let mut native = Command::new(&inside.program)
        .arg("selftest-probe")
        .arg(&outside.root)
        .env("CAVRA_SELFTEST_TOKEN", FORBIDDEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(step("cavractl"))?;
    let until = Instant::now() + LIMIT;
    let (within, control) = (lines(&mut session), lines(&mut native));
    let within = collect(&within, until, || approve(&inside));
    let control = collect(&control, until.max(Instant::now() + PAUSE), || ());
    drop(native.kill());
    drop(native.wait());
    let ended = ends(&mut session, until);
    if within.is_empty() {
        let said = inside.said();
        let text = said.trim().trim_start_matches("cavra-run: ");
        return Err(SelftestError::Session(if text.is_empty() {
            "no output".to_owned()
        } else {
            text.to_owned()
        }));
    }
    let mut classes = judged(&within, &control);
    let left = within.iter().find_map(|told| told.left);
    let lives = left.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
    if let Some(pid) = control.iter().find_map(|told| told.left) {
        let _gone = crate::sys::process::kill(pid.cast_signed(), libc::SIGKILL);
    }
    let complete = ended && within.len() > TECHNIQUES.len();
    let mut further = |class, tried, held, consequence| {
        classes.push(Class {
            class,
            grade: if held { Grade::Held } else { Grade::Failed },
            tried: vec![tried],
            consequences: if held { Vec::new() } else { vec![consequence] },
            note: "",
        });
    };
    further(
        62,
        "the session goes on and ends while it is attacked",
        complete,
        "an attack stops the session",
    );
    further(
        68,
        "a process that would outlive the session",
        left.is_some() && !lives,
        "what an agent started goes on after it",
    );
    further(
        71,
        "the records are whole",
        verify(&inside.evidence).exit_code() == 0,
        "refusals can not be proved afterwards",
    );
    further(
        64,
        "the supervisor killed: the tree dies",
        dies(options, &packs)?,
        "killing cavra-run sets the agent free",
    );
    classes.sort_by_key(|class| class.class);
    Ok(classes)
}

/// The packs in force, so that one more can be named beside them.
fn packs(options: &Options) -> Result<Vec<String>, SelftestError> {
    if !options.policy.is_empty() {
        return Ok(options.policy.clone());
    }
    let place = crate::policy::Place::of(Path::new("/"));
    Ok(crate::policy::Profile::load(options.profile.as_deref(), "", &place.profiles)?.packs)
}

fn judged(within: &[Told], control: &[Told]) -> Vec<Class> {
    let won: HashMap<&str, bool> = control.iter().map(|told| (told.name.as_str(), told.won)).collect();
    let told: HashMap<&str, &Told> = within.iter().map(|told| (told.name.as_str(), told)).collect();
    let mut classes: BTreeMap<u32, Class> = BTreeMap::new();
    for technique in TECHNIQUES {
        let class = classes.entry(technique.class).or_insert(Class {
            class: technique.class,
            grade: Grade::NotShown,
            tried: Vec::new(),
            consequences: Vec::new(),
            note: "",
        });
        class.tried.push(technique.name);
        let Some(told) = told.get(technique.name) else {
            class.note = "not reached in time";
            continue;
        };
        if told.won {
            class.grade = Grade::Failed;
            class.consequences.push(technique.consequence);
        } else if won.get(technique.name) == Some(&true) {
            class.grade = class.grade.max(Grade::Held);
        }
        if !told.harmless {
            class.note = "your packs refuse its harmless form too";
        }
    }
    classes.into_values().collect()
}

fn lines(child: &mut Child) -> Receiver<String> {
    let (send, receive) = channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            BufReader::new(out)
                .lines()
                .map_while(Result::ok)
                .all(|line| send.send(line).is_ok())
        });
    }
    receive
}

/// What is told until the last line, the end or the time; `meanwhile` is done while nothing comes.
fn collect(lines: &Receiver<String>, until: Instant, mut meanwhile: impl FnMut()) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    while all.len() <= TECHNIQUES.len() && Instant::now() < until {
        match lines.recv_timeout(PAUSE) {
            Ok(line) => all.extend(serde_json::from_str::<Told>(&line)),
            Err(RecvTimeoutError::Timeout) => meanwhile(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    all
}

/// Whoever runs the selftest lets its own session run what packs want a person's word for; nothing but the probe is in it.
fn approve(scene: &Scene) {
    let Some(id) = scene.session_id() else { return };
    let Ok(live) = run_root().map_err(drop).and_then(|root| sessions(&root).map_err(drop)) else {
        return;
    };
    for session in live.iter().filter(|session| session.id == id) {
        for held in session.list().unwrap_or_default() {
            if held.state == State::Pending {
                drop(session.decide(&held.approval_id, Answer::Approve, "cavractl selftest"));
            }
        }
    }
}

/// Whether it ends by itself in time; it is ended in any case.
fn ends(child: &mut Child, until: Instant) -> bool {
    // Leftovers get two seconds to end.
    let until = until + Duration::from_secs(3);
    while Instant::now() < until {
        if let Ok(Some(_)) = child.try_wait() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(child.kill());
    drop(child.wait());
    false
}

/// Starts a session that waits, kills its supervisor, and tells whether the tree dies with it.
fn dies(options: &Options, packs: &[String]) -> Result<bool, SelftestError> {
    let step = |what| move |error| SelftestError::Step(what, error);
    let scene = Scene::make("kill").map_err(step("scratch folder"))?;
    let mut session = scene
        .session(
            options,
            packs,
            &["selftest-probe".into(), "--wait".into(), scene.root.clone().into()],
        )
        .spawn()
        .map_err(step("cavra-run"))?;
    let told = lines(&mut session);
    let until = Instant::now() + LIMIT / 4;
    let mut pid = None;
    while pid.is_none() && Instant::now() < until {
        match told.recv_timeout(PAUSE) {
            Ok(line) => pid = line.parse::<i32>().ok(),
            Err(RecvTimeoutError::Timeout) => approve(&scene),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    drop(session.kill());
    drop(session.wait());
    let Some(pid) = pid else { return Ok(false) };
    let until = Instant::now() + DEATH;
    let alive = || Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok();
    while alive() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(!alive())
}
