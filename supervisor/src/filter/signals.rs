//! Signals where Landlock does not scope them (below ABI 6, Linux 6.12): each call that names a receiver is decided instead.

use nix::errno::Errno;

use super::table::{Answer, Cond, Row, Width};

/// Calls that send a signal to a process, thread or group that they name.
const SENDERS: &[&str] = &[
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "pidfd_send_signal",
];
/// `F_SETOWN_EX`, include/uapi/asm-generic/fcntl.h.
const F_SETOWN_EX: u64 = 15;
/// `FIOSETOWN` and `SIOCSPGRP`, include/uapi/asm-generic/sockios.h.
const SET_OWNER_IOCTLS: [u64; 2] = [0x8901, 0x8902];

/// Changes the rows so that no signal leaves the tree undecided. The owner of a descriptor gets its SIGIO, or whatever `F_SETSIG`
/// says, SIGKILL included: naming one is a way to send a signal. Only `F_SETOWN` has it in a register.
pub fn mediate_signals(rows: &mut [Row]) {
    for row in rows {
        if SENDERS.contains(&row.name) {
            row.otherwise = Answer::Notify;
            row.reason = "signals stay in the tree; this kernel's Landlock does not see to it";
        }
        if row.name == "fcntl" {
            let command = |command| vec![Cond::Is(1, Width::Low32, command)];
            row.cases = vec![
                (Answer::Notify, command(libc::F_SETOWN.cast_unsigned().into())),
                (Answer::Refuse(Errno::EPERM), command(F_SETOWN_EX)),
            ];
            row.reason = "the owner of a descriptor gets its signals: inside the tree only";
        }
        if row.name == "ioctl" {
            row.cases.extend(
                SET_OWNER_IOCTLS
                    .map(|request| (Answer::Refuse(Errno::EPERM), vec![Cond::Is(1, Width::Low32, request)])),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Answer, SENDERS, mediate_signals};

    #[test]
    fn every_sender_has_a_row_and_is_decided() {
        let mut rows = crate::filter::rows(false);
        mediate_signals(&mut rows);
        for name in SENDERS {
            let row = rows.iter().find(|row| row.name == *name).unwrap();
            assert_eq!(row.otherwise, Answer::Notify, "{name}");
        }
        let fcntl = rows.iter().find(|row| row.name == "fcntl").unwrap();
        assert_eq!(fcntl.cases.len(), 2);
        crate::filter::compile(&rows).unwrap();
    }
}
