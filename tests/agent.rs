//! The real agent: Claude Code from npm, unmodified, against a scripted Messages API on loopback.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cavra_tests::{User, World, until, users, wait};
use serde_json::{Value, json};

/// The API's process; it ends with the test.
struct Api(Child, u16);

impl Drop for Api {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Api {
    fn start(world: &World, script: &Value) -> Self {
        let (file, log) = (
            world.folder("bin").join("script.json"),
            world.folder("bin").join("api.log"),
        );
        std::fs::write(&file, script.to_string()).expect("script");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/messages_api.py");
        let mut child = Command::new("python3")
            .arg(program)
            .arg(&file)
            .arg(log)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout"))
            .read_line(&mut line)
            .expect("port");
        Self(child, line.trim().parse().expect("port"))
    }
}

fn claude() -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/claude/node_modules/.bin/claude")
        .canonicalize()
        .ok();
    if found.is_none() {
        eprintln!("SKIPPED: the real agent is not installed; scripts/claude.sh does");
    }
    found
}

fn bash(command: &str) -> Value {
    json!({"name": "Bash", "input": {"command": command}})
}

fn prepare(world: &World) {
    world.write("README.md", "read me\n");
    world.write(".env", "SECRET=1\n");
    let terraform = world.folder("bin").join("terraform");
    let mark = world.path("terraform-ran");
    std::fs::write(&terraform, format!("#!/bin/sh\necho ran > {}\n", mark.display())).expect("terraform");
    std::fs::set_permissions(&terraform, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    let status = world
        .command("git")
        .args(["init", "-q", "-b", "main"])
        .status()
        .expect("git");
    assert!(status.success());
}

fn command(world: &World, options: &[&str], claude: &Path, api: &Api) -> Command {
    let mut command = world.session(
        options,
        &[
            claude.to_str().expect("path"),
            "-p",
            "do it",
            "--output-format",
            "json",
            "--dangerously-skip-permissions",
        ],
    );
    command
        .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{}", api.1))
        .env("ANTHROPIC_API_KEY", "test");
    command
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_AUTOUPDATER", "1")
        .env("IS_SANDBOX", "1");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The users that can execute the agent where it is installed.
fn able(claude: &Path) -> Vec<User> {
    users()
        .into_iter()
        .filter(|user| {
            let able = World::new(*user)
                .command(claude)
                .arg("--version")
                .stdout(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
            if !able {
                eprintln!(
                    "SKIPPED: the real agent as {user:?}: {} is out of its reach",
                    claude.display()
                );
            }
            able
        })
        .collect()
}

#[test]
fn the_work_gets_done_and_each_forbidden_act_is_refused() {
    let Some(claude) = claude() else { return };
    for user in able(&claude) {
        let world = World::new(user);
        prepare(&world);
        let outside = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        outside.set_nonblocking(true).expect("nonblocking");
        let port = outside.local_addr().expect("address").port();
        let path = |name: &str| world.path(name).display().to_string();
        let script = json!([
            bash("ls; cat README.md"),
            {"name": "Write", "input": {"file_path": path("src/a.py"), "content": "print(6 * 7)\n"}},
            bash("python3 src/a.py"),
            {"name": "Read", "input": {"file_path": path(".env")}},
            bash("cat .env"),
            bash("python3 -c 'print(open(\".env\").read())'"),
            bash("ln -s .env l; cat l"),
            bash("ln .env h; cat h"),
            bash("mkdir -p .github/workflows; echo x > .github/workflows/x.yml"),
            bash("echo x > .git/hooks/pre-commit"),
            bash("git push origin main"),
            bash("sh -c 'terraform apply'"),
            bash("python3 -c \"import os; os.system('terraform apply')\""),
            bash(&format!("python3 -c \"import socket; socket.create_connection(('127.0.0.1',{port}))\"")),
            bash("mkdir -p iam; echo 1 > iam/x; cat iam/x"),
            bash("echo 1 > iam/y"),
        ]);
        let api = Api::start(&world, &script);
        let child = command(&world, &["--profile", "claude"], &claude, &api)
            .spawn()
            .expect("cavra-run");
        for (answer, file) in [("approve", "iam/x"), ("deny", "iam/y")] {
            let cavractl = || world.command(world.folder("bin").join("cavractl"));
            let id = until("a held request", || {
                let list = cavractl().args(["approvals", "list", "--json"]).output().ok()?;
                let list: Value = serde_json::from_slice(&list.stdout).ok()?;
                let held = list
                    .as_array()?
                    .iter()
                    .find(|held| held["decision"]["target"].as_str().is_some_and(|t| t.ends_with(file)))?;
                Some(held["approval_id"].as_str()?.to_owned())
            });
            assert!(
                cavractl()
                    .args(["approvals", answer, &id, "--reason", "seen"])
                    .status()
                    .expect("cavractl")
                    .success()
            );
        }
        let output = wait(child, Duration::from_secs(240));
        let log = std::fs::read_to_string(world.folder("bin").join("api.log")).expect("log");
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}\n{log}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            log.contains("read me") && log.contains("42"),
            "the work was not done:\n{log}"
        );
        assert_eq!(log.lines().count(), 16, "{log}");
        assert!(!log.contains("SECRET"), "the secret came out:\n{log}");
        for absent in [
            ".github/workflows/x.yml",
            ".git/hooks/pre-commit",
            "terraform-ran",
            "iam/y",
        ] {
            assert!(!world.path(absent).exists(), "{absent} was made");
        }
        assert!(world.path("iam/x").exists() && world.path("src/a.py").exists());
        assert!(outside.accept().is_err(), "the listener was reached");
        let records = world.records();
        for (rule, target) in [
            ("filesystem.read.block", "/.env"),
            ("filesystem.write.block", "/x.yml"),
            ("filesystem.write.block", "/pre-commit"),
            ("git.protected_branch.block_direct_push", "/git"),
            ("commands.block", "/terraform"),
            ("network.default.block", &format!(":{port}")),
            ("filesystem.write.require_approval", "/iam/x"),
            ("filesystem.write.require_approval", "/iam/y"),
        ] {
            let is = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
            assert!(
                records
                    .iter()
                    .any(|r| is(r, "rule_id") == rule && is(r, "target").ends_with(target)),
                "no record of {rule} {target}"
            );
        }
        let evidence = world.folder("home").join("evidence");
        assert!(
            world
                .command(world.folder("bin").join("cavractl"))
                .args(["evidence", "verify"])
                .arg(evidence)
                .status()
                .expect("verify")
                .success()
        );
    }
}

#[test]
fn audit_lets_the_agent_do_all_of_it_and_says_so() {
    let Some(claude) = claude() else { return };
    let world = World::new(User::Own);
    prepare(&world);
    let api = Api::start(
        &world,
        &json!([
            bash("cat .env"),
            bash("sh -c 'terraform apply'"),
            bash("echo x > .git/hooks/pre-commit")
        ]),
    );
    let child = command(&world, &["--profile", "claude", "--mode", "audit"], &claude, &api)
        .spawn()
        .expect("cavra-run");
    let output = wait(child, Duration::from_secs(240));
    let log = std::fs::read_to_string(world.folder("bin").join("api.log")).expect("log");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}\n{log}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        log.contains("SECRET") && world.path("terraform-ran").exists() && world.path(".git/hooks/pre-commit").exists(),
        "{log}"
    );
    for rule in ["filesystem.read.block", "commands.block", "filesystem.write.block"] {
        assert!(
            world
                .records()
                .iter()
                .any(|record| record["rule_id"] == rule && record["mode"] == "audit"),
            "{rule}"
        );
    }
}
