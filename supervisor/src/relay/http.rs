//! The requests of plain HTTP/1: which host each one means, and where it ends, so that the next one on the connection is read too.
//! RFC 9112.
//!
//! What two servers could read differently (request smuggling) is malformed: both lengths, two hosts, folded or bare lines.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Carried, Guard, Plan, pipe};
use crate::policy::canonical_name;

/// Bytes of one request's head; servers take 8 to 64 KiB, and each connection may hold as many (I8).
const HEAD_MAX: usize = 32_768;
/// Header lines of one request.
const HEADERS_MAX: usize = 128;
/// Bytes of a chunk's size line with its extensions.
const CHUNK_LINE_MAX: usize = 4096;

/// What the bytes at the front of a connection's queue are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Too little to say.
    More,
    /// This many bytes belong to a request that was let through.
    Pass(usize),
    /// A whole head of this many bytes, for this host.
    Head { len: usize, host: String, upgrade: bool },
    /// Not plain HTTP/1, or not to be trusted.
    Malformed(&'static str),
}

/// Where in a request the connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In front of a head.
    #[default]
    Head,
    /// This many bytes of a body are to come.
    Body(u64),
    /// In front of a chunk's size.
    Size,
    /// This many bytes of a chunk, its line end included, are to come.
    Chunk(u64),
    /// In the trailer.
    Trailer,
}

/// The client's side of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    place: Place,
    next: Place,
}

impl Requests {
    /// Looks at the front of what waits to be sent. After [`Step::Head`] comes [`Self::pass`] where the host may be asked.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        if bytes.is_empty() {
            return Step::More;
        }
        match self.place {
            Place::Head => self.head(bytes),
            Place::Body(left) => {
                let now = left.min(bytes.len() as u64);
                self.place = if now == left {
                    Place::Head
                } else {
                    Place::Body(left - now)
                };
                Step::Pass(usize::try_from(now).unwrap_or(bytes.len()))
            }
            Place::Chunk(left) => {
                let now = left.min(bytes.len() as u64);
                self.place = if now == left {
                    Place::Size
                } else {
                    Place::Chunk(left - now)
                };
                Step::Pass(usize::try_from(now).unwrap_or(bytes.len()))
            }
            Place::Size => {
                let Some(end) = memchr::memmem::find(bytes, b"\r\n") else {
                    return if bytes.len() > CHUNK_LINE_MAX {
                        Step::Malformed("a chunk without a size")
                    } else {
                        Step::More
                    };
                };
                let line = bytes.get(..end).unwrap_or_default();
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let digits = std::str::from_utf8(digits)
                    .ok()
                    .map(|text| text.trim_end_matches([' ', '\t']));
                let plain = digits.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let Some(size) = plain.and_then(|text| u64::from_str_radix(text, 16).ok()) else {
                    return Step::Malformed("a chunk's size that is no number");
                };
                if memchr::memchr2(b'\n', b'\r', line).is_some() {
                    return Step::Malformed("a bare line end");
                }
                self.place = match size {
                    0 => Place::Trailer,
                    size => Place::Chunk(size.saturating_add(2)),
                };
                Step::Pass(end + 2)
            }
            Place::Trailer => match memchr::memmem::find(bytes, b"\r\n") {
                Some(0) => {
                    self.place = Place::Head;
                    Step::Pass(2)
                }
                Some(end) => Step::Pass(end + 2),
                None if bytes.len() > HEAD_MAX => Step::Malformed("a trailer without an end"),
                None => Step::More,
            },
        }
    }

    /// The head that was found may go on.
    pub(super) fn pass(&mut self) {
        self.place = self.next;
    }

    fn head(&mut self, bytes: &[u8]) -> Step {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
            let plausible = bytes
                .iter()
                .take(24)
                .take_while(|byte| **byte != b' ')
                .all(|byte| byte.is_ascii_uppercase() || *byte == b'-');
            return match bytes.len() {
                _ if !plausible => Step::Malformed("no request of HTTP/1"),
                0..HEAD_MAX => Step::More,
                _ => Step::Malformed("a head without an end"),
            };
        };
        let head = bytes.get(..end).unwrap_or_default();
        match parse(head) {
            Ok((host, next, upgrade)) => {
                self.next = next;
                Step::Head {
                    len: end,
                    host,
                    upgrade,
                }
            }
            Err(why) => Step::Malformed(why),
        }
    }
}

