//! The attack corpus: every technique natively or under a naive supervisor (its control), then inside a session.
//!
//! `cargo test --test attacks -- [WORD...] [--attempts N] [--write FILE]` runs the rows whose program or technique contains a WORD, with N
//! attempts where a row says how many it needs, and writes the table to FILE. A technique fails when it wins inside, when it made fewer
//! attempts than its row asks for, and when no control of it wins: then it proves nothing.

mod arena;
mod page;
mod table;

use std::process::ExitCode;

use arena::{Arena, Guard};
use cavra_tests::{User, users};
use page::{Proof, Proofs};
use table::{ROWS, Row, Twin};

struct Options {
    words: Vec<String>,
    attempts: Option<u64>,
    write: Option<String>,
}

fn options() -> Options {
    let mut found = Options {
        words: Vec::new(),
        attempts: None,
        write: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--attempts" => found.attempts = args.next().and_then(|n| n.parse().ok()),
            "--write" => found.write = args.next(),
            // What `cargo test` passes to every test program.
            flag if flag.starts_with('-') => {}
            _ => found.words.push(arg),
        }
    }
    found
}

fn main() -> ExitCode {
    let options = options();
    let mut proofs = Proofs::default();
    for user in users() {
        let arena = Arena::new(user);
        for row in ROWS {
            let chosen = options.words.is_empty()
                || options
                    .words
                    .iter()
                    .any(|word| row.program.contains(word.as_str()) || row.technique.contains(word.as_str()));
            if chosen {
                run(&arena, user, row, options.attempts.unwrap_or(row.attempts), &mut proofs);
            }
        }
    }
    proofs.settle_controls();
    if let Some(path) = options.write {
        std::fs::write(&path, proofs.page()).unwrap_or_else(|error| panic!("{path}: {error}"));
        println!("wrote {path}");
    }
    let (held, failed) = proofs.totals();
    println!("attacks refused {held} / tried {}", held + failed);
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {held} passed; {failed} failed; 0 ignored");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One row: its controls until each technique has won somewhere, the session, and its twin.
fn run(arena: &Arena, user: User, row: &Row, attempts: u64, proofs: &mut Proofs) {
    let inside = arena.run(row, attempts, Guard::Session);
    let mut batch: Vec<Proof> = inside.lines.into_iter().map(|line| Proof::new(user, line)).collect();
    if batch.is_empty() {
        batch.push(Proof::missing(user, 0, row.program));
    }
    for guard in row.controls {
        if batch.iter().any(|proof| !proof.has_control()) {
            for line in arena.run(row, attempts, *guard).lines {
                if !batch.iter().any(|proof| proof.is(&line)) {
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
        proof.judge(row, inside.changed.as_deref());
        println!("{}", proof.report());
        proofs.add(proof);
    }
}
