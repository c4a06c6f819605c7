//! realtime-notifications: raw texts in channels.
//!
//! A channel is the room `notifications:<channel>`, so that it is not a room of another dialect in the same namespace.

use crate::publication::raw_members;
use crate::room;
use serde_json::{Value, json};

/// What the names of the rooms of channels begin with.
pub const CHANNEL_PREFIX: &str = "notifications:";
/// The longest name of a channel. Bytes.
pub const MAX_CHANNEL_BYTES: usize = room::MAX_BYTES - CHANNEL_PREFIX.len();
/// The event of a publication.
const EVENT: &str = "message";

/// The room of a channel.
#[must_use]
pub fn room_of(channel: &str) -> String {
    format!("{CHANNEL_PREFIX}{channel}")
}

/// The publication of a text. The text is not parsed.
#[must_use]
pub fn publication(channel: &str, text: &str) -> String {
    json!({"room": room_of(channel), "event": EVENT, "message": text}).to_string()
}

/// What browsers receive: the arguments of the event `message`.
#[must_use]
pub fn message(publication: &str) -> String {
    let members = raw_members(publication).unwrap_or_default();
    let room: String = members.get("room").and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let channel = Value::from(room.strip_prefix(CHANNEL_PREFIX).unwrap_or(&room));
    let text = members.get("message").map_or("null", |raw| raw.get());
    format!("[\"message\",{{\"text\":{text},\"channel\":{channel}}}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_arrives_as_it_was_written() {
        //
        for text in ["hello", "{\"a\":1}", "", "\u{0}\n\u{2028}\"", "<img onerror=x>"] {
            let received: Value = serde_json::from_str(&message(&publication("notif", text))).unwrap();
            assert_eq!(received, json!(["message", {"text": text, "channel": "notif"}]));
        }
    }
}
