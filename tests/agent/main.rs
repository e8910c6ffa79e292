//! A real agent: the unmodified Claude Code, told what to do by a scripted Messages API on loopback.
//!
//! Each claim has its twin: the same script natively, where everything that is refused inside succeeds.

mod project;
mod terminal;

use std::time::Duration;

use cavra_tests::records::Found;
use cavra_tests::{Finished, Stage, Suite, User, Verdict, cases};
use project::{FORBIDDEN, Project};

/// How long one run of the agent may take: some thirty turns, each starting processes.
const DEADLINE: Duration = Duration::from_secs(300);

fn natively_every_act_of_the_script_succeeds(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let project = Project::new(&world);
    let mut command = world.command(project.claude()?)?;
    command.args(project.arguments()).envs(project.variables());
    let end = cavra_tests::Running::start(command, None).finish(DEADLINE);
    project.work_is_done(&end);
    for act in FORBIDDEN {
        assert!(
            project.happened(act.label),
            "{} must succeed natively\n{}",
            act.label,
            project.told()
        );
    }
    assert!(
        project.happened("iam_approved") && project.happened("iam_denied"),
        "{}",
        project.told()
    );
    Ok(())
}

fn the_work_is_done_and_each_forbidden_act_refused(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let project = Project::new(&world);
    let mut session = world
        .session()
        .profile("claude")
        .option("--approval-timeout")
        .option("120s")
        .deadline(DEADLINE);
    for (name, value) in project.variables() {
        session = session.env(name, value);
    }
    let mut words = vec![project.claude()?.into_os_string()];
    words.extend(project.arguments().map(Into::into));
    let mut live = session.start(words)?;

    let held = live.wait_for_approval("iam/x")?;
    assert!(!world.has("ws/iam/x"), "a held write must have no effect");
    world
        .cavractl(["approvals", "approve", &held, "--reason", "reviewed in the test"])?
        .success();
    let held = live.wait_for_approval("iam/y")?;
    world
        .cavractl(["approvals", "deny", &held, "--reason", "not today"])?
        .success();
    let outcome = live.finish();

    project.work_is_done(&outcome.finished);
    for act in FORBIDDEN {
        assert!(
            !project.happened(act.label),
            "{} was not refused\n{}",
            act.label,
            project.told()
        );
        outcome
            .record(act.action)
            .about(act.about)
            .decision("block")
            .rule_of(act.rule);
    }
    assert_eq!(
        world.read("ws/iam/x").as_deref(),
        Some("granted\n"),
        "the approved write is done\n{}",
        project.told()
    );
    assert!(!project.happened("iam_denied"), "{}", project.told());
    outcome
        .record("write_file")
        .target_ends("iam/x")
        .decision("require_approval")
        .rule_of("filesystem.write.");
    let approval = |target: &str| approval_of(outcome.find(), target);
    assert_eq!(
        approval("iam/x"),
        Some(("reviewed in the test".into(), world.account().name.clone()))
    );
    assert_eq!(approval("iam/y").map(|(reason, _)| reason), Some("not today".into()));
    outcome.verifies();
    Ok(())
}

fn audit_mode_refuses_nothing_and_records_what_would_have_been(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let project = Project::new(&world);
    let mut session = world.session().profile("claude").mode("audit").deadline(DEADLINE);
    for (name, value) in project.variables() {
        session = session.env(name, value);
    }
    let mut words = vec![project.claude()?.into_os_string()];
    words.extend(project.arguments().map(Into::into));
    let outcome = session.run(words)?;

    project.work_is_done(&outcome.finished);
    for act in FORBIDDEN {
        assert!(
            project.happened(act.label),
            "{} must succeed in audit mode\n{}",
            act.label,
            project.told()
        );
        outcome
            .record(act.action)
            .about(act.about)
            .decision("block")
            .field("mode", "audit")
            .rule_of(act.rule);
    }
    assert!(
        project.happened("iam_approved") && project.happened("iam_denied"),
        "{}",
        project.told()
    );
    outcome
        .record("write_file")
        .target_ends("iam/x")
        .decision("require_approval")
        .field("mode", "audit");
    outcome.verifies();
    Ok(())
}

fn the_agents_own_status_is_the_sessions(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let project = Project::new(&world);
    let claude = project.claude()?;
    let arguments = ["--no-such-option-of-claude"];
    let mut command = world.command(&claude)?;
    command.args(arguments).envs(project.variables());
    let native: Finished = cavra_tests::Running::start(command, None).finish(DEADLINE);
    assert_ne!(native.code(), Some(0));
    let mut session = world.session().profile("claude");
    for (name, value) in project.variables() {
        session = session.env(name, value);
    }
    let mut words = vec![claude.into_os_string()];
    words.extend(arguments.map(Into::into));
    let outcome = session.run(words)?;
    assert_eq!(outcome.code(), native.code(), "stderr: {}", outcome.stderr());
    outcome.verifies();
    Ok(())
}

/// Reason and approver of the decided approval on a target.
fn approval_of(found: Found<'_>, target: &str) -> Option<(String, String)> {
    let decided = found.only("decided approvals", |record| {
        record["target"].as_str().is_some_and(|it| it.ends_with(target)) && record["approval"]["approver"].is_string()
    });
    let approval = &decided.first()?["approval"];
    Some((
        approval["reason"].as_str()?.to_owned(),
        approval["approver"].as_str()?.to_owned(),
    ))
}

fn main() -> std::process::ExitCode {
    Suite::new("agent")
        .both(cases![
            natively_every_act_of_the_script_succeeds,
            the_work_is_done_and_each_forbidden_act_refused,
            audit_mode_refuses_nothing_and_records_what_would_have_been,
            the_agents_own_status_is_the_sessions,
            terminal::natively_a_person_can_talk_to_it,
            terminal::inside_a_person_can_talk_to_it,
        ])
        .main()
}
