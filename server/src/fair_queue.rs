//! A queue in which clients, or users, have their turns one after another, however many entries each has.
//!
//! So one with very many entries delays another one by one entry: sockets that are to be read, mailboxes, presence.

use hashbrown::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;

/// The queue. `K` is whose turns they are.
#[derive(Debug)]
pub(crate) struct FairQueue<K, T> {
    /// The entries of each, in the order in which they were added. None of them is empty.
    by_owner: HashMap<K, VecDeque<T>>,
    /// The owners in `by_owner`, in the order of their turns.
    turns: VecDeque<K>,
    len: usize,
}

// === impl FairQueue ===

impl<K, T> Default for FairQueue<K, T> {
    fn default() -> Self {
        Self { by_owner: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }
}

impl<K: Eq + Hash + Clone, T> FairQueue<K, T> {
    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, owner: K, entry: T) {
        let entries = self.by_owner.entry(owner.clone()).or_default();
        if entries.is_empty() {
            self.turns.push_back(owner);
        }
        entries.push_back(entry);
        self.len += 1;
    }

    /// Removes the entry whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<(K, T)> {
        let owner = self.turns.pop_front()?;
        let entries = self.by_owner.get_mut(&owner)?;
        let entry = entries.pop_front()?;
        if entries.is_empty() {
            self.by_owner.remove(&owner);
        } else {
            self.turns.push_back(owner.clone());
        }
        self.len -= 1;
        Some((owner, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next entry.
    fn pop(queue: &mut FairQueue<u8, u32>) -> Option<u32> {
        queue.pop().map(|(_, entry)| entry)
    }

    #[test]
    fn clients_have_their_turns_one_after_another() {
        let mut queue = FairQueue::default();
        (0..1_000).for_each(|slot| queue.push(1, slot));
        (2_000..2_002).for_each(|slot| queue.push(2, slot));
        queue.push(3, 3_000);
        let order = Vec::from_iter((0..7).filter_map(|_| pop(&mut queue)));
        assert_eq!(order, [0, 2_000, 3_000, 1, 2_001, 2, 3]);
        assert_eq!(queue.len(), 1_003 - 7);
    }

    #[test]
    fn a_client_that_is_always_there_delays_others_by_one_entry() {
        let mut queue = FairQueue::default();
        (0..100).for_each(|slot| queue.push(1, slot));
        for round in 0..1_000 {
            queue.push(2, 7_000 + round);
            let first = pop(&mut queue).unwrap();
            let second = pop(&mut queue).unwrap();
            assert!([first, second].contains(&(7_000 + round)), "{first}, {second}");
            for read in [first, second].into_iter().filter(|slot| *slot < 100) {
                queue.push(1, read);
            }
        }
    }

    #[test]
    fn an_empty_queue_keeps_nothing() {
        let mut queue = FairQueue::default();
        for number in 0..200_u32 {
            queue.push(number, number);
        }
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 200);
        assert!(queue.by_owner.is_empty() && queue.turns.is_empty() && queue.is_empty());
    }
}
