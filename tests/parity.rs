//! `cavractl decide` and `cavractl serve` answer enforcement-v1 requests as CAVRA does: `tests/parity/<pack>.tsv` holds the requests and
//! the answers, worked out from CAVRA's semantics, and these tests ask the programs.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use cavra_tests::places::{products, repository};
use cavra_tests::{World, users, within};
use serde_json::{Value, json};

/// The packs that CAVRA's users know by these names.
const PACKS: &[&str] = &[
    "cavra-agentic-delivery",
    "cavra-ai-agent-baseline",
    "cavra-banking-baseline",
    "cavra-cloud-iam",
    "cavra-eu-ai-act",
    "cavra-github-enterprise",
    "cavra-gitlab-enterprise",
    "cavra-hipaa",
    "cavra-iso27001",
    "cavra-kubernetes-prod",
    "cavra-mcp-enterprise",
    "cavra-nist-ssdf",
    "cavra-owasp-llm-agentic",
    "cavra-pci-dss",
    "cavra-sox-change-control",
    "cavra-terraform-prod",
];

/// A folder where no pack but the built-in ones is found.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(products().join("cavractl"));
        command
            .args(words)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &[&str], input: &str) -> Output {
        finish(self.command(words).spawn().unwrap(), input.as_bytes())
    }
}

fn finish(mut child: Child, input: &[u8]) -> Output {
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that has already answered does not read the rest.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn table(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(repository().join("tests/parity").join(name)).unwrap();
    text.lines()
        .skip(1)
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// The five columns that answer, as `decide` writes them.
fn expected(columns: &[String]) -> Value {
    let group = if columns[3].is_empty() {
        Value::Null
    } else {
        json!(columns[3])
    };
    json!({"decision": columns[0], "rule_id": columns[1], "severity": columns[2], "approver_group": group, "reason": columns[4]})
}

/// Asks all requests of one process and compares what the table states; the number of rows.
fn compare(place: &Place, words: &[&str], rows: &[(Value, Value)]) -> usize {
    let input: String = rows.iter().map(|(request, _)| format!("{request}\n")).collect();
    let output = place.run(words, &input);
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    let answers: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), rows.len(), "{words:?}");
    for ((request, wanted), answer) in rows.iter().zip(&answers) {
        for (member, value) in wanted.as_object().unwrap() {
            assert_eq!(&answer[member], value, "{words:?} {request}: {member} of {answer}");
        }
    }
    rows.len()
}

#[test]
fn each_row_of_the_table_is_answered_as_cavra_answers() {
    let place = Place::new();
    let mut asked = 0;
    for pack in PACKS.iter().chain(&["cavra-workstation"]) {
        let mut rows = Vec::new();
        for row in table(&format!("{pack}.tsv")) {
            let (action, operation, target) = (&row[0], &row[1], &row[2]);
            let mut request = json!({"action_type": action, "target": target, "operation": operation});
            if let ("mcp_tool_call", Some((server, tool))) = (action.as_str(), target.split_once(':')) {
                request = json!({"action_type": action, "server": server, "tool": tool});
            }
            let mut wanted = expected(&row[3..]);
            wanted["policy_pack"] = json!(pack);
            wanted["action_type"] = json!(action);
            wanted["target"] = json!(if action == "execute_command" {
                target.trim()
            } else {
                target
            });
            rows.push((request, wanted));
        }
        assert!(rows.len() >= 14, "{pack}: {}", rows.len());
        asked += compare(&place, &["decide", "--policy", pack, "--jsonl"], &rows);
        // The same by the request's own choice of pack.
        for (request, _) in &mut rows {
            request["policy_pack"] = json!(pack);
        }
        compare(&place, &["decide", "--jsonl"], &rows);
    }
    assert!(asked >= 300, "{asked}");
}

#[test]
fn a_registry_answers_for_mcp_calls_and_for_nothing_else() {
    let place = Place::new();
    let registry = repository().join("tests/parity/registry.json");
    let mut rows: Vec<(Value, Value)> = table("registry.tsv")
        .iter()
        .map(|row| {
            let request =
                json!({"action_type": "mcp_tool_call", "server": row[0], "tool": row[1], "capability": row[2]});
            let mut wanted = expected(&row[3..]);
            wanted["target"] = json!(format!("{}:{}", row[0], row[1]));
            wanted["requested_operation"] = json!(if row[2].is_empty() { &row[1] } else { &row[2] });
            (request, wanted)
        })
        .collect();
    assert!(rows.len() >= 30);
    rows.push((
        json!({"action_type": "read_file", "target": ".env"}),
        json!({"rule_id": "filesystem.read.block"}),
    ));
    compare(
        &place,
        &["decide", "--registry", registry.to_str().unwrap(), "--jsonl"],
        &rows,
    );
}

