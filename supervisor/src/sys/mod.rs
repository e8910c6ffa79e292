//! Raw system calls: the only unsafe code of the supervisor.
#![allow(unsafe_code)]

pub mod probe;
