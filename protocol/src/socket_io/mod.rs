//! Socket.IO protocols 5 and 4: events, acks and namespaces inside Engine.IO messages.
//!
//! [`Decoder`] turns messages from a browser into [`Packet`]s, and waits for announced attachments. The functions of
//! `encode` write what the server sends. This module does not know what events mean.
//!
//! # Source
//! The Socket.IO protocol, revisions 5 and 4; for edge cases, the reference implementation.

pub mod ascii;
mod attachments;
pub mod decoder;
pub mod encode;
pub mod packet;
pub mod session;

pub use decoder::Decoder;
pub use encode::{
    encode_ack, encode_binary_ack, encode_binary_event, encode_connect, encode_connect_4, encode_connect_error,
    encode_connect_with_pid, encode_disconnect, encode_error_4, encode_event,
};
pub use packet::{MAX_ATTACHMENTS, Malformed, Packet};
