//! What engines keep of connections: up to where a page has received a stream, and to what a connection of the extended
//! protocol was subscribed. Here are the names, and the scripts of Redis.
//!
//! The crate does no I/O: it does not know a Redis client.

use sha2::{Digest as _, Sha256};
use std::fmt;

/// Reads the cursor of a page, for a connection that continues there. The text documents its keys and arguments.
pub const OPEN_CURSOR: &str = include_str!("../../redis/cable_open_cursor.lua");
/// Moves a cursor to what a page has received.
pub const MOVE_CURSOR: &str = include_str!("../../redis/cable_move_cursor.lua");
/// Takes a session, so that one connection restores it.
pub const TAKE_SESSION: &str = include_str!("../../redis/cable_take_session.lua");
/// Finds the position before what was published at a time or later.
pub const FIND_TIME: &str =
    concat!(include_str!("../../redis/prelude.lua"), include_str!("../../redis/find_time_body.lua"));

/// The name of a cursor or of a session. It cannot be guessed without what it is made of.
///
/// # Shape
/// As text 40 lower-case hexadecimal digits: the first 20 bytes of the SHA-256 of its parts, each after its length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CableKey([u8; 20]);

// === impl CableKey ===

impl CableKey {
    /// The cursor of a page's subscription. `user` is who the connection is; empty: it has no identity.
    #[must_use]
    pub fn cursor(user: &str, page: &str, stream: &str, identifier: &str) -> Self {
        Self::of(&["cursor", user, page, stream, identifier])
    }

    /// The session with an id.
    #[must_use]
    pub fn session(user: &str, id: &str) -> Self {
        Self::of(&["session", user, id])
    }

    fn of(parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut key = [0; 20];
        key.iter_mut().zip(digest.finalize()).for_each(|(to, from)| *to = from);
        Self(key)
    }

    /// The name that has these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// A number from 0 to 255 by which keys can be divided evenly.
    #[must_use]
    pub fn bucket(self) -> u8 {
        self.0[0]
    }
}

impl fmt::Display for CableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_cursors_and_sessions_have_one_name() {
        let texts = ["", "a", "b", "ab", "session", "cursor"];
        let (mut seen, mut count) = (HashSet::new(), 0);
        for user in texts {
            for page in texts {
                seen.insert(CableKey::session(user, page));
                count += 1;
                for stream in texts {
                    for identifier in texts {
                        seen.insert(CableKey::cursor(user, page, stream, identifier));
                        count += 1;
                    }
                }
            }
        }
        assert_eq!(seen.len(), count);
        assert_eq!(CableKey::session("", "a").to_string().len(), 40);
    }
}
