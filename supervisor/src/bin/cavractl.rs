//! cavractl

fn main() {}
