//! Evidence as an auditor meets it: what sessions leave behind, what a full disk and an attacker make of it, what `cavractl` says.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use cavra_tests::{User, World, until, users, wait};
use serde_json::Value;

fn each(test: impl Fn(&World)) {
    for user in users() {
        let world = World::new(user);
        world.write(".env", "SECRET=1\n");
        world.write("README.md", "read me\n");
        test(&world);
    }
}

fn evidence(world: &World) -> PathBuf {
    world.folder("home").join("evidence")
}

fn uid(user: User) -> u32 {
    user.account().expect("a user of `users`").uid
}

fn cavractl(world: &World, args: &[&str]) -> Output {
    let mut command = world.command(world.folder("bin").join("cavractl"));
    command.args(args).output().expect("cavractl")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn verified(world: &World, dir: &Path) -> (Option<i32>, String) {
    let output = cavractl(world, &["evidence", "verify", dir.to_str().expect("path")]);
    (output.status.code(), said(&output))
}

fn of<'a>(record: &'a Value, member: &str) -> &'a str {
    record[member].as_str().unwrap_or_default()
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().expect("sha256sum");
    said(&output).split(' ').next().unwrap_or_default().to_owned()
}

const EVERY_KIND: &str = r#"
metadata: {id: every-kind}
filesystem:
  default_read: allow
  default_write: allow
  block_read: [".env"]
  warn_write: ["watched/**"]
  audit_only_write: ["noted/**"]
  allow_with_attestation_read: ["attested"]
  require_approval_write: ["iam/**"]
commands: {default: allow, block: ["terraform apply*"]}
network: {default: block}
"#;

#[test]
fn each_record_says_who_did_what_to_what_by_which_rule() {
    each(|world| {
        let pack = world.write("every-kind.yaml", EVERY_KIND);
        world.write("attested", "what was read\n");
        let line = "cat .env; mkdir watched noted iam; echo 1 > watched/a; echo 1 > noted/a; echo 1 > iam/a; cat attested README.md; \
            python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 9))'; exit 3";
        let outcome = world.run(
            &[
                "--policy",
                pack.to_str().expect("path"),
                "--approvals",
                "deny",
                "--agent-id",
                "bot",
                "--actor",
                "ann",
            ],
            &["sh", "-c", line],
        );
        assert_eq!(outcome.code(), Some(3), "{}", outcome.stderr());
        let records = &outcome.records;
        let session = of(&records[0], "session_id").to_owned();
        for (seq, record) in records.iter().enumerate() {
            for member in [
                "decision_id",
                "session_id",
                "agent_id",
                "actor",
                "action_type",
                "target",
                "requested_operation",
                "policy_pack",
                "policy_id",
                "rule_id",
                "decision",
                "severity",
                "reason",
                "evidence_refs",
                "approver_group",
                "timestamp",
                "correlation_id",
                "seq",
                "mode",
                "prev_hash",
                "hash",
            ] {
                assert!(record.get(member).is_some(), "{member}: {record:#}");
            }
            let id = of(record, "decision_id");
            assert!(id.len() == 16 && id.starts_with("dec_"), "{id}");
            assert_eq!(record["evidence_refs"][0], format!("evidence://{session}/{id}"));
            assert_eq!(
                (of(record, "session_id"), of(record, "agent_id"), of(record, "actor")),
                (session.as_str(), "bot", "ann")
            );
            assert_eq!(
                (record["seq"].as_u64(), of(record, "mode")),
                (Some(seq as u64), "enforce")
            );
            let time = of(record, "timestamp");
            assert!(
                time.len() > 19 && time.as_bytes()[10] == b'T' && time.ends_with('Z'),
                "{time}"
            );
            if seq > 0 {
                assert_eq!(record["prev_hash"], records[seq - 1]["hash"]);
            }
        }
        let opening = &records[0]["opening"];
        assert_eq!(
            (of(&records[0], "action_type"), &opening["command"][2]),
            ("session_start", &Value::from(line))
        );
        assert_eq!(
            of(opening, "workspace"),
            world.path("").canonicalize().expect("ws").to_str().expect("utf-8")
        );
        assert!(
            of(opening, "policy_digest").len() == 71
                && !of(opening, "version").is_empty()
                && opening["packs"].is_array()
        );
        let last = records.last().expect("end");
        assert_eq!(
            (of(last, "action_type"), of(&last["totals"], "status")),
            ("session_end", "3")
        );
        assert!(
            last["totals"]["by_decision"]["block"].as_u64() >= Some(2) && last["totals"]["reads"].as_u64() > Some(10),
            "{last:#}"
        );

        let found = |action: &str, decision: &str, target: &str| {
            records
                .iter()
                .find(|r| {
                    of(r, "action_type") == action && of(r, "decision") == decision && of(r, "target").ends_with(target)
                })
                .unwrap_or_else(|| panic!("{action} {decision} {target}: {records:#?}"))
        };
        for (action, decision, target, errno, rule) in [
            ("read_file", "block", "/ws/.env", "EACCES", "filesystem.read.block"),
            ("write_file", "warn", "/watched/a", "", "filesystem.write.warn"),
            (
                "write_file",
                "audit_only",
                "/noted/a",
                "",
                "filesystem.write.audit_only",
            ),
            (
                "write_file",
                "require_approval",
                "/iam/a",
                "EACCES",
                "filesystem.write.require_approval",
            ),
            (
                "read_file",
                "allow_with_attestation",
                "/attested",
                "",
                "filesystem.read.allow_with_attestation",
            ),
            (
                "network_connect",
                "block",
                "192.0.2.1:9",
                "EACCES",
                "network.default.block",
            ),
            ("read_file", "allow", "/README.md", "", "filesystem.default.read.allow"),
            ("execute_command", "allow", "/cat", "", "commands.default.allow"),
        ] {
            let record = found(action, decision, target);
            assert_eq!(
                (of(record, "errno"), of(record, "rule_id")),
                (errno, rule),
                "{record:#}"
            );
            assert_eq!(of(record, "policy_pack"), "every-kind", "{record:#}");
            assert!(
                record["pid"].as_i64() > Some(1) && record["tid"].as_i64() > Some(1),
                "{record:#}"
            );
            assert!(
                of(record, "exe").starts_with('/') && !of(record, "syscall").is_empty(),
                "{record:#}"
            );
            assert!(
                !of(record, "layer").is_empty() && !of(record, "reason").is_empty(),
                "{record:#}"
            );
            assert_eq!(record["argv"].is_array(), action == "execute_command", "{record:#}");
        }
        assert!(of(found("read_file", "block", "/.env"), "source").contains("every-kind.yaml:"));
        let attested = found("read_file", "allow_with_attestation", "/attested");
        assert!(
            of(attested, "digest").ends_with(&sha256(&world.path("attested"))),
            "{attested:#}"
        );
        assert_eq!(verified(world, &evidence(world)).0, Some(0));
    });
}

