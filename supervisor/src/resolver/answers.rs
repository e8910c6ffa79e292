//! What of an upstream's answer reaches the session.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{HTTPS, SVCB};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Records of one answer that are handed on.
const RECORDS_MAX: usize = 64;
/// Aliases that are followed.
const ALIASES_MAX: usize = 16;
/// The longest that a negative answer is kept; RFC 2308, 5.
const NEGATIVE_MAX: u32 = 300;
/// The longest that an answer is kept.
const TTL_MAX: u32 = 86_400;
/// How long an empty answer is kept that says nothing about that itself.
const BARE_TTL: u32 = 5;
/// Answers that are kept (I8).
const CACHE_MAX: usize = 2048;

/// One upstream answer, reduced to the chain from the name that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) code: ResponseCode,
    /// Aliases and the records that were asked for, in the order of the chain.
    pub(super) records: Vec<Record>,
    pub(super) negative: Option<Record>,
    /// Names that the chain goes through.
    pub(super) aliases: Vec<String>,
    /// Where the chain ends without an answer: to be asked for by itself.
    pub(super) open: Option<String>,
}

impl Answer {
    /// Nothing, with this code.
    pub(super) fn empty(code: ResponseCode) -> Self {
        Self {
            code,
            records: Vec::new(),
            negative: None,
            aliases: Vec::new(),
            open: None,
        }
    }

    /// Takes from a message what answers the question: what else it holds is nobody's business here (bailiwick).
    pub(super) fn of(message: &Message, name: &str, kind: RecordType) -> Self {
        let mut answer = Self::empty(message.metadata.response_code);
        let Ok(mut owner) = Name::from_ascii(format!("{name}.")) else {
            return Self::empty(ResponseCode::ServFail);
        };
        loop {
            let of_owner = |record: &&Record| record.name == owner && record.dns_class == DNSClass::IN;
            let mut found = false;
            for record in message.answers.iter().filter(of_owner) {
                if record.record_type() == kind && answer.records.len() < RECORDS_MAX + answer.aliases.len() {
                    answer.records.push(record.clone());
                    found = true;
                }
            }
            if found {
                break;
            }
            let alias = message
                .answers
                .iter()
                .filter(of_owner)
                .find_map(|record| match &record.data {
                    RData::CNAME(target) => Some((record, target.0.clone())),
                    _ => None,
                });
            let Some((record, target)) = alias else {
                let bare = target_of(&owner);
                answer.open = bare.filter(|bare| bare != name && answer.code == ResponseCode::NoError);
                break;
            };
            let (Some(bare), true) = (target_of(&target), answer.aliases.len() < ALIASES_MAX) else {
                return Self::empty(ResponseCode::ServFail);
            };
            if bare == name || answer.aliases.contains(&bare) {
                // A circle.
                return Self::empty(ResponseCode::ServFail);
            }
            answer.records.push(record.clone());
            answer.aliases.push(bare);
            owner = target;
        }
        let soa = message.authorities.iter().find(|r| matches!(r.data, RData::SOA(_)));
        answer.negative = soa.cloned();
        answer
    }

    /// Puts the answer for the open end behind.
    pub(super) fn join(&mut self, rest: Self) {
        self.code = rest.code;
        self.records.extend(rest.records);
        self.records.truncate(RECORDS_MAX + ALIASES_MAX);
        self.aliases.extend(rest.aliases);
        self.negative = rest.negative;
        self.open = rest.open.filter(|_| self.aliases.len() < ALIASES_MAX);
    }

    /// Takes out what the session must not use: addresses that the name may not have, keys for encrypted hellos, and, where datagrams
    /// are off, the promise of HTTP/3. Returns the addresses that were taken out.
    pub(super) fn clean(&mut self, datagrams: bool, may_be_at: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        let mut refused = Vec::new();
        self.records.retain_mut(|record| {
            record.ttl = record.ttl.min(TTL_MAX);
            match &mut record.data {
                RData::A(a) => keep(IpAddr::V4(a.0), &may_be_at, &mut refused),
                RData::AAAA(aaaa) => keep(IpAddr::V6(aaaa.0), &may_be_at, &mut refused),
                RData::HTTPS(HTTPS(svcb)) | RData::SVCB(svcb) => {
                    strip(svcb, datagrams);
                    true
                }
                _ => true,
            }
        });
        refused
    }

