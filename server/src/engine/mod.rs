//! The engines: where publications travel and are stored. In this process, or in Redis.
//!
//! An engine implements the traits of [`crate::capability`] and pushes what arrives into the shards through its
//! [`Fanout`]. **Architecture Invariant:** only [`redis`] knows Redis.

pub mod autodetect;
mod fanout;
pub mod memory;
pub mod redis;

pub use fanout::Fanout;
