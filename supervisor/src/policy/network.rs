//! Network entries: what a rule may say about another end, read and matched.
//!
//! | written | meaning |
//! |---|---|
//! | `api.example.com:443` | the host of this name, whatever its addresses; trailing dot, case and IDNA spelling do not matter |
//! | `*.example.com` | every name below example.com, at any depth, and not example.com itself; any port |
//! | `192.0.2.1:80-90`, `10.0.0.0/8:5432`, `[2001:db8::1]:443`, `[fd00::]/8:22` | addresses and ports |
//! | `localhost:3000` | 127.0.0.0/8 and ::1 |
//! | `*:443` | every host |
//! | `udp:ntp.example.com:123` | datagrams; without `udp:` an entry that allows is about TCP, and one that restricts about both |
//! | `bind:0.0.0.0:8080` | a local address to listen on; entries without `bind:` are about connecting only |
//! | `unix:/run/x.sock` | a unix socket |
//!
//! Words behind an entry: `verify=tls|http|none` (how the name is proved on the wire) and `addresses=CIDR[,CIDR]` (where in the special
//! ranges the host may be: loopback, private, link-local and the like, which a name may otherwise not point at).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::hostname::Pattern;
use super::pattern::{Glob, Role, expand};
use super::types::{Endpoint, NetOp, Scope, Verify};
use crate::decision::Decision;

/// One entry, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    to: To,
    low: u16,
    high: u16,
    protocol: Protocol,
    bind: bool,
    verify: Option<Verify>,
    addresses: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    Net(Vec<IpNet>),
    Host(Pattern),
    Everything,
    Unix(Vec<Glob>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
    Both,
}

/// Names of ports that people write.
const PORT_NAMES: &[(&str, u16)] = &[
    ("http", 80),
    ("https", 443),
    ("ssh", 22),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("mysql", 3306),
    ("redis", 6379),
    ("ntp", 123),
    ("smtp", 25),
    ("dns", 53),
];

