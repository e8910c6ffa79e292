//! Each claim of the boundary: a session, an effect, a record, and the twin that shows that the same works where it is allowed.

use std::process::Stdio;

use cavra_tests::{Outcome, User, World, until, users, wait};
use std::time::Duration;

fn each(test: impl Fn(&World)) {
    for user in users() {
        let world = World::new(user);
        world.write(".env", "SECRET=1\n");
        world.write("README.md", "read me\n");
        test(&world);
    }
}

/// What a shell line may not do (it leaves no `LEAK` on stdout), with the decision, rule and target of its record.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("cat .env", "block", "filesystem.read.block", "/.env"),
    ("cat < .env", "block", "filesystem.read.block", "/.env"),
    ("ln -s .env x; cat x", "block", "filesystem.read.block", "/.env"),
    (
        "ln -s $PWD/.env x; ln -s x y; cat y",
        "block",
        "filesystem.read.block",
        "/.env",
    ),
    ("ln .env x; cat x", "block", "filesystem.read.block", "/.env"),
    ("cat ./././/.env", "block", "filesystem.read.block", "/.env"),
    ("mkdir d; cat d/../.env", "block", "filesystem.read.block", "/.env"),
    ("cat /proc/self/cwd/.env", "block", "filesystem.read.block", "/.env"),
    (
        "cat /proc/self/root$PWD/.env",
        "block",
        "filesystem.read.block",
        "/.env",
    ),
    ("mv .env x; cat x", "block", "filesystem.read.block", "/.env"),
    ("cp .env x; cat x", "block", "filesystem.read.block", "/.env"),
    (
        "python3 -c 'print(open(\".env\").read())'",
        "block",
        "filesystem.read.block",
        "/.env",
    ),
    (
        "mkdir -p .github/workflows; echo SECRET > .github/workflows/x.yml; cat .github/workflows/x.yml",
        "block",
        "filesystem.write.block",
        "/x.yml",
    ),
    (
        "mkdir -p .git/hooks; echo SECRET > .git/hooks/pre-commit; cat .git/hooks/pre-commit",
        "block",
        "filesystem.write.block",
        "/pre-commit",
    ),
    (
        "mkdir -p a; echo SECRET > a/x.yml; mkdir .github; mv a .github/workflows; cat .github/workflows/x.yml",
        "block",
        "filesystem.write.block",
        "/x.yml",
    ),
    (
        "echo SECRET > /etc/cavra-test; cat /etc/cavra-test",
        "block",
        "filesystem.default.write.block",
        "/etc/cavra-test",
    ),
    (
        "echo 1 > /proc/sys/kernel/core_pattern && echo SECRET",
        "block",
        "boundary.kernel.block",
        "core_pattern",
    ),
    (
        "head -c 1 /dev/kmsg && echo SECRET",
        "block",
        "boundary.device.block",
        "/dev/kmsg",
    ),
];

#[test]
fn what_is_refused_has_no_effect_and_a_record() {
    for (line, decision, rule, target) in REFUSED {
        each(|world| {
            let outcome = world.run(&[], &["sh", "-c", line]);
            // `cat` of nothing after a failed write prints an error, not the secret; kmsg may be absent or unreadable natively.
            let absent = target.starts_with("/dev/")
                && outcome.records.iter().all(|r| r["target"] != *target)
                && !std::path::Path::new(target).exists();
            assert!(!outcome.stdout().contains("SECRET"), "{line}: {}", outcome.stdout());
            assert!(
                absent || outcome.recorded(decision, rule, target),
                "{line}: no record\n{}\n{:#?}",
                outcome.stderr(),
                outcome.records
            );
        });
    }
}

/// What a shell line does as it would outside.
const ALLOWED: &[(&str, &str)] = &[
    ("cat README.md", "read me\n"),
    ("ln -s README.md x; cat x; readlink x", "read me\nREADME.md\n"),
    ("ln README.md x; cat x; stat -c %h x", "read me\n2\n"),
    ("umask 027; echo 1 > n; mkdir nd; stat -c %a n nd", "640\n750\n"),
    ("cat /proc/self/comm", "cat\n"),
    (
        "exec 3<README.md; cat /dev/fd/3; cat /proc/self/fd/3",
        "read me\nread me\n",
    ),
    ("echo in | cat /dev/stdin", "in\n"),
    (
        "mkdir -p a/b; touch a/b/c; mv a d; find d | sort; rm -r d; ls -A | grep -c d",
        "d\nd/b\nd/b/c\n1\n",
    ),
    (
        "touch -d @5 t; stat -c %Y t; chmod 600 t; stat -c %a t; truncate -s 9 t; stat -c %s t",
        "5\n600\n9\n",
    ),
    ("mkfifo p; (echo through > p &); cat p", "through\n"),
    ("cp /bin/echo tool; ./tool hi", "hi\n"),
    (
        "printf '#!/bin/sh\\necho script $1\\n' > s; chmod +x s; ./s a",
        "script a\n",
    ),
    ("cat missing 2>/dev/null; echo $?; cd / && ls -d usr", "1\nusr\n"),
    ("set -C; echo 1 > o; (echo 2 > o) 2>/dev/null; cat o", "1\n"),
    (
        "python3 -c 'import tempfile,os; f=tempfile.TemporaryFile(); f.write(b\"x\"); f.seek(0); print(f.read())'",
        "b'x'\n",
    ),
    (
        "python3 -c 'import os,threading,subprocess; t=threading.Thread(target=lambda: print(subprocess.check_output([\"echo\",\"t\"]))); t.start(); t.join()'",
        "b't\\n'\n",
    ),
];

