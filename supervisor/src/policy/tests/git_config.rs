//! What `cavra-workstation` lets pass of `git config`, against real git: a reading passes whatever stands in front of it, and nothing that passes
//! sets what runs a program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use super::{Allow, Machine, Nobody, Policy, RequireApproval, run};

fn workstation(machine: &mut Machine) -> Policy {
    machine.launch.push("cavra-workstation".to_owned());
    machine.policy()
}

fn decides(policy: &Policy, line: &str) -> super::Decision {
    let words = shlex::split(line).unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    policy.command(&run("/usr/bin/git", &words), &Nobody).decision
}

const READS: &[&str] = &[
    "git -c core.hooksPath=/dev/null -c core.fsmonitor= config --local --includes -z --list",
    "git config --local --list",
    "git config --global --list --show-origin",
    "git config --system --show-scope --name-only -l",
    "git config --worktree --null --list",
    "git config -zl",
    "git config -f .git/config -l",
    "git config -f.git/config -zl",
    "git config --file=.git/config --type=bool --get core.bare",
    "git config --file .git/config --type path --get-all core.x v",
    "git config --local --get-regexp ^user x",
    "git config --global --default x --get a.b",
    "git config --local core.fsmonitor",
    "git config --local -- core.fsmonitor",
    "git -C . --no-pager config --bool core.fsmonitor",
    "git config --local --get-urlmatch http.x https://example.org",
    "git config get --local core.fsmonitor",
    "git config list --local -z",
    "git-config --local -z --list",
    "git -c alias.c=config c --local --list",
    "env A=1 git --no-pager config --local --list",
];

const WRITES_OF_NO_HARM: &[&str] = &[
    "git config --global user.name x",
    "git config --local --unset core.fsmonitor",
    "git config --worktree color.ui never",
];

const HELD: &[&str] = &[
    "git config core.pager --list",
    "git config core.fsmonitor evil --list",
    "git config --add core.fsmonitor x --list",
    "git config --local core.fsmonitor evil --get",
    "git config --local core.fsmonitor evil",
    "git config --local --add core.fsmonitor evil",
    "git config --list --add core.fsmonitor evil --local",
    "git config --local --list --add core.fsmonitor evil",
    "git config --local --li core.fsmonitor evil",
    "git config --unknown --list core.fsmonitor evil",
    "git config --file --list core.fsmonitor evil",
    "git config -f --list core.fsmonitor evil",
    "git config --local -f --get core.fsmonitor evil",
    "git config --type --list core.fsmonitor evil",
    "git config --local -- --list.x evil",
    "git config --list=x core.fsmonitor evil",
    "git config --local set core.fsmonitor evil",
    "git config set --local core.fsmonitor evil",
    "git config --local edit",
    "git config --local --edit",
    "git --unknown config config --list core.fsmonitor evil",
    "git clone -c core.fsmonitor=evil config --list",
    "git -c alias.c=config c core.fsmonitor evil",
    "git -c alias.c=config c --add core.fsmonitor evil",
    "git -c help.autocorrect=immediate confg core.fsmonitor evil",
    "git-config core.fsmonitor evil",
];

#[test]
fn a_reading_passes_whatever_stands_in_front_and_a_write_is_held() {
    let mut machine = Machine::new();
    let policy = workstation(&mut machine);
    for line in READS.iter().chain(WRITES_OF_NO_HARM) {
        assert_eq!(decides(&policy, line), Allow, "{line}");
    }
    for line in HELD {
        assert_eq!(decides(&policy, line), RequireApproval, "{line}");
    }
}

/// A repository whose configuration is put back before each command.
struct Repository {
    dir: tempfile::TempDir,
    config: Vec<u8>,
    kept: Vec<PathBuf>,
    /// With git's own folder, where `git-config` lies.
    path: String,
}

