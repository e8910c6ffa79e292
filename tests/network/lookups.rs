//! Lookups: every library reaches what is allowed by name and nothing else.

use std::process::Command;

use cavra_tests::{Case, Listener, Stage, Unmet, User, Verdict, places, skip};

use crate::dns::Data::{A, Alias, Garbage, Guessed, Loop, Many, Silence};
use crate::dns::{Data, Dns};

const ZONE: &[(&str, Data)] = &[
    ("api.test", A("127.0.0.1")),
    ("wild.cdn.test", A("127.0.0.1")),
    ("evil.cdn.test", A("127.0.0.1")),
    ("rebound.test", A("127.0.0.1")),
    ("rebound.test", A("169.254.169.254")),
    ("rebound.test", A("192.0.2.1")),
    ("other.test", A("127.0.0.1")),
    ("alias.cdn.test", Alias("alias2.cdn.test")),
    ("alias2.cdn.test", A("127.0.0.1")),
    ("toevil.cdn.test", Alias("evil.cdn.test")),
    ("round.cdn.test", Alias("round2.cdn.test")),
    ("round2.cdn.test", Alias("round.cdn.test")),
    ("many.cdn.test", Many(200)),
    ("garbage.cdn.test", Garbage),
    ("loop.cdn.test", Loop),
    ("guessed.cdn.test", Guessed("127.0.0.1")),
    ("silent.cdn.test", Silence),
];

/// A pack that lets `api.test`, `*.cdn.test` and `rebound.test` be reached on one port.
pub fn pack(dns: &Dns, port: u16) -> String {
    format!(
        "metadata: {{id: net}}
filesystem: {{default_read: allow, default_write: allow}}
commands: {{default: allow}}
network:
  default: block
  resolver: {}
  allow:
    - {{to: \"api.test:{port}\", addresses: 127.0.0.0/8}}
    - {{to: \"*.cdn.test:{port}\", addresses: [127.0.0.0/8]}}
    - \"rebound.test:*\"
  block: [evil.cdn.test]
",
        dns.address
    )
}

/// How a program looks up `NAME` and prints what comes from its port `PORT`; what it needs beside the shell.
const PROGRAMS: &[(&str, &[&str], &str)] = &[
    ("getent", &["getent"], "getent ahosts NAME"),
    (
        "curl",
        &["curl"],
        "curl -sS -m 20 telnet://NAME:PORT < /dev/null | grep hello",
    ),
    (
        "python",
        &["python3"],
        "python3 -c 'import socket; print(socket.create_connection((\"NAME\", PORT)).recv(9))'",
    ),
    (
        "node's lookup",
        &["node"],
        "node -e 'require(\"net\").connect(PORT, \"NAME\").on(\"data\", d => { console.log(\"\" + d); process.exit() })'",
    ),
    (
        "node's resolver",
        &["node"],
        "node -e 'require(\"dns\").resolve4(\"NAME\", (e, a) => { if (e) process.exit(1); require(\"net\").connect(PORT, a[0]).on(\"data\", d => { console.log(\"\" + d); process.exit() }) })'",
    ),
    ("musl", &["musl-gcc"], "./musl NAME PORT"),
    ("musl, static", &["musl-gcc"], "./musl-static NAME PORT"),
    ("Go's own", &["go"], "./go NAME:PORT"),
    (
        "Go with the C library",
        &["go"],
        "GODEBUG=netdns=cgo ./go-cgo NAME:PORT",
    ),
    ("Java", &["java"], "java -XX:TieredStopAtLevel=1 Connect.java NAME PORT"),
];

const C: &str = r#"#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int n, char **v) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *r;
    int e = getaddrinfo(v[1], v[2], &hints, &r);
    if (e) return fprintf(stderr, "%s\n", gai_strerror(e)), 1;
    int s = socket(r->ai_family, SOCK_STREAM, 0);
    char b[9];
    if (connect(s, r->ai_addr, r->ai_addrlen)) return perror("connect"), 2;
    return (n = read(s, b, 9)) > 0 && write(1, b, n) == n ? 0 : 3;
}
"#;
const GO: &str = r#"package main

import ("fmt"; "net"; "os")

func main() {
    c, e := net.Dial("tcp", os.Args[1])
    if e != nil { fmt.Println(e); os.Exit(1) }
    b := make([]byte, 9)
    n, _ := c.Read(b)
    fmt.Print(string(b[:n]))
}
"#;
const JAVA: &str = r#"public class Connect { public static void main(String[] a) throws Exception {
    System.out.println(new String(new java.net.Socket(a[0], Integer.parseInt(a[1])).getInputStream().readNBytes(6))); } }
"#;

fn build(stage: &Stage, needs: &str) -> Verdict {
    match needs {
        "musl-gcc" => {
            let source = stage.write("ws/c.c", C);
            for (out, flag) in [("musl", "-O1"), ("musl-static", "-static")] {
                let mut command = Command::new("musl-gcc");
                command.arg(flag).arg("-o").arg(stage.at("ws").join(out)).arg(&source);
                assert!(command.status().unwrap().success(), "musl-gcc");
            }
        }
        "go" => {
            stage.write("ws/main.go", GO);
            for (out, cgo) in [("go", "0"), ("go-cgo", "1")] {
                let mut command = Command::new("go");
                command
                    .args(["build", "-o", out, "main.go"])
                    .envs([("CGO_ENABLED", cgo), ("GO111MODULE", "off"), ("GOTOOLCHAIN", "local")])
                    // The standard library is compiled once, not for each test.
                    .env("GOCACHE", places::target().join("go-cache"));
                assert!(command.current_dir(stage.workspace()).status().unwrap().success(), "go");
            }
        }
        "java" => {
            stage.write("ws/Connect.java", JAVA);
        }
        _ => {}
    }
    Ok(())
}

/// One case a program: it reaches the allowed names, and no other.
pub fn programs() -> Vec<Case> {
    let case = |(name, needs, line): &'static (&str, &[&str], &str)| {
        Case::new(format!("{name} reaches what is allowed by name"), move |user| {
            let stage = Stage::new(user)?;
            for tool in *needs {
                places::tool(tool)?;
                build(&stage, tool)?;
            }
            reaches(&stage, name, line, &[])
        })
    };
    // There the kernel hands out the machine's own resolv.conf.
    let by_kernel = |(name, _, line): &'static (&str, &[&str], &str)| {
        Case::new(format!("{name} does so where the kernel decides reads"), move |user| {
            reaches(&Stage::new(user)?, name, line, &["--reads", "kernel"])
        })
    };
    let of_glibc = PROGRAMS.iter().filter(|(name, ..)| ["getent", "python"].contains(name));
    PROGRAMS.iter().map(case).chain(of_glibc.map(by_kernel)).collect()
}