#[test]
fn secrets_in_arguments_are_in_no_record() {
    const SECRET: &str = "hunter2hunter2";
    each(|world| {
        let line = format!(
            "true --password {SECRET} --db-token={SECRET} kept1; env GITHUB_TOKEN={SECRET} true kept2; \
             true https://ann:{SECRET}@x.example/kept3 'Authorization: Bearer {SECRET}' ; true ghp_{SECRET}{SECRET}0A; curl -u ann:{SECRET} --version"
        );
        let mut session = world.session(&[], &["bash", "-c", &line]);
        let child = session
            .env("SOME_TOKEN", SECRET)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("run");
        wait(child, Duration::from_secs(60));
        let text = std::fs::read_to_string(evidence(world).join("decisions.jsonl")).expect("records");
        assert!(
            !text.contains(SECRET),
            "{}",
            text.lines().find(|line| line.contains(SECRET)).unwrap_or_default()
        );
        for kept in [
            "kept1",
            "kept2",
            "kept3",
            "https://ann:[redacted]@x.example/",
            "--db-token=[redacted]",
        ] {
            assert!(text.contains(kept), "{kept}");
        }
    });
}

/// Opens each file named in the arguments five times.
const OPENS: &str = "import sys\nfor name in sys.argv[1:]:\n    for _ in range(5): open(name).close()\n";

