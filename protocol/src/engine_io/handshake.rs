//! What the server answers to a request for a session: the handshake, or the error and its code.

use serde::Serialize;
use thiserror::Error;

/// The server's side of a new session, the text of its `open` packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake<'a> {
    /// The session's id, unguessable.
    pub sid: &'a str,
    /// The transports it may move to: `["websocket"]` over polling, else none.
    pub upgrades: &'a [&'a str],
    /// How often the server pings, in milliseconds.
    #[serde(rename = "pingInterval")]
    pub ping_interval_ms: u64,
    /// How long a pong may take, in milliseconds.
    #[serde(rename = "pingTimeout")]
    pub ping_timeout_ms: u64,
    /// The largest message or payload it takes, in bytes.
    pub max_payload: usize,
}

/// Why a request is refused, as the reference implementation numbers it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{}", self.message())]
pub enum RequestError {
    /// `transport` names none, or one that is switched off.
    UnknownTransport,
    /// `sid` names no session.
    UnknownSid,
    /// A session is asked for by something else than GET.
    BadHandshakeMethod,
    /// The request does not fit the session: the wrong transport or method, a second GET at a time.
    BadRequest,
    /// Admission said no.
    Forbidden,
    /// `EIO` is not 4.
    UnsupportedProtocolVersion,
}

// === impl Handshake ===

impl Handshake<'_> {
    /// The JSON that follows the `0` of the `open` packet.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and numbers always have a JSON text.
        serde_json::to_string(self).unwrap_or_default()
    }
}

// === impl RequestError ===

impl RequestError {
    /// The number in the error's body.
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

    /// The text in the error's body.
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

    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(self) -> String {
        format!(r#"{{"code":{},"message":"{}"}}"#, self.code(), self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_began_on_websocket_has_nowhere_to_upgrade_to() {
        let handshake =
            Handshake { sid: "\"", upgrades: &[], ping_interval_ms: 1, ping_timeout_ms: 2, max_payload: 3 };
        let expected = r#"{"sid":"\"","upgrades":[],"pingInterval":1,"pingTimeout":2,"maxPayload":3}"#;
        assert_eq!(handshake.to_json(), expected);
    }

    #[test]
    fn an_error_reads_as_its_message() {
        assert_eq!(RequestError::UnknownSid.to_string(), "Session ID unknown");
    }
}
