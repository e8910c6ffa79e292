//! CAVRA's own evaluation (enforcement-v1): what its adapters ask, answered as CAVRA answers, its gaps included.
//!
//! The kernel boundary does not decide by this module; it decides by [`crate::policy`], which closes the gaps. `docs/parity.md` lists
//! where the two differ. Nothing here reads the machine: a request and a merged pack give an answer.
//!
//! | action | answers, first that holds |
//! |---|---|
//! | `read_file`, `write_file` | block list → approval list (writes) → allow |
//! | `execute_command` | trimmed; block list → allow list → approval |
//! | `git_operation` | `push` to a target ending in `main` or `master` → block, else allow |
//! | `mcp_tool_call` | with a registry: its record; without: blocked or unknown servers → block, else allow |
//! | anything else | approval |

mod boundary;
#[cfg(test)]
mod boundary_tests;
mod cases;
mod coverage;
mod evaluate;
mod mcp;
mod pattern;
mod request;
mod response;
mod rules;

pub use boundary::Boundary;
pub use cases::{Outcome, run as run_cases};
pub use coverage::{Coverage, Enforcer, Row, coverage};
pub use evaluate::{Answer, evaluate};
pub use mcp::{Registry, RegistryError};
pub use request::{REQUEST_MAX, Request, RequestError};
pub use response::{Response, refusal};
pub use rules::{Rules, RulesError, search_path};

/// The pack that decides when neither the caller nor the request names one.
pub const DEFAULT_PACK: &str = "cavra-ai-agent-baseline";