#[test]
fn what_is_allowed_gives_the_same_as_outside() {
    for (line, wanted) in ALLOWED {
        each(|world| {
            let outcome = world.run(&[], &["sh", "-c", line]);
            assert_eq!(outcome.stdout(), *wanted, "inside: {line}\n{}", outcome.stderr());
        });
        each(|world| {
            let native = world.command("sh").args(["-c", line]).output().expect("sh");
            assert_eq!(String::from_utf8_lossy(&native.stdout), *wanted, "outside: {line}");
        });
    }
}

#[test]
fn commands_are_judged_by_what_runs() {
    for line in [
        "terraform apply",
        "sh -c 'terraform apply'",
        "python3 -c 'import os; os.system(\"terraform apply\")'",
        "env A=1 terraform -chdir=x apply",
        "printf '#!%s apply\\n' $(command -v terraform) > s; chmod +x s; ./s",
    ] {
        each(|world| {
            let report = world.program("report");
            std::fs::rename(&report, world.folder("bin").join("terraform")).expect("rename");
            let outcome = world.run(&[], &["sh", "-c", line]);
            assert!(!world.path("ran").exists(), "{line} ran: {}", outcome.stderr());
            assert!(
                outcome
                    .records
                    .iter()
                    .any(|r| r["rule_id"] == "commands.block" && r["severity"] == "critical"),
                "{line}: no record"
            );
            world.run(&[], &["terraform", "plan"]);
            assert_eq!(std::fs::read_to_string(world.path("ran")).expect("twin"), "plan\n");
        });
    }
}

#[test]
fn doors_beside_the_filter_are_shut() {
    each(|world| {
        let doors = world.program("doors");
        let outcome = world.run(&[], &[doors.to_str().expect("path")]);
        for line in [
            "io_uring_setup 38",
            "clone3 38",
            "open_by_handle_at 1",
            "mount 1",
            "unshare 1",
            "ptrace 1",
            "x32_open 38",
            "unknown 38",
            "udp 93",
            "raw 93",
            "mptcp 93",
            "vsock 97",
            "alg 97",
            "dgram_pair 93",
            "bpf 1",
            "process_vm_writev 1",
            "second_listener 1",
            "own_filter 0",
            "own_filter_by_prctl 0",
            "stream 0",
        ] {
            assert!(
                outcome.stdout().lines().any(|found| found == line),
                "{line}\n{}",
                outcome.stdout()
            );
        }
    });
}

/// Attempts of each race.
const ATTEMPTS: &str = "20000";

#[test]
fn a_path_rewritten_during_open_never_wins() {
    for user in users() {
        let world = World::new(user);
        let (open, secret) = (world.write("pub", "public\n"), world.write("env", "SECRET\n"));
        let policy = world.write("p.yaml", "metadata: {id: t}\nfilesystem: {block_read: ['${workspace}/env'], default_read: allow, default_write: allow}\ncommands: {default: allow}\n");
        let race = world.program("race_open");
        let words = [
            race.to_str().expect("path"),
            open.to_str().expect("path"),
            secret.to_str().expect("path"),
            ATTEMPTS,
        ];
        // Control: natively both files are read. All attempts last 10 ms there, in which a busy machine may not run both threads.
        until("a race that is won natively", || {
            let native = world.command(words[0]).args(&words[1..]).output().expect("race");
            (!String::from_utf8_lossy(&native.stdout).contains("wins 0")).then_some(())
        });
        let outcome = world.run(&["--policy", policy.to_str().expect("path")], &words);
        assert!(
            outcome.stdout().contains("wins 0") && !outcome.stdout().contains("opened 0"),
            "{}\n{}",
            outcome.stdout(),
            outcome.stderr()
        );
    }
}

