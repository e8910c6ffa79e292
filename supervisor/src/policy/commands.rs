//! One command in the several spellings that patterns are matched against, and the branches that a `git push` would change.

use std::path::Path;

use super::types::Command;

/// Programs that only run another command: name, options that take a value.
const WRAPPERS: &[(&str, &[&str])] = &[
    ("env", &["-u", "--unset", "-C", "--chdir", "-S", "--split-string"]),
    ("nice", &["-n", "--adjustment"]),
    ("ionice", &["-c", "-n", "-p"]),
    ("timeout", &["-s", "--signal", "-k", "--kill-after"]),
    ("nohup", &[]),
    ("setsid", &[]),
    ("stdbuf", &["-i", "-o", "-e"]),
    ("time", &["-f", "-o"]),
    ("taskset", &[]),
    ("chrt", &[]),
    ("busybox", &[]),
    ("sudo", &["-u", "-g"]),
    ("xargs", &["-I", "-n", "-P", "-d", "-L", "-s", "-a", "-E"]),
];
/// Words before the command that belong to a wrapper: `timeout 5 cmd`.
const OPERANDS: &[(&str, usize)] = &[("timeout", 1), ("taskset", 1), ("chrt", 1)];
/// Global options before the verb that take a value in the next word; those with `=` and those without need no list.
const GLOBALS: &[(&str, &[&str])] = &[
    (
        "git",
        &[
            "-C",
            "-c",
            "--git-dir",
            "--work-tree",
            "--namespace",
            "--exec-path",
            "--config-env",
        ],
    ),
    (
        "kubectl",
        &[
            "--context",
            "--cluster",
            "--kubeconfig",
            "-n",
            "--namespace",
            "-s",
            "--server",
            "--user",
            "--token",
            "--as",
            "-v",
        ],
    ),
    ("helm", &["--kube-context", "-n", "--namespace", "--kubeconfig"]),
    ("terraform", &[]),
    ("tofu", &[]),
    (
        "aws",
        &["--profile", "--region", "--output", "--endpoint-url", "--query"],
    ),
    ("az", &["--subscription", "--output", "-o", "--query"]),
    (
        "gcloud",
        &["--project", "--account", "--configuration", "--format", "--verbosity"],
    ),
    ("docker", &["--context", "-c", "-H", "--host", "--config", "-l"]),
    ("npm", &["--prefix", "-C", "--registry", "-w"]),
    ("gh", &["-R", "--repo"]),
    ("cargo", &["--config", "-Z", "-C", "--color"]),
];

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn is(list: &[&str], word: &[u8]) -> bool {
    list.iter().any(|entry| entry.as_bytes() == word)
}

/// Every way in which one command may be written in a pattern. The most restrictive match over all of them decides.
#[must_use]
pub(crate) fn spellings(command: &Command<'_>) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut add = |words: &[&[u8]]| {
        let line = words.join(&b' ').trim_ascii().to_vec();
        if !out.contains(&line) {
            out.push(line);
        }
    };
    let mut forms: Vec<Vec<&[u8]>> = vec![command.argv.clone()];
    let rest = command.argv.get(1..).unwrap_or_default();
    forms.push([&[base(command.file)], rest].concat());
    for copy in &command.copies_of {
        forms.push([&[copy.as_bytes()], rest].concat());
    }
    if let Some(first) = command.argv.first() {
        forms.push([&[base(first)], rest].concat());
    }
    // Bounded: each round takes at least one word away.
    let mut at = 0;
    while let Some(words) = forms.get(at).cloned() {
        at += 1;
        add(&words);
        if let Some(inner) = unwrapped(&words)
            && forms.len() < 64
        {
            let named = inner
                .first()
                .map(|first| [&[base(first)], inner.get(1..).unwrap_or_default()].concat());
            forms.push(inner);
            forms.extend(named);
        }
        if let Some(bare) = without_globals(&words)
            && forms.len() < 64
            && !forms.contains(&bare)
        {
            forms.push(bare);
        }
    }
    out
}

