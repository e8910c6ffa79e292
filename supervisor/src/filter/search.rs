//! Each call's tests as seccompiler writes them, found by a binary search over the numbers.
//!
//! seccompiler compares a call's number with one after the other. What is notified runs all programs to their ends each time, and the kernel runs
//! each of them once for each number when it is loaded: with 350 calls the comparisons were the dearest part of a decided open.

use std::collections::BTreeMap;

use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, SeccompRule, sock_filter};

use super::ARCH;

/// `BPF_JMP | BPF_JA` and `BPF_JMP | BPF_JGE | BPF_K`, include/uapi/linux/bpf_common.h.
const JUMP: u16 = 0x05;
const JUMP_GE: u16 = 0x35;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
const JUMP_EQ: u16 = 0x15;
/// The call that is made most of those whose arguments count: the kernel remembers of the others that they are allowed whatever they hold. Each
/// program asks for it before it searches.
const FIRST: i64 = libc::SYS_openat;

/// A program that answers `matched` where the rules of a call hold (a call without rules: always), else `mismatch`.
pub(super) fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    mismatch: &SeccompAction,
    matched: &SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let compiled = |rules| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, mismatch.clone(), matched.clone(), ARCH)?.try_into()
    };
    // The architecture's test, and the answer to what has no rule.
    let mut whole = compiled(BTreeMap::new())?;
    let Some(default) = whole.pop() else { return Ok(whole) };
    let tested = whole.len();
    let mut chains: Vec<(u32, BpfProgram)> = Vec::with_capacity(rules.len());
    for (nr, rules) in rules {
        // What remains behind the test begins with the load of the number, and ends with an answer.
        let chain = compiled(BTreeMap::from([(nr, rules)]))?.split_off(tested);
        chains.push((u32::try_from(nr).unwrap_or(u32::MAX), chain));
    }
    match chains.as_slice() {
        [] => whole.push(default),
        [(_, first), ..] => {
            whole.extend(first.first().cloned());
            let known = chains.iter().find(|(nr, _)| i64::from(*nr) == FIRST);
            let answer: BpfProgram = match known {
                Some((_, chain)) => chain.iter().skip(1).cloned().collect(),
                None => vec![default],
            };
            whole.extend([
                jump(JUMP_EQ, 1, 0, u32::try_from(FIRST).unwrap_or(u32::MAX)),
                jump(JUMP, 0, 0, u32::try_from(answer.len()).unwrap_or(u32::MAX)),
            ]);
            whole.extend(answer);
            search(&chains, &mut whole);
        }
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
        ([], high) => out.extend(high.iter().flat_map(|(_, chain)| chain.iter().skip(1).cloned())),
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
