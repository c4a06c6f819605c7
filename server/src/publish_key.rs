//! Publish keys, and the rooms to which they may publish.
//!
//! `config` reads them, and [`crate::authorize`] decides with them. This file knows neither requests nor namespaces.

use nodevent_protocol::key::Secret;

/// A key with which programs may publish.
#[derive(Debug, Clone)]
pub struct PublishKey {
    /// Its name in the audit log.
    pub id: String,
    /// The key.
    pub key: Secret,
    /// The rooms to which it may publish. Empty: every room.
    pub rooms: Vec<RoomPattern>,
    /// Whether it may send messages to mailboxes. `None`: if it may publish to every room.
    pub notify: Option<bool>,
    /// Whether it may also revoke.
    pub may_revoke: bool,
}

/// Rooms, as `publish_keys` writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomPattern {
    /// One room.
    Exactly(String),
    /// Rooms whose names begin with this text.
    StartingWith(String),
}

// === impl PublishKey ===

impl PublishKey {
    /// Whether it may publish to this room.
    pub fn allows(&self, room: &str) -> bool {
        self.rooms.is_empty() || self.rooms.iter().any(|pattern| pattern.matches(room))
    }

    /// Whether it may send messages to mailboxes, and read them.
    pub fn may_notify(&self) -> bool {
        self.notify.unwrap_or(self.rooms.is_empty())
    }
}

// === impl RoomPattern ===

impl RoomPattern {
    /// Parses `Chat_*` or `lobby`. Returns `None` for a `*` elsewhere.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        let make = if is_prefix { Self::StartingWith } else { Self::Exactly };
        (!name.contains('*')).then(|| make(name.to_owned()))
    }

    /// Whether it includes this room.
    pub fn matches(&self, room: &str) -> bool {
        match self {
            Self::Exactly(name) => room == name,
            Self::StartingWith(prefix) => room.starts_with(prefix.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_includes_every_room_that_begins_so() {
        for (pattern, room, matches) in [
            ("lobby", "lobby", true),
            ("lobby", "lobby2", false),
            ("Chat_*", "Chat_", true),
            ("Chat_*", "Chat_7", true),
            ("Chat_*", "chat_7", false),
            ("*", "anything", true),
        ] {
            assert_eq!(RoomPattern::parse(pattern).unwrap().matches(room), matches, "{pattern} and {room}");
        }
        assert!(RoomPattern::parse("a*b").is_none() && RoomPattern::parse("**").is_none());
    }
}
