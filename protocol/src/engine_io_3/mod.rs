//! Engine.IO protocol 3, of the clients of Socket.IO 1 and 2: its packets, polling payloads and heartbeat.
//!
//! What is the same in version 4 comes from [`crate::engine_io`]: text packets, the handshake, its errors, and the upgrade.
//!
//! # Source
//! The Engine.IO protocol, revision 3. Where it is silent, `engine.io-parser` 1.3 (Socket.IO 1) and 2.2 (Socket.IO 2), which
//! differ: see [`payload`].

pub mod packet;
pub mod payload;
pub mod session;
