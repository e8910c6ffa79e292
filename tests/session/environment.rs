//! What a session's first program inherits.

use cavra_tests::{Stage, User, Verdict};

pub fn secrets_are_removed_unless_named(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let session = || {
        let session = world.session().env("GITHUB_TOKEN", "ghp_x").env("DB_PASSWORD", "pw");
        session.env("AWS_SECRET_ACCESS_KEY", "aws").env("LC_TIME", "C")
    };
    let outcome = session().run(["env"])?;
    outcome.exits(0);
    for name in ["GITHUB_TOKEN", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY"] {
        assert!(
            !outcome.stdout().contains(name),
            "{name} was passed on: {}",
            outcome.stdout()
        );
    }
    for name in ["PATH=", "HOME=", "LC_TIME=C"] {
        assert!(
            outcome.stdout().contains(name),
            "{name} is missing: {}",
            outcome.stdout()
        );
    }
    let named = session().option("--env").option("GITHUB_TOKEN").run(["env"])?;
    assert!(named.stdout().contains("GITHUB_TOKEN=ghp_x\n"), "{}", named.stdout());
    assert!(!named.stdout().contains("DB_PASSWORD"), "{}", named.stdout());
    Ok(())
}

pub fn loaders_variables_are_removed(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let native = world.native(["sh", "-c", "LD_AUDIT=/nonexistent.so LD_PRELOAD= env"]);
    assert!(native.stdout.contains("LD_AUDIT="), "natively they are inherited");
    // Set by a shell before cavra-run starts, so that the loader of cavra-run itself meets them.
    let outcome = world
        .session()
        .env("LD_AUDIT", "/nonexistent.so")
        .env("LD_LIBRARY_PATH", "/nonexistent")
        .run(["env"])?;
    outcome.exits(0);
    assert!(!outcome.stdout().contains("LD_AUDIT="), "{}", outcome.stdout());
    Ok(())
}

pub fn only_three_descriptors_are_inherited(user: User) -> Verdict {
    let world = Stage::new(user)?;
    world.write("ws/secret", "s3cret\n");
    let listing = "ls /proc/self/fd; cat <&7";
    let native = world.native(["sh", "-c", &format!("exec 7<secret; sh -c '{listing}'")]);
    assert!(
        native.stdout.contains("s3cret"),
        "natively descriptor 7 is inherited: {native:?}"
    );
    let words = world.session().words()?;
    let words: Vec<_> = words
        .iter()
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let end = world.native([
        "sh",
        "-c",
        &format!("exec 7<secret; {} sh -c '{listing}'", words.join(" ")),
    ]);
    assert!(!end.stdout.contains("s3cret"), "{end:?}");
    let numbers: Vec<_> = end.stdout.lines().collect();
    assert_eq!(numbers, ["0", "1", "2", "3"], "3 is the listing's own: {end:?}");
    Ok(())
}

pub fn the_opening_record_says_what_runs(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let outcome = world
        .session()
        .option("--agent-id")
        .option("robin")
        .option("--actor")
        .option("ada")
        .run(["true"])?;
    outcome.exits(0).verifies();
    let opening = outcome
        .record("session_start")
        .field("agent_id", "robin")
        .field("actor", "ada");
    let opening = opening.first().expect("it was just found");
    assert_eq!(
        opening["seq"], outcome.records[0]["seq"],
        "the opening record comes first"
    );
    assert!(
        opening.to_string().contains(&*world.workspace().to_string_lossy()),
        "it names the workspace: {opening}"
    );
    let closing = outcome.record("session_end").first().expect("it was just found");
    assert_eq!(
        closing["seq"],
        outcome.records.last().expect("there are some")["seq"],
        "the closing record is the last"
    );
    for (before, after) in outcome.records.iter().zip(outcome.records.iter().skip(1)) {
        assert_eq!(before["hash"], after["prev_hash"], "chained: {before} {after}");
    }
    let exec = outcome.record("execute_command").about("true").decision("allow");
    let exec = exec.first().expect("it was just found");
    for field in [
        "decision_id",
        "session_id",
        "target",
        "requested_operation",
        "decision",
        "reason",
        "timestamp",
        "exe",
    ] {
        assert!(
            exec[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field} of {exec}"
        );
    }
    assert!(exec["pid"].is_u64() && exec["argv"].is_array(), "{exec}");
    Ok(())
}
