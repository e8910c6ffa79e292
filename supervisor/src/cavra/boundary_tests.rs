//! The kernel boundary is never looser than CAVRA, for requests that both can express: over the table in `tests/parity`, and over targets
//! made from each pack's patterns and from patterns of any form. `docs/parity.md` names the exceptions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Answer, Boundary, Request, Rules, coverage, evaluate, run_cases};
use crate::decision::Decision;

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

fn boundary(pack: &str, root: &Path) -> Boundary {
    Boundary::load(&[pack.to_owned()], &[root.to_owned()]).unwrap()
}

fn request(action: &str, operation: &str, target: &str) -> Request {
    Request {
        action_type: action.to_owned(),
        operation: operation.to_owned(),
        target: target.to_owned(),
        ..Request::default()
    }
}

/// Where the boundary is looser by intention; docs/parity.md says why.
fn excepted(rules: &Rules, answer: &Answer) -> bool {
    let branch = answer
        .target
        .trim_start_matches("origin/")
        .trim_start_matches("refs/heads/");
    match answer.rule_id {
        // CAVRA compares the end of a name, the boundary compares branches: `domain` is none of those it protects.
        "git.protected_branch.block_direct_push" => !matches!(branch, "main" | "master"),
        // `commands.default` is ours: where a pack states it, CAVRA still asks for what no list names. And a program by its path is
        // another text to CAVRA; the boundary knows the file.
        "commands.default.require_approval" => {
            rules.id() == "cavra-workstation" || answer.target.starts_with(['/', '.'])
        }
        _ => false,
    }
}

/// Compares, and adds what is looser to `looser`; CAVRA's decision, where the boundary could be asked.
fn compare(pack: &str, rules: &Rules, policy: &Boundary, what: [&str; 3], looser: &mut String) -> Option<Decision> {
    let [action, operation, target] = what;
    let request = request(action, operation, target);
    let answer = evaluate(&request, rules, None);
    let verdict = policy.verdict(&request).filter(|_| !excepted(rules, &answer))?;
    let boundary = verdict.decision;
    // The same rule has the same name and approvers in both engines' records.
    let pattern = &verdict.rule.pattern;
    let same_rule = match pattern.as_str() {
        "" => answer.rule_id == "commands.default.require_approval",
        pattern => answer.reason.ends_with(&format!(" policy: {pattern}")),
    };
    let ours = (verdict.rule.id.as_str(), verdict.rule.approver_group.as_deref());
    let theirs = (answer.rule_id, answer.approver_group);
    if same_rule && boundary == answer.decision && ours != theirs {
        writeln!(
            looser,
            "{pack}: {action} {operation} {target:?}: CAVRA {theirs:?}, boundary {ours:?}"
        )
        .unwrap();
    }
    if boundary < answer.decision {
        let cavra = answer.decision;
        writeln!(
            looser,
            "{pack}: {action} {operation} {target:?}: CAVRA {cavra}, boundary {boundary}"
        )
        .unwrap();
    }
    Some(answer.decision)
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
            asked += usize::from(compare(&pack, &rules, &policy, what, &mut looser).is_some());
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
const PREFIXES: &[&str] = &[
    "",
    "",
    "a/",
    "/nowhere/workspace/",
    "/nowhere/",
    "/nowhere/home/",
    "./",
    "a/b/",
];
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
        "/nowhere/workspace/a/**",
        "/nowhere/*",
        "/*",
        "/nowhere/home/x",
        "/nowhere/*/x",
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
                asked += usize::from(compare(pattern, &rules, &policy, [action, "", &target], &mut looser).is_some());
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
                    if let Some(cavra) = compare(&pack, &rules, &policy, [action, "", &target], &mut looser) {
                        asked += 1;
                        refused += usize::from(cavra > Decision::Allow);
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

#[test]
fn each_pack_answers_as_its_own_tests_say() {
    let root = repository().join("policies");
    for pack in packs() {
        let file = root.join(&pack).join("tests.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let outcome = run_cases(&pack, std::slice::from_ref(&root), &file.display().to_string(), &text)
            .unwrap_or_else(|errors| panic!("{errors}"));
        assert!(outcome.failed.is_empty(), "{}", outcome.failed.join("\n"));
        assert!(outcome.passed >= 12, "{pack}: {}", outcome.passed);
        assert!(root.join(&pack).join("README.md").exists(), "{pack}");
    }
}

#[test]
fn each_rule_of_each_pack_serves_a_control() {
    let root = repository().join("policies");
    for pack in packs() {
        let coverage = coverage(std::slice::from_ref(&pack), std::slice::from_ref(&root))
            .unwrap_or_else(|errors| panic!("{errors}"));
        let unmapped: Vec<&str> = coverage
            .rows
            .iter()
            .filter(|row| row.controls.is_empty())
            .map(|row| row.entry.as_str())
            .collect();
        assert!(unmapped.is_empty(), "{pack}: {unmapped:?}");
        // What is called the boundary's answers when the boundary is asked; what is left to the adapter is MCP and lines of a shell.
        for row in coverage
            .rows
            .iter()
            .filter(|row| row.enforced_by == super::Enforcer::Adapter)
        {
            assert!(
                row.key.starts_with("mcp.") || row.entry.contains(['|', '&', ';']),
                "{pack}: {row:?}"
            );
        }
    }
}
