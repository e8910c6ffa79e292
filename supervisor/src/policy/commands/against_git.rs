//! What pushes are read as, against what git itself does: each row runs in a real repository with a bare one as its remote, and every branch that
//! changed there must have been foretold, or the push counted as unresolved.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use super::{PushTarget, Table, meaning};
use crate::policy::Command;

/// A clone on branch `topic`, one commit ahead of its remote on `main`, `topic` and `other`, with the tag `v1`.
struct World {
    _dir: tempfile::TempDir,
    top: PathBuf,
}

fn git(at: &Path, home: &Path, words: &[&str]) -> Process {
    let mut git = Process::new("/usr/bin/git");
    git.args(words)
        .current_dir(at)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin");
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "a")
            .env(format!("GIT_{role}_EMAIL"), "a@example.org");
    }
    git
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let run = |at: &Path, words: &[&str]| {
            let out = git(at, &top, words).output().unwrap();
            assert!(
                out.status.success(),
                "{words:?}: {}",
                String::from_utf8_lossy(&out.stderr)
            );
        };
        fs::create_dir(top.join("ws")).unwrap();
        run(
            &top,
            &["init", "-q", "--template=", "--bare", "-b", "main", "remote.git"],
        );
        let ws = top.join("ws");
        run(&ws, &["init", "-q", "--template=", "-b", "main"]);
        run(&ws, &["remote", "add", "origin", "../remote.git"]);
        run(&ws, &["commit", "-q", "--allow-empty", "-m", "one"]);
        run(&ws, &["branch", "topic"]);
        run(&ws, &["branch", "other"]);
        run(&ws, &["push", "-q", "-u", "origin", "main", "topic", "other"]);
        for branch in ["main", "other", "topic"] {
            run(&ws, &["checkout", "-q", branch]);
            run(&ws, &["commit", "-q", "--allow-empty", "-m", branch]);
        }
        run(&ws, &["tag", "v1"]);
        Self { _dir: dir, top }
    }

    /// Each branch of the remote with its value; none is packed.
    fn branches(&self) -> BTreeSet<(String, String)> {
        let heads = self.top.join("remote.git/refs/heads");
        let mut found = BTreeSet::new();
        let mut folders = vec![heads.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&heads).unwrap().display().to_string();
                    found.insert((name, fs::read_to_string(path).unwrap()));
                }
            }
        }
        found
    }

    /// The branches whose value changed, were made or removed.
    fn changed(&self, words: &[String], env: &[&str]) -> BTreeSet<String> {
        let before = self.branches();
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let mut process = git(&self.top.join("ws"), &self.top, &words);
        for (name, value) in env.iter().filter_map(|entry| entry.split_once('=')) {
            process.env(name, value);
        }
        let _output = process.output().unwrap();
        let after = self.branches();
        before
            .symmetric_difference(&after)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The branches that the command is read to push; none for unresolved.
    fn foretold(&self, words: &[String], env: &[&str]) -> Option<BTreeSet<String>> {
        let home = format!("HOME={}", self.top.display());
        let own = ["GIT_CONFIG_NOSYSTEM=1", &home];
        let cwd = self.top.join("ws");
        let command = Command {
            file: b"/usr/bin/git",
            argv: words.iter().map(String::as_bytes).collect(),
            env: own.iter().chain(env).map(|entry| entry.as_bytes()).collect(),
            cwd: cwd.as_os_str().as_bytes(),
            ..Command::default()
        };
        let branch = |target: PushTarget| match target {
            PushTarget::Branch(name) => Some(String::from_utf8(name).unwrap()),
            PushTarget::Unresolved => None,
        };
        meaning(Table::shipped(), &command)
            .pushes
            .into_iter()
            .map(branch)
            .collect()
    }
}

/// Settings made before (`git config` words, or `path=text` for a file), the environment, the command.
type Row = (&'static [&'static str], &'static [&'static str], &'static str);

