//! The parts of the fault tests: real processes, and a record of every confirmed publish and every received event.
//!
//! In reading order: [`node`] (a server process that a test kills and starts again), [`redis`] (a Redis with faults),
//! [`cluster`] (a Redis Cluster), [`sentinel`] (failover), [`proxy`] (a link that delays, discards or closes),
//! [`publisher`] (records every confirmed publish), [`link`] (the WebSocket of a client), [`member`] (a lightweight browser
//! that reconnects and records what it receives), [`checker`] (compares the two records).
//!
//! ```ignore
//! let mut redis = Redis::start(&[]).await;
//! let nodes = Node::start_many(3, &redis.namespace("/nodevent", "")).await;
//! let fleet = Fleet::join(100, &sites(&nodes), "/nodevent", &["r"]).await;
//! let publishers = Publishers::start(&sites(&nodes), "/nodevent", &["r"]);
//! …the fault…
//! let verdict = fleet.verdict(publishers, &nodes).await; // panics with every gap, duplicate and stray event
//! assert_eq!(verdict.gap_notices, 0);
//! ```
#![allow(dead_code, unused_imports, reason = "every test program uses another part of it")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a test program has no outside")]

pub mod checker;
pub mod cluster;
pub mod link;
pub mod member;
pub mod node;
pub mod proxy;
pub mod publisher;
pub mod redis;
pub mod sentinel;

pub use checker::{Fleet, Verdict};
pub use member::Member;
pub use node::{Node, sites};
pub use proxy::Proxy;
pub use publisher::Publishers;
pub use redis::Redis;

use crate::support::wait::until;
use std::time::Duration;

/// Waits until `condition` holds, with a time limit of the caller's choice.
pub async fn eventually(what: &str, timeout: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + timeout;
    while !condition().await {
        assert!(tokio::time::Instant::now() < end, "not within {timeout:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Keeps a fault active: `duration` is the length of the outage, not a wait for a condition.
pub async fn sleep_for(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until `more` publishes are confirmed, so that a fault occurs under traffic.
pub async fn traffic(publishers: &Publishers, more: usize) {
    let before = publishers.confirmed();
    until("publishes are confirmed", async || publishers.confirmed() >= before + more).await;
}

/// Raises the limit of open files to the highest value that the system permits: a test has thousands of members.
pub fn raise_file_limit() {
    rlimit::increase_nofile_limit(u64::MAX).expect("the limit of open files is raised");
}
