//! Which rooms have presence, and how it behaves.

use nodevent_protocol::topic::Topic;
use std::time::Duration;

/// The presence of a namespace's rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the names of rooms with presence begin with. `None`: all rooms have it.
    pub prefixes: Option<Vec<String>>,
    /// The time within which the members of a server that was killed leave.
    pub lease: Duration,
    /// The time that a user may be without a connection, and not leave.
    pub grace: Duration,
    /// Members of a room above which only their number is published and listed.
    pub max_size: u64,
    /// Members of one room on this server. Further connections join, but are not present.
    pub max_members_per_room: usize,
    /// Members of all rooms of the namespace on this server. Further connections join, but are not present.
    pub max_members: usize,
    /// The largest info of a member. A larger one is left out. Bytes.
    pub max_info: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefixes: None,
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            max_size: 1_000,
            max_members_per_room: 100_000,
            max_members: 500_000,
            max_info: 1024,
        }
    }
}

// === impl Settings ===

impl Settings {
    /// Whether a topic has presence. Those of users and of all connections are no rooms.
    pub fn includes(&self, room: &str) -> bool {
        matches!(Topic::parse(room), Topic::Room(_))
            && self
                .prefixes
                .as_ref()
                .is_none_or(|prefixes| prefixes.iter().any(|prefix| room.starts_with(&**prefix)))
    }
}
