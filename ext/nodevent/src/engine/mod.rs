//! The way out of the process: an engine takes publications in order and answers for the first of them.
//!
//! `redis.rs` and `http.rs` are the two; nothing else knows what either speaks.

mod http;
mod redis;

use crate::queue::{PublicationRef, Settled};
use crate::target::{EngineTarget, Target};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long an engine may take to answer before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// What came of an attempt to publish.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The end of the first publications, in order.
    pub(crate) settled: Vec<Settled>,
    /// Why the others are not settled: the engine cannot take them now. They must be tried again.
    pub(crate) trouble: Option<Trouble>,
}

/// Why the engine cannot take a publication now.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// For a person.
    pub(crate) reason: String,
    /// Whether there was no connection, so that surely nothing has left this process.
    pub(crate) unsent: bool,
}

/// An engine and the connection to it.
#[derive(Debug)]
pub(crate) enum Engine {
    Redis(Box<redis::Redis>),
    Http(Box<http::Http>),
}

impl Engine {
    /// The engine that `target` names; connects when it first publishes.
    ///
    /// # Errors
    /// What is wrong with the target, for a person.
    pub(crate) fn new(target: &Target) -> Result<Self, String> {
        Ok(match &target.engine {
            EngineTarget::Redis(target) => Self::Redis(Box::new(redis::Redis::new(target)?)),
            EngineTarget::Http(target) => Self::Http(Box::new(http::Http::new(target)?)),
        })
    }

    /// Where it is, without names and passwords.
    pub(crate) fn address(&self) -> &Arc<str> {
        match self {
            Self::Redis(redis) => redis.address(),
            Self::Http(http) => http.address(),
        }
    }

    /// How many publications, of how many bytes together, may be in flight.
    pub(crate) fn window(&self) -> (usize, usize) {
        match self {
            Self::Redis(_) => redis::WINDOW,
            Self::Http(_) => http::WINDOW,
        }
    }

    /// Has a connection, where it keeps one.
    ///
    /// # Errors
    /// Why it has none.
    pub(crate) async fn connect(&mut self) -> Result<(), Trouble> {
        match self {
            Self::Redis(redis) => redis.connect().await,
            Self::Http(_) => Ok(()),
        }
    }

    /// Publishes the publications in order, or the first of them.
    pub(crate) async fn publish(&mut self, publications: &VecDeque<PublicationRef>) -> Progress {
        match self {
            Self::Redis(redis) => redis.publish(publications).await,
            Self::Http(http) => http.publish(publications).await,
        }
    }
}

impl Progress {
    /// Nothing was settled.
    fn trouble(reason: impl Into<String>, unsent: bool) -> Self {
        Self { settled: Vec::new(), trouble: Some(Trouble { reason: reason.into(), unsent }) }
    }
}

/// A number that nobody else draws: straight from the operating system, since what a process keeps for drawing more is
/// the same in all its forks.
fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        // A system without randomness at least has processes and a clock.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        now.wrapping_mul(u64::from(std::process::id()) | 1)
    })
}
