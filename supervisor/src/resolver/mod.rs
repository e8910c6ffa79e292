//! Names: which the session was told, and for which addresses.

mod bindings;

pub use bindings::Bindings;
