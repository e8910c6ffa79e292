//! The seccomp filter: the table's rows, compiled.
//!
//! Two programs are stacked: one refuses, the other notifies, and ERRNO outranks USER_NOTIF outranks ALLOW (seccomp(2), filter return
//! precedence). The one that notifies carries the listener; its marker action is rewritten to USER_NOTIF. Calls that no row allows fall to the
//! other one's default, ENOSYS; so do the x32 numbers.

mod messages;
mod reads;
mod search;
mod signals;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule, TargetArch,
};

pub use messages::mediate_messages;
pub use reads::leave_reads;
pub use signals::mediate_signals;
pub(crate) use table::INODE_IOCTLS;
pub use table::{Answer, Cond, Row, Width, rows};

/// `SECCOMP_RET_USER_NOTIF`, include/uapi/linux/seccomp.h.
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
/// What the notify program returns until it is rewritten; `SECCOMP_RET_TRACE | MARK`.
const MARK: u16 = 0x4341;
/// `SECCOMP_RET_TRACE`.
const RET_TRACE: u32 = 0x7ff0_0000;
/// `BPF_RET | BPF_K`.
const BPF_RET_K: u16 = 0x06;

/// The compiled programs in the order in which they are loaded; the last is loaded with a listener.
#[derive(Debug)]
pub struct Programs {
    /// Plain programs.
    pub plain: Vec<BpfProgram>,
    /// The program whose matches are notified.
    pub notify: BpfProgram,
}

/// Compiles the table.
pub fn compile(rows: &[Row]) -> Result<Programs, BackendError> {
    let mut known = BTreeSet::new();
    let mut notify = BTreeMap::new();
    let mut refuse: BTreeMap<i32, BTreeMap<i64, Vec<SeccompRule>>> = BTreeMap::new();
    for row in rows {
        let mut place = |answer: Answer, rules: Option<Vec<SeccompRule>>| {
            let slot = match answer {
                Answer::Native => return,
                Answer::Notify => notify.entry(row.nr),
                Answer::Refuse(errno) => refuse.entry(errno as i32).or_default().entry(row.nr),
                Answer::Pretend => refuse.entry(0).or_default().entry(row.nr),
            };
            slot.or_insert_with(Vec::new).extend(rules.unwrap_or_default());
        };
        if row.otherwise == Answer::Refuse(Errno::ENOSYS) && row.cases.is_empty() {
            continue;
        }
        known.insert(row.nr);
        place(row.otherwise, None);
        for (answer, conditions) in &row.cases {
            let conditions = conditions.iter().map(Cond::compile).collect::<Result<Vec<_>, _>>()?;
            place(*answer, Some(vec![SeccompRule::new(conditions)?]));
        }
    }
    let refusals = refuse.into_iter();
    let refusals = refusals.map(|(errno, rules)| (SeccompAction::Errno(errno.cast_unsigned()), rules));
    let enosys = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let plain = vec![search::program(&known, refusals.collect(), enosys)?];
    let notified = notify.keys().copied().collect();
    let marked = vec![(SeccompAction::Trace(MARK.into()), notify)];
    let mut notify = search::program(&notified, marked, SeccompAction::Allow)?;
    for instruction in &mut notify {
        if instruction.code == BPF_RET_K && instruction.k == RET_TRACE | u32::from(MARK) {
            instruction.k = RET_USER_NOTIF;
        }
    }
    Ok(Programs { plain, notify })
}

/// What is refused becomes native: the table without its refusals, for tests of what they are worth.
pub(crate) fn refuse_nothing(rows: &mut [Row]) {
    for row in rows {
        row.cases.retain(|(answer, _)| !matches!(answer, Answer::Refuse(_)));
        if matches!(row.otherwise, Answer::Refuse(_)) {
            row.otherwise = Answer::Native;
        }
    }
}

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

impl Cond {
    fn compile(&self) -> Result<SeccompCondition, BackendError> {
        let (arg, width, op, value) = match *self {
            Self::Is(arg, width, value) => (arg, width, SeccompCmpOp::Eq, value),
            Self::IsNot(arg, width, value) => (arg, width, SeccompCmpOp::Ne, value),
            Self::Masked(arg, width, mask, value) => (arg, width, SeccompCmpOp::MaskedEq(mask), value),
        };
        let width = match width {
            Width::Low32 => SeccompCmpArgLen::Dword,
            Width::All64 => SeccompCmpArgLen::Qword,
        };
        SeccompCondition::new(arg, width, op, value)
    }
}

#[cfg(test)]
mod tests;
