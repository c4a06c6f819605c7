//! Every limit, reached: what the one who reached it is told, what is counted, what the log says, and that nobody
//! else has noticed.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod floods;
mod guarded;
mod log;
mod origins;
mod requests;
mod rooms;
mod server_sent;
mod sizes;
mod slow_readers;
mod waits;
