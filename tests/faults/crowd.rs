//! Many tasks at once: each call is answered, with its own result.

use std::time::Duration;

use cavra_tests::*;

use crate::{PACK, program, scale, stage, start_with_descriptors};

pub fn cases() -> Vec<Case> {
    cases![many_processes_are_all_answered, many_threads_are_all_answered]
}

fn many_processes_are_all_answered(user: User) -> Verdict {
    crowd(user, "processes", scale(2_000, 10_000))
}

fn many_threads_are_all_answered(user: User) -> Verdict {
    crowd(user, "threads", scale(2_000, 10_000))
}

/// Under the usual limit of 1024 descriptors, hard as well, so that the supervisor can not give itself more.
fn crowd(user: User, kind: &str, count: u32) -> Verdict {
    let stage = stage(user)?;
    let crowd = program(&stage, "crowd");
    let wanted = format!("tasks {count} opened {count} again {count} failed 0 errno 0\n");
    let count = count.to_string();
    let twin = stage.native([crowd.to_str().unwrap(), kind, &count, "public"]);
    if twin.stdout != wanted {
        return skip(format!("natively {} {}", twin.stdout, twin.stderr));
    }
    let session = stage.session().pack(PACK).deadline(Duration::from_secs(600));
    let words = [crowd.to_str().unwrap(), kind, &count, "public"];
    let outcome = start_with_descriptors(&stage, session, 1024, &words)?.finish();
    assert_eq!(outcome.stdout(), wanted, "{}", outcome.stderr());
    outcome.exits(0).verifies();
    Ok(())
}