const ROWS: &[Row] = &[
    (&[], &[], "git push origin main"),
    (&[], &[], "git push origin topic"),
    (&[], &[], "git push"),
    (&[], &[], "git push origin HEAD:main"),
    (&[], &[], "git push origin @:main"),
    (&[], &[], "git push origin @:refs/heads/main"),
    (&[], &[], "git push origin topic:heads/main"),
    (&[], &[], "git push origin +topic~0:main"),
    (&[], &[], "git push origin :main"),
    (&[], &[], "git push origin --delete heads/main"),
    (&[], &[], "git push origin --del main"),
    (&[], &[], "git push origin -d refs/heads/main"),
    (&[], &[], "git push origin refs/heads/ma*:refs/heads/ma*"),
    (&[], &[], "git push origin refs/heads/*:refs/heads/*"),
    (&[], &[], "git push origin refs/heads/top*:refs/heads/ma*"),
    (&[], &[], "git push --all"),
    (&[], &[], "git push --al origin"),
    (&[], &[], "git push --branches origin"),
    (&[], &[], "git push --mirror"),
    (&[], &[], "git push --mi origin"),
    (&[], &[], "git push origin :"),
    (&[], &[], "git push origin +:"),
    (&[], &[], "git push --prune origin 'refs/heads/t*:refs/heads/t*'"),
    (&[], &[], "git push --prune --all origin"),
    (&[], &[], "git push --prune origin topic"),
    (&[], &[], "git push --tags origin"),
    (&[], &[], "git push --follow-tags origin topic"),
    (&[], &[], "git push --repo=origin main"),
    (&[], &[], "git push --repo ../remote.git"),
    (&[], &[], "git push ../remote.git main"),
    (&[], &[], "git push . topic:main"),
    (&[], &[], "git push -u origin topic:main"),
    (&[], &[], "git push -qu -o x origin topic:main"),
    (&[], &[], "git push -4uf origin topic:main"),
    (&[], &[], "git push --exec git-receive-pack origin main"),
    (&[], &[], "git push --receive-p git-receive-pack origin main"),
    (&[], &[], "git push --recurse-sub=no origin main"),
    (&[], &[], "git push --no-thin --no-verify --atomic origin main topic"),
    (&[], &[], "git push --signed=no origin main"),
    (&[], &[], "git push --signed no origin main"),
    (&[], &[], "git push --force-with-lease=main origin topic:main"),
    (&[], &[], "git push --force-with-lease main"),
    (&[], &[], "git push --no-all origin main"),
    (&[], &[], "git push --no-mirror --no-delete origin main"),
    (&[], &[], "git push --no-repo origin main"),
    (&[], &[], "git push --no-push-option origin main"),
    (&[], &[], "git push --no-receive-pack origin main"),
    (&[], &[], "git push --no-recurse-submodules origin main"),
    (&[], &[], "git push --end-of-options origin main"),
    (&[], &[], "git push origin --end-of-options main"),
    (&[], &[], "git push origin tag v1"),
    (&[], &[], "git push origin v1:main"),
    (&[], &[], "git push origin v1:refs/heads/main"),
    (&[], &[], "git push origin v1"),
    (&["config", "push.default", "matching"], &[], "git push"),
    (&["config", "push.default", "upstream"], &[], "git push"),
    (&["config", "push.default", "current"], &[], "git push origin"),
    (
        &[
            "config",
            "branch.topic.merge",
            "refs/heads/main",
            ";",
            "config",
            "push.default",
            "upstream",
        ],
        &[],
        "git push",
    ),
    (
        &[
            "config",
            "branch.topic.merge",
            "refs/heads/main",
            ";",
            "config",
            "push.default",
            "upstream",
        ],
        &[],
        "git push origin topic",
    ),
    (
        &[
            "config",
            "branch.topic.merge",
            "refs/heads/main",
            ";",
            "config",
            "push.default",
            "tracking",
        ],
        &[],
        "git push origin HEAD",
    ),
    (
        &[
            "config",
            "branch.topic.merge",
            "refs/heads/main",
            ";",
            "config",
            "push.default",
            "upstream",
        ],
        &[],
        "git push origin @",
    ),
    (
        &["config", "remote.origin.push", "refs/heads/topic:refs/heads/main"],
        &[],
        "git push",
    ),
    (
        &["config", "remote.origin.push", "refs/heads/topic:refs/heads/main"],
        &[],
        "git push origin topic",
    ),
    (
        &["config", "remote.origin.push", "refs/heads/topic:refs/heads/main"],
        &[],
        "git push origin HEAD",
    ),
    (
        &["config", "remote.origin.push", "refs/heads/topic:refs/heads/main"],
        &[],
        "git push origin refs/heads/topic",
    ),
    (
        &["config", "remote.origin.push", "refs/heads/to*:refs/heads/ma*"],
        &[],
        "git push origin topic",
    ),
    (
        &["config", "remote.origin.push", "refs/heads/*:refs/heads/*"],
        &[],
        "git push",
    ),
    (&["config", "remote.origin.push", "HEAD:main"], &[], "git push"),
    (&["config", "remote.origin.push", "@:main"], &[], "git push"),
    (&["config", "remote.origin.push", ":"], &[], "git push"),
    (&["config", "remote.origin.mirror", "true"], &[], "git push"),
    (&["config", "remote.origin.mirror", "1"], &[], "git push"),
    (
        &[
            "config",
            "remote.up.url",
            "../remote.git",
            ";",
            "config",
            "remote.up.push",
            "topic:main",
            ";",
            "config",
            "remote.pushDefault",
            "up",
        ],
        &[],
        "git push",
    ),
    (
        &[
            "config",
            "remote.up.url",
            "../remote.git",
            ";",
            "config",
            "remote.up.push",
            "topic:main",
            ";",
            "config",
            "branch.topic.pushRemote",
            "up",
        ],
        &[],
        "git push",
    ),
    (
        &[
            "config",
            "remote.up.url",
            "../remote.git",
            ";",
            "config",
            "remote.up.push",
            "topic:main",
            ";",
            "config",
            "branch.topic.remote",
            "up",
        ],
        &[],
        "git push",
    ),
    (
        &[
            "config",
            "remote.up.url",
            "../remote.git",
            ";",
            "config",
            "remote.up.push",
            "refs/heads/topic:refs/heads/main",
        ],
        &[],
        "git push up topic",
    ),
    (&["config", "remotes.up", "origin"], &[], "git push up main"),
    (
        &[
            "write",
            ".git/remotes/up",
            "URL: ../remote.git\nPush: refs/heads/topic:refs/heads/main\n",
        ],
        &[],
        "git push up",
    ),
    (
        &[
            "write",
            ".git/remotes/up",
            "URL: ../remote.git\nPush: refs/heads/topic:refs/heads/main\n",
        ],
        &[],
        "git push up topic",
    ),
    (
        &["write", ".git/branches/up", "../remote.git#main\n"],
        &[],
        "git push up",
    ),
    (
        &["write", ".git/branches/up", "../remote.git#main\n"],
        &[],
        "git push up topic",
    ),
    (&["config", "alias.p", "push origin"], &[], "git p main"),
    (&["config", "alias.p", "push origin topic:main"], &[], "git p"),
    (&["config", "alias.P", "push"], &[], "git P origin main"),
    (
        &["config", "alias.q", "p", ";", "config", "alias.p", "push origin main"],
        &[],
        "git q",
    ),
    (&["config", "alias.p", "-c push.default=matching push"], &[], "git p"),
    (&["config", "alias.p", "\"push\" 'origin' main"], &[], "git p"),
    (&["config", "alias.p", "pu\\sh origin main"], &[], "git p"),
    (&["config", "alias.p", " push\torigin\nmain"], &[], "git p"),
    (&["config", "alias.p.command", "push origin main"], &[], "git p"),
    (
        &["config", "help.autocorrect", "immediate"],
        &[],
        "git pussh origin main",
    ),
    (&["config", "help.autocorrect", "1"], &[], "git ush origin main"),
    (&["config", "help.autocorrect", "-1"], &[], "git psh origin main"),
    (
        &["config", "help.autocorrect", "immediate"],
        &[],
        "git puhs origin main",
    ),
    (&["config", "help.autocorrect", "immediate"], &[], "git pu origin main"),
    (
        &["config", "help.autocorrect", "immediate"],
        &[],
        "git sned-pack ../remote.git main",
    ),
    (
        &[
            "config",
            "include.path",
            "../more",
            ";",
            "write",
            "more",
            "[alias]\np = push\n",
        ],
        &[],
        "git p origin main",
    ),
    (
        &[
            "config",
            "includeIf.gitdir:**.path",
            "../more",
            ";",
            "write",
            "more",
            "[alias]\np = push\n",
        ],
        &[],
        "git p origin main",
    ),
    (
        &[
            "config",
            "includeIf.onbranch:topic.path",
            "../more",
            ";",
            "write",
            "more",
            "[push]\ndefault = matching\n",
        ],
        &[],
        "git push",
    ),
    (
        &[
            "config",
            "includeIf.hasconfig:remote.*.url:**.path",
            "../more",
            ";",
            "write",
            "more",
            "[push]\ndefault = matching\n",
        ],
        &[],
        "git push",
    ),
    (
        &["config", "--file", "../.gitconfig", "alias.p", "push"],
        &[],
        "git p origin main",
    ),
    (
        &[
            "write",
            "../.gitconfig",
            "[include]\npath = ~/more\n",
            ";",
            "write",
            "../more",
            "[alias]\np = push\n",
        ],
        &[],
        "git p origin main",
    ),
    (
        &["write", "../.config/git/config", "[alias]\np = push\n"],
        &[],
        "git p origin main",
    ),
    (
        &["write", "../x/git/config", "[alias]\np = push\n"],
        &["XDG_CONFIG_HOME=../x"],
        "git p origin main",
    ),
    (
        &[
            "config",
            "extensions.worktreeConfig",
            "true",
            ";",
            "config",
            "--worktree",
            "alias.p",
            "push",
        ],
        &[],
        "git p origin main",
    ),
    (
        &[
            "config",
            "remote.origin.pushurl",
            "../remote.git",
            ";",
            "config",
            "remote.origin.url",
            "/nowhere",
        ],
        &[],
        "git push origin main",
    ),
    (
        &["config", "url.../remote.git.insteadOf", "x:"],
        &[],
        "git push x: main",
    ),
    (&["worktree", "add", "-q", "../wt", "main"], &[], "git -C ../wt push"),
    (
        &["worktree", "add", "-q", "../wt", "main"],
        &[],
        "git -C ../wt push origin HEAD",
    ),
    (
        &["worktree", "add", "-q", "../wt", "main"],
        &["GIT_DIR=../wt/.git"],
        "git push origin HEAD",
    ),
    (
        &["worktree", "add", "-q", "../wt", "main"],
        &[],
        "git --git-dir=../wt/.git push origin HEAD",
    ),
    (
        &["worktree", "add", "-q", "../wt", "main"],
        &[],
        "git --git-dir ../wt/.git push origin @",
    ),
    (
        &["worktree", "add", "-q", "../wt", "main"],
        &["GIT_WORK_TREE=../wt", "GIT_DIR=../wt/.git"],
        "git push origin HEAD",
    ),
    (
        &["worktree", "add", "-q", "../wt", "main"],
        &["GIT_COMMON_DIR=.git", "GIT_DIR=.git/worktrees/wt"],
        "git push origin HEAD",
    ),
    (
        &["symbolic-ref", "refs/heads/link", "refs/heads/main"],
        &[],
        "git push origin link",
    ),
    (
        &["symbolic-ref", "refs/heads/topic", "refs/heads/main"],
        &[],
        "git push origin HEAD",
    ),
    (
        &["symbolic-ref", "HEAD", "refs/heads/main"],
        &[],
        "git push origin HEAD",
    ),
    (&["symbolic-ref", "HEAD", "refs/heads/main"], &[], "git push"),
    (&["checkout", "-q", "--detach"], &[], "git push origin HEAD"),
    (&["checkout", "-q", "--detach"], &[], "git push origin HEAD:main"),
    (&["tag", "main"], &[], "git push origin main"),
    (&["tag", "x", "main"], &[], "git push origin x:main"),
    (&["branch", "-m", "topic", "a"], &[], "git push origin a:main"),
    (&[], &[], "git -c push.default=matching push"),
    (&[], &[], "git -c remote.origin.push=topic:main push"),
    (
        &[],
        &[],
        "git -c remote.origin.push=refs/heads/topic:refs/heads/main push origin topic",
    ),
    (&[], &[], "git -c alias.x=push x origin main"),
    (&[], &[], "git -c alias.x='push origin main' x"),
    (&[], &[], "git -calias.x=push x origin main"),
    (&[], &[], "git -c include.path=../more x origin main"),
    (
        &["write", "more", "[alias]\nx = push\n"],
        &[],
        "git -c include.path=more x origin main",
    ),
    (
        &["write", "more", "[push]\ndefault = matching\n"],
        &[
            "GIT_CONFIG_COUNT=1",
            "GIT_CONFIG_KEY_0=include.path",
            "GIT_CONFIG_VALUE_0=more",
        ],
        "git push",
    ),
    (&[], &["X=push"], "git --config-env=alias.x=X x origin main"),
    (&[], &["X=push origin main"], "git --config-env alias.x=X x"),
    (
        &[],
        &[
            "GIT_CONFIG_COUNT=1",
            "GIT_CONFIG_KEY_0=alias.x",
            "GIT_CONFIG_VALUE_0=push",
        ],
        "git x origin main",
    ),
    (
        &[],
        &[
            "GIT_CONFIG_COUNT= 1",
            "GIT_CONFIG_KEY_0=alias.x",
            "GIT_CONFIG_VALUE_0=push",
        ],
        "git x origin main",
    ),
    (
        &[],
        &[
            "GIT_CONFIG_COUNT=0x1",
            "GIT_CONFIG_KEY_0=alias.x",
            "GIT_CONFIG_VALUE_0=push",
        ],
        "git x origin main",
    ),
    (
        &[],
        &[
            "GIT_CONFIG_COUNT=+1",
            "GIT_CONFIG_KEY_0=alias.x",
            "GIT_CONFIG_VALUE_0=push",
        ],
        "git x origin main",
    ),
    (&[], &["GIT_CONFIG_PARAMETERS='alias.x'='push'"], "git x origin main"),
    (&[], &["GIT_CONFIG_PARAMETERS='alias.x=push'"], "git x origin main"),
    (
        &["write", "c", "[alias]\nx = push\n"],
        &["GIT_CONFIG_GLOBAL=c"],
        "git x origin main",
    ),
    (
        &["write", "c", "[alias]\nx = push\n"],
        &["GIT_CONFIG_NOSYSTEM=", "GIT_CONFIG_SYSTEM=c"],
        "git x origin main",
    ),
    (
        &["write", "c", "[alias]\nx = push\n"],
        &["GIT_CONFIG_NOSYSTEM=no", "GIT_CONFIG_SYSTEM=c"],
        "git x origin main",
    ),
    (
        &["write", "c", "[alias]\nx = push\n"],
        &["GIT_CONFIG=c"],
        "git x origin main",
    ),
    (&[], &[], "git send-pack ../remote.git main"),
    (&[], &[], "git send-pack ../remote.git topic:main"),
    (&[], &[], "git send-pack --all ../remote.git"),
    (&[], &[], "git send-pack --mirror ../remote.git"),
    (&[], &[], "git send-pack ../remote.git"),
    (&[], &[], "git send-pack --remote=origin ../remote.git topic:main"),
    (
        &[],
        &[],
        "git send-pack --force --receive-pack=git-receive-pack ../remote.git topic:refs/heads/main",
    ),
    (
        &["config", "remote.origin.push", "refs/heads/topic:refs/heads/main"],
        &[],
        "git send-pack --remote=origin ../remote.git topic",
    ),
    (&[], &[], "git --no-pager -p push origin main"),
    (&[], &[], "git --exec-path=/usr/lib/git-core push origin main"),
    (&[], &[], "git --no-advice push origin main"),
    (&[], &[], "git --attr-source HEAD push origin main"),
    (&[], &[], "git --attr-source=HEAD push origin main"),
    (&[], &[], "git --namespace= push origin main"),
    (&[], &[], "git --namespace x push origin main"),
    (
        &[],
        &[],
        "git --literal-pathspecs --no-replace-objects push origin main",
    ),
    (&[], &[], "git -C '' push origin main"),
    (&[], &[], "git -C . -C ../ws push origin main"),
    (&[], &[], "git --git-dir=.git --work-tree=. push origin main"),
    (&[], &[], "git --bare --git-dir=.git push origin main"),
    (&[], &["GIT_DIR=.git"], "git --bare push origin main"),
    (&[], &["GIT_NAMESPACE=x"], "git push origin main"),
    (
        &["symbolic-ref", "HEAD", "refs/heads/main"],
        &[],
        "git -C .git push origin HEAD",
    ),
    (
        &["symbolic-ref", "HEAD", "refs/heads/main"],
        &[],
        "git --git-dir=.git push origin HEAD",
    ),
    (
        &["symbolic-ref", "HEAD", "refs/heads/main"],
        &["GIT_DIR=.git"],
        "git -C . push origin HEAD",
    ),
    (
        &[
            "write",
            "g",
            "gitdir: .git\n",
            ";",
            "symbolic-ref",
            "HEAD",
            "refs/heads/main",
        ],
        &[],
        "git --git-dir=g push origin HEAD",
    ),
    (
        &[
            "write",
            "sub/deep/x",
            "",
            ";",
            "write",
            "../far/y",
            "",
            ";",
            "symbolic-ref",
            "HEAD",
            "refs/heads/main",
            ";",
            "link",
            "../far/l",
            "../ws/sub/deep",
        ],
        &[],
        "git -C ../far/l/.. push origin HEAD",
    ),
    (
        &["symbolic-ref", "HEAD", "refs/heads/main"],
        &[],
        "git -C /proc/self/cwd push origin HEAD",
    ),
    (
        &["symbolic-ref", "HEAD", "refs/heads/main"],
        &["GIT_DIR=/proc/self/cwd/.git"],
        "git push origin HEAD",
    ),
    // Found by reading git's source, each a way past an earlier reading.
    (
        &[
            "write",
            ".git/config",
            "[remote \"origin\"]\nurl = ../remote.git\n[alias]\nx = status # \\\np = push\n",
        ],
        &[],
        "git p origin main",
    ),
    (
        &[
            "config",
            "alias.x",
            "push",
            ";",
            "config",
            "includeIf.gitdir:/nowhere/.path",
            "../more",
            ";",
            "write",
            "more",
            "[alias]\nx = status\n",
        ],
        &[],
        "git x origin main",
    ),
    (
        &[
            "config",
            "push.default",
            "matching",
            ";",
            "config",
            "includeIf.gitdir:/nowhere/.path",
            "../more",
            ";",
            "write",
            "more",
            "[push]\ndefault = nothing\n",
        ],
        &[],
        "git push",
    ),
    (
        &[
            "write",
            "more",
            "[push]\ndefault = nothing\n",
            ";",
            "config",
            "include.path",
            "../more",
            ";",
            "config",
            "push.default",
            "matching",
        ],
        &[],
        "git push",
    ),
    (
        &[
            "write",
            ".git/config.worktree",
            "[push]\ndefault = nothing\n",
            ";",
            "config",
            "push.default",
            "matching",
        ],
        &[],
        "git push",
    ),
    (
        &[
            "config",
            "push.default",
            "matching",
            ";",
            "write",
            "c",
            "[push]\ndefault = nothing\n",
        ],
        &["GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=c"],
        "git push",
    ),
    (
        &["write", "../c", "[alias]\nx = push\n"],
        &["GIT_CONFIG_NOSYSTEM=FALSE", "GIT_CONFIG_SYSTEM=../c"],
        "git x origin main",
    ),
    (
        &[
            "write",
            "sub/.git/HEAD",
            "",
            ";",
            "write",
            "sub/.git/config",
            "[push]\ndefault = nothing\n",
            ";",
            "config",
            "push.default",
            "matching",
        ],
        &[],
        "git -C sub push",
    ),
    (
        &[
            "write",
            "sub/HEAD",
            "ref: refs/heads/x\n",
            ";",
            "write",
            "sub/config",
            "[push]\ndefault = nothing\n",
            ";",
            "config",
            "push.default",
            "matching",
        ],
        &[],
        "git -C sub push",
    ),
    (
        &[
            "write",
            "sub/.git/HEAD",
            "ref: refs/heads/x\n",
            ";",
            "write",
            "sub/.git/refs/x",
            "",
            ";",
            "write",
            "sub/.git/config",
            "[push]\ndefault = nothing\n",
        ],
        &[],
        "git -C sub push origin HEAD:main",
    ),
    (&["config", "alias.p", "--namespace # push origin main"], &[], "git p"),
    (&["config", "alias.p", "push origin main # x"], &[], "git p"),
    (&["config", "alias.p", "-c 'a.b=c d' push origin main"], &[], "git p"),
    (&["config", "alias.p", "-c a.b=\"c d\" push origin"], &[], "git p main"),
    (
        &["write", "../more", "[alias]\nx = push\n"],
        &[],
        "git -c include.path=~/more x origin main",
    ),
    (
        &["write", "../more", "[push]\ndefault = matching\n"],
        &["GIT_CONFIG_PARAMETERS='include.path'='~/more'"],
        "git push",
    ),
    (
        &["write", "../more", "[push]\ndefault = matching\n"],
        &[],
        "git -c includeIf.onbranch:topic.path=~/more push",
    ),
    (
        &[
            "config",
            "remote.origin.push",
            "refs/tags/*:refs/heads/*",
            ";",
            "tag",
            "main",
        ],
        &[],
        "git push origin refs/tags/main",
    ),
    (
        &[
            "config",
            "remote.origin.push",
            "refs/tags/v*:refs/heads/ma*",
            ";",
            "tag",
            "vin",
        ],
        &[],
        "git push origin vin",
    ),
    (
        &["config", "remote.origin.push", "refs/remotes/origin/*:refs/heads/*"],
        &[],
        "git push origin origin/topic",
    ),
    (
        &[
            "config",
            "remote.origin.push",
            "refs/remotes/origin/topic:refs/heads/main",
        ],
        &[],
        "git push origin refs/remotes/origin/topic",
    ),
    (
        &["config", "remote.origin.push", "+HEAD:refs/heads/main"],
        &[],
        "git push origin",
    ),
    (
        &[
            "config",
            "remote.origin.push",
            "^refs/heads/topic",
            ";",
            "config",
            "--add",
            "remote.origin.push",
            "refs/heads/*:refs/heads/*",
        ],
        &[],
        "git push",
    ),
    (
        &["config", "remote.origin.push", "refs/heads/topic:refs/heads/main"],
        &[],
        "git push ../remote.git topic",
    ),
    (
        &[
            "config",
            "branch.topic.pushRemote",
            "../remote.git",
            ";",
            "config",
            "push.default",
            "matching",
        ],
        &[],
        "git push",
    ),
    (
        &[
            "symbolic-ref",
            "refs/heads/a",
            "refs/heads/b",
            ";",
            "symbolic-ref",
            "refs/heads/b",
            "refs/heads/main",
        ],
        &[],
        "git push origin a",
    ),
    (
        &["symbolic-ref", "refs/heads/a", "refs/heads/main"],
        &[],
        "git push origin refs/heads/a",
    ),
    (
        &["symbolic-ref", "refs/heads/a", "refs/heads/main"],
        &[],
        "git push origin a:topic",
    ),
    (
        &["symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/main"],
        &[],
        "git push origin origin",
    ),
    (
        &["symbolic-ref", "refs/tags/t", "refs/heads/main"],
        &[],
        "git push origin t",
    ),
    (
        &["symbolic-ref", "refs/x", "refs/heads/main"],
        &[],
        "git push origin refs/x",
    ),
    (
        &["symbolic-ref", "refs/notes/x", "refs/heads/main"],
        &[],
        "git push origin notes/x",
    ),
    (&[], &[], "git push origin HEAD~0:refs/heads/new"),
    (&[], &[], "git push origin 'HEAD^{commit}:main'"),
    (&[], &[], "git push origin ':/topic:main'"),
    (&[], &[], "git push origin 'topic@{0}:main'"),
    (&[], &[], "git push origin -- HEAD:main"),
    (&[], &[], "git push origin topic tag v1 HEAD:main"),
    (&[], &[], "git push origin tag v1 tag v1:refs/heads/main"),
    (&[], &[], "git push -d origin tag main"),
    (&[], &[], "git push --tags --all"),
    (&[], &[], "git push -4 --porcelain -v --progress origin +@:main"),
    (&[], &[], "git push --force-with-lease= origin main"),
    (
        &[],
        &[],
        "git push --force-if-includes --force-with-lease origin +topic:main",
    ),
    (&[], &[], "git push -o"),
    (&[], &[], "git push -fo x origin main"),
    (&[], &[], "git push -ofx origin main"),
    (&[], &[], "git push --push-opt x origin main"),
    (&[], &[], "git push --set-upstream=x origin main"),
    (&[], &[], "git push --repo topic"),
    (
        &["config", "remote.topic.url", "../remote.git"],
        &[],
        "git push --repo topic main",
    ),
    (
        &[
            "config",
            "remote.topic.url",
            "../remote.git",
            ";",
            "config",
            "push.default",
            "matching",
        ],
        &[],
        "git push --repo topic",
    ),
    (&["config", "core.bare", "true"], &[], "git push origin main"),
    (&["config", "core.worktree", "../wt"], &[], "git push origin main"),
    (
        &["config", "push.recurseSubmodules", "only"],
        &[],
        "git push origin main",
    ),
    (&["config", "push.followTags", "true"], &[], "git push origin topic"),
    (
        &[
            "config",
            "push.autoSetupRemote",
            "true",
            ";",
            "checkout",
            "-q",
            "-b",
            "new",
        ],
        &[],
        "git push",
    ),
    (&["config", "alias.stash", "push origin main"], &[], "git stash"),
    (
        &["config", "alias.whatchanged", "push origin main"],
        &[],
        "git whatchanged",
    ),
    (
        &["config", "alias.submodule", "push origin main"],
        &[],
        "git --exec-path=/nowhere submodule",
    ),
    (
        &["config", "alias.difftool", "push origin main"],
        &[],
        "git --exec-path=/nowhere difftool",
    ),
    (
        &["config", "alias.request-pull", "push origin main"],
        &["GIT_EXEC_PATH=/nowhere"],
        "git request-pull",
    ),
    (
        &["config", "alias.bisect", "push origin main"],
        &["GIT_EXEC_PATH=/nowhere"],
        "git bisect",
    ),
    (
        &["config", "alias.mergetool", "push origin main"],
        &["GIT_EXEC_PATH=/nowhere"],
        "git mergetool",
    ),
    (&["config", "alias.p", "!git push origin main"], &[], "git status"),
    (
        &["worktree", "add", "-q", "../wt", "main"],
        &["GIT_COMMON_DIR=.git"],
        "git -C ../wt push origin HEAD",
    ),
    (
        &["config", "alias.x", "push"],
        &["GIT_DIR=.git", "GIT_COMMON_DIR=.git"],
        "git x origin main",
    ),
];

