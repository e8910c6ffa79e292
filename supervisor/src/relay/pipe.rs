//! Bytes from one socket to another, each side closed as the other was.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use tokio::net::TcpStream;

use super::Carried;

/// Bytes that are moved at once. One buffer for all connections: what waits in one is in the kernel's buffers, and a Vec holds only what the other
/// side did not take at once.
const MOVED_MAX: usize = 128 * 1024;
/// How often a connection with one side closed is looked at: the closed side may be gone for good. Its kernel forgets such a socket after a
/// minute (tcp_fin_timeout), and the keepalive's next packet is then answered with a reset.
const HALF_OPEN: Duration = Duration::from_secs(60);
/// `TCP_CLOSE`; include/net/tcp_states.h.
const CLOSED: u8 = 7;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; MOVED_MAX]);
}

/// The two sockets of one connection.
pub(super) struct Ends<'s> {
    pub(super) client: &'s TcpStream,
    pub(super) upstream: &'s TcpStream,
}

/// Closes the sending side.
pub(super) fn shut(socket: &TcpStream) -> io::Result<()> {
    match shutdown(socket.as_raw_fd(), Shutdown::Write) {
        // Gone already.
        Ok(()) | Err(nix::errno::Errno::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Has the socket's closing tell the other side that something went wrong.
pub(super) fn reset(socket: &TcpStream) {
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // One that is gone needs no telling.
    let _gone = setsockopt(socket, sockopt::Linger, &linger);
}

/// Reads what there is behind `bytes`; false at the end.
pub(super) async fn read_more(socket: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        socket.readable().await?;
        let read = BUFFER.with_borrow_mut(|buffer| {
            let room = buffer.get_mut(..16 * 1024).unwrap_or_default();
            let len = socket.try_read(room)?;
            bytes.extend_from_slice(room.get(..len).unwrap_or_default());
            Ok(len)
        });
        match read {
            Ok(len) => return Ok(len > 0),
            Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes all of it.
pub(super) async fn write(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Moves bytes until `from` ends, and ends `to` then.
pub(super) async fn one_way(
    from: &TcpStream,
    to: &TcpStream,
    count: &AtomicU64,
    first: &(impl Fn(&[u8]) + ?Sized),
) -> io::Result<()> {
    loop {
        from.readable().await?;
        // Room first: what is read and not taken has to be kept, and copied for that.
        to.writable().await?;
        // The buffer is everybody's: nothing waits while it is held.
        let moved = BUFFER.with_borrow_mut(|buffer| {
            let len = from.try_read(buffer)?;
            let bytes = buffer.get(..len).unwrap_or_default();
            first(bytes);
            let taken = match to.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                other => other?,
            };
            Ok((len, bytes.get(taken..).unwrap_or_default().to_vec()))
        });
        match moved {
            Ok((0, _)) => return shut(to),
            Ok((len, rest)) => {
                count.fetch_add(len as u64, Ordering::Relaxed);
                write(to, &rest).await?;
            }
            Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Moves bytes both ways until both have ended.
pub(super) async fn both(ends: &Ends<'_>, carried: &Carried) -> io::Result<()> {
    let there = one_way(ends.client, ends.upstream, &carried.sent, &|_: &[u8]| ());
    let back = one_way(ends.upstream, ends.client, &carried.received, &|_: &[u8]| ());
    until_both(ends, there, back).await
}

/// The other direction, for as long as the side that has closed its own is there.
async fn rest(closed: &TcpStream, left: std::pin::Pin<&mut impl Future<Output = io::Result<()>>>) -> io::Result<()> {
    tokio::pin!(left);
    // Without it such a connection stays until the other side ends it.
    let _kept =
        setsockopt(closed, sockopt::KeepAlive, &true).and_then(|()| setsockopt(closed, sockopt::TcpKeepIdle, &75));
    loop {
        match tokio::time::timeout(HALF_OPEN, &mut left).await {
            Ok(ended) => return ended,
            Err(_) if crate::sys::socket::tcp_state(closed.as_fd())? == CLOSED => {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Err(_) => {}
        }
    }
}

/// Two directions; when one has ended well the other has its time, when one has failed both have.
pub(super) async fn until_both(
    ends: &Ends<'_>,
    there: impl Future<Output = io::Result<()>>,
    back: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio::pin!(there, back);
    tokio::select! {
        ended = &mut there => {
            ended?;
            rest(ends.client, back).await
        }
        ended = &mut back => {
            ended?;
            rest(ends.upstream, there).await
        }
    }
}
