//! Where a publisher publishes, as the Ruby half has read it from the configuration.
//!
//! Ruby checks names and values and explains mistakes to people; what arrives here as JSON is already sound.

use crate::queue::Bounds;
use serde::Deserialize;

/// One publisher's settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// The engine's side.
    pub(crate) engine: EngineTarget,
    /// How many emissions may wait.
    pub(crate) queue_emissions: usize,
    /// How many bytes of emissions may wait.
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
        Bounds { emissions: self.queue_emissions, bytes: self.queue_bytes }
    }
}
