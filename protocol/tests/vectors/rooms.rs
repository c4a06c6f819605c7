//! `rooms.json`: values that name a room (N-28, N-29, N-44).

use crate::vector::{list, load, text};
use nodevent_protocol::room::{MAX_BYTES, RoomNameError, from_json};
use serde_json::Value;

#[test]
fn every_valid_room_value_names_its_room() {
    for vector in list(&load("rooms.json"), "accepted") {
        assert_eq!(from_json(&vector["value"], MAX_BYTES).as_deref(), Ok(text(vector, "room")), "{vector}");
    }
}

#[test]
fn every_invalid_room_value_is_refused_with_its_reason() {
    for vector in list(&load("rooms.json"), "refused") {
        let why = match text(vector, "why") {
            "missing" => RoomNameError::Missing,
            "not_text" => RoomNameError::NotText,
            "empty" => RoomNameError::Empty,
            "too_long" => RoomNameError::TooLong,
            "reserved" => RoomNameError::Reserved,
            other => panic!("no such reason: {other}"),
        };
        let value = vector.get("value").unwrap_or(&Value::Null);
        assert_eq!(from_json(value, MAX_BYTES), Err(why), "{vector}");
    }
}
