//! The states of connections that clients have used, counted until they are not valid any more. Clients share the places, so
//! that none of them ends the recovery of others. Each engine of a process has its own.

use crate::client::Client;
use crate::fair_shares::FairShares;
use std::collections::VecDeque;
use std::time::Instant;

/// Used states that a process counts for a namespace. A client without a place is not restored. About 10 MB.
pub(super) const MAX_CLAIMS: usize = 100_000;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Claims {
    shares: FairShares,
    /// In the order in which they are forgotten: all have the same lifetime.
    order: VecDeque<(Instant, Client, u64)>,
}

// === impl Claims ===

impl Default for Claims {
    fn default() -> Self {
        Self { shares: FairShares::new(MAX_CLAIMS), order: VecDeque::new() }
    }
}

impl Claims {
    /// Forgets what is over, and returns the instances of it.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<u64> {
        let mut forgotten = Vec::new();
        while let Some(&(_, client, instance)) = self.order.front().filter(|(until, ..)| *until < now) {
            self.shares.remove(client);
            self.order.pop_front();
            forgotten.push(instance);
        }
        forgotten
    }

    /// Whether a client may have another one.
    pub(super) fn has_place(&self, client: Client) -> bool {
        self.shares.check(client).is_ok()
    }

    /// Counts one.
    pub(super) fn add(&mut self, client: Client, instance: u64, until: Instant) {
        self.shares.add(client);
        self.order.push_back((until, client, instance));
    }
}
