//! Whether folders hold the same traces and trees, but for what is known of this kernel; vm-tests/guest/claims asks it.
//!
//!     compare-traces NATIVE INSIDE    folders of which each subfolder of INSIDE has a `trace` and a `tree` of tests/programs/differ.c
//!
//! Prints what differs and is not known, and last `compared N KNOWN`.

use std::path::{Path, PathBuf};

use cavra_tests::{Comparison, traces};

fn main() {
    let mut places = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(native), Some(inside), None) = (places.next(), places.next(), places.next()) else {
        panic!("usage: compare-traces NATIVE INSIDE");
    };
    let text = |folder: &Path, name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let (known, mut comparison) = (traces::known(), Comparison::default());
    for entry in std::fs::read_dir(&inside).expect("INSIDE is a folder") {
        let entry = entry.expect("INSIDE can be listed");
        let (other, folder, seed) = (entry.path(), native.join(entry.file_name()), entry.file_name());
        let before = comparison.unexplained.len();
        let (steps, others) = (text(&folder, "trace"), text(&other, "trace"));
        if traces::compare(&known, &mut comparison, &steps, &others) {
            comparison.add(&known, "the tree", &text(&folder, "tree"), &text(&other, "tree"));
        }
        for line in &comparison.unexplained[before..] {
            println!("seed {} {line}", seed.display());
        }
    }
    println!("compared {} {}", comparison.compared, comparison.explained());
}