    /// The addresses in it, with their TTL.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (IpAddr, Duration)> {
        self.records.iter().filter_map(|record| {
            let ip = match &record.data {
                RData::A(a) => IpAddr::V4(a.0),
                RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
                _ => return None,
            };
            Some((ip, Duration::from_secs(record.ttl.into())))
        })
    }

    /// Seconds for which it may be kept.
    pub(super) fn ttl(&self) -> u32 {
        let positive = self.records.iter().map(|record| record.ttl).min();
        let negative = self.negative.as_ref().map(|record| match &record.data {
            RData::SOA(soa) => record.ttl.min(soa.minimum).min(NEGATIVE_MAX),
            _ => 0,
        });
        positive.or(negative).unwrap_or(BARE_TTL)
    }
}

fn target_of(name: &Name) -> Option<String> {
    crate::policy::canonical_name(&name.to_ascii()).ok()
}

fn keep(ip: IpAddr, may_be_at: &impl Fn(IpAddr) -> bool, refused: &mut Vec<IpAddr>) -> bool {
    let may = may_be_at(ip);
    if !may {
        refused.push(ip);
    }
    may
}

/// Keys for encrypted hellos would hide the name that is to be proved; hints are addresses that nobody checked.
fn strip(svcb: &mut SVCB, datagrams: bool) {
    let dropped = [SvcParamKey::EchConfigList, SvcParamKey::Ipv4Hint, SvcParamKey::Ipv6Hint];
    svcb.svc_params.retain_mut(|(key, value)| {
        match value {
            SvcParamValue::Mandatory(keys) => keys.0.retain(|key| !dropped.contains(key)),
            SvcParamValue::Alpn(protocols) if !datagrams => protocols.0.retain(|protocol| !protocol.starts_with("h3")),
            _ => {}
        }
        let empty = match value {
            SvcParamValue::Mandatory(keys) => keys.0.is_empty(),
            SvcParamValue::Alpn(protocols) => protocols.0.is_empty(),
            _ => false,
        };
        !dropped.contains(key) && !empty
    });
}

/// Answers that still hold.
#[derive(Default)]
pub(super) struct Cache(HashMap<(String, RecordType), (Instant, Instant, Answer)>);

impl Cache {
    /// A kept answer, its TTLs as they are now.
    pub(super) fn get(&self, name: &str, kind: RecordType) -> Option<Answer> {
        let (since, until, answer) = self.0.get(&(name.to_owned(), kind))?;
        let now = Instant::now();
        if *until <= now {
            return None;
        }
        let age = u32::try_from(now.saturating_duration_since(*since).as_secs()).unwrap_or(u32::MAX);
        let mut answer = answer.clone();
        for record in answer.records.iter_mut().chain(&mut answer.negative) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(answer)
    }

