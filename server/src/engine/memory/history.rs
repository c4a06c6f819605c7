//! The histories of the memory engine: positions and logs of rooms, under one limit.
//!
//! Only publishing creates a room and reading changes none, so rooms that clients make up need no memory. Publishers share
//! the memory: what a room needs is that of its last publisher, of which the server with its events of presence is one only
//! as long as there is no other. Publishers without a limit to rooms have one half, and those
//! that are limited to rooms the other one, each in equal parts. What one does not need others may use. At the limit, memory
//! of the publisher that exceeds its part the most is freed in this order: its oldest idempotency keys, positions of rooms
//! without a log if they take more than half of it, the logs of its least recently published rooms, the positions of these
//! rooms. So no publisher evicts what others need. A room that
//! lost its position starts a new epoch, and clients that return to it receive `recovered: false`.

mod records;
mod rooms;

use crate::capability::Publisher;
use crate::clock::now_ms;
use crate::history::Since;
use crate::publication::Publication;
use nodevent_protocol::history::{OffsetJump, Position, Retention};
use rooms::{Key, List, Rooms};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Memory of a room in addition to its name and its log, as measured: itself, its entry in the table, and room for both to grow.
/// Bytes.
const ROOM_OVERHEAD: usize = 360;
/// Memory of a stored publication in addition to its text: itself and its entry, which may have room for a second one. Bytes.
const ENTRY_OVERHEAD: usize = 240;
/// Memory of an idempotency key in addition to its text. Bytes.
const IDEMPOTENCY_OVERHEAD: usize = 128;
/// Time between two searches for what is too old. Until then it needs memory, but no reader receives it.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);
/// What a publication removes at most of what is too old. Shards wait meanwhile, and very many rooms may expire at once.
const EXPIRY_STEP: usize = 256;

/// The histories of one namespace.
#[derive(Debug)]
pub(super) struct MemoryHistory {
    rooms: Rooms,
    /// The publishers, of which the configuration has few.
    owners: Vec<Owner>,
    /// Grows by one per creation of a room and per publication. The offset of absent positions.
    lru_tick: u64,
    /// The epoch of absent positions: random, and another one whenever rooms may be forgotten.
    absent_epoch: u64,
    /// The newest creation of a room that was forgotten. Absent positions before it prove nothing.
    newest_forgotten: u64,
    /// The time since which no room was forgotten.
    complete_since: Instant,
    idempotency: HashMap<String, (Position, Instant)>,
    bytes: usize,
    max_bytes: usize,
    /// When what is too old is searched for again. `None`: with the next publication.
    next_expiry: Option<Instant>,
    /// Whether records of a store are read. Then nothing is evicted, and rooms are in no list: that is made up for at the end.
    is_restoring: bool,
    /// The log of a room that does not exist.
    no_log: Log,
}

/// Publications with their times of arrival.
type Log = VecDeque<(Arc<Publication>, Instant)>;

/// What belongs to one publisher.
#[derive(Debug)]
struct Owner {
    name: Box<str>,
    is_limited: bool,
    bytes: usize,
    /// Rooms that have a log, the least recently published first.
    with_log: List,
    /// Rooms that have a position only, in the same order.
    position_only: List,
    /// The part of `bytes` that these need.
    position_bytes: usize,
    /// Its keys in `idempotency`, oldest first.
    idempotency_order: VecDeque<String>,
}

#[derive(Debug)]
struct Room {
    name: Arc<str>,
    /// The index of its last publisher.
    owner: usize,
    position: Position,
    /// The tick of its creation.
    born: u64,
    /// Offsets that were skipped, because publications may be missing.
    jump: Option<OffsetJump>,
    /// The last publications, each with its time of arrival. The last one has the room's offset.
    log: Log,
    /// Memory of the log.
    bytes: usize,
    /// The tick of its last publication.
    lru_tick: u64,
    /// The list of its owner in which it is. `None` while records of a store are read.
    listed: Option<Listed>,
    published: Instant,
    /// Time for which its log is stored.
    age: Duration,
    /// Time for which its position is stored.
    position_ttl: Duration,
}

/// The lists of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    WithLog,
    PositionOnly,
}

// === impl Owner ===

