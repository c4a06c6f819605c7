//! The one pattern for everything that may have to wait.
//!
//! A shard never waits. Whatever it requests is ready at once, or pending, or the component is overloaded. The reply to
//! a pending request arrives through the shard's inbox, for a connection that may be gone by then. The shard limits how
//! many requests of each kind are pending.

use std::pin::Pin;

/// The future of a capability's method.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

/// An engine cannot be reached, rejects a command, or did not respond in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{engine} is unavailable: {reason}")]
pub struct Unavailable {
    /// The engine's name for people: `Redis`.
    pub engine: &'static str,
    /// The reason in the engine's own words, without secrets.
    pub reason: String,
}

/// The outcome of a request that may have to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The result.
    Ready(T),
    /// The result follows through the shard's inbox.
    Pending,
    /// The component has too many requests. Nothing follows.
    Overloaded,
}
