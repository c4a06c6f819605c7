//! The settings of a publisher, as the Ruby half reads them from the configuration.
//!
//! Ruby validates names and values and explains mistakes to people; the JSON that arrives here is already valid.

use crate::queue::Bounds;
use nodevent_protocol::history::RetentionPolicy;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of one publisher.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// The engine to publish to.
    pub(crate) engine: EngineTarget,
    /// The maximum of queued publications.
    pub(crate) queue_publications: usize,
    /// The maximum of bytes that queued publications may take.
    pub(crate) queue_bytes: usize,
    /// The share of publications that get a trace, from 0 to 1.
    pub(crate) trace_sample_rate: f64,
    /// The largest publication that the server accepts. Bytes.
    pub(crate) max_publication: usize,
}

/// The engine to publish to.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EngineTarget {
    /// Redis, directly.
    Redis(Box<RedisTarget>),
    /// A NoDevent server, over HTTP.
    Http(HttpTarget),
}

/// A single Redis, one behind Sentinel, or a Cluster.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedisTarget {
    /// One server, the sentinels, or some nodes of the cluster.
    pub(crate) hosts: Vec<(String, u16)>,
    /// The role of `hosts`.
    pub(crate) kind: RedisKind,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) db: u8,
    /// The prefix of all keys and channels.
    pub(crate) prefix: Option<String>,
    pub(crate) tls: bool,
    /// The certificates of the CA, a PEM file, instead of those of the system.
    pub(crate) ca: Option<PathBuf>,
    /// The client certificate chain and its key, PEM files.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    /// The user and password of the sentinels, which never receive those of Redis.
    pub(crate) sentinel_username: Option<String>,
    pub(crate) sentinel_password: Option<String>,
    /// The namespace that this publisher publishes in.
    pub(crate) namespace: String,
    /// The fingerprint of the secret that signs keys, or `open`; `None` if it is not known yet.
    pub(crate) fingerprint: Option<String>,
    /// The retention of the history of each room.
    pub(crate) history: RetentionPolicy,
    /// Whether each room has its own channel.
    pub(crate) channel_per_room: bool,
    /// What the mailboxes of the namespace store. `None`: it has none.
    #[serde(default)]
    pub(crate) mailbox: Option<MailboxTarget>,
}

/// What the mailboxes of a namespace store, and the limits of messages.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailboxTarget {
    /// Messages of one user.
    pub(crate) count: usize,
    /// The length of all messages of one user. Bytes.
    pub(crate) bytes: usize,
    /// How long messages are kept while their user is not connected. Zero: without a limit.
    pub(crate) age: Duration,
    /// Whether messages for users who were never seen are stored.
    pub(crate) keep_unknown: bool,
    /// Users who were never seen and have a mailbox.
    pub(crate) max_mailboxes: usize,
    /// The longest message. Bytes.
    pub(crate) max_message: usize,
    /// Users of one message.
    pub(crate) max_users: usize,
}

/// The role of the hosts of a [`RedisTarget`].
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RedisKind {
    /// One server.
    Single,
    /// Sentinels that know the primary of that name.
    Sentinel(String),
    /// Nodes of a cluster.
    Cluster,
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