/// The command that a wrapper or a loader called by hand runs.
fn unwrapped<'a>(words: &[&'a [u8]]) -> Option<Vec<&'a [u8]>> {
    let name = base(words.first()?);
    let loader = name.starts_with(b"ld-linux") || name.starts_with(b"ld-musl") || name.starts_with(b"ld.so");
    let (_, valued) = if loader {
        (
            "",
            &[
                "--argv0",
                "--library-path",
                "--preload",
                "--audit",
                "--inhibit-rpath",
                "--glibc-hwcaps-prepend",
            ][..],
        )
    } else {
        *WRAPPERS.iter().find(|(wrapper, _)| wrapper.as_bytes() == name)?
    };
    let mut rest = words.get(1..)?;
    while let Some(word) = rest.first() {
        if is(valued, word) {
            rest = rest.get(2..).unwrap_or_default();
        } else if word.starts_with(b"-") || (name == b"env" && word.contains(&b'=')) {
            rest = rest.get(1..).unwrap_or_default();
        } else {
            break;
        }
    }
    let operands = OPERANDS
        .iter()
        .find(|(wrapper, _)| wrapper.as_bytes() == name)
        .map_or(0, |(_, count)| *count);
    let rest = rest.get(operands..)?;
    (!rest.is_empty()).then(|| rest.to_vec())
}

/// The command without the global options in front of its verb.
fn without_globals<'a>(words: &[&'a [u8]]) -> Option<Vec<&'a [u8]>> {
    let first = *words.first()?;
    let (_, valued) = GLOBALS.iter().find(|(tool, _)| tool.as_bytes() == first)?;
    let mut rest = words.get(1..)?;
    while let Some(word) = rest.first() {
        if is(valued, word) {
            rest = rest.get(2..).unwrap_or_default();
        } else if word.starts_with(b"-") || (first == b"cargo" && word.starts_with(b"+")) {
            rest = rest.get(1..).unwrap_or_default();
        } else {
            break;
        }
    }
    Some([&[first], rest].concat())
}

/// What a push would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PushTarget {
    /// This branch.
    Branch(Vec<u8>),
    /// Several or unknown ones: to be treated as protected.
    Unresolved,
}

/// The branches that a `git push` or `git send-pack` would change; empty for other commands.
#[must_use]
pub(crate) fn pushes(command: &Command<'_>) -> Vec<PushTarget> {
    let mut argv = command.argv.clone();
    let file = base(command.file);
    while let Some(inner) = unwrapped(&argv) {
        argv = inner;
    }
    let name = argv.first().map(|word| base(word)).unwrap_or_default();
    let bare = match name {
        b"git" => without_globals(&[&[&b"git"[..]], argv.get(1..).unwrap_or_default()].concat()),
        _ if file == b"git" => without_globals(&[&[&b"git"[..]], argv.get(1..).unwrap_or_default()].concat()),
        b"git-push" | b"git-send-pack" => Some(
            [
                &[&b"git"[..], name.get(4..).unwrap_or_default()],
                argv.get(1..).unwrap_or_default(),
            ]
            .concat(),
        ),
        _ => None,
    };
    let Some(words) = bare else { return Vec::new() };
    if !matches!(words.get(1), Some(&b"push" | &b"send-pack")) {
        // An alias given on the command line can mean a push.
        let aliased = argv.iter().any(|word| word.to_ascii_lowercase().starts_with(b"alias."));
        return if aliased {
            vec![PushTarget::Unresolved]
        } else {
            Vec::new()
        };
    }
    let mut operands = Vec::new();
    let mut words = words.get(2..).unwrap_or_default().iter();
    while let Some(word) = words.next() {
        match *word {
            b"--all" | b"--mirror" | b"--branches" => return vec![PushTarget::Unresolved],
            b"-o" | b"--push-option" | b"--repo" | b"--receive-pack" | b"--exec" => drop(words.next()),
            word if word.starts_with(b"-") => {}
            word => operands.push(word),
        }
    }
    let specs = operands.get(1..).unwrap_or_default();
    if specs.is_empty() {
        return vec![current_branch(command.cwd).map_or(PushTarget::Unresolved, PushTarget::Branch)];
    }
    specs.iter().map(|spec| target(spec, command.cwd)).collect()
}

