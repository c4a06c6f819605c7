//! What the application replies to a command for its channels. No I/O.
//!
//! `protocol/README.md` section 17 defines it. The application is trusted, but a reply is checked before anything of it
//! counts: one that is not understood changes nothing.

use crate::calls::Called;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The largest state of a connection, and of a subscription. Bytes.
const MAX_STATE: usize = 16 * 1024;
/// The streams that one reply may start, and stop.
const MAX_STREAMS: usize = 100;

/// A reply.
#[derive(Debug, Deserialize)]
pub(super) struct Reply<'a> {
    pub(super) status: Status,
    /// What the application needs with the next command of the connection: the text of a JSON value.
    #[serde(default, borrow)]
    pub(super) connection: Option<&'a RawValue>,
    /// The same for the subscription.
    #[serde(default, borrow)]
    pub(super) state: Option<&'a RawValue>,
    /// The rooms whose revocation ends the connection.
    #[serde(default)]
    pub(super) rooms: Option<Rooms>,
    /// The streams to start.
    #[serde(default)]
    pub(super) start: Vec<String>,
    /// The streams to stop, before others are started.
    #[serde(default)]
    pub(super) stop: Vec<String>,
    /// Frames for the client.
    #[serde(default, borrow)]
    pub(super) transmissions: Vec<&'a RawValue>,
    /// Whether the application is notified of the end: of the connection, or of the subscription.
    #[serde(default)]
    pub(super) notify: bool,
    /// The connection ends.
    #[serde(default)]
    pub(super) disconnect: Option<Disconnect>,
}

/// What came of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    /// The connection or subscription is rejected.
    Rejected,
    /// The application raised an exception, and has logged it.
    Error,
}

/// The rooms whose revocation ends a connection.
#[derive(Debug, Deserialize)]
pub(super) struct Rooms {
    /// Its client comes back.
    pub(super) reconnect: String,
    /// Its client does not.
    pub(super) stay_away: String,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Disconnect {
    /// Whether the client comes back.
    pub(super) reconnect: bool,
}

/// Why a reply is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplyError {
    #[error("the status is {0} instead of 200")]
    Status(u16),
    #[error("the body is not a reply to a command for a channel")]
    NotAReply,
    #[error("a state is larger than {MAX_STATE} bytes")]
    StateTooLarge,
    #[error("it starts or stops more than {MAX_STREAMS} streams")]
    TooManyStreams,
    #[error("a transmission is not a JSON object")]
    BadTransmission,
}

// === impl Reply ===

impl<'a> Reply<'a> {
    /// Reads a response of the application.
    ///
    /// # Errors
    /// [`ReplyError`].
    pub(super) fn read(called: &'a Called) -> Result<Self, ReplyError> {
        if called.status != 200 {
            return Err(ReplyError::Status(called.status));
        }
        let reply: Self = serde_json::from_str(&called.body).map_err(|_| ReplyError::NotAReply)?;
        if [reply.connection, reply.state].iter().flatten().any(|state| state.get().len() > MAX_STATE) {
            return Err(ReplyError::StateTooLarge);
        }
        if reply.start.len().max(reply.stop.len()) > MAX_STREAMS {
            return Err(ReplyError::TooManyStreams);
        }
        if reply.transmissions.iter().any(|text| !text.get().starts_with('{')) {
            return Err(ReplyError::BadTransmission);
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(status: u16, body: &str) -> Called {
        Called { status, headers: "{}".into(), body: body.into() }
    }

    #[test]
    fn a_reply_has_a_status_and_what_changes() {
        let text = r#"{"status":"ok","connection":{"a": "1.0"},"state":{},"start":["s"],"stop":["t"],"notify":true,
            "transmissions":[{"identifier":"i","message":1.50}],"disconnect":{"reconnect":false}}"#;
        let called = called(200, text);
        let reply = Reply::read(&called).unwrap();
        assert_eq!((reply.status, reply.connection.unwrap().get()), (Status::Ok, r#"{"a": "1.0"}"#));
        assert_eq!((reply.start, reply.stop, reply.notify), (vec!["s".to_owned()], vec!["t".to_owned()], true));
        assert_eq!(reply.transmissions[0].get(), r#"{"identifier":"i","message":1.50}"#);
        assert!(!reply.disconnect.unwrap().reconnect);
    }

    #[test]
    fn anything_else_is_not_understood() {
        let state = format!(r#"{{"status":"ok","state":"{}"}}"#, "x".repeat(MAX_STATE));
        let streams = format!(r#"{{"status":"ok","start":{:?}}}"#, vec!["s"; MAX_STREAMS + 1]);
        for (status, body, error) in [
            (500, r#"{"status":"ok"}"#, ReplyError::Status(500)),
            (204, "", ReplyError::Status(204)),
            (200, "", ReplyError::NotAReply),
            (200, "<html>", ReplyError::NotAReply),
            (200, "{}", ReplyError::NotAReply),
            (200, r#"{"status":"yes"}"#, ReplyError::NotAReply),
            (200, r#"{"status":"ok","start":"s"}"#, ReplyError::NotAReply),
            (200, r#"{"status":"ok","disconnect":true}"#, ReplyError::NotAReply),
            (200, &state, ReplyError::StateTooLarge),
            (200, &streams, ReplyError::TooManyStreams),
            (200, r#"{"status":"ok","transmissions":["text"]}"#, ReplyError::BadTransmission),
        ] {
            assert_eq!(Reply::read(&called(status, body)).map(drop), Err(error), "{body}");
        }
    }
}
