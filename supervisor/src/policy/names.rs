//! What the policy says about names: which are looked up, where they may point, how they are proved.

use std::net::IpAddr;

use super::engine::Policy;
use super::types::{Endpoint, NetOp, Subject, Verdict, Verify};
use crate::decision::Decision;

/// Ports that a lookup is tried with; rules with more borders than that are looked at in part, which can only refuse more.
const BORDERS_MAX: usize = 64;

/// Ranges that a public name does not point at unless a rule says so: RFC 6890 and its successors, with documentation ranges left out.
const SPECIAL: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    "::/128",
    "::1/128",
    "64:ff9b:1::/48",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];
/// Of those, the ranges of organisations' own networks.
const PRIVATE: &[&str] = &[
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
];
/// Names that exist in such networks only; RFC 8375, and ICANN's reservation of `internal`.
const INTERNAL: &[&str] = &[".internal", ".home.arpa"];

fn within(list: &[&str], ip: IpAddr) -> bool {
    list.iter()
        .any(|net| net.parse::<ipnet::IpNet>().is_ok_and(|net| net.contains(&ip)))
}

/// Whether an address is one of the special ranges that rebinding aims at; an address that a NAT64 translates (RFC 6052) counts as what it
/// stands for.
fn is_special(ip: IpAddr) -> bool {
    let ip = match ip.to_canonical() {
        IpAddr::V6(v6) if v6.octets().starts_with(&[0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::from([a, b, c, d])
        }
        other => other,
    };
    within(SPECIAL, ip)
}

impl Policy {
    /// Whether any rule is about hosts by name, or lets every host be reached: else there is nothing to look up.
    #[must_use]
    pub fn looks_up(&self) -> bool {
        let host = |udp| Endpoint::Host {
            udp,
            name: "",
            ip: None,
            port: 443,
        };
        self.destinations()
            .any(|(entry, decision)| decision < Decision::Block && (entry.is_name() || entry.names("")))
            || [false, true].iter().any(|udp| {
                self.network(NetOp::Connect, &host(*udp), &super::types::Nobody)
                    .decision
                    < Decision::RequireApproval
            })
    }

    /// Whether any rule is about hosts by name, and this is one of them.
    #[must_use]
    pub fn concerns(&self, name: &str) -> bool {
        self.destinations().any(|(entry, _)| entry.names(name))
    }

    /// Whether a rule that knows no exception blocks every host: what the most restrictive answer is then does not depend on the others.
    #[must_use]
    pub fn reaches_nothing(&self) -> bool {
        self.counting()
            .flat_map(|(_, pack)| &pack.connect)
            .any(|rule| rule.rule.decision == Decision::Block && rule.entry.is_everything() && rule.by.is_empty())
    }

    /// Whether a rule admits datagrams.
    #[must_use]
    pub fn admits_datagrams(&self) -> bool {
        self.destinations()
            .any(|(entry, decision)| decision < Decision::Block && entry.is_udp())
    }

    /// The answer to looking a name up: what the policy says to connecting there, on the port where it says the least. A default that asks
    /// for approval does not count: a name that no rule knows would leave the machine with the question.
    pub fn lookup(&self, name: &str, by: &dyn Subject) -> Verdict<'_> {
        let mut ports = Vec::new();
        let (mut named, mut udp) = (false, false);
        for (entry, _) in self.destinations().filter(|(entry, _)| entry.names(name)) {
            named = true;
            udp |= entry.is_udp();
            let (low, high) = entry.ports();
            ports.extend([low, high, low.saturating_sub(1), high.saturating_add(1)]);
        }
        ports.sort_unstable();
        ports.dedup();
        ports.truncate(BORDERS_MAX);
        if ports.is_empty() {
            ports.push(443);
        }
        let ask = |udp, port| {
            let ip = None;
            self.network(NetOp::Connect, &Endpoint::Host { udp, name, ip, port }, by)
        };
        let found = ports
            .iter()
            .flat_map(|port| [Some(ask(false, *port)), udp.then(|| ask(true, *port))])
            .flatten()
            .filter(|verdict| named || verdict.decision != Decision::RequireApproval)
            .min_by_key(|verdict| verdict.decision);
        let Some(verdict) = found else {
            let verdict = ask(false, 443);
            return Verdict::as_by(Decision::Block, verdict.rule);
        };
        // A default that asks, beside rules that only block, is none of those rules.
        if verdict.decision == Decision::RequireApproval && verdict.rule.pattern.is_empty() {
            return Verdict::as_by(Decision::Block, verdict.rule);
        }
        verdict
    }

    /// The answer to a connection to an address that lookups of `names` have given: the strictest rule over the names, and a default only where
    /// no rule knows any of them. Returns the name that it is about, where there is one.
    pub fn connect<'n>(
        &self,
        udp: bool,
        ip: IpAddr,
        port: u16,
        names: &'n [std::sync::Arc<str>],
        by: &dyn Subject,
    ) -> (Verdict<'_>, Option<&'n str>) {
        let names = names.iter().filter(|name| self.is_placed(name, ip));
        let verdicts = names.map(|name| {
            let host = Endpoint::Host {
                udp,
                name,
                ip: Some(ip),
                port,
            };
            (self.network(NetOp::Connect, &host, by), &**name)
        });
        let by_rule = |verdict: &Verdict<'_>| !verdict.rule.pattern.is_empty() || verdict.decision == Decision::Allow;
        let strictest = verdicts.max_by_key(|(verdict, _)| (by_rule(verdict), verdict.decision));
        match strictest {
            Some((verdict, name)) => (verdict, Some(name)),
            None => {
                let endpoint = if udp {
                    Endpoint::Udp(ip, port)
                } else {
                    Endpoint::Tcp(ip, port)
                };
                (self.network(NetOp::Connect, &endpoint, by), None)
            }
        }
    }

    /// Whether a lookup of the name may answer with this address: every ordinary one, and a special one only where a rule places the name
    /// there, or lets the address be reached by itself.
    #[must_use]
    pub fn may_be_at(&self, name: &str, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.is_placed(name, ip)
            || self
                .destinations()
                .any(|(entry, decision)| decision < Decision::Block && !entry.is_name() && entry.places(ip))
    }

    /// Whether rules about the name hold at this address: a special one must be placed by the name's own rule.
    fn is_placed(&self, name: &str, ip: IpAddr) -> bool {
        !is_special(ip)
            || INTERNAL.iter().any(|suffix| name.ends_with(suffix)) && within(PRIVATE, ip)
            || self.destinations().any(|(entry, decision)| {
                decision < Decision::Block && entry.is_name() && entry.names(name) && entry.places(ip)
            })
    }

    /// How a name is to be proved on a connection to this port: as the strictest of the rules about it says.
    #[must_use]
    pub fn verify(&self, name: &str, port: u16) -> Verify {
        let host = Endpoint::Host {
            udp: false,
            name,
            ip: None,
            port,
        };
        self.destinations()
            .filter(|(entry, decision)| *decision < Decision::Block && entry.matches(&host))
            .map(|(entry, _)| entry.verify(port))
            .max()
            .unwrap_or(Verify::None)
    }

    /// The servers that are asked instead of the machine's.
    #[must_use]
    pub fn resolvers(&self) -> Vec<super::Server> {
        self.packs
            .iter()
            .flat_map(|(_, pack)| pack.resolvers.iter().cloned())
            .collect()
    }

    /// The names that rules spell out and do not only block.
    #[must_use]
    pub fn literal_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .destinations()
            .filter(|(_, decision)| *decision < Decision::Block)
            .filter_map(|(entry, _)| entry.literal_name().map(str::to_owned))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;
    use std::sync::Arc;

    use super::is_special;
    use crate::decision::Decision::{self, Allow, Block, RequireApproval, Warn};
    use crate::policy::{Endpoint, NetOp, Nobody, Policy, Profile, Request, Scope, Verify, load};

    fn policy(network: &str) -> Policy {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yaml");
        std::fs::write(&file, format!("metadata: {{id: t}}\nnetwork:\n{network}\n")).unwrap();
        load(&Request {
            launch: &[file.display().to_string()],
            profile: &Profile::load(Some("default"), "x", &[]).unwrap(),
            machine_dir: Path::new("/nonexistent"),
            repository: None,
            search: &[],
            scope: &Scope {
                workspace: "/ws".into(),
                home: "/h".into(),
                tmp: vec![],
                fold: false,
            },
            system_trees: &[],
            env: &|_| None,
            agent: "",
            admits: None,
        })
        .unwrap()
    }

    const RULES: &str = r#"
  default: block
  allow: ["api.example.com:443", "*.cdn.example:443 addresses=127.0.0.1", "10.0.0.0/8:5432", "169.254.169.254:80", "udp:time.example:123"]
  warn: ["warned.example:443"]
  require_approval: ["asked.example:443"]
  block: ["evil.cdn.example", "10.6.6.6"]"#;

    #[test]
    fn only_names_that_a_rule_allows_or_asks_about_are_looked_up() {
        for (rules, name, wanted) in [
            (RULES, "api.example.com", Allow),
            (RULES, "x.api.example.com", Block),
            (RULES, "a.b.cdn.example", Allow),
            (RULES, "cdn.example", Block),
            (RULES, "evil.cdn.example", Block),
            (RULES, "asked.example", RequireApproval),
            (RULES, "warned.example", Warn),
            (RULES, "time.example", Allow),
            (RULES, "other.example", Block),
            ("  default: allow", "any.example", Allow),
            ("  default: require_approval", "any.example", Block),
            ("  allow: [\"a.example:443\"]", "any.example", Block),
            ("  allow: [\"*:443\"]\n  block: [\"b.example\"]", "any.example", Allow),
            ("  allow: [\"*:443\"]\n  block: [\"b.example\"]", "b.example", Block),
            (
                "  allow: [\"b.example\"]\n  block: [\"b.example:0-442\", \"b.example:444-65535\"]",
                "b.example",
                Allow,
            ),
        ] {
            assert_eq!(policy(rules).lookup(name, &Nobody).decision, wanted, "{name}: {rules}");
        }
        assert!(policy(RULES).looks_up());
        assert!(!policy("  default: block\n  allow: [\"10.0.0.0/8\"]").looks_up());
        assert!(policy("  default: allow").looks_up());
    }

    #[test]
    fn a_connection_is_judged_by_what_its_address_was_told_for() {
        let policy = policy(RULES);
        let decide = |names: &[&str], ip: &str, port: u16| -> Decision {
            let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
            policy
                .connect(false, ip.parse().unwrap(), port, &names, &Nobody)
                .0
                .decision
        };
        for (names, ip, port, wanted) in [
            (&["api.example.com"][..], "192.0.2.1", 443, Allow),
            (&["api.example.com"], "192.0.2.1", 80, Block),
            (&[], "192.0.2.1", 443, Block),
            (&["api.example.com", "asked.example"], "192.0.2.1", 443, RequireApproval),
            // A name that no rule knows for this port takes nothing away.
            (&["api.example.com", "time.example"], "192.0.2.1", 443, Allow),
            // Rules about the address hold besides.
            (&["api.example.com"], "10.6.6.6", 443, Block),
            (&["api.example.com"], "10.1.1.1", 5432, Allow),
            // A name that points at a special address has no rule there: rebinding gains nothing.
            (&["api.example.com"], "10.1.1.1", 443, Block),
            (&["api.example.com"], "127.0.0.1", 443, Block),
            (&["a.cdn.example"], "127.0.0.1", 443, Allow),
            (&["a.cdn.example"], "127.0.0.2", 443, Block),
            (&["evil.cdn.example", "a.cdn.example"], "192.0.2.1", 443, Block),
            // The metadata service, by a name and by the address that a rule names.
            (&["api.example.com"], "169.254.169.254", 443, Block),
            (&[], "169.254.169.254", 80, Allow),
            (&[], "100.100.100.200", 80, Block),
        ] {
            assert_eq!(decide(names, ip, port), wanted, "{names:?} {ip} {port}");
        }
        let udp = |ip: &str, port| policy.connect(true, ip.parse().unwrap(), port, &[], &Nobody).0.decision;
        assert_eq!(udp("10.1.1.1", 5432), Block);
        assert_eq!(udp("10.6.6.6", 1), Block);
    }

    #[test]
    fn names_point_at_special_addresses_only_where_a_rule_places_them() {
        let policy = policy(RULES);
        for (name, ip, wanted) in [
            ("api.example.com", "192.0.2.1", true),
            ("api.example.com", "127.0.0.1", false),
            ("api.example.com", "::ffff:192.168.1.1", false),
            ("api.example.com", "169.254.1.1", false),
            ("api.example.com", "10.2.3.4", true),
            ("x.cdn.example", "127.0.0.1", true),
            ("x.cdn.example", "127.0.0.2", false),
            ("db.internal", "192.168.1.1", true),
            ("db.internal", "127.0.0.1", false),
        ] {
            assert_eq!(policy.may_be_at(name, ip.parse().unwrap()), wanted, "{name} {ip}");
        }
        assert_eq!(policy.verify("api.example.com", 443), Verify::Tls);
        assert_eq!(policy.verify("other.example", 443), Verify::None);
    }

    #[test]
    fn allowing_to_connect_is_not_allowing_to_listen() {
        let policy = policy("  default: block\n  allow: [\"0.0.0.0:80\", \"bind:0.0.0.0:8080\", \"*:22\"]");
        let bind = |ip: &str, port| {
            let endpoint = Endpoint::Tcp(ip.parse().unwrap(), port);
            policy.network(NetOp::Bind, &endpoint, &Nobody).decision
        };
        assert_eq!(bind("0.0.0.0", 8080), Allow);
        assert_eq!(bind("0.0.0.0", 80), Block);
        assert_eq!(bind("192.0.2.1", 22), Block);
        assert_eq!(bind("127.0.0.1", 5), Allow);
        let endpoint = Endpoint::Tcp("0.0.0.0".parse().unwrap(), 8080);
        assert_eq!(policy.network(NetOp::Connect, &endpoint, &Nobody).decision, Block);
    }

    #[test]
    fn special_ranges_are_known_in_every_spelling() {
        for (ip, wanted) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("169.254.169.254", true),
            ("fd00:ec2::254", true),
            ("fe80::1", true),
            ("64:ff9b::a00:1", true),
            ("64:ff9b::808:808", false),
            ("0.0.0.0", true),
            ("172.32.0.1", false),
            ("192.0.2.1", false),
            ("8.8.8.8", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(ip.parse().map(is_special), Ok(wanted), "{ip}");
        }
    }
}
