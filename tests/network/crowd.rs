//! Two thousand carried connections at once: what they cost the supervisor, and how their sides close.

use std::io::BufRead;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cavra_tests::{Stage, User, Verdict, places, skip};

use crate::dns::Data::A;
use crate::dns::{Data, Dns};

const ZONE: &[(&str, Data)] = &[("api.test", A("127.0.0.1"))];

/// Answers a hello with one of its own and holds the connection. `w` makes it end its side first, and count what still comes; at the other's end it says
/// one byte more. Prints its port, and at the end how many of each kind it saw whole.
const SERVER: &str = r#"
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
ends = {"theirs": 0, "ours": 0}
# Whether it asks for a second hello is read off it before more of the client's goes on.
hello = b"\x16\3\3\0\x2c\2\0\0\x28\3\3" + bytes(32) + b"\0\x13\1\0\0\0"
async def serve(reader, writer):
    try:
        await reader.readuntil(b"api.test"); writer.write(hello)
        data = b""
        while not data.endswith(b"w"):
            more = await reader.read(4096)
            if not more: break
            data += more
        if data.endswith(b"w"):
            writer.write_eof()
            if len(await reader.read(-1)) == 1000: ends["ours"] += 1
        else:
            writer.write(b"y"); await writer.drain(); ends["theirs"] += 1
        writer.close()
    except OSError: pass
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(ends["theirs"], ends["ours"], flush=True)
    import os; os._exit(0)
asyncio.run(main())
"#;

const CLIENT: &str = r#"
import os, resource, socket, ssl, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
def status(pid, key): return next(int(l.split()[1]) for l in open("/proc/%d/status" % pid) if l.startswith(key))
top = status(os.getppid(), "PPid")
out = ssl.MemoryBIO()
c = ssl.create_default_context(); c.maximum_version = ssl.TLSVersion.TLSv1_2
try: c.wrap_bio(ssl.MemoryBIO(), out, server_hostname="api.test").do_handshake()
except ssl.SSLWantReadError: hello = out.read()
socket.getaddrinfo("api.test", 1)
def one():
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); s.sendall(hello); assert len(s.recv(49, socket.MSG_WAITALL)) == 49; return s
held = [one()]; before = status(top, "VmRSS")
held += [one() for _ in range(1000)]; thousand = status(top, "VmRSS") - before
held += [one() for _ in range(999)]
print("held", len(held), thousand, flush=True)
# Half of them end their side first, and are told one byte more.
for s in held[::2]: s.shutdown(socket.SHUT_WR)
told = sum(s.recv(9) == b"y" and s.recv(9) == b"" for s in held[::2])
# The other half is ended by the server, and goes on sending.
for s in held[1::2]: s.sendall(b"w")
ended = sum(s.recv(9) == b"" for s in held[1::2])
for s in held[1::2]: s.sendall(b"x" * 1000)
for s in held: s.close()
print(told, ended)
"#;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// 2 000 are held, 1 000 of them within 30 MB, and each half-open side is closed as the other end did it.
pub fn two_thousand_connections_are_carried_and_closed_side_by_side(user: User) -> Verdict {
    use nix::sys::resource::{Resource, getrlimit};
    places::tool("python3")?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if most < 4500 {
        return skip(format!(
            "2 000 connections need 4 500 descriptors, and {most} may be had"
        ));
    }
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let mut server = Server(
        Command::new("python3")
            .args(["-c", SERVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = std::io::BufReader::new(server.0.stdout.take().unwrap()).lines();
    let port = lines.next().unwrap().unwrap();
    let pack = format!(
        "metadata: {{id: crowd}}
filesystem: {{default_read: allow, default_write: allow}}
commands: {{default: allow}}
network:
  default: block
  resolver: {}
  allow: [{{to: \"api.test:{port}\", verify: tls, addresses: 127.0.0.0/8}}]
",
        dns.address
    );
    stage.write("ws/client.py", CLIENT);
    let outcome =
        stage
            .session()
            .pack(&pack)
            .deadline(Duration::from_secs(300))
            .run(["python3", "client.py", &port])?;
    let said: Vec<&str> = outcome.finished.stdout.lines().collect();
    assert_eq!(said.len(), 2, "{said:?} {}", outcome.finished.stderr);
    let grown: u64 = said[0].strip_prefix("held 2000 ").unwrap().parse().unwrap();
    assert!(grown < 30_000, "{grown} kB for 1 000 connections");
    assert_eq!(said[1], "1000 1000");
    drop(server.0.stdin.take());
    assert_eq!(lines.next().unwrap().unwrap(), "1000 1000");
    let ended = outcome
        .records
        .iter()
        .filter(|record| record["rule_id"] == "boundary.connection.end")
        .count();
    assert_eq!(ended, 2000);
    Ok(())
}
