//! What glibc and nscd say to each other about hosts, as far as it is answered: nscd/nscd-client.h of glibc, version 2.
//!
//! A lookup is one request on a connection, or none: asked for its database, nscd hands over a file that clients map and search by themselves. Ours
//! is written once and sealed. It says of itself that it is out of date from the moment in which the first of its answers ends; clients ask for
//! the next one then.

use std::ffi::CStr;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::policy::canonical_name;

/// NSCD_VERSION.
const VERSION: i32 = 2;
const GETFDHST: i32 = 13;
const GETAI: i32 = 14;
/// GETHOSTBYNAME, GETHOSTBYNAMEv6 and GETAI.
const TYPES: &[(i32, Wanted)] = &[(4, Wanted::V4), (5, Wanted::V6), (GETAI, Wanted::All)];
/// Bytes of a request: version, type, length of the key; the key with its NUL.
const HEADER: usize = 12;
pub(super) const REQUEST_MAX: usize = HEADER + 256;
/// What the database of hosts is asked for by.
pub(super) const HOSTS: &CStr = c"hosts";

/// DB_VERSION.
const DATABASE_VERSION: i32 = 2;
/// `struct database_pers_head`.
const DATABASE_HEAD: usize = 120;
/// Its table of one chain, in units of 16 bytes.
const DATABASE_TABLE: usize = 16;
/// `struct hashentry` and `struct datahead`, on machines of 64 bits.
const ENTRY: usize = 32;
const DATA_HEAD: usize = 24;
/// MAPPING_TIMEOUT: how long after its time a database is out of date.
const MAPPING_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// ENDREF.
const END: u32 = u32::MAX;

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Name(String, Wanted),
    /// The database of all hosts.
    Database,
}

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

