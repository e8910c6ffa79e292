//! Messages where the policy admits datagrams: what may name an address in memory is decided, on every socket.

use nix::errno::Errno;

use super::table::{Answer, Cond, Row, Width};

/// `SO_ZEROCOPY`, include/uapi/asm-generic/socket.h.
const SO_ZEROCOPY: u64 = 60;

/// Changes the rows so that datagram sockets can be handed out. A filter does not see which socket a descriptor means: all messages are decided.
pub fn mediate_messages(rows: &mut [Row]) {
    for row in rows {
        match row.name {
            "sendmsg" | "sendmmsg" => {
                row.otherwise = Answer::Notify;
                row.reason = "the policy admits datagrams: a message may name an address";
            }
            "socketpair" => {
                let datagrams = Cond::Masked(1, Width::Low32, 0xf, libc::SOCK_DGRAM.cast_unsigned().into());
                row.cases.retain(|(_, test)| !test.contains(&datagrams));
            }
            // Completions speak of the caller's pages, and what is sent is a copy.
            "setsockopt" => row.cases.push((
                Answer::Refuse(Errno::EOPNOTSUPP),
                vec![
                    Cond::Is(1, Width::Low32, libc::SOL_SOCKET.cast_unsigned().into()),
                    Cond::Is(2, Width::Low32, SO_ZEROCOPY),
                ],
            )),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Answer, mediate_messages};

    #[test]
    fn messages_are_decided_and_pairs_handed_out() {
        let mut rows = crate::filter::rows(false);
        let cases =
            |rows: &[crate::filter::Row], name: &str| rows.iter().find(|row| row.name == name).unwrap().cases.len();
        let (pairs, options) = (cases(&rows, "socketpair"), cases(&rows, "setsockopt"));
        mediate_messages(&mut rows);
        for name in ["sendmsg", "sendmmsg"] {
            let row = rows.iter().find(|row| row.name == name).unwrap();
            assert_eq!((row.otherwise, row.cases.len()), (Answer::Notify, 1), "{name}");
        }
        assert_eq!(
            (cases(&rows, "socketpair"), cases(&rows, "setsockopt")),
            (pairs - 1, options + 1)
        );
        crate::filter::compile(&rows).unwrap();
    }
}
