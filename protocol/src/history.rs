//! Where a publication stands in its room's history, and how the history lies in Redis.
//!
//! The gem and the server both publish through the script [`PUBLISH`], so its keys and arguments stand here once.

use serde::Deserialize;
use sha1::{Digest, Sha1};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// Gives a publication its offset, keeps it and publishes it, in one step; the text says its keys and arguments.
pub const PUBLISH: &str = include_str!("../redis/publish.lua");
/// Reads a room's position and what came after an offset, in one step.
pub const READ: &str = include_str!("../redis/read.lua");

/// The place of a publication in its room's history.
///
/// # Shape
/// As text `"<epoch>:<offset>"`: the epoch sixteen lower-case hexadecimal digits, the offset decimal.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    /// Random; new when the room's memory was lost.
    pub epoch: u64,
    /// Grows by one per publication of the room, and by far more at a [`OffsetJump`]. 0: before the first.
    pub offset: u64,
}

/// Offsets that a room has left out, where a Redis was started again or another took its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OffsetJump {
    /// The last offset before it.
    pub from: u64,
    /// The first offset behind it may be one more than this.
    pub to: u64,
    /// Whether nothing was forgotten there, as far as anybody knows.
    pub lossless: bool,
}

/// The names under which a room's history lies in Redis. All of them fall into one slot of a cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keys {
    /// The hash of epoch and offset.
    pub position: String,
    /// The stream of publications.
    pub log: String,
    tag: String,
}

/// What is kept of one room.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The last so many publications.
    pub size: usize,
    /// For at least so long after the last of them, as far as the size goes.
    pub age: Duration,
}

/// What is kept of which rooms of a namespace.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RetentionPolicy {
    /// Of rooms that no prefix names. `None`: nothing.
    pub default: Option<Retention>,
    /// Of rooms whose name begins so; the longest prefix wins.
    pub prefixes: Vec<(String, Option<Retention>)>,
}

/// What the script [`PUBLISH`] is given beside the room's keys.
#[derive(Clone, Debug)]
pub struct Publish<'a> {
    /// The namespace's channel, or the room's.
    pub channel: &'a str,
    /// The publication's text.
    pub text: &'a str,
    /// What is kept of the room.
    pub retention: Retention,
    /// A random number, for a room that has no epoch.
    pub fresh_epoch: u64,
    /// How long the idempotency key is remembered, if there is one.
    pub idempotency_ttl: Duration,
    /// Whether the channel lives in its slot of a cluster only.
    pub sharded: bool,
}

/// How much longer than its log a room's position is kept, and at least: then "nothing was missed" can still be said.
const POSITION_FACTOR: u32 = 10;
/// See [`POSITION_FACTOR`].
const POSITION_LEAST: Duration = Duration::from_secs(86_400);

impl Default for Retention {
    /// A hundred publications, five minutes.
    fn default() -> Self {
        Self { size: 100, age: Duration::from_secs(300) }
    }
}

impl Default for RetentionPolicy {
    /// The default of [`Retention`] for every room.
    fn default() -> Self {
        Self { default: Some(Retention::default()), prefixes: Vec::new() }
    }
}

// === impl Retention ===

impl Retention {
    /// How long a room's position is kept after its last publication or join.
    #[must_use]
    pub fn position_ttl(&self) -> Duration {
        (self.age * POSITION_FACTOR).max(POSITION_LEAST)
    }
}

// === impl RetentionPolicy ===

impl RetentionPolicy {
    /// What is kept of a room.
    #[must_use]
    pub fn of(&self, room: &str) -> Option<Retention> {
        let named = self.prefixes.iter().filter(|(prefix, _)| room.starts_with(prefix.as_str()));
        named.max_by_key(|(prefix, _)| prefix.len()).map_or(self.default, |(_, kept)| *kept)
    }

    /// Whether any room is kept.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.default.is_some() || self.prefixes.iter().any(|(_, kept)| kept.is_some())
    }
}

// === impl Publish ===

impl Publish<'_> {
    /// The script's arguments, in its order.
    #[must_use]
    pub fn args(&self) -> [String; 8] {
        [
            self.channel.to_owned(),
            self.text.to_owned(),
            self.retention.size.to_string(),
            self.retention.age.as_millis().to_string(),
            self.retention.position_ttl().as_millis().to_string(),
            Position::epoch_text(self.fresh_epoch),
            if self.sharded { "SPUBLISH" } else { "PUBLISH" }.to_owned(),
            self.idempotency_ttl.as_millis().to_string(),
        ]
    }
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

    /// How many publications came after `since`, for a room that stands here. `None`: nobody can know.
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

    /// The position of the publication that `back` others followed, for a room that stands here.
    #[must_use]
    pub fn nth_before(self, back: u64, jump: Option<OffsetJump>) -> Self {
        let offset = match jump.filter(|jump| self.offset >= jump.to && back >= self.offset - jump.to) {
            None => self.offset.saturating_sub(back),
            Some(jump) => jump.from.saturating_sub(back - (self.offset - jump.to)),
        };
        Self { offset, ..self }
    }

    /// The text form of the epoch alone.
    #[must_use]
    pub fn epoch_text(epoch: u64) -> String {
        format!("{epoch:016x}")
    }
}

/// The name under which Redis remembers a script: SHA-1 of its text, hexadecimal.
#[must_use]
pub fn script_sha(script: &str) -> String {
    let mut digest = String::with_capacity(40);
    for byte in Sha1::digest(script.as_bytes()) {
        let _ = write!(digest, "{byte:02x}");
    }
    digest
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

/// The text of a publication with its position as the last member.
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
    pub fn idempotency(&self, idempotency_key: &str) -> String {
        format!("{}:once:{idempotency_key}", self.tag)
    }

    /// The channel of the room alone, for `channel_per_room: true`.
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
    fn offsets_that_were_left_out_are_not_counted() {
        let at = |offset| Position { epoch: 1, offset };
        let jump = |lossless| Some(OffsetJump { from: 90, to: 1000, lossless });
        assert_eq!(at(95).count_since(at(90), None), Some(5));
        assert_eq!(at(95).count_since(Position { epoch: 2, offset: 90 }, None), None);
        assert_eq!(at(95).count_since(at(96), None), None);
        assert_eq!(at(1003).count_since(at(85), jump(true)), Some(8));
        assert_eq!(at(1003).count_since(at(90), jump(true)), Some(3));
        assert_eq!(at(1003).count_since(at(100), jump(true)), None, "heard, and forgotten by Redis");
        assert_eq!(at(1003).count_since(at(90), jump(false)), None, "something may have been forgotten");
        assert_eq!(at(1003).count_since(at(1001), jump(false)), Some(2));
        assert_eq!(at(1000).count_since(at(90), jump(true)), Some(0));
    }

    #[test]
    fn publications_are_numbered_back_across_what_was_left_out() {
        let jump = Some(OffsetJump { from: 90, to: 1000, lossless: true });
        let back = |back| Position { epoch: 1, offset: 1002 }.nth_before(back, jump).offset;
        assert_eq!([back(0), back(1), back(2), back(3)], [1002, 1001, 90, 89]);
        assert_eq!(Position { epoch: 1, offset: 7 }.nth_before(3, None).offset, 4);
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
            assert_eq!(tag(&keys.log), tag(&keys.idempotency("k")), "{room}");
            assert_eq!(tag(&keys.log), tag(&keys.channel()), "{room}");
        }
    }
}
