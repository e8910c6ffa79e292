//! Upstream servers that are asked over TLS and HTTPS, of the test's own.

use std::process::{Child, Command, Stdio};

use cavra_tests::{Stage, Unmet, User, Verdict, places};

/// A server of DNS over TLS and one of DNS over HTTPS: every name is at 127.0.0.1. Prints its ports, and each question's name to `asked`.
const SERVERS: &str = r#"
import socket, ssl, struct, sys, threading
def answer(q):
    labels, at = [], 12
    while q[at]: labels.append(q[at + 1:at + 1 + q[at]].decode()); at += q[at] + 1
    with open("asked", "a") as f: f.write(way.name + " " + ".".join(labels) + "\n")
    kind = q[at + 2]; question = q[12:at + 5]
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"
    return q[:2] + b"\x81\x80\0\1" + (b"\0\1" if kind == 1 else b"\0\0") + b"\0\0\0\0" + question + (record if kind == 1 else b"")
way = threading.local()
def dot(s):
    way.name = "dot"
    n, = struct.unpack(">H", s.recv(2)); a = answer(s.recv(n)); s.sendall(struct.pack(">H", len(a)) + a)
def doh(s, chunked):
    way.name = "doh"; d = b""
    while b"\r\n\r\n" not in d: d += s.recv(4096)
    head, body = d.split(b"\r\n\r\n", 1); size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert head.startswith(b"POST /q HTTP/1.1\r\nHost: dns.test\r\n"), head
    while len(body) < size: body += s.recv(4096)
    a = answer(body)
    if chunked: s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % 5 + a[:5] + b"\r\n%x\r\n" % (len(a) - 5) + a[5:] + b"\r\n0\r\n\r\n")
    else: s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: %d\r\n\r\n" % len(a) + a)
def serve(handle):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain("cert.pem", "cert.key")
    l = socket.create_server(("127.0.0.1", 0))
    def one(s):
        try: t = c.wrap_socket(s, server_side=True); handle(t); t.unwrap()
        except Exception as e: print(repr(e), file=sys.stderr)
    def loop():
        while True: threading.Thread(target=one, args=(l.accept()[0],), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start(); return l.getsockname()[1]
print(serve(dot), serve(lambda s: doh(s, False)), serve(lambda s: doh(s, True)), flush=True); sys.stdin.read()
"#;

struct Servers(Child, Vec<u16>);

impl Servers {
    fn start(stage: &Stage) -> Result<Self, Unmet> {
        use std::io::BufRead;
        let openssl = places::tool("openssl")?;
        let made = Command::new(openssl)
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "cert.key", "-out", "cert.pem",
            ])
            .args([
                "-days",
                "2",
                "-subj",
                "/CN=dns.test",
                "-addext",
                "subjectAltName=DNS:dns.test,IP:127.0.0.1",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .current_dir(stage.workspace())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        stage.own(&stage.at("ws/cert.pem"));
        let mut child = Command::new("python3")
            .args(["-c", SERVERS])
            .current_dir(stage.workspace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ports = line
            .split_ascii_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        Ok(Self(child, ports))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Each way answers with the right certificate, and not at all with a name that it does not have.
pub fn servers_are_asked_over_tls_and_https(user: User) -> Verdict {
    let stage = Stage::new(user)?;
    let servers = Servers::start(&stage)?;
    let run = |resolver: &str| -> Result<String, Unmet> {
        let pack = format!(
            "metadata: {{id: dot}}\nfilesystem: {{default_read: allow, default_write: allow}}\ncommands: {{default: allow}}\n\
             network: {{default: block, resolver: \"{resolver}\", allow: [{{to: \"api.test:1\", addresses: 127.0.0.0/8}}]}}\n"
        );
        let session = stage
            .session()
            .pack(&pack)
            .env("SSL_CERT_FILE", stage.at("ws/cert.pem"));
        let outcome = session.sh("getent hosts api.test | awk '{print $1}'; getent hosts other.test; echo $?")?;
        Ok(outcome.finished.stdout)
    };
    for (index, (scheme, tail)) in [("tls", ""), ("https", "/q"), ("https", "/q")].into_iter().enumerate() {
        let port = servers.1[index];
        assert_eq!(
            run(&format!("{scheme}://127.0.0.1:{port}{tail}#dns.test"))?,
            "127.0.0.1\n2\n",
            "{scheme} {index}"
        );
        let asked = stage.read("ws/asked").unwrap_or_default();
        let way = if scheme == "tls" {
            "dot api.test\n"
        } else {
            "doh api.test\n"
        };
        assert!(asked.ends_with(way) && !asked.contains("other.test"), "{asked}");
    }
    // By its address, which the certificate has; and under a name that it has not.
    assert_eq!(run(&format!("tls://127.0.0.1:{}", servers.1[0]))?, "127.0.0.1\n2\n");
    let before = stage.read("ws/asked").unwrap_or_default();
    assert_eq!(run(&format!("tls://127.0.0.1:{}#bank.test", servers.1[0]))?, "2\n");
    assert_eq!(
        stage.read("ws/asked").unwrap_or_default(),
        before,
        "a question was asked of a stranger"
    );
    Ok(())
}
