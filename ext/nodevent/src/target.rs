//! Where a publisher publishes, as the Ruby half has read it from the configuration.
//!
//! Ruby checks names and values and explains mistakes to people; what arrives here as JSON is already sound.

use crate::queue::Bounds;
use nodevent_protocol::history::{Retention, RetentionPolicy};
use serde::Deserialize;
use std::time::Duration;

/// One publisher's settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// The engine's side.
    pub(crate) engine: EngineTarget,
    /// How many publications may wait.
    pub(crate) queue_publications: usize,
    /// How many bytes of publications may wait.
    pub(crate) queue_bytes: usize,
}

/// The two ways out.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EngineTarget {
    /// Straight to Redis.
    Redis(RedisTarget),
    /// To a NoDevent server.
    Http(HttpTarget),
}

/// One Redis, a Sentinel's Redis, or a Cluster.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedisTarget {
    /// `redis://`, `rediss://`, `redis-sentinel://` or `redis-cluster://`, the latter two with a trailing `s` too.
    pub(crate) url: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) sentinel_username: Option<String>,
    pub(crate) sentinel_password: Option<String>,
    /// What is kept of which rooms.
    pub(crate) history: HistoryTarget,
    /// Whether each room has a channel of its own.
    pub(crate) fanout_by_room: bool,
}

/// What is kept of which rooms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryTarget {
    /// Of rooms that no prefix names.
    default: Option<KeptTarget>,
    /// Of rooms whose name begins so.
    prefixes: Vec<(String, Option<KeptTarget>)>,
}

/// What is kept of one room.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptTarget {
    size: usize,
    /// Milliseconds.
    age: u64,
}

impl HistoryTarget {
    /// The same in the words of the protocol.
    pub(crate) fn rules(&self) -> RetentionPolicy {
        let kept = |kept: Option<KeptTarget>| {
            kept.map(|kept| Retention { size: kept.size, age: Duration::from_millis(kept.age) })
        };
        let prefixes = self.prefixes.iter().map(|(prefix, one)| (prefix.clone(), kept(*one))).collect();
        RetentionPolicy { default: kept(self.default), prefixes }
    }
}

/// A NoDevent server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpTarget {
    /// Scheme, host and port, and a path before `/api` if there is one.
    pub(crate) url: String,
    pub(crate) publish_key: Option<String>,
}

impl Target {
    /// The bounds of the queue.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { publications: self.queue_publications, bytes: self.queue_bytes }
    }
}
