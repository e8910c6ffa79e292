//! Runs the cases of one test program as root and as an ordinary user, and says of each how it went.
//!
//! The options are those of the built-in runner that people use: filters, `--exact`, `--skip`, `--list`, `--nocapture`
//! (accepted: nothing is captured), `--test-threads N`. The last line is `test result: … N passed; N failed; N skipped; …`.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::users::User;

/// Why a case did not end in success without having failed an assertion.
#[derive(Clone, Debug)]
pub enum Unmet {
    /// This machine cannot run it; the reason.
    Skipped(String),
}

/// How a case ended; an assertion that fails panics.
pub type Verdict = Result<(), Unmet>;

/// Ends a case as SKIPPED, with the reason that is printed.
pub fn skip<T>(reason: impl Into<String>) -> Result<T, Unmet> {
    Err(Unmet::Skipped(reason.into()))
}

/// One named claim.
pub struct Case {
    name: String,
    body: Box<dyn Fn(User) -> Verdict + Send + Sync>,
}

impl Case {
    /// A claim: its name is a sentence, its body takes the user whom it runs as.
    pub fn new(name: impl Into<String>, body: impl Fn(User) -> Verdict + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            body: Box::new(body),
        }
    }
}

/// Cases from functions of a [`User`], each under its own name.
#[macro_export]
macro_rules! cases {
    ($($function:path),* $(,)?) => { vec![$($crate::Case::new(stringify!($function), $function)),*] };
}

thread_local! {
    /// Place and text of the panic that ended this thread's case.
    static LAST_PANIC: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

struct Trial {
    name: String,
    user: User,
    case: std::sync::Arc<Case>,
    alone: bool,
}

enum How {
    Passed,
    Failed(String),
    Skipped(String),
}

/// The cases of one test program.
pub struct Suite {
    name: &'static str,
    trials: Vec<Trial>,
}

impl Suite {
    /// An empty suite.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            trials: Vec::new(),
        }
    }

    /// Adds cases that run as root and as an ordinary user.
    #[must_use]
    pub fn both(self, cases: impl IntoIterator<Item = Case>) -> Self {
        self.add(cases, &User::BOTH, false)
    }

    /// Adds cases that only root can run.
    #[must_use]
    pub fn root(self, cases: impl IntoIterator<Item = Case>) -> Self {
        self.add(cases, &[User::Root], false)
    }

    /// Adds cases that run as an ordinary user only.
    #[must_use]
    pub fn ordinary(self, cases: impl IntoIterator<Item = Case>) -> Self {
        self.add(cases, &[User::Ordinary], false)
    }

    /// Adds cases that measure time or fill the machine: as both users, nothing else beside them.
    #[must_use]
    pub fn alone(self, cases: impl IntoIterator<Item = Case>) -> Self {
        self.add(cases, &User::BOTH, true)
    }

    fn add(mut self, cases: impl IntoIterator<Item = Case>, users: &[User], alone: bool) -> Self {
        for case in cases {
            let case = std::sync::Arc::new(case);
            for &user in users {
                let name = format!("{}::{}", case.name, user.name());
                self.trials.push(Trial {
                    name,
                    user,
                    case: case.clone(),
                    alone,
                });
            }
        }
        self
    }

    /// Runs what the command line selects; success when none failed.
    #[must_use]
    pub fn main(self) -> ExitCode {
        let options = match Options::read(std::env::args().skip(1)) {
            Ok(options) => options,
            Err(message) => {
                eprintln!("{}: {message}", self.name);
                return ExitCode::from(2);
            }
        };
        let total = self.trials.len();
        let (chosen, _): (Vec<_>, Vec<_>) = self.trials.into_iter().partition(|trial| options.selects(&trial.name));
        if options.list {
            chosen.iter().for_each(|trial| println!("{}: test", trial.name));
            return ExitCode::SUCCESS;
        }
        println!("\nrunning {} tests of {}", chosen.len(), self.name);
        let left_out = total - chosen.len();
        let started = Instant::now();
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            LAST_PANIC.set(format!("{place}: {}", text_of(panic.payload())));
        }));
        let results = run(chosen, options.threads);
        crate::places::clean();
        report(&results, left_out, started.elapsed())
    }
}

fn run(trials: Vec<Trial>, threads: usize) -> Vec<(String, How)> {
    let (alone, together): (Vec<_>, Vec<_>) = trials.into_iter().partition(|trial| trial.alone);
    let queue = Mutex::new(VecDeque::from(together));
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(trial) = queue.lock().unwrap().pop_front() else {
                        break;
                    };
                    let result = perform(&trial);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.extend(alone.iter().map(perform));
    results
}

fn perform(trial: &Trial) -> (String, How) {
    let started = Instant::now();
    let how = match catch_unwind(AssertUnwindSafe(|| (trial.case.body)(trial.user))) {
        Ok(Ok(())) => How::Passed,
        Ok(Err(Unmet::Skipped(reason))) => How::Skipped(reason),
        Err(_) => How::Failed(LAST_PANIC.take()),
    };
    let took = started.elapsed().as_secs_f32();
    match &how {
        How::Passed => println!("test {} ... ok ({took:.1} s)", trial.name),
        How::Failed(text) => println!("test {} ... FAILED ({took:.1} s)\n{text}\n", trial.name),
        How::Skipped(reason) => println!("test {} ... SKIPPED: {reason}", trial.name),
    }
    (trial.name.clone(), how)
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked without a text").to_owned()
}

fn report(results: &[(String, How)], left_out: usize, took: Duration) -> ExitCode {
    let failed: Vec<_> = results
        .iter()
        .filter(|(_, how)| matches!(how, How::Failed(_)))
        .map(|(name, _)| name)
        .collect();
    let skipped = results.iter().filter(|(_, how)| matches!(how, How::Skipped(_))).count();
    let passed = results.len() - failed.len() - skipped;
    if !failed.is_empty() {
        println!("\nfailures:");
        failed.iter().for_each(|name| println!("    {name}"));
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {skipped} skipped; {left_out} filtered out; finished in {:.1} s\n",
        failed.len(),
        took.as_secs_f32()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct Options {
    filters: Vec<String>,
    without: Vec<String>,
    exact: bool,
    list: bool,
    threads: usize,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(4);
        let mut options = Self {
            filters: Vec::new(),
            without: Vec::new(),
            exact: false,
            list: false,
            threads,
        };
        while let Some(word) = words.next() {
            let mut value = |name: &str| words.next().ok_or(format!("{name} needs a value"));
            match word.as_str() {
                "--exact" => options.exact = true,
                "--list" => options.list = true,
                "--nocapture" | "--no-capture" | "--quiet" | "-q" | "--show-output" => {}
                "--skip" => options.without.push(value("--skip")?),
                "--test-threads" => {
                    options.threads = value("--test-threads")?
                        .parse()
                        .map_err(|_| "--test-threads takes a number")?;
                }
                other if other.starts_with("--test-threads=") => {
                    options.threads = other[15..].parse().map_err(|_| "--test-threads takes a number")?;
                }
                other if other.starts_with('-') => return Err(format!("unknown option {other}")),
                other => options.filters.push(other.to_owned()),
            }
        }
        options.threads = options.threads.max(1);
        Ok(options)
    }

    fn selects(&self, name: &str) -> bool {
        let matches = |filter: &String| {
            if self.exact {
                name == filter
            } else {
                name.contains(filter.as_str())
            }
        };
        (self.filters.is_empty() || self.filters.iter().any(matches)) && !self.without.iter().any(matches)
    }
}
