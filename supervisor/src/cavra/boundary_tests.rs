//! The kernel boundary is never looser than CAVRA, for requests that both can express: over the table in `tests/parity`, over each
//! pack's own `tests.yaml`, and over targets made from each pack's patterns. `docs/parity.md` names the exceptions; they are the
//! `expressible` functions below.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Answer, Request, Rules, evaluate};
use crate::decision::Decision;
use crate::policy::{self, Command, FileOp, Nobody, Policy, Profile, Scope};

const WORKSPACE: &str = "/ws/repo";
const SYSTEM_TREES: &[&str] = &["/usr", "/lib", "/bin", "/sbin", "/opt", "/etc/ssl", "/proc", "/sys"];
/// Targets made from each pattern.
const MADE: u64 = 8;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn packs() -> Vec<String> {
    let entries = std::fs::read_dir(repository().join("policies")).unwrap();
    let mut all: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    all.sort();
    assert!(all.len() >= 17, "{all:?}");
    all
}

fn boundary(pack: &str, root: &Path) -> Policy {
    let scope = Scope {
        workspace: WORKSPACE.into(),
        home: "/home/u".into(),
        tmp: vec!["/tmp".into()],
    };
    let mut profile = Profile::load(Some("default"), "", &[]).unwrap();
    profile.needs = policy::Needs::default();
    let trees: Vec<PathBuf> = SYSTEM_TREES.iter().map(PathBuf::from).collect();
    policy::load(&policy::Request {
        launch: &[pack.to_owned()],
        profile: &profile,
        machine_dir: Path::new("/nowhere/policy.d"),
        repository: None,
        search: &[root.to_owned()],
        scope: &scope,
        system_trees: &trees,
        env: &|_| None,
        agent: "",
        admits: None,
    })
    .unwrap()
}

fn file_operation(action: &str) -> Option<FileOp> {
    match action {
        "read_file" => Some(FileOp::Read),
        "write_file" => Some(FileOp::Write),
        _ => None,
    }
}

/// The object that a target names, as the boundary would find it. None for what is no path to a file, for one that is not written in its
/// shortest form (CAVRA matches the text, the boundary the object), for a pattern's own variable, and for system trees, where patterns by
/// name do not reach.
fn expressible_path(target: &str) -> Option<String> {
    let plain = target
        .strip_prefix("./")
        .filter(|rest| !rest.starts_with('/'))
        .unwrap_or(target);
    let below = plain.strip_prefix('/').unwrap_or(plain);
    if below.split('/').any(|part| matches!(part, "" | "." | "..")) || target.contains("${") {
        return None;
    }
    let path = if below.len() < plain.len() {
        plain.to_owned()
    } else {
        format!("{WORKSPACE}/{plain}")
    };
    let in_system = SYSTEM_TREES
        .iter()
        .any(|tree| path.strip_prefix(tree).is_some_and(|rest| rest.starts_with('/')));
    (!in_system).then_some(path)
}

/// The words that a shell would make of a line that has only words. A pipe, a list or a substitution is several commands.
fn expressible_words(line: &str) -> Option<Vec<String>> {
    if line.contains(|c: char| ";|&<>$`(){}*?~#!\\\"'\n".contains(c)) {
        return None;
    }
    let words: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
    (!words.is_empty() && !words[0].contains('/') && words.join(" ") == line.trim()).then_some(words)
}

fn run(policy: &Policy, words: &[String]) -> Decision {
    let file = format!("/usr/bin/{}", words[0]);
    let command = Command {
        file: file.as_bytes(),
        chain: vec![file.as_bytes()],
        argv: words.iter().map(String::as_bytes).collect(),
        cwd: WORKSPACE.as_bytes(),
        ..Command::default()
    };
    policy.command(&command, &Nobody).decision
}

/// What the boundary answers; None where it can not be asked this.
fn at_boundary(policy: &Policy, action: &str, operation: &str, target: &str) -> Option<Decision> {
    if let Some(op) = file_operation(action) {
        return Some(policy.file(op, expressible_path(target)?.as_bytes(), &Nobody).decision);
    }
    match (action, operation) {
        ("execute_command", _) => Some(run(policy, &expressible_words(target)?)),
        ("git_operation", "push") => {
            // CAVRA compares the end of a name, the boundary compares branches: `domain` is none of those it protects.
            let branch = target.strip_prefix("origin/").unwrap_or(target);
            let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
            let known =
                matches!(branch, "main" | "master") || !(branch.ends_with("main") || branch.ends_with("master"));
            let words = ["git", "push", "origin", branch].map(str::to_owned);
            known.then(|| run(policy, &words))
        }
        _ => None,
    }
}

fn ask(rules: &Rules, action: &str, operation: &str, target: &str) -> Answer {
    let request = Request {
        action_type: action.to_owned(),
        operation: operation.to_owned(),
        target: target.to_owned(),
        ..Request::default()
    };
    evaluate(&request, rules, None)
}

