//! Names that mean something to the boundary: environment variables, services' sockets.

use nix::errno::Errno;

use super::pattern::Glob;

/// Variables that make a program load or run other code; `*` at the end matches any rest.
const OTHER_CODE: &[&str] = &[
    "LD_*",
    "GCONV_PATH",
    "GIT_*COMMAND",
    "GIT_CONFIG*",
    "GIT_EXEC_PATH",
    "GIT_SSH*",
    "GIT_EDITOR",
    "GIT_PAGER",
    "GIT_PROXY*",
    "GIT_ASKPASS",
    "GIT_TEMPLATE_DIR",
    "GIT_EXTERNAL_DIFF",
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
    "PROMPT_COMMAND",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "CLASSPATH",
    "PAGER",
    "EDITOR",
    "VISUAL",
    "BROWSER",
    "LUA_INIT",
    "DOTNET_STARTUP_HOOKS",
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

fn any(list: &[&str], name: &str) -> bool {
    list.iter()
        .any(|pattern| Glob::new(pattern.as_bytes(), true).matches(name.as_bytes()))
}

/// Whether a variable may make a program load or run other code: no `by` rule holds for what is started with it.
#[must_use]
pub fn runs_other_code(name: &str) -> bool {
    any(OTHER_CODE, name)
}

/// Whether a variable runs code in every program.
#[must_use]
pub fn loads_code(name: &str) -> bool {
    any(LOADERS, name)
}

/// Whether a variable looks like a secret.
#[must_use]
pub fn looks_secret(name: &str) -> bool {
    any(SECRETS, &name.to_ascii_uppercase())
}

/// The errno for a service's socket that is refused unless a session made it.
#[must_use]
pub fn refused_socket(path: &[u8]) -> Option<Errno> {
    SERVICES
        .iter()
        .find(|(pattern, _)| Glob::new(pattern.as_bytes(), true).matches(path))
        .map(|(_, errno)| *errno)
}

/// Whether `name` passes by a list of names, `*` at the end matching any rest.
#[must_use]
pub fn passes(list: &[String], name: &str) -> bool {
    list.iter()
        .any(|pattern| Glob::new(pattern.as_bytes(), true).matches(name.as_bytes()))
}
