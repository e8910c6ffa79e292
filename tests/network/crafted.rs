//! Hellos and requests that no usual client sends: what could mean another name to the server than to whoever reads it on the way.

use crate::wire::Row;

/// Sends a hello of Python's own with other extensions, and says what came back.
pub const CRAFT: &str = r#"
import socket, ssl, sys
def vec(n, data): return len(data).to_bytes(n, "big") + data
def ext(kind, data): return kind.to_bytes(2, "big") + vec(2, data)
def sni(*names, kind=0): return ext(0, vec(2, b"".join(bytes([kind]) + vec(2, name.encode()) for name in names)))
out = ssl.MemoryBIO()
tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="api.test")
try: tls.do_handshake()
except ssl.SSLWantReadError: pass
hello = out.read()[9:]
at = 34
at += 1 + hello[at]
at += 2 + int.from_bytes(hello[at:at + 2], "big")
at += 1 + hello[at]
rest, others = hello[at + 2:], b""
while rest:
    size = 4 + int.from_bytes(rest[2:4], "big")
    if rest[:2] != b"\0\0": others += rest[:size]
    rest = rest[size:]
s = socket.create_connection(("api.test", int(sys.argv[2])))
s.sendall(b"\x16\3\1" + vec(2, b"\1" + vec(3, hello[:at] + vec(2, eval(sys.argv[1])))))
got = s.recv(7)
print("alert %d" % got[6] if got[0] == 21 else "answered" if got[0] == 22 else got)
"#;

/// Resumes a session of TLS 1.2 by its ticket, with another name in the hello.
pub const TICKET: &str = r#"
import socket, ssl, sys
c = ssl.create_default_context(cafile="cert.pem"); c.maximum_version = ssl.TLSVersion.TLSv1_2
def get(name, session=None):
    s = c.wrap_socket(socket.create_connection(("api.test", int(sys.argv[1]))), server_hostname=name, session=session)
    s.sendall(b"GET / HTTP/1.1\r\n\r\n"); body = s.recv(4096).decode().split("\r\n\r\n")[1].strip()
    return s, body
first, body = get("api.test"); print(body)
again, body = get("api.test", first.session); print(body, again.session_reused)
try: print(get("other.test", first.session)[1])
except (ssl.SSLError, OSError): print("refused")
"#;

const ENCRYPTED: Option<&str> = Some("a part of the hello is encrypted (ECH)");
const NOT_ONE: Option<&str> = Some("a server_name that is not one host's name");
const NO_NAME: Option<&str> = Some("a server_name that is no host's name");
const ANOTHER: Option<&str> = Some("the connection is to api.test:%T and means other.test");

