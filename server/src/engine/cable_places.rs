//! The cursors and sessions of Action Cable that this process keeps, or has written for its clients. Clients share the
//! places, so that none of them takes those of others. Each engine of a process has its own.

use crate::client::Client;
use crate::fair_shares::FairShares;
use hashbrown::HashMap;
use nodevent_protocol::action_cable::stored::CableKey;
use std::collections::BTreeSet;
use std::time::Instant;

/// Places of a namespace. About 20 MB with cursors, and 30 MB with sessions.
pub(super) const MAX_PLACES: usize = 100_000;
/// What one place has room for, of a text. Bytes.
const BYTES_PER_PLACE: usize = 256;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct CablePlaces<T> {
    entries: HashMap<CableKey, Entry<T>>,
    /// By the time at which they are forgotten.
    order: BTreeSet<(Instant, CableKey)>,
    shares: FairShares,
}

#[derive(Debug)]
struct Entry<T> {
    client: Client,
    places: usize,
    until: Instant,
    value: T,
}

// === impl CablePlaces ===

impl<T> Default for CablePlaces<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: BTreeSet::new(), shares: FairShares::new(MAX_PLACES) }
    }
}

impl<T> CablePlaces<T> {
    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((_, key)) = self.order.first().copied().filter(|(until, _)| *until <= now) {
            self.remove(key);
        }
    }

    /// What is kept under a name.
    pub(super) fn get_mut(&mut self, key: CableKey) -> Option<&mut T> {
        self.entries.get_mut(&key).map(|entry| &mut entry.value)
    }

    /// Everything that is kept: its name, its client, the time at which it is forgotten, and the value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CableKey, Client, Instant, &T)> {
        self.entries.iter().map(|(key, entry)| (*key, entry.client, entry.until, &entry.value))
    }

    /// What is kept under a name, with its client and the time at which it is forgotten.
    pub(super) fn get(&self, key: CableKey) -> Option<(Client, Instant, &T)> {
        self.entries.get(&key).map(|entry| (entry.client, entry.until, &entry.value))
    }

    /// Keeps a value of about `bytes` for a client. Returns `false` if the client has no place.
    pub(super) fn insert(&mut self, key: CableKey, client: Client, bytes: usize, value: T, until: Instant) -> bool {
        self.remove(key);
        let places = 1 + bytes / BYTES_PER_PLACE;
        for taken in 0..places {
            if self.shares.check(client).is_err() {
                (0..taken).for_each(|_| self.shares.remove(client));
                return false;
            }
            self.shares.add(client);
        }
        self.entries.insert(key, Entry { client, places, until, value });
        self.order.insert((until, key));
        true
    }

    /// Keeps a value for longer.
    pub(super) fn keep(&mut self, key: CableKey, until: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        self.order.remove(&(std::mem::replace(&mut entry.until, until), key));
        self.order.insert((until, key));
    }

    /// Forgets a value, and returns it.
    pub(super) fn remove(&mut self, key: CableKey) -> Option<T> {
        let entry = self.entries.remove(&key)?;
        self.order.remove(&(entry.until, key));
        (0..entry.places).for_each(|_| self.shares.remove(entry.client));
        Some(entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn client(number: u8) -> Client {
        Client::of(IpAddr::from([10, 0, 0, number]))
    }

    fn key(number: usize) -> CableKey {
        CableKey::session("", &number.to_string())
    }

    #[test]
    fn a_value_is_kept_for_its_time_and_its_place_is_free_again() {
        let (mut places, now, second) = (CablePlaces::default(), Instant::now(), Duration::from_secs(1));
        assert!(places.insert(key(1), client(1), 1000, "a", now + second));
        assert_eq!(places.shares.of(client(1)), 4);
        places.keep(key(1), now + 3 * second);
        places.expire(now + 2 * second);
        assert_eq!(places.get_mut(key(1)), Some(&mut "a"));
        assert!(places.insert(key(1), client(2), 0, "b", now + 4 * second));
        assert_eq!((places.shares.of(client(1)), places.shares.of(client(2))), (0, 1), "it has replaced the other");
        places.expire(now + 4 * second);
        assert!(places.entries.is_empty() && places.order.is_empty());
        assert_eq!(places.shares.usage(), (0, 0));
    }

    #[test]
    fn no_client_takes_the_places_of_others() {
        let (mut places, now) = (CablePlaces::default(), Instant::now());
        let count = (0..).take_while(|number| places.insert(key(*number), client(1), 0, (), now)).count();
        assert!(count < MAX_PLACES, "{count}");
        let sessions = (count..).take_while(|number| places.insert(key(*number), client(2), 4096, (), now)).count();
        assert!(sessions > 0 && sessions < MAX_PLACES / 16, "{sessions}");
        assert!(places.insert(key(usize::MAX), client(3), 0, (), now));
    }
}
