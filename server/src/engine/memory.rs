//! The engine in this process: what is published goes straight to the shards, and is kept here.

use super::kept::Rooms;
use super::{Fanout, Read};
use crate::config::history::History;
use crate::shard::keeper::Since;
use nodevent_protocol::history::{Position, with_position};
use nodevent_protocol::publication::PublicationRef;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The engine of one namespace.
#[derive(Debug)]
pub struct Memory {
    history: History,
    /// Locked while a publication is passed on, so that all shards see one order.
    fanout: tokio::sync::Mutex<Fanout>,
    /// Locked for moments only, never while anything is awaited.
    rooms: Mutex<Rooms>,
}

// === impl Memory ===

impl Memory {
    /// An engine that keeps what `history` says and pushes into `fanout`.
    pub fn new(fanout: Fanout, history: History) -> Self {
        let rooms = Mutex::new(Rooms::new(history.max_memory));
        Self { history, fanout: tokio::sync::Mutex::new(fanout), rooms }
    }

    /// Keeps a publication and passes it on.
    ///
    /// # Cancel safety
    /// Safe: it is kept and passed on, or neither.
    pub async fn publish(&self, publication: &PublicationRef<'_>, once: Option<&str>) -> Option<Position> {
        let fanout = self.fanout.lock().await;
        let place = fanout.reserve(publication.text.len()).await;
        let Some(kept) = self.history.of(&publication.room) else {
            place.pass(&publication.room, fanout.frame(publication.text), None);
            return None;
        };
        let now = Instant::now();
        let (frame, position) = {
            let mut rooms = self.rooms();
            if let Some(before) = once.and_then(|once| rooms.published(&publication.room, once, now)) {
                return Some(before);
            }
            let position = rooms.advance(&publication.room, now);
            let frame = fanout.frame(&with_position(publication.text, position));
            rooms.keep(&publication.room, frame.clone(), kept, now);
            if let Some(once) = once {
                rooms.remember(&publication.room, once, position, kept.age, now);
            }
            (frame, position)
        };
        place.pass(&publication.room, frame, Some(position));
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
