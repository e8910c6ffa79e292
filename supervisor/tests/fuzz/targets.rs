//! What is claimed of each parser of foreign bytes, for any bytes. Shared by the seeded run of `cargo test` and by cargo-fuzz (/fuzz).

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cavra::approvals::{Ask, ControlServer, Desk};
use cavra::caller::memory::{CallerPath, strings as read_strings};
use cavra::evidence::{Draft, Durability, Journal, Level, Opening, Verification, verify};
use cavra::policy::{
    Address, Command, Diagnostics, NetOp, Nobody, Policy, Probe, Profile, Request, Scope, canonical_name, load,
};
use cavra::relay::readers::{requests, whole_hello};
use cavra::resolver::readers::{addresses, question};
use cavra::resolver::{Conf, Hosts};
use cavra::sys::memory::RemotePtr;
use cavra::sys::process::own_tid;

/// A folder for this process's files; in the machine's temporary folder, gone with it where the runner does not remove it.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fn place(name: &str) -> PathBuf {
    FOLDER.path().join(format!("{name}-{}", own_tid().0))
}

fn pointer<T>(of: &[T]) -> RemotePtr {
    RemotePtr(of.as_ptr().addr() as u64)
}

/// An execve's array as a caller has it in its memory. Strings with NUL between them come back as they were; an array of any eight bytes each,
/// some of them leading into the data, some nowhere, is an error or strings that are there.
pub(crate) fn arrays(data: &[u8]) {
    let words: Vec<CString> = data
        .split(|byte| *byte == 0)
        .take(4_000)
        .map(|word| CString::new(word).unwrap())
        .collect();
    let mut pointers: Vec<u64> = words.iter().map(|word| pointer(word.as_bytes_with_nul()).0).collect();
    pointers.push(0);
    let mut total = 0;
    match read_strings(own_tid(), pointer(&pointers), &mut total) {
        Ok(read) => assert_eq!(read, words),
        // One argument may have 128 KiB.
        Err(errno) => assert!(errno == nix::errno::Errno::E2BIG && data.len() > 131_000, "{errno}"),
    }
    let ended = [data, &[0]].concat();
    let wild: Vec<u64> = data
        .chunks(8)
        .map(|bytes| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            let word = u64::from_ne_bytes(word);
            if word % 3 == 0 {
                word
            } else {
                pointer(&ended).0 + word % ended.len() as u64
            }
        })
        .chain([0])
        .collect();
    if let Ok(read) = read_strings(own_tid(), pointer(&wild), &mut 0) {
        assert!(read.len() < wild.len());
    }
}

/// A path as a caller has it in its memory: up to its NUL, or ENAMETOOLONG from 4096 bytes on.
pub(crate) fn path(data: &[u8]) {
    let ended = [data, &[0]].concat();
    let wanted = data.split(|byte| *byte == 0).next().unwrap_or_default();
    match CallerPath::read(own_tid(), pointer(&ended)) {
        Ok(path) => assert!(path.bytes() == wanted && wanted.len() < 4096),
        Err(errno) => assert!(
            errno == nix::errno::Errno::ENAMETOOLONG && wanted.len() >= 4096,
            "{errno}"
        ),
    }
}

/// The file of a session that has ended, made once.
pub(crate) static CHAIN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = place("chain");
    let opening = Opening {
        session_id: "ses_0123456789ab".to_owned(),
        agent_id: "agent".to_owned(),
        actor: "ada".to_owned(),
        command: vec!["sh".to_owned()],
        workspace: "/ws".to_owned(),
        policy_digest: "sha256:00".to_owned(),
        packs: vec!["p".to_owned()],
        mode: "enforce".to_owned(),
        watching: Vec::new(),
        reads: None,
        version: "0".to_owned(),
    };
    let journal = Journal::create(Some(&dir), &opening, Level::First).unwrap();
    for target in ["/ws/.env", "terraform apply \"é\"", "10.0.0.1:443"] {
        let draft = Draft {
            action_type: "read_file",
            target: target.to_owned(),
            ..Draft::default()
        };
        journal.append(draft, Durability::Written).unwrap();
    }
    journal.close("0").unwrap();
    std::fs::read(dir.join("decisions.jsonl")).unwrap()
});

/// Any bytes as a session's records: `verify` answers, and finds whole only what was written.
pub(crate) fn records(data: &[u8]) {
    let dir = place("records");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("decisions.jsonl"), data).unwrap();
    let found = verify(&dir);
    assert!(!found.to_string().contains(|c: char| c.is_control()), "{found}");
    assert!(
        !matches!(found, Verification::Whole { .. }) || data == *CHAIN,
        "whole: {}",
        data.escape_ascii()
    );
}

