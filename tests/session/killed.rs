//! The supervisor dies by SIGKILL: the tree dies with it, and no trapped call succeeds afterwards (I4).

use std::path::Path;
use std::time::{Duration, SystemTime};

use cavra_tests::wait::attempt;
use cavra_tests::{Stage, User, Verdict, until, within};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long the tree may outlive its supervisor.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// Makes folders as fast as it can in four processes: a child, a grandchild, a daemon in a session of its own, itself.
const BUSY: &str = r#"
import os, sys
base = sys.argv[1]
def work(name):
    open(f"{base}/pid-{name}", "w").write(f"{os.getpid()}\n")
    n = 0
    while True:
        os.mkdir(f"{base}/made-{name}-{n}")
        os.rmdir(f"{base}/made-{name}-{n}")
        os.close(os.open(f"{base}/mark-{name}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644))
        n += 1
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            work("daemon")
        work("session")
    work("child")
work("parent")
"#;

pub fn the_tree_dies_with_its_supervisor(user: User) -> Verdict {
    let world = Stage::new(user)?;
    world.write("ws/busy.py", BUSY);
    let base = world.folder("ws/base");
    let mut live = world.session().start(["python3", "busy.py", &base.to_string_lossy()])?;
    let names = ["daemon", "session", "child", "parent"];
    let pids: Vec<String> = names
        .iter()
        .map(|name| {
            until(name, || {
                world
                    .read(format!("ws/base/pid-{name}"))
                    .filter(|text| text.ends_with('\n'))
            })
        })
        .map(|text| text.trim().to_owned())
        .collect();
    names.iter().for_each(|name| {
        until("its first mark", || {
            world.has(format!("ws/base/mark-{name}")).then_some(())
        })
    });

    live.running.signal(Signal::SIGKILL);
    until("the supervisor's end", || live.running.ended());
    let dead_since = SystemTime::now();
    let gone = attempt(GONE_WITHIN, || {
        pids.iter()
            .all(|pid| !Path::new("/proc").join(pid).exists())
            .then_some(())
    });
    if gone.is_none() {
        // A failing test must not leave four busy loops behind.
        let numbers = pids.iter().filter_map(|pid| pid.parse().ok());
        numbers.for_each(|pid| assert!(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok(), "{pid} is ours"));
        panic!("the tree outlived its supervisor by more than {GONE_WITHIN:?}");
    }

    for entry in std::fs::read_dir(&base).expect("the folder exists").flatten() {
        let changed = entry
            .metadata()
            .and_then(|it| it.modified())
            .expect("a modification time");
        assert!(
            changed <= dead_since,
            "{:?} was made after the supervisor's end",
            entry.file_name()
        );
    }
    let outcome = live.finish();
    assert_eq!(outcome.finished.signal(), Some(9));
    assert_eq!(outcome.verify, Some(3), "intact, but interrupted");
    Ok(())
}

pub fn a_held_call_dies_with_its_supervisor(user: User) -> Verdict {
    let world = Stage::new(user)?;
    world.folder("ws/iam");
    let session = world.session().option("--approval-timeout").option("120s");
    let mut live = session.start(["sh", "-c", "echo $$ > pid; echo granted > iam/x"])?;
    live.wait_for_approval("iam/x")?;
    let pid = until("its number", || world.read("ws/pid")).trim().to_owned();
    live.running.signal(Signal::SIGKILL);
    until("the supervisor's end", || live.running.ended());
    within(GONE_WITHIN, "the tree's end", || {
        (!Path::new("/proc").join(&pid).exists()).then_some(())
    });
    assert!(!world.has("ws/iam/x"), "a held write came through");
    let listed = world.cavractl(["approvals", "list", "--json"])?;
    assert!(
        !listed.stdout.contains("pending"),
        "nothing can be approved any more: {}",
        listed.stdout
    );
    assert_eq!(live.finish().verify, Some(3), "intact, but interrupted");
    Ok(())
}
