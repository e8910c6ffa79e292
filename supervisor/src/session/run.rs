//! One session from start to end.

use std::io::{IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use cavra_shim::{Bells, Event, Step};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};

use super::confine;
use super::launch::{LaunchError, Prepared};
use crate::approvals::Desk;
use crate::boundary::{self, Boundary};
use crate::policy::Mode;
use crate::sys::notify::{Listener, Tgid};
use crate::sys::process::{kill, pidfd_getfd, pidfd_open, prctl, raise_descriptor_limit, signal_when_readable};

/// Signals that somebody sends to cavra-run and means for the command.
const FORWARDED: &[Signal] = &[
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
];
/// Signals of job control: the command stops, and cavra-run follows it (`follow_stops`).
const HELD: &[Signal] = &[Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGPIPE];

/// Starts the session and stays until nothing of it is left; the exit status is the command's.
pub fn run(prepared: Prepared) -> Result<u8, LaunchError> {
    let Prepared {
        plan,
        policy,
        journal,
        control,
        mode,
        options,
        workspace,
        resolver,
        granted,
    } = prepared;
    let step = LaunchError::step;
    let terminal = Terminal::save();
    let mut signals = SigSet::empty();
    FORWARDED.iter().chain(HELD).for_each(|signal| signals.add(*signal));
    let mut before = SigSet::empty();
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), Some(&mut before))
        .map_err(|e| step("signals")(&e))?;
    let forwarded: SigSet = FORWARDED.iter().copied().collect();
    let signals = SignalFd::with_flags(&forwarded, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|e| step("signals")(&e))?;

    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(|e| step("no new privileges")(&e))?;
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1).map_err(|e| step("subreaper")(&e))?;
    confine::drop_capabilities().map_err(|e| step("capabilities")(&e))?;
    // A session that only watches refuses nothing, so neither does its envelope.
    let roots = policy.write_roots().filter(|_| mode == Mode::Enforce);
    let state = crate::evidence::state_root();
    let own: Vec<&Path> = [Some(journal.dir()), state.as_deref().ok()]
        .into_iter()
        .flatten()
        .collect();
    confine::enter_envelope(roots.as_deref(), &own).map_err(|e| LaunchError::Landlock(e.to_string()))?;
    let spawned = cavra_shim::spawn(&plan, before.as_ref()).map_err(|e| step("fork")(&e))?;
    // Of the tree's many tasks and calls each takes descriptors of ours: a usual limit of 1024 is soon reached, and its EMFILE would be the
    // caller's. After the fork: the tree keeps the limit that it was started with.
    raise_descriptor_limit().map_err(|e| step("descriptors")(&e))?;
    prctl(libc::PR_SET_DUMPABLE, 0).map_err(|e| step("dumpable")(&e))?;

    if std::fs::File::open("/dev/tty").is_ok() {
        follow_stops(&spawned.bells).map_err(|e| step("job control")(&e))?;
    }
    let mut events = std::fs::File::from(spawned.events);
    let child = match next(&mut events) {
        Some(Event::Started(child)) => child,
        other => return Err(step("start")(&format!("{other:?}"))),
    };
    let mut handover = std::os::unix::net::UnixStream::from(spawned.handover);
    let listener = match take_listener(&handover, child).map_err(|e| step("seccomp listener")(&e))? {
        Some(listener) => listener,
        None => {
            return Err(match next(&mut events) {
                Some(Event::Failed(Step::Listener, libc::EBUSY)) => LaunchError::Nested,
                Some(Event::Failed(step, errno)) => failed(step, errno, &options),
                other => step("listener")(&format!("{other:?}")),
            });
        }
    };
    let listener = Listener::new(listener);
    listener.set_sync_wake_up();
    let desk = Desk::new(options.approval_timeout);
    let warn = !std::io::stderr().is_terminal();
    let mut boundary = Boundary::new(
        listener,
        policy,
        journal,
        desk.clone(),
        spawned.reaper,
        mode,
        options.approvals,
        warn,
        &workspace,
    );
    boundary.granted = granted;
    let boundary = Arc::new(boundary);
    if let Some(resolver) = resolver {
        boundary.resolve_names(resolver).map_err(|e| step("names")(&e))?;
    }
    boundary.account();
    let shared = boundary.clone();
    control
        .start(desk.clone(), move |pid| shared.tasks.in_tree(pid))
        .map_err(|e| step("control socket")(&e))?;
    boundary::serve(&boundary).map_err(|e| step("threads to answer the tree with")(&e))?;
    handover.write_all(&[1]).map_err(|e| step("go")(&e))?;

    let outcome = follow(&mut events, &signals, &spawned.bells, child);
    drop(spawned.alive);
    terminal.restore();
    // Nobody waits any more; the control socket goes with it.
    desk.close();
    let (code, mut error) = match outcome {
        Outcome::Ended(status) if libc::WIFEXITED(status) => (libc::WEXITSTATUS(status), None),
        Outcome::Ended(status) => (128 + libc::WTERMSIG(status), None),
        Outcome::Failed(at, errno) => {
            let error = failed(at, errno, &options);
            (error.exit_code().into(), Some(error))
        }
        Outcome::Lost => (125, Some(step("session")(&"the reaper is gone"))),
    };
    boundary.end_connections();
    match boundary.journal.close(&code.to_string()) {
        Ok(totals) if std::io::stderr().is_terminal() && !options.quiet => {
            let text = crate::evidence::summary(&totals, boundary.journal.dir());
            let text = text + &crate::boundary::egress(&boundary.hosts());
            drop(std::io::stderr().write_all(text.as_bytes()));
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the closing record is missing"),
    }
    if let Some(LaunchError::NotExecutable(_, text)) = &mut error
        && let Some(rule) = refused(boundary.journal.dir())
    {
        text.push_str(&format!("; {rule}"));
    }
    match error {
        Some(error) => Err(error),
        None => Ok(u8::try_from(code).unwrap_or(125)),
    }
}