#[test]
fn an_answer_has_all_members_of_enforcement_v1_in_their_order() {
    let place = Place::new();
    let request = json!({"session_id": "s1", "agent_id": "a1", "actor": "jo", "action_type": "write_file", "target": "iam/x",
        "requested_operation": "create", "policy_pack": "cavra-ai-agent-baseline"});
    let output = place.run(&["decide"], &request.to_string());
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let answer = answer(&output);
    let members: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
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
            "correlation_id"
        ]
    );
    let of = |member: &str| answer[member].as_str().unwrap();
    assert_eq!((of("session_id"), of("agent_id"), of("actor")), ("s1", "a1", "jo"));
    assert_eq!(
        (of("requested_operation"), of("approver_group")),
        ("write", "Platform Security")
    );
    let hex = |id: &str, prefix: &str| {
        let rest = id.strip_prefix(prefix).unwrap();
        rest.len() == 12 && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    assert!(
        hex(of("decision_id"), "dec_") && hex(of("correlation_id"), "corr_"),
        "{answer}"
    );
    assert_eq!(
        answer["evidence_refs"],
        json!([format!("evidence://s1/{}", of("decision_id"))])
    );
    assert!(
        of("timestamp").ends_with('Z') && of("timestamp").contains('T'),
        "{answer}"
    );
    // The name that the request gave, and the pack that decided.
    let named = place.run(&["decide", "--policy", "cavra-hipaa"], &request.to_string());
    let named = self::answer(&named);
    assert_eq!(
        (&named["policy_pack"], &named["policy_id"]),
        (&json!("cavra-ai-agent-baseline"), &json!("cavra-hipaa"))
    );
    let plain = self::answer(&place.run(&["decide", "read_file", "README.md"], ""));
    for (member, value) in [
        ("session_id", json!("local")),
        ("agent_id", json!("unknown-agent")),
        ("actor", json!("ai-agent")),
        ("approver_group", Value::Null),
    ] {
        assert_eq!(plain[member], value, "{member}");
    }
}

#[test]
fn the_exit_status_tells_the_decision() {
    let place = Place::new();
    place.write("not-json.json", "{");
    for (words, input, status) in [
        (&["decide", "read_file", "README.md"][..], "", 0),
        (&["decide", "read_file", ".env"], "", 1),
        (&["decide", "write_file", "iam/x"], "", 4),
        (&["decide", "execute_command", "terraform plan"], "", 0),
        (&["decide", "execute_command", "ls"], "", 4),
        (&["decide", "git_operation", "main", "--operation", "push"], "", 1),
        (&["decide", "mcp_tool_call", "--server", "x", "--tool", "y"], "", 1),
        (
            &[
                "decide",
                "--policy",
                "cavra-mcp-enterprise",
                "mcp_tool_call",
                "--server",
                "jira-enterprise",
            ],
            "",
            0,
        ),
        (&["decide"], "{\"action_type\": \"read_file\", \"target\": \".env\"}", 1),
        (&["decide"], "", 2),
        (&["decide"], "[1]", 2),
        (&["decide"], "{\"policy_pack\": \"../../etc/passwd\"}", 2),
        (&["decide"], "{\"policy_pack\": \"nowhere\"}", 125),
        (&["decide"], "{\"policy_pack\": \"x.yaml\"}", 125),
        (&["decide", "--policy", "nowhere", "read_file", "x"], "", 125),
        (&["decide", "--registry", "missing.json", "read_file", "x"], "", 125),
        (&["decide", "--registry", "not-json.json", "read_file", "x"], "", 125),
        (&["decide", "--jsonl", "read_file"], "", 2),
    ] {
        let output = place.run(words, input);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{words:?} {input} {}",
            text(&output.stderr)
        );
        // A decision is on stdout, or what is wrong on stderr.
        assert_eq!(output.stdout.is_empty(), matches!(status, 2 | 125), "{words:?} {input}");
        assert_eq!(
            output.stderr.is_empty(),
            matches!(status, 0 | 1 | 4),
            "{words:?} {input}"
        );
    }
}

