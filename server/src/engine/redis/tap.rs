//! The channels of another program, one for each stream: what the stock Redis adapter of Action Cable publishes.
//!
//! Every server of a namespace receives all messages, and gives each an id that is the same on all of them: the last
//! *marker* and the number of messages since. Redis sends what is published in one order to all subscribers, so servers that
//! have seen the same marker count alike. A server publishes a marker when it has subscribed, also again after a lost
//! connection, or when it was behind. Before the next marker arrives it does not know the id of a message, and leaves it to
//! the others.
//!
//! A message before the marker from which a server counts is published by the servers that counted before. So the server holds
//! what follows until one of them reports that it has *reached* the marker (`sources/action_cable.rs`).
//!
//! Other programs may publish in the channels too. So a marker is signed ([`marker`]), one that was seen before is ignored,
//! and the id of a message has a hash of it: no marker makes a message the repetition of a different one.
//!
//! While Redis is unavailable nothing arrives, which is logged.

use super::client;
use super::waiting::{self, Message, Receiver, Sender};
use crate::config::redis::Redis as RedisConfig;
use crate::metrics::Metrics;
use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _};
use nodevent_protocol::action_cable::marker;
use nodevent_protocol::key::Secret;
use sha2::{Digest as _, Sha256};
use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// Interval at which it is checked whether Redis is available, and whether a marker has arrived.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// The stream of markers.
const MARKERS: &str = "nodevent/marker";
/// Markers that are remembered. Servers publish one when they connect.
const MAX_SEEN: usize = 16_384;
/// Reports that wait to be sent. There is at most one for a marker.
const MAX_REPORTS: usize = 64;
/// Bytes of the hash in an id.
const HASH_BYTES: usize = 16;

/// What has arrived, in its order.
#[derive(Debug)]
pub enum Tapped {
    /// A message with its id.
    Message(TappedMessage),
    /// The messages that follow are counted from a marker.
    Marker {
        /// That of the marker.
        number: u128,
        /// Whether this server has also counted the messages before.
        was_counting: bool,
    },
    /// Another server has published the messages before a marker, or there is no other server.
    Reached(u128),
}

/// Both ends of what connects a tap with its publisher.
#[derive(Debug)]
pub struct TapConnection {
    /// What the tap has received.
    pub arrived: Receiver<Tapped>,
    /// Where to send the markers before which everything is published.
    pub reached: mpsc::Sender<u128>,
}

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

/// What markers are made of, and how large messages may be.
#[derive(Debug)]
pub struct TapSettings {
    /// What all channels begin with, before a colon.
    pub channel_prefix: String,
    /// The keys that sign names of streams, and markers.
    pub keys: Vec<Secret>,
    /// The largest message. Bytes.
    pub max_size: usize,
}

/// Where this server is in the sequence of messages.
#[derive(Debug, Default)]
struct Sequence {
    /// The last marker, and the number of messages since. `None`: there was none since messages may have been lost.
    since: Option<(u128, u64)>,
    /// The markers before, in their order.
    seen: HashSet<u128>,
    order: VecDeque<u128>,
}

/// The place of a message in the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    marker: u128,
    count: u64,
}

/// Subscribes to the channels that begin with a prefix and a colon, and again after each lost connection, until the
/// receiver is dropped.
///
/// # Errors
/// Returns a message if the settings of Redis cannot be used.
pub fn listen(redis: &RedisConfig, settings: TapSettings, metrics: Arc<Metrics>) -> Result<TapConnection, String> {
    let subscriber = client::builder(redis)?.build_subscriber_client().map_err(|error| error.to_string())?;
    let publisher = client::builder(redis)?.build().map_err(|error| error.to_string())?;
    let (sender, arrived) = waiting::channel();
    let (reached, reports) = mpsc::channel(MAX_REPORTS);
    let address = redis.to_string();
    let supervisors = [
        tokio::spawn(client::supervise_client(subscriber.clone(), address.clone())),
        tokio::spawn(client::supervise_client(publisher.clone(), address.clone())),
    ];
    let prefix = format!("{}:", settings.channel_prefix);
    let tap = Tap { subscriber, publisher, prefix, settings, address, metrics };
    tokio::spawn(async move {
        tap.run(&sender, reports).await;
        supervisors.iter().for_each(tokio::task::JoinHandle::abort);
        let _ = tap.subscriber.quit().await;
        let _ = tap.publisher.quit().await;
    });
    Ok(TapConnection { arrived, reached })
}

struct Tap {
    subscriber: SubscriberClient,
    publisher: Client,
    /// What all channels begin with.
    prefix: String,
    settings: TapSettings,
    address: String,
    metrics: Arc<Metrics>,
}

