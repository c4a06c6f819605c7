//! The NoDevent server: a publication comes from a publisher, goes through an engine, and is delivered to every
//! browser in its room.
//!
//! In the order in which a message walks: [`config`] (what is asked for), [`server`] (the start-up as a story),
//! [`edge`] (HTTP), [`engine`] (memory or Redis), [`shard`] (the threads that own the connections), [`hub`] (who is
//! in which room), [`outbox`] (what waits before a connection), [`dialect`] (what browsers say).
#![forbid(unsafe_code)]

pub mod admission;
pub mod close_reason;
pub mod config;
pub mod dialect;
pub mod edge;
pub mod engine;
pub mod frame;
pub mod hub;
pub mod log;
pub mod metrics;
pub mod namespace;
pub mod origin;
pub mod outbox;
pub mod server;
pub mod shard;
pub mod tls_client;