impl Entry {
    /// Parses one entry; the error says what was expected and what to write instead.
    pub(crate) fn parse(text: &str, scope: &Scope) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let first = words
            .next()
            .ok_or_else(|| "an empty entry matches nothing; remove it, or write `*` for every host".to_owned())?;
        let mut entry = Self {
            to: To::Everything,
            low: 0,
            high: u16::MAX,
            protocol: Protocol::Tcp,
            bind: false,
            verify: None,
            addresses: Vec::new(),
        };
        let mut rest = first;
        if let Some(other) = rest.strip_prefix("bind:") {
            entry.bind = true;
            rest = other;
        }
        if let Some(other) = rest.strip_prefix("udp:") {
            entry.protocol = Protocol::Udp;
            rest = other;
        } else if let Some(other) = rest.strip_prefix("tcp:") {
            rest = other;
        }
        if let Some(path) = rest.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(format!("`{text}`: a path is missing, as in `unix:/run/x.sock`"));
            }
            entry.to = To::Unix(expand(path, scope, Role::Note)?);
        } else {
            entry.address(text, rest)?;
        }
        for word in words {
            entry.option(text, word)?;
        }
        if entry.verify.is_some_and(|v| v != Verify::None) && (entry.protocol == Protocol::Udp || entry.bind) {
            return Err(format!(
                "`{text}`: only connections over TCP can be verified; remove `verify=`"
            ));
        }
        Ok(entry)
    }

    fn option(&mut self, text: &str, word: &str) -> Result<(), String> {
        match word.split_once('=') {
            Some(("verify", how)) => {
                self.verify = Some(match how {
                    "tls" => Verify::Tls,
                    "http" => Verify::Http,
                    "none" => Verify::None,
                    other => return Err(format!("`{text}`: verify `{other}`; expected tls, http or none")),
                });
            }
            Some(("addresses", list)) => {
                for net in list.split(',') {
                    self.addresses.push(
                        net.parse::<IpNet>()
                            .or_else(|_| net.parse::<IpAddr>().map(IpNet::from))
                            .map_err(|_| {
                                format!("`{text}`: `{net}` is no address and no CIDR block (10.0.0.0/8, fd00::/8)")
                            })?,
                    );
                }
            }
            _ => {
                return Err(format!(
                    "`{text}`: `{word}` is not understood; behind the address may stand verify=tls|http|none and addresses=CIDR"
                ));
            }
        }
        Ok(())
    }

    fn address(&mut self, text: &str, rest: &str) -> Result<(), String> {
        if let Some((scheme, tail)) = rest.split_once("://") {
            let host = tail.split(['/', '?', '#']).next().unwrap_or_default();
            let port = PORT_NAMES
                .iter()
                .find(|(name, _)| *name == scheme)
                .map(|(_, port)| port);
            let suggestion = match port {
                Some(port) if !host.contains(':') => format!("{host}:{port}"),
                _ => host.to_owned(),
            };
            return Err(format!(
                "`{text}` is a URL; a rule names host and port: write `{suggestion}`"
            ));
        }
        let (host, port) = split(text, rest)?;
        if let Some(port) = port {
            (self.low, self.high) = ports(text, port)?;
        }
        self.to = destination(text, host)?;
        Ok(())
    }

    /// As an entry of a rule with this decision: what restricts holds for datagrams too.
    pub(crate) fn deciding(mut self, decision: Decision) -> Self {
        if self.protocol == Protocol::Tcp && decision >= Decision::RequireApproval {
            self.protocol = Protocol::Both;
        }
        self
    }

    /// Whether the entry is about local addresses, and not about connecting.
    pub(crate) fn binds(&self) -> bool {
        self.bind
    }

    /// Turned into one about local addresses.
    pub(crate) fn for_operation(mut self, op: NetOp) -> Self {
        self.bind = op == NetOp::Bind;
        self
    }

    /// Whether it admits datagrams.
    pub(crate) fn is_udp(&self) -> bool {
        self.protocol == Protocol::Udp
    }

    /// Whether it is about every host, port and protocol.
    pub(crate) fn is_everything(&self) -> bool {
        self.to == To::Everything && (self.low, self.high) == (0, u16::MAX) && self.protocol == Protocol::Both
    }

    /// The ends of its ports.
    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.low, self.high)
    }

    /// How the name is to be proved on a connection to this port: by default on 443 and 80.
    pub(crate) fn verify(&self, port: u16) -> Verify {
        match (self.verify, &self.to, port) {
            (Some(verify), ..) => verify,
            (None, To::Host(_), 443) => Verify::Tls,
            (None, To::Host(_), 80) => Verify::Http,
            _ => Verify::None,
        }
    }

    /// Whether it is about hosts by name, and this is one of them, whatever the port.
    pub(crate) fn names(&self, name: &str) -> bool {
        !self.bind
            && match &self.to {
                To::Host(pattern) => pattern.matches(name),
                To::Everything => true,
                To::Net(_) | To::Unix(_) => false,
            }
    }

    /// The one name that it is about.
    pub(crate) fn literal_name(&self) -> Option<&str> {
        match &self.to {
            To::Host(pattern) if !self.bind => pattern.literal(),
            _ => None,
        }
    }

    /// Whether a host by name is meant at all.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.to, To::Host(_)) && !self.bind
    }

    /// Whether a host of this entry may have this special address: the entry, or a block of addresses, says so.
    pub(crate) fn places(&self, ip: IpAddr) -> bool {
        match &self.to {
            To::Net(nets) => !self.bind && nets.iter().any(|net| net.contains(&ip)),
            To::Host(_) => self.addresses.iter().any(|net| net.contains(&ip)),
            To::Everything | To::Unix(_) => false,
        }
    }

    /// Whether it names this very address, and not a block that happens to hold it.
    pub(crate) fn is_exactly(&self, ip: IpAddr) -> bool {
        matches!(&self.to, To::Net(nets) if nets.iter().any(|net| net.addr() == ip && net.prefix_len() == net.max_prefix_len()))
    }

    /// Whether the other end is meant.
    #[must_use]
    pub(crate) fn matches(&self, endpoint: &Endpoint<'_>) -> bool {
        let ip_matches = |ip: &IpAddr| match &self.to {
            To::Net(nets) => nets.iter().any(|net| net.contains(ip)),
            To::Everything => true,
            To::Host(_) | To::Unix(_) => false,
        };
        let fits = |udp: bool, port: &u16| {
            (self.low..=self.high).contains(port)
                && match self.protocol {
                    Protocol::Tcp => !udp,
                    Protocol::Udp => udp,
                    Protocol::Both => true,
                }
        };
        match endpoint {
            Endpoint::Tcp(ip, port) => fits(false, port) && ip_matches(ip),
            Endpoint::Udp(ip, port) => fits(true, port) && ip_matches(ip),
            Endpoint::Host { udp, name, ip, port } => {
                fits(*udp, port)
                    && (ip.as_ref().is_some_and(ip_matches)
                        || match &self.to {
                            To::Host(pattern) => pattern.matches(name),
                            To::Everything => true,
                            To::Net(_) | To::Unix(_) => false,
                        })
            }
            Endpoint::Unix(path) => match &self.to {
                To::Unix(globs) => globs.iter().any(|glob| glob.matches(path)),
                _ => false,
            },
            Endpoint::Abstract(_) => false,
        }
    }
}

