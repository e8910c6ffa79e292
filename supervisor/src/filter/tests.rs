//! The table against the kernel's own list, its page, and the compiled programs row by row.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

use seccompiler::BpfProgram;

use super::{Answer, Cond, RET_USER_NOTIF, Row, Width, compile, leave_reads, rows};

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_I386`, include/uapi/linux/audit.h.
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
/// `__X32_SYSCALL_BIT`, arch/x86/include/uapi/asm/unistd.h.
const X32: i64 = 0x4000_0000;

/// struct seccomp_data, include/uapi/linux/seccomp.h.
struct Data {
    nr: i64,
    arch: u32,
    args: [u64; 6],
}

impl Data {
    fn word(&self, at: u32) -> u32 {
        match at {
            0 => self.nr as u32,
            4 => self.arch,
            16..64 => {
                let arg = self.args[(at as usize - 16) / 8];
                if at.is_multiple_of(8) {
                    arg as u32
                } else {
                    (arg >> 32) as u32
                }
            }
            _ => 0,
        }
    }
}

/// What a classic BPF program returns; the instructions that seccomp(2) admits and seccompiler writes.
fn run(program: &BpfProgram, data: &Data) -> u32 {
    let (mut a, mut pc) = (0u32, 0usize);
    loop {
        let step = &program[pc];
        pc += 1;
        let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
        match step.code {
            0x20 => a = data.word(step.k),
            0x54 => a &= step.k,
            0x05 => pc += step.k as usize,
            0x15 => pc += jump(a == step.k),
            0x25 => pc += jump(a > step.k),
            0x35 => pc += jump(a >= step.k),
            0x45 => pc += jump(a & step.k != 0),
            0x06 => return step.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

/// What the kernel does with all programs' answers: the one that comes first of KILL, TRAP, ERRNO, USER_NOTIF, TRACE, LOG, ALLOW.
fn answer(data: &Data) -> u32 {
    answer_of(&compile(&rows(false)).unwrap(), data)
}

fn answer_of(programs: &super::Programs, data: &Data) -> u32 {
    let order = |ret: u32| (ret & 0xffff_0000).cast_signed();
    programs
        .plain
        .iter()
        .chain([&programs.notify])
        .map(|program| run(program, data))
        .min_by_key(|ret| order(*ret))
        .unwrap()
}

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const fn errno(errno: i32) -> u32 {
    0x0005_0000 | errno.cast_unsigned()
}

fn wanted(answer: Answer) -> u32 {
    match answer {
        Answer::Native => ALLOW,
        Answer::Notify => RET_USER_NOTIF,
        Answer::Refuse(number) => errno(number as i32),
        Answer::Pretend => errno(0),
    }
}

#[test]
fn the_table_compiles_and_fits_the_kernels_limit() {
    let programs = compile(&rows(false)).unwrap();
    for program in programs.plain.iter().chain([&programs.notify]) {
        assert!(program.len() <= 4096, "{} instructions", program.len());
        // The kernel takes no jump beyond the end, reached or not.
        for (at, step) in program.iter().enumerate().filter(|(_, step)| step.code & 7 == 5) {
            let far = if step.code == 0x05 {
                step.k as usize
            } else {
                usize::from(step.jt.max(step.jf))
            };
            assert!(at + 1 + far < program.len(), "a jump beyond the end at {at}");
        }
        assert_eq!(program.last().map(|step| step.code), Some(0x06));
    }
}

#[test]
fn no_call_has_two_rows() {
    let mut seen = HashSet::new();
    for row in rows(false) {
        assert!(seen.insert(row.nr), "{}", row.name);
    }
}

/// A register that satisfies one test, with its upper half as it likes where the kernel reads the lower only.
fn satisfy(args: &mut [u64; 6], cond: Cond, noise: u64) {
    let upper = |width, value: u64| match width {
        Width::Low32 => value & 0xffff_ffff | noise << 32,
        Width::All64 => value,
    };
    match cond {
        Cond::Is(arg, width, value) => args[usize::from(arg)] = upper(width, value),
        Cond::IsNot(arg, width, value) => {
            if args[usize::from(arg)] & 0xffff_ffff == value & 0xffff_ffff {
                args[usize::from(arg)] = upper(width, value ^ 0x4000_0000);
            }
        }
        Cond::Masked(arg, width, mask, value) => {
            let keep = args[usize::from(arg)] & !mask;
            args[usize::from(arg)] = upper(width, keep | value);
        }
    }
}

fn holds(args: &[u64; 6], cond: &Cond) -> bool {
    let cut = |arg: u8, width| match width {
        Width::Low32 => args[usize::from(arg)] & 0xffff_ffff,
        Width::All64 => args[usize::from(arg)],
    };
    match *cond {
        Cond::Is(arg, width, value) => cut(arg, width) == value,
        Cond::IsNot(arg, width, value) => cut(arg, width) != value,
        Cond::Masked(arg, width, mask, value) => cut(arg, width) & mask == value,
    }
}

/// What the table says of a call with these registers: a refusal outranks a notification, which outranks native.
fn by_table(row: &Row, args: &[u64; 6]) -> u32 {
    let matching = row
        .cases
        .iter()
        .filter(|(_, conditions)| conditions.iter().all(|cond| holds(args, cond)))
        .map(|(answer, _)| wanted(*answer))
        .min_by_key(|ret| (ret & 0xffff_0000).cast_signed());
    // The row's own answer holds for every call that no case makes stricter.
    let plain = wanted(row.otherwise);
    [matching.unwrap_or(plain), plain]
        .into_iter()
        .min_by_key(|ret| (ret & 0xffff_0000).cast_signed())
        .unwrap()
}

#[test]
fn each_row_is_answered_as_the_table_says_whatever_the_upper_halves_hold() {
    let mut checked = 0;
    for row in rows(false) {
        let mut samples = vec![[0u64; 6], [u64::MAX; 6], [0xffff_ffff_0000_0000; 6]];
        for (_, conditions) in &row.cases {
            for noise in [0, 1, 0xdead_beef, 0xffff_ffff] {
                let mut args = [0u64; 6];
                // Twice: a later test may undo what an earlier one asked of the same register.
                for cond in conditions.iter().chain(conditions) {
                    satisfy(&mut args, *cond, noise);
                }
                assert!(
                    conditions.iter().all(|cond| holds(&args, cond)),
                    "{}: {conditions:?}",
                    row.name
                );
                samples.push(args);
            }
        }
        for args in samples {
            let data = Data {
                nr: row.nr,
                arch: X86_64,
                args,
            };
            assert_eq!(answer(&data), by_table(&row, &args), "{} {args:x?}", row.name);
            checked += 1;
        }
    }
    assert!(checked > 1000, "{checked}");
}

#[test]
fn of_opens_that_are_left_to_the_kernel_only_those_are_native_that_read() {
    let mut rows = rows(false);
    leave_reads(&mut rows);
    let programs = compile(&rows).unwrap();
    let (tmpfile, largefile) = (libc::O_TMPFILE & !libc::O_DIRECTORY, 0o100_000);
    let harmless = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_EXCL | largefile;
    for (flags, native) in [
        (libc::O_RDONLY, true),
        (harmless, true),
        (
            libc::O_APPEND | libc::O_NOATIME | libc::O_SYNC | libc::O_ASYNC | libc::O_DIRECT,
            true,
        ),
        (libc::O_WRONLY, false),
        (libc::O_RDWR, false),
        (libc::O_ACCMODE, false),
        (libc::O_CREAT, false),
        (libc::O_TRUNC, false),
        (libc::O_DIRECTORY, false),
        (tmpfile, false),
        (libc::O_TMPFILE, false),
        (harmless | libc::O_TRUNC, false),
        (harmless | libc::O_RDWR, false),
        (!libc::O_PATH, false),
        // A descriptor of O_PATH reads nothing, with whatever else.
        (libc::O_PATH, true),
        (libc::O_PATH | libc::O_DIRECTORY | libc::O_RDWR, true),
    ] {
        for upper in [0, 1, 0xdead_beef, 0xffff_ffff_u64] {
            for (nr, arg) in [(libc::SYS_open, 1), (libc::SYS_openat, 2)] {
                let mut args = [0; 6];
                args[arg] = u64::from(flags.cast_unsigned()) | upper << 32;
                let data = Data { nr, arch: X86_64, args };
                let wanted = if native { ALLOW } else { RET_USER_NOTIF };
                assert_eq!(answer_of(&programs, &data), wanted, "{flags:#o} {upper:#x}");
            }
        }
    }
    for nr in [libc::SYS_openat2, libc::SYS_creat, libc::SYS_execve] {
        let data = Data {
            nr,
            arch: X86_64,
            args: [0; 6],
        };
        assert_eq!(answer_of(&programs, &data), RET_USER_NOTIF, "{nr}");
    }
}

#[test]
fn what_is_in_no_row_does_not_exist() {
    let known: HashSet<i64> = rows(false).iter().map(|row| row.nr).collect();
    for nr in (0..1024)
        .filter(|nr| !known.contains(nr))
        .chain([4096, i64::from(u32::MAX)])
    {
        let data = Data {
            nr,
            arch: X86_64,
            args: [0; 6],
        };
        assert_eq!(answer(&data), errno(libc::ENOSYS), "{nr}");
    }
}

#[test]
fn foreign_tables_are_shut() {
    for nr in [0, 2, 5, 11, 59, 257, 322] {
        let foreign = Data {
            nr,
            arch: I386,
            args: [0; 6],
        };
        assert_eq!(answer(&foreign) & 0xffff_0000, KILL, "{nr}");
        let x32 = Data {
            nr: nr | X32,
            arch: X86_64,
            args: [0; 6],
        };
        assert_eq!(answer(&x32), errno(libc::ENOSYS), "{nr}");
    }
}

/// A call that the kernel's headers name and the table does not is a decision that nobody took.
#[test]
#[cfg(target_arch = "x86_64")]
fn each_call_that_the_kernels_headers_name_has_a_row() {
    let places = [
        "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "/usr/include/asm/unistd_64.h",
    ];
    let Some(header) = places.iter().find_map(|place| std::fs::read_to_string(place).ok()) else {
        println!("SKIPPED: the kernel's headers are not installed (linux-libc-dev)");
        return;
    };
    let table: BTreeMap<&str, i64> = rows(false).iter().map(|row| (row.name, row.nr)).collect();
    let mut missing = Vec::new();
    let mut compared = 0;
    for line in header.lines() {
        let Some((name, number)) = line.strip_prefix("#define __NR_").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        compared += 1;
        match table.get(name) {
            Some(nr) => assert_eq!(number.trim().parse(), Ok(*nr), "{name}"),
            // The C library has no name for these three, and Linux no code since 2.6: they fall to the default.
            None if ["create_module", "get_kernel_syms", "query_module"].contains(&name) => {}
            None => missing.push(name.to_owned()),
        }
    }
    assert!(compared > 300, "{compared} calls in the header");
    assert!(missing.is_empty(), "no row for {}", missing.join(" "));
}

fn page() -> String {
    let mut text = String::from(
        "# What happens to each system call\n\n\
         Made from `supervisor/src/filter/table.rs` by `UPDATE_PAGES=1 cargo test -p cavra --lib filter`. A call that is not here fails with ENOSYS; so do \
         x32 numbers. A foreign architecture's table ends the process. Tests of arguments look at the bits that the kernel reads.\n",
    );
    let answer = |answer: Answer| match answer {
        Answer::Native => "native".to_owned(),
        Answer::Notify => "decided".to_owned(),
        Answer::Refuse(errno) => format!("{errno:?}"),
        Answer::Pretend => "answered 0, not done".to_owned(),
    };
    let test = |cond: &Cond| match *cond {
        Cond::Is(arg, _, value) => format!("a{arg} = {value:#x}"),
        Cond::IsNot(arg, _, value) => format!("a{arg} ≠ {value:#x}"),
        Cond::Masked(arg, _, mask, value) => format!("a{arg} & {mask:#x} = {value:#x}"),
    };
    let mut groups: BTreeMap<(String, &str), Vec<&'static str>> = BTreeMap::new();
    let rows = rows(false);
    for row in rows.iter().filter(|row| row.cases.is_empty()) {
        groups
            .entry((answer(row.otherwise), row.reason))
            .or_default()
            .push(row.name);
    }
    text.push_str("\n| calls | answer | why |\n|---|---|---|\n");
    for ((answer, reason), names) in groups {
        let _ = writeln!(text, "| {} | {answer} | {reason} |", names.join(" "));
    }
    text.push_str("\n## By argument\n\n| call | where | answer | why |\n|---|---|---|---|\n");
    for row in rows.iter().filter(|row| !row.cases.is_empty()) {
        for (strict, conditions) in &row.cases {
            let tests: Vec<String> = conditions.iter().map(test).collect();
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                row.name,
                tests.join(", "),
                answer(*strict),
                row.reason
            );
        }
        let _ = writeln!(text, "| {} | else | {} | |", row.name, answer(row.otherwise));
    }
    text
}

#[test]
fn the_page_of_calls_is_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/calls.md");
    if std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page(),
        "docs/calls.md is not the table's page: UPDATE_PAGES=1 cargo test -p cavra --lib filter"
    );
}
