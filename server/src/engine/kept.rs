//! What the memory engine keeps: positions and logs of rooms, bounded together.
//!
//! At the bound the logs of the rooms that have been silent longest go first, then their positions. A room whose
//! position is gone begins a new epoch, so that nobody is told that nothing was missed when nobody can know.

use crate::frame::Frame;
use nodevent_protocol::history::{Position, Retention};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a room counts for beside its name and its log: its entries in the tables. Bytes.
const ROOM: usize = 192;
/// What an entry of a log counts for beside its frame. Bytes.
const ENTRY: usize = 48;
/// What an idempotency key counts for beside its text. Bytes.
const ONCE: usize = 128;

/// The rooms of one namespace.
#[derive(Debug)]
pub(super) struct Rooms {
    rooms: HashMap<Arc<str>, Room>,
    /// Rooms that have a log, by the turn in which they last spoke.
    speaking: BTreeMap<u64, Arc<str>>,
    /// Rooms that have a position only, by the turn in which they were last touched.
    silent: BTreeMap<u64, Arc<str>>,
    /// Grows by one each time a room is touched.
    turn: u64,
    once: HashMap<String, (Position, Instant)>,
    /// The keys of `once`, oldest first.
    once_order: VecDeque<String>,
    bytes: usize,
    most: usize,
}

#[derive(Debug)]
struct Room {
    position: Position,
    /// The last publications, each with the time it came; the last one has the room's offset.
    log: VecDeque<(Frame, Instant)>,
    /// Bytes of the log.
    bytes: usize,
    turn: u64,
    touched: Instant,
    /// How long it is kept, at most.
    age: Duration,
    position_ttl: Duration,
}

// === impl Rooms ===

