//! The engine in this process: what is published goes straight to the shards, and is kept here.

use super::kept::Rooms;
use super::{Outlet, Read};
use crate::config::history::History;
use crate::shard::keeper::Since;
use nodevent_protocol::emission::Emission;
use nodevent_protocol::history::{Position, with_position};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The engine of one namespace.
#[derive(Debug)]
pub struct Memory {
    history: History,
    /// Locked while an emission is passed on, so that all shards see one order.
    outlet: tokio::sync::Mutex<Outlet>,
    /// Locked for moments only, never while anything is awaited.
    rooms: Mutex<Rooms>,
}

// === impl Memory ===

impl Memory {
    /// An engine that keeps what `history` says and pushes into `outlet`.
    pub fn new(outlet: Outlet, history: History) -> Self {
        let rooms = Mutex::new(Rooms::new(history.memory));
        Self { history, outlet: tokio::sync::Mutex::new(outlet), rooms }
    }

    /// Keeps an emission and passes it on.
    ///
    /// # Cancel safety
    /// Safe: it is kept and passed on, or neither.
    pub async fn publish(&self, emission: &Emission<'_>, once: Option<&str>) -> Option<Position> {
        let outlet = self.outlet.lock().await;
        let place = outlet.reserve(emission.text.len()).await;
        let Some(kept) = self.history.of(&emission.room) else {
            place.pass(&emission.room, outlet.frame(emission.text), None);
            return None;
        };
        let now = Instant::now();
        let (frame, position) = {
            let mut rooms = self.rooms();
            if let Some(before) = once.and_then(|once| rooms.published(&emission.room, once, now)) {
                return Some(before);
            }
            let position = rooms.advance(&emission.room, now);
            let frame = outlet.frame(&with_position(emission.text, position));
            rooms.keep(&emission.room, frame.clone(), kept, now);
            if let Some(once) = once {
                rooms.remember(&emission.room, once, position, kept.age, now);
            }
            (frame, position)
        };
        place.pass(&emission.room, frame, Some(position));
        Some(position)
    }

    /// Reads what came after a position. `None`: the room has no history.
    pub fn read(&self, room: &str, since: Since) -> Option<Read> {
        let kept = self.history.of(room)?;
        let mut rooms = self.rooms();
        let (position, log) = rooms.read(room, kept, Instant::now());
        Some(Read::judge(position, None, since, log))
    }

    /// Whether the room has a history.
    pub(super) fn keeps(&self, room: &str) -> bool {
        self.history.of(room).is_some()
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        // A panic elsewhere leaves nothing half done here that could not be used.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
