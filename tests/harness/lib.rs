//! The harness of the black-box tests: real sessions, real programs, effects on disk and wire, records, and positive twins.
//!
//! A test is a function of a [`User`]; [`Suite`] runs it as root and as an ordinary user, and prints as SKIPPED, with the
//! reason, what cannot run on this machine. A [`Stage`] is a workspace, a home and an evidence folder of one test;
//! [`Stage::session`] starts `cavra-run` in it, [`Stage::native`] the same command without it. A [`World`] is the short
//! form for the built-in test runner: one shell line, its output and its records.
//!
//! ```no_run
//! use cavra_tests::*;
//!
//! fn env_files_stay_unreadable(user: User) -> Verdict {
//!     let stage = Stage::new(user)?;
//!     stage.write("ws/.env", "KEY=1");
//!     let outcome = stage.session().policy("cavra-ai-agent-baseline").run(["cat", ".env"])?;
//!     assert_eq!(outcome.code(), Some(1));
//!     outcome.record("read_file").target_ends("/.env").decision("block").rule("filesystem.read.block");
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     Suite::new("reads").both(cases![env_files_stay_unreadable]).main()
//! }
//! ```

pub mod known;
pub mod loopback;
pub mod messages_api;
pub mod places;
pub mod process;
pub mod records;
pub mod rows;
pub mod session;
pub mod stage;
pub mod suite;
pub mod terminal;
pub mod traces;
pub mod users;
pub mod wait;
pub mod world;

pub use known::{Comparison, Known};
pub use loopback::Listener;
pub use process::{Finished, Running};
pub use records::Found;
pub use rows::{Row, row_cases};
pub use session::Session;
pub use stage::Stage;
pub use suite::{Case, Suite, Unmet, Verdict, skip};
pub use terminal::Terminal;
pub use users::User;
pub use wait::{until, within};
pub use world::{Outcome, World, users, wait};
