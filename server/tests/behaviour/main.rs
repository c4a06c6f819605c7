//! The behaviour of the server as browsers, publishers and operators see it.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod action_cable;
mod action_cable_extended;
mod action_cable_pages;
mod action_cable_refreshes;
mod admission;
mod application;
mod cable_channels;
mod calls;
mod certificates;
mod command_line;
mod command_line_secrets;
mod configuration;
mod console;
mod defaults;
mod deflate;
mod except;
mod generated_files;
mod handover;
mod history;
mod history_attacks;
mod hooks;
mod identities;
mod key_set;
mod listeners;
mod mailboxes;
mod monitoring;
mod order;
mod origins;
mod page_rooms;
mod pakyow;
mod plain;
mod presence;
mod publish_keys;
mod publishing;
mod redis;
mod redis_acl;
mod redis_batches;
mod redis_runs;
mod redis_states;
mod reference;
mod reload;
mod revocation;
mod rooms;
mod script;
mod shared_reads;
mod shutdown;
mod targets;
mod tls;
mod tokens;
mod traces;
mod upgrade;
mod web_service_files;
