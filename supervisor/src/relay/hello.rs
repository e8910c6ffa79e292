//! The ClientHello: which name a client means, read from bytes as they come, however they are cut into segments and records.
//! RFC 8446, 4.1.2 and 5.1; RFC 6066, 3.
//!
//! Nothing of it is changed or answered here. What is not certain to mean the same to every server is malformed: two names, two
//! server_name extensions, a name that is no host's.

use crate::policy::canonical_name;

/// Bytes of a hello with its records: clients send 0.3 to 2 KiB, with a large ticket some more; each connection may hold as many (I8).
pub(super) const HELLO_MAX: usize = 32_768;
/// Bytes of one record's content; RFC 8446, 5.1.
const RECORD_MAX: usize = 16_384;
/// ContentType handshake.
const HANDSHAKE: u8 = 22;
/// HandshakeType client_hello.
const CLIENT_HELLO: u8 = 1;
/// ExtensionType server_name.
const SERVER_NAME: u16 = 0;
/// ExtensionType encrypted_client_hello; RFC 9849.
const ENCRYPTED_HELLO: u16 = 0xfe0d;
/// ExtensionType encrypted_server_name, of drafts before it.
const ENCRYPTED_NAME: u16 = 0xffce;

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// The beginning of a hello.
    Partial,
    /// A whole one.
    Whole {
        /// The name, in its one spelling.
        name: Option<String>,
        /// Whether a part of it is encrypted: another name may stand there.
        encrypted: bool,
        /// Bytes of its records.
        len: usize,
    },
    /// No TLS.
    Other,
    /// TLS, and not to be trusted to mean the same to everybody.
    Malformed(&'static str),
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    fn number(&mut self, len: usize) -> Option<usize> {
        Some(
            self.take(len)?
                .iter()
                .fold(0, |value, byte| (value << 8) | usize::from(*byte)),
        )
    }

    /// A vector with its length in front.
    fn vector(&mut self, len: usize) -> Option<Self> {
        let size = self.number(len)?;
        self.take(size).map(Reader)
    }
}

/// Reads what has come so far.
pub(super) fn read(bytes: &[u8]) -> Hello {
    let mut message = Vec::new();
    let mut rest = Reader(bytes);
    loop {
        match rest.0 {
            [] => break,
            [HANDSHAKE] | [HANDSHAKE, 3, ..] => {}
            _ if message.is_empty() => return Hello::Other,
            _ => return Hello::Malformed("something else between the parts of a hello"),
        }
        let (Some(_), Some(len)) = (rest.take(3), rest.number(2)) else {
            break;
        };
        if len == 0 || len > RECORD_MAX {
            return Hello::Malformed("a record of no or too many bytes");
        }
        let available = rest.0.len().min(len);
        message.extend_from_slice(rest.take(available).unwrap_or_default());
        if available < len {
            break;
        }
        match whole(&message) {
            Some(whole) if message.len() == whole => {
                let len = bytes.len() - rest.0.len();
                return parse(&message, len).unwrap_or(Hello::Malformed("lengths that do not fit"));
            }
            Some(whole) if message.len() > whole => {
                return Hello::Malformed("something behind the hello in its own record");
            }
            _ => {}
        }
    }
    match message.first() {
        Some(&CLIENT_HELLO) | None if bytes.len() < HELLO_MAX => Hello::Partial,
        Some(&CLIENT_HELLO) | None => Hello::Malformed("more bytes than any hello has"),
        Some(_) => Hello::Malformed("a handshake that does not begin with a hello"),
    }
}

/// Bytes of the handshake message, once its head is there.
fn whole(message: &[u8]) -> Option<usize> {
    let mut reader = Reader(message);
    reader.take(1)?;
    Some(4 + reader.number(3)?)
}

