//! Public keys that are read from elsewhere while the server runs, and how long they count.
//!
//! Owns no I/O: [`crate::application`] reads the key set and sets the keys. Their age is a duration, so its clock is monotonic.

use super::TokenKey;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The public keys of a key set that is read again and again.
#[derive(Debug, Default)]
pub struct RemoteKeys {
    keys: RwLock<KeysWithEnd>,
    /// Notified if a token names a key that is not known.
    unknown: Notify,
}

#[derive(Debug, Default)]
struct KeysWithEnd {
    keys: Arc<[TokenKey]>,
    /// Until when they count. `None`: none were set, or they do not expire.
    until: Option<Instant>,
}

// === impl RemoteKeys ===

impl RemoteKeys {
    /// Replaces the keys. They count for that time, unless they are set again.
    pub fn set(&self, keys: Vec<TokenKey>, max_age: Duration) {
        let mut kept = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *kept = KeysWithEnd { keys: keys.into(), until: Instant::now().checked_add(max_age) };
    }

    /// The keys that count now.
    pub(super) fn get(&self, now: Instant) -> Arc<[TokenKey]> {
        let kept = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if kept.until.is_none_or(|until| now <= until) { Arc::clone(&kept.keys) } else { Arc::default() }
    }

    /// A token names a key that is not known.
    pub(super) fn report_unknown(&self) {
        self.unknown.notify_one();
    }

    /// Waits until a token names a key that is not known.
    pub async fn unknown(&self) {
        self.unknown.notified().await;
    }
}
