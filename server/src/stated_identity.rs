//! An identity as an application states it: a JSON object with `user`, and perhaps `rooms`, `info` and `expires`.
//!
//! The application responds with it to a request of the server, or passes it on with a connection that it hands over.

use crate::identity::Identity;
use crate::token::{self, MAX_INFO_BYTES, MAX_USER_BYTES};
use nodevent_protocol::room;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// How deep `info` may be nested.
const MAX_DEPTH: usize = token::MAX_DEPTH;

/// Why a text does not state an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadIdentity {
    /// It is something else.
    #[error("the body is not a JSON object")]
    NotJson,
    /// It names no user.
    #[error("`user` is missing or null")]
    MissingUser,
    /// The user has no usable id.
    #[error("`user` is neither a text of 1 to 255 bytes nor a whole number")]
    BadUser,
    /// One of the rooms cannot be one.
    #[error("`rooms` is not a list of names of rooms")]
    BadRooms,
    /// `info` exceeds a limit.
    #[error("`info` is longer than 1024 bytes, or nested too deeply")]
    BadInfo,
    /// `expires` is something else.
    #[error("`expires` is not a time in seconds")]
    BadExpires,
    /// It is not valid any more.
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

/// Reads an identity that is valid from `now_ms` until `latest_ms` at most.
///
/// # Units
/// `max_room_name` is in bytes, the times in milliseconds since the Unix epoch.
///
/// # Errors
/// [`BadIdentity`].
pub fn read(json: &[u8], max_room_name: usize, now_ms: u64, latest_ms: u64) -> Result<Identity, BadIdentity> {
    let written: Written<'_> = serde_json::from_slice(json).map_err(|_| BadIdentity::NotJson)?;
    let user = match written.user {
        None | Some(Value::Null) => return Err(BadIdentity::MissingUser),
        Some(Value::String(user)) => user,
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => number.to_string(),
        Some(_) => return Err(BadIdentity::BadUser),
    };
    if !(1..=MAX_USER_BYTES).contains(&user.len()) || user.chars().any(char::is_control) {
        return Err(BadIdentity::BadUser);
    }
    let room_name = |value: &Value| match value {
        Value::String(_) => room::from_json(value, max_room_name).ok().map(String::into_boxed_str),
        _ => None,
    };
    let rooms: Option<Box<[Box<str>]>> = match &written.rooms {
        None | Some(Value::Null) => Some(Box::default()),
        Some(Value::Array(rooms)) => rooms.iter().map(room_name).collect(),
        Some(_) => None,
    };
    let info = written.info.map(RawValue::get).filter(|info| *info != "null");
    if info.is_some_and(|info| info.len() > MAX_INFO_BYTES || token::depth(info.as_bytes()) > MAX_DEPTH) {
        return Err(BadIdentity::BadInfo);
    }
    let expires_ms = match &written.expires {
        None | Some(Value::Null) => latest_ms,
        Some(Value::Number(number)) => {
            let seconds = number.as_f64().filter(|seconds| *seconds >= 0.0).ok_or(BadIdentity::BadExpires)?;
            ((seconds * 1000.0) as u64).min(latest_ms)
        }
        Some(_) => return Err(BadIdentity::BadExpires),
    };
    if expires_ms <= now_ms {
        return Err(BadIdentity::Expired);
    }
    Ok(Identity {
        user: user.into(),
        expires_ms,
        issued_ms: now_ms,
        info: info.map(Into::into),
        rooms: rooms.ok_or(BadIdentity::BadRooms)?,
        site: None,
    })
}
