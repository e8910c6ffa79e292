//! The fuzz targets without cargo-fuzz: each kept input of fuzz/seeds, and inputs that a seeded mutator makes of them.
//!
//! `CAVRA_FUZZ_RUNS` is how many for each target (1000), `CAVRA_SEED` where they come from (1).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![allow(clippy::cast_possible_truncation, reason = "numbers below a length")]

mod targets;

use std::path::Path;

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

/// Runs `target` on the kept inputs of `name`, on `more`, and on what comes of them.
fn run(name: &str, more: &[&[u8]], target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    let mut inputs: Vec<Vec<u8>> = more.iter().map(|input| input.to_vec()).collect();
    for entry in std::fs::read_dir(&corpus).into_iter().flatten().flatten() {
        inputs.push(std::fs::read(entry.path()).unwrap());
    }
    assert!(inputs.len() > 2, "{} has no inputs", corpus.display());
    inputs.iter().for_each(|input| target(input));
    let mut random = Random(number("CAVRA_SEED", 1));
    for _ in 0..number("CAVRA_FUZZ_RUNS", 1_000) {
        let (one, other) = (random.below(inputs.len()), random.below(inputs.len()));
        let input = random.mutate(&inputs[one], &inputs[other]);
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "{name}: a claim fails for {}", input.escape_ascii());
    }
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
    run("argv", &[b"", b"x\0terraform\0apply"], targets::argv);
}
