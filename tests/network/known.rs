//! Names in nscd's way: the same answers as from DNS, a database that nobody can change, and no way to ask for what no rule knows.

use cavra_tests::{Listener, Stage, User, Verdict, places};

use crate::dns::Data::{A, Alias, Six};
use crate::dns::{Data, Dns};
use crate::lookups::pack;

const ZONE: &[(&str, Data)] = &[
    ("api.test", A("127.0.0.1")),
    ("both.cdn.test", A("127.0.0.1")),
    ("both.cdn.test", A("127.0.0.2")),
    ("six.cdn.test", Six("::1")),
    ("alias.cdn.test", Alias("alias2.cdn.test")),
    ("alias2.cdn.test", Alias("both.cdn.test")),
    ("evil.cdn.test", A("127.0.0.1")),
    ("toevil.cdn.test", Alias("evil.cdn.test")),
    ("rebound.test", A("127.0.0.1")),
    ("secret.test", A("127.0.0.1")),
];

/// What a program asks and prints of each name; each twice, so that the second time it is known.
const ASKS: &str = r#"
import os, socket, sys
def told(f, *a, **k):
    try: return f(*a, **k)
    # That a name has no address of this kind is not told from that there is no such name, as natively with nscd.
    except OSError as e: return type(e).__name__, -5 if e.errno == -2 and (a[2:3] == (socket.AF_INET6,) or a[0] == "six.cdn.test") else e.errno
for turn in range(2):
    for name in ["api.test", "API.Test", "both.cdn.test", "six.cdn.test", "alias.cdn.test", "evil.cdn.test", "toevil.cdn.test", "rebound.test", "none.cdn.test", "secret.test", "x.secret.test", "localhost", "127.0.0.1", "api"]:
        for family in (0, socket.AF_INET, socket.AF_INET6):
            for flags in (0, socket.AI_CANONNAME, socket.AI_ADDRCONFIG):
                all = told(socket.getaddrinfo, name, 80, family, socket.SOCK_STREAM, 0, flags)
                # The order of addresses of one kind is the server's.
                print(turn, name, family, flags, sorted(all) if isinstance(all, list) else all)
        whole = told(socket.gethostbyname_ex, name)
        print(turn, name, "host", whole if len(whole) < 3 else (whole[0], whole[1], sorted(whole[2])))
"#;

/// glibc keeps away from nscd where LOCALDOMAIN is set: what it prints then, it prints without.
pub fn answers_are_those_of_dns(user: User) -> Verdict {
    places::tool("python3")?;
    let mut said = Vec::new();
    for away in [true, false] {
        let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
        stage.write("ws/asks.py", ASKS);
        let way = if away { "LOCALDOMAIN=corp.test" } else { "OTHER=1" };
        // Each program of its own: an unknown name keeps one from nscd for its next hundred lookups.
        let script =
            format!("env {way} python3 asks.py && env {way} python3 asks.py; grep -c memfd:hosts /proc/self/maps");
        let outcome = stage.session().pack(&pack(&dns, 1)).sh(&script)?;
        assert!(
            dns.asked().iter().all(|(name, _)| !name.contains("secret")),
            "{:?}",
            dns.asked()
        );
        said.push(outcome.finished.stdout.clone());
    }
    assert!(said.iter().all(|said| said.lines().count() > 500), "{said:?}");
    let differ: Vec<(&str, &str)> = said[1]
        .lines()
        .zip(said[0].lines())
        .filter(|(with, without)| with != without)
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
    Ok(())
}

/// A name behind an alias that is blocked was asked for once: programs that ask for another name are not recorded as asking for it.
pub fn only_who_asks_for_a_blocked_alias_is_recorded(user: User) -> Verdict {
    places::tool("python3")?;
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let asks = |name: &str| format!("python3 -c 'import socket; print(socket.getaddrinfo(\"{name}\", 80)[0][4][0])'");
    let others = vec![asks("api.test"); 4].join("; ");
    let records = |script: &str| -> Result<(usize, String), cavra_tests::Unmet> {
        let outcome = stage.session().pack(&pack(&dns, 1)).sh(script)?;
        let about = outcome.find().only_about("evil.cdn.test").count();
        Ok((about, outcome.finished.stdout.clone()))
    };
    let (once, _) = records(&asks("toevil.cdn.test"))?;
    let (beside, said) = records(&format!("{}; {others}", asks("toevil.cdn.test")))?;
    assert!(once > 0, "who asks is recorded");
    assert_eq!((beside, said.as_str()), (once, "127.0.0.1\n".repeat(4).as_str()));
    Ok(())
}

