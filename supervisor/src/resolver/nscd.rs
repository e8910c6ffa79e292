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
/// Where an entry has its chain's next one.
const NEXT: usize = 16;
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
    /// The name that was asked for and those that it is an alias of by and by, without the last.
    pub(super) aliases: Vec<String>,
    /// Where they lead.
    pub(super) last: String,
    pub(super) ips: Vec<IpAddr>,
}

impl Wanted {
    /// Whether an address is of a family that is wanted.
    pub(super) const fn takes(self, ip: IpAddr) -> bool {
        match self {
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
            Self::All => true,
        }
    }
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
    // Answers have the name in the spelling that was asked for.
    let name = canonical_name(key.to_str().ok()?).ok()?;
    (name.as_bytes() == key.to_bytes()).then_some(Request::Name(name, *wanted))
}

/// `ai_response_header` with the addresses, their families and the name; or `hst_response_header` with the name, the aliases' lengths, the addresses
/// of the one family, and the aliases. None of a family that is not known.
pub(super) fn answer(wanted: Wanted, known: &Known) -> Option<Vec<u8>> {
    let (mut bytes, mut families) = (Vec::new(), Vec::new());
    for ip in known.ips.iter().filter(|ip| wanted.takes(**ip)) {
        match ip {
            IpAddr::V4(v4) => bytes.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes.extend_from_slice(&v6.octets()),
        }
        let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        families.push(u8::try_from(family).ok()?);
    }
    let len = |len: usize| i32::try_from(len).ok();
    let count = len(families.len()).filter(|count| *count > 0)?;
    let name = [known.last.as_bytes(), b"\0"].concat();
    let (name_len, size) = (len(name.len())?, len(bytes.len())?);
    let of_family = |family, octets| -> Option<(Vec<i32>, Vec<u8>)> {
        let aliases: Vec<Vec<u8>> = known
            .aliases
            .iter()
            .map(|name| [name.as_bytes(), b"\0"].concat())
            .collect();
        let lens = aliases
            .iter()
            .map(|alias| u32::try_from(alias.len()).map(u32::to_ne_bytes));
        let lens = lens.collect::<Result<Vec<_>, _>>().ok()?.concat();
        let header = vec![VERSION, 1, name_len, len(aliases.len())?, family, octets, count, 0];
        Some((header, [&name[..], &lens, &bytes, &aliases.concat()].concat()))
    };
    // Found, and no error.
    let (header, rest) = match wanted {
        Wanted::All => (
            vec![VERSION, 1, count, size, name_len, 0],
            [&bytes[..], &families, &name].concat(),
        ),
        Wanted::V4 => of_family(libc::AF_INET, 4)?,
        Wanted::V6 => of_family(libc::AF_INET6, 16)?,
    };
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Some([header, rest].concat())
}

