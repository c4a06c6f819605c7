//! Frames: what clients receive. `identifier` is always that of [`super::command::Identifier::json`].

use crate::history::Position;
use serde_json::Value;

/// The first frame of an admitted connection. Clients subscribe after it.
pub const WELCOME: &str = r#"{"type":"welcome"}"#;
/// The reply to a `ping` of the extended protocol.
pub const PONG: &str = r#"{"type":"pong"}"#;
/// The message that makes Turbo load the page again and morph it.
pub const REFRESH: &str = r#""\u003cturbo-stream action=\"refresh\"\u003e\u003c/turbo-stream\u003e""#;

/// The first frame of an admitted connection of the extended protocol, with the id of its session.
#[must_use]
pub fn welcome(sid: &str) -> String {
    format!(r#"{{"type":"welcome","sid":"{sid}"}}"#)
}

/// The same for a connection that continues with these subscriptions of an earlier one.
#[must_use]
pub fn welcome_back(sid: &str, identifiers: &[&str]) -> String {
    let identifiers = identifiers.join(",");
    format!(r#"{{"type":"welcome","sid":"{sid}","restored":true,"restored_ids":[{identifiers}]}}"#)
}

/// A heartbeat.
#[must_use]
pub fn ping(time: u128) -> String {
    format!(r#"{{"type":"ping","message":{time}}}"#)
}

/// A subscription is complete: what is broadcast from now on arrives.
#[must_use]
pub fn confirm_subscription(identifier: &str) -> String {
    typed(identifier, "confirm_subscription")
}

/// A subscription is rejected. The client does not ask again.
#[must_use]
pub fn reject_subscription(identifier: &str) -> String {
    typed(identifier, "reject_subscription")
}

/// What a client of the extended protocol had missed was sent.
#[must_use]
pub fn confirm_history(identifier: &str) -> String {
    typed(identifier, "confirm_history")
}

/// What a client of the extended protocol has missed cannot be sent.
#[must_use]
pub fn reject_history(identifier: &str) -> String {
    typed(identifier, "reject_history")
}

/// A member has entered. `info` is the text of a JSON value.
#[must_use]
pub fn presence_join(identifier: &str, id: &str, info: &str) -> String {
    let id = Value::from(id);
    presence(identifier, &format!(r#"{{"type":"join","id":{id},"info":{info}}}"#))
}

/// A member has left.
#[must_use]
pub fn presence_leave(identifier: &str, id: &str) -> String {
    let id = Value::from(id);
    presence(identifier, &format!(r#"{{"type":"leave","id":{id}}}"#))
}

/// The number of members, and the members as a list of JSON objects if they are wanted.
#[must_use]
pub fn presence_info(identifier: &str, total: u64, records: Option<&str>) -> String {
    let records = records.map(|records| format!(r#","records":{records}"#)).unwrap_or_default();
    presence(identifier, &format!(r#"{{"type":"info","total":{total}{records}}}"#))
}

/// The client cannot be present, or there is no list of members.
#[must_use]
pub fn presence_error(identifier: &str) -> String {
    presence(identifier, r#"{"type":"error"}"#)
}

fn presence(identifier: &str, message: &str) -> String {
    format!(r#"{{"type":"presence","identifier":{identifier},"message":{message}}}"#)
}

fn typed(identifier: &str, kind: &str) -> String {
    format!(r#"{{"identifier":{identifier},"type":"{kind}"}}"#)
}

/// The connection ends. With `reconnect: false` a client stays away until the page connects again.
#[must_use]
pub fn disconnect(reason: &str, reconnect: bool) -> String {
    format!(r#"{{"type":"disconnect","reason":"{reason}","reconnect":{reconnect}}}"#)
}

/// A message. `message` is the text of a JSON value.
#[must_use]
pub fn message(identifier: &str, message: &str) -> String {
    format!(r#"{{"identifier":{identifier},"message":{message}}}"#)
}

/// A message with its place in the history of its stream, for clients of the extended protocol.
#[must_use]
pub fn placed_message(identifier: &str, message: &str, stream: &str, position: Position) -> String {
    let Position { epoch, offset } = position;
    let stream = Value::from(stream);
    format!(
        r#"{{"identifier":{identifier},"message":{message},"stream_id":{stream},"epoch":"{epoch:016x}","offset":{offset}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_is_a_string_of_html() {
        let html: String = serde_json::from_str(REFRESH).unwrap();
        assert_eq!(html, r#"<turbo-stream action="refresh"></turbo-stream>"#);
    }

    #[test]
    fn the_epoch_of_a_message_and_its_offset_are_its_position() {
        let position = Position { epoch: 0xab, offset: 7 };
        let frame: Value = serde_json::from_str(&placed_message("\"i\"", "1", "s", position)).unwrap();
        let text = format!("{}:{}", frame["epoch"].as_str().unwrap(), frame["offset"]);
        assert_eq!(Position::parse(&text), Some(position));
    }
}
