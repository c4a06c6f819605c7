//! WebSocket frames, the server's side of RFC 6455, without extensions.
//!
//! [`Decoder`] turns the bytes of one connection into [`Message`]s; [`fn@encode`] encodes the frames to send. The
//! caller reads the socket and replies to pings.
//!
//! # Source
//! RFC 6455, sections 4.2.2 (the accept key), 5 (frames), 7.4 (close codes) and 8.1 (UTF-8).

mod close;
mod decoder;
mod encode;
mod frame;
mod utf8;
mod violation;

pub use decoder::{Decoder, Message};
pub use encode::{accept_key, encode, encode_close, encode_header, encode_masked};
pub use frame::Opcode;
pub use violation::Violation;
