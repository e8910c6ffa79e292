//! One question of the session, read from its bytes, and the answers to it.
//!
//! *Invariant:* of a question only name and type live on, in their one spelling: its id, flags, options and letters' case reach nobody.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::policy::canonical_name;

/// Bytes of a question: a header, a name, an OPT record with a cookie and padding.
pub(super) const QUESTION_MAX: usize = 2048;
/// Bytes of a datagram that is sent to a program without EDNS; RFC 1035, 4.2.1.
const PLAIN_MAX: u16 = 512;

/// Types that are asked for; what else there is has no use to a program that wants to connect (ANY, AXFR, NULL).
const TYPES: &[RecordType] = &[
    RecordType::A,
    RecordType::AAAA,
    RecordType::CAA,
    RecordType::CNAME,
    RecordType::HTTPS,
    RecordType::MX,
    RecordType::NAPTR,
    RecordType::NS,
    RecordType::PTR,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::SSHFP,
    RecordType::SVCB,
    RecordType::TLSA,
    RecordType::TXT,
];

/// A question that may be looked at.
#[derive(Clone, Debug)]
pub(super) struct Question {
    id: u16,
    recursion: bool,
    /// As it was written, to be given back.
    written: Query,
    edns: bool,
    /// Bytes that the asker takes in a datagram.
    pub(super) payload: u16,
    /// The one spelling.
    pub(super) name: String,
    /// What of it is wanted.
    pub(super) kind: RecordType,
}

/// What is answered to bytes that are no question for us; nothing where not even an id can be read.
pub(super) struct Malformed(pub(super) Option<Vec<u8>>);

impl Question {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let id = bytes.get(..2).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes);
        let error = |code| {
            let message = id.map(|id| Message::error_msg(id, OpCode::Query, code));
            Malformed(message.and_then(|message| message.to_vec().ok()))
        };
        if bytes.len() > QUESTION_MAX {
            return Err(error(ResponseCode::FormErr));
        }
        let Ok(message) = Message::from_vec(bytes) else {
            return Err(error(ResponseCode::FormErr));
        };
        if message.metadata.message_type != MessageType::Query {
            // An answer to nobody's question; answering it could go round for ever.
            return Err(Malformed(None));
        }
        if message.metadata.op_code != OpCode::Query {
            return Err(error(ResponseCode::NotImp));
        }
        let [written] = message.queries.as_slice() else {
            return Err(error(ResponseCode::FormErr));
        };
        let question = |name| Self {
            id: message.metadata.id,
            recursion: message.metadata.recursion_desired,
            written: written.clone(),
            edns: message.edns.is_some(),
            payload: message
                .edns
                .as_ref()
                .map_or(PLAIN_MAX, |e| e.max_payload().max(PLAIN_MAX)),
            name,
            kind: written.query_type(),
        };
        if written.query_class() != DNSClass::IN || !TYPES.contains(&written.query_type()) {
            return Err(Malformed(question(String::new()).fail(ResponseCode::NotImp)));
        }
        match canonical_name(&written.name().to_ascii()) {
            Ok(name) => Ok(question(name)),
            Err(_) => Err(Malformed(question(String::new()).fail(ResponseCode::NXDomain))),
        }
    }

    fn message(&self, code: ResponseCode) -> Message {
        let mut message = Message::error_msg(self.id, OpCode::Query, code);
        message.metadata.recursion_desired = self.recursion;
        message.metadata.recursion_available = true;
        message.add_query(self.written.clone());
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(1232);
            message.edns = Some(edns);
        }
        message
    }

    /// An answer without records.
    pub(super) fn fail(&self, code: ResponseCode) -> Option<Vec<u8>> {
        self.message(code).to_vec().ok()
    }

    /// An answer with records; the first owner is the name as it was asked for.
    pub(super) fn answer(&self, code: ResponseCode, records: &[Record], negative: Option<&Record>) -> Option<Vec<u8>> {
        let mut message = self.message(code);
        let asked = Name::from_ascii(format!("{}.", self.name)).ok()?;
        for record in records {
            let mut record = record.clone();
            if record.name == asked {
                record.name = self.written.name().clone();
            }
            message.add_answer(record);
        }
        if let Some(soa) = negative {
            message.add_authority(soa.clone());
        }
        message.to_vec().ok()
    }

    /// Asks again over TCP: the answer does not fit into the asker's datagram.
    pub(super) fn truncated(&self) -> Option<Vec<u8>> {
        let mut message = self.message(ResponseCode::NoError);
        message.metadata.truncation = true;
        message.to_vec().ok()
    }
}

