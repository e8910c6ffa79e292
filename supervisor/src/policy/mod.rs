//! Packs, layers, compiler, matcher, explain; knows nothing of system calls.

mod builtin;
mod commands;
mod compile;
mod diagnostics;
mod engine;
mod hostname;
mod links;
mod load;
mod names;
mod network;
pub(crate) mod node;
pub(crate) mod pack;
mod pattern;
mod profile;
mod roots;
pub(crate) mod shape;
pub mod tables;
mod types;

pub use compile::Session;
pub use diagnostics::{Code, Colour, Diagnostic, Diagnostics, Span};
pub use engine::Policy;
pub use hostname::canonical as canonical_name;
pub use load::{Request, load};
pub(crate) use pattern::Glob;
pub use profile::{Env, Limits, Needs, Profile};
pub use types::{
    Command, Endpoint, FileOp, Layer, Mode, NetOp, Nobody, Rule, Scope, Source, Subject, Trust, Verdict, Verify,
};

/// The JSON Schema of packs, for editors.
#[must_use]
pub fn pack_schema() -> serde_json::Value {
    shape::document("CAVRA policy pack", &shape::PACK_SHAPE)
}

/// The JSON Schema of profiles.
#[must_use]
pub fn profile_schema() -> serde_json::Value {
    shape::document("cavra-run profile", &shape::PROFILE_SHAPE)
}

#[cfg(test)]
mod tests;
