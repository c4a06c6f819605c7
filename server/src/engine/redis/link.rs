//! The links to Redis: how they are built, kept up, and shown to be alive.

use super::client_config::client_config;
use super::{BACKLOG, COMMAND_TIMEOUT};
use crate::config::redis::Redis as Settings;
use crate::metrics::Metrics;
use fred::clients::{Client, SubscriberClient};
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface, KeysInterface, PubsubInterface};
use fred::types::config::{ConnectionConfig, PerformanceConfig, ReconnectPolicy, TcpConfig, UnresponsiveConfig};
use fred::types::{Builder, Expiration};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};

/// The pauses between attempts to connect: from 100 ms, doubled each time, to 5 s. Milliseconds.
const BACKOFF: (u32, u32, u32) = (100, 5_000, 2);
/// How often the probe is sent.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether a link stands.
const CONNECT_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The pause before a client whose task has ended is started anew.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// How long Redis keeps what the probe writes.
const PROBE_KEY_TTL: Duration = Duration::from_secs(60);
/// How old the last probe may be for the engine to be ready.
const READY_WINDOW: Duration = Duration::from_secs(5);
/// How old the last probe may be before the link is given up: packets may be swallowed without a word.
const DEAD_LINK_TIMEOUT: Duration = Duration::from_secs(6);
/// How long bytes may wait for the other side to take them before the kernel gives up the link.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds a client by the settings.
pub(super) fn builder(settings: &Settings) -> Result<Builder, String> {
    let config = client_config(settings)?;
    let (min, max, factor) = BACKOFF;
    let mut builder = Builder::from_config(config);
    builder
        .set_policy(ReconnectPolicy::new_exponential(0, min, max, factor))
        .set_connection_config(ConnectionConfig {
            connection_timeout: COMMAND_TIMEOUT,
            internal_command_timeout: COMMAND_TIMEOUT,
            // A command that was on its way when the link broke may have been carried out: never send it again. In a
            // cluster this also means that the first command for a place that has moved fails.
            max_command_attempts: 1,
            // The client's own queue is without a bound, since one that was full could not be told to connect anew: it
            // is given nothing while its link is down ([`wait_connected`]).
            max_command_buffer_len: 0,
            reconnect_on_auth_error: true,
            // Looks at the last command alone, so a link that takes commands and answers none may pass for sound as
            // long as commands come: [`probe`] is what gives up such a one.
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(COMMAND_TIMEOUT),
                interval: Duration::from_secs(1),
            },
            tcp: TcpConfig { nodelay: Some(true), user_timeout: Some(TCP_USER_TIMEOUT), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        })
        .set_performance_config(PerformanceConfig {
            default_command_timeout: COMMAND_TIMEOUT,
            broadcast_channel_capacity: BACKLOG,
            ..PerformanceConfig::default()
        });
    Ok(builder)
}