/// Any bytes as a pack: a policy, or errors that name the file and carry no control characters of it.
pub(crate) fn pack(data: &[u8]) {
    let file = place("pack.yaml");
    std::fs::write(&file, data).unwrap();
    let name = file.display().to_string();
    let nowhere = Path::new("/nonexistent");
    let loaded = load(&Request {
        launch: std::slice::from_ref(&name),
        profile: &Profile::default(),
        machine_dir: nowhere,
        repository: None,
        search: &[],
        scope: &Scope {
            workspace: nowhere.into(),
            home: nowhere.into(),
            tmp: Vec::new(),
            fold: false,
        },
        system_trees: &[],
        env: &|_| None,
        agent: "",
        admits: None,
    });
    if let Err(errors) = loaded {
        let text = errors.to_string();
        assert!(text.contains(&name), "no file named: {text}");
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{}",
            text.escape_debug()
        );
    }
}

/// A session's control socket with one held request.
static DESK: LazyLock<(Arc<Desk>, PathBuf, cavra::approvals::Ticket)> = LazyLock::new(|| {
    let run = place("run");
    let desk = Desk::new(Duration::from_secs(3_600));
    let server = ControlServer::bind_in(&run, "ses_0123456789ab").unwrap();
    server.start(Arc::clone(&desk), |_| false).unwrap();
    let ticket = desk
        .hold(Ask {
            action: "exec".to_owned(),
            ..Ask::default()
        })
        .unwrap();
    (desk, run.join("ses_0123456789ab.sock"), ticket)
});

fn said(bytes: &[u8]) -> Vec<u8> {
    let mut socket = UnixStream::connect(&DESK.1).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // It may have said no, and closed, before all was written.
    let _closed = socket
        .write_all(bytes)
        .and_then(|()| socket.shutdown(std::net::Shutdown::Write));
    let mut reply = Vec::new();
    let _reset = socket.read_to_end(&mut reply);
    reply
}

/// Any bytes on the control socket: a reply of one line of JSON or none, nothing decided without its full name, and the next one is served.
pub(crate) fn control(data: &[u8]) {
    let reply = said(data);
    assert!(
        reply.is_empty() || serde_json::from_slice::<serde_json::Value>(&reply).is_ok(),
        "{}",
        reply.escape_ascii()
    );
    let listed = said(b"{\"op\":\"list\"}\n");
    let id = DESK.2.id();
    let named = data.windows(id.len()).any(|part| part == id.as_bytes());
    assert!(
        named || String::from_utf8_lossy(&listed).contains("\"pending\""),
        "{}",
        listed.escape_ascii()
    );
}

/// Any bytes as the beginning of a TLS connection: the name of a whole hello is in its one spelling, and depends neither on what comes behind it
/// nor on how much of it has come.
pub(crate) fn hello(data: &[u8]) {
    let Ok((name, len)) = whole_hello(data) else {
        return;
    };
    assert!(len > 0 && len <= data.len(), "{len} of {}", data.len());
    assert_eq!((data[0], data[5]), (22, 1), "no ClientHello in a handshake record");
    if let Some(name) = &name {
        assert_eq!(canonical_name(name).ok().as_ref(), Some(name));
    }
    assert_eq!(whole_hello(&data[..len]), Ok((name, len)));
    for part in (0..len).step_by(len / 16 + 1).chain([len - 1]) {
        assert_eq!(
            whole_hello(&data[..part]),
            Err("partial"),
            "after {part} of {len} bytes"
        );
    }
}

/// Any bytes as plain HTTP: hosts are in their one spelling, and however the bytes are cut nothing else is let through.
pub(crate) fn http(data: &[u8]) {
    let (hosts, sent) = requests(data, data.len());
    assert!(sent <= data.len() || !hosts.is_empty());
    for host in &hosts {
        assert!(
            host.parse::<std::net::IpAddr>().is_ok() || canonical_name(host).ok().as_ref() == Some(host),
            "{host:?}"
        );
    }
    for piece in [1, 2, 7, 64] {
        let (some, less) = requests(data, piece);
        assert!(
            hosts.starts_with(&some) && less <= sent,
            "{some:?} {less} in pieces of {piece}, {hosts:?} {sent} at once"
        );
    }
}

/// Any bytes as a DNS message of the tree, or of a server: an answer is one, carries the question's id, and is no amplifier; a name is in its one
/// spelling.
pub(crate) fn dns(data: &[u8]) {
    let reply = match question(data) {
        Ok((name, reply)) => {
            assert_eq!(canonical_name(&name).ok().as_ref(), Some(&name));
            assert!(!reply.is_empty());
            Some(reply)
        }
        Err(reply) => reply,
    };
    if let Some(reply) = reply {
        assert_eq!(reply[..2], data[..2], "another id");
        assert!(reply[2] & 0x80 != 0, "a question for an answer");
        assert!(reply.len() <= data.len() + 64, "{} for {}", reply.len(), data.len());
    }
    assert!(addresses(data, "a.example").len() <= 256);
}

