//! bind of a unix socket to a path: `getsockname`, `getpeername` and `accept` must give what the program wrote.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::PoisonError;

use nix::errno::Errno;

use super::NAMES;
use crate::boundary::{Call, Stop};
use crate::caller::memory::CallerPath;
use crate::caller::resolve::{Last, Name, entry_name};
use crate::policy::FileOp;
use crate::sys::fs::{self, At};
use crate::sys::path::FdPath;
use crate::sys::{process, socket as sys};

/// Bytes of `sun_path`; unix(7).
const SUN_PATH: usize = 108;

/// Binds `socket` at `path`, the path of the caller's `address`.
///
/// The kernel keeps the address as it was passed, so a bind through the held folder would show a path below /proc/self/fd.
/// So the address itself is bound, while no name of the tree can come to lead elsewhere, and after the kernel has shown that
/// it leads to the held folder for us too: in a path through /proc/self it would not, and that one is bound through the folder.
pub(in crate::boundary) fn bind_unix(
    call: &Call<'_>,
    socket: BorrowedFd<'_>,
    address: &[u8],
    path: &CallerPath,
) -> Result<(), Stop> {
    let held = call.view().resolve(libc::AT_FDCWD, path, Last::Name)?;
    let Some((dir, last)) = held.entry else {
        return Err(Errno::EADDRINUSE.into());
    };
    if held.object.is_some() {
        return Err(Errno::EADDRINUSE.into());
    }
    let canonical = entry_name(dir.as_fd(), &last)?;
    call.permit(FileOp::Write, "bind", &Name::Path(canonical.clone()), None)?;
    process::set_umask(call.task.status()?.umask().ok_or(Errno::EACCES)?);
    let cwd = call.task.cwd()?;
    let _alone = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    if leads_to(cwd.as_fd(), path.bytes(), &dir, &last) && entry_name(dir.as_fd(), &last)? == canonical {
        return Ok(process::in_folder(cwd.as_fd(), || sys::bind(socket, address))??);
    }
    Ok(sys::bind(socket, &through(&dir, &last)?)?)
}

/// Whether the kernel, asked by us from `cwd`, finds `last` of the held `dir` by this path.
fn leads_to(cwd: BorrowedFd<'_>, path: &[u8], dir: &OwnedFd, last: &CString) -> bool {
    let Some(folder) = path.strip_suffix(last.as_bytes()) else {
        return false;
    };
    let folder = match folder {
        b"" => b".",
        _ if folder.ends_with(b"/") => folder,
        _ => return false,
    };
    let found = CString::new(folder).map_err(|_| Errno::EINVAL).and_then(|folder| {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let found = fs::open(At::Dir(cwd), &folder, flags, 0, libc::RESOLVE_NO_MAGICLINKS)?;
        Ok(fs::fstat(found.as_fd())?.id)
    });
    found.is_ok_and(|id| fs::fstat(dir.as_fd()).is_ok_and(|held| held.id == id))
}

/// The address of an entry of a held folder.
fn through(dir: &OwnedFd, last: &CString) -> Result<Vec<u8>, Errno> {
    let folder = FdPath::new(dir.as_raw_fd());
    let path = [folder.as_c_str().to_bytes(), b"/", last.as_bytes()].concat();
    if path.len() >= SUN_PATH {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok([&1u16.to_ne_bytes(), path.as_slice(), b"\0"].concat())
}
