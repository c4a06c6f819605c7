//! The records of histories: what is appended to the store with each change, what a checkpoint contains, and how a start
//! makes the histories of it.
//!
//! What a start reads is put into lists and limited only when all of it is there, which is faster.
//!
//! A checkpoint is written while others publish. So a record may come before that of its room: then the room begins with
//! the record, and the later one replaces it.

use super::super::times::Times;
use super::{IDEMPOTENCY_OVERHEAD, Key, Listed, Log, MemoryHistory, Owner, ROOM_OVERHEAD, Room, memory_of};
use crate::capability::Publisher;
use crate::config::history::History;
use crate::publication::{Publication, StoredText};
use crate::store::{Decoder, Encoder};
use nodevent_protocol::history::{OffsetJump, Position};
use std::sync::Arc;
use std::time::Instant;

/// Offsets that all rooms skip if publications may be missing.
const JUMP: u64 = 1_000_000_000;

fn write_owner(one: &mut Encoder<'_>, owner: &Owner) {
    one.text(&owner.name).u8(u8::from(owner.is_limited));
}

fn write_position(one: &mut Encoder<'_>, position: Position) {
    one.u64(position.epoch).u64(position.offset);
}

fn read_position(from: &mut Decoder<'_>) -> Option<Position> {
    Some(Position { epoch: from.u64()?, offset: from.u64()? })
}

fn read_publisher<'a>(from: &mut Decoder<'a>) -> Option<Publisher<'a>> {
    Some(Publisher { name: from.text()?, is_limited: from.flag()? })
}

// === impl MemoryHistory ===

impl MemoryHistory {
    /// Writes a publication that was just appended.
    pub(in super::super) fn write_published(
        &self,
        publication: &Publication,
        publisher: Publisher<'_>,
        key: Option<&str>,
        now_ms: u64,
        one: &mut Encoder<'_>,
    ) {
        // A room that alone exceeds the memory is forgotten at once. Another start does that again.
        let born = self.rooms.get(&publication.topic).map_or(self.lru_tick, |room| room.born);
        one.text(publisher.name).u8(u8::from(publisher.is_limited)).text(&publication.topic);
        write_position(one, publication.position.unwrap_or(Position { epoch: 0, offset: 0 }));
        one.u64(born).u64(self.lru_tick).u64(now_ms).optional_text(key).text(&publication.text);
    }

    pub(in super::super) fn restore_published(
        &mut self,
        mut from: Decoder<'_>,
        policy: &History,
        times: &Times,
    ) -> Option<()> {
        let (publisher, name, position) = (read_publisher(&mut from)?, from.text()?, read_position(&mut from)?);
        let (born, tick, at, key) = (from.u64()?, from.u64()?, times.at(from.u64()?), from.optional_text()?);
        let text = from.text()?;
        let Some(retention) = policy.of(name) else { return Some(()) };
        if self.rooms.get(name).is_some_and(|room| room.position.epoch != position.epoch) {
            self.forget(name, at);
        }
        if self.rooms.find(name).is_none() {
            let owner = self.owner(publisher);
            self.create(name, owner, at);
        }
        let room = self.rooms.get_mut(name)?;
        let follows = room.position.offset.checked_add(1) == Some(position.offset);
        (room.position, room.born) = (position, born);
        if !follows {
            self.clear_log(name);
        }
        self.lru_tick = self.lru_tick.max(tick).max(1) - 1;
        self.append(name, &Publication::stored(name, text, Some(position)), publisher, retention, at);
        self.lru_tick = self.lru_tick.max(tick);
        if let Some(key) = key {
            self.record_idempotent(name, key, publisher, position, retention.age, at);
        }
        Some(())
    }

    /// The names of all rooms.
    pub(in super::super) fn names(&self) -> Vec<Arc<str>> {
        self.rooms.iter().map(|room| Arc::clone(&room.name)).collect()
    }

