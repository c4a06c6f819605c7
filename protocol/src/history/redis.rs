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
pub const PUBLISH: &str = concat!(
    include_str!("../../redis/prelude.lua"),
    include_str!("../../redis/publish_one.lua"),
    include_str!("../../redis/publish_body.lua")
);
/// Does what [`PUBLISH`] does for several publications, in one step; see [`super::batch`].
pub const PUBLISH_MANY: &str = concat!(
    include_str!("../../redis/prelude.lua"),
    include_str!("../../redis/publish_one.lua"),
    include_str!("../../redis/publish_many_body.lua")
);
/// Reads a room's position and what came after an offset, in one step.
pub const READ: &str = concat!(include_str!("../../redis/prelude.lua"), include_str!("../../redis/read_body.lua"));

/// Returns the run id of the Redis that executes it; see [`for_run`]. Empty before version 7: such a Redis writes its scripts
/// into its file, and sends them to its replicas, so another run may have them.
pub const READ_RUN: &str = "local info = redis.call('INFO', 'server') \
     local version = tonumber(string.match(info, 'redis_version:(%d+)') or '0') \
     return version >= 7 and string.match(info, 'run_id:(%w+)') or ''";
/// The line of the prelude that names the run of Redis.
const NO_RUN: &str = "local verified_run = ''";
/// Maximum length of a run id. Bytes.
const MAX_RUN_BYTES: usize = 64;

/// Stores a revocation and announces it, in one step. The text documents its keys and arguments.
pub const REVOKE: &str = include_str!("../../redis/revoke.lua");
/// Reads the revocations that the caller does not know.
pub const READ_REVOCATIONS: &str = include_str!("../../redis/read_revocations.lua");
/// What [`REVOKE`] publishes on the channel of the namespace: there is a revocation to read. It is not a publication.
pub const REVOKED: &str = "nodevent:1:revoked";

/// The prefix of all keys and channels of NoDevent, except the channel of a namespace, which has its name. The number
/// is the format of keys and values; it grows when they change. Data of another format is not read, and expires.
pub const PREFIX: &str = "nodevent:1:";

/// The maximum length of a key prefix. Bytes.
pub const MAX_KEY_PREFIX_BYTES: usize = 64;

/// The part of a Redis that one application uses. It separates stored data and published messages alike.
///
/// Keys of different databases are separate, but channels are not: so the names of channels contain the database.
///
/// # Shape
/// All keys and channels begin with `<prefix>:`, if there is a prefix. The channel of a namespace is its name, in
/// database 0; otherwise `@<database><name>`. The prefix contains no colon, and the name of a namespace begins with a
/// slash.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scope {
    /// Empty, or the prefix with its colon.
    pub(crate) prefix: String,
    pub(crate) db: u8,
}

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
    /// The part of a channel's name that distinguishes databases.
    channel_suffix: String,
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

/// The arguments of the script [`READ`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Read {
    /// The retention of the room, for a read on behalf of its members: the position is kept for as long as they are
    /// there. `None`: the read writes nothing.
    pub keep: Option<Retention>,
    /// The offset after which to read. `None`: the position alone.
    pub after: Option<u64>,
    /// The last position that the caller has received live.
    pub received: Option<Position>,
    /// Maximum number of publications, oldest first.
    pub limit: Option<usize>,
}

// === impl Read ===

impl Read {
    /// Returns the script's arguments in its order.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        let after = self.after.and_then(|after| i64::try_from(after).ok()).unwrap_or(-1);
        let mut args = vec![
            self.keep.map(|keep| keep.position_ttl().as_millis().to_string()).unwrap_or_default(),
            after.to_string(),
            self.received.map(|received| Position::epoch_text(received.epoch)).unwrap_or_default(),
            self.received.map(|received| received.offset.to_string()).unwrap_or_default(),
        ];
        args.extend(self.limit.map(|limit| limit.to_string()));
        args
    }
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

// === impl Scope ===

impl Scope {
    /// Returns the scope of a database with a key prefix. `None`: the prefix is not 1 to 64 letters, digits, `_`, `-`
    /// and `.`.
    #[must_use]
    pub fn new(prefix: Option<&str>, db: u8) -> Option<Self> {
        let Some(prefix) = prefix else { return Some(Self { prefix: String::new(), db }) };
        let is_valid = (1..=MAX_KEY_PREFIX_BYTES).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        is_valid.then(|| Self { prefix: format!("{prefix}:"), db })
    }

