//! How the session's programs ask, well and badly, and how their resolver asks on.

use std::net::{SocketAddr, UdpSocket};

use cavra_tests::{Listener, Stage, User, Verdict, places};

use crate::dns::Data::{A, Lost};
use crate::dns::{Data, Dns};
use crate::lookups::{ASKER, pack};

const ZONE: &[(&str, Data)] = &[
    ("api.test", A("127.0.0.1")),
    ("a.cdn.test", A("127.0.0.2")),
    ("b.cdn.test", A("127.0.0.3")),
    ("lost.cdn.test", Lost("127.0.0.4")),
];

/// A question with its length in front, and what a connection answers: ids with codes, or how it ended.
const SPEAK: &str = r#"
import time
def q(name, id=1): return (lambda m: struct.pack(">H", len(m)) + m)(struct.pack(">H", id) + b"\1\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0\0\1\0\1")
def open(): s = socket.create_connection((server, 53)); s.settimeout(60); s.setsockopt(6, 1, 1); return s, s.makefile("rb")
def answer(f):
    try: head = f.read(2)
    except OSError: return "cut off"
    if len(head) < 2: return "ended"
    a = f.read(*struct.unpack(">H", head)); return struct.unpack(">H", a[:2])[0], a[3] & 15
"#;

/// A connection may ask seconds after it was made, byte by byte, or many things at once before it reads; and many connections may ask together.
pub fn questions_are_answered_however_they_come(user: User) -> Verdict {
    places::tool("python3")?;
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let script = format!(
        "{ASKER}{SPEAK}
late, f = open(); waits = time.monotonic()
s, g = open()
for byte in q('api.test', 7): s.sendall(bytes([byte]))
print(answer(g))
s.sendall(b''.join(q(('api.test', 'no.test', 'a.cdn.test')[n % 3], n) for n in range(300)))
got = [answer(g) for _ in range(300)]
print(sorted(got) == [(n, 3 if n % 3 == 1 else 0) for n in range(300)])
s.shutdown(socket.SHUT_WR); print(answer(g))
import threading
wrong, names = [], {{'api.test': '127.0.0.1', 'a.cdn.test': '127.0.0.2', 'b.cdn.test': '127.0.0.3'}}
def look(name):
    got = [a[4][0] for a in socket.getaddrinfo(name, 1, socket.AF_INET, socket.SOCK_STREAM)]
    if got != [names[name]]: wrong.append((name, got))
threads = [threading.Thread(target=look, args=(list(names)[n % 3],)) for n in range(120)]
for t in threads: t.start()
for t in threads: t.join()
print(wrong)
# Longer than its listener waits for a first question.
time.sleep(max(0, 4 - (time.monotonic() - waits))); late.sendall(q('api.test', 9)); print(answer(f))
"
    );
    stage.write("ws/ask.py", script);
    let outcome = stage.session().pack(&pack(&dns, 1)).run(["python3", "ask.py"])?;
    assert_eq!(
        outcome.finished.stdout, "(7, 0)\nTrue\nended\n[]\n(9, 0)\n",
        "{}",
        outcome.finished.stderr
    );
    Ok(())
}

/// Bytes that are no question are answered as such or end their own connection; the next lookup is as ever.
pub fn malformed_questions_harm_nobody(user: User) -> Verdict {
    places::tool("python3")?;
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let script = format!(
        "{ASKER}{SPEAK}
def send(data):
    s, f = open()
    try: s.sendall(data); s.shutdown(socket.SHUT_WR)
    except OSError: pass
    return answer(f)
print('longer than any', send(b'\\xff\\xff' + bytes(4000)) in ('cut off', 'ended'))
print('nothing', send(b''))
print('no bytes', send(b'\\0\\0'))
print('one byte', send(b'\\0\\1x'))
print('cut off', send(q('api.test')[:-6]))
print('noise', send(b'\\0\\x20' + bytes(range(100, 132))))
print('an answer', send(b'\\0\\x0c\\0\\5\\x80\\0' + bytes(8)))
loop = b'\\0\\6\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\xc0\\x0c\\0\\1\\0\\1'
print('a loop', send(struct.pack('>H', len(loop)) + loop))
two = b'\\0\\7\\1\\0\\0\\2\\0\\0\\0\\0\\0\\0' + b'\\1a\\0\\0\\1\\0\\1' * 2
print('two questions', send(struct.pack('>H', len(two)) + two))
import random
random.seed(1)
for _ in range(500): send((lambda n: struct.pack('>H', n) + random.randbytes(n))(random.randrange(12, 200)))
print(socket.gethostbyname('api.test'))
"
    );
    stage.write("ws/ask.py", script);
    let outcome = stage.session().pack(&pack(&dns, 1)).run(["python3", "ask.py"])?;
    assert_eq!(
        outcome.finished.stdout,
        "longer than any True
nothing ended
no bytes ended
one byte ended
cut off ended
noise (25701, 1)
an answer ended
a loop (6, 1)
two questions (7, 1)
127.0.0.1
",
        "{}",
        outcome.finished.stderr
    );
    assert!(
        dns.asked().iter().all(|(name, _)| name == "api.test"),
        "{:?}",
        dns.asked()
    );
    Ok(())
}

