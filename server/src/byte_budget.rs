//! A budget of bytes that clients share: what they have sent or have not read yet.
//!
//! A client may hold as much as is still free. So one that is alone may hold half of the budget, two hold a third each, and
//! however many there are, a part is left for the next one. (These are the dynamic thresholds of [`crate::fair_shares`].) A
//! client that holds nothing may always hold one thing, so that a busy server still serves it.

use crate::client::Client;
use bytes::Bytes;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The budget.
#[derive(Debug)]
pub struct ByteBudget {
    /// Maximum of all clients. Bytes.
    max: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    by_client: HashMap<Client, OfClient>,
}

#[derive(Debug, Default, Clone, Copy)]
struct OfClient {
    bytes: usize,
    /// The things that hold them.
    count: usize,
}

/// Bytes that one thing holds, until this is dropped.
#[derive(Debug)]
pub struct HeldBytes {
    budget: Arc<ByteBudget>,
    client: Client,
    bytes: usize,
}

/// Bytes that count towards a budget until they are dropped.
#[derive(Debug)]
pub struct BudgetedBytes {
    bytes: Bytes,
    _held: HeldBytes,
}

// === impl ByteBudget ===

impl ByteBudget {
    /// # Units
    /// `max` is in bytes.
    pub fn new(max: usize) -> Self {
        Self { max, used: Mutex::default() }
    }

    /// Holds `bytes` for a client. `None`: it or all clients hold too much.
    pub fn hold(self: &Arc<Self>, client: Client, bytes: usize) -> Option<HeldBytes> {
        let mut used = self.used();
        let others = used.by_client.get(&client).copied().unwrap_or_default();
        if others.count > 0 && !self.fits(&used, others.bytes, bytes) {
            return None;
        }
        used.bytes += bytes;
        let of_client = OfClient { bytes: others.bytes + bytes, count: others.count + 1 };
        used.by_client.insert(client, of_client);
        Some(HeldBytes { budget: Arc::clone(self), client, bytes })
    }

    /// What all clients hold. Bytes.
    pub fn bytes(&self) -> usize {
        self.used().bytes
    }

    /// What a client holds. Bytes.
    pub fn bytes_of(&self, client: Client) -> usize {
        self.used().by_client.get(&client).map_or(0, |of_client| of_client.bytes)
    }

    /// The number of clients that hold something, and the bytes of all.
    #[cfg(test)]
    pub fn usage(&self) -> (usize, usize) {
        let used = self.used();
        (used.by_client.len(), used.bytes)
    }

    fn fits(&self, used: &Used, of_client: usize, more: usize) -> bool {
        let free = self.max.checked_sub(used.bytes + more);
        free.is_some_and(|free| of_client + more <= free)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl HeldBytes ===

impl HeldBytes {
    /// Holds `more` bytes. Returns `false` if the client holds other things too, and it or all clients hold too much.
    pub fn grow(&mut self, more: usize) -> bool {
        let mut used = self.budget.used();
        let of_client = used.by_client.get(&self.client).copied().unwrap_or_default();
        if of_client.count > 1 && !self.budget.fits(&used, of_client.bytes, more) {
            return false;
        }
        used.bytes += more;
        used.by_client.entry(self.client).or_default().bytes += more;
        self.bytes += more;
        true
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        let mut used = self.budget.used();
        used.bytes -= self.bytes;
        if let Entry::Occupied(mut entry) = used.by_client.entry(self.client) {
            let of_client = entry.get_mut();
            of_client.bytes -= self.bytes;
            of_client.count -= 1;
            if of_client.count == 0 {
                entry.remove();
            }
        }
    }
}

// === impl BudgetedBytes ===

impl BudgetedBytes {
    /// Joins bytes and what holds them.
    pub fn new(bytes: Bytes, held: HeldBytes) -> Self {
        Self { bytes, _held: held }
    }
}

impl Deref for BudgetedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const MEGABYTE: usize = 1 << 20;

    fn client(number: u8) -> Client {
        Client::of(IpAddr::from([10, 0, 0, number]))
    }

    fn budget() -> Arc<ByteBudget> {
        Arc::new(ByteBudget::new(48 * MEGABYTE))
    }

    #[test]
    fn one_client_cannot_use_up_the_budget_and_each_may_hold_one_thing() {
        let budget = budget();
        let mut held: Vec<_> = std::iter::from_fn(|| budget.hold(client(1), 10 * MEGABYTE)).collect();
        assert_eq!(held.len(), 2, "of 24 MB");
        held.extend(std::iter::from_fn(|| budget.hold(client(2), 10 * MEGABYTE)));
        assert_eq!(held.len(), 3, "one thing, which leaves 18 MB");
        let small: Vec<_> = std::iter::from_fn(|| budget.hold(client(3), MEGABYTE)).collect();
        assert_eq!(small.len(), 9, "half of what two others have left");
        let large: Vec<_> = (4..9).map(|number| budget.hold(client(number), 20 * MEGABYTE)).collect();
        assert!(large.iter().all(Option::is_some), "the first thing of each");
        drop((held, small, large));
        assert_eq!(budget.usage(), (0, 0));
    }

    /// Two addresses cannot use it up, nor can three.
    #[test]
    fn greedy_clients_leave_a_part_for_the_next_one() {
        let budget = budget();
        let fill = |number| {
            let held: Vec<_> = std::iter::from_fn(|| budget.hold(client(number), MEGABYTE)).collect();
            (held.len(), held)
        };
        let held = [1, 2, 3].map(fill);
        assert_eq!(held.each_ref().map(|(count, _)| *count), [24, 12, 6]);
        let mut next: Vec<_> = std::iter::from_fn(|| budget.hold(client(4), MEGABYTE)).collect();
        assert_eq!(next.len(), 3);
        drop(held);
        next.extend(std::iter::from_fn(|| budget.hold(client(4), MEGABYTE)));
        assert_eq!(next.len(), 24, "what others give back is shared again");
    }

    #[test]
    fn things_grow_within_the_budget_and_one_may_always_grow() {
        let budget = budget();
        let mut one = budget.hold(client(1), 0).unwrap();
        assert!(one.grow(100 * MEGABYTE), "it is the only thing of its client");
        let (mut two, mut three) = (budget.hold(client(2), 0).unwrap(), budget.hold(client(2), 0));
        assert!(three.is_none(), "all clients hold too much");
        assert!(two.grow(MEGABYTE));
        drop(one);
        three = budget.hold(client(2), 0);
        assert!(three.as_mut().is_some_and(|three| three.grow(23 * MEGABYTE) && !three.grow(1)));
        assert_eq!((budget.bytes(), budget.bytes_of(client(2))), (24 * MEGABYTE, 24 * MEGABYTE));
        assert_eq!(budget.usage(), (1, 24 * MEGABYTE));
        drop((two, three));
        assert_eq!(budget.usage(), (0, 0));
    }
}