fn reaches(stage: &Stage, program: &str, line: &str, options: &[&str]) -> Verdict {
    let (dns, listener) = (Dns::serve(ZONE), Listener::new());
    let run = |name: &str| -> Result<_, Unmet> {
        let script = line.replace("NAME", name).replace("PORT", &listener.port().to_string());
        let session = stage.session().pack(&pack(&dns, listener.port()));
        options
            .iter()
            .fold(session, |session, word| session.option(word))
            .sh(&script)
    };
    let connects = !line.starts_with("getent");
    for name in ["api.test", "wild.cdn.test"] {
        // As an ordinary user the port that musl takes answers from is not to be had: there it knows the names that rules spell out.
        if program.starts_with("musl") && stage.user() == User::Ordinary && name == "wild.cdn.test" {
            continue;
        }
        let before = listener.came();
        let outcome = run(name)?;
        assert_eq!(outcome.code(), Some(0), "{name}: {:?}", outcome.finished.stderr);
        if connects {
            assert_eq!(listener.came(), before + 1, "{name}");
            outcome
                .record("network_connect")
                .about(&format!("{name}:{} (127.0.0.1)", listener.port()))
                .decision("allow")
                .rule("network.connect.allow");
            let ends: Vec<&str> = outcome
                .records
                .iter()
                .filter(|record| record["rule_id"] == "boundary.direct.end")
                .filter_map(|record| record["reason"].as_str())
                .collect();
            assert!(matches!(ends[..], [told] if told.contains("bytes sent")), "{ends:?}");
        }
    }
    let before = listener.came();
    for name in ["other.test", "evil.cdn.test", "rebound.test"] {
        let outcome = run(name)?;
        if connects {
            assert_ne!(outcome.code(), Some(0), "{name}");
        }
        if name == "other.test" {
            assert_eq!(dns.count(name), 0, "{name} left the machine");
        }
    }
    assert_eq!(listener.came(), before);
    Ok(())
}

/// Speaks to the resolver as libraries do, and counts the codes of the answers.
pub const ASKER: &str = r#"
import socket, struct, sys, os
server = [l.split()[1] for l in open("/etc/resolv.conf") if l.startswith("nameserver")][0]
def ask(names, kind):
    s = socket.create_connection((server, 53)); codes = {}
    f = s.makefile("rb")
    for start in range(0, len(names), 8):
        part = names[start:start + 8]
        for n in part:
            q = b"\x12\x34\1\0\0\1\0\0\0\0\0\1" + b"".join(bytes([len(l)]) + l.encode() for l in n.split(".")) + struct.pack(">BHH", 0, kind, 1)
            q += b"\0" + struct.pack(">HHIH", 41, 4096, 0, 24) + struct.pack(">HH", 65001, 20) + os.urandom(20)
            s.sendall(struct.pack(">H", len(q)) + q)
        for _ in part:
            size, = struct.unpack(">H", f.read(2)); a = f.read(size); codes[a[3] & 15] = codes.get(a[3] & 15, 0) + 1
    return codes
