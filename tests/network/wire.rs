//! Names proved on the wire: TLS and plain HTTP servers of the test's own, and clients that mean another name.

use cavra_tests::{Case, Stage, Unmet, User, Verdict, places, skip};

use crate::crafted;
use crate::dns::Data::A;
use crate::dns::{Data, Dns};

const ZONE: &[(&str, Data)] = &[
    ("api.test", A("127.0.0.1")),
    ("b.test", A("127.0.0.1")),
    ("plain.test", A("127.0.0.1")),
];

/// A TLS server and an HTTP server on free ports; each says which name it was asked for. It prints its ports, and ends with its input.
const SERVERS: &str = r#"
import ssl, socket, sys, threading, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = ("host=%s\n" % self.headers["Host"].split(":")[0]).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *a): pass
plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=plain.serve_forever, daemon=True).start()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("cert.pem", "cert.key")
# Clients offer another share first: a second hello is asked for.
context.set_ecdh_curve("secp384r1")
names = {}
context.sni_callback = lambda s, name, c: names.__setitem__(s, name)
server = socket.create_server(("127.0.0.1", 0), backlog=1200)
def tls(c):
    try: s = context.wrap_socket(c, server_side=True)
    except Exception: return
    try:
        data = s.recv(65536)
        if data.startswith(b"SIZE"):
            n = int(data.split()[1])
            while n > 0: n -= s.send(b"x" * min(n, 1 << 16))
            s.unwrap(); return
        if data.startswith(b"COUNT"):
            n = len(data)
            while n < int(data.split()[1]): n += len(s.recv(1 << 16))
            s.sendall(b"%d\n" % n); return
        body = ("sni=%s\n" % names.get(s)).encode()
        s.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        s.unwrap()
    except Exception as e: pass
    finally:
        names.pop(s, None); s.close()
