//! The identities of one connection, one per namespace, and when they expire.
//!
//! Owns what follows the expiry: the connection is notified, and closed after a grace period unless it presents a new
//! token. Times are monotonic: a connection lasts as long as its token was valid when it arrived, whatever the wall clock
//! does meanwhile. A connection without an identity uses no heap.

use crate::identity::Identity;
use crate::protocol::{Millis, NEVER};
use std::sync::Arc;

/// The identities of one connection.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "8 bytes instead of 24 in a connection that has none")]
pub(super) struct Identities(Option<Box<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    namespace: u16,
    identity: Arc<Identity>,
    expires_at: Millis,
    /// When the connection is closed.
    close_at: Millis,
    /// Whether the connection was notified that it has expired.
    is_expired: bool,
}

// === impl Identities ===

impl Identities {
    /// The identity in a namespace, even if it has expired.
    pub(super) fn get(&self, namespace: u16) -> Option<&Arc<Identity>> {
        self.entries().find(|entry| entry.namespace == namespace).map(|entry| &entry.identity)
    }

    /// The identity in a namespace, unless it has expired.
    pub(super) fn valid(&self, namespace: u16, now: Millis) -> Option<&Arc<Identity>> {
        let entry = self.entries().find(|entry| entry.namespace == namespace)?;
        (now < entry.expires_at).then_some(&entry.identity)
    }

    /// All identities, with their namespaces.
    pub(super) fn all(&self) -> impl Iterator<Item = (u16, &Arc<Identity>)> {
        self.entries().map(|entry| (entry.namespace, &entry.identity))
    }

    /// Sets or replaces the identity in a namespace. It expires `lifetime` from now, and the connection is closed `grace`
    /// later.
    pub(super) fn set(
        &mut self,
        namespace: u16,
        identity: Arc<Identity>,
        now: Millis,
        lifetime: Millis,
        grace: Millis,
    ) {
        self.remove(namespace);
        let expires_at = now.saturating_add(lifetime);
        let close_at = expires_at.saturating_add(grace);
        let entries = self.0.get_or_insert_default();
        entries.reserve_exact(1);
        entries.push(Entry { namespace, identity, expires_at, close_at, is_expired: false });
    }

    /// Removes the identity in a namespace that the connection has left.
    pub(super) fn remove(&mut self, namespace: u16) {
        let Some(entries) = &mut self.0 else { return };
        entries.retain(|entry| entry.namespace != namespace);
        if entries.is_empty() {
            self.0 = None;
        }
    }

    /// The number of identities.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |entries| entries.len())
    }

    /// When [`Identities::take_expired`] or [`Identities::must_close`] is due.
    pub(super) fn deadline(&self) -> Millis {
        let due = |entry: &Entry| if entry.is_expired { entry.close_at } else { entry.expires_at };
        self.entries().map(due).min().unwrap_or(NEVER)
    }

    /// A namespace in which the identity has expired since the last call.
    pub(super) fn take_expired(&mut self, now: Millis) -> Option<u16> {
        let entries = self.0.as_mut()?;
        let entry = entries.iter_mut().find(|entry| !entry.is_expired && now >= entry.expires_at)?;
        entry.is_expired = true;
        Some(entry.namespace)
    }

    /// Whether the grace period of an identity is over. The connection was notified before.
    pub(super) fn must_close(&self, now: Millis) -> bool {
        self.entries().any(|entry| entry.is_expired && now >= entry.close_at)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().flat_map(|entries| entries.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str) -> Arc<Identity> {
        Arc::new(Identity {
            user: user.into(),
            expires_ms: 0,
            issued_ms: 0,
            info: None,
            rooms: Box::default(),
            site: None,
        })
    }

    #[test]
    fn an_expired_identity_is_notified_once_and_closed_after_the_grace_period() {
        let mut identities = Identities::default();
        assert_eq!((identities.deadline(), identities.must_close(NEVER)), (NEVER, false));
        identities.set(1, identity("a"), 100, 50, 30);
        assert_eq!(identities.deadline(), 150);
        assert!(identities.valid(1, 149).is_some() && identities.valid(2, 149).is_none());
        assert_eq!(identities.take_expired(149), None);
        assert_eq!(identities.take_expired(150), Some(1));
        assert_eq!(identities.take_expired(150), None, "notified once");
        assert!(identities.valid(1, 150).is_none() && identities.get(1).is_some());
        assert_eq!((identities.deadline(), identities.must_close(179)), (180, false));
        assert!(identities.must_close(180));
    }

    #[test]
    fn a_new_token_replaces_the_identity_of_its_namespace_only() {
        let mut identities = Identities::default();
        identities.set(1, identity("a"), 0, 10, 10);
        identities.set(2, identity("b"), 0, 500, 10);
        assert_eq!(identities.take_expired(15), Some(1));
        identities.set(1, identity("a"), 15, 1000, 10);
        assert_eq!((identities.deadline(), identities.must_close(100)), (500, false));
        identities.remove(2);
        assert_eq!(identities.deadline(), 1015);
        identities.remove(1);
        assert!(identities.0.is_none(), "no memory is left");
    }

    #[test]
    fn a_connection_is_notified_before_it_is_closed_even_without_grace() {
        let mut identities = Identities::default();
        identities.set(1, identity("a"), 0, 10, 0);
        assert!(!identities.must_close(NEVER - 1));
        assert_eq!(identities.take_expired(10), Some(1));
        assert!(identities.must_close(10));
        identities.set(1, identity("a"), 0, NEVER, NEVER);
        assert_eq!(identities.deadline(), NEVER, "times do not overflow");
    }
}
