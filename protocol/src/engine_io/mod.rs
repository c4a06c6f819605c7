//! Engine.IO protocol 4: packets, their polling payloads, and the handshake.
//!
//! It carries text and binary messages between one browser and the server. It does not know their contents; `socket_io`
//! above it does. A packet is alone in a WebSocket message, or with others in a polling payload.
//!
//! # Source
//! The Engine.IO protocol, revision 4; for error codes, the reference implementation.

pub mod handshake;
pub mod packet;
pub mod payload;
pub mod session;
pub mod upgrade;

pub use handshake::{Handshake, RequestError};
pub use packet::{Malformed, Packet};
