//! File system calls on held descriptors.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::path::FdPath;
use super::{check, owned};

/// `RESOLVE_*` of openat2(2).
pub mod resolve {
    /// No mount point is crossed.
    pub const NO_XDEV: u64 = 0x01;
    /// No magic link is followed.
    pub const NO_MAGICLINKS: u64 = 0x02;
    /// No symbolic link is followed.
    pub const NO_SYMLINKS: u64 = 0x04;
    /// Nothing above the starting folder.
    pub const BENEATH: u64 = 0x08;
    /// The starting folder is the root.
    pub const IN_ROOT: u64 = 0x10;
    /// Only what is in the kernel's cache.
    pub const CACHED: u64 = 0x20;
    /// All that Linux 6.18 knows.
    pub const KNOWN: u64 = NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS | BENEATH | IN_ROOT | CACHED;
}

/// Where a path starts.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// The supervisor's own root or cwd; only ever with absolute paths.
    Root,
    /// A held folder.
    Dir(BorrowedFd<'a>),
}

impl At<'_> {
    fn raw(self) -> libc::c_int {
        match self {
            Self::Root => libc::AT_FDCWD,
            Self::Dir(fd) => fd.as_raw_fd(),
        }
    }
}

/// Device and inode: what an object is, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named or anonymous pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// Anonymous inodes (epoll, eventfd, …) have no type.
    Other,
}

/// What fstat(2) tells, as far as it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Which object.
    pub id: ObjectId,
    /// Type and permission bits, `st_mode`.
    pub mode: u32,
    /// Names.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// For devices: which.
    pub rdev: u64,
    /// Bytes.
    pub size: i64,
}

impl Stat {
    /// The type bits.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Dir,
            libc::S_IFLNK => Kind::Symlink,
            libc::S_IFIFO => Kind::Fifo,
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFCHR => Kind::Char,
            libc::S_IFBLK => Kind::Block,
            _ => Kind::Other,
        }
    }
}

impl From<libc::stat> for Stat {
    fn from(raw: libc::stat) -> Self {
        Self {
            id: ObjectId {
                dev: raw.st_dev,
                ino: raw.st_ino,
            },
            mode: raw.st_mode,
            nlink: raw.st_nlink,
            uid: raw.st_uid,
            gid: raw.st_gid,
            rdev: raw.st_rdev,
            size: raw.st_size,
        }
    }
}

/// `openat2`: O_CLOEXEC is added. openat2(2).
pub fn open(at: At<'_>, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Result<OwnedFd, Errno> {
    #[repr(C)]
    struct OpenHow {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    let how = OpenHow {
        flags: u64::from((flags | libc::O_CLOEXEC).cast_unsigned()),
        mode: u64::from(mode),
        resolve,
    };
    // SAFETY: the kernel reads the path up to its NUL and `size_of::<OpenHow>()` bytes at `how`; both outlive the call.
    owned(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            at.raw(),
            path.as_ptr(),
            &raw const how,
            size_of::<OpenHow>(),
        )
    })
}

/// Opens a held object again with other flags, through its `/proc/self/fd` name: the same object, whatever its names now are.
pub fn reopen(fd: BorrowedFd<'_>, flags: i32) -> Result<OwnedFd, Errno> {
    let path = FdPath::new(fd.as_raw_fd());
    // SAFETY: the kernel reads the path up to its NUL; it outlives the call. No O_CREAT: mode is not read.
    owned(unsafe { libc::open(path.as_c_str().as_ptr(), flags | libc::O_CLOEXEC) }.into())
}

/// A file in memory that nobody can change, whoever gets it. memfd_create(2); ENOMEM where there is no room.
pub fn sealed(name: &CStr, bytes: &[u8]) -> Result<OwnedFd, Errno> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = std::fs::File::from(fd);
    std::io::Write::write_all(&mut file, bytes).map_err(|_| Errno::ENOMEM)?;
    nix::sys::stat::fchmod(&file, nix::sys::stat::Mode::from_bits_truncate(0o444))?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// `fstat`. stat(2).
pub fn fstat(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    // SAFETY: all-zero bytes are a valid value of this C struct.
    let mut raw: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one struct stat into `raw`, which outlives the call.
    let rc = unsafe { libc::fstat(fd.as_raw_fd(), &raw mut raw) };
    check(rc.into())?;
    Ok(raw.into())
}

/// `newfstatat`. stat(2).
pub fn stat_at(at: At<'_>, path: &CStr, flags: i32) -> Result<Stat, Errno> {
    // SAFETY: all-zero bytes are a valid value of this C struct.
    let mut raw: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel reads the path up to its NUL and writes one struct stat into `raw`; both outlive the call.
    let rc = unsafe { libc::fstatat(at.raw(), path.as_ptr(), &raw mut raw, flags) };
    check(rc.into())?;
    Ok(raw.into())
}

