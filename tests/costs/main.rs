//! What the supervisor spends on one mediated call, in system calls and instructions: counted, so it is no matter of clocks or load.
//!
//! The limits are the figures of the table below with a stated margin. A change that exceeds one either is a mistake, or raises the figure
//! and says why; one that makes calls cheaper lowers it. `CAVRA_BIN_DIR=target/release cargo test -p cavra-tests --test costs` counts the
//! optimised build, whose figures docs/performance.md uses.

mod benches;
mod meter;
mod receivers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cavra_tests::*;
use meter::{Spent, Window};

/// One mediated call and what it costs, unoptimised and optimised.
struct Cost {
    /// An operation of benches/micro.c.
    operation: &'static str,
    number: i64,
    /// System calls of the supervisor.
    calls: [f64; 2],
    /// Its instructions outside the kernel.
    instructions: [u64; 2],
}

/// Instructions over the figure that are no failure: compilers and libraries differ a little.
const MARGIN_PERCENT: u64 = 10;
/// System calls over the figure, in the mean of a hundred: now and then memory is got or a record's buffer written.
const SLACK: f64 = 0.5;
/// Sessions in which one call is to be stepped through.
const TRIES: u32 = 5;

#[rustfmt::skip]
const COSTS: &[Cost] = &[
    // Unoptimised, the standard library asks fcntl(2) about each descriptor before it closes it.
    Cost { operation: "absolute", number: libc::SYS_openat, calls: [9.0, 8.0], instructions: [24_943, 3_400] },
    Cost { operation: "relative", number: libc::SYS_openat, calls: [11.0, 10.0], instructions: [31_126, 5_125] },
    Cost { operation: "symlink", number: libc::SYS_openat, calls: [10.0, 9.0], instructions: [36_240, 5_282] },
    Cost { operation: "missing", number: libc::SYS_openat, calls: [6.0, 6.0], instructions: [11_111, 1_518] },
    Cost { operation: "static", number: libc::SYS_execve, calls: [48.0, 42.0], instructions: [760_387, 100_966] },
    Cost { operation: "tcp", number: libc::SYS_connect, calls: [17.0, 16.0], instructions: [406_123, 40_713] },
];

fn main() -> std::process::ExitCode {
    let rows = COSTS.iter().map(|cost| {
        let name = format!("{}_costs_no_more_than_it_did", cost.operation);
        Case::new(name, move |user| within_limits(user, cost))
    });
    Suite::new("costs")
        .ordinary(rows)
        .ordinary(cases![needless_work_is_found_and_named])
        .ordinary(receivers::cases())
        .ordinary(benches::cases())
        .main()
}

fn within_limits(user: User, cost: &Cost) -> Verdict {
    let program = places::cavra_run(user)?;
    let spent = Both::of(user, &program, "", cost)?;
    println!("{}", spent.told(cost));
    let exceeded = spent.exceeded(cost);
    assert!(exceeded.is_empty(), "{}", exceeded.join("\n"));
    Ok(())
}

/// The guard itself: one system call more in each open, and some computing more, each fail it with their names; the same build without either
/// passes.
fn needless_work_is_found_and_named(user: User) -> Verdict {
    if is_optimised() {
        return skip("needless work is only in unoptimised builds; CAVRA_BIN_DIR names another one");
    }
    let program = places::faulty(user)?;
    let cost = &COSTS[0];
    let exceeded = |fault| Ok(Both::of(user, &program, fault, cost)?.exceeded(cost));
    assert_eq!(exceeded("none+")?, Vec::<String>::new());
    // The fault itself computes a little too: the call is named first.
    let called = exceeded("SYS_openat+")?;
    assert!(
        called
            .first()
            .is_some_and(|one| one.starts_with("absolute: 10.0 system calls") && one.contains("getppid")),
        "a system call more in each open: {called:?}"
    );
    let computed = exceeded("SYS_openat~")?;
    assert!(
        matches!(&computed[..], [one] if one.starts_with("absolute: ") && one.contains("instructions")),
        "more computing in each open: {computed:?}"
    );
    Ok(())
}

