//! Whether publications get through Redis: a probe that the engine sends to itself.
//!
//! Packets may vanish on a connection that looks open, and Redis may accept connections without processing messages. So
//! the engine publishes a probe each second and expects it back on its own subscription.

use super::client::{force_reconnect, wait_connected};
use super::{COMMAND_TIMEOUT, Shared};
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, KeysInterface, PubsubInterface};
use fred::types::Expiration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Interval of the probe.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Expiry of the key that the probe writes.
const PROBE_KEY_TTL: Duration = Duration::from_secs(60);
/// Maximum age of the last probe for the engine to be ready.
const READY_WINDOW: Duration = Duration::from_secs(5);
/// Time without any message after which the subscriber reconnects.
const DEAD_LINK_TIMEOUT: Duration = Duration::from_secs(6);

/// When messages last arrived from Redis. Clones share one state.
#[derive(Debug, Clone)]
pub(super) struct LinkHealth {
    started: Instant,
    /// When the last probe returned. Milliseconds since `started`; 0: never.
    last_probe_ms: Arc<AtomicU64>,
    /// When any message last arrived: a server that is behind receives messages, but its probe is still queued.
    /// Milliseconds since `started`.
    last_activity_ms: Arc<AtomicU64>,
    /// Whether an outage was logged since the last probe returned.
    outage_logged: Arc<AtomicBool>,
}

// === impl LinkHealth ===

impl LinkHealth {
    pub(super) fn new() -> Self {
        let (last_probe_ms, last_activity_ms, outage_logged) = (Arc::default(), Arc::default(), Arc::default());
        Self { started: Instant::now(), last_probe_ms, last_activity_ms, outage_logged }
    }

    /// Records that a message arrived.
    pub(super) fn record_activity(&self) {
        self.last_activity_ms.store(self.started.elapsed().as_millis() as u64, Relaxed);
    }

    /// Records that a probe returned.
    pub(super) fn record_probe(&self) {
        let now = self.started.elapsed().as_millis() as u64;
        self.last_probe_ms.store(now.max(1), Relaxed);
        self.outage_logged.store(false, Relaxed);
    }

    /// Marks the outage as logged. Returns whether it was not logged before.
    pub(super) fn begin_outage(&self) -> bool {
        !self.outage_logged.swap(true, Relaxed)
    }

    /// Returns whether a probe returned recently.
    pub(super) fn is_ready(&self) -> bool {
        self.last_probe_ms.load(Relaxed) > 0 && self.since(&self.last_probe_ms) < READY_WINDOW
    }

    /// Returns the time since the last message.
    fn idle_for(&self) -> Duration {
        self.since(&self.last_activity_ms)
    }

    fn since(&self, then: &AtomicU64) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(then.load(Relaxed)))
    }
}

/// Sends the probe, and reconnects a client that is dead.
pub(super) struct HealthProbe {
    pub(super) shared: Arc<Shared>,
    /// Whether Redis is a cluster. There, a client that must reconnect looks only for nodes that it does not know,
    /// and only a new subscription shows which connections are dead.
    pub(super) clustered: bool,
    /// Makes the [`super::subscription::Resubscriber`] subscribe again.
    pub(super) resubscribe: Arc<Notify>,
}

// === impl HealthProbe ===

impl HealthProbe {
    pub(super) async fn run(self) {
        let Shared { health, publisher, subscriber, fanout, .. } = &*self.shared;
        let mut unavailable = true;
        fanout.metrics().engines_unavailable.fetch_add(1, Relaxed);
        let mut interval = tokio::time::interval(PROBE_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reconnected_at = Instant::now();
        loop {
            interval.tick().await;
            // Before and after sending: the last probe may have returned after the previous update.
            self.update_gauge(&mut unavailable);
            let sent = tokio::time::timeout(COMMAND_TIMEOUT, self.send()).await;
            self.update_gauge(&mut unavailable);
            match sent {
                Ok(Ok(()))
                    if health.idle_for() > DEAD_LINK_TIMEOUT && reconnected_at.elapsed() > DEAD_LINK_TIMEOUT =>
                {
                    reconnected_at = Instant::now();
                    tracing::warn!(
                        "no messages received from Redis for {} s; reconnecting the subscriber",
                        DEAD_LINK_TIMEOUT.as_secs()
                    );
                    force_reconnect(subscriber).await;
                    if self.clustered {
                        self.resubscribe.notify_one();
                    }
                }
                Ok(Ok(())) => {}
                Ok(Err(error)) if is_server_error(&error) => {
                    self.log_outage_once(&format!("Redis returned an error: {}", error.details()))
                }
                // The connection is known to be down, and the client reconnects.
                Ok(Err(error)) if *error.kind() != ErrorKind::Timeout => {}
                _ if publisher.is_connected() => {
                    tracing::warn!("Redis is not responding; reconnecting the publisher");
                    force_reconnect(publisher).await;
                }
                _ => {}
            }
        }
    }

    async fn send(&self) -> Result<(), Error> {
        let Shared { publisher, probe_channel, history, .. } = &*self.shared;
        wait_connected(publisher).await;
        // Redis may publish and refuse writes. Then rooms with history are unavailable.
        if history.is_on() {
            let expires = Some(Expiration::EX(PROBE_KEY_TTL.as_secs() as i64));
            publisher.set::<(), _, _>(probe_channel.as_str(), "", expires, None, false).await?;
        }
        publisher.publish::<i64, _, _>(probe_channel.as_str(), "").await.map(|_receivers| ())
    }

    fn update_gauge(&self, unavailable: &mut bool) {
        if *unavailable == self.shared.health.is_ready() {
            *unavailable = !*unavailable;
            let change = if *unavailable { 1 } else { -1 };
            self.shared.fanout.metrics().engines_unavailable.fetch_add(change, Relaxed);
            if *unavailable {
                self.log_outage_once(&format!("no probe returned for {} s", READY_WINDOW.as_secs()));
            }
        }
    }

    /// Logs an outage without a lost connection, once until the next probe returns.
    fn log_outage_once(&self, reason: &str) {
        if self.shared.health.begin_outage() {
            let redis = &self.shared.address;
            tracing::warn!(redis, reason, "Redis is not processing messages although the connection is open");
        }
    }
}

/// Returns whether Redis responded with an error, for example because it is read-only or out of memory.
fn is_server_error(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::IO | ErrorKind::Timeout | ErrorKind::Canceled | ErrorKind::Backpressure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_is_ready_for_five_seconds_after_a_probe() {
        let mut health = LinkHealth::new();
        assert!(!health.is_ready(), "no probe has returned yet");
        health.record_probe();
        assert!(health.is_ready());
        let started_ago = |health: &mut LinkHealth, millis: u64| {
            health.started = Instant::now().checked_sub(Duration::from_millis(millis)).unwrap()
        };
        health.last_probe_ms.store(1, Relaxed);
        started_ago(&mut health, 4_500);
        assert!(health.is_ready());
        started_ago(&mut health, 5_500);
        assert!(!health.is_ready());
    }

    #[test]
    fn outage_is_logged_once_until_a_probe_returns() {
        let health = LinkHealth::new();
        assert!(health.begin_outage());
        assert!(!health.begin_outage());
        health.record_probe();
        assert!(health.begin_outage());
    }
}
