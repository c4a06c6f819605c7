//! The claims of a token: what a token says, after its signature was verified.
//!
//! Owns their types and limits. Does not compare them with anything.

use super::TokenError;
use nodevent_protocol::room;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The longest id of a user. Bytes.
pub const MAX_USER_BYTES: usize = 255;
/// The longest `info`. Every connection of the user keeps it. Bytes.
pub const MAX_INFO_BYTES: usize = 1024;
/// The latest time that a claim may name: the end of the year 9999. Seconds since the Unix epoch.
const LATEST: f64 = 253_402_300_799.0;

/// The claims of a token.
#[derive(Debug)]
pub(super) struct Claims {
    /// `sub`.
    pub(super) user: Option<Box<str>>,
    /// `exp`. Milliseconds since the Unix epoch, like the other times.
    pub(super) expires_ms: u64,
    /// `nbf`.
    pub(super) not_before_ms: Option<u64>,
    /// `iat`.
    pub(super) issued_ms: Option<u64>,
    /// `rooms`: the rooms that a connection joins at once.
    pub(super) rooms: Box<[Box<str>]>,
    /// `info`: the text of a JSON value.
    pub(super) info: Option<Box<str>>,
    /// `room`: the room that the token opens.
    pub(super) room: Option<Box<str>>,
    /// `ns`: the namespace for which it is.
    pub(super) namespace: Option<Box<str>>,
}

/// The claims that are read, each as the text of a JSON value. `null` counts as missing.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    sub: Option<&'a RawValue>,
    #[serde(borrow)]
    exp: Option<&'a RawValue>,
    #[serde(borrow)]
    nbf: Option<&'a RawValue>,
    #[serde(borrow)]
    iat: Option<&'a RawValue>,
    #[serde(borrow)]
    rooms: Option<&'a RawValue>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    ns: Option<&'a RawValue>,
}

// === impl Claims ===

impl Claims {
    /// Reads the text of a JSON object. `max_room_name` is in bytes.
    ///
    /// # Errors
    /// The first claim that has a wrong type, or exceeds a limit.
    pub(super) fn read(json: &str, max_room_name: usize) -> Result<Self, TokenError> {
        let written: Written<'_> = serde_json::from_str(json).map_err(|_| TokenError::Malformed)?;
        let time = |claim: Option<&RawValue>, error| claim.map(|claim| time(claim).ok_or(error)).transpose();
        let room_name = |value: &Value| match value {
            // Unlike in a join, a number is not the name of a room: an application that signs a token can write text.
            Value::String(_) => room::from_json(value, max_room_name).ok().map(String::into_boxed_str),
            _ => None,
        };
        let rooms: Vec<Value> = match written.rooms {
            Some(rooms) => serde_json::from_str(rooms.get()).map_err(|_| TokenError::BadRooms)?,
            None => Vec::new(),
        };
        let rooms: Option<Box<[Box<str>]>> = rooms.iter().map(room_name).collect();
        let room = written.room.map(|room| {
            let value = serde_json::from_str(room.get()).ok();
            value.as_ref().and_then(room_name).ok_or(TokenError::BadRoom)
        });
        let info = written.info.map(|info| match info.get().len() {
            0..=MAX_INFO_BYTES => Ok(info.get().into()),
            _ => Err(TokenError::InfoTooLong),
        });
        let namespace = written.ns.map(|ns| serde_json::from_str(ns.get()).map_err(|_| TokenError::WrongNamespace));
        Ok(Self {
            expires_ms: time(written.exp, TokenError::BadExpiry)?.ok_or(TokenError::MissingExpiry)?,
            not_before_ms: time(written.nbf, TokenError::BadNotBefore)?,
            issued_ms: time(written.iat, TokenError::BadIssuedAt)?,
            user: written.sub.map(|sub| user(sub).ok_or(TokenError::BadUser)).transpose()?,
            rooms: rooms.ok_or(TokenError::BadRooms)?,
            room: room.transpose()?,
            info: info.transpose()?,
            namespace: namespace.transpose()?,
        })
    }
}

/// A time in seconds, which may have a fraction.
fn time(claim: &RawValue) -> Option<u64> {
    let seconds: f64 = serde_json::from_str(claim.get()).ok()?;
    (0.0..=LATEST).contains(&seconds).then_some((seconds * 1000.0) as u64)
}

fn user(claim: &RawValue) -> Option<Box<str>> {
    let user: Box<str> = serde_json::from_str(claim.get()).ok()?;
    nodevent_protocol::topic::is_user(&user).then_some(user)
}
