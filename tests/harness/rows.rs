//! Refusals and permissions as rows: a command of a shell, the record that it owes, the twin that shows it can be done.
//!
//! ```no_run
//! # use cavra_tests::*;
//! const READS: &[Row] = refused! {
//!     env_by_cat: sh "cat .env", action "read_file", about "/.env", rule "filesystem.read.block", twin "cat README.md";
//!     env_by_link: sh "ln -s .env x; cat x", action "read_file", about "/.env", rule "filesystem.read.block", twin "ln -s README.md y; cat y";
//! };
//! ```
//! A refused row holds when the command succeeds natively, fails inside and owes its record there, and the twin succeeds
//! inside. An allowed row holds when status and standard output inside are the native ones.

use std::sync::Arc;

use crate::session::Session;
use crate::stage::Stage;
use crate::suite::{Case, Unmet};
use crate::users::User;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The claim, as a name.
    pub name: &'static str,
    /// The command, for `sh -c`.
    pub sh: &'static str,
    /// The record that a refusal owes: action type, a piece of target or argv, rule id; none for allowed rows.
    pub record: Option<(&'static str, &'static str, &'static str)>,
    /// What must succeed inside, for `sh -c`.
    pub twin: Option<&'static str>,
}

/// Rows of commands that must be refused.
#[macro_export]
macro_rules! refused {
    ($($name:ident: sh $sh:expr, action $action:expr, about $about:expr, rule $rule:expr, twin $twin:expr;)*) => {
        &[$($crate::Row { name: stringify!($name), sh: $sh, record: Some(($action, $about, $rule)), twin: Some($twin) }),*]
    };
}

/// Rows of commands that must do inside what they do outside.
#[macro_export]
macro_rules! allowed {
    ($($name:ident: sh $sh:expr;)*) => {
        &[$($crate::Row { name: stringify!($name), sh: $sh, record: None, twin: None }),*]
    };
}

/// Cases from rows: `world` builds each row's world (once natively, once inside), `session` sets its session up.
pub fn row_cases(
    rows: &'static [Row],
    world: impl Fn(User) -> Result<Stage, Unmet> + Send + Sync + 'static,
    session: impl for<'w> Fn(Session<'w>) -> Session<'w> + Send + Sync + 'static,
) -> Vec<Case> {
    let world = Arc::new(world);
    let session = Arc::new(session);
    let case = |row: &'static Row| {
        let (world, session) = (world.clone(), session.clone());
        Case::new(row.name, move |user| {
            let outside = world(user)?.native(["sh", "-c", row.sh]);
            let inside = world(user)?;
            let outcome = session(inside.session()).sh(row.sh)?;
            let Some((action, about, rule)) = row.record else {
                assert_eq!(
                    (outcome.code(), outcome.stdout()),
                    (outside.code(), outside.stdout.as_str()),
                    "inside and native differ; stderr inside {:?}, native {:?}",
                    outcome.stderr(),
                    outside.stderr
                );
                outcome.verifies();
                return Ok(());
            };
            assert!(
                outside.status.success(),
                "natively it must succeed, else the row shows nothing: {outside:?}"
            );
            assert_ne!(outcome.code(), Some(0), "not refused: {}", row.sh);
            outcome.record(action).about(about).field("errno", "EACCES").rule(rule);
            outcome.verifies();
            if let Some(twin) = row.twin {
                session(inside.session()).sh(twin)?.exits(0);
            }
            Ok(())
        })
    };
    rows.iter().map(case).collect()
}
