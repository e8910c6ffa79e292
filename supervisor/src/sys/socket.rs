//! Socket calls on duplicates of a caller's descriptors.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{check, owned};

/// `struct sockaddr_storage`: the largest address that the kernel reads. socket(7).
pub const ADDRESS_MAX: usize = 128;

fn len(bytes: &[u8]) -> Result<libc::socklen_t, Errno> {
    libc::socklen_t::try_from(bytes.len()).map_err(|_| Errno::EINVAL)
}

/// `connect`. connect(2).
pub fn connect(fd: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads `address.len()` bytes, which outlive the call.
    let rc = unsafe { libc::connect(fd.as_raw_fd(), address.as_ptr().cast(), len(address)?) };
    check(rc.into()).map(|_| ())
}

/// `bind`. bind(2).
pub fn bind(fd: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads `address.len()` bytes, which outlive the call.
    let rc = unsafe { libc::bind(fd.as_raw_fd(), address.as_ptr().cast(), len(address)?) };
    check(rc.into()).map(|_| ())
}

/// `listen`. listen(2).
pub fn listen(fd: BorrowedFd<'_>, backlog: i32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) }.into()).map(|_| ())
}

/// `TCP_DEFER_ACCEPT`: a listener's connections are there to be accepted once they have sent something, or this many seconds have passed. tcp(7).
pub fn defer_accept(fd: BorrowedFd<'_>, seconds: i32) -> Result<(), Errno> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// `NETLINK_ADD_MEMBERSHIP` and `NETLINK_DROP_MEMBERSHIP`: whether a netlink socket is told what is sent to this group. netlink(7).
pub fn set_membership(fd: BorrowedFd<'_>, group: i32, told: bool) -> Result<(), Errno> {
    let name = if told {
        libc::NETLINK_ADD_MEMBERSHIP
    } else {
        libc::NETLINK_DROP_MEMBERSHIP
    };
    set_int(fd, libc::SOL_NETLINK, name, group)
}

/// `sendmsg` of one piece of data with ancillary data as it stands in `control` (struct cmsghdr after struct cmsghdr) and an address, either of
/// which may be empty. sendmsg(2).
pub fn send_message(
    fd: BorrowedFd<'_>,
    address: &[u8],
    data: &[u8],
    control: &[u8],
    flags: i32,
) -> Result<usize, Errno> {
    // The kernel wants struct cmsghdr where it copies from nowhere in particular: no alignment is asked of `control`.
    let pointer = |bytes: &[u8]| -> *mut libc::c_void {
        if bytes.is_empty() {
            std::ptr::null_mut()
        } else {
            bytes.as_ptr().cast_mut().cast()
        }
    };
    let mut part = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: zeroes are a valid struct msghdr: null pointers with lengths of nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = pointer(address);
    message.msg_namelen = len(address)?;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = pointer(control);
    message.msg_controllen = control.len();
    // SAFETY: the kernel reads the header and what it points at, `address`, `data` and `control` in their lengths, and writes to none of them.
    let rc = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags | libc::MSG_NOSIGNAL) };
    usize::try_from(check(rc as libc::c_long)?).map_err(|_| Errno::EIO)
}

/// `SO_SNDTIMEO`: how long a send may wait; None for as long as it takes. socket(7).
pub fn send_patience(fd: BorrowedFd<'_>) -> Result<Option<std::time::Duration>, Errno> {
    let time = nix::sys::socket::getsockopt(&fd, nix::sys::socket::sockopt::SendTimeout)?;
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
    let patience = std::time::Duration::from_secs(seconds) + std::time::Duration::from_micros(micros);
    Ok((!patience.is_zero()).then_some(patience))
}

/// `shutdown(SHUT_WR)` of a datagram socket: from now on it sends nothing, whoever holds it. shutdown(2).
pub fn mute_for_good(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    match check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) }.into()) {
        // Shut, and told that it was not connected (inet_shutdown, net/ipv4/af_inet.c).
        Ok(_) | Err(Errno::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// `socket`. socket(2).
pub fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    owned(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) }.into())
}

/// A datagram socket of a family (AF_INET, AF_INET6) that receives and can send nothing, whoever holds it: shut for writing. `flags` may be
/// SOCK_NONBLOCK. socket(2), shutdown(2).
pub fn mute(family: i32, flags: i32) -> Result<OwnedFd, Errno> {
    let fd = socket(family, libc::SOCK_DGRAM | flags, libc::IPPROTO_UDP)?;
    mute_for_good(fd.as_fd())?;
    Ok(fd)
}

/// The state of a TCP socket as `TCP_INFO` numbers it; include/net/tcp_states.h. tcp(7).
pub fn tcp_state(fd: BorrowedFd<'_>) -> Result<u8, Errno> {
    let mut state = 0u8;
    let mut len: libc::socklen_t = 1;
    // SAFETY: the kernel writes at most `len` bytes, the first field of struct tcp_info, into `state`; both outlive the call.
    let rc = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut len,
        )
    };
    check(rc.into())?;
    Ok(state)
}

/// An int-valued option at SOL_SOCKET. socket(7).
pub fn option(fd: BorrowedFd<'_>, name: i32) -> Result<i32, Errno> {
    let mut value: libc::c_int = 0;
    let mut len: libc::socklen_t = 4;
    // SAFETY: the kernel writes at most `len` bytes into `value`; both outlive the call.
    let rc = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    check(rc.into())?;
    Ok(value)
}

/// Whether calls on the socket end by themselves after a time: `SO_SNDTIMEO`. socket(7).
pub fn has_send_timeout(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut value = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut len = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `value`; both outlive the call.
    let rc = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDTIMEO,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    check(rc.into())?;
    Ok(value.tv_sec != 0 || value.tv_usec != 0)
}

/// Sets an int-valued option at SOL_SOCKET. socket(7).
pub fn set_option(fd: BorrowedFd<'_>, name: i32, value: i32) -> Result<(), Errno> {
    set_int(fd, libc::SOL_SOCKET, name, value)
}

fn set_int(fd: BorrowedFd<'_>, level: i32, name: i32, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the kernel reads four bytes of `value`, which outlives the call.
    let rc = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), 4) };
    check(rc.into()).map(|_| ())
}

/// `SO_COOKIE`: the number that no other socket of this boot has. socket(7).
pub fn cookie(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut value = 0u64;
    let mut len: libc::socklen_t = 8;
    // SAFETY: the kernel writes at most `len` bytes into `value`; both outlive the call.
    let rc = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    check(rc.into())?;
    Ok(value)
}

/// The address that a socket is bound to, as raw bytes. getsockname(2).
pub fn local_address(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0u8; ADDRESS_MAX];
    let mut len = len(&bytes)?;
    // SAFETY: the kernel writes at most `len` bytes into `bytes`; both outlive the call.
    let rc = unsafe { libc::getsockname(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), &raw mut len) };
    check(rc.into())?;
    bytes.truncate(usize::try_from(len).unwrap_or(0));
    Ok(bytes)
}

/// `poll` of one descriptor; whether any of `events` (or an error) came within `timeout_ms`. poll(2).
pub fn poll(fd: BorrowedFd<'_>, events: i16, timeout_ms: i32) -> Result<bool, Errno> {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: the kernel reads and writes one struct pollfd, which outlives the call.
    Ok(check(unsafe { libc::poll(&raw mut entry, 1, timeout_ms) }.into())? > 0)
}
