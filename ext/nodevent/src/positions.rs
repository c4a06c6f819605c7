//! The last positions of rooms that this process published to, so that a page knows from where to catch up.
//!
//! Owns nothing but a bounded memory: rooms, positions per room, and bytes of names are limited, and a position is two
//! numbers, whatever an engine sent. It does not know other processes' publications: a page that starts from an older
//! position receives more, never less.

use nodevent_protocol::history::Position;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The maximum of rooms. Beyond it, the room that was added first is forgotten.
const MAX_ROOMS: usize = 1024;
/// The maximum of positions per room: enough for what happens during one request.
const MAX_POSITIONS: usize = 8;
/// The maximum length of the names of a namespace and a room together, which an engine accepts. Bytes.
const MAX_NAMES: usize = 1024;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Positions(Mutex<Rooms>);

/// A namespace and a room.
type RoomKey = (Box<str>, Box<str>);

#[derive(Debug, Default)]
struct Rooms {
    /// When each position was recorded, oldest first.
    positions: HashMap<RoomKey, VecDeque<(Instant, Position)>>,
    /// The keys, in the order in which they were added.
    order: VecDeque<RoomKey>,
}

impl Positions {
    /// Records that a publication was stored at `position`.
    pub(crate) fn record(&self, namespace: &str, room: &str, position: Position) {
        if namespace.len() + room.len() > MAX_NAMES {
            return;
        }
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Box::from(namespace), Box::from(room));
        if !rooms.positions.contains_key(&key) {
            if rooms.order.len() >= MAX_ROOMS
                && let Some(oldest) = rooms.order.pop_front()
            {
                rooms.positions.remove(&oldest);
            }
            rooms.order.push_back(key.clone());
        }
        let positions = rooms.positions.entry(key).or_default();
        if positions.len() >= MAX_POSITIONS {
            positions.pop_front();
        }
        positions.push_back((Instant::now(), position));
    }

    /// Forgets everything, because the process publishes to another engine now.
    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Rooms::default();
    }

    /// The last position that was recorded at least `since` and at most `max_age` ago.
    pub(crate) fn last(&self, namespace: &str, room: &str, since: Duration, max_age: Duration) -> Option<Position> {
        let rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let positions = rooms.positions.get(&(Box::from(namespace), Box::from(room)))?;
        let (at, position) = positions.iter().rev().find(|(at, _)| at.elapsed() >= since)?;
        (at.elapsed() <= max_age).then_some(*position)
    }
}