impl Owner {
    /// Adds a room of it, which is in no list.
    fn list(&mut self, rooms: &mut Rooms, key: Key, listed: Listed) {
        let room = &mut rooms[key];
        room.listed = Some(listed);
        match listed {
            Listed::WithLog => self.with_log.push(rooms, key),
            Listed::PositionOnly => {
                self.position_bytes += ROOM_OVERHEAD + room.name.len();
                self.position_only.push(rooms, key);
            }
        }
    }

    /// Removes a room of it from its list, if it is in one.
    fn unlist(&mut self, rooms: &mut Rooms, key: Key) {
        let room = &mut rooms[key];
        match room.listed.take() {
            None => {}
            Some(Listed::WithLog) => self.with_log.remove(rooms, key),
            Some(Listed::PositionOnly) => {
                self.position_bytes -= ROOM_OVERHEAD + room.name.len();
                self.position_only.remove(rooms, key);
            }
        }
    }
}

// === impl MemoryHistory ===

impl MemoryHistory {
    /// Returns an empty history of at most `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            rooms: Rooms::default(),
            owners: Vec::new(),
            lru_tick: 0,
            absent_epoch: Self::random_absent_epoch(),
            newest_forgotten: 0,
            complete_since: Instant::now(),
            idempotency: HashMap::new(),
            bytes: 0,
            max_bytes,
            next_expiry: None,
            is_restoring: false,
            no_log: Log::new(),
        }
    }

    /// Returns an empty history for records of a store. [`MemoryHistory::restored`] must follow.
    pub(super) fn restoring(max_bytes: usize) -> Self {
        Self { is_restoring: true, ..Self::new(max_bytes) }
    }

    /// Makes an epoch of absent positions.
    pub(super) fn random_absent_epoch() -> u64 {
        Position::absent_epoch(rand::random())
    }

    /// Assigns the next position of a room. [`MemoryHistory::append`] must follow.
    pub(super) fn next_position(&mut self, name: &str, publisher: Publisher<'_>, now: Instant) -> Position {
        let next = |room: &mut Room| {
            room.position.offset += 1;
            room.position
        };
        if let Some(room) = self.rooms.get_mut(name) {
            return next(room);
        }
        let owner = self.owner(publisher);
        let key = self.create(name, owner, now);
        next(&mut self.rooms[key])
    }

    /// Stores the publication that has the position from [`MemoryHistory::next_position`].
    pub(super) fn append(
        &mut self,
        name: &str,
        publication: &Publication,
        publisher: Publisher<'_>,
        retention: Retention,
        now: Instant,
    ) {
        self.lru_tick += 1;
        let owner = self.owner(publisher);
        let Some(key) = self.rooms.find(name) else { return };
        let room = &mut self.rooms[key];
        let before = room.bytes;
        let publication = publication.for_history(&room.name);
        room.bytes += memory_of(&publication);
        room.log.push_back((publication, now));
        while room.log.len() > retention.size
            || room.log.front().is_some_and(|(_, arrived)| now.duration_since(*arrived) > retention.age)
        {
            if let Some((publication, _)) = room.log.pop_front() {
                room.bytes -= memory_of(&publication);
            }
        }
        (room.age, room.position_ttl, room.published) = (retention.age, retention.position_ttl(), now);
        room.lru_tick = self.lru_tick;
        let owner = if publisher == Publisher::PRESENCE { room.owner } else { owner };
        let old_owner = std::mem::replace(&mut room.owner, owner);
        let (name_bytes, after) = (ROOM_OVERHEAD + name.len(), room.bytes);
        self.bytes = self.bytes + after - before;
        self.owners[old_owner].bytes -= name_bytes + before;
        self.owners[owner].bytes += name_bytes + after;
        if self.is_restoring {
            return;
        }
        self.owners[old_owner].unlist(&mut self.rooms, key);
        self.owners[owner].list(&mut self.rooms, key, Listed::WithLog);
        self.evict(now);
    }

    /// Returns a room's position and its log. If the room does not exist, its position is absent.
    pub(super) fn read(
        &self,
        name: &str,
        retention: Retention,
        now: Instant,
    ) -> (Position, impl DoubleEndedIterator<Item = Arc<Publication>> + ExactSizeIterator + '_) {
        let room = self.rooms.get(name);
        let position = room.map_or(self.absent(), |room| room.position);
        let log = room.map_or(&self.no_log, |room| &room.log);
        let expired = log.partition_point(|(_, arrived)| now.duration_since(*arrived) > retention.age);
        (position, log.range(expired..).map(|(publication, _)| Arc::clone(publication)))
    }

    /// Offsets that a room has skipped.
    pub(super) fn jump_of(&self, name: &str) -> Option<OffsetJump> {
        self.rooms.get(name)?.jump
    }

    /// The time for which nothing was published to a room, at least.
    pub(super) fn idle(&self, name: &str, now: Instant) -> Duration {
        now.duration_since(self.rooms.get(name).map_or(self.complete_since, |room| room.published))
    }

    fn absent(&self) -> Position {
        Position { epoch: self.absent_epoch, offset: self.lru_tick }
    }

    /// Replaces an absent position or a time in `since` by the position of the room that it represents. It becomes invalid if
    /// the room may have existed since then and was forgotten, or if the log does not reach back to the time.
    pub(super) fn resolve(&self, name: &str, since: Since, now: Instant) -> Since {
        match since {
            Since::Time(since_ms) => {
                self.resolve_time(name, Duration::from_millis(now_ms().saturating_sub(since_ms)), now)
            }
            Since::Position(absent) if absent.is_absent() => {
                let is_known = absent.epoch == self.absent_epoch && absent.offset >= self.newest_forgotten;
                match self.rooms.get(name) {
                    None if is_known => Since::Position(self.absent()),
                    Some(room) if is_known && room.born > absent.offset => {
                        Since::Position(Position { offset: 0, ..room.position })
                    }
                    _ => Since::Invalid,
                }
            }
            other => other,
        }
    }

    /// The position before what arrived in the room within the last `elapsed`.
    fn resolve_time(&self, name: &str, elapsed: Duration, now: Instant) -> Since {
        let Some(room) = self.rooms.get(name) else { return Since::FirstJoin };
        let is_before = |arrived: Instant| now.duration_since(arrived) > elapsed;
        let before = room.log.partition_point(|(_, arrived)| is_before(*arrived));
        let later = (room.log.len() - before) as u64;
        let is_jumped = room.jump.is_some_and(|jump| later >= room.position.offset - jump.to);
        let is_complete = match before {
            // Nothing is stored that arrived before: it may have been dropped.
            0 => later == room.position.offset || later == 0 && is_before(room.published),
            _ => true,
        };
        match is_complete && !is_jumped {
            true => Since::Position(Position { offset: room.position.offset - later, ..room.position }),
            false => Since::Invalid,
        }
    }

    /// Finds the position that was assigned to an idempotency key.
    pub(super) fn find_idempotent(&self, room: &str, key: &str, now: Instant) -> Option<Position> {
        let (position, until) = self.idempotency.get(&idempotency_key(room, key))?;
        (now < *until).then_some(*position)
    }

    /// Records the position that was assigned to an idempotency key.
    pub(super) fn record_idempotent(
        &mut self,
        room: &str,
        key: &str,
        publisher: Publisher<'_>,
        position: Position,
        age: Duration,
        now: Instant,
    ) {
        let key = idempotency_key(room, key);
        if self.idempotency.insert(key.clone(), (position, now + age)).is_none() {
            let bytes = IDEMPOTENCY_OVERHEAD + 2 * key.len();
            let owner = self.owner(publisher);
            self.bytes += bytes;
            self.owners[owner].bytes += bytes;
            self.owners[owner].idempotency_order.push_back(key);
        }
        self.evict(now);
    }

    /// The index of a publisher, which is added if it is new.
    fn owner(&mut self, publisher: Publisher<'_>) -> usize {
        let is_it = |owner: &Owner| *owner.name == *publisher.name && owner.is_limited == publisher.is_limited;
        self.owners.iter().position(is_it).unwrap_or_else(|| {
            self.owners.push(Owner {
                name: publisher.name.into(),
                is_limited: publisher.is_limited,
                bytes: 0,
                with_log: List::default(),
                position_only: List::default(),
                position_bytes: 0,
                idempotency_order: VecDeque::new(),
            });
            self.owners.len() - 1
        })
    }

    /// Creates a room that does not exist.
    fn create(&mut self, name: &str, owner: usize, now: Instant) -> Key {
        self.lru_tick += 1;
        let name: Arc<str> = name.into();
        self.bytes += ROOM_OVERHEAD + name.len();
        self.owners[owner].bytes += ROOM_OVERHEAD + name.len();
        let key = self.rooms.insert(Room {
            name,
            owner,
            position: Position { epoch: Position::room_epoch(rand::random()), offset: 0 },
            born: self.lru_tick,
            jump: None,
            log: VecDeque::new(),
            bytes: 0,
            lru_tick: self.lru_tick,
            listed: None,
            published: now,
            age: Duration::ZERO,
            position_ttl: Duration::MAX,
        });
        if !self.is_restoring {
            self.owners[owner].list(&mut self.rooms, key, Listed::PositionOnly);
        }
        key
    }

    /// Removes what is too old, and what exceeds the limit.
    fn evict(&mut self, now: Instant) {
        if self.is_restoring {
            return;
        }
        if self.next_expiry.is_none_or(|at| now >= at) {
            let mut left = EXPIRY_STEP;
            for owner in 0..self.owners.len() {
                while left > 0 && self.evict_one(owner, now, false) {
                    left -= 1;
                }
            }
            self.next_expiry = (left > 0).then(|| now + EXPIRY_INTERVAL);
        }
        while self.bytes > self.max_bytes {
            let Some(owner) = self.largest_owner() else { return };
            if !self.evict_one(owner, now, true) {
                return;
            }
        }
    }

    /// The publisher that exceeds its part the most.
    fn largest_owner(&self) -> Option<usize> {
        let of_kind = |is_limited| self.owners.iter().filter(|owner| owner.is_limited == is_limited).count();
        let counts = [of_kind(false), of_kind(true)];
        let excess = |owner: &Owner| owner.bytes as u128 * counts[usize::from(owner.is_limited)] as u128;
        (0..self.owners.len()).max_by_key(|index| excess(&self.owners[*index]))
    }

    /// Frees the next memory of a publisher: what is too old, or anything. Returns `false` if there is none.
    fn evict_one(&mut self, index: usize, now: Instant, is_full: bool) -> bool {
        let owner = &mut self.owners[index];
        if let Some(key) = owner.idempotency_order.front()
            && (is_full || self.idempotency.get(key).is_none_or(|(_, until)| now >= *until))
            && let Some(key) = owner.idempotency_order.pop_front()
        {
            let bytes = IDEMPOTENCY_OVERHEAD + 2 * key.len();
            (self.bytes, owner.bytes) = (self.bytes - bytes, owner.bytes - bytes);
            self.idempotency.remove(&key);
            return true;
        }
        // Positions take one half of the memory at most while there are logs.
        let is_half = owner.position_bytes > owner.bytes / 2;
        let with_log = owner.with_log.first().filter(|_| !(is_full && is_half));
        if let Some(key) = with_log
            && let room = &mut self.rooms[key]
            && (is_full || now.duration_since(room.published) > room.age)
        {
            let bytes = std::mem::take(&mut room.bytes);
            (self.bytes, owner.bytes) = (self.bytes - bytes, owner.bytes - bytes);
            room.log = Log::new();
            owner.unlist(&mut self.rooms, key);
            owner.list(&mut self.rooms, key, Listed::PositionOnly);
            return true;
        }
        if let Some(key) = owner.position_only.first()
            && let room = &self.rooms[key]
            && (is_full || now.duration_since(room.published) > room.position_ttl)
        {
            owner.unlist(&mut self.rooms, key);
            let room = self.rooms.remove(key);
            let bytes = ROOM_OVERHEAD + room.name.len();
            (self.bytes, owner.bytes) = (self.bytes - bytes, owner.bytes - bytes);
            self.newest_forgotten = self.newest_forgotten.max(room.born);
            self.complete_since = self.complete_since.max(now);
            return true;
        }
        false
    }
}

