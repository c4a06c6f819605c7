//! Which connections have received which event, of those that were published to several targets.
//!
//! Copies of one event reach a connection through its user, its rooms and all connections, within moments of each other
//! or in recoveries. The shard remembers for a minute who has received one, so that no connection needs memory for it.

use crate::protocol::Millis;
use hashbrown::HashSet;
use nodevent_protocol::publication::PublicationId;
use std::collections::VecDeque;

/// Time for which a delivery is remembered. Milliseconds.
const RETENTION: Millis = 60_000;
/// Deliveries that are remembered. Beyond it the oldest are forgotten, and a copy that is late by so many may be a
/// duplicate. About 12 MB.
const MAX: usize = 256 * 1024;

/// Deliveries that are forgotten at once: the shard does nothing else meanwhile.
const MAX_FORGOTTEN: usize = 4 * 1024;

/// An event, the connection that has received it, by the generation of its slot, and the namespace: publishers of another one
/// may use the same id.
type Delivery = (PublicationId, u32, u16);

/// The deliveries of the last minute.
#[derive(Debug, Default)]
pub(super) struct Received {
    known: HashSet<Delivery>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Millis, Delivery)>,
}

// === impl Received ===

impl Received {
    /// Whether a connection has received a copy.
    pub(super) fn contains(&self, namespace: u16, id: PublicationId, generation: u32) -> bool {
        self.known.contains(&(id, generation, namespace))
    }

    /// Records that a connection receives a copy. Returns whether it is the first one.
    pub(super) fn insert(&mut self, namespace: u16, id: PublicationId, generation: u32, now: Millis) -> bool {
        self.expire(now);
        let delivery = (id, generation, namespace);
        let is_first = self.known.insert(delivery);
        if is_first {
            self.order.push_back((now, delivery));
        }
        is_first
    }

    /// Forgets some of what is too old or too much, and frees the memory if nothing is left.
    pub(super) fn expire(&mut self, now: Millis) {
        for _ in 0..MAX_FORGOTTEN {
            let Some((at, delivery)) = self.order.front() else { return };
            if now.saturating_sub(*at) < RETENTION && self.order.len() < MAX {
                return;
            }
            self.known.remove(delivery);
            self.order.pop_front();
            if self.order.is_empty() {
                *self = Self::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_copy_is_received_and_the_others_are_not() {
        // T-20, W-19
        let (mut received, id) = (Received::default(), PublicationId::of("a"));
        assert!(received.insert(0, id, 1, 0) && !received.insert(0, id, 1, 10));
        assert!(received.contains(0, id, 1) && !received.contains(1, id, 1));
        assert!(received.insert(0, id, 2, 10), "another connection");
        assert!(received.insert(0, PublicationId::of("b"), 1, 10), "another event");
        assert!(received.insert(1, id, 1, 10), "another namespace");
    }

    #[test]
    fn memory_is_bounded_and_freed_after_a_minute() {
        //
        let mut received = Received::default();
        for generation in 0..2 * MAX as u32 {
            assert!(received.insert(0, PublicationId::of("a"), generation, 5));
        }
        assert!(received.known.len() <= MAX && received.order.len() == received.known.len());
        let before = received.order.len();
        received.expire(5 + RETENTION);
        assert_eq!(received.order.len(), before - MAX_FORGOTTEN, "in steps");
        (0..MAX / MAX_FORGOTTEN).for_each(|_| received.expire(5 + RETENTION));
        assert_eq!((received.known.capacity(), received.order.capacity()), (0, 0));
    }
}
