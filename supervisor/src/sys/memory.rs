//! Another process's memory, copied. process_vm_readv(2).

use nix::errno::Errno;

use super::notify::Tid;

/// Pages are the unit in which memory is there or not; a transfer stops in front of the first part that is not readable.
pub const PAGE: usize = 4096;

/// An address in a caller's memory; only this module follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemotePtr(pub u64);

impl RemotePtr {
    /// `bytes` further on; EFAULT beyond the end of the address space.
    pub fn offset(self, bytes: u64) -> Result<Self, Errno> {
        self.0.checked_add(bytes).map(Self).ok_or(Errno::EFAULT)
    }
}

/// `process_vm_readv`: copies up to `buf.len()` bytes from `at`, page by page, and returns how many were readable from the start.
/// EFAULT when not even one was, ESRCH when the thread is gone, EPERM when the kernel does not let the supervisor look.
pub fn read_prefix(tid: Tid, at: RemotePtr, buf: &mut [u8]) -> Result<usize, Errno> {
    // Transfers are whole elements of the remote list: cut it at page borders, so that one unreadable page does not hide those before it.
    const PARTS: usize = 18;
    let mut remote: [libc::iovec; PARTS] = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; PARTS];
    let mut done = 0;
    while done < buf.len() {
        let mut at = at.offset(done as u64)?.0;
        let mut want = 0;
        let mut parts = 0;
        for part in &mut remote {
            let left = (buf.len() - done - want) as u64;
            if left == 0 {
                break;
            }
            let len = (PAGE as u64 - at % PAGE as u64).min(left);
            part.iov_base = std::ptr::with_exposed_provenance_mut(usize::try_from(at).map_err(|_| Errno::EFAULT)?);
            part.iov_len = usize::try_from(len).map_err(|_| Errno::EFAULT)?;
            want += part.iov_len;
            parts += 1;
            let Some(next) = at.checked_add(len) else { break };
            at = next;
        }
        let target = buf.get_mut(done..done + want).ok_or(Errno::EFAULT)?;
        let local = libc::iovec {
            iov_base: target.as_mut_ptr().cast(),
            iov_len: target.len(),
        };
        // SAFETY: the kernel writes at most `local.iov_len` bytes into `target`; the remote list is only read, and its addresses are
        // followed in the other process alone.
        let rc = unsafe { libc::process_vm_readv(tid.0, &raw const local, 1, remote.as_ptr(), parts, 0) };
        match super::check(rc as libc::c_long) {
            Ok(got) => {
                let got = usize::try_from(got).map_err(|_| Errno::EFAULT)?;
                done += got;
                if got < want {
                    return if done == 0 { Err(Errno::EFAULT) } else { Ok(done) };
                }
            }
            Err(Errno::EFAULT) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

/// Copies whole pages from the addresses in `starts` with one call, one after the other, and returns how many bytes were readable from the
/// start: as many pages as stand in front of the first that is not. `buf` has room for all; at most 64 pages.
pub fn read_pages(tid: Tid, starts: &[u64], buf: &mut [u8]) -> Result<usize, Errno> {
    const PARTS: usize = 64;
    let mut remote: [libc::iovec; PARTS] = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; PARTS];
    if starts.len() > PARTS || buf.len() < starts.len() * PAGE {
        return Err(Errno::EINVAL);
    }
    for (part, start) in remote.iter_mut().zip(starts) {
        part.iov_base = std::ptr::with_exposed_provenance_mut(usize::try_from(*start).map_err(|_| Errno::EFAULT)?);
        part.iov_len = PAGE;
    }
    let local = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: starts.len() * PAGE,
    };
    let parts = starts.len() as libc::c_ulong;
    // SAFETY: the kernel writes at most `local.iov_len` bytes into `buf`, which holds as many; the remote list is only read, and its
    // addresses are followed in the other process alone.
    let rc = unsafe { libc::process_vm_readv(tid.0, &raw const local, 1, remote.as_ptr(), parts, 0) };
    usize::try_from(super::check(rc as libc::c_long)?).map_err(|_| Errno::EFAULT)
}

/// Copies exactly `buf.len()` bytes, or EFAULT.
pub fn read_exact(tid: Tid, at: RemotePtr, buf: &mut [u8]) -> Result<(), Errno> {
    if read_prefix(tid, at, buf)? == buf.len() {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// `process_vm_writev`: copies all of `data` to `at`, or EFAULT. Used for results that the call owes (a name, a length), never to change arguments.
pub fn write_exact(tid: Tid, at: RemotePtr, data: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    let base = usize::try_from(at.0).map_err(|_| Errno::EFAULT)?;
    let remote = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(base),
        iov_len: data.len(),
    };
    // SAFETY: the kernel only reads `data`; the remote address is followed in the other process alone.
    let rc = unsafe { libc::process_vm_writev(tid.0, &raw const local, 1, &raw const remote, 1, 0) };
    let done = super::check(rc as libc::c_long)?;
    if usize::try_from(done) == Ok(data.len()) {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}