#[test]
fn allowed_reads_are_counted_or_recorded_each() {
    const RULES: &str = "metadata: {id: two}\ncommands: {default: allow}\nfilesystem: {default_read: allow}\nrules:\n\
        \x20 - {id: one, action: read_file, match: one, decision: allow}\n\x20 - {id: two, action: read_file, match: two, decision: allow}\n";
    each(|world| {
        let pack = world.write("two.yaml", RULES);
        let one = world.write("one", "x");
        std::fs::hard_link(one, world.path("two")).expect("link");
        let options = ["--policy", pack.to_str().expect("path")];
        let reads = |outcome: &cavra_tests::Outcome, rule: &str| {
            let is = |record: &&Value| {
                of(record, "rule_id") == rule && of(record, "requested_operation") != "repeated_reads"
            };
            outcome.records.iter().filter(is).count()
        };
        let words = ["python3", "-c", OPENS, "one", "two"];
        let counted = world.run(&options, &words);
        assert_eq!(
            (reads(&counted, "one"), reads(&counted, "two")),
            (1, 1),
            "one file by two rules is two reads"
        );
        for rule in ["one", "two"] {
            let repeat = counted
                .records
                .iter()
                .find(|r| of(r, "requested_operation") == "repeated_reads" && of(r, "rule_id") == rule);
            assert_eq!(repeat.map(|record| record["count"].as_u64()), Some(Some(4)), "{rule}");
        }
        let all = world.run(&[&options[..], &["--evidence-level", "all"]].concat(), &words);
        assert_eq!((reads(&all, "one"), reads(&all, "two")), (5, 5));
        assert_eq!(verified(world, &evidence(world)).0, Some(0));
    });
}

/// What becomes of the evidence folder when it is not what a session needs; nothing may be started.
#[test]
fn a_folder_that_can_not_hold_evidence_starts_nothing() {
    each(|world| {
        let home = world.folder("home");
        let at = |name: &str| home.join(name);
        std::fs::create_dir(at("real")).expect("folder");
        std::fs::create_dir(at("full")).expect("folder");
        std::fs::write(at("full/x"), "").expect("file");
        std::fs::write(at("file"), "").expect("file");
        std::fs::create_dir(at("foreign")).expect("folder");
        symlink(at("real"), at("link")).expect("symlink");
        symlink(at("nothing"), at("dangling")).expect("symlink");
        let mut rows = vec![
            ("link", "is a symlink; name the folder itself"),
            ("link/", "is a symlink"),
            ("dangling", "is a symlink"),
            ("full", "is not empty; each session needs a new or empty one"),
            ("file", "is not a folder"),
            ("file/below", "can not make"),
        ];
        if users().len() > 1 {
            for name in ["full", "file", "real"] {
                chown(at(name), Some(uid(world.user())), None).expect("chown");
            }
            let other = if world.user() == User::Own {
                User::Ordinary
            } else {
                User::Own
            };
            chown(at("foreign"), Some(uid(other)), None).expect("chown");
            rows.push(("foreign", "belongs to user"));
        }
        if world.user() == User::Ordinary {
            std::fs::create_dir(at("shut")).expect("folder");
            rows.push(("shut/new", "can not make"));
            std::fs::set_permissions(at("shut"), std::fs::Permissions::from_mode(0o755)).expect("mode");
        }
        for (name, says) in rows {
            let mut command = world.command(world.folder("bin").join("cavra-run"));
            let dir = format!("{}/{name}", home.display());
            let output = command
                .args(["--evidence", &dir, "--", "touch", "ran"])
                .output()
                .expect("run");
            assert_eq!(output.status.code(), Some(125), "{name}: {}", said(&output));
            assert!(
                said(&output).contains(says) && said(&output).contains(&format!("{}/", home.display())),
                "{name}: {}",
                said(&output)
            );
            assert!(!world.path("ran").exists(), "{name}: the command ran");
        }
        let new = format!("{}/new/deep", home.display());
        let mut command = world.command(world.folder("bin").join("cavra-run"));
        let output = command
            .args(["--evidence", &new, "--", "touch", "ran"])
            .output()
            .expect("run");
        assert!(
            output.status.success() && world.path("ran").exists(),
            "{}",
            said(&output)
        );
        let mode = std::fs::metadata(&new).expect("made").permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
    });
}

/// A limit on file sizes stands for the disk: it is full for the evidence when its file has so many bytes.
fn limited(world: &World, bytes: u64, words: &[&str]) -> Output {
    let mut session = world.session(&[], words);
    let run: Vec<_> = std::iter::once(session.get_program())
        .chain(session.get_args())
        .map(ToOwned::to_owned)
        .collect();
    let mut command = world.command("prlimit");
    command.arg(format!("--fsize={bytes}:unlimited")).args(run);
    drop(std::fs::remove_dir_all(evidence(world)));
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("prlimit");
    session.stdin(Stdio::null());
    wait(child, Duration::from_secs(120))
}

