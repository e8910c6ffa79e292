//! Programs that run another command given on their command line: a table, and where that command begins.
//!
//! What a wrapper runs comes as an exec of its own and is decided again then; reading it here refuses it before the wrapper starts.
//! Loaders, applets and interpreters run it without an exec, so for them this reading is the only one.

use super::grammar::{Grammar, Style};

/// One family of wrappers: `name [options] [verb [options]] [operands] command…`.
pub(super) struct Wrapper {
    names: &'static [&'static str],
    /// Words that must follow the name, options between them (`uv run`).
    verb: &'static [&'static str],
    grammar: Grammar,
    /// Words of its own before the command (`timeout 5 cmd`).
    operands: usize,
    /// Whether `NAME=value` words may stand before the command.
    assignments: bool,
    /// Whether the command runs without an exec of its own.
    pub(super) in_process: bool,
    /// An option whose value names a module to run (`python3 -m twine`).
    module: Option<u8>,
}

const PLAIN: Wrapper = Wrapper {
    names: &[],
    verb: &[],
    grammar: Grammar::NONE,
    operands: 0,
    assignments: false,
    in_process: false,
    module: None,
};

/// An interpreter: the script is the command.
const SCRIPTED: Wrapper = Wrapper {
    in_process: true,
    ..PLAIN
};

/// Runners whose verb is followed by the command.
const fn runner(
    names: &'static [&'static str],
    verb: &'static [&'static str],
    valued: &'static [&'static str],
) -> Wrapper {
    Wrapper {
        names,
        verb,
        grammar: Grammar::new(valued, &["-q", "-v", "--quiet", "--verbose"]),
        ..PLAIN
    }
}

