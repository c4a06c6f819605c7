//! Fault tests: every test breaks one real part under traffic, and a checker compares every confirmed publish with the
//! events that every member received. The table of results is in `docs/test-report.md`.
//!
//! `NODEVENT_TEST_FULL=1` runs the long forms, with the number of members and the length of outage that the table names.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod harness;

mod bad_publishes;
mod broken_links;
mod dying_servers;
mod exhaustion;
mod losing_redis;
mod mailboxes;
mod operator_guide;
mod presence;
mod revocations;
mod server_sent;
mod sharing;
mod stores;
mod upgrades;
mod users_on_a_cluster;
