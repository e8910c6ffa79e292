//! What reading a command costs: ordinary ones, those with options in front of the verb, pushes, and two megabytes of arguments.
//!
//! Budget: an ordinary command ≤ 1 µs, the decision included. `cargo bench -p cavra --bench commands`
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::path::Path;

use cavra::policy::{Command, Nobody, Policy, Profile, Request, Scope, load};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const PACK: &str = "\
metadata: {id: bench}
commands: {default: allow, block: ['terraform apply*', 'kubectl delete*', 'npm publish*']}
git: {protected_branches: [main]}
";

const LINES: &[(&str, &str)] = &[
    ("/usr/bin/true", "true"),
    ("/usr/bin/ls", "ls -la"),
    ("/usr/bin/grep", "grep -rn --include=*.rs needle src"),
    ("/home/user/.cargo/bin/cargo", "cargo build --release"),
    ("/usr/bin/git", "git status --short"),
    ("/usr/bin/env", "env A=1 make -j2 all"),
    ("/usr/bin/kubectl", "kubectl --context prod -n x get pods -o wide"),
    ("/usr/bin/timeout", "timeout 5 nice -n 2 terraform -chdir=d plan"),
    ("/usr/bin/git", "git push origin topic"),
];

fn policy() -> Policy {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pack.yaml");
    std::fs::write(&file, PACK).unwrap();
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
        system_trees: &["/usr".into()],
        env: &|_| None,
        agent: "",
        admits: None,
    })
    .unwrap()
}

fn decisions(criterion: &mut Criterion) {
    let policy = policy();
    let decide = |command: &Command<'_>| {
        let _verdict = black_box(policy.command(black_box(command), &Nobody));
    };
    let env: Vec<String> = (0..40).map(|n| format!("VARIABLE_{n}=value")).collect();
    for (file, line) in LINES {
        let command = Command {
            file: file.as_bytes(),
            chain: vec![file.as_bytes()],
            argv: line.split(' ').map(str::as_bytes).collect(),
            env: env.iter().map(String::as_bytes).collect(),
            cwd: b"/",
            ..Command::default()
        };
        criterion.bench_with_input(BenchmarkId::new("command", line), &command, |bencher, command| {
            bencher.iter(|| decide(command));
        });
    }
    let files: Vec<String> = (0..100_000).map(|n| format!("some/path/{n:06}")).collect();
    let command = Command {
        file: b"/usr/bin/rm",
        argv: std::iter::once("rm")
            .chain(files.iter().map(String::as_str))
            .map(str::as_bytes)
            .collect(),
        cwd: b"/",
        ..Command::default()
    };
    criterion.bench_function("command/rm of 100 000 files", |bencher| {
        bencher.iter(|| decide(&command))
    });
}

criterion_group!(benches, decisions);
criterion_main!(benches);
