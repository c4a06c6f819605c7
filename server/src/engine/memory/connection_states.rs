//! The connections that were restored, in the memory engine. A restart forgets them.

use crate::connection_state::{ClaimRequest, ConnectionStates};
use crate::outcome::Outcome;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Connections that are remembered. If there are more, no other connection is restored. About 5 MB.
const MAX_RESTORED: usize = 100_000;

/// The connections that were restored, until their states are not valid any more.
#[derive(Debug, Default)]
pub(super) struct StatesInMemory(Mutex<Restored>);

#[derive(Debug, Default)]
struct Restored {
    known: HashSet<u64>,
    /// In the order in which they are forgotten: all have the same lifetime.
    order: VecDeque<(Instant, u64)>,
}

// === impl Restored ===

impl Restored {
    fn claim(&mut self, instance: u64, now: Instant, until: Instant) -> bool {
        while let Some((_, oldest)) = self.order.front().filter(|(until, _)| *until < now) {
            self.known.remove(oldest);
            self.order.pop_front();
        }
        if self.known.len() >= MAX_RESTORED || !self.known.insert(instance) {
            return false;
        }
        self.order.push_back((until, instance));
        true
    }
}

impl ConnectionStates for StatesInMemory {
    fn claim(&self, request: ClaimRequest) -> Outcome<bool> {
        let now = Instant::now();
        // A panic leaves nothing in it that could not be used.
        let mut restored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Outcome::Ready(restored.claim(request.instance, now, now + request.lifetime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_connection_is_restored_once_until_its_states_are_too_old_anyway() {
        let (mut restored, now, second) = (Restored::default(), Instant::now(), Duration::from_secs(1));
        assert!(restored.claim(1, now, now + second));
        assert!(!restored.claim(1, now, now + second));
        assert!(!restored.claim(1, now + second, now + second * 2));
        assert!(restored.claim(2, now + second * 2, now + second * 3));
        assert_eq!((restored.known.len(), restored.order.len()), (1, 1), "the first one is forgotten");
    }

    #[test]
    fn their_number_is_bounded() {
        let (mut restored, now, second) = (Restored::default(), Instant::now(), Duration::from_secs(1));
        assert!((0..MAX_RESTORED as u64).all(|instance| restored.claim(instance, now, now + second)));
        assert!(!restored.claim(u64::MAX, now, now + second));
        assert!(restored.claim(u64::MAX, now + second * 2, now + second * 3));
    }
}
