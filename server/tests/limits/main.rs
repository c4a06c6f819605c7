//! Every limit, exceeded: the client receives the reason, a metric counts it, the log reports it, and a bystander is not
//! affected.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod applications;
mod cable;
mod floods;
mod framing;
mod histories;
mod hooks;
mod http_connections;
mod keep_alive;
mod lifetimes;
mod log;
mod mailboxes;
mod origins;
mod pages;
mod presence;
mod requests;
mod rooms;
mod server_sent;
mod server_with_bystander;
mod shares;
mod sizes;
mod slow_readers;
mod table;
mod traces;
mod waits;
