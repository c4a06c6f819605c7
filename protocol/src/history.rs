//! Where an emission stands in its room's history, and how the history lies in Redis.
//!
//! The gem and the server both publish through the script [`PUBLISH`], so its keys and arguments stand here once.

use std::fmt;

/// Gives an emission its offset, keeps it and publishes it, in one step; the text says its keys and arguments.
pub const PUBLISH: &str = include_str!("../redis/publish.lua");
/// Reads a room's position and what came after an offset, in one step.
pub const READ: &str = include_str!("../redis/read.lua");

/// The place of an emission in its room's history.
///
/// # Shape
/// As text `"<epoch>:<offset>"`: the epoch sixteen lower-case hexadecimal digits, the offset decimal.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    /// Random; new when the room's memory was lost.
    pub epoch: u64,
    /// Grows by one per emission of the room. 0: before the first.
    pub offset: u64,
}

/// The names under which a room's history lies in Redis. All of them fall into one slot of a cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keys {
    /// The hash of epoch and offset.
    pub position: String,
    /// The stream of emissions.
    pub log: String,
    tag: String,
}

// === impl Position ===

impl Position {
    /// Reads the text form. `None`: it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, offset) = text.split_once(':')?;
        let plain = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self { epoch: parse_epoch(epoch)?, offset: plain.then(|| offset.parse().ok())?? })
    }

    /// The text form of the epoch alone.
    #[must_use]
    pub fn epoch_text(epoch: u64) -> String {
        format!("{epoch:016x}")
    }
}

/// Reads the text form of an epoch.
#[must_use]
pub fn parse_epoch(text: &str) -> Option<u64> {
    let plain = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u64::from_str_radix(text, 16).ok())?
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}:{}", self.epoch, self.offset)
    }
}

/// The text of an emission with its position as the last member.
#[must_use]
pub fn with_position(text: &str, position: Position) -> String {
    let open = text.strip_suffix('}').unwrap_or(text);
    format!("{open},\"position\":\"{position}\"}}")
}

// === impl Keys ===

impl Keys {
    /// The keys of a room.
    #[must_use]
    pub fn of(namespace: &str, room: &str) -> Self {
        let tag = format!("nodevent:{{{namespace}:{room}}}");
        Self { position: format!("{tag}:position"), log: format!("{tag}:log"), tag }
    }

    /// Where the position that an idempotency key was given is remembered.
    #[must_use]
    pub fn once(&self, idempotency_key: &str) -> String {
        format!("{}:once:{idempotency_key}", self.tag)
    }

    /// The channel of the room alone, for `fanout: room`.
    #[must_use]
    pub fn channel(&self) -> String {
        format!("{}:channel", self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back() {
        let position = Position { epoch: 0xab, offset: 12 };
        assert_eq!(position.to_string(), "00000000000000ab:12");
        assert_eq!(Position::parse("00000000000000ab:12"), Some(position));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in [
            "",
            ":",
            "ab:1",
            "00000000000000ab:",
            "00000000000000ab:-1",
            "00000000000000AB:1",
            "00000000000000ab:1x",
        ] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
        assert_eq!(Position::parse(&format!("00000000000000ab:{}", "9".repeat(30))), None);
    }

    #[test]
    fn the_position_is_added_as_the_last_member_and_nothing_else_changes() {
        let text = with_position(r#"{"room":"r", "event":"e"}"#, Position { epoch: 1, offset: 2 });
        assert_eq!(text, r#"{"room":"r", "event":"e","position":"0000000000000001:2"}"#);
    }

    #[test]
    fn all_keys_of_a_room_share_one_hash_tag_even_if_its_name_has_braces() {
        for room in ["r", "a}b", "{x}", "}"] {
            let keys = Keys::of("/n", room);
            let tag = |key: &str| {
                let start = key.find('{').unwrap() + 1;
                key[start..start + key[start..].find('}').unwrap()].to_owned()
            };
            assert!(!tag(&keys.log).is_empty());
            assert_eq!(tag(&keys.log), tag(&keys.position), "{room}");
            assert_eq!(tag(&keys.log), tag(&keys.once("k")), "{room}");
            assert_eq!(tag(&keys.log), tag(&keys.channel()), "{room}");
        }
    }
}