/// A datagram to the server is lost: it is asked again.
pub fn a_lost_question_is_asked_again(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let outcome = stage
        .session()
        .pack(&pack(&dns, 1))
        .sh("getent ahostsv4 lost.cdn.test | awk '{print $1}' | sort -u")?;
    assert_eq!(outcome.finished.stdout, "127.0.0.4\n", "{}", outcome.finished.stderr);
    assert_eq!(dns.count("lost.cdn.test"), 2);
    Ok(())
}

/// How a server of names is dead.
#[derive(Clone, Copy, Debug)]
enum Dead {
    /// Nobody has the port: the machine says so.
    Closed,
    /// Questions arrive, and are not answered.
    Silent,
}

/// An address of such a server, and what keeps it so.
fn dead(how: Dead) -> (SocketAddr, Option<UdpSocket>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    match how {
        Dead::Closed => (address, None),
        Dead::Silent => (address, Some(socket)),
    }
}

/// The first of two servers is dead: the second answers, at once where the first says so, else after the first's five seconds. Where both are, the
/// lookup fails for now (EAI_AGAIN, -3), as natively, and the session goes on.
pub fn a_second_server_answers_for_a_dead_one(user: User) -> Verdict {
    const BOTH: &[(Dead, Option<Dead>, &str, std::ops::Range<u64>)] = &[
        (Dead::Closed, None, "127.0.0.1", 0..4),
        (Dead::Silent, None, "127.0.0.1", 5..9),
        (Dead::Closed, Some(Dead::Closed), "-3", 0..4),
        (Dead::Silent, Some(Dead::Closed), "-3", 10..19),
    ];
    places::tool("python3")?;
    for (first, second, wanted, seconds) in BOTH {
        let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
        let (one, _kept) = dead(*first);
        let (two, _other) = second.map_or((dns.address, None), dead);
        let servers = pack(&dns, 1).replace(
            &format!("resolver: {}", dns.address),
            &format!("resolver: [\"{one}\", \"{two}\"]"),
        );
        let script = "
import os, socket, time
began = time.monotonic()
try: print(socket.getaddrinfo('api.test', 1, 0, socket.SOCK_STREAM)[0][4][0])
except socket.gaierror as e: print(e.errno)
print(int(time.monotonic() - began))
print(socket.gethostbyname('localhost'), os.path.exists('.'))
";
        let outcome = stage.session().pack(&servers).run(["python3", "-c", script])?;
        let said: Vec<&str> = outcome.finished.stdout.lines().collect();
        let [found, took, after] = said[..] else {
            panic!("{said:?} {}", outcome.finished.stderr)
        };
        assert_eq!((found, after), (*wanted, "127.0.0.1 True"), "{first:?}, {second:?}");
        assert!(
            seconds.contains(&took.parse().unwrap()),
            "{first:?}, {second:?}: {took} s"
        );
        assert_eq!(dns.count("api.test") > 0, second.is_none());
        assert_eq!(outcome.code(), Some(0));
    }
    Ok(())
}

/// Whoever approves a connection sees its name, its address and its port.
pub fn an_approval_shows_name_address_and_port(user: User) -> Verdict {
    places::tool("python3")?;
    let (stage, dns, listener) = (Stage::new(user)?, Dns::serve(ZONE), Listener::new());
    let port = listener.port();
    let pack = format!(
        "metadata: {{id: asks}}
filesystem: {{default_read: allow, default_write: allow}}
commands: {{default: allow}}
network:
  default: block
  resolver: {}
  require_approval: [{{to: \"api.test:{port}\", addresses: 127.0.0.0/8}}]
",
        dns.address
    );
    let script = format!("import socket; print(socket.create_connection(('api.test', {port})).recv(5))");
    let mut live = stage
        .session()
        .pack(&pack)
        .approvals("ask")
        .start(["python3", "-c", &script])?;
    let id = live.wait_for_approval(&format!("api.test:{port} (127.0.0.1)"))?;
    assert_eq!(listener.came(), 0);
    stage
        .cavractl(["approvals", "approve", id.as_str(), "--reason", "known"])?
        .success();
    let outcome = live.finish();
    assert_eq!(outcome.finished.stdout, "b'hello'\n", "{}", outcome.finished.stderr);
    assert_eq!(listener.came(), 1);
    Ok(())
}
