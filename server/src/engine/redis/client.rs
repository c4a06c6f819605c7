//! The connections to Redis: how a client is built, supervised and reconnected.
//!
//! It does not know what a connection is used for. [`super::health`] decides when one is dead.

use super::client_config::client_config;
use super::{BACKLOG, COMMAND_TIMEOUT};
use crate::config::redis::Redis as RedisConfig;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::Builder;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TcpConfig, UnresponsiveConfig,
};
use std::time::Duration;

/// The delays between attempts to connect: from 100 ms, doubled each time, to 5 s. Milliseconds.
const BACKOFF: (u32, u32, u32) = (100, 5_000, 2);
/// Interval for checking whether a client is connected.
const CONNECT_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Delay before a client whose task has stopped is restarted.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// Time after which the kernel closes a connection whose peer acknowledges nothing.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time to ask a client to reconnect.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns a builder for clients with these settings.
///
/// # Errors
/// Returns a message if the settings cannot be used.
pub(super) fn builder(settings: &RedisConfig) -> Result<Builder, String> {
    let (min, max, factor) = BACKOFF;
    let mut builder = configured(client_config(settings)?);
    builder.set_policy(ReconnectPolicy::new_exponential(0, min, max, factor));
    Ok(builder)
}

/// Returns a client that connects once: an error ends it, so all its commands are for the same run of Redis.
///
/// # Errors
/// Returns a message if the settings cannot be used.
pub(super) fn one_connection(settings: &RedisConfig) -> Result<Client, String> {
    let config = Config { fail_fast: true, ..client_config(settings)? };
    configured(config).build().map_err(|error| error.to_string())
}

fn configured(config: Config) -> Builder {
    let mut builder = Builder::from_config(config);
    builder
        .set_connection_config(ConnectionConfig {
            connection_timeout: COMMAND_TIMEOUT,
            internal_command_timeout: COMMAND_TIMEOUT,
            // A command that was on its way when the connection broke may have been executed: never send it again. In a
            // cluster this also means that the first command for a slot that has moved fails.
            max_command_attempts: 1,
            // The client's own queue is unbounded, because a client whose queue is full cannot be made to reconnect. It
            // receives no commands while it is disconnected ([`wait_connected`]).
            max_command_buffer_len: 0,
            reconnect_on_auth_error: true,
            // The client looks at its last command only. A connection that takes commands and returns nothing may look
            // healthy as long as commands are sent. [`super::health::HealthProbe`] detects that.
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
    builder
}

/// Keeps a client running for as long as the process lives.
pub(super) async fn supervise_client(client: impl ClientLike, address: String) {
    loop {
        let ended = client.connect().await;
        // The client reconnects by itself. Its task stops only after an error that it considers final, such as a
        // redirection in a cluster that it may not follow.
        let reason = match ended {
            Ok(Err(error)) => error.details().to_owned(),
            Ok(Ok(())) => "it was asked to stop".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(redis = address, reason, "Redis client stopped; restarting it");
        tokio::time::sleep(RESTART_DELAY).await;
    }
}

/// Waits until a client is connected. The caller sets a timeout.
pub(super) async fn wait_connected(client: &impl ClientLike) {
    while !client.is_connected() {
        tokio::time::sleep(CONNECT_POLL_INTERVAL).await;
    }
}

/// Makes a client reconnect. Does not wait for the new connection, which takes as long as Redis is unavailable.
pub(super) async fn force_reconnect(client: &impl ClientLike) {
    let _ = tokio::time::timeout(RECONNECT_TIMEOUT, client.force_reconnection()).await;
}
