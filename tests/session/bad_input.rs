//! What cavra-run refuses to start with: exit 125, a message that names the thing, and the command not started.

use std::time::Duration;

use cavra_tests::session::Outcome;
use cavra_tests::{Case, Session, Stage, User, Verdict, places, skip};

/// How long any refusal may take, a bomb's included.
const QUICK: Duration = Duration::from_secs(20);

/// One wrong thing.
enum Wrong {
    /// Options as given.
    Options(&'static [&'static str]),
    /// The text of a pack.
    Pack(&'static str),
    /// A pack that is made, being too big to write here.
    Made(fn() -> String),
    /// Packs by id below the user's own folder; the first is the one asked for.
    Packs(&'static [(&'static str, &'static str)]),
}

use Wrong::{Made, Options, Pack, Packs};

/// Name, what is wrong, and what the message must hold.
const TABLE: &[(&str, Wrong, &[&str])] = &[
    (
        "an_unknown_option",
        Options(&["--no-such-option"]),
        &["--no-such-option"],
    ),
    (
        "an_unknown_profile",
        Options(&["--profile", "no-such-profile"]),
        &["no-such-profile"],
    ),
    (
        "an_unknown_mode",
        Options(&["--mode", "lenient"]),
        &["lenient", "enforce", "audit"],
    ),
    (
        "an_unknown_answer_to_approvals",
        Options(&["--approvals", "maybe"]),
        &["maybe", "ask", "deny"],
    ),
    (
        "a_timeout_that_is_none",
        Options(&["--approval-timeout", "soon"]),
        &["soon"],
    ),
    (
        "an_unknown_pack",
        Options(&["--policy", "no-such-pack"]),
        &["no-such-pack"],
    ),
    (
        "a_pack_file_that_is_missing",
        Options(&["--policy", "./no/such/pack.yaml"]),
        &["no/such/pack.yaml"],
    ),
    ("a_folder_as_pack", Options(&["--policy", "./"]), &["./"]),
    (
        "an_unknown_key",
        Pack("metadata: {id: p}\nfilesystem:\n  require_aproval_write: [\"iam/**\"]\n"),
        &["require_aproval_write", ":3:", "did you mean", "require_approval_write"],
    ),
    (
        "an_unknown_section",
        Pack("metadata: {id: p}\nfilesytem:\n  block_read: [a]\n"),
        &["filesytem", ":2:", "filesystem"],
    ),
    (
        "an_unknown_decision",
        Pack("metadata: {id: p}\nrules:\n  - {id: x, action: write_file, match: [a], decision: perhaps}\n"),
        &["perhaps", ":3:", "block"],
    ),
    (
        "an_unknown_default",
        Pack("metadata: {id: p}\ncommands:\n  default: blok\n"),
        &["blok", ":3:", "block"],
    ),
    (
        "an_unknown_action",
        Pack("metadata: {id: p}\nrules:\n  - {id: x, action: eat_file, match: [a], decision: block}\n"),
        &["eat_file", ":3:"],
    ),
    (
        "a_pattern_with_an_unknown_folder",
        Pack("metadata: {id: p}\nfilesystem:\n  block_read: [\"${nowhere}/x\"]\n"),
        &["nowhere", ":3:"],
    ),
    (
        "an_empty_pattern",
        Pack("metadata: {id: p}\nfilesystem:\n  block_read: [\"\"]\n"),
        &[":3:"],
    ),
    (
        "a_pattern_with_a_nul",
        Pack("metadata: {id: p}\nfilesystem:\n  block_read: [\"a\\0b\"]\n"),
        &[":3:"],
    ),
    (
        "a_prefix_that_is_too_long",
        Pack("metadata: {id: p}\nnetwork:\n  block: [\"10.0.0.0/33\"]\n"),
        &["10.0.0.0/33", ":3:"],
    ),
    (
        "a_port_that_is_too_high",
        Pack("metadata: {id: p}\nnetwork:\n  block: [\"127.0.0.1:99999\"]\n"),
        &["99999", ":3:"],
    ),
    (
        "a_wrong_type",
        Pack("metadata: {id: p}\nfilesystem:\n  block_read: 7\n"),
        &["block_read", ":3:"],
    ),
    (
        "a_key_given_twice",
        Pack("metadata: {id: p}\nfilesystem:\n  block_read: [a]\n  block_read: [b]\n"),
        &["block_read", ":4:"],
    ),
    (
        "yaml_that_is_none",
        Pack("metadata: {id: p}\nfilesystem:\n  block_read: [a, b\ncommands: {}\n"),
        &[":4:"],
    ),
    ("a_yaml_bomb", Made(bomb), &["p"]),
    ("a_pack_above_ten_megabytes", Made(giant), &["10485760"]),
    ("a_pack_nested_without_end", Made(deep), &["p"]),
    (
        "a_pack_that_inherits_itself",
        Packs(&[("loop", "metadata:\n  id: loop\n  inherits: [loop]\n")]),
        &["loop"],
    ),
    (
        "packs_that_inherit_each_other",
        Packs(&[
            ("yin", "metadata:\n  id: yin\n  inherits: [yang]\n"),
            ("yang", "metadata:\n  id: yang\n  inherits: [yin]\n"),
        ]),
        &["yin", "yang"],
    ),
    (
        "a_parent_that_is_missing",
        Packs(&[("child", "metadata:\n  id: child\n  inherits: [no-such-parent]\n")]),
        &["no-such-parent", ":3:"],
    ),
];

/// Nine levels of nine aliases each: 387 million nodes if anyone expands them.
fn bomb() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let below = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    text
}

