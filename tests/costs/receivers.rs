//! Two threads wait for calls, also beside one that waits in a call. A receiver that comes back finds the other asleep in RECV, where the kernel
//! wakes it on the caller's processor; with a lone one each open wakes two idle processors, which no count of calls or instructions shows.

use std::path::Path;

use cavra_tests::*;

use crate::meter::RECEIVE;

const PACK: &str =
    "metadata: {id: receivers}\nfilesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\n";
/// One open waits for a writer; many calls go by meanwhile, and the watch has looked more than once.
const SCRIPT: &str = "mkfifo fifo; cat fifo & for n in $(seq 100); do cat public; done; : > done; wait";

pub fn cases() -> Vec<Case> {
    cases![two_threads_wait_for_calls]
}

fn two_threads_wait_for_calls(user: User) -> Verdict {
    wait_for_calls(user, &places::cavra_run(user)?, "", 2)?;
    // Control: told to be one, it is seen to be one.
    wait_for_calls(user, &places::faulty(user)?, "receivers", 1)
}

/// So many threads are in RECV once the tree is quiet.
fn wait_for_calls(user: User, program: &Path, off: &str, wanted: usize) -> Verdict {
    let stage = Stage::new(user)?;
    stage.write("ws/public", "public\n");
    let session = stage.session().pack(PACK);
    let words = session.words()?;
    let mut command = stage.command(program)?;
    command
        .args(&words[1..])
        .args(["sh", "-c", SCRIPT])
        .env("CAVRA_GUARDS_OFF", off);
    let live = session.launch(command);
    until("the calls beside the waiting one", || {
        stage.at("ws/done").exists().then_some(())
    });
    let pid = live.running.pid();
    if asleep(pid).is_none() {
        return skip("what threads wait in is not readable: the tests do not run as root");
    }
    until(&format!("{wanted} threads in RECV"), || {
        (asleep(pid)? == wanted).then_some(())
    });
    std::fs::write(stage.at("ws/fifo"), "").expect("the reader's other end");
    live.finish().exits(0);
    Ok(())
}

/// How many of the process's threads are in the listener's RECV.
fn asleep(pid: i32) -> Option<usize> {
    let mut count = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // The number, and the arguments; a thread that runs has neither.
        match std::fs::read_to_string(thread.path().join("syscall")) {
            Ok(text) => count += usize::from(text.split(' ').nth(2) == Some(format!("{RECEIVE:#x}").as_str())),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
            Err(_) => {}
        }
    }
    Some(count)
}
