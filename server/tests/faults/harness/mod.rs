//! What the fault tests are made of: real processes, and a record of everything that was promised and heard.
//!
//! In reading order: [`node`] (a server process that can be killed and started again), [`redis`] (a Redis that is
//! treated badly), [`cluster`] (three as one), [`sentinel`] (one that fails over), [`proxy`] (a link that delays, swallows or is cut),
//! [`publisher`] (writes down every confirmed publish), [`member`] (a light browser that comes back by itself and
//! writes down what it hears), [`checker`] (holds one against the other).
//!
//! ```ignore
//! let mut redis = Redis::start(&[]).await;
//! let nodes = Node::start_many(3, &redis.namespace("/nodevent", "")).await;
//! let crowd = Crowd::join(100, &sites(&nodes), "/nodevent", &["r"]).await;
//! let publishers = Publishers::start(&sites(&nodes), "/nodevent", &["r"]);
//! …the fault…
//! let verdict = crowd.verdict(publishers).await;   // panics with every gap, duplicate, and stray
//! assert_eq!(verdict.told, 0);
//! ```
#![allow(dead_code, unused_imports, reason = "every test program uses another part of it")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a test program has no outside")]

pub mod checker;
pub mod cluster;
pub mod member;
pub mod node;
pub mod proxy;
pub mod publisher;
pub mod redis;
pub mod sentinel;

pub use checker::{Crowd, Verdict};
pub use member::Member;
pub use node::{Node, sites};
pub use proxy::Proxy;
pub use publisher::Publishers;
pub use redis::Redis;

use crate::support::wait::until;
use std::time::Duration;

/// Waits until `condition` holds, for longer than the machine can be busy with several of these tests.
pub async fn patiently(what: &str, patience: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + patience;
    while !condition().await {
        assert!(tokio::time::Instant::now() < end, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lets the fault last: not a wait for something, but the length of an outage.
pub async fn lasting(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until so many more publishes were confirmed, so that a fault happens under traffic.
pub async fn traffic(publishers: &Publishers, more: usize) {
    let before = publishers.confirmed();
    until("publishes are confirmed", async || publishers.confirmed() >= before + more).await;
}

/// Whether the long forms of the scenarios were asked for: `NODEVENT_FAULTS=full`.
pub fn is_full() -> bool {
    std::env::var("NODEVENT_FAULTS").is_ok_and(|mode| mode == "full")
}

/// So many open files as the system lets us have: members are many.
pub fn raise_file_limit() {
    rlimit::increase_nofile_limit(u64::MAX).expect("the limit of open files is raised");
}