impl Repository {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = Process::new("git").args(["init", "-q"]).arg(dir.path()).output();
        assert!(made.unwrap().status.success());
        let config = fs::read(dir.path().join(".git/config")).unwrap();
        let kept = files(&dir.path().join(".git")).collect();
        let own = Process::new("git").arg("--exec-path").output().unwrap();
        let own = String::from_utf8(own.stdout).unwrap();
        let path = format!("{}:{}", std::env::var("PATH").unwrap_or_default(), own.trim());
        Self {
            dir,
            config,
            kept,
            path,
        }
    }

    /// Everything that git says it holds, after a command; the files beside it too.
    fn after(&self, line: &str) -> String {
        let root = self.dir.path();
        let home = root.join("home");
        let _ = fs::remove_dir_all(&home);
        fs::create_dir(&home).unwrap();
        for made in files(root).chain(files(&root.join(".git")).filter(|file| !self.kept.contains(file))) {
            fs::remove_file(made).unwrap();
        }
        fs::write(root.join(".git/config"), &self.config).unwrap();
        let words = shlex::split(line).unwrap();
        let (program, arguments) = words.split_first().unwrap();
        let done = Process::new(program)
            .args(arguments)
            .current_dir(root)
            .env("HOME", &home)
            .env("PATH", &self.path)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_EDITOR", "true")
            .output();
        assert!(done.is_ok(), "{line}");
        let mut all = String::new();
        for folder in [root, &root.join(".git"), &home] {
            all += &texts(folder);
        }
        all
    }
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.filter(|file| file.is_file())
}

/// The files of a folder with what they hold.
fn texts(folder: &Path) -> String {
    let mut all: Vec<PathBuf> = files(folder).collect();
    all.sort();
    let texts = all
        .iter()
        .map(|file| format!("{}: {}\n", file.display(), fs::read_to_string(file).unwrap_or_default()));
    texts.collect()
}

#[test]
fn what_passes_as_a_reading_writes_nothing() {
    let repository = Repository::new();
    let before = repository.after("git version");
    for line in READS {
        assert_eq!(repository.after(line), before, "{line} wrote");
    }
    // The comparison sees a write.
    assert_ne!(repository.after("git config --local core.pager --list"), before);
    assert_ne!(repository.after("git config core.fsmonitor evil --list"), before);
}

/// Each sequence of these words up to three, and a sample of the longer ones.
#[test]
fn no_line_of_options_that_passes_sets_what_runs() {
    const WORDS: &[&str] = &[
        "--local",
        "--global",
        "-z",
        "-l",
        "--list",
        "--li",
        "--get",
        "--add",
        "--unset",
        "--replace-all",
        "-f",
        "--file",
        "--file=f",
        "--type",
        "--type=path",
        "--default",
        "--",
        "core.fsmonitor",
        "evil",
        "get",
        "set",
        "list",
        "user.name",
        "--bool",
        "--edit",
        "--comment",
        "--blob",
    ];
    const SAMPLED: usize = 1500;
    let mut machine = Machine::new();
    let policy = workstation(&mut machine);
    let repository = Repository::new();
    let mut seed: u64 = 0x5eed;
    let mut pick = |below: usize| {
        // splitmix64
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below as u64).unwrap()
    };
    let (mut passed, mut held_writes) = (0, 0);
    for round in 0..SAMPLED {
        let mut words = vec!["git", "config"];
        words.extend((0..3 + round % 3).map(|_| WORDS[pick(WORDS.len())]));
        // Else few lines write anything.
        words.extend(["core.fsmonitor", "evil"].iter().take(round % 2 * 2));
        let line = words.join(" ");
        let free = decides(&policy, &line) == Allow;
        passed += usize::from(free);
        let sets = |text: &str| text.contains("fsmonitor =");
        if free {
            assert!(!sets(&repository.after(&line)), "{line} passes and sets core.fsmonitor");
        } else if held_writes < 20 {
            held_writes += usize::from(sets(&repository.after(&line)));
        }
    }
    assert!(
        passed > 100 && held_writes >= 20,
        "{passed} passed, {held_writes} held that write: too few to show anything"
    );
}
