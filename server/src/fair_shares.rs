//! Counts things of which there are only so many, and divides them between clients, or between users.
//!
//! A client that has `n` may have another one only if `n × max < 20 × free²`. So a client that is alone may have 4 of 5, a
//! client with few is hardly limited, and one without any always finds one as long as one is free.
//!
//! However many clients take as much as they can, they leave room: `k` of them leave at least one of `20 × k + 1`, less
//! one for each because of rounding. Proof: take the clients in the order of their last additions. After the `k`-th of
//! these, `free` has only grown since the one before by what others returned, so each client has at most
//! `20 × free² / max` with what was free after its last addition. Then `k` clients leave at least `f(k)`, with
//! `f(0) = max` and `f(k) + 20 × f(k)² / max = f(k - 1)`. Hence `max / f(k) ≤ max / f(k - 1) + 20`. A rule that is
//! proportional to what is free, as the dynamic thresholds of Choudhury and Hahne are, leaves `1 / 20^k` with the same
//! share for the first: four clients leave nothing.

use crate::client::Client;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::hash::Hash;

/// The factor of the rule: see the head of this file.
const FACTOR: u128 = 20;

/// The counts of all clients.
#[derive(Debug)]
pub struct FairShares<K = Client> {
    max: usize,
    count: usize,
    by_client: HashMap<K, usize>,
}

/// Why a client may not have another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoShare {
    /// All of them are in use.
    AllInUse,
    /// The client has its share.
    ClientHasItsShare,
}

/// Whether a client that has `count` may have another one, if `free` of `max` are free.
pub fn may_have_another(count: usize, free: usize, max: usize) -> bool {
    let (count, free, max) = (count as u128, free as u128, max as u128);
    free > 0 && (count == 0 || count * max < FACTOR * free * free)
}

// === impl FairShares ===

impl<K: Copy + Eq + Hash> FairShares<K> {
    /// `max` is how many there are.
    pub fn new(max: usize) -> Self {
        Self { max, count: 0, by_client: HashMap::new() }
    }

    /// Changes how many there are. Clients keep what they have.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// The number that this client has.
    pub fn of(&self, client: K) -> usize {
        self.by_client.get(&client).copied().unwrap_or_default()
    }

    /// Whether a client may have another one.
    ///
    /// # Errors
    /// [`NoShare`].
    pub fn check(&self, client: K) -> Result<(), NoShare> {
        match self.max.saturating_sub(self.count) {
            0 => Err(NoShare::AllInUse),
            free if !may_have_another(self.of(client), free, self.max) => Err(NoShare::ClientHasItsShare),
            _ => Ok(()),
        }
    }

    /// Counts one more of a client.
    pub fn add(&mut self, client: K) {
        self.count += 1;
        *self.by_client.entry(client).or_default() += 1;
    }

    /// Counts one less of a client.
    pub fn remove(&mut self, client: K) {
        let Entry::Occupied(mut count) = self.by_client.entry(client) else { return };
        self.count -= 1;
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }

    /// The number of clients that have one, and of all things that are in use.
    #[cfg(test)]
    pub fn usage(&self) -> (usize, usize) {
        (self.by_client.len(), self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn client(number: u8) -> Client {
        Client::of(IpAddr::from([10, 0, 0, number]))
    }

    /// Adds as many as a client may have.
    fn fill(shares: &mut FairShares, number: u8) -> usize {
        let mut added = 0;
        while shares.check(client(number)).is_ok() {
            shares.add(client(number));
            added += 1;
        }
        added
    }

    #[test]
    fn a_client_that_is_alone_has_most_and_others_always_find_some() {
        let mut shares = FairShares::new(10_000);
        assert_eq!([1, 2, 3].map(|number| fill(&mut shares, number)), [8_000, 1_220, 358], "4 of 5");
        for number in 4..40 {
            assert_eq!(shares.check(client(number)), Ok(()));
            shares.add(client(number));
        }
        assert_eq!(shares.check(client(1)), Err(NoShare::ClientHasItsShare));
        (0..5_000).for_each(|_| shares.remove(client(1)));
        assert_eq!([1, 2].map(|number| shares.check(client(number))), [Ok(()), Ok(())]);
    }

    /// What clients leave that take as much as they can, one after another.
    fn left_by(clients: u8, max: usize) -> usize {
        let mut shares = FairShares::new(max);
        for number in 0..clients {
            fill(&mut shares, number);
        }
        max - shares.count
    }

    #[test]
    fn any_number_of_greedy_clients_leave_room_for_another() {
        for max in [1_000, 10_000, 200_000] {
            for clients in 1..=40_u8 {
                let (left, clients) = (left_by(clients, max), usize::from(clients));
                let bound = (max / (20 * clients + 1)).saturating_sub(clients);
                assert!(left >= bound, "{clients} clients leave {left} of {max}, less than {bound}");
            }
        }
    }

    /// Clients take and return in any order. They never leave less than as many that take all they can one after another.
    #[test]
    fn no_order_of_taking_and_returning_leaves_less() {
        const MAX: usize = 500;
        let mut random = 12_u64;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let least: Vec<_> = (0..=12).map(|clients| left_by(clients, MAX)).collect();
        let mut shares = FairShares::new(MAX);
        for _ in 0..200_000 {
            let one = client(next(12) as u8);
            let amount = next(60);
            for _ in 0..amount {
                match next(8) {
                    0..5 if shares.check(one).is_ok() => shares.add(one),
                    7 => shares.remove(one),
                    _ => {}
                }
            }
            let (clients, count) = shares.usage();
            assert!(MAX - count >= least[clients], "{clients} clients leave {}", MAX - count);
        }
    }

    #[test]
    fn few_are_not_divided_and_nothing_is_left_behind() {
        let mut shares = FairShares::new(3);
        assert_eq!(fill(&mut shares, 1), 3);
        assert_eq!(shares.check(client(2)), Err(NoShare::AllInUse));
        (0..9).for_each(|_| shares.remove(client(1)));
        assert_eq!(shares.usage(), (0, 0));
    }
}