static WRAPPERS: &[Wrapper] = &[
    Wrapper {
        names: &["env"],
        grammar: Grammar::new(
            &["-u", "--unset", "-C", "--chdir", "-a", "--argv0", "-P"],
            &[
                "-",
                "-i",
                "--ignore-environment",
                "-0",
                "--null",
                "-v",
                "--debug",
                "--block-signal",
                "--default-signal",
                "--ignore-signal",
                "--list-signal-handling",
            ],
        ),
        assignments: true,
        ..PLAIN
    },
    Wrapper {
        names: &["nice"],
        grammar: Grammar::new(&["-n", "--adjustment"], &[]),
        ..PLAIN
    },
    Wrapper {
        names: &["ionice"],
        grammar: Grammar::new(
            &["-c", "--class", "-n", "--classdata", "-p", "-P", "-u"],
            &["-t", "--ignore"],
        ),
        ..PLAIN
    },
    Wrapper {
        names: &["timeout", "gtimeout"],
        grammar: Grammar::new(
            &["-s", "--signal", "-k", "--kill-after"],
            &["-f", "-p", "-v", "--foreground", "--preserve-status", "--verbose"],
        ),
        operands: 1,
        ..PLAIN
    },
    Wrapper {
        names: &["setsid"],
        grammar: Grammar::new(&[], &["-c", "-f", "-w", "--ctty", "--fork", "--wait"]),
        ..PLAIN
    },
    Wrapper {
        names: &["stdbuf"],
        grammar: Grammar::new(&["-i", "--input", "-o", "--output", "-e", "--error"], &[]),
        ..PLAIN
    },
    Wrapper {
        names: &["time", "gtime"],
        grammar: Grammar::new(
            &["-f", "--format", "-o", "--output"],
            &[
                "-a",
                "-p",
                "-q",
                "-v",
                "--append",
                "--portability",
                "--quiet",
                "--verbose",
            ],
        ),
        ..PLAIN
    },
    Wrapper {
        names: &["chrt"],
        grammar: Grammar::new(
            &[
                "-T",
                "--sched-runtime",
                "-P",
                "--sched-period",
                "-D",
                "--sched-deadline",
            ],
            &[
                "-a",
                "-b",
                "-d",
                "-e",
                "-f",
                "-i",
                "-o",
                "-r",
                "-R",
                "-v",
                "--batch",
                "--deadline",
                "--fifo",
                "--idle",
                "--other",
                "--rr",
                "--reset-on-fork",
            ],
        ),
        operands: 1,
        ..PLAIN
    },
    Wrapper {
        names: &["taskset"],
        grammar: Grammar::new(&[], &["-a", "-c", "--all-tasks", "--cpu-list"]),
        operands: 1,
        ..PLAIN
    },
    Wrapper {
        names: &["sudo", "doas"],
        grammar: Grammar::new(
            &[
                "-u",
                "--user",
                "-g",
                "--group",
                "-C",
                "--close-from",
                "-D",
                "--chdir",
                "-h",
                "--host",
                "-p",
                "--prompt",
                "-R",
                "--chroot",
                "-r",
                "--role",
                "-t",
                "--type",
                "-T",
                "--command-timeout",
                "-U",
                "--other-user",
                "-a",
                "-c",
            ],
            &[
                "-A",
                "-b",
                "-B",
                "-E",
                "-H",
                "-i",
                "-k",
                "-K",
                "-l",
                "-L",
                "-n",
                "-N",
                "-P",
                "-S",
                "-s",
                "-v",
                "--askpass",
                "--background",
                "--preserve-env",
                "--set-home",
                "--login",
                "--non-interactive",
                "--shell",
                "--stdin",
            ],
        ),
        assignments: true,
        ..PLAIN
    },
    Wrapper {
        names: &["runuser", "pkexec", "setpriv"],
        grammar: Grammar::new(
            &[
                "-u",
                "--user",
                "-g",
                "--group",
                "-G",
                "--supp-group",
                "--reuid",
                "--regid",
                "--ruid",
                "--euid",
                "--rgid",
                "--egid",
                "--groups",
                "--inh-caps",
                "--ambient-caps",
                "--bounding-set",
                "--securebits",
                "--pdeathsig",
            ],
            &[
                "--clear-groups",
                "--keep-groups",
                "--init-groups",
                "--reset-env",
                "--nnp",
                "--no-new-privs",
                "--disable-internal-agent",
            ],
        ),
        ..PLAIN
    },
    Wrapper {
        names: &["gosu", "su-exec"],
        operands: 1,
        ..PLAIN
    },
    Wrapper {
        names: &["xvfb-run"],
        grammar: Grammar::new(
            &[
                "-e",
                "--error-file",
                "-f",
                "--auth-file",
                "-n",
                "--server-num",
                "-p",
                "--xauth-protocol",
                "-s",
                "--server-args",
                "-w",
                "--wait",
            ],
            &["-a", "--auto-servernum", "-l", "--listen-tcp"],
        ),
        ..PLAIN
    },
    Wrapper {
        names: &["flock"],
        grammar: Grammar {
            stops: &["-c", "--command"],
            ..Grammar::new(
                &["-w", "--timeout", "--wait", "-E", "--conflict-exit-code"],
                &[
                    "-e",
                    "-x",
                    "-s",
                    "-n",
                    "-o",
                    "-F",
                    "-u",
                    "--exclusive",
                    "--shared",
                    "--nonblock",
                    "--nb",
                    "--close",
                    "--no-fork",
                    "--unlock",
                    "--verbose",
                ],
            )
        },
        operands: 1,
        ..PLAIN
    },
    Wrapper {
        names: &["xargs", "gxargs"],
        grammar: Grammar::new(
            &[
                "-a",
                "--arg-file",
                "-d",
                "--delimiter",
                "-E",
                "-I",
                "-J",
                "-L",
                "--max-lines",
                "-n",
                "--max-args",
                "-P",
                "--max-procs",
                "-R",
                "-s",
                "--max-chars",
                "-S",
                "--process-slot-var",
            ],
            &[
                "-0",
                "--null",
                "-i",
                "-e",
                "-l",
                "-o",
                "--open-tty",
                "-p",
                "--interactive",
                "-r",
                "--no-run-if-empty",
                "-t",
                "--verbose",
                "-x",
                "--exit",
            ],
        ),
        ..PLAIN
    },
    Wrapper {
        names: &["watch"],
        grammar: Grammar::new(
            &["-n", "--interval", "-q", "--equexit"],
            &[
                "-b", "-c", "-C", "-d", "-e", "-g", "-p", "-r", "-t", "-w", "-x", "--exec",
            ],
        ),
        ..PLAIN
    },
    Wrapper {
        names: &["strace", "ltrace"],
        grammar: Grammar::new(
            &[
                "-a", "-b", "-e", "-E", "-I", "-o", "-O", "-p", "-P", "-s", "-S", "-u", "-U", "-X", "-n", "-l", "-w",
                "-x",
            ],
            &[
                "-c", "-C", "-d", "-f", "-F", "-h", "-i", "-k", "-q", "-r", "-t", "-T", "-v", "-y", "-z", "-Z",
            ],
        ),
        assignments: false,
        ..PLAIN
    },
    Wrapper {
        names: &[
            "prlimit",
            "choom",
            "numactl",
            "cpulimit",
            "uclampset",
            "fakeroot",
            "unbuffer",
            "rlwrap",
            "dbus-run-session",
            "ssh-agent",
            "tini",
            "dumb-init",
            "catchsegv",
            "nohup",
            "command",
            "exec",
            "builtin",
            "nsenter",
            "unshare",
            "linux32",
            "linux64",
            "setarch",
            "i386",
            "x86_64",
            "proxychains",
            "proxychains4",
            "torsocks",
            "catatonit",
        ],
        grammar: Grammar::new(
            &[
                "-n", "-l", "-a", "-f", "-p", "-o", "-i", "-b", "-g", "-N", "-m", "-C", "-e", "-t", "-s",
            ],
            &["-q", "-v", "-R", "-3", "-B", "-F", "-L", "-S", "-T", "-X", "-Z"],
        ),
        ..PLAIN
    },
    Wrapper {
        names: &["setarch", "faketime", "catchsegv", "chroot", "cgexec"],
        operands: 1,
        grammar: Grammar::new(&["-g", "--userspec", "--groups"], &["--sticky"]),
        ..PLAIN
    },
    runner(&["perf"], &["stat"], &["-e", "-o", "-r", "-x"]),
    runner(
        &[
            "uv",
            "poetry",
            "pipenv",
            "pdm",
            "rye",
            "hatch",
            "conda",
            "mamba",
            "micromamba",
        ],
        &["run"],
        &[
            "-n",
            "--name",
            "-p",
            "--prefix",
            "--python",
            "--with",
            "--project",
            "--directory",
            "-C",
            "--env-file",
            "--package",
            "--extra",
            "--group",
            "--cwd",
        ],
    ),
    runner(&["bundle"], &["exec"], &[]),
    runner(&["mise", "rtx"], &["exec"], &["-C", "--cd", "-c", "--command"]),
    runner(&["mise", "rtx"], &["x"], &["-C", "--cd", "-c", "--command"]),
    runner(
        &["npm", "pnpm", "yarn"],
        &["exec"],
        &[
            "--prefix",
            "-C",
            "--dir",
            "-w",
            "--workspace",
            "--filter",
            "-p",
            "--package",
            "-c",
            "--call",
        ],
    ),
    runner(&["yarn", "pnpm"], &["dlx"], &["-p", "--package", "-C", "--dir"]),
    runner(
        &["npx", "pnpx", "bunx", "uvx"],
        &[],
        &[
            "-p",
            "--package",
            "--from",
            "--with",
            "--python",
            "-w",
            "--workspace",
            "-c",
            "--call",
        ],
    ),
    runner(&["pipx"], &["run"], &["--spec", "--python", "--pip-args"]),
    runner(
        &["op", "doppler", "chamber", "infisical"],
        &["run"],
        &["--env-file", "--account", "-p", "--project", "-c", "--config", "--env"],
    ),
    Wrapper {
        names: &["rustup"],
        verb: &["run"],
        operands: 1,
        grammar: Grammar::new(&[], &["--install"]),
        ..PLAIN
    },
    Wrapper {
        names: &["direnv", "aws-vault", "chamber"],
        verb: &["exec"],
        operands: 1,
        grammar: Grammar::new(
            &["--region", "-d", "--duration"],
            &["-n", "--no-session", "-s", "--server"],
        ),
        ..PLAIN
    },
    Wrapper {
        names: &["dotenv", "dotenvx", "env-cmd"],
        grammar: Grammar::new(&["-e", "-f", "-v", "-p", "-c"], &["-o", "--override"]),
        ..PLAIN
    },
    // Applets run in the same image.
    Wrapper {
        names: &["busybox", "toybox"],
        in_process: true,
        ..PLAIN
    },
    // Interpreters run the script that is named.
    Wrapper {
        names: &["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash"],
        grammar: Grammar {
            stops: &["-c", "-s"],
            ..Grammar::new(
                &["-o", "-O", "--rcfile", "--init-file"],
                &[
                    "-a",
                    "-b",
                    "-e",
                    "-f",
                    "-h",
                    "-i",
                    "-k",
                    "-l",
                    "-m",
                    "-n",
                    "-p",
                    "-r",
                    "-t",
                    "-u",
                    "-v",
                    "-x",
                    "-B",
                    "-C",
                    "-E",
                    "-H",
                    "-P",
                    "-T",
                    "--login",
                    "--norc",
                    "--noprofile",
                    "--posix",
                    "--restricted",
                    "--verbose",
                ],
            )
        },
        ..SCRIPTED
    },
    Wrapper {
        names: &["python", "python2", "python3", "pypy", "pypy3"],
        grammar: Grammar {
            stops: &["-c", "-m"],
            ..Grammar::new(
                &["-W", "-X", "--check-hash-based-pycs"],
                &[
                    "-b", "-B", "-d", "-E", "-i", "-I", "-O", "-P", "-q", "-s", "-S", "-u", "-v", "-x",
                ],
            )
        },
        module: Some(b'm'),
        ..SCRIPTED
    },
    Wrapper {
        names: &["node", "nodejs"],
        grammar: Grammar {
            stops: &["-e", "-p", "--eval", "--print"],
            ..Grammar::new(
                &[
                    "-r",
                    "--require",
                    "--import",
                    "--loader",
                    "--experimental-loader",
                    "-C",
                    "--conditions",
                    "--title",
                    "--env-file",
                ],
                &[
                    "-i",
                    "-c",
                    "--check",
                    "--interactive",
                    "--no-warnings",
                    "--enable-source-maps",
                    "--inspect",
                    "--trace-warnings",
                    "--expose-gc",
                ],
            )
        },
        ..SCRIPTED
    },
    Wrapper {
        names: &["perl", "ruby"],
        grammar: Grammar {
            stops: &["-e", "-E"],
            ..Grammar::new(
                &["-I", "-M", "-m", "-r", "-C"],
                &[
                    "-a", "-c", "-d", "-l", "-n", "-p", "-s", "-S", "-t", "-T", "-u", "-U", "-v", "-w", "-W", "-x",
                    "-X", "-0",
                ],
            )
        },
        ..SCRIPTED
    },
    Wrapper {
        names: &["php"],
        grammar: Grammar {
            stops: &["-r"],
            ..Grammar::new(&["-c", "-d", "-z"], &["-n", "-q"])
        },
        ..SCRIPTED
    },
];

