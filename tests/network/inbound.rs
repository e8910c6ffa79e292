//! Who can reach what the session listens on: loopback of the same machine, and others where a rule says so.

use cavra_tests::session::Outcome;
use cavra_tests::{Stage, Unmet, User, Verdict, places, skip};

/// Tries to listen at each address, and says how that went; then greets whoever comes, until its input ends.
const SERVER: &str = r#"
import errno, socket, sys, threading
def greet(l):
    while True:
        c, _ = l.accept(); c.sendall(b"hello"); c.close()
for family, ip in ((2, "127.0.0.1"), (2, "127.0.0.2"), (10, "::1"), (2, "192.0.2.1"), (2, "0.0.0.0"), (10, "::"), (10, "::ffff:192.0.2.1"), (10, "2001:db8::1"), (2, "")):
    s = socket.socket(family); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == 10: s.setsockopt(41, 26, 1 if ip == "::1" else 0)
    try:
        if ip: s.bind((ip, 8080))
        s.listen()
    except OSError as e: print(ip or "unnamed", errno.errorcode[e.errno]); continue
    if ip and not ip.startswith("::ffff"): threading.Thread(target=greet, args=(s,), daemon=True).start()
    print(ip or "unnamed", "listens")
print("ready", flush=True); sys.stdin.read()
"#;

/// A machine of its own with one neighbour behind a cable, whose way to 127.0.0.1 is that cable too. Starts what it is given, and says who was
/// greeted from where.
const MACHINE: &str = r#"
import subprocess, sys
def sh(line): subprocess.run(line, shell=True, check=True)
neighbour = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
neighbour.stdout.readline(); there = f"nsenter -t {neighbour.pid} -n "
try:
    sh(f"ip link set lo up; ip link add v0 type veth peer name v1 netns {neighbour.pid}; ip addr add 192.0.2.1/24 dev v0; "
       "ip addr add 2001:db8::1/64 dev v0 nodad; ip link set v0 up")
    sh(there + "sh -c 'ip addr add 192.0.2.2/24 dev v1; ip addr add 2001:db8::2/64 dev v1 nodad; ip link set v1 up; sysctl -qw net.ipv4.conf.all.route_localnet=1; "
       "ip route add 127.0.0.0/8 via 192.0.2.1 dev v1'")
except subprocess.CalledProcessError: sys.exit(77)
session = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
for line in session.stdout:
    if line == "ready\n": break
    print(line, end="")
client = "import socket, sys\ntry: s = socket.create_connection((sys.argv[1], 8080), 2); print(s.recv(5).decode())\nexcept OSError: print('nothing')"
for name, prefix in (("here", []), ("neighbour", there.split())):
    for ip in ("127.0.0.1", "127.0.0.2", "::1", "192.0.2.1", "2001:db8::1"):
        print(name, ip, subprocess.run([*prefix, sys.executable, "-c", client, ip], capture_output=True, text=True).stdout.strip())
session.stdin.close(); code = session.wait(); neighbour.stdin.close(); neighbour.wait(); sys.exit(code)
"#;

fn listens(stage: &Stage, rules: &str) -> Result<Outcome, Unmet> {
    for tool in ["unshare", "nsenter", "ip", "python3", "sysctl"] {
        places::tool(tool)?;
    }
    stage.write("ws/server.py", SERVER);
    let machine = stage.write("machine.py", MACHINE);
    let pack = format!(
        "metadata: {{id: inbound}}
filesystem: {{default_read: allow, default_write: allow}}
commands: {{default: allow}}
network: {{default: block, allow: [{rules}]}}
"
    );
    let session = stage.session().pack(&pack);
    let words = session.words()?;
    let mut command = stage.command("unshare")?;
    command
        .args(["-m", "-n", "--propagation", "private", "python3"])
        .arg(machine)
        .args(words)
        .args(["python3", "server.py"]);
    let outcome = session.launch(command).finish();
    if outcome.code() == Some(77) {
        return skip("no network of its own can be made here");
    }
    assert_eq!(outcome.code(), Some(0), "{}", outcome.finished.stderr);
    Ok(outcome)
}

/// Without a rule the session listens on loopback only, and whoever is not on this machine's loopback does not get in.
pub fn from_outside_loopback_nobody_gets_in(user: User) -> Verdict {
    let stage = Stage::new(user)?;
    let outcome = listens(&stage, "")?;
    assert_eq!(
        outcome.finished.stdout,
        "127.0.0.1 listens
127.0.0.2 listens
::1 listens
192.0.2.1 EACCES
0.0.0.0 EACCES
:: EACCES
::ffff:192.0.2.1 EACCES
2001:db8::1 EACCES
unnamed EACCES
here 127.0.0.1 hello
here 127.0.0.2 hello
here ::1 hello
here 192.0.2.1 nothing
here 2001:db8::1 nothing
neighbour 127.0.0.1 nothing
neighbour 127.0.0.2 nothing
neighbour ::1 nothing
neighbour 192.0.2.1 nothing
neighbour 2001:db8::1 nothing
"
    );
    for (target, decision) in [
        ("127.0.0.1:8080", "allow"),
        ("[::1]:8080", "allow"),
        ("192.0.2.1:8080", "block"),
        ("0.0.0.0:8080", "block"),
        ("[::]:8080", "block"),
    ] {
        outcome.record("network_bind").target(target).decision(decision);
    }
    Ok(())
}

/// A rule opens the one address that it names, to the neighbour as well.
pub fn a_rule_lets_the_neighbour_in_where_it_says(user: User) -> Verdict {
    let stage = Stage::new(user)?;
    let outcome = listens(&stage, "\"bind:192.0.2.1:8080\"")?;
    let said: Vec<&str> = outcome.finished.stdout.lines().collect();
    for line in [
        "192.0.2.1 listens",
        "0.0.0.0 EACCES",
        "2001:db8::1 EACCES",
        "here 192.0.2.1 hello",
        "neighbour 192.0.2.1 hello",
        "neighbour 127.0.0.1 nothing",
        "neighbour 2001:db8::1 nothing",
    ] {
        assert!(said.contains(&line), "{line}: {said:?}");
    }
    outcome
        .record("network_bind")
        .target("192.0.2.1:8080")
        .decision("allow")
        .rule("network.bind.allow");
    Ok(())
}
