//! The rooms of a history, by name and in lists by the time of their last publication.
//!
//! A room that is published to moves to the end of its list, so lists are linked through the rooms: that takes the same time
//! however many there are. Names are in a table of their own, which is small: a table of rooms would be up to twice as
//! large as its rooms, each time it grows.

use super::Room;
use hashbrown::HashTable;
use slab::Slab;
use std::hash::{BuildHasher, RandomState};
use std::ops::{Index, IndexMut};

/// The key of a room. It is used again after the room was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u32);

/// The rooms of a history.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    rooms: Slab<Linked>,
    names: HashTable<u32>,
    /// Seeded at random, so that clients cannot choose names that are slow to find.
    hasher: RandomState,
}

#[derive(Debug)]
struct Linked {
    room: Room,
    previous: Option<u32>,
    next: Option<u32>,
}

/// Rooms in the order in which they were added. A room is in one list at most.
#[derive(Debug, Default)]
pub(super) struct List {
    first: Option<u32>,
    last: Option<u32>,
}

// === impl Rooms ===

impl Rooms {
    pub(super) fn find(&self, name: &str) -> Option<Key> {
        let found =
            self.names.find(self.hasher.hash_one(name), |&key| *self.rooms[key as usize].room.name == *name);
        found.copied().map(Key)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Room> {
        self.find(name).map(|key| &self[key])
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Room> {
        self.find(name).map(|key| &mut self[key])
    }

    /// Adds a room, of whose name there is none.
    pub(super) fn insert(&mut self, room: Room) -> Key {
        let hash = self.hasher.hash_one(&*room.name);
        let key = self.rooms.insert(Linked { room, previous: None, next: None }) as u32;
        let Self { rooms, names, hasher } = self;
        names.insert_unique(hash, key, |&key| hasher.hash_one(&*rooms[key as usize].room.name));
        Key(key)
    }

    /// Removes a room, which is in no list.
    pub(super) fn remove(&mut self, key: Key) -> Room {
        let Linked { room, .. } = self.rooms.remove(key.0 as usize);
        if let Ok(entry) = self.names.find_entry(self.hasher.hash_one(&*room.name), |&one| one == key.0) {
            entry.remove();
        }
        room
    }

    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Room> {
        self.rooms.iter().map(|(_, linked)| &linked.room)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Room> {
        self.rooms.iter_mut().map(|(_, linked)| &mut linked.room)
    }

    /// The keys of all rooms.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.rooms.iter().map(|(key, _)| Key(key as u32))
    }
}

impl Index<Key> for Rooms {
    type Output = Room;
    fn index(&self, key: Key) -> &Room {
        &self.rooms[key.0 as usize].room
    }
}

impl IndexMut<Key> for Rooms {
    fn index_mut(&mut self, key: Key) -> &mut Room {
        &mut self.rooms[key.0 as usize].room
    }
}

// === impl List ===

impl List {
    pub(super) fn first(&self) -> Option<Key> {
        self.first.map(Key)
    }

    /// The keys of its rooms. For tests.
    #[cfg(test)]
    pub(super) fn keys<'a>(&self, rooms: &'a Rooms) -> impl Iterator<Item = Key> + 'a {
        std::iter::successors(self.first, |key| rooms.rooms[*key as usize].next).map(Key)
    }

    /// Adds a room, which is in no list, at the end.
    pub(super) fn push(&mut self, rooms: &mut Rooms, Key(key): Key) {
        let linked = &mut rooms.rooms[key as usize];
        (linked.previous, linked.next) = (self.last, None);
        match self.last.replace(key) {
            Some(last) => rooms.rooms[last as usize].next = Some(key),
            None => self.first = Some(key),
        }
    }

    /// Removes a room, which is in this list.
    pub(super) fn remove(&mut self, rooms: &mut Rooms, Key(key): Key) {
        let linked = &mut rooms.rooms[key as usize];
        let (previous, next) = (linked.previous.take(), linked.next.take());
        match previous {
            Some(previous) => rooms.rooms[previous as usize].next = next,
            None => self.first = next,
        }
        match next {
            Some(next) => rooms.rooms[next as usize].previous = previous,
            None => self.last = previous,
        }
    }
}
