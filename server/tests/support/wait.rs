//! Waiting for a condition or a future, never for a fixed time, and at most for [`TIMEOUT`].

use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Time limit of every wait. It is long because the machine may be busy, and only a failing test waits that long.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two evaluations of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; `what` names it in the failure.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + TIMEOUT;
    while !condition().await {
        assert!(Instant::now() < end, "not within {TIMEOUT:?}: {what}");
        sleep(POLL_INTERVAL).await;
    }
}

/// Returns the result of `future`, which must be ready in time; `what` names it in the failure.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(TIMEOUT, future).await {
        Ok(result) => result,
        Err(_) => panic!("not within {TIMEOUT:?}: {what}"),
    }
}
