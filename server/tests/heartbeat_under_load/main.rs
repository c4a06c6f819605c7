//! Timeouts under load. It is a separate test program because `cargo test` runs programs one after the other, so that no
//! other test runs meanwhile.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../hostile/process.rs"]
mod process;

mod heartbeat;