impl Rooms {
    /// Rooms that may take `most` bytes together.
    pub(super) fn new(most: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            speaking: BTreeMap::new(),
            silent: BTreeMap::new(),
            turn: 0,
            once: HashMap::new(),
            once_order: VecDeque::new(),
            bytes: 0,
            most,
        }
    }

    /// The next position of a room. [`Rooms::keep`] must follow.
    pub(super) fn advance(&mut self, name: &str, now: Instant) -> Position {
        self.open(name, now);
        match self.rooms.get_mut(name) {
            Some(room) => {
                room.position.offset += 1;
                room.position
            }
            None => Position { epoch: 0, offset: 0 },
        }
    }

    /// Keeps the publication to which [`Rooms::advance`] gave a position.
    pub(super) fn keep(&mut self, name: &str, frame: Frame, kept: Retention, now: Instant) {
        self.turn += 1;
        let Some(room) = self.rooms.get_mut(name) else { return };
        let before = room.bytes;
        room.bytes += ENTRY + frame.websocket().len();
        room.log.push_back((frame, now));
        while room.log.len() > kept.size
            || room.log.front().is_some_and(|(_, came)| now.duration_since(*came) > kept.age)
        {
            if let Some((frame, _)) = room.log.pop_front() {
                room.bytes -= ENTRY + frame.websocket().len();
            }
        }
        (room.age, room.position_ttl, room.touched) = (kept.age, kept.position_ttl(), now);
        let (old, after) = (std::mem::replace(&mut room.turn, self.turn), room.bytes);
        self.bytes = self.bytes + after - before;
        let name = self.silent.remove(&old).or_else(|| self.speaking.remove(&old));
        if let Some(name) = name {
            self.speaking.insert(self.turn, name);
        }
        self.tidy(now);
    }

    /// A room's position, and its log.
    pub(super) fn read(
        &mut self,
        name: &str,
        kept: Retention,
        now: Instant,
    ) -> (Position, impl DoubleEndedIterator<Item = Frame> + ExactSizeIterator + '_) {
        self.open(name, now);
        self.turn += 1;
        let turn = self.turn;
        if let Some(room) = self.rooms.get_mut(name) {
            (room.touched, room.position_ttl) = (now, kept.position_ttl());
            if room.log.is_empty() {
                let old = std::mem::replace(&mut room.turn, turn);
                if let Some(name) = self.silent.remove(&old) {
                    self.silent.insert(turn, name);
                }
            }
        }
        self.tidy(now);
        let room = self.rooms.get(name);
        let position = room.map_or(Position { epoch: 0, offset: 0 }, |room| room.position);
        let log = room.map(|room| &room.log);
        let fresh = log.map_or(0, |log| {
            log.iter().rev().take_while(|(_, came)| now.duration_since(*came) <= kept.age).count()
        });
        let length = log.map_or(0, VecDeque::len);
        let slice = (length - fresh)..length;
        (position, slice.map(move |index| log.map_or_else(|| Frame::text(""), |log| log[index].0.clone())))
    }

    /// The position that an idempotency key was given.
    pub(super) fn published(&self, room: &str, once: &str, now: Instant) -> Option<Position> {
        let (position, until) = self.once.get(&once_key(room, once))?;
        (now < *until).then_some(*position)
    }

    /// Remembers the position that an idempotency key was given.
    pub(super) fn remember(&mut self, room: &str, once: &str, position: Position, age: Duration, now: Instant) {
        let key = once_key(room, once);
        self.bytes += ONCE + 2 * key.len();
        if self.once.insert(key.clone(), (position, now + age)).is_some() {
            self.bytes -= ONCE + 2 * key.len();
        } else {
            self.once_order.push_back(key);
        }
        self.tidy(now);
    }

    fn open(&mut self, name: &str, now: Instant) {
        if self.rooms.contains_key(name) {
            return;
        }
        self.turn += 1;
        let name: Arc<str> = name.into();
        self.bytes += ROOM + name.len();
        self.silent.insert(self.turn, Arc::clone(&name));
        let room = Room {
            position: Position { epoch: rand::random(), offset: 0 },
            log: VecDeque::new(),
            bytes: 0,
            turn: self.turn,
            touched: now,
            age: Duration::ZERO,
            position_ttl: Duration::MAX,
        };
        self.rooms.insert(name, room);
    }

    /// Forgets what is too old, and what is too much.
    fn tidy(&mut self, now: Instant) {
        while let Some(key) = self.once_order.front() {
            let over = self.once.get(key).is_none_or(|(_, until)| now >= *until);
            if !over && self.bytes <= self.most {
                break;
            }
            if let Some(key) = self.once_order.pop_front() {
                self.bytes -= ONCE + 2 * key.len();
                self.once.remove(&key);
            }
        }
        while let Some((turn, name)) = self.speaking.first_key_value() {
            let over = self.rooms.get(name).is_none_or(|room| now.duration_since(room.touched) > room.age);
            if !over && self.bytes <= self.most {
                break;
            }
            let (turn, name) = (*turn, Arc::clone(name));
            self.speaking.remove(&turn);
            if let Some(room) = self.rooms.get_mut(&name) {
                self.bytes -= std::mem::take(&mut room.bytes);
                room.log = VecDeque::new();
                self.silent.insert(turn, name);
            }
        }
        while let Some((turn, name)) = self.silent.first_key_value() {
            let over = self.rooms.get(name).is_none_or(|room| now.duration_since(room.touched) > room.position_ttl);
            if !over && self.bytes <= self.most {
                break;
            }
            let (turn, name) = (*turn, Arc::clone(name));
            self.silent.remove(&turn);
            self.bytes -= ROOM + name.len();
            self.rooms.remove(&name);
        }
    }
}

