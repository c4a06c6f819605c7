//! The links to Redis: how they are built, kept up, and shown to be alive.

use super::{BACKLOG, PATIENCE};
use crate::config::redis::Redis as Settings;
use crate::metrics::Metrics;
use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::Builder;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TlsConnector, UnresponsiveConfig,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// The pauses between attempts to connect: from 100 ms, doubled each time, to 5 s. Milliseconds.
const BACKOFF: (u32, u32, u32) = (100, 5_000, 2);
/// How often the probe is sent.
const PROBE: Duration = Duration::from_secs(1);
/// How old the last probe may be for the engine to be ready.
const PROBE_AGE: Duration = Duration::from_secs(5);
/// How old the last probe may be before the link is given up: packets may be swallowed without a word.
const PROBE_LOST: Duration = Duration::from_secs(6);

/// Builds a client by the settings.
pub(super) fn builder(settings: &Settings) -> Result<Builder, String> {
    let mut config = Config { server: settings.server(), fail_fast: false, ..Config::default() };
    config.username.clone_from(&settings.username);
    config.password = settings.password.as_ref().map(|password| password.reveal().to_owned());
    config.database = settings.db;
    if settings.tls {
        let connector = TlsConnector::default_rustls().map_err(|error| error.to_string())?;
        config.tls = Some(connector.into());
    }
    let (min, max, factor) = BACKOFF;
    let mut builder = Builder::from_config(config);
    builder
        .set_policy(ReconnectPolicy::new_exponential(0, min, max, factor))
        .set_connection_config(ConnectionConfig {
            connection_timeout: PATIENCE,
            internal_command_timeout: PATIENCE,
            // A command that was on its way when the link broke may have been carried out: never send it again.
            max_command_attempts: 1,
            max_command_buffer_len: BACKLOG,
            reconnect_on_auth_error: true,
            unresponsive: UnresponsiveConfig { max_timeout: Some(PATIENCE), interval: Duration::from_secs(1) },
            ..ConnectionConfig::default()
        })
        .set_performance_config(PerformanceConfig {
            default_command_timeout: PATIENCE,
            broadcast_channel_capacity: BACKLOG,
            ..PerformanceConfig::default()
        });
    Ok(builder)
}

/// When the probe last came back.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    began: Instant,
    /// Milliseconds since `began`; 0: never.
    heard: Arc<AtomicU64>,
    /// Whether the log has been told already that Redis is away.
    told: Arc<AtomicBool>,
}

// === impl Pulse ===

impl Pulse {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), heard: Arc::new(AtomicU64::new(0)), told: Arc::new(AtomicBool::new(false)) }
    }

    pub(super) fn beat(&self) {
        let now = self.began.elapsed().as_millis() as u64;
        self.heard.store(now.max(1), Relaxed);
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.heard.load(Relaxed) > 0 && self.age() < PROBE_AGE
    }

    fn age(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.heard.load(Relaxed)))
    }
}

/// Keeps a subscriber subscribed, and tells `standing` each time it is again.
pub(super) struct Upkeep {
    pub(super) subscriber: SubscriberClient,
    /// Channels that are always heard; others are remembered by the client itself.
    pub(super) channels: Vec<String>,
    /// Where Redis is, for the log: without secrets.
    pub(super) place: String,
    pub(super) metrics: Arc<Metrics>,
    pub(super) pulse: Pulse,
    /// Counts the times the subscriptions stood.
    pub(super) standing: watch::Sender<u64>,
}

// === impl Upkeep ===

impl Upkeep {
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
                failure = failed.recv() => match failure {
                    Ok((error, _)) if !away => {
                        away = true;
                        self.pulse.told.store(true, Relaxed);
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
        let subscribed = async {
            self.subscriber.subscribe(self.channels.clone()).await?;
            self.subscriber.resubscribe_all().await
        };
        match subscribed.await {
            Ok(()) => {
                tracing::info!(redis = self.place, channel = self.channels[0], "subscribed");
                self.pulse.told.store(false, Relaxed);
                self.standing.send_modify(|times| *times += 1);
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

/// Sends a message to ourselves through Redis, counts the engine as away while none comes back, and gives up a link
/// on which none does.
pub(super) async fn probe(
    publisher: Client,
    subscriber: SubscriberClient,
    channel: String,
    pulse: Pulse,
    metrics: Arc<Metrics>,
) {
    let mut away = true;
    metrics.engines_away.fetch_add(1, Relaxed);
    let note = |away: &mut bool| {
        if *away == pulse.is_fresh() {
            *away = !*away;
            metrics.engines_away.fetch_add(if *away { 1 } else { -1 }, Relaxed);
            if !*away {
                pulse.told.store(false, Relaxed);
            } else if !pulse.told.swap(true, Relaxed) {
                tracing::warn!("Redis is away, though its link stands: no probe came back through it for 5 s");
            }
        }
    };
    let mut turn = tokio::time::interval(PROBE);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut given_up = Instant::now();
    loop {
        turn.tick().await;
        // Also here: the last probe may have come back after it was looked for.
        note(&mut away);
        let sent = tokio::time::timeout(PATIENCE, publisher.publish::<i64, _, _>(channel.as_str(), "")).await;
        let published = matches!(sent, Ok(Ok(_)));
        note(&mut away);
        if published && pulse.age() > PROBE_LOST && given_up.elapsed() > PROBE_LOST {
            given_up = Instant::now();
            tracing::warn!("Redis takes messages but none comes back; the subscriber connects anew");
            let _ = subscriber.force_reconnection().await;
        }
    }
}
