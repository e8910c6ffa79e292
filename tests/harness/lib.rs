//! The harness of the black-box sessions.
