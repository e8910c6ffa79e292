//! Datagram sockets: of a session without `udp:` rules, and of one with.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cavra_tests::{Stage, User, Verdict, places};

use crate::dns::Data::A;
use crate::dns::{Data, Dns};
use crate::lookups::pack;

fn built(stage: &Stage, name: &str) -> PathBuf {
    let program = stage.at("bin").join(name);
    let source = places::repository().join("tests/programs").join(format!("{name}.c"));
    let built = Command::new("cc")
        .args(["-O1", "-w", "-D_GNU_SOURCE", "-pthread", "-o"])
        .arg(&program)
        .arg(source)
        .status();
    assert!(built.unwrap().success());
    stage.own(&program);
    program
}

/// Each way to send, against a socket outside; natively most arrive, in the session none.
pub fn a_datagram_socket_can_send_nothing(user: User) -> Verdict {
    let stage = Stage::new(user)?;
    let program = built(&stage, "datagrams");
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_nonblocking(true).unwrap();
    let port = receiver.local_addr().unwrap().port().to_string();
    let arrived = || {
        let mut bytes = [0; 64];
        std::iter::from_fn(|| receiver.recv(&mut bytes).ok()).count()
    };
    let native = stage.native([program.as_os_str(), port.as_ref()]);
    assert_eq!(native.code(), Some(0));
    assert!(arrived() > 20, "the control sent nothing");
    let dns = Dns::serve(&[]);
    let outcome = stage
        .session()
        .pack(&pack(&dns, 1))
        .run([program.as_os_str(), port.as_ref()])?;
    assert_eq!(outcome.code(), Some(0), "{}", outcome.finished.stderr);
    assert_eq!(arrived(), 0, "{}", outcome.finished.stdout);
    Ok(())
}

/// The kernel reports memberships to the network, whatever the socket may send.
pub fn no_group_is_joined(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(&[]));
    let script = "
import socket
for family, level, option, group in (
    (socket.AF_INET, 0, 35, socket.inet_aton('239.1.2.3') + bytes(4)),
    (socket.AF_INET, 0, 39, socket.inet_aton('232.1.2.3') + bytes(4) + socket.inet_aton('192.0.2.1')),
    (socket.AF_INET6, 41, 20, socket.inet_pton(socket.AF_INET6, 'ff15::99') + bytes(4)),
    (socket.AF_INET, 0, 42, bytes(8) + bytes([2, 0, 0, 0]) + socket.inet_aton('239.1.2.3') + bytes(120)),
):
    try: socket.socket(family, socket.SOCK_DGRAM).setsockopt(level, option, group); print('LEAK')
    except OSError as e: print(e.errno)
";
    stage.write("ws/join.py", script);
    let outcome = stage.session().pack(&pack(&dns, 1)).run(["python3", "join.py"])?;
    assert_eq!(outcome.finished.stdout, "1\n1\n1\n1\n", "{}", outcome.finished.stderr);
    Ok(())
}

