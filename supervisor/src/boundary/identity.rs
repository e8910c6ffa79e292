//! What a program that was verified at its exec counts as, for rules with `by`.
//!
//! It is its file: one that the tree can not write, started without variables that load other code into it. A script is itself too, beside its
//! interpreter, where nothing of the way to it could change between our look and the interpreter's: `npm` is `node /usr/bin/npm`.

use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::Call;
use super::exec::Plan;
use super::interpreter::Interpreter;
use crate::caller::{Program, Script};
use crate::decision::Decision;
use crate::policy::{FileOp, Mode, Trust, tables};
use crate::sys::fs::{self, At};

/// Interpreters that run the file of their first argument and, with the variables of `tables` gone, nothing else first. Not Python: it runs what
/// lies in the site folder of whatever HOME it is given.
const INTERPRETERS: &[&[u8]] = &[b"node", b"nodejs", b"sh", b"dash", b"bash", b"perl"];
/// Symbolic links on the way to a script; MAXSYMLINKS, include/linux/namei.h.
const LINKS_MAX: usize = 40;

/// The program that runs now.
pub(super) fn program(call: &Call<'_>, plan: &Plan<'_>, env: &[CString]) -> Program {
    let of = |entry: &CString| {
        let name = entry.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        tables::trust(name)
    };
    let environment = env.iter().map(of).min().unwrap_or(Trust::AndWhatItStarts);
    let path = plan.chain.last().map(|(path, _)| path.clone()).unwrap_or_default();
    // An interpreter of the file's own choice is as good as a program of the tree's.
    let alone = plan.interpreter.as_ref().is_none_or(Interpreter::is_fixed);
    let (trust, script) = match plan.chain.as_slice() {
        _ if environment == Trust::No || !alone => (Trust::No, None),
        // Root may write each file of its own: then it is the policy that keeps the tree from it.
        [(file, object)] if fs::may(object.fd.as_fd(), libc::W_OK).is_err() || is_blocked(call, file) => {
            (environment, interpreted(call, &path, plan))
        }
        // What stands in front of the script is the script's own first line.
        [(file, _), (interpreter, _)] => {
            let found = plan.argv.iter().take(3).filter_map(|word| fixed(call, word.as_bytes()));
            let script = found.into_iter().find(|script| script.path == *file);
            let trusted = script.is_some() && fixed(call, interpreter).is_some();
            (
                if trusted { environment } else { Trust::No },
                script.filter(|_| trusted),
            )
        }
        _ => (Trust::No, None),
    };
    Program {
        id: plan.image,
        path,
        script,
        trust,
        parent: Some(call.task.program.clone()),
    }
}

/// The script that an interpreter was started with.
fn interpreted(call: &Call<'_>, image: &[u8], plan: &Plan<'_>) -> Option<Script> {
    let name = image.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let first = plan.argv.get(1).map(|word| word.as_bytes())?;
    INTERPRETERS.contains(&name).then(|| fixed(call, first))?
}

/// The file that an absolute path leads to, where the tree can change neither it nor anything on the way.
fn fixed(call: &Call<'_>, path: &[u8]) -> Option<Script> {
    let absolute = path.strip_prefix(b"/")?;
    let names = |path: &[u8]| -> Vec<Vec<u8>> {
        let names = path.split(|byte| *byte == b'/');
        names
            .filter(|name| !name.is_empty() && *name != b".")
            .map(<[u8]>::to_vec)
            .collect()
    };
    let mut rest: VecDeque<Vec<u8>> = names(absolute).into();
    let mut at: Vec<u8> = Vec::new();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == b".." {
            let end = at.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
            at.truncate(end);
            continue;
        }
        let next = [&at[..], b"/", &name].concat();
        if !is_kept(call, if at.is_empty() { b"/" } else { &at }, &next) {
            return None;
        }
        match fs::readlink(At::Root, &CString::new(next.clone()).ok()?) {
            Ok(target) => {
                links += 1;
                if links > LINKS_MAX {
                    return None;
                }
                if target.starts_with(b"/") {
                    at.clear();
                }
                names(&target).into_iter().rev().for_each(|name| rest.push_front(name));
            }
            Err(Errno::EINVAL) => at = next,
            Err(_) => return None,
        }
    }
    let file = fs::open(
        At::Root,
        &CString::new(at.clone()).ok()?,
        libc::O_PATH | libc::O_NOFOLLOW,
        0,
        0,
    )
    .ok()?;
    let kept = fs::may(file.as_fd(), libc::W_OK).is_err() || is_blocked(call, &at);
    kept.then_some(())?;
    Some(Script {
        id: fs::fstat(file.as_fd()).ok()?.id,
        path: at,
    })
}

/// Whether nobody of the tree can put something else under a name of this folder.
fn is_kept(call: &Call<'_>, folder: &[u8], name: &[u8]) -> bool {
    let writable = || {
        let path = CString::new(folder).map_err(|_| Errno::EINVAL)?;
        let folder = fs::open(At::Root, &path, libc::O_PATH | libc::O_DIRECTORY, 0, 0)?;
        fs::may(folder.as_fd(), libc::W_OK)
    };
    // Only a plain no is one: a folder that can not be looked at is not known to be kept.
    matches!(writable(), Err(Errno::EACCES | Errno::EROFS)) || is_blocked(call, name)
}

fn is_blocked(call: &Call<'_>, path: &[u8]) -> bool {
    call.boundary.mode == Mode::Enforce && call.verdict(FileOp::Write, path, None).decision == Decision::Block
}
