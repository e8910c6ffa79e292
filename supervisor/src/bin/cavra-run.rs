//! cavra-run

fn main() {}