"#;

pub fn no_random_label_reaches_the_upstream(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let script = format!(
        "{ASKER}
import random
r = lambda: '%032x' % random.getrandbits(128)
print(ask([r() + '.api.test' for _ in range(4000)], 1))
print(ask([r() + '.' + r() + '.test' for _ in range(4000)], 16))
print(ask([r() for _ in range(2000)], 28))
print(ask(['api.test'], 255), ask(['api.test'], 10), ask(['api.test'], 252), ask(['api.test'], 65280))
print(ask(['ApI.tEsT'], 1), ask(['api.test'], 1))
"
    );
    stage.write("ws/ask.py", script);
    let outcome = stage.session().pack(&pack(&dns, 1)).run(["python3", "ask.py"])?;
    assert_eq!(
        outcome.finished.stdout, "{3: 4000}\n{3: 4000}\n{3: 2000}\n{4: 1} {4: 1} {4: 1} {4: 1}\n{0: 1} {0: 1}\n",
        "{}",
        outcome.finished.stderr
    );
    // The one allowed name, once: the second time it was known.
    assert_eq!(dns.asked(), [("api.test".to_owned(), 1)]);
    let refused = outcome
        .records
        .iter()
        .filter(|r| r["requested_operation"] == "resolve")
        .count();
    assert!((1000..1100).contains(&refused), "{refused} records");
    Ok(())
}

pub fn names_at_special_addresses_are_refused_unless_placed(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let outcome = stage
        .session()
        .pack(&pack(&dns, 1))
        .sh("getent ahostsv4 rebound.test | awk '{print $1}' | sort -u; getent ahostsv4 api.test | awk '{print $1}' | sort -u")?;
    // The ordinary address stays, the others are taken out; api.test has a rule that places it on loopback.
    assert_eq!(outcome.finished.stdout, "192.0.2.1\n127.0.0.1\n");
    for ip in ["127.0.0.1", "169.254.169.254"] {
        outcome
            .record("network_connect")
            .target(&format!("rebound.test ({ip})"))
            .decision("block")
            .rule("boundary.rebinding.block");
    }
    Ok(())
}

pub fn an_address_is_reached_under_its_told_name_only(user: User) -> Verdict {
    let (stage, dns, listener) = (Stage::new(user)?, Dns::serve(ZONE), Listener::new());
    let port = listener.port();
    let connect = format!("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'");
    // Before any lookup it is an address that no rule knows.
    let outcome = stage.session().pack(&pack(&dns, port)).sh(&format!(
        "{connect} 2>/dev/null && echo LEAK; getent hosts api.test >/dev/null; {connect} && echo reached"
    ))?;
    assert_eq!(outcome.finished.stdout, "reached\n", "{}", outcome.finished.stderr);
    assert_eq!(listener.came(), 1);
    outcome
        .record("network_connect")
        .target(&format!("127.0.0.1:{port}"))
        .decision("block");
    Ok(())
}

pub fn other_servers_of_names_are_refused(user: User) -> Verdict {
    let (stage, dns, other) = (Stage::new(user)?, Dns::serve(ZONE), Dns::serve(ZONE));
    let script = format!(
        "import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        s = socket.socket(socket.AF_INET, kind)
        if kind == socket.SOCK_DGRAM: s.sendto(b'x' * 20, ('127.0.0.1', {port}))
        else: s.connect(('127.0.0.1', {port}))
        print('LEAK')
    except OSError as e: print(e.errno)
",
        port = other.address.port()
    );
    stage.write("ws/other.py", script);
    let outcome = stage.session().pack(&pack(&dns, 1)).run(["python3", "other.py"])?;
    assert!(!outcome.finished.stdout.contains("LEAK"), "{}", outcome.finished.stdout);
    assert!(other.asked().is_empty());
    Ok(())
}

pub fn hostile_answers_harm_nobody(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let script = "for n in garbage loop round; do timeout 60 getent ahostsv4 $n.cdn.test > out && echo LEAK; done
getent ahostsv4 guessed.cdn.test | awk '{print $1}' | sort -u
getent ahostsv4 many.cdn.test | awk '{print $1}' | sort -u | wc -l
getent hosts api.test | awk '{print $1}'";
    let outcome = stage.session().pack(&pack(&dns, 1)).sh(script)?;
    // Guesses and strangers' questions are dropped; of a giant answer a bounded part is told (here none: no rule places 192.0.2.0/24 elsewhere).
    assert_eq!(
        outcome.finished.stdout, "127.0.0.1\n64\n127.0.0.1\n",
        "{}",
        outcome.finished.stderr
    );
    Ok(())
}

