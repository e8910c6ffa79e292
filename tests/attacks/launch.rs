//! How an attack is started: as it is, or from what a launcher or a machine can have around it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use cavra_tests::{User, World};

/// What is around the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// Nothing.
    Plain,
    /// Descriptors, variables and a folder of the launcher's (class 30).
    Dirty,
    /// The arena's folders under further mounts (class 16).
    Mounted,
    /// So few process numbers that they are soon used again (class 69).
    FewNumbers,
    /// A set-user-id program and a sticky folder of root's (classes 20 and 74).
    Roots,
    /// Another session of the same user (classes 57 to 60).
    Beside,
    /// Programs first in PATH that have the names of those in packs (class 39).
    Tools,
}

/// What the launcher sets; the values are never to be seen inside.
const VARIABLES: &[(&str, &str)] = &[
    ("LD_PRELOAD", "/nonexistent/plant.so"),
    ("LD_AUDIT", "/nonexistent/plant.so"),
    ("GCONV_PATH", "/nonexistent"),
    ("BASH_ENV", "/nonexistent"),
    ("AWS_SECRET_ACCESS_KEY", "FORBIDDEN"),
    ("GITHUB_TOKEN", "FORBIDDEN"),
    ("SSH_AUTH_SOCK", "/nonexistent"),
    ("DATABASE_URL", "FORBIDDEN"),
];

impl Launch {
    /// Why it can not be had here.
    pub fn unmet(self, user: User) -> Option<&'static str> {
        let root = nix::unistd::geteuid().is_root();
        let is_root = user.account().is_ok_and(|account| account.uid == 0);
        match self {
            Self::Mounted if !root => Some("mounts need root"),
            Self::FewNumbers if !root => Some("a range of process numbers of its own needs root"),
            Self::FewNumbers if !Path::new("/proc/self/ns/pid").exists() => Some("no PID namespaces"),
            Self::FewNumbers if kernel() < (6, 14) => {
                Some("before Linux 6.14 all namespaces share one range of numbers")
            }
            Self::Roots if !root || is_root => Some("needs root and another user"),
            _ => None,
        }
    }

    /// Whether it is another user's part, who runs here too.
    pub fn is_anothers(self, user: User) -> bool {
        let is_root = user.account().is_ok_and(|account| account.uid == 0);
        self == Self::Roots && is_root && User::Ordinary.account().is_ok()
    }

    /// Prepares `dir` for it.
    pub fn prepare(self, dir: &Path) {
        if self != Self::Roots {
            return;
        }
        let program = dir.join("bin/set-uid-id");
        std::fs::copy("/usr/bin/id", &program).expect("a copy of id");
        chown(&program, Some(0), Some(0)).expect("chown");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).expect("chmod");
        let sticky = dir.join("ok/sticky");
        std::fs::create_dir_all(&sticky).expect("a folder");
        chown(&sticky, Some(0), Some(0)).expect("chown");
        std::fs::set_permissions(&sticky, std::fs::Permissions::from_mode(0o1777)).expect("chmod");
        std::fs::write(sticky.join("theirs"), "root's\n").expect("a file");
    }

    /// `command` as it is started this way.
    pub fn around(self, world: &World, dir: &Path, command: Command) -> Command {
        let script = match self {
            Self::Plain | Self::Roots | Self::Beside | Self::Tools => return command,
            Self::Dirty => "cd /; exec 7<\"$DIR/no/file\" 8>>\"$DIR/ro/file\" 6<\"$DIR/no\"; exec \"$@\"".to_owned(),
            Self::Mounted => format!(
                "set -e; mkdir -p $DIR/ok/bound $DIR/ok/all $DIR/ok/over $DIR/../up $DIR/../work; : > $DIR/ok/one; mount --bind $DIR/no $DIR/ok/bound; \
                 mount --bind $DIR $DIR/ok/all; mount --bind $DIR/no/file $DIR/ok/one; mount -t tmpfs none $DIR/../up; mkdir $DIR/../up/u $DIR/../up/w; \
                 mount -t overlay overlay -o lowerdir=$DIR/no,upperdir=$DIR/../up/u,workdir=$DIR/../up/w $DIR/ok/over; {} \"$@\"",
                as_user(world.user())
            ),
            Self::FewNumbers => format!(
                "set -e; echo 400 > /proc/sys/kernel/pid_max; {} \"$@\"",
                as_user(world.user())
            ),
        };
        let mut outer = match self {
            Self::Dirty => world.command("sh"),
            _ => Command::new("unshare"),
        };
        match self {
            Self::Mounted => drop(outer.args(["--mount", "--propagation", "private", "sh"])),
            Self::FewNumbers => drop(outer.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh"])),
            _ => drop(outer.envs(VARIABLES.iter().copied())),
        }
        outer
            .args(["-c", &script, "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            outer.current_dir(folder);
        }
        outer.env("DIR", dir);
        outer
    }
}

fn as_user(user: User) -> String {
    let account = user.account().ok();
    match account {
        Some(account) if account.uid != 0 => {
            format!(
                "exec setpriv --reuid {} --regid {} --clear-groups",
                account.uid, account.gid
            )
        }
        _ => "exec".to_owned(),
    }
}

fn kernel() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
