//! The channels of another program, one for each stream: what the stock Redis adapter of Action Cable publishes.
//!
//! Every server of a namespace receives all messages, and gives each an id that is the same on all of them: the last
//! *marker* and the number of messages since. Redis sends what is published in one order to all subscribers, so servers
//! that have seen the same marker count alike. A server publishes a marker when it has subscribed, also again after a
//! lost connection, or when it was behind. Before the next marker arrives it does not know the id of a message, and
//! leaves it to the others.
//!
//! While Redis is unavailable nothing arrives, which is logged.

use super::client;
use crate::config::redis::Redis as RedisConfig;
use crate::metrics::Metrics;
use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// Messages that wait to be published.
const MAX_WAITING: usize = 1024;
/// Interval at which it is checked whether Redis is available, and whether a marker has arrived.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// The stream of markers.
const MARKERS: &str = "nodevent/marker";
/// The longest marker. Bytes.
const MAX_MARKER: usize = 64;

/// A message in one of the channels.
#[derive(Debug)]
pub struct TappedMessage {
    /// The stream.
    pub stream: String,
    /// The bytes that were published.
    pub bytes: Vec<u8>,
    /// The id, which is the same on all servers.
    pub id: String,
}

/// Where this server is in the sequence of messages.
#[derive(Debug, Default)]
struct Sequence {
    /// The last marker, and the number of messages since. `None`: there was none since messages may have been lost.
    since: Option<(String, u64)>,
}

/// Subscribes to the channels that begin with a prefix and a colon, and again after each lost connection, until the
/// receiver is dropped.
///
/// # Errors
/// Returns a message if the settings of Redis cannot be used.
pub fn listen(
    redis: &RedisConfig,
    channel_prefix: &str,
    metrics: Arc<Metrics>,
) -> Result<mpsc::Receiver<TappedMessage>, String> {
    let subscriber = client::builder(redis)?.build_subscriber_client().map_err(|error| error.to_string())?;
    let publisher = client::builder(redis)?.build().map_err(|error| error.to_string())?;
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let address = redis.to_string();
    let supervisors = [
        tokio::spawn(client::supervise_client(subscriber.clone(), address.clone())),
        tokio::spawn(client::supervise_client(publisher.clone(), address.clone())),
    ];
    let tap = Tap { subscriber, publisher, prefix: format!("{channel_prefix}:"), address, metrics };
    tokio::spawn(async move {
        tap.run(&sender).await;
        supervisors.iter().for_each(tokio::task::JoinHandle::abort);
        let _ = tap.subscriber.quit().await;
        let _ = tap.publisher.quit().await;
    });
    Ok(receiver)
}

struct Tap {
    subscriber: SubscriberClient,
    publisher: Client,
    /// What all channels begin with.
    prefix: String,
    address: String,
    metrics: Arc<Metrics>,
}

// === impl Tap ===

