//! A short visit to the Redis of a namespace, for `nodevent check`: is it there, and does it do what the engine needs?

use super::{CHANNEL_PREFIX, COMMAND_TIMEOUT, link};
use crate::clock;
use crate::config::redis::Redis as Settings;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{CustomCommand, Expiration};
use std::time::Duration;

/// How long Redis keeps what a visit writes.
const KEPT: Duration = Duration::from_secs(10);

/// What a visit has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisDiagnosis {
    /// How far its clock is ahead of this machine's; negative: behind. Seconds.
    pub ahead: i64,
    /// Why it does not take writes. `None`: it does.
    pub refuses: Option<String>,
}

/// Asks a Redis for its time and has it write something that it soon forgets.
///
/// # Errors
/// It cannot be reached, asks for a password, or does not answer within 5 s; in its own words, without secrets.
pub async fn visit(settings: &Settings) -> Result<RedisDiagnosis, String> {
    let mut builder = link::builder(settings)?;
    builder.with_config(|config| config.fail_fast = true);
    let client = builder.build().map_err(|error| error.to_string())?;
    let visited = tokio::time::timeout(COMMAND_TIMEOUT, look(&client)).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), client.quit()).await;
    match visited {
        Ok(Ok(visit)) => Ok(visit),
        Ok(Err(error)) => Err(error.details().to_owned()),
        Err(_) => Err(format!("no answer within {} s", COMMAND_TIMEOUT.as_secs())),
    }
}

async fn look(client: &Client) -> Result<RedisDiagnosis, Error> {
    client.init().await?;
    let time = CustomCommand::new("TIME", 0, false);
    let (seconds, _micros): (i64, i64) = client.custom(time, Vec::<String>::new()).await?;
    let here = (clock::now_ms() / 1000) as i64;
    let key = format!("{CHANNEL_PREFIX}check:{:032x}", rand::random::<u128>());
    let expires = Some(Expiration::EX(KEPT.as_secs() as i64));
    let written = client.set::<(), _, _>(key, "", expires, None, false).await;
    Ok(RedisDiagnosis { ahead: seconds - here, refuses: written.err().map(|error| error.details().to_owned()) })
}
