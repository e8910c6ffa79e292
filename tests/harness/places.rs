//! Where the programs under test and the tests' own folders are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::suite::{Unmet, skip};
use crate::users::User;

/// Bytes that a world's folder may be long, so that sockets below it fit (sun_path holds 108).
const ROOM_FOR_SOCKETS: usize = 44;

/// Programs copied to where everyone reaches them.
struct Copies {
    made: Vec<(PathBuf, PathBuf)>,
    folder: Option<tempfile::TempDir>,
}

static COPIES: Mutex<Copies> = Mutex::new(Copies {
    made: Vec::new(),
    folder: None,
});

/// The repository that the tests were built from.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Cargo's target folder: the third folder above the test program (`target/<profile>/deps/<test>`).
#[must_use]
pub fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().to_owned()
}

/// `cavra-run`, where `user` can start it.
pub fn cavra_run(user: User) -> Result<PathBuf, Unmet> {
    product("cavra-run", user)
}

/// `cavractl`, where `user` can start it.
pub fn cavractl(user: User) -> Result<PathBuf, Unmet> {
    product("cavractl", user)
}

/// The folder of cavra-run and cavractl: `CAVRA_BIN_DIR`, else where cargo puts them beside this test.
#[must_use]
pub fn products() -> PathBuf {
    std::env::var_os("CAVRA_BIN_DIR").map_or_else(
        || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned(),
        PathBuf::from,
    )
}

fn product(name: &str, user: User) -> Result<PathBuf, Unmet> {
    let path = products().join(name);
    if !path.exists() {
        return skip(format!(
            "{name} is not built: run `cargo build -p cavra`, or set CAVRA_BIN_DIR to its folder"
        ));
    }
    Ok(reachable(&path, user))
}

/// The build of cavra-run with the points of `supervisor/src/faults.rs` and without the guards that `CAVRA_GUARDS_OFF` names, where `user` can start it; cargo makes it beside the product, which it
/// leaves as it is.
pub fn faulty(user: User) -> Result<PathBuf, Unmet> {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "cavra"])
        .args(["--features", "fault-injection", "--example", "faulty"])
        .current_dir(repository())
        .status();
    match built {
        Ok(status) if status.success() => Ok(reachable(&target().join("debug/examples/faulty"), user)),
        Ok(status) => skip(format!("the test build failed: {status}")),
        Err(error) => skip(format!("cargo: {error}")),
    }
}

/// Claude Code's own program, as `scripts/claude.sh` installs it; `CAVRA_CLAUDE` names another one.
pub fn claude(user: User) -> Result<PathBuf, Unmet> {
    let path = std::env::var_os("CAVRA_CLAUDE").map_or_else(
        || repository().join("target/claude/node_modules/@anthropic-ai/claude-code/bin/claude.exe"),
        PathBuf::from,
    );
    if !path.exists() {
        return skip("Claude Code is not installed: run scripts/claude.sh (or set CAVRA_CLAUDE to its program)");
    }
    Ok(reachable(&path, user))
}

/// `path` itself where `user` can reach it, else a copy in a folder that everyone can.
fn reachable(path: &Path, user: User) -> PathBuf {
    if user.reaches(path) {
        return path.to_owned();
    }
    let mut copies = COPIES.lock().unwrap();
    if let Some((_, copy)) = copies.made.iter().find(|(of, _)| of == path) {
        return copy.clone();
    }
    let folder = copies.folder.get_or_insert_with(|| {
        let folder = tempfile::Builder::new()
            .prefix("cavra-bin-")
            .tempdir_in("/tmp")
            .unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        folder
    });
    let copy = folder.path().join(path.file_name().unwrap());
    fs::copy(path, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copies.made.push((path.to_owned(), copy.clone()));
    copy
}

/// Removes the copies; the last thing that a test program does (statics are never dropped).
pub(crate) fn clean() {
    let mut copies = COPIES.lock().unwrap();
    copies.made.clear();
    copies.folder = None;
}

/// Where worlds are made: `CAVRA_TEST_BASE`, else below the target folder (as a real workspace lies outside /tmp), else
/// in /tmp when the target folder is out of `user`'s reach or its name too long for sockets.
pub fn base(user: User) -> PathBuf {
    if let Some(base) = std::env::var_os("CAVRA_TEST_BASE") {
        return PathBuf::from(base);
    }
    let target = target();
    let base = target.join("w");
    if base.as_os_str().len() <= ROOM_FOR_SOCKETS && user.reaches(&target) && fs::create_dir_all(&base).is_ok() {
        return base;
    }
    PathBuf::from("/tmp")
}

/// The first of `names` in the tests' own PATH, as a reason to skip where there is none.
pub fn tool(name: &str) -> Result<PathBuf, Unmet> {
    let path = crate::stage::SYSTEM_PATH
        .split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.exists());
    path.map_or_else(|| skip(format!("{name} is not installed: run scripts/setup.sh")), Ok)
}
