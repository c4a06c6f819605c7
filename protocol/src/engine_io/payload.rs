//! A polling payload: the packets of one POST body or of one GET answer, with 0x1e between them.

use super::packet::{self, Malformed, Packet};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use std::iter::FusedIterator;

/// What stands between two packets.
pub const SEPARATOR: u8 = 0x1e;

/// Base64 as browsers write it, with or without the `=` at its end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One packet of a payload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part<'a> {
    /// A text packet, as it stands in the body.
    Text(Packet<'a>),
    /// A binary message.
    Binary(Vec<u8>),
}

/// The packets of a body, in order. It ends behind the first malformed one.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    /// What has not been read yet; `None` at the end.
    rest: Option<&'a str>,
}

/// Reads the body of a POST. An empty body is one malformed packet.
#[must_use]
pub fn decode(body: &str) -> Packets<'_> {
    Packets { rest: Some(body) }
}

/// Reads one packet that may be a binary message as base64: in a payload, or in a WebSocket text frame of a browser
/// that was told not to send binary ones (`b64=1`).
///
/// # Errors
/// [`Malformed`] says why it is none.
pub fn decode_packet(text: &str) -> Result<Part<'_>, Malformed> {
    match text.strip_prefix('b') {
        Some(base64) => LENIENT.decode(base64).map(Part::Binary).map_err(|_| Malformed::NotBase64),
        None => packet::decode(text).map(Part::Text),
    }
}

/// Adds a text packet (with its digit) to a GET answer.
pub fn push(out: &mut Vec<u8>, text_packet: &[u8]) {
    separate(out);
    out.extend_from_slice(text_packet);
}

/// Adds a binary message to a GET answer.
pub fn push_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    separate(out);
    out.push(b'b');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
}

fn separate(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(SEPARATOR);
    }
}

// === impl Packets ===

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Part<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let body = self.rest.take()?;
        let (text, rest) = match body.split_once(char::from(SEPARATOR)) {
            Some((text, rest)) => (text, Some(rest)),
            None => (body, None),
        };
        let part = decode_packet(text);
        if part.is_ok() {
            self.rest = rest;
        }
        Some(part)
    }
}

impl FusedIterator for Packets<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_and_without_its_padding() {
        for body in ["bAQIDBA==", "bAQIDBA"] {
            assert_eq!(decode(body).next(), Some(Ok(Part::Binary(vec![1, 2, 3, 4]))));
        }
    }

    #[test]
    fn one_packet_is_read_as_in_a_payload() {
        assert_eq!(decode_packet("bAQIDBA=="), Ok(Part::Binary(vec![1, 2, 3, 4])));
        assert_eq!(decode_packet("4b"), Ok(Part::Text(Packet::Message("b"))));
        assert_eq!(decode_packet("b*"), Err(Malformed::NotBase64));
    }

    #[test]
    fn an_answer_separates_its_packets() {
        let mut out = Vec::new();
        push(&mut out, b"4hello");
        push_binary(&mut out, &[1, 2, 3, 4]);
        push(&mut out, b"2");
        assert_eq!(out, b"4hello\x1ebAQIDBA==\x1e2");
    }

    #[test]
    fn nothing_is_read_behind_a_malformed_packet() {
        //
        let mut packets = decode("9\u{1e}4hello");
        assert_eq!(packets.next(), Some(Err(Malformed::UnknownType)));
        assert_eq!(packets.next(), None);
        assert_eq!(packets.next(), None);
    }
}
