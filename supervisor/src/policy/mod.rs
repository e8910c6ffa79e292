//! Packs, layers, compiler, matcher, explain; knows nothing of system calls.

mod builtin;
mod commands;
mod engine;
mod network;
mod pack;
mod pattern;
mod profile;
pub mod tables;
mod types;

pub use engine::{Policy, Request, load};
pub use pack::Diagnostics;
pub(crate) use pattern::Glob;
pub use profile::Profile;
pub use types::{Command, Endpoint, FileOp, Layer, Mode, NetOp, Nobody, Rule, Scope, Source, Subject, Verdict};
