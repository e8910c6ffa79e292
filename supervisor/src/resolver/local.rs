//! Lookups in nscd's way. glibc asks the socket of nscd before it opens anything: one connection, where hosts, resolv.conf and a server of
//! names are three calls that are decided.
//!
//! Answered are addresses of names that rules know and no file of the machine speaks of. Everything else ends the connection, and glibc goes on as
//! where no nscd runs.
//!
//! *Invariant:* the listener has no name, the boundary alone connects to it, and takes the other end in the same moment: whoever asks is known.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessage, MsgFlags, recv, send, sendmsg};

use super::lock;
use super::nscd::{self, Entry, HOSTS, Known, REQUEST_MAX, Request, Wanted};
use crate::sys::path::FdPath;
use crate::sys::{fs, socket};

/// Where glibc's clients look for nscd; nscd/nscd-client.h.
pub const SOCKETS: &[&[u8]] = &[b"/var/run/nscd/socket", b"/run/nscd/socket"];
/// Connections that have not asked yet; further ones are ended (I8).
const WAITING_MAX: usize = 256;

/// What is to be told of a name.
pub(super) enum Told {
    Nothing,
    Known(Known),
    /// When it has been asked for.
    Later,
}

/// Who knows names.
pub(super) trait Knower: Send + 'static {
    /// Who asks.
    type Who: Send + 'static;

    /// What is to be told of a name.
    fn known(&self, name: &str, wanted: Wanted, who: &Self::Who) -> Told;
    /// Asks for a name, and answers with [`answer`].
    fn ask(&self, name: String, wanted: Wanted, who: Self::Who, stream: UnixStream);
    /// All names that are known, and for how long that holds.
    fn all(&self, who: &Self::Who) -> (Vec<Entry>, Duration);
}

/// The listener, before anybody can connect.
pub(super) struct Unnamed {
    listener: UnixListener,
    node: OwnedFd,
}

impl Unnamed {
    /// Opens it below a folder of its own, and takes its name away.
    pub(super) fn open() -> io::Result<Self> {
        let folder = nix::unistd::mkdtemp(&std::env::temp_dir().join("cavra-XXXXXX"))?;
        let path = folder.join("names");
        let opened = Self::at(&path);
        let gone = std::fs::remove_file(&path).and(std::fs::remove_dir(&folder));
        let opened = opened?;
        gone?;
        // Who came while it had a name is nobody that asks.
        while opened.listener.accept().is_ok() {}
        Ok(opened)
    }

    fn at(path: &std::path::Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let node = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
            .open(path)?
            .into();
        Ok(Self { listener, node })
    }
}

/// Connections that wait for their question, by a number of their own.
type Waiting<W> = Mutex<HashMap<u64, (UnixStream, W)>>;

/// The boundary's side.
pub struct Local<W> {
    listener: UnixListener,
    address: Vec<u8>,
    _node: OwnedFd,
    /// The number of the next connection; none once a connection could not be taken, and would be taken for the next one.
    next: Mutex<Option<u64>>,
    waiting: Arc<Waiting<W>>,
    events: Arc<Epoll>,
}

impl<W: Send + 'static> Local<W> {
    /// Starts answering.
    pub(super) fn start(unnamed: Unnamed, knower: impl Knower<Who = W>) -> io::Result<Self> {
        let Unnamed { listener, node } = unnamed;
        let path = FdPath::new(node.as_raw_fd());
        let family = u16::try_from(libc::AF_UNIX).unwrap_or_default().to_ne_bytes();
        let local = Self {
            listener,
            address: [&family[..], path.as_c_str().to_bytes_with_nul()].concat(),
            _node: node,
            next: Mutex::new(Some(0)),
            waiting: Arc::default(),
            events: Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?),
        };
        let (waiting, events) = (local.waiting.clone(), local.events.clone());
        std::thread::Builder::new()
            .name("names here".into())
            .spawn(move || serve(&waiting, &events, &knower))?;
        Ok(local)
    }

    /// Connects a caller's socket; false where no nscd is there for it any more.
    pub fn connect(&self, caller: BorrowedFd<'_>, who: W) -> Result<bool, Errno> {
        let mut next = lock(&self.next);
        let Some(number) = *next else { return Ok(false) };
        socket::connect(caller, &self.address)?;
        let Ok((stream, _)) = self.listener.accept() else {
            *next = None;
            return Err(Errno::ECONNREFUSED);
        };
        *next = number.checked_add(1);
        drop(next);
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= WAITING_MAX {
            return Ok(true);
        }
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number);
        if self.events.add(&stream, event).is_ok() {
            waiting.insert(number, (stream, who));
        }
        Ok(true)
    }
}

