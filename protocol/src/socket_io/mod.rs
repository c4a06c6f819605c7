//! Socket.IO protocol 5: events, acks and namespaces inside Engine.IO messages.
//!
//! [`Decoder`] turns what a browser sent into [`Packet`]s, waiting for binary attachments where they are announced;
//! [`encode`] writes what the server sends. What an event means is none of its business.
//!
//! # Source
//! The Socket.IO protocol, revision 5; edge behaviour as the reference implementation has it.

mod attachments;
pub mod decoder;
pub mod encode;
pub mod packet;
pub mod session;

pub use decoder::Decoder;
pub use encode::{
    encode_ack, encode_binary_ack, encode_binary_event, encode_connect, encode_connect_error, encode_disconnect,
    encode_event,
};
pub use packet::{MAX_ATTACHMENTS, Malformed, Packet};
