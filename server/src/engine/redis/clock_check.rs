//! Compares the clock of this machine with that of Redis. Keys and tokens are valid until a time, so a server whose clock is
//! wrong rejects right ones, or accepts those that have expired.

use super::{Shared, client};
use crate::clock;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::CustomCommand;
use std::sync::Arc;
use std::time::Duration;

/// Interval between checks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Seconds that clocks may differ. With more, keys with a short lifetime are rejected.
pub const MAX_SKEW_SECS: i64 = 5;

/// Returns by how much the clock of Redis is ahead. Negative: it is behind. Seconds.
pub(super) async fn skew_secs(client: &Client) -> Result<i64, Error> {
    let time = CustomCommand::new("TIME", 0, false);
    let (seconds, _micros): (i64, i64) = client.custom(time, Vec::<String>::new()).await?;
    Ok(seconds - (clock::now_ms() / 1000) as i64)
}

/// Checks after the first connect, and then regularly. Logs a difference once, and its end.
pub(super) async fn run(shared: Arc<Shared>) {
    let (redis, mut differed) = (&*shared.address, false);
    loop {
        client::wait_connected(&shared.publisher).await;
        match skew_secs(&shared.publisher).await {
            Ok(skew) => {
                let differs = skew.abs() > MAX_SKEW_SECS;
                if differs && !differed {
                    let direction = if skew < 0 { "ahead of" } else { "behind" };
                    tracing::warn!(
                        redis,
                        "the clock of this machine is {} s {direction} that of Redis; keys and tokens are checked with a wrong \
                         time; correct the clock that is wrong, for example with NTP",
                        skew.abs()
                    );
                } else if differed && !differs {
                    tracing::info!(redis, "the clocks of this machine and of Redis agree again");
                }
                differed = differs;
            }
            Err(error) => tracing::debug!(error = error.details(), "could not read the time of Redis"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