/// The header of a name without addresses: NO_DATA of netdb.h.
pub(super) fn no_address(wanted: Wanted) -> Vec<u8> {
    const NO_DATA: i32 = 4;
    let words: &[i32] = match wanted {
        Wanted::All => &[VERSION, 0, 0, 0, 0, NO_DATA],
        Wanted::V4 | Wanted::V6 => &[VERSION, 0, 0, 0, -1, 0, 0, NO_DATA],
    };
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A name in the database, what is wanted of it, and that.
pub(super) type Entry = (String, Wanted, Known);

/// The database of hosts with these names, out of date after `lasts`. None where it would be beyond what its references can say.
pub(super) fn database(entries: &[Entry], now: SystemTime, lasts: Duration) -> Option<Vec<u8>> {
    let number = |value: usize| u32::try_from(value).ok();
    let answers = entries.iter().filter_map(|(name, wanted, known)| {
        let (kind, _) = TYPES.iter().find(|(_, of)| of == wanted)?;
        Some((name, *kind, answer(*wanted, known)?))
    });
    let (mut data, mut last) = (Vec::new(), None);
    for (name, kind, answer) in answers {
        let key_len = name.len() + 1;
        let start = data.len();
        let packet = (start + ENTRY + key_len).next_multiple_of(8);
        // The type and that the entry is the key's first, in a byte each; length, key, owner, the next entry, answer; a pointer of nscd's own.
        data.extend([u8::try_from(kind).ok()?, 1, 0, 0]);
        let next = (packet + DATA_HEAD + answer.len()).next_multiple_of(16);
        for word in [
            number(key_len)?,
            number(start + ENTRY)?,
            0,
            number(next)?,
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
        last = Some(start + NEXT);
    }
    let chain = if last.is_some() { 0 } else { END };
    if let Some(next) = last.and_then(|at| data.get_mut(at..at + 4)) {
        next.copy_from_slice(&END.to_ne_bytes());
    }
    let time = (now + lasts).checked_sub(MAPPING_TIMEOUT)?;
    let time = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let (size, count) = (i32::try_from(data.len()).ok()?, i32::try_from(entries.len()).ok()?);
    let head = i32::try_from(DATABASE_HEAD).ok()?;
    let mut bytes = Vec::with_capacity(DATABASE_HEAD + DATABASE_TABLE + data.len());
    // No collection of garbage goes on, and no nscd that would renew the time.
    for word in [DATABASE_VERSION, head, 0, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(time.to_ne_bytes());
    // Since when the machine's own addresses are as they are (NSCD_HST_IDX_CONF_TIMESTAMP): clients keep theirs while this stays, and ask the
    // kernel at each lookup where it is 0.
    let since = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs() & u64::from(u32::MAX);
    bytes.extend(u32::try_from(since).ok()?.to_ne_bytes());
    // Three more words of extensions; chains, bytes, bytes used, entries and the most that there were, and steps of a search.
    for word in [0, 0, 0, 1, size, size, count, count, count] {
        bytes.extend(word.to_ne_bytes());
    }
    // Seven counters.
    bytes.resize(DATABASE_HEAD, 0);
    bytes.extend(chain.to_ne_bytes());
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
                asks(*kind, 9, b"api.test\0"),
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
            (14, 9, b"Api.test\0"),
            (14, 10, b"api.test.\0"),
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
    fn an_answer_has_addresses_families_and_names() {
        let known = |aliases: &[&str], ips: &[&str]| Known {
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            last: "b.test".to_owned(),
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        };
        let header = |bytes: &[u8], words: usize| -> Vec<i32> {
            let words = bytes.chunks_exact(4).take(words);
            words.map(|word| i32::from_ne_bytes(word.try_into().unwrap())).collect()
        };
        let both = known(&["a.test"], &["192.0.2.1", "2001:db8::1"]);
        let bytes = answer(Wanted::All, &both).unwrap();
        assert_eq!(header(&bytes, 6), [2, 1, 2, 20, 7, 0]);
        assert_eq!(bytes.get(24..28), Some(&[192, 0, 2, 1][..]));
        assert_eq!(bytes.get(44..), Some(&b"\x02\x0ab.test\0"[..]));
        let bytes = answer(Wanted::V4, &both).unwrap();
        assert_eq!(header(&bytes, 8), [2, 1, 7, 1, libc::AF_INET, 4, 1, 0]);
        let seven = 7_u32.to_ne_bytes();
        let wanted = [&b"b.test\0"[..], &seven, &[192, 0, 2, 1], b"a.test\0"].concat();
        assert_eq!(bytes.get(32..), Some(&wanted[..]));
        let bytes = answer(Wanted::V6, &known(&[], &["2001:db8::1"])).unwrap();
        assert_eq!(header(&bytes, 8), [2, 1, 7, 0, libc::AF_INET6, 16, 1, 0]);
        assert_eq!((bytes.len(), bytes.get(39)), (32 + 7 + 16, Some(&0x20)));
        assert_eq!(answer(Wanted::V6, &known(&[], &["192.0.2.1"])), None);
    }

    /// Searches as glibc does (__nscd_cache_search), and returns the answer with its header.
    fn search<'d>(database: &'d [u8], kind: u8, key: &[u8]) -> Option<&'d [u8]> {
        let word = |at: usize| u32::from_ne_bytes(database.get(at..at + 4).unwrap().try_into().unwrap());
        let data = 136;
        assert_eq!([word(0), word(4), word(24), word(40)], [2, 120, 1_000_000, 1]);
        assert_eq!(usize::try_from(word(44)).unwrap(), database.len() - data);
        let mut work = word(120);
        while work != u32::MAX {
            let at = data + usize::try_from(work).unwrap();
            assert_eq!(at % 8, 0);
            let (len, name, packet) = (word(at + 4), word(at + 8), word(at + 20));
            let name = data + usize::try_from(name).unwrap();
            if database.get(at) == Some(&kind)
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
        let known = |n: usize| Known {
            aliases: Vec::new(),
            last: "x.test".to_owned(),
            ips: vec![format!("192.0.2.{n}").parse().unwrap()],
        };
        let wanted = [(14, Wanted::All), (4, Wanted::V4), (5, Wanted::V6)];
        let entries: Vec<Entry> = (0..40)
            .flat_map(|n| wanted.map(|(_, wanted)| (format!("{}.test", "n".repeat(n + 1)), wanted, known(n))))
            .collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let bytes = database(&entries, now, Duration::from_secs(60)).unwrap();
        for (name, of, known) in &entries {
            let (kind, _) = wanted.iter().find(|(_, wanted)| wanted == of).unwrap();
            let found = search(&bytes, *kind, format!("{name}\0").as_bytes());
            assert_eq!(found, answer(*of, known).as_deref(), "{name} {kind}");
        }
        assert_eq!(search(&bytes, 14, b"other.test\0"), None);
        // Out of date five minutes after its time.
        assert_eq!(bytes.get(16..24), Some(&(1_000_060_u64 - 300).to_ne_bytes()[..]));
        assert_eq!(
            search(&database(&[], now, Duration::ZERO).unwrap(), 14, b"n.test\0"),
            None
        );
    }
}
