//! What is enforced on this machine, what is not, and why.

use serde::Serialize;

use crate::sys::process::{landlock_abi, second_listener_refused};

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub id: &'static str,
    /// `full`, `weaker` or `missing`.
    pub state: &'static str,
    /// What was found.
    pub found: String,
    /// What follows, and the way out; none at full strength.
    pub consequence: Option<String>,
}

fn check(id: &'static str, found: String, bad: Option<(&'static str, String)>) -> Check {
    let (state, consequence) = bad.map_or(("full", None), |(state, text)| (state, Some(text)));
    Check {
        id,
        state,
        found,
        consequence,
    }
}

/// All lines. A session is at full strength when each is `full`.
#[must_use]
pub fn checks() -> Vec<Check> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let old = version < (6, 1);
    let wake = version < (6, 6);
    let kernel = match (old, wake) {
        (true, _) => Some(("missing", "Linux 6.1 is the oldest that can hold a session".to_owned())),
        (_, true) => Some((
            "weaker",
            "Linux 6.6 answers calls without waking another CPU: sessions are slower".to_owned(),
        )),
        _ => None,
    };
    let landlock = match landlock_abi() {
        Err(errno) => check(
            "landlock",
            errno.to_string(),
            Some(("missing", "no session starts; boot with `landlock` in lsm=".to_owned())),
        ),
        Ok(abi) => {
            let bad = match abi {
                ..2 => Some(("missing", "ABI 2 is needed".to_owned())),
                2..6 => Some(("weaker", "signals and abstract sockets are not scoped below ABI 6 (Linux 6.12): the tree can signal the user's other processes".to_owned())),
                _ => None,
            };
            check("landlock", format!("ABI {abi}"), bad)
        }
    };
    let refused = second_listener_refused();
    let listener = check(
        "seccomp listener",
        if refused { "refused" } else { "available" }.to_owned(),
        refused.then(|| {
            (
                "missing",
                "inside another user-notify sandbox, or seccomp is denied: start cavra-run outside it".to_owned(),
            )
        }),
    );
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
        .map_or_else(|_| "absent".to_owned(), |text| text.trim().to_owned());
    let strict = matches!(yama.as_str(), "2" | "3");
    let yama = check(
        "yama ptrace_scope",
        yama,
        strict.then(|| {
            (
                "missing",
                "the supervisor may not read its callers: set kernel.yama.ptrace_scope to 1 or 0".to_owned(),
            )
        }),
    );
    vec![check("kernel", release, kernel), landlock, listener, yama]
}
