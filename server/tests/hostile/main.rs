//! Many hostile clients against a server process: its memory, its timers, its service to other clients.
//!
//! Each test has a short form and a long one, which `NODEVENT_TEST_FULL=1` or `rake hostile` runs.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod churn;
mod giants;
mod mutated_inputs;
mod page_views;
mod process;
mod seeds;