fn parse(message: &[u8], len: usize) -> Option<Hello> {
    let mut reader = Reader(message);
    if reader.number(1)? != usize::from(CLIENT_HELLO) {
        return Some(Hello::Malformed("a handshake that does not begin with a hello"));
    }
    let mut body = reader.vector(3)?;
    body.take(2 + 32)?;
    body.vector(1)?;
    body.vector(2)?;
    body.vector(1)?;
    if body.0.is_empty() {
        // A hello of before extensions.
        return Some(Hello::Whole {
            name: None,
            encrypted: false,
            len,
        });
    }
    let mut extensions = body.vector(2)?;
    if !body.0.is_empty() {
        return None;
    }
    let (mut name, mut encrypted, mut named) = (None, false, false);
    while !extensions.0.is_empty() {
        let kind = u16::try_from(extensions.number(2)?).ok()?;
        let mut data = extensions.vector(2)?;
        match kind {
            SERVER_NAME if named => return Some(Hello::Malformed("two server_name extensions")),
            SERVER_NAME => {
                named = true;
                let mut list = data.vector(2)?;
                if !data.0.is_empty() {
                    return None;
                }
                let kind = list.number(1)?;
                let text = list.vector(2)?;
                if kind != 0 || !list.0.is_empty() {
                    return Some(Hello::Malformed("a server_name that is not one host's name"));
                }
                let text = std::str::from_utf8(text.0).ok().filter(|text| text.is_ascii());
                match text.map(canonical_name) {
                    Some(Ok(text)) => name = Some(text),
                    _ => return Some(Hello::Malformed("a server_name that is no host's name")),
                }
            }
            ENCRYPTED_HELLO | ENCRYPTED_NAME => encrypted = true,
            _ => {}
        }
    }
    Some(Hello::Whole { name, encrypted, len })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;

    fn vector(len: usize, data: &[u8]) -> Vec<u8> {
        [&data.len().to_be_bytes()[8 - len..], data].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(2, data)].concat()
    }

    fn sni(names: &[&str]) -> Vec<u8> {
        let list: Vec<u8> = names
            .iter()
            .flat_map(|name| [&[0][..], &vector(2, name.as_bytes())].concat())
            .collect();
        extension(SERVER_NAME, &vector(2, &list))
    }

    fn message(extensions: &[u8]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vector(1, &[9; 32]),
            &vector(2, &[0x13, 1]),
            &vector(1, &[0]),
            &vector(2, extensions),
        ]
        .concat();
        [&[CLIENT_HELLO][..], &vector(3, &body)].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message
            .chunks(size)
            .flat_map(|part| [&[HANDSHAKE, 3, 1][..], &vector(2, part)].concat())
            .collect()
    }

    fn named(name: &str, len: usize) -> Hello {
        Hello::Whole {
            name: Some(name.to_owned()),
            encrypted: false,
            len,
        }
    }

    #[test]
    fn the_name_is_found_however_the_hello_is_cut() {
        let grease = extension(0x2a2a, &[0; 300]);
        let message = message(
            &[
                grease,
                sni(&["API.Example.test."]),
                extension(16, &vector(2, &vector(1, b"h2"))),
            ]
            .concat(),
        );
        for size in [1, 2, 5, 17, 200, 10_000] {
            let bytes = records(&message, size);
            for cut in 1..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Hello::Partial, "record {size}, cut {cut}");
            }
            assert_eq!(read(&bytes), named("api.example.test", bytes.len()), "record {size}");
            // What follows a whole hello is not looked at.
            assert_eq!(
                read(&[&bytes[..], b"more"].concat()),
                named("api.example.test", bytes.len())
            );
        }
    }

    #[test]
    fn what_could_mean_two_things_is_malformed() {
        let malformed = |extensions: Vec<u8>| {
            let read = read(&records(&message(&extensions), 10_000));
            assert!(matches!(read, Hello::Malformed(_)), "{read:?}");
        };
        malformed([sni(&["a.test"]), sni(&["b.test"])].concat());
        malformed([sni(&["a.test"]), sni(&["a.test"])].concat());
        malformed(sni(&["a.test", "b.test"]));
        malformed(sni(&[]));
        malformed(sni(&["a.test\0b.test"]));
        malformed(sni(&["a..test"]));
        malformed(sni(&["b\u{fc}cher.test"]));
        malformed(extension(SERVER_NAME, &[0, 9, 0, 0, 1, b'a']));
        malformed(vec![0, 0, 0]);
        let whole = records(&message(&sni(&["a.test"])), 10);
        let mut mixed = whole.clone();
        mixed[15] = 23;
        assert!(matches!(read(&mixed), Hello::Malformed(_)));
        assert!(matches!(read(&[22, 3, 1, 0, 0]), Hello::Malformed(_)));
        assert!(matches!(read(&[22, 3, 1, 0xff, 0xff]), Hello::Malformed(_)));
        assert!(matches!(read(&[22, 3, 1, 0, 1, 2]), Hello::Malformed(_)));
        // A hello that promises 16 MB.
        let endless = [&[CLIENT_HELLO, 0xff, 0xff, 0xff][..], &vec![0; 70_000]].concat();
        assert!(matches!(read(&records(&endless, 16_000)), Hello::Malformed(_)));
    }

    #[test]
    fn absence_and_encryption_are_seen() {
        let seen = |extensions: &[u8]| match read(&records(&message(extensions), 99)) {
            Hello::Whole { name, encrypted, .. } => Some((name, encrypted)),
            Hello::Partial | Hello::Other | Hello::Malformed(_) => None,
        };
        assert_eq!(seen(&[]), Some((None, false)));
        let encrypted = [sni(&["a.test"]), extension(ENCRYPTED_HELLO, &[0; 40])].concat();
        assert_eq!(seen(&encrypted), Some((Some("a.test".into()), true)));
        assert_eq!(read(b""), Hello::Partial);
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Hello::Other);
        assert_eq!(read(b"SSH-2.0-x"), Hello::Other);
        assert_eq!(read(&[22, 2, 0]), Hello::Other);
        // SSLv2's hello.
        assert_eq!(read(&[0x80, 46, 1, 3, 1]), Hello::Other);
    }

    #[test]
    fn nothing_stands_behind_the_hello_in_its_record() {
        let (first, second) = (message(&sni(&["a.test"])), message(&sni(&["b.test"])));
        let both = records(&[&first[..], &second].concat(), 10_000);
        assert!(matches!(read(&both), Hello::Malformed(_)));
        let apart = [records(&first, 50), records(&second, 50)].concat();
        assert_eq!(read(&apart), named("a.test", records(&first, 50).len()));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = records(&message(&sni(&["a.test"])), 30);
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _any = read(&bytes);
            }
        }
    }
}
