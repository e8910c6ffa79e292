//! A server of names for the tests: answers what it is told to, and remembers what it was asked.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

/// What a name is answered with.
#[derive(Clone, Debug)]
pub enum Data {
    A(&'static str),
    Alias(&'static str),
    /// The datagram is cut off; over TCP come this many addresses.
    Many(u8),
    /// Another id than asked with, and another question, before the right answer.
    Guessed(&'static str),
    /// Bytes that are no answer.
    Garbage,
    /// No answer at all.
    Silence,
    /// No answer to the first question.
    Lost(&'static str),
    /// A name that points at itself, by compression.
    Loop,
    /// An address of IPv6, and none of IPv4.
    Six(&'static str),
    /// An HTTPS record with HTTP/3, keys for an encrypted hello, and hints of addresses; and a SRV record.
    Service,
    /// With this TTL, in seconds.
    Brief(&'static str, u8),
    /// Does not exist, for a minute (SOA).
    Nothing,
    /// 64 other addresses each time, for no time at all.
    Fresh,
    /// One after the other, for no time at all.
    Turns(&'static [&'static str]),
    /// The datagram is cut off, and over TCP the answer stops after its length.
    Drip,
}

use Data::{A, Alias, Brief, Drip, Fresh, Garbage, Guessed, Loop, Lost, Many, Nothing, Service, Silence, Six, Turns};

pub struct Dns {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
}

fn name_at(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let len = usize::from(*bytes.get(at)?);
        if len == 0 {
            return Some((labels.join("."), at + 1));
        }
        labels.push(String::from_utf8_lossy(bytes.get(at + 1..at + 1 + len)?).into_owned());
        at += 1 + len;
    }
}

fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn record(owner: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = wire(owner);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
    out
}

fn message(id: [u8; 2], flags: [u8; 2], question: &[u8], answers: &[Vec<u8>]) -> Vec<u8> {
    let mut out = [
        &id[..],
        &flags,
        &[0, 1],
        &(answers.len() as u16).to_be_bytes(),
        &[0; 4],
        question,
    ]
    .concat();
    answers.iter().for_each(|answer| out.extend_from_slice(answer));
    out
}

/// Priority 1 and the owner itself; alpn h3 and h2, an ipv4hint, ech, an ipv6hint. RFC 9460.
const SERVICE: &[u8] = b"\0\x01\0\0\x01\0\x06\x02h3\x02h2\0\x04\0\x04\xc0\0\x02\x42\0\x05\0\x08\0\x06ECHKEY\0\x06\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x66";

impl Dns {
    /// On a free port of loopback.
    pub fn serve(zone: &'static [(&'static str, Data)]) -> Self {
        // One port for both protocols.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<(String, u16)>>> = Arc::default();
        let log = asked.clone();
        std::thread::spawn(move || {
            let mut bytes = [0u8; 4096];
            while let Ok((len, from)) = udp.recv_from(&mut bytes) {
                for answer in answers(&bytes[..len], zone, &log, false) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        let log = asked.clone();
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            for mut stream in tcp.incoming().flatten() {
                let mut len = [0u8; 2];
                if stream.read_exact(&mut len).is_err() {
                    continue;
                }
                let mut bytes = vec![0; u16::from_be_bytes(len).into()];
                if stream.read_exact(&mut bytes).is_ok() {
                    for answer in answers(&bytes, zone, &log, true) {
                        let _ = stream.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat());
                    }
                }
            }
        });
        Self { address, asked }
    }

    /// Each question so far, in lower case.
    pub fn asked(&self) -> Vec<(String, u16)> {
        self.asked.lock().unwrap().clone()
    }

    /// How often a name was asked for.
    pub fn count(&self, name: &str) -> usize {
        self.asked().iter().filter(|(asked, _)| asked == name).count()
    }
}

fn answers(bytes: &[u8], zone: &[(&str, Data)], log: &Mutex<Vec<(String, u16)>>, tcp: bool) -> Vec<Vec<u8>> {
    let Some((name, end)) = name_at(bytes, 12) else {
        return Vec::new();
    };
    let (id, question) = ([bytes[0], bytes[1]], &bytes[12..end + 4]);
    let kind = u16::from_be_bytes([bytes[end], bytes[end + 1]]);
    let name = name.to_ascii_lowercase();
    log.lock().unwrap().push((name.clone(), kind));
    let octets = |ip: &str| ip.parse::<Ipv4Addr>().unwrap().octets();
    let data: Vec<&Data> = zone
        .iter()
        .filter(|(owner, _)| *owner == name)
        .map(|(_, data)| data)
        .collect();
    if data.is_empty() {
        return vec![message(id, [0x81, 0x83], question, &[])];
    }
    let ok = |records: &[Vec<u8>]| message(id, [0x81, 0x80], question, records);
    match data[0] {
        Silence => Vec::new(),
        Lost(_) if log.lock().unwrap().iter().filter(|(other, _)| *other == name).count() == 1 => Vec::new(),
        Garbage => vec![[&id[..], &[0xff; 40]].concat(), vec![], vec![id[0]]],
        Loop => {
            let mut looping = message(id, [0x81, 0x80], question, &[]);
            looping[7] = 1;
            let here = looping.len() as u16 | 0xc000;
            looping.extend_from_slice(&here.to_be_bytes());
            looping.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
            vec![looping]
        }
        Guessed(ip) => {
            let evil = record(&name, 1, &octets("192.0.2.66"));
            let mut out = Vec::new();
            for guess in 0..20u8 {
                out.push(message(
                    [id[0] ^ (guess + 1), id[1]],
                    [0x81, 0x80],
                    question,
                    std::slice::from_ref(&evil),
                ));
            }
            let other = [wire("other.test"), vec![0, 1, 0, 1]].concat();
            out.push(message(id, [0x81, 0x80], &other, &[evil]));
            out.push(ok(&if kind == 1 {
                vec![record(&name, 1, &octets(ip))]
            } else {
                vec![]
            }));
            out
        }
        Nothing => {
            let soa = [
                wire("ns.test"),
                wire("root.test"),
                [0u8, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 60].to_vec(),
            ]
            .concat();
            let mut out = message(id, [0x81, 0x83], question, &[record("test", 6, &soa)]);
            // In the authority's section.
            (out[7], out[9]) = (0, 1);
            vec![out]
        }
        Drip if tcp => {
            let mut out = ok(&[]);
            out.truncate(4);
            vec![out]
        }
        Many(_) | Drip if !tcp => vec![message(id, [0x83, 0x80], question, &[])],
        _ => {
            let mut records = Vec::new();
            for data in data {
                match data {
                    A(ip) | Lost(ip) if kind == 1 => records.push(record(&name, 1, &octets(ip))),
                    Many(count) if kind == 1 => {
                        records.extend((0..*count).map(|n| record(&name, 1, &[192, 0, 2, n])));
                    }
                    Six(ip) if kind == 28 => {
                        let octets = ip.parse::<std::net::Ipv6Addr>().unwrap().octets();
                        records.push(record(&name, 28, &octets));
                    }
                    Service if kind == 65 => records.push(record(&name, 65, SERVICE)),
                    Service if kind == 33 => {
                        records.push(record(
                            &name,
                            33,
                            &[&[0, 1, 0, 1, 0x1f, 0x90][..], &wire("api.test")].concat(),
                        ));
                    }
                    Brief(ip, ttl) if kind == 1 => {
                        let mut brief = record(&name, 1, &octets(ip));
                        let at = brief.len() - 7;
                        brief[at] = *ttl;
                        records.push(brief);
                    }
                    Fresh if kind == 1 => {
                        let turn = log.lock().unwrap().len() as u16;
                        for n in 0..64 {
                            let mut fresh = record(&name, 1, &[&[203][..], &turn.to_be_bytes(), &[n]].concat());
                            let at = fresh.len() - 7;
                            fresh[at] = 0;
                            records.push(fresh);
                        }
                    }
                    Turns(ips) if kind == 1 => {
                        let asked = log.lock().unwrap();
                        let turn = asked
                            .iter()
                            .filter(|(other, kind)| *other == name && *kind == 1)
                            .count();
                        let mut next = record(&name, 1, &octets(ips[(turn - 1) % ips.len()]));
                        let at = next.len() - 7;
                        next[at] = 0;
                        records.push(next);
                    }
                    Alias(to) => records.push(record(&name, 5, &wire(to))),
                    _ => {}
                }
            }
            vec![ok(&records)]
        }
    }
}