fn giant() -> String {
    let mut text = String::from("filesystem:\n  block_read:\n");
    while text.len() <= 10 << 20 {
        text.push_str("    - \"a/long/pattern/that/fills/the/file/**\"\n");
    }
    text
}

fn deep() -> String {
    "[".repeat(100_000)
}

/// One case for each row.
pub fn rows() -> Vec<Case> {
    let case = |(name, wrong, pieces): &'static (&'static str, Wrong, &'static [&'static str])| {
        Case::new(*name, move |user| {
            let world = Stage::new(user)?;
            let session = world.session();
            let session = match wrong {
                Options(words) => words.iter().fold(session, |session, word| session.option(word)),
                Pack(text) => session.policy(world.pack("p", text)),
                Made(text) => session.policy(world.pack("p", text())),
                Packs(packs) => {
                    for (id, text) in *packs {
                        world.write(format!("home/.config/cavra/policies/{id}/policy.yaml"), text);
                    }
                    session.policy(packs[0].0)
                }
            };
            refused(&world, session, pieces)
        })
    };
    let mut cases: Vec<Case> = TABLE.iter().map(case).collect();
    cases.push(Case::new("a_workspace_that_does_not_exist", |user| {
        let world = Stage::new(user)?;
        let workspace = world.at("no-such-workspace");
        refused(
            &world,
            world.session().workspace(Some(&workspace)),
            &["no-such-workspace"],
        )
    }));
    cases.push(Case::new("a_file_as_workspace", |user| {
        let world = Stage::new(user)?;
        let workspace = world.write("plain-file", "");
        refused(&world, world.session().workspace(Some(&workspace)), &["plain-file"])
    }));
    cases.push(Case::new("no_command", |user| {
        let world = Stage::new(user)?;
        let outcome = world.session().run::<_, &str>([])?;
        outcome.exits(125);
        assert!(outcome.stderr().contains("COMMAND"), "{}", outcome.stderr());
        Ok(())
    }));
    cases
}

fn refused(world: &Stage, session: Session<'_>, pieces: &[&str]) -> Verdict {
    let outcome = session.deadline(QUICK).run(["touch", "started"])?;
    is_refused(world, &outcome, pieces);
    Ok(())
}

#[track_caller]
fn is_refused(world: &Stage, outcome: &Outcome, pieces: &[&str]) {
    outcome.exits(125);
    assert!(!world.has("ws/started"), "the command was started");
    for piece in pieces {
        assert!(
            outcome.stderr().contains(piece),
            "{piece:?} is missing in the message: {}",
            outcome.stderr()
        );
    }
    assert!(!outcome.stderr().contains("panicked"), "{}", outcome.stderr());
}