/// A server that names are asked of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub address: SocketAddr,
    /// How it is asked.
    pub how: Asking,
}

/// How a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asking {
    /// In datagrams, and over TCP what does not fit.
    Plain,
    /// Over TLS (RFC 7858); its certificate is for this name or address.
    Tls(String),
    /// Over HTTPS (RFC 8484): name or address, and path.
    Https(String, String),
}

/// A server as written: `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53`, `tls://192.0.2.1#dns.example`, `https://192.0.2.1/dns-query#dns.example`.
/// Servers are named by address, for there is nobody yet to ask for a name's; behind `#` stands the name in their certificate, without it the address.
pub(crate) fn server(text: &str) -> Result<Server, String> {
    let fail = || {
        format!(
            "`{text}` is no server's address; write 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:53 (asked over UDP and TCP), \
             tls://192.0.2.1#dns.example or https://192.0.2.1/dns-query#dns.example"
        )
    };
    let address = |text: &str, port: u16| {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        text.parse()
            .or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)))
            .map_err(|_| fail())
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        let address = address(text, 53)?;
        return Ok(Server {
            address,
            how: Asking::Plain,
        });
    };
    let (rest, name) = rest
        .split_once('#')
        .map_or((rest, None), |(rest, name)| (rest, Some(name)));
    let (place, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let address = address(place, if scheme == "tls" { 853 } else { 443 })?;
    let name = match name {
        Some(name) => super::hostname::canonical(name).map_err(|reason| format!("`{text}`: {reason}"))?,
        None => address.ip().to_string(),
    };
    let how = match scheme {
        "tls" if path.is_empty() => Asking::Tls(name),
        "https" if path.bytes().all(|byte| byte.is_ascii_graphic()) => {
            let path = if path.is_empty() { "/dns-query" } else { path };
            Asking::Https(name, path.to_owned())
        }
        _ => return Err(fail()),
    };
    Ok(Server { address, how })
}

/// Host and port as written.
fn split<'t>(text: &str, rest: &'t str) -> Result<(&'t str, Option<&'t str>), String> {
    if let Some(inner) = rest.strip_prefix('[') {
        let (host, tail) = inner
            .split_once(']')
            .ok_or_else(|| format!("`{text}`: the `]` of an IPv6 address is missing"))?;
        if let Some(block) = tail.strip_prefix('/') {
            // `[fd00::]/8:22`
            let (prefix, port) = block.split_once(':').map_or((block, None), |(p, port)| (p, Some(port)));
            let end = 1 + host.len() + 2 + prefix.len();
            return Ok((rest.get(..end).unwrap_or(rest), port));
        }
        return match tail.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if tail.is_empty() => Ok((host, None)),
            None => Err(format!("`{text}`: behind `]` comes `:port`, as in `[{host}]:443`")),
        };
    }
    if rest.matches(':').count() > 1 {
        // An IPv6 address without brackets has no port: which colon would it be?
        return if rest.parse::<IpAddr>().is_ok() || rest.parse::<IpNet>().is_ok() {
            Ok((rest, None))
        } else {
            Err(format!(
                "`{text}`: an IPv6 address with a port is written in brackets, as in `[2001:db8::1]:443`"
            ))
        };
    }
    Ok(rest
        .split_once(':')
        .map_or((rest, None), |(host, port)| (host, Some(port))))
}

fn ports(text: &str, written: &str) -> Result<(u16, u16), String> {
    if written == "*" {
        return Ok((0, u16::MAX));
    }
    let number = |part: &str| {
        part.parse::<u16>().map_err(|_| {
            let named = PORT_NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(part));
            match named {
                Some((name, port)) => format!("`{text}`: ports are numbers; `{name}` is {port}"),
                None => format!("`{text}`: `{part}` is no port; expected 0 to 65535, a range a-b, or *"),
            }
        })
    };
    let (low, high) = match written.split_once('-') {
        Some((low, high)) => (number(low)?, number(high)?),
        None => (number(written)?, number(written)?),
    };
    if low > high {
        return Err(format!(
            "`{text}`: the range's ends are the wrong way round; write {high}-{low}"
        ));
    }
    Ok((low, high))
}

