//! The NoDevent server: publications come from publishers, travel through an engine, and are delivered to every member of
//! their room.
//!
//! In the order in which a publication travels: [`config`] (what the operator asks for), [`server`] (start-up and
//! shutdown), [`http`] (listeners and the publishing API), [`engine`] (memory or Redis), [`shard`] (the threads that
//! own the connections), [`hub`] (who is in which room), [`send_buffer`] (send buffers), [`protocols`] (what clients
//! speak).
//!
//! Imports point one way: `server` to everything, `protocols` to `http`, `http` to `shard`, and all of them to the core
//! types: [`publication`], [`encoding`], [`protocol`], [`capability`], [`history`], [`mailbox`], [`authorize`],
//! [`namespace`]. `engine` and `protocols` do not know each other, nor do `shard` and `protocols`. `config` imports
//! none of them.
#![forbid(unsafe_code)]

pub mod address_limits;
pub mod application;
pub mod authorize;
pub mod byte_budget;
pub mod cable;
pub mod calls;
pub mod capability;
pub mod client;
pub mod clock;
pub mod close_reason;
pub mod config;
pub mod connect_info;
pub mod connection_id;
pub mod connection_observer;
pub mod connection_state;
pub mod deflate;
pub mod encoding;
pub mod engine;
mod fair_queue;
pub mod fair_shares;
mod fair_turns;
pub mod histogram;
pub mod history;
pub mod hooks;
pub mod host;
pub mod http;
pub mod hub;
pub mod identity;
pub mod identity_provider;
pub mod interest;
pub mod log;
pub mod mailbox;
pub mod metrics;
pub mod namespace;
pub mod origin;
pub mod outcome;
pub mod pages;
pub mod presence;
pub mod protocol;
pub mod protocols;
pub mod publication;
pub mod publish_key;
mod rate_limit;
pub mod revocation;
#[cfg(test)]
mod seeds;
pub mod send_buffer;
pub mod server;
pub mod shard;
mod shared_pages;
pub mod sources;
pub mod spans;
pub mod stated_identity;
pub mod store;
pub mod tls_client;
pub mod token;
pub mod user_connections;
pub mod web_service;
