//! What can be read of the machine and of what this process is in.

use std::path::{Path, PathBuf};

use nix::sys::utsname::uname;
use nix::unistd::{AccessFlags, Uid, eaccess};

/// What lies around this process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The kernel's release.
    pub release: String,
    /// The processor's architecture.
    pub machine: String,
    /// `kernel.yama.ptrace_scope`; none without Yama.
    pub ptrace_scope: Option<u8>,
    /// Filters on this process.
    pub filters: u32,
    /// Who traces this process, 0 for nobody.
    pub tracer: i32,
    /// `NoNewPrivs` of this process.
    pub no_new_privs: bool,
    /// A hint that this is a container, and which.
    pub container: Option<String>,
    /// Whether /proc is there and shows this process.
    pub proc: bool,
    /// Where sessions keep their state, or why nowhere.
    pub state: Result<PathBuf, String>,
    /// The effective user.
    pub uid: u32,
}

impl Surroundings {
    /// Reads it.
    #[must_use]
    pub fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let member = |name: &str| {
            let mut lines = status.lines().filter_map(|line| line.split_once(':'));
            lines
                .find(|(found, _)| *found == name)
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let name = uname().ok();
        let text =
            |text: Option<&std::ffi::OsStr>| text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
        let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
        Self {
            release: text(name.as_ref().map(nix::sys::utsname::UtsName::release)),
            machine: text(name.as_ref().map(nix::sys::utsname::UtsName::machine)),
            ptrace_scope: scope.and_then(|scope| scope.trim().parse().ok()),
            filters: member("Seccomp_filters").parse().unwrap_or(0),
            tracer: member("TracerPid").parse().unwrap_or(0),
            no_new_privs: member("NoNewPrivs") == "1",
            container: container(),
            state: state(),
            proc: !status.is_empty() && Path::new("/proc/self/fd").is_dir(),
            uid: Uid::effective().as_raw(),
        }
    }

    /// Major and minor version.
    #[must_use]
    pub fn version(&self) -> (u32, u32) {
        let mut numbers = self
            .release
            .split(|c: char| !c.is_ascii_digit())
            .map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

/// The state folder, when it can be made and written.
fn state() -> Result<PathBuf, String> {
    let root = crate::evidence::state_root().map_err(|error| error.to_string())?;
    let there = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let usable = AccessFlags::W_OK | AccessFlags::X_OK;
    match eaccess(there, usable) {
        Ok(()) if there.is_dir() => Ok(root),
        Ok(()) => Err(format!("{}: is not a folder", there.display())),
        Err(errno) => Err(format!("{}: {errno}", there.display())),
    }
}

fn container() -> Option<String> {
    let marks = [
        ("/.dockerenv", "docker"),
        ("/run/.containerenv", "podman"),
        ("/run/systemd/container", "systemd"),
    ];
    if let Some((file, name)) = marks.into_iter().find(|(file, _)| Path::new(file).exists()) {
        return Some(format!("{name} ({file})"));
    }
    if let Some(name) = std::env::var_os("container").filter(|name| !name.is_empty()) {
        return Some(format!(
            "{} (environment)",
            crate::text::printable(name.as_encoded_bytes())
        ));
    }
    std::env::var_os("KUBERNETES_SERVICE_HOST").map(|_| "kubernetes (environment)".to_owned())
}
