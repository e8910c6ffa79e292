//! What holds for all packs and requests, tried with many: matching is what the naive reading says, and layers only tighten.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::compile::PatternRule;
use super::matcher::Rules;
use super::pattern::{Glob, Role, expand};
use super::types::{Layer, Rule};
use super::{Command, Endpoint, FileOp, NetOp, Nobody, Policy, Profile, Request, Scope, load};
use crate::decision::{Decision, Severity};

fn scope() -> Scope {
    Scope {
        workspace: "/ws".into(),
        home: "/h".into(),
        tmp: vec!["/t".into()],
        fold: false,
    }
}

/// The pattern as its definition says: a star is any run of bytes, everything else is itself.
fn naive(pattern: &[u8], text: &[u8], newlines: bool) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len())
            .take_while(|end| newlines || !text[..*end].contains(&b'\n'))
            .any(|end| naive(rest, &text[end..], newlines)),
        Some((byte, rest)) => text.first() == Some(byte) && naive(rest, &text[1..], newlines),
    }
}

/// Few letters, so that things match.
fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop::sample::select(b"ab/.\n\xff".to_vec()), 0..12)
}

fn pattern() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop::sample::select(b"ab/.*".to_vec()), 1..10)
}

fn decision() -> impl Strategy<Value = Decision> {
    prop::sample::select(Decision::ALL.to_vec())
}

fn rule(decision: Decision, pattern: &[u8]) -> Rule {
    Rule {
        id: String::new(),
        severity: Severity::Low,
        layer: Layer::Launch,
        pack: String::new(),
        decision,
        pattern: String::from_utf8_lossy(pattern).into_owned(),
        reason: String::new(),
        approver_group: None,
        source: None,
    }
}

/// A path pattern that packs may hold.
fn written() -> impl Strategy<Value = String> {
    let shapes = [
        "N",
        "**/N",
        "N/**",
        "/ws/N*",
        "/N/**",
        "*.N",
        "./N",
        "N/",
        "~/N/*",
        "${workspace}/**",
        "${tmp}/**",
    ];
    ("[ab]{1,2}", prop::sample::select(shapes.to_vec())).prop_map(|(name, shape)| shape.replace('N', &name))
}

/// A pack of rules, as text.
fn pack() -> impl Strategy<Value = String> {
    let action = prop::sample::select(vec!["read_file", "write_file", "delete_file"]);
    let entry = (decision(), action, written());
    let entries = proptest::collection::vec(entry, 0..6);
    let defaults = (prop::option::of(decision()), prop::option::of(decision()));
    let network = prop::option::of((
        decision(),
        prop::sample::select(vec!["192.0.2.1", "192.0.2.0/24", "*:443", "udp:*"]),
    ));
    let command = prop::option::of((decision(), prop::sample::select(vec!["a*", "ab", "* b", "git *"])));
    (entries, defaults, network, command, any::<bool>()).prop_map(|(entries, (read, write), network, command, git)| {
        let mut text = String::from("rules:\n");
        for (number, (decision, action, pattern)) in entries.iter().enumerate() {
            text += &format!("- {{id: r{number}, action: {action}, match: '{pattern}', decision: {decision}}}\n");
        }
        if let Some((decision, pattern)) = command {
            text += &format!("- {{action: execute_command, match: '{pattern}', decision: {decision}}}\n");
        }
        if let Some((decision, to)) = network {
            text += &format!("network: {{default: allow, {decision}: ['{to}']}}\n");
        }
        let default = |name: &str, decision: Option<Decision>| {
            decision
                .map(|decision| format!("  default_{name}: {decision}\n"))
                .unwrap_or_default()
        };
        text += &format!("filesystem:\n{}{}", default("read", read), default("write", write));
        if git {
            text += "git: {push_protected: block}\n";
        }
        text
    })
}

