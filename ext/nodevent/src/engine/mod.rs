//! The engines: each takes publications in order and returns results for the first of them.
//!
//! `redis.rs` and `http.rs` implement them; no other file knows either protocol.

mod breaker;
mod http;
mod http_positions;
mod lazy_client;
mod limited_io;
mod mailboxes;
mod positions;
mod redis;
mod redis_config;
mod redis_positions;

pub(crate) use mailboxes::{Notifier, NotifyError};
pub(crate) use positions::PositionReader;

use crate::queue::{PublicationRef, PublishResult};
use crate::target::{EngineTarget, Target};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time for an engine to respond before the connection is closed.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of an attempt to publish a batch.
#[derive(Debug, Default)]
pub(crate) struct BatchOutcome {
    /// The results of the first publications, in order.
    pub(crate) results: Vec<PublishResult>,
    /// Why the others have no result. They must be retried.
    pub(crate) error: Option<TransientError>,
}

/// Why the engine cannot accept publications at the moment.
#[derive(Debug)]
pub(crate) struct TransientError {
    /// The reason, for a person.
    pub(crate) reason: String,
    /// Whether there was no connection, so that nothing has left this process.
    pub(crate) not_sent: bool,
}

/// An engine with its connection.
#[derive(Debug)]
pub(crate) enum Engine {
    Redis(Box<redis::Redis>),
    Http(Box<http::Http>),
}

impl Engine {
    /// Creates the engine for `target`, which connects on the first publish.
    ///
    /// # Errors
    /// The target is invalid.
    pub(crate) fn new(target: &Target) -> Result<Self, String> {
        Ok(match &target.engine {
            EngineTarget::Redis(target) => Self::Redis(Box::new(redis::Redis::new(target)?)),
            EngineTarget::Http(target) => Self::Http(Box::new(http::Http::new(target)?)),
        })
    }

    /// The address without user and password.
    pub(crate) fn address(&self) -> &Arc<str> {
        match self {
            Self::Redis(redis) => redis.address(),
            Self::Http(http) => http.address(),
        }
    }

    /// The maximum number of publications, and of bytes in total, in flight.
    pub(crate) fn window(&self) -> (usize, usize) {
        match self {
            Self::Redis(_) => redis::WINDOW,
            Self::Http(_) => http::WINDOW,
        }
    }

    /// Connects, if the engine keeps a connection and has none.
    ///
    /// # Errors
    /// The engine cannot be reached.
    pub(crate) async fn connect(&mut self) -> Result<(), TransientError> {
        match self {
            Self::Redis(redis) => redis.connect().await,
            Self::Http(_) => Ok(()),
        }
    }

    /// Returns the warning from the last connect, once.
    pub(crate) fn take_warning(&mut self) -> Option<String> {
        match self {
            Self::Redis(redis) => redis.take_warning(),
            Self::Http(_) => None,
        }
    }

    /// Publishes the publications, or the first of them, in order.
    pub(crate) async fn publish(&mut self, publications: &VecDeque<PublicationRef>) -> BatchOutcome {
        match self {
            Self::Redis(redis) => redis.publish(publications).await,
            Self::Http(http) => http.publish(publications).await,
        }
    }
}

impl BatchOutcome {
    /// An outcome without results.
    fn failed(reason: impl Into<String>, not_sent: bool) -> Self {
        Self { results: Vec::new(), error: Some(TransientError { reason: reason.into(), not_sent }) }
    }
}

/// A random number that no other process has. It comes directly from the operating system, because the state of a
/// generator in the process would be the same in all its forks.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        // A system without a random source still has process ids and a clock.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        now.wrapping_mul(u64::from(std::process::id()) | 1)
    })
}
