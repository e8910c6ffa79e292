//! Counts what the supervisor does for one mediated call: its system calls and, by single steps, its user-space instructions.
//!
//! The supervisor is traced as strace would trace it, the tree is not. No clock and no counter of the processor is read, so the figures
//! are the same on a loaded machine, in a virtual one and under emulation.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use cavra_tests::{Unmet, skip};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// `SECCOMP_IOCTL_NOTIF_RECV`, and what else the listener is asked for; include/uapi/linux/seccomp.h.
pub const RECEIVE: u64 = 0xc050_2100;
const LISTENER: [(u64, &str); 4] = [
    (RECEIVE, "NOTIF_RECV"),
    (0xc018_2101, "NOTIF_SEND"),
    (0x4008_2102, "NOTIF_ID_VALID"),
    (0x4018_2103, "NOTIF_ADDFD"),
];
/// `data.nr` in `struct seccomp_notif`.
const NUMBER_AT: u64 = 16;
/// What a thread sleeps in that looks after the others by the clock, and replaces receivers that are slow, as a traced one is: such a thread is
/// held while calls are counted.
const SLEEP: i64 = libc::SYS_clock_nanosleep;
/// The thread that is told of each TCP socket that ends in the network namespace: what it does is other programs' doing too.
const HEARS_OF_OTHERS: &str = "account";

/// Which calls are counted.
#[derive(Clone, Copy)]
pub struct Window {
    /// The notified call.
    pub number: i64,
    /// How many of them go before: the loader's, and what fills caches.
    pub after: u32,
    /// How many are counted.
    pub calls: u32,
    /// Whether instructions are counted too; a call takes a thousand times as long then.
    pub stepping: bool,
}

/// What was done for one call.
pub struct Spent {
    /// System calls by name, in the mean over the window, of all threads but those that sleep by the clock or hear of other programs.
    pub system_calls: BTreeMap<String, f64>,
    /// User-space instructions between receiving and receiving again or parking, the median of the window; 0 without stepping.
    pub instructions: u64,
    /// Calls that the window saw.
    pub seen: u32,
}

impl Spent {
    /// System calls in all.
    pub fn calls(&self) -> f64 {
        self.system_calls.values().sum()
    }

    /// Their names, the frequent ones first.
    pub fn names(&self) -> String {
        let mut sorted: Vec<_> = self.system_calls.iter().filter(|(_, count)| **count >= 0.05).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(a.1));
        let words: Vec<_> = sorted
            .iter()
            .map(|(name, count)| {
                if **count == 1.0 {
                    (*name).clone()
                } else {
                    format!("{name} {count:.1}")
                }
            })
            .collect();
        words.join(", ")
    }
}

/// One traced thread.
#[derive(Default)]
struct Thread {
    inside: bool,
    /// The call that a signal ended, and its second argument.
    interrupted: Option<(u64, u64)>,
    /// Steps of the call that it handles, when that one is stepped.
    steps: Option<u64>,
    at: u64,
}

struct Tracer {
    window: Window,
    names: HashMap<u64, String>,
    memory: File,
    code: HashMap<u64, Option<Box<[u8; 4096]>>>,
    threads: HashMap<Pid, Thread>,
    parked: HashSet<Pid>,
    matched: u32,
    counts: HashMap<(u64, u64), u32>,
    instructions: Vec<u64>,
}

/// Traces the process `pid`, which has stopped itself and then becomes the supervisor, until the window has passed.
pub fn trace(pid: i32, window: Window) -> Result<Spent, Unmet> {
    let leader = Pid::from_raw(pid);
    let options = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC;
    if let Err(errno) = ptrace::seize(leader, options) {
        return skip(format!("no tracing here: {errno}"));
    }
    let _ = kill(leader, Signal::SIGCONT);
    let mut tracer = Tracer {
        window,
        names: names_of_calls(),
        memory: File::open("/dev/null").unwrap(),
        code: HashMap::new(),
        threads: HashMap::new(),
        parked: HashSet::new(),
        matched: 0,
        counts: HashMap::new(),
        instructions: Vec::new(),
    };
    // Only what this thread traces; other tests of the program have children too.
    let flags = WaitPidFlag::from_bits_retain(libc::__WALL | libc::__WNOTHREAD);
    loop {
        match waitpid(Pid::from_raw(-1), Some(flags)) {
            Ok(status) => tracer.meet(leader, status),
            Err(Errno::EINTR) => {}
            Err(_) => break,
        }
    }
    tracer.spent()
}