#[test]
fn a_name_that_was_guessed_never_stands_for_another_file() {
    for user in users() {
        let world = World::new(user);
        let race = world.program("race_guess");
        let race = race.to_str().expect("path");
        let folder = |name: &str| world.path(name).to_str().expect("path").to_owned();
        let (forbidden, exchanged, turned) = (folder("forbidden"), folder("exchanged"), folder("turned"));
        world.write("forbidden/other/file", "SECRET\n");
        let policy = world.write("p.yaml", "metadata: {id: t}\nfilesystem: {block_read: ['${workspace}/forbidden/other/**'], default_read: allow, default_write: allow}\ncommands: {default: allow}\n");
        // Controls: by a name that was asked for before, and natively in the folder that is forbidden inside.
        for control in [[&exchanged, ATTEMPTS, "composed"], [&forbidden, ATTEMPTS, "chdir"]] {
            until("a race that is won natively", || {
                let native = world.command(race).args(control).output().expect("race");
                (!String::from_utf8_lossy(&native.stdout).contains("wins 0")).then_some(())
            });
        }
        for words in [
            [&exchanged, "4000", "cwd"],
            [&exchanged, "4000", "dirfd"],
            [&forbidden, "10000", "chdir"],
            [&turned, "200", "turned"],
        ] {
            let words = [race, words[0], words[1], words[2]];
            let outcome = world.run(&["--policy", policy.to_str().expect("path")], &words);
            let told = outcome.stdout();
            assert!(
                told.contains("wins 0") && !told.contains("opened 0"),
                "{}: {told}\n{}",
                words[3],
                outcome.stderr()
            );
        }
    }
}

#[test]
fn arguments_rewritten_during_exec_never_win() {
    let world = World::new(User::Own);
    world.program("report");
    let policy = world.write("p.yaml", "metadata: {id: t}\nfilesystem: {default_read: allow, default_write: allow}\ncommands: {block: ['report apply*', '*/report apply*'], default: allow}\n");
    let race = world.program("race_argv");
    let report = world.folder("bin").join("report");
    // A tenth of the other races': each attempt is a process.
    let words = [race.to_str().expect("path"), report.to_str().expect("path"), "2000"];
    world.command(words[0]).args(&words[1..]).output().expect("race");
    let native = std::fs::read_to_string(world.path("ran")).expect("ran");
    assert!(native.contains("apply"), "the race proves nothing");
    std::fs::remove_file(world.path("ran")).expect("ran");
    let outcome = world.run(&["--policy", policy.to_str().expect("path")], &words);
    let ran = std::fs::read_to_string(world.path("ran")).expect("some ran");
    assert!(ran.contains("plan_") && !ran.contains("apply"), "{}", outcome.stderr());
    assert!(
        swapped(&outcome) > 0,
        "no record of what was killed: {}",
        outcome.stderr()
    );
}

fn swapped(outcome: &Outcome) -> usize {
    let of_a_swap = |record: &&serde_json::Value| record["rule_id"] == "boundary.exec.swapped";
    outcome.records.iter().filter(of_a_swap).count()
}

/// Its parent kills it while the supervisor looks at what it has become: what has no memory any more shows nothing that was decided.
#[test]
fn a_program_that_is_killed_as_it_starts_was_not_swapped() {
    const KILLS: &str = "import os\nfor i in range(300):\n    pid = os.posix_spawn('/bin/true', ['true'], {})\n    os.kill(pid, 9)\n    \
        print(os.waitpid(pid, 0)[1])\n";
    each(|world| {
        let outcome = world.run(&[], &["python3", "-c", KILLS]);
        let killed = outcome.stdout().lines().filter(|line| *line == "9").count();
        assert!(killed > 0, "nothing was killed in time: {}", outcome.stderr());
        assert_eq!(outcome.stdout().lines().count(), 300, "{}", outcome.stderr());
        assert_eq!(swapped(&outcome), 0, "{}", outcome.stderr());
    });
}