    /// Returns the channel of a namespace.
    #[must_use]
    pub fn channel(&self, namespace: &str) -> String {
        match self.db {
            0 => format!("{}{namespace}", self.prefix),
            db => format!("{}@{db}{namespace}", self.prefix),
        }
    }

    /// Returns the keys of a room.
    #[must_use]
    pub fn keys(&self, namespace: &str, room: &str) -> Keys {
        let prefix = &self.prefix;
        let tag = format!("{prefix}{PREFIX}{{{}:{namespace}:{}:{room}}}", namespace.len(), room.len());
        let channel_suffix = if self.db == 0 { String::new() } else { format!("@{}", self.db) };
        Keys { position: format!("{tag}:position"), log: format!("{tag}:log"), tag, channel_suffix }
    }

    /// Returns the key that stores an idempotency key of a publication without history.
    #[must_use]
    pub fn plain_idempotency(&self, channel: &str, idempotency_key: &str) -> String {
        format!("{}{PREFIX}once:{}:{channel}:{idempotency_key}", self.prefix, channel.len())
    }

    /// Returns the key that stores which secrets the last program that used a namespace has, as fingerprints.
    #[must_use]
    pub fn secrets(&self, namespace: &str) -> String {
        format!("{}{PREFIX}secrets:{namespace}", self.prefix)
    }

    /// Returns the keys of a namespace's revocations: the entries, their order and their expiry. All of them are in one
    /// slot of a cluster.
    #[must_use]
    pub fn revocations(&self, namespace: &str) -> [String; 3] {
        let tag = format!("{}{PREFIX}{{{}:{namespace}}}:revocations", self.prefix, namespace.len());
        [format!("{tag}:entries"), format!("{tag}:order"), format!("{tag}:expiry")]
    }

    /// Returns the keys of a namespace's hooks: journal, state, keys of events, dead letters, lease, events of
    /// connections. All of them are in one slot of a cluster.
    #[must_use]
    pub fn hooks(&self, namespace: &str) -> [String; 7] {
        let tag = format!("{}{PREFIX}{{{}:{namespace}}}:hooks", self.prefix, namespace.len());
        ["journal", "state", "seen", "dead", "lease", "connections", "members"].map(|kind| format!("{tag}:{kind}"))
    }

    /// Returns the key that exists after a connection of a namespace was restored from its state.
    #[must_use]
    pub fn restored(&self, namespace: &str, instance: u64) -> String {
        format!("{}{PREFIX}restored:{}:{namespace}:{instance:016x}", self.prefix, namespace.len())
    }

    /// Returns the key of a page, and those of the namespace's pages and channels; see [`crate::pages`]. All of them are in
    /// one slot of a cluster.
    #[must_use]
    pub fn pages(&self, namespace: &str, page: crate::pages::PageDigest) -> [String; 3] {
        let tag = format!("{}{PREFIX}{{{}:{namespace}}}:pages", self.prefix, namespace.len());
        [format!("{tag}:page:{page}"), format!("{tag}:expiry"), format!("{tag}:channels")]
    }

    /// Returns the key of a cursor or a session of Action Cable; see [`crate::action_cable::stored`].
    #[must_use]
    pub fn cable(&self, namespace: &str, key: crate::action_cable::stored::CableKey) -> String {
        format!("{}{PREFIX}cable:{}:{namespace}:{key}", self.prefix, namespace.len())
    }

    /// Returns a key or a channel of this program alone, for `purpose`. `id` makes it unique.
    #[must_use]
    pub fn own(&self, purpose: &str, id: u128) -> String {
        format!("{}{PREFIX}{purpose}:{id:032x}", self.prefix)
    }
}

// === impl Keys ===

impl Keys {
    /// Returns the keys of a room in database 0, without a prefix.
    #[must_use]
    pub fn of(namespace: &str, room: &str) -> Self {
        Scope::default().keys(namespace, room)
    }

    /// Returns the key that stores the position for an idempotency key.
    #[must_use]
    pub fn idempotency(&self, idempotency_key: &str) -> String {
        format!("{}:once:{idempotency_key}", self.tag)
    }

    /// Returns the key that the keys of the room's presence begin with; see [`crate::presence`].
    #[must_use]
    pub fn presence(&self) -> String {
        format!("{}:presence", self.tag)
    }