fn is_optimised() -> bool {
    places::products().ends_with("release")
}

/// What was counted: system calls at full length, instructions over a few calls.
struct Both {
    counted: Spent,
    stepped: Spent,
}

impl Both {
    fn of(user: User, program: &Path, fault: &str, cost: &Cost) -> Result<Self, Unmet> {
        // Always there: instructions go by the length of paths.
        let stage = Stage::below(Path::new("/tmp"), user)?;
        let micro = compiled(&stage, &places::repository().join("benches/micro.c"), "micro");
        let source = stage.write("empty.c", "int main(void) { return 0; }\n");
        let empty = compiled(&stage, &source, "empty");
        let run = |window| measure(&stage, program, fault, cost.operation, window, [&micro, &empty]);
        // The loader's opens and the program's own go before, and so many that a third thread receives. Steps take long: a tenth of a second a call,
        // ten times that without optimisation.
        let counting = Window {
            number: cost.number,
            after: 100,
            calls: 100,
            stepping: false,
        };
        let stepping = Window {
            calls: if is_optimised() { 3 } else { 1 },
            stepping: true,
            ..counting
        };
        let counted = run(counting)?;
        // On a crowded machine the stepped thread may be one too many by the end of its call: it ends, and is not counted.
        for _ in 0..TRIES {
            let stepped = run(stepping)?;
            if stepped.instructions > 0 {
                return Ok(Self { counted, stepped });
            }
        }
        panic!("{}: no call was stepped to its end in {TRIES} sessions", cost.operation)
    }

    fn told(&self, cost: &Cost) -> String {
        format!(
            "{}: {:.1} system calls, {} instructions; {}",
            cost.operation,
            self.counted.calls(),
            self.stepped.instructions,
            self.counted.names()
        )
    }

    /// What exceeds the row's limits, in words.
    fn exceeded(&self, cost: &Cost) -> Vec<String> {
        let build = usize::from(is_optimised());
        let (calls, instructions) = (cost.calls[build], cost.instructions[build]);
        let more_calls = (self.counted.calls() > calls + SLACK).then(|| {
            format!(
                "{}: {:.1} system calls of the supervisor, where {calls} are usual: {}",
                cost.operation,
                self.counted.calls(),
                self.counted.names()
            )
        });
        let limit = instructions + instructions * MARGIN_PERCENT / 100;
        let more_instructions = (self.stepped.instructions > limit).then(|| {
            format!(
                "{}: {} instructions of the supervisor, where {instructions} are usual and {limit} the limit",
                cost.operation, self.stepped.instructions
            )
        });
        more_calls.into_iter().chain(more_instructions).collect()
    }
}

fn compiled(stage: &Stage, source: &Path, name: &str) -> PathBuf {
    let out = stage.at("bin").join(name);
    let status = Command::new("cc")
        .args(["-O2", "-static", "-pthread", "-o"])
        .args([&out, source])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{name} does not compile");
    out
}

/// Has a session of `program` mediate the operation, with the default profile, a team's pack of 200 rules and evidence, and counts.
fn measure(
    stage: &Stage,
    program: &Path,
    fault: &str,
    operation: &str,
    window: Window,
    [micro, empty]: [&Path; 2],
) -> Result<Spent, Unmet> {
    let session = stage
        .session()
        .policy(places::repository().join("benches/pack.yaml"))
        .deadline(Duration::from_secs(240));
    // It stops itself where it can still be traced: the supervisor is not dumpable.
    let mut command = stage.command("sh")?;
    command
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(program)
        .args(&session.words()?[1..])
        .arg(micro)
        .args([operation, "1", &(window.after + window.calls + 10).to_string()])
        .arg(empty)
        .env("CAVRA_FAULT", fault);
    let live = session.launch(command);
    let pid = live.running.pid();
    until("the stop before the session's start", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.contains(") T ").then_some(())
    });
    let traced = std::thread::spawn(move || meter::trace(pid, window)).join();
    let spent = traced.expect("the tracer")?;
    live.finish().exits(0);
    assert_eq!(spent.seen, window.calls, "{operation}: not all calls were counted");
    Ok(spent)
}