impl Tracer {
    fn meet(&mut self, leader: Pid, status: WaitStatus) {
        match status {
            WaitStatus::PtraceEvent(tid, _, libc::PTRACE_EVENT_EXEC) => {
                // Another program: other memory. Undumpable soon, but the descriptor stays good.
                if let Ok(memory) = File::open(format!("/proc/{leader}/mem")) {
                    self.memory = memory;
                }
                self.code.clear();
                self.go_on(tid, None);
            }
            WaitStatus::PtraceEvent(tid, ..) => self.go_on(tid, None),
            WaitStatus::PtraceSyscall(tid) => self.at_system_call(tid),
            WaitStatus::Stopped(tid, Signal::SIGTRAP) => {
                if let Some(Thread { steps: Some(_), .. }) = self.threads.get(&tid) {
                    self.stepped(tid);
                } else {
                    self.go_on(tid, None);
                }
            }
            WaitStatus::Stopped(tid, signal) => self.go_on(tid, Some(signal)),
            WaitStatus::Exited(tid, _) | WaitStatus::Signaled(tid, ..) => {
                self.threads.remove(&tid);
                self.parked.remove(&tid);
            }
            _ => {}
        }
    }

    fn is_open(&self) -> bool {
        self.matched > self.window.after && self.matched <= self.window.after + self.window.calls
    }

    /// Lets a stopped thread run: to its next step, to its next system call, or for good once all has been counted.
    fn go_on(&mut self, tid: Pid, signal: Option<Signal>) {
        let stepping = self.threads.get(&tid).is_some_and(|thread| thread.steps.is_some());
        // ESRCH: it was killed meanwhile, and its end is reported next.
        let _ = if stepping {
            ptrace::step(tid, signal)
        } else if self.matched > self.window.after + self.window.calls {
            ptrace::detach(tid, signal)
        } else {
            ptrace::syscall(tid, signal)
        };
    }

    fn at_system_call(&mut self, tid: Pid) {
        let Ok(registers) = ptrace::getregs(tid) else { return };
        let call = registers.orig_rax;
        let thread = self.threads.entry(tid).or_default();
        thread.inside = !thread.inside;
        let entering = thread.inside;
        let sleeps = call == SLEEP.cast_unsigned();
        // A wait that tracing itself has interrupted: SIGCHLD, that a thread gets for each stop of a task that the supervisor traces, is ignored,
        // but not for a thread that is itself traced.
        let again =
            call == libc::SYS_restart_syscall.cast_unsigned() || thread.interrupted == Some((call, registers.rsi));
        let ended = registers.rax.cast_signed() == -i64::from(libc::EINTR);
        thread.interrupted = (!entering && ended).then_some((call, registers.rsi));
        if entering && !sleeps && !again && self.is_open() && !hears_of_others(tid) {
            self.count(call, registers.rsi);
        }
        if !entering && (call, registers.rsi) == (libc::SYS_ioctl.cast_unsigned(), RECEIVE) && registers.rax == 0 {
            self.received(tid, registers.rdx);
        }
        // The program would be over before a stepped call is, if others went on to serve it.
        let overtakes = !entering
            && registers.rsi == RECEIVE
            && self
                .threads
                .iter()
                .any(|(other, thread)| *other != tid && thread.steps.is_some());
        if sleeps && self.is_open() || overtakes {
            self.parked.insert(tid);
        } else {
            self.go_on(tid, None);
        }
    }

