//! Any arguments: the policy answers without a panic, and never looser than a plain match of the line would.
//!
//! Input: words with NUL between them; the first is the file, the second `argv[0]`.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use cavra::policy::{Command, Nobody, Policy, Profile, Request, Scope, load};
use libfuzzer_sys::fuzz_target;

const PACK: &str = "\
metadata: {id: fuzz}
commands: {default: allow, block: ['terraform apply*', '*kubectl delete*', 'npm publish']}
git: {protected_branches: [main]}
";

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("cavra-fuzz-{}.yaml", std::process::id()));
    std::fs::write(&file, PACK).expect("a temporary file");
    let nowhere = Path::new("/nonexistent");
    let policy = load(&Request {
        launch: &[file.display().to_string()],
        profile: &Profile::default(),
        machine_dir: nowhere,
        repository: None,
        search: &[],
        scope: &Scope { workspace: nowhere.into(), home: nowhere.into(), tmp: Vec::new() },
        system_trees: &["/usr".into()],
        env: &|_| None,
        agent: "fuzz",
        admits: None,
    });
    let _gone = std::fs::remove_file(&file);
    policy.unwrap_or_else(|error| panic!("{error}"))
});

/// The naive reference: the words as one line.
fn is_blocked(line: &[u8]) -> bool {
    line.starts_with(b"terraform apply") || line.windows(14).any(|piece| piece == b"kubectl delete") || line == b"npm publish"
}

fuzz_target!(|data: &[u8]| {
    let mut words = data.split(|byte| *byte == 0);
    let file = words.next().unwrap_or_default();
    let argv: Vec<&[u8]> = words.collect();
    let line = argv.join(&b' ');
    let command = Command { file, argv, cwd: b"/nonexistent", ..Command::default() };
    let refused = POLICY.command(&command, &Nobody).decision.name() == "block";
    assert!(refused || !is_blocked(line.trim_ascii()), "{}", String::from_utf8_lossy(&line));
});