// === impl Tapped ===

impl Message for Tapped {
    fn channel(&self) -> &str {
        match self {
            Self::Message(message) => &message.stream,
            // Streams have names.
            Self::Marker { .. } | Self::Reached(_) => "",
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Message(TappedMessage { stream, bytes, id }) => 2 * stream.len() + bytes.len() + id.len(),
            Self::Marker { .. } | Self::Reached(_) => 0,
        }
    }
}

// === impl Tap ===

impl Tap {
    async fn run(&self, sender: &Sender<Tapped>, mut reports: mpsc::Receiver<u128>) {
        let mut connected = self.subscriber.reconnect_rx();
        let mut messages = self.subscriber.message_rx();
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        let (mut is_available, mut was_checked, mut is_subscribed) = (true, false, false);
        let (mut sequence, mut ignored_markers) = (Sequence::default(), 0_u64);
        let address = &*self.address;
        loop {
            tokio::select! {
                connection = connected.recv() => match connection {
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        sequence.lost();
                        is_subscribed = self.subscribe(sender).await;
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
                        if stream == MARKERS {
                            let tapped = self.read_marker(bytes, &mut sequence);
                            ignored_markers += u64::from(tapped.is_none());
                            tapped.into_iter().for_each(|tapped| sender.send(tapped));
                            continue;
                        }
                        // All servers count it, whatever its size.
                        let Some(place) = sequence.next() else { continue };
                        if bytes.len() > self.settings.max_size {
                            self.metrics.count_oversized_publish();
                            let max_size = self.settings.max_size;
                            tracing::warn!(redis = address, max_size, "message of Action Cable skipped: it is too large");
                            continue;
                        }
                        let (stream, bytes, id) = (stream.to_owned(), bytes.to_vec(), place.id(stream, bytes));
                        sender.send(Tapped::Message(TappedMessage { stream, bytes, id }));
                    }
                    Err(RecvError::Lagged(count)) => {
                        sequence.lost();
                        self.metrics.engine_lagged_messages.fetch_add(count, Relaxed);
                        tracing::warn!(redis = address, count, "messages of Action Cable were lost: the server was behind");
                        self.publish_marker(sender).await;
                    }
                    Err(RecvError::Closed) => return,
                },
                Some(number) = reports.recv() => self.report(number).await,
                _ = checks.tick() => {
                    // The first check is before the first connection.
                    let is_down = std::mem::replace(&mut was_checked, true) && !self.subscriber.is_connected();
                    if is_down && std::mem::replace(&mut is_available, false) {
                        tracing::warn!(redis = address, "Redis is unavailable for Action Cable; reconnecting");
                    }
                    if is_subscribed && !is_down && !sequence.is_known() {
                        self.publish_marker(sender).await;
                    }
                    let count = sender.take_dropped();
                    if count > 0 {
                        self.metrics.engine_lagged_messages.fetch_add(count, Relaxed);
                        tracing::warn!(
                            redis = address,
                            count,
                            "messages of Action Cable were dropped: too much waits for the engine"
                        );
                    }
                    let markers = std::mem::take(&mut ignored_markers);
                    if markers > 0 {
                        let hint = "another program publishes in the channels, or another server has another key";
                        tracing::warn!(redis = address, markers, "markers of Action Cable ignored: {hint}");
                    }
                    if sender.is_closed() {
                        return;
                    }
                }
            }
        }
    }

    /// Subscribes to all channels. Returns whether that succeeded.
    async fn subscribe(&self, sender: &Sender<Tapped>) -> bool {
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
        self.publish_marker(sender).await;
        true
    }

    /// Reads what was published in the stream of markers. `None`: it is ignored.
    fn read_marker(&self, bytes: &[u8], sequence: &mut Sequence) -> Option<Tapped> {
        let TapSettings { channel_prefix, keys, .. } = &self.settings;
        if let Some(number) = marker::verify(bytes, channel_prefix, keys) {
            let was_counting = sequence.is_known();
            return sequence.on_marker(number).then_some(Tapped::Marker { number, was_counting });
        }
        marker::verify_reached(bytes, channel_prefix, keys).map(Tapped::Reached)
    }

    /// Publishes a marker, which this server receives too. If that fails, the next check repeats it.
    async fn publish_marker(&self, sender: &Sender<Tapped>) {
        let number = rand::random();
        let marker = marker::marker(number, &self.settings.channel_prefix, &self.settings.keys);
        // Without another receiver no server has counted before.
        if self.publish(marker).await.is_some_and(|receivers| receivers <= 1) {
            sender.send(Tapped::Reached(number));
        }
    }

    /// Reports that this server has published everything before a marker.
    async fn report(&self, number: u128) {
        self.publish(marker::reached(number, &self.settings.channel_prefix, &self.settings.keys)).await;
    }

    /// Publishes in the stream of markers. Returns the number of receivers.
    async fn publish(&self, text: String) -> Option<i64> {
        let channel = format!("{}{MARKERS}", self.prefix);
        if !self.publisher.is_connected() {
            return None;
        }
        let published = self.publisher.publish::<i64, _, _>(channel, text).await;
        let log = |error: &fred::error::Error| {
            tracing::debug!(redis = &*self.address, error = error.details(), "could not publish a marker");
        };
        published.inspect_err(log).ok()
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

    /// A marker has arrived. Returns whether it is new: one that was seen is ignored.
    fn on_marker(&mut self, marker: u128) -> bool {
        if !self.seen.insert(marker) {
            return false;
        }
        self.order.push_back(marker);
        if self.order.len() > MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.since = Some((marker, 0));
        true
    }

    /// The place of the next message. `None`: there was no marker yet.
    fn next(&mut self) -> Option<Place> {
        let (marker, count) = self.since.as_mut()?;
        *count += 1;
        Some(Place { marker: *marker, count: *count })
    }
}

