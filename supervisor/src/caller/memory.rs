//! Strings and structures in a caller's memory, each copied once.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use crate::sys::memory::{PAGE, RemotePtr, read_exact, read_pages, read_prefix};
use crate::sys::notify::Tid;

/// What is copied of a string at first.
const SHORT: usize = 256;
/// `PATH_MAX`, the NUL included; include/uapi/linux/limits.h.
const PATH_MAX: usize = 4096;
/// Bytes of one argument, the NUL included; MAX_ARG_STRLEN, include/uapi/linux/binfmts.h.
const ARG_MAX_STRLEN: usize = 131_072;
/// Bytes of all arguments and environment; three quarters of the default stack limit, fs/exec.c.
const ARGS_TOTAL: usize = 6 * 1024 * 1024;

/// A path as the caller wrote it, copied once. Not a path of ours until it is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerPath(CString);

impl CallerPath {
    /// Copies a path: EFAULT, ENAMETOOLONG as natively. It may be empty.
    pub fn read(tid: Tid, at: RemotePtr) -> Result<Self, Errno> {
        string(tid, at, PATH_MAX, Errno::ENAMETOOLONG).map(Self)
    }

    /// For paths that the supervisor composes (an interpreter's).
    #[must_use]
    pub fn of(path: CString) -> Self {
        Self(path)
    }

    /// The bytes without the NUL.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.to_bytes()
    }

    /// With the NUL.
    #[must_use]
    pub fn as_c_str(&self) -> &CStr {
        &self.0
    }
}

/// A string of at most `limit` bytes with its NUL; `too_long` beyond.
pub fn string(tid: Tid, at: RemotePtr, limit: usize, too_long: Errno) -> Result<CString, Errno> {
    // Most strings are short, and each page that is looked at costs.
    let mut buf = [0u8; SHORT];
    let in_page = PAGE - usize::try_from(at.0 % PAGE as u64).unwrap_or(0);
    let room = buf.get_mut(..SHORT.min(in_page).min(limit)).ok_or(Errno::EFAULT)?;
    let got = read_prefix(tid, at, room)?;
    let part = buf.get(..got).ok_or(Errno::EFAULT)?;
    if let Some(end) = memchr::memchr(0, part) {
        return CString::new(part.get(..end).unwrap_or_default()).map_err(|_| Errno::EFAULT);
    }
    let mut text = part.to_vec();
    let mut buf = [0u8; PAGE];
    while text.len() < limit {
        let room = buf.get_mut(..PAGE.min(limit - text.len())).ok_or(Errno::EFAULT)?;
        let wanted = room.len();
        let got = read_prefix(tid, at.offset(text.len() as u64)?, room)?;
        let part = buf.get(..got).ok_or(Errno::EFAULT)?;
        if let Some(end) = memchr::memchr(0, part) {
            text.extend_from_slice(part.get(..end).unwrap_or_default());
            return CString::new(text).map_err(|_| Errno::EFAULT);
        }
        if got < wanted {
            return Err(Errno::EFAULT);
        }
        text.extend_from_slice(part);
    }
    Err(too_long)
}

/// A NULL-terminated array of strings, as execve takes: EFAULT, E2BIG as natively. A null pointer is an empty array.
pub fn strings(tid: Tid, at: RemotePtr, total: &mut usize) -> Result<Vec<CString>, Errno> {
    let pointers = pointers(tid, at, *total)?;
    let mut list = Vec::with_capacity(pointers.len());
    for group in pointers.chunks(GROUP) {
        let pages = Pages::read(tid, group)?;
        for pointer in group {
            let text = match pages.string(*pointer) {
                Some(text) => text,
                // Beyond what was copied at once: a long string, or one whose page is not there.
                None => string(tid, *pointer, ARG_MAX_STRLEN, Errno::E2BIG)?,
            };
            *total += text.as_bytes_with_nul().len() + 8;
            if *total > ARGS_TOTAL {
                return Err(Errno::E2BIG);
            }
            list.push(text);
        }
    }
    Ok(list)
}

/// The pointers up to the null one. Each costs its string a byte and itself eight, which bounds how many there can be.
fn pointers(tid: Tid, at: RemotePtr, total: usize) -> Result<Vec<RemotePtr>, Errno> {
    let mut list = Vec::new();
    if at.0 == 0 {
        return Ok(list);
    }
    let mut buf = [0u8; 2048];
    let mut offset = 0;
    loop {
        let got = read_prefix(tid, at.offset(offset)?, &mut buf)?;
        let usable = got - got % 8;
        if usable == 0 {
            return Err(Errno::EFAULT);
        }
        for pointer in buf.get(..usable).unwrap_or_default().as_chunks::<8>().0 {
            match u64::from_ne_bytes(*pointer) {
                0 => return Ok(list),
                pointer => list.push(RemotePtr(pointer)),
            }
        }
        if total + list.len() * 9 > ARGS_TOTAL {
            return Err(Errno::E2BIG);
        }
        offset += usable as u64;
    }
}

/// Strings whose pages are copied with one call: arguments and environment lie close together.
const GROUP: usize = 64;

/// Copies of the pages in which a group of strings begins, in the order of their addresses.
struct Pages {
    starts: Vec<u64>,
    bytes: Vec<u8>,
}

fn page_of(at: RemotePtr) -> u64 {
    at.0 - at.0 % PAGE as u64
}

impl Pages {
    fn read(tid: Tid, group: &[RemotePtr]) -> Result<Self, Errno> {
        let mut starts: Vec<u64> = group.iter().map(|pointer| page_of(*pointer)).collect();
        starts.sort_unstable();
        starts.dedup();
        let mut bytes = vec![0; starts.len() * PAGE];
        let got = match read_pages(tid, &starts, &mut bytes) {
            Err(Errno::EFAULT) => 0,
            other => other?,
        };
        starts.truncate(got / PAGE);
        Ok(Self { starts, bytes })
    }

    /// A string that ends within the copied pages.
    fn string(&self, at: RemotePtr) -> Option<CString> {
        let page = page_of(at);
        let first = self.starts.binary_search(&page).ok()?;
        let begin = first * PAGE + usize::try_from(at.0 - page).ok()?;
        // As far as the copied pages are neighbours in the caller's memory too.
        let run = self
            .starts
            .iter()
            .skip(first)
            .zip((0..).map(|n| page + n * PAGE as u64))
            .take_while(|(start, expected)| **start == *expected)
            .count();
        let text = self.bytes.get(begin..(first + run) * PAGE)?;
        let text = text.get(..memchr::memchr(0, text)?)?;
        (text.len() < ARG_MAX_STRLEN).then(|| CString::new(text).ok())?
    }
}

/// `N` bytes.
pub fn bytes<const N: usize>(tid: Tid, at: RemotePtr) -> Result<[u8; N], Errno> {
    let mut buf = [0; N];
    read_exact(tid, at, &mut buf)?;
    Ok(buf)
}
