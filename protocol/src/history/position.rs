//! Positions in a room's history, and the arithmetic of offsets.

use super::retention::MIN_POSITION_TTL;
use std::fmt::{self, Write as _};

/// The largest offset. Redis scripts and browsers compute with floating-point numbers, which are exact up to here: 2^53
/// - 1.
pub const MAX_OFFSET: u64 = (1 << 53) - 1;

/// The bit that distinguishes the epochs of rooms that do not exist from those of rooms.
const ABSENT: u64 = 1 << 63;

/// A position in the history of a room.
///
/// A room exists from its first publication on. Before that it has an *absent* position, which identifies a time instead
/// of a publication. Nothing is stored for it.
///
/// # Shape
/// As text `"<epoch>:<offset>"`: the epoch has sixteen lower-case hexadecimal digits, the offset is decimal. An absent
/// position has an epoch whose first digit is 8 or more.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    /// A random number, chosen when the room is created.
    pub epoch: u64,
    /// Grows by one per publication of the room, and by one billion at an [`OffsetJump`]. 0: before the first
    /// publication.
    pub offset: u64,
}

/// Offsets that a room has skipped because its Redis restarted or was replaced by another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OffsetJump {
    /// The last offset before the jump.
    pub from: u64,
    /// The offset after the jump. The next publication has this offset plus one.
    pub to: u64,
    /// Whether no publication was lost, as far as Redis and the servers know.
    pub lossless: bool,
}

// === impl Position ===

impl Position {
    /// Parses the text form. `None`: the text is not a position that an engine can have assigned.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, offset) = text.split_once(':')?;
        let digits = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
        let offset = digits.then(|| offset.parse().ok())??;
        Some(Self { epoch: parse_epoch(epoch)?, offset: (offset <= MAX_OFFSET).then_some(offset)? })
    }

    /// Returns whether this is the position of a room that does not exist.
    #[must_use]
    pub fn is_absent(self) -> bool {
        self.epoch & ABSENT != 0
    }

    /// Returns whether a room that had this absent position cannot have existed until `later`, also an absent position:
    /// no room was forgotten in the meantime, and a room that was created in the meantime would still be stored.
    #[must_use]
    pub fn is_absent_until(self, later: Self) -> bool {
        let elapsed = later.offset.checked_sub(self.offset);
        self.is_absent()
            && self.epoch == later.epoch
            && elapsed.is_some_and(|elapsed| u128::from(elapsed) < MIN_POSITION_TTL.as_millis())
    }

    /// Returns how many publications came after `since`, for a room at this position. `None`: that cannot be known.
    #[must_use]
    pub fn count_since(self, since: Self, jump: Option<OffsetJump>) -> Option<u64> {
        if self.epoch != since.epoch {
            return None;
        }
        match jump.filter(|jump| since.offset < jump.to) {
            None => self.offset.checked_sub(since.offset),
            Some(OffsetJump { lossless: false, .. }) => None,
            Some(OffsetJump { from, to, .. }) => {
                self.offset.checked_sub(to)?.checked_add(from.checked_sub(since.offset)?)
            }
        }
    }

    /// Returns the position of the publication that was followed by `n` others, for a room at this position.
    #[must_use]
    pub fn nth_before(self, n: u64, jump: Option<OffsetJump>) -> Self {
        let offset = match jump.filter(|jump| self.offset >= jump.to && n >= self.offset - jump.to) {
            None => self.offset.saturating_sub(n),
            Some(jump) => jump.from.saturating_sub(n - (self.offset - jump.to)),
        };
        Self { offset, ..self }
    }

    /// Makes the epoch of a new room from a random number.
    #[must_use]
    pub fn room_epoch(random: u64) -> u64 {
        random & !ABSENT
    }

    /// Makes the epoch of absent positions from a random number.
    #[must_use]
    pub fn absent_epoch(random: u64) -> u64 {
        random | ABSENT
    }

    /// Returns the text form of an epoch.
    #[must_use]
    pub fn epoch_text(epoch: u64) -> String {
        format!("{epoch:016x}")
    }
}

/// Parses the text form of an epoch.
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

