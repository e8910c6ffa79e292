//! What the readers of DNS messages make of bytes, in plain values: for their fuzz targets (/fuzz).

use std::net::IpAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use super::answers::Answer;
use super::question::Question;

/// The name that is asked for, and an answer to it; else what is answered to no question for us.
pub fn question(bytes: &[u8]) -> Result<(String, Vec<u8>), Option<Vec<u8>>> {
    match Question::read(bytes) {
        Ok(question) => Ok((
            question.name.clone(),
            question.fail(ResponseCode::NXDomain).unwrap_or_default(),
        )),
        Err(malformed) => Err(malformed.0),
    }
}

/// The addresses that an answer of these bytes has for `name`.
#[must_use]
pub fn addresses(bytes: &[u8], name: &str) -> Vec<IpAddr> {
    let Ok(message) = Message::from_vec(bytes) else {
        return Vec::new();
    };
    let answer = Answer::of(&message, name, RecordType::A);
    answer.addresses().map(|(ip, _)| ip).collect()
}
