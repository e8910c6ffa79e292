//! TLS: the hello's name, and then the bytes.
//!
//! A server may ask for a second hello (HelloRetryRequest; RFC 8446, 4.1.4), and some go by that one alone. Until the server has plainly accepted the
//! first, the client's records are looked at, and a further hello must mean the same name.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use super::hello::{self, Hello};
use super::{Carried, Guard, Plan, pipe};

/// A fatal alert, access_denied; RFC 8446, 6.
const DENIED: &[u8] = &[21, 3, 1, 0, 2, 2, 49];
/// `Random` of a ServerHello that asks for another hello; RFC 8446, 4.1.3.
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// A record's head, a handshake message's head, a version and a random.
const SERVER_HELLO: usize = 5 + 4 + 2 + 32;

/// The first bytes of the server.
#[derive(Default)]
struct Server(Mutex<Vec<u8>>);

impl Server {
    fn see(&self, bytes: &[u8]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = SERVER_HELLO - known.len();
        known.extend(bytes.iter().take(missing));
    }

    /// Whether it has answered with a hello that is no request for another.
    fn settled(&self) -> bool {
        settled(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn settled(first: &[u8]) -> bool {
    match first {
        [22, 3, _, high, low, 2, _, _, _, _, _, random @ ..] => {
            u16::from_be_bytes([*high, *low]) >= 38 && random.len() == RETRY.len() && *random != RETRY
        }
        _ => false,
    }
}

/// What stands at the front of the client's bytes behind its hello.
#[derive(Debug, PartialEq, Eq)]
enum Front {
    /// Too little to say.
    Unknown,
    /// A record of this length that is no hello.
    Record(usize),
    /// The beginning of a hello.
    Hello,
    /// Another message of the handshake: a server that waited for a hello ends here.
    Handshake,
}

fn front(bytes: &[u8]) -> Front {
    match bytes {
        [22, _, _, _, _, 1, ..] => Front::Hello,
        [22, _, _, _, _, _, ..] => Front::Handshake,
        [22, ..] => Front::Unknown,
        [_, _, _, high, low, ..] => Front::Record(5 + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => Front::Unknown,
    }
}

/// Reads a ClientHello, and carries on where its name is one that may be meant.
pub(super) async fn carry<G: Guard>(
    guard: &G,
    plan: &Plan<G::Who>,
    ends: &pipe::Ends<'_>,
    carried: &Carried,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let why = loop {
        if !pipe::read_more(ends.client, &mut bytes).await? {
            // It never said anything; nor does anybody else.
            return pipe::shut(ends.upstream);
        }
        match hello::read(&bytes) {
            Hello::Partial => {}
            Hello::Other => break "no TLS, where TLS is to prove the name (`verify=none` lets it through)",
            Hello::Malformed(why) => break why,
            Hello::Whole { encrypted: true, .. } => {
                break "a part of the hello is encrypted (ECH): the name can not be proved (`verify=none` lets it through)";
            }
            Hello::Whole { name: None, .. } => break "the hello names no host (`verify=none` lets it through)",
            Hello::Whole {
                name: Some(name), len, ..
            } => {
                if !guard.may_mean(plan, &name) {
                    pipe::write(ends.client, DENIED).await?;
                    return pipe::shut(ends.client);
                }
                let _first = carried.name.set(name.clone());
                let server = Server::default();
                let see = |bytes: &[u8]| server.see(bytes);
                let there = client(guard, plan, ends, carried, (&server, &name, bytes, len));
                let back = pipe::one_way(ends.upstream, ends.client, &carried.received, &see);
                return pipe::until_both(ends, there, back).await;
            }
        }
    };
    guard.refused(plan, why);
    pipe::write(ends.client, DENIED).await?;
    pipe::shut(ends.client)
}

/// The client's side from its first hello, `len` bytes of `queue`, on.
async fn client<G: Guard>(
    guard: &G,
    plan: &Plan<G::Who>,
    ends: &pipe::Ends<'_>,
    carried: &Carried,
    (server, name, mut queue, mut len): (&Server, &str, Vec<u8>, usize),
) -> io::Result<()> {
    loop {
        // Of a record that is no hello, what there is of it goes on at once.
        while len > 0 {
            let now = len.min(queue.len());
            pipe::write(ends.upstream, queue.get(..now).unwrap_or_default()).await?;
            carried.sent.fetch_add(now as u64, Ordering::Relaxed);
            queue.drain(..now);
            len -= now;
            if len > 0 && !pipe::read_more(ends.client, &mut queue).await? {
                return pipe::shut(ends.upstream);
            }
        }
        if server.settled() {
            break;
        }
        let more = match front(&queue) {
            Front::Record(record) => {
                len = record;
                false
            }
            Front::Handshake => break,
            Front::Unknown => true,
            Front::Hello => match hello::read(&queue) {
                Hello::Partial => true,
                Hello::Whole {
                    name: Some(second),
                    encrypted: false,
                    len: whole,
                } if second == name => {
                    len = whole;
                    false
                }
                Hello::Whole { .. } | Hello::Other | Hello::Malformed(_) => {
                    guard.refused(plan, "a second hello that does not mean the name of the first");
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
            },
        };
        if more && !pipe::read_more(ends.client, &mut queue).await? {
            break;
        }
    }
    pipe::write(ends.upstream, &queue).await?;
    carried.sent.fetch_add(queue.len() as u64, Ordering::Relaxed);
    drop(queue);
    pipe::one_way(ends.client, ends.upstream, &carried.sent, &|_: &[u8]| ()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_server_hello_settles_it() {
        let hello = |len: u8, random: &[u8]| [&[22, 3, 3, 0, len, 2, 0, 0, 90, 3, 3][..], random].concat();
        for (first, wanted) in [
            (hello(94, &[7; 32]), true),
            (hello(94, &RETRY), false),
            (hello(94, &[7; 31]), false),
            (hello(1, &[7; 32]), false),
            (vec![], false),
            (vec![21, 3, 3, 0, 2, 2, 40], false),
        ] {
            assert_eq!(settled(&first), wanted, "{first:?}");
        }
    }

    #[test]
    fn records_behind_the_hello_are_told_apart() {
        for (bytes, wanted) in [
            (&[][..], Front::Unknown),
            (&[22, 3, 3, 0, 9], Front::Unknown),
            (&[22, 3, 3, 0, 9, 1], Front::Hello),
            (&[22, 3, 3, 0, 9, 16], Front::Handshake),
            (&[20, 3, 3, 0], Front::Unknown),
            (&[20, 3, 3, 0, 1], Front::Record(6)),
            (&[23, 3, 3, 1, 0, 1], Front::Record(261)),
        ] {
            assert_eq!(front(bytes), wanted, "{bytes:?}");
        }
    }
}
