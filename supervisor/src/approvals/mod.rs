//! Held requests and the control socket.
//!
//! A handler puts its request on the [`Desk`] and waits at its [`Ticket`], a slice at a time, so that it notices when its
//! caller dies. Whoever approves comes over the session's socket ([`ControlServer`]), on which only the same user, and
//! nobody from the session's own tree, is heard.

pub mod client;
mod control;
mod desk;
mod protocol;

pub use control::{ControlError, ControlServer, run_root};
pub use desk::{Answer, Approval, Ask, DecideError, Desk, Full, Outcome, State, Ticket};
