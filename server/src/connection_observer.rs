//! The interface to what is notified that connections of users are opened and closed, and must not make a shard wait.
//!
//! Shards know this trait only. [`crate::application`] implements it.

use crate::identity::Identity;
use std::fmt;

/// Is notified of the connections of one namespace that have an identity.
pub trait ConnectionObserver: fmt::Debug + Send + Sync {
    /// A connection was opened.
    fn connected(&self, identity: &Identity);

    /// It was closed.
    fn disconnected(&self, identity: &Identity);
}