impl Tap {
    async fn run(&self, sender: &mpsc::Sender<TappedMessage>) {
        let mut connected = self.subscriber.reconnect_rx();
        let mut messages = self.subscriber.message_rx();
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        let (mut is_available, mut was_checked, mut is_subscribed) = (true, false, false);
        let mut sequence = Sequence::default();
        let address = &*self.address;
        loop {
            tokio::select! {
                connection = connected.recv() => match connection {
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        sequence.lost();
                        is_subscribed = self.subscribe().await;
                        if is_subscribed && !std::mem::replace(&mut is_available, true) {
                            tracing::info!(redis = address, "Redis is available again for Action Cable");
                        }
                    }
                    Err(RecvError::Closed) => return,
                },
                message = messages.recv() => match message {
                    Ok(message) => {
                        let Some(stream) = message.channel.strip_prefix(&*self.prefix) else { continue };
                        let bytes = message.value.as_bytes().unwrap_or_default();
                        let Some(id) = sequence.next(stream, bytes) else { continue };
                        let message = TappedMessage { stream: stream.to_owned(), bytes: bytes.to_vec(), id };
                        if sender.send(message).await.is_err() {
                            return;
                        }
                    }
                    Err(RecvError::Lagged(count)) => {
                        sequence.lost();
                        self.metrics.engine_lagged_messages.fetch_add(count, Relaxed);
                        tracing::warn!(redis = address, count, "messages of Action Cable were lost: the server was behind");
                        self.publish_marker().await;
                    }
                    Err(RecvError::Closed) => return,
                },
                _ = checks.tick() => {
                    // The first check is before the first connection.
                    let is_down = std::mem::replace(&mut was_checked, true) && !self.subscriber.is_connected();
                    if is_down && std::mem::replace(&mut is_available, false) {
                        tracing::warn!(redis = address, "Redis is unavailable for Action Cable; reconnecting");
                    }
                    if is_subscribed && !is_down && !sequence.is_known() {
                        self.publish_marker().await;
                    }
                    if sender.is_closed() {
                        return;
                    }
                }
            }
        }
    }

    /// Subscribes to all channels. Returns whether that succeeded.
    async fn subscribe(&self) -> bool {
        let pattern = format!("{}*", escaped(&self.prefix));
        if let Err(error) = self.subscriber.psubscribe(pattern).await {
            tracing::warn!(
                redis = &*self.address,
                error = error.details(),
                "could not subscribe to Action Cable; reconnecting"
            );
            client::force_reconnect(&self.subscriber).await;
            return false;
        }
        self.publish_marker().await;
        true
    }

    /// Publishes a marker, which this server receives too. If that fails, the next check repeats it.
    async fn publish_marker(&self) {
        let (channel, marker) = (format!("{}{MARKERS}", self.prefix), format!("{:032x}", rand::random::<u128>()));
        if !self.publisher.is_connected() {
            return;
        }
        if let Err(error) = self.publisher.publish::<i64, _, _>(channel, marker).await {
            tracing::debug!(redis = &*self.address, error = error.details(), "could not publish a marker");
        }
    }
}

// === impl Sequence ===

impl Sequence {
    /// Messages may have been lost.
    fn lost(&mut self) {
        self.since = None;
    }

    fn is_known(&self) -> bool {
        self.since.is_some()
    }

    /// The id of the next message. `None`: it is a marker, or there was none yet.
    fn next(&mut self, stream: &str, bytes: &[u8]) -> Option<String> {
        if stream == MARKERS {
            let marker = std::str::from_utf8(bytes).ok().filter(|marker| marker.len() <= MAX_MARKER);
            self.since = marker.map(|marker| (marker.to_owned(), 0));
            return None;
        }
        let (marker, count) = self.since.as_mut()?;
        *count += 1;
        Some(format!("cable:{marker}:{count}"))
    }
}

/// A text as a pattern that matches only it.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut pattern, character| {
        if ['\\', '*', '?', '[', ']', '^'].contains(&character) {
            pattern.push('\\');
        }
        pattern.push(character);
        pattern
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(sequence: &mut Sequence, messages: &[(&str, &str)]) -> Vec<Option<String>> {
        messages.iter().map(|(stream, text)| sequence.next(stream, text.as_bytes())).collect()
    }

    #[test]
    fn servers_that_have_seen_one_marker_give_a_message_the_same_id() {
        let messages = [("a", "1"), (MARKERS, "m1"), ("a", "1"), ("a", "1"), (MARKERS, "m2"), ("b", "2")];
        let (mut early, mut late) = (Sequence::default(), Sequence::default());
        let early = ids(&mut early, &messages);
        let id = |text: &str| Some(text.to_owned());
        assert_eq!(early, [None, None, id("cable:m1:1"), id("cable:m1:2"), None, id("cable:m2:1")]);
        // It has subscribed between two messages.
        assert_eq!(ids(&mut late, &messages[3..]), [None, None, id("cable:m2:1")]);
    }

    #[test]
    fn after_a_loss_the_next_marker_counts() {
        let mut sequence = Sequence::default();
        ids(&mut sequence, &[(MARKERS, "m1"), ("a", "1")]);
        sequence.lost();
        assert!(!sequence.is_known());
        assert_eq!(
            ids(&mut sequence, &[("a", "1"), (MARKERS, "m2"), ("a", "1")]),
            [None, None, Some("cable:m2:1".into())]
        );
    }

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(escaped("app*[1]?"), r"app\*\[1\]\?");
    }
}
