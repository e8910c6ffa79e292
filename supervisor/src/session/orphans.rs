//! A tree whose reaper is gone (the machine was short of memory, or somebody killed it): the supervisor, its next subreaper, ends it (I4).

use std::collections::HashMap;
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::sys::process::kill;

/// Walks at most; a tree that still forks after them meets ENOSYS at each decided call once the supervisor has ended.
const ROUNDS: u32 = 300;
/// Between walks.
const PAUSE: Duration = Duration::from_millis(10);

/// Kills and reaps all descendants of this process.
pub(super) fn end() {
    for _ in 0..ROUNDS {
        while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..) | WaitStatus::Stopped(..)) =
            waitpid(None, Some(WaitPidFlag::WNOHANG))
        {}
        let left = descendants(std::process::id().cast_signed());
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _gone = kill(pid, libc::SIGKILL);
        }
        std::thread::sleep(PAUSE);
    }
    tracing::error!("the reaper is gone, and not all of the tree could be ended");
}

/// All below `root`, from /proc/PID/stat.
fn descendants(root: i32) -> Vec<i32> {
    let parents: HashMap<i32, i32> = procfs::process::all_processes()
        .into_iter()
        .flatten()
        .filter_map(|process| process.ok()?.stat().ok())
        .map(|stat| (stat.pid, stat.ppid))
        .collect();
    let below = |pid: &i32| {
        // As many steps as there are processes: no chain is longer.
        let mut at = *pid;
        for _ in 0..=parents.len() {
            match parents.get(&at) {
                Some(parent) if *parent == root => return true,
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        false
    };
    parents.keys().filter(|pid| below(pid)).copied().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::descendants;

    #[test]
    fn a_child_and_its_child_are_below() {
        let own = std::process::id().cast_signed();
        let mut shell = std::process::Command::new("sh");
        let mut child = shell
            .args(["-c", "cat & read x"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id().cast_signed();
        while descendants(pid).is_empty() {
            std::thread::yield_now();
        }
        assert!(descendants(own).contains(&pid) && !descendants(pid).contains(&own));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