fn policy(packs: &[&str]) -> Policy {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<String> = packs
        .iter()
        .enumerate()
        .map(|(number, pack)| {
            let file = dir.path().join(format!("{number}.yaml"));
            std::fs::write(&file, format!("metadata: {{id: p{number}}}\n{pack}")).unwrap();
            file.display().to_string()
        })
        .collect();
    load(&Request {
        launch: &files,
        profile: &Profile::default(),
        machine_dir: std::path::Path::new("/nonexistent"),
        repository: None,
        search: &[],
        scope: &scope(),
        system_trees: &["/usr".into()],
        env: &|_| None,
        agent: "",
        admits: None,
    })
    .unwrap_or_else(|error| panic!("{error}\n{packs:?}"))
}

/// An entry of `rules` without exceptions: decision, action, pattern.
fn entry() -> impl Strategy<Value = (Decision, &'static str, String)> {
    let of_paths = (
        prop::sample::select(vec!["read_file", "write_file", "delete_file"]),
        written(),
    );
    let of_commands = prop::sample::select(vec!["a*", "ab", "* b", "git *", "git push*", "a*b"])
        .prop_map(|text| ("execute_command", text.to_owned()));
    (decision(), prop_oneof![of_paths, of_commands])
        .prop_map(|(decision, (action, pattern))| (decision, action, pattern))
}

/// What a policy answers to a fixed set of requests but for folders' names, which may be listed where anything below may be read.
fn decided(policy: &Policy) -> Vec<Decision> {
    asked(policy, false)
}

/// What a policy answers to a fixed set of requests.
fn answers(policy: &Policy) -> Vec<Decision> {
    asked(policy, true)
}

