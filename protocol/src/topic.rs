//! Topics: the names under which engines, histories and shards know what a publication addresses.
//!
//! A room's topic is its name. The topics of users and of all connections begin with U+0001, with which no name of a room
//! begins, so they cannot collide. Topics appear in no publication and in no message to a client: both name a room, a
//! user or all connections by members of their own.

use serde_json::Value;
use std::borrow::Cow;

/// The first character of every topic that is not a room.
pub const MARK: char = '\u{1}';
/// The topic of all connections of a namespace.
pub const ALL: &str = "\u{1}all";
/// The maximum length of the id of a user. Bytes of UTF-8.
pub const MAX_USER_BYTES: usize = 255;
/// The beginning of the topic of a user.
const USER_PREFIX: &str = "\u{1}user:";

/// What a publication addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Topic<'a> {
    /// The connections of a user.
    User(&'a str),
    /// The members of a room.
    Room(&'a str),
    /// All connections of the namespace.
    All,
}

// === impl Topic ===

impl<'a> Topic<'a> {
    /// Reads the name of a topic.
    #[must_use]
    pub fn parse(name: &'a str) -> Self {
        match name.strip_prefix(USER_PREFIX) {
            Some(user) => Self::User(user),
            None if name == ALL => Self::All,
            None => Self::Room(name),
        }
    }

    /// The name of the topic.
    #[must_use]
    pub fn name(self) -> Cow<'a, str> {
        match self {
            Self::User(user) => Cow::Owned(of_user(user)),
            Self::Room(room) => Cow::Borrowed(room),
            Self::All => Cow::Borrowed(ALL),
        }
    }

    /// The member with which a JSON object names it: `"room": "lobby"`, `"user": "42"` or `"broadcast": true`.
    #[must_use]
    pub fn member(self) -> (&'static str, Value) {
        match self {
            Self::User(user) => ("user", user.into()),
            Self::Room(room) => ("room", room.into()),
            Self::All => ("broadcast", true.into()),
        }
    }
}

/// The topic of a user.
#[must_use]
pub fn of_user(user: &str) -> String {
    format!("{USER_PREFIX}{user}")
}

/// Whether `text` can be the id of a user: 1 to 255 bytes without control characters, as `sub` of a token.
#[must_use]
pub fn is_user(text: &str) -> bool {
    (1..=MAX_USER_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room;

    #[test]
    fn topics_of_users_and_of_all_connections_are_no_rooms() {
        for topic in [of_user("42"), of_user("\u{1}all"), ALL.to_owned(), MARK.to_string()] {
            assert!(room::check(&topic, room::MAX_BYTES).is_err(), "{topic:?}");
        }
        assert_eq!(Topic::parse("user:42"), Topic::Room("user:42"));
    }

    #[test]
    fn name_and_topic_are_each_other() {
        for topic in [Topic::User("42"), Topic::User(""), Topic::User("a:b"), Topic::Room("all"), Topic::All] {
            assert_eq!(Topic::parse(&topic.name()), topic);
        }
    }

    #[test]
    fn id_of_a_user_has_a_length_and_no_control_characters() {
        assert!(["4", "ünï", &"x".repeat(MAX_USER_BYTES)].iter().all(|id| is_user(id)));
        assert!(["", "a\nb", "\u{1}", "\u{7f}", &"x".repeat(MAX_USER_BYTES + 1)].iter().all(|id| !is_user(id)));
    }
}