/// Answers each connection's first message, and ends it.
fn serve<K: Knower>(waiting: &Waiting<K::Who>, events: &Epoll, knower: &K) {
    let mut came = [EpollEvent::empty(); 16];
    loop {
        let count = match events.wait(&mut came, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => continue,
            Err(error) => return tracing::error!(%error, "known names are not told at once any more"),
        };
        for event in came.iter().take(count) {
            // Closed at the end of its turn.
            let Some((stream, who)) = lock(waiting).remove(&event.data()) else {
                continue;
            };
            if let Err(error) = told(stream, who, knower) {
                tracing::debug!(%error, "a known name was not told");
            }
        }
    }
}

/// Tells what was asked for.
pub(super) fn answer(stream: &UnixStream, wanted: Wanted, known: &Known) {
    if let Some(bytes) = nscd::answer(wanted, known) {
        say(stream, &bytes);
    }
}

/// Tells that there is no address.
pub(super) fn no_address(stream: &UnixStream, wanted: Wanted) {
    say(stream, &nscd::no_address(wanted));
}

/// An empty buffer holds more than one answer; who is gone has asked in vain.
fn say(stream: &UnixStream, bytes: &[u8]) {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    if let Err(error) = send(stream.as_raw_fd(), bytes, flags) {
        tracing::debug!(%error, "a known name was not told");
    }
}

/// Reads a connection's question, and sees to its answer.
fn told<K: Knower>(stream: UnixStream, who: K::Who, knower: &K) -> io::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let mut room = [0; REQUEST_MAX + 1];
    let len = recv(stream.as_raw_fd(), &mut room, MsgFlags::MSG_DONTWAIT)?;
    match room.get(..len).and_then(nscd::request) {
        None => {}
        Some(Request::Name(name, wanted)) => match knower.known(&name, wanted, &who) {
            Told::Nothing => {}
            Told::Known(known) => answer(&stream, wanted, &known),
            Told::Later => knower.ask(name, wanted, who, stream),
        },
        Some(Request::Database) => {
            let (entries, lasts) = knower.all(&who);
            let database = nscd::database(&entries, SystemTime::now(), lasts);
            let Some(database) = database else { return Ok(()) };
            let sealed = fs::sealed(c"hosts", &database)?;
            let readable = fs::reopen(sealed.as_fd(), libc::O_RDONLY)?;
            let size = (database.len() as u64).to_ne_bytes();
            let parts = [IoSlice::new(HOSTS.to_bytes_with_nul()), IoSlice::new(&size)];
            let descriptors = [readable.as_raw_fd()];
            let message = [ControlMessage::ScmRights(&descriptors)];
            sendmsg::<()>(stream.as_raw_fd(), &parts, &message, flags, None)?;
        }
    }
    Ok(())
}

/// Whether glibc finds hosts by its files and by DNS only, as far as `nsswitch.conf` says: what other modules would answer is not known here.
pub(super) fn finds_by_dns(nsswitch: &str) -> bool {
    /// Those that have no say about names with a dot which are not `.local`, or are out of reach.
    const BESIDE: &[&str] = &[
        "resolve",
        "myhostname",
        "mymachines",
        "mdns4_minimal",
        "mdns6_minimal",
        "mdns_minimal",
    ];
    let line = nsswitch
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("hosts:"));
    let line = line.unwrap_or_default().split('#').next().unwrap_or_default();
    let mut modules = line
        .split_ascii_whitespace()
        .filter(|word| !word.starts_with('[') && !word.ends_with(']') && !BESIDE.contains(word));
    modules.next() == Some("files") && modules.next() == Some("dns") && modules.next().is_none()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn other_modules_are_left_their_say() {
        for (line, plain) in [
            ("hosts: files dns", true),
            (
                "passwd: files\nhosts:\tfiles mymachines resolve [!UNAVAIL=return] myhostname dns\n",
                true,
            ),
            ("hosts: files mdns4_minimal [NOTFOUND=return] dns # x", true),
            ("hosts: dns files", false),
            ("hosts: files", false),
            ("hosts: files ldap dns", false),
            ("passwd: files dns", false),
            ("", false),
        ] {
            assert_eq!(finds_by_dns(line), plain, "{line}");
        }
    }
}
