//! The connections that were restored, in the memory engine. A restart forgets them.

use super::super::claims::Claims;
use crate::client::Client;
use crate::connection_state::{ClaimRequest, ConnectionStates};
use crate::outcome::Outcome;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The connections that were restored, until their states are not valid any more.
#[derive(Debug, Default)]
pub(super) struct StatesInMemory(Mutex<Restored>);

#[derive(Debug, Default)]
struct Restored {
    known: HashSet<u64>,
    claims: Claims,
}

// === impl Restored ===

impl Restored {
    fn claim(&mut self, client: Client, instance: u64, now: Instant, until: Instant) -> bool {
        for forgotten in self.claims.expire(now) {
            self.known.remove(&forgotten);
        }
        if !self.claims.has_place(client) || !self.known.insert(instance) {
            return false;
        }
        self.claims.add(client, instance, until);
        true
    }
}

impl ConnectionStates for StatesInMemory {
    fn claim(&self, request: ClaimRequest) -> Outcome<bool> {
        let now = Instant::now();
        // A panic leaves nothing in it that could not be used.
        let mut restored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Outcome::Ready(restored.claim(request.client, request.instance, now, now + request.lifetime))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::claims::MAX_CLAIMS;
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn client(number: u8) -> Client {
        Client::of(IpAddr::from([10, 0, 0, number]))
    }

    #[test]
    fn a_connection_is_restored_once_until_its_states_are_too_old_anyway() {
        let (mut restored, now, second) = (Restored::default(), Instant::now(), Duration::from_secs(1));
        let one = client(1);
        assert!(restored.claim(one, 1, now, now + second));
        assert!(!restored.claim(one, 1, now, now + second));
        assert!(!restored.claim(one, 1, now + second, now + second * 2));
        assert!(restored.claim(one, 2, now + second * 2, now + second * 3));
        assert_eq!(restored.known.len(), 1, "the first one is forgotten");
        assert!(restored.claims.expire(now + second * 4) == [2] && restored.claims.has_place(one));
    }

    #[test]
    fn their_number_is_bounded_and_no_client_takes_the_places_of_others() {
        let (mut restored, now, second) = (Restored::default(), Instant::now(), Duration::from_secs(1));
        let mut claim = |number, at| {
            let mut instances = (u64::from(number) << 32..).take(MAX_CLAIMS + 1);
            instances
                .find(|instance| !restored.claim(client(number), *instance, at, at + second))
                .map(|one| one as u32)
        };
        let mut all = 0;
        for number in 1..=20 {
            let claimed = claim(number, now).expect("a bound");
            assert!(claimed > 0, "client {number}");
            all += claimed as usize;
        }
        assert!(all <= MAX_CLAIMS, "{all}");
        assert_eq!(claim(1, now), Some(0));
        assert!(claim(1, now + second * 2).is_some_and(|claimed| claimed > 0));
    }
}
