//! Names that mean something to the boundary: environment variables, services' sockets.

use std::collections::HashSet;
use std::sync::LazyLock;

use nix::errno::Errno;

use super::pattern::Glob;
use super::types::Trust;

/// Variables that make a program load other code into itself; `*` at the end matches any rest.
const OTHER_CODE: &[&str] = &[
    "LD_*",
    "GCONV_PATH",
    "GIT_CONFIG*",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PYTHONSTARTUP",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PERL5OPT",
    "PERL5LIB",
    "RUBYOPT",
    "RUBYLIB",
    "BASH_ENV",
    "ENV",
    "SHELLOPTS",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "CLASSPATH",
    "LUA_INIT",
    "DOTNET_STARTUP_HOOKS",
];
/// Variables that name programs for others to start; they change nothing in who reads them.
const STARTED: &[&str] = &[
    "GIT_*COMMAND",
    "GIT_SSH*",
    "GIT_EDITOR",
    "GIT_PAGER",
    "GIT_PROXY*",
    "GIT_ASKPASS",
    "GIT_EXTERNAL_DIFF",
    "PROMPT_COMMAND",
    "PAGER",
    "EDITOR",
    "VISUAL",
    "BROWSER",
    "XDG_CONFIG_HOME",
];
/// Variables that are never handed on: they run code in every program.
const LOADERS: &[&str] = &[
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_DEBUG*",
    "LD_PROFILE*",
    "GCONV_PATH",
    "BASH_ENV",
    "GLIBC_TUNABLES",
];
/// Parts of names of secrets.
const SECRETS: &[&str] = &[
    "*SECRET*",
    "*TOKEN*",
    "*PASSWORD*",
    "*PASSWD*",
    "*API_KEY*",
    "*APIKEY*",
    "*ACCESS_KEY*",
    "*PRIVATE_KEY*",
    "*CREDENTIAL*",
    "*_PAT",
    "SSH_AUTH_SOCK",
    "*_DSN",
    "DATABASE_URL",
];
/// Sockets of services that act with the user's rights outside the session, with the errno that their clients take as "not there".
const SERVICES: &[(&str, Errno)] = &[
    ("*/nscd/socket", Errno::ENOENT),
    ("*/docker.sock", Errno::EACCES),
    ("*/containerd/*.sock*", Errno::EACCES),
    ("*/podman/*.sock", Errno::EACCES),
    // First of those that match: libraries then ask the session's own resolver.
    ("/run/systemd/resolve/*", Errno::ENOENT),
    ("/run/systemd/*", Errno::EACCES),
    ("/run/dbus/*", Errno::EACCES),
    ("/run/user/*", Errno::EACCES),
    ("*/ssh-*/agent.*", Errno::EACCES),
    ("*/S.gpg-agent*", Errno::EACCES),
    ("*/tmux-*/*", Errno::EACCES),
    ("*/.X11-unix/*", Errno::EACCES),
    ("*/wayland-*", Errno::EACCES),
    ("*/vscode-*.sock", Errno::EACCES),
    ("*/codex-daemon-*", Errno::EACCES),
    ("*/avahi-daemon/socket", Errno::ENOENT),
    ("*/cavra/run/*", Errno::EACCES),
];

/// A list of names and patterns of names, compiled: asked for each variable of each exec.
struct Names {
    exact: HashSet<&'static [u8]>,
    /// What stands before a pattern's first `*`, and the pattern.
    globs: Vec<(&'static [u8], Glob)>,
}

impl Names {
    fn new(list: &'static [&'static str]) -> Self {
        let (globs, exact) = list
            .iter()
            .map(|entry| entry.as_bytes())
            .partition::<Vec<_>, _>(|entry| entry.contains(&b'*'));
        let head = |entry: &'static [u8]| entry.split(|byte| *byte == b'*').next().unwrap_or_default();
        Self {
            exact: exact.into_iter().collect(),
            globs: globs
                .into_iter()
                .map(|entry| (head(entry), Glob::new(entry, true)))
                .collect(),
        }
    }

    fn has(&self, name: &[u8]) -> bool {
        self.exact.contains(name)
            || self
                .globs
                .iter()
                .any(|(head, glob)| name.starts_with(head) && glob.matches(name))
    }
}

static OTHER: LazyLock<Names> = LazyLock::new(|| Names::new(OTHER_CODE));
static STARTS: LazyLock<Names> = LazyLock::new(|| Names::new(STARTED));
static LOADS: LazyLock<Names> = LazyLock::new(|| Names::new(LOADERS));
static SECRET: LazyLock<Names> = LazyLock::new(|| Names::new(SECRETS));
static SOCKETS: LazyLock<Vec<(Glob, Errno)>> = LazyLock::new(|| {
    SERVICES
        .iter()
        .map(|(pattern, errno)| (Glob::new(pattern.as_bytes(), true), *errno))
        .collect()
});

/// How far a program that is started with this variable can be taken for its file.
#[must_use]
pub fn trust(name: &[u8]) -> Trust {
    if OTHER.has(name) {
        Trust::No
    } else if STARTS.has(name) {
        Trust::Itself
    } else {
        Trust::AndWhatItStarts
    }
}

/// Whether a variable runs code in every program.
#[must_use]
pub fn loads_code(name: &str) -> bool {
    LOADS.has(name.as_bytes())
}

/// Whether a variable looks like a secret.
#[must_use]
pub fn looks_secret(name: &str) -> bool {
    SECRET.has(name.to_ascii_uppercase().as_bytes())
}

/// The errno for a service's socket that is refused unless a session made it.
#[must_use]
pub fn refused_socket(path: &[u8]) -> Option<Errno> {
    SOCKETS
        .iter()
        .find(|(pattern, _)| pattern.matches(path))
        .map(|(_, errno)| *errno)
}

/// Whether `name` passes by a list of names, `*` at the end matching any rest.
#[must_use]
pub fn passes(list: &[String], name: &str) -> bool {
    list.iter()
        .any(|pattern| Glob::new(pattern.as_bytes(), true).matches(name.as_bytes()))
}
