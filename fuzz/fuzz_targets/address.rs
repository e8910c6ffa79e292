//! See `address` in supervisor/tests/fuzz/targets.rs.
#![no_main]
#![allow(dead_code, reason = "one of several targets")]

#[path = "../../supervisor/tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::address(data));
