//! The one pattern for everything that may have to wait.
//!
//! A shard never waits. Whatever it requests is ready at once, or pending, or the component is overloaded. The reply to
//! a pending request arrives through the shard's inbox, for a connection that may be gone by then. The shard limits how
//! many requests of each kind are pending.

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
