//! Encodes frames, and the reply to a WebSocket handshake.

use super::frame::{DEFLATED, MAX_CONTROL, Opcode, unmask};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use smallvec::SmallVec;

/// The header of a frame: 2, 4 or 10 bytes.
pub type Header = SmallVec<[u8; 10]>;

/// The text that RFC 6455, section 1.3, appends to the browser's key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Returns the `Sec-WebSocket-Accept` for a browser's `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(sec_websocket_key: &str) -> String {
    let mut sha = Sha1::new();
    sha.update(sec_websocket_key);
    sha.update(GUID);
    STANDARD.encode(sha.finalize())
}

/// Returns the header of an unfragmented, unmasked frame, as servers send it, for a payload of so many bytes.
#[must_use]
pub fn header(opcode: Opcode, payload_len: usize) -> Header {
    head(opcode, payload_len, 0)
}

/// As [`header`], for a payload that is compressed with permessage-deflate.
#[must_use]
pub fn deflated_header(opcode: Opcode, payload_len: usize) -> Header {
    let mut header = header(opcode, payload_len);
    header[0] |= DEFLATED;
    header
}

/// Appends an unfragmented, unmasked frame, as servers send it.
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.extend_from_slice(&header(opcode, payload.len()));
    out.extend_from_slice(payload);
}

/// Appends a close frame. A reason that does not fit is cut at a character boundary.
pub fn encode_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let code = code.to_be_bytes();
    let max = MAX_CONTROL - code.len();
    let fits = reason.char_indices().map(|(start, character)| start + character.len_utf8());
    let reason = &reason[..fits.take_while(|&end| end <= max).last().unwrap_or(0)];
    out.extend_from_slice(&header(Opcode::Close, code.len() + reason.len()));
    out.extend_from_slice(&code);
    out.extend_from_slice(reason.as_bytes());
}

/// Appends an unfragmented, masked frame, as browsers send it: for tests and load generators.
pub fn encode_masked(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    out.extend_from_slice(&head(opcode, payload.len(), 0x80));
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask, 0);
}

fn head(opcode: Opcode, length: usize, masked: u8) -> Header {
    let mut out = Header::new();
    out.push(0x80 | opcode.bits());
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        out.push(masked | short);
    } else if let Ok(medium) = u16::try_from(length) {
        out.push(masked | 126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(masked | 127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_key_matches_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn length_is_minimally_encoded() {
        let lengths: [(usize, &[u8]); 6] = [
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (1 << 40, &[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]),
        ];
        for (length, expected) in lengths {
            assert_eq!(&header(Opcode::Text, length)[..], expected, "{length}");
        }
    }

    #[test]
    fn frame_is_appended() {
        let mut out = b"x".to_vec();
        encode(&mut out, Opcode::Pong, b"hi");
        assert_eq!(out, b"x\x8a\x02hi");
    }

    #[test]
    fn close_reason_is_cut_at_a_character_boundary() {
        let mut out = Vec::new();
        encode_close(&mut out, 1009, &"☃".repeat(42));
        assert_eq!(out[..4], [0x88, 2 + 41 * 3, 0x03, 0xf1]);
        assert_eq!(std::str::from_utf8(&out[4..]), Ok("☃".repeat(41).as_str()));
        let mut out = Vec::new();
        encode_close(&mut out, 1000, "");
        assert_eq!(out, [0x88, 2, 0x03, 0xe8]);
    }
}
