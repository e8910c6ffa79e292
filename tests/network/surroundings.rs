//! The machine's own /etc/hosts and search domains, addresses in other spellings, answers that change, and sockets that are not handed out.

use cavra_tests::session::Outcome;
use cavra_tests::{Case, Listener, Stage, Unmet, User, Verdict, places, skip};

use crate::dns::Data::{A, Turns};
use crate::dns::{Data, Dns};

const ZONE: &[(&str, Data)] = &[
    ("build.corp.test", A("127.0.0.1")),
    (
        "turns.test",
        Turns(&["127.0.0.1", "127.0.0.2", "127.0.0.3", "192.0.2.9"]),
    ),
];

fn pack(dns: &Dns, allow: &str) -> String {
    format!(
        "metadata: {{id: places}}
filesystem: {{default_read: allow, default_write: allow}}
commands: {{default: allow}}
network:
  default: block
  resolver: {}
  allow: [{allow}]
",
        dns.address
    )
}

/// A session on a machine with these files as its own.
fn on_a_machine(stage: &Stage, pack: &str, resolv_conf: &str, hosts: &str, script: &str) -> Result<Outcome, Unmet> {
    places::tool("unshare")?;
    let (conf, hosts) = (
        stage.write("machine-resolv.conf", resolv_conf),
        stage.write("machine-hosts", hosts),
    );
    let session = stage.session().pack(pack);
    let words = session.quoted()?;
    let line = format!(
        "mount --bind '{}' /etc/resolv.conf && mount --bind '{}' /etc/hosts || exit 77; exec {} sh -c \"$1\"",
        conf.display(),
        hosts.display(),
        words
    );
    let mut command = stage.command("unshare")?;
    command.args(["-m", "--propagation", "private", "sh", "-c", &line, "sh", script]);
    let outcome = session.launch(command).finish();
    if outcome.code() == Some(77) {
        return skip("no file can be mounted over another here");
    }
    Ok(outcome)
}

fn connects(name: &str, port: u16) -> String {
    format!(
        "python3 -c 'import socket; print(\"{name}\", socket.create_connection((\"{name}\", {port})).recv(5))' 2>&1 | tail -1 | cut -c1-60"
    )
}

/// A name of /etc/hosts needs no server; it is judged as every other: by its rule, and where that places it.
pub fn names_of_etc_hosts_are_judged_by_their_rules(user: User) -> Verdict {
    let (stage, dns, listener) = (Stage::new(user)?, Dns::serve(ZONE), Listener::new());
    let port = listener.port();
    let allow = format!("{{to: \"box.test:{port}\", addresses: 127.0.0.0/8}}, {{to: \"far.test:{port}\"}}");
    let hosts = "127.0.0.1 localhost box.test\n127.0.0.9 far.test\n";
    let far = Listener::at(&format!("127.0.0.9:{port}"));
    let script = ["box.test", "far.test", "nobody.test"].map(|name| connects(name, port));
    let script = script.join("; ");
    let outcome = on_a_machine(&stage, &pack(&dns, &allow), "nameserver 192.0.2.1\n", hosts, &script)?;
    let said: Vec<&str> = outcome.finished.stdout.lines().collect();
    assert_eq!(
        said,
        [
            "box.test b'hello'",
            "PermissionError: [Errno 13] Permission denied",
            "socket.gaierror: [Errno -2] Name or service not known"
        ]
    );
    assert_eq!((listener.came(), far.came()), (1, 0));
    assert!(dns.asked().is_empty(), "{:?}", dns.asked());
    outcome
        .record("network_connect")
        .target(&format!("box.test:{port} (127.0.0.1)"))
        .decision("allow");
    Ok(())
}

