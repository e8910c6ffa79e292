//! The interpreter that an ELF file names (PT_INTERP): the kernel opens and maps it by itself and begins there, so it is decided like the program
//! and looked for among the mappings at the exec stop.
//!
//! Mostly it is one of the machine's dynamic loaders, in a place that nothing of the tree can change. Then its name says all.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, geteuid};

use crate::caller::resolve::Object;
use crate::decision::Decision;
use crate::policy::{FileOp, Mode, Nobody, Policy};
use crate::sys::fs::{self, At, ObjectId};

/// The dynamic loaders, whose first argument is a program; the ELF interpreters of x86_64 and aarch64, glibc's and musl's.
pub(super) const LOADERS: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];
/// Bytes of a file's head that are looked at: program headers and the interpreter's name mostly lie there.
pub(super) const HEAD: usize = 2048;
/// Bytes of all program headers; load_elf_phdrs, fs/binfmt_elf.c.
const HEADERS_MAX: usize = 65536;
/// `Elf64_Phdr`, elf(5).
const HEADER_LEN: usize = 56;
/// `PT_INTERP`, elf(5).
const PT_INTERP: u32 = 3;

/// An interpreter as a file names it.
pub(super) enum Interpreter {
    /// A loader of the machine that the tree can not change, by its name.
    Fixed(CString),
    /// Any other file.
    Held {
        /// As the file spells it.
        spelled: CString,
        /// What that led to.
        object: Object,
        /// Its canonical path.
        canonical: Vec<u8>,
        /// Whether the tree can put nothing else there.
        fixed: bool,
    },
}

impl Interpreter {
    /// As the file spells it.
    pub(super) fn spelled(&self) -> &CString {
        match self {
            Self::Fixed(spelled) | Self::Held { spelled, .. } => spelled,
        }
    }

    /// Whether a program that names it runs nothing of the tree's: `by` rules may hold for it.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_) | Self::Held { fixed: true, .. })
    }

    /// Whether all that the stopped process has mapped of files is its image and this interpreter. The kernel shows its mappings' files by
    /// inode and by the path that they have now: no other file has both.
    pub(super) fn is_mapped(&self, pid: i32, image: ObjectId) -> bool {
        let Self::Held {
            object, fixed: false, ..
        } = self
        else {
            return true;
        };
        let Ok(path) = fs::name_of(object.fd.as_fd()) else {
            return false;
        };
        let Some(image_path) = path_of_image(pid) else {
            return false;
        };
        let Ok(maps) = std::fs::read(format!("/proc/{pid}/maps")) else {
            return false;
        };
        let (image, own) = (
            (image.ino, image_path.as_slice()),
            (object.stat.id.ino, path.as_slice()),
        );
        let mut found = false;
        let all = files(&maps).all(|file| {
            found |= file == own;
            file == own || file == image
        });
        all && found
    }
}

/// Inode and path of each mapping of a file. proc_pid_maps(5): address, rights, offset, device, inode, path.
fn files(maps: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    maps.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let inode = std::str::from_utf8(fields.nth(4)?).ok()?.parse().ok()?;
        (inode != 0).then(|| (inode, fields.next().unwrap_or_default().trim_ascii_start()))
    })
}

/// The names of the loaders that nothing of the tree can change.
pub(super) fn fixed(policy: &Policy, mode: Mode) -> Vec<&'static str> {
    let loaders = LOADERS.iter().filter(|path| is_fixed(policy, mode, Path::new(path)));
    loaders.copied().collect()
}

/// Whether an absolute path leads to the same file whatever the tree does: each name and link on its way is unchangeable.
pub(super) fn is_fixed(policy: &Policy, mode: Mode, path: &Path) -> bool {
    /// MAXSYMLINKS, include/linux/namei.h.
    const LINKS_MAX: u32 = 40;
    let mut links = 0;
    let mut at = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = path.iter().skip(1).map(OsStr::to_owned).collect();
    if !path.is_absolute() || rest.is_empty() {
        return false;
    }
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let entry = at.join(&name);
        if !unchangeable(policy, mode, &entry) {
            return false;
        }
        match entry.read_link() {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                target
                    .iter()
                    .filter(|part| *part != "/")
                    .rev()
                    .for_each(|part| rest.push_front(part.to_owned()));
            }
            Ok(_) => return false,
            Err(_) => at = entry,
        }
    }
    at.is_file()
}

/// Whether the tree can neither write what is at a path nor put something else there: the user may not, or the policy keeps it from that.
fn unchangeable(policy: &Policy, mode: Mode, entry: &Path) -> bool {
    // Who owns a file gives himself the right to write it.
    let closed = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.uid() != geteuid().as_raw()) && access(path, AccessFlags::W_OK).is_err()
    };
    let bytes = entry.as_os_str().as_bytes();
    mode == Mode::Enforce && policy.file(FileOp::Write, bytes, &Nobody).decision == Decision::Block
        || closed(entry) && entry.parent().is_some_and(closed)
}

