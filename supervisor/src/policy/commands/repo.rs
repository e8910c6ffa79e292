//! What the meaning of a `git push` depends on: the branch that is checked out, and git's configuration, read plainly from disk.
//!
//! The tree can change these files between this reading and git's: a push without a refspec is decided on what they say now. Where that is not enough, the
//! network's rules and the host's own branch protection stand.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::config::Config;
use crate::policy::Command;

/// Bytes of one file that are read; a longer one leaves the configuration incomplete.
const FILE_MAX: u64 = 1024 * 1024;
/// Files that `include.path` and `includeIf` may add.
const INCLUDES_MAX: usize = 32;
/// Folders from the working folder up to the root that are searched for a repository.
const PARENTS_MAX: usize = 256;

/// Where git was asked to work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place<'a> {
    /// The working folder, `-C` applied.
    pub cwd: Vec<u8>,
    /// `--git-dir` or `GIT_DIR`.
    pub git_dir: Option<Vec<u8>>,
    /// `NAME=value` strings.
    pub env: Vec<&'a [u8]>,
}

/// A repository as far as pushes need it.
pub(crate) trait Repo {
    /// The branch that is checked out, without `refs/heads/`; none when the head is detached or not readable.
    fn current_branch(&self, place: &Place<'_>) -> Option<Vec<u8>>;
    /// The configuration from system to worktree, in the order of its strength.
    fn config(&self, place: &Place<'_>) -> Config;
    /// Whether `name` is a tag and no branch.
    fn is_tag(&self, place: &Place<'_>, name: &[u8]) -> bool;
}

/// Repositories on disk.
pub(crate) struct Disk;

impl Repo for Disk {
    fn current_branch(&self, place: &Place<'_>) -> Option<Vec<u8>> {
        let head = read(&git_dir(place)?.join("HEAD"))?;
        let branch = head
            .trim_ascii()
            .strip_prefix(b"ref:")?
            .trim_ascii_start()
            .strip_prefix(b"refs/heads/")?;
        // A repository with reftables keeps this name in its HEAD file, and the true one elsewhere.
        (branch != b".invalid").then(|| branch.to_vec())
    }

    fn config(&self, place: &Place<'_>) -> Config {
        let mut reader = Reader {
            config: Config::default(),
            included: 0,
        };
        let off = |name: &str| {
            place
                .variable(name)
                .is_some_and(|value| !matches!(value, b"" | b"0" | b"false" | b"no" | b"off"))
        };
        if !off("GIT_CONFIG_NOSYSTEM") {
            reader.file(
                &place
                    .variable("GIT_CONFIG_SYSTEM")
                    .map_or_else(|| PathBuf::from("/etc/gitconfig"), path),
            );
        }
        if let Some(global) = place.variable("GIT_CONFIG_GLOBAL") {
            reader.file(&path(global));
        } else {
            let home = place.variable("HOME").map(path);
            let xdg = place
                .variable("XDG_CONFIG_HOME")
                .filter(|value| !value.is_empty())
                .map(path);
            let xdg = xdg.or_else(|| home.as_ref().map(|home| home.join(".config")));
            for file in [
                xdg.map(|folder| folder.join("git/config")),
                home.map(|home| home.join(".gitconfig")),
            ]
            .into_iter()
            .flatten()
            {
                reader.file(&file);
            }
        }
        if let Some(folder) = git_dir(place) {
            reader.file(&common_dir(&folder).join("config"));
            reader.file(&folder.join("config.worktree"));
        }
        reader.config
    }

    fn is_tag(&self, place: &Place<'_>, name: &[u8]) -> bool {
        let Some(common) = git_dir(place).map(|folder| common_dir(&folder)) else {
            return false;
        };
        let packed = read(&common.join("packed-refs")).unwrap_or_default();
        let known = |kind: &str| {
            let full = [kind.as_bytes(), name].concat();
            let listed = packed
                .split(|byte| *byte == b'\n')
                .any(|line| line.ends_with(&full) && line.get(40..).is_some_and(|rest| rest.trim_ascii() == full));
            listed
                || (!name.split(|byte| *byte == b'/').any(|part| part == b"..") && common.join(path(&full)).is_file())
        };
        known("refs/tags/") && !known("refs/heads/")
    }
}

impl<'a> Place<'a> {
    /// Where a command starts.
    pub(super) fn of(command: &Command<'a>) -> Self {
        let mut place = Self {
            cwd: command.cwd.to_vec(),
            git_dir: None,
            env: command.env.clone(),
        };
        place.git_dir = place.variable("GIT_DIR").map(<[u8]>::to_vec);
        place
    }

    /// The value of an environment variable.
    #[must_use]
    pub(crate) fn variable(&self, name: &str) -> Option<&'a [u8]> {
        self.env
            .iter()
            .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }
}

/// A folder and those above it.
pub(super) fn upwards(folder: &Path) -> impl Iterator<Item = &Path> {
    folder.ancestors().take(PARENTS_MAX)
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// The repository's folder: as asked for, or found from the working folder upwards.
fn git_dir(place: &Place<'_>) -> Option<PathBuf> {
    let cwd = path(&place.cwd);
    if let Some(asked) = &place.git_dir {
        return Some(followed(&cwd.join(path(asked))));
    }
    for folder in upwards(&cwd) {
        let inside = followed(&folder.join(".git"));
        if inside.join("HEAD").is_file() {
            return Some(inside);
        }
        if folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir() {
            return Some(folder.to_owned());
        }
    }
    None
}

/// The folder that a `.git` file of a worktree or submodule names, else the path itself.
fn followed(dot_git: &Path) -> PathBuf {
    if !dot_git.is_file() {
        return dot_git.to_owned();
    }
    let text = read(dot_git).unwrap_or_default();
    match text.trim_ascii().strip_prefix(b"gitdir:") {
        Some(named) => dot_git.parent().unwrap_or(dot_git).join(path(named.trim_ascii())),
        None => dot_git.to_owned(),
    }
}

/// Where the branches and the configuration of all worktrees lie.
fn common_dir(folder: &Path) -> PathBuf {
    match read(&folder.join("commondir")) {
        Some(text) => folder.join(path(text.trim_ascii())),
        None => folder.to_owned(),
    }
}

struct Reader {
    config: Config,
    included: usize,
}

impl Reader {
    /// Adds a file and what it includes. Conditions are taken as true: a key that only some folders have counts everywhere.
    fn file(&mut self, file: &Path) {
        let Some(text) = read(file) else {
            // Missing is as good as empty; anything else hides keys.
            self.config.incomplete |= file.exists();
            return;
        };
        let own = Config::parse(&text);
        let includes: Vec<PathBuf> = own.includes().map(path).collect();
        self.config.extend(own);
        for include in includes {
            self.included += 1;
            if self.included > INCLUDES_MAX {
                self.config.incomplete = true;
                return;
            }
            match include.strip_prefix("~") {
                // `~/x` depends on who asks; that file is not looked for, and so the configuration is not whole.
                Ok(_) => self.config.incomplete = true,
                Err(_) => self.file(&file.parent().unwrap_or(file).join(include)),
            }
        }
    }
}

/// A regular file's bytes. Opened so that a FIFO or device in its place can not hold the caller up.
pub(super) fn read(file: &Path) -> Option<Vec<u8>> {
    let open: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(file)
        .ok()?;
    let meta = open.metadata().ok().filter(std::fs::Metadata::is_file)?;
    if meta.len() > FILE_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    open.take(FILE_MAX + 1).read_to_end(&mut bytes).ok()?;
    (u64::try_from(bytes.len()).ok()? <= FILE_MAX).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::{Disk, Place, Repo};

    fn at(folder: &Path) -> Place<'static> {
        Place {
            cwd: folder.as_os_str().as_bytes().to_vec(),
            env: vec![b"GIT_CONFIG_NOSYSTEM=1"],
            ..Place::default()
        }
    }

    fn repository(folder: &Path, config: &str) {
        for part in ["objects", "refs/heads", "refs/tags"] {
            fs::create_dir_all(folder.join(".git").join(part)).unwrap();
        }
        fs::write(folder.join(".git/HEAD"), "ref: refs/heads/topic/x\n").unwrap();
        fs::write(folder.join(".git/config"), config).unwrap();
    }

    #[test]
    fn the_branch_is_found_from_below_in_worktrees_and_bare_repositories() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        repository(top, "");
        fs::create_dir_all(top.join("a/b")).unwrap();
        assert_eq!(Disk.current_branch(&at(&top.join("a/b"))).unwrap(), b"topic/x");
        let worktree = top.join(".git/worktrees/w");
        fs::create_dir_all(&worktree).unwrap();
        fs::write(worktree.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(worktree.join("commondir"), "../..\n").unwrap();
        fs::create_dir(top.join("w")).unwrap();
        fs::write(top.join("w/.git"), "gitdir: ../.git/worktrees/w\n").unwrap();
        assert_eq!(Disk.current_branch(&at(&top.join("w"))).unwrap(), b"main");
        assert_eq!(Disk.current_branch(&at(&top.join(".git"))).unwrap(), b"topic/x");
        let asked = Place {
            git_dir: Some(b".git/worktrees/w".to_vec()),
            ..at(top)
        };
        assert_eq!(Disk.current_branch(&asked).unwrap(), b"main");
        fs::write(top.join(".git/HEAD"), "0123456789012345678901234567890123456789\n").unwrap();
        assert_eq!(Disk.current_branch(&at(top)), None);
    }

    #[test]
    fn configuration_comes_with_what_it_includes() {
        let dir = tempfile::tempdir().unwrap();
        repository(dir.path(), "[include]\npath = more\n[alias]\nq = pull\n");
        fs::write(dir.path().join(".git/more"), "[alias]\np = push\n").unwrap();
        let config = Disk.config(&at(dir.path()));
        assert_eq!(config.last(b"alias.p").unwrap(), b"push");
        assert_eq!(config.last(b"alias.q").unwrap(), b"pull");
        assert!(!config.incomplete);
        fs::write(dir.path().join(".git/more"), "[include]\npath = more\n").unwrap();
        assert!(Disk.config(&at(dir.path())).incomplete);
    }

    #[test]
    fn a_fifo_or_a_giant_in_place_of_a_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        repository(dir.path(), "");
        fs::remove_file(dir.path().join(".git/config")).unwrap();
        let fifo = dir.path().join(".git/config");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Disk.config(&at(dir.path())).incomplete);
        fs::remove_file(&fifo).unwrap();
        fs::File::create(&fifo).unwrap().set_len(2 << 20).unwrap();
        assert!(Disk.config(&at(dir.path())).incomplete);
    }

    #[test]
    fn tags_are_told_from_branches() {
        let dir = tempfile::tempdir().unwrap();
        repository(dir.path(), "");
        fs::write(dir.path().join(".git/refs/tags/v1"), "x").unwrap();
        fs::write(
            dir.path().join(".git/packed-refs"),
            "# pack-refs\n0123456789012345678901234567890123456789 refs/tags/v2\n",
        )
        .unwrap();
        for (name, wanted) in [("v1", true), ("v2", true), ("v3", false), ("../heads/x", false)] {
            assert_eq!(Disk.is_tag(&at(dir.path()), name.as_bytes()), wanted, "{name}");
        }
        fs::write(dir.path().join(".git/refs/heads/v1"), "x").unwrap();
        assert!(!Disk.is_tag(&at(dir.path()), b"v1"));
    }
}
