//! Connections that have joined no room, and which of them make room for newer ones.
//!
//! Both all of them and those of one address have a limit, so that one client cannot use up what others need.

use crate::client::Client;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::collections::VecDeque;

/// Connections that have joined no room, in the order in which they were opened.
#[derive(Debug, Default)]
pub(super) struct Roomless {
    by_client: HashMap<Client, VecDeque<u32>>,
    /// All roomless connections. May also contain connections that have joined a room or closed.
    queue: VecDeque<(u32, u32)>,
    count: usize,
}

/// The limits of [`Roomless`] per shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoomlessLimits {
    /// Connections of one client.
    pub(super) per_client: usize,
    /// Connections of all clients.
    pub(super) total: usize,
}

// === impl Roomless ===

impl Roomless {
    /// Adds a new connection. Returns the slot of the connection that must make room for it, if one must: the oldest
    /// one of the same client, or of all clients.
    pub(super) fn add(
        &mut self,
        slot: u32,
        generation: u32,
        client: Client,
        limits: RoomlessLimits,
    ) -> Option<u32> {
        let of_client = self.by_client.entry(client).or_default();
        of_client.push_back(slot);
        let oldest_of_client = (of_client.len() > limits.per_client).then(|| of_client.front().copied()).flatten();
        self.count += 1;
        self.queue.push_back((slot, generation));
        oldest_of_client
    }

    /// The oldest connection of all, if there are too many. `is_roomless` decides whether the connection of an entry
    /// still exists without a room.
    pub(super) fn oldest(&mut self, limits: RoomlessLimits, is_roomless: impl Fn(u32, u32) -> bool) -> Option<u32> {
        if self.queue.len() > 2 * self.count + 64 {
            self.queue.retain(|(slot, generation)| is_roomless(*slot, *generation));
        }
        if self.count <= limits.total {
            return None;
        }
        while let Some((slot, generation)) = self.queue.front().copied() {
            if is_roomless(slot, generation) {
                return Some(slot);
            }
            self.queue.pop_front();
        }
        None
    }

    /// Removes a connection that has joined a room or is closed.
    pub(super) fn remove(&mut self, slot: u32, client: Client) {
        let Entry::Occupied(mut of_client) = self.by_client.entry(client) else { return };
        let Some(index) = of_client.get().iter().position(|one| *one == slot) else { return };
        of_client.get_mut().remove(index);
        if of_client.get().is_empty() {
            of_client.remove();
        }
        self.count -= 1;
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
    fn the_oldest_connection_without_a_room_makes_room_for_a_newer_one_of_its_client() {
        let limits = RoomlessLimits { per_client: 2, total: 100 };
        let mut roomless = Roomless::default();
        assert_eq!(roomless.add(1, 1, client(1), limits), None);
        assert_eq!(roomless.add(2, 2, client(1), limits), None);
        assert_eq!(roomless.add(3, 3, client(2), limits), None);
        assert_eq!(roomless.add(4, 4, client(1), limits), Some(1));
        roomless.remove(1, client(1));
        roomless.remove(2, client(1));
        assert_eq!(roomless.add(5, 5, client(1), limits), None);
    }

    #[test]
    fn clients_together_displace_the_oldest_of_all() {
        let limits = RoomlessLimits { per_client: 2, total: 3 };
        let mut roomless = Roomless::default();
        for slot in 0..4 {
            assert_eq!(roomless.add(slot, slot, client(slot as u8), limits), None);
        }
        assert_eq!(roomless.oldest(limits, |slot, _| slot != 0), Some(1), "0 has joined a room");
        roomless.remove(1, client(1));
        assert_eq!(roomless.oldest(limits, |slot, _| slot > 1), None);
    }

    #[test]
    fn connections_that_join_leave_no_memory_behind() {
        let limits = RoomlessLimits { per_client: 2, total: 3 };
        let mut roomless = Roomless::default();
        for slot in 0..10_000 {
            roomless.add(slot, slot, client(slot as u8), limits);
            roomless.remove(slot, client(slot as u8));
            roomless.oldest(limits, |_, _| false);
        }
        assert!(roomless.by_client.is_empty());
        assert!(roomless.queue.len() <= 65, "{}", roomless.queue.len());
    }
}