pub fn a_dead_server_fails_the_lookup_and_not_the_session(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    // While one lookup hangs, another is answered.
    let script = "(getent hosts silent.cdn.test; echo failed $? > hung) & getent hosts api.test | awk '{print $1}'; test -e hung || echo hangs; wait; cat hung";
    let outcome = stage.session().pack(&pack(&dns, 1)).sh(script)?;
    assert_eq!(outcome.finished.stdout, "127.0.0.1\nhangs\nfailed 2\n");
    Ok(())
}

pub fn aliases_are_followed_and_judged(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let outcome = stage
        .session()
        .pack(&pack(&dns, 1))
        .sh("getent ahostsv4 alias.cdn.test | head -1 | awk '{print $1}'; getent hosts toevil.cdn.test; echo $?")?;
    assert_eq!(outcome.finished.stdout, "127.0.0.1\n2\n");
    outcome
        .record("network_connect")
        .target("evil.cdn.test")
        .decision("block")
        .rule("network.connect.block");
    Ok(())
}

pub fn the_resolver_serves_the_session_only(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let mut live =
        stage
            .session()
            .pack(&pack(&dns, 1))
            .start(["sh", "-c", "getent hosts api.test; echo ready; sleep 60"])?;
    live.running.wait_for_stdout("ready");
    // Every loopback listener of cavra-run, asked from outside: none answers.
    let pid = live.running.pid();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"));
    if matches!(&descriptors, Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied) {
        return skip("the sockets of cavra-run can be seen by root alone: it is not dumpable");
    }
    let inodes: Vec<String> = descriptors
        .unwrap()
        .flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .filter_map(|link| {
            link.to_string_lossy()
                .strip_prefix("socket:[")
                .map(|i| i.trim_end_matches(']').to_owned())
        })
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ports: Vec<u16> = table
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|row| row.len() > 9 && row[3] == "0A" && inodes.contains(&row[9].to_owned()))
        .filter_map(|row| u16::from_str_radix(row[1].rsplit(':').next()?, 16).ok())
        .collect();
    assert!(!ports.is_empty(), "no socket of cavra-run listens");
    for port in ports {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .unwrap();
        let question = [
            &[0, 26, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
            b"\x03api\x04test\0",
            &[0, 1, 0, 1],
        ]
        .concat();
        stream.write_all(&question).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "port {port} answered a stranger");
    }
    live.running.signal(nix::sys::signal::Signal::SIGTERM);
    live.finish();
    Ok(())
}

pub fn without_network_nothing_resolves(user: User) -> Verdict {
    let (stage, listener) = (Stage::new(user)?, Listener::new());
    let pack = "metadata: {id: none}\nfilesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\nnetwork: none\n";
    let script = format!(
        "getent hosts example.test && echo LEAK; python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {})); print(\"LEAK\")' 2>/dev/null; echo end",
        listener.port()
    );
    let outcome = stage.session().pack(pack).sh(&script)?;
    assert_eq!((outcome.finished.stdout.as_str(), listener.came()), ("end\n", 0));
    // And the policy says so when it is asked.
    let file = stage.pack("none", pack);
    for address in ["example.test:443", "udp:192.0.2.1:53", "127.0.0.1:80"] {
        let said = stage.cavractl([
            "policy".as_ref(),
            "explain".as_ref(),
            "--policy".as_ref(),
            file.as_os_str(),
            address.as_ref(),
        ])?;
        assert!(
            said.stdout.contains(": block\n") && said.stdout.contains("nothing can connect"),
            "{}",
            said.stdout
        );
    }
    Ok(())
}

pub fn a_repository_chooses_no_resolver(user: User) -> Verdict {
    let (stage, dns, own) = (Stage::new(user)?, Dns::serve(ZONE), Dns::serve(ZONE));
    let repository = format!("metadata: {{id: repo}}\nnetwork: {{resolver: \"{}\"}}\n", own.address);
    stage.write("ws/.cavra/policy.yaml", &repository);
    let outcome = stage.session().pack(&pack(&dns, 1)).sh("getent hosts api.test")?;
    assert_eq!(outcome.code(), Some(125), "{}", outcome.finished.stderr);
    assert!(
        outcome.finished.stderr.contains("chooses no resolver"),
        "{}",
        outcome.finished.stderr
    );
    Ok(())
}