/// Compares, and adds what is looser to `looser`; whether the boundary could be asked.
fn compare(pack: &str, rules: &Rules, policy: &Policy, what: [&str; 3], looser: &mut String) -> bool {
    let [action, operation, target] = what;
    let Some(boundary) = at_boundary(policy, action, operation, target) else {
        return false;
    };
    let answer = ask(rules, action, operation, target);
    // `commands.default` is ours: where a pack states it, CAVRA still asks for what no list names.
    if rules.id() == "cavra-workstation" && answer.rule_id == "commands.default.require_approval" {
        return false;
    }
    let cavra = answer.decision;
    if boundary < cavra {
        writeln!(
            looser,
            "{pack}: {action} {operation} {target:?}: CAVRA {cavra}, boundary {boundary}"
        )
        .unwrap();
    }
    true
}

#[test]
fn the_boundary_is_never_looser_over_the_table() {
    let (mut looser, mut asked) = (String::new(), 0);
    for pack in packs() {
        let rules = Rules::load(&pack, &[repository().join("policies")]).unwrap();
        let policy = boundary(&pack, &repository().join("policies"));
        let table = std::fs::read_to_string(repository().join(format!("tests/parity/{pack}.tsv"))).unwrap();
        for row in table.lines().skip(1) {
            let fields: Vec<&str> = row.split('\t').collect();
            let what = [fields[0], fields[1], fields[2]];
            asked += usize::from(compare(&pack, &rules, &policy, what, &mut looser));
        }
    }
    assert!(looser.is_empty(), "\n{looser}");
    assert!(asked > 400, "only {asked} rows could be asked of the boundary");
}

/// Xorshift: the same targets in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }

    /// A target that the pattern matches, or nearly: its stars filled, now and then a prefix before it.
    fn target(&mut self, pattern: &str, prefixes: &[&str], fillings: &[&str]) -> String {
        let mut text = prefixes[self.below(prefixes.len())].to_owned();
        for letter in pattern.chars() {
            match letter {
                '*' => text.push_str(fillings[self.below(fillings.len())]),
                letter => text.push(letter),
            }
        }
        text
    }
}

/// Before a made path, and in place of its stars.
const PREFIXES: &[&str] = &["", "", "a/", "/ws/repo/", "/ws/", "/home/u/", "./", "a/b/"];
const PARTS: &[&str] = &["", "x", "x/y", "/", ".", "a.b", "x/", "/x"];

#[test]
fn the_boundary_is_never_looser_for_patterns_of_any_form() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("odd")).unwrap();
    let patterns = [
        "*/iam/*",
        "*iam*",
        "*",
        "**",
        "**/*",
        "a/*",
        "a*b",
        "*.env",
        "**x",
        "x**",
        "**/x",
        "x/**/y",
        "*/x",
        "/ws/repo/a/**",
        "/ws/*",
        "/*",
        "/home/u/x",
        "/home/*/x",
        "*x/y",
        "x",
        ".x",
        "a/**/b/*.pem",
        "***/x",
        "*/*/x",
    ];
    let (mut looser, mut asked) = (String::new(), 0);
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for pattern in patterns {
        let pack = format!(
            "metadata: {{id: odd}}\nfilesystem:\n  block_read: [{pattern:?}]\n  require_approval_write: [{pattern:?}]\n"
        );
        std::fs::write(dir.path().join("odd/policy.yaml"), pack).unwrap();
        let rules = Rules::load("odd", &[dir.path().to_owned()]).unwrap();
        let policy = boundary("odd", dir.path());
        for action in ["read_file", "write_file"] {
            for _ in 0..400 {
                let target = dice.target(pattern, PREFIXES, PARTS);
                asked += usize::from(compare(pattern, &rules, &policy, [action, "", &target], &mut looser));
            }
        }
    }
    assert!(looser.is_empty(), "\n{looser}");
    assert!(asked > 5_000, "{asked}");
}

#[test]
fn the_boundary_is_never_looser_over_what_the_patterns_match() {
    let (mut looser, mut asked, mut refused) = (String::new(), 0, 0);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for pack in packs() {
        let rules = Rules::load(&pack, &[repository().join("policies")]).unwrap();
        let policy = boundary(&pack, &repository().join("policies"));
        let lines = ["", "", " ", "sudo ", "env ", "sh -c ", "nice ", "./"];
        let words = ["", " x", " --flag", "x", " -n y z", "y "];
        for (action, list, prefixes, fillings) in [
            ("read_file", &rules.block_read, PREFIXES, PARTS),
            ("write_file", &rules.block_write, PREFIXES, PARTS),
            ("write_file", &rules.require_approval_write, PREFIXES, PARTS),
            ("execute_command", &rules.command_block, &lines, &words),
            ("execute_command", &rules.command_allow, &lines, &words),
        ] {
            for pattern in list {
                for _ in 0..MADE {
                    let target = dice.target(pattern.text(), prefixes, fillings);
                    if compare(&pack, &rules, &policy, [action, "", &target], &mut looser) {
                        asked += 1;
                        refused += usize::from(ask(&rules, action, "", &target).decision > Decision::Allow);
                    }
                }
            }
        }
    }
    assert!(looser.is_empty(), "\n{looser}");
    assert!(
        asked > 2_000 && refused > 1_000,
        "{asked} asked, {refused} of them not allowed by CAVRA"
    );
}