const OPEN: &str = "metadata: {id: open}
filesystem: {default_read: allow, default_write: allow}
commands: {default: allow}
network: {default: allow, allow: [\"udp:*\"]}
";

/// Every form of sending that programs use: results, errno, partial results, waits and signals, printed natively and inside.
pub fn messages_are_sent_as_natively(user: User) -> Verdict {
    places::tool("python3")?;
    let stage = Stage::new(user)?;
    let script = std::fs::read(places::repository().join("tests/programs/messages.py")).unwrap();
    stage.write("ws/messages.py", script);
    let native = stage.native(["python3", "messages.py"]);
    assert_eq!(native.code(), Some(0), "{}", native.stderr);
    assert!(native.stdout.lines().count() >= 60, "{}", native.stdout);
    let outcome = stage.session().pack(OPEN).run(["python3", "messages.py"])?;
    assert_eq!(outcome.finished.stdout, native.stdout, "{}", outcome.finished.stderr);
    Ok(())
}

/// Seven races of 20 000 attempts; natively, with nobody who decides, the same program reaches the forbidden port.
pub fn a_message_is_sent_as_it_was_decided(user: User) -> Verdict {
    let stage = Stage::new(user)?;
    let program = built(&stage, "race_messages");
    // What arrived at the forbidden port, by the race that sent it; and what the program itself saw.
    let counted =
        |run: &mut dyn FnMut(&str, &str) -> Result<String, cavra_tests::Unmet>| -> Result<_, cavra_tests::Unmet> {
            let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
            receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            // The port that may be reached: the program binds it itself.
            let free = UdpSocket::bind("127.0.0.1:0").unwrap();
            let good = free.local_addr().unwrap().port().to_string();
            drop(free);
            let evil = receiver.local_addr().unwrap().port().to_string();
            let over = AtomicBool::new(false);
            let mut arrived: BTreeMap<char, u64> = BTreeMap::new();
            let printed = std::thread::scope(|scope| {
                let counter = scope.spawn(|| {
                    let mut bytes = [0u8; 64];
                    let mut arrived: BTreeMap<char, u64> = BTreeMap::new();
                    loop {
                        match receiver.recv(&mut bytes) {
                            Ok(_) => *arrived.entry(bytes[0].into()).or_default() += 1,
                            Err(_) if over.load(Ordering::Acquire) => return arrived,
                            Err(_) => {}
                        }
                    }
                });
                let printed = run(&good, &evil);
                over.store(true, Ordering::Release);
                arrived = counter.join().unwrap();
                printed
            })?;
            let mut attempts = BTreeMap::new();
            for line in printed.lines() {
                let words: Vec<&str> = line.split_ascii_whitespace().collect();
                let number = |at: usize| words[at].parse::<u64>().unwrap();
                *arrived.entry(words[0].chars().next().unwrap()).or_default() += number(3);
                attempts.insert(words[1].to_owned(), (number(2), number(4)));
            }
            Ok((attempts, arrived))
        };
    let (_, native) = counted(&mut |good, evil| {
        let end = stage.native([program.as_os_str(), good.as_ref(), evil.as_ref(), "200000".as_ref()]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        Ok(end.stdout)
    })?;
    for race in "abcdeg".chars() {
        assert!(
            native.get(&race).is_some_and(|wins| *wins > 0),
            "the control of {race} won nothing: {native:?}"
        );
    }
    let (attempts, inside) = counted(&mut |good, evil| {
        let rules = OPEN.replace(
            "default: allow, allow: [\"udp:*\"]",
            &format!("default: block, allow: [\"udp:127.0.0.1:{good}\"]"),
        );
        let words = [program.as_os_str(), good.as_ref(), evil.as_ref(), "20000".as_ref()];
        let outcome = stage
            .session()
            .pack(&rules)
            .deadline(Duration::from_secs(300))
            .run(words)?;
        assert_eq!(outcome.code(), Some(0), "{}", outcome.finished.stderr);
        Ok(outcome.finished.stdout)
    })?;
    assert!(inside.values().all(|wins| *wins == 0), "{inside:?} {attempts:?}");
    assert_eq!(attempts.len(), 7);
    // The races were run: each made its attempts, and harmless ones among them went through.
    for (race, (made, through)) in attempts {
        assert!(
            made == 20_000 && through > 0,
            "{race}: {made} attempts, {through} went through"
        );
    }
    Ok(())
}

const ZONE: &[(&str, Data)] = &[("time.test", A("127.0.0.1")), ("web.test", A("127.0.0.1"))];

const REACH: &str = r#"
import errno, socket, struct, sys
allowed, other, server = int(sys.argv[1]), int(sys.argv[2]), [l.split()[1] for l in open("/etc/resolv.conf") if l.startswith("nameserver")][0]
def said(what, call):
    try: print(what, call())
    except OSError as e: print(what, errno.errorcode[e.errno])
new = lambda family=socket.AF_INET: socket.socket(family, socket.SOCK_DGRAM)
# A lookup in datagrams, from a connected socket: sent without the boundary, served by the session's resolver.
q = lambda name: b"\1\2\1\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0\0\1\0\1"
s = new(); s.settimeout(20); s.connect((server, 53))
for name in ("time.test", "other.test"): s.send(q(name)); a = s.recv(999); print(name, a[3] & 15, a[-4:] == b"\x7f\0\0\1")
socket.getaddrinfo("web.test", 1)
said("by name", lambda: new().sendto(b"named", ("127.0.0.1", allowed)))
said("by name, connected", lambda: (lambda s: (s.connect(("127.0.0.1", allowed)), s.send(b"connected"))[1])(new()))
said("another port", lambda: new().sendto(b"LEAK", ("127.0.0.1", other)))
said("a rule about TCP", lambda: new().sendto(b"LEAK", ("127.0.0.1", other)))
said("connected elsewhere", lambda: (lambda s: (s.connect(("127.0.0.1", other)), s.send(b"LEAK"))[1])(new()))
said("mapped", lambda: new(socket.AF_INET6).sendto(b"LEAK", ("::ffff:127.0.0.1", other)))
said("metadata", lambda: new().sendto(b"LEAK", ("169.254.169.254", 80)))
said("another resolver", lambda: new().sendto(q("x.test"), ("127.0.0.53", 53)))
said("multicast names", lambda: new().sendto(q("x.local"), ("224.0.0.251", 5353)))
s = new(); said("a source route", lambda: s.sendmsg([b"LEAK"], [(0, 7, bytes([131, 7, 4, 127, 0, 0, 9, 0]))], 0, ("127.0.0.1", allowed)))
said("a source route as an option", lambda: socket.socket().setsockopt(0, 4, bytes([131, 7, 4, 127, 0, 0, 9, 0])))
said("a routing header", lambda: socket.socket(socket.AF_INET6).setsockopt(41, 57, bytes(24)))
said("a lease of a flow label", lambda: socket.socket(socket.AF_INET6).setsockopt(41, 32, bytes(32)))
said("late connecting", lambda: socket.socket().setsockopt(6, 30, 1))
a, b = socket.socketpair(); said("another's credentials", lambda: a.sendmsg([b"x"], [(1, 2, struct.pack("3i", 1, 0, 0))]))
"#;

/// By name and address, with the errors that are told; QUIC to a host that a rule names for TCP is off.
pub fn datagrams_go_where_a_rule_says_so(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let (allowed, other) = (bind(), bind());
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let pack = format!(
        "metadata: {{id: udp}}
filesystem: {{default_read: allow, default_write: allow}}
commands: {{default: allow}}
network:
  default: block
  resolver: {}
  allow:
    - {{to: \"udp:time.test:{}\", addresses: 127.0.0.0/8}}
    - {{to: \"web.test:{}\", addresses: 127.0.0.0/8}}
",
        dns.address,
        port(&allowed),
        port(&other)
    );
    stage.write("ws/reach.py", REACH);
    let words = [
        "python3",
        "reach.py",
        &port(&allowed).to_string(),
        &port(&other).to_string(),
    ];
    let outcome = stage.session().pack(&pack).run(words)?;
    assert_eq!(
        outcome.finished.stdout,
        "time.test 0 True
other.test 3 False
by name 5
by name, connected 9
another port EACCES
a rule about TCP EACCES
connected elsewhere EPIPE
mapped EACCES
metadata EACCES
another resolver EACCES
multicast names EACCES
a source route EPERM
a source route as an option EPERM
a routing header EPERM
a lease of a flow label EPERM
late connecting ENOTSUP
another's credentials EPERM
",
        "{}",
        outcome.finished.stderr
    );
    let received = |socket: &UdpSocket| {
        socket.set_nonblocking(true).unwrap();
        let mut bytes = [0u8; 64];
        std::iter::from_fn(|| {
            socket
                .recv(&mut bytes)
                .ok()
                .map(|len| String::from_utf8_lossy(&bytes[..len]).into_owned())
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(received(&allowed), ["named", "connected"]);
    assert!(received(&other).is_empty());
    assert_eq!(dns.count("other.test"), 0);
    outcome
        .record("network_connect")
        .target(&format!("time.test:{} (127.0.0.1)", port(&allowed)))
        .decision("allow")
        .rule("network.connect.allow");
    let ended = outcome
        .record("network_connect")
        .target(&format!("time.test:{}", port(&allowed)))
        .rule("boundary.datagrams.end");
    assert_eq!(ended.count(), 1);
    Ok(())
}

/// Ancillary data of a datagram to an allowed port: family, level, type, bytes in Python, and how the record of its refusal calls it. One without
/// such a name is sent.
const FIELDS: &[(u8, i32, i32, &str, Option<&str>)] = &[
    (2, 1, 1, "struct.pack('i', 1)", Some("SCM_RIGHTS (level 1, type 1)")),
    (
        2,
        1,
        2,
        "struct.pack('3i', os.getpid(), os.getuid(), os.getgid())",
        Some("SCM_CREDENTIALS (level 1, type 2)"),
    ),
    (
        2,
        0,
        7,
        "bytes([7, 7, 4, 0, 0, 0, 0, 0])",
        Some("IP_RETOPTS (level 0, type 7)"),
    ),
    (2, 0, 52, "struct.pack('i', 17)", Some("IP_PROTOCOL (level 0, type 52)")),
    (
        2,
        77,
        99,
        "b'1234'",
        Some("ancillary data of an unknown kind (level 77, type 99)"),
    ),
    (
        10,
        41,
        57,
        "bytes([0, 2, 0, 1]) + bytes(4) + socket.inet_pton(10, '::1')",
        Some("IPV6_RTHDR (level 41, type 57)"),
    ),
    (10, 41, 54, "bytes(8)", Some("IPV6_HOPOPTS (level 41, type 54)")),
    (10, 41, 59, "bytes(8)", Some("IPV6_DSTOPTS (level 41, type 59)")),
    (10, 1, 1, "struct.pack('i', 1)", Some("SCM_RIGHTS (level 1, type 1)")),
    (2, 0, 1, "struct.pack('i', 16)", None),
    (2, 0, 2, "struct.pack('i', 9)", None),
    (2, 0, 8, "bytes(4) + bytes([127, 0, 0, 1]) + bytes(4)", None),
    (10, 41, 67, "struct.pack('i', 16)", None),
    (10, 41, 50, "socket.inet_pton(10, '::1') + bytes(4)", None),
];

/// Each field of [`FIELDS`] with a datagram to a port that may be reached; natively SCM_RIGHTS goes out with it (and means nothing there).
pub fn ancillary_data_is_refused_by_its_name(user: User) -> Verdict {
    places::tool("python3")?;
    let stage = Stage::new(user)?;
    let mut script = "import errno, os, socket, struct, sys
def said(family, level, kind, data):
    s = socket.socket(family, socket.SOCK_DGRAM)
    try: s.sendmsg([b'field'], [(level, kind, data)], 0, ('127.0.0.1' if family == 2 else '::1', int(sys.argv[1 + (family == 10)])))
    except OSError as e: return errno.errorcode[e.errno]
    return 'sent'
"
    .to_owned();
    for (family, level, kind, data, _) in FIELDS {
        script.push_str(&format!("print(said({family}, {level}, {kind}, {data}))\n"));
    }
    stage.write("ws/fields.py", script);
    let receivers = ["127.0.0.1:0", "[::1]:0"].map(|address| {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    });
    let ports = receivers.each_ref().map(|s| s.local_addr().unwrap().port().to_string());
    let words = ["python3", "fields.py", &ports[0], &ports[1]];
    let arrived = || {
        let mut bytes = [0; 64];
        let mut came = |socket: &UdpSocket| std::iter::from_fn(|| socket.recv(&mut bytes).ok()).count();
        receivers.iter().map(&mut came).sum::<usize>()
    };
    let native = stage.native(words);
    let natively = native.stdout.lines().filter(|line| *line == "sent").count();
    assert!(native.stdout.starts_with("sent\n"), "{}", native.stderr);
    assert_eq!(arrived(), natively);
    let outcome = stage.session().pack(OPEN).run(words)?;
    let wanted: String = FIELDS
        .iter()
        .map(|(.., name)| if name.is_some() { "EPERM\n" } else { "sent\n" })
        .collect();
    assert_eq!(outcome.finished.stdout, wanted, "{}", outcome.finished.stderr);
    assert_eq!(arrived(), FIELDS.iter().filter(|(.., name)| name.is_none()).count());
    for name in FIELDS.iter().filter_map(|(.., name)| *name) {
        outcome
            .record("network_connect")
            .target(name)
            .decision("block")
            .rule("boundary.ancillary.block");
    }
    Ok(())
}

/// Without a rule the error is one that programs take as final, and none goes on trying.
pub fn without_a_rule_an_echo_of_datagrams_ends(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(&[]));
    let script = "
import errno, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))
try: s.sendto(b'x', s.getsockname()); print('LEAK')
except PermissionError as e: print(errno.errorcode[e.errno])
";
    let outcome = stage.session().pack(&pack(&dns, 1)).run(["python3", "-c", script])?;
    assert_eq!(outcome.finished.stdout, "EACCES\n", "{}", outcome.finished.stderr);
    outcome
        .record("network_connect")
        .decision("block")
        .rule("boundary.datagram.block");
    Ok(())
}
