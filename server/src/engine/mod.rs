//! Where emissions travel and are kept: in this process, or in Redis.
//!
//! An engine is asked to publish, and pushes what arrives into the shards through its [`Outlet`].
//! **Architecture Invariant:** only [`redis`] knows Redis.

pub mod memory;
pub mod redis;

use crate::metrics::Metrics;
use crate::namespace::Namespaces;
use crate::shard::Shards;
use crate::shard::inbox;
use memory::Memory;
use nodevent_protocol::emission::Emission;
use redis::Redis;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The engine of one namespace.
#[derive(Debug)]
pub enum Engine {
    /// Everything in this process.
    Memory(Memory),
    /// Everything in Redis, shared with other processes.
    Redis(Redis),
}

/// Why an engine did not publish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Redis cannot be reached, or did not answer in time. The text is Redis's own, without secrets.
    #[error("redis did not take the emission: {0}")]
    Away(String),
}

/// The way from an engine to the shards.
#[derive(Debug, Clone)]
pub struct Outlet {
    shards: Shards,
    namespaces: Arc<Namespaces>,
    number: u16,
    metrics: Arc<Metrics>,
}

// === impl Engine ===

impl Engine {
    /// Publishes an emission. When it returns, the engine has it.
    ///
    /// # Errors
    /// [`EngineError`]: the engine does not have it, as far as it can tell.
    pub async fn publish(&self, emission: &Emission<'_>) -> Result<(), EngineError> {
        match self {
            Self::Memory(memory) => memory.publish(emission).await,
            Self::Redis(redis) => redis.publish(emission).await?,
        }
        Ok(())
    }

    /// Whether emissions get through now, as shown by a probe that has gone through the engine and back.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(redis) => redis.is_ready(),
        }
    }

    /// What it is, for logs and `/readyz`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Redis(_) => "redis",
        }
    }
}

// === impl Outlet ===

impl Outlet {
    /// The way to the shards for the namespace of that number.
    pub fn new(shards: Shards, namespaces: Arc<Namespaces>, number: u16, metrics: Arc<Metrics>) -> Self {
        Self { shards, namespaces, number, metrics }
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespaces.get(self.number).name
    }

    /// Passes an emission on to the members of its room. Waits while the shards are behind.
    ///
    /// Calls for one namespace must follow one another: their order is the order every connection sees.
    async fn pass(&self, emission: &Emission<'_>) {
        let frame = self.namespaces.get(self.number).dialect.frame(self.namespace(), emission);
        let room = emission.room.as_ref().into();
        let reservation = self.shards.reserve(&frame).await;
        reservation.deliver(inbox::Emission { namespace: self.number, room, frame });
        self.metrics.emissions.fetch_add(1, Relaxed);
    }
}
