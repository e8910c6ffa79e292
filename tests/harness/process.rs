//! Programs under test: started in a group of their own, read to the end, and never waited for beyond a deadline.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait::{attempt, within};

/// How long output may go on after the program itself has ended (leftovers that hold its pipes).
const OUTPUT_GRACE: Duration = Duration::from_secs(5);

/// A program that runs; dropped, it and its group are killed.
pub struct Running {
    child: Child,
    what: String,
    status: Option<ExitStatus>,
    stdout: Stream,
    stderr: Stream,
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its status.
    pub status: ExitStatus,
    /// All that it wrote to standard output.
    pub stdout: String,
    /// All that it wrote to standard error.
    pub stderr: String,
}

struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts `command` in a process group of its own, with `input` (or nothing) as its standard input.
    #[track_caller]
    pub fn start(mut command: Command, input: Option<&[u8]>) -> Self {
        let what = format!("{command:?}");
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
            let input = input.to_vec();
            // A program may end without reading all of it; EPIPE is its right.
            std::thread::spawn(move || drop(pipe.write_all(&input)));
        }
        let stdout = Stream::of(child.stdout.take());
        let stderr = Stream::of(child.stderr.take());
        Self {
            child,
            what,
            status: None,
            stdout,
            stderr,
        }
    }

    /// Its process number (which is its group's too).
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends `signal` to the process alone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.what));
    }

    /// Its status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    /// Waits for `line` in standard output.
    #[track_caller]
    pub fn wait_for_stdout(&mut self, line: &str) {
        let deadline = crate::wait::DEADLINE;
        let seen = attempt(deadline, || {
            if self.stdout().contains(line) || self.ended().is_some() {
                Some(())
            } else {
                None
            }
        });
        let seen = seen.is_some() && attempt(OUTPUT_GRACE, || self.stdout().contains(line).then_some(())).is_some();
        assert!(
            seen,
            "{}: no {line:?} in stdout {:?}, stderr {:?}",
            self.what,
            self.stdout(),
            self.stderr()
        );
    }

    /// Waits for the end; kills and panics when `deadline` passes first.
    #[track_caller]
    pub fn finish(mut self, deadline: Duration) -> Finished {
        let Some(status) = attempt(deadline, || self.ended()) else {
            self.kill();
            panic!(
                "{} still ran after {deadline:?}; stdout {:?}, stderr {:?}",
                self.what,
                self.stdout(),
                self.stderr()
            );
        };
        self.stdout.settle();
        self.stderr.settle();
        Finished {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// Kills the process and its group.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
            let _ = self.child.kill();
            within(Duration::from_secs(10), "a killed program's end", || self.ended());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Finished {
    /// The exit code, or none after a signal.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Itself, when the exit code is 0; panics with the output otherwise.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(
            self.status.success(),
            "{}\nstdout: {}\nstderr: {}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

impl Stream {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = bytes.clone();
        let reader = pipe.map(|mut pipe| {
            std::thread::spawn(move || {
                let mut chunk = [0; 16 * 1024];
                while let Ok(n @ 1..) = pipe.read(&mut chunk) {
                    sink.lock().unwrap().extend_from_slice(&chunk[..n]);
                }
            })
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn settle(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = attempt(OUTPUT_GRACE, || reader.is_finished().then_some(()));
        }
    }
}
