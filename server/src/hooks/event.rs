//! The events of hooks, as the application receives them: JSON objects without their `id`, which the journal assigns.

use super::Part;
use crate::identity::Identity;
use crate::publication::Publication;
use nodevent_protocol::topic::Topic;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::borrow::Cow;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEvent {
    /// Identifies an event that several servers report. Empty: only this one does.
    pub key: Box<str>,
    /// The JSON object.
    pub text: Box<str>,
    /// What it takes of a queue.
    pub part: Part,
}

// === impl HookEvent ===

impl HookEvent {
    /// A client has connected. `at`: milliseconds since the Unix epoch, as in all events.
    pub fn connected(connection: &str, identity: Option<&Identity>, at: u64) -> Self {
        Self::own(
            json!({"type": "connected", "at": at, "connection": connection, "user": user(identity), "info": info(identity)}),
        )
    }

    /// A client has disconnected, after `seconds`.
    pub fn disconnected(connection: &str, user: Option<&str>, reason: &str, seconds: u64, at: u64) -> Self {
        Self::own(json!({
            "type": "disconnected", "at": at, "connection": connection, "user": user, "reason": reason, "seconds": seconds,
        }))
    }

    /// A publication was handed to the connections of its topic.
    pub fn delivered(publication: &Publication, at: u64) -> Option<Self> {
        let position = publication.position?;
        let (room, user) = match Topic::parse(&publication.topic) {
            Topic::Room(room) => (Some(room), None),
            Topic::User(user) => (None, Some(user)),
            _ => (None, None),
        };
        // The text is a JSON object: the engine has parsed it.
        let head = json!({"type": "delivered", "at": at, "room": room, "user": user}).to_string();
        let head = head.strip_suffix('}')?;
        let text = format!("{head},\"publication\":{}}}", publication.text);
        Some(Self {
            key: format!("{position} {}", publication.topic).into(),
            text: text.into(),
            part: Part::Others,
        })
    }

    /// An event of a connection, which only this server reports.
    fn own(value: Value) -> Self {
        Self { key: "".into(), text: value.to_string().into(), part: Part::Connections }
    }
}

fn user(identity: Option<&Identity>) -> Option<&str> {
    identity.map(|identity| &*identity.user)
}

fn info(identity: Option<&Identity>) -> Option<&RawValue> {
    identity?.info.as_deref().and_then(|info| serde_json::from_str(info).ok())
}

/// Makes the event `entered` or `left` of an event of presence. `None`: it is the event of a count.
pub fn entered_or_left(publication: &str, at: u64) -> Option<(bool, HookEvent)> {
    #[derive(Deserialize)]
    struct Presence<'a> {
        #[serde(borrow)]
        room: Cow<'a, str>,
        #[serde(borrow)]
        event: Cow<'a, str>,
        #[serde(borrow)]
        message: &'a RawValue,
    }
    let presence: Presence<'_> = serde_json::from_str(publication).ok()?;
    let is_entered = match &*presence.event {
        "nodevent:enter" => true,
        "nodevent:leave" => false,
        _ => return None,
    };
    let head =
        json!({"type": if is_entered { "entered" } else { "left" }, "at": at, "room": presence.room}).to_string();
    let members = presence.message.get().strip_prefix('{')?;
    let text = format!("{},{members}", head.strip_suffix('}')?);
    Some((is_entered, HookEvent { key: "".into(), text: text.into(), part: Part::Members }))
}

/// Adds the id of an event to its text.
pub(super) fn with_id(text: &str, id: &str) -> Option<Box<RawValue>> {
    let members = text.strip_prefix('{')?;
    let text = format!("{{\"id\":{},{members}", to_raw_value(id).ok()?.get());
    RawValue::from_string(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodevent_protocol::history::Position;

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_delivered_publication_is_identified_by_its_position_and_topic() {
        let position = Position { epoch: 1, offset: 2 };
        let text = r#"{"room":"a\"b","event":"e","message":[1]}"#;
        let event = HookEvent::delivered(&Publication::stored("a\"b", text, Some(position)), 7).unwrap();
        assert_eq!(&*event.key, "0000000000000001:2 a\"b");
        let expected =
            json!({"type": "delivered", "at": 7, "room": "a\"b", "user": null, "publication": value(text)});
        assert_eq!(value(&event.text), expected);
        assert_eq!(HookEvent::delivered(&Publication::stored("r", text, None), 7), None);
    }

    #[test]
    fn events_of_presence_become_events_of_hooks() {
        let (is_entered, event) = entered_or_left(
            r#"{"room":"r","event":"nodevent:enter","message":{"user":"7","info":{"name":"Ann"},"count":1}}"#,
            5,
        )
        .unwrap();
        assert!(is_entered);
        let expected =
            json!({"type": "entered", "at": 5, "room": "r", "user": "7", "info": {"name": "Ann"}, "count": 1});
        assert_eq!(value(&event.text), expected);
        let left = r#"{"room":"r","event":"nodevent:leave","message":{"user":"7","info":null,"count":0}}"#;
        assert!(!entered_or_left(left, 5).unwrap().0);
        assert!(entered_or_left(r#"{"room":"r","event":"nodevent:count","message":{}}"#, 5).is_none());
    }

    #[test]
    fn an_id_is_the_first_member() {
        let text = with_id(r#"{"type":"left"}"#, "1-0").unwrap();
        assert_eq!(text.get(), r#"{"id":"1-0","type":"left"}"#);
    }
}
