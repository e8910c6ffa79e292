//! Real tools give the same results inside as outside: the same script in two like worlds, natively and in a session.

mod builds;
mod packages;
mod programs;
mod python;

use std::ffi::OsString;
use std::time::Duration;

use cavra_tests::{Running, Stage, Suite, Unmet, User, Verdict, cases};

/// How long one tool may take, natively or inside.
pub const DEADLINE: Duration = Duration::from_secs(900);

/// One tool's job.
pub struct Job<'a> {
    /// Makes the world ready, natively in both cases.
    pub setup: &'a dyn Fn(&Stage),
    /// What is done natively and in the session, by `sh -e`.
    pub script: &'a str,
    /// Prints what came of it; run natively in both worlds.
    pub result: &'a str,
    /// Folders before the world's PATH.
    pub path: Option<OsString>,
}

/// Does the job in both ways and compares status and result.
pub fn same(user: User, job: &Job<'_>) -> Verdict {
    let path = |world: &Stage| {
        let mut path = job.path.clone().unwrap_or_default();
        path.push(if path.is_empty() { "" } else { ":" });
        path.push(&world.environment()[0].1);
        path
    };
    let result = |world: &Stage| -> Result<String, Unmet> {
        let mut command = world.command("sh")?;
        command.args(["-e", "-c", job.result]).env("PATH", path(world));
        let end = Running::start(command, None).finish(DEADLINE).success();
        Ok(end.stdout.replace(&*world.root().to_string_lossy(), "<world>"))
    };

    let outside = Stage::new(user)?;
    (job.setup)(&outside);
    let mut command = outside.command("sh")?;
    command.args(["-e", "-c", job.script]).env("PATH", path(&outside));
    Running::start(command, None).finish(DEADLINE).success();
    let expected = result(&outside)?;
    assert!(!expected.trim().is_empty(), "the result must show something");

    let inside = Stage::new(user)?;
    (job.setup)(&inside);
    let session = inside.session().env("PATH", path(&inside)).deadline(DEADLINE);
    let outcome = session.run(["sh", "-e", "-c", job.script])?;
    outcome.exits(0).verifies();
    assert_eq!(result(&inside)?, expected, "inside and native differ");
    Ok(())
}

fn main() -> std::process::ExitCode {
    Suite::new("tools")
        .both(cases![
            builds::git_from_clone_to_worktree,
            builds::make_in_parallel,
            builds::cargo_builds_and_tests_a_crate,
            builds::cargo_builds_and_tests_this_workspace,
            packages::npm_ci_from_a_lock_file,
            packages::pip_installs_into_a_venv,
        ])
        .both(programs::rows())
        .alone(cases![python::its_own_test_suite_ends_as_natively])
        .main()
}
