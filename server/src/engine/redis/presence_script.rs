//! Calls the scripts of presence. `nodevent_protocol::presence` has their text.

use super::Shared;
use super::script::{Script, ScriptError};
use crate::presence::{COUNT_INTERVAL, Change, MAX_LIST_BYTES, Member, RoomPresence, Settings};
use fred::clients::Client;
use fred::types::Value;
use nodevent_protocol::history::{Keys, Publish};
use nodevent_protocol::presence::{self, PresenceKeys, Sync};
use std::time::Duration;

/// The three scripts.
#[derive(Debug)]
pub(super) struct PresenceScripts {
    sync: Script,
    read: Script,
    read_own: Script,
    remove_hook_events: Script,
}

/// The result of a report.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Synced {
    /// Members of the room. `None`: nothing was reported.
    pub(super) count: Option<u64>,
    /// Users of this server, as Redis has them.
    pub(super) own: u64,
    /// When the next call is due, apart from the renewal of the lease.
    pub(super) next_due: Option<Duration>,
    /// Events that were published.
    pub(super) events: u64,
    /// Whether only the number of members is published.
    pub(super) is_large: bool,
    /// The events for the application: an id, a space, and the JSON of each.
    pub(super) hook_events: Vec<String>,
}

// === impl PresenceScripts ===

impl PresenceScripts {
    pub(super) fn new() -> Self {
        Self {
            sync: Script::new(presence::SYNC),
            read: Script::new(presence::READ),
            read_own: Script::new(presence::READ_OWN),
            remove_hook_events: Script::new(presence::REMOVE_HOOK_EVENTS),
        }
    }

    /// Reports changes, and renews the lease of this server.
    ///
    /// # Errors
    /// [`ScriptError`]: Redis may have the changes or not.
    pub(super) async fn sync(
        &self,
        shared: &Shared,
        room: &str,
        server: &str,
        ttl: Duration,
        changes: &[Change],
        settings: &Settings,
    ) -> Result<Synced, ScriptError> {
        let keys = shared.keys(room);
        let channel = if shared.channel_per_room { keys.channel() } else { shared.channel.clone() };
        let history = shared.history.of(room);
        let retention = history.unwrap_or_default();
        let sync = Sync {
            server,
            ttl,
            grace: settings.grace,
            max_size: settings.max_size,
            count_interval: COUNT_INTERVAL,
            room,
            is_stored: history.is_some(),
            publish: Publish {
                channel: &channel,
                text: "",
                retention,
                fresh_epoch: rand::random(),
                idempotency_ttl: retention.age,
                sharded: shared.sharded_pubsub,
            },
        };
        let changes = changes.iter().map(|change| presence::Change {
            user: &change.user,
            connections: change.connections,
            info: change.info.as_deref(),
            is_known: change.is_known,
        });
        let args = sync.args(changes).into_iter().map(Value::from).collect();
        let mut names = PresenceKeys::of(&keys).sync(&keys, server);
        let has_hooks = shared.fanout.recorder().is_some_and(|recorder| recorder.events().has_presence());
        names.extend(has_hooks.then(|| PresenceKeys::of(&keys).hook_events()));
        type Reply = (u64, u64, i64, u64, u64, Vec<String>);
        let (count, own, next_due, events, is_large, hook_events): Reply =
            self.sync.run(&shared.publisher, names, args).await?;
        let next_due = u64::try_from(next_due).ok().map(Duration::from_millis);
        Ok(Synced { count: Some(count), own, next_due, events, is_large: is_large == 1, hook_events })
    }

    /// Reads the members of a room. It has none if no server has touched it for `stale`.
    ///
    /// # Errors
    /// [`ScriptError`].
    pub(super) async fn read(
        &self,
        client: &Client,
        keys: &Keys,
        stale: Duration,
    ) -> Result<RoomPresence, ScriptError> {
        let args = [stale.as_millis().to_string(), MAX_LIST_BYTES.to_string()].map(Value::from);
        let names = PresenceKeys::of(keys).read();
        type Reply = (u64, u64, u64, Vec<String>);
        let (count, is_large, _is_complete, members): Reply = self.read.run(client, names, args.into()).await?;
        if is_large == 1 {
            return Ok(RoomPresence::large(count));
        }
        let members = members.chunks_exact(3).map(|member| Member {
            user: member[0].as_str().into(),
            // Clients receive it as it is. What another program has stored is left out.
            info: Some(member[1].as_str()).filter(|info| is_json(info)).map(Into::into),
            connections: member[2].parse().unwrap_or_default(),
        });
        Ok(RoomPresence::of(members, count))
    }

    /// Removes events for the application from the list of a room.
    ///
    /// # Errors
    /// [`ScriptError`].
    pub(super) async fn remove_hook_events(
        &self,
        client: &Client,
        keys: &Keys,
        entries: &[String],
    ) -> Result<(), ScriptError> {
        let names = vec![PresenceKeys::of(keys).hook_events()];
        let args = entries.iter().map(|entry| Value::from(entry.as_str())).collect();
        self.remove_hook_events.run::<u64>(client, names, args).await.map(drop)
    }

    /// The users of a server in a room.
    ///
    /// # Errors
    /// [`ScriptError`].
    pub(super) async fn own_users(
        &self,
        client: &Client,
        keys: &Keys,
        server: &str,
    ) -> Result<Vec<String>, ScriptError> {
        self.read_own.run(client, vec![PresenceKeys::of(keys).of_server(server)], Vec::new()).await
    }
}

/// Whether a text is one JSON value and nothing else.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok_and(|value| value.get().len() == text.len())
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn info_that_is_not_one_json_value_is_left_out() {
        assert!(["{}", "null", r#"{"name":"Ann"}"#, "7"].into_iter().all(is_json));
        assert!(
            ["", " ", "{", "{}}", "1,2", "{}\u{1e}41/other,", "\"\u{1e}\"", " {}"]
                .into_iter()
                .all(|text| !is_json(text))
        );
    }
}
