//! Two threads wait for calls, three while files are read one after the other, also beside one that waits in a call (`boundary/pool.rs` says why).
//! No count of calls or instructions shows what it costs to have others: it is the processors that a wake-up goes to.

use std::path::Path;

use cavra_tests::*;

use crate::meter::RECEIVE;

const PACK: &str =
    "metadata: {id: receivers}\nfilesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\n";
/// Programs that run look for files that are not there, too, and are no row of descriptors.
const PROGRAMS: &str = "for n in $(seq 100); do cat many/1; done";
const READS: &str = "grep -rq nothing many";

pub fn cases() -> Vec<Case> {
    cases![two_threads_wait_for_calls_and_three_while_files_are_read]
}

fn two_threads_wait_for_calls_and_three_while_files_are_read(user: User) -> Verdict {
    let (usual, faulty) = (places::cavra_run(user)?, places::faulty(user)?);
    for (program, off, work, wanted) in [
        (&usual, "", PROGRAMS, 2),
        (&usual, "", READS, 3),
        // Programs after it: back to two.
        (
            &usual,
            "",
            "grep -rq nothing many; for n in $(seq 100); do cat many/1; done",
            2,
        ),
        // Control: told to be one, it is seen to be one.
        (&faulty, "receivers", PROGRAMS, 1),
        (&faulty, "receivers", READS, 1),
    ] {
        wait_for_calls(user, program, off, work, wanted)?;
    }
    Ok(())
}

/// So many threads are in RECV once the tree is quiet, beside one whose open waits for a writer.
fn wait_for_calls(user: User, program: &Path, off: &str, work: &str, wanted: usize) -> Verdict {
    let stage = Stage::new(user)?;
    (0..200).for_each(|n| drop(stage.write(format!("ws/many/{n}"), "public\n")));
    let session = stage.session().pack(PACK);
    let words = session.words()?;
    let mut command = stage.command(program)?;
    command
        .args(&words[1..])
        .args(["sh", "-c", &format!("mkfifo fifo; cat fifo & {work}; : > done; wait")])
        .env("CAVRA_GUARDS_OFF", off);
    let live = session.launch(command);
    until("the calls beside the waiting one", || {
        stage.at("ws/done").exists().then_some(())
    });
    let pid = live.running.pid();
    if asleep(pid).is_none() {
        return skip("what threads wait in is not readable: the tests do not run as root");
    }
    until(&format!("{wanted} threads in RECV after {work}"), || {
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
