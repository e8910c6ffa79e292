//! The machine's own configuration: servers, search domains, hosts; and what the session reads instead.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::policy::canonical_name;

/// Servers that a stub asks; MAXNS, resolv.h.
const SERVERS_MAX: usize = 3;
/// Names of /etc/hosts that are kept; block lists have hundreds of thousands, which are not of this session.
const HOSTS_MAX: usize = 10_000;

/// What `/etc/resolv.conf` says. resolv.conf(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    /// Whom to ask, in this order.
    pub servers: Vec<SocketAddr>,
    /// How long one server has for its answer.
    pub timeout: Duration,
    /// How often the list is gone through.
    pub attempts: u32,
    /// Lines that the session's programs need as they are: search domains.
    search: Vec<String>,
    /// Options that change which names are asked for, and not how.
    options: Vec<String>,
}

impl Conf {
    /// Reads the text. What is wrong in it is passed over, as C libraries do.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            attempts: 2,
            search: Vec::new(),
            options: Vec::new(),
        };
        for line in text.lines() {
            let mut words = line
                .split(['#', ';'])
                .next()
                .unwrap_or_default()
                .split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A scope behind `%` is for link-local addresses, which an address by itself can not reach.
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    if let Some(ip) = server.filter(|_| conf.servers.len() < SERVERS_MAX) {
                        conf.servers.push(SocketAddr::new(ip, 53));
                    }
                }
                Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push(SocketAddr::from(([127, 0, 0, 1], 53)));
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let number = |prefix: &str| word.strip_prefix(prefix).and_then(|n| n.parse::<u32>().ok());
        if let Some(seconds) = number("timeout:") {
            self.timeout = Duration::from_secs(u64::from(seconds.clamp(1, 30)));
        } else if let Some(attempts) = number("attempts:") {
            self.attempts = attempts.clamp(1, 5);
        } else if number("ndots:").is_some() {
            self.options.push(word.to_owned());
        }
    }

    /// What the session's programs read: one server, asked over TCP by every library that can.
    #[must_use]
    pub fn substitute(&self, server: IpAddr) -> String {
        let mut text = format!("# of this session: names are resolved by its supervisor\nnameserver {server}\n");
        if !self.search.is_empty() {
            text.push_str(&format!("search {}\n", self.search.join(" ")));
        }
        text.push_str(&format!(
            "options use-vc timeout:20 attempts:1 {}\n",
            self.options.join(" ")
        ));
        text
    }

    /// Whether a name is looked up as it stands before any search domain is put behind: it has as many dots as `ndots`.
    #[must_use]
    pub fn is_asked_first(&self, name: &str) -> bool {
        let mut ndots = self
            .options
            .iter()
            .filter_map(|option| option.strip_prefix("ndots:")?.parse().ok());
        name.matches('.').count() >= ndots.next_back().unwrap_or(1).max(1)
    }

    /// `name` without a search domain at its end.
    #[must_use]
    pub fn without_search<'n>(&self, name: &'n str) -> Option<&'n str> {
        self.search
            .iter()
            .filter_map(|domain| canonical_name(domain).ok())
            .find_map(|domain| name.strip_suffix(domain.as_str())?.strip_suffix('.'))
    }
}

/// `/etc/hosts`: names with their addresses. hosts(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    /// Reads the text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(ip) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
                continue;
            };
            for name in words.filter_map(|word| canonical_name(word).ok()) {
                if hosts.len() < HOSTS_MAX || hosts.contains_key(&name) {
                    hosts.entry(name).or_default().push(ip);
                }
            }
        }
        Self(hosts)
    }

    /// The addresses of a name.
    #[must_use]
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Each name with its addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[IpAddr])> {
        self.0.iter().map(|(name, ips)| (name.as_str(), ips.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Conf, Hosts};

    #[test]
    fn servers_and_options_are_read_as_c_libraries_do() {
        let conf = Conf::parse(
            "; old\nnameserver 192.0.2.1 # first\nnameserver fd00::1\nnameserver x\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n\
             search a.example b.example\noptions ndots:5 timeout:1 attempts:9 rotate edns0\n",
        );
        let servers: Vec<String> = conf.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[fd00::1]:53", "192.0.2.3:53"]);
        assert_eq!((conf.timeout.as_secs(), conf.attempts), (1, 5));
        let text = conf.substitute([127, 64, 0, 1].into());
        for part in [
            "\nnameserver 127.64.0.1\n",
            "\nsearch a.example b.example\n",
            " use-vc ",
            " ndots:5",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(conf.without_search("x.y.b.example"), Some("x.y"));
        assert_eq!(conf.without_search("b.example"), None);
        assert_eq!(Conf::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn hosts_are_known_by_every_name() {
        let hosts = Hosts::parse("127.0.0.1 localhost\n::1 localhost # v6\n192.0.2.7\tDB.example db\n#x y\nbad z\n");
        assert_eq!(hosts.addresses("localhost").len(), 2);
        assert_eq!(hosts.addresses("db.example"), hosts.addresses("db"));
        assert!(hosts.addresses("z").is_empty());
    }
}
