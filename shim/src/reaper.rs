//! The tree's parent, and its first child up to the exec.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::sys::{self, Waited};
use crate::{Ends, Event, Leftovers, Plan, Step, report};

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// Runs as the reaper until nothing of the tree is left or the supervisor is gone; does not return.
pub(crate) fn run(plan: &Plan, mask: &libc::sigset_t, ends: &Ends) -> ! {
    let Ends {
        events,
        alive,
        handover,
        ringers,
    } = ends;
    sys::become_subreaper();
    let scoped = plan
        .signal_scope
        .as_ref()
        .is_some_and(|ruleset| sys::restrict_self(ruleset.as_raw_fd()).is_ok());
    let child = match sys::fork() {
        Ok(0) => child(plan, mask, events, handover),
        Ok(child) => child,
        Err(error) => {
            report(events, Event::Failed(Step::Fork, error.raw_os_error().unwrap_or(0)));
            sys::exit(125)
        }
    };
    sys::close(handover.as_raw_fd());
    sys::ignore_terminal_signals();
    // Signals stay in the tree only where the scope really holds: seen by asking about the supervisor.
    let tree = Tree {
        scoped: scoped && sys::signal_is_refused(sys::parent()),
    };
    report(events, Event::Started(child));
    let children = sys::child_signals();
    let mut ended: Option<Instant> = None;
    let mut killed = false;
    loop {
        loop {
            match sys::wait_any() {
                Waited::Ended(pid, status) if pid == child => {
                    report(events, Event::Ended(status));
                    sys::ring(ringers.go_on.as_raw_fd());
                    ended = Some(Instant::now());
                    if plan.leftovers == Leftovers::Kill {
                        tree.signal(libc::SIGTERM);
                        tree.signal(libc::SIGCONT);
                    }
                }
                Waited::Stopped(pid) if pid == child => sys::ring(ringers.stop.as_raw_fd()),
                Waited::Continued(pid) if pid == child => sys::ring(ringers.go_on.as_raw_fd()),
                Waited::Ended(..) | Waited::Stopped(_) | Waited::Continued(_) => {}
                Waited::Nobody => {
                    report(events, Event::Gone);
                    sys::exit(0)
                }
                Waited::Nothing => break,
            }
        }
        let overdue = plan.leftovers == Leftovers::Kill && ended.is_some_and(|at| at.elapsed() >= GRACE);
        if overdue || killed {
            killed = true;
            tree.signal(libc::SIGKILL);
        }
        let timeout = if killed {
            20
        } else if ended.is_some() {
            100
        } else {
            -1
        };
        if sys::wait_readable(children.as_raw_fd(), alive.as_raw_fd(), timeout) {
            // The supervisor is gone: no call of the tree may go on without it.
            tree.signal(libc::SIGKILL);
            killed = true;
        }
    }
}

/// How the reaper reaches all of the tree.
struct Tree {
    scoped: bool,
}

impl Tree {
    fn signal(&self, signal: i32) {
        if self.scoped {
            // One walk under the kernel's task list lock: a fork can not slip through it.
            sys::kill(-1, signal);
        } else {
            for pid in descendants(sys::own_pid()) {
                sys::kill(pid, signal);
            }
        }
    }
}

/// All processes below `root`, from /proc/PID/stat (field 4, proc_pid_stat(5)).
fn descendants(root: i32) -> Vec<i32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else {
            continue;
        };
        let Some(close) = stat.iter().rposition(|byte| *byte == b')') else {
            continue;
        };
        let parent = stat.get(close + 1..).and_then(|rest| {
            rest.split(|byte| *byte == b' ')
                .filter(|part| !part.is_empty())
                .nth(1)
                .and_then(|part| std::str::from_utf8(part).ok()?.parse::<i32>().ok())
        });
        if let Some(parent) = parent {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
    }
    found.remove(0);
    found
}

fn child(plan: &Plan, mask: &libc::sigset_t, events: &OwnedFd, handover: &OwnedFd) -> ! {
    let fail = |step: Step, error: std::io::Error| -> ! {
        report(events, Event::Failed(step, error.raw_os_error().unwrap_or(0)));
        sys::exit(125)
    };
    sys::die_with_parent();
    sys::restore_signals(mask);
    sys::close_on_exec_from(3);
    if let Err(error) = sys::chdir(&plan.cwd) {
        fail(Step::Chdir, error);
    }
    let argv = sys::Strings::new(&plan.argv);
    let env = sys::Strings::new(&plan.env);
    for (resource, limit) in &plan.limits {
        if let Err(error) = sys::limit(*resource, *limit) {
            fail(Step::Limits, error);
        }
    }
    sys::be_dumpable();
    if let Err(error) = sys::restrict_self(plan.floor.as_raw_fd()) {
        fail(Step::Floor, error);
    }
    // The listener's filter first: those that follow refuse a further listener.
    let listener = match sys::load_filter(&plan.notify, sys::Load::Listener) {
        Ok(listener) => listener,
        Err(error) => fail(Step::Listener, error),
    };
    // By its number: sending a descriptor is a call that the filter may hand to a listener nobody has yet.
    sys::write_all(handover.as_raw_fd(), &listener.to_ne_bytes());
    if !sys::read_byte(handover.as_raw_fd()) {
        sys::exit(125);
    }
    sys::close(listener);
    for filter in &plan.plain {
        if let Err(error) = sys::load_filter(filter, sys::Load::Plain) {
            fail(Step::Filter, error);
        }
    }
    if !sys::read_byte(handover.as_raw_fd()) {
        sys::exit(125);
    }
    fail(Step::Exec, sys::exec(&plan.program, &argv, &env))
}
