//! The channels of the stock Redis adapter of Action Cable: what `ActionCable.server.broadcast` sends is published.
//!
//! Every server receives every message, and publishes it with the same idempotency key, so the engine stores it once.
//! Streams without a history are delivered by each server to its own connections.

use crate::capability::{Engines, Publisher};
use crate::config::history::History;
use crate::config::redis::Redis;
use crate::engine::Fanout;
use crate::engine::redis::tap::{self, TapSettings, TappedMessage};
use nodevent_protocol::key::Secret;
use nodevent_protocol::publication::{InvalidPublication, parse};
use nodevent_protocol::{room, targets};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The publisher, as engines see it.
const PUBLISHER: Publisher<'static> = Publisher { name: "action_cable", is_limited: false };
/// The event of messages, whose names Action Cable does not know.
const EVENT: &str = "broadcast";
/// What the streams begin with by which Rails disconnects clients.
const INTERNAL: &str = "action_cable/";

/// Publishes what arrives in the channels of one application.
pub(super) struct TapPublisher {
    pub(super) engines: Arc<Engines>,
    pub(super) namespace: u16,
    pub(super) fanout: Fanout,
    pub(super) history: History,
    /// The keys that sign names of streams.
    pub(super) keys: Vec<Secret>,
    /// The largest message. Bytes.
    pub(super) max_size: usize,
}

// === impl TapPublisher ===

impl TapPublisher {
    /// Starts to publish the messages in the channels that begin with a prefix.
    pub(super) fn start(self, redis: &Redis, channel_prefix: &str) -> Result<(), String> {
        let settings = TapSettings {
            channel_prefix: channel_prefix.to_owned(),
            keys: self.keys.clone(),
            max_size: self.max_size,
        };
        let mut messages = tap::listen(redis, settings, self.fanout.shared_metrics())?;
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                self.publish(message).await;
            }
        });
        Ok(())
    }

    async fn publish(&self, TappedMessage { stream, bytes, id }: TappedMessage) {
        if stream.starts_with(INTERNAL) {
            return;
        }
        let text = match publication(&stream, &bytes) {
            Ok(text) => text,
            Err(invalid) => {
                self.fanout.metrics().count_invalid_publish(&invalid);
                tracing::warn!(namespace = self.fanout.name(), reason = %invalid, "message of Action Cable skipped");
                return;
            }
        };
        if self.history.of(&stream).is_none() {
            if let Ok(published) = targets::parse(text.as_bytes()) {
                self.fanout.deliver_here(&published).await;
            }
            return;
        }
        let (Some(engine), Ok(publication)) = (self.engines.get(self.namespace), parse(text.as_bytes())) else {
            return;
        };
        if let Err(error) = engine.publish.publish(&publication, Some(&id), PUBLISHER).await {
            self.fanout.metrics().failed_publishes.fetch_add(1, Relaxed);
            tracing::warn!(namespace = self.fanout.name(), %error, "a message of Action Cable is lost");
        }
    }
}

/// The publication of a message: the text of a JSON value.
fn publication(stream: &str, bytes: &[u8]) -> Result<String, InvalidPublication> {
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidPublication::NotUtf8)?;
    let message: &RawValue = serde_json::from_str(text)
        .map_err(|error| InvalidPublication::NotJson { line: error.line(), column: error.column() })?;
    room::check(stream, room::MAX_BYTES).map_err(|_| InvalidPublication::BadRoom)?;
    let (room, message) = (Value::from(stream), message.get());
    Ok(format!(r#"{{"room":{room},"event":"{EVENT}","message":{message}}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_any_json_and_nothing_else() {
        let text = publication("a \"b\"", br#" {"x": 1.50} "#).unwrap();
        assert_eq!(text, r#"{"room":"a \"b\"","event":"broadcast","message":{"x": 1.50}}"#);
        assert!(parse(text.as_bytes()).is_ok());
        for bytes in [b"".as_slice(), b"x", b"1,2", b"\xff"] {
            assert!(publication("a", bytes).is_err(), "{bytes:?}");
        }
        for stream in ["", "\u{1}all", &"x".repeat(256)] {
            assert!(publication(stream, b"1").is_err(), "{stream:?}");
        }
    }
}