#[test]
fn connections_are_judged_and_the_sessions_own_listeners_reached() {
    each(|world| {
        let outside = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        outside.set_nonblocking(true).expect("nonblocking");
        let port = outside.local_addr().expect("address").port();
        let line = format!(
            "import socket\ntry: socket.create_connection(('127.0.0.1',{port}),2); print('LEAK')\nexcept PermissionError: print('refused')"
        );
        let outcome = world.run(&[], &["python3", "-c", &line]);
        assert_eq!(outcome.stdout(), "refused\n", "{}", outcome.stderr());
        assert!(outside.accept().is_err(), "the listener was reached");
        assert!(outcome.recorded("block", "network.default.block", &format!("127.0.0.1:{port}")));
        let policy = world.write("p.yaml", &format!("metadata: {{id: t}}\nnetwork: {{allow: ['127.0.0.1:{port}'], default: block}}\ncommands: {{default: allow}}\n"));
        let twin = world.run(&["--policy", policy.to_str().expect("path")], &["python3", "-c", &line]);
        assert_eq!(twin.stdout(), "LEAK\n", "{}", twin.stderr());
        assert!(outside.accept().is_ok());
        let own = "import socket\ns=socket.socket(); s.bind(('127.0.0.1',0)); s.listen()\nc=socket.create_connection(s.getsockname()); a,_=s.accept(); c.send(b'x'); print(a.recv(1))";
        let outcome = world.run(&[], &["python3", "-c", own]);
        assert_eq!(outcome.stdout(), "b'x'\n", "{}", outcome.stderr());
    });
}

/// More opens that wait than the supervisor has threads, and then a call that must not wait for them.
const MANY_WAIT: &str = r"
import os, threading, time
os.mkfifo('pipe')
got = []
def wait():
    try: os.close(os.open('pipe', os.O_RDONLY)); got.append('opened')
    except OSError as error: got.append(error.strerror)
threads = [threading.Thread(target=wait) for _ in range(1100)]
for thread in threads: thread.start()
while 'Too many open files in system' not in got: time.sleep(0.01)
print(open('ordinary').read())
while len(got) < len(threads):
    try: os.close(os.open('pipe', os.O_WRONLY | os.O_NONBLOCK))
    except OSError: time.sleep(0.01)
print(got.count('opened') >= 1000)
";

#[test]
fn calls_that_wait_leave_room_for_the_others() {
    each(|world| {
        world.write("ordinary", "read");
        let outcome = world.run(&[], &["python3", "-c", MANY_WAIT]);
        assert_eq!(outcome.stdout(), "read\nTrue\n", "{}", outcome.stderr());
    });
}

/// Ways to listen on every interface; each prints what it got.
const EVERY_INTERFACE: &str = r"
import ctypes, os, socket, struct
def line(name, way):
    try: way(); print(name, 'LISTENS')
    except OSError as error: print(name, error.strerror)
def bound(): socket.socket().bind(('0.0.0.0', 0))
def six(): socket.socket(socket.AF_INET6).bind(('::', 0))
def unbound(): s = socket.socket(); s.listen()
def unspecified():
    # The kernel takes AF_UNSPEC with the address 0 for AF_INET.
    libc = ctypes.CDLL(None, use_errno=True)
    s = socket.socket()
    if libc.bind(s.fileno(), struct.pack('=HH4s8x', 0, 0, bytes(4)), 16): raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    s.listen()
for way in bound, six, unbound, unspecified: line(way.__name__, way)
";

#[test]
fn listening_on_every_interface_is_by_rule_however_it_is_asked() {
    each(|world| {
        let outcome = world.run(&[], &["python3", "-c", EVERY_INTERFACE]);
        for way in ["bound", "six", "unbound", "unspecified"] {
            let wanted = format!("{way} Permission denied");
            assert!(
                outcome.stdout().lines().any(|line| line == wanted),
                "{wanted}: {}",
                outcome.stdout()
            );
        }
        let policy = world.write(
            "p.yaml",
            "metadata: {id: t}\nnetwork: {default: allow}\ncommands: {default: allow}\n",
        );
        let twin = world.run(
            &["--policy", policy.to_str().expect("path")],
            &["python3", "-c", EVERY_INTERFACE],
        );
        assert_eq!(
            twin.stdout().matches("LISTENS").count(),
            4,
            "{}{}",
            twin.stdout(),
            twin.stderr()
        );
    });
}

