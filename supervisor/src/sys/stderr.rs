//! Lines on stderr that never wait: who reads them, if anybody, is not ours, and the tree can fill the same pipe.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::LazyLock;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::fstat;

/// Bytes that a pipe takes whole or not at all; PIPE_BUF, include/uapi/linux/limits.h.
const WHOLE: usize = 4096;

/// An open file description of our own for the same pipe or terminal: O_NONBLOCK on the inherited one would be the agent's too. A file never
/// waits, and is written through the inherited one, whose offset it shares with the agent.
static OWN: LazyLock<Option<File>> = LazyLock::new(|| {
    let stat = fstat(io::stderr()).ok()?;
    if !matches!(stat.st_mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFCHR) {
        return None;
    }
    let path = format!("/proc/self/fd/{}", libc::STDERR_FILENO);
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .ok()
});

/// To be called before the first line: later, stderr's file may be out of reach.
pub fn prepare() {
    LazyLock::force(&OWN);
}

/// Writes one line, whole or not at all: what has no room is dropped. Of a longer one the first 4096 bytes.
pub fn say(line: &[u8]) {
    let line = line.get(..WHOLE).unwrap_or(line);
    if let Some(mut own) = OWN.as_ref() {
        drop(own.write_all(line));
        return;
    }
    // A socket can not be opened again, nor may another user's pipe.
    let stderr = io::stderr();
    if send(
        stderr.as_raw_fd(),
        line,
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
    ) != Err(Errno::ENOTSOCK)
    {
        return;
    }
    let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        let _full = nix::unistd::write(stderr.as_fd(), line);
    }
}

/// [`say`] as a writer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        say(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