/// Keeps a client connected, for as long as the process lives.
pub(super) async fn supervise_client(client: impl ClientLike, place: String) {
    loop {
        let ended = client.connect().await;
        // The client connects anew by itself; its task ends only for what it takes for final, as a redirection in a
        // cluster that it may not follow.
        let reason = match ended {
            Ok(Err(error)) => error.details().to_owned(),
            Ok(Ok(())) => "it was asked to".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(redis = place, reason, "the client of Redis has ended; it is started anew");
        tokio::time::sleep(RESTART_DELAY).await;
    }
}

/// Waits until a client's link stands. The caller bounds how long.
pub(super) async fn wait_connected(client: &impl ClientLike) {
    while !client.is_connected() {
        tokio::time::sleep(CONNECT_POLL_INTERVAL).await;
    }
}

/// When the probe last came back.
#[derive(Debug, Clone)]
pub(super) struct LinkHealth {
    began: Instant,
    /// Milliseconds since `began`; 0: never.
    last_probe_ms: Arc<AtomicU64>,
    /// When anything came last: a server that is behind has the probe still before it. Milliseconds since `began`.
    last_activity_ms: Arc<AtomicU64>,
    /// Whether the log has been told that Redis is away, since a probe came back last.
    outage_logged: Arc<AtomicBool>,
}

// === impl LinkHealth ===

impl LinkHealth {
    pub(super) fn new() -> Self {
        let (last_probe_ms, last_activity_ms, outage_logged) = (Arc::default(), Arc::default(), Arc::default());
        Self { began: Instant::now(), last_probe_ms, last_activity_ms, outage_logged }
    }

    /// Something came from Redis.
    pub(super) fn record_activity(&self) {
        self.last_activity_ms.store(self.began.elapsed().as_millis() as u64, Relaxed);
    }

    pub(super) fn record_probe(&self) {
        let now = self.began.elapsed().as_millis() as u64;
        self.last_probe_ms.store(now.max(1), Relaxed);
        self.outage_logged.store(false, Relaxed);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.last_probe_ms.load(Relaxed) > 0 && self.age() < READY_WINDOW
    }

    fn age(&self) -> Duration {
        self.since(&self.last_probe_ms)
    }

    /// How long nothing at all has come.
    fn idle_for(&self) -> Duration {
        self.since(&self.last_activity_ms)
    }

    fn since(&self, then: &AtomicU64) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(then.load(Relaxed)))
    }
}

/// Keeps a subscriber subscribed, and tells `subscriptions` each time it is again.
pub(super) struct Resubscriber {
    pub(super) subscriber: SubscriberClient,
    /// Channels that are always heard; those of single rooms are the follower's concern.
    pub(super) channels: Vec<String>,
    /// Where Redis is, for the log: without secrets.
    pub(super) place: String,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: LinkHealth,
    /// Told by the probe to subscribe though no link was lost.
    pub(super) resubscribe: Arc<Notify>,
    /// Counts the times the subscriptions stood.
    pub(super) subscriptions: watch::Sender<u64>,
}

// === impl Resubscriber ===

