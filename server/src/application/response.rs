//! What a response of the application says about a visitor. Anything but a clean yes is a no.

use super::client::ApplicationResponse;
use crate::identity::Identity;
use crate::token::{self, MAX_INFO_BYTES, MAX_USER_BYTES};
use hyper::StatusCode;
use nodevent_protocol::room;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// How deep `info` may be nested.
const MAX_DEPTH: usize = token::MAX_DEPTH;

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
    #[error("the body is not a JSON object")]
    NotJson,
    #[error("`user` is missing or null")]
    MissingUser,
    #[error("`user` is neither a text of 1 to 255 bytes nor a whole number")]
    BadUser,
    #[error("`rooms` is not a list of names of rooms")]
    BadRooms,
    #[error("`info` is longer than 1024 bytes, or nested too deeply")]
    BadInfo,
    #[error("`expires` is not a time in seconds")]
    BadExpires,
    #[error("`expires` has passed")]
    Expired,
}

#[derive(Deserialize)]
struct Written<'a> {
    user: Option<Value>,
    rooms: Option<Value>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    expires: Option<Value>,
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
    let written: Written<'_> = serde_json::from_slice(&response.body).map_err(|_| NotYes::NotJson)?;
    let user = match written.user {
        None | Some(Value::Null) => return Err(NotYes::MissingUser),
        Some(Value::String(user)) => user,
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => number.to_string(),
        Some(_) => return Err(NotYes::BadUser),
    };
    if !(1..=MAX_USER_BYTES).contains(&user.len()) || user.chars().any(char::is_control) {
        return Err(NotYes::BadUser);
    }
    let room_name = |value: &Value| match value {
        Value::String(_) => room::from_json(value, rules.max_room_name).ok().map(String::into_boxed_str),
        _ => None,
    };
    let rooms: Option<Box<[Box<str>]>> = match &written.rooms {
        None | Some(Value::Null) => Some(Box::default()),
        Some(Value::Array(rooms)) => rooms.iter().map(room_name).collect(),
        Some(_) => None,
    };
    let info = written.info.map(RawValue::get).filter(|info| *info != "null");
    if info.is_some_and(|info| info.len() > MAX_INFO_BYTES || token::depth(info.as_bytes()) > MAX_DEPTH) {
        return Err(NotYes::BadInfo);
    }
    let latest_ms = now_ms.saturating_add(rules.lifetime_ms);
    let expires_ms = match &written.expires {
        None | Some(Value::Null) => latest_ms,
        Some(Value::Number(number)) => {
            let seconds = number.as_f64().filter(|seconds| *seconds >= 0.0).ok_or(NotYes::BadExpires)?;
            ((seconds * 1000.0) as u64).min(latest_ms)
        }
        Some(_) => return Err(NotYes::BadExpires),
    };
    if expires_ms <= now_ms {
        return Err(NotYes::Expired);
    }
    Ok(Identity {
        user: user.into(),
        expires_ms,
        issued_ms: now_ms,
        info: info.map(Into::into),
        rooms: rooms.ok_or(NotYes::BadRooms)?,
        site: None,
    })
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
            ("", NotYes::NotJson),
            ("true", NotYes::NotJson),
            ("\"7\"", NotYes::NotJson),
            ("<html>", NotYes::NotJson),
            (r#"{"user":"7""#, NotYes::NotJson),
            (r#"{"user":"7"} {}"#, NotYes::NotJson),
            ("{}", NotYes::MissingUser),
            (r#"{"user":null}"#, NotYes::MissingUser),
            (r#"{"user":""}"#, NotYes::BadUser),
            (r#"{"user":true}"#, NotYes::BadUser),
            (r#"{"user":1.5}"#, NotYes::BadUser),
            (r#"{"user":"a\u0007"}"#, NotYes::BadUser),
            (&user, NotYes::BadUser),
            (r#"{"user":"7","rooms":"a"}"#, NotYes::BadRooms),
            (r#"{"user":"7","rooms":[1]}"#, NotYes::BadRooms),
            (r#"{"user":"7","rooms":[""]}"#, NotYes::BadRooms),
            (r#"{"user":"7","rooms":["xxxxxxxxxxxxxxxxxxxxx"]}"#, NotYes::BadRooms),
            (&deep, NotYes::BadInfo),
            (&long, NotYes::BadInfo),
            (r#"{"user":"7","expires":"tomorrow"}"#, NotYes::BadExpires),
            (r#"{"user":"7","expires":-1}"#, NotYes::BadExpires),
            (r#"{"user":"7","expires":1000}"#, NotYes::Expired),
        ] {
            assert_eq!(read_body(200, body).map(drop), Err(error), "{body}");
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