/// What a whole request asks for.
pub(super) fn request(bytes: &[u8]) -> Option<Request> {
    let (head, key) = bytes.split_at_checked(HEADER)?;
    let word = |at: usize| Some(i32::from_ne_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (version, kind, len) = (word(0)?, word(4)?, word(8)?);
    if version != VERSION || usize::try_from(len) != Ok(key.len()) {
        return None;
    }
    let key = CStr::from_bytes_with_nul(key).ok()?;
    if kind == GETFDHST && key == HOSTS {
        return Some(Request::Database);
    }
    let (_, wanted) = TYPES.iter().find(|(known, _)| *known == kind)?;
    Some(Request::Name(canonical_name(key.to_str().ok()?).ok()?, *wanted))
}

/// `ai_response_header` with the addresses, their families and the name; or `hst_response_header` with the name, no aliases, and the addresses.
pub(super) fn answer(wanted: Wanted, known: &Known) -> Vec<u8> {
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

/// The database of hosts with these names, out of date after `lasts`. None where it would be beyond what its references can say.
pub(super) fn database(names: &[(String, Known)], now: SystemTime, lasts: Duration) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    for (at, (name, known)) in names.iter().enumerate() {
        let answer = answer(Wanted::All, known);
        let key_len = name.len() + 1;
        let start = data.len();
        let packet = (start + ENTRY + key_len).next_multiple_of(8);
        let next = (packet + DATA_HEAD + answer.len()).next_multiple_of(16);
        let number = |value: usize| u32::try_from(value).ok();
        let chained = if at + 1 < names.len() { number(next)? } else { END };
        // The type and that the entry is the key's first, in a byte each; length, key, owner, next entry, answer; a pointer of nscd's own.
        data.extend([u8::try_from(GETAI).ok()?, 1, 0, 0]);
        for word in [
            number(key_len)?,
            number(start + ENTRY)?,
            0,
            chained,
            number(packet)?,
            0,
            0,
        ] {
            data.extend(word.to_ne_bytes());
        }
        data.extend(name.as_bytes());
        data.resize(packet, 0);
        // Both sizes, the end of its time (nscd's own), found, usable; the TTL.
        let (allocated, size) = (number(DATA_HEAD + answer.len())?, number(answer.len())?);
        data.extend([allocated.to_ne_bytes(), size.to_ne_bytes()].concat());
        data.extend([0; 8]);
        data.extend([0, 0, 1, 0]);
        data.extend(0_u32.to_ne_bytes());
        data.extend(answer);
        data.resize(next, 0);
    }
    let time = (now + lasts).checked_sub(MAPPING_TIMEOUT)?;
    let time = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let (size, count) = (i32::try_from(data.len()).ok()?, i32::try_from(names.len()).ok()?);
    let head = i32::try_from(DATABASE_HEAD).ok()?;
    let mut bytes = Vec::with_capacity(DATABASE_HEAD + DATABASE_TABLE + data.len());
    // No collection of garbage goes on, and no nscd that would renew the time.
    for word in [DATABASE_VERSION, head, 0, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(time.to_ne_bytes());
    // Four words of extensions; chains, bytes, bytes used, entries and the most that there were, and steps of a search.
    for word in [0, 0, 0, 0, 1, size, size, count, count, count] {
        bytes.extend(word.to_ne_bytes());
    }
    // Seven counters.
    bytes.resize(DATABASE_HEAD, 0);
    bytes.extend(if names.is_empty() { END } else { 0 }.to_ne_bytes());
    bytes.resize(DATABASE_HEAD + DATABASE_TABLE, 0);
    bytes.extend(data);
    Some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn asks(kind: i32, len: i32, key: &[u8]) -> Option<Request> {
        let head: Vec<u8> = [VERSION, kind, len]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        request(&[&head[..], key].concat())
    }

    #[test]
    fn only_a_whole_question_for_addresses_is_one() {
        for (kind, wanted) in TYPES {
            assert_eq!(
                asks(*kind, 9, b"Api.TEST\0"),
                Some(Request::Name("api.test".to_owned(), *wanted))
            );
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
            (13, 7, b"passwd\0"),
            (12, 6, b"hosts\0"),
        ] {
            assert_eq!(asks(kind, len, key), None, "{kind} {len} {key:?}");
        }
        assert_eq!(asks(13, 6, b"hosts\0"), Some(Request::Database));
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

    /// Searches as glibc does (__nscd_cache_search), and returns the answer with its header.
    fn search<'d>(database: &'d [u8], key: &[u8]) -> Option<&'d [u8]> {
        let word = |at: usize| u32::from_ne_bytes(database.get(at..at + 4).unwrap().try_into().unwrap());
        let data = 136;
        assert_eq!([word(0), word(4), word(40)], [2, 120, 1]);
        assert_eq!(usize::try_from(word(44)).unwrap(), database.len() - data);
        let mut work = word(120);
        while work != u32::MAX {
            let at = data + usize::try_from(work).unwrap();
            assert_eq!(at % 8, 0);
            let (len, name, packet) = (word(at + 4), word(at + 8), word(at + 20));
            let name = data + usize::try_from(name).unwrap();
            if database.get(at) == Some(&14)
                && usize::try_from(len).unwrap() == key.len()
                && database.get(name..name + key.len()) == Some(key)
            {
                let packet = data + usize::try_from(packet).unwrap();
                assert_eq!((packet % 8, database.get(packet + 18)), (0, Some(&1)));
                let end = packet + usize::try_from(word(packet)).unwrap();
                return database.get(packet + 24..end);
            }
            work = word(at + 16);
        }
        None
    }

    #[test]
    fn a_database_is_found_through_as_glibc_does() {
        let known = |ip: &str| Known {
            last: "x.test".to_owned(),
            ips: vec![ip.parse().unwrap()],
        };
        let names: Vec<(String, Known)> = (0..40)
            .map(|n| (format!("{}.test", "n".repeat(n + 1)), known(&format!("192.0.2.{n}"))))
            .collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let bytes = database(&names, now, Duration::from_secs(60)).unwrap();
        for (name, known) in &names {
            let found = search(&bytes, format!("{name}\0").as_bytes());
            assert_eq!(found, Some(&answer(Wanted::All, known)[..]), "{name}");
        }
        assert_eq!(search(&bytes, b"other.test\0"), None);
        // Out of date five minutes after its time.
        assert_eq!(bytes.get(16..24), Some(&(1_000_060_u64 - 300).to_ne_bytes()[..]));
        assert_eq!(search(&database(&[], now, Duration::ZERO).unwrap(), b"n.test\0"), None);
    }
}
