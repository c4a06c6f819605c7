//! WebSocket frames built by hand, as a browser sends them or as no client would.
//!
//! The tests of this crate and of the server share this file. It does not use the crate's own encoder, so that an error
//! there cannot hide an error in the decoder.
#![allow(dead_code, reason = "each test program uses another part of it")]
#![allow(unreachable_pub, reason = "a test program has no outside")]

/// Masks the payload of every frame.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A masked frame that ends its message.
pub fn last(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x80 | opcode, payload.as_ref())
}

/// A masked frame with more fragments to follow.
pub fn first(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(opcode, payload.as_ref())
}

/// A masked close frame.
pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    last(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// A masked frame with any first byte.
pub fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = head(first_byte, payload.len() as u64);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
    out
}

/// The header of a masked frame that announces `length` bytes.
pub fn head(first_byte: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first_byte];
    match length {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&long.to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out
}
