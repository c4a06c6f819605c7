//! The reply to a request for a session: the handshake, or an error with its code.

use serde::Serialize;
use thiserror::Error;

/// The usual size of an `open` packet and a little more, so that it is allocated once. Bytes.
const PACKET_SIZE: usize = 160;

/// The parameters of a new session. Their JSON is the text of its `open` packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake<'a> {
    /// The session's id, unguessable.
    pub sid: &'a str,
    /// Transports to which it may upgrade: `["websocket"]` over polling, else none.
    pub upgrades: &'a [&'a str],
    /// Interval of the server's pings. Milliseconds.
    #[serde(rename = "pingInterval")]
    pub ping_interval_ms: u64,
    /// Maximum time for a pong. Milliseconds.
    #[serde(rename = "pingTimeout")]
    pub ping_timeout_ms: u64,
    /// Maximum size of a message or payload. Bytes.
    pub max_payload: usize,
}

/// A reason why a request is rejected, with the number of the reference implementation.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{}", self.message())]
pub enum RequestError {
    /// `transport` is unknown or disabled.
    UnknownTransport,
    /// `sid` is unknown.
    UnknownSid,
    /// The method of a request for a session is not GET.
    BadHandshakeMethod,
    /// The request does not match the session: another transport or method, or a second GET at a time.
    BadRequest,
    /// The server rejected it.
    Forbidden,
    /// `EIO` is not 4.
    UnsupportedProtocolVersion,
}

// === impl Handshake ===

impl Handshake<'_> {
    /// Returns the text of the `open` packet.
    #[must_use]
    pub fn to_packet(&self) -> String {
        let mut packet = Vec::with_capacity(PACKET_SIZE);
        packet.push(b'0');
        // Strings and numbers can always be encoded.
        let _ = serde_json::to_writer(&mut packet, self);
        String::from_utf8(packet).unwrap_or_default()
    }
}

// === impl RequestError ===

impl RequestError {
    /// Returns the number in the error's body.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSid => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedProtocolVersion => 5,
        }
    }

    /// Returns the text in the error's body.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSid => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocolVersion => "Unsupported protocol version",
        }
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// Returns the body of the response.
    #[must_use]
    pub fn body(self) -> String {
        format!(r#"{{"code":{},"message":"{}"}}"#, self.code(), self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_on_a_websocket_has_no_upgrades() {
        let handshake =
            Handshake { sid: "\"", upgrades: &[], ping_interval_ms: 1, ping_timeout_ms: 2, max_payload: 3 };
        let expected = r#"0{"sid":"\"","upgrades":[],"pingInterval":1,"pingTimeout":2,"maxPayload":3}"#;
        assert_eq!(handshake.to_packet(), expected);
    }

    #[test]
    fn error_displays_its_message() {
        assert_eq!(RequestError::UnknownSid.to_string(), "Session ID unknown");
    }
}
