//! What the meaning of a `git push` depends on: the branch that is checked out, and git's configuration, read plainly from disk.
//!
//! The tree can change most of these files between this reading and git's own, so that what depends on them is read and not proven: a
//! push that names its destination (`topic:topic`, `HEAD:refs/heads/topic`) depends on none of them. What can not be read for certain makes the
//! configuration incomplete, and then everything that depends on it counts as unresolved, which is protected.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::config::Config;
use super::files::{Content, Hidden, is_folder, read, true_folder, upwards};
use crate::policy::Command;

/// Files that `include.path` may add.
const INCLUDES_MAX: usize = 32;
/// Symbolic refs that git follows; SYMREF_MAXDEPTH, refs/refs-internal.h.
const SYMREFS_MAX: usize = 5;
/// Variables that decide which files git reads.
const VARIABLES: &[&str] = &[
    "GIT_DIR",
    "GIT_COMMON_DIR",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "HOME",
    "XDG_CONFIG_HOME",
];

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
    /// Whether there is a tag of this name.
    fn is_tag(&self, place: &Place<'_>, name: &[u8]) -> bool;
    /// The full names that a source stands for where one of the refs that it may mean is a symbolic one; none for what is not to be known.
    fn behind(&self, place: &Place<'_>, source: &[u8]) -> Vec<Option<Vec<u8>>>;
}

/// Repositories on disk.
pub(crate) struct Disk;

impl Repo for Disk {
    fn current_branch(&self, place: &Place<'_>) -> Option<Vec<u8>> {
        let Found::At(folder) = git_dir(place) else { return None };
        let Content::Bytes(head) = read(&folder.join("HEAD")) else {
            return None;
        };
        let branch = symbolic(&head)?.strip_prefix(b"refs/heads/")?.to_vec();
        // A repository with reftables keeps this name in its HEAD file, and the true one elsewhere.
        (branch != b".invalid").then_some(branch)
    }

    fn config(&self, place: &Place<'_>) -> Config {
        let mut reader = Reader {
            config: Config::default(),
            home: place.variable("HOME").map(path),
            included: 0,
        };
        let twice = |name: &&&str| place.variables(name).count() > 1;
        reader.config.incomplete =
            place.variable("GIT_COMMON_DIR").is_some() || VARIABLES.iter().any(|name| twice(&name));
        match place
            .variable("GIT_CONFIG_NOSYSTEM")
            .map(<[u8]>::to_ascii_lowercase)
            .as_deref()
        {
            None | Some(b"" | b"0" | b"false" | b"no" | b"off") => match place.variable("GIT_CONFIG_SYSTEM") {
                Some(file) => reader.named(file),
                None => reader.file(Path::new("/etc/gitconfig")),
            },
            Some(b"1" | b"true" | b"yes" | b"on") => {}
            Some(_) => reader.config.incomplete = true,
        }
        if let Some(global) = place.variable("GIT_CONFIG_GLOBAL") {
            reader.named(global);
        } else {
            let home = place.variable("HOME");
            match (
                place.variable("XDG_CONFIG_HOME").filter(|value| !value.is_empty()),
                home,
            ) {
                (Some(xdg), _) => reader.named(&[xdg, b"/git/config"].concat()),
                (None, Some(home)) => reader.named(&[home, b"/.config/git/config"].concat()),
                (None, None) => {}
            }
            if let Some(home) = home {
                reader.named(&[home, b"/.gitconfig"].concat());
            }
        }
        match git_dir(place) {
            Found::At(folder) => reader.repository(&folder),
            Found::Doubtful => reader.config.incomplete = true,
            Found::Nowhere => {}
        }
        reader.config
    }

    fn is_tag(&self, place: &Place<'_>, name: &[u8]) -> bool {
        let Found::At(folder) = git_dir(place) else {
            return false;
        };
        let common = common_dir(&folder);
        let full = [b"refs/tags/", name].concat();
        let loose = !name.split(|byte| *byte == b'/').any(|part| part == b"..")
            && matches!(read(&common.join(path(&full))), Content::Bytes(_));
        loose
            || match read(&common.join("packed-refs")) {
                Content::Bytes(packed) => packed.split(|byte| *byte == b'\n').any(|line| line.ends_with(&full)),
                Content::Missing => false,
                Content::Hidden => true,
            }
    }

    fn behind(&self, place: &Place<'_>, source: &[u8]) -> Vec<Option<Vec<u8>>> {
        let Found::At(folder) = git_dir(place) else {
            return Vec::new();
        };
        let common = common_dir(&folder);
        let starts: [&[u8]; 5] = [b"", b"refs/", b"refs/tags/", b"refs/heads/", b"refs/remotes/"];
        let mut names: Vec<Vec<u8>> = starts.iter().map(|start| [start, source].concat()).collect();
        names.push([b"refs/remotes/", source, b"/HEAD"].concat());
        let mut found = Vec::new();
        for mut name in names {
            for followed in 0..=SYMREFS_MAX {
                if name
                    .split(|byte| *byte == b'/')
                    .any(|part| matches!(part, b"" | b"." | b".."))
                {
                    break;
                }
                let place = if name.starts_with(b"refs/") { &common } else { &folder };
                let target = match read(&place.join(path(&name))) {
                    Content::Bytes(text) => symbolic(&text).map(<[u8]>::to_vec),
                    Content::Missing => None,
                    Content::Hidden if place.join(path(&name)).is_dir() => None,
                    Content::Hidden => {
                        found.push(None);
                        None
                    }
                };
                match target {
                    Some(_) if followed == SYMREFS_MAX => found.push(None),
                    Some(target) => {
                        found.push(Some(target.clone()));
                        name = target;
                    }
                    None => break,
                }
            }
        }
        found
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

    /// The value of an environment variable: of several, the first, as getenv(3) finds it.
    #[must_use]
    pub(crate) fn variable(&self, name: &str) -> Option<&'a [u8]> {
        self.variables(name).next()
    }

    fn variables(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.env
            .iter()
            .filter_map(move |entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }
}

/// The ref that a symbolic ref's file names.
fn symbolic(text: &[u8]) -> Option<&[u8]> {
    Some(text.strip_prefix(b"ref:")?.trim_ascii())
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Where git would find its repository.
enum Found {
    At(PathBuf),
    Nowhere,
    /// Something is there that git may take for one or not.
    Doubtful,
}

/// The repository's folder: as asked for, or found from the working folder upwards; setup.c, `setup_git_directory_gently_1`.
fn git_dir(place: &Place<'_>) -> Found {
    // `-C link/..` is above where the link leads.
    let cwd = match true_folder(&path(&place.cwd)) {
        Ok(Some(cwd)) => cwd,
        Ok(None) => return Found::Nowhere,
        Err(Hidden) => return Found::Doubtful,
    };
    let elsewhere = place.variable("GIT_OBJECT_DIRECTORY").is_some();
    let at = |folder: PathBuf| match is_repository(&folder, elsewhere) {
        Some(true) => Found::At(folder),
        Some(false) => Found::Nowhere,
        None => Found::Doubtful,
    };
    if let Some(asked) = &place.git_dir {
        return match followed(&cwd.join(path(asked))) {
            Some(folder) => at(folder),
            None => Found::Doubtful,
        };
    }
    for folder in upwards(&cwd) {
        let dot_git = folder.join(".git");
        let inside = match followed(&dot_git) {
            Some(inside) => at(inside),
            None => Found::Doubtful,
        };
        match (inside, at(folder.to_owned())) {
            (Found::Nowhere, Found::Nowhere) => {}
            (Found::Nowhere, here) => return here,
            (inside, _) => return inside,
        }
    }
    Found::Nowhere
}

/// Whether git takes a folder for a repository; none when it has some of what makes one.
fn is_repository(folder: &Path, objects_elsewhere: bool) -> Option<bool> {
    let head = match read(&folder.join("HEAD")) {
        Content::Bytes(head) => symbolic(&head).is_some_and(|name| name.starts_with(b"refs/")) || is_object(&head),
        Content::Missing => return Some(false),
        Content::Hidden => return None,
    };
    let common = common_dir(folder);
    let whole = head && is_folder(&common.join("refs")) && (objects_elsewhere || is_folder(&common.join("objects")));
    // A file of this name in an ordinary folder is no repository in part.
    let none = !is_folder(&common.join("refs")) && !is_folder(&common.join("objects"));
    match (whole, none) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

fn is_object(head: &[u8]) -> bool {
    let head = head.trim_ascii();
    matches!(head.len(), 40 | 64) && head.iter().all(u8::is_ascii_hexdigit)
}

/// The folder that a `.git` file of a worktree or submodule names, else the path itself; none when the file says nothing.
fn followed(dot_git: &Path) -> Option<PathBuf> {
    match read(dot_git) {
        Content::Bytes(text) => {
            let named = text.strip_prefix(b"gitdir:")?.trim_ascii();
            Some(dot_git.parent().unwrap_or(dot_git).join(path(named)))
        }
        Content::Missing | Content::Hidden => Some(dot_git.to_owned()),
    }
}

/// Where the branches and the configuration of all worktrees lie.
fn common_dir(folder: &Path) -> PathBuf {
    match read(&folder.join("commondir")) {
        Content::Bytes(text) => folder.join(path(text.trim_ascii())),
        Content::Missing | Content::Hidden => folder.to_owned(),
    }
}

struct Reader {
    config: Config,
    home: Option<PathBuf>,
    included: usize,
}

impl Reader {
    fn repository(&mut self, folder: &Path) {
        let common = common_dir(folder);
        self.file(&common.join("config"));
        if self
            .config
            .last(b"extensions.worktreeconfig")
            .is_some_and(|value| value != b"false")
        {
            self.file(&folder.join("config.worktree"));
        }
        // Remotes in the ways of before 2005 map refs too; reftables hide symbolic refs from us.
        let filled = |name: &str| std::fs::read_dir(common.join(name)).is_ok_and(|mut folder| folder.next().is_some());
        self.config.incomplete |= ["remotes", "branches", "reftable"].into_iter().any(filled);
    }

    /// A file that the environment names. A relative one is another file once git has gone to the top of its worktree.
    fn named(&mut self, name: &[u8]) {
        if name.starts_with(b"/") {
            self.file(&path(name));
        } else {
            self.config.incomplete |= !name.is_empty();
        }
    }

    /// Adds a file and what it includes, in git's order.
    fn file(&mut self, file: &Path) {
        let text = match read(file) {
            Content::Bytes(text) => text,
            Content::Missing => return,
            Content::Hidden => {
                self.config.incomplete = true;
                return;
            }
        };
        let own = Config::parse(&text);
        self.config.incomplete |= own.incomplete;
        for (key, value) in own.below(b"") {
            self.config.set(key, value);
            if key == b"include.path" {
                self.include(file, value, Reader::file);
            } else if key.starts_with(b"includeif.") && key.ends_with(b".path") {
                // Whether its condition holds is git's to know: what it may say about pushes is unknown.
                self.include(file, value, |reader, file| {
                    reader.config.incomplete |= match read(file) {
                        Content::Bytes(text) => Config::parse(&text).is_about_pushes(),
                        Content::Missing => false,
                        Content::Hidden => true,
                    };
                });
            }
        }
    }

    fn include(&mut self, from: &Path, name: &[u8], add: impl FnOnce(&mut Self, &Path)) {
        self.included += 1;
        let file = match (name, &self.home) {
            _ if self.included > INCLUDES_MAX => None,
            ([b'~', b'/', rest @ ..], Some(home)) if home.is_absolute() => Some(home.join(path(rest))),
            ([b'~' | b'%', ..] | [], _) => None,
            (name, _) => Some(from.parent().unwrap_or(from).join(path(name))),
        };
        match file {
            Some(file) => add(self, &file),
            None => self.config.incomplete = true,
        }
    }
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
        assert!(Disk.is_tag(&at(dir.path()), b"v1"));
    }
}