#[test]
fn a_held_request_goes_on_when_a_person_says_so() {
    for (answer, effect) in [("approve", true), ("deny", false)] {
        each(|world| {
            let child = world
                .session(&[], &["sh", "-c", "mkdir -p iam; echo 1 > iam/x"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("run");
            let id = until("a held request", || {
                let list = world
                    .command(world.folder("bin").join("cavractl"))
                    .args(["approvals", "list", "--json"])
                    .output()
                    .ok()?;
                let list: serde_json::Value = serde_json::from_slice(&list.stdout).ok()?;
                Some(list.as_array()?.first()?["approval_id"].as_str()?.to_owned())
            });
            let said = world
                .command(world.folder("bin").join("cavractl"))
                .args(["approvals", answer, &id, "--reason", "test"])
                .output()
                .expect("cavractl");
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            wait(child, Duration::from_secs(60));
            assert_eq!(world.path("iam/x").exists(), effect, "{answer}");
            assert!(
                world
                    .records()
                    .iter()
                    .any(|record| record["approval"]["reason"] == "test")
            );
        });
    }
    each(|world| {
        let outcome = world.run(&["--approvals", "deny"], &["sh", "-c", "mkdir -p iam; echo 1 > iam/x"]);
        assert!(!world.path("iam/x").exists());
        assert!(outcome.recorded("require_approval", "filesystem.write.require_approval", "/iam/x"));
    });
}

#[test]
fn the_supervisor_and_its_files_are_out_of_reach() {
    const LOOSE: &str = "metadata: {id: t}\nfilesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\nnetwork: {default: allow}\n";
    const REACH: &str = r#"
import os, resource, glob
def field(pid, name):
    try: return int([l for l in open(f"/proc/{pid}/status") if l.startswith(name)][0].split()[1])
    except OSError: return 0
def up(pid): return field(pid, "PPid")
reaper = up(os.getpid()); supervisor = up(reaper)
home = os.environ["HOME"]
def attempt(name, act):
    try: act(); print("REACHED", name)
    except OSError as error: pass
threads = [t for t in range(supervisor, supervisor + 500) if field(t, "Tgid") == supervisor]
for pid in [supervisor, reaper] + threads:
    for name in ["mem", "environ", "maps", "fd/0", "root/etc/passwd"]:
        attempt(f"{pid} {name}", lambda: open(f"/proc/{pid}/{name}", "rb").close())
    attempt("kill", lambda: os.kill(pid, 9))
    attempt("prlimit", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3)))
    attempt("affinity", lambda: os.sched_setaffinity(pid, {0}))
    attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE)
attempt("read evidence", lambda: open(home + "/evidence/decisions.jsonl").close())
attempt("append", lambda: open(home + "/evidence/decisions.jsonl", "a").close())
attempt("truncate", lambda: os.truncate(home + "/evidence/decisions.jsonl", 0))
attempt("unlink", lambda: os.unlink(home + "/evidence/decisions.jsonl"))
attempt("move", lambda: os.rename(home + "/evidence", home + "/moved"))
attempt("move the folder above", lambda: os.rename(home + "/.local", home + "/moved"))
attempt("policy", lambda: (os.mkdir(".cavra"), open(".cavra/policy.yaml", "w").close()))
import socket
for path in glob.glob(home + "/.local/state/cavra/run/*") or ["/nowhere"]:
    attempt("control", lambda: socket.socket(socket.AF_UNIX).connect(path))
print("tried", len(threads))
"#;
    each(|world| {
        let policy = world.write("p.yaml", LOOSE);
        for mode in ["enforce", "audit"] {
            let outcome = world.run(
                &["--mode", mode, "--policy", policy.to_str().expect("path")],
                &["python3", "-c", REACH],
            );
            assert!(
                outcome.stdout().contains("tried") && !outcome.stdout().contains("REACHED"),
                "{mode}: {}\n{}",
                outcome.stdout(),
                outcome.stderr()
            );
            assert_eq!(outcome.code(), Some(0));
        }
    });
}

#[test]
fn audit_refuses_nothing_and_records_what_would_have_been() {
    each(|world| {
        let outcome = world.run(&["--mode", "audit"], &["cat", ".env"]);
        assert_eq!(outcome.stdout(), "SECRET=1\n");
        assert!(outcome.recorded("block", "filesystem.read.block", "/.env"));
    });
}

#[test]
fn the_exit_status_is_the_commands() {
    each(|world| {
        let policy = world.write("bad.yaml", "metadata: {id: t}\nfilesystem: {blok_read: [x]}\n");
        let selfish = world.write(
            "self.yaml",
            &format!(
                "metadata: {{id: t, inherits: ['{}']}}\n",
                world.path("self.yaml").display()
            ),
        );
        let (policy, selfish) = (policy.to_str().expect("path"), selfish.to_str().expect("path"));
        for (options, words, code, says) in [
            (&[][..], &["sh", "-c", "exit 7"][..], 7, ""),
            (&[], &["sh", "-c", "kill -TERM $$"], 143, ""),
            (&[], &["no-such-command"], 127, "not found"),
            (&[], &["./README.md"], 126, "README.md"),
            (&["--no-such-option"], &["true"], 125, "no-such-option"),
            (&["--profile", "nope"], &["true"], 125, "nope"),
            (&["--policy", "nope"], &["true"], 125, "nope"),
            (&["--policy", policy], &["true"], 125, "blok_read"),
            (&["--policy", selfish], &["true"], 125, "inherits itself"),
            (&["--workspace", "/nonexistent"], &["true"], 125, "/nonexistent"),
        ] {
            let outcome = world.run(options, words);
            assert_eq!(
                outcome.code(),
                Some(code),
                "{options:?} {words:?}: {}",
                outcome.stderr()
            );
            assert!(
                outcome.stderr().contains(says),
                "{options:?} {words:?}: {}",
                outcome.stderr()
            );
        }
        let nested = world.run(
            &[],
            &[
                world.folder("bin").join("cavra-run").to_str().expect("path"),
                "--",
                "true",
            ],
        );
        assert_eq!(nested.code(), Some(125));
        assert!(nested.stderr().contains("already inside"), "{}", nested.stderr());
    });
}

