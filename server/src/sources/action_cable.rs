//! The channels of the stock Redis adapter of Action Cable: what `ActionCable.server.broadcast` sends is published.
//!
//! Every server receives every message, and publishes it with the same idempotency key, so the engine stores it once.
//! Streams without a history are delivered by each server to its own connections.
//!
//! A server that begins to count at a marker leaves what was before to the servers that counted already. One of them may be
//! behind, so the new one holds the messages of streams with a history until one of them reports that it has reached the
//! marker. A server that stopped, or of an older version, reports nothing, so that takes [`HOLD_TIMEOUT`] at most.

use crate::capability::{Engines, Publisher};
use crate::config::history::History;
use crate::config::redis::Redis;
use crate::engine::Fanout;
use crate::engine::redis::tap::{self, TapConnection, TapSettings, Tapped, TappedMessage};
use nodevent_protocol::key::Secret;
use nodevent_protocol::publication::{InvalidPublication, parse};
use nodevent_protocol::{room, targets};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The publisher, as engines see it.
const PUBLISHER: Publisher<'static> = Publisher { name: "action_cable", is_limited: false };
/// The event of messages, whose names Action Cable does not know.
const EVENT: &str = "broadcast";
/// What the streams begin with by which Rails disconnects clients.
const INTERNAL: &str = "action_cable/";

/// Time for another server to publish what was before a marker.
const HOLD_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages that are held. With more of them, they are published.
const MAX_HELD: usize = 1024;
/// Bytes of messages that are held.
const MAX_HELD_BYTES: usize = 32 << 20;
/// Reports that are remembered: one may arrive before the marker.
const MAX_REPORTS: usize = 64;

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

/// What is held until another server has reached a marker.
#[derive(Debug, Default)]
struct Hold {
    /// The marker, and when it has taken too long.
    marker: Option<(u128, Instant)>,
    held: VecDeque<Tapped>,
    bytes: usize,
    /// The last reports.
    reports: VecDeque<u128>,
}

// === impl Hold ===

impl Hold {
    /// The messages that follow are counted from a marker, and those before were not.
    fn begin(&mut self, number: u128, now: Instant) {
        if !self.reports.contains(&number) {
            self.marker = Some((number, now + HOLD_TIMEOUT));
        }
    }

    fn on_reached(&mut self, number: u128) {
        if self.marker.is_some_and(|(marker, _)| marker == number) {
            self.marker = None;
        }
        if self.reports.len() == MAX_REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(number);
    }

    fn push(&mut self, tapped: Tapped) {
        if let Tapped::Message(message) = &tapped {
            self.bytes += message.stream.len() + message.bytes.len();
        }
        self.held.push_back(tapped);
        if self.held.len() > MAX_HELD || self.bytes > MAX_HELD_BYTES {
            self.marker = None;
        }
    }

    fn until(&self) -> Option<Instant> {
        self.marker.map(|(_, until)| until)
    }

    /// Takes the next of what is held no longer.
    fn pop(&mut self) -> Option<Tapped> {
        if self.marker.is_some() {
            return None;
        }
        let tapped = self.held.pop_front();
        if self.held.is_empty() {
            self.bytes = 0;
        }
        tapped
    }
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
        let connection = tap::listen(redis, settings, self.fanout.shared_metrics())?;
        tokio::spawn(self.run(connection));
        Ok(())
    }

    async fn run(self, connection: TapConnection) {
        let TapConnection { mut arrived, reached } = connection;
        let mut hold = Hold::default();
        loop {
            while let Some(tapped) = hold.pop() {
                self.on_tapped(tapped, &mut hold, &reached).await;
            }
            let tapped = match hold.until() {
                None => arrived.recv().await,
                Some(until) => match tokio::time::timeout_at(until, arrived.recv()).await {
                    Ok(tapped) => tapped,
                    Err(_) => {
                        tracing::debug!(
                            namespace = self.fanout.name(),
                            "no server reports that it has reached a marker"
                        );
                        hold.marker = None;
                        continue;
                    }
                },
            };
            match tapped {
                None => return,
                Some(Tapped::Reached(number)) => hold.on_reached(number),
                Some(Tapped::Message(message)) if hold.until().is_some() && !self.has_history(&message.stream) => {
                    self.publish(message).await;
                }
                Some(tapped) if hold.until().is_some() => hold.push(tapped),
                Some(tapped) => self.on_tapped(tapped, &mut hold, &reached).await,
            }
        }
    }

    async fn on_tapped(&self, tapped: Tapped, hold: &mut Hold, reached: &mpsc::Sender<u128>) {
        match tapped {
            Tapped::Message(message) => self.publish(message).await,
            Tapped::Marker { number, was_counting: false } => hold.begin(number, Instant::now()),
            // If too many wait, another server waits for its timeout.
            Tapped::Marker { number, was_counting: true } => drop(reached.try_send(number)),
            Tapped::Reached(number) => hold.on_reached(number),
        }
    }

    fn has_history(&self, stream: &str) -> bool {
        self.history.of(stream).is_some()
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
        if !self.has_history(&stream) {
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