/// Returns a key for both texts that differs from those of all other pairs.
fn idempotency_key(room: &str, key: &str) -> String {
    format!("{}:{room}{key}", room.len())
}

/// Returns the memory of a stored publication: its text, as much for compressed frames, and who does not receive it.
fn memory_of(publication: &Publication) -> usize {
    ENTRY_OVERHEAD + 2 * publication.text.len() + publication.excluded_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Retention = Retention { size: 3, age: Duration::from_secs(60) };

    const ANY: Publisher<'_> = Publisher { name: "any", is_limited: false };

    fn publish(history: &mut MemoryHistory, room: &str, now: Instant) -> Position {
        publish_as(history, ANY, room, 0, now)
    }

    /// Publishes a text of some `size` bytes.
    fn publish_as(
        history: &mut MemoryHistory,
        publisher: Publisher<'_>,
        room: &str,
        size: usize,
        now: Instant,
    ) -> Position {
        let position = history.next_position(room, publisher, now);
        let text = format!("{:>size$}", position.offset);
        history.append(room, &Publication::stored(room, text, Some(position)), publisher, RETENTION, now);
        position
    }

    fn log(history: &MemoryHistory, room: &str, now: Instant) -> (u64, Vec<String>) {
        let (position, log) = history.read(room, RETENTION, now);
        (position.offset, log.map(|publication| publication.text.to_string()).collect())
    }

    #[test]
    fn room_stores_its_last_publications_and_counts_all() {
        let (mut history, now) = (MemoryHistory::new(1 << 20), Instant::now());
        for _ in 0..5 {
            publish(&mut history, "r", now);
        }
        assert_eq!(log(&history, "r", now), (5, vec!["3".into(), "4".into(), "5".into()]));
    }

    #[test]
    fn position_is_stored_longer_than_the_log() {
        let (mut history, now) = (MemoryHistory::new(1 << 20), Instant::now());
        let before = publish(&mut history, "r", now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(log(&history, "r", later), (1, vec![]));
        assert_eq!(publish(&mut history, "r", later), Position { offset: 2, ..before });
    }

    #[test]
    fn forgotten_room_starts_a_new_epoch() {
        let (mut history, now) = (MemoryHistory::new(1 << 20), Instant::now());
        let before = publish(&mut history, "r", now);
        let after = publish(&mut history, "r", now + Duration::from_secs(100_000));
        assert_eq!(after.offset, 2, "nothing was evicted in between");
        publish(&mut history, "other", now + Duration::from_secs(300_000));
        let new = publish(&mut history, "r", now + Duration::from_secs(300_000));
        assert_eq!(new.offset, 1);
        assert_ne!(new.epoch, before.epoch);
    }

    #[test]
    fn rooms_stay_within_the_limit_and_the_least_recent_is_evicted_first() {
        let (mut history, now) = (MemoryHistory::new(20_000), Instant::now());
        for index in 0..10_000 {
            publish(&mut history, &format!("room-{index}"), now);
            assert!(history.bytes <= 20_000);
        }
        assert_eq!(log(&history, "room-9999", now).0, 1);
        assert!(history.rooms.len() < 200, "{}", history.rooms.len());
        assert_eq!(history.rooms.len(), listed(&history));
    }

    /// An attacker let very many rooms expire at once, and everyone waited until they were removed.
    #[test]
    fn rooms_that_expire_at_once_are_removed_in_steps_and_are_empty_before() {
        // X-05
        let (mut history, now) = (MemoryHistory::new(usize::MAX), Instant::now());
        for index in 0..4 * EXPIRY_STEP {
            publish(&mut history, &format!("room-{index}"), now);
        }
        let with_log = |history: &MemoryHistory| history.rooms.iter().filter(|room| !room.log.is_empty()).count();
        let later = now + Duration::from_secs(61);
        for step in 1..=4 {
            publish(&mut history, "another", later);
            assert_eq!(with_log(&history), 1 + (4 - step) * EXPIRY_STEP);
            assert_eq!(log(&history, "room-1023", later).1.len(), 0);
        }
        assert_eq!(history.rooms.len(), listed(&history));
        assert_eq!(history.rooms.len(), 1 + 4 * EXPIRY_STEP, "their positions stay");
    }

    /// With more rooms than the memory has positions for, what was just published was dropped at once.
    #[test]
    fn positions_leave_one_half_of_the_memory_to_logs() {
        let (mut history, now) = (MemoryHistory::new(100_000), Instant::now());
        for index in 0..2_000 {
            publish(&mut history, &format!("room-{index}"), now);
        }
        let (with_log, all) =
            (history.rooms.iter().filter(|room| !room.log.is_empty()).count(), history.rooms.len());
        assert!(with_log > 50 && all > with_log + 100, "{with_log} of {all}");
        assert_eq!(log(&history, "room-1999", now).1.len(), 1);
        assert_eq!(history.rooms.len(), listed(&history));
        let bytes: usize = history.owners.iter().map(|owner| owner.position_bytes).sum();
        let names =
            history.rooms.iter().filter(|room| room.log.is_empty()).map(|room| ROOM_OVERHEAD + room.name.len());
        assert_eq!(bytes, names.sum::<usize>());
    }

    /// The rooms that are in a list, and in order.
    fn listed(history: &MemoryHistory) -> usize {
        let lists = history.owners.iter().flat_map(|one| [&one.with_log, &one.position_only]);
        let listed = lists.map(|list| {
            let ticks: Vec<u64> = list.keys(&history.rooms).map(|key| history.rooms[key].lru_tick).collect();
            assert!(ticks.is_sorted(), "the least recently published first");
            ticks.len()
        });
        listed.sum()
    }

    /// Weakness 10: a publisher that was limited to its rooms evicted what others had published.
    #[test]
    fn a_publisher_evicts_neither_histories_nor_idempotency_keys_of_others() {
        let limited = |name| Publisher { name, is_limited: true };
        for (rooms, size) in [(2_000, 100), (3, 30_000)] {
            let (mut history, now) = (MemoryHistory::new(100_000), Instant::now());
            for number in 0..20 {
                let room = format!("app-{number}");
                let position = publish_as(&mut history, ANY, &room, 100, now);
                history.record_idempotent(&room, "k", ANY, position, RETENTION.age, now);
                publish_as(&mut history, limited("chat"), &format!("chat-{number}"), 100, now);
            }
            for round in 0..3_000 {
                let room = format!("flood-{}", round % rooms);
                let position = publish_as(&mut history, limited("flood"), &room, size, now);
                history.record_idempotent(
                    &room,
                    &round.to_string(),
                    limited("flood"),
                    position,
                    RETENTION.age,
                    now,
                );
                assert!(history.bytes <= 100_000);
            }
            for number in 0..20 {
                let (app, chat) = (format!("app-{number}"), format!("chat-{number}"));
                assert_eq!(
                    [log(&history, &app, now).1.len(), log(&history, &chat, now).1.len()],
                    [1, 1],
                    "{number}"
                );
                assert!(history.find_idempotent(&app, "k", now).is_some(), "{number}");
            }
        }
    }

    /// A client with a token enters and leaves rooms that it makes up, and those of publishers.
    #[test]
    fn events_of_presence_evict_no_published_history() {
        let (mut history, now) = (MemoryHistory::new(100_000), Instant::now());
        for number in 0..20 {
            let room = format!("app-{number}");
            publish_as(&mut history, ANY, &room, 100, now);
            publish_as(&mut history, Publisher::PRESENCE, &room, 100, now);
        }
        for number in 0..3_000 {
            publish_as(&mut history, Publisher::PRESENCE, &format!("made-up-{number}"), 100, now);
        }
        let kept = (0..20).filter(|number| log(&history, &format!("app-{number}"), now).1.len() == 2).count();
        assert_eq!(kept, 20);
        assert!(history.bytes <= 100_000 && history.rooms.len() > 50, "others do not need the rest");
    }

    /// What others do not need, one may use.
    #[test]
    fn a_publisher_that_is_alone_has_all_memory() {
        let (mut history, now) = (MemoryHistory::new(100_000), Instant::now());
        let limited = Publisher { name: "chat", is_limited: true };
        for number in 0..1_000 {
            publish_as(&mut history, limited, &format!("chat-{number}"), 100, now);
        }
        assert!(history.bytes > 99_000, "{}", history.bytes);
    }

    #[test]
    fn counted_memory_is_that_of_the_contents_after_any_churn() {
        let (mut history, start) = (MemoryHistory::new(50_000), Instant::now());
        for step in 0..20_000_u64 {
            let now = start + Duration::from_secs(step / 10);
            let room = format!("r{}", step * 7919 % 97);
            match step % 3 {
                0 => drop(log(&history, &room, now)),
                1 => {
                    let position = publish(&mut history, &room, now);
                    history.record_idempotent(&room, &step.to_string(), ANY, position, RETENTION.age, now);
                }
                _ => {
                    let (name, is_limited) =
                        [("any", false), ("one", true), ("two", true)][(step % 7 % 3) as usize];
                    publish_as(&mut history, Publisher { name, is_limited }, &room, 100, now);
                }
            }
            assert!(history.bytes <= 50_000);
        }
        let logs: usize = history.rooms.iter().map(|room| room.bytes).sum();
        let names: usize = history.rooms.iter().map(|room| ROOM_OVERHEAD + room.name.len()).sum();
        let keys: usize = history.idempotency.keys().map(|key| IDEMPOTENCY_OVERHEAD + 2 * key.len()).sum();
        assert_eq!(history.bytes, logs + names + keys);
        assert_eq!(history.owners.iter().map(|owner| owner.bytes).sum::<usize>(), history.bytes);
        let listed = history.owners.iter().map(|owner| owner.idempotency_order.len());
        assert_eq!(history.idempotency.len(), listed.sum::<usize>());
    }

    #[test]
    fn idempotency_key_is_valid_in_its_room_and_for_its_time() {
        let (mut history, now) = (MemoryHistory::new(1 << 20), Instant::now());
        let position = publish(&mut history, "r", now);
        history.record_idempotent("r", "k", ANY, position, RETENTION.age, now);
        assert_eq!(history.find_idempotent("r", "k", now), Some(position));
        assert_eq!(history.find_idempotent("rk", "", now), None);
        assert_eq!(history.find_idempotent("r", "k", now + RETENTION.age), None);
    }

    /// Issue 12, attack 5: joins and reads of made-up rooms evicted all real history.
    #[test]
    fn reading_made_up_rooms_creates_and_evicts_nothing() {
        let (mut history, now) = (MemoryHistory::new(20_000), Instant::now());
        publish(&mut history, "real", now);
        let (bytes, position) = (history.bytes, history.read("real", RETENTION, now).0);
        for index in 0..10_000 {
            let name = format!("made-up-{index}");
            assert!(history.read(&name, RETENTION, now).0.is_absent());
            history.resolve(&name, Since::Position(position), now);
        }
        assert_eq!((history.bytes, history.rooms.len()), (bytes, 1));
        assert_eq!(log(&history, "real", now), (1, vec!["1".into()]));
    }

    #[test]
    fn idle_time_begins_with_the_last_publication_and_for_absent_rooms_with_the_last_one_forgotten() {
        let (mut history, now) = (MemoryHistory::new(1 << 20), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        publish(&mut history, "r", after(10));
        publish(&mut history, "r", after(20));
        assert_eq!(history.idle("r", after(25)), Duration::from_secs(5));
        let started = history.idle("absent", after(25));
        assert!((Duration::from_secs(25)..Duration::from_secs(26)).contains(&started), "{started:?}");
        publish(&mut history, "other", after(300_000));
        assert_eq!(history.rooms.len(), 1, "r is forgotten");
        assert_eq!(history.idle("r", after(300_007)), Duration::from_secs(7));
    }

    #[test]
    fn absent_position_is_the_beginning_of_the_room_that_was_created_after_it() {
        let (mut history, now) = (MemoryHistory::new(1 << 20), Instant::now());
        let absent = history.read("r", RETENTION, now).0;
        assert_eq!(history.resolve("r", Since::Position(absent), now), Since::Position(absent));
        let first = publish(&mut history, "r", now);
        assert_eq!(
            history.resolve("r", Since::Position(absent), now),
            Since::Position(Position { offset: 0, ..first })
        );
        let later = history.read("other", RETENTION, now).0;
        assert_eq!(history.resolve("r", Since::Position(later), now), Since::Invalid, "the room existed then");
        let elsewhere = MemoryHistory::new(1 << 20).read("r", RETENTION, now).0;
        assert_eq!(history.resolve("r", Since::Position(elsewhere), now), Since::Invalid, "before a restart");
        publish(&mut history, "other", now + Duration::from_secs(300_000));
        assert_eq!(history.rooms.len(), 1, "the room is forgotten");
        assert_eq!(
            history.resolve("r", Since::Position(absent), now),
            Since::Invalid,
            "it has missed a publication"
        );
        assert_eq!(history.resolve("r", Since::Position(later), now), Since::Position(history.absent()));
    }
}