/// Of a name that search domains are put behind, the allowed one is asked for, and no other leaves the machine.
pub fn search_domains_lead_to_allowed_names_only(user: User) -> Verdict {
    let (stage, dns, listener) = (Stage::new(user)?, Dns::serve(ZONE), Listener::new());
    let port = listener.port();
    let allow = format!("{{to: \"build.corp.test:{port}\", addresses: 127.0.0.0/8}}");
    let conf = "nameserver 192.0.2.1\nsearch eu.corp.test corp.test\noptions ndots:1\n";
    let script = [
        connects("build", port),
        connects("other", port),
        connects("build.corp.test", port),
    ]
    .join("; ");
    let outcome = on_a_machine(&stage, &pack(&dns, &allow), conf, "127.0.0.1 localhost\n", &script)?;
    let said: Vec<&str> = outcome.finished.stdout.lines().collect();
    assert_eq!(
        said,
        [
            "build b'hello'",
            "socket.gaierror: [Errno -2] Name or service not known",
            "build.corp.test b'hello'"
        ],
        "{}",
        outcome.finished.stderr
    );
    assert!(
        dns.asked().iter().all(|(name, _)| name == "build.corp.test"),
        "{:?}",
        dns.asked()
    );
    Ok(())
}

/// A name that is somewhere else each time: what was told holds, what was not told does not, and a connection outlives its answer.
pub fn changing_addresses_hold_as_they_were_told(user: User) -> Verdict {
    places::tool("python3")?;
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let script = "
import socket, threading
port = int(open('port').read()); servers = []
def serve(ip):
    l = socket.create_server((ip, port)); servers.append(l)
told = lambda: socket.getaddrinfo('turns.test', port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
def to(ip):
    try: s = socket.create_connection((ip, port), 20); return s
    except OSError as e: return e.errno
def said(what): return what.recv(5).decode() if isinstance(what, socket.socket) else what
first = told(); held = to(first); print(first, said(held))
print('not told yet', said(to('127.0.0.2')))
second = told(); print(second, said(to(second)))
print('told before', said(to(first)))
held.sendall(b'x'); print('held', held.fileno() > 0)
# The third is where its rule does not place it: it is taken out of the answer.
try: third = told()
except socket.gaierror as e: third = 'nothing'
print(third, said(to('127.0.0.3')))
";
    stage.write("ws/turns.py", script);
    let one = Listener::new();
    let port = one.port();
    let _two = Listener::at(&format!("127.0.0.2:{port}"));
    let three = Listener::at(&format!("127.0.0.3:{port}"));
    stage.write("ws/port", port.to_string());
    let allow = format!("{{to: \"turns.test:{port}\", addresses: [127.0.0.1/32, 127.0.0.2/32]}}");
    let outcome = stage.session().pack(&pack(&dns, &allow)).run(["python3", "turns.py"])?;
    assert_eq!(
        outcome.finished.stdout,
        "127.0.0.1 hello\nnot told yet 13\n127.0.0.2 hello\ntold before hello\nheld True\nnothing 13\n",
        "{}",
        outcome.finished.stderr
    );
    assert_eq!(three.came(), 0);
    outcome
        .record("network_connect")
        .target("turns.test (127.0.0.3)")
        .rule("boundary.rebinding.block");
    Ok(())
}

/// Spellings of an address that no rule allows; natively each of the first five reaches the listener.
pub fn no_spelling_of_an_address_passes_by_its_rule(user: User) -> Verdict {
    places::tool("python3")?;
    let (stage, dns, listener) = (Stage::new(user)?, Dns::serve(ZONE), Listener::at("[::]:0"));
    let script = format!(
        "
import errno, socket
for family, ip in ((2, '127.0.0.1'), (2, '0.0.0.0'), (10, '::ffff:127.0.0.1'), (10, '::'), (10, '::1'), (10, '::127.0.0.1'), (10, '64:ff9b::7f00:1'),
                   (10, '::ffff:0:127.0.0.1')):
    try: s = socket.socket(family); s.connect(socket.getaddrinfo(ip, {port}, family, 1, 0, socket.AI_NUMERICHOST)[0][4]); print('reached', ip)
    except OSError as e: print(errno.errorcode[e.errno], ip)
",
        port = listener.port()
    );
    stage.write("ws/spell.py", script);
    let native = stage.native(["python3", "spell.py"]);
    let reached = native.stdout.lines().filter(|line| line.starts_with("reached")).count();
    assert!(reached >= 5, "{}", native.stdout);
    let before = listener.came();
    let outcome = stage
        .session()
        .pack(&pack(&dns, "\"api.test:1\""))
        .run(["python3", "spell.py"])?;
    assert!(
        outcome.finished.stdout.lines().all(|line| line.starts_with("EACCES")),
        "{} {}",
        outcome.finished.stdout,
        outcome.finished.stderr
    );
    assert_eq!(listener.came(), before);
    Ok(())
}

/// A kind of socket in numbers, what it is called, and the error.
const SOCKETS: &[(&str, &str, &str)] = &[
    (
        "2, 1, 262",
        "MPTCP socket over IPv4 (family 2, type 1, protocol 262)",
        "EPROTONOSUPPORT",
    ),
    (
        "10, 1, 262",
        "MPTCP socket over IPv6 (family 10, type 1, protocol 262)",
        "EPROTONOSUPPORT",
    ),
    (
        "2, 1, 132",
        "SCTP socket over IPv4 (family 2, type 1, protocol 132)",
        "EPROTONOSUPPORT",
    ),
    (
        "10, 5, 132",
        "SCTP socket over IPv6 (family 10, type 5, protocol 132)",
        "ESOCKTNOSUPPORT",
    ),
    (
        "2, 3, 1",
        "raw socket over IPv4 (family 2, type 3, protocol 1)",
        "EPROTONOSUPPORT",
    ),
    (
        "10, 2, 58",
        "ping socket over IPv6 (family 10, type 2, protocol 58)",
        "EPROTONOSUPPORT",
    ),
    (
        "2, 2, 136",
        "UDP-Lite socket over IPv4 (family 2, type 2, protocol 136)",
        "EPROTONOSUPPORT",
    ),
    (
        "17, 3, 0",
        "packet socket (family 17, type 3, protocol 0)",
        "EAFNOSUPPORT",
    ),
    (
        "16, 3, 9",
        "netlink socket (family 16, type 3, protocol 9)",
        "EPROTONOSUPPORT",
    ),
    (
        "40, 1, 0",
        "socket to virtual machines (vsock) (family 40, type 1, protocol 0)",
        "EAFNOSUPPORT",
    ),
    (
        "38, 5, 0",
        "socket for the kernel's ciphers (AF_ALG) (family 38, type 5, protocol 0)",
        "EAFNOSUPPORT",
    ),
    (
        "31, 3, 1",
        "Bluetooth socket (family 31, type 3, protocol 1)",
        "EAFNOSUPPORT",
    ),
    (
        "1, 2, 0",
        "unix datagram socket (family 1, type 2, protocol 0)",
        "EPROTONOSUPPORT",
    ),
    (
        "99, 1, 0",
        "socket of an unknown kind (family 99, type 1, protocol 0)",
        "EAFNOSUPPORT",
    ),
];

/// One case a kind of socket: not handed out, and named in the record as people know it.
pub fn sockets() -> Vec<Case> {
    let case = |(numbers, words, error): &'static (&str, &str, &str)| {
        Case::new(format!("not handed out: {words}"), move |user| {
            let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
            let script = format!(
                "import errno, socket
try: socket.socket({numbers}); print('LEAK')
except OSError as e: print(errno.errorcode[e.errno])"
            );
            let outcome = stage
                .session()
                .pack(&pack(&dns, "\"api.test:1\""))
                .run(["python3", "-c", &script])?;
            assert_eq!(outcome.finished.stdout.trim(), *error, "{}", outcome.finished.stderr);
            outcome
                .record("network_connect")
                .target(words)
                .decision("block")
                .rule("boundary.socket.block");
            Ok(())
        })
    };
    SOCKETS.iter().map(case).collect()
}