def accept():
    while True:
        c, _ = server.accept(); threading.Thread(target=tls, args=(c,), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
print(server.getsockname()[1], plain.server_port, flush=True)
sys.stdin.read()
"#;

pub struct Servers {
    child: std::process::Child,
    pub tls: u16,
    pub plain: u16,
    pub dns: Dns,
}

impl Servers {
    pub fn start(stage: &Stage) -> Result<Self, Unmet> {
        use std::io::BufRead;
        let openssl = places::tool("openssl")?;
        places::tool("python3")?;
        let made = std::process::Command::new(openssl)
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "cert.key", "-out", "cert.pem", "-days",
                "2",
            ])
            .args([
                "-subj",
                "/CN=api.test",
                "-addext",
                "subjectAltName=DNS:api.test,DNS:b.test,DNS:other.test",
            ])
            .current_dir(stage.workspace())
            .output()
            .unwrap();
        assert!(made.status.success());
        let mut child = std::process::Command::new("python3")
            .args(["-c", SERVERS])
            .current_dir(stage.workspace())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            // Clients that are cut off make it complain.
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        stage.own(&stage.at("ws/cert.pem"));
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ports: Vec<u16> = line
            .split_ascii_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        Ok(Self {
            child,
            tls: ports[0],
            plain: ports[1],
            dns: Dns::serve(ZONE),
        })
    }

    pub fn pack(&self) -> String {
        format!(
            "metadata: {{id: wire}}
filesystem: {{default_read: allow, default_write: allow}}
commands: {{default: allow}}
network:
  default: block
  resolver: {}
  allow:
    - {{to: \"api.test:{}\", verify: tls, addresses: 127.0.0.0/8}}
    - {{to: \"b.test:1\", addresses: 127.0.0.0/8}}
    - {{to: \"plain.test:{}\", verify: http, addresses: 127.0.0.0/8}}
",
            self.dns.address, self.tls, self.plain
        )
    }

    pub fn line(&self, line: &str) -> String {
        line.replace("%T", &self.tls.to_string())
            .replace("%P", &self.plain.to_string())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What it is, what a client does, what it prints, and the reason's beginning where the connection is refused.
pub type Row = (&'static str, &'static str, &'static str, Option<&'static str>);

const ROWS: &[Row] = &[
    (
        "curl over TLS",
        "curl -sS --cacert cert.pem https://api.test:%T/",
        "sni=api.test\n",
        None,
    ),
    (
        "TLS 1.2",
        "curl -sS --tls-max 1.2 --cacert cert.pem https://api.test:%T/",
        "sni=api.test\n",
        None,
    ),
    (
        "a name in capitals with a dot",
        "curl -sS --cacert cert.pem https://API.test.:%T/",
        "sni=api.test\n",
        None,
    ),
    (
        "a share that the server takes at once",
        "curl -sS --curves P-384 --cacert cert.pem https://api.test:%T/",
        "sni=api.test\n",
        None,
    ),
    (
        "a second hello for another name",
        "python3 twice.py other.test %T",
        "cut off\n",
        Some("a second hello that does not mean the name of the first"),
    ),
    (
        "node over TLS",
        "NODE_EXTRA_CA_CERTS=cert.pem node -e 'require(\"https\").get(\"https://api.test:%T/\", r => r.pipe(process.stdout))'",
        "sni=api.test\n",
        None,
    ),
    (
        "python over TLS",
        "python3 -c 'import urllib.request as u, ssl; print(u.urlopen(\"https://api.test:%T/\", context=ssl.create_default_context(cafile=\"cert.pem\")).read().decode(), end=\"\")'",
        "sni=api.test\n",
        None,
    ),
    (
        "another name at the address",
        "curl -sS --cacert cert.pem --connect-to other.test:%T:api.test:%T https://other.test:%T/",
        "",
        Some("the connection is to api.test:%T and means other.test"),
    ),
    (
        "a name that is allowed elsewhere",
        "curl -sS --cacert cert.pem --connect-to b.test:%T:api.test:%T https://b.test:%T/",
        "",
        Some("the connection is to api.test:%T and means b.test"),
    ),
    (
        "no name",
        "printf 'x\\n' | openssl s_client -quiet -noservername -connect api.test:%T 2>/dev/null",
        "",
        Some("the hello names no host"),
    ),
    (
        "no TLS",
        "curl -sS --max-time 20 http://api.test:%T/",
        "",
        Some("no TLS, where TLS is to prove the name"),
    ),
    (
        "a hello byte by byte",
        "python3 slow.py api.test %T",
        "sni=api.test\n",
        None,
    ),
    (
        "a hello byte by byte, with another name",
        "python3 slow.py other.test %T",
        "",
        Some("the connection is to api.test:%T and means other.test"),
    ),
    (
        "plain HTTP, twice on one connection",
        "curl -sS http://plain.test:%P/ http://plain.test:%P/",
        "host=plain.test\nhost=plain.test\n",
        None,
    ),
    (
        "plain HTTP with a body",
        "head -c 300000 /dev/zero | curl -sS -H 'Expect:' --data-binary @- http://plain.test:%P/",
        "host=plain.test\n",
        None,
    ),
    (
        "plain HTTP for another host",
        "curl -sS -o out -w '%{http_code}\\n' -H 'Host: other.test' http://plain.test:%P/",
        "403\n",
        Some("the connection is to plain.test:%P and means other.test"),
    ),
    (
        "another host in the second request",
        "printf 'GET / HTTP/1.1\\r\\nHost: plain.test\\r\\n\\r\\nGET /2 HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n' | python3 raw.py plain.test %P | grep -c host=other",
        "0\n",
        Some("the connection is to plain.test:%P and means other.test"),
    ),
    (
        "two hosts in one request",
        "printf 'GET / HTTP/1.1\\r\\nHost: plain.test\\r\\nHost: other.test\\r\\n\\r\\n' | python3 raw.py plain.test %P | head -1",
        "HTTP/1.1 403 Forbidden\r\n",
        Some("two hosts"),
    ),
    (
        "a tunnel",
        "curl -sS -p -x http://plain.test:%P http://other.test/ 2>/dev/null; echo $?",
        "56\n",
        Some("no request of HTTP/1"),
    ),
    (
        "nobody listens",
        "curl -sS https://b.test:1/ 2>&1 | grep -c 'refused\\|connect to'",
        "1\n",
        None,
    ),
    (
        "a socket of IPv6",
        "getent hosts api.test > out; python3 six.py %T",
        "sni=api.test\n",
        None,
    ),
    (
        "asked again while it connects",
        "python3 again.py %T",
        "connected\nEISCONN\n",
        None,
    ),
    (
        "64 MB there and back",
        "python3 bulk.py %T",
        "67108864\n67108864\n",
        None,
    ),
    (
        "half-closed",
        "printf 'GET / HTTP/1.1\\r\\nHost: plain.test\\r\\nConnection: close\\r\\n\\r\\n' | python3 raw.py plain.test %P | tail -1",
        "host=plain.test\n",
        None,
    ),
];

const SLOW: &str = r#"
import ssl, socket, sys, time
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
context = ssl.create_default_context(cafile="cert.pem")
tls = context.wrap_bio(incoming, outgoing, server_hostname=sys.argv[1])
s = socket.create_connection(("api.test", int(sys.argv[2])))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
def step(f, first=[True]):
    while True:
        try: return f()
        except ssl.SSLWantReadError:
            data = outgoing.read()
            if first[0]:
                first[0] = False
                # The hello in records of one byte each, each byte in a segment of its own.
                size = int.from_bytes(data[3:5], "big")
                data = b"".join(b"\x16\x03\x01\0\1" + data[5 + i:6 + i] for i in range(size)) + data[5 + size:]
                for i in range(len(data)): s.send(data[i:i + 1])
            else: s.sendall(data)
            got = s.recv(65536)
            if not got: sys.exit(1)
            incoming.write(got)
try:
    step(tls.do_handshake); tls.write(b"GET / HTTP/1.1\r\n\r\n")
    print(step(lambda: tls.read(4096)).decode().split("\r\n\r\n")[1], end="")
except ssl.SSLError as e: print(e, file=sys.stderr)
"#;
const RAW: &str = r#"
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(sys.stdin.buffer.read()); s.shutdown(socket.SHUT_WR)
try:
    while True:
        d = s.recv(65536)
        if not d: break
        sys.stdout.buffer.write(d)
except OSError: pass
"#;
const BULK: &str = r#"
import ssl, socket, sys
context = ssl.create_default_context(cafile="cert.pem")
def open(): return context.wrap_socket(socket.create_connection(("api.test", int(sys.argv[1]))), server_hostname="api.test")
s = open(); s.sendall(b"SIZE 67108864"); n = 0
while True:
    d = s.recv(1 << 16)
    if not d: break
    n += len(d)
print(n)
s = open(); s.sendall(b"COUNT 67108864 "); left = 67108864 - 15
while left > 0: left -= s.send(b"y" * min(left, 1 << 16))
print(s.recv(100).decode(), end="")
"#;

const SIX: &str = r#"
import ssl, socket, sys
s = socket.socket(socket.AF_INET6); s.connect(("::ffff:127.0.0.1", int(sys.argv[1])))
t = ssl.create_default_context(cafile="cert.pem").wrap_socket(s, server_hostname="api.test")
t.sendall(b"GET / HTTP/1.1\r\n\r\n"); print(t.recv(4096).decode().split("\r\n\r\n")[1], end="")
"#;
const TWICE: &str = r#"
import ssl, socket, sys
def hello(name):
    out = ssl.MemoryBIO(); tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try: tls.do_handshake()
    except ssl.SSLWantReadError: return out.read()
s = socket.create_connection(("api.test", int(sys.argv[2])))
s.sendall(hello("api.test")); got = s.recv(43)
# The server asks for a second hello.
assert got[11:15] == bytes.fromhex("cf21ad74"), got
try:
    s.sendall(b"\x14\3\3\0\1\1" + hello(sys.argv[1]))
    while s.recv(4096): pass
    print("ended")
except ConnectionResetError: print("cut off")
"#;
const AGAIN: &str = r#"
import errno, select, socket, sys
socket.getaddrinfo("api.test", 1)
s = socket.socket(); s.setblocking(False); to = ("127.0.0.1", int(sys.argv[1]))
first = s.connect_ex(to); assert first in (0, errno.EINPROGRESS), first
select.select([], [s], []); assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
second = s.connect_ex(to); assert second in (0, errno.EISCONN), second
print("connected"); print(errno.errorcode[s.connect_ex(to)])
"#;

/// One case a row.
pub fn rows() -> Vec<Case> {
    let case = |(name, line, wanted, refused): &'static Row| {
        Case::new(format!("on the wire: {name}"), move |user| {
            row(user, line, wanted, *refused)
        })
    };
    ROWS.iter().chain(crafted::ROWS).map(case).collect()
}

/// Programs that a row's line runs and the machine does not have in PATH.
fn provide(stage: &Stage, line: &str) -> Verdict {
    if line.starts_with("busybox ") {
        places::tool("busybox")?;
    }
    if line.starts_with("./busybox-static ") {
        let file = places::target().join("tools/busybox-static/bin/busybox");
        let Ok(bytes) = std::fs::read(&file) else {
            return skip(format!("{} is not there: run scripts/setup.sh", file.display()));
        };
        stage.script("ws/busybox-static", bytes);
    }
    if line.starts_with("./get ") {
        let (compiler, source) = (places::tool("musl-gcc")?, stage.write("ws/get.c", crafted::GET));
        let mut command = std::process::Command::new(compiler);
        command
            .args(["-O1", "-static", "-o"])
            .arg(stage.at("ws/get"))
            .arg(source);
        assert!(command.status().unwrap().success(), "musl-gcc");
        stage.own(&stage.at("ws/get"));
    }
    Ok(())
}

fn row(user: User, line: &str, wanted: &str, refused: Option<&str>) -> Verdict {
    let stage = Stage::new(user)?;
    for (name, text) in [
        ("slow.py", SLOW),
        ("raw.py", RAW),
        ("bulk.py", BULK),
        ("six.py", SIX),
        ("again.py", AGAIN),
        ("twice.py", TWICE),
        ("craft.py", crafted::CRAFT),
        ("ticket.py", crafted::TICKET),
    ] {
        stage.write(format!("ws/{name}"), text);
    }
    provide(&stage, line)?;
    let servers = Servers::start(&stage)?;
    let outcome = stage.session().pack(&servers.pack()).sh(&servers.line(line))?;
    assert_eq!(outcome.finished.stdout, wanted, "{}", outcome.finished.stderr);
    assert!(
        !outcome.finished.stderr.contains("ERROR"),
        "{}",
        outcome.finished.stderr
    );
    let begins = refused.map(|text| servers.line(text));
    let reasons: Vec<&str> = outcome
        .records
        .iter()
        .filter(|record| record["rule_id"] == "boundary.name.block")
        .filter_map(|record| record["reason"].as_str())
        .collect();
    match begins {
        None => assert!(reasons.is_empty(), "{reasons:?}"),
        Some(begins) => assert!(
            reasons.iter().any(|reason| reason.starts_with(&begins)),
            "{begins}: {reasons:?}"
        ),
    }
    Ok(())
}
