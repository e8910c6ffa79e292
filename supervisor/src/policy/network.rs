//! Network entries: `"host-or-address[:port[-port]|*]"`, CIDR, `[v6]:port`, `localhost`, `unix:/path`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::pattern::{Glob, Role, expand};
use super::types::{Endpoint, Scope};

/// One entry, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Addresses and ports, both ends included.
    Net(Vec<IpNet>, u16, u16),
    /// A unix socket's path.
    Unix(Vec<Glob>),
    /// A host's name: matches no address by itself.
    Name(String),
}

impl Entry {
    /// Parses one entry; the error says what was expected.
    pub(crate) fn parse(text: &str, scope: &Scope) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return expand(path, scope, Role::Note).map(Self::Unix);
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| format!("`{text}`: the `]` of an IPv6 address is missing"))?;
            (host, rest.strip_prefix(':'))
        } else if text.matches(':').count() > 1 {
            (text, None)
        } else {
            text.split_once(':')
                .map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let number = |text: &str| {
            text.parse::<u16>()
                .map_err(|_| format!("`{text}` is no port (0 to 65535, a range a-b, or *)"))
        };
        let (low, high) = match port {
            None | Some("*") => (0, u16::MAX),
            Some(range) => match range.split_once('-') {
                Some((low, high)) => (number(low)?, number(high)?),
                None => (number(range)?, number(range)?),
            },
        };
        if low > high {
            return Err(format!("`{text}`: the range's ends are the wrong way round"));
        }
        let nets = |list: &[&str]| list.iter().filter_map(|net| net.parse().ok()).collect();
        if host == "localhost" {
            return Ok(Self::Net(nets(&["127.0.0.0/8", "::1/128"]), low, high));
        }
        if host == "*" {
            return Ok(Self::Net(nets(&["0.0.0.0/0", "::/0"]), low, high));
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Self::Net(vec![IpNet::from(ip)], low, high));
        }
        if host.contains('/') {
            return host
                .parse::<IpNet>()
                .map(|net| Self::Net(vec![net], low, high))
                .map_err(|_| format!("`{host}` is no CIDR block (10.0.0.0/8, fd00::/8)"));
        }
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'*')
        };
        if host.trim_end_matches('.').split('.').all(label) && !host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Ok(Self::Name(host.to_ascii_lowercase()));
        }
        Err(format!(
            "`{text}` is neither an address, a CIDR block, a host's name, `localhost` nor `unix:/path`"
        ))
    }

    /// Whether the other end is meant.
    #[must_use]
    pub(crate) fn matches(&self, endpoint: &Endpoint<'_>) -> bool {
        match (self, endpoint) {
            (Self::Net(nets, low, high), Endpoint::Tcp(ip, port)) => {
                (low..=high).contains(&port) && nets.iter().any(|net| net.contains(ip))
            }
            (Self::Unix(globs), Endpoint::Unix(path)) => globs.iter().any(|glob| glob.matches(path)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Endpoint, Entry, Scope};

    #[test]
    fn entries_mean_what_they_say() {
        let scope = Scope {
            workspace: "/ws".into(),
            home: "/h".into(),
            tmp: vec![],
        };
        for (entry, ip, port, wanted) in [
            ("10.0.0.0/8:5432", "10.1.2.3", 5432, true),
            ("10.0.0.0/8:5432", "10.1.2.3", 5433, false),
            ("localhost:*", "127.0.0.9", 1, true),
            ("localhost", "::1", 80, true),
            ("[::1]:3000", "::1", 3000, true),
            ("192.0.2.1:80-90", "192.0.2.1", 85, true),
            ("192.0.2.1:80-90", "192.0.2.2", 85, false),
            ("api.example.com:443", "192.0.2.1", 443, false),
        ] {
            let entry = Entry::parse(entry, &scope).unwrap();
            assert_eq!(
                entry.matches(&Endpoint::Tcp(ip.parse().unwrap(), port)),
                wanted,
                "{entry:?}"
            );
        }
        for bad in ["10.0.0.0/99", "1.2.3.4:99999", "[::1", "1.2.3:80", "a b", "x:9-1"] {
            assert!(Entry::parse(bad, &scope).is_err(), "{bad}");
        }
    }
}
