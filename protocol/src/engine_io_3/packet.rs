//! One packet: text as in version 4, or a binary message behind the byte of its type.
//!
//! # Shape
//! A binary message is `[4][data]` in a binary frame of a WebSocket, and `b4<base64>` where only text can be sent.

use crate::engine_io::packet::{self, Malformed, Packet};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use std::borrow::Cow;

/// The type of a message in a binary packet.
const MESSAGE: u8 = 4;

/// Base64 as clients encode it, with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A packet of a client that was checked to be one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part<'a> {
    /// The text of a text packet, with its digit.
    Text(Cow<'a, str>),
    /// The data of a binary message.
    Binary(Cow<'a, [u8]>),
}

// === impl Part ===

impl Part<'_> {
    /// Returns the packet.
    #[must_use]
    pub fn packet(&self) -> Packet<'_> {
        match self {
            // It was checked when the part was made.
            Self::Text(text) => packet::decode(text).unwrap_or(Packet::Noop),
            Self::Binary(bytes) => Packet::Binary(bytes),
        }
    }
}

/// Parses a text: a text frame of a WebSocket, or a part of a payload.
///
/// # Errors
/// Returns [`Malformed`] if it is not a packet.
pub fn decode_text<'a>(text: impl Into<Cow<'a, str>>) -> Result<Part<'a>, Malformed> {
    let text = text.into();
    match text.strip_prefix('b') {
        Some(binary) => {
            let base64 = binary.strip_prefix('4').ok_or(Malformed::UnknownType)?;
            LENIENT.decode(base64).map(|bytes| Part::Binary(bytes.into())).map_err(|_| Malformed::NotBase64)
        }
        None => packet::decode(&text).map(drop).map(|()| Part::Text(text)),
    }
}

/// Parses bytes: a binary frame of a WebSocket, or a part of a payload. Only messages are binary.
///
/// # Errors
/// Returns [`Malformed`] if it is not a packet.
pub fn decode_binary(bytes: &[u8]) -> Result<Part<'_>, Malformed> {
    match bytes {
        [] => Err(Malformed::Empty),
        [MESSAGE, data @ ..] => Ok(Part::Binary(data.into())),
        _ => Err(Malformed::UnknownType),
    }
}

/// Returns the binary packet of a message: its type, then its data.
#[must_use]
pub fn encode_binary(data: &[u8]) -> Vec<u8> {
    [&[MESSAGE], data].concat()
}

/// Returns the packet of a binary message as text.
#[must_use]
pub fn encode_base64(data: &[u8]) -> String {
    let mut out = "b4".to_owned();
    STANDARD.encode_string(data, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_message_has_two_forms() {
        assert_eq!(encode_base64(&[1, 2, 3]), "b4AQID");
        assert_eq!(encode_binary(&[1, 2, 3]), [4, 1, 2, 3]);
        let expected = Ok(Part::Binary(vec![1, 2, 3].into()));
        assert_eq!(decode_text("b4AQID"), expected);
        assert_eq!(decode_binary(&[4, 1, 2, 3]), expected);
    }

    #[test]
    fn only_messages_are_binary() {
        //
        assert_eq!(decode_text("b2AQID"), Err(Malformed::UnknownType));
        assert_eq!(decode_text("b"), Err(Malformed::UnknownType));
        assert_eq!(decode_text("b4*"), Err(Malformed::NotBase64));
        assert_eq!(decode_binary(&[2]), Err(Malformed::UnknownType));
        assert_eq!(decode_binary(b"4text"), Err(Malformed::UnknownType));
        assert_eq!(decode_binary(&[]), Err(Malformed::Empty));
        assert_eq!(decode_text(""), Err(Malformed::Empty));
    }
}