#[test]
fn lines_that_are_no_request_are_refusals_and_the_next_line_is_answered() {
    let place = Place::new();
    let good = "{\"action_type\": \"read_file\", \"target\": \"README.md\"}";
    for (bad, says) in [
        ("{", "not JSON"),
        ("null", "the request is null"),
        ("{\"target\": {}}", "`target` is an object"),
        ("{\"TARGET\": \".env\"}", "did you mean `target`?"),
        ("{\"policy_pack\": \"nowhere\"}", "no policy `nowhere`"),
        ("\u{feff}{}", "not JSON"),
    ] {
        let output = place.run(&["decide", "--jsonl"], &format!("{bad}\n\n{good}\n{good}"));
        let lines: Vec<Value> = text(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3, "{bad}: {lines:?}");
        assert!(
            lines[0]["error"].as_str().unwrap().contains(says),
            "{bad}: {}",
            lines[0]
        );
        assert_eq!(
            lines[0]["decision"], "block",
            "an adapter that reads only this fails closed"
        );
        assert_eq!(
            (&lines[1]["decision"], &lines[2]["decision"]),
            (&json!("allow"), &json!("allow"))
        );
        assert_eq!(output.status.code(), Some(2), "{bad}");
    }
    let long = format!("{{\"target\": \"{}\"}}\n{good}\n", "a".repeat(2 * 1024 * 1024));
    let output = place.run(&["decide", "--jsonl"], &long);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        !text(&output.stdout).contains("\"allow\""),
        "the rest of a cut line is no request"
    );
}

#[test]
fn packs_are_found_where_cavra_finds_them() {
    let place = Place::new();
    let pack =
        |id: &str, pattern: &str| format!("metadata: {{id: {id}}}\nfilesystem: {{block_read: [\"{pattern}\"]}}\n");
    place.write("policies/mine/policy.yaml", &pack("mine", "here"));
    place.write("elsewhere/mine/policy.yaml", &pack("mine", "there"));
    place.write("file.yaml", &pack("by-file", "x"));
    let rule = |command: &mut Command, target: &str| {
        let output = finish(command.args(["read_file", target]).spawn().unwrap(), b"");
        answer(&output)["rule_id"].as_str().unwrap().to_owned()
    };
    let decide = |words: &[&str]| place.command(&[&["decide"], words].concat());
    for (mut command, target, wanted) in [
        (decide(&["--policy", "mine"]), "here", "filesystem.read.block"),
        (decide(&["--policy", "mine"]), "there", "filesystem.read.allow"),
        (decide(&["--policy", "./file.yaml"]), "x", "filesystem.read.block"),
        (decide(&["--policy", "file.yaml"]), "x", "filesystem.read.block"),
        (decide(&["--policy", "cavra-hipaa"]), "a/phi/1", "filesystem.read.block"),
    ] {
        assert_eq!(rule(&mut command, target), wanted, "{command:?}");
    }
    let mut command = decide(&["--policy", "mine"]);
    command.env("CAVRA_POLICY_DIR", place.path().join("elsewhere"));
    assert_eq!(rule(&mut command, "there"), "filesystem.read.block");
}

