//! Attacks on a running server: each must fail, and a bystander must not notice it. `SECURITY.md` lists them.
//!
//! Each file is one attack with its siblings. The server is a process of its own with the default limits.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../hostile/process.rs"]
mod process;

mod advisories;
mod application;
mod attacker;
mod bystander;
mod cable_without_names;
mod colliding_names;
mod compression;
mod dns_rebinding;
mod forged_positions;
mod hooks;
mod hostile_redis;
mod impossible_positions;
mod kept_texts;
mod keyless_publishing;
mod large_recoveries;
mod limited_publishers;
mod log_injection;
mod long_room_keys;
mod made_up_rooms;
mod mailboxes;
mod many_rooms;
mod muted_room;
mod neighbour;
mod open_by_mistake;
mod pages_and_calls;
mod publishing_origins;
mod repeated_subscriptions;
mod required_tokens;
mod session_flood;
mod shared_redis;
mod store;
mod timeouts;
mod turted_pushes;
mod unauthorized_bodies;
mod unparsable_joins;
mod unread_history;
mod unread_polls;
mod unread_responses;
mod work_per_byte;
