//! One Engine.IO packet: a digit, then its text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// A packet of either side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Packet<'a> {
    /// `0`: the handshake of the server as JSON, its first packet.
    Open(&'a str),
    /// `1`: closes the session.
    Close,
    /// `2`: a ping; `2probe` during an upgrade.
    Ping(&'a str),
    /// `3`: a pong; `3probe` during an upgrade.
    Pong(&'a str),
    /// `4`: a text message.
    Message(&'a str),
    /// A binary message: a binary frame over WebSocket, `b` and base64 in a polling payload.
    Binary(&'a [u8]),
    /// `5`: the WebSocket is the transport from here on.
    Upgrade,
    /// `6`: nothing; completes a pending poll.
    Noop,
}

/// A reason why a text is not an Engine.IO packet.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Malformed {
    /// It is empty.
    #[error("the packet is empty")]
    Empty,
    /// It does not begin with a digit from 0 to 6.
    #[error("unknown packet type")]
    UnknownType,
    /// The text after `b` is not base64.
    #[error("the binary packet is not base64")]
    NotBase64,
    /// Of version 3: the length of a packet in a payload is not a number, or more than what follows.
    #[error("the length of a packet is wrong")]
    BadLength,
    /// Of version 3: a text packet in a payload of bytes is not UTF-8.
    #[error("a text packet is not UTF-8")]
    NotUtf8,
}

/// Parses a text packet. Ignores what follows the digit of a close, upgrade or noop, as the reference implementation
/// does.
///
/// # Errors
/// Returns [`Malformed`] if it is not a packet.
pub fn decode(text: &str) -> Result<Packet<'_>, Malformed> {
    let Some(kind) = text.chars().next() else { return Err(Malformed::Empty) };
    let rest = &text[kind.len_utf8()..];
    Ok(match kind {
        '0' => Packet::Open(rest),
        '1' => Packet::Close,
        '2' => Packet::Ping(rest),
        '3' => Packet::Pong(rest),
        '4' => Packet::Message(rest),
        '5' => Packet::Upgrade,
        '6' => Packet::Noop,
        _ => return Err(Malformed::UnknownType),
    })
}

/// Appends a packet as text to `out`. A binary one is `b` and base64, as in polling.
pub fn encode(packet: &Packet<'_>, out: &mut String) {
    let (kind, text) = match *packet {
        Packet::Open(text) => ('0', text),
        Packet::Close => ('1', ""),
        Packet::Ping(text) => ('2', text),
        Packet::Pong(text) => ('3', text),
        Packet::Message(text) => ('4', text),
        Packet::Upgrade => ('5', ""),
        Packet::Noop => ('6', ""),
        Packet::Binary(bytes) => {
            out.push('b');
            STANDARD.encode_string(bytes, out);
            return;
        }
    };
    out.push(kind);
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_is_appended() {
        let mut out = "x".to_owned();
        encode(&Packet::Message("hi"), &mut out);
        encode(&Packet::Binary(&[255]), &mut out);
        assert_eq!(out, "x4hib/w==");
    }

    #[test]
    fn invalid_packet_has_a_reason() {
        //
        assert_eq!(decode(""), Err(Malformed::Empty));
        assert_eq!(decode("☃"), Err(Malformed::UnknownType));
    }
}
