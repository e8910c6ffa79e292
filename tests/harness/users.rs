//! Who runs a session: root, or a user without rights that root creates once.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use nix::unistd::geteuid;

use crate::suite::{Unmet, skip};

/// The account that sessions of [`User::Ordinary`] run as when the tests themselves are root's.
const ACCOUNT: &str = "cavra-test";

/// The number that serves when no account can be made (no `useradd`): it owns nothing on any machine.
const BARE_UID: u32 = 64_999;

/// Who runs a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// uid 0.
    Root,
    /// Whoever runs the tests, or `cavra-test` when that is root.
    Ordinary,
    /// Whoever runs the tests, root or not.
    Own,
}

/// One user's numbers and name.
#[derive(Clone, Debug)]
pub struct Account {
    /// User number.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Login name; the number where there is no account.
    pub name: String,
}

impl User {
    /// Both, in the order in which they run.
    pub const BOTH: [User; 2] = [User::Root, User::Ordinary];

    /// The end of a test's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            User::Root => "root",
            User::Ordinary => "ordinary",
            User::Own => "own",
        }
    }

    /// The account behind it, or why there is none.
    pub fn account(self) -> Result<Account, Unmet> {
        let root = geteuid().is_root();
        match self {
            User::Root | User::Own if root => Ok(Account {
                uid: 0,
                gid: 0,
                name: "root".into(),
            }),
            User::Root => skip("needs root; the tests run as an ordinary user"),
            User::Ordinary if root => Ok(test_account().clone()),
            User::Ordinary | User::Own => Ok(own_account()),
        }
    }

    /// Lets `command` run as this user: no groups, no capabilities beyond the user's own.
    pub fn dress(self, command: &mut Command) -> Result<(), Unmet> {
        let account = self.account()?;
        if geteuid().is_root() && account.uid != 0 {
            // As root the standard library also empties the supplementary groups.
            command.gid(account.gid).uid(account.uid);
        }
        Ok(())
    }

    /// Whether this user can reach `path` by its folders' and its own permission bits.
    #[must_use]
    pub fn reaches(self, path: &Path) -> bool {
        let mut probe = Command::new("test");
        probe.arg("-r").arg(path).current_dir("/");
        self.dress(&mut probe).is_ok() && probe.status().is_ok_and(|status| status.success())
    }
}

fn test_account() -> &'static Account {
    static FOUND: OnceLock<Account> = OnceLock::new();
    FOUND.get_or_init(|| {
        by_name(ACCOUNT).unwrap_or_else(|| {
            // Test programs run beside each other: whoever comes second finds the first one's account.
            let _ = Command::new("useradd")
                .args([
                    "--system",
                    "--user-group",
                    "--no-create-home",
                    "--home-dir",
                    "/nonexistent",
                ])
                .args(["--shell", "/bin/sh", ACCOUNT])
                .output();
            crate::wait::attempt(std::time::Duration::from_secs(2), || by_name(ACCOUNT)).unwrap_or(Account {
                uid: BARE_UID,
                gid: BARE_UID,
                name: BARE_UID.to_string(),
            })
        })
    })
}

fn own_account() -> Account {
    let uid = geteuid().as_raw();
    let gid = nix::unistd::getegid().as_raw();
    entry(|fields| fields[2] == uid.to_string()).unwrap_or(Account {
        uid,
        gid,
        name: uid.to_string(),
    })
}

fn by_name(name: &str) -> Option<Account> {
    entry(|fields| fields[0] == name)
}

fn entry(wanted: impl Fn(&[&str]) -> bool) -> Option<Account> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let fields = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|f| f.len() >= 7 && wanted(f))?;
    Some(Account {
        uid: fields[2].parse().ok()?,
        gid: fields[3].parse().ok()?,
        name: fields[0].to_owned(),
    })
}