#[test]
fn nothing_outlives_the_session_or_its_supervisor() {
    each(|world| {
        world.run(&[], &["sh", "-c", "(setsid sleep 300 & echo $! > pid)"]);
        let gone = |name: &str| {
            let pid = std::fs::read_to_string(world.path(name))
                .ok()?
                .trim()
                .parse::<i32>()
                .ok()?;
            // SAFETY: signal 0 only asks.
            (unsafe { libc::kill(pid, 0) } != 0
                || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z")))
            .then_some(())
        };
        assert!(gone("pid").is_some(), "a leftover lives");
        drop(std::fs::remove_dir_all(world.folder("home").join("evidence")));
        let mut child = world
            .session(
                &[],
                &[
                    "sh",
                    "-c",
                    "(setsid sleep 300 & echo $! > pid1); echo $$ > pid2; sleep 300",
                ],
            )
            .spawn()
            .expect("run");
        until("the tree", || {
            std::fs::read_to_string(world.path("pid2"))
                .ok()
                .filter(|text| text.ends_with('\n'))
        });
        child.kill().expect("kill");
        child.wait().expect("wait");
        until("the end of the tree", || gone("pid1").and(gone("pid2")));
        let verify = world
            .command(world.folder("bin").join("cavractl"))
            .args(["evidence", "verify"])
            .arg(world.folder("home").join("evidence"))
            .output()
            .expect("verify");
        assert_eq!(
            verify.status.code(),
            Some(3),
            "{}",
            String::from_utf8_lossy(&verify.stdout)
        );
    });
}

#[test]
fn git_works_and_a_push_to_a_protected_branch_does_not() {
    each(|world| {
        let line = "set -e; git init -q -b main g; cd g; git config user.email a@b; git config user.name n; echo 1 > a; git add a; git commit -qm one; \
            git checkout -q -b t; echo 2 >> a; git commit -qam two; git rebase -q main; git worktree add -q ../w -b w; git log --oneline | wc -l; \
            cd ..; git clone -q g c; cat c/a; git clone -q --bare g o.git; cd g; git remote add origin ../o.git; git push -q origin t:topic; \
            git -C . push origin HEAD:main || echo refused";
        let outcome = world.run(&[], &["sh", "-c", line]);
        assert_eq!(outcome.stdout(), "2\n1\n2\nrefused\n", "{}", outcome.stderr());
        assert!(
            outcome
                .records
                .iter()
                .any(|record| record["rule_id"] == "git.protected_branch.block_direct_push")
        );
    });
}

/// git's configuration names programs that a person's own git runs later (attack class 76): who else writes it is refused, and what git is told to
/// write there is held, but for what runs nothing.
#[test]
fn no_program_is_planted_in_gits_configuration() {
    const REPOSITORY: &str = "git init -q -b main g; cd g; git remote add origin ../o; git config user.name n; git config branch.main.merge x; ";
    const REFUSED: &[&str] = &[
        "printf '[core]\\nfsmonitor = ./plant\\n' >> .git/config",
        "cp .git/config c; printf '[core]\\nfsmonitor = ./plant\\n' >> c; mv c .git/config",
        "cp .git/config c; printf '[core]\\nfsmonitor = ./plant\\n' >> c; ln -f c .git/config",
        "cp -r .git new; printf '[core]\\nfsmonitor = ./plant\\n' >> new/config; mv .git old; mv new .git",
        "python3 -c 'open(\".git/config\", \"a\").write(\"[core]\\nfsmonitor = ./plant\\n\")'",
        "git -c user.name=x -c user.email=x commit -q --allow-empty -m x; git log -1 --output=.git/config --format='[core]%n fsmonitor = ./plant'",
        "git -c trailer.separators== interpret-trailers --in-place --trailer fsmonitor=./plant .git/config",
        "git config core.fsmonitor ./plant",
        "git config CORE.FSMONITOR ./plant",
        "git config core.fsmonitor ./plant --list",
        "git config --local core.fsmonitor ./plant",
        "git config --replace-all core.fsmonitor ./plant --list",
        "git config --type=path core.fsmonitor ./plant --get",
        "git config set --local core.fsmonitor ./plant",
        "git -c a.b=c config --add core.fsmonitor ./plant",
        "git -c alias.c=config c core.fsmonitor ./plant",
        "git -c help.autocorrect=immediate confg core.fsmonitor ./plant",
        "$(git --exec-path)/git-config core.fsmonitor ./plant",
        "bash -c 'exec -a git-config git core.fsmonitor ./plant'",
        "git clone -q -c core.fsmonitor=./plant . ../h; cp ../h/.git/config .git/config",
        "cp $(command -v git) mine; ./mine config core.fsmonitor ./plant",
        "LD_PRELOAD=./none.so git config core.fsmonitor ./plant",
    ];
    for line in REFUSED {
        each(|world| {
            let whole = format!("{REPOSITORY}({line}) 2>/dev/null; cat .git/config; [ -e old ] && cat .git/config");
            let mut session = world.session(&["--approvals", "deny"], &["sh", "-c", &whole]);
            // A pager or an editor in the environment is no reason to distrust git itself.
            session.envs([("PAGER", "less"), ("EDITOR", "vi")]);
            let output = session.output().expect("session");
            let stdout = String::from_utf8_lossy(&output.stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                stdout.contains("url = ../o"),
                "git could not work: {line}\n{stdout}{stderr}"
            );
            assert!(!stdout.contains("plant"), "{line}\n{stdout}{stderr}");
        });
        // The twin: outside each of them plants.
        let world = World::new(User::Own);
        let whole = format!("{REPOSITORY}({line}) 2>/dev/null; cat .git/config");
        let native = world.command("sh").args(["-c", &whole]).output().expect("sh");
        assert!(
            String::from_utf8_lossy(&native.stdout).contains("plant"),
            "{line} proves nothing"
        );
    }
}

/// A process number that a trusted program had comes to mean a process of the same file that is not trusted (class 69).
#[test]
fn a_number_that_was_trusted_gives_nothing_to_who_has_it_next() {
    let numbers: u32 = std::fs::read_to_string("/proc/sys/kernel/pid_max")
        .expect("proc")
        .trim()
        .parse()
        .expect("a number");
    if numbers > 65536 {
        eprintln!("SKIPPED: reused numbers ({numbers} of them here)");
        return;
    }
    let world = World::new(users().last().copied().expect("a user"));
    let library = world.folder("bin").join("reuse.so");
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/libraries/reuse.c");
    let mut compiler = std::process::Command::new("cc");
    compiler
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source);
    assert!(compiler.status().expect("cc").success());
    // The trusted run is one of git that has written its configuration, and told its number.
    let line = format!(
        "git init -q g; cd g; sh -c 'echo $$ > ../number; exec git config user.name n'; \
         REUSE=$(cat ../number) FILE=.git/config TEXT=planted LD_PRELOAD={} git version; grep -c planted .git/config",
        library.display()
    );
    let native = world.command("sh").args(["-c", &line]).output().expect("sh");
    let native = String::from_utf8_lossy(&native.stdout).into_owned();
    assert!(native.contains("reused after") && native.ends_with("\n1\n"), "{native}");
    std::fs::remove_dir_all(world.path("g")).expect("the control's");
    let outcome = world.run(&[], &["sh", "-c", &line]);
    assert!(
        outcome.stdout().contains("reused after") && outcome.stdout().ends_with("\n0\n"),
        "{}{}",
        outcome.stdout(),
        outcome.stderr()
    );
    let refused = outcome.records.iter().any(|record| {
        record["action_type"] == "write_file"
            && record["errno"] == "EACCES"
            && record["target"]
                .as_str()
                .is_some_and(|target| target.ends_with("/g/.git/config"))
    });
    assert!(refused, "{:#?}", outcome.records);
}