/// The loader's own options; rtld(8).
static LOADER: Wrapper = Wrapper {
    grammar: Grammar {
        style: Style::Long,
        ..Grammar::new(
            &[
                "--library-path",
                "--inhibit-rpath",
                "--audit",
                "--preload",
                "--argv0",
                "--glibc-hwcaps-prepend",
                "--glibc-hwcaps-mask",
            ],
            &[
                "--list",
                "--verify",
                "--inhibit-cache",
                "--list-tunables",
                "--list-diagnostics",
            ],
        )
    },
    in_process: true,
    ..PLAIN
};

/// A command found inside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inner<'a> {
    /// Its first word, or the module's name.
    pub(super) name: &'a [u8],
    /// Index of its first argument in the words given.
    pub(super) arguments: usize,
    /// Whether it runs without an exec of its own.
    pub(super) in_process: bool,
}

/// The commands that `name` with the arguments `words` may run.
pub(super) fn inner<'a>(name: &[u8], words: &[&'a [u8]]) -> Vec<Inner<'a>> {
    let loader = [&b"ld-linux"[..], b"ld-musl", b"ld.so", b"ld-2.", b"ld64.so"];
    let mut found = Vec::new();
    if loader.iter().any(|prefix| name.starts_with(prefix)) {
        LOADER.add(words, &mut found);
    }
    let rows = WRAPPERS
        .iter()
        .filter(|row| row.names.iter().any(|known| known.as_bytes() == name));
    for row in rows {
        row.add(words, &mut found);
    }
    found
}

