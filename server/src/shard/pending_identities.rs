//! The connections that wait for a decision about who they are: one for each connection and namespace.
//!
//! There is a limit for all of them, and a smaller one per client, so that one client cannot use up what others need.

use crate::client::Client;
use crate::history::RequestId;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// Connections that may wait, per shard.
const MAX_PENDING: usize = 16_384;
/// The part of them that one client may have.
const PENDING_PER_CLIENT: usize = MAX_PENDING / 4;

/// Connections that wait.
#[derive(Debug, Default)]
pub(super) struct PendingIdentities {
    /// By slot and namespace.
    all: HashMap<(u32, u16), PendingIdentity>,
    by_client: HashMap<Client, usize>,
}

/// A connection that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingIdentity {
    /// The number of the request.
    pub(super) id: u32,
    /// The slot's occupant.
    pub(super) generation: u32,
    /// The protocol's own id of the request.
    pub(super) request: RequestId,
    /// The client.
    pub(super) client: Client,
}

// === impl PendingIdentities ===

impl PendingIdentities {
    /// Whether a connection may wait. It may not if it waits already, or a limit is reached.
    pub(super) fn may_add(&self, slot: u32, namespace: u16, generation: u32, client: Client) -> bool {
        // An earlier occupant of the slot gives way.
        let waits = self.all.get(&(slot, namespace)).is_some_and(|one| one.generation == generation);
        let of_client = self.by_client.get(&client).copied().unwrap_or_default();
        !waits && self.all.len() < MAX_PENDING && of_client < PENDING_PER_CLIENT
    }

    /// Adds a connection for which [`PendingIdentities::may_add`] has returned true.
    pub(super) fn add(&mut self, slot: u32, namespace: u16, pending: PendingIdentity) {
        *self.by_client.entry(pending.client).or_default() += 1;
        if let Some(earlier) = self.all.insert((slot, namespace), pending) {
            self.count_removed(earlier.client);
        }
    }

    /// Removes and returns the request with that number, unless it was cancelled.
    pub(super) fn take(&mut self, slot: u32, namespace: u16, id: u32) -> Option<PendingIdentity> {
        let is_it = self.all.get(&(slot, namespace)).is_some_and(|one| one.id == id);
        if is_it { self.cancel(slot, namespace) } else { None }
    }

    /// Removes a connection that has left the namespace.
    pub(super) fn cancel(&mut self, slot: u32, namespace: u16) -> Option<PendingIdentity> {
        let removed = self.all.remove(&(slot, namespace))?;
        self.count_removed(removed.client);
        Some(removed)
    }

    fn count_removed(&mut self, client: Client) {
        let Entry::Occupied(mut count) = self.by_client.entry(client) else { return };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn pending(id: u32, generation: u32, host: u8) -> PendingIdentity {
        let client = Client::of(IpAddr::from([10, 0, 0, host]));
        PendingIdentity { id, generation, request: RequestId::default(), client }
    }

    #[test]
    fn one_client_cannot_take_the_places_of_others() {
        let mut all = PendingIdentities::default();
        let (one, other) = (pending(0, 1, 1), pending(0, 1, 2));
        let added = (0..MAX_PENDING as u32)
            .filter(|slot| {
                let may = all.may_add(*slot, 0, 1, one.client);
                may.then(|| all.add(*slot, 0, one)).is_some()
            })
            .count();
        assert_eq!(added, PENDING_PER_CLIENT);
        assert!(all.may_add(u32::MAX, 0, 1, other.client));
    }

    #[test]
    fn a_connection_waits_once_and_a_cancelled_request_has_no_reply() {
        let mut all = PendingIdentities::default();
        all.add(1, 0, pending(5, 9, 1));
        assert!(!all.may_add(1, 0, 9, pending(6, 9, 1).client), "it waits already");
        assert!(all.may_add(1, 1, 9, pending(6, 9, 1).client), "in another namespace");
        assert!(all.take(1, 0, 4).is_none());
        assert!(all.cancel(1, 0).is_some());
        assert!(all.take(1, 0, 5).is_none());
        all.add(1, 0, pending(5, 9, 1));
        assert!(all.may_add(1, 0, 10, pending(7, 10, 2).client), "another connection has the slot");
        all.add(1, 0, pending(7, 10, 2));
        assert!(all.take(1, 0, 5).is_none() && all.take(1, 0, 7).is_some());
        assert!(all.all.is_empty() && all.by_client.is_empty());
    }
}
