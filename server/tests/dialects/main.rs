//! The dialects of old systems, as their pages and backends see them.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../hostile/process.rs"]
mod process;

mod connection_state;
mod minimal;
mod notifications;
mod old_crashes;
mod turted;
