//! Held requests: a person in another process answers, nobody in the tree can, and nobody waits for nobody.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use cavra_tests::{World, until, users, wait};
use serde_json::Value;

/// Requests that a desk holds at a time.
const DESK: usize = 256;

fn each(test: impl Fn(&World)) {
    for user in users() {
        let world = World::new(user);
        world.write("README.md", "read me\n");
        test(&world);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn cavractl(world: &World, args: &[&str]) -> Output {
    let mut command = world.command(world.folder("bin").join("cavractl"));
    command.args(args).output().expect("cavractl")
}

fn of<'a>(record: &'a Value, member: &str) -> &'a str {
    record[member].as_str().unwrap_or_default()
}

fn start(world: &World, options: &[&str], words: &[&str]) -> Child {
    drop(std::fs::remove_dir_all(world.folder("home").join("evidence")));
    let mut session = world.session(options, words);
    session
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cavra-run")
}

/// All requests of the running session, as scripts read them.
fn requests(world: &World) -> Vec<Value> {
    let output = cavractl(world, &["approvals", "list", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn pending(world: &World) -> Vec<Value> {
    requests(world)
        .into_iter()
        .filter(|request| of(request, "state") == "pending")
        .collect()
}

/// The one request that waits.
fn held(world: &World) -> Value {
    until("a held request", || pending(world).pop())
}

fn end(child: Child) -> Output {
    wait(child, Duration::from_secs(60))
}

fn sockets(world: &World) -> Vec<PathBuf> {
    let run = world.folder("home").join(".local/state/cavra/run");
    std::fs::read_dir(run)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

const HOLDS: &str = "metadata: {id: holds}\nfilesystem: {default_read: allow, default_write: allow, require_approval_write: [\"iam/**\"]}\n\
    commands: {default: allow, require_approval: [\"release *\"]}\nnetwork: {default: require_approval}\n";

#[test]
fn a_person_answers_and_the_record_says_who_and_why() {
    each(|world| {
        let pack = world.write("holds.yaml", HOLDS);
        std::fs::copy("/bin/echo", world.folder("bin").join("release")).expect("copy");
        let options = ["--policy", pack.to_str().expect("path")];
        for (line, about, answer, effect) in [
            ("mkdir -p iam; echo 1 > iam/x && echo done", "/iam/x", "approve", true),
            ("mkdir -p iam; echo 1 > iam/y && echo done", "/iam/y", "deny", false),
            ("release v1 && echo done", "/release", "approve", true),
            ("release v1 && echo done", "/release", "deny", false),
            // Whoever is let through to a closed port is refused by nobody but the port.
            (
                "python3 -c 'import socket; print(\"done\" if socket.socket().connect_ex((\"127.0.0.1\", 9)) == 111 else 0)'",
                ":9",
                "approve",
                true,
            ),
            (
                "python3 -c 'import socket; print(\"done\" if socket.socket().connect_ex((\"127.0.0.1\", 9)) == 111 else 0)'",
                ":9",
                "deny",
                false,
            ),
        ] {
            let child = start(world, &options, &["sh", "-c", line]);
            let request = held(world);
            let id = of(&request, "approval_id");
            let ask = &request["decision"];
            assert!(
                id.len() == 16 && id.starts_with("apr_") && of(ask, "target").ends_with(about),
                "{request:#}"
            );
            for member in ["requested_at", "expires_at"] {
                assert!(of(&request, member).ends_with('Z'), "{request:#}");
            }
            assert!(
                of(&request, "expires_at") > of(&request, "requested_at") && request.get("decided_by").is_none(),
                "{request:#}"
            );
            assert!(
                of(ask, "exe").starts_with('/') && !of(ask, "rule_id").is_empty() && !of(ask, "cwd").is_empty(),
                "{request:#}"
            );
            // The request is on disk before anybody is asked.
            let records = world.records();
            let asked = records
                .iter()
                .find(|r| of(r, "decision_id") == of(ask, "decision_id"))
                .expect("its record");
            assert_eq!((of(asked, "decision"), of(asked, "errno")), ("require_approval", ""));
            let shown = said(&cavractl(world, &["approvals", "show", id]));
            assert!(
                shown.contains("pending") && shown.contains(about) && shown.contains(of(ask, "exe")),
                "{shown}"
            );
            let listed = said(&cavractl(world, &["approvals", "list"]));
            assert!(listed.contains(id), "{listed}");

            let output = cavractl(world, &["approvals", answer, id, "--reason", "seen with Bob"]);
            assert!(output.status.success(), "{}", said(&output));
            let again = cavractl(world, &["approvals", "approve", id, "--reason", "me too"]);
            assert_eq!(again.status.code(), Some(1), "{}", said(&again));
            let output = end(child);
            assert_eq!(
                String::from_utf8_lossy(&output.stdout).contains("done"),
                effect,
                "{line} {answer}: {}",
                said(&output)
            );
            let records = world.records();
            let answered = records
                .iter()
                .find(|r| of(r, "action_type") == "approval")
                .expect("its record");
            let user = world.user().account().expect("a user").name;
            let note = &answered["approval"];
            assert_eq!(
                (of(note, "id"), of(note, "reason")),
                (id, "seen with Bob"),
                "{answered:#}"
            );
            assert!(
                of(note, "approver") == user || of(note, "approver") == format!("uid {user}"),
                "{answered:#}"
            );
            assert!(note["waited_ms"].is_u64(), "{answered:#}");
            assert_eq!(of(answered, "correlation_id"), of(asked, "decision_id"));
            let (decision, errno) = if effect { ("allow", "") } else { ("block", "EACCES") };
            assert_eq!(
                (of(answered, "decision"), of(answered, "errno")),
                (decision, errno),
                "{answered:#}"
            );
            assert!(sockets(world).is_empty(), "the control socket outlived its session");
        }
    });
}

/// execvp goes on to PATH's next folder after EACCES, and `/bin` is `/usr/bin` by another name.
#[test]
fn a_denied_command_is_not_asked_for_again_in_the_next_folder() {
    each(|world| {
        let pack = world.write("holds.yaml", HOLDS);
        let bin = world.folder("bin");
        std::fs::copy("/bin/echo", bin.join("release")).expect("copy");
        std::os::unix::fs::symlink(&bin, world.folder("home").join("bin")).expect("link");
        let line = format!(
            "import os\nos.environ['PATH'] = '{}:{}'\ntry: os.execvp('release', ['release', 'v1'])\nexcept PermissionError: print('refused')",
            bin.display(),
            world.folder("home").join("bin").display()
        );
        for (answer, shown) in [("approve", "v1"), ("deny", "refused")] {
            let options = ["--policy", pack.to_str().expect("path")];
            let child = start(world, &options, &["python3", "-c", &line]);
            let request = held(world);
            let id = of(&request, "approval_id");
            let output = cavractl(world, &["approvals", answer, id, "--reason", "no"]);
            assert!(output.status.success(), "{}", said(&output));
            let output = end(child);
            assert!(said(&output).contains(shown), "{answer}: {}", said(&output));
            let records = world.records();
            let asked = records.iter().filter(|r| of(r, "decision") == "require_approval");
            assert_eq!(asked.count(), 1, "{answer}");
            let refused = records
                .iter()
                .filter(|r| of(r, "action_type") == "approval" && of(r, "decision") == "block");
            assert_eq!(
                refused.count(),
                if answer == "deny" { 2 } else { 0 },
                "both folders are answered for"
            );
        }
    });
}

#[test]
fn nobody_asked_and_nobody_there_are_refusals() {
    each(|world| {
        let line = "mkdir -p iam; echo 1 > iam/x; echo $?";
        let denied = world.run(&["--approvals", "deny"], &["sh", "-c", line]);
        assert!(
            denied.stdout().ends_with("2\n") && !world.path("iam/x").exists(),
            "{}",
            denied.stdout()
        );
        assert!(denied.recorded("require_approval", "filesystem.write.require_approval", "/iam/x"));

        let started = Instant::now();
        let expired = world.run(&["--approval-timeout", "1s"], &["sh", "-c", line]);
        assert!(started.elapsed() >= Duration::from_secs(1));
        assert!(
            expired.stdout().ends_with("2\n") && !world.path("iam/x").exists(),
            "{}",
            expired.stdout()
        );
        let record = expired
            .records
            .iter()
            .find(|r| of(r, "action_type") == "approval")
            .expect("its end");
        assert_eq!(
            (
                of(record, "decision"),
                of(record, "errno"),
                of(&record["approval"], "approver")
            ),
            ("block", "EACCES", "")
        );
        assert!(record["approval"]["waited_ms"].as_u64() >= Some(1000), "{record:#}");

        let late = start(
            world,
            &["--approval-timeout", "1s"],
            &["sh", "-c", "mkdir -p iam; echo 1 > iam/x; read x"],
        );
        let id = of(&held(world), "approval_id").to_owned();
        until("its end", || pending(world).is_empty().then_some(()));
        let output = cavractl(world, &["approvals", "approve", &id, "--reason", "late"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said(&output).contains("no longer waits") || said(&output).contains("no running session"),
            "{}",
            said(&output)
        );
        end(late);
        assert!(!world.path("iam/x").exists());
    });
}

/// One thread asks and is held; the others, and other processes, go on meanwhile.
const OTHERS: &str = r#"
import os, subprocess, threading, time
os.makedirs("iam", exist_ok=True)
def ask():
    with open("iam/x", "w") as f: f.write("1")
held = threading.Thread(target=ask); held.start()
count = 0
while held.is_alive():
    count += 1
    open(f"went-on-{count % 3}", "w").close()
    if count % 20 == 0: subprocess.run(["true"], check=True)
    if count == 100: open("a-hundred", "w").close()
held.join()
print("done", count >= 100)
"#;

#[test]
fn only_the_thread_that_asks_is_held() {
    each(|world| {
        let child = start(world, &[], &["python3", "-c", OTHERS]);
        let id = of(&held(world), "approval_id").to_owned();
        until("the other thread's work", || {
            world.path("a-hundred").exists().then_some(())
        });
        assert!(!world.path("iam/x").exists() || std::fs::read(world.path("iam/x")).expect("read").is_empty());
        assert!(
            cavractl(world, &["approvals", "approve", &id, "--reason", "ok"])
                .status
                .success()
        );
        let output = end(child);
        assert!(said(&output).contains("done True"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(world.path("iam/x")).expect("written"), "1");
    });
}

#[test]
fn a_caller_that_ends_takes_its_request_with_it() {
    each(|world| {
        let line = "mkdir -p iam; (echo 1 > iam/x) & echo $! > pid; until [ -e go ]; do sleep 0.05; done; kill -9 $!; wait; : > killed; until [ -e leave ]; do sleep 0.05; done";
        let child = start(world, &[], &["sh", "-c", line]);
        let id = of(&held(world), "approval_id").to_owned();
        world.write("go", "");
        until("the kill", || world.path("killed").exists().then_some(()));
        until("the end of the request", || pending(world).is_empty().then_some(()));
        let output = cavractl(world, &["approvals", "approve", &id, "--reason", "late"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        world.write("leave", "");
        let output = end(child);
        assert!(!world.path("iam/x").exists(), "{}", said(&output));
        let records = world.records();
        let record = records
            .iter()
            .find(|r| of(r, "action_type") == "approval")
            .expect("its end");
        assert_eq!(
            (of(&record["approval"], "id"), of(&record["approval"], "reason")),
            (id.as_str(), "its caller ended")
        );
    });
}

/// A program with a timer, whose handler runs again and again while its open is held.
const TIMER: &str = r#"
import os, signal
ticks = 0
def tick(*_):
    global ticks
    ticks += 1
    os.write(1, b"tick\n") if ticks == 3 else None
os.makedirs("iam", exist_ok=True)
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.25, 0.25)
with open("iam/x", "w") as f: f.write("1")
signal.setitimer(signal.ITIMER_REAL, 0)
print("done", ticks >= 3)
"#;

#[test]
fn a_signal_interrupts_the_caller_and_not_the_request() {
    each(|world| {
        let mut child = start(world, &[], &["python3", "-c", TIMER]);
        let id = of(&held(world), "approval_id").to_owned();
        let mut tick = [0; 5];
        child
            .stdout
            .as_mut()
            .expect("stdout")
            .read_exact(&mut tick)
            .expect("three ticks");
        let waiting = pending(world);
        assert_eq!(
            waiting
                .iter()
                .map(|request| of(request, "approval_id"))
                .collect::<Vec<_>>(),
            [&id]
        );
        assert!(
            cavractl(world, &["approvals", "approve", &id, "--reason", "ok"])
                .status
                .success()
        );
        let output = end(child);
        assert!(said(&output).contains("done True"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(world.path("iam/x")).expect("written"), "1");
        let records = world.records();
        let count = |decision: &str| {
            records
                .iter()
                .filter(|r| of(r, "target").ends_with("/iam/x") && of(r, "decision") == decision)
                .count()
        };
        assert_eq!(
            (count("require_approval"), count("allow")),
            (1, 1),
            "one request, one answer"
        );
    });
}

#[test]
fn what_is_held_is_said_where_it_is_not_in_the_way() {
    each(|world| {
        let child = start(
            world,
            &["--approval-timeout", "20s"],
            &["sh", "-c", "mkdir -p iam; echo 1 > iam/x"],
        );
        let id = of(&held(world), "approval_id").to_owned();
        assert!(
            cavractl(world, &["approvals", "deny", &id, "--reason", "no"])
                .status
                .success()
        );
        let output = end(child);
        let line = format!("cavractl approvals approve {id} --reason TEXT (or deny)");
        assert!(
            said(&output)
                .lines()
                .any(|said| said.starts_with("cavra: held: create ") && said.ends_with(&line)),
            "{}",
            said(&output)
        );
    });
}

/// A session that ends while somebody waits: each request has its end in the evidence, and the chain is whole.
#[test]
fn the_end_of_the_session_is_the_end_of_its_requests() {
    each(|world| {
        let line = "mkdir -p iam; for i in 1 2 3; do (echo 1 > iam/$i) & done; until [ -e leave ]; do sleep 0.05; done";
        let child = start(world, &[], &["sh", "-c", line]);
        until("three requests", || (pending(world).len() == 3).then_some(()));
        world.write("leave", "");
        let output = end(child);
        assert!(output.status.success(), "{}", said(&output));
        let records = world.records();
        let with = |action: &str| {
            records
                .iter()
                .filter(|r| of(r, "action_type") == action && of(r, "decision") != "allow")
                .count()
        };
        let asked = records
            .iter()
            .filter(|r| of(r, "decision") == "require_approval" && of(r, "action_type") == "write_file")
            .count();
        assert_eq!((asked, with("approval")), (3, 3), "{records:#?}");
        let evidence = world.folder("home").join("evidence");
        let verified = cavractl(world, &["evidence", "verify", evidence.to_str().expect("utf-8")]);
        assert!(verified.status.success(), "{}", said(&verified));
        assert_eq!(std::fs::read_dir(world.path("iam")).expect("iam").count(), 0);
    });
}

/// As many threads as its argument says ask at once; each says how it went.
const MANY: &str = r#"
import os, sys, threading
os.makedirs("iam", exist_ok=True)
threading.stack_size(128 * 1024)
def ask(n):
    try: open(f"iam/{n}", "w").close()
    except OSError: open(f"refused-{n}", "w").close()
threads = [threading.Thread(target=ask, args=(n,)) for n in range(int(sys.argv[1]))]
for t in threads: t.start()
for t in threads: t.join()
print("asked")
"#;

#[test]
fn a_desk_holds_so_many_and_refuses_the_rest() {
    each(|world| {
        let more = 20;
        let child = start(world, &[], &["python3", "-c", MANY, &(DESK + more).to_string()]);
        let refused = || {
            let names = std::fs::read_dir(world.path("")).expect("ws").flatten();
            names
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("refused-"))
                .count()
        };
        until("a full desk", || (refused() == more).then_some(()));
        let waiting = pending(world);
        assert_eq!(waiting.len(), DESK);
        // One answered makes room for one.
        let id = of(&waiting[0], "approval_id");
        assert!(
            cavractl(world, &["approvals", "deny", id, "--reason", "no"])
                .status
                .success()
        );
        until("one less", || (pending(world).len() == DESK - 1).then_some(()));
        let mut child = child;
        // Killing the session ends them all.
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert_eq!(std::fs::read_dir(world.path("iam")).expect("iam").count(), 0);
    });
}

/// What a process of the tree tries at the control socket of its own session.
const INSIDE: &str = r#"
import os, socket, subprocess, sys, threading, time
ws = os.getcwd()
os.makedirs("iam", exist_ok=True)
done = []
def ask():
    try: open(ws + "/iam/x", "w").close(); done.append("WON")
    except OSError: done.append("refused")
threading.Thread(target=ask, daemon=True).start()
home, name = os.environ["HOME"], os.environ["SESSION"]
run = home + "/.local/state/cavra/run"
def reach(path):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(path)
        s.sendall(b'{"op":"list"}\n')
        print("REACHED", path, s.recv(100))
    except OSError as error: print("kept out", error.errno)
os.symlink(run, "link")
for path in [f"{run}/{name}", f"link/{name}", f"/proc/self/root{run}/{name}", f"/proc/{os.getppid()}/root{run}/{name}", f"{run}/../run/{name}"]: reach(path)
os.chdir("/"); reach(f"{run[1:]}/{name}")
try: os.chdir(run); reach(name)
except OSError: print("kept out of the folder")
try: print("LISTED", os.listdir(run))
except OSError: print("not listed")
for words in [["approvals", "list"], ["approvals", "approve", sys.argv[1] if len(sys.argv) > 1 else "apr_0", "--reason", "me"]]:
    print(subprocess.run(["cavractl", *words], capture_output=True, text=True))
    double = subprocess.run(["setsid", "sh", "-c", "cavractl approvals list --json & wait"], capture_output=True, text=True).stdout
    if "apr_" in double: print("REACHED through an orphan", double)
print("tried", done)
open(ws + "/tried", "w").close()
while not os.path.exists(ws + "/leave"): time.sleep(0.02)
"#;

#[test]
fn nobody_in_the_tree_can_answer() {
    const LOOSE: &str = "metadata: {id: loose}\nfilesystem: {default_read: allow, default_write: allow, require_approval_write: [\"iam/**\"]}\n\
        commands: {default: allow}\nnetwork: {default: allow}\n";
    each(|world| {
        let pack = world.write("loose.yaml", LOOSE);
        for mode in ["enforce", "audit"] {
            // The name of its socket is no secret: a session's name stands in what the agent can read.
            let line = "until [ -e name ]; do sleep 0.05; done; SESSION=$(cat name) exec python3 inside.py";
            world.write("inside.py", INSIDE);
            let child = start(
                world,
                &[
                    "--mode",
                    mode,
                    "--policy",
                    pack.to_str().expect("path"),
                    "--approval-timeout",
                    "20s",
                ],
                &["sh", "-c", line],
            );
            // The twin: the same call from outside is answered. A socket has its name a moment before it listens.
            let (socket, mut outside) = until("a session that listens", || {
                let socket = sockets(world).pop()?;
                let stream = UnixStream::connect(&socket).ok()?;
                Some((socket, stream))
            });
            outside.write_all(b"{\"op\":\"list\"}\n").expect("ask");
            let mut reply = String::new();
            outside.read_to_string(&mut reply).expect("reply");
            // Root's peers are heard for everybody; the tests' own user otherwise.
            assert!(reply.contains("approvals"), "{reply}");
            world.write("name", socket.file_name().expect("name").to_str().expect("utf-8"));
            if mode == "enforce" {
                let id = of(&held(world), "approval_id").to_owned();
                until("the attempts", || world.path("tried").exists().then_some(()));
                assert!(
                    pending(world).iter().any(|request| of(request, "approval_id") == id),
                    "{mode}: it was answered"
                );
            }
            world.write("leave", "");
            let output = end(child);
            let text = said(&output);
            assert!(
                text.contains("tried") && !text.contains("REACHED") && !text.contains("LISTED"),
                "{mode}: {text}"
            );
            if mode == "enforce" {
                assert!(!text.contains("WON"), "{text}");
            }
            for name in ["name", "link", "tried", "leave"] {
                std::fs::remove_file(world.path(name)).expect("remove");
            }
        }
    });
}

#[test]
fn a_silent_or_dead_client_holds_nobody() {
    each(|world| {
        let child = start(
            world,
            &[],
            &[
                "sh",
                "-c",
                "mkdir -p iam; (echo 1 > iam/x; echo wrote) & i=0; while [ $i -lt 50 ]; do : > f$i; i=$((i+1)); done; : > all; wait",
            ],
        );
        let id = of(&held(world), "approval_id").to_owned();
        let socket = sockets(world).pop().expect("socket");
        let mut silent: Vec<UnixStream> = (0..20)
            .map(|_| UnixStream::connect(&socket).expect("connect"))
            .collect();
        for (n, stream) in silent.iter_mut().enumerate() {
            // Some say half a request, some nothing; some go.
            if n % 3 == 0 {
                stream.write_all(b"{\"op\":").expect("write");
            }
        }
        silent.truncate(15);
        until("the session's other work", || world.path("all").exists().then_some(()));
        let started = Instant::now();
        let output = cavractl(world, &["approvals", "approve", &id, "--reason", "ok"]);
        assert!(
            output.status.success() && started.elapsed() < Duration::from_secs(4),
            "{}",
            said(&output)
        );
        let output = end(child);
        assert!(said(&output).contains("wrote"), "{}", said(&output));
        drop(silent);
    });
}

#[test]
fn what_the_agent_writes_can_not_steer_the_approvers_terminal() {
    each(|world| {
        let line = "mkdir -p iam; echo 1 > \"iam/$(printf '\\033]0;owned\\007\\033[2J\\r\\napr_000000000000  pending\\302\\233m\\342\\200\\256x')\"";
        let child = start(world, &["--approval-timeout", "30s"], &["sh", "-c", line]);
        let id = of(&held(world), "approval_id").to_owned();
        for words in [
            &["approvals", "list"][..],
            &["approvals", "show", &id],
            &["approvals", "approve", &id, "--reason", "ok"],
        ] {
            let text = said(&cavractl(world, words));
            let steers = |c: char| {
                (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{200b}'..='\u{200f}')
            };
            assert!(text.contains(&id) && !text.contains(steers), "{words:?}: {text:?}");
            assert!(
                !text
                    .lines()
                    .any(|line| line.trim_start().starts_with("apr_000000000000")),
                "{text}"
            );
        }
        end(child);
        let evidence = world.folder("home").join("evidence");
        let raw = std::fs::read_to_string(evidence.join("decisions.jsonl")).expect("records");
        assert!(!raw.contains(|c: char| c.is_control() && c != '\n') && !raw.contains('\u{202e}'));
    });
}

/// A program that gives itself another name in its first argument.
#[test]
fn what_is_executed_is_shown_and_not_only_what_it_calls_itself() {
    each(|world| {
        let pack = world.write(
            "holds.yaml",
            "metadata: {id: holds}\ncommands: {default: require_approval, allow: [\"bash*\"]}\n",
        );
        world.write("evil", "#!/bin/sh\n");
        std::fs::set_permissions(world.path("evil"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("mode");
        let options = ["--policy", pack.to_str().expect("path"), "--approval-timeout", "20s"];
        let child = start(world, &options, &["bash", "-c", "(exec -a 'git status' ./evil)"]);
        let id = of(&held(world), "approval_id").to_owned();
        for words in [
            &["approvals", "list"][..],
            &["approvals", "show", &id],
            &["approvals", "deny", &id, "--reason", "no"],
        ] {
            let text = said(&cavractl(world, words));
            assert!(
                text.contains("/ws/evil") && text.contains("git status"),
                "{words:?}: {text}"
            );
        }
        end(child);
    });
}

/// Nobody reads stderr, and the agent has filled it: neither warnings nor log lines hold anybody.
#[test]
fn a_full_stderr_holds_nobody() {
    const FILL: &str = r#"
import os
try: fd = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK)
except PermissionError:
    # Another user's pipe can not be opened again: the shared description serves, and waits again afterwards.
    fd = 2
    os.set_blocking(2, False)
try:
    while True: os.write(fd, b"x" * 4096)
except BlockingIOError: pass
try:
    while True: os.write(fd, b"x")
except BlockingIOError: pass
if fd == 2: os.set_blocking(2, True)
os.mkdir("watched")
for n in range(50): open(f"watched/{n}", "w").close()
print("done", flush=True)
os.read(0, 1)
"#;
    const WARNS: &str = "metadata: {id: warns}\nfilesystem: {default_read: allow, default_write: allow, warn_write: [\"watched/**\"]}\ncommands: {default: allow}\n";
    each(|world| {
        let pack = world.write("warns.yaml", WARNS);
        drop(std::fs::remove_dir_all(world.folder("home").join("evidence")));
        let mut session = world.session(&["--policy", pack.to_str().expect("path")], &["python3", "-c", FILL]);
        session
            .env("CAVRA_LOG", "trace")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = session.spawn().expect("cavra-run");
        let mut told = [0; 4];
        child
            .stdout
            .as_mut()
            .expect("stdout")
            .read_exact(&mut told)
            .expect("done");
        assert_eq!(&told, b"done");
        let output = end(child);
        assert!(output.status.success());
        assert_eq!(
            world.records().iter().filter(|r| of(r, "decision") == "warn").count(),
            50
        );
    });
}

#[test]
fn wrong_answers_say_what_is_right() {
    each(|world| {
        for (words, code, says) in [
            (
                &["approvals", "approve", "apr_000000000000", "--reason", "x"][..],
                1,
                "no running session has such a request",
            ),
            (&["approvals", "show", "apr_000000000000"], 1, "approvals list"),
            (&["approvals", "approve", "apr_000000000000"], 2, "--reason"),
            (
                &["approvals", "list", "--session", "ses_000000000000"],
                1,
                "is not running",
            ),
            (&["approvals", "list"], 0, "no session is running"),
        ] {
            let output = cavractl(world, words);
            assert_eq!(output.status.code(), Some(code), "{words:?}: {}", said(&output));
            assert!(said(&output).contains(says), "{words:?}: {}", said(&output));
        }
    });
}

/// A warning is a line on stderr where that is not the agent's terminal, and a record always.
#[test]
fn a_warning_is_a_line_only_where_it_is_not_in_the_way() {
    const WARNS: &str = "metadata: {id: warns}\nfilesystem: {default_read: allow, default_write: allow, warn_write: [\"watched/**\"]}\ncommands: {default: allow}\n";
    each(|world| {
        let pack = world.write("warns.yaml", WARNS);
        let pack = pack.to_str().expect("path");
        let line = "mkdir watched; echo 1 > watched/a; echo 2 > watched/a; echo 1 > \"watched/$(printf 'b\\033[2J')\"; echo ok";
        let outcome = world.run(&["--policy", pack], &["sh", "-c", line]);
        let lines: Vec<String> = outcome
            .stderr()
            .lines()
            .filter(|line| line.contains("warning"))
            .map(str::to_owned)
            .collect();
        assert!(outcome.stdout() == "ok\n" && outcome.recorded("warn", "filesystem.write.warn", "/watched/a"));
        assert_eq!(lines.len(), 2, "{lines:?}: a and b once each");
        assert!(
            lines[0].starts_with("cavra: warning: ") && lines[0].contains("/watched/a (rule filesystem.write.warn)"),
            "{lines:?}"
        );
        assert!(
            lines[1].contains("b\\x1b[2J") && !outcome.stderr().contains('\u{1b}'),
            "{lines:?}"
        );
        std::fs::remove_dir_all(world.path("watched")).expect("remove");

        let session = world.session(&["--quiet", "--policy", pack], &["sh", "-c", line]);
        drop(std::fs::remove_dir_all(world.folder("home").join("evidence")));
        let words: Vec<String> = std::iter::once(session.get_program())
            .chain(session.get_args())
            .map(|w| format!("'{}'", w.to_str().expect("utf-8").replace('\'', "'\\''")))
            .collect();
        let output = world
            .command("script")
            .args(["-qec", &words.join(" "), "/dev/null"])
            .output()
            .expect("script");
        assert!(
            said(&output).contains("ok") && !said(&output).contains("warning"),
            "{}",
            said(&output)
        );
        assert!(world.records().iter().any(|r| of(r, "decision") == "warn"));
    });
}
