//! What the readers of the wire make of bytes, in plain values: for their fuzz targets (/fuzz).

use super::{hello, http};

/// A whole TLS hello: its name, and how many of the bytes are its own. `Err` says what the bytes are instead.
pub fn whole_hello(bytes: &[u8]) -> Result<(Option<String>, usize), &'static str> {
    match hello::read(bytes) {
        hello::Hello::Whole { name, len, .. } => Ok((name, len)),
        hello::Hello::Partial => Err("partial"),
        hello::Hello::Other => Err("other"),
        hello::Hello::Malformed(_) => Err("malformed"),
    }
}

/// The hosts of the HTTP requests in `bytes`, which come in pieces of `piece` bytes and are all let through, and how many bytes went on.
#[must_use]
pub fn requests(bytes: &[u8], piece: usize) -> (Vec<String>, usize) {
    let (mut requests, mut hosts, mut sent) = (http::Requests::default(), Vec::new(), 0);
    let mut come = 0;
    while come < bytes.len() {
        come = come.saturating_add(piece.max(1)).min(bytes.len());
        loop {
            match requests.step(bytes.get(sent..come).unwrap_or_default()) {
                http::Step::More => break,
                http::Step::Pass(len) => sent += len,
                http::Step::Head { len, host, .. } => {
                    hosts.push(host);
                    sent += len;
                    requests.pass();
                }
                http::Step::Malformed(_) => return (hosts, sent),
            }
        }
    }
    (hosts, sent)
}
