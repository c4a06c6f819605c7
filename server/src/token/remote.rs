//! Public keys that are read from elsewhere while the server runs, and how long they count.
//!
//! Owns no I/O: [`crate::application`] reads the key set and sets the keys.

use super::TokenKey;
use std::sync::{Arc, PoisonError, RwLock};
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
    /// Until when they count. Milliseconds since the Unix epoch.
    until_ms: u64,
}

// === impl RemoteKeys ===

impl RemoteKeys {
    /// Replaces the keys. They count until `until_ms`, in milliseconds since the Unix epoch, unless they are set again.
    pub fn set(&self, keys: Vec<TokenKey>, until_ms: u64) {
        let mut kept = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *kept = KeysWithEnd { keys: keys.into(), until_ms };
    }

    /// The keys that count now.
    pub(super) fn get(&self, now_ms: u64) -> Arc<[TokenKey]> {
        let kept = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if now_ms <= kept.until_ms { Arc::clone(&kept.keys) } else { Arc::default() }
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
