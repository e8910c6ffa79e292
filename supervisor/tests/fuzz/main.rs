//! The fuzz targets without cargo-fuzz: each kept input of fuzz/seeds, and inputs that a seeded mutator makes of them.
//!
//! `CAVRA_FUZZ_RUNS` is how many for each target (1000), `CAVRA_SEED` where they come from (1). All run for `CAVRA_FUZZ_SECONDS` (2) besides,
//! side by side, from a seed that is each time another; the test command says 60.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![allow(clippy::cast_possible_truncation, reason = "numbers below a length")]

mod targets;

use std::io::Write;
use std::path::{Path, PathBuf};
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

/// A parser: the folder of its kept inputs in fuzz/seeds, inputs besides, and what is claimed of it for any bytes.
struct Parser {
    name: &'static str,
    more: &'static [&'static [u8]],
    claim: fn(&[u8]),
}

const fn parser(name: &'static str, more: &'static [&'static [u8]], claim: fn(&[u8])) -> Parser {
    Parser { name, more, claim }
}

/// Every parser of foreign bytes; fuzz/fuzz_targets has one of each name.
const PARSERS: &[Parser] = &[
    parser("address", &[], targets::address),
    parser("argv", &[b"", b"x\0terraform\0apply"], targets::argv),
    parser("arrays", &[b"", &[b'x'; 140_000], &[0; 5_000]], targets::arrays),
    parser("conf", &[b""], targets::conf),
    parser("control", &[b"", b"\n"], targets::control),
    parser("dns", &[b"", b"x"], targets::dns),
    parser("hello", &[], targets::hello),
    parser("http", &[], targets::http),
    parser("packs", &[b"", b"metadata: {id: x}\n"], targets::pack),
    parser(
        "path",
        &[b"", &[b'/'; 4_095], &[b'a'; 4_096], &[b'b'; 9_000]],
        targets::path,
    ),
    parser("records", &[b"", b"{}\n"], targets::records),
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The files of a folder, each with its name, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

impl Parser {
    fn inputs(&self) -> Vec<Vec<u8>> {
        let mut inputs: Vec<Vec<u8>> = self.more.iter().map(|input| input.to_vec()).collect();
        let kept = files(&repository().join("fuzz/seeds").join(self.name));
        assert!(kept.len() > 1, "{} has no kept inputs", self.name);
        let shipped = match self.name {
            "packs" => files(&repository().join("policies")),
            _ => Vec::new(),
        };
        let shipped = shipped.into_iter().map(|pack| pack.join("policy.yaml"));
        inputs.extend(kept.into_iter().chain(shipped).map(|file| std::fs::read(file).unwrap()));
        if self.name == "records" {
            inputs.push(targets::CHAIN.clone());
        }
        inputs
    }

    fn check(&self, input: &[u8]) {
        let outcome = std::panic::catch_unwind(|| (self.claim)(input));
        assert!(
            outcome.is_ok(),
            "{}: a claim fails for {}",
            self.name,
            input.escape_ascii()
        );
    }

    /// Runs it on what comes of `inputs` by `seed`, as long as `goes_on` says so of the number of runs so far; returns that.
    fn mutate(&self, inputs: &[Vec<u8>], seed: u64, goes_on: impl Fn(u64) -> bool) -> u64 {
        let mut random = Random(seed);
        let mut runs = 0;
        while goes_on(runs) {
            let (one, other) = (random.below(inputs.len()), random.below(inputs.len()));
            self.check(&random.mutate(&inputs[one], &inputs[other]));
            runs += 1;
        }
        runs
    }
}

/// `each` of every parser, side by side; how many inputs it ran. One that fails leaves the others going.
fn side_by_side(each: impl Fn(&Parser) -> u64 + Sync) {
    let runs: Vec<(&str, Option<u64>)> = std::thread::scope(|scope| {
        let each = &each;
        let threads: Vec<_> = PARSERS
            .iter()
            .map(|parser| (parser.name, scope.spawn(move || each(parser))))
            .collect();
        threads
            .into_iter()
            .map(|(name, thread)| (name, thread.join().ok()))
            .collect()
    });
    // Not by `println!`, which the runner keeps to itself while nothing fails; it may be in the middle of a line.
    let mut out = std::io::stdout().lock();
    writeln!(out).unwrap();
    for (name, runs) in &runs {
        let runs = runs.map_or("a claim fails".to_owned(), |runs| format!("{runs} inputs"));
        writeln!(out, "fuzz {name}: {runs}").unwrap();
    }
    let bad = |(name, runs): &(&'static str, Option<u64>)| runs.is_none_or(|runs| runs == 0).then_some(*name);
    assert_eq!(runs.iter().filter_map(bad).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn kept_inputs_and_what_comes_of_them_hold_every_claim() {
    let (limit, seed) = (number("CAVRA_FUZZ_RUNS", 1_000), number("CAVRA_SEED", 1));
    side_by_side(|parser| {
        let inputs = parser.inputs();
        inputs.iter().for_each(|input| parser.check(input));
        parser.mutate(&inputs, seed, |runs| runs < limit) + inputs.len() as u64
    });
}

#[test]
fn every_claim_holds_for_as_long_as_asked() {
    let lasts = Duration::from_secs(number("CAVRA_FUZZ_SECONDS", 2));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number("CAVRA_SEED", now.as_nanos() as u64);
    let began = Instant::now();
    side_by_side(|parser| parser.mutate(&parser.inputs(), seed, |_| began.elapsed() < lasts));
}

#[test]
fn cargo_fuzz_has_a_target_for_each_parser_and_no_other() {
    let targets = files(&repository().join("fuzz/fuzz_targets"));
    let targets: Vec<_> = targets.iter().filter_map(|file| file.file_stem()).collect();
    assert_eq!(targets, PARSERS.iter().map(|parser| parser.name).collect::<Vec<_>>());
}
