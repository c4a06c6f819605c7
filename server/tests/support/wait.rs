//! Waiting: for a condition or a future, never for a time, and never longer than [`PATIENCE`].

use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a test waits for what must come. Long, since the machine may be busy; nothing waits it out in vain
/// but a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long the looking at a condition pauses.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; `what` is said when it does not.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain: {what}");
        sleep(LOOK).await;
    }
}

/// The result of `future`, which must come in time; `what` is said when it does not.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}
