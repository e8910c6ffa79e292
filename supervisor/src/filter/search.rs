//! Each call's tests as seccompiler writes them, found by a binary search over the numbers.
//!
//! seccompiler compares a call's number with one after the other, and knows one answer a program. A call whose arguments count runs all programs
//! each time, and the kernel runs each of them once for each number when it is loaded: so there are few, and each finds a call's tests at once.

use std::collections::{BTreeMap, BTreeSet};

use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, SeccompRule, sock_filter};

use super::ARCH;

/// `BPF_JMP | BPF_JA` and `BPF_JMP | BPF_JGE | BPF_K`, include/uapi/linux/bpf_common.h.
const JUMP: u16 = 0x05;
const JUMP_GE: u16 = 0x35;
/// `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_LD | BPF_W | BPF_ABS`, `BPF_RET | BPF_K`; where the call's number lies in struct seccomp_data.
const JUMP_EQ: u16 = 0x15;
const LOAD: u16 = 0x20;
const RET: u16 = 0x06;
const NUMBER: u32 = 0;
/// The call that is made most of those whose arguments count: the kernel remembers of the others that they are allowed whatever they hold. Each
/// program asks for it before it searches.
const FIRST: i64 = libc::SYS_openat;

/// Calls with their rules, for one answer: it is given where one of the rules holds, and for a call without any always.
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A program that gives each call of `known` the first answer of which a rule holds, else ALLOW; and `unknown` to all other calls.
pub(super) fn program(
    known: &BTreeSet<i64>,
    answers: Vec<(SeccompAction, Rules)>,
    unknown: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let compiled = |rules, answer: &SeccompAction| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, SeccompAction::Allow, answer.clone(), ARCH)?.try_into()
    };
    let answer = |action: SeccompAction| jump(RET, 0, 0, action.into());
    // The architecture's test.
    let mut whole = compiled(BTreeMap::new(), &SeccompAction::Log)?;
    whole.pop();
    let tested = whole.len();
    let mut chains: BTreeMap<i64, BpfProgram> = BTreeMap::new();
    for (action, rules) in answers {
        for (nr, rules) in rules {
            let mut chain = Vec::new();
            if rules.is_empty() {
                chain.push(answer(action.clone()));
            } else {
                // What remains behind the test loads the number, and ends with ALLOW twice, where no rule holds and for other calls: there the
                // next answer's rules go on.
                chain = compiled(BTreeMap::from([(nr, rules)]), &action)?.split_off(tested);
                chain.truncate(chain.len().saturating_sub(2));
            }
            chains.entry(nr).or_default().extend(chain);
        }
    }
    let mut of_calls = chains;
    let chains: Vec<(u32, BpfProgram)> = known
        .iter()
        .map(|nr| {
            let number = u32::try_from(*nr).unwrap_or(u32::MAX);
            let mut chain = vec![jump(JUMP_EQ, 1, 0, number), answer(unknown.clone())];
            chain.extend(of_calls.remove(nr).unwrap_or_default());
            chain.push(answer(SeccompAction::Allow));
            (number, chain)
        })
        .collect();
    whole.push(jump(LOAD, 0, 0, NUMBER));
    if let Some((number, chain)) = chains.iter().find(|(nr, _)| i64::from(*nr) == FIRST) {
        let far = u32::try_from(chain.len()).unwrap_or(u32::MAX);
        whole.extend([jump(JUMP_EQ, 1, 0, *number), jump(JUMP, 0, 0, far)]);
        whole.extend(chain.iter().cloned());
    }
    match chains.as_slice() {
        [] => whole.push(answer(unknown)),
        chains => search(chains, &mut whole),
    }
    Ok(whole)
}

const fn jump(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Halves the numbers until one is left, whose chain compares it and answers.
fn search(chains: &[(u32, BpfProgram)], out: &mut BpfProgram) {
    let (low, high) = chains.split_at(chains.len() / 2);
    match (low, high) {
        ([], high) => out.extend(high.iter().flat_map(|(_, chain)| chain.iter().cloned())),
        (low, high) => {
            let (mut below, mut above) = (Vec::new(), Vec::new());
            search(low, &mut below);
            search(high, &mut above);
            let least = high.first().map_or(u32::MAX, |(nr, _)| *nr);
            // Conditional jumps reach 255 instructions.
            let far = u32::try_from(below.len()).unwrap_or(u32::MAX);
            out.extend([jump(JUMP_GE, 0, 1, least), jump(JUMP, 0, 0, far)]);
            out.append(&mut below);
            out.append(&mut above);
        }
    }
}
