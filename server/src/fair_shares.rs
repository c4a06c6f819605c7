//! Counts things of which there are only so many, and divides them between clients.
//!
//! A client may have at most [`SHARE`] times as many as are still free. So a client that is alone may have 19 of 20,
//! several clients share them, and a client with few always finds a free one. (These are the dynamic thresholds of
//! Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.)

use crate::client::Client;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// A client may have so many times the things that are free.
const SHARE: usize = 19;

/// The counts of all clients.
#[derive(Debug)]
pub struct FairShares {
    max: usize,
    count: usize,
    by_client: HashMap<Client, usize>,
}

/// Why a client may not have another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoShare {
    /// All of them are in use.
    AllInUse,
    /// The client has its share.
    ClientHasItsShare,
}

// === impl FairShares ===

impl FairShares {
    /// `max` is how many there are.
    pub fn new(max: usize) -> Self {
        Self { max, count: 0, by_client: HashMap::new() }
    }

    /// The number that this client has.
    pub fn of(&self, client: Client) -> usize {
        self.by_client.get(&client).copied().unwrap_or_default()
    }

    /// Whether a client may have another one.
    ///
    /// # Errors
    /// [`NoShare`].
    pub fn check(&self, client: Client) -> Result<(), NoShare> {
        match self.max.saturating_sub(self.count) {
            0 => Err(NoShare::AllInUse),
            free if self.of(client) > free.saturating_mul(SHARE) => Err(NoShare::ClientHasItsShare),
            _ => Ok(()),
        }
    }

    /// Counts one more of a client.
    pub fn add(&mut self, client: Client) {
        self.count += 1;
        *self.by_client.entry(client).or_default() += 1;
    }

    /// Counts one less of a client.
    pub fn remove(&mut self, client: Client) {
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
    fn a_client_that_is_alone_has_nearly_all_and_others_always_find_some() {
        let mut shares = FairShares::new(10_000);
        assert_eq!(
            [fill(&mut shares, 1), fill(&mut shares, 2)],
            [9_501, 475],
            "19 of 20, and 19 of 20 of the others"
        );
        for number in 3..20 {
            assert_eq!(shares.check(client(number)), Ok(()));
            shares.add(client(number));
        }
        assert_eq!(shares.check(client(1)), Err(NoShare::ClientHasItsShare));
        (0..5_000).for_each(|_| shares.remove(client(1)));
        assert_eq!([1, 2].map(|number| shares.check(client(number))), [Ok(()), Ok(())]);
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
