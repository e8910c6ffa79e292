//! What of the servers' answers reaches the session, for how long, and how much of it is kept.

use cavra_tests::{Listener, Stage, User, Verdict, places};

use crate::dns::Data::{A, Brief, Drip, Fresh, Nothing, Service, Six};
use crate::dns::{Data, Dns};
use crate::lookups::ASKER;

const ZONE: &[(&str, Data)] = &[
    ("api.test", A("127.0.0.1")),
    ("six.cdn.test", Six("::1")),
    ("svc.cdn.test", Service),
    ("_tide._tcp.cdn.test", Service),
    ("brief.cdn.test", Brief("127.0.0.1", 1)),
    ("nothing.cdn.test", Nothing),
    ("fresh.cdn.test", Fresh),
    ("drip.cdn.test", Drip),
];

fn pack(dns: &Dns, port: u16) -> String {
    format!(
        "metadata: {{id: net}}
filesystem: {{default_read: allow, default_write: allow}}
commands: {{default: allow}}
network:
  default: block
  resolver: {}
  allow:
    - {{to: \"api.test:{port}\", addresses: 127.0.0.0/8}}
    - {{to: \"*.cdn.test:{port}\", addresses: [127.0.0.0/8, \"::1/128\"]}}
",
        dns.address
    )
}

/// One question, its answer whole.
const ONE: &str = r#"
def one(name, kind):
    s = socket.create_connection((server, 53)); f = s.makefile("rb")
    q = b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + struct.pack(">BHH", 0, kind, 1)
    s.sendall(struct.pack(">H", len(q)) + q); size, = struct.unpack(">H", f.read(2)); return f.read(size)
"#;

/// SRV and HTTPS records come through; keys for encrypted hellos, hints of addresses and HTTP/3 do not.
pub fn services_are_told_without_keys_and_hints(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let script = format!(
        "{ASKER}{ONE}
a = one('svc.cdn.test', 65); print(a[3] & 15, a[7], b'h2' in a, b'h3' in a, b'ECHKEY' in a, bytes([192, 0, 2, 0x42]) in a, b'\\x20\\x01\\x0d\\xb8' in a)
a = one('_tide._tcp.cdn.test', 33); print(a[3] & 15, a[7], b'\\x1f\\x90' in a and b'api' in a)
"
    );
    stage.write("ws/ask.py", script);
    let outcome = stage.session().pack(&pack(&dns, 1)).run(["python3", "ask.py"])?;
    assert_eq!(
        outcome.finished.stdout, "0 1 True False False False False\n0 1 True\n",
        "{}",
        outcome.finished.stderr
    );
    Ok(())
}

/// A TTL that ended is asked again, a name that does not exist is not before its SOA's time.
pub fn answers_are_kept_for_as_long_as_they_say(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let script = format!(
        "{ASKER}{ONE}
import time
for name in ('brief.cdn.test', 'nothing.cdn.test', 'api.test'): one(name, 1); one(name, 1)
first = one('api.test', 1)[-7]; time.sleep(1.2)
for name in ('brief.cdn.test', 'nothing.cdn.test'): one(name, 1)
print(one('nothing.cdn.test', 1)[3] & 15, first - one('api.test', 1)[-7] in (1, 2))
"
    );
    stage.write("ws/ask.py", script);
    let outcome = stage.session().pack(&pack(&dns, 1)).run(["python3", "ask.py"])?;
    assert_eq!(outcome.finished.stdout, "3 True\n", "{}", outcome.finished.stderr);
    let counts = ["brief.cdn.test", "nothing.cdn.test", "api.test"].map(|name| dns.count(name));
    assert_eq!(counts, [2, 1, 1]);
    Ok(())
}

/// A host that has an address of IPv6 only is reached by name, and by nothing else.
pub fn a_host_of_ipv6_only_is_reached(user: User) -> Verdict {
    places::tool("python3")?;
    let (stage, dns, listener) = (Stage::new(user)?, Dns::serve(ZONE), Listener::at("[::1]:0"));
    let port = listener.port();
    let script = format!(
        "import socket
try: socket.create_connection(('::1', {port})); print('LEAK')
except PermissionError: pass
print(socket.create_connection(('six.cdn.test', {port})).recv(5))
"
    );
    stage.write("ws/six.py", script);
    let outcome = stage.session().pack(&pack(&dns, port)).run(["python3", "six.py"])?;
    assert_eq!(outcome.finished.stdout, "b'hello'\n", "{}", outcome.finished.stderr);
    assert_eq!(listener.came(), 1);
    Ok(())
}

/// 25 600 addresses of one name within a session: the supervisor does not grow with them, and what was told before still holds.
pub fn thousands_of_addresses_of_one_name_are_bounded(user: User) -> Verdict {
    let (stage, dns, listener) = (Stage::new(user)?, Dns::serve(ZONE), Listener::new());
    let port = listener.port();
    let script = format!(
        "{ASKER}{ONE}
import os
of = lambda: next(int(l.split()[1]) for l in open('/proc/%d/status' % supervisor) if l.startswith('VmRSS'))
supervisor = os.getppid()
supervisor = next(int(l.split()[1]) for l in open('/proc/%d/status' % supervisor) if l.startswith('PPid'))
for _ in range(20): one('fresh.cdn.test', 1)
before = of(); told = set()
for _ in range(400): a = one('fresh.cdn.test', 1); told.add(a[-4:]); assert a[7] == 64, a[7]
print(len(told), of() - before < 8000, of() - before)
print(socket.create_connection(('api.test', {port})).recv(5))
"
    );
    stage.write("ws/ask.py", script);
    let outcome = stage.session().pack(&pack(&dns, port)).run(["python3", "ask.py"])?;
    let mut lines = outcome.finished.stdout.lines();
    assert!(
        lines.next().is_some_and(|line| line.starts_with("400 True")),
        "{} {}",
        outcome.finished.stdout,
        outcome.finished.stderr
    );
    assert_eq!(lines.next(), Some("b'hello'"), "{}", outcome.finished.stderr);
    assert!(dns.count("fresh.cdn.test") >= 420);
    Ok(())
}

/// An answer over TCP that stops after its first bytes fails its own lookup only, within the server's time.
pub fn an_answer_that_drips_holds_its_own_asker_only(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let script = "(getent hosts drip.cdn.test; echo failed $? > hung) & getent hosts api.test | awk '{print $1}'; wait; cat hung";
    let outcome = stage.session().pack(&pack(&dns, 1)).sh(script)?;
    assert_eq!(
        outcome.finished.stdout, "127.0.0.1\nfailed 2\n",
        "{}",
        outcome.finished.stderr
    );
    Ok(())
}