    /// Writes a room with its log.
    pub(in super::super) fn write_room(&self, name: &str, times: &Times, one: &mut Encoder<'_>) {
        let Some(room) = self.rooms.get(name) else { return };
        write_owner(one, &self.owners[room.owner]);
        one.text(name);
        write_position(one, room.position);
        one.u64(room.born).u64(room.lru_tick).u64(times.ms(room.published));
        one.optional(room.jump.map(|jump| jump.from)).u64(room.jump.map_or(0, |jump| jump.to));
        one.count(room.log.len());
        for (publication, arrived) in &room.log {
            write_position(one, publication.position.unwrap_or(room.position));
            one.u64(times.ms(*arrived)).text(&publication.text);
        }
    }

    pub(in super::super) fn has_room(&self, name: &str) -> bool {
        self.rooms.find(name).is_some()
    }

    pub(in super::super) fn restore_room(
        &mut self,
        mut from: Decoder<'_>,
        policy: &History,
        times: &Times,
    ) -> Option<()> {
        let (publisher, name, position) = (read_publisher(&mut from)?, from.text()?, read_position(&mut from)?);
        let (born, lru_tick, published) = (from.u64()?, from.u64()?, times.at(from.u64()?));
        let (jump_from, jump_to, count) = (from.optional()?, from.u64()?, from.u32()?);
        let jump = jump_from.map(|from| OffsetJump { from, to: jump_to, lossless: false });
        let retention = policy.of(name);
        let (mut log, mut bytes) = (Log::new(), 0);
        let name: Arc<str> = name.into();
        for index in 0..count {
            let (position, arrived, text) = (read_position(&mut from)?, times.at(from.u64()?), from.text()?);
            if retention.is_some_and(|retention| (count - index) as usize <= retention.size) {
                let publication = StoredText::new(text).for_history(&name, position);
                bytes += memory_of(&publication);
                log.push_back((publication, arrived));
            }
        }
        let Some(retention) = retention else { return Some(()) };
        self.detach(&name);
        let owner = self.owner(publisher);
        let memory = ROOM_OVERHEAD + name.len() + bytes;
        self.bytes += memory;
        self.owners[owner].bytes += memory;
        self.lru_tick = self.lru_tick.max(lru_tick).max(born);
        let (age, position_ttl) = (retention.age, retention.position_ttl());
        let listed = None;
        self.rooms.insert(Room {
            name,
            owner,
            position,
            born,
            jump,
            log,
            bytes,
            lru_tick,
            listed,
            published,
            age,
            position_ttl,
        });
        Some(())
    }

    /// All idempotency keys.
    pub(in super::super) fn idempotency_keys(&self) -> Vec<(usize, String)> {
        let owners = self.owners.iter().enumerate();
        owners.flat_map(|(owner, one)| one.idempotency_order.iter().map(move |key| (owner, key.clone()))).collect()
    }

    /// Writes an idempotency key.
    pub(in super::super) fn write_key(&self, (owner, key): &(usize, String), times: &Times, one: &mut Encoder<'_>) {
        let Some((position, until)) = self.idempotency.get(key) else { return };
        write_owner(one, &self.owners[*owner]);
        one.text(key);
        write_position(one, *position);
        one.u64(times.ms(*until));
    }

    pub(in super::super) fn has_key(&self, key: &str) -> bool {
        self.idempotency.contains_key(key)
    }

    pub(in super::super) fn restore_key(&mut self, mut from: Decoder<'_>, times: &Times) -> Option<()> {
        let (publisher, key, position) = (read_publisher(&mut from)?, from.text()?, read_position(&mut from)?);
        let until = times.at(from.u64()?);
        if self.idempotency.insert(key.to_owned(), (position, until)).is_none() {
            let (bytes, owner) = (IDEMPOTENCY_OVERHEAD + 2 * key.len(), self.owner(publisher));
            self.bytes += bytes;
            self.owners[owner].bytes += bytes;
            self.owners[owner].idempotency_order.push_back(key.to_owned());
        }
        Some(())
    }

    /// Writes what all rooms share.
    pub(in super::super) fn write_head(&self, times: &Times, one: &mut Encoder<'_>) {
        one.u64(self.absent_epoch).u64(self.lru_tick).u64(self.newest_forgotten).u64(times.ms(self.complete_since));
    }

