//! Ancillary data of messages: what of it is sent on, and what the rest is called.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::judge::Matter;
use super::messages::{Socket, half, word};
use super::{Call, Stop, fixed};

/// `SCM_MAX_FD`, include/net/scm.h.
const PASSED_MAX: usize = 253;
/// struct cmsghdr. cmsg(3).
const CONTROL_HEADER: usize = 16;

/// Ancillary data that datagrams of the internet families may carry: source address and interface, hop limits, classes, segment size, times.
/// Everything else is refused, source routes (IP_RETOPTS, IPV6_RTHDR and its older kin) among it. ip(7), ipv6(7), udp(7).
const HARMLESS: &[(i32, i32)] = &[
    (libc::IPPROTO_IP, libc::IP_PKTINFO),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
    (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG),
    (libc::SOL_UDP, libc::UDP_SEGMENT),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPING),
    (libc::SOL_SOCKET, libc::SCM_TXTIME),
];

/// What else a program can mean, by the names of its headers: bits/socket.h, linux/in.h, linux/in6.h, linux/udp.h, linux/tls.h.
const NAMES: &[(i32, i32, &str)] = &[
    (libc::SOL_SOCKET, libc::SCM_RIGHTS, "SCM_RIGHTS"),
    (libc::SOL_SOCKET, libc::SCM_CREDENTIALS, "SCM_CREDENTIALS"),
    (libc::SOL_SOCKET, 3, "SCM_SECURITY"),
    (libc::SOL_SOCKET, 4, "SCM_PIDFD"),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP, "SCM_TIMESTAMP"),
    (libc::SOL_SOCKET, libc::SO_MARK, "SO_MARK"),
    (libc::SOL_SOCKET, libc::SO_PRIORITY, "SO_PRIORITY"),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPING, "SO_TIMESTAMPING"),
    (libc::SOL_SOCKET, libc::SCM_TXTIME, "SCM_TXTIME"),
    (libc::IPPROTO_IP, libc::IP_TOS, "IP_TOS"),
    (libc::IPPROTO_IP, libc::IP_TTL, "IP_TTL"),
    (libc::IPPROTO_IP, libc::IP_RETOPTS, "IP_RETOPTS"),
    (libc::IPPROTO_IP, libc::IP_PKTINFO, "IP_PKTINFO"),
    (libc::IPPROTO_IP, 52, "IP_PROTOCOL"),
    (libc::IPPROTO_IPV6, 2, "IPV6_2292PKTINFO"),
    (libc::IPPROTO_IPV6, 3, "IPV6_2292HOPOPTS"),
    (libc::IPPROTO_IPV6, 4, "IPV6_2292DSTOPTS"),
    (libc::IPPROTO_IPV6, 5, "IPV6_2292RTHDR"),
    (libc::IPPROTO_IPV6, 8, "IPV6_2292HOPLIMIT"),
    (libc::IPPROTO_IPV6, 11, "IPV6_FLOWINFO"),
    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, "IPV6_PKTINFO"),
    (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, "IPV6_HOPLIMIT"),
    (libc::IPPROTO_IPV6, 54, "IPV6_HOPOPTS"),
    (libc::IPPROTO_IPV6, 55, "IPV6_RTHDRDSTOPTS"),
    (libc::IPPROTO_IPV6, 57, "IPV6_RTHDR"),
    (libc::IPPROTO_IPV6, 59, "IPV6_DSTOPTS"),
    (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, "IPV6_DONTFRAG"),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, "IPV6_TCLASS"),
    (libc::SOL_UDP, libc::UDP_SEGMENT, "UDP_SEGMENT"),
    (libc::SOL_UDP, libc::UDP_GRO, "UDP_GRO"),
    (libc::SOL_TLS, 1, "TLS_SET_RECORD_TYPE"),
];

/// A field by its name, with the numbers behind.
fn described(level: i32, kind: i32) -> String {
    let name = NAMES
        .iter()
        .find(|(known, of, _)| (*known, *of) == (level, kind))
        .map_or("ancillary data of an unknown kind", |(.., name)| name);
    format!("{name} (level {level}, type {kind})")
}

/// The ancillary data to send in place of the caller's, and the descriptors in it.
pub(super) fn ancillary(call: &Call<'_>, socket: &Socket, control: &[u8]) -> Result<(Vec<u8>, Vec<OwnedFd>), Stop> {
    let mut own = control.to_vec();
    let mut passed = Vec::new();
    if socket.is_inet() && socket.streams() || socket.domain == libc::AF_NETLINK {
        return Ok((own, passed));
    }
    let mut at = 0;
    // CMSG_OK and CMSG_NXTHDR, include/linux/socket.h.
    while own.len().saturating_sub(at) >= CONTROL_HEADER {
        let len = usize::try_from(word(&own, at)?).map_err(|_| Errno::EINVAL)?;
        let kind = (half(&own, at + 8)?.cast_signed(), half(&own, at + 12)?.cast_signed());
        if len < CONTROL_HEADER || len > own.len() - at {
            return Err(Errno::EINVAL.into());
        }
        let data = own.get_mut(at + CONTROL_HEADER..at + len).ok_or(Errno::EINVAL)?;
        let unix = socket.domain == libc::AF_UNIX;
        match kind {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) if unix => {
                for number in data.chunks_exact_mut(4) {
                    if passed.len() >= PASSED_MAX {
                        return Err(Errno::EINVAL.into());
                    }
                    let fd = call.duplicate(half(number, 0)?.cast_signed())?;
                    number.copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
                    passed.push(fd);
                }
            }
            kind if !unix && HARMLESS.contains(&kind) => {}
            (level, kind) => {
                let target = described(level, kind);
                let matter = Matter {
                    action: "network_connect",
                    operation: "ancillary",
                    target: target.as_bytes(),
                    object: None,
                    argv: None,
                };
                return Err(call.refuse_fixed(&matter, &fixed::ANCILLARY, Errno::EPERM));
            }
        }
        at += (len + 7) & !7;
    }
    Ok((own, passed))
}

#[cfg(test)]
mod tests {
    use super::{HARMLESS, NAMES, described};

    #[test]
    fn fields_have_the_names_of_their_headers() {
        assert_eq!(described(1, 1), "SCM_RIGHTS (level 1, type 1)");
        assert_eq!(described(0, 7), "IP_RETOPTS (level 0, type 7)");
        assert_eq!(described(-1, 9), "ancillary data of an unknown kind (level -1, type 9)");
        for kind in HARMLESS {
            assert!(
                NAMES.iter().any(|(level, of, _)| (*level, *of) == *kind),
                "{kind:?} has no name"
            );
        }
        for (at, (level, kind, name)) in NAMES.iter().enumerate() {
            let twice = NAMES
                .iter()
                .skip(at + 1)
                .any(|(other, of, _)| (other, of) == (level, kind));
            assert!(!twice, "{name} stands for what another stands for");
        }
    }
}