    /// The names of which addresses are kept.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let addresses = self
            .0
            .keys()
            .filter(|(_, kind)| matches!(kind, RecordType::A | RecordType::AAAA));
        addresses.map(|(name, _)| name.clone()).collect()
    }

    /// Keeps an answer for as long as it says.
    pub(super) fn put(&mut self, name: &str, kind: RecordType, answer: &Answer) {
        let ttl = answer.ttl();
        if ttl == 0 || !matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return;
        }
        let now = Instant::now();
        if self.0.len() >= CACHE_MAX {
            self.0.retain(|_, (_, until, _)| *until > now);
            if self.0.len() >= CACHE_MAX {
                self.0.clear();
            }
        }
        let until = now + Duration::from_secs(ttl.into());
        self.0.insert((name.to_owned(), kind), (now, until, answer.clone()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::svcb::{Alpn, EchConfigList, IpHint, Mandatory};
    use hickory_proto::rr::rdata::{A, CNAME};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn message(records: &[(&str, RData)]) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        for (owner, data) in records {
            message.add_answer(Record::from_rdata(name(owner), 60, data.clone()));
        }
        message
    }

    fn alias(to: &str) -> RData {
        RData::CNAME(CNAME(name(to)))
    }

    fn address(text: &str) -> RData {
        RData::A(A(text.parse().unwrap()))
    }

    #[test]
    fn the_chain_is_followed_and_nothing_beside_it() {
        let message = message(&[
            ("c.example.", address("192.0.2.3")),
            ("A.example.", alias("b.example.")),
            ("b.example.", alias("c.example.")),
            ("bank.example.", address("192.0.2.66")),
            ("c.example.", address("192.0.2.4")),
        ]);
        let answer = Answer::of(&message, "a.example", RecordType::A);
        assert_eq!(answer.aliases, ["b.example", "c.example"]);
        let ips: Vec<String> = answer.addresses().map(|(ip, _)| ip.to_string()).collect();
        assert_eq!(ips, ["192.0.2.3", "192.0.2.4"]);
        assert_eq!(answer.open, None);
    }

    #[test]
    fn circles_fail_and_open_ends_are_named() {
        let circle = message(&[("a.example.", alias("b.example.")), ("b.example.", alias("a.example."))]);
        assert_eq!(
            Answer::of(&circle, "a.example", RecordType::A).code,
            ResponseCode::ServFail
        );
        let own = message(&[("a.example.", alias("a.example."))]);
        assert_eq!(
            Answer::of(&own, "a.example", RecordType::A).code,
            ResponseCode::ServFail
        );
        let open = message(&[("a.example.", alias("b.example."))]);
        assert_eq!(
            Answer::of(&open, "a.example", RecordType::A).open.as_deref(),
            Some("b.example")
        );
        assert_eq!(Answer::of(&message(&[]), "a.example", RecordType::A).open, None);
        let long: Vec<(String, RData)> = (0..40)
            .map(|n| (format!("n{n}.example."), alias(&format!("n{}.example.", n + 1))))
            .collect();
        let long: Vec<(&str, RData)> = long
            .iter()
            .map(|(owner, data)| (owner.as_str(), data.clone()))
            .collect();
        assert_eq!(
            Answer::of(&message(&long), "n0.example", RecordType::A).code,
            ResponseCode::ServFail
        );
    }

    #[test]
    fn refused_addresses_and_keys_are_taken_out_and_the_answer_is_bounded() {
        let mut answer = Answer::of(
            &message(&[
                ("a.example.", address("192.0.2.1")),
                ("a.example.", address("127.0.0.1")),
            ]),
            "a.example",
            RecordType::A,
        );
        let refused = answer.clean(false, |ip| !ip.is_loopback());
        assert_eq!((refused.len(), answer.records.len()), (1, 1));
        let params = vec![
            (
                SvcParamKey::Mandatory,
                SvcParamValue::Mandatory(Mandatory(vec![SvcParamKey::EchConfigList])),
            ),
            (
                SvcParamKey::Alpn,
                SvcParamValue::Alpn(Alpn(vec!["h3".into(), "h2".into()])),
            ),
            (
                SvcParamKey::Ipv4Hint,
                SvcParamValue::Ipv4Hint(IpHint(vec![A::new(127, 0, 0, 1)])),
            ),
            (
                SvcParamKey::EchConfigList,
                SvcParamValue::EchConfigList(EchConfigList(vec![1, 2])),
            ),
        ];
        let https = RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), params)));
        let mut answer = Answer::of(&message(&[("a.example.", https)]), "a.example", RecordType::HTTPS);
        answer.clean(false, |_| true);
        let RData::HTTPS(https) = &answer.records[0].data else {
            panic!("no HTTPS record")
        };
        assert_eq!(https.svc_params.len(), 1);
        assert!(matches!(&https.svc_params[0].1, SvcParamValue::Alpn(alpn) if alpn.0 == ["h2"]));
        let many: Vec<(&str, RData)> = (0..5000u16).map(|_| ("a.example.", address("192.0.2.1"))).collect();
        assert!(Answer::of(&message(&many), "a.example", RecordType::A).records.len() <= RECORDS_MAX + ALIASES_MAX);
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_answer_leaves_its_chain() {
        let params = vec![(
            SvcParamKey::EchConfigList,
            SvcParamValue::EchConfigList(EchConfigList(vec![1, 2])),
        )];
        let https = RData::HTTPS(HTTPS(SVCB::new(1, name("b.example."), params)));
        let whole = message(&[
            ("a.example.", alias("b.example.")),
            ("b.example.", address("192.0.2.1")),
            ("b.example.", https),
        ]);
        let whole = whole.to_vec().unwrap();
        for at in 0..whole.len() {
            for value in [0, 1, 5, 12, 28, 41, 63, 64, 0x7f, 0x80, 0xc0, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                for bytes in [&bytes[..], &bytes[..at]] {
                    let Ok(message) = Message::from_vec(bytes) else {
                        continue;
                    };
                    for kind in [RecordType::A, RecordType::HTTPS] {
                        let mut answer = Answer::of(&message, "a.example", kind);
                        answer.clean(false, |ip| !ip.is_loopback());
                        let known = |owner: &Name| {
                            target_of(owner)
                                .is_some_and(|owner| owner == "a.example" || answer.aliases.contains(&owner))
                        };
                        assert!(
                            answer.records.iter().all(|record| known(&record.name)),
                            "byte {at} as {value}"
                        );
                    }
                }
            }
        }
    }
}
