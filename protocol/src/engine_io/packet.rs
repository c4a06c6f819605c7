//! One Engine.IO packet: a digit, then its text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// What two Engine.IO sides say to each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Packet<'a> {
    /// `0`: the server's first word, the handshake as JSON.
    Open(&'a str),
    /// `1`: this transport ends.
    Close,
    /// `2`: are you there; `2probe` while upgrading.
    Ping(&'a str),
    /// `3`: I am; `3probe` while upgrading.
    Pong(&'a str),
    /// `4`: a text message.
    Message(&'a str),
    /// A binary message: a binary frame over WebSocket, `b` and base64 in a polling payload.
    Binary(&'a [u8]),
    /// `5`: from here on, the WebSocket.
    Upgrade,
    /// `6`: nothing; ends a poll that waits.
    Noop,
}

/// Why a text is not an Engine.IO packet.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Malformed {
    /// There is nothing in it.
    #[error("the packet is empty")]
    Empty,
    /// It does not begin with a digit from 0 to 6.
    #[error("the packet is of no known type")]
    UnknownType,
    /// What follows `b` is not base64.
    #[error("the binary packet is not base64")]
    NotBase64,
}

/// Reads a text packet. What stands behind the digit of a close, upgrade or noop is overlooked, as the reference
/// implementation does.
///
/// # Errors
/// [`Malformed`] says why it is none.
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

/// Writes a packet as text behind what `out` holds; a binary one as `b` and base64, as polling has it.
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
    fn a_packet_is_written_behind_what_is_there() {
        let mut out = "x".to_owned();
        encode(&Packet::Message("hi"), &mut out);
        encode(&Packet::Binary(&[255]), &mut out);
        assert_eq!(out, "x4hib/w==");
    }

    #[test]
    fn what_is_no_packet_says_why() {
        //
        assert_eq!(decode(""), Err(Malformed::Empty));
        assert_eq!(decode("☃"), Err(Malformed::UnknownType));
    }
}
