//! Exit status, standard input and output.

use cavra_tests::{Case, Stage, User, Verdict};

/// A script and the exit code that a shell would report for it.
const STATUS: &[(&str, &[&str], i32)] = &[
    ("success_is_zero", &["true"], 0),
    ("its_own_status_is_kept", &["sh", "-c", "exit 7"], 7),
    ("the_highest_status_is_kept", &["sh", "-c", "exit 255"], 255),
    ("sigterm_becomes_143", &["sh", "-c", "kill -TERM $$"], 143),
    ("sigkill_becomes_137", &["sh", "-c", "kill -KILL $$"], 137),
    ("sigsegv_becomes_139", &["sh", "-c", "kill -SEGV $$"], 139),
    ("a_command_that_is_not_found_is_127", &["no-such-command-anywhere"], 127),
    ("a_path_that_is_not_found_is_127", &["./no-such-file"], 127),
    ("a_file_that_is_not_executable_is_126", &["./plain"], 126),
    ("a_folder_as_command_is_126", &["./folder"], 126),
    ("a_script_in_the_workspace_runs", &["./script"], 3),
];

/// One case for each row.
pub fn rows() -> Vec<Case> {
    let case = |&(name, words, code): &(&'static str, &'static [&'static str], i32)| {
        Case::new(name, move |user| {
            let world = Stage::new(user)?;
            world.write("ws/plain", "not a program\n");
            world.folder("ws/folder");
            world.script("ws/script", "#!/bin/sh\nexit 3\n");
            let outcome = world.session().run(words)?;
            outcome.exits(code);
            if code != 126 && code != 127 {
                outcome.verifies();
            } else {
                // Nothing ran, so whether there is evidence is cavra-run's choice.
                let name = words[0].trim_start_matches("./");
                assert!(
                    outcome.stderr().contains(name),
                    "the message names the command: {:?}",
                    outcome.stderr()
                );
            }
            Ok(())
        })
    };
    STATUS.iter().map(case).collect()
}

pub fn standard_input_and_output_pass_byte_for_byte(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    let outcome = world.session().stdin(&text).run(["cat"])?;
    outcome.exits(0).verifies();
    assert!(
        outcome.stdout() == text,
        "{} bytes in, {} out",
        text.len(),
        outcome.stdout().len()
    );
    Ok(())
}

pub fn standard_error_stays_apart(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let outcome = world.session().sh("echo to-out; echo to-err >&2")?;
    outcome.exits(0);
    assert_eq!(outcome.stdout(), "to-out\n");
    assert_eq!(
        outcome.stderr(),
        "to-err\n",
        "nothing of ours goes to a stderr that is no terminal"
    );
    Ok(())
}

pub fn a_closed_pipe_ends_the_command_as_natively(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let words = world.session().words()?;
    let words: Vec<_> = words
        .iter()
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let script = format!("{{ {} yes; echo $? > status; }} | head -n 1", words.join(" "));
    let end = world.native(["sh", "-c", &script]);
    assert_eq!(end.stdout, "y\n", "{end:?}");
    let status = cavra_tests::until("the status", || {
        world.read("ws/status").filter(|text| text.ends_with('\n'))
    });
    assert_eq!(status, "141\n", "128 + SIGPIPE");
    Ok(())
}
