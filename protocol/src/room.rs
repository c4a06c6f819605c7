//! What a room name is: the one place that turns a JSON value into the name of a room.
//!
//! Used for what browsers join and for what publishers emit, so that both mean the same room.

use serde_json::Value;
use thiserror::Error;

/// The longest room name, in bytes of UTF-8. Namespaces may configure less.
pub const MAX_BYTES: usize = 255;

/// Why a value is not the name of a room.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RoomNameError {
    /// There is none, or it is `null`.
    #[error("no room is given")]
    Missing,
    /// It is neither a string nor an integer.
    #[error("the room is neither a string nor an integer")]
    NotText,
    /// It is the empty string.
    #[error("the room is empty")]
    Empty,
    /// It is longer than the limit.
    #[error("the room is too long")]
    TooLong,
}

/// The room that `value` names: a string as it is, an integer as its decimal text.
///
/// Only integers that fit in 64 bits have one decimal text in every language; `1.5`, `1e3` and larger numbers
/// are refused. An array with one string in it is not a string, whatever JavaScript would make of it.
///
/// # Errors
/// [`RoomNameError`] says what is wrong; `max_bytes` is the limit of the name in bytes.
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

/// Whether `text` can be a room name at all.
///
/// # Errors
/// [`RoomNameError::Empty`] or [`RoomNameError::TooLong`].
pub fn check(text: &str, max_bytes: usize) -> Result<(), RoomNameError> {
    if text.is_empty() {
        Err(RoomNameError::Empty)
    } else if text.len() > max_bytes {
        Err(RoomNameError::TooLong)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_integer_and_its_decimal_text_are_the_same_room() {
        // N-29
        assert_eq!(from_json(&json!(42), MAX_BYTES), from_json(&json!("42"), MAX_BYTES));
        assert_eq!(from_json(&json!(u64::MAX), MAX_BYTES).as_deref(), Ok("18446744073709551615"));
        assert_eq!(from_json(&json!(i64::MIN), MAX_BYTES).as_deref(), Ok("-9223372036854775808"));
    }

    #[test]
    fn a_number_whose_text_differs_between_languages_is_refused() {
        for number in ["1.0", "-0", "1e3", "18446744073709551616"] {
            let value = serde_json::from_str(number).unwrap();
            assert_eq!(from_json(&value, MAX_BYTES), Err(RoomNameError::NotText), "{number}");
        }
    }

    #[test]
    fn the_limit_counts_bytes_and_is_the_callers() {
        assert_eq!(from_json(&json!("☃"), 3).as_deref(), Ok("☃"));
        assert_eq!(from_json(&json!("☃"), 2), Err(RoomNameError::TooLong));
        assert_eq!(from_json(&json!(1234), 3), Err(RoomNameError::TooLong));
    }
}