#[test]
fn a_full_disk_starts_nothing_and_later_refuses_what_owes_a_record() {
    each(|world| {
        let output = limited(world, 100, &["touch", "ran"]);
        assert_eq!(output.status.code(), Some(125), "{}", said(&output));
        assert!(
            said(&output).contains("first record") && said(&output).contains("free space"),
            "{}",
            said(&output)
        );
        assert!(!world.path("ran").exists(), "the command ran");

        // `echo`, `read` and redirections are the shell's own: the session goes on without a program.
        let line = "i=0; while [ $i -lt 30 ]; do echo > made$i; cat .env; /bin/true && ran=$i; i=$((i+1)); done; \
            (echo > last) && echo wrote; /bin/true && echo executed; echo survived";
        let output = limited(world, 16_000, &["sh", "-c", line]);
        let text = said(&output);
        assert!(text.contains("survived") && output.status.success(), "{text}");
        assert!(
            !text.contains("SECRET") && !text.contains("wrote") && !text.contains("executed"),
            "{text}"
        );
        assert!(world.path("made0").exists() && !world.path("last").exists() && !world.path("made29").exists());
        let (code, verdict) = verified(world, &evidence(world));
        assert_eq!(code, Some(3), "{verdict}");
        assert!(!text.contains("panicked"), "{text}");
        // The twin: with room the same line does it all.
        let outcome = world.run(&[], &["sh", "-c", line]);
        assert!(
            outcome.stdout().contains("wrote\nexecuted\nsurvived"),
            "{}",
            outcome.stdout()
        );
    });
}

/// A disk that is really full: a small one, mounted where only this session sees it.
#[test]
fn a_full_disk_that_is_one() {
    if users().len() < 2 {
        eprintln!("SKIPPED: a full disk of its own (only root can mount one)");
        return;
    }
    each(|world| {
        let (small, copy) = (world.folder("home").join("small"), world.folder("home").join("copy"));
        std::fs::create_dir(&small).expect("folder");
        let uid = uid(world.user());
        let cavra = world.folder("bin").join("cavra-run");
        let run = |size: &str, filler: &str, line: &str| {
            drop(std::fs::remove_dir_all(&copy));
            let script = format!(
                "mount -t tmpfs -o size={size},mode=755,uid={uid},gid={uid} tmpfs {small} && {filler}; \
                 setpriv --reuid={uid} --regid={uid} --clear-groups {cavra} --evidence {small}/e -- sh -c '{line}'; code=$?; \
                 cp -r {small}/e {copy} && chown -R {uid}:{uid} {copy}; exit $code",
                small = small.display(),
                copy = copy.display(),
                cavra = cavra.display()
            );
            let mut command = Command::new("unshare");
            command.args(["-m", "--propagation", "private", "sh", "-c", &script]);
            command
                .current_dir(world.path(""))
                .env("HOME", world.folder("home"))
                .env_remove("XDG_STATE_HOME");
            let child = command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("unshare");
            wait(child, Duration::from_secs(120))
        };
        let fill = format!("head -c 9000 /dev/zero > {}/filler 2>/dev/null", small.display());
        let output = run("8k", &fill, "touch ran");
        assert_eq!(output.status.code(), Some(125), "{}", said(&output));
        assert!(!world.path("ran").exists(), "the command ran: {}", said(&output));

        let line = "i=0; while [ $i -lt 60 ]; do echo > made$i; cat .env; i=$((i+1)); done; (echo > last) && echo wrote; echo survived";
        let output = run("32k", ":", line);
        assert!(
            said(&output).contains("survived") && output.status.success(),
            "{}",
            said(&output)
        );
        assert!(
            !said(&output).contains("wrote") && !said(&output).contains("SECRET"),
            "{}",
            said(&output)
        );
        assert!(world.path("made0").exists() && !world.path("last").exists());
        let (code, verdict) = verified(world, &copy);
        assert_eq!(code, Some(3), "{verdict}");
        let output = run("32m", ":", line);
        assert!(said(&output).contains("wrote\nsurvived"), "{}", said(&output));
        assert_eq!(verified(world, &copy).0, Some(0));
    });
}