/// The interpreter's name in an ELF file of this class and machine, whose first bytes are `head`. ENOEXEC and EIO where the kernel has them.
pub(super) fn named(file: BorrowedFd<'_>, head: &[u8]) -> Result<Option<CString>, Errno> {
    let offset = u64_at(head, 32)?;
    let (length, count) = (u16_at(head, 54)?, usize::from(u16_at(head, 56)?));
    if usize::from(length) != HEADER_LEN || count == 0 || count * HEADER_LEN > HEADERS_MAX {
        return Err(Errno::ENOEXEC);
    }
    let headers = part(file, head, offset, count * HEADER_LEN)?;
    for header in headers.chunks_exact(HEADER_LEN) {
        if u32_at(header, 0)? != PT_INTERP {
            continue;
        }
        let (offset, length) = (u64_at(header, 8)?, u64_at(header, 32)?);
        // load_elf_binary, fs/binfmt_elf.c.
        if !(2..=4096).contains(&length) {
            return Err(Errno::ENOEXEC);
        }
        let length = usize::try_from(length).map_err(|_| Errno::ENOEXEC)?;
        let name = part(file, head, offset, length)?;
        if name.last() != Some(&0) {
            return Err(Errno::ENOEXEC);
        }
        let end = memchr::memchr(0, &name).unwrap_or(0);
        return Ok(CString::new(name.get(..end).unwrap_or_default()).ok());
    }
    Ok(None)
}

/// `length` bytes at `offset`, from the head where it has them.
fn part(file: BorrowedFd<'_>, head: &[u8], offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let at = usize::try_from(offset).map_err(|_| Errno::EIO)?;
    if let Some(found) = at.checked_add(length).and_then(|end| head.get(at..end)) {
        return Ok(found.to_vec());
    }
    let mut bytes = vec![0; length];
    let offset = i64::try_from(offset).map_err(|_| Errno::EIO)?;
    if fs::pread(file, &mut bytes, offset)? == length {
        Ok(bytes)
    } else {
        Err(Errno::EIO)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Errno> {
    let bytes = bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u16::from_le_bytes).ok_or(Errno::ENOEXEC)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Errno> {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_le_bytes).ok_or(Errno::ENOEXEC)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Errno> {
    let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_le_bytes).ok_or(Errno::ENOEXEC)
}

/// The name in the file behind a descriptor, read from its beginning.
pub(super) fn named_in(file: BorrowedFd<'_>) -> Result<Option<CString>, Errno> {
    let mut head = [0u8; HEAD];
    let len = fs::pread(file, &mut head, 0)?;
    named(file, head.get(..len).unwrap_or_default())
}

/// The image's path as the kernel now shows it.
fn path_of_image(pid: i32) -> Option<Vec<u8>> {
    let link = CString::new(format!("/proc/{pid}/exe")).ok()?;
    fs::readlink(At::Root, &link).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::File;
    use std::os::fd::AsFd;

    use nix::errno::Errno;

    use super::{LOADERS, files, named_in};

    #[test]
    fn a_dynamic_program_names_its_loader_and_what_is_cut_is_refused() {
        let own = File::open("/proc/self/exe").unwrap();
        let name = named_in(own.as_fd()).unwrap().unwrap();
        assert!(LOADERS.contains(&name.to_str().unwrap()), "{name:?}");
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let write = |bytes: &[u8]| {
            let path = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(path.path(), bytes).unwrap();
            named_in(File::open(path.path()).unwrap().as_fd())
        };
        assert_eq!(write(&bytes[..60]), Err(Errno::EIO));
        assert_eq!(write(&bytes[..40]), Err(Errno::ENOEXEC));
        let mut none = bytes[..4096].to_vec();
        none[56] = 0;
        none[57] = 0;
        assert_eq!(write(&none), Err(Errno::ENOEXEC));
    }

    #[test]
    fn mappings_of_files_are_told_from_others() {
        let maps = b"00400000-00401000 r-xp 00000000 fe:00 17   /a b/c\n\
            7f00-7f01 rw-p 00000000 00:00 0 \n7f02-7f03 r--p 00001000 fe:00 18                         /memfd:x (deleted)\n\
            7ffd-7fff rw-p 00000000 00:00 0                          [stack]\n";
        let found: Vec<_> = files(maps).collect();
        assert_eq!(found, [(17, &b"/a b/c"[..]), (18, b"/memfd:x (deleted)")]);
    }
}