/// A file that a rule names has another name since before the session (class 11): it stays that file whatever becomes of the name in the rule.
#[test]
fn an_older_name_of_a_secret_stays_a_secret() {
    for line in [
        "cat alias",
        "rm .env; cat alias",
        "echo x > new; mv new .env; cat alias",
        "rm .env; mv alias other; cat other",
        "rm .env; ln alias other; cat other",
        "rm .env; cp alias other; cat other",
        "rm .env; exec 3< alias; cat <&3",
    ] {
        each(|world| {
            std::fs::hard_link(world.path(".env"), world.path("alias")).expect("a link");
            let outcome = world.run(&[], &["sh", "-c", line]);
            assert!(!outcome.stdout().contains("SECRET"), "{line}: {}", outcome.stdout());
            assert!(
                outcome
                    .records
                    .iter()
                    .any(|record| record["rule_id"] == "filesystem.read.block"),
                "{line}: no record"
            );
        });
    }
    each(|world| {
        std::fs::hard_link(world.path(".env"), world.path("alias")).expect("a link");
        let native = world
            .command("sh")
            .args(["-c", "rm .env; cat alias"])
            .output()
            .expect("sh");
        assert_eq!(String::from_utf8_lossy(&native.stdout), "SECRET=1\n");
        std::fs::hard_link(world.path("README.md"), world.path("link")).expect("a link");
        let twin = world.run(&[], &["sh", "-c", "rm README.md; cat link"]);
        assert_eq!(twin.stdout(), "read me\n", "{}", twin.stderr());
    });
}