#[test]
fn long_sessions_go_on_in_a_second_file_of_the_same_chain() {
    const MANY: &str = "import os\ndeep = 'd' * 250\nfor _ in range(14):\n    os.mkdir(deep); os.chdir(deep)\nopen('f', 'w').close()\n\
        for _ in range(17000): os.close(os.open('f', os.O_RDONLY))\nprint('read')\n";
    each(|world| {
        let outcome = world.run(&["--evidence-level", "all"], &["python3", "-c", MANY]);
        assert_eq!(outcome.stdout(), "read\n", "{}", outcome.stderr());
        assert!(evidence(world).join("decisions.1.jsonl").exists());
        let (code, verdict) = verified(world, &evidence(world));
        assert!(code == Some(0) && verdict.contains("whole: 1"), "{verdict}");
        let mode = std::fs::metadata(evidence(world).join("decisions.1.jsonl"))
            .expect("file")
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(mode, 0o600);
        // Without its first file the chain lacks its beginning.
        std::fs::remove_file(evidence(world).join("decisions.jsonl")).expect("remove");
        let (code, verdict) = verified(world, &evidence(world));
        assert!(
            code == Some(1) && verdict.contains("decisions.jsonl") && verdict.contains("missing"),
            "{verdict}"
        );
    });
}

type Change = fn(&mut Vec<String>, &[String]);

/// What somebody did to the lines of a chain (the second ones are another session's), how `verify` exits, and what it says.
const CHANGES: &[(&str, Change, i32, &str)] = &[
    ("nothing", |_, _| (), 0, "whole"),
    (
        "a target",
        |l, _| l[3] = l[3].replacen("/ws/", "/xx/", 1),
        1,
        "line 4 (dec_",
    ),
    (
        "a decision",
        |l, _| l[3] = l[3].replacen("\"block\"", "\"allow\"", 1),
        1,
        "line 4 (dec_",
    ),
    (
        "a hash",
        |l, _| l[3] = l[3].replacen("\"hash\":\"", "\"hash\":\"0", 1),
        1,
        "line 4",
    ),
    (
        "a member more",
        |l, _| l[3] = l[3].replacen("{", "{\"x\":1,", 1),
        1,
        "line 4",
    ),
    (
        "a member twice",
        |l, _| l[3] = l[3].replacen("{", "{\"target\":\"/\",", 1),
        1,
        "line 4",
    ),
    ("removed from the middle", |l, _| drop(l.remove(3)), 1, "line 4 (dec_"),
    (
        "removed from the beginning",
        |l, _| drop(l.remove(0)),
        1,
        "line 1 (dec_",
    ),
    ("two exchanged", |l, _| l.swap(3, 4), 1, "line 4 (dec_"),
    ("one doubled", |l, _| l.insert(3, l[3].clone()), 1, "line 5 (dec_"),
    ("cut off the end", |l, _| l.truncate(l.len() - 1), 3, "interrupted"),
    (
        "cut within a line",
        |l, _| {
            let n = l.len() - 1;
            let line = &mut l[n];
            line.truncate(line.len() / 2)
        },
        3,
        "unfinished line",
    ),
    ("all removed", |l, _| l.clear(), 1, "no record"),
    (
        "a line of another session",
        |l, o| l[3] = o[3].clone(),
        1,
        "line 4 (dec_",
    ),
    (
        "the end of another session",
        |l, o| {
            l.truncate(4);
            l.extend_from_slice(&o[4..])
        },
        1,
        "line 5 (dec_",
    ),
    (
        "a second session after the end",
        |l, o| l.extend_from_slice(o),
        1,
        "dec_",
    ),
    (
        "a line that is none",
        |l, _| l.insert(3, "\u{1b}[2J".to_owned()),
        1,
        "line 4 (no record)",
    ),
    ("bytes after the end", |l, _| l.push("{\"x\"".to_owned()), 1, "line"),
];

