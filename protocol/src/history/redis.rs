//! Histories in Redis: the names of keys and channels, and the scripts with their arguments.
//!
//! This is in the protocol crate because the gem and the server both publish with the script [`PUBLISH`], and
//! because its keys are part of the protocol between them. The crate does no I/O: it does not know a Redis client.

use super::position::Position;
use super::retention::Retention;
use sha1::{Digest, Sha1};
use std::fmt::Write as _;
use std::time::Duration;

/// Assigns a publication its offset, stores it and publishes it, in one step. The text documents its keys and arguments.
pub const PUBLISH: &str =
    concat!(include_str!("../../redis/prelude.lua"), include_str!("../../redis/publish_body.lua"));
/// Reads a room's position and what came after an offset, in one step.
pub const READ: &str = concat!(include_str!("../../redis/prelude.lua"), include_str!("../../redis/read_body.lua"));

/// The beginning of all our keys and channels, except the channel of a namespace, which has its name. The number is the format of keys
/// and values; it grows when they change. Data of another format is not read, and expires.
pub const PREFIX: &str = "nodevent:1:";

/// The names of a room's keys. All of them are in one slot of a cluster.
///
/// # Shape
/// `nodevent:1:{<bytes of namespace>:<namespace>:<bytes of room>:<room>}:<kind>`. The lengths make the names unambiguous
/// whatever namespaces, rooms and idempotency keys contain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keys {
    /// The hash of epoch and offset.
    pub position: String,
    /// The stream of publications.
    pub log: String,
    tag: String,
}

/// The arguments of the script [`PUBLISH`].
#[derive(Clone, Debug)]
pub struct Publish<'a> {
    /// The channel: the name of the namespace, or [`Keys::channel`].
    pub channel: &'a str,
    /// The text of the publication.
    pub text: &'a str,
    /// The retention of the room.
    pub retention: Retention,
    /// A random number, for the epoch of a room that does not exist.
    pub fresh_epoch: u64,
    /// Time for which the idempotency key is stored, if there is one.
    pub idempotency_ttl: Duration,
    /// Whether to publish with `SPUBLISH`, which reaches only the channel's slot of a cluster.
    pub sharded: bool,
}

// === impl Publish ===

impl Publish<'_> {
    /// Returns the script's arguments in its order.
    #[must_use]
    pub fn args(&self) -> [String; 8] {
        [
            self.channel.to_owned(),
            self.text.to_owned(),
            self.retention.size.to_string(),
            self.retention.age.as_millis().to_string(),
            self.retention.position_ttl().as_millis().to_string(),
            Position::epoch_text(Position::room_epoch(self.fresh_epoch)),
            if self.sharded { "SPUBLISH" } else { "PUBLISH" }.to_owned(),
            self.idempotency_ttl.as_millis().to_string(),
        ]
    }
}

// === impl Keys ===

impl Keys {
    /// Returns the keys of a room.
    #[must_use]
    pub fn of(namespace: &str, room: &str) -> Self {
        let tag = format!("{PREFIX}{{{}:{namespace}:{}:{room}}}", namespace.len(), room.len());
        Self { position: format!("{tag}:position"), log: format!("{tag}:log"), tag }
    }

    /// Returns the key that stores the position for an idempotency key.
    #[must_use]
    pub fn idempotency(&self, idempotency_key: &str) -> String {
        format!("{}:once:{idempotency_key}", self.tag)
    }

    /// Returns the channel of the room alone, for `channel_per_room: true`.
    #[must_use]
    pub fn channel(&self) -> String {
        format!("{}:channel", self.tag)
    }
}

/// Returns the key that stores an idempotency key of a publication without history.
#[must_use]
pub fn plain_idempotency(channel: &str, idempotency_key: &str) -> String {
    format!("{PREFIX}once:{}:{channel}:{idempotency_key}", channel.len())
}

/// Returns the name under which Redis caches a script: the SHA-1 of its text, hexadecimal.
#[must_use]
pub fn script_sha(script: &str) -> String {
    let mut sha = String::with_capacity(40);
    for byte in Sha1::digest(script.as_bytes()) {
        let _ = write!(sha, "{byte:02x}");
    }
    sha
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn both_scripts_begin_with_the_prelude() {
        let prelude = include_str!("../../redis/prelude.lua");
        assert!(prelude.ends_with("-- End of the prelude.\n"));
        for script in [PUBLISH, READ] {
            assert!(script.starts_with(prelude) && script.len() > prelude.len());
        }
        assert_ne!(script_sha(PUBLISH), script_sha(READ));
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

    #[test]
    fn names_of_different_namespaces_rooms_and_keys_never_collide() {
        // Texts that are parts of each other's composed names.
        let names =
            ["/a", "/a:vip", "b", "vip:b", "b}:log", "b}:once:k", "1:b", ":1:b", "", "}:position", "2:/a:1:b"];
        let (mut seen, mut count) = (HashSet::new(), 0);
        let mut add = |name: String| {
            count += 1;
            seen.insert(name);
        };
        for namespace in names {
            for room in names {
                let keys = Keys::of(namespace, room);
                add(keys.position.clone());
                add(keys.log.clone());
                add(keys.channel());
                for key in names {
                    add(keys.idempotency(key));
                }
                add(plain_idempotency(namespace, room));
            }
        }
        assert_eq!(seen.len(), count);
    }
}
