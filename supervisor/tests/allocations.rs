//! A decision on a path allocates nothing, whatever the number of rules.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::path::Path;

use cavra::policy::{Endpoint, FileOp, NetOp, Nobody, Profile, Request, Scope, load};

#[test]
fn a_decision_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pack.yaml");
    let mut text = String::from(
        "metadata: {id: many}\nnetwork: {block: [192.0.2.0/24]}\nfilesystem:\n  default_write: block\n  block_read:\n",
    );
    for n in 0..2_000 {
        text += &format!("    - '**/secrets{n}.*'\n    - 'dir{n}/**'\n    - 'exact{n}'\n");
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
    let end = Endpoint::Tcp("192.0.2.7".parse().unwrap(), 443);
    let count = allocation_counter::measure(|| {
        let _verdict = policy.network(NetOp::Connect, &end, &Nobody);
    })
    .count_total;
    assert_eq!(count, 0, "an address");
}
