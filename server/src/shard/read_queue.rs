//! The sockets that are to be read in a later turn, and whose turn it is.
//!
//! Clients have their turns one after another, and each turn is one read. So a client with many sockets that always have
//! something to read delays another client by one read, however many sockets it has.

use crate::client::Client;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::collections::VecDeque;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct ReadQueue {
    /// The slots of each client, in the order in which they were added. None of them is empty.
    by_client: HashMap<Client, VecDeque<u32>>,
    /// The clients in `by_client`, in the order of their turns.
    turns: VecDeque<Client>,
    len: usize,
}

// === impl ReadQueue ===

impl ReadQueue {
    /// The number of sockets.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds the socket in a slot.
    pub(super) fn push(&mut self, client: Client, slot: u32) {
        let slots = self.by_client.entry(client).or_default();
        if slots.is_empty() {
            self.turns.push_back(client);
        }
        slots.push_back(slot);
        self.len += 1;
    }

    /// Removes the socket whose turn it is.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let client = self.turns.pop_front()?;
        let Entry::Occupied(mut slots) = self.by_client.entry(client) else { return None };
        let slot = slots.get_mut().pop_front()?;
        if slots.get().is_empty() {
            slots.remove();
        } else {
            self.turns.push_back(client);
        }
        self.len -= 1;
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn client(number: u8) -> Client {
        Client::of(IpAddr::from([10, 0, 0, number]))
    }

    #[test]
    fn clients_have_their_turns_one_after_another() {
        let mut queue = ReadQueue::default();
        (0..1_000).for_each(|slot| queue.push(client(1), slot));
        (2_000..2_002).for_each(|slot| queue.push(client(2), slot));
        queue.push(client(3), 3_000);
        let order = Vec::from_iter((0..7).filter_map(|_| queue.pop()));
        assert_eq!(order, [0, 2_000, 3_000, 1, 2_001, 2, 3]);
        assert_eq!(queue.len(), 1_003 - 7);
    }

    #[test]
    fn a_client_that_is_always_there_delays_others_by_one_read() {
        let mut queue = ReadQueue::default();
        (0..100).for_each(|slot| queue.push(client(1), slot));
        for round in 0..1_000 {
            queue.push(client(2), 7_000 + round);
            let first = queue.pop().unwrap();
            let second = queue.pop().unwrap();
            assert!([first, second].contains(&(7_000 + round)), "{first}, {second}");
            for read in [first, second].into_iter().filter(|slot| *slot < 100) {
                queue.push(client(1), read);
            }
        }
    }

    #[test]
    fn an_empty_queue_keeps_nothing() {
        let mut queue = ReadQueue::default();
        for number in 0..200 {
            queue.push(client(number), u32::from(number));
        }
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 200);
        assert!(queue.by_client.is_empty() && queue.turns.is_empty() && queue.len == 0);
    }
}