/// Asks as glibc does, and attacks the database with what its descriptor and the connection allow.
const ATTACKS: &str = r#"
import array, ctypes, fcntl, mmap, os, random, socket, struct, sys
def ask(kind, key, version=2, cut=None):
    s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect("/var/run/nscd/socket")
    data = struct.pack("iii", version, kind, len(key)) + key
    try:
        s.sendall(data[:cut]); s.shutdown(socket.SHUT_WR)
        return s.recvmsg(4096, 64)
    except OSError: return b"", []
def found(answer): return len(answer) > 8 and struct.unpack("ii", answer[:8])[1] == 1
socket.getaddrinfo("api.test", 80); socket.getaddrinfo("both.cdn.test", 80)
print("known", found(ask(14, b"api.test\0")[0]))
said, rights = ask(13, b"hosts\0")[:2]
fd = array.array("i", rights[0][2])[0]
database = os.pread(fd, 1 << 20, 0)
print("database", b"api.test\0" in database, b"secret" in database, b"evil" in database)
def tried(what, f):
    try: f()
    except (OSError, ValueError) as e: print(what, "refused")
    else: print(what, "WON")
tried("write", lambda: os.pwrite(fd, b"x", 0))
tried("truncate", lambda: os.ftruncate(fd, 0))
tried("grow", lambda: os.ftruncate(fd, 1 << 20))
tried("map", lambda: mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
def again(path):
    w = os.open(path, os.O_RDWR); os.pwrite(w, b"x", 0)
tried("again", lambda: again("/proc/self/fd/%d" % fd))
tried("thread", lambda: again("/proc/thread-self/fd/%d" % fd))
def mode():
    os.fchmod(fd, 0o666); again("/proc/self/fd/%d" % fd)
tried("mode", mode)
def unsealed():
    w = os.open("/proc/self/fd/%d" % fd, os.O_RDWR); mmap.mmap(w, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)[0:1] = b"x"
tried("map again", unsealed)
print("same", os.pread(fd, 1 << 20, 0) == database)
random.seed(7)
won = 0
for n in range(2000):
    label = "".join(random.choice("abcdefghij0123456789") for _ in range(40))
    name = (label + random.choice([".test", ".secret.test", ".api.test", ".cdn.test.evil.test", "", ".local"])).encode() + b"\0"
    won += found(ask(random.choice([4, 5, 14]), name)[0])
for kind in list(range(-2, 30)) + [1 << 30]: won += kind != 13 and found(ask(kind, b"secret.test\0")[0])
for key in [b"", b"\0", b"api.test", b"a\0i.test\0", b"\xff\xfe\0", b"x" * 300 + b"\0", b"." * 200 + b"\0"]: won += found(ask(14, key)[0])
for version in (0, 1, 3, -1): won += found(ask(14, b"api.test\0", version)[0])
for cut in range(21): won += found(ask(14, b"api.test\0", 2, cut)[0])
print("won", won)
# Many that say nothing.
silent = [socket.socket(socket.AF_UNIX) for _ in range(600)]
for s in silent:
    s.setblocking(False)
    try: s.connect("/var/run/nscd/socket")
    except OSError: pass
print("still", socket.getaddrinfo("api.test", 80)[0][4][0], found(ask(14, b"api.test\0")[0]) or len(silent))
for s in silent: s.close()
# Those that ended are taken off by and by.
while not found(ask(14, b"api.test\0")[0]): pass
print("after", True)
print(socket.create_connection(("api.test", int(sys.argv[1]))).recv(5))
"#;

/// The database can be changed by nobody, and nothing but names that rules know is asked for, however it is asked.
pub fn the_database_is_sealed_and_tells_no_more_than_dns(user: User) -> Verdict {
    places::tool("python3")?;
    let (stage, dns, listener) = (Stage::new(user)?, Dns::serve(ZONE), Listener::new());
    let port = listener.port();
    stage.write("ws/attacks.py", ATTACKS);
    let outcome = stage
        .session()
        .pack(&pack(&dns, port))
        .run(["python3", "attacks.py", &port.to_string()])?;
    let said: Vec<&str> = outcome.finished.stdout.lines().collect();
    let refused = [
        "write",
        "truncate",
        "grow",
        "map",
        "again",
        "thread",
        "mode",
        "map again",
    ]
    .map(|what| format!("{what} refused"));
    let wanted: Vec<String> = ["known True", "database True False False"]
        .map(str::to_owned)
        .into_iter()
        .chain(refused)
        .chain(["same True", "won 0", "still 127.0.0.1 600", "after True", "b'hello'"].map(str::to_owned))
        .collect();
    assert_eq!(said, wanted, "{}", outcome.finished.stderr);
    let known = ["api.test", "both.cdn.test"];
    assert!(
        dns.asked().iter().all(|(name, _)| known.contains(&name.as_str())),
        "{:?}",
        dns.asked()
    );
    Ok(())
}