/// Any text as resolv.conf and hosts: what the session is given names its own resolver and no other.
pub(crate) fn conf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let given = Conf::parse(&text).substitute(std::net::Ipv4Addr::LOCALHOST.into());
    let servers: Vec<&str> = given.lines().filter(|line| line.starts_with("nameserver")).collect();
    assert_eq!(servers, ["nameserver 127.0.0.1"], "{given:?}");
    for (name, addresses) in Hosts::parse(&text).iter() {
        assert!(!name.is_empty() && !addresses.is_empty());
    }
}

/// The policy of one pack, with nothing else about.
fn alone(name: &str, text: &str) -> Result<Policy, Diagnostics> {
    let file = place(name);
    std::fs::write(&file, text).unwrap();
    let nowhere = Path::new("/nonexistent");
    load(&Request {
        launch: &[file.display().to_string()],
        profile: &Profile::default(),
        machine_dir: nowhere,
        repository: None,
        search: &[],
        scope: &Scope {
            workspace: nowhere.into(),
            home: nowhere.into(),
            tmp: Vec::new(),
            fold: false,
        },
        system_trees: &[],
        env: &|_| None,
        agent: "",
        admits: None,
    })
}

static COMMANDS: LazyLock<Policy> = LazyLock::new(|| {
    let text = "metadata: {id: fuzz}\ncommands: {default: allow, block: ['terraform apply*', '*kubectl delete*', 'npm publish']}\n\
        git: {protected_branches: [main]}\n";
    alone("commands.yaml", text).unwrap()
});

/// Any arguments, with NUL between them, the file first: an answer, and never looser than a plain match of the line.
pub(crate) fn argv(data: &[u8]) {
    let mut words = data.split(|byte| *byte == 0);
    let file = words.next().unwrap_or_default();
    let argv: Vec<&[u8]> = words.collect();
    let line = argv.join(&b' ');
    let command = Command {
        file,
        argv,
        cwd: b"/nonexistent",
        ..Command::default()
    };
    let refused = COMMANDS.command(&command, &Nobody).decision.name() == "block";
    let plain = line.trim_ascii();
    let named = plain.starts_with(b"terraform apply")
        || plain.windows(14).any(|piece| piece == b"kubectl delete")
        || plain == b"npm publish";
    assert!(refused || !named, "{}", line.escape_ascii());
}

/// Any text as an address: asked for, it has one spelling, which means the same; in a pack, it is an entry or a named error, a block of it refuses
/// it, and an allow of it allows nothing else.
pub(crate) fn address(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let asked = Address::parse(&text);
    if let Some(address) = asked.as_ref().filter(|address| !matches!(address, Address::Unix(_))) {
        assert_eq!(
            Address::parse(&address.to_string()).as_ref(),
            Some(address),
            "{address} of {text:?}"
        );
    }
    let entry = serde_json::Value::from(&*text);
    let policy = |name: &str, network: &str| {
        alone(
            name,
            &format!("metadata: {{id: fuzz}}\nnetwork: {{{network}: [{entry}]}}\n"),
        )
    };
    let loaded = (
        policy("block.yaml", "default: allow, block"),
        policy("allow.yaml", "default: block, allow"),
    );
    let (blocks, allows) = match loaded {
        (Ok(blocks), Ok(allows)) => (blocks, allows),
        (Err(error), Err(_)) => {
            let drawn = error.to_string();
            let steers = drawn.contains(|c: char| c.is_control() && c != '\n');
            assert!(drawn.contains("block.yaml") && !steers, "{}", drawn.escape_debug());
            return;
        }
        // An allow's path may have more to fulfil: what it reaches is the tree's to choose.
        (Ok(_), Err(_)) if text.contains("unix:") => return,
        _ => panic!("an entry to one list and none to the other: {text:?}"),
    };
    let decides = |policy: &Policy, address: &Address| {
        let probe = Probe::Network(NetOp::Connect, address.clone());
        probe.ask(policy, &Nobody).decision.name()
    };
    let Some(address) = asked else {
        return;
    };
    if let Address::Unix(path) = &address {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'/';
        if !path.starts_with('/') || path.contains("//") || path.ends_with('/') || !path.bytes().all(plain) {
            return;
        }
    }
    assert_eq!(
        decides(&blocks, &address),
        "block",
        "a block of {text:?} lets {address} through"
    );
    for other in [
        "198.51.100.77:443",
        "udp:198.51.100.77:443",
        "unrelated.example:443",
        "unix:/run/other",
    ] {
        let other = Address::parse(other).unwrap();
        if other != address {
            assert_eq!(decides(&allows, &other), "block", "an allow of {text:?} allows {other}");
        }
    }
}
