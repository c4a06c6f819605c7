//! What a response of the application says about a visitor. Anything but a clean yes is a no.

use super::client::ApplicationResponse;
use crate::identity::Identity;
use crate::stated_identity::{self, BadIdentity};
use hyper::StatusCode;

/// The limits of an identity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The longest name of a room. Bytes.
    pub(super) max_room_name: usize,
    /// Maximum number of rooms that a site may name.
    pub(super) max_rooms: usize,
    /// For how long an identity is valid, at most. Milliseconds.
    pub(super) lifetime_ms: u64,
}

/// Why a response is not a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotYes {
    /// A clean no: this status from 400 to 499.
    #[error("the status is {0}")]
    Rejected(u16),
    /// A status that means neither yes nor no.
    #[error("the status is {0} instead of 200")]
    Status(u16),
    /// The body says nothing usable.
    #[error(transparent)]
    Identity(#[from] BadIdentity),
}

// === impl NotYes ===

impl NotYes {
    /// Whether the application has decided.
    pub(super) fn is_decision(self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

/// Reads a response. `now_ms` is when the request was sent.
pub(super) fn read(response: &ApplicationResponse, rules: Rules, now_ms: u64) -> Result<Identity, NotYes> {
    match response.status {
        StatusCode::OK => {}
        status if status.is_client_error() => return Err(NotYes::Rejected(status.as_u16())),
        status => return Err(NotYes::Status(status.as_u16())),
    }
    let latest_ms = now_ms.saturating_add(rules.lifetime_ms);
    Ok(stated_identity::read(&response.body, rules.max_room_name, now_ms, latest_ms)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { max_room_name: 20, max_rooms: 10, lifetime_ms: 60_000 };
    const NOW: u64 = 1_000_000;

    fn read_body(status: u16, body: &str) -> Result<Identity, NotYes> {
        let status = StatusCode::from_u16(status).unwrap();
        read(&ApplicationResponse { status, body: body.to_owned().into() }, RULES, NOW)
    }

    #[test]
    fn a_clean_yes_has_a_user_and_may_have_more() {
        let identity = read_body(200, r#"{"user": "7", "more": 1}"#).unwrap();
        assert_eq!((&*identity.user, identity.expires_ms, identity.issued_ms), ("7", NOW + 60_000, NOW));
        assert!(identity.info.is_none() && identity.rooms.is_empty());
        let body = r#"{"user": 7, "rooms": ["a", "b"], "info": {"name": "Ann"}, "expires": 1010.5}"#;
        let identity = read_body(200, body).unwrap();
        assert_eq!((&*identity.user, identity.expires_ms), ("7", 1_010_500));
        assert_eq!(identity.info.as_deref(), Some(r#"{"name": "Ann"}"#));
        assert!(identity.opens("a") && identity.opens("b") && !identity.opens("c"));
        let far = read_body(200, r#"{"user": 7, "expires": 99999999999, "rooms": null, "info": null}"#).unwrap();
        assert_eq!(far.expires_ms, NOW + 60_000, "never longer than the configuration allows");
    }

    #[test]
    fn anything_else_is_a_no() {
        let deep = format!(r#"{{"user":"7","info":{}{}}}"#, "[".repeat(17), "]".repeat(17));
        let long = format!(r#"{{"user":"7","info":"{}"}}"#, "x".repeat(1024));
        let user = format!(r#"{{"user":"{}"}}"#, "x".repeat(256));
        for (body, error) in [
            ("", BadIdentity::NotJson),
            ("true", BadIdentity::NotJson),
            ("\"7\"", BadIdentity::NotJson),
            ("<html>", BadIdentity::NotJson),
            (r#"{"user":"7""#, BadIdentity::NotJson),
            (r#"{"user":"7"} {}"#, BadIdentity::NotJson),
            ("{}", BadIdentity::MissingUser),
            (r#"{"user":null}"#, BadIdentity::MissingUser),
            (r#"{"user":""}"#, BadIdentity::BadUser),
            (r#"{"user":true}"#, BadIdentity::BadUser),
            (r#"{"user":1.5}"#, BadIdentity::BadUser),
            (r#"{"user":"a\u0007"}"#, BadIdentity::BadUser),
            (&user, BadIdentity::BadUser),
            (r#"{"user":"7","rooms":"a"}"#, BadIdentity::BadRooms),
            (r#"{"user":"7","rooms":[1]}"#, BadIdentity::BadRooms),
            (r#"{"user":"7","rooms":[""]}"#, BadIdentity::BadRooms),
            (r#"{"user":"7","rooms":["xxxxxxxxxxxxxxxxxxxxx"]}"#, BadIdentity::BadRooms),
            (&deep, BadIdentity::BadInfo),
            (&long, BadIdentity::BadInfo),
            (r#"{"user":"7","expires":"tomorrow"}"#, BadIdentity::BadExpires),
            (r#"{"user":"7","expires":-1}"#, BadIdentity::BadExpires),
            (r#"{"user":"7","expires":1000}"#, BadIdentity::Expired),
        ] {
            assert_eq!(read_body(200, body).map(drop), Err(NotYes::Identity(error)), "{body}");
        }
        let yes = r#"{"user":"7"}"#;
        for status in [401, 403, 404, 422] {
            assert_eq!(read_body(status, yes).map(drop), Err(NotYes::Rejected(status)));
        }
        for status in [201, 204, 206] {
            assert_eq!(read_body(status, yes).map(drop), Err(NotYes::Status(status)));
        }
    }
}