fn asked(policy: &Policy, names: bool) -> Vec<Decision> {
    let paths: &[&[u8]] = &[
        b"/ws",
        b"/ws/a",
        b"/ws/ab",
        b"/ws/a/b",
        b"/ws/b/a/a",
        b"/ws/x.a",
        b"/h/a/x",
        b"/h/b",
        b"/t/a",
        b"/usr/a",
        b"/a/x",
        b"/ws/a\nb",
        b"/",
    ];
    let mut all = Vec::new();
    for path in paths {
        all.extend(FileOp::ALL.map(|op| policy.file(op, path, &Nobody).decision));
        if names {
            all.push(policy.names(path, &Nobody).decision);
        }
    }
    for (ip, port) in [
        ("192.0.2.1", 443),
        ("192.0.2.9", 80),
        ("198.51.100.1", 443),
        ("127.0.0.1", 80),
    ] {
        let ip = ip.parse().unwrap();
        for op in [NetOp::Connect, NetOp::Bind] {
            for end in [Endpoint::Tcp(ip, port), Endpoint::Udp(ip, port)] {
                all.push(policy.network(op, &end, &Nobody).decision);
            }
        }
    }
    for argv in [
        &[&b"a"[..], b"b"][..],
        &[b"ab"],
        &[b"git", b"push", b"o", b"main"],
        &[b"git", b"status"],
        &[b"a\nb"],
    ] {
        let command = Command {
            file: argv.first().unwrap(),
            argv: argv.to_vec(),
            cwd: b"/",
            ..Command::default()
        };
        all.push(policy.command(&command, &Nobody).decision);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn a_pattern_matches_what_its_definition_says(pattern in pattern(), text in text(), newlines: bool) {
        let found = Glob::new(&pattern, newlines).matches(&text);
        prop_assert_eq!(found, naive(&pattern, &text, newlines));
    }

    #[test]
    fn many_patterns_answer_as_each_of_them(
        rules in proptest::collection::vec((decision(), pattern()), 0..40),
        texts in proptest::collection::vec(text(), 1..20),
    ) {
        let compiled = rules.iter().map(|(decision, pattern)| PatternRule {
            globs: vec![Glob::new(pattern, true)],
            except: Vec::new(),
            by: Vec::new(),
            rule: rule(*decision, pattern),
        });
        let compiled = Rules::new(compiled.collect());
        for text in texts {
            let wanted = rules.iter().filter(|(_, pattern)| naive(pattern, &text, true)).map(|(decision, _)| *decision).max();
            let first = rules.iter().find(|(decision, pattern)| Some(*decision) == wanted && naive(pattern, &text, true));
            let found = compiled.strictest(&text, &|| false, &Nobody).map(|found| &found.rule);
            prop_assert_eq!(found.map(|rule| rule.decision), wanted);
            let named = first.map(|(_, pattern)| String::from_utf8_lossy(pattern).into_owned());
            prop_assert_eq!(found.map(|rule| rule.pattern.clone()), named, "of several the first is named");
        }
    }

    #[test]
    fn a_further_layer_never_loosens(first in pack(), second in pack()) {
        // Where no layer answers, CAVRA's default holds commands and connections; a layer may answer instead. So the first one answers.
        let answered = "commands: {default: allow}\n";
        let network = if first.contains("network:") { "" } else { "network: {default: allow}\n" };
        let first = format!("{first}{answered}{network}");
        let before = answers(&policy(&[&first]));
        let after = answers(&policy(&[&first, &second]));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(after >= before, "{before} became {after}\n{first}\n{second}");
        }
    }

    #[test]
    fn a_rule_loosens_to_its_own_answer_at_most(pack in pack(), more in entry(), except in prop::option::of("[ab]{1,2}")) {
        let (decision, action, pattern) = more;
        let except = except.map_or(String::new(), |except| format!(", except: '*{except}'"));
        let added = format!("rules:\n- {{action: {action}, match: '{pattern}', decision: {decision}{except}}}\n");
        let with = pack.replacen("rules:\n", &added, 1);
        let before = decided(&policy(&[&pack]));
        let after = decided(&policy(&[&with]));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(*after >= decision.min(*before), "{before} became {after}\n{with}");
            // The issue's own words, for whatever is no allow.
            let refused = *before >= Decision::RequireApproval;
            prop_assert!(decision == Decision::Allow || !refused || *after > Decision::Allow, "{before} became {after}\n{with}");
        }
    }

    #[test]
    fn a_comparison_sees_what_asking_sees(first in pack(), second in pack()) {
        let (before, after) = (policy(&[&first]), policy(&[&second]));
        let changes = super::compare(&before, &after);
        let asked: Vec<(Decision, Decision)> = answers(&before).into_iter().zip(answers(&after)).collect();
        for way in [super::Way::Tightened, super::Way::Loosened] {
            let seen = asked.iter().any(|(old, new)| if way == super::Way::Tightened { new > old } else { new < old });
            prop_assert!(!seen || changes.iter().any(|change| change.way == way), "{way:?} not seen\n{first}\n{second}");
        }
        prop_assert!(super::compare(&before, &before).is_empty());
    }

    #[test]
    fn a_moved_folder_keeps_its_answers_where_the_policy_says_so(pack in pack(), old in "[ab]{1,2}", new in "[ab]{1,2}", below in "[ab./]{1,6}") {
        let policy = policy(&[&pack]);
        let (old, new) = (format!("/ws/{old}"), format!("/ws/{new}"));
        if policy.same_below(old.as_bytes(), new.as_bytes()) {
            for op in FileOp::ALL {
                let at = |folder: &str| policy.file(op, format!("{folder}/{below}").as_bytes(), &Nobody).decision;
                prop_assert_eq!(at(&old), at(&new), "{} -> {} / {}\n{}", old, new, below, pack);
            }
        }
    }

    #[test]
    fn patterns_and_packs_of_any_bytes_never_panic(text in ".{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for role in [Role::Grant, Role::Note, Role::Restrict] {
            let _expanded = expand(&text, &scope(), role);
        }
        let mut library = super::pack::Library::new(&[]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let _node = library.checked("x", &format!("metadata: {{id: x}}\n{text}"), "pack", &super::shape::PACK_SHAPE);
        let _shown = library.diagnostics.to_string();
    }
}