/// What refused the command: the rule of the session's last refusal, its pack, place and reason.
fn refused(evidence: &std::path::Path) -> Option<String> {
    let mut last = None;
    let mut keep = |record: crate::evidence::Record| {
        if record.errno.is_some() && !record.rule_id.is_empty() {
            last = Some(record);
        }
    };
    crate::evidence::sessions::read(evidence, &mut keep).ok()?;
    let record = last?;
    let place = record.source.map_or(record.policy_id, |source| source);
    Some(format!("refused by {} ({place}): {}", record.rule_id, record.reason))
}

fn failed(step: Step, errno: i32, options: &super::Options) -> LaunchError {
    let error = std::io::Error::from_raw_os_error(errno).to_string();
    let name = options
        .command
        .first()
        .map(|word| word.to_string_lossy().into_owned())
        .unwrap_or_default();
    match step {
        Step::Exec if errno == libc::ENOENT => LaunchError::NotFound(name),
        Step::Exec => LaunchError::NotExecutable(name, error),
        Step::Chdir => LaunchError::Step {
            step: "working folder",
            error,
        },
        Step::Floor => LaunchError::Landlock(error),
        Step::Listener => LaunchError::Step {
            step: "seccomp listener",
            error,
        },
        Step::Filter => LaunchError::Step {
            step: "seccomp filter",
            error,
        },
        Step::Fork => LaunchError::Step { step: "fork", error },
        Step::Limits => LaunchError::Step {
            step: "the profile's limits",
            error,
        },
    }
}

enum Outcome {
    Ended(i32),
    Failed(Step, i32),
    Lost,
}

/// For the shell that started it, cavra-run is the job: it stops when the command stops and goes on when the command does. The kernel does both
/// as the reaper tells, in the reaper's order: who has to stop himself can be told to go on just before, and sleeps on. Only with a terminal,
/// where somebody can say `fg`: elsewhere a tree that stops its own first process would put the supervisor to sleep for good.
fn follow_stops(bells: &Bells) -> Result<(), Errno> {
    signal_when_readable(bells.stops.as_fd(), libc::SIGSTOP)?;
    signal_when_readable(bells.continues.as_fd(), libc::SIGCONT)
}

/// Until nothing is left: hands signals on.
fn follow(events: &mut std::fs::File, signals: &SignalFd, bells: &Bells, child: i32) -> Outcome {
    let mut ended = None;
    loop {
        let mut polled = [
            nix::poll::PollFd::new(events.as_fd(), nix::poll::PollFlags::POLLIN),
            nix::poll::PollFd::new(signals.as_fd(), nix::poll::PollFlags::POLLIN),
        ];
        if nix::poll::poll(&mut polled, nix::poll::PollTimeout::NONE).is_err() {
            continue;
        }
        let readable = |fd: &nix::poll::PollFd<'_>| fd.any().unwrap_or(false);
        let (has_event, has_signal) = (
            polled.first().is_some_and(readable),
            polled.get(1).is_some_and(readable),
        );
        if has_signal {
            while let Ok(Some(info)) = signals.read_signal() {
                // The terminal sends to the whole job, the command included; only what was sent to us alone is handed on. Positive codes are the
                // kernel's own: what it sends for the bells.
                if info.ssi_code <= 0 && ended.is_none() {
                    let _gone = kill(child, info.ssi_signo.cast_signed());
                }
            }
        }
        for bell in [&bells.stops, &bells.continues] {
            let mut rung = [0; 256];
            while nix::unistd::read(bell, &mut rung).is_ok_and(|n| n > 0) {}
        }
        if !has_event {
            continue;
        }
        match next(events) {
            // A child that failed before its command has told so already.
            Some(Event::Ended(status)) => ended = ended.or(Some(Outcome::Ended(status))),
            Some(Event::Failed(step, errno)) => ended = Some(Outcome::Failed(step, errno)),
            Some(Event::Started(_)) => {}
            Some(Event::Gone) => return ended.unwrap_or(Outcome::Lost),
            // The reaper ended without a word.
            None => {
                super::orphans::end();
                return ended.unwrap_or(Outcome::Lost);
            }
        }
    }
}

fn next(events: &mut std::fs::File) -> Option<Event> {
    let mut message = [0; 8];
    events.read_exact(&mut message).ok()?;
    Event::decode(message)
}

/// Takes the listener out of the child's descriptors, and tells it so.
fn take_listener(mut handover: &std::os::unix::net::UnixStream, child: i32) -> Result<Option<OwnedFd>, Errno> {
    let mut number = [0u8; 4];
    if handover.read_exact(&mut number).is_err() {
        return Ok(None);
    }
    let pidfd = pidfd_open(Tgid(child))?;
    let listener = pidfd_getfd(pidfd.as_fd(), i32::from_ne_bytes(number))?;
    handover.write_all(&[1]).map_err(|_| Errno::EPIPE)?;
    Ok(Some(listener))
}

/// The terminal's settings at the start, put back at the end whatever the command did to them.
struct Terminal(Option<Termios>);

impl Terminal {
    fn save() -> Self {
        Self(tcgetattr(std::io::stdin()).ok())
    }

    fn restore(&self) {
        if let Some(settings) = &self.0 {
            // SIGTTOU is blocked: this works even while another group is in the foreground.
            let _background = nix::unistd::tcsetpgrp(std::io::stdin(), nix::unistd::getpgrp());
            let _gone = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, settings);
        }
    }
}