// === impl Place ===

impl Place {
    /// The id of a message.
    fn id(self, stream: &str, bytes: &[u8]) -> String {
        let mut hash = Sha256::new();
        hash.update((stream.len() as u64).to_le_bytes());
        hash.update(stream);
        hash.update(bytes);
        let Self { marker, count } = self;
        hash.finalize().iter().take(HASH_BYTES).fold(format!("cable:{marker:032x}:{count}:"), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        })
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

    /// A marker, or a message.
    #[derive(Clone, Copy)]
    enum Arrived {
        Marker(u128),
        Message,
    }
    use Arrived::{Marker, Message};

    fn places(sequence: &mut Sequence, arrived: &[Arrived]) -> Vec<Option<(u128, u64)>> {
        let mut place = |one: &Arrived| match one {
            Marker(marker) => {
                sequence.on_marker(*marker);
                None
            }
            Message => sequence.next().map(|place| (place.marker, place.count)),
        };
        arrived.iter().map(&mut place).collect()
    }

    #[test]
    fn servers_that_have_seen_one_marker_give_a_message_the_same_id() {
        let messages = [Message, Marker(1), Message, Message, Marker(2), Message];
        let (mut early, mut late) = (Sequence::default(), Sequence::default());
        let early = places(&mut early, &messages);
        assert_eq!(early, [None, None, Some((1, 1)), Some((1, 2)), None, Some((2, 1))]);
        // It has subscribed between two messages.
        assert_eq!(places(&mut late, &messages[3..]), [None, None, Some((2, 1))]);
    }

    #[test]
    fn after_a_loss_the_next_marker_counts() {
        let mut sequence = Sequence::default();
        places(&mut sequence, &[Marker(1), Message]);
        sequence.lost();
        assert!(!sequence.is_known());
        assert_eq!(places(&mut sequence, &[Message, Marker(2), Message]), [None, None, Some((2, 1))]);
    }

    /// Weakness 7: a marker that came again made all messages repetitions of earlier ones.
    #[test]
    fn a_marker_that_comes_again_does_not_begin_the_sequence_again() {
        let mut sequence = Sequence::default();
        let arrived = [Marker(1), Message, Marker(2), Message, Marker(1), Message, Marker(2), Message];
        let all: Vec<_> = places(&mut sequence, &arrived).into_iter().flatten().collect();
        assert_eq!(all, [(1, 1), (2, 1), (2, 2), (2, 3)]);
        (3..2 * MAX_SEEN as u128).for_each(|marker| assert!(sequence.on_marker(marker)));
        assert!(sequence.seen.len() == MAX_SEEN && sequence.order.len() == MAX_SEEN);
    }

    #[test]
    fn a_different_message_has_a_different_id() {
        let place = Place { marker: 1, count: 1 };
        let ids = [("a", "1"), ("a", "2"), ("a1", ""), ("", "a1")]
            .map(|(stream, text)| place.id(stream, text.as_bytes()));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4);
        assert_eq!(place.id("a", b"1"), ids[0]);
        assert!(
            ids[0].starts_with("cable:00000000000000000000000000000001:1:") && ids[0].len() == 73,
            "{}",
            ids[0]
        );
    }

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(escaped("app*[1]?"), r"app\*\[1\]\?");
    }
}
