//! Decisions that are used again: bounded in number, memory and time, the positive and the negative ones separately, so that a flood
//! of rejected clients removes no decision about others.
//!
//! A key is a hash of everything that was sent. Neither keys nor values contain a token or a cookie.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// The hash of what was sent.
pub(super) type Key = [u8; 32];

/// Decisions of one kind.
#[derive(Debug)]
pub(super) struct Cache<T> {
    entries: HashMap<Key, (Instant, T)>,
    /// The keys in the order in which they expire, with the time and the size. Bytes.
    order: VecDeque<(Instant, Key, usize)>,
    lifetime: Duration,
    max: usize,
    /// The size of all entries, and of those that were replaced and have not expired. Bytes.
    bytes: usize,
    max_bytes: usize,
}

// === impl Cache ===

impl<T> Cache<T> {
    /// A cache of at most `max` entries, which have at most so many bytes.
    pub(super) fn new(lifetime: Duration, max: usize, max_bytes: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), lifetime, max, bytes: 0, max_bytes }
    }

    /// The entry of a key, unless it has expired.
    pub(super) fn get(&mut self, key: &Key, now: Instant) -> Option<&T> {
        self.remove_expired(now);
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Adds or replaces an entry with this size in bytes. The oldest ones give way.
    pub(super) fn insert(&mut self, key: Key, value: T, size: usize, now: Instant) {
        self.remove_expired(now);
        if self.lifetime.is_zero() || size > self.max_bytes {
            return;
        }
        let expires = now + self.lifetime;
        self.entries.insert(key, (expires, value));
        self.order.push_back((expires, key, size));
        self.bytes += size;
        while self.order.len() > self.max || self.bytes > self.max_bytes {
            self.remove_first();
        }
    }

    fn remove_expired(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(expires, ..)| now >= *expires) {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        let Some((expires, key, size)) = self.order.pop_front() else { return };
        self.bytes -= size;
        // It may have been replaced since.
        if self.entries.get(&key).is_some_and(|(current, _)| *current == expires) {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        [number; 32]
    }

    #[test]
    fn entries_expire_and_the_oldest_gives_way() {
        let (mut cache, start) = (Cache::new(Duration::from_secs(10), 2, 1000), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        cache.insert(key(1), "a", 1, at(0));
        cache.insert(key(2), "b", 1, at(5));
        assert_eq!(cache.get(&key(1), at(9)), Some(&"a"));
        assert_eq!(cache.get(&key(2), at(9)), Some(&"b"));
        assert_eq!(cache.get(&key(1), at(10)), None);
        cache.insert(key(3), "c", 1, at(11));
        cache.insert(key(4), "d", 1, at(11));
        assert_eq!(cache.get(&key(2), at(11)), None, "there is place for two");
        cache.insert(key(4), "e", 1, at(12));
        assert_eq!(cache.get(&key(4), at(21)), Some(&"e"), "it was replaced");
        assert_eq!(cache.get(&key(4), at(22)), None);
        assert!(cache.entries.is_empty() && cache.order.is_empty() && cache.bytes == 0);
    }

    #[test]
    fn large_entries_make_the_oldest_give_way_and_one_that_is_too_large_is_not_kept() {
        let (mut cache, now) = (Cache::new(Duration::from_secs(10), 100, 1000), Instant::now());
        for number in 1..=20 {
            cache.insert(key(number), number, 300, now);
            assert!(cache.bytes <= 1000);
        }
        assert_eq!(cache.get(&key(17), now), None);
        assert_eq!(cache.get(&key(18), now), Some(&18));
        cache.insert(key(21), 21, 1001, now);
        assert_eq!(cache.get(&key(21), now), None);
        assert_eq!(cache.get(&key(20), now), Some(&20));
    }

    #[test]
    fn without_a_lifetime_nothing_is_kept() {
        let mut cache = Cache::new(Duration::ZERO, 2, 1000);
        cache.insert(key(1), (), 1, Instant::now());
        assert!(cache.entries.is_empty() && cache.order.is_empty());
    }
}