fn target(spec: &[u8], cwd: &[u8]) -> PushTarget {
    let spec = spec.strip_prefix(b"+").unwrap_or(spec);
    let name = spec.rsplit(|byte| *byte == b':').next().unwrap_or(spec);
    let name = name.strip_prefix(b"refs/heads/").unwrap_or(name);
    match name {
        b"HEAD" | b"@" => current_branch(cwd).map_or(PushTarget::Unresolved, PushTarget::Branch),
        name if name.is_empty() || name.contains(&b'*') => PushTarget::Unresolved,
        name => PushTarget::Branch(name.to_vec()),
    }
}

/// The branch that is checked out above `cwd`, read from `.git/HEAD`.
fn current_branch(cwd: &[u8]) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let mut folder = Some(Path::new(std::ffi::OsStr::from_bytes(cwd)));
    while let Some(at) = folder {
        let git = at.join(".git");
        let head = if git.is_file() {
            let text = std::fs::read_to_string(&git).ok()?;
            at.join(text.strip_prefix("gitdir:")?.trim()).join("HEAD")
        } else {
            git.join("HEAD")
        };
        if let Ok(head) = std::fs::read(head) {
            return Some(head.trim_ascii().strip_prefix(b"ref: refs/heads/")?.to_vec());
        }
        folder = at.parent();
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Command, PushTarget, pushes, spellings};

    fn command<'a>(file: &'a str, argv: &[&'a str]) -> Command<'a> {
        Command {
            file: file.as_bytes(),
            argv: argv.iter().map(|a| a.as_bytes()).collect(),
            cwd: b"/nowhere",
            ..Command::default()
        }
    }

    #[test]
    fn a_command_is_known_in_each_of_its_spellings() {
        for (file, argv, wanted) in [
            ("/usr/bin/terraform", &["terraform", "apply"][..], "terraform apply"),
            ("/opt/terraform", &["innocent", "apply"], "terraform apply"),
            ("/usr/bin/env", &["env", "A=1", "terraform", "apply"], "terraform apply"),
            (
                "/usr/bin/nice",
                &["nice", "-n", "5", "/x/terraform", "apply"],
                "terraform apply",
            ),
            (
                "/usr/bin/timeout",
                &["timeout", "5", "env", "kubectl", "--context", "p", "delete", "pod"],
                "kubectl delete pod",
            ),
            (
                "/usr/bin/kubectl",
                &["kubectl", "--context=p", "-n", "x", "delete", "pod"],
                "kubectl delete pod",
            ),
            (
                "/usr/bin/terraform",
                &["terraform", "-chdir=d", "apply"],
                "terraform apply",
            ),
            ("/lib64/ld-linux-x86-64.so.2", &["ld", "x"], "ld-linux-x86-64.so.2 x"),
            (
                "/lib64/ld-linux-x86-64.so.2",
                &["/lib64/ld-linux-x86-64.so.2", "--argv0", "a", "/x/terraform", "apply"],
                "terraform apply",
            ),
        ] {
            let all = spellings(&command(file, argv));
            assert!(
                all.iter().any(|line| line == wanted.as_bytes()),
                "{argv:?}: {:?}",
                all.iter().map(|l| String::from_utf8_lossy(l)).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_push_is_known_by_the_branches_it_changes() {
        let branch = |name: &str| vec![PushTarget::Branch(name.as_bytes().to_vec())];
        for (argv, wanted) in [
            (&["git", "push", "origin", "main"][..], branch("main")),
            (
                &[
                    "git",
                    "-C",
                    "d",
                    "-c",
                    "a=b",
                    "push",
                    "-f",
                    "origin",
                    "HEAD:refs/heads/main",
                ],
                branch("main"),
            ),
            (&["git", "push", "origin", "+x:main"], branch("main")),
            (&["git", "push", "origin", ":main"], branch("main")),
            (&["git", "push", "--all"], vec![PushTarget::Unresolved]),
            (&["git", "push"], vec![PushTarget::Unresolved]),
            (
                &["git", "-c", "alias.p=push", "p", "origin", "main"],
                vec![PushTarget::Unresolved],
            ),
            (&["env", "git", "push", "origin", "topic"], branch("topic")),
            (&["git", "status"], vec![]),
        ] {
            assert_eq!(pushes(&command("/usr/bin/git", argv)), wanted, "{argv:?}");
        }
    }
}
