//! Lookups in nscd's way. glibc asks the socket of nscd before it opens anything: one connection, where hosts, resolv.conf and a server of
//! names are three calls that are decided.
//!
//! Answered are addresses that are known already, of names that no file of the machine speaks of. Everything else ends the connection, and glibc
//! goes on as where no nscd runs. The protocol is that of glibc's nscd/nscd-client.h.
//!
//! *Invariant:* the listener has no name, the boundary alone connects to it, and takes the other end in the same moment: whoever asks is known.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};

use crate::policy::canonical_name;
use crate::sys::path::FdPath;
use crate::sys::socket;

/// Where glibc's clients look for nscd; nscd/nscd-client.h.
pub const SOCKETS: &[&[u8]] = &[b"/var/run/nscd/socket", b"/run/nscd/socket"];
/// NSCD_VERSION.
const VERSION: i32 = 2;
/// GETHOSTBYNAME, GETHOSTBYNAMEv6 and GETAI: the types of requests that are answered.
const TYPES: &[(i32, Wanted)] = &[(4, Wanted::V4), (5, Wanted::V6), (14, Wanted::All)];
/// Bytes of a request: version, type, length of the key; the key with its NUL.
const HEADER: usize = 12;
const REQUEST_MAX: usize = HEADER + 256;
/// Connections that have not asked yet; further ones are ended (I8).
const WAITING_MAX: usize = 256;

/// What is asked of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Addresses of IPv4, for gethostbyname and for getaddrinfo where it wants these alone.
    V4,
    V6,
    /// All addresses, for getaddrinfo.
    All,
}

/// What is known of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Where its aliases lead.
    pub(super) last: String,
    pub(super) ips: Vec<IpAddr>,
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The boundary's side.
pub struct Local<W> {
    listener: UnixListener,
    address: Vec<u8>,
    _node: OwnedFd,
    /// The number of the next connection; none once a connection could not be taken, and would be taken for the next one.
    next: Mutex<Option<u64>>,
    waiting: Arc<Waiting<W>>,
    events: Arc<Epoll>,
    /// Whether there is anything to tell. Until then programs are spared the question.
    pub(super) knows: Arc<AtomicBool>,
}

impl<W: Send + 'static> Local<W> {
    /// Starts answering with what `known` says of a name.
    pub(super) fn start(
        unnamed: Unnamed,
        knows: Arc<AtomicBool>,
        known: impl Fn(&str, Wanted, W) -> Option<Known> + Send + 'static,
    ) -> io::Result<Self> {
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
            knows,
        };
        let (waiting, events) = (local.waiting.clone(), local.events.clone());
        std::thread::Builder::new()
            .name("names here".into())
            .spawn(move || serve(&waiting, &events, known))?;
        Ok(local)
    }

    /// Connects a caller's socket; false where nothing can be told, and no nscd is there for it.
    pub fn connect(&self, caller: BorrowedFd<'_>, who: W) -> Result<bool, Errno> {
        if !self.knows.load(Ordering::Acquire) {
            return Ok(false);
        }
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
fn serve<W>(waiting: &Waiting<W>, events: &Epoll, known: impl Fn(&str, Wanted, W) -> Option<Known>) {
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
            let mut room = [0; REQUEST_MAX + 1];
            let flags = MsgFlags::MSG_DONTWAIT;
            let len = recv(stream.as_fd().as_raw_fd(), &mut room, flags).unwrap_or(0);
            let asked = room.get(..len).and_then(request);
            let told = asked.and_then(|(name, wanted)| Some(answer(wanted, &known(&name, wanted, who)?)));
            if let Some(told) = told {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                // An empty buffer holds more than this; one who is gone has asked in vain.
                if let Err(error) = send(stream.as_raw_fd(), &told, flags) {
                    tracing::debug!(%error, "a known name was not told");
                }
            }
        }
    }
}

