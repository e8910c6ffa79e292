//! cavra: resolves every open, path change, exec and connect of an agent's process tree to a CAVRA decision.
//!
//! Data flows one way: `sys` → `caller` → `boundary` → `policy` → `boundary` → reply, with a record to `evidence`.

pub mod approvals;
pub mod boundary;
pub mod caller;
pub mod cavra;
pub mod cli;
pub mod decision;
pub mod doctor;
pub mod evidence;
mod faults;
pub mod filter;
mod mixer;
pub mod policy;
pub mod relay;
pub mod resolver;
pub mod selftest;
pub mod session;
pub mod sys;
pub mod text;