impl Wrapper {
    fn add<'a>(&self, words: &[&'a [u8]], found: &mut Vec<Inner<'a>>) {
        if let Some(letter) = self.module {
            found.extend(module(letter, words));
        }
        for at in self.starts(words) {
            let inner = words.get(at).map(|name| Inner {
                name,
                arguments: at + 1,
                in_process: self.in_process,
            });
            found.extend(inner.filter(|inner| !found.contains(inner)));
        }
    }

    /// Where the command may begin.
    fn starts(&self, words: &[&[u8]]) -> Vec<usize> {
        let mut places = self.grammar.operands(words, 0);
        for verb in self.verb {
            places = places
                .into_iter()
                .filter(|at| words.get(*at) == Some(&verb.as_bytes()))
                .flat_map(|at| self.grammar.operands(words, at + 1))
                .collect();
        }
        for at in &mut places {
            *at += self.operands;
        }
        if self.operands > 0 {
            // `setarch x86_64 -R cmd`, `flock file -- cmd`: some read options once more.
            places = self.again(words, places);
        }
        if self.assignments {
            let assigned = |at: &usize| {
                words
                    .get(*at..)
                    .unwrap_or_default()
                    .iter()
                    .take_while(|word| word.contains(&b'='))
                    .count()
            };
            // `sudo A=1 -u root cmd`: options may follow. Each round takes a word away.
            while let Some(at) = places.iter_mut().find(|at| assigned(at) > 0) {
                *at += assigned(at);
                places = self.again(words, places);
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Where the command begins when options are read once more from each of `places`.
    fn again(&self, words: &[&[u8]], places: Vec<usize>) -> Vec<usize> {
        places
            .into_iter()
            .flat_map(|at| self.grammar.operands(words, at))
            .collect()
    }
}

/// `-m NAME`, `-mNAME`, `-Im NAME`, before any script.
fn module<'a>(letter: u8, words: &[&'a [u8]]) -> Option<Inner<'a>> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let letters = word
            .strip_prefix(b"-")
            .filter(|rest| !rest.is_empty() && !rest.starts_with(b"-"))?;
        let Some(place) = letters
            .iter()
            .position(|found| matches!(*found, b'W' | b'X' | b'c') || *found == letter)
        else {
            at += 1;
            continue;
        };
        let attached = letters.get(place + 1..).unwrap_or_default();
        match letters.get(place) {
            Some(b'c') => return None,
            Some(found) if *found == letter => {
                let (name, arguments) = if attached.is_empty() {
                    (*words.get(at + 1)?, at + 2)
                } else {
                    (attached, at + 1)
                };
                return Some(Inner {
                    name,
                    arguments,
                    in_process: true,
                });
            }
            _ => at += if attached.is_empty() { 2 } else { 1 },
        }
    }
    None
}