#[test]
fn a_pack_with_all_of_cavras_free_sections_loads_unchanged() {
    let place = Place::new();
    place.write(
        "theirs.yaml",
        r#"metadata:
  id: theirs
  title: A pack that somebody brings
  description: Written for CAVRA, never seen here
  version: 0.1.0
  inherits: [cavra-ai-agent-baseline, cavra-github-enterprise]
  mode: enforce
filesystem:
  block_read: [".env", "**/*token*"]
  require_approval_write: ["src/runtime.py"]
commands:
  block: ["gh repo edit*"]
  allow: ["git status*"]
  require_approval: ["git tag*"]
git:
  require_pull_request: true
  block_direct_push_to_protected_branch: true
  require_human_reviewer: true
  require_ai_attestation: true
mcp:
  allowlist_enabled: true
  block_unknown_servers: false
  allowed_servers: [github, filesystem]
  blocked_servers: [evil]
  risk_scoring: {shell: critical, github-write: high}
approvals:
  protected_actions: {approvers: [Repository Owners, Platform Security]}
evidence:
  require_agent_manifest: true
  required_fields: [agent_id, issue]
compliance:
  maps_to: ["NIST SSDF PO.3.2", "SOC 2 Change Management"]
"#,
    );
    let ask = |action: &str, target: &str| json!({"action_type": action, "target": target, "server": target});
    let rule = |id: &str, reason: &str| json!({"rule_id": id, "reason": reason});
    compare(
        &place,
        &["decide", "--policy", "theirs.yaml", "--jsonl"],
        &[
            (
                ask("read_file", "a/my-token-1"),
                rule("filesystem.read.block", "Matched sensitive path policy: **/*token*"),
            ),
            (
                ask("read_file", "a/x.pfx"),
                rule("filesystem.read.block", "Matched sensitive path policy: **/*.pfx"),
            ),
            (
                ask("write_file", "src/runtime.py"),
                rule(
                    "filesystem.write.require_approval",
                    "Matched approval-required path policy: src/runtime.py",
                ),
            ),
            (
                ask("execute_command", "git tag v1"),
                rule(
                    "commands.default.require_approval",
                    "No allow rule matched; review required.",
                ),
            ),
            (
                ask("execute_command", "gh pr merge 1"),
                rule("commands.block", "Matched blocked command policy: gh pr merge*"),
            ),
            (
                ask("mcp_tool_call", "anyone"),
                rule("mcp.server.trust.allow", "MCP server is trusted for this tool call."),
            ),
            (
                ask("mcp_tool_call", "evil"),
                rule(
                    "mcp.server.trust.block_unknown",
                    "Untrusted MCP server with filesystem/tool capability is not approved.",
                ),
            ),
        ],
    );
}

/// A server that is ended with the test.
struct Served(Child, PathBuf);

impl Served {
    fn start(place: &Place, words: &[&str]) -> Self {
        let socket = place.path().join("run/decide.sock");
        let words = [&["serve", "--socket", socket.to_str().unwrap()], words].concat();
        let child = place.command(&words).spawn().unwrap();
        within(Duration::from_secs(20), "the server's socket", || {
            UnixStream::connect(&socket).ok()
        });
        Self(child, socket)
    }

    fn ask(&self, request: &[u8]) -> Value {
        let mut stream = UnixStream::connect(&self.1).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // The other end may have answered and closed before all is written.
        let _ = stream.write_all(request);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn serve_answers_one_request_a_connection_as_cavras_daemon_does() {
    let place = Place::new();
    let served = Served::start(&place, &[]);
    for (request, decision) in [
        // As CAVRA's client writes it, with a line end, and without; neither shuts its side down.
        (
            &b"{\"action_type\": \"read_file\", \"target\": \".env\"}\n"[..],
            "block",
        ),
        (b"{\"action_type\": \"read_file\", \"target\": \"README.md\"}", "allow"),
        (
            b"  {\"action_type\": \"execute_command\",\n \"target\": \"ls\"}",
            "require_approval",
        ),
        (
            b"{\"action_type\": \"read_file\", \"target\": \"a/phi/1\", \"policy_pack\": \"cavra-hipaa\"}",
            "block",
        ),
    ] {
        let answer = served.ask(request);
        assert_eq!(answer["decision"], decision, "{}: {answer}", text(request));
        assert!(answer["decision_id"].as_str().unwrap().starts_with("dec_"));
    }
    let mode = fs::metadata(&served.1).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for this user only");
}

#[test]
fn serve_answers_what_is_no_request_with_what_is_wrong() {
    let place = Place::new();
    let served = Served::start(&place, &[]);
    let long = [b"{\"target\": \"".to_vec(), vec![b'a'; 3 * 1024 * 1024]].concat();
    for (request, says) in [
        (&b"nonsense"[..], "not JSON"),
        (b"[1, 2]", "the request is a list"),
        (b"{\"target\": 5}", "`target` is a number"),
        (b"{\"policy_pack\": \"nowhere\"}", "no policy `nowhere`"),
        (b"{\"policy_pack\": \"/etc/shadow\"}", "names a pack by its id"),
        (b"\xff\xfe", "not JSON"),
        (&long, "1048576"),
    ] {
        let answer = served.ask(request);
        assert!(answer["error"].as_str().unwrap().contains(says), "{answer}");
        assert_eq!(answer["decision"], "block");
    }
    let mut half = UnixStream::connect(&served.1).unwrap();
    half.write_all(b"{\"action_type\": ").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"decision\":\"block\""), "{answer}");
    assert_eq!(
        served.ask(b"{\"action_type\": \"read_file\", \"target\": \"x\"}")["decision"],
        "allow"
    );
}