pub fn an_evidence_folder_that_is_a_link_is_refused(user: User) -> Verdict {
    let world = Stage::new(user)?;
    world.folder("elsewhere");
    let link = world.at("evidence/link");
    std::os::unix::fs::symlink(world.at("elsewhere"), &link).expect("a new link");
    refused(&world, world.session().evidence(&link), &["evidence/link", "symlink"])?;
    assert_eq!(
        std::fs::read_dir(world.at("elsewhere")).expect("it exists").count(),
        0,
        "nothing is written behind it"
    );
    Ok(())
}

pub fn an_evidence_folder_that_cannot_be_made_is_refused(user: User) -> Verdict {
    let world = Stage::new(user)?;
    world.write("evidence/file", "");
    refused(
        &world,
        world.session().evidence(world.at("evidence/file/new")),
        &["evidence/file"],
    )?;
    if user == User::Ordinary {
        let closed = world.folder("evidence/closed");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
        std::fs::set_permissions(&closed, mode).expect("it is ours");
        refused(
            &world,
            world.session().evidence(closed.join("new")),
            &["evidence/closed"],
        )?;
    }
    Ok(())
}

pub fn an_evidence_folder_in_use_is_refused(user: User) -> Verdict {
    let world = Stage::new(user)?;
    world.write("evidence/used/decisions.jsonl", "{}\n");
    refused(
        &world,
        world.session().evidence(world.at("evidence/used")),
        &["evidence/used", "empty"],
    )?;
    assert_eq!(
        world.read("evidence/used/decisions.jsonl").as_deref(),
        Some("{}\n"),
        "and left as it was"
    );
    Ok(())
}

/// A shell command line that mounts a small file system on `evidence/disk` in a mount namespace of its own, then runs
/// `before` and the session's words with `script`.
fn on_a_small_disk(world: &Stage, before: &str, script: &str) -> Result<Outcome, cavra_tests::Unmet> {
    places::tool("unshare")?;
    let disk = world.folder("evidence/disk");
    let session = world.session().evidence(disk.join("e"));
    let words = session.quoted()?;
    // The copy makes the evidence readable after the namespace, and its file system with it, is gone.
    let line = format!(
        "mount -t tmpfs -o size=512k,mode=0755 none '{disk}' || exit 77; {before}\n{words} sh -c \"$1\"; code=$?; \
         mkdir -p '{copy}'; cp -r '{disk}/e/.' '{copy}' 2>/dev/null; exit $code",
        disk = disk.display(),
        copy = world.at("evidence/copy").display(),
    );
    let mut command = world.command("unshare")?;
    command.args(["-m", "--propagation", "private", "sh", "-c", &line, "sh", script]);
    let outcome = session.launch(command).finish();
    if outcome.code() == Some(77) {
        return skip("no file system can be mounted here, even in a namespace of its own");
    }
    Ok(Outcome::of(world, outcome.finished, world.at("evidence/copy")))
}

pub fn a_full_disk_stops_the_start(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let fill = format!(
        "cat /dev/zero > '{}/fill' 2>/dev/null",
        world.at("evidence/disk").display()
    );
    let outcome = on_a_small_disk(&world, &fill, "touch started")?;
    is_refused(&world, &outcome, &["evidence/disk"]);
    Ok(())
}

pub fn a_disk_that_fills_stops_what_owes_a_record(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let script =
        "i=0; while true > f$i; do i=$((i + 1)); [ $i -ge 5000 ] && exit 3; done; echo $i; echo more > late; exit 4";
    assert_eq!(
        world.native(["sh", "-c", script]).code(),
        Some(3),
        "natively all writes succeed"
    );
    (0..5000).for_each(|i| drop(std::fs::remove_file(world.at(format!("ws/f{i}")))));
    let outcome = on_a_small_disk(&world, "", script)?;
    outcome.exits(4);
    assert!(!world.has("ws/late"), "a write came through without its record");
    let written: usize = outcome.stdout().trim().parse().expect("the script prints a number");
    let recorded = outcome
        .find()
        .only_field("action_type", "write_file")
        .only_field("decision", "allow")
        .count();
    assert!(recorded >= written, "{written} writes, {recorded} records");
    assert_ne!(outcome.verify, Some(1), "the chain holds");
    Ok(())
}
