//! The stamp in each publication, and how to find it in a frame of any protocol.
//!
//! The stamp is a string of fixed form, so the generator reads it at the offset of the last frame, without parsing JSON
//! and for any order of members.

use crate::clock::Nanos;
use memchr::memmem;
use std::fmt::Write as _;

/// Comes before the time.
const MARK: &[u8] = br#""t":"~"#;
/// Separates the time and the number.
const BETWEEN: &[u8] = b"-";
/// Hexadecimal digits of the time and of the number.
const TIME: usize = 16;
const NUMBER: usize = 8;
/// Length of a stamp, from the mark to the last digit.
const LENGTH: usize = MARK.len() + TIME + BETWEEN.len() + NUMBER;

/// The time and number of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Time at which the publication was due.
    pub(crate) at: Nanos,
    /// Number in its room, from 0.
    pub(crate) number: u32,
}

// === impl Stamp ===

impl Stamp {
    /// Returns the text of the publication, at least `size` bytes long. `target` is `room` or `user`, and `name` that of it.
    pub(crate) fn publication(self, target: &str, name: &str, size: usize) -> String {
        let mut text = String::with_capacity(size);
        let _ = write!(
            text,
            r#"{{"{target}":"{name}","event":"update","message":{{"t":"~{:016x}-{:08x}","pad":""#,
            self.at, self.number
        );
        let rest = "\"}}";
        let padding = size.saturating_sub(text.len() + rest.len());
        text.extend(std::iter::repeat_n('x', padding));
        text.push_str(rest);
        text
    }

    /// Finds the stamp in a frame's payload. `hint` is the offset of the last one, and is updated.
    pub(crate) fn find(payload: &[u8], hint: &mut usize) -> Option<Self> {
        let at_hint = payload.get(*hint..*hint + LENGTH).filter(|bytes| bytes.starts_with(MARK));
        let bytes = match at_hint {
            Some(bytes) => bytes,
            None => {
                let start = memmem::find(payload, MARK)?;
                let bytes = payload.get(start..start + LENGTH)?;
                *hint = start;
                bytes
            }
        };
        let (time, rest) = bytes[MARK.len()..].split_at(TIME);
        Some(Self { at: hexadecimal(time)?, number: hexadecimal(&rest[BETWEEN.len()..])? as u32 })
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let mut value = 0;
    for digit in digits {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(digit);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publication_is_json_of_the_requested_size() {
        let text = Stamp { at: 1, number: 2 }.publication("room", "r7", 200);
        assert_eq!(text.len(), 200);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["room"], "r7");
        assert_eq!(value["message"]["t"], "~0000000000000001-00000002");
    }

    #[test]
    fn stamp_is_found_at_any_offset() {
        let stamp = Stamp { at: 0x0123_4567_89ab_cdef, number: 0xdead_beef };
        let text = stamp.publication("room", "room", 200);
        let mut hint = 0;
        for wrapped in [text.clone(), format!("42/nodevent,[\"event\",{text}]"), text[5..].to_owned()] {
            assert_eq!(Stamp::find(wrapped.as_bytes(), &mut hint), Some(stamp));
        }
        assert_eq!(Stamp::find(b"40/nodevent,{\"sid\":\"x\"}", &mut hint), None);
    }
}