/// What changes a file through a descriptor of a name that is gone.
const GONE: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("alias", os.O_PATH)
os.unlink("alias")
empty = 0x1000
print(libc.syscall(452, fd, b"", 0o600, empty), libc.syscall(260, fd, b"", -1, os.getegid(), empty), libc.syscall(280, fd, b"", (ctypes.c_long * 4)(5, 0, 5, 0), empty))
print(libc.syscall(190, fd, b"user.x", b"y", 1, 0), ctypes.get_errno() == 9, libc.fchmod(fd, 0o600), ctypes.get_errno() == 9)
try: print("READ", open(f"/proc/self/fd/{fd}").read())
except OSError: pass
try: os.truncate(f"/proc/self/fd/{fd}", 0)
except OSError: pass
"#;

#[test]
fn a_descriptor_of_a_name_that_is_gone_gives_nothing_new() {
    for user in users() {
        let world = World::new(user);
        let locked = world.write("locked", "kept");
        let link = |name: &str| std::fs::hard_link(&locked, world.path(name)).expect("a link");
        let state = || {
            use std::os::unix::fs::MetadataExt;
            let meta = std::fs::metadata(&locked).expect("locked");
            (meta.mode(), meta.mtime(), meta.len())
        };
        let (before, policy) = (state(), world.write("p.yaml", "metadata: {id: t}\nfilesystem: {block_read: ['${workspace}/locked'], block_write: ['${workspace}/locked'], default_read: allow, default_write: allow}\ncommands: {default: allow}\n"));
        link("alias");
        let outcome = world.run(&["--policy", policy.to_str().expect("path")], &["python3", "-c", GONE]);
        assert_eq!(outcome.stdout(), "-1 -1 -1\n-1 True -1 True\n", "{}", outcome.stderr());
        assert_eq!(state(), before, "it was changed");
        link("alias");
        let native = world.command("python3").args(["-c", GONE]).output().expect("python3");
        let native = String::from_utf8_lossy(&native.stdout).into_owned();
        assert!(
            native.starts_with("0 0 0\n-1 True -1 True\nREAD kept\n") && state() != before,
            "{native}"
        );
    }
}

/// The home was mounted a second time before the session: its evidence and policy are as far away there (class 16).
#[test]
fn a_second_mount_of_its_folders_leads_nowhere() {
    let world = World::new(User::Own);
    let mounts = "mount --bind \"$HOME\" \"$HOME/../again\" || exit 77; ";
    std::fs::create_dir(world.folder("again")).expect("a folder");
    let policy = world.write(
        "p.yaml",
        "metadata: {id: t}\nfilesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\n",
    );
    let run = |script: &str| {
        let inside = world.session(&["--policy", policy.to_str().expect("path")], &["sh", "-c", script]);
        let words: Vec<String> = std::iter::once(inside.get_program())
            .chain(inside.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let line = format!("{mounts}{}", words.join(" "));
        let mut command = world.command("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &line]);
        command.output().expect("unshare")
    };
    let outcome = run(
        "cat ../again/evidence/decisions.jsonl; echo x >> ../again/evidence/decisions.jsonl; mv ../again/evidence ../again/e2; echo read > ../again/plain; cat ../home/plain",
    );
    if outcome.status.code() == Some(77) || outcome.stderr.starts_with(b"unshare:") {
        eprintln!("SKIPPED: a second mount of the session's folders (nothing can be mounted here)");
        return;
    }
    let (stdout, stderr) = (
        String::from_utf8_lossy(&outcome.stdout),
        String::from_utf8_lossy(&outcome.stderr),
    );
    assert_eq!(stdout, "read\n", "{stderr}");
    assert!(stderr.matches("Permission denied").count() >= 2, "{stderr}");
    assert!(world.folder("home").join("evidence/decisions.jsonl").exists());
}
