//! Whole policies at the real boundary and through cavractl: what a pack says is what a session meets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use cavra_tests::{User, World, users};

fn world() -> World {
    let world = World::new(User::Own);
    for name in ["kubectl", "terraform"] {
        let program = world.folder("bin").join(name);
        std::fs::write(&program, "#!/bin/sh\necho ran \"$@\"\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    world
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn cavractl(world: &World, words: &[&str]) -> (i32, String) {
    let output = world
        .command(world.folder("bin").join("cavractl"))
        .args(words)
        .output()
        .unwrap();
    (output.status.code().unwrap_or(-1), text(&output))
}

#[test]
fn production_packs_refuse_a_deletion_with_rule_pack_line_and_reason_and_let_one_look() {
    let world = world();
    // An allow goes by a program's name only where the tree can not give that name to another.
    let bin = world.folder("bin");
    let kept = format!(
        "metadata: {{id: kept}}\nfilesystem: {{block_write: ['{}/**']}}\n",
        bin.display()
    );
    let kept_file = world.folder("home").join("kept.yaml");
    std::fs::write(&kept_file, kept).unwrap();
    let packs = [
        "--policy",
        kept_file.to_str().unwrap(),
        "--policy",
        "cavra-kubernetes-prod",
        "--policy",
        "cavra-sox-change-control",
        "--approvals",
        "deny",
    ];
    let refused = world.run(&packs, &["kubectl", "--context", "prod", "delete", "pod", "x"]);
    assert!(!text(&refused.output).contains("ran"), "{}", text(&refused.output));
    let record = refused
        .records
        .iter()
        .find(|record| record["decision"] == "block")
        .expect("a refusal on record");
    assert_eq!(record["rule_id"], "commands.block");
    assert!(
        record["source"].as_str().is_some_and(|source| source.contains(':')),
        "{record}"
    );
    assert!(
        record["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("delete")),
        "{record}"
    );
    // The person sees it where the command was typed: rule, pack with line, reason.
    let said = text(&refused.output);
    let place = said.split("(builtin:cavra-kubernetes-prod:").nth(1).unwrap_or_default();
    assert!(
        said.contains("refused by commands.block")
            && place.starts_with(|digit: char| digit.is_ascii_digit())
            && place.contains("delete"),
        "{said}"
    );
    let looked = world.run(&packs, &["kubectl", "get", "pods"]);
    assert!(
        text(&looked.output).contains("ran get pods"),
        "{}",
        text(&looked.output)
    );
}

#[test]
fn a_profile_sets_environment_and_limits() {
    let world = world();
    let folder = world.folder("home").join(".config/cavra/profiles");
    std::fs::create_dir_all(&folder).unwrap();
    let profile = "name: small\npacks: [cavra-workstation]\nenv: {set: {COLOUR: blue}}\nlimits: {open_files: 77, file_bytes: 4096}\n";
    std::fs::write(folder.join("small.yaml"), profile).unwrap();
    let line = "echo $COLOUR; ulimit -n; ulimit -Hn; head -c 9000 /dev/zero > large; wc -c < large";
    let found = world.run(&["--profile", "small"], &["sh", "-c", line]);
    let said = text(&found.output);
    assert!(said.starts_with("blue\n77\n77\n"), "{said}");
    assert!(said.contains("4096"), "{said}");
    let free = world.run(&[], &["sh", "-c", line]);
    assert!(text(&free.output).contains("9000"), "{}", text(&free.output));
}

fn openssl(folder: &Path, words: &[&str]) {
    let done = Command::new("openssl").args(words).current_dir(folder).output();
    assert!(done.is_ok_and(|output| output.status.success()), "openssl {words:?}");
}

#[test]
fn only_signed_packs_count_where_signatures_are_required() {
    let world = world();
    let home = world.folder("home");
    let trust = home.join(".config/cavra/trust");
    std::fs::create_dir_all(&trust).unwrap();
    openssl(&home, &["genpkey", "-algorithm", "ed25519", "-out", "key.pem"]);
    openssl(
        &home,
        &[
            "pkey",
            "-in",
            "key.pem",
            "-pubout",
            "-out",
            ".config/cavra/trust/team.pem",
        ],
    );
    let pack = world.folder("home").join("team.yaml");
    std::fs::write(
        &pack,
        "metadata: {id: team}\ncommands: {default: allow, block: ['terraform apply*']}\n",
    )
    .unwrap();
    let pack = pack.to_str().unwrap();
    let options = ["--require-signed", "--policy", pack];

    let unsigned = world.run(&options, &["sh", "-c", "echo started"]);
    assert_eq!(unsigned.output.status.code(), Some(125), "{}", text(&unsigned.output));
    assert!(
        text(&unsigned.output).contains("not signed"),
        "{}",
        text(&unsigned.output)
    );

    let key = home.join("key.pem");
    let (status, said) = cavractl(
        &world,
        &[
            "policy",
            "sign",
            pack,
            "--key",
            key.to_str().unwrap(),
            "--signer",
            "team",
        ],
    );
    assert_eq!(status, 0, "{said}");
    let (status, said) = cavractl(&world, &["policy", "verify", pack]);
    assert_eq!(status, 0, "{said}");
    let signed = world.run(&options, &["sh", "-c", "echo started; terraform apply"]);
    assert!(
        text(&signed.output).contains("started") && !text(&signed.output).contains("ran"),
        "{}",
        text(&signed.output)
    );

    std::fs::write(pack, "metadata: {id: team}\ncommands: {default: allow}\n").unwrap();
    let changed = world.run(&options, &["sh", "-c", "echo started"]);
    assert_eq!(changed.output.status.code(), Some(125));
    assert!(
        text(&changed.output).contains("changed since it was signed"),
        "{}",
        text(&changed.output)
    );
    let (status, said) = cavractl(&world, &["policy", "verify", pack]);
    assert_eq!(status, 1, "{said}");
}

#[test]
fn policies_are_checked_compared_compiled_and_simulated() {
    let world = world();
    let pack = |name: &str, text: &str| {
        let file = world.folder("home").join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let old = pack(
        "old.yaml",
        "metadata: {id: old}\ncommands: {default: allow}\nfilesystem: {block_read: [.env]}\n",
    );
    let tight = pack(
        "tight.yaml",
        "metadata: {id: tight}\ncommands: {default: allow, block: ['kubectl delete*']}\nfilesystem: {block_read: [.env]}\n",
    );
    let loose = pack("loose.yaml", "metadata: {id: loose}\ncommands: {default: allow}\n");
    let wrong = pack(
        "wrong.yaml",
        "metadata: {id: wrong}\ncomands: {}\nfilesystem: {block_read: [/a/../b]}\n",
    );
    for (words, wanted, says) in [
        (&["policy", "check", &old][..], 0, "ok old"),
        (&["policy", "check", &wrong], 1, "did you mean `commands`?"),
        (&["policy", "check", &wrong], 1, "wrong.yaml:3:27"),
        (&["policy", "diff", &old, &old], 0, "no decision changes"),
        (&["policy", "diff", &old, &tight], 3, "tightened execute kubectl delete"),
        (&["policy", "diff", &old, &loose], 4, ".env: block -> allow"),
        (&["policy", "diff", &tight, &old], 4, "loosened"),
        (&["policy", "compile", "cavra-sox-change-control"], 0, "\"metadata\""),
        (
            &["policy", "compile", "cavra-sox-change-control", "--digest"],
            0,
            "sha256:",
        ),
        (&["policy", "schema"], 0, "2020-12"),
        (
            &[
                "policy", "explain", "--policy", &tight, "--", "kubectl", "-n", "x", "delete", "pod",
            ],
            0,
            "tight.yaml:2:36",
        ),
        (
            &["policy", "explain", "--policy", &old, ".env"],
            0,
            "filesystem.read.block",
        ),
        (
            &["policy", "explain", "--policy", &old, "--as", "connect", "a b"],
            2,
            "no address",
        ),
    ] {
        let (status, said) = cavractl(&world, words);
        assert_eq!(status, wanted, "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
    }
    let session = world.run(
        &["--policy", &old],
        &["sh", "-c", "kubectl delete pod x; cat .env; true"],
    );
    assert!(
        text(&session.output).contains("ran delete"),
        "{}",
        text(&session.output)
    );
    let evidence = world.folder("home").join("evidence");
    let evidence = evidence.to_str().unwrap();
    for (policy, wanted, says) in [
        (&old, 0, "no decision changes"),
        (&tight, 3, "kubectl delete pod x: allow -> block"),
    ] {
        let (status, said) = cavractl(&world, &["policy", "simulate", evidence, "--policy", policy]);
        assert_eq!(status, wanted, "{policy}: {said}");
        assert!(said.contains(says), "{policy}: {said}");
    }
}

#[test]
fn the_tree_reads_its_policy_and_writes_none_of_it() {
    let world = world();
    world.write(
        "rules/parent.yaml",
        "metadata: {id: parent}\ncommands: {default: allow}\n",
    );
    let pack = world.write("rules/team.yaml", "metadata: {id: team, inherits: ./parent.yaml}\n");
    let options = ["--policy", pack.to_str().unwrap()];
    for (line, done) in [
        ("cat rules/team.yaml", true),
        ("echo >> rules/other.yaml", true),
        ("mkdir -p ~/.config/other", true),
        ("echo >> rules/team.yaml", false),
        ("echo >> rules/parent.yaml", false),
        ("echo > rules/team.yaml.sig.json", false),
        ("mv rules rules2", false),
        ("rm rules/team.yaml", false),
        ("ln rules/team.yaml x && echo >> x", false),
        ("mv rules/other.yaml rules/team.yaml", false),
        ("mkdir -p ~/.config/cavra/policies", false),
        ("echo 'name: default' > ~/.config/cavra/profiles/default.yaml", false),
    ] {
        let found = world.run(&options, &["sh", "-c", &format!("{{ {line}; }} && echo DONE")]);
        assert_eq!(
            text(&found.output).contains("DONE"),
            done,
            "{line}: {}",
            text(&found.output)
        );
    }
}

/// `~/.git-credentials` is for git, and for git only below the one program that a person approved; nobody else gets it, however it is asked.
#[test]
fn only_git_started_by_an_approved_command_reads_its_credentials() {
    const PACK: &str = "\
metadata: {id: credentials}
filesystem: {default_read: block, default_write: block, allow_write: ['${workspace}/**', '/dev/**']}
commands: {default: allow}
rules:
- {action: read_file, match: '/**', except: '${home}/.git-credentials', decision: allow}
- {id: credentials.git, action: read_file, match: '${home}/.git-credentials', by: {program: git, ancestor: DEPLOY}, decision: allow}
";
    const ASK: &str = "printf 'protocol=https\\nhost=example.org\\n\\n' | git credential-store get";
    for user in users() {
        let world = World::new(user);
        let script = |name: &str, line: &str| {
            let file = world.folder("bin").join(name);
            std::fs::write(&file, format!("#!/bin/sh\n# {name}\n{line}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            file.display().to_string()
        };
        let deploy = script("deploy", &format!("{ASK}; cat ~/.git-credentials; \"$@\""));
        script("other", ASK);
        world.write("../home/.git-credentials", "https://u:hunter2@example.org\n");
        let pack = world.write("../home/pack.yaml", &PACK.replace("DEPLOY", &deploy));
        let pack = pack.to_str().unwrap();
        let said = |line: &str| {
            let found = world.run(&["--policy", pack], &["sh", "-c", line]);
            (text(&found.output), found)
        };
        let (out, _) = said("deploy true");
        assert!(out.contains("password=hunter2"), "git below deploy: {out}");
        assert!(!out.contains("https://u:"), "cat below deploy: {out}");
        for line in [
            ASK.to_owned(),
            "other".to_owned(),
            "cat ~/.git-credentials".to_owned(),
            format!("cp {deploy} mine; sh ./mine"),
            format!("cp {deploy} deploy; ./deploy"),
            format!("ln -s {deploy} deploy; ./deploy"),
            format!(
                "cp $(command -v git) git; deploy sh -c '{}'",
                ASK.replace("git cred", "./git cred").replace('\'', "\"")
            ),
            format!("BASH_ENV=./x sh -c '. {deploy}'"),
        ] {
            let (out, found) = said(&line);
            let below_deploy = line.contains("deploy sh -c");
            let times = out.matches("hunter2").count();
            assert_eq!(times, usize::from(below_deploy), "{line}: {out}");
            let refused = found.records.iter().any(|record| {
                record["action_type"] == "read_file"
                    && record["decision"] == "block"
                    && record["target"]
                        .as_str()
                        .is_some_and(|target| target.ends_with("/.git-credentials"))
            });
            assert!(refused, "{line}: no refusal on record");
        }
        let explain = |more: &[&str]| {
            let words = [
                "policy",
                "explain",
                "--policy",
                pack,
                "--as",
                "read",
                "--by",
                "/usr/bin/git",
            ];
            cavractl(&world, &[&words[..], more, &["~/.git-credentials"]].concat())
        };
        let (_, alone) = explain(&[]);
        assert!(alone.contains(": block"), "{alone}");
        let (_, below) = explain(&["--below", &deploy]);
        assert!(
            below.contains(": allow") && below.contains("credentials.git"),
            "{below}"
        );
    }
}

/// `node_modules` is written by npm, a script, and by nothing else: not by node, not by a copy of npm, not by what npm starts.
#[test]
fn only_npm_writes_node_modules() {
    const PACK: &str = "\
metadata: {id: modules}
filesystem: {default_read: allow, default_write: block, allow_write: ['${home}/.npm/**', '${tmp}/npm-*', '/dev/**']}
commands: {default: allow}
network: {default: block}
rules:
- action: [write_file, delete_file]
  match: ['${workspace}/**']
  except: ['${workspace}/node_modules', '${workspace}/node_modules/**']
  decision: allow
- {id: modules.npm, action: [write_file, delete_file], match: ['${workspace}/node_modules', '${workspace}/node_modules/**'], by: npm, decision: allow}
";
    if !Path::new("/usr/bin/npm").exists() {
        eprintln!("SKIPPED: npm writes node_modules (npm is not installed)");
        return;
    }
    for user in users() {
        let world = World::new(user);
        let pack = world.write("../home/pack.yaml", PACK);
        world.write("dep/package.json", "{\"name\": \"dep\", \"version\": \"1.0.0\", \"scripts\": {\"postinstall\": \"echo x > ../node_modules/by-script; echo x > ../../node_modules/by-script; true\"}}");
        world.write("package.json", "{\"name\": \"top\", \"version\": \"1.0.0\", \"scripts\": {\"plant\": \"echo x > node_modules/by-script\"}}");
        let run = |line: &str| {
            let found = world.run(&["--policy", pack.to_str().unwrap()], &["sh", "-c", line]);
            (found.output.status.code(), text(&found.output))
        };
        const INSTALL: &str = "npm install --offline --no-audit --no-fund --silent ./dep";
        let (status, said) = run(INSTALL);
        assert!(
            status == Some(0) && world.path("node_modules/dep").exists(),
            "npm itself: {status:?} {said}"
        );
        for line in [
            "echo x > node_modules/planted",
            "node -e 'require(\"fs\").writeFileSync(\"node_modules/planted\", \"x\")'",
            "npm run --silent plant",
            "mv node_modules away",
            "ln -sfn /tmp node_modules/dep",
            "cp $(readlink -f /usr/bin/npm) npm; node ./npm uninstall dep",
            "node --require ./package.json /usr/bin/npm uninstall --offline dep",
            "NODE_OPTIONS=--no-warnings npm uninstall --offline dep",
        ] {
            let (_, said) = run(line);
            for name in ["planted", "by-script"] {
                assert!(!world.path("node_modules").join(name).exists(), "{line}: {said}");
            }
            let target = std::fs::read_link(world.path("node_modules/dep")).unwrap_or_default();
            assert_eq!(target, Path::new("../dep"), "{line}: {said}");
        }
        let (status, said) = run("npm uninstall --offline --no-audit --no-fund --silent dep");
        assert!(
            status == Some(0) && !world.path("node_modules/dep").exists(),
            "{status:?} {said}"
        );
    }
}

/// Of two packs one watches: it refuses nothing, its records say what it would have done, and what the other refuses stays refused. The
/// workspace's own pack can watch as much as it likes.
#[test]
fn a_pack_in_audit_mode_refuses_nothing_beside_one_that_enforces() {
    const ENFORCES: &str = "\
metadata: {id: enforces}
filesystem: {block_read: [secret.txt], block_write: [kept.txt]}
commands: {default: allow, block: ['uname*']}
network: {default: allow}
";
    const WATCHES: &str = "\
metadata: {id: watches}
mode: MODE
filesystem: {block_read: [shown.txt], block_write: [written.txt]}
commands: {block: ['whoami*']}
network: {block: ['127.0.0.1:9']}
";
    let lines = [
        ("cat shown.txt", "read_file", "filesystem.read.block", false),
        ("cat shown.txt shown.txt", "read_file", "filesystem.read.block", false),
        ("echo x > written.txt", "write_file", "filesystem.write.block", false),
        ("whoami", "execute_command", "commands.block", false),
        ("cat secret.txt", "read_file", "filesystem.read.block", true),
        ("echo x > kept.txt", "write_file", "filesystem.write.block", true),
        ("uname -a", "execute_command", "commands.block", true),
    ];
    let world = world();
    let home = world.folder("home");
    for name in ["shown.txt", "secret.txt"] {
        world.write(name, "text\n");
    }
    world.write(".cavra/policy.yaml", "metadata: {id: own}\nmode: audit\n");
    let enforces = home.join("enforces.yaml");
    std::fs::write(&enforces, ENFORCES).unwrap();
    for mode in ["audit", "enforce"] {
        let watches = home.join("watches.yaml");
        std::fs::write(&watches, WATCHES.replace("MODE", mode)).unwrap();
        let packs = [
            "--policy",
            enforces.to_str().unwrap(),
            "--policy",
            watches.to_str().unwrap(),
        ];
        for (line, action, rule, enforced) in lines {
            let found = world.run(&packs, &["sh", "-c", &format!("{{ {line}; }} && echo DONE")]);
            let said = text(&found.output);
            let refused = enforced || mode == "enforce";
            assert_eq!(said.contains("DONE"), !refused, "{mode} {line}: {said}");
            let member = |record: &serde_json::Value, pack: &str| {
                record["action_type"] == action
                    && record["rule_id"] == rule
                    && record["policy_pack"] == pack
                    && record["decision"] == "block"
            };
            let pack = if enforced { "enforces" } else { "watches" };
            let blocked = found.records.iter().any(|record| member(record, pack));
            assert_eq!(blocked, refused, "{mode} {line}");
            let would: Vec<_> = found
                .records
                .iter()
                .filter(|record| record["action_type"] == action && !record["would_have"].is_null())
                .collect();
            assert_eq!(would.is_empty(), refused, "{mode} {line}: {would:?}");
            for record in &would {
                let part = &record["would_have"];
                assert_eq!(
                    (&record["decision"], &record["mode"]),
                    (&"allow".into(), &"enforce".into())
                );
                assert!(record["errno"].is_null(), "{record}");
                assert_eq!((&part["decision"], &part["rule_id"]), (&"block".into(), &rule.into()));
                let place = part["source"].as_str().unwrap_or_default();
                assert!(place.contains("watches.yaml:"), "{record}");
            }
            if line == "cat shown.txt shown.txt" && !refused {
                assert_eq!(would.len(), 2, "each one is recorded, as a refusal is");
            }
            let opening = &found.records[0]["opening"];
            let watching: Vec<_> = opening["watching"].as_array().into_iter().flatten().collect();
            assert!(watching.contains(&&"own".into()), "{opening}");
            assert_eq!(watching.contains(&&"watches".into()), mode == "audit", "{opening}");
            assert_eq!(opening["mode"], "enforce");
        }
    }
    // What a person says of the session holds for all packs.
    std::fs::write(home.join("watches.yaml"), WATCHES.replace("MODE", "audit")).unwrap();
    let watches = home.join("watches.yaml");
    let packs = [
        "--policy",
        enforces.to_str().unwrap(),
        "--policy",
        watches.to_str().unwrap(),
    ];
    for (mode, line, done) in [
        ("enforce", "cat shown.txt", false),
        ("audit", "cat shown.txt", true),
        ("audit", "cat secret.txt", true),
    ] {
        let options = [&packs[..], &["--mode", mode]].concat();
        let found = world.run(&options, &["sh", "-c", &format!("{{ {line}; }} && echo DONE")]);
        let said = text(&found.output);
        assert_eq!(said.contains("DONE"), done, "{mode} {line}: {said}");
        let blocked = found
            .records
            .iter()
            .any(|record| record["decision"] == "block" && record["mode"] == mode);
        assert!(blocked, "{mode} {line}: the record says block");
    }
    let explain = [&["policy", "explain"][..], &packs, &["--as", "write", "written.txt"]].concat();
    let (_, said) = cavractl(&world, &explain);
    for words in [
        ": allow",
        "would be    block if watches did not only watch",
        "(only watches)",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (status, said) = cavractl(
        &world,
        &["policy", "check", enforces.to_str().unwrap(), watches.to_str().unwrap()],
    );
    assert!(status == 0 && said.contains("note: watches only watches"), "{said}");
}
