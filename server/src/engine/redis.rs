//! The engine in Redis: any number of servers, nothing kept in one of them.
//!
//! Publishing and hearing use a connection each. Both come back by themselves, with growing pauses; while Redis is
//! away, publishing fails within [`PATIENCE`] and browsers stay connected. Whether emissions get through is told by
//! a probe: a message that this engine sends itself through Redis.

use super::{EngineError, Outlet};
use crate::config::redis::Redis as Settings;
use crate::metrics::Metrics;
use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TlsConnector, UnresponsiveConfig,
};
use fred::types::{Builder, Message, Value};
use nodevent_protocol::emission::{self, Emission};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;

/// How long a publish may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses between attempts to connect: from 100 ms, doubled each time, to 5 s. Milliseconds.
const BACKOFF: (u32, u32, u32) = (100, 5_000, 2);
/// How often the probe is sent.
const PROBE: Duration = Duration::from_secs(2);
/// How old the last probe may be for the engine to be ready.
const PROBE_AGE: Duration = Duration::from_secs(5);
/// Messages that may wait between the link and this engine. Beyond it the oldest are lost, and counted.
const BACKLOG: usize = 8192;

/// The engine of one namespace.
#[derive(Debug)]
pub struct Redis {
    publisher: Client,
    channel: String,
    /// When the engine began: the zero of `heard`.
    began: Instant,
    /// When the last probe came back; 0: never. Milliseconds since `began`.
    heard: Arc<AtomicU64>,
}

// === impl Redis ===

impl Redis {
    /// Connects, now or as soon as Redis answers, and pushes what arrives into `outlet`.
    ///
    /// # Errors
    /// The settings contradict each other; the text says how.
    pub fn start(settings: &Settings, outlet: Outlet, metrics: Arc<Metrics>, most: usize) -> Result<Self, String> {
        let build = || builder(settings);
        let publisher = build()?.build().map_err(|error| error.to_string())?;
        let subscriber = build()?.build_subscriber_client().map_err(|error| error.to_string())?;
        publisher.connect();
        let (began, heard) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let channel = outlet.namespace().to_owned();
        let listener = Listener {
            probe: format!("nodevent:probe:{:032x}", rand::random::<u128>()),
            publisher: publisher.clone(),
            subscriber,
            outlet,
            metrics,
            most,
            began,
            heard: Arc::clone(&heard),
            place: settings.to_string(),
        };
        tokio::spawn(listener.run());
        Ok(Self { publisher, channel, began, heard })
    }

    /// Publishes an emission.
    ///
    /// # Errors
    /// [`EngineError::Away`].
    pub async fn publish(&self, emission: &Emission<'_>) -> Result<(), EngineError> {
        let publish = self.publisher.publish::<i64, _, _>(self.channel.as_str(), emission.text);
        match tokio::time::timeout(PATIENCE, publish).await {
            Ok(Ok(_receivers)) => Ok(()),
            Ok(Err(error)) => Err(EngineError::Away(error.details().to_owned())),
            Err(_) => Err(EngineError::Away(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Whether a probe came back lately.
    pub fn is_ready(&self) -> bool {
        let heard = self.heard.load(Relaxed);
        heard > 0 && self.began.elapsed().saturating_sub(Duration::from_millis(heard)) < PROBE_AGE
    }
}

fn builder(settings: &Settings) -> Result<Builder, String> {
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

/// The task that hears what is published.
struct Listener {
    publisher: Client,
    subscriber: SubscriberClient,
    outlet: Outlet,
    metrics: Arc<Metrics>,
    /// The largest emission that is passed on. Bytes.
    most: usize,
    /// The channel of the probe.
    probe: String,
    began: Instant,
    heard: Arc<AtomicU64>,
    /// Where Redis is, for the log: without secrets.
    place: String,
}

// === impl Listener ===

impl Listener {
    async fn run(self) {
        let mut messages = self.subscriber.message_rx();
        let away = Arc::new(AtomicBool::new(false));
        tokio::spawn(keep_subscribed(
            self.subscriber.clone(),
            vec![self.outlet.namespace().to_owned(), self.probe.clone()],
            self.place.clone(),
            Arc::clone(&self.metrics),
            Arc::clone(&away),
        ));
        tokio::spawn(send_probes(self.publisher.clone(), self.probe.clone()));
        self.subscriber.connect();
        loop {
            match messages.recv().await {
                Ok(message) => self.hear(message).await,
                Err(RecvError::Lagged(lost)) => {
                    self.metrics.engine_lost.fetch_add(lost, Relaxed);
                    tracing::warn!(
                        lost,
                        namespace = self.outlet.namespace(),
                        "the server is slower than its Redis"
                    );
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn hear(&self, message: Message) {
        if *message.channel == *self.probe {
            let now = self.began.elapsed().as_millis() as u64;
            self.heard.store(now.max(1), Relaxed);
            return;
        }
        let bytes: &[u8] = match &message.value {
            Value::Bytes(bytes) => bytes,
            Value::String(text) => text.as_bytes(),
            _ => return,
        };
        if bytes.len() > self.most {
            self.metrics.skip_too_large();
            tracing::warn!(
                namespace = self.outlet.namespace(),
                bytes = bytes.len(),
                most = self.most,
                "a publish was skipped: it is too large"
            );
            return;
        }
        match emission::parse(bytes) {
            Ok(emission) => self.outlet.pass(&emission).await,
            Err(skipped) => {
                self.metrics.skip(&skipped);
                tracing::warn!(namespace = self.outlet.namespace(), reason = %skipped, "a publish was skipped");
            }
        }
    }
}

/// Subscribes each time the link stands, and tells the log once per outage.
async fn keep_subscribed(
    subscriber: SubscriberClient,
    channels: Vec<String>,
    place: String,
    metrics: Arc<Metrics>,
    away: Arc<AtomicBool>,
) {
    let mut connected = subscriber.reconnect_rx();
    let mut failed = subscriber.error_rx();
    loop {
        tokio::select! {
            standing = connected.recv() => match standing {
                Ok(_) | Err(RecvError::Lagged(_)) => match subscriber.subscribe(channels.clone()).await {
                    Ok(()) => {
                        away.store(false, Relaxed);
                        tracing::info!(redis = place, channel = channels[0], "subscribed");
                    }
                    Err(error) => {
                        tracing::warn!(redis = place, error = error.details(), "subscribing failed; trying again");
                        let _ = subscriber.force_reconnection().await;
                    }
                },
                Err(RecvError::Closed) => return,
            },
            failure = failed.recv() => match failure {
                Ok((error, _)) => {
                    if !away.swap(true, Relaxed) {
                        metrics.engine_disconnects.fetch_add(1, Relaxed);
                        tracing::warn!(
                            redis = place,
                            error = error.details(),
                            "Redis is away; browsers stay connected, and it is tried again until it answers"
                        );
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// Sends a message to ourselves through Redis, for as long as the client lives.
async fn send_probes(publisher: Client, channel: String) {
    let mut turn = tokio::time::interval(PROBE);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        let sent = publisher.publish::<i64, _, _>(channel.as_str(), "");
        let _ = tokio::time::timeout(PATIENCE, sent).await;
    }
}
