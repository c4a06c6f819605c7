//! What a hostile crowd could do to the process as a whole: its memory, its clock, its patience.
//!
//! Each test has a short form that runs with the others and a full one, `NODEVENT_FULL=1`, that `rake hostile` runs.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod churn;
mod giants;
mod process;
mod seeds;
