//! Approvals over the control socket, with `cavractl` as the other process.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cavra::approvals::{Ask, ControlServer, Desk, Outcome};

const SESSION: &str = "ses_0123456789ab";

fn cavractl(state: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cavractl"))
        .args(args)
        .env("XDG_STATE_HOME", state)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn serve(state: &Path, is_in_tree: fn(i32) -> bool) -> Arc<Desk> {
    let desk = Desk::new(Duration::from_secs(60));
    let server = ControlServer::bind_in(&state.join("cavra/run"), SESSION).unwrap();
    server.start(Arc::clone(&desk), is_in_tree).unwrap();
    desk
}

fn ask() -> Ask {
    let argv = ["terraform", "plan -x", "\u{1b}[2J"].map(str::to_owned).to_vec();
    Ask {
        action: "exec".to_owned(),
        target: "terraform plan".to_owned(),
        argv,
        rule_id: "commands.require_approval".to_owned(),
        ..Ask::default()
    }
}

#[test]
fn a_person_in_another_process_approves_and_denies() {
    let temp = tempfile::tempdir().unwrap();
    // Longer than sun_path, so that only the held folder makes the socket reachable.
    let state = temp.path().join("s".repeat(120));
    let desk = serve(&state, |_| false);
    let run = state.join("cavra/run");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&run), mode(&run.join(format!("{SESSION}.sock")))), (0o700, 0o600));

    let yes = desk.hold(ask()).unwrap();
    let no = desk.hold(ask()).unwrap();
    let listed = cavractl(&state, &["approvals", "list"]);
    let shown = text(&listed.stdout);
    assert!(
        listed.status.success() && shown.contains("exec terraform plan: terraform 'plan -x' '\\x1b[2J'"),
        "{shown}"
    );

    let json = cavractl(&state, &["approvals", "list", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert_eq!(
        (&json[0]["state"], &json[0]["decision"]["argv"][1]),
        (&"pending".into(), &"plan -x".into())
    );

    assert_eq!(
        cavractl(&state, &["approvals", "approve", yes.id()]).status.code(),
        Some(2),
        "a reason is needed"
    );
    assert!(
        cavractl(&state, &["approvals", "approve", yes.id(), "--reason", "seen"])
            .status
            .success()
    );
    assert!(
        cavractl(&state, &["approvals", "deny", no.id(), "--reason", "not now"])
            .status
            .success()
    );
    let own = nix::unistd::User::from_uid(nix::unistd::Uid::effective())
        .unwrap()
        .unwrap()
        .name;
    let Some(Outcome::Approved { by, reason, .. }) = yes.wait(Duration::from_secs(5)) else {
        panic!("not approved")
    };
    assert_eq!((by, reason.as_str()), (own, "seen"));
    assert!(matches!(no.wait(Duration::from_secs(5)), Some(Outcome::Denied { .. })));

    let again = cavractl(&state, &["approvals", "deny", yes.id(), "--reason", "late"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("already approved by"),
        "{}",
        text(&again.stderr)
    );
    let shown = text(&cavractl(&state, &["approvals", "show", no.id()]).stdout);
    assert!(shown.contains("denied") && shown.contains("not now"), "{shown}");
    let unknown = cavractl(&state, &["approvals", "approve", "apr_000000000000", "--reason", "x"]);
    assert!(text(&unknown.stderr).contains("no running session has such a request"));

    desk.close();
    assert!(!run.join(format!("{SESSION}.sock")).exists());
}

#[test]
fn the_sessions_own_tree_is_not_heard() {
    let temp = tempfile::tempdir().unwrap();
    let desk = serve(temp.path(), |_| true);
    let ticket = desk.hold(ask()).unwrap();
    let output = cavractl(temp.path(), &["approvals", "approve", ticket.id(), "--reason", "me"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("can not answer its own requests"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(ticket.wait(Duration::from_millis(10)), None);
}

#[test]
fn malformed_requests_are_refused_and_stalled_peers_hold_up_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let desk = serve(temp.path(), |_| false);
    let socket = temp.path().join("cavra/run").join(format!("{SESSION}.sock"));
    for request in [
        "{}\n",
        "[]\n",
        "{\"op\":\"list\",\"x\":1}\n",
        "\n",
        "no newline at the end",
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("{\"refused\":"), "{request:?}: {reply}");
    }
    let mut long = UnixStream::connect(&socket).unwrap();
    drop(long.write_all(&vec![b'x'; 200_000]));
    let stalled: Vec<_> = (0..20).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let start = Instant::now();
    let ticket = desk.hold(ask()).unwrap();
    assert!(
        cavractl(temp.path(), &["approvals", "approve", ticket.id(), "--reason", "x"])
            .status
            .success()
    );
    assert!(matches!(
        ticket.wait(Duration::from_secs(5)),
        Some(Outcome::Approved { .. })
    ));
    assert!(start.elapsed() < Duration::from_secs(4));
    drop(stalled);
}

#[test]
fn the_socket_of_a_dead_session_is_removed() {
    let temp = tempfile::tempdir().unwrap();
    let run = temp.path().join("cavra/run");
    std::fs::create_dir_all(&run).unwrap();
    let socket = run.join("ses_dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(text(&cavractl(temp.path(), &["approvals", "list"]).stdout).contains("no session is running"));
    assert!(socket.exists(), "it may be about to listen");
    assert!(
        Command::new("touch")
            .args(["-d", "1 minute ago"])
            .arg(&socket)
            .status()
            .unwrap()
            .success()
    );
    assert!(cavractl(temp.path(), &["approvals", "list"]).status.success());
    assert!(!socket.exists());
}
