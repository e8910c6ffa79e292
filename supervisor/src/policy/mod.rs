//! Packs, layers, compiler, matcher, explain; knows nothing of system calls.

mod builtin;
mod canonical;
mod commands;
mod compare;
mod compile;
mod diagnostics;
mod engine;
mod explain;
mod fold;
mod hostname;
mod links;
mod lint;
mod load;
mod matcher;
mod meeting;
mod names;
mod network;
pub(crate) mod node;
pub(crate) mod pack;
mod pattern;
mod place;
mod probe;
mod profile;
mod reads;
mod roots;
pub(crate) mod shape;
mod sign;
pub mod tables;
mod types;

pub use canonical::{CompiledPack, Target, compiled};
pub use compare::{Change, Changes, Way, compare};
pub use compile::Session;
pub use diagnostics::{Code, Colour, Diagnostic, Diagnostics, Span};
pub use engine::Policy;
pub use explain::{Because, Explanation, Question, Said, explain};
pub(crate) use fold::folded;
pub use hostname::canonical as canonical_name;
pub use lint::Warning;
pub use load::{Request, load};
pub use network::{Asking, Server};
pub use pack::Admits;
pub(crate) use pattern::Glob;
pub use place::Place;
pub(crate) use place::SYSTEM_TREES;
pub(crate) use probe::canonical as canonical_path;
pub use probe::{Address, Named, Probe, unprintable};
pub use profile::{Env, Limits, Needs, Profile};
pub use sign::{SignatureError, SignatureFile, sign, signature_path, trust_folders, verify};
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
mod properties;
#[cfg(test)]
mod tests;