/// Host, what follows the head, and whether the connection is to become another protocol's.
fn parse(head: &[u8]) -> Result<(String, Place, bool), &'static str> {
    let bare = memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head.get(at - 1) != Some(&b'\r'));
    if bare || memchr::memchr_iter(b'\r', head).any(|at| head.get(at + 1) != Some(&b'\n')) {
        return Err("a bare line end");
    }
    let text = std::str::from_utf8(head).map_err(|_| "bytes that are no text")?;
    if text.bytes().any(|byte| byte == 0) {
        return Err("a NUL byte");
    }
    let mut lines = text.split("\r\n");
    let request = lines.next().unwrap_or_default();
    let mut words = request.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("no request line");
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || method == "CONNECT" || method == "PRI" || target.is_empty() {
        return Err("no request of HTTP/1 to a server of its own");
    }
    let (mut host, mut length, mut chunked, mut upgrade) = (None, None, false, false);
    for (count, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        if count >= HEADERS_MAX {
            return Err("too many header lines");
        }
        let (name, value) = line.split_once(':').ok_or("a header line without a colon")?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return Err("a header line that is folded or has no name");
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "host" if host.is_some() => return Err("two hosts"),
            "host" => host = Some(host_of(value)?),
            "content-length" => {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                let number: u64 = value
                    .parse()
                    .ok()
                    .filter(|_| digits)
                    .ok_or("a length that is no number")?;
                if length.is_some_and(|known| known != number) {
                    return Err("two lengths");
                }
                length = Some(number);
            }
            "transfer-encoding" if chunked || !value.eq_ignore_ascii_case("chunked") => {
                return Err("a transfer encoding other than chunked");
            }
            "transfer-encoding" => chunked = true,
            "upgrade" if value.eq_ignore_ascii_case("websocket") => upgrade = true,
            "upgrade" => return Err("an upgrade to another protocol than websocket"),
            _ => {}
        }
    }
    if chunked && length.is_some() {
        return Err("two lengths");
    }
    let mut named = host.ok_or("no host")?;
    if let Some(rest) = target
        .get(..7)
        .filter(|t| t.eq_ignore_ascii_case("http://"))
        .and(target.get(7..))
    {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let absolute = host_of(authority)?;
        if absolute != named {
            return Err("two hosts");
        }
        named = absolute;
    } else if !(target.starts_with('/') || target == "*") {
        return Err("a target that is no path");
    }
    let next = match (chunked, length) {
        (true, _) => Place::Size,
        (false, Some(0) | None) => Place::Head,
        (false, Some(length)) => Place::Body(length),
    };
    Ok((named, next, upgrade))
}

/// The first bytes of what the server says, for who waits to know whether it changes the protocol.
#[derive(Default)]
struct Beginning {
    bytes: Mutex<Vec<u8>>,
    seen: Notify,
}

/// As far as the status code.
const STATUS: usize = "HTTP/1.1 101".len();

impl Beginning {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, bytes: &[u8]) {
        let mut known = self.lock();
        if known.len() < STATUS {
            let missing = STATUS - known.len();
            known.extend(bytes.iter().take(missing));
            if known.len() >= STATUS || bytes.is_empty() {
                self.seen.notify_one();
            }
        }
    }

    async fn switches(&self) -> bool {
        let known = self.lock().len();
        if known < STATUS {
            self.seen.notified().await;
        }
        self.lock().as_slice() == b"HTTP/1.1 101"
    }
}

