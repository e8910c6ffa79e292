//! A workspace on a file system that does not tell letters' case apart: a rule's name holds in each of its spellings.

use cavra_tests::{Stage, User, Verdict, places, skip};

pub fn a_rule_holds_in_each_spelling_that_the_file_system_takes(user: User) -> Verdict {
    let world = Stage::new(user)?;
    places::tool("unshare")?;
    let (lower, mount) = (world.folder("lower"), world.folder("mount"));
    world.write("lower/.env", "SECRET=1\n");
    world.write("lower/Notes.txt", "notes\n");
    let session = world.session().workspace(Some(&mount));
    let words: Vec<_> = session
        .words()?
        .iter()
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let program = places::repository().join("tests/programs/folding.py");
    // Outside the session, on the file system: the other spelling is the same file. Inside: the twins of what is refused.
    let line = format!(
        "/usr/bin/python3 -c 'import fusepy' 2>/dev/null && [ -w /dev/fuse ] || exit 77\n\
         /usr/bin/python3 '{program}' '{lower}' '{mount}' & server=$!\n\
         until mountpoint -q '{mount}'; do kill -0 $server || exit 77; done\n\
         cd '{mount}' && cat .ENV > ../outside\n\
         {words} sh -c \"$1\"; code=$?\n\
         cd / && umount '{mount}'; wait $server; exit $code",
        program = program.display(),
        lower = lower.display(),
        mount = mount.display(),
        words = words.join(" "),
    );
    let script = "for name in .env .ENV .Env; do cat $name && echo \"read $name\"; done; cat NOTES.TXT; \
                  mkdir -p .GITHUB/WorkFlows new; echo 1 > .GITHUB/WorkFlows/x.yml && echo planted; echo 1 > NEW/x && cat new/X && echo written; exit 5";
    let mut command = world.command("unshare")?;
    command.args(["-m", "--propagation", "private", "sh", "-c", &line, "sh", script]);
    let outcome = session.launch(command).finish();
    if outcome.code() == Some(77) {
        return skip("no FUSE here: /dev/fuse and python3-fusepy are needed");
    }
    outcome.exits(5).verifies();
    assert_eq!(
        world.read("outside").as_deref(),
        Some("SECRET=1\n"),
        "outside of a session"
    );
    let out = outcome.stdout();
    assert!(
        !out.contains("SECRET") && !out.contains("read ") && !out.contains("planted"),
        "{out}"
    );
    assert!(
        out.contains("notes\n") && out.contains("written"),
        "{out}\n{}",
        outcome.stderr()
    );
    assert!(!world.has("lower/.GITHUB/WorkFlows/x.yml"));
    for name in [".env", ".ENV", ".Env"] {
        outcome.record("read_file").about(name).decision("block");
    }
    Ok(())
}
