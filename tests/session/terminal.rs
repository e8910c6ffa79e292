//! Sessions in a terminal: the agent is the foreground job, as if cavra-run were not there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use cavra_tests::{Stage, Terminal, User, Verdict, skip, until};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The words of cavra-run as a shell takes them, ending in `--`.
fn prefix(world: &Stage, options: &[&str]) -> Result<String, cavra_tests::Unmet> {
    let session = options
        .iter()
        .fold(world.session(), |session, option| session.option(option));
    let words = session.words()?;
    Ok(words
        .iter()
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" "))
}

/// Runs `check` with `command` natively and through cavra-run: both must look the same to a person.
fn as_natively(user: User, options: &[&str], command: &str, check: impl Fn(&Stage, &Terminal<'_>)) -> Verdict {
    for inside in [false, true] {
        let world = Stage::new(user)?;
        let prefix = if inside {
            prefix(&world, options)?
        } else {
            String::new()
        };
        world.write("ws/run", format!("{prefix} {command}\n"));
        let terminal = Terminal::new(&world)?;
        terminal.line(". ./run; echo \"ended with $?\"");
        check(&world, &terminal);
    }
    Ok(())
}

pub fn ctrl_c_reaches_the_command_alone(user: User) -> Verdict {
    let command = "sh -c 'trap \"echo caught; exit 5\" INT; echo ready; while :; do read line; done'";
    as_natively(user, &["--quiet"], command, |_, terminal| {
        terminal.wait_for("ready");
        terminal.key("C-c");
        terminal.wait_for("caught");
        terminal.wait_for("ended with 5");
    })
}

pub fn ctrl_z_and_fg_work_as_in_a_shell(user: User) -> Verdict {
    as_natively(user, &["--quiet"], "cat", |_, terminal| {
        terminal.line("first");
        terminal.wait_until("cat's echo", |screen| screen.matches("first").count() >= 2);
        terminal.key("C-z");
        terminal.wait_until("the shell's word on it", |screen| {
            screen.contains("Stopped") || screen.contains("Suspended")
        });
        terminal.line("echo shell $((40 + 2))");
        terminal.wait_for("shell 42");
        terminal.line("fg; echo \"back with $?\"");
        terminal.line("second");
        terminal.wait_until("cat's echo", |screen| screen.matches("second").count() >= 2);
        terminal.key("C-d");
        terminal.wait_for("back with 0");
    })
}

pub fn a_command_that_its_child_stops_and_continues_goes_on(user: User) -> Verdict {
    // The job stops and goes on without the shell; the supervisor must not sleep on, or the last line's open would wait for ever.
    let rounds =
        "i=0; while [ $i -lt 9 ]; do kill -STOP $$; kill -CONT $$; i=$((i+1)); done; cat /dev/null; echo rounds $i";
    as_natively(
        user,
        &["--quiet"],
        &format!("sh -c '({rounds}) & wait'"),
        |_, terminal| {
            terminal.wait_for("rounds 9");
        },
    )
}

pub fn a_new_size_of_the_window_is_told(user: User) -> Verdict {
    let command = "sh -c 'trap \"stty size; exit 3\" WINCH; echo ready; while :; do read line; done'";
    as_natively(user, &["--quiet"], command, |_, terminal| {
        terminal.wait_for("ready");
        terminal.resize(101, 31);
        // A shell runs its trap once the read is over.
        terminal.key("Enter");
        terminal.wait_for("31 101");
        terminal.wait_for("ended with 3");
    })
}

pub fn raw_mode_does_not_outlive_the_session(user: User) -> Verdict {
    for inside in [false, true] {
        let world = Stage::new(user)?;
        let prefix = if inside {
            prefix(&world, &["--quiet"])?
        } else {
            String::new()
        };
        world.write("ws/run", format!("{prefix} sh -c 'stty raw -echo; kill -KILL $$'\n"));
        let terminal = Terminal::new(&world)?;
        let modes = terminal.modes();
        terminal.line(". ./run; echo \"ended with $?\"");
        terminal.wait_for("ended with 137");
        assert_eq!(
            terminal.modes() == modes,
            inside,
            "natively raw mode stays, after cavra-run it does not (inside: {inside})"
        );
    }
    Ok(())
}

/// The reaper is held in its exit, with all that it has open, until the supervisor has closed what it hears of stops by.
pub fn a_late_end_of_the_reaper_stops_nothing(user: User) -> Verdict {
    let world = Stage::new(user)?;
    world.write(
        "ws/run",
        format!(
            "{} sh -c 'echo $PPID > reaper; echo ready; read line'\n",
            prefix(&world, &["--quiet"])?
        ),
    );
    let terminal = Terminal::new(&world)?;
    terminal.line(". ./run; echo \"ended with $?\"");
    terminal.wait_for("ready");
    let reaper: i32 = until("the reaper's number", || world.read("ws/reaper")?.trim().parse().ok());
    let supervisor = parent(reaper);
    let (reaper, supervisor) = (Pid::from_raw(reaper), Pid::from_raw(supervisor));
    if let Err(errno) = ptrace::seize(supervisor, ptrace::Options::PTRACE_O_TRACESYSGOOD) {
        return skip(format!("no tracing here: {errno}"));
    }
    ptrace::seize(reaper, ptrace::Options::PTRACE_O_TRACEEXIT).expect("the reaper can be traced");
    let bells: Vec<PathBuf> = open_files(supervisor)
        .into_iter()
        .filter(|(shown, flags)| shown.to_string_lossy().starts_with("pipe:") && flags & libc::O_ASYNC != 0)
        .map(|(shown, _)| shown)
        .collect();
    assert_eq!(bells.len(), 2, "one for stops, one for going on");
    ptrace::interrupt(supervisor).expect("interrupt");
    terminal.key("Enter");

    while !matches!(stop_of(reaper), WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXIT)) {
        ptrace::cont(reaper, None).expect("the reaper goes on");
    }
    loop {
        let signal = match stop_of(supervisor) {
            WaitStatus::Stopped(_, signal) => Some(signal),
            _ => None,
        };
        if !open_files(supervisor).iter().any(|(shown, _)| bells.contains(shown)) {
            break;
        }
        ptrace::syscall(supervisor, signal).expect("the supervisor goes on");
    }
    ptrace::cont(reaper, None).expect("the reaper goes on");
    assert!(matches!(stop_of(reaper), WaitStatus::Exited(_, 0)), "the reaper's end");
    ptrace::detach(supervisor, None).expect("the supervisor goes on");
    terminal.wait_for("ended with 0");
    Ok(())
}

