//! What happens when something breaks: every test here breaks one thing for real, under traffic, and a checker holds
//! every confirmed publish against what every member heard. The table of results is `docs/reliability.md`.
//!
//! `NODEVENT_FAULTS=full` runs the long forms: as many members and as long an outage as the table names.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod harness;

mod bad_publishes;
mod broken_links;
mod dying_servers;
mod exhaustion;
mod losing_redis;
mod server_sent;
mod sharing;
