//! One test's world: workspace, home, packs, evidence, owned by the user whom the session runs as, gone at the end.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::{Finished, Running};
use crate::session::Session;
use crate::suite::Unmet;
use crate::users::{Account, User};
use crate::{places, wait};

/// The PATH of a session behind the world's own `bin`.
pub const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// Folders and files of one test.
pub struct Stage {
    folder: tempfile::TempDir,
    user: User,
    account: Account,
    sessions: AtomicU32,
}

impl Stage {
    /// A workspace `ws`, a home `home` with a git identity, `bin` (first in PATH), `tmp`, `packs` and `evidence`.
    pub fn new(user: User) -> Result<Self, Unmet> {
        Self::below(&places::base(user), user)
    }

    /// Folders for `user` below `base`, or the reason why this machine has no such user.
    pub fn below(base: &Path, user: User) -> Result<Self, Unmet> {
        let account = user.account()?;
        let folder = folder_in(base);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let world = Self {
            folder,
            user,
            account,
            sessions: AtomicU32::new(0),
        };
        world.own(world.root());
        for name in ["ws", "home", "bin", "tmp", "packs", "evidence"] {
            world.folder(name);
        }
        fs::set_permissions(world.at("home"), fs::Permissions::from_mode(0o700)).unwrap();
        world.write(
            "home/.gitconfig",
            "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n[protocol \"file\"]\n\tallow = always\n",
        );
        Ok(world)
    }

    /// Who runs its sessions.
    #[must_use]
    pub fn user(&self) -> User {
        self.user
    }

    /// The account of that user.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Its topmost folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A place in it.
    #[must_use]
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.at("ws")
    }

    /// Whether it lies outside /tmp, so that rules on temporary folders do not answer for it.
    #[must_use]
    pub fn is_outside_tmp(&self) -> bool {
        !self.root().starts_with("/tmp")
    }

    /// Makes a folder (and those above it) that the user owns.
    pub fn folder(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.at(path);
        let missing: Vec<_> = path
            .ancestors()
            .take_while(|folder| !folder.exists())
            .map(Path::to_owned)
            .collect();
        fs::create_dir_all(&path).unwrap();
        missing.iter().for_each(|folder| self.own(folder));
        path
    }

    /// Writes a file that the user owns, with the folders above it.
    pub fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(path);
        self.folder(path.parent().unwrap());
        fs::write(&path, text).unwrap();
        self.own(&path);
        path
    }

    /// Writes an executable script.
    pub fn script(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.write(path, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Writes a pack and gives the path that `--policy` takes.
    pub fn pack(&self, name: &str, yaml: impl AsRef<[u8]>) -> PathBuf {
        self.write(format!("packs/{name}.yaml"), yaml)
    }

    /// The text of a file, or nothing where there is none.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read(self.at(path))
            .ok()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether something has that name.
    #[must_use]
    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.at(path).symlink_metadata().is_ok()
    }

    /// A TMPDIR of the user's with a name so short that sockets in its folders have room for theirs: 107 bytes, unix(7). Gone when dropped.
    #[must_use]
    pub fn short_tmp(&self) -> tempfile::TempDir {
        let folder = folder_in(Path::new("/tmp"));
        self.own(folder.path());
        folder
    }

    /// Gives `path` itself (no link's target) to the user.
    pub fn own(&self, path: &Path) {
        if nix::unistd::geteuid().is_root() && self.account.uid != 0 {
            lchown(path, Some(self.account.uid), Some(self.account.gid)).unwrap();
        }
    }

    /// `program` as this world's user, in the workspace, with the world's environment and nothing else.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, Unmet> {
        let mut command = Command::new(program);
        self.user.dress(&mut command)?;
        command
            .current_dir(self.workspace())
            .env_clear()
            .envs(self.environment());
        Ok(command)
    }

    /// The variables that a session starts from.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: PathBuf| String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
        vec![
            ("PATH", format!("{}:{SYSTEM_PATH}", text(self.at("bin")))),
            ("HOME", text(self.at("home"))),
            ("TMPDIR", text(self.at("tmp"))),
            ("USER", self.account.name.clone()),
            ("LOGNAME", self.account.name.clone()),
            ("SHELL", "/bin/sh".into()),
            ("LANG", "C.UTF-8".into()),
            ("TERM", "xterm-256color".into()),
            ("GIT_CEILING_DIRECTORIES", text(self.root().to_owned())),
        ]
    }

    /// Runs a command without cavra-run: what it does natively, the positive twin.
    #[track_caller]
    pub fn native<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Finished {
        let mut words = words.into_iter();
        let program = words.next().expect("a command has a program");
        let mut command = self.command(program).expect("the world exists, so its user does");
        command.args(words);
        Running::start(command, None).finish(wait::DEADLINE)
    }

    /// Runs `cavractl` as this world's user.
    #[track_caller]
    pub fn cavractl<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Result<Finished, Unmet> {
        let mut command = self.command(places::cavractl(self.user)?)?;
        command.args(words);
        Ok(Running::start(command, None).finish(wait::DEADLINE))
    }

    /// A session to be set up and run in this world.
    pub fn session(&self) -> Session<'_> {
        Session::new(self, self.sessions.fetch_add(1, Ordering::Relaxed))
    }
}

fn folder_in(base: &Path) -> tempfile::TempDir {
    let make = |base: &Path| tempfile::Builder::new().prefix("").rand_bytes(5).tempdir_in(base);
    make(base)
        .or_else(|_| tempfile::Builder::new().prefix("cavra-").tempdir_in("/tmp"))
        .unwrap()
}