impl Resubscriber {
    pub(super) async fn run(self) {
        let mut connected = self.subscriber.reconnect_rx();
        let mut failed = self.subscriber.error_rx();
        let mut away = false;
        loop {
            tokio::select! {
                link = connected.recv() => match link {
                    Ok(_) | Err(RecvError::Lagged(_)) => away = !self.subscribe().await,
                    Err(RecvError::Closed) => return,
                },
                () = self.resubscribe.notified() => away = !self.subscribe().await,
                failure = failed.recv() => match failure {
                    Ok((error, _)) if !away => {
                        away = true;
                        self.health.outage_logged.store(true, Relaxed);
                        self.metrics.engine_disconnects.fetch_add(1, Relaxed);
                        tracing::warn!(
                            redis = self.place,
                            error = error.details(),
                            "Redis is away; browsers stay connected, and it is tried again until it answers"
                        );
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    async fn subscribe(&self) -> bool {
        match self.subscriber.subscribe(self.channels.clone()).await {
            Ok(()) => {
                tracing::info!(redis = self.place, channel = self.channels[0], "subscribed");
                self.subscriptions.send_modify(|times| *times += 1);
                true
            }
            Err(error) => {
                tracing::warn!(redis = self.place, error = error.details(), "subscribing failed; trying again");
                let _ = self.subscriber.force_reconnection().await;
                false
            }
        }
    }
}

/// The two links of an engine, and the message that it sends to itself through Redis to know whether publications get
/// through.
pub(super) struct HealthProbe {
    pub(super) publisher: Client,
    pub(super) subscriber: SubscriberClient,
    /// The channel of that message, which nobody else knows.
    pub(super) channel: String,
    /// Where Redis is, for the log: without secrets.
    pub(super) place: String,
    /// Whether rooms are kept in Redis: then it has to take writes too, which it may refuse and publish still.
    pub(super) requires_writes: bool,
    /// Whether Redis is a cluster: there a client that is told to connect anew looks only for nodes it does not know,
    /// and a subscription that is sent again shows which links are dead.
    pub(super) clustered: bool,
    pub(super) health: LinkHealth,
    pub(super) resubscribe: Arc<Notify>,
    pub(super) metrics: Arc<Metrics>,
}

// === impl HealthProbe ===

impl HealthProbe {
    /// Counts the engine as away while no probe comes back, and gives up the link to which that is due: packets may
    /// be swallowed on either without a word.
    pub(super) async fn run(self) {
        let mut away = true;
        self.metrics.engines_unavailable.fetch_add(1, Relaxed);
        let mut turn = tokio::time::interval(PROBE_INTERVAL);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut given_up = Instant::now();
        loop {
            turn.tick().await;
            // Also here: the last probe may have come back after it was looked for.
            self.update_gauge(&mut away);
            let sent = tokio::time::timeout(COMMAND_TIMEOUT, self.send()).await;
            self.update_gauge(&mut away);
            match sent {
                Ok(Ok(()))
                    if self.health.idle_for() > DEAD_LINK_TIMEOUT && given_up.elapsed() > DEAD_LINK_TIMEOUT =>
                {
                    given_up = Instant::now();
                    tracing::warn!("Redis takes messages but none comes back; the subscriber connects anew");
                    force_reconnect(&self.subscriber).await;
                    if self.clustered {
                        self.resubscribe.notify_one();
                    }
                }
                Ok(Ok(())) => {}
                Ok(Err(error)) if is_server_error(&error) => {
                    self.log_outage_once(&format!("it refuses: {}", error.details()))
                }
                // A link that is known to be down is being mended already.
                Ok(Err(error)) if *error.kind() != ErrorKind::Timeout => {}
                _ if self.publisher.is_connected() => {
                    tracing::warn!("Redis does not answer; the publisher connects anew");
                    force_reconnect(&self.publisher).await;
                }
                _ => {}
            }
        }
    }

    async fn send(&self) -> Result<(), Error> {
        wait_connected(&self.publisher).await;
        if self.requires_writes {
            let expires = Some(Expiration::EX(PROBE_KEY_TTL.as_secs() as i64));
            self.publisher.set::<(), _, _>(&*self.channel, "", expires, None, false).await?;
        }
        self.publisher.publish::<i64, _, _>(&*self.channel, "").await.map(|_receivers| ())
    }

    fn update_gauge(&self, away: &mut bool) {
        if *away == self.health.is_ready() {
            *away = !*away;
            self.metrics.engines_unavailable.fetch_add(if *away { 1 } else { -1 }, Relaxed);
            if *away {
                self.log_outage_once("no probe came back through it for 5 s");
            }
        }
    }

    /// Says once why Redis is of no use though its link stands.
    fn log_outage_once(&self, reason: &str) {
        if !self.health.outage_logged.swap(true, Relaxed) {
            tracing::warn!(redis = self.place, reason, "Redis is away, though its link stands");
        }
    }
}

/// Whether Redis has answered, and will not do what it was asked: it is read-only, or its memory is full.
fn is_server_error(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::IO | ErrorKind::Timeout | ErrorKind::Canceled | ErrorKind::Backpressure)
}

/// Has a client connect anew. Does not wait until it has: that takes as long as Redis is away.
async fn force_reconnect(client: &impl ClientLike) {
    let _ = tokio::time::timeout(PROBE_INTERVAL, client.force_reconnection()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_counts_for_five_seconds() {
        let mut health = LinkHealth::new();
        assert!(!health.is_ready(), "none has come back yet");
        health.record_probe();
        assert!(health.is_ready());
        let ago = |health: &mut LinkHealth, millis: u64| {
            health.began = Instant::now().checked_sub(Duration::from_millis(millis)).unwrap()
        };
        health.last_probe_ms.store(1, Relaxed);
        ago(&mut health, 4_500);
        assert!(health.is_ready());
        ago(&mut health, 5_500);
        assert!(!health.is_ready());
    }
}
