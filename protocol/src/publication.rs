//! Publications: one JSON object with a room and an event, and its text.
//!
//! The text reaches the browser byte for byte, so it is not parsed into a value: only the members that the server needs
//! are read. Deep nesting costs a byte of heap per level and no stack. Numbers of any size and lone surrogates in the
//! message are kept, as `JSON.parse` accepts them.

use crate::history::Position;
use crate::page::PageHash;
use crate::room;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// A publication, as a publisher sent it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicationRef<'a> {
    /// The room.
    pub room: Cow<'a, str>,
    /// The event's name.
    pub event: Cow<'a, str>,
    /// The text of the object, without the white space around it.
    pub text: &'a str,
    /// The value of its last `position` member, if that is a position. Only the engine knows whether it assigned it.
    pub position: Option<Position>,
    /// Whether it has a `position` member, whatever its value.
    pub has_position: bool,
    /// The page that does not receive it.
    pub except: Option<PageHash>,
}

/// A reason why a text is not a publication.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidPublication {
    /// The bytes are not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// The text is not JSON.
    #[error("it is not JSON (line {line}, column {column})")]
    NotJson {
        /// The line of the error, from 1.
        line: usize,
        /// The byte in that line, from 1 (0 at the very start).
        column: usize,
    },
    /// It is JSON, but `null`, an array, a string, a number or a boolean.
    #[error("it is not an object")]
    NotAnObject,
    /// `room` is absent, `null` or empty.
    #[error("it has no room")]
    NoRoom,
    /// `room` is neither a string nor an integer, or is too long.
    #[error("its room is not a string or integer of at most {} bytes", room::MAX_BYTES)]
    BadRoom,
    /// `event` is absent or `null`.
    #[error("it has no event")]
    NoEvent,
    /// `event` is not a string, or is empty.
    #[error("its event is not a non-empty string")]
    NotAnEvent,
    /// `except` is neither `null` nor the hash of a page id.
    #[error("its except is not the hash of a page id: sixteen lower-case hexadecimal digits")]
    BadExcept,
}

/// Parses one publication.
///
/// If a member occurs twice, the last one counts, as for `JSON.parse`.
///
/// # Errors
/// Returns [`InvalidPublication`].
pub fn parse(published: &[u8]) -> Result<PublicationRef<'_>, InvalidPublication> {
    parse_text(std::str::from_utf8(published).map_err(|_| InvalidPublication::NotUtf8)?)
}

/// Parses one publication or an array of them, and checks all. An empty array is valid and has none.
///
/// # Errors
/// Returns the first [`InvalidPublication`], with its index if the body is an array.
pub fn parse_many(body: &[u8]) -> Result<Vec<PublicationRef<'_>>, (Option<usize>, InvalidPublication)> {
    let text = std::str::from_utf8(body).map_err(|_| (None, InvalidPublication::NotUtf8))?;
    if !text.trim_start_matches(WHITE).starts_with('[') {
        return Ok(vec![parse_text(text).map_err(|invalid| (None, invalid))?]);
    }
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| (None, not_json(&error)))?;
    let each = elements.iter().enumerate();
    each.map(|(index, element)| parse_text(element.get()).map_err(|invalid| (Some(index), invalid))).collect()
}

/// Reads the page that does not receive a publication, from the text that was checked when it was published.
///
/// Fast for the usual text, which does not contain the word: stored publications are not parsed otherwise.
#[must_use]
pub fn except_of(text: &str) -> Option<PageHash> {
    if !text.contains("\"except\"") {
        return None;
    }
    let members: Members<'_> = serde_json::from_str(text).ok()?;
    except(members.except).ok()?
}

/// The white space of JSON.
const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

fn parse_text(text: &str) -> Result<PublicationRef<'_>, InvalidPublication> {
    if !text.trim_start_matches(WHITE).starts_with('{') {
        let json = serde_json::from_str::<IgnoredAny>(text);
        return Err(json.map_or_else(|error| not_json(&error), |_| InvalidPublication::NotAnObject));
    }
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    let has_position = members.position.is_some();
    let position = members.position.and_then(|raw| string(raw.get())).and_then(|text| Position::parse(&text));
    let text = text.trim_matches(WHITE);
    let (room, event, except) = (room(members.room)?, event(members.event)?, except(members.except)?);
    Ok(PublicationRef { room, event, text, position, has_position, except })
}

fn not_json(error: &serde_json::Error) -> InvalidPublication {
    InvalidPublication::NotJson { line: error.line(), column: error.column() }
}

fn room(member: Option<&RawValue>) -> Result<Cow<'_, str>, InvalidPublication> {
    let raw = member.map_or("null", RawValue::get);
    let room = match raw.as_bytes() {
        b"null" | b"\"\"" => return Err(InvalidPublication::NoRoom),
        [b'"', ..] => string(raw).ok_or(InvalidPublication::BadRoom)?,
        [b'-' | b'0'..=b'9', ..] => {
            let number = serde_json::from_str(raw).map_err(|_| InvalidPublication::BadRoom)?;
            Cow::Owned(room::from_json(&number, room::MAX_BYTES).map_err(|_| InvalidPublication::BadRoom)?)
        }
        _ => return Err(InvalidPublication::BadRoom),
    };
    room::check(&room, room::MAX_BYTES).map_err(|_| InvalidPublication::BadRoom)?;
    Ok(room)
}

