//! Diagnoses the Redis of a namespace for `nodevent check`: whether it responds, accepts writes, and has the right time.

use super::{COMMAND_TIMEOUT, client, clock_check};
use crate::config::redis::Redis as RedisConfig;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::Expiration;
use std::time::Duration;

/// Expiry of the key that a diagnosis writes.
const KEY_TTL: Duration = Duration::from_secs(10);
/// Maximum time to close the connection.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of a diagnosis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisDiagnosis {
    /// Difference between the clocks of Redis and of this machine. Negative: Redis is behind. Seconds.
    pub clock_skew_secs: i64,
    /// Why Redis does not accept writes. `None`: it does.
    pub write_error: Option<String>,
}

/// Connects to a Redis, reads its time and writes a key that expires soon.
///
/// # Errors
/// Returns a message without secrets if Redis cannot be reached, requires a password, or does not respond within 5 s.
pub async fn diagnose(settings: &RedisConfig) -> Result<RedisDiagnosis, String> {
    let mut builder = client::builder(settings)?;
    builder.with_config(|config| config.fail_fast = true);
    let client = builder.build().map_err(|error| error.to_string())?;
    let key = settings.scope().own("check", rand::random());
    let probed = tokio::time::timeout(COMMAND_TIMEOUT, probe(&client, key)).await;
    let _ = tokio::time::timeout(QUIT_TIMEOUT, client.quit()).await;
    match probed {
        Ok(Ok(diagnosis)) => Ok(diagnosis),
        Ok(Err(error)) => Err(error.details().to_owned()),
        Err(_) => Err(format!("no response within {} s", COMMAND_TIMEOUT.as_secs())),
    }
}

async fn probe(client: &Client, key: String) -> Result<RedisDiagnosis, Error> {
    client.init().await?;
    let clock_skew_secs = clock_check::skew_secs(client).await?;
    let expires = Some(Expiration::EX(KEY_TTL.as_secs() as i64));
    let written = client.set::<(), _, _>(key, "", expires, None, false).await;
    Ok(RedisDiagnosis { clock_skew_secs, write_error: written.err().map(|error| error.details().to_owned()) })
}