/// `fstatfs`: the file system's magic number. statfs(2).
pub fn fs_magic(fd: BorrowedFd<'_>) -> Result<i64, Errno> {
    // SAFETY: all-zero bytes are a valid value of this C struct.
    let mut raw: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one struct statfs into `raw`, which outlives the call.
    let rc = unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut raw) };
    check(rc.into())?;
    Ok(raw.f_type)
}

/// Whether the mount that holds the object forbids running programs. statvfs(3), ST_NOEXEC.
pub fn is_noexec(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    // SAFETY: all-zero bytes are a valid value of this C struct.
    let mut raw: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the C library writes one struct statvfs into `raw`, which outlives the call.
    let rc = unsafe { libc::fstatvfs(fd.as_raw_fd(), &raw mut raw) };
    check(rc.into())?;
    Ok(raw.f_flag & libc::ST_NOEXEC != 0)
}

/// `readlinkat`: the target's bytes, at most PATH_MAX. readlink(2).
pub fn readlink(at: At<'_>, path: &CStr) -> Result<Vec<u8>, Errno> {
    let mut buf = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel reads the path up to its NUL and writes at most `buf.len()` bytes into `buf`; both outlive the call.
    let rc = unsafe { libc::readlinkat(at.raw(), path.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    let len = usize::try_from(check(rc as libc::c_long)?).map_err(|_| Errno::EINVAL)?;
    Ok(buf.get(..len).unwrap_or_default().to_vec())
}

/// The path under which the kernel now knows a held object: `/a/b`, `/a/b (deleted)`, `pipe:[…]`, `/memfd:… (deleted)`.
pub fn name_of(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    readlink(At::Root, FdPath::new(fd.as_raw_fd()).as_c_str())
}

/// `faccessat2` with AT_EACCESS on a held object. access(2).
pub fn may(fd: BorrowedFd<'_>, mode: i32) -> Result<(), Errno> {
    let path = FdPath::new(fd.as_raw_fd());
    // SAFETY: the kernel reads the path up to its NUL; it outlives the call.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            libc::AT_FDCWD,
            path.as_c_str().as_ptr(),
            mode,
            libc::AT_EACCESS,
        )
    };
    check(rc).map(|_| ())
}

/// `pread`.
pub fn pread(fd: BorrowedFd<'_>, buf: &mut [u8], offset: i64) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`, which outlives the call.
    let rc = unsafe { libc::pread(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), offset) };
    usize::try_from(check(rc as libc::c_long)?).map_err(|_| Errno::EIO)
}

/// All of a small file that is read in one go (those of /proc), at most `limit` bytes.
pub fn read_all(fd: BorrowedFd<'_>, limit: usize) -> Result<Vec<u8>, Errno> {
    let mut data = vec![0u8; 4096.min(limit)];
    let mut len = 0;
    while let Some(room) = data.get_mut(len..) {
        let got = pread(fd, room, i64::try_from(len).map_err(|_| Errno::EFBIG)?)?;
        len += got;
        if got == 0 || len >= limit {
            break;
        }
        if len == data.len() {
            data.resize((data.len() * 2).min(limit), 0);
        }
    }
    data.truncate(len);
    Ok(data)
}

/// `mkdirat`. mkdir(2).
pub fn mkdir(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: the kernel reads the name up to its NUL; it outlives the call.
    let rc = unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) };
    check(rc.into()).map(|_| ())
}

/// `mknodat`. mknod(2).
pub fn mknod(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: the kernel reads the name up to its NUL; it outlives the call.
    let rc = unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, 0) };
    check(rc.into()).map(|_| ())
}

/// `unlinkat`. unlink(2).
pub fn unlink(dir: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<(), Errno> {
    // SAFETY: the kernel reads the name up to its NUL; it outlives the call.
    let rc = unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) };
    check(rc.into()).map(|_| ())
}

/// `symlinkat`. symlink(2).
pub fn symlink(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads both strings up to their NULs; they outlive the call.
    let rc = unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) };
    check(rc.into()).map(|_| ())
}

/// `linkat` of a held object that is no symbolic link, through its `/proc/self/fd` name. link(2).
pub fn link_object(object: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let path = FdPath::new(object.as_raw_fd());
    // SAFETY: the kernel reads both strings up to their NULs; they outlive the call.
    let rc = unsafe {
        libc::linkat(
            libc::AT_FDCWD,
            path.as_c_str().as_ptr(),
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    };
    check(rc.into()).map(|_| ())
}

/// `linkat` of a name in a held folder, not followed. link(2).
pub fn link_name(from: BorrowedFd<'_>, old: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads both strings up to their NULs; they outlive the call.
    let rc = unsafe { libc::linkat(from.as_raw_fd(), old.as_ptr(), dir.as_raw_fd(), name.as_ptr(), 0) };
    check(rc.into()).map(|_| ())
}

/// `renameat2`. rename(2).
pub fn rename(from: BorrowedFd<'_>, old: &CStr, to: BorrowedFd<'_>, new: &CStr, flags: u32) -> Result<(), Errno> {
    // SAFETY: the kernel reads both strings up to their NULs; they outlive the call.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            from.as_raw_fd(),
            old.as_ptr(),
            to.as_raw_fd(),
            new.as_ptr(),
            flags,
        )
    };
    check(rc).map(|_| ())
}