/// As [`crate::wire::ROWS`].
pub const ROWS: &[Row] = &[
    (
        "grease among the extensions",
        r#"python3 craft.py 'ext(0x2a2a, b"") + sni("api.test") + others + ext(0x6a6a, b"\0")' %T"#,
        "answered\n",
        None,
    ),
    (
        "an encrypted hello inside one for an allowed name",
        r#"python3 craft.py 'sni("api.test") + others + ext(0xfe0d, bytes([0, 0, 1, 0, 1, 7]) + vec(2, bytes(32)) + vec(2, bytes(208)))' %T"#,
        "alert 49\n",
        ENCRYPTED,
    ),
    (
        "the grease of an encrypted hello",
        r#"python3 craft.py 'ext(0xfe0d, __import__("os").urandom(186)) + sni("api.test") + others' %T"#,
        "alert 49\n",
        ENCRYPTED,
    ),
    (
        "an encrypted name of the drafts",
        r#"python3 craft.py 'sni("api.test") + ext(0xffce, bytes(300)) + others' %T"#,
        "alert 49\n",
        ENCRYPTED,
    ),
    (
        "two names in one extension",
        r#"python3 craft.py 'sni("api.test", "other.test") + others' %T"#,
        "alert 49\n",
        NOT_ONE,
    ),
    (
        "the allowed name twice",
        r#"python3 craft.py 'sni("api.test", "api.test") + others' %T"#,
        "alert 49\n",
        NOT_ONE,
    ),
    (
        "two extensions with a name each",
        r#"python3 craft.py 'sni("api.test") + others + sni("other.test")' %T"#,
        "alert 49\n",
        Some("two server_name extensions"),
    ),
    (
        "a name of another kind",
        r#"python3 craft.py 'sni("api.test", kind=1) + others' %T"#,
        "alert 49\n",
        NOT_ONE,
    ),
    (
        "a name with a NUL byte",
        r#"python3 craft.py 'sni("api.test\0.other.test") + others' %T"#,
        "alert 49\n",
        NO_NAME,
    ),
    (
        "an empty name",
        r#"python3 craft.py 'sni("") + others' %T"#,
        "alert 49\n",
        NO_NAME,
    ),
    (
        "the allowed name in capitals with a dot in the hello",
        r#"python3 craft.py 'sni("API.Test.") + others' %T"#,
        "answered\n",
        None,
    ),
    (
        "another name with a dot in the hello",
        r#"python3 craft.py 'sni("other.test.") + others' %T"#,
        "alert 49\n",
        ANOTHER,
    ),
    (
        "a name below the allowed one",
        r#"python3 craft.py 'sni("x.api.test") + others' %T"#,
        "alert 49\n",
        Some("the connection is to api.test:%T and means x.api.test"),
    ),
    (
        "no name, by leaving out the extension",
        "python3 craft.py others %T",
        "alert 49\n",
        Some("the hello names no host"),
    ),
    (
        "a ticket of TLS 1.2 under another name",
        "python3 ticket.py %T",
        "sni=api.test\nsni=api.test True\nrefused\n",
        ANOTHER,
    ),
    // Inside TLS the supervisor reads nothing: docs/network.md says so.
    (
        "another host inside TLS is between the two ends",
        "curl -sS --cacert cert.pem -H 'Host: other.test' https://api.test:%T/",
        "sni=api.test\n",
        None,
    ),
    (
        "an absolute target",
        r"printf 'GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\nConnection: close\r\n\r\n' | python3 raw.py plain.test %P | tail -1",
        "host=plain.test\n",
        None,
    ),
    (
        "an absolute target at another host than the header's",
        r"printf 'GET http://other.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n' | python3 raw.py plain.test %P | head -1",
        "HTTP/1.1 403 Forbidden\r\n",
        Some("two hosts"),
    ),
    (
        "an absolute target at another host",
        r"printf 'GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n' | python3 raw.py plain.test %P | head -1",
        "HTTP/1.1 403 Forbidden\r\n",
        Some("the connection is to plain.test:%P and means other.test"),
    ),
    (
        "an absolute target with a user before the host",
        r"printf 'GET http://plain.test@other.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n' | python3 raw.py plain.test %P | head -1",
        "HTTP/1.1 403 Forbidden\r\n",
        Some(""),
    ),
    (
        "no host",
        r"printf 'GET / HTTP/1.0\r\n\r\n' | python3 raw.py plain.test %P | head -1",
        "HTTP/1.1 403 Forbidden\r\n",
        Some("no host"),
    ),
    (
        "the host in capitals, with a dot and its port",
        r"printf 'GET / HTTP/1.1\r\nHost: PLAIN.test.:%P\r\nConnection: close\r\n\r\n' | python3 raw.py plain.test %P | tail -1",
        "host=PLAIN.test.\n",
        None,
    ),
    (
        "HTTP/2 with prior knowledge",
        r"curl -sS --max-time 20 --http2-prior-knowledge http://plain.test:%P/ >/dev/null 2>&1; [ $? != 0 ] && echo refused",
        "refused\n",
        Some("no request of HTTP/1"),
    ),
    (
        "an upgrade to HTTP/2",
        r"printf 'GET / HTTP/1.1\r\nHost: plain.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n' | python3 raw.py plain.test %P | head -1",
        "HTTP/1.1 403 Forbidden\r\n",
        Some("an upgrade to another protocol than websocket"),
    ),
    (
        "busybox wget",
        "busybox wget -q -O - http://plain.test:%P/; busybox wget -q -O - http://other.test:%P/ 2>/dev/null || echo refused",
        "host=plain.test\nrefused\n",
        None,
    ),
    (
        "static busybox wget",
        "./busybox-static wget -q -O - http://plain.test:%P/; ./busybox-static wget -q -O - http://other.test:%P/ 2>/dev/null || echo refused",
        "host=plain.test\nrefused\n",
        None,
    ),
    (
        "a program of musl over HTTP",
        "./get plain.test %P; ./get other.test %P 2>/dev/null || echo refused",
        "host=plain.test\nrefused\n",
        None,
    ),
];

/// Asks for `/` and prints the last line of the answer.
pub const GET: &str = r#"#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int n, char **v) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *r;
    char b[4096] = "";
    int e = getaddrinfo(v[1], v[2], &hints, &r), len = 0, s;
    if (e) return fprintf(stderr, "%s\n", gai_strerror(e)), 1;
    if ((s = socket(r->ai_family, SOCK_STREAM, 0)) < 0 || connect(s, r->ai_addr, r->ai_addrlen)) return perror("connect"), 2;
    dprintf(s, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", v[1]);
    while ((n = read(s, b + len, sizeof b - 1 - len)) > 0) len += n;
    char *body = strstr(b, "\r\n\r\n");
    return body ? fputs(body + 4, stdout) < 0 : 3;
}
"#;
