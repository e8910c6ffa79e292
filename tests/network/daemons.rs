//! Daemons of the machine that answer for names (nscd, systemd-resolved, avahi): out of reach, so that libraries go on to the session's resolver.

use cavra_tests::{Stage, User, Verdict, places, skip};

use crate::dns::Data::A;
use crate::dns::{Data, Dns};
use crate::lookups::pack;

const ZONE: &[(&str, Data)] = &[("api.test", A("127.0.0.1"))];

/// Where a daemon listens or a client names it, and the error of connecting there.
const SOCKETS: &[(&str, &str)] = &[
    // The session's own resolver is there, and ends a connection that is no question.
    ("/run/nscd/socket", "ended"),
    ("/var/run/nscd/socket", "ended"),
    ("/run/systemd/resolve/io.systemd.Resolve", "ENOENT"),
    ("/run/systemd/resolve/io.systemd.Resolve.Monitor", "ENOENT"),
    ("/run/avahi-daemon/socket", "ENOENT"),
    ("/var/run/avahi-daemon/socket", "ENOENT"),
    ("/run/dbus/system_bus_socket", "EACCES"),
    ("/proc/self/root/run/nscd/socket", "ENOENT"),
    ("link", "ENOENT"),
    ("moved/nscd/socket", "ENOENT"),
];

/// Listens where those daemons do, in a /run of its own; runs the client natively and in the session, and says what came from each.
const MACHINE: &str = r#"
import os, socket, subprocess, sys, threading
text, link = open("/etc/resolv.conf").read(), os.path.realpath("/etc/resolv.conf")
if subprocess.run(["mount", "-t", "tmpfs", "own", "/run"]).returncode: sys.exit(77)
if link.startswith("/run/"): os.makedirs(os.path.dirname(link), exist_ok=True); open(link, "w").write(text)
came = []
def serve(l, path):
    while True:
        c, _ = l.accept(); said = c.recv(99)
        # cavra-run asks nscd who its user is: requests about hosts are GETHOSTBY... (4 to 7), GETFDHST and GETAI; nscd-client.h of glibc.
        if said == b"asks" or said[4:5] in (b"\4", b"\5", b"\6", b"\7", b"\x0d", b"\x0e"): came.append(path)
        if said == b"asks": c.sendall(b"x")
        c.close()
for path in filter(lambda p: p.startswith("/run/"), sys.argv[2].split()):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    l = socket.socket(socket.AF_UNIX); l.bind(path); os.chmod(path, 0o777); l.listen(99); threading.Thread(target=serve, args=(l, path), daemon=True).start()
# Another name of the folder in which one lies.
os.mkdir("moved"); subprocess.run(["mount", "--bind", "/run", "moved"], check=True)
client = [sys.executable, sys.argv[1], sys.argv[2]]
subprocess.run(client); print("natively came", len(came), len(set(came)), flush=True)
del came[:]
subprocess.run(sys.argv[3:] + client); print("from inside came", len(came), flush=True)
"#;
const CLIENT: &str = r#"
import errno, socket, sys
for path in sys.argv[1].split():
    s = socket.socket(socket.AF_UNIX)
    try: s.connect(path); s.sendall(b"asks"); print(path, "reached" if s.recv(1) else "ended")
    except OSError as e: print(path, errno.errorcode[e.errno])
try: print(*{a[4][0] for a in socket.getaddrinfo("api.test", 1)}, flush=True)
except OSError as e: print(e, flush=True)
"#;

/// A socket of the test's own at each of those places: natively each is reached, and glibc asks nscd by itself; in the session the lookup ends
/// well without any of them.
pub fn what_answers_for_names_outside_is_out_of_reach(user: User) -> Verdict {
    for tool in ["unshare", "python3", "mount"] {
        places::tool(tool)?;
    }
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let machine = stage.write("machine.py", MACHINE);
    stage.write("ws/client.py", CLIENT);
    std::os::unix::fs::symlink("/run/nscd/socket", stage.at("ws/link")).unwrap();
    let paths: Vec<&str> = SOCKETS.iter().map(|(path, _)| *path).collect();
    let session = stage.session().pack(&pack(&dns, 1));
    let mut command = stage.command("unshare")?;
    command
        .args(["-m", "--propagation", "private", "python3"])
        .arg(machine)
        .args(["client.py", &paths.join(" ")])
        .args(session.words()?);
    let outcome = session.launch(command).finish();
    if outcome.code() == Some(77) {
        return skip("nothing can be mounted here");
    }
    let said: Vec<&str> = outcome.finished.stdout.lines().collect();
    let (natively, inside) = said.split_at(said.len() / 2);
    for (line, path) in natively.iter().zip(&paths) {
        assert_eq!(*line, format!("{path} reached"), "{said:?}");
    }
    // Each socket but the second names of some; nscd by glibc besides.
    let reached: Vec<usize> = natively
        .last()
        .and_then(|line| line.strip_prefix("natively came "))
        .map(|counts| counts.split(' ').map(|count| count.parse().unwrap()).collect())
        .unwrap_or_default();
    assert!(
        matches!(reached[..], [all, places] if all > SOCKETS.len() && places == 5),
        "{said:?}"
    );
    let wanted: Vec<String> = SOCKETS
        .iter()
        .map(|(path, error)| format!("{path} {error}"))
        .chain(["127.0.0.1".to_owned(), "from inside came 0".to_owned()])
        .collect();
    assert_eq!(inside, wanted, "{}", outcome.finished.stderr);
    for path in ["/run/nscd/socket", "/run/dbus/system_bus_socket"] {
        outcome
            .record("network_connect")
            .target(path)
            .decision("block")
            .rule("boundary.service.block");
    }
    Ok(())
}