/// Returns the text of a publication with its position as the last member.
#[must_use]
pub fn with_position(text: &str, position: Position) -> String {
    const MEMBER: usize = r#","position":"0123456789abcdef:18446744073709551615"}"#.len();
    let open = text.strip_suffix('}').unwrap_or(text);
    let mut with = String::with_capacity(open.len() + MEMBER);
    with.push_str(open);
    // To write to a string cannot fail.
    let _ = write!(with, ",\"position\":\"{position}\"}}");
    with
}

/// Returns the text of a publication with `null` as its position. The last member of a name counts, so this overrides a
/// position that the publisher wrote.
#[must_use]
pub fn without_position(text: &str) -> String {
    let open = text.strip_suffix('}').unwrap_or(text);
    format!("{open},\"position\":null}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_text_round_trips() {
        let position = Position { epoch: 0xab, offset: 12 };
        assert_eq!(position.to_string(), "00000000000000ab:12");
        assert_eq!(Position::parse("00000000000000ab:12"), Some(position));
    }

    #[test]
    fn text_that_no_engine_assigns_is_not_a_position() {
        for text in [
            "",
            ":",
            "ab:1",
            "00000000000000ab:",
            "00000000000000ab:-1",
            "00000000000000AB:1",
            "00000000000000ab:1x",
            "00000000000000ab:9007199254740992",
            "00000000000000ab:9223372036854775807",
            "00000000000000ab:18446744073709551615",
        ] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
        assert_eq!(Position::parse(&format!("00000000000000ab:{}", "9".repeat(30))), None);
        assert!(Position::parse("00000000000000ab:9007199254740991").is_some());
    }

    #[test]
    fn skipped_offsets_are_not_counted() {
        let at = |offset| Position { epoch: 1, offset };
        let jump = |lossless| Some(OffsetJump { from: 90, to: 1000, lossless });
        assert_eq!(at(95).count_since(at(90), None), Some(5));
        assert_eq!(at(95).count_since(Position { epoch: 2, offset: 90 }, None), None);
        assert_eq!(at(95).count_since(at(96), None), None);
        assert_eq!(at(1003).count_since(at(85), jump(true)), Some(8));
        assert_eq!(at(1003).count_since(at(90), jump(true)), Some(3));
        assert_eq!(at(1003).count_since(at(100), jump(true)), None, "received, and forgotten by Redis");
        assert_eq!(at(1003).count_since(at(90), jump(false)), None, "Redis may have forgotten something");
        assert_eq!(at(1003).count_since(at(1001), jump(false)), Some(2));
        assert_eq!(at(1000).count_since(at(90), jump(true)), Some(0));
    }

    #[test]
    fn publications_are_numbered_backwards_across_a_jump() {
        let jump = Some(OffsetJump { from: 90, to: 1000, lossless: true });
        let back = |n| Position { epoch: 1, offset: 1002 }.nth_before(n, jump).offset;
        assert_eq!([back(0), back(1), back(2), back(3)], [1002, 1001, 90, 89]);
        assert_eq!(Position { epoch: 1, offset: 7 }.nth_before(3, None).offset, 4);
    }

    #[test]
    fn absent_positions_are_distinguished_and_compared_by_their_time() {
        let at = |epoch, offset| Position { epoch: Position::absent_epoch(epoch), offset };
        assert!(at(0, 1).is_absent() && at(u64::MAX, 1).is_absent());
        assert!(!Position { epoch: Position::room_epoch(u64::MAX), offset: 1 }.is_absent());
        assert!(at(1, 5).is_absent_until(at(1, 5)));
        assert!(at(1, 5).is_absent_until(at(1, 86_400_004)));
        assert!(!at(1, 5).is_absent_until(at(1, 86_400_005)), "a room may have been created and forgotten");
        assert!(!at(1, 5).is_absent_until(at(1, 4)), "the clock went back");
        assert!(!at(1, 5).is_absent_until(at(2, 5)), "Redis restarted or evicted rooms");
        assert!(!Position { epoch: 1, offset: 5 }.is_absent_until(Position { epoch: 1, offset: 5 }));
    }

    #[test]
    fn position_is_the_last_member_and_nothing_else_changes() {
        let text = r#"{"room":"r", "event":"e"}"#;
        let positioned = with_position(text, Position { epoch: 1, offset: 2 });
        assert_eq!(positioned, r#"{"room":"r", "event":"e","position":"0000000000000001:2"}"#);
        assert_eq!(without_position(text), r#"{"room":"r", "event":"e","position":null}"#);
    }
}