fn event(member: Option<&RawValue>) -> Result<Cow<'_, str>, InvalidPublication> {
    match member.map(RawValue::get) {
        None | Some("null") => Err(InvalidPublication::NoEvent),
        Some(raw) => string(raw).filter(|event| !event.is_empty()).ok_or(InvalidPublication::NotAnEvent),
    }
}

fn except(member: Option<&RawValue>) -> Result<Option<PageHash>, InvalidPublication> {
    match member.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(raw) => match string(raw).and_then(|text| PageHash::parse(&text)) {
            Some(page) => Ok(Some(page)),
            None => Err(InvalidPublication::BadExcept),
        },
    }
}

/// Returns the string that `raw` encodes, borrowed if it has no escapes.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Borrowing<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(raw).ok().map(|Borrowing(text)| text)
}

/// The members that the server reads, as they are written.
#[derive(Default)]
struct Members<'a> {
    room: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    position: Option<&'a RawValue>,
    except: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key::<&RawValue>()? {
            match Name::of(name.get()) {
                Name::Room => members.room = Some(map.next_value()?),
                Name::Event => members.event = Some(map.next_value()?),
                Name::Position => members.position = Some(map.next_value()?),
                Name::Except => members.except = Some(map.next_value()?),
                Name::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

enum Name {
    Room,
    Event,
    Position,
    Except,
    Other,
}

// === impl Name ===

impl Name {
    /// Recognizes a member's name as it is written. A name with a lone surrogate is not a string in Rust, but it is
    /// valid.
    fn of(raw: &str) -> Self {
        // Only without escapes, because `except_of` looks for it so.
        if raw == "\"except\"" {
            return Self::Except;
        }
        let name = if raw.contains('\\') { string(raw) } else { Some(Cow::Borrowed(raw.trim_matches('"'))) };
        match name.as_deref() {
            Some("room") => Self::Room,
            Some("event") => Self::Event,
            Some("position") => Self::Position,
            _ => Self::Other,
        }
    }
}

// === impl InvalidPublication ===

impl InvalidPublication {
    /// Returns a short name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson { .. } => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::NoRoom => "no_room",
            Self::BadRoom => "bad_room",
            Self::NoEvent => "no_event",
            Self::NotAnEvent => "not_an_event",
            Self::BadExcept => "bad_except",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_and_event_are_borrowed_from_what_was_published() {
        let publication = parse(br#"{"room":"r","event":"e","message":"\u2028"}"#).unwrap();
        assert!(matches!((publication.room, publication.event), (Cow::Borrowed("r"), Cow::Borrowed("e"))));
    }

    #[test]
    fn invalid_json_is_reported_with_its_location() {
        // N-26
        let published = b"{\"room\":\"r\",\n\"event\" \"e\"}";
        assert_eq!(parse(published), Err(InvalidPublication::NotJson { line: 2, column: 9 }));
    }

    #[test]
    fn invalid_utf8_is_reported_wherever_it_is() {
        // N-26
        for published in
            [&b"\xff"[..], b"{\"room\":\"r\",\"event\":\"\xc3\"}", b"{\"room\":\"r\",\"event\":\"e\"}\xff"]
        {
            assert_eq!(parse(published), Err(InvalidPublication::NotUtf8));
            assert_eq!(parse_many(published), Err((None, InvalidPublication::NotUtf8)));
        }
    }

    #[test]
    fn no_raw_control_character_reaches_the_text() {
        // A raw 0x1e in the text would end a packet in a polling payload.
        for control in '\0'..' ' {
            for published in [
                format!(r#"{{"room":"r","event":"e","na{control}me":1}}"#),
                format!(r#"{{"room":"r","event":"e","message":"{control}"}}"#),
                format!(r#"{{"room":"r","event":"e","message":{{"{control}":1}}}}"#),
            ] {
                assert!(
                    matches!(parse(published.as_bytes()), Err(InvalidPublication::NotJson { .. })),
                    "{published:?}"
                );
            }
        }
    }

    #[test]
    fn million_levels_of_nesting_need_no_stack() {
        // N-32, X-03
        let levels = 1_000_000;
        let message = "[{\"a\":".repeat(levels / 2) + "0" + &"}]".repeat(levels / 2);
        let published = format!(r#"{{"room":"r","event":"e","message":{message}}}"#);
        let array = format!("[{published}]");
        let read = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            assert_eq!(parse(published.as_bytes()).unwrap().text, published);
            assert_eq!(parse_many(array.as_bytes()).unwrap()[0].text, published);
            assert!(parse(&published.as_bytes()[..published.len() - 2]).is_err());
        });
        read.unwrap().join().unwrap();
    }
}
