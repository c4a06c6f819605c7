//! Packets in ASCII, for clients of Socket.IO 1 and 2 that disagree about other characters.
//!
//! See [`crate::engine_io_3::payload`].

use std::fmt::Write as _;

/// Writes the characters outside ASCII of a packet's JSON as escapes (`ü` is `\u00fc`), which is the same JSON. `None`:
/// all of the packet is ASCII. Those of the namespace's name stay as they are.
#[must_use]
pub fn escape(packet: &str) -> Option<String> {
    if packet.is_ascii() {
        return None;
    }
    // In JSON, characters outside ASCII are inside of strings, and never behind a backslash.
    let json = packet.find(['[', '{', '"']).unwrap_or(packet.len());
    let mut out = String::with_capacity(2 * packet.len());
    out.push_str(&packet[..json]);
    for character in packet[json..].chars() {
        if character.is_ascii() {
            out.push(character);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_same_and_ascii() {
        let json = r#"["event",{"room":"ü\\","text":"ünï☃😀\u2028\"€"}]"#;
        let escaped = escape(json).unwrap();
        assert!(escaped.is_ascii(), "{escaped}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&escaped), value(json));
    }

    #[test]
    fn the_name_of_a_namespace_stays_and_ascii_needs_nothing() {
        assert_eq!(escape(r#"42/ünï,["ü"]"#).as_deref(), Some(r#"42/ünï,["\u00fc"]"#));
        assert_eq!(escape(r#"42["x"]"#), None);
    }
}
