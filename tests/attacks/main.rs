//! The attack corpus: every technique natively, under a naive supervisor or without the guard in question (its control), then inside a session.
//!
//! `cargo test --test attacks -- [WORD...] [--attempts N] [--full] [--write FILE]` runs the rows whose program or technique contains a WORD. Races
//! make the attempts that their rows say, or N, or with `--full` as many as the page shows and with what other test programs claim; FILE
//! becomes the page. With `--kernel-reads` the sessions leave reads to the kernel: what is refused there is refused all the same. A technique
//! fails when it wins inside, when it made fewer attempts than its row asks for, when its twin does not work, and when no control of it wins: then
//! it proves nothing. Run by an ordinary user it is skipped then, as the control may be root's. A class without any technique fails.

mod arena;
mod elsewhere;
mod launch;
mod page;
mod table;

use std::process::ExitCode;

use arena::{Arena, Guard};
use cavra_tests::{User, places, users};
use page::{Proof, Proofs};
use table::{FULL, ROWS, Row, Twin};

struct Options {
    words: Vec<String>,
    attempts: Option<u64>,
    full: bool,
    write: Option<String>,
    inside: &'static [&'static str],
}

fn options() -> Options {
    let mut found = Options {
        words: Vec::new(),
        attempts: None,
        full: false,
        write: None,
        inside: &[],
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--attempts" => found.attempts = args.next().and_then(|n| n.parse().ok()),
            "--full" => found.full = true,
            "--write" => found.write = args.next(),
            "--kernel-reads" => found.inside = &["--reads", "kernel"],
            // What `cargo test` passes to every test program.
            flag if flag.starts_with('-') => {}
            _ => found.words.push(arg),
        }
    }
    found
}

impl Options {
    fn chooses(&self, row: &Row) -> bool {
        let has = |word: &String| row.program.contains(word.as_str()) || row.technique.contains(word.as_str());
        self.words.is_empty() || self.words.iter().any(has)
    }

    fn attempts(&self, row: &Row) -> u64 {
        match self.attempts {
            _ if row.attempts == 1 => 1,
            Some(attempts) => attempts,
            None if self.full && row.is_race() => row.attempts.max(FULL),
            None => row.attempts,
        }
    }
}

fn main() -> ExitCode {
    let options = options();
    if !ROWS.iter().any(|row| options.chooses(row)) {
        eprintln!(
            "no row of tests/attacks/table.rs has {}: a WORD is a part of a program's name or of its argument",
            options.words.join(" or ")
        );
        return ExitCode::FAILURE;
    }
    let mut proofs = Proofs::default();
    shipped_programs_have_every_guard(&mut proofs);
    for user in users() {
        let arena = Arena::new(user, options.inside);
        let own = |row: &&Row| options.chooses(row) && !row.launch.is_anothers(user);
        for row in ROWS.iter().filter(own) {
            match arena.unmet(row) {
                Some(reason) => proofs.skip(user, row, reason),
                None => run(&arena, user, row, options.attempts(row), &mut proofs),
            }
        }
    }
    proofs.settle_controls();
    if options.words.is_empty() {
        for (claim, shown) in elsewhere::results(options.full) {
            proofs.claim(claim, shown);
        }
        proofs.every_class();
    }
    if let Some(path) = &options.write {
        std::fs::write(path, proofs.page(options.full)).unwrap_or_else(|error| panic!("{path}: {error}"));
        println!("wrote {path}");
    }
    let (held, failed, skipped) = proofs.totals();
    println!("attacks refused {held} / tried {}", held + failed);
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {held} passed; {failed} failed; {skipped} skipped; 0 filtered out");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The switch of the test build, by which controls are made, is in no other program.
fn shipped_programs_have_every_guard(proofs: &mut Proofs) {
    let has = |path: std::path::PathBuf| {
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        [&b"CAVRA_GUARDS_OFF"[..], b"CAVRA_FAULT"]
            .iter()
            .any(|name| bytes.windows(name.len()).any(|window| window == *name))
    };
    let test_build = places::faulty(User::Own).expect("the test build of the supervisor");
    proofs.check("the test build has a switch for its guards", has(test_build));
    for program in ["cavra-run", "cavractl"] {
        let shipped = places::products().join(program);
        proofs.check(&format!("{program} has no switch for its guards"), !has(shipped));
    }
}

/// One row: its controls until each technique has won somewhere, the session, and its twin.
fn run(arena: &Arena, user: User, row: &Row, attempts: u64, proofs: &mut Proofs) {
    let inside = arena.run(row, attempts, row.inside);
    // A folder that is opened without O_DIRECTORY, and is not granted as a whole, is refused where the kernel decides: nothing is won by it.
    let known = |line: &arena::Line| arena.by_kernel() && line.technique == "memory/4095";
    let lines = inside.lines.into_iter().filter(|line| !known(line));
    let mut batch: Vec<Proof> = lines.map(|line| Proof::new(user, line)).collect();
    if let Guard::Off(guard) = row.inside {
        batch.iter_mut().for_each(|proof| proof.stands_without(guard));
    }
    if batch.is_empty() {
        batch.push(Proof::missing(user, 0, row.program));
    }
    for guard in row.controls {
        if batch.iter().any(Proof::wants_control) {
            for line in arena.run(row, attempts, *guard).lines {
                if !known(&line) && !batch.iter().any(|proof| proof.is(&line)) {
                    batch.push(Proof::missing(user, line.class, &line.technique));
                }
                batch
                    .iter_mut()
                    .filter(|proof| proof.is(&line))
                    .for_each(|proof| proof.control(*guard, &line));
            }
        }
    }
    if row.twin == Twin::Open {
        for line in arena.run(row, attempts, Guard::Open).lines {
            batch
                .iter_mut()
                .filter(|proof| proof.is(&line))
                .for_each(|proof| proof.twin(&line));
        }
    }
    for mut proof in batch {
        if proof.is_skipped() {
            println!("{}", proof.report());
            proofs.add(proof);
            continue;
        }
        proof.judge(row, inside.changed.as_deref());
        println!("{}", proof.report());
        proofs.add(proof);
    }
}
