//! Who a connection is: the same for every protocol and dialect.

use std::fmt;

/// The user of a connection in one namespace.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's id in the application. Empty: the application has named none, which only `dialect: web_service` allows.
    pub user: Box<str>,
    /// When the identity expires. Milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// When it was issued. Milliseconds since the Unix epoch. 0: that is not known.
    pub issued_ms: u64,
    /// What the application says about the user: the text of a JSON value.
    pub info: Option<Box<str>>,
    /// The rooms that the connection joins without a key.
    pub rooms: Box<[Box<str>]>,
}

// === impl Identity ===

impl Identity {
    /// Whether the connection joins this room without a key.
    pub fn opens(&self, room: &str) -> bool {
        self.rooms.iter().any(|one| **one == *room)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // User and info belong to a person.
        f.debug_struct("Identity").field("expires_ms", &self.expires_ms).finish_non_exhaustive()
    }
}
