//! What the session's end and its evidence say about each host: connections, bytes both ways, refusals.

use std::net::UdpSocket;

use cavra_tests::session::{Outcome, Session};
use cavra_tests::{Listener, Stage, Unmet, User, Verdict, places};

use crate::wire::Servers;

/// A session at a terminal, where its end is summed up.
fn at_a_terminal(stage: &Stage, session: Session<'_>, line: &str) -> Result<Outcome, Unmet> {
    places::tool("script")?;
    let words: Vec<_> = session
        .words()?
        .iter()
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    stage.write("ws/line.sh", line);
    let mut command = stage.command("script")?;
    command.args(["-qec", &format!("{} sh line.sh", words.join(" ")), "/dev/null"]);
    Ok(session.launch(command).finish())
}

/// What the summary says about a host.
fn summed<'a>(outcome: &'a Outcome, host: &str) -> &'a str {
    let begins = format!("  {host}: ");
    outcome
        .finished
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix(&begins))
        .map_or("", str::trim_end)
}

/// The number in front of a word.
fn number(text: &str, unit: &str) -> u64 {
    let front = text.split(unit).next().unwrap_or_default();
    let word = front.rsplit(' ').next().unwrap_or_default();
    word.parse()
        .unwrap_or_else(|_| panic!("{text:?} has no number before {unit:?}"))
}

/// The bytes that the records of a host's ended connections tell, one pair each.
fn ends(outcome: &Outcome, host: &str, rule: &str) -> Vec<(u64, u64)> {
    let told = outcome
        .records
        .iter()
        .filter(|record| record["rule_id"] == rule && record["target"] == host)
        .filter_map(|record| record["reason"].as_str());
    told.map(|reason| (number(reason, " bytes sent"), number(reason, " received")))
        .collect()
}

/// Connections that the relay carries (TLS, HTTP) and direct ones, with what was refused: at its end the session says for each host how many they
/// were and their bytes, and the evidence has the same one by one.
pub fn each_host_is_summed_up_with_its_bytes(user: User) -> Verdict {
    let (stage, direct) = (Stage::new(user)?, Listener::new());
    let servers = Servers::start(&stage)?;
    let receiver = UdpSocket::bind("127.0.0.9:0").unwrap();
    let (port, datagrams) = (direct.port(), receiver.local_addr().unwrap().port());
    let pack = servers.pack().replace(
        "  allow:\n",
        &format!(
            "  allow:
    - {{to: \"b.test:{port}\", addresses: 127.0.0.0/8, verify: none}}
    - \"udp:127.0.0.9:{datagrams}\"
"
        ),
    );
    stage.write(
        "ws/direct.py",
        format!(
            "import socket
for _ in range(2):
    s = socket.create_connection(('b.test', {port})); s.sendall(b'abc')
    # The other end has closed without reading.
    try:
        while s.recv(99): pass
    except ConnectionResetError: pass
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3): u.sendto(b'12345', ('127.0.0.9', {datagrams}))
for port in (9, 9, 10):
    try: socket.create_connection(('192.0.2.9', port), 5)
    except PermissionError: pass
"
        ),
    );
    let line =
        "curl -sS --cacert cert.pem https://api.test:%T/ > out; curl -sS --cacert cert.pem https://api.test:%T/ > out
head -c 100000 /dev/zero | curl -sS -H 'Expect:' --data-binary @- http://plain.test:%P/ > out
curl -sS --cacert cert.pem --connect-to other.test:%T:api.test:%T https://other.test:%T/ 2> out
curl -sS -H 'Host: other.test' http://plain.test:%P/ > out
python3 direct.py
";
    let session = stage.session().pack(&pack);
    let outcome = at_a_terminal(&stage, session, &servers.line(line))?;
    let (tls, plain) = (
        format!("api.test:{}", servers.tls),
        format!("plain.test:{}", servers.plain),
    );
    let direct = format!("b.test:{port}");
    // Ended connections of each host, refused ones among them: their first bytes went to the supervisor, and not on.
    for (host, rule, connections, refused) in [
        (&tls, "boundary.connection.end", 2, 1),
        (&plain, "boundary.connection.end", 1, 1),
        (&direct, "boundary.direct.end", 2, 0),
    ] {
        let said = summed(&outcome, host);
        let told = ends(&outcome, host, rule);
        let through = told.iter().filter(|(sent, _)| *sent > 0).count();
        assert_eq!(through, connections, "{host}: {told:?}");
        assert_eq!(number(said, " connection") as usize, told.len(), "{said}");
        let sum = |of: fn(&(u64, u64)) -> u64| told.iter().map(of).sum::<u64>();
        let written = |bytes: u64| {
            if bytes < 10_000 {
                format!("{bytes} B")
            } else {
                format!("{} kB", bytes / 1000)
            }
        };
        let wanted = format!(
            ", {} sent, {} received",
            written(sum(|end| end.0)),
            written(sum(|end| end.1))
        );
        assert!(said.contains(&wanted), "{said:?}, and the records say {wanted:?}");
        let ending = format!(", {refused} refused");
        assert_eq!(said.ends_with(&ending), refused > 0, "{said:?}");
    }
    assert!(
        ends(&outcome, &plain, "boundary.connection.end")
            .iter()
            .any(|(sent, got)| *sent > 100_000 && *got > 50)
    );
    assert!(
        ends(&outcome, &direct, "boundary.direct.end")
            .iter()
            .all(|(sent, got)| *sent == 3 && *got >= 6)
    );
    let datagrams = format!("udp:127.0.0.9:{datagrams}");
    assert!(
        summed(&outcome, &datagrams).starts_with("1 connection, 15 B sent"),
        "{}",
        outcome.finished.stdout
    );
    assert_eq!(summed(&outcome, "192.0.2.9:9"), "0 connections, 2 refused");
    assert_eq!(summed(&outcome, "192.0.2.9:10"), "0 connections, 1 refused");
    Ok(())
}

/// A thousand refused hosts leave room for one that something went to.
pub fn refused_hosts_hide_none_that_was_reached(user: User) -> Verdict {
    places::tool("python3")?;
    let (stage, listener) = (Stage::new(user)?, Listener::new());
    let port = listener.port();
    let pack = format!(
        "metadata: {{id: flood}}
filesystem: {{default_read: allow, default_write: allow}}
commands: {{default: allow}}
network: {{default: block, allow: [\"127.0.0.1:{port}\"]}}
"
    );
    stage.write(
        "ws/flood.py",
        format!(
            "import socket
for n in range(1200): assert socket.socket().connect_ex(('192.0.2.%d' % (n % 250), 1 + n // 250)) == 13
print(socket.create_connection(('127.0.0.1', {port})).recv(5))
"
        ),
    );
    let outcome = at_a_terminal(&stage, stage.session().pack(&pack), "python3 flood.py")?;
    let said = summed(&outcome, &format!("127.0.0.1:{port}"));
    assert!(said.starts_with("1 connection, "), "{}", outcome.finished.stdout);
    Ok(())
}
