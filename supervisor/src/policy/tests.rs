//! Whole policies: files in, answers out.
#![allow(clippy::unwrap_used, clippy::panic)]

mod git_config;

use std::path::{Path, PathBuf};

use super::{
    Command, Diagnostics, Endpoint, FileOp, Mode, NetOp, Nobody, Policy, Profile, Request, Scope, Subject, load,
};
use crate::decision::Decision::{self, Allow, AuditOnly, Block, RequireApproval, Warn};

/// A machine with folders of its own: packs are written, then loaded.
struct Machine {
    dir: tempfile::TempDir,
    scope: Scope,
    system: Vec<PathBuf>,
    profile: Profile,
    launch: Vec<String>,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["ws", "home", "policy.d", "search"] {
            std::fs::create_dir(root.join(folder)).unwrap();
        }
        Self {
            scope: Scope {
                workspace: root.join("ws"),
                home: root.join("home"),
                tmp: vec![root.join("tmp")],
                fold: false,
            },
            system: vec!["/usr".into(), "/etc/ssl".into()],
            profile: Profile {
                name: "test".to_owned(),
                ..Profile::default()
            },
            launch: Vec::new(),
            dir,
        }
    }

    fn root(&self) -> &Path {
        self.scope.workspace.parent().unwrap()
    }

    /// Adds a pack to the launch.
    fn with(mut self, pack: &str) -> Self {
        let file = self.root().join(format!("launch{}.yaml", self.launch.len()));
        let text = if pack.contains("metadata") {
            pack.to_owned()
        } else {
            format!("metadata: {{id: launch{}}}\n{pack}\n", self.launch.len())
        };
        std::fs::write(&file, text).unwrap();
        self.launch.push(file.display().to_string());
        self
    }

    fn machine(self, pack: &str) -> Self {
        let text = format!("metadata: {{id: machine}}\n{pack}\n");
        std::fs::write(self.root().join("policy.d/a.yaml"), text).unwrap();
        self
    }

    fn repository(self, pack: &str) -> Self {
        let text = format!("metadata: {{id: repository}}\n{pack}\n");
        std::fs::create_dir_all(self.scope.workspace.join(".cavra")).unwrap();
        std::fs::write(self.scope.workspace.join(".cavra/policy.yaml"), text).unwrap();
        self
    }

    fn load(&self) -> Result<Policy, Diagnostics> {
        load(&Request {
            launch: &self.launch,
            profile: &self.profile,
            machine_dir: &self.root().join("policy.d"),
            repository: Some(&self.scope.workspace.join(".cavra/policy.yaml")),
            search: &[self.root().join("search")],
            scope: &self.scope,
            system_trees: &self.system,
            env: &|_| None,
            agent: "tester",
            admits: None,
        })
    }

    fn policy(&self) -> Policy {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(&self) -> String {
        self.load().err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// `ws/x`, `home/x`, `tmp/x` of this machine; other paths as they are.
    fn path(&self, path: &str) -> Vec<u8> {
        let own = ["ws", "home", "tmp", "real", "link"]
            .iter()
            .any(|tree| path.split('/').next() == Some(tree));
        let path = if own { self.root().join(path) } else { path.into() };
        path.into_os_string().into_encoded_bytes()
    }
}

fn warnings(policy: &Policy) -> String {
    let texts: Vec<String> = policy.warnings().iter().map(ToString::to_string).collect();
    texts.join("\n")
}

fn run<'a>(file: &'a str, argv: &[&'a str]) -> Command<'a> {
    Command {
        file: file.as_bytes(),
        argv: argv.iter().map(|word| word.as_bytes()).collect(),
        cwd: b"/",
        ..Command::default()
    }
}

#[test]
fn only_machine_and_launch_packs_switch_enforcement_off_and_only_all_of_them() {
    for (machine, launch, repository, mode) in [
        ("", vec!["mode: audit"], "", Mode::Audit),
        ("", vec!["metadata: {id: x, mode: audit_only}"], "", Mode::Audit),
        ("", vec!["mode: audit", "mode: enforce"], "", Mode::Enforce),
        ("", vec!["mode: audit", ""], "", Mode::Enforce),
        ("mode: audit", vec![""], "", Mode::Enforce),
        ("mode: enforce", vec!["mode: audit"], "", Mode::Enforce),
        ("mode: audit", vec!["mode: audit"], "", Mode::Audit),
        ("", vec![""], "mode: audit", Mode::Enforce),
        ("", vec!["mode: audit"], "mode: enforce", Mode::Audit),
        ("", vec!["metadata: {id: x, mode: strict_regulated}"], "", Mode::Enforce),
    ] {
        let mut world = Machine::new();
        for pack in &launch {
            world = world.with(pack);
        }
        if !machine.is_empty() {
            world = world.machine(machine);
        }
        if !repository.is_empty() {
            world = world.repository(repository);
        }
        assert_eq!(world.policy().mode(), mode, "{machine} {launch:?} {repository}");
    }
}

#[test]
fn a_pack_that_watches_says_what_would_have_been_and_changes_no_answer() {
    /// Machine, launch and repository packs; then what a write of `ws/a`, a command and a connection meet, with what would have been.
    type Row<'a> = (&'a str, &'a [&'a str], &'a str, [(Decision, Option<Decision>); 3]);
    let enforces = "filesystem: {warn_write: [a]}\ncommands: {default: allow}\nnetwork: {default: allow}";
    let allows = "filesystem: {allow_write: [a]}\ncommands: {default: allow}\nnetwork: {default: allow}";
    let blocks = "filesystem: {block_write: [a]}\ncommands: {block: ['x*']}\nnetwork: {block: ['192.0.2.1']}";
    let watches = format!("mode: audit\n{blocks}");
    let lets = format!("mode: audit\n{allows}");
    let plain = [(Warn, None), (Allow, None), (Allow, None)];
    let rows: &[Row<'_>] = &[
        ("", &[enforces], "", plain),
        (
            "",
            &[enforces, blocks],
            "",
            [(Block, None), (Block, None), (Block, None)],
        ),
        (
            "",
            &[enforces, &watches],
            "",
            [(Warn, Some(Block)), (Allow, Some(Block)), (Allow, Some(Block))],
        ),
        (
            &watches,
            &[enforces],
            "",
            [(Warn, Some(Block)), (Allow, Some(Block)), (Allow, Some(Block))],
        ),
        (
            "",
            &[enforces],
            &watches,
            [(Warn, Some(Block)), (Allow, Some(Block)), (Allow, Some(Block))],
        ),
        // What watches takes nothing from what enforces, in whatever layer.
        (
            "",
            &[enforces, blocks, &watches],
            "",
            [(Block, None), (Block, None), (Block, None)],
        ),
        (
            "",
            &[enforces, blocks],
            "mode: audit",
            [(Block, None), (Block, None), (Block, None)],
        ),
        (
            blocks,
            &[enforces, &watches],
            &watches,
            [(Block, None), (Block, None), (Block, None)],
        ),
        (
            blocks,
            &[&lets],
            "mode: audit",
            [(Block, None), (Block, None), (Block, None)],
        ),
        // Nor does it open anything: CAVRA's own defaults hold commands and connections where no enforcing pack has an answer.
        (
            "",
            &["", &lets],
            "",
            [(Allow, None), (RequireApproval, None), (RequireApproval, None)],
        ),
        (
            "",
            &["", &watches],
            "",
            [
                (Allow, Some(Block)),
                (RequireApproval, Some(Block)),
                (RequireApproval, Some(Block)),
            ],
        ),
        // What is no more restrictive is not told.
        (
            "",
            &[enforces, "mode: audit\nfilesystem: {audit_only_write: [a]}"],
            "",
            plain,
        ),
        // Of several, the strictest; `metadata.mode` is CAVRA's word for it.
        (
            "mode: audit\nfilesystem: {require_approval_write: [a]}",
            &[
                enforces,
                "metadata: {id: cavra, mode: audit_only}\nfilesystem: {block_write: [a]}",
            ],
            "",
            [(Warn, Some(Block)), (Allow, None), (Allow, None)],
        ),
        // Where all of machine and launch watch, the session does, and each pack answers as the others do.
        ("", &[&watches], "", [(Block, None), (Block, None), (Block, None)]),
    ];
    for (machine, launch, repository, wanted) in rows {
        let mut world = Machine::new();
        for pack in *launch {
            world = world.with(pack);
        }
        if !machine.is_empty() {
            world = world.machine(machine);
        }
        if !repository.is_empty() {
            world = world.repository(repository);
        }
        let policy = world.policy();
        let ip = "192.0.2.1".parse().unwrap();
        let met = [
            policy.file(FileOp::Write, &world.path("ws/a"), &Nobody),
            policy.command(&run("/usr/bin/x", &["x", "1"]), &Nobody),
            policy.network(NetOp::Connect, &Endpoint::Tcp(ip, 443), &Nobody),
        ];
        let met = met.map(|verdict| (verdict.decision, verdict.watched.map(|rule| rule.decision)));
        assert_eq!(&met, wanted, "{machine}|{launch:?}|{repository}");
        // One mode for the session holds for all of its packs.
        let one = policy.in_one_mode();
        assert_eq!(
            one.file(FileOp::Write, &world.path("ws/a"), &Nobody)
                .watched
                .map(|rule| rule.decision),
            None
        );
        assert!(one.watching().is_empty());
    }
}

#[test]
fn a_pack_that_watches_opens_no_door_and_bounds_nothing() {
    let enforces = "filesystem: {default_write: allow}\ncommands: {default: allow}\nnetwork: {default: block}";
    let opens = "network: {allow: ['169.254.169.254:80', 'api.example:443', 'udp:192.0.2.1:9']}";
    let bounds = "filesystem: {default_write: block, allow_write: ['/srv/**']}\nnetwork: {block: ['*']}";
    let metadata = Endpoint::Tcp("169.254.169.254".parse().unwrap(), 80);
    for (mode, open) in [("enforce", Allow), ("audit", Block)] {
        let both = Machine::new()
            .with("commands: {default: allow}")
            .with(&format!("mode: {mode}\n{opens}"));
        let policy = both.policy();
        assert_eq!(
            policy.network(NetOp::Connect, &metadata, &Nobody).decision,
            open,
            "{mode}"
        );
        assert_eq!(
            (policy.looks_up(), policy.admits_datagrams()),
            (open == Allow, open == Allow),
            "{mode}"
        );
    }
    for (mode, bounded) in [("enforce", true), ("audit", false)] {
        let world = Machine::new().with(enforces).with(&format!("mode: {mode}\n{bounds}"));
        let policy = world.policy();
        assert_eq!(policy.write_roots().is_some(), bounded, "{mode}");
        assert_eq!(policy.reaches_nothing(), bounded, "{mode}");
        let moved = policy.same_below(b"/srv/a", b"/tmp/a");
        assert_eq!(
            moved, !bounded,
            "{mode}: a folder is moved as if the pack were not there"
        );
    }
}

#[test]
fn the_mode_of_a_pack_is_told_explained_and_compared() {
    let enforces = "commands: {default: allow}\nfilesystem: {allow_write: [a]}";
    let blocks = "metadata: {id: other}\nfilesystem: {block_write: [a]}";
    let watches = format!("mode: audit\n{blocks}");
    let world = Machine::new().with(enforces).with(&watches);
    let policy = world.policy();
    assert_eq!(policy.watching(), ["other"]);
    let told = super::explain(
        &policy,
        &super::Question::File(FileOp::Write, &world.path("ws/a")),
        &Nobody,
    );
    assert_eq!(told.answer.decision, "allow");
    let would = told.would_have.unwrap();
    assert_eq!(
        (would.decision.as_str(), would.policy_pack.as_str()),
        ("block", "other")
    );
    assert!(would.source.is_some_and(|place| place.ends_with("launch1.yaml:3:28")));
    let said: Vec<_> = told
        .packs
        .iter()
        .map(|pack| (pack.policy_pack.as_str(), pack.mode))
        .collect();
    assert_eq!(said, [("launch0", "enforce"), ("other", "audit")]);
    // An allow that only a watching pack speaks against still answers.
    assert!(!warnings(&policy).contains("never answers"), "{:?}", policy.warnings());
    let strict = Machine::new().with(enforces).with(blocks).policy();
    assert!(warnings(&strict).contains("never answers"), "{:?}", strict.warnings());

    let alone = Machine::new().with(enforces).policy();
    let only = Machine::new().with(&watches).policy();
    let enforced = Machine::new().with(blocks).policy();
    for (before, after, way, words) in [
        (
            &strict,
            &policy,
            super::Way::Loosened,
            ("block", "audit_only", Some("block")),
        ),
        (
            &alone,
            &policy,
            super::Way::Tightened,
            ("allow", "audit_only", Some("block")),
        ),
        (
            &enforced,
            &only,
            super::Way::Loosened,
            ("block", "audit_only", Some("block")),
        ),
    ] {
        let changes = super::compare(before, after);
        let change = changes
            .iter()
            .find(|change| change.request.starts_with("write "))
            .unwrap();
        let found = (
            &*change.before.decision,
            &*change.after.decision,
            change.after.would_be.as_deref(),
        );
        assert_eq!((change.way, found), (way, words), "{}", change.request);
    }
    assert!(super::compare(&policy, &policy).is_empty());
}

#[test]
fn each_tool_is_read_past_its_options_to_what_it_does() {
    /// What a pack blocks; a command that does it, and one like it that does not.
    const ROWS: &[(&str, &str, &str)] = &[
        (
            "kubectl delete*",
            "kubectl --context prod -n x delete pod y",
            "kubectl --context delete -n x get pod y",
        ),
        (
            "kubectl delete*",
            "kubectl --context=prod delete pod y",
            "kubectl --context=delete get pod y",
        ),
        (
            "helm uninstall*",
            "helm --kube-context prod -n x del r",
            "helm --kube-context prod -n del list",
        ),
        (
            "terraform apply*",
            "terraform -chdir=prod apply -auto-approve",
            "terraform -chdir=apply plan",
        ),
        ("tofu apply*", "tofu -chdir=prod apply", "tofu -chdir=apply plan"),
        (
            "aws iam create-access-key*",
            "aws --profile p --region=r iam create-access-key",
            "aws --profile iam s3 ls",
        ),
        (
            "az role assignment create*",
            "az --subscription s role assignment create -o json",
            "az --subscription role group list",
        ),
        (
            "gcloud projects delete*",
            "gcloud --project p --quiet projects delete x",
            "gcloud --project projects config list",
        ),
        (
            "docker push*",
            "docker --context c image push i",
            "docker --context push image ls",
        ),
        (
            "podman push*",
            "podman --connection c image push i",
            "podman --connection push image ls",
        ),
        ("gh pr merge*", "gh pr merge -R o/r 1", "gh pr view -R o/merge 1"),
        ("glab mr merge*", "glab mr accept -R g/r 1", "glab mr view -R g/merge 1"),
        (
            "npm publish*",
            "npm --registry r --tag=x publ",
            "npm --tag publish pack",
        ),
        (
            "pnpm publish*",
            "pnpm --filter x publish",
            "pnpm --filter publish build",
        ),
        (
            "yarn npm publish*",
            "yarn --cwd d npm publish",
            "yarn --cwd npm install",
        ),
        (
            "cargo publish*",
            "cargo +nightly --color always publish",
            "cargo +nightly --color always package",
        ),
        (
            "twine upload*",
            "twine --no-color upload dist/x",
            "twine --no-color check upload",
        ),
        (
            "twine upload*",
            "python3 -m twine upload dist/x",
            "python3 -m twine check dist/x",
        ),
        (
            "git push*",
            "git -C /srv/x -c a.b=c --no-pager push",
            "git -C push --no-pager status",
        ),
        (
            "terraform apply*",
            "ssh -p 22 -i key host 'cd x && terraform apply'",
            "ssh -p 22 host 'cd x && terraform plan'",
        ),
        (
            "terraform apply*",
            "docker exec -e A=1 box bash -lc 'terraform apply'",
            "docker exec box bash -lc 'terraform plan'",
        ),
        (
            "terraform apply*",
            "kubectl exec -n x pod -- terraform apply",
            "kubectl exec -n x pod -- terraform plan",
        ),
    ];
    for (pattern, does, other) in ROWS {
        let policy = Machine::new()
            .with(&format!("commands: {{default: allow, block: ['{pattern}']}}"))
            .policy();
        for (line, wanted) in [(does, Block), (other, Allow)] {
            let argv = shlex::split(line).unwrap();
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            let file = format!("/usr/bin/{}", argv.first().unwrap());
            let found = policy.command(&run(&file, &argv), &Nobody).decision;
            assert_eq!(found, wanted, "{pattern}: {line}");
        }
    }
}

#[test]
fn enterprise_and_business_unit_packs_are_all_in_force_and_none_loosens_another() {
    let world = Machine::new().with("filesystem: {allow_write: ['${workspace}/**']}");
    for (name, text) in [
        (
            "10-enterprise",
            "metadata: {id: enterprise}\nfilesystem: {block_write: [policies/**]}\n",
        ),
        (
            "20-payments",
            "metadata: {id: payments, inherits: ./parents/base.yaml}\nfilesystem: {allow_write: [policies/**], require_approval_write: [ledger/**]}\n",
        ),
        (
            "parents/base",
            "metadata: {id: base}\nfilesystem: {warn_write: [docs/**]}\n",
        ),
    ] {
        let file = world.root().join(format!("policy.d/{name}.yaml"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let policy = world.policy();
    for (path, decision, pack) in [
        ("ws/policies/x", Block, "enterprise"),
        ("ws/ledger/x", RequireApproval, "payments"),
        ("ws/docs/x", Warn, "base"),
        ("ws/src/x", Allow, "launch0"),
    ] {
        let found = policy.file(FileOp::Write, &world.path(path), &Nobody);
        assert_eq!((found.decision, found.rule.pack.as_str()), (decision, pack), "{path}");
    }
    let layers: Vec<_> = policy
        .each()
        .map(|(layer, pack, _)| (layer, pack.id.as_str()))
        .collect();
    let machine = super::Layer::Machine;
    let wanted = [
        (machine, "enterprise"),
        (machine, "payments"),
        (super::Layer::Launch, "launch0"),
    ];
    assert_eq!(layers, wanted);
    // Whoever could write one of their files would choose the next session's policy.
    for file in ["10-enterprise", "20-payments", "parents/base"] {
        let file = world.root().join(format!("policy.d/{file}.yaml"));
        assert!(policy.reserved().contains(&file.into_os_string().into_encoded_bytes()));
    }
}

#[test]
fn paths_are_answered_as_people_expect() {
    let link = |world: &Machine| {
        std::fs::create_dir(world.root().join("real")).unwrap();
        std::os::unix::fs::symlink("real", world.root().join("link")).unwrap();
        std::os::unix::fs::symlink("docs", world.scope.workspace.join("iam")).unwrap();
    };
    let rows: &[(&str, &str, Decision)] = &[
        ("filesystem: {block_write: [~/.ssh/**]}", "home/.ssh/id", Block),
        ("filesystem: {block_write: [./iam/**]}", "ws/docs/x", Block),
        ("filesystem: {block_write: [iam/**]}", "ws/iam/x", Block),
        ("filesystem: {block_write: [iam/**]}", "ws/docs/x", Block),
        ("filesystem: {block_write: [iam/**]}", "ws/other/x", Allow),
        ("filesystem: {block_write: [secret/]}", "ws/secret/a/b", Block),
        ("filesystem: {block_write: [secret/]}", "ws/secret", Block),
        ("filesystem: {block_write: ['${workspace}/../link/**']}", "", Block),
        (
            "filesystem: {default_write: block, allow_write: ['${workspace}/iam/**']}",
            "ws/iam/x",
            Allow,
        ),
        (
            "filesystem: {default_write: block, allow_write: ['${workspace}/iam/**']}",
            "ws/docs/x",
            Block,
        ),
        ("filesystem: {block_write: [\"**/x.pem\"]}", "/etc/ssl/x.pem", Allow),
        ("filesystem: {block_write: [/etc/ssl/x.pem]}", "/etc/ssl/x.pem", Block),
        (
            "filesystem: {require_approval_write: [a], block_write: [a]}",
            "ws/a",
            Block,
        ),
        (
            "filesystem: {allow_write: [a], require_approval_write: [a]}",
            "ws/a",
            RequireApproval,
        ),
        (
            "filesystem: {allow_write: ['${workspace}/**'], audit_only_write: [a]}",
            "ws/a",
            AuditOnly,
        ),
        ("{}", "/anything", Allow),
    ];
    for (pack, path, wanted) in rows {
        let world = Machine::new();
        link(&world);
        let world = world.with(if *pack == "{}" { "" } else { pack });
        if path.is_empty() {
            assert!(world.error().contains("never matches"), "{pack}: {}", world.error());
            continue;
        }
        let found = world.policy().file(FileOp::Write, &world.path(path), &Nobody).decision;
        assert_eq!(found, *wanted, "{pack} {path}");
    }
    let world = Machine::new();
    link(&world);
    let pack = format!("filesystem: {{block_read: ['{}/link/**']}}", world.root().display());
    let world = world.with(&pack);
    let policy = world.policy();
    let found = policy.file(FileOp::Read, &world.path("real/x"), &Nobody);
    assert_eq!(found.decision, Block, "a block goes through a link");
}

#[test]
fn a_workspace_in_a_system_tree_keeps_its_patterns_by_name() {
    for (workspace, path, wanted) in [
        ("/usr/src/p", "/usr/src/p/a/.env", Block),
        ("/usr/src/p", "/usr/src/q/.env", Allow),
        ("/usr/src/p", "/usr/src/p", Allow),
        ("/", "/usr/share/.env", Allow),
        ("/", "/srv/.env", Block),
        ("/srv", "/srv/.env", Block),
    ] {
        let mut world = Machine::new().with("filesystem: {block_read: [.env]}");
        world.scope.workspace = workspace.into();
        let policy = load(&Request {
            launch: &world.launch,
            profile: &world.profile,
            machine_dir: Path::new("/nonexistent"),
            repository: None,
            search: &[],
            scope: &world.scope,
            system_trees: &world.system,
            env: &|_| None,
            agent: "",
            admits: None,
        })
        .unwrap();
        let found = policy.file(FileOp::Read, path.as_bytes(), &Nobody).decision;
        assert_eq!(found, wanted, "{workspace} {path}");
    }
}

#[test]
fn hard_links_are_looked_for_under_each_name_that_a_rule_writes_out() {
    let world = Machine::new()
        .with("filesystem: {block_read: [.env, '**/id_rsa', '*.pem', iam/x, '**/a/b'], allow_read: [ok]}");
    let mut wanted: Vec<Vec<u8>> = ["ws/.env", "home/.env", "ws/id_rsa", "home/id_rsa", "ws/iam/x"]
        .iter()
        .map(|path| world.path(path))
        .collect();
    wanted.sort();
    assert_eq!(world.policy().literal_paths(), wanted);
}

#[test]
fn a_layer_that_can_not_be_read_is_never_left_out() {
    let world = Machine::new().with("");
    let machine = world.root().join("policy.d");
    std::fs::remove_dir(&machine).unwrap();
    assert!(world.load().is_ok(), "no folder is no layer");
    std::fs::write(&machine, "x").unwrap();
    assert!(world.error().contains("never left out"), "{}", world.error());
    std::fs::remove_file(&machine).unwrap();
    std::os::unix::fs::symlink("loop", world.root().join("loop")).unwrap();
    std::os::unix::fs::symlink("loop", &machine).unwrap();
    assert!(world.error().contains("never left out"), "{}", world.error());
    std::fs::remove_file(&machine).unwrap();
    std::fs::create_dir(&machine).unwrap();
    std::fs::write(machine.join("a.yml"), "").unwrap();
    assert!(world.error().contains("rename it"), "{}", world.error());
    std::fs::remove_file(machine.join("a.yml")).unwrap();
    std::fs::create_dir(machine.join("b.yaml")).unwrap();
    assert!(world.error().contains("is no file"), "{}", world.error());
    std::fs::remove_dir(machine.join("b.yaml")).unwrap();
    std::fs::create_dir(world.scope.workspace.join(".cavra")).unwrap();
    std::os::unix::fs::symlink("nowhere", world.scope.workspace.join(".cavra/policy.yaml")).unwrap();
    assert!(world.error().contains("policy.yaml"), "{}", world.error());
}

#[test]
fn protected_branches_are_joined_and_never_empty_by_omission() {
    let search = |world: &Machine| {
        let text = "metadata: {id: parent}\ngit: {protected_branches: [prod]}\n";
        std::fs::write(world.root().join("search/parent.yaml"), text).unwrap();
    };
    for (pack, branch, wanted) in [
        (
            "metadata: {id: c, inherits: parent}\ngit: {protected_branches: [main]}\n",
            "prod",
            Block,
        ),
        (
            "metadata: {id: c, inherits: parent}\ngit: {protected_branches: [main]}\n",
            "main",
            Block,
        ),
        (
            "metadata: {id: c, inherits: parent}\ngit: {protected_branches: [main]}\n",
            "topic",
            Allow,
        ),
        ("metadata: {id: c, inherits: parent}\ngit:\n", "prod", Block),
        ("git: {push_protected: require_approval}", "main", RequireApproval),
        ("git: {push_protected: require_approval}", "master", RequireApproval),
        ("git: {some_flag: true}", "main", Block),
        ("git: {some_flag: true}", "topic", Allow),
        ("git: {protected_branches: [], push_protected: block}", "main", Allow),
    ] {
        let world = Machine::new()
            .with(pack)
            .with("metadata: {id: other}\ncommands: {default: allow}\n");
        search(&world);
        let policy = world.policy();
        let found = policy.command(&run("/usr/bin/git", &["git", "push", "origin", branch]), &Nobody);
        assert_eq!(found.decision, wanted, "{pack} {branch}: {:?}", found.rule);
    }
}

/// A subject that is the programs of its list.
struct Is(&'static [(&'static str, Option<&'static str>, bool)]);

impl Subject for Is {
    fn is_program(&self, program: &str, digest: Option<&str>, tree: bool) -> bool {
        self.0.contains(&(program, digest, tree))
    }

    fn is_below(&self, program: &str) -> bool {
        self.0.contains(&(program, None, true))
    }
}

#[test]
fn a_rule_by_someone_holds_for_nobody_else() {
    let hex = "0".repeat(64);
    let digest: &'static str = Box::leak(hex.clone().into_boxed_str());
    let git: Is = Is(&[("git", None, false)]);
    let below: Is = Is(&[("git", None, false), ("deploy", None, true)]);
    let tree: Is = Is(&[("git", None, true)]);
    let exact = Is(Box::leak(Box::new([("/usr/bin/git", Some(digest), false)])));
    for (by, subject, wanted) in [
        ("git", &git, Allow),
        ("[npm, git]", &git, Allow),
        ("{program: git}", &git, Allow),
        ("{program: git, tree: true}", &git, Block),
        ("{program: git, tree: true}", &tree, Allow),
        ("[{program: git, tree: true}, npm]", &tree, Allow),
        (
            &format!("{{program: /usr/bin/git, digest: 'sha256:{hex}'}}"),
            &exact,
            Allow,
        ),
        (
            &format!("{{program: /usr/bin/git, digest: {}}}", "f".repeat(64)),
            &exact,
            Block,
        ),
        ("npm", &git, Block),
        ("{program: git, ancestor: deploy}", &git, Block),
        ("{program: git, ancestor: deploy}", &below, Allow),
        ("{program: git, ancestor: [other, deploy]}", &below, Allow),
        ("{program: git, ancestor: other}", &below, Block),
        ("{program: deploy, ancestor: git}", &below, Block),
        ("{agent: tester}", &git, Allow),
        ("{agent: other}", &git, Block),
        ("{profile: test}", &git, Allow),
        ("{profile: other, program: git}", &git, Block),
        ("{profile: test, program: git}", &git, Allow),
    ] {
        let world = Machine::new().with(&format!(
            "filesystem: {{default_read: block}}\nrules: [{{action: read_file, match: x, by: {by}, decision: allow}}]"
        ));
        let policy = world.policy();
        let path = world.path("ws/x");
        assert_eq!(policy.file(FileOp::Read, &path, subject).decision, wanted, "{by}");
        if !by.contains("agent") && !by.contains("{profile: test}") {
            assert_eq!(
                policy.file(FileOp::Read, &path, &Nobody).decision,
                Block,
                "{by}: nobody"
            );
        }
    }
}

#[test]
fn folders_are_listed_where_something_below_can_be_read() {
    for (pack, dir, wanted) in [
        (
            "filesystem: {default_read: block, allow_read: [/data/a/**]}",
            "/",
            Allow,
        ),
        (
            "filesystem: {default_read: block, allow_read: [/data/a/**]}",
            "/data",
            Allow,
        ),
        (
            "filesystem: {default_read: block, allow_read: [/data/a/**]}",
            "/data/a",
            Allow,
        ),
        (
            "filesystem: {default_read: block, allow_read: [/data/a/**]}",
            "/data/b",
            Block,
        ),
        (
            "filesystem: {default_read: block, allow_read: [/data/a/**]}",
            "/secret",
            Block,
        ),
        ("filesystem: {default_read: require_approval}", "/x", RequireApproval),
        (
            "filesystem: {default_read: block, block_read: [/data/b/**]}",
            "/data",
            Block,
        ),
        ("filesystem: {block_read: ['${home}/.ssh/**']}", "home/.ssh", Block),
        ("filesystem: {block_read: ['${home}/.ssh/**']}", "home", Allow),
        ("filesystem: {block_read: ['${home}/.ssh/*.pub']}", "home/.ssh", Allow),
    ] {
        let world = Machine::new().with(pack);
        let found = world.policy().names(&world.path(dir), &Nobody).decision;
        assert_eq!(found, wanted, "{pack} {dir}");
    }
}

#[test]
fn all_mistakes_of_all_packs_are_shown_in_one_pass() {
    let world = Machine::new()
        .with("filesystem: {block_read: ['/a/../b', ok], blok_write: [x]}\nnetwork: {allow: ['10.0.0.0/99', '1.2.3.4:x']}")
        .with("metadata: {id: second}\nrules:\n- {action: read_file, match: '~root/x', except: ['$X'], decision: blok}\n- {action: write_file, match: a, decision: block, by: {program: g*, digest: 12}}\n")
        .machine("commands: {block: ['  ']}")
        .repository("network: {block: ['unix:${home}x']}\ncommand_grammar:\n- {names: [fine], words: 1}\n- {nams: [x]}");
    let error = world.error();
    for says in [
        "a.yaml:2:20",
        "launch0.yaml:2:27",
        "launch0.yaml:2:43",
        "launch0.yaml:3:19",
        "launch0.yaml:3:34",
        "launch1.yaml:3:30",
        "launch1.yaml:3:50",
        "launch1.yaml:3:67",
        "did you mean `block`?",
        "`12` is no digest",
        "launch1.yaml:4:65",
        "launch1.yaml:4:77",
        "policy.yaml:2:19",
        "a `/` behind it",
        "policy.yaml:5:3",
    ] {
        assert!(error.contains(says), "{says}\n{error}");
    }
}

#[test]
fn an_id_names_one_pack_and_one_answer() {
    let world = Machine::new()
        .with("metadata: {id: same}\n")
        .with("metadata: {id: same}\nmode: enforce\n");
    assert!(
        world.error().contains("two packs are called `same`"),
        "{}",
        world.error()
    );
    let world = Machine::new()
        .with("metadata: {id: same}\n")
        .with("metadata: {id: same}\n");
    assert!(world.load().is_ok(), "one pack named twice is one pack");
    let rule = |decision| format!("- {{id: r, action: read_file, match: x, decision: {decision}}}\n");
    let world = Machine::new().with(&format!("rules:\n{}{}", rule("block"), rule("warn")));
    assert!(world.error().contains("line 3 answers block"), "{}", world.error());
    let world = Machine::new().with(&format!("rules:\n{}{}", rule("block"), rule("block")));
    assert!(world.load().is_ok());
}

#[test]
fn a_need_turns_a_launch_packs_default_and_nothing_else() {
    let needs = |mut world: Machine| {
        world.profile.needs.write = vec!["~/.tool/**".to_owned()];
        world.profile.needs.network = vec!["192.0.2.1:443".to_owned()];
        world
    };
    let closed = "filesystem: {default_write: block}\nnetwork: {default: block}";
    for (world, wanted) in [
        (Machine::new().with(closed), Allow),
        (Machine::new().with("").machine(closed), Block),
        (Machine::new().with("").repository(closed), Block),
        (
            Machine::new().with("filesystem: {block_write: [~/.tool/x]}\nnetwork: {block: [192.0.2.0/24]}"),
            Block,
        ),
    ] {
        let world = needs(world);
        let policy = world.policy();
        assert_eq!(
            policy
                .file(FileOp::Write, &world.path("home/.tool/x"), &Nobody)
                .decision,
            wanted
        );
        let end = Endpoint::Tcp("192.0.2.1".parse().unwrap(), 443);
        assert_eq!(policy.network(NetOp::Connect, &end, &Nobody).decision, wanted);
    }
    let mut world = Machine::new().with("");
    world.profile.needs.read = vec!["${hme}/x".to_owned()];
    assert!(world.error().contains("needs.read"), "{}", world.error());
}

#[test]
fn what_comes_with_the_program_loads_and_names_its_lines() {
    let mut world = Machine::new();
    world.launch = super::builtin::PACKS.iter().map(|(id, _)| (*id).to_owned()).collect();
    let policy = world.policy();
    let found = policy.file(FileOp::Read, &world.path("ws/.env"), &Nobody);
    assert_eq!(
        (found.decision, found.rule.id.as_str()),
        (Block, "filesystem.read.block")
    );
    assert!(
        found
            .rule
            .source
            .as_ref()
            .is_some_and(|source| source.line > 1 && source.file.starts_with("builtin:"))
    );
    assert_eq!(Profile::load(Some("claude"), "x", &[]).unwrap().name, "claude");
    drop(world.dir);
}

#[test]
fn what_never_answers_is_told_with_its_place() {
    for (packs, says) in [
        (
            vec!["filesystem: {block_read: ['iam/**'], allow_read: ['iam/x/**']}"],
            Some("launch0.yaml:2:51: allow `iam/x/**` never answers"),
        ),
        (
            vec!["filesystem: {block_read: ['iam/x/**'], allow_read: ['iam/**']}"],
            None,
        ),
        (vec!["filesystem: {block_read: ['**/x'], allow_read: [/usr/x]}"], None),
        (
            vec!["commands: {block: ['a*'], allow: ['ab']}"],
            Some("allow `ab` never answers"),
        ),
        (
            vec!["commands: {allow: ['ab']}", "commands: {block: ['a*']}"],
            Some("`a*` in"),
        ),
        (
            vec!["rules: [{action: read_file, match: a, except: ['*'], decision: block}]"],
            Some("never matches"),
        ),
        (
            vec!["rules: [{action: read_file, match: a, except: [b], decision: block}]\nfilesystem: {allow_read: [a]}"],
            None,
        ),
        (vec!["mcp: {allowed_servers: [x]}"], Some("`mcp` is CAVRA's")),
        (
            vec!["filesystem: {block_read: ['a.{x,y}']}"],
            Some("stand for themselves"),
        ),
        (vec!["metadata: {id: x, owner: me}"], Some("`metadata.owner` is kept")),
    ] {
        let mut world = Machine::new();
        for pack in &packs {
            world = world.with(pack);
        }
        let warnings = warnings(&world.policy());
        match says {
            Some(says) => assert!(warnings.contains(says), "{packs:?}: {warnings}"),
            None => assert_eq!(warnings, "", "{packs:?}"),
        }
    }
}

#[test]
fn an_explanation_is_the_engines_answer_and_each_packs_part() {
    use super::{Question, explain};
    let world = Machine::new()
        .with("filesystem: {block_write: [a]}\ncommands: {default: allow}")
        .with("filesystem: {default_write: require_approval}")
        .machine("commands: {block: ['kubectl delete*']}");
    let policy = world.policy();
    let path = world.path("ws/a");
    let found = explain(&policy, &Question::File(FileOp::Write, &path), &Nobody);
    let parts = |found: &super::Explanation| -> Vec<(String, Option<String>)> {
        let parts = found.packs.iter();
        parts
            .map(|said| {
                (
                    said.policy_pack.clone(),
                    said.because.as_ref().map(|because| because.decision.clone()),
                )
            })
            .collect()
    };
    let row = |pack: &str, decision: Option<&str>| (pack.to_owned(), decision.map(str::to_owned));
    assert_eq!(found.answer.decision, "block");
    assert!(
        found
            .answer
            .source
            .as_ref()
            .is_some_and(|source| source.ends_with("launch0.yaml:2:28"))
    );
    assert_eq!(found.packs.len(), 3);
    assert_eq!(
        parts(&found),
        [
            row("machine", None),
            row("launch0", Some("block")),
            row("launch1", Some("require_approval"))
        ]
    );
    let command = run("/usr/bin/kubectl", &["kubectl", "--context", "p", "delete", "pod", "x"]);
    let found = explain(&policy, &Question::Command(&command), &Nobody);
    assert_eq!(
        (found.answer.decision.as_str(), found.answer.severity),
        ("block", "critical")
    );
    assert!(
        found.spellings.iter().any(|line| line == "kubectl delete pod x"),
        "{:?}",
        found.spellings
    );
    assert_eq!(
        parts(&found),
        [
            row("machine", Some("block")),
            row("launch0", Some("allow")),
            row("launch1", None)
        ]
    );
}

#[test]
fn an_allow_goes_by_what_a_command_is_and_a_block_by_all_that_it_may_mean() {
    const HELD: &str = "filesystem: {block_write: ['${home}/tools/**']}\ncommands:\n  allow: ['git status*', 'make*', './run*', '/opt/x *', 'deploy *']\n  block: ['deploy now*']\n  default: require_approval\n";
    const OPEN: &str = "commands: {default: allow, warn: ['make*'], block: ['deploy now*']}\n";
    for (pack, file, argv, wanted) in [
        (HELD, "/usr/bin/git", &["git", "status"][..], Allow),
        (HELD, "/usr/bin/git", &["/usr/bin/git", "status", "-s"], Allow),
        // Not by argv[0], not behind a wrapper, not with options in front that may name programs.
        (HELD, "/usr/bin/sh", &["git", "status"], RequireApproval),
        (HELD, "/usr/bin/env", &["env", "A=1", "git", "status"], RequireApproval),
        (
            HELD,
            "/usr/bin/git",
            &["git", "-c", "core.pager=x", "status"],
            RequireApproval,
        ),
        // A name is the tree's to give where it can write.
        (HELD, "ws/git", &["git", "status"], RequireApproval),
        (HELD, "home/tools/make", &["make", "all"], Allow),
        (HELD, "home/bin/make", &["make", "all"], RequireApproval),
        (HELD, "/opt/x", &["anything", "y"], Allow),
        (HELD, "ws/run", &["./run", "y"], RequireApproval),
        (HELD, "/run", &["./run", "y"], Allow),
        (HELD, "/usr/bin/deploy", &["deploy", "later"], Allow),
        (HELD, "/usr/bin/deploy", &["deploy", "now"], Block),
        (HELD, "ws/x", &["deploy", "now"], Block),
        // Where commands are free, a warning tightens, and holds for every meaning.
        (OPEN, "/usr/bin/env", &["env", "make", "all"], Decision::Warn),
        (OPEN, "ws/make", &["x", "all"], Decision::Warn),
        (OPEN, "/usr/bin/nice", &["nice", "deploy", "now"], Block),
        (OPEN, "/usr/bin/ls", &["ls"], Allow),
    ] {
        let world = Machine::new().with(pack);
        let policy = world.policy();
        let path = String::from_utf8(world.path(file)).unwrap();
        assert_eq!(
            policy.command(&run(&path, argv), &Nobody).decision,
            wanted,
            "{file} {argv:?}"
        );
    }
}

/// What the envelope leaves open: relative to the machine's folders, or nothing where a policy has no bounds.
#[test]
fn writes_are_bounded_by_the_layer_that_bounds_them_best() {
    let rows: &[(&str, Option<&[&str]>)] = &[
        ("filesystem: {default_write: allow}", None),
        ("filesystem: {allow_write: ['${workspace}/**']}", None),
        ("filesystem: {default_write: block}", Some(&[])),
        (
            "filesystem: {default_write: block, allow_write: ['${workspace}/**', '${workspace}/a/*', '/x/y']}",
            Some(&["/x/y", "ws"]),
        ),
        (
            "filesystem: {default_write: block, allow_write: ['${home}/.c*']}",
            Some(&["home"]),
        ),
        // Held, warned of and attested is written in the end; refused is not.
        (
            "filesystem: {default_write: block, require_approval_write: ['/h/**'], warn_write: ['/w/**'], block_write: ['**/no']}",
            Some(&["/h", "/w"]),
        ),
        ("filesystem: {default_write: block, allow_write: ['**/anywhere']}", None),
        (
            "metadata: {id: w, inherits: [cavra-workstation]}",
            Some(&[
                "/dev",
                "/proc",
                "home/.cache",
                "home/.cargo",
                "home/.claude/agents",
                "home/.claude/commands",
                "home/.claude/skills",
                "home/.local/share/pnpm/store",
                "home/.npm",
                "tmp",
                "ws",
            ]),
        ),
    ];
    for (pack, wanted) in rows {
        let machine = Machine::new().with(pack);
        let found = machine.load().unwrap().write_roots();
        let wanted = wanted.map(|wanted| {
            let mut paths: Vec<PathBuf> = wanted.iter().map(|path| machine.root().join(path)).collect();
            paths.sort();
            paths
        });
        assert_eq!(found, wanted, "{pack}");
    }
}
