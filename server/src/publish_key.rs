//! Publish keys, and the rooms and users to which they may publish.
//!
//! `config` reads them, and [`crate::authorize`] decides with them. This file knows neither requests nor namespaces.

use nodevent_protocol::key::Secret;
use nodevent_protocol::topic::Topic;

/// A key with which programs may publish.
#[derive(Debug, Clone)]
pub struct PublishKey {
    /// Its name in the audit log.
    pub id: String,
    /// The key.
    pub key: Secret,
    /// The targets to which it may publish. `None`: every target.
    pub limit: Option<TargetLimit>,
    /// Whether it may also revoke.
    pub may_revoke: bool,
}

/// The targets to which a limited key may publish.
#[derive(Debug, Clone, Default)]
pub struct TargetLimit {
    /// The rooms.
    pub rooms: Vec<NamePattern>,
    /// The users.
    pub users: Vec<NamePattern>,
    /// Whether it may publish to all connections.
    pub broadcast: bool,
}

/// Rooms or users, as `publish_keys` writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// One name.
    Exactly(String),
    /// Names that begin with this text.
    StartingWith(String),
}

// === impl PublishKey ===

impl PublishKey {
    /// Whether it may publish to this target.
    pub fn allows(&self, topic: Topic<'_>) -> bool {
        let Some(limit) = &self.limit else { return true };
        match topic {
            Topic::Room(room) => limit.rooms.iter().any(|pattern| pattern.matches(room)),
            Topic::User(user) => limit.users.iter().any(|pattern| pattern.matches(user)),
            Topic::All => limit.broadcast,
        }
    }
}

// === impl TargetLimit ===

impl TargetLimit {
    /// Whether it includes every user.
    pub fn has_all_users(&self) -> bool {
        self.users.contains(&NamePattern::StartingWith(String::new()))
    }
}

// === impl NamePattern ===

impl NamePattern {
    /// Parses `Chat_*` or `lobby`. Returns `None` for a `*` elsewhere.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        let make = if is_prefix { Self::StartingWith } else { Self::Exactly };
        (!name.contains('*')).then(|| make(name.to_owned()))
    }

    /// Whether it includes this room or user.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exactly(only) => name == only,
            Self::StartingWith(prefix) => name.starts_with(prefix.as_str()),
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
            assert_eq!(NamePattern::parse(pattern).unwrap().matches(room), matches, "{pattern} and {room}");
        }
        assert!(NamePattern::parse("a*b").is_none() && NamePattern::parse("**").is_none());
    }
}
