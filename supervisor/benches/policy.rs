//! What a decision costs with 10, 100, 1 000 and 10 000 rules, and what compiling them costs.
//!
//! Budgets: a path or a command ≤ 1 µs, 10 000 rules ≤ 1.5 times 10 rules, compiling 10 000 ≤ 200 ms.
//! `cargo bench -p cavra --bench policy`
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::path::Path;

use cavra::policy::{Command, FileOp, Nobody, Policy, Profile, Request, Scope, load};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// Rules of four shapes in equal parts, as packs have them.
fn pack(rules: usize) -> String {
    let mut text = String::from("metadata: {id: bench}\nfilesystem:\n  default_read: allow\n  block_read:\n");
    for n in 0..rules / 4 {
        text += &format!("    - '**/secrets{n}.*'\n    - 'dir{n}/**'\n    - '*.ext{n}'\n    - 'a{n}/*/b*.txt'\n");
    }
    text += "commands:\n  default: allow\n  block:\n";
    for n in 0..rules {
        text += &format!("    - 'tool{n} delete*'\n");
    }
    text
}

fn policy(file: &Path) -> Policy {
    load(&Request {
        launch: &[file.display().to_string()],
        profile: &Profile::default(),
        machine_dir: Path::new("/nonexistent"),
        repository: None,
        search: &[],
        scope: &Scope {
            workspace: "/home/user/src/project".into(),
            home: "/home/user".into(),
            tmp: vec!["/tmp".into(), "/var/tmp".into()],
            fold: false,
        },
        system_trees: &["/usr", "/lib", "/opt", "/etc/ssl", "/proc", "/sys"].map(Into::into),
        env: &|_| None,
        agent: "",
        admits: None,
    })
    .unwrap()
}

const PATHS: &[&[u8]] = &[
    b"/home/user/src/project/src/boundary/paths/open.rs",
    b"/usr/lib/x86_64-linux-gnu/libc.so.6",
    b"/home/user/src/project/node_modules/left-pad/package.json",
    b"/home/user/src/project/dir7/x",
    b"/home/user/src/project/target/debug/deps/secrets3.yml",
];

const COMMANDS: &[&[&[u8]]] = &[
    &[b"ls", b"-la", b"src"],
    &[b"cargo", b"build", b"--release"],
    &[b"tool7", b"delete", b"x"],
    &[b"tool7", b"show", b"x"],
    &[b"grep", b"-rn", b"needle", b"src"],
];

fn decisions(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pack.yaml");
    for rules in [10, 100, 1_000, 10_000] {
        std::fs::write(&file, pack(rules)).unwrap();
        let policy = policy(&file);
        criterion.bench_with_input(BenchmarkId::new("five paths", rules), &policy, |bencher, policy| {
            bencher.iter(|| {
                for path in PATHS {
                    let _verdict = black_box(policy.file(FileOp::Read, black_box(path), &Nobody));
                }
            });
        });
        let commands: Vec<Command<'_>> = COMMANDS
            .iter()
            .map(|argv| Command {
                file: b"/usr/bin/tool",
                argv: argv.to_vec(),
                cwd: b"/",
                ..Command::default()
            })
            .collect();
        criterion.bench_with_input(BenchmarkId::new("five commands", rules), &policy, |bencher, policy| {
            bencher.iter(|| {
                for command in &commands {
                    let _verdict = black_box(policy.command(black_box(command), &Nobody));
                }
            });
        });
    }
}

fn compiling(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pack.yaml");
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    for rules in [10, 100, 1_000, 10_000] {
        // Half of them over paths, half over commands.
        std::fs::write(&file, pack(rules / 2)).unwrap();
        group.bench_function(BenchmarkId::new("rules", rules), |bencher| {
            bencher.iter(|| policy(&file));
        });
    }
    group.finish();
}

criterion_group!(benches, decisions, compiling);
criterion_main!(benches);