#[test]
fn clients_that_stall_or_come_in_crowds_keep_nobody_waiting() {
    let place = Place::new();
    let served = Served::start(&place, &[]);
    // More than the server serves at once; none of them says anything.
    let mut stalled = Vec::new();
    for _ in 0..200 {
        if let Ok(stream) = UnixStream::connect(&served.1) {
            stalled.push(stream);
        }
    }
    let answer = served.ask(b"{\"action_type\": \"read_file\", \"target\": \"x\"}");
    assert_eq!(answer["decision"], "allow");
    drop(stalled);
}

#[test]
fn serve_takes_no_place_that_is_not_its_own() {
    let place = Place::new();
    let file = place.write("taken", "precious");
    let output = place.run(&["serve", "--socket", file.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("is no socket"), "{output:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let served = Served::start(&place, &[]);
    let output = place.run(&["serve", "--socket", served.1.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("is served already"), "{output:?}");
    assert_eq!(
        served.ask(b"{\"action_type\": \"read_file\", \"target\": \"x\"}")["decision"],
        "allow"
    );
    Command::new("kill").arg(served.0.id().to_string()).status().unwrap();
    within(Duration::from_secs(20), "the end of the server", || {
        (!served.1.exists()).then_some(())
    });
    drop(served);
    let served = Served::start(&place, &[]);
    // What a server that was killed left behind is taken over.
    let socket = served.1.clone();
    drop(served);
    assert!(socket.exists());
    Served::start(&place, &[]);
}

#[test]
fn the_packs_hold_at_the_boundary_what_they_promise() {
    let world = World::new(users()[0]);
    // Stand-ins that say what they were asked, in place of the tools.
    for tool in ["kubectl", "terraform", "gh"] {
        let path = world.write(&format!("tools/{tool}"), "#!/bin/sh\necho RAN \"$@\"\n");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // A name is a program's own only where the tree can not give it to another file.
    let machine = world.write(
        "machine.yaml",
        "metadata: {id: tools}\nfilesystem: {block_write: [\"tools/**\"]}\n",
    );
    world.write("data/phi/1.json", "RAN");
    let kubernetes = ["cavra-kubernetes-prod", "cavra-sox-change-control"];
    for (packs, words, rule) in [
        (
            &kubernetes[..],
            &["kubectl", "--context", "prod", "delete", "pod", "x"][..],
            Some("commands.block"),
        ),
        (
            &kubernetes,
            &["kubectl", "--context=prod", "-n", "x", "delete", "pod", "y"],
            Some("commands.block"),
        ),
        (&kubernetes, &["kubectl", "get", "pods"], None),
        (
            &["cavra-terraform-prod"],
            &["terraform", "-chdir=prod", "apply"],
            Some("commands.block"),
        ),
        (&["cavra-terraform-prod"], &["terraform", "plan"], None),
        (
            &["cavra-github-enterprise"],
            &["gh", "-R", "o/r", "pr", "merge", "1"],
            Some("commands.block"),
        ),
        (&["cavra-github-enterprise"], &["gh", "pr", "view", "1"], None),
        (
            &["cavra-workstation", "cavra-hipaa"],
            &["cat", "data/phi/1.json"],
            Some("filesystem.read.block"),
        ),
        (&["cavra-workstation"], &["cat", "data/phi/1.json"], None),
    ] {
        let mut options = vec!["--approvals", "deny", "--policy", machine.to_str().unwrap()];
        for pack in packs {
            options.extend(["--policy", pack]);
        }
        drop(fs::remove_dir_all(world.folder("home").join("evidence")));
        let mut session = world.session(&options, words);
        session.env("PATH", format!("{}:/usr/bin:/bin", world.path("tools").display()));
        let output = session.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let ran = text(&output.stdout).contains("RAN");
        assert_eq!(
            ran,
            rule.is_none(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let records = world.records();
        let blocks =
            |record: &&Value| record["decision"] == "block" && rule.is_some_and(|rule| record["rule_id"] == rule);
        if rule.is_some() {
            let record = records
                .iter()
                .find(blocks)
                .unwrap_or_else(|| panic!("{words:?}: {records:?}"));
            assert!(packs.iter().any(|pack| record["policy_id"] == *pack), "{record}");
            let source = record["source"].as_str().unwrap();
            assert!(source.starts_with("builtin:cavra-"), "{record}");
            if record["action_type"] == "execute_command" && rule == Some("commands.block") {
                let told = text(&output.stderr);
                for part in ["commands.block", source, record["reason"].as_str().unwrap()] {
                    assert!(told.contains(part), "{part}: {told}");
                }
            }
        }
    }
}

#[test]
fn coverage_names_control_rule_and_what_enforces_it() {
    let place = Place::new();
    let output = place.run(
        &["policy", "coverage", "cavra-pci-dss", "cavra-mcp-enterprise", "--json"],
        "",
    );
    assert!(output.status.success(), "{output:?}");
    let rows = answer(&output);
    let row = |entry: &str| {
        let rows = rows.as_array().unwrap();
        rows.iter()
            .find(|row| row["entry"] == entry)
            .unwrap_or_else(|| panic!("{entry}"))
            .clone()
    };
    for (entry, rule, by, control) in [
        (".env", "filesystem.read.block", "open", "PCI DSS v4.0.1 8.6.2"),
        (
            "**/audit-logs/**",
            "filesystem.write.block",
            "open",
            "PCI DSS v4.0.1 10.3.2",
        ),
        (
            "**/payments/**",
            "filesystem.write.require_approval",
            "open",
            "PCI DSS v4.0.1 6.2.3.1",
        ),
        ("pg_dump*", "commands.block", "exec", "PCI DSS v4.0.1 3.4.2"),
        (
            "jira-enterprise",
            "mcp.server.trust.allow",
            "adapter",
            "OWASP ASI02:2026",
        ),
    ] {
        let row = row(entry);
        assert_eq!(
            (&row["rule_id"], &row["enforced_by"]),
            (&json!(rule), &json!(by)),
            "{row}"
        );
        assert!(row["controls"].as_array().unwrap().contains(&json!(control)), "{row}");
        assert!(row["source"].as_str().unwrap().contains(':'), "{row}");
    }
    let table = place.run(&["policy", "coverage", "cavra-cloud-iam"], "");
    let line = text(&table.stdout)
        .lines()
        .find(|line| line.contains("169.254.169.254"))
        .unwrap();
    assert!(
        line.contains("network.connect.block") && line.contains("connect "),
        "{line}"
    );
    place.write(
        "wrong.yaml",
        "metadata: {id: wrong}\nfilesystem: {block_read: [a]}\nmaps_to: {\"filesystem.block_read: b\": [X 1], \"filesystem.block_write\": [X 2]}\n",
    );
    let wrong = place.run(&["policy", "coverage", "./wrong.yaml"], "");
    assert_eq!(wrong.status.code(), Some(1));
    for named in ["filesystem.block_read: b", "filesystem.block_write", "wrong.yaml:3"] {
        assert!(text(&wrong.stderr).contains(named), "{named}: {}", text(&wrong.stderr));
    }
}

#[test]
fn a_pack_is_tested_by_the_requests_beside_it() {
    let place = Place::new();
    place.write(
        "policies/mine/policy.yaml",
        "metadata: {id: mine}\nfilesystem: {block_read: [\".env\"]}\n",
    );
    let run = |tests: &str| {
        place.write("policies/mine/tests.yaml", tests);
        place.run(&["policy", "test", "mine"], "")
    };
    for (tests, status, says) in [
        (
            "tests: [{action_type: read_file, target: .env, decision: block, boundary: block}]",
            0,
            "1 as expected, 0 not",
        ),
        (
            "tests: [{action_type: read_file, target: a/.env, decision: allow, boundary: block}]",
            0,
            "1 as expected",
        ),
        (
            "tests:\n- {action_type: read_file, target: .env, decision: allow}",
            1,
            "tests.yaml:2: read_file .env: decision is block, expected allow",
        ),
        (
            "tests: [{action_type: read_file, target: .env, rule_id: x}]",
            1,
            "rule_id is filesystem.read.block, expected x",
        ),
        (
            "tests: [{action_type: mcp_tool_call, server: x, boundary: block}]",
            1,
            "boundary is nothing: it is never asked this",
        ),
        ("tests: []", 1, "holds no tests"),
        (
            "tests: [{action_type: read_file, target: .env}]",
            1,
            "this tests nothing",
        ),
        (
            "tests: [{action_type: read_file, taget: .env, decision: block}]",
            1,
            "unknown member `taget`",
        ),
        ("tests: [", 1, "tests.yaml:1"),
    ] {
        let output = run(tests);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "{tests}: {said}");
        assert!(said.contains(says), "{tests}: {said}");
    }
}