    pub(in super::super) fn restore_head(&mut self, mut from: Decoder<'_>, times: &Times) -> Option<()> {
        self.absent_epoch = from.u64()?;
        self.lru_tick = self.lru_tick.max(from.u64()?);
        self.newest_forgotten = self.newest_forgotten.max(from.u64()?);
        self.complete_since = times.at(from.u64()?);
        Some(())
    }

    /// Publications may be missing at the end of all rooms: clients that return to any position before now must load
    /// again. Positions that were assigned already are not assigned again.
    pub(in super::super) fn jump(&mut self, absent_epoch: u64, now: Instant) {
        self.absent_epoch = absent_epoch;
        self.newest_forgotten = self.lru_tick;
        self.complete_since = now;
        for room in self.rooms.iter_mut() {
            let to = room.position.offset + JUMP;
            room.jump = Some(OffsetJump { from: room.position.offset, to, lossless: false });
            room.position.offset = to;
        }
    }

    /// Writes a jump.
    pub(in super::super) fn write_jump(&self, now_ms: u64, one: &mut Encoder<'_>) {
        one.u64(self.absent_epoch).u64(now_ms);
    }

    pub(in super::super) fn restore_jump(&mut self, mut from: Decoder<'_>, times: &Times) -> Option<()> {
        let (absent_epoch, at) = (from.u64()?, times.at(from.u64()?));
        self.jump(absent_epoch, at);
        Some(())
    }

    /// Lists all rooms, and removes what is too old or too much, after all records were restored.
    pub(in super::super) fn restored(&mut self) {
        self.is_restoring = false;
        let mut keys: Vec<Key> = self.rooms.keys().collect();
        keys.sort_unstable_by_key(|key| self.rooms[*key].lru_tick);
        for key in keys {
            let room = &self.rooms[key];
            let listed = if room.log.is_empty() { Listed::PositionOnly } else { Listed::WithLog };
            self.owners[room.owner].list(&mut self.rooms, key, listed);
        }
        self.evict(Instant::now());
    }

    /// Removes a room, whose position clients may have.
    fn forget(&mut self, name: &str, now: Instant) {
        if let Some(room) = self.detach(name) {
            self.newest_forgotten = self.newest_forgotten.max(room.born);
            self.complete_since = self.complete_since.max(now);
        }
    }

    fn detach(&mut self, name: &str) -> Option<Room> {
        let key = self.rooms.find(name)?;
        let room = self.rooms.remove(key);
        let bytes = ROOM_OVERHEAD + name.len() + room.bytes;
        self.owners[room.owner].bytes -= bytes;
        self.bytes -= bytes;
        Some(room)
    }

    fn clear_log(&mut self, name: &str) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let bytes = std::mem::take(&mut room.bytes);
        room.log = Log::new();
        self.bytes -= bytes;
        self.owners[room.owner].bytes -= bytes;
    }

    /// Calls `each` with every publication that is stored.
    pub(in super::super) fn publications(&self, times: &Times, mut each: impl FnMut(&Publication, u64)) {
        for (publication, arrived) in self.rooms.iter().flat_map(|room| &room.log) {
            each(publication, times.ms(*arrived));
        }
    }

    /// The number of rooms, of publications and of idempotency keys.
    pub(in super::super) fn counts(&self) -> [usize; 3] {
        let publications = self.rooms.iter().map(|room| room.log.len()).sum();
        [self.rooms.len(), publications, self.idempotency.len()]
    }

    /// Everything that a restart must not change, as text. For tests.
    #[cfg(test)]
    pub(in super::super) fn describe(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .rooms
            .iter()
            .map(|room| {
                let log: Vec<_> = room.log.iter().map(|(one, _)| (one.position, &*one.text)).collect();
                format!("{} {:?} {} {:?} {log:?}", room.name, room.position, room.born, room.jump)
            })
            .collect();
        all.extend(self.idempotency.iter().map(|(key, (position, _))| format!("{key} {position:?}")));
        all.sort();
        all.push(format!("{} {} {}", self.absent_epoch, self.newest_forgotten, self.bytes));
        all
    }
}
