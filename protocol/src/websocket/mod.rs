//! WebSocket frames, the server's side of RFC 6455, and of RFC 7692 (permessage-deflate) what concerns frames and the
//! handshake. Nothing here compresses or inflates.
//!
//! [`Decoder`] turns the bytes of one connection into [`Message`]s; [`fn@encode`] encodes the frames to send. The
//! caller reads the socket and replies to pings.
//!
//! # Source
//! RFC 6455, sections 4.2.2 (the accept key), 5 (frames), 7.4 (close codes), 8.1 (UTF-8) and 9.1 (extensions). RFC 7692,
//! sections 5, 6 and 7.1.

mod close;
mod decoder;
mod encode;
mod extension;
mod frame;
mod utf8;
mod violation;

pub use decoder::{Decoder, Message};
pub use encode::{Header, accept_key, deflated_header, encode, encode_close, encode_masked, header};
pub use extension::{DEFLATE_ACCEPTED, accepts_deflate};
pub use frame::Opcode;
pub use violation::Violation;