fn destination(text: &str, host: &str) -> Result<To, String> {
    let nets = |list: &[&str]| list.iter().filter_map(|net| net.parse().ok()).collect();
    if host == "*" {
        return Ok(To::Everything);
    }
    // However it is written: `127.0.0.1.` and full-width letters are no names that a lookup could give.
    let spelled = super::hostname::canonical(host).unwrap_or_else(|_| host.to_owned());
    if spelled == "localhost" {
        return Ok(To::Net(nets(&["127.0.0.0/8", "::1/128"])));
    }
    if let Ok(ip) = spelled.parse::<IpAddr>() {
        return Ok(To::Net(vec![IpNet::from(ip.to_canonical())]));
    }
    if let Some((address, prefix)) = host.split_once('/') {
        let address = address.trim_start_matches('[').trim_end_matches(']');
        return match format!("{address}/{prefix}").parse::<IpNet>() {
            Ok(net) => Ok(To::Net(vec![net.trunc()])),
            Err(_) if address.parse::<IpAddr>().is_ok() => Err(format!(
                "`{text}`: `/{prefix}` is no prefix length; expected 0 to {}",
                if address.contains(':') { 128 } else { 32 }
            )),
            Err(_) => Err(format!(
                "`{text}`: a `/` stands in CIDR blocks only (10.0.0.0/8, [fd00::]/8); for a host write `{address}`"
            )),
        };
    }
    if spelled.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!(
            "`{text}`: `{host}` is no IPv4 address (four numbers from 0 to 255) and no host's name"
        ));
    }
    Pattern::parse(host)
        .map(To::Host)
        .map_err(|reason| format!("`{text}`: {reason}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Decision, Endpoint, Entry, Scope, Verify};

    fn scope() -> Scope {
        Scope {
            workspace: "/ws".into(),
            home: "/h".into(),
            tmp: vec![],
            fold: false,
        }
    }

    fn parse(text: &str) -> Result<Entry, String> {
        Entry::parse(text, &scope())
    }

    #[test]
    fn entries_mean_what_they_say() {
        for (entry, ip, port, wanted) in [
            ("10.0.0.0/8:5432", "10.1.2.3", 5432, true),
            ("10.0.0.0/8:5432", "10.1.2.3", 5433, false),
            ("10.9.9.9/8:5432", "10.1.2.3", 5432, true),
            ("localhost:*", "127.0.0.9", 1, true),
            ("LOCALHOST.", "::1", 80, true),
            ("ｌocalhost", "127.0.0.1", 80, true),
            ("127.0.0.1.", "127.0.0.1", 80, true),
            ("１27.0.0.1:80", "127.0.0.1", 80, true),
            ("[::1]:3000", "::1", 3000, true),
            ("[fd00::]/8:22", "fd12::1", 22, true),
            ("[fd00::]/8:22", "fd12::1", 23, false),
            ("fd00::/8", "fd12::1", 23, true),
            ("::1", "::1", 80, true),
            ("::ffff:192.0.2.1", "192.0.2.1", 80, true),
            ("192.0.2.1:80-90", "192.0.2.1", 85, true),
            ("192.0.2.1:80-90", "192.0.2.2", 85, false),
            ("*:443", "192.0.2.2", 443, true),
            ("*:443", "192.0.2.2", 80, false),
            ("tcp:192.0.2.1:80", "192.0.2.1", 80, true),
            ("udp:192.0.2.1:80", "192.0.2.1", 80, false),
            ("api.example.com:443", "192.0.2.1", 443, false),
        ] {
            let entry = parse(entry).unwrap();
            assert_eq!(
                entry.matches(&Endpoint::Tcp(ip.parse().unwrap(), port)),
                wanted,
                "{entry:?}"
            );
        }
    }

    #[test]
    fn hosts_are_meant_by_name_port_and_protocol() {
        for (entry, name, port, udp, wanted) in [
            ("api.example.com:443", "api.example.com", 443, false, true),
            ("API.Example.COM.:443", "api.example.com", 443, false, true),
            ("api.example.com:443", "api.example.com", 80, false, false),
            ("api.example.com:443", "api.example.com", 443, true, false),
            ("api.example.com:443", "xapi.example.com", 443, false, false),
            ("*.example.com", "a.example.com", 1, false, true),
            ("*.example.com", "a.b.example.com", 1, false, true),
            ("*.example.com", "example.com", 1, false, false),
            ("*.example.com", "badexample.com", 1, false, false),
            ("udp:time.example.com:123", "time.example.com", 123, true, true),
            ("bücher.example:443", "xn--bcher-kva.example", 443, false, true),
            ("BÜCHER.example:443", "xn--bcher-kva.example", 443, false, true),
            ("*:443", "any.example", 443, false, true),
            ("10.0.0.0/8:443", "any.example", 443, false, false),
        ] {
            let entry = parse(entry).unwrap();
            let host = Endpoint::Host {
                udp,
                name,
                ip: None,
                port,
            };
            assert_eq!(entry.matches(&host), wanted, "{entry:?}");
        }
    }

    #[test]
    fn what_restricts_holds_for_datagrams_too_and_what_allows_does_not() {
        let udp = Endpoint::Udp("10.1.2.3".parse().unwrap(), 53);
        for (decision, wanted) in [
            (Decision::Block, true),
            (Decision::RequireApproval, true),
            (Decision::Warn, false),
            (Decision::Allow, false),
        ] {
            assert_eq!(
                parse("10.0.0.0/8").unwrap().deciding(decision).matches(&udp),
                wanted,
                "{decision}"
            );
        }
    }

    #[test]
    fn names_are_proved_by_default_where_the_port_says_how() {
        for (entry, port, wanted) in [
            ("a.example", 443, Verify::Tls),
            ("a.example", 80, Verify::Http),
            ("a.example", 22, Verify::None),
            ("a.example verify=none", 443, Verify::None),
            ("a.example:8443 verify=tls", 8443, Verify::Tls),
            ("192.0.2.1", 443, Verify::None),
            ("*", 443, Verify::None),
        ] {
            assert_eq!(parse(entry).unwrap().verify(port), wanted, "{entry}");
        }
    }

    #[test]
    fn resolvers_are_addresses() {
        let shown = |server: &super::Server| match &server.how {
            super::Asking::Plain => server.address.to_string(),
            super::Asking::Tls(name) => format!("{} tls {name}", server.address),
            super::Asking::Https(name, path) => format!("{} https {name} {path}", server.address),
        };
        for (text, wanted) in [
            ("192.0.2.1", Some("192.0.2.1:53")),
            ("192.0.2.1:5353", Some("192.0.2.1:5353")),
            ("[2001:db8::1]", Some("[2001:db8::1]:53")),
            ("2001:db8::1", Some("[2001:db8::1]:53")),
            ("[2001:db8::1]:54", Some("[2001:db8::1]:54")),
            ("dns.example", None),
            ("tls://192.0.2.1", Some("192.0.2.1:853 tls 192.0.2.1")),
            (
                "tls://[2001:db8::1]:8853#DNS.Example.",
                Some("[2001:db8::1]:8853 tls dns.example"),
            ),
            (
                "https://192.0.2.1#dns.example",
                Some("192.0.2.1:443 https dns.example /dns-query"),
            ),
            (
                "https://192.0.2.1:8443/q?x",
                Some("192.0.2.1:8443 https 192.0.2.1 /q?x"),
            ),
            ("tls://dns.example", None),
            ("tls://192.0.2.1/x", None),
            ("https://192.0.2.1/a b", None),
            ("quic://192.0.2.1", None),
            ("tls://192.0.2.1#a..b", None),
        ] {
            assert_eq!(
                super::server(text).ok().map(|server| shown(&server)).as_deref(),
                wanted,
                "{text}"
            );
        }
    }

    #[test]
    fn errors_name_the_entry_and_what_to_write() {
        for (bad, part) in [
            ("", "empty entry"),
            ("10.0.0.0/99", "0 to 32"),
            ("[fd00::]/200:1", "0 to 128"),
            ("1.2.3.4:99999", "0 to 65535"),
            ("[::1", "`]`"),
            ("[::1]x", "`[::1]:443`"),
            ("2001:db8::1:443:x", "in brackets"),
            ("1.2.3:80", "no IPv4 address"),
            ("1.2.3.256", "no IPv4 address"),
            ("x.example:9-1", "1-9"),
            ("https://api.example.com/v1", "write `api.example.com:443`"),
            ("https://api.example.com:8443", "write `api.example.com:8443`"),
            ("api.example.com/v1", "for a host write `api.example.com`"),
            ("api.example.com:https", "`https` is 443"),
            (".example.com", "`*.example.com`"),
            ("*example.com", "`*.example.com`"),
            ("a.*.example.com", "first label"),
            ("a..example", "empty label"),
            ("a_b!.example", "letters, digits"),
            ("a.example verify=ssl", "tls, http or none"),
            ("a.example addresses=10", "no CIDR block"),
            ("a.example: 443", "is no port"),
            ("a.example 443", "`443` is not understood"),
            ("udp:a.example:443 verify=tls", "remove `verify=`"),
            ("unix:", "a path is missing"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}
