//! One packet for browsers, encoded once and shared by everybody it goes to.
//!
//! It owns the bytes. It does not know who gets them, nor what they mean.

use nodevent_protocol::websocket::{self, Opcode};
use std::sync::Arc;

/// An Engine.IO packet with its WebSocket frame header in front.
///
/// # Shape
/// `[header][packet]` in one allocation: a WebSocket is given all of it, a poll what follows the header.
#[derive(Debug, Clone)]
pub struct Frame {
    bytes: Arc<[u8]>,
    /// Where the packet begins. A server's header has 2, 4 or 10 bytes.
    packet: u8,
    binary: bool,
    /// Where in the packet the publication's own text stands; empty if it carries none.
    publication: (u32, u32),
}

// === impl Frame ===

impl Frame {
    /// A text packet, e.g. `42/nodevent,["event",{…}]`.
    pub fn text(packet: &str) -> Self {
        Self::new(Opcode::Text, packet.as_bytes())
    }

    /// A text packet that carries a publication's text from `start` on, `length` bytes of it.
    pub fn publication(packet: &str, start: usize, length: usize) -> Self {
        Self { publication: (start as u32, length as u32), ..Self::text(packet) }
    }

    /// A binary message, i.e. an attachment.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(Opcode::Binary, bytes)
    }

    fn new(opcode: Opcode, packet: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(packet.len() + 10);
        websocket::encode_header(&mut bytes, opcode, packet.len());
        let header = bytes.len() as u8;
        bytes.extend_from_slice(packet);
        Self { bytes: bytes.into(), packet: header, binary: matches!(opcode, Opcode::Binary), publication: (0, 0) }
    }

    /// The whole frame, as a WebSocket is given it.
    pub fn websocket(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The packet alone, as a poll is given it.
    pub fn packet(&self) -> &[u8] {
        &self.bytes[usize::from(self.packet)..]
    }

    /// The text of the publication that the packet carries, or nothing.
    pub fn publication_text(&self) -> &str {
        let (start, length) = self.publication;
        let text = self.packet().get(start as usize..(start + length) as usize).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Whether the packet is a binary message, which a poll is given as base64.
    pub fn is_binary(&self) -> bool {
        self.binary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_carries_its_packet_behind_the_shortest_header() {
        let frame = Frame::text("42[\"event\",1]");
        assert_eq!(frame.websocket()[..2], [0x81, 13]);
        assert_eq!(frame.packet(), b"42[\"event\",1]");
        let long = Frame::text(&"x".repeat(200));
        assert_eq!(long.websocket()[..4], [0x81, 126, 0, 200]);
        assert_eq!(long.packet().len(), 200);
    }
}
