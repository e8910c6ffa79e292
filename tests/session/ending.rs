//! Signals, leftovers, being process 1, and a session in a session.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cavra_tests::{Stage, User, Verdict, places, skip, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long nothing of the tree may outlive the session: SIGTERM, 2 s, SIGKILL, and a slow machine.
const LEFTOVERS_GONE: Duration = Duration::from_secs(10);

pub fn signals_reach_the_command(user: User) -> Verdict {
    let world = Stage::new(user)?;
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGQUIT, "QUIT"),
    ] {
        let script = format!("trap 'echo got {name}; exit 9' {name}; sleep 1000 & echo ready; wait; exit 1");
        let mut live = world.session().start(["sh", "-c", &script])?;
        live.running.wait_for_stdout("ready");
        live.running.signal(signal);
        let outcome = live.finish();
        outcome.exits(9).verifies();
        assert!(
            outcome.stdout().contains(&format!("got {name}")),
            "{}",
            outcome.stdout()
        );
    }
    Ok(())
}

pub fn what_the_command_leaves_behind_is_killed(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let script =
        "setsid sh -c 'echo $$ > daemon; exec sleep 1000' > /dev/null 2>&1 & until [ -s daemon ]; do :; done; exit 4";
    let native = world.native(["sh", "-c", script]);
    assert_eq!(native.code(), Some(4));
    let daemon = pid_in(&world, "ws/daemon");
    assert!(lives(daemon), "natively it stays");
    kill(Pid::from_raw(daemon), Signal::SIGKILL).expect("it is ours");
    std::fs::remove_file(world.at("ws/daemon")).expect("it was written");

    let outcome = world.session().sh(script)?;
    outcome.exits(4).verifies();
    assert!(!survived(&world), "the daemon outlived its session");
    Ok(())
}

pub fn a_leftover_that_ignores_sigterm_is_killed(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let daemon = "trap '' TERM HUP INT; echo $$ > daemon; while :; do sleep 1; done";
    let script = format!(
        "setsid sh -c \"{}\" > /dev/null 2>&1 & until [ -s daemon ]; do :; done",
        daemon.replace('$', "\\$")
    );
    let started = Instant::now();
    world.session().sh(&script)?.exits(0).verifies();
    assert!(started.elapsed() < LEFTOVERS_GONE, "it took {:?}", started.elapsed());
    assert!(!survived(&world), "the daemon outlived its session");
    Ok(())
}

pub fn leftovers_may_be_waited_for(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let script = "setsid sh -c 'until [ -e go ]; do :; done; echo done > late' > /dev/null 2>&1 & exit 0";
    let live = world
        .session()
        .option("--leftovers")
        .option("wait")
        .start(["sh", "-c", script])?;
    world.write("ws/go", "");
    live.finish().exits(0).verifies();
    assert_eq!(world.read("ws/late").as_deref(), Some("done\n"));
    Ok(())
}

pub fn a_nested_session_is_refused_clearly(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let inner = places::cavra_run(user)?;
    let script = format!("'{}' -- touch started; echo \"inner $?\"", inner.display());
    let outcome = world.session().sh(&script)?;
    outcome.exits(0);
    assert!(
        outcome.stdout().contains("inner 125"),
        "{} {}",
        outcome.stdout(),
        outcome.stderr()
    );
    assert!(
        outcome.stderr().contains("inside"),
        "it says where it is: {}",
        outcome.stderr()
    );
    assert!(!world.has("ws/started"), "the inner command was started");
    Ok(())
}

pub fn as_process_one_it_reaps_and_forwards(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let session = world.session();
    let words = session.words()?;
    let mut probe = Command::new("unshare");
    probe.args(["-m", "--propagation", "private", "-pf", "--mount-proc", "true"]);
    if !probe.status().is_ok_and(|status| status.success()) {
        return skip("no new mount and process namespaces here (unshare -m -pf failed)");
    }
    // Two orphans end before the signal; their parent being process 1, it must have reaped them by then.
    let script = "trap 'ls /proc | grep -c \"^[0-9]\"; for p in /proc/[0-9]*; do grep -s ^State $p/status; done; exit 6' TERM; \
                  sh -c 'sh -c \"exit 3\" & exit' ; sh -c 'true & exit'; sleep 1000 & echo ready; wait";
    let mut command = world.command("unshare")?;
    command
        .args(["-m", "--propagation", "private", "-pf", "--mount-proc"])
        .args(&words)
        .args(["sh", "-c", script]);
    let mut live = session.launch(command);
    live.running.wait_for_stdout("ready");
    let unshare = live.running.pid();
    let first = until("the namespace's process 1", || {
        let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
        children.split_whitespace().next()?.parse::<i32>().ok()
    });
    kill(Pid::from_raw(first), Signal::SIGTERM).expect("it is ours");
    let outcome = live.finish();
    outcome.exits(6).verifies();
    assert!(!outcome.stdout().contains("zombie"), "{}", outcome.stdout());
    Ok(())
}

fn pid_in(world: &Stage, file: &str) -> i32 {
    let text = until(file, || world.read(file).filter(|text| text.ends_with('\n')));
    text.trim().parse().expect("a process number")
}

/// Whether the daemon lives; if so it is ended now, so that a failing test leaves nothing behind.
fn survived(world: &Stage) -> bool {
    let daemon = pid_in(world, "ws/daemon");
    lives(daemon) && kill(Pid::from_raw(daemon), Signal::SIGKILL).is_ok()
}

fn lives(pid: i32) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    status.is_ok_and(|status| !status.lines().any(|line| line.starts_with("State:\tZ")))
}
