//! Engine.IO protocol 4: packets, their polling payloads, and the handshake.
//!
//! It carries text and binary messages between one browser and the server and knows nothing of what they say;
//! `socket_io` above it does. A packet travels alone in a WebSocket message, or with others in a polling payload.
//!
//! # Source
//! The Engine.IO protocol, revision 4; error codes as the reference implementation has them.

pub mod handshake;
pub mod packet;
pub mod payload;
pub mod session;

pub use handshake::{Handshake, RequestError};
pub use packet::{Malformed, Packet};