#[test]
fn what_no_alias_can_stand_for_is_git_s_own() {
    let out = Process::new("/usr/bin/git")
        .arg("--list-cmds=builtins")
        .output()
        .unwrap();
    let own = String::from_utf8(out.stdout).unwrap();
    for command in super::push::COMMANDS {
        assert!(own.lines().any(|known| known == *command), "{command}");
    }
}

#[test]
fn no_branch_changes_that_was_not_foretold() {
    let template = World::new();
    let mut wrong = Vec::new();
    let mut told = 0;
    for (setup, env, line) in ROWS {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        assert!(
            Process::new("cp")
                .arg("-a")
                .arg(template.top.join("."))
                .arg(&top)
                .status()
                .unwrap()
                .success()
        );
        let world = World { _dir: dir, top };
        for words in setup.split(|word| *word == ";") {
            match words {
                [] => {}
                ["write", file, text] => {
                    let file = world.top.join("ws").join(file);
                    fs::create_dir_all(file.parent().unwrap()).unwrap();
                    fs::write(file, text).unwrap();
                }
                ["link", link, target] => std::os::unix::fs::symlink(target, world.top.join("ws").join(link)).unwrap(),
                words => {
                    let out = git(&world.top.join("ws"), &world.top, words).output().unwrap();
                    assert!(
                        out.status.success(),
                        "{words:?}: {}",
                        String::from_utf8_lossy(&out.stderr)
                    );
                }
            }
        }
        let words = shlex::split(line).unwrap();
        let foretold = world.foretold(&words, env);
        let changed = world.changed(&words, env);
        told += usize::from(foretold.is_some() && !changed.is_empty());
        if foretold.as_ref().is_some_and(|foretold| !changed.is_subset(foretold)) {
            wrong.push((setup, env, line, foretold, changed));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The rows do push: a foretelling of nothing but "unresolved" would be no reading.
    assert!(
        told > 60,
        "{told} of {} rows changed what was foretold by name",
        ROWS.len()
    );
}