#[test]
fn each_change_of_a_chain_is_named() {
    each(|world| {
        let words = ["sh", "-c", "cat .env; cat README.md; : > new"];
        let other = world.run(&[], &words);
        let lines = |world: &World| -> Vec<String> {
            let text = std::fs::read_to_string(evidence(world).join("decisions.jsonl")).expect("records");
            text.lines().map(str::to_owned).collect()
        };
        let others = lines(world);
        assert!(!other.stdout().contains("SECRET"));
        world.run(&[], &words);
        let own = lines(world);
        let blocked = own
            .iter()
            .position(|line| line.contains("\"block\""))
            .expect("a refusal");
        for (what, change, code, says) in CHANGES {
            let mut changed = own.clone();
            // The table speaks of the fourth line: make it the refusal.
            if blocked != 3 && ["a target", "a decision"].contains(what) {
                let mut one = vec![String::new(); 3];
                one.push(changed[blocked].clone());
                change(&mut one, &others);
                changed[blocked] = one[3].clone();
            } else {
                change(&mut changed, &others);
            }
            let cut = *what == "cut within a line" || *what == "bytes after the end";
            let text = changed.join("\n") + if changed.is_empty() || cut { "" } else { "\n" };
            std::fs::write(evidence(world).join("decisions.jsonl"), text).expect("write");
            let (found, verdict) = verified(world, &evidence(world));
            let says = says.replace(
                "line 4",
                &format!(
                    "line {}",
                    if ["a target", "a decision"].contains(what) {
                        blocked + 1
                    } else {
                        4
                    }
                ),
            );
            assert!(
                found == Some(*code) && verdict.contains(&says),
                "{what}: {found:?} {verdict}"
            );
            assert!(!verdict.contains('\u{1b}'), "{what}: {verdict}");
            let dir = evidence(world);
            let json = cavractl(world, &["evidence", "verify", "--json", dir.to_str().expect("path")]);
            let json: Value = serde_json::from_slice(&json.stdout).expect("json");
            let state = ["whole", "broken", "", "interrupted"][*code as usize];
            assert_eq!(of(&json, "state"), state, "{what}");
        }
        // What is no file is not read: neither a symlink nor a FIFO, on which reading would wait.
        let path = evidence(world).join("decisions.jsonl");
        std::fs::remove_file(&path).expect("remove");
        symlink("/etc/passwd", &path).expect("symlink");
        assert_eq!(verified(world, &evidence(world)).0, Some(1));
        std::fs::remove_file(&path).expect("remove");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        assert_eq!(verified(world, &evidence(world)).0, Some(1));
        assert_eq!(verified(world, Path::new("/nothing/here")).0, Some(1));
    });
}

#[test]
fn records_are_shown_by_decision_path_and_action() {
    each(|world| {
        world.run(
            &[],
            &[
                "sh",
                "-c",
                "cat .env; cat README.md; echo 1 > new; cat \"$(printf 'e\\033[31m\\nvil')\" README.md",
            ],
        );
        let dir = evidence(world);
        let dir = dir.to_str().expect("path");
        let shown = |options: &[&str]| -> Vec<Value> {
            let output = cavractl(world, &[&["evidence", "show", dir, "--json"], options].concat());
            assert!(output.status.success(), "{}", said(&output));
            said(&output)
                .lines()
                .map(|line| serde_json::from_str(line).expect("a record"))
                .collect()
        };
        let all = shown(&[]);
        assert_eq!(all, world.records());
        type Claim = fn(&Value) -> bool;
        let rows: &[(&[&str], Claim)] = &[
            (&["--refused"], |r| !of(r, "errno").is_empty()),
            (&["--decision", "block"], |r| of(r, "decision") == "block"),
            (&["--path", "**/README.md"], |r| of(r, "target").ends_with("/README.md")),
            (&["--path", "README"], |r| of(r, "target").contains("README")),
            (&["--action", "write_file"], |r| of(r, "action_type") == "write_file"),
            (&["--action", "write_file,execute_command", "--path", "/ws/new"], |r| {
                of(r, "target").contains("/ws/new") && of(r, "action_type") == "write_file"
            }),
            (&["--refused", "--path", ".env"], |r| {
                of(r, "target").ends_with("/.env") && !of(r, "errno").is_empty()
            }),
        ];
        for (options, claim) in rows {
            let found = shown(options);
            let wanted: Vec<&Value> = all.iter().filter(|record| claim(record)).collect();
            assert!(
                !wanted.is_empty() && found.iter().collect::<Vec<_>>() == wanted,
                "{options:?}: {} of {}",
                found.len(),
                wanted.len()
            );
        }
        assert!(shown(&["--path", "/nowhere/**"]).is_empty());
        for wrong in [["--action", "reading"], ["--decision", "maybe"]] {
            let output = cavractl(world, &[&["evidence", "show", dir], &wrong[..]].concat());
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            assert!(said(&output).contains("one of"), "{}", said(&output));
        }
        // Colours for people only; what the agent wrote steers no terminal.
        let plain = said(&cavractl(world, &["evidence", "show", dir]));
        assert!(
            plain.contains("/.env") && !plain.contains('\u{1b}') && plain.contains("e\\x1b[31m\\x0avil"),
            "{plain}"
        );
        let program = world.folder("bin").join("cavractl");
        let mut command = world.command("script");
        command
            .args([
                "-qec",
                &format!("{} evidence show {dir}", program.display()),
                "/dev/null",
            ])
            .env_remove("NO_COLOR");
        let coloured = said(&command.output().expect("script"));
        assert!(
            coloured.contains("\u{1b}[31m") && coloured.contains("e\\x1b[31m\\x0avil"),
            "{coloured}"
        );
        assert!(
            !coloured
                .replace("\u{1b}[31m", "")
                .replace("\u{1b}[32m", "")
                .replace("\u{1b}[33m", "")
                .replace("\u{1b}[1m", "")
                .replace("\u{1b}[0m", "")
                .contains('\u{1b}')
        );
    });
}

