//! The subscriber's periodic work: compares the positions of rooms with those in Redis, retries reads, and times out
//! requests.
//!
//! A publication that was lost on the way is usually detected by the next one. The check finds it if there is no next
//! one. It also finds a delivered position that is not stored, because it was not written by the script.

use super::room_state::ReadRequest;
use super::subscriber::{Check, NamespaceSubscriber};
use crate::history::Recovery;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

/// Interval of the check.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// Number of buckets of rooms. Each tick checks one of them.
const CHECK_BUCKETS: u64 = 15;
/// Maximum time for a request to wait for Redis, plus up to one tick.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(10);

// === impl NamespaceSubscriber ===

impl NamespaceSubscriber {
    /// Marks all rooms as possibly stale: any publication may have been lost.
    pub(super) fn recheck_all_rooms(&mut self) {
        let rooms: Vec<Box<str>> = self.rooms.keys().cloned().collect();
        for room in rooms {
            if let Some(state) = self.rooms.get_mut(&room) {
                state.mark_possibly_stale();
            }
            self.request_read(&room);
        }
    }

    /// Queues a check for one bucket of rooms, retries reads that are still needed, and answers requests that have waited
    /// too long.
    pub(super) fn on_tick(&mut self, tick: u64) {
        let deadline = Instant::now().checked_sub(RECOVERY_TIMEOUT);
        let is_ready = self.shared.health.is_ready();
        let mut timed_out = Vec::new();
        for (room, state) in &mut self.rooms {
            timed_out.extend(deadline.map(|deadline| state.take_timed_out(deadline)).unwrap_or_default());
            if state.needs_read() {
                self.read_queue.push(room);
            } else if is_ready && state.position().is_some() && bucket_of(room) == tick % CHECK_BUCKETS {
                self.check_queue.push(room);
            }
        }
        for request in timed_out {
            let recovery = Recovery::unavailable(request.since);
            self.shared.fanout.reply(request.reply(Some(recovery)));
        }
        self.drain_queues();
    }

    /// Starts a check of a room.
    pub(super) fn check(&mut self, room: &str) {
        if let Some(state) = self.rooms.get(room).filter(|state| state.has_history()) {
            let check = Check { position: state.position() };
            let request = ReadRequest { after: state.check_after(), subscribe_first: false };
            self.spawn_read(room, request, Some(check));
        }
    }
}

/// Returns the bucket of a room. It does not depend on which other rooms there are.
fn bucket_of(room: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    hasher.finish() % CHECK_BUCKETS
}
