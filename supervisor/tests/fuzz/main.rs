//! The fuzz targets without cargo-fuzz: each kept input of fuzz/seeds, and inputs that a seeded mutator makes of them.
//!
//! `CAVRA_FUZZ_RUNS` is how many for each target (1000), `CAVRA_SEED` where they come from (1). The parsers of policies, commands and addresses
//! run for `CAVRA_FUZZ_SECONDS` (2) besides, from a seed that is each time another; the test command says 60.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![allow(clippy::cast_possible_truncation, reason = "numbers below a length")]

mod targets;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }

    /// One or a few changes: a bit, a byte of note, a piece removed, doubled or taken from another input.
    fn mutate(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        const NOTED: &[u8] = b"\0\n\r\x1b\"\\{}[]:,'*&!|>-#0\xff\xc3";
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(24)).min(bytes.len());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.insert(at, NOTED[self.below(NOTED.len())]),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                4 => {
                    let from = self.below(other.len() + 1);
                    let to = (from + self.below(64)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
                _ => bytes.truncate(at),
            }
        }
        bytes
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

/// The kept inputs of a target, and `more`.
fn inputs(name: &str, more: &[&[u8]]) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    let mut inputs: Vec<Vec<u8>> = more.iter().map(|input| input.to_vec()).collect();
    for entry in std::fs::read_dir(&corpus).into_iter().flatten().flatten() {
        inputs.push(std::fs::read(entry.path()).unwrap());
    }
    assert!(inputs.len() > 2, "{} has no inputs", corpus.display());
    inputs
}

/// Runs `target` on what comes of the inputs, as long as `goes_on` says so of the number of runs so far; returns it.
fn mutate(name: &str, inputs: &[Vec<u8>], seed: u64, target: fn(&[u8]), goes_on: impl Fn(u64) -> bool) -> u64 {
    let mut random = Random(seed);
    let mut runs = 0;
    while goes_on(runs) {
        let (one, other) = (random.below(inputs.len()), random.below(inputs.len()));
        let input = random.mutate(&inputs[one], &inputs[other]);
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "{name}: a claim fails for {}", input.escape_ascii());
        runs += 1;
    }
    runs
}

/// Runs `target` on the kept inputs of `name`, on `more`, and on what comes of them.
fn run(name: &str, more: &[&[u8]], target: fn(&[u8])) {
    let inputs = inputs(name, more);
    inputs.iter().for_each(|input| target(input));
    let limit = number("CAVRA_FUZZ_RUNS", 1_000);
    mutate(name, &inputs, number("CAVRA_SEED", 1), target, |runs| runs < limit);
}

#[test]
fn arrays_of_strings_are_read_as_they_are() {
    run("arrays", &[b"", &[b'x'; 140_000], &[0; 5_000]], targets::arrays);
}

#[test]
fn paths_are_read_as_they_are() {
    run(
        "arrays",
        &[b"", &[b'/'; 4_095], &[b'a'; 4_096], &[b'b'; 9_000]],
        targets::path,
    );
}

#[test]
fn only_what_was_written_verifies_as_whole() {
    run("records", &[&targets::CHAIN, b"", b"{}\n"], targets::records);
}

#[test]
fn any_pack_is_a_policy_or_named_errors() {
    run("packs", &[b"", b"metadata: {id: x}\n"], targets::pack);
}

#[test]
fn the_control_socket_answers_anything_and_decides_nothing_unnamed() {
    run("control", &[b"", b"\n"], targets::control);
}

#[test]
fn a_hello_names_one_host_however_it_comes() {
    run("hello", &[], targets::hello);
}

#[test]
fn a_request_names_one_host_however_it_comes() {
    run("http", &[], targets::http);
}

#[test]
fn a_dns_message_is_answered_as_what_it_is() {
    run("dns", &[b"", b"x"], targets::dns);
}

#[test]
fn the_session_is_given_its_own_resolver_alone() {
    run("conf", &[b""], targets::conf);
}

#[test]
fn any_arguments_are_answered_and_never_looser_than_their_line() {
    run("argv", ARGV, targets::argv);
}

#[test]
fn an_address_has_one_meaning_wherever_it_stands() {
    run("address", &[], targets::address);
}

const ARGV: &[&[u8]] = &[b"", b"x\0terraform\0apply"];

/// A target: name, inputs, claim.
type Parser = (&'static str, Vec<Vec<u8>>, fn(&[u8]));

/// The three side by side, so that a minute each is a minute.
#[test]
fn policies_commands_and_addresses_hold_for_as_long_as_asked() {
    let lasts = Duration::from_secs(number("CAVRA_FUZZ_SECONDS", 2));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number("CAVRA_SEED", now.as_nanos() as u64);
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let shipped = std::fs::read_dir(policies).unwrap().flatten();
    let shipped = shipped.map(|pack| std::fs::read(pack.path().join("policy.yaml")).unwrap());
    let mut packs = inputs("packs", &[b"metadata: {id: x}\n"]);
    packs.extend(shipped);
    let targets: [Parser; 3] = [
        ("packs", packs, targets::pack),
        ("argv", inputs("argv", ARGV), targets::argv),
        ("address", inputs("address", &[]), targets::address),
    ];
    let began = Instant::now();
    std::thread::scope(|scope| {
        for (name, inputs, target) in &targets {
            scope.spawn(move || {
                let runs = mutate(name, inputs, seed, *target, |_| began.elapsed() < lasts);
                assert!(runs > 0, "{name}: not one input in {} s", lasts.as_secs());
            });
        }
    });
}