#[test]
fn sessions_are_listed_by_where_they_stand() {
    each(|world| {
        let run = |line: &str| {
            let mut command = world.command(world.folder("bin").join("cavra-run"));
            command
                .args(["--", "sh", "-c", line])
                .stdout(Stdio::piped())
                .stdin(Stdio::piped())
                .spawn()
                .expect("run")
        };
        let list = || -> Vec<Value> {
            let output = cavractl(world, &["evidence", "list", "--json"]);
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
        };
        assert!(list().is_empty() && said(&cavractl(world, &["evidence", "list"])).contains("no sessions yet"));
        drop(wait(run("cat .env; exit 4"), Duration::from_secs(60)));
        let mut killed = run("echo up; read x");
        let mut running = run("echo up; read x");
        for child in [&mut killed, &mut running] {
            let mut byte = [0];
            std::io::Read::read_exact(child.stdout.as_mut().expect("stdout"), &mut byte).expect("up");
        }
        killed.kill().expect("kill");
        killed.wait().expect("wait");
        // The reaper holds the socket a moment longer than the supervisor.
        let found = until("each in its own state", || {
            let found = list();
            let in_state = |state: &str| found.iter().find(|session| of(session, "state") == state).cloned();
            Some([in_state("running")?, in_state("interrupted")?, in_state("ended")?])
        });
        let [_, interrupted, ended] = &found;
        assert_eq!((of(ended, "status"), ended["refusals"].as_u64()), ("4", Some(1)));
        let verify = |session: &Value| {
            cavractl(world, &["evidence", "verify", of(session, "session_id")])
                .status
                .code()
        };
        assert_eq!((verify(ended), verify(interrupted)), (Some(0), Some(3)));
        drop(wait(running, Duration::from_secs(60)));
        let elsewhere = world.run(&[], &["true"]);
        assert_eq!(elsewhere.code(), Some(0));
        let named = list()
            .into_iter()
            .find(|session| of(session, "command").is_empty() && session["command"][0] == "true")
            .expect("by its name");
        assert_eq!(verify(&named), Some(0));
        std::fs::remove_dir_all(evidence(world)).expect("remove");
        assert_eq!(list().len(), 3, "a folder that was removed is not listed");
        let states = list().iter().filter(|session| of(session, "state") == "ended").count();
        assert_eq!(states, 2);
    });
}

/// What the agent tries on an evidence folder in its own workspace, where all else is its own.
const ATTACK: &str = r#"
import ctypes, os, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, act):
    try:
        if act() not in (-1, 255, 1): print("REACHED", name)
    except OSError: pass
f = "ev/decisions.jsonl"
attempt("read", lambda: open(f).close())
attempt("append", lambda: open(f, "a").close())
attempt("overwrite", lambda: open(f, "w").close())
attempt("truncate", lambda: os.truncate(f, 0))
attempt("unlink", lambda: os.unlink(f))
attempt("unlink below a descriptor", lambda: os.unlink("decisions.jsonl", dir_fd=os.open("ev", os.O_RDONLY)))
attempt("unlink below a path descriptor", lambda: os.unlink("decisions.jsonl", dir_fd=os.open("ev", os.O_PATH)))
attempt("list", lambda: os.listdir("ev"))
attempt("link", lambda: os.link(f, "mine"))
attempt("link at", lambda: libc.linkat(os.open(f, os.O_PATH), b"", -100, b"mine", 0x1000))
attempt("symlink", lambda: (os.symlink("ev", "s"), open("s/decisions.jsonl").close()))
attempt("through proc", lambda: open("/proc/self/cwd/" + f).close())
attempt("rename away", lambda: os.rename("ev", "gone"))
attempt("rename above", lambda: os.rename(os.getcwd(), os.getcwd() + "2"))
attempt("rename over", lambda: (os.mkdir("empty"), os.rename("empty", "ev")))
attempt("exchange", lambda: (os.mkdir("other"), libc.renameat2(-100, b"other", -100, b"ev", 2))[1])
attempt("put in", lambda: open("ev/decisions.1.jsonl", "w").close())
attempt("make in", lambda: os.mkdir("ev/x"))
attempt("link in", lambda: os.link("README.md", "ev/x"))
attempt("mode", lambda: os.chmod("ev", 0o777))
attempt("mode of the file", lambda: os.chmod(f, 0o000))
attempt("owner", lambda: os.chown(f, os.getuid(), os.getgid()))
attempt("times", lambda: os.utime(f, (1, 1)))
attempt("attribute", lambda: os.setxattr(f, "user.x", b"1"))
attempt("remove", lambda: os.rmdir("ev"))
attempt("move by mv", lambda: subprocess.run(["mv", "ev", "gone"], stderr=subprocess.DEVNULL).returncode)
attempt("copy by cp", lambda: subprocess.run(["cp", "-r", "ev", "copied"], stderr=subprocess.DEVNULL).returncode)
attempt("tar", lambda: 0 if b"decision_id" in subprocess.run(["tar", "-c", "ev"], capture_output=True).stdout else 1)
home = os.environ["HOME"]
attempt("sessions", lambda: os.mkdir(home + "/.local/state/cavra/sessions/ses_000000000000"))
attempt("sockets", lambda: os.listdir(home + "/.local/state/cavra/run"))
attempt("state away", lambda: os.rename(home + "/.local/state", home + "/gone"))
print("tried")
"#;