/// Address records of one family for a name.
pub(super) fn addresses(name: &str, kind: RecordType, ips: &[IpAddr], ttl: u32) -> Vec<Record> {
    let Ok(owner) = Name::from_ascii(format!("{name}.")) else {
        return Vec::new();
    };
    let data = ips.iter().filter_map(|ip| match (ip.to_canonical(), kind) {
        (IpAddr::V4(v4), RecordType::A) => Some(RData::A(A(v4))),
        (IpAddr::V6(v6), RecordType::AAAA) => Some(RData::AAAA(AAAA(v6))),
        _ => None,
    });
    data.map(|data| Record::from_rdata(owner.clone(), ttl, data)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        query_of(Name::from_ascii(name).unwrap(), kind)
    }

    fn query_of(name: Name, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name, kind));
        message.to_vec().unwrap()
    }

    fn code(bytes: Option<Vec<u8>>) -> ResponseCode {
        Message::from_vec(&bytes.unwrap()).unwrap().metadata.response_code
    }

    #[test]
    fn a_question_is_its_name_and_type_in_one_spelling() {
        let question = Question::read(&query("API.Example.COM.", RecordType::A)).ok().unwrap();
        assert_eq!(
            (question.name.as_str(), question.kind),
            ("api.example.com", RecordType::A)
        );
        let records = addresses(
            &question.name,
            RecordType::A,
            &["192.0.2.1".parse().unwrap(), "::1".parse().unwrap()],
            60,
        );
        let answer = Message::from_vec(&question.answer(ResponseCode::NoError, &records, None).unwrap()).unwrap();
        assert_eq!(answer.answers.len(), 1);
        assert!(
            answer.answers[0]
                .name
                .eq_case(&Name::from_ascii("API.Example.COM.").unwrap())
        );
        assert_eq!(answer.metadata.id, 7);
    }

    #[test]
    fn what_is_no_question_is_refused_or_dropped() {
        for kind in [
            RecordType::ANY,
            RecordType::AXFR,
            RecordType::NULL,
            RecordType::Unknown(4711),
        ] {
            let Err(Malformed(answer)) = Question::read(&query("a.example.", kind)) else {
                panic!("{kind} was taken");
            };
            assert_eq!(code(answer), ResponseCode::NotImp, "{kind}");
        }
        let Err(Malformed(answer)) = Question::read(&query_of(
            Name::from_labels([&b"a\0b"[..], b"example"]).unwrap(),
            RecordType::A,
        )) else {
            panic!("a NUL byte was taken");
        };
        assert_eq!(code(answer), ResponseCode::NXDomain);
        let response = Message::error_msg(7, OpCode::Query, ResponseCode::NoError)
            .to_vec()
            .unwrap();
        assert!(matches!(Question::read(&response), Err(Malformed(None))));
        assert!(matches!(Question::read(&[1]), Err(Malformed(None))));
        let whole = query("a.example.", RecordType::A);
        for cut in 2..whole.len() {
            let Err(Malformed(answer)) = Question::read(&whole[..cut]) else {
                panic!("{cut} bytes were taken");
            };
            assert_eq!(code(answer), ResponseCode::FormErr, "{cut}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = query("api.example.test.", RecordType::HTTPS);
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if let Ok(question) = Question::read(&bytes) {
                    assert!(question.name.len() <= 253);
                    assert!(question.fail(ResponseCode::ServFail).is_some());
                }
            }
        }
    }
}