    /// Returns the channel of the room alone, for `channel_per_room: true`.
    #[must_use]
    pub fn channel(&self) -> String {
        format!("{}:channel{}", self.tag, self.channel_suffix)
    }
}

/// Returns the text of a script for one run of Redis, which does not have to find out in each call which run it is. `None`: that
/// is not a run id.
///
/// The run is what [`READ_RUN`] has returned over a connection that was not opened again since. Over this connection the text is
/// loaded with `EVAL` and without keys, which returns the run. It must not be sent in any other way: then a Redis that has the
/// text is that run.
#[must_use]
pub fn for_run(script: &str, run: &str) -> Option<String> {
    let is_run = (1..=MAX_RUN_BYTES).contains(&run.len()) && run.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_run.then(|| script.replacen(NO_RUN, &format!("local verified_run = '{run}'"), 1))
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
    use crate::action_cable::stored::CableKey;
    use std::collections::HashSet;

    #[test]
    fn both_scripts_begin_with_the_prelude() {
        let prelude = include_str!("../../redis/prelude.lua");
        assert!(prelude.ends_with("-- End of the prelude.\n"));
        for script in [PUBLISH, PUBLISH_MANY, READ] {
            assert!(script.starts_with(prelude) && script.len() > prelude.len());
        }
        assert_ne!(script_sha(PUBLISH), script_sha(READ));
    }

    #[test]
    fn script_for_one_run_names_it_and_differs_in_nothing_else() {
        let run = "0123456789abcdef0123456789abcdef01234567";
        for script in [PUBLISH, PUBLISH_MANY] {
            let text = for_run(script, run).unwrap();
            assert_eq!(text.replace(run, ""), script);
            assert_eq!(text.len(), script.len() + run.len());
        }
        for invalid in ["", "a'b", "a b", "\n", &"a".repeat(MAX_RUN_BYTES + 1)] {
            assert_eq!(for_run(PUBLISH, invalid), None, "{invalid:?}");
        }
    }

    #[test]
    fn read_without_retention_has_an_empty_expiry() {
        let position = Position { epoch: 10, offset: 3 };
        let read = Read { after: Some(7), received: Some(position), limit: Some(2), ..Read::default() };
        assert_eq!(read.args(), ["", "7", "000000000000000a", "3", "2"]);
        let keep = Some(Retention::default());
        assert_eq!(Read { keep, ..Read::default() }.args(), ["86400000", "-1", "", ""]);
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
            assert!(seen.insert(name.clone()), "{name}");
        };
        for prefix in [None, Some("a"), Some("nodevent"), Some("1")] {
            let scope = Scope::new(prefix, 0).unwrap();
            for namespace in names {
                add(scope.secrets(namespace));
                add(scope.cable(namespace, CableKey::session("", "s")));
                scope.revocations(namespace).into_iter().for_each(&mut add);
                add(scope.connections(namespace).servers);
                add(scope.connections(namespace).of_server("1"));
                for room in names {
                    let keys = scope.keys(namespace, room);
                    add(keys.position.clone());
                    add(keys.log.clone());
                    add(keys.channel());
                    add(keys.presence());
                    for key in names {
                        add(keys.idempotency(key));
                    }
                    add(scope.plain_idempotency(namespace, room));
                }
            }
        }
        assert!(count > 1000);
    }

    #[test]
    fn channels_of_different_prefixes_databases_and_namespaces_never_collide() {
        let (mut seen, mut count) = (HashSet::new(), 0);
        for prefix in [None, Some("a"), Some("1"), Some("nodevent")] {
            for db in [0, 1, 11, 255] {
                let scope = Scope::new(prefix, db).unwrap();
                for namespace in ["/a", "/1", "/a:/1", "/1/a", "/@1/a"] {
                    seen.insert(scope.channel(namespace));
                    seen.insert(scope.keys(namespace, "r").channel());
                    count += 2;
                }
            }
        }
        assert_eq!(seen.len(), count);
        assert_eq!(Scope::default().channel("/nodevent"), "/nodevent", "the contract with old publishers");
    }

    #[test]
    fn prefix_has_no_characters_with_a_meaning() {
        for prefix in ["", ":", "a:b", "a/b", "{a}", "a b", "ä", "*", &"a".repeat(MAX_KEY_PREFIX_BYTES + 1)] {
            assert_eq!(Scope::new(Some(prefix), 0), None, "{prefix:?}");
        }
    }
}