/// Two sessions of one user: neither agent reaches the other's evidence, wherever it lies.
#[test]
fn the_agent_can_not_touch_the_evidence_of_another_session() {
    each(|world| {
        let other = world.path("other");
        let mut command = world.command(world.folder("bin").join("cavra-run"));
        command
            .arg("--evidence")
            .arg(&other)
            .args(["--", "sh", "-c", "echo up; read x"]);
        let mut first = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run");
        let mut byte = [0];
        std::io::Read::read_exact(first.stdout.as_mut().expect("stdout"), &mut byte).expect("up");
        let line = "cat other/decisions.jsonl; echo x >> other/decisions.jsonl; mv other gone; rm -rf other; ls other; echo tried";
        let outcome = world.run(&[], &["sh", "-c", line]);
        assert_eq!(outcome.stdout(), "tried\n", "{}", outcome.stderr());
        drop(wait(first, Duration::from_secs(60)));
        assert_eq!(verified(world, &other).0, Some(0));
        // The twin: once it has ended, its folder is a folder like any other to whoever may write there.
        let outcome = world.run(&[], &["sh", "-c", "mv other gone && echo moved"]);
        assert_eq!(outcome.stdout(), "moved\n", "{}", outcome.stderr());
    });
}

#[test]
fn the_agent_can_not_touch_its_evidence_not_even_in_its_workspace() {
    const LOOSE: &str = "metadata: {id: t}\nfilesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\nnetwork: {default: allow}\n";
    each(|world| {
        let pack = world.write("p.yaml", LOOSE);
        for mode in ["enforce", "audit"] {
            let ev = world.path("ev");
            drop(std::fs::remove_dir_all(&ev));
            let mut command = world.command(world.folder("bin").join("cavra-run"));
            command.args([
                "--mode",
                mode,
                "--policy",
                pack.to_str().expect("path"),
                "--evidence",
                "ev",
                "--",
                "python3",
                "-c",
                ATTACK,
            ]);
            let output = command.output().expect("run");
            assert!(
                said(&output).contains("tried") && !said(&output).contains("REACHED"),
                "{mode}: {}",
                said(&output)
            );
            let (code, verdict) = verified(world, &ev);
            assert_eq!(code, Some(0), "{verdict}");
            let names: Vec<_> = std::fs::read_dir(&ev)
                .expect("folder")
                .map(|entry| entry.expect("entry").file_name())
                .collect();
            assert_eq!(names, ["decisions.jsonl"]);
            for leftover in ["s", "empty", "other"] {
                drop(std::fs::remove_dir(world.path(leftover)).or_else(|_| std::fs::remove_file(world.path(leftover))));
            }
        }
        // The twin: without the evidence in it, the same folder can be read, moved and removed.
        std::fs::create_dir(world.path("plain")).expect("folder");
        chown(world.path("plain"), Some(uid(world.user())), None).expect("chown");
        let outcome = world.run(
            &[],
            &[
                "sh",
                "-c",
                "echo 1 > plain/x && cat plain/x && mv plain moved && rm -r moved && echo done",
            ],
        );
        assert_eq!(outcome.stdout(), "1\ndone\n", "{}", outcome.stderr());
    });
}
