//! Packs, layers, compiler, matcher, explain; knows nothing of system calls.

mod types;

pub use types::{Command, Endpoint, FileOp, Layer, Mode, NetOp, Nobody, Rule, Scope, Source, Subject, Verdict};
