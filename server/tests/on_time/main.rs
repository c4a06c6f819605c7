//! Time limits under load. A test program of its own, since `cargo test` runs programs one after the other: no other
//! test is at work meanwhile.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../hostile/process.rs"]
mod process;

mod heartbeat;