/// What a whole request asks of which name.
pub(super) fn request(bytes: &[u8]) -> Option<(String, Wanted)> {
    let (head, key) = bytes.split_at_checked(HEADER)?;
    let word = |at: usize| Some(i32::from_ne_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (version, kind, len) = (word(0)?, word(4)?, word(8)?);
    let (_, wanted) = TYPES.iter().find(|(known, _)| *known == kind)?;
    if version != VERSION || usize::try_from(len) != Ok(key.len()) {
        return None;
    }
    let key = CStr::from_bytes_with_nul(key).ok()?;
    Some((canonical_name(key.to_str().ok()?).ok()?, *wanted))
}

/// `ai_response_header` with the addresses, their families and the name; or `hst_response_header` with the name, no aliases, and the addresses.
fn answer(wanted: Wanted, known: &Known) -> Vec<u8> {
    let (mut bytes, mut families) = (Vec::new(), Vec::new());
    for ip in &known.ips {
        match ip {
            IpAddr::V4(v4) => bytes.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes.extend_from_slice(&v6.octets()),
        }
        let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        families.push(u8::try_from(family).unwrap_or_default());
    }
    let name = [known.last.as_bytes(), b"\0"].concat();
    let len = |len: usize| i32::try_from(len).unwrap_or_default();
    let (count, size) = (len(known.ips.len()), len(bytes.len()));
    // Found, and no error.
    let (header, rest) = match wanted {
        Wanted::All => (
            vec![VERSION, 1, count, size, len(name.len()), 0],
            [bytes, families, name],
        ),
        Wanted::V4 => (
            vec![VERSION, 1, len(name.len()), 0, 4, count, 0],
            [name, bytes, Vec::new()],
        ),
        Wanted::V6 => (
            vec![VERSION, 1, len(name.len()), 0, 16, count, 0],
            [name, bytes, Vec::new()],
        ),
    };
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
    [header, rest.concat()].concat()
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

    fn asks(kind: i32, len: i32, key: &[u8]) -> Option<(String, Wanted)> {
        let head: Vec<u8> = [VERSION, kind, len]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        request(&[&head[..], key].concat())
    }

    #[test]
    fn only_a_whole_question_for_addresses_is_one() {
        for (kind, wanted) in TYPES {
            assert_eq!(asks(*kind, 9, b"Api.TEST\0"), Some(("api.test".to_owned(), *wanted)));
        }
        for (kind, len, key) in [
            (14, 8, &b"api.test"[..]),
            (14, 10, b"api.test\0"),
            (14, -1, b"api.test\0"),
            (14, 10, b"api.test\0\0"),
            (14, 9, b"api\0test\0"),
            (14, 9, b"api.\xffest\0"),
            (14, 0, b""),
            (0, 9, b"api.test\0"),
            (13, 6, b"hosts\0"),
        ] {
            assert_eq!(asks(kind, len, key), None, "{kind} {len} {key:?}");
        }
        assert_eq!(request(&[0; 11]), None);
        assert_eq!(request(&[0xff; REQUEST_MAX + 1]), None);
    }

    #[test]
    fn an_answer_has_addresses_families_and_the_name() {
        let known = |ips: &[&str]| Known {
            last: "b.test".to_owned(),
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        };
        let header = |bytes: &[u8], words: usize| -> Vec<i32> {
            let words = bytes.chunks_exact(4).take(words);
            words.map(|word| i32::from_ne_bytes(word.try_into().unwrap())).collect()
        };
        let bytes = answer(Wanted::All, &known(&["192.0.2.1", "2001:db8::1"]));
        assert_eq!(header(&bytes, 6), [2, 1, 2, 20, 7, 0]);
        assert_eq!(bytes.get(24..28), Some(&[192, 0, 2, 1][..]));
        assert_eq!(bytes.get(44..), Some(&b"\x02\x0ab.test\0"[..]));
        let bytes = answer(Wanted::V4, &known(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!(header(&bytes, 7), [2, 1, 7, 0, 4, 2, 0]);
        assert_eq!(bytes.get(28..), Some(&b"b.test\0\xc0\0\x02\x01\xc0\0\x02\x02"[..]));
    }

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
