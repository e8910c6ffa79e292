//! The clock is set while a session runs: the records stay one chain (I6), and what waits waits as long as it was told (I7).
//!
//! The test build takes the time of day from its clock and the file that `CAVRA_CLOCK` names (`supervisor/src/faults.rs`): no machine's clock is set.

use cavra_tests::*;
use serde_json::Value;

use crate::stage;

pub fn cases() -> Vec<Case> {
    cases![
        records_stay_in_their_chain_while_the_clock_is_set,
        a_clock_set_forward_expires_no_request,
        a_clock_set_back_keeps_no_request,
    ]
}

const PACK: &str = "metadata: {id: clock}\nfilesystem: {default_read: allow, default_write: allow, require_approval_write: ['${workspace}/held']}\n\
    commands: {default: allow}\n";
const YEAR: i64 = 365 * 86_400;

/// A session of the test build whose clock is what `clock` in the workspace says.
fn start<'s>(stage: &'s Stage, options: &[&str], script: &str) -> Result<session::Live<'s>, Unmet> {
    let session = options
        .iter()
        .fold(stage.session().pack(PACK), |session, word| session.option(word));
    let mut command = stage.command(places::faulty(stage.user())?)?;
    command
        .args(&session.words()?[1..])
        .args(["sh", "-c", script])
        .env("CAVRA_CLOCK", stage.at("ws/clock"));
    Ok(session.launch(command))
}

fn records_stay_in_their_chain_while_the_clock_is_set(user: User) -> Verdict {
    let stage = stage(user)?;
    // By the tree, which in this build can: so each write is certain to come after its setting.
    let script = format!(
        "for set in 0 {YEAR} -{YEAR} 0; do echo $set > clock; n=$((n + 1)); echo x > made$n; done; cat public > /dev/null; echo end"
    );
    let outcome = start(&stage, &[], &script)?.finish();
    outcome.exits(0).verifies();
    let times: Vec<&str> = (1..=4)
        .map(|n| {
            let about = |record: &&Value| {
                let target = record["target"].as_str().unwrap_or_default();
                target.ends_with(&format!("/made{n}"))
            };
            let made = outcome.records.iter().find(about);
            made.and_then(|record| record["timestamp"].as_str())
                .unwrap_or_else(|| panic!("no record of made{n}"))
        })
        .collect();
    // Else no clock was set.
    assert!(
        times[2] < times[0] && times[0] <= times[3] && times[3] < times[1],
        "{times:?}"
    );
    Ok(())
}

fn a_clock_set_forward_expires_no_request(user: User) -> Verdict {
    let stage = stage(user)?;
    let options = ["--approvals", "ask", "--approval-timeout", "10m"];
    let mut live = start(&stage, &options, "echo x > held && echo written")?;
    let id = live.wait_for_approval("/held")?;
    stage.write("ws/clock", YEAR.to_string());
    assert_eq!(live.wait_for_approval("/held")?, id, "it waits no longer");
    stage
        .cavractl(["approvals", "approve", "--reason", "seen", &id])?
        .success();
    let outcome = live.finish();
    outcome.exits(0).verifies();
    assert_eq!(outcome.stdout(), "written\n");
    Ok(())
}

fn a_clock_set_back_keeps_no_request(user: User) -> Verdict {
    let stage = stage(user)?;
    let options = ["--approvals", "ask", "--approval-timeout", "3s"];
    let mut live = start(&stage, &options, "echo x > held || echo refused")?;
    live.wait_for_approval("/held")?;
    stage.write("ws/clock", format!("-{YEAR}"));
    let outcome = live.finish();
    outcome.verifies();
    assert_eq!(outcome.stdout(), "refused\n");
    assert!(!stage.has("ws/held"));
    Ok(())
}
