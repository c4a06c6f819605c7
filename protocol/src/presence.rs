//! Presence in Redis: who is in a room. The names of the keys, and the scripts with their arguments.
//!
//! The crate does no I/O: it does not know a Redis client. The keys are below those of the room, so that the script can also
//! publish what has changed, in the same step and in a cluster.

use crate::history::{Keys, Publish};
use crate::publication::{raw_members, string};
use std::borrow::Cow;
use std::time::Duration;

/// Reports the members of a server, renews its lease, and publishes what has changed. The text documents its keys and
/// arguments.
pub const SYNC: &str = concat!(
    "local function publish(KEYS, ARGV)\n",
    include_str!("../redis/prelude.lua"),
    include_str!("../redis/publish_one.lua"),
    include_str!("../redis/publish_body.lua"),
    "end\n",
    include_str!("../redis/presence_sync.lua")
);
/// Reads the members of a room.
pub const READ: &str = include_str!("../redis/presence_read.lua");
/// Returns the users of one server.
pub const READ_OWN: &str = "return redis.call('HKEYS', KEYS[1])";

/// Removes events for the application from their list.
pub const REMOVE_HOOK_EVENTS: &str = "local count = 0 for _, entry in ipairs(ARGV) do count = count + redis.call('LREM', KEYS[1], '1', entry) end return count";

/// What the names of presence events begin with. Applications choose other names.
pub const EVENT_PREFIX: &str = "nodevent:";

/// What an event of presence says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A user has entered the room. The info is the text of a JSON value.
    Enter(Cow<'a, str>, &'a str),
    /// A user has left it.
    Leave(Cow<'a, str>),
    /// Something else, such as the number of members.
    Other,
}

/// The event of presence that a publication is. `None`: it is one of an application.
#[must_use]
pub fn event_of(text: &str) -> Option<Event<'_>> {
    if !text.contains(EVENT_PREFIX) {
        return None;
    }
    let members = raw_members(text)?;
    let event = string(members.get("event")?.get())?;
    let name = event.strip_prefix(EVENT_PREFIX)?;
    let message = members.get("message").and_then(|message| raw_members(message.get())).unwrap_or_default();
    let user = message.get("user").and_then(|user| string(user.get()));
    Some(match (name, user) {
        ("enter", Some(user)) => Event::Enter(user, message.get("info").map_or("null", |info| info.get())),
        ("leave", Some(user)) => Event::Leave(user),
        _ => Event::Other,
    })
}

/// The names of the keys of a room's presence. All of them are in the slot of the room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PresenceKeys {
    state: String,
}

/// A change of one user on one server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change<'a> {
    /// The user.
    pub user: &'a str,
    /// The user's connections on this server. 0: the last one has left.
    pub connections: u32,
    /// What the application says about the user: the text of a JSON value.
    pub info: Option<&'a str>,
    /// Whether Redis has confirmed the user before.
    pub is_known: bool,
}

/// The arguments of the script [`SYNC`], without its changes.
#[derive(Clone, Debug)]
pub struct Sync<'a> {
    /// The server.
    pub server: &'a str,
    /// The time after which the server's members leave if it does not call again.
    pub ttl: Duration,
    /// The time after which a user without a connection leaves.
    pub grace: Duration,
    /// Members above which only their number is published.
    pub max_size: u64,
    /// The shortest time between two publications of the number.
    pub count_interval: Duration,
    /// The room.
    pub room: &'a str,
    /// Whether the room has a history.
    pub is_stored: bool,
    /// How events are published. Its text is ignored.
    pub publish: Publish<'a>,
}

// === impl PresenceKeys ===

impl PresenceKeys {
    /// Returns the keys of the presence of a room.
    #[must_use]
    pub fn of(room: &Keys) -> Self {
        Self { state: room.presence() }
    }

    /// Returns the hash of a server's users.
    #[must_use]
    pub fn of_server(&self, server: &str) -> String {
        format!("{}:of:{server}", self.state)
    }

    /// Returns the list of events for the application that are not in its journal yet.
    #[must_use]
    pub fn hook_events(&self) -> String {
        format!("{}:hooks", self.state)
    }

    /// Returns the keys of the script [`READ`].
    #[must_use]
    pub fn read(&self) -> Vec<String> {
        vec![self.state.clone(), format!("{}:users", self.state), format!("{}:leases", self.state)]
    }

    /// Returns the keys of the script [`SYNC`], without that list.
    #[must_use]
    pub fn sync(&self, room: &Keys, server: &str) -> Vec<String> {
        let mut keys = vec![room.position.clone(), room.log.clone()];
        keys.extend(self.read());
        keys.extend([format!("{}:leaving", self.state), self.of_server(server)]);
        keys
    }
}

// === impl Sync ===

impl Sync<'_> {
    /// Returns the script's arguments in its order.
    #[must_use]
    pub fn args<'a>(&self, changes: impl Iterator<Item = Change<'a>>) -> Vec<String> {
        let millis = |duration: Duration| duration.as_millis().to_string();
        let flag = |flag: bool| String::from(if flag { "1" } else { "0" });
        let mut args = vec![
            self.server.to_owned(),
            millis(self.ttl),
            millis(self.grace),
            self.max_size.to_string(),
            millis(self.count_interval),
            serde_json::Value::from(self.room).to_string(),
            flag(self.is_stored),
        ];
        args.extend(self.publish.args());
        for Change { user, connections, info, is_known } in changes {
            let info = info.unwrap_or_default().to_owned();
            args.extend([user.to_owned(), connections.to_string(), info, flag(is_known)]);
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Retention;

    #[test]
    fn all_keys_of_a_rooms_presence_are_in_the_slot_of_the_room() {
        let tag = |key: &str| key[key.find('{').unwrap()..].split('}').next().unwrap().to_owned();
        for room in ["r", "a}b", "{x}"] {
            let keys = Keys::of("/n", room);
            let names = PresenceKeys::of(&keys).sync(&keys, "s1");
            assert_eq!(names.len(), 7);
            assert!(names.iter().all(|name| tag(name) == tag(&keys.position)), "{names:?}");
            assert_eq!(names[6], format!("{}:of:s1", names[2]), "the script composes it");
        }
    }

    #[test]
    fn the_changes_begin_at_the_sixteenth_argument() {
        let publish = Publish {
            channel: "/n",
            text: "",
            retention: Retention::default(),
            fresh_epoch: 1,
            idempotency_ttl: Duration::ZERO,
            sharded: false,
        };
        let sync = Sync {
            server: "s",
            ttl: Duration::from_secs(20),
            grace: Duration::from_secs(10),
            max_size: 3,
            count_interval: Duration::from_secs(2),
            room: "a\"b",
            is_stored: true,
            publish,
        };
        let change = Change { user: "7", connections: 2, info: Some("{}"), is_known: true };
        let args = sync.args([change].into_iter());
        assert_eq!(args[..7], ["s", "20000", "10000", "3", "2000", "\"a\\\"b\"", "1"]);
        assert_eq!(args[15..], ["7", "2", "{}", "1"]);
    }
}