/// `fchmodat` on a held object. chmod(2).
pub fn chmod(object: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    let path = FdPath::new(object.as_raw_fd());
    // SAFETY: the kernel reads the path up to its NUL; it outlives the call.
    let rc = unsafe { libc::chmod(path.as_c_str().as_ptr(), mode) };
    check(rc.into()).map(|_| ())
}

/// `fchmod` on a descriptor that is not O_PATH. chmod(2).
pub fn fchmod(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    let rc = unsafe { libc::fchmod(fd.as_raw_fd(), mode) };
    check(rc.into()).map(|_| ())
}

/// `fchownat` with AT_EMPTY_PATH on a held object, O_PATH or not. chown(2).
pub fn chown(object: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH;
    // SAFETY: the kernel reads an empty static string.
    let rc = unsafe { libc::fchownat(object.as_raw_fd(), c"".as_ptr(), uid, gid, flags) };
    check(rc.into()).map(|_| ())
}

/// `utimensat` with AT_EMPTY_PATH on a held object; `None` is now. utimensat(2).
pub fn utimens(object: BorrowedFd<'_>, times: Option<[libc::timespec; 2]>) -> Result<(), Errno> {
    let pointer = times.as_ref().map_or(std::ptr::null(), |times| times.as_ptr());
    // SAFETY: the kernel reads an empty static string and, unless null, two timespecs that outlive the call.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_utimensat,
            object.as_raw_fd(),
            c"".as_ptr(),
            pointer,
            libc::AT_EMPTY_PATH,
        )
    };
    check(rc).map(|_| ())
}

/// `ftruncate`. truncate(2).
pub fn ftruncate(fd: BorrowedFd<'_>, length: i64) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    let rc = unsafe { libc::ftruncate(fd.as_raw_fd(), length) };
    check(rc.into()).map(|_| ())
}

/// `setxattr` on a held object, through its `/proc/self/fd` name. setxattr(2).
pub fn setxattr(object: BorrowedFd<'_>, name: &CStr, value: &[u8], flags: i32) -> Result<(), Errno> {
    let path = FdPath::new(object.as_raw_fd());
    // SAFETY: the kernel reads both strings up to their NULs and `value.len()` bytes of the value; all outlive the call.
    let rc = unsafe {
        libc::setxattr(
            path.as_c_str().as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags,
        )
    };
    check(rc.into()).map(|_| ())
}

/// `removexattr` on a held object, through its `/proc/self/fd` name. removexattr(2).
pub fn removexattr(object: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let path = FdPath::new(object.as_raw_fd());
    // SAFETY: the kernel reads both strings up to their NULs; they outlive the call.
    let rc = unsafe { libc::removexattr(path.as_c_str().as_ptr(), name.as_ptr()) };
    check(rc.into()).map(|_| ())
}

/// `ioctl` that hands the kernel a block of bytes (FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR). ioctl_fs(2).
pub fn ioctl_write(fd: BorrowedFd<'_>, request: u64, data: &mut [u8]) -> Result<i64, Errno> {
    // SAFETY: `data` is at least as long as the request's number says (the caller of this function sized it by that number) and outlives the call.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), request, data.as_mut_ptr()) };
    check(rc.into())
}

/// `ioctl(TIOCGPTN)`: the number of the pty whose master `fd` is. ioctl_tty(2).
pub fn pty_number(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the kernel writes one unsigned int into `number`, which outlives the call.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    check(rc.into())?;
    Ok(number)
}

/// What F_SETFL sets. fcntl(2).
pub const STATUS_FLAGS: i32 = libc::O_APPEND | libc::O_ASYNC | libc::O_DIRECT | libc::O_NOATIME | libc::O_NONBLOCK;

/// Removes O_NONBLOCK or sets other status flags on an open description. fcntl(2), F_SETFL.
pub fn set_status_flags(fd: BorrowedFd<'_>, flags: i32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    let rc = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) };
    check(rc.into()).map(|_| ())
}

/// The status flags and access mode of an open description. fcntl(2), F_GETFL.
pub fn status_flags(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    // SAFETY: no memory is passed.
    i32::try_from(check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }.into())?).map_err(|_| Errno::EINVAL)
}

/// Whether a FIFO that was opened for reading without waiting has, or had since, a writer: `tee` of one byte consumes nothing, and tells 0 without
/// writers, EAGAIN with a writer that is silent; one that came and went shows as hung up (`pipe_poll`, fs/pipe.c). tee(2), poll(2).
pub fn fifo_has_writer(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (_reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK)?;
    // SAFETY: no memory is passed.
    match check(unsafe { libc::tee(fd.as_raw_fd(), writer.as_raw_fd(), 1, libc::SPLICE_F_NONBLOCK) } as libc::c_long) {
        Ok(0) => super::socket::poll(fd, 0, 0),
        Ok(_) | Err(Errno::EAGAIN) => Ok(true),
        Err(errno) => Err(errno),
    }
}
