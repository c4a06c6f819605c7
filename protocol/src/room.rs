//! Names of rooms: the only code that turns a JSON value into a room name.
//!
//! Both joins and publications use it, so the same value always means the same room.

use crate::topic;
use serde_json::Value;
use thiserror::Error;

/// Maximum length of a room name. Namespaces may configure less. Bytes of UTF-8.
pub const MAX_BYTES: usize = 255;

/// A reason why a value is not a room name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RoomNameError {
    /// It is absent or `null`.
    #[error("no room is given")]
    Missing,
    /// It is neither a string nor an integer.
    #[error("the room is neither a string nor an integer")]
    NotText,
    /// It is the empty string.
    #[error("the room is empty")]
    Empty,
    /// It exceeds the limit.
    #[error("the room is too long")]
    TooLong,
    /// It begins with U+0001, which distinguishes the topics of users from rooms.
    #[error("the room begins with the control character U+0001")]
    Reserved,
}

/// Returns the room name of a JSON value: a string as it is, an integer as its decimal text.
///
/// Only integers of at most 64 bits have the same decimal text in all languages. `1.5`, `1e3` and larger numbers are
/// refused. An array that contains one string is not a string, although JavaScript converts it to one.
///
/// # Errors
/// Returns [`RoomNameError`]. `max_bytes` is the maximum length of the name in bytes.
pub fn from_json(value: &Value, max_bytes: usize) -> Result<String, RoomNameError> {
    let text = match value {
        Value::Null => return Err(RoomNameError::Missing),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
        _ => return Err(RoomNameError::NotText),
    };
    check(&text, max_bytes)?;
    Ok(text)
}

/// Checks whether `text` can be a room name.
///
/// # Errors
/// Returns [`RoomNameError::Empty`], [`RoomNameError::TooLong`] or [`RoomNameError::Reserved`].
pub fn check(text: &str, max_bytes: usize) -> Result<(), RoomNameError> {
    if text.is_empty() {
        Err(RoomNameError::Empty)
    } else if text.len() > max_bytes {
        Err(RoomNameError::TooLong)
    } else if text.starts_with(topic::MARK) {
        Err(RoomNameError::Reserved)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn integer_and_its_decimal_text_are_the_same_room() {
        // N-29
        assert_eq!(from_json(&json!(42), MAX_BYTES), from_json(&json!("42"), MAX_BYTES));
        assert_eq!(from_json(&json!(u64::MAX), MAX_BYTES).as_deref(), Ok("18446744073709551615"));
        assert_eq!(from_json(&json!(i64::MIN), MAX_BYTES).as_deref(), Ok("-9223372036854775808"));
    }

    #[test]
    fn number_whose_text_differs_between_languages_is_refused() {
        for number in ["1.0", "-0", "1e3", "18446744073709551616"] {
            let value = serde_json::from_str(number).unwrap();
            assert_eq!(from_json(&value, MAX_BYTES), Err(RoomNameError::NotText), "{number}");
        }
    }

    #[test]
    fn limit_is_in_bytes_and_set_by_the_caller() {
        assert_eq!(from_json(&json!("☃"), 3).as_deref(), Ok("☃"));
        assert_eq!(from_json(&json!("☃"), 2), Err(RoomNameError::TooLong));
        assert_eq!(from_json(&json!(1234), 3), Err(RoomNameError::TooLong));
    }
}
