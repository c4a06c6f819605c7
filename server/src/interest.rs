//! Which shards have members of a room, as publishers see it.
//!
//! A publication is put only into the inboxes of shards that may have members of its room: with many shards, most rooms
//! have members on few of them, and waking the others costs more than delivering. Shards count their rooms in a table
//! by the hash of the name, without locks. Rooms with the same hash share a count, so a shard may receive a
//! publication for which it has no members, and drops it. It never misses one: a room is counted before its first join
//! reads the history, and until its last member has left.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Blocks of counts. One is allocated when one of its rooms has its first member.
const BLOCKS: usize = 256;
/// Hashes of a block. With all blocks, the counts take 256 KB for each shard.
const HASHES: usize = 256;

/// The rooms of all shards, counted by the hash of their names.
#[derive(Debug)]
pub struct Interest {
    /// For each hash, the counts of all shards.
    blocks: Box<[OnceLock<Box<[AtomicU32]>>]>,
    shards: usize,
    /// Seeded at random, so that clients cannot choose rooms that share a count.
    hasher: RandomState,
}

// === impl Interest ===

impl Interest {
    /// Returns the counts of so many shards.
    pub fn new(shards: usize) -> Self {
        let blocks = (0..BLOCKS).map(|_| OnceLock::new()).collect();
        Self { blocks, shards, hasher: RandomState::new() }
    }

    /// The hash of a room, by its namespace's id and its name.
    pub fn hash(&self, namespace: u16, room: &str) -> u64 {
        self.hasher.hash_one((namespace, room))
    }

    /// A shard has the first member of a room with that hash.
    pub fn add(&self, shard: usize, hash: u64) {
        let Some(block) = self.block(hash) else { return };
        let counts = block.get_or_init(|| (0..HASHES * self.shards).map(|_| AtomicU32::new(0)).collect());
        if let Some(count) = self.of_hash(counts, hash).get(shard) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A shard has no members of a room with that hash any more.
    pub fn remove(&self, shard: usize, hash: u64) {
        let counts = self.block(hash).and_then(OnceLock::get);
        if let Some(count) = counts.and_then(|counts| self.of_hash(counts, hash).get(shard)) {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The shards that may have members of a room with that hash.
    pub fn shards(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        let counts = self.block(hash).and_then(OnceLock::get);
        let counts = counts.map_or(&[][..], |counts| self.of_hash(counts, hash));
        counts.iter().enumerate().filter(|(_, count)| count.load(Ordering::SeqCst) > 0).map(|(shard, _)| shard)
    }

    /// The block of a hash, which is always there.
    fn block(&self, hash: u64) -> Option<&OnceLock<Box<[AtomicU32]>>> {
        self.blocks.get(hash as usize / HASHES % BLOCKS)
    }

    /// The counts of all shards for a hash.
    fn of_hash<'a>(&self, counts: &'a [AtomicU32], hash: u64) -> &'a [AtomicU32] {
        counts.chunks_exact(self.shards).nth(hash as usize % HASHES).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_interested_in_a_room_until_it_has_none_with_that_hash() {
        let interest = Interest::new(3);
        let hash = interest.hash(0, "r");
        let shards = || interest.shards(hash).collect::<Vec<_>>();
        assert!(shards().is_empty());
        interest.add(1, hash);
        interest.add(1, hash);
        interest.add(2, hash);
        assert_eq!(shards(), [1, 2]);
        interest.remove(1, hash);
        interest.remove(2, hash);
        assert_eq!(shards(), [1], "another room with that hash");
        interest.remove(1, hash);
        assert!(shards().is_empty());
        interest.add(3, hash);
        assert!(shards().is_empty(), "there is no such shard");
    }

    #[test]
    fn rooms_differ_by_their_namespace_too() {
        let interest = Interest::new(1);
        assert_eq!(interest.hash(1, "r"), interest.hash(1, "r"));
        assert_ne!(interest.hash(1, "r"), interest.hash(2, "r"));
    }
}
