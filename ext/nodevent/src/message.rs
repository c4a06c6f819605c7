//! The text of a publication to one room, around the JSON of its message.
//!
//! Writes only names whose JSON is the name in quotes, for all encoders: Ruby's json, Active Support, or another
//! encoder. Other names are written by Ruby. It does not know Ruby.

use serde::de::IgnoredAny;

/// How deep Ruby's json nests a message: it accepts 100 levels, and the publication is one.
const MAX_DEPTH: usize = 99;

const ROOM: &[u8] = br#"{"room":""#;
const EVENT: &[u8] = br#"","event":""#;
const MESSAGE: &[u8] = br#"","message":"#;

/// Whether the JSON of this name is the name in quotes, and the name is one: it does not consist of white space.
pub(crate) fn is_plain(name: &[u8]) -> bool {
    // Encoders differ in `<`, `>`, `&`, DEL, and in what is not ASCII. `is_ascii_graphic` excludes white space.
    let written_as_it_is =
        |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
    name.first().is_some_and(u8::is_ascii_graphic) && name.iter().all(written_as_it_is)
}

/// Whether a text is one JSON value, nested at most [`MAX_DEPTH`] deep.
pub(crate) fn is_json(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    serde_json::from_str::<IgnoredAny>(text).is_ok() && !is_too_deep(text.as_bytes())
}

fn is_too_deep(text: &[u8]) -> bool {
    // Counting brackets is many times faster than leaving out those in strings.
    let brackets = || text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    text.len() > 2 * MAX_DEPTH && brackets() > MAX_DEPTH && depth(text) > MAX_DEPTH
}

/// How deep the arrays and objects of a JSON text are nested.
fn depth(text: &[u8]) -> usize {
    let (mut now, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The number of bytes of the publication.
pub(crate) fn size(room: &[u8], event: &[u8], message: &[u8]) -> usize {
    ROOM.len() + room.len() + EVENT.len() + event.len() + MESSAGE.len() + message.len() + 1
}

/// The parts of the publication's text. `room` and `event` are plain.
pub(crate) fn publication<'a>(room: &'a [u8], event: &'a [u8], message: &'a [u8]) -> [&'a [u8]; 7] {
    [ROOM, room, EVENT, event, MESSAGE, message, b"}"]
}
