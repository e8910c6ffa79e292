//! Kinds of sockets in words: for prompts and records about those that are not handed out.

/// Families without kinds that anybody asks for, and what people call their sockets. address_families(7).
const FAMILIES: &[(i32, &str)] = &[
    (libc::AF_PACKET, "packet socket"),
    (libc::AF_NETLINK, "netlink socket"),
    (libc::AF_VSOCK, "socket to virtual machines (vsock)"),
    (libc::AF_ALG, "socket for the kernel's ciphers (AF_ALG)"),
    (libc::AF_BLUETOOTH, "Bluetooth socket"),
    (libc::AF_CAN, "CAN socket"),
    (libc::AF_TIPC, "TIPC socket"),
    (libc::AF_RDS, "RDS socket"),
    (libc::AF_XDP, "XDP socket"),
    (libc::AF_KEY, "socket for IPsec keys (AF_KEY)"),
    (libc::AF_NFC, "NFC socket"),
    (libc::AF_PPPOX, "PPPoX socket"),
];

/// What is asked of `socket(2)`, in words with the numbers behind.
pub(super) fn described(family: i32, kind: i32, protocol: i32) -> String {
    let words = match family {
        libc::AF_INET => format!("{} over IPv4", internet(kind, protocol)),
        libc::AF_INET6 => format!("{} over IPv6", internet(kind, protocol)),
        libc::AF_UNIX if kind == libc::SOCK_DGRAM => "unix datagram socket".to_owned(),
        libc::AF_UNIX => "unix socket of an unknown kind".to_owned(),
        _ => FAMILIES
            .iter()
            .find(|(known, _)| *known == family)
            .map_or("socket of an unknown kind", |(_, words)| words)
            .to_owned(),
    };
    format!("{words} (family {family}, type {kind}, protocol {protocol})")
}

fn internet(kind: i32, protocol: i32) -> &'static str {
    match (kind, protocol) {
        (libc::SOCK_RAW, _) => "raw socket",
        (_, libc::IPPROTO_SCTP) => "SCTP socket",
        (libc::SOCK_STREAM, libc::IPPROTO_MPTCP) => "MPTCP socket",
        (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => "UDP socket",
        (libc::SOCK_DGRAM, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6) => "ping socket",
        (libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE) => "UDP-Lite socket",
        (_, libc::IPPROTO_DCCP) => "DCCP socket",
        _ => "socket of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::described;

    #[test]
    fn sockets_have_names_that_people_know() {
        for (numbers, words) in [
            ((10, 2, 0), "UDP socket over IPv6 (family 10, type 2, protocol 0)"),
            ((2, 1, 262), "MPTCP socket over IPv4 (family 2, type 1, protocol 262)"),
            ((16, 3, 9), "netlink socket (family 16, type 3, protocol 9)"),
            ((-1, 7, 0), "socket of an unknown kind (family -1, type 7, protocol 0)"),
        ] {
            let (family, kind, protocol) = numbers;
            assert_eq!(described(family, kind, protocol), words);
        }
    }
}