    fn received(&mut self, tid: Pid, notification: u64) {
        let mut number = [0; 4];
        if self
            .memory
            .read_exact_at(&mut number, notification + NUMBER_AT)
            .is_err()
            || i64::from(i32::from_le_bytes(number)) != self.window.number
        {
            return;
        }
        self.matched += 1;
        if self.is_open() {
            if self.window.stepping
                && let Some(thread) = self.threads.get_mut(&tid)
            {
                thread.steps = Some(0);
            }
        } else {
            for parked in std::mem::take(&mut self.parked) {
                self.go_on(parked, None);
            }
        }
    }

    /// One instruction was executed, or one round of a repeated one.
    fn stepped(&mut self, tid: Pid) {
        let Ok(registers) = ptrace::getregs(tid) else { return };
        let calls_kernel = self.instruction(registers.rip) == [0x0f, 0x05];
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let mut over = false;
        if registers.rip != thread.at {
            thread.steps = thread.steps.map(|steps| steps + 1);
            thread.at = registers.rip;
            if calls_kernel {
                // Where another thread receives by now, this one parks instead.
                let receives = (registers.rax, registers.rsi) == (libc::SYS_ioctl.cast_unsigned(), RECEIVE);
                if receives || registers.rax == libc::SYS_futex.cast_unsigned() {
                    self.instructions.extend(thread.steps.take());
                    over = true;
                } else if self.is_open() {
                    self.count(registers.rax, registers.rsi);
                }
            }
        }
        if over {
            for parked in std::mem::take(&mut self.parked) {
                self.go_on(parked, None);
            }
        }
        self.go_on(tid, None);
    }

    fn count(&mut self, number: u64, second: u64) {
        let asked = if number == libc::SYS_ioctl.cast_unsigned() {
            second
        } else {
            0
        };
        *self.counts.entry((number, asked)).or_default() += 1;
    }

    /// The two bytes at an address of the program; programs are read once, page by page.
    fn instruction(&mut self, at: u64) -> [u8; 2] {
        let memory = &self.memory;
        let page = self.code.entry(at / 4096).or_insert_with_key(|page| {
            let mut bytes = Box::new([0; 4096]);
            memory.read_exact_at(&mut bytes[..], page * 4096).ok().map(|()| bytes)
        });
        let offset = usize::try_from(at % 4096).unwrap();
        match page {
            Some(bytes) if offset < 4095 => [bytes[offset], bytes[offset + 1]],
            _ => [0; 2],
        }
    }

    fn spent(mut self) -> Result<Spent, Unmet> {
        if self.matched == 0 {
            return skip("the supervisor's memory is not readable by its tracer: the tests do not run as root");
        }
        let seen = self
            .matched
            .saturating_sub(self.window.after + 1)
            .min(self.window.calls);
        self.instructions.sort_unstable();
        let named = |(number, asked): (u64, u64)| match LISTENER.iter().find(|(request, _)| *request == asked) {
            Some((_, name)) => (*name).to_owned(),
            None => self
                .names
                .get(&number)
                .cloned()
                .unwrap_or_else(|| format!("call {number}")),
        };
        let mut system_calls = BTreeMap::new();
        for (key, count) in &self.counts {
            *system_calls.entry(named(*key)).or_default() += f64::from(*count) / f64::from(seen.max(1));
        }
        Ok(Spent {
            system_calls,
            instructions: self.instructions.get(self.instructions.len() / 2).copied().unwrap_or(0),
            seen,
        })
    }
}

fn hears_of_others(tid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{tid}/comm")).is_ok_and(|name| name.trim_end() == HEARS_OF_OTHERS)
}

/// Names of system calls, as the C library's headers have them.
fn names_of_calls() -> HashMap<u64, String> {
    let out = std::process::Command::new("sh")
        .args(["-c", "echo '#include <asm/unistd_64.h>' | cc -E -dM -"])
        .output();
    let text = out
        .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        .unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
            Some((number.trim().parse().ok()?, name.to_owned()))
        })
        .collect()
}