/// Two texts as one, so that no other two give the same.
fn once_key(room: &str, once: &str) -> String {
    format!("{}:{room}{once}", room.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Retention = Retention { size: 3, age: Duration::from_secs(60) };

    fn publish(rooms: &mut Rooms, room: &str, now: Instant) -> Position {
        let position = rooms.advance(room, now);
        rooms.keep(room, Frame::text(&format!("4{}", position.offset)), KEPT, now);
        position
    }

    fn log(rooms: &mut Rooms, room: &str, now: Instant) -> (u64, Vec<String>) {
        let (position, log) = rooms.read(room, KEPT, now);
        (position.offset, log.map(|frame| String::from_utf8_lossy(frame.packet()).into_owned()).collect())
    }

    #[test]
    fn a_room_keeps_its_last_publications_and_counts_on() {
        let (mut rooms, now) = (Rooms::new(1 << 20), Instant::now());
        for _ in 0..5 {
            publish(&mut rooms, "r", now);
        }
        assert_eq!(log(&mut rooms, "r", now), (5, vec!["43".into(), "44".into(), "45".into()]));
        assert_eq!(log(&mut rooms, "other", now), (0, vec![]));
    }

    #[test]
    fn the_position_outlives_the_log() {
        let (mut rooms, now) = (Rooms::new(1 << 20), Instant::now());
        let before = publish(&mut rooms, "r", now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(log(&mut rooms, "r", later), (1, vec![]));
        assert_eq!(publish(&mut rooms, "r", later), Position { offset: 2, ..before });
    }

    #[test]
    fn a_forgotten_room_begins_a_new_epoch() {
        let (mut rooms, now) = (Rooms::new(1 << 20), Instant::now());
        let before = publish(&mut rooms, "r", now);
        let after = publish(&mut rooms, "r", now + Duration::from_secs(100_000));
        assert_eq!(after.offset, 2, "it spoke again before anybody looked");
        publish(&mut rooms, "other", now + Duration::from_secs(300_000));
        let new = publish(&mut rooms, "r", now + Duration::from_secs(300_000));
        assert_eq!(new.offset, 1);
        assert_ne!(new.epoch, before.epoch);
    }

    #[test]
    fn all_rooms_together_stay_below_their_bound_and_the_longest_silent_goes_first() {
        let (mut rooms, now) = (Rooms::new(20_000), Instant::now());
        for index in 0..10_000 {
            publish(&mut rooms, &format!("room-{index}"), now);
            assert!(rooms.bytes <= 20_000);
        }
        assert_eq!(log(&mut rooms, "room-9999", now).0, 1);
        assert!(rooms.rooms.len() < 200, "{}", rooms.rooms.len());
        assert_eq!(rooms.rooms.len(), rooms.speaking.len() + rooms.silent.len());
    }

    #[test]
    fn what_is_counted_is_what_is_there_after_any_churn() {
        let (mut rooms, start) = (Rooms::new(50_000), Instant::now());
        for step in 0..20_000_u64 {
            let now = start + Duration::from_secs(step / 10);
            let room = format!("r{}", step * 7919 % 97);
            match step % 3 {
                0 => drop(log(&mut rooms, &room, now)),
                1 => {
                    let position = publish(&mut rooms, &room, now);
                    rooms.remember(&room, &step.to_string(), position, KEPT.age, now);
                }
                _ => drop(publish(&mut rooms, &room, now)),
            }
        }
        let logs: usize = rooms.rooms.values().map(|room| room.bytes).sum();
        let names: usize = rooms.rooms.keys().map(|name| ROOM + name.len()).sum();
        let once: usize = rooms.once.keys().map(|key| ONCE + 2 * key.len()).sum();
        assert_eq!(rooms.bytes, logs + names + once);
        assert_eq!(rooms.once.len(), rooms.once_order.len());
    }

    #[test]
    fn an_idempotency_key_is_known_for_its_room_and_its_time() {
        let (mut rooms, now) = (Rooms::new(1 << 20), Instant::now());
        let position = publish(&mut rooms, "r", now);
        rooms.remember("r", "k", position, KEPT.age, now);
        assert_eq!(rooms.published("r", "k", now), Some(position));
        assert_eq!(rooms.published("rk", "", now), None);
        assert_eq!(rooms.published("r", "k", now + KEPT.age), None);
    }
}
