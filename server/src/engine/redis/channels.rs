//! Channels of Redis that carry texts of other programs: the Redis push connector of TURTED, and the source of
//! notifications.
//!
//! Each server receives them itself, so what arrives is delivered by this server to its own connections only, and is in no
//! history. While Redis is unavailable nothing arrives, which is logged.

use super::client;
use super::waiting::{self, Message, Receiver, Sender};
use crate::config::redis::Redis as RedisConfig;
use crate::metrics::Metrics;
use fred::clients::SubscriberClient;
use fred::interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Interval at which it is checked whether Redis is available.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A message in a channel.
#[derive(Debug)]
pub struct ChannelMessage {
    /// The channel.
    pub channel: String,
    /// The bytes that were published.
    pub bytes: Vec<u8>,
}

// === impl ChannelMessage ===

impl Message for ChannelMessage {
    fn channel(&self) -> &str {
        &self.channel
    }

    fn size(&self) -> usize {
        2 * self.channel.len() + self.bytes.len()
    }
}

/// Subscribes to channels, and again after each lost connection, until the receiver is dropped. `purpose` is for the log.
/// Messages of more than `max_size` bytes are skipped and counted.
///
/// # Errors
/// Returns a message if the settings of Redis cannot be used.
pub fn listen(
    redis: &RedisConfig,
    channels: Vec<String>,
    purpose: &'static str,
    max_size: usize,
    metrics: Arc<Metrics>,
) -> Result<Receiver<ChannelMessage>, String> {
    let subscriber = client::builder(redis)?.build_subscriber_client().map_err(|error| error.to_string())?;
    let (sender, receiver) = waiting::channel();
    let address = redis.to_string();
    let supervisor = tokio::spawn(client::supervise_client(subscriber.clone(), address.clone()));
    tokio::spawn(async move {
        receive(&subscriber, &channels, purpose, max_size, &address, &metrics, &sender).await;
        supervisor.abort();
        let _ = subscriber.quit().await;
    });
    Ok(receiver)
}

async fn receive(
    subscriber: &SubscriberClient,
    channels: &[String],
    purpose: &'static str,
    max_size: usize,
    address: &str,
    metrics: &Metrics,
    sender: &Sender<ChannelMessage>,
) {
    let mut connected = subscriber.reconnect_rx();
    let mut messages = subscriber.message_rx();
    let mut checks = tokio::time::interval(CHECK_INTERVAL);
    let (mut is_available, mut was_checked) = (true, false);
    loop {
        tokio::select! {
            connection = connected.recv() => match connection {
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    if let Err(error) = subscriber.subscribe(channels.to_vec()).await {
                        tracing::warn!(redis = address, purpose, error = error.details(), "could not subscribe; reconnecting");
                        client::force_reconnect(subscriber).await;
                    } else if !std::mem::replace(&mut is_available, true) {
                        tracing::info!(redis = address, purpose, "Redis is available again");
                    }
                }
                Err(RecvError::Closed) => return,
            },
            message = messages.recv() => match message {
                Ok(message) => {
                    let bytes = message.value.as_bytes().unwrap_or_default();
                    if bytes.len() > max_size {
                        metrics.count_oversized_publish();
                        tracing::warn!(redis = address, purpose, max_size, "message skipped: it is too large");
                        continue;
                    }
                    sender.send(ChannelMessage { channel: message.channel.to_string(), bytes: bytes.to_vec() });
                }
                Err(RecvError::Lagged(count)) => {
                    metrics.engine_lagged_messages.fetch_add(count, Relaxed);
                    tracing::warn!(redis = address, purpose, count, "messages were lost: the server was behind");
                }
                Err(RecvError::Closed) => return,
            },
            _ = checks.tick() => {
                // The first check is before the first connection.
                let is_down = std::mem::replace(&mut was_checked, true) && !subscriber.is_connected();
                if is_down && std::mem::replace(&mut is_available, false) {
                    tracing::warn!(redis = address, purpose, "Redis is unavailable; reconnecting");
                }
                let count = sender.take_dropped();
                if count > 0 {
                    metrics.engine_lagged_messages.fetch_add(count, Relaxed);
                    tracing::warn!(redis = address, purpose, count, "messages were dropped: too much waits for delivery");
                }
                if sender.is_closed() {
                    return;
                }
            }
        }
    }
}
