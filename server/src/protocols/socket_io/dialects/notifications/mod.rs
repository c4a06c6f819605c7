//! The dialect `notifications`: `subscribe`, and `message` with raw texts, as realtime-notifications has them.
//!
//! Clients join the rooms of the channels that the configuration lists, and no others.

mod page;

use crate::config::notifications::Notifications as Settings;
use crate::history::RequestId;
use crate::namespace::Namespace;
use crate::outcome::Outcome;
use crate::protocol::{JoinError, Joined};
use crate::protocols::Mount;
use crate::protocols::socket_io::arguments::Argument;
use crate::protocols::socket_io::dialect::{ConnectRequest, Dialect, Event, Operations};
use nodevent_protocol::history::Position;
use nodevent_protocol::notifications::{self, CHANNEL_PREFIX};
use nodevent_protocol::topic::Topic;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

pub(crate) use page::mount as mount_page;

/// The dialect of one namespace.
#[derive(Debug)]
struct Notifications {
    channels: HashSet<String>,
    /// Admits its joins.
    credential: Value,
}

/// Makes the dialect of a namespace.
pub(super) fn make(mount: &Mount<'_>, namespace: &Namespace) -> Arc<dyn Dialect> {
    let settings: Settings =
        mount.config.namespaces[usize::from(namespace.id)].notifications.clone().unwrap_or_default();
    let credential = namespace.dialect_joins.credential();
    Arc::new(Notifications { channels: settings.channels.into_iter().collect(), credential })
}

// === impl Notifications ===

impl Notifications {
    /// The room of the channel that a client names, if it is listed.
    fn room(&self, data: Argument<'_>) -> Option<String> {
        let channel = data.field("channel").text()?;
        self.channels.contains(&*channel).then(|| notifications::room_of(&channel))
    }
}

impl Dialect for Notifications {
    fn connected(&self, operations: &mut dyn Operations, _request: &ConnectRequest) {
        operations.emit(&json!(["message", {"text": "Welcome!"}]).to_string(), &[]);
    }

    fn restore(&self, operations: &mut dyn Operations, topic: Topic<'_>, _kept: Option<&str>) {
        let name = topic.name();
        if name.strip_prefix(CHANNEL_PREFIX).is_some_and(|channel| self.channels.contains(channel)) {
            operations.rejoin(topic, Some(&self.credential), None);
        }
    }

    fn event(&self, operations: &mut dyn Operations, event: Event) {
        let Some((name, data)) = Argument::of_event(&event.args) else { return };
        match &*name {
            "subscribe" => match self.room(data) {
                Some(room) => {
                    // The contract has no reply.
                    let _: Result<Outcome<Joined>, JoinError> =
                        operations.join_decided(&room, &self.credential, None, RequestId::UNREQUESTED);
                }
                None => {
                    operations.reject_join(JoinError::BadRoom);
                }
            },
            "unsubscribe" => {
                if let Some(room) = self.room(data) {
                    operations.leave(&room);
                }
            }
            _ => {}
        }
    }

    fn joined(&self, _operations: &mut dyn Operations, _request: RequestId, _result: Result<Joined, JoinError>) {}

    fn owns(&self, topic: Topic<'_>) -> bool {
        matches!(topic, Topic::Room(room) if room.starts_with(CHANNEL_PREFIX))
    }

    fn write_publication(&self, packet: &mut String, text: &str) {
        packet.push_str(&notifications::message(text));
    }

    fn gap(&self, topic: Topic<'_>, _position: Position) -> String {
        let name = topic.name();
        json!(["gap", {"channel": name.strip_prefix(CHANNEL_PREFIX).unwrap_or(&name)}]).to_string()
    }
}
