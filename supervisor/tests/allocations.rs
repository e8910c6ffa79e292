//! A decision on a path, an address or a plain command allocates nothing, whatever the number of rules.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::path::Path;

use cavra::policy::{Command, Endpoint, FileOp, NetOp, Nobody, Profile, Request, Scope, load};

#[test]
fn a_decision_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pack.yaml");
    let mut text = String::from(
        "metadata: {id: many}\nnetwork: {block: [192.0.2.0/24]}\nfilesystem:\n  default_write: block\n  block_read:\n",
    );
    text += "    - 'x'\ncommands:\n  default: allow\n  block: ['tool0 delete*']\n  warn:\n";
    for n in 0..2_000 {
        text += &format!("    - 'tool{n} delete*'\n");
    }
    text += "rules:\n";
    for n in 0..2_000 {
        text +=
            &format!("- {{action: read_file, match: ['**/secrets{n}.*', 'dir{n}/**', 'exact{n}'], decision: block}}\n");
    }
    std::fs::write(&file, text).unwrap();
    let policy = load(&Request {
        launch: &[file.display().to_string(), "cavra-workstation".to_owned()],
        profile: &Profile::default(),
        machine_dir: Path::new("/nonexistent"),
        repository: None,
        search: &[],
        scope: &Scope {
            workspace: "/ws".into(),
            home: "/home/u".into(),
            tmp: vec!["/tmp".into()],
            fold: false,
        },
        system_trees: &["/usr".into()],
        env: &|_| None,
        agent: "",
        admits: None,
    })
    .unwrap();
    let long = [&b"/ws/"[..], &b"secrets1/".repeat(300)].concat();
    for path in [
        &b"/ws/src/main.rs"[..],
        b"/ws/a/secrets7.yml",
        b"/ws/dir9/x",
        b"/usr/lib/libc.so.6",
        b"/ws/.env",
        &long,
    ] {
        for op in FileOp::ALL {
            let count = allocation_counter::measure(|| {
                let _verdict = policy.file(op, path, &Nobody);
            })
            .count_total;
            assert_eq!(count, 0, "{}", String::from_utf8_lossy(path));
        }
    }
    for (file, argv, decision) in [
        ("/usr/bin/ls", &["ls", "-la", "src"][..], "allow"),
        ("/usr/bin/rm", &["/usr/bin/rm", "-rf", "target/debug"], "allow"),
        ("/opt/tool7", &["tool7", "delete", "x"], "warn"),
        ("/opt/tool0-1.5", &["./tool0-1.5", "delete", "x"], "block"),
    ] {
        let command = Command {
            file: file.as_bytes(),
            chain: vec![file.as_bytes()],
            argv: argv.iter().map(|word| word.as_bytes()).collect(),
            env: vec![b"HOME=/home/u"],
            cwd: b"/ws",
            ..Command::default()
        };
        // The first of a thread makes room for its lines.
        assert_eq!(policy.command(&command, &Nobody).decision.name(), decision, "{argv:?}");
        let count = allocation_counter::measure(|| {
            let _verdict = policy.command(&command, &Nobody);
        })
        .count_total;
        assert_eq!(count, 0, "{argv:?}");
    }
    let end = Endpoint::Tcp("192.0.2.7".parse().unwrap(), 443);
    let count = allocation_counter::measure(|| {
        let _verdict = policy.network(NetOp::Connect, &end, &Nobody);
    })
    .count_total;
    assert_eq!(count, 0, "an address");
}
