//! Packs, layers, compiler, matcher, explain; knows nothing of system calls.

mod builtin;
mod commands;
mod engine;
mod hostname;
mod names;
mod network;
pub(crate) mod pack;
mod pattern;
pub(crate) mod profile;
pub mod tables;
mod types;

pub use engine::{Policy, Request, load};
pub use hostname::canonical as canonical_name;
pub use pack::Diagnostics;
pub use profile::Profile;
pub use types::{Command, Endpoint, FileOp, Layer, Mode, NetOp, Nobody, Rule, Scope, Source, Subject, Verdict, Verify};