/// Carries a connection on which each request's host may be meant.
pub(super) async fn carry<G: Guard>(
    guard: &G,
    plan: &Plan<G::Who>,
    ends: &pipe::Ends<'_>,
    carried: &Carried,
) -> io::Result<()> {
    let beginning = Beginning::default();
    let refused = AtomicBool::new(false);
    let there = async {
        let result = requests(guard, plan, ends, &beginning, carried).await?;
        if let Err(why) = result {
            refused.store(true, Ordering::Relaxed);
            if beginning.lock().is_empty() {
                let body = format!("cavra: {why}\n");
                let head = format!(
                    "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                pipe::write(ends.client, (head + &body).as_bytes()).await?;
                pipe::shut(ends.client)?;
            }
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    };
    let see = |bytes: &[u8]| beginning.see(bytes);
    let back = pipe::one_way(ends.upstream, ends.client, &carried.received, &see);
    let whole = pipe::until_both(ends, there, back).await;
    // The client has its answer where it got one; only a half-answered one is cut off.
    if refused.load(Ordering::Relaxed) && beginning.lock().is_empty() {
        return Ok(());
    }
    whole
}

/// The client's side: request after request. The inner error says why a request is refused.
async fn requests<G: Guard>(
    guard: &G,
    plan: &Plan<G::Who>,
    ends: &pipe::Ends<'_>,
    beginning: &Beginning,
    carried: &Carried,
) -> io::Result<Result<(), &'static str>> {
    let (mut requests, mut queue) = (Requests::default(), Vec::new());
    loop {
        let len = match requests.step(&queue) {
            Step::More => {
                if pipe::read_more(ends.client, &mut queue).await? {
                    continue;
                }
                if !queue.is_empty() {
                    // The rest of a request that never ended.
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                pipe::shut(ends.upstream)?;
                return Ok(Ok(()));
            }
            Step::Malformed(why) => {
                guard.refused(plan, why);
                return Ok(Err(why));
            }
            Step::Head { len, host, upgrade } => {
                if !guard.may_mean(plan, &host) {
                    return Ok(Err("no rule allows this host here"));
                }
                // Later requests' answers can not be told from the first one's.
                if upgrade && carried.name.get().is_some() {
                    let why = "an upgrade that is not the connection's first request";
                    guard.refused(plan, why);
                    return Ok(Err(why));
                }
                let _first = carried.name.set(host);
                requests.pass();
                if upgrade {
                    pipe::write(ends.upstream, queue.get(..len).unwrap_or_default()).await?;
                    carried.sent.fetch_add(len as u64, Ordering::Relaxed);
                    queue.drain(..len);
                    if beginning.switches().await {
                        pipe::write(ends.upstream, &queue).await?;
                        carried.sent.fetch_add(queue.len() as u64, Ordering::Relaxed);
                        drop(queue);
                        return pipe::one_way(ends.client, ends.upstream, &carried.sent, &|_: &[u8]| ())
                            .await
                            .map(Ok);
                    }
                    continue;
                }
                len
            }
            Step::Pass(len) => len,
        };
        pipe::write(ends.upstream, queue.get(..len).unwrap_or_default()).await?;
        carried.sent.fetch_add(len as u64, Ordering::Relaxed);
        queue.drain(..len);
    }
}

/// The name in `host` or `host:port`.
fn host_of(text: &str) -> Result<String, &'static str> {
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => text,
    };
    canonical_name(name).map_err(|_| "a host that is no host's name")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    /// The hosts of all requests in a stream that comes in pieces of `size` bytes, or why it is refused.
    fn hosts(stream: &[u8], size: usize) -> Result<Vec<String>, &'static str> {
        let (mut requests, mut queue, mut hosts) = (Requests::default(), Vec::new(), Vec::new());
        for piece in stream.chunks(size) {
            queue.extend_from_slice(piece);
            loop {
                let len = match requests.step(&queue) {
                    Step::More => break,
                    Step::Pass(len) => len,
                    Step::Head { len, host, .. } => {
                        hosts.push(host);
                        requests.pass();
                        len
                    }
                    Step::Malformed(why) => return Err(why),
                };
                queue.drain(..len);
            }
        }
        if queue.is_empty() { Ok(hosts) } else { Err("rest") }
    }

    #[test]
    fn each_request_of_a_connection_is_read() {
        let stream = b"GET / HTTP/1.1\r\nHost: A.test\r\n\r\n\
            POST /x HTTP/1.1\r\nhost: b.test:80\r\nContent-Length: 11\r\n\r\nGET / HTTP/\
            PUT http://c.test/y HTTP/1.1\r\nHost: c.test\r\nTransfer-Encoding: chunked\r\n\r\n\
            5;x=y\r\nHost:\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nT: u\r\n\r\n\
            GET / HTTP/1.0\r\nHost: d.test.\r\n\r\n";
        for size in [1, 2, 3, 7, 50, 10_000] {
            assert_eq!(
                hosts(stream, size).unwrap(),
                ["a.test", "b.test", "c.test", "d.test"],
                "{size}"
            );
        }
    }

    #[test]
    fn what_two_servers_could_read_differently_is_refused() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
            "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "GET b.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "GET //b HTTP/2.0\r\nHost: a.test\r\n\r\n",
            "CONNECT b.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET / HTTP/1.1\nHost: a.test\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test\r\n X: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n",
            "GET / HTTP/1.1\r\nX\rHost: a.test\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test@b.test\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: h2c\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\nX\r\n",
            "\x16\x03\x01\x00",
        ] {
            assert!(hosts(head.as_bytes(), 9999).is_err(), "{head}");
        }
        assert!(hosts(&vec![b'A'; HEAD_MAX + 1], 9999).is_err());
    }
}