fn stop_of(traced: Pid) -> WaitStatus {
    let of_this_thread = WaitPidFlag::from_bits_retain(libc::__WALL | libc::__WNOTHREAD);
    waitpid(traced, Some(of_this_thread)).expect("a traced process stops or ends")
}

/// proc_pid_status(5)
fn parent(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.and_then(|number| number.trim().parse().ok())
        .expect("its parent's number")
}

/// What the process has open, by descriptor: what /proc shows of it, and its flags. proc_pid_fdinfo(5)
fn open_files(pid: Pid) -> Vec<(PathBuf, i32)> {
    let folder = Path::new("/proc").join(pid.to_string());
    let file = |number: &OsStr| {
        let shown = std::fs::read_link(folder.join("fd").join(number)).ok()?;
        let info = std::fs::read_to_string(folder.join("fdinfo").join(number)).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        Some((shown, i32::from_str_radix(flags.trim(), 8).ok()?))
    };
    let open = std::fs::read_dir(folder.join("fd")).expect("its descriptors");
    open.flatten().filter_map(|fd| file(&fd.file_name())).collect()
}

pub fn a_terminal_gets_a_summary_unless_quiet(user: User) -> Verdict {
    for quiet in [false, true] {
        let world = Stage::new(user)?;
        world.write("ws/.env", "TOKEN=1\n");
        let options: &[&str] = if quiet { &["--quiet"] } else { &[] };
        world.write("ws/run", format!("{} cat .env\n", prefix(&world, options)?));
        let terminal = Terminal::new(&world)?;
        terminal.line(". ./run; echo \"ended with $?\"");
        terminal.wait_for("ended with 1");
        let screen = terminal.screen();
        assert_eq!(
            screen.contains("filesystem.read.block"),
            !quiet,
            "quiet: {quiet}; the screen:\n{screen}"
        );
        assert_eq!(
            screen.replace('\n', "").contains("evidence/"),
            !quiet,
            "quiet: {quiet}; the screen:\n{screen}"
        );
    }
    Ok(())
}
