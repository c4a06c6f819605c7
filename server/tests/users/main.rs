//! What users of every protocol get: identities, presence and mailboxes without Socket.IO, memberships that end with their
//! keys, and how many connections a user has. Each on both engines.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod broadcast_gaps;
mod clock;
mod commands;
mod connections;
mod expiry;
mod line_client;
mod plain;
