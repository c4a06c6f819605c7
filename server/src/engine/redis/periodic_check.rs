//! The subscriber's periodic work, in small steps: compares the positions of rooms with those in Redis, retries reads, and
//! times out requests.
//!
//! A publication that was lost on the way is usually detected by the next one. The check finds it if there is no next
//! one. It also finds a delivered position that is not stored, because it was not written by the script.
//!
//! No step visits all rooms, of which there may be millions: publications and commands have their turns between steps.

use super::room_state::ReadRequest;
use super::subscriber::{Check, NamespaceSubscriber};
use crate::history::Recovery;
use std::time::{Duration, Instant};

/// Interval of the steps.
pub(super) const STEP: Duration = Duration::from_millis(100);
/// Steps in which every room is checked once, unless that takes more than [`MAX_CHECKS_PER_SECOND`]: 15 s.
const STEPS_PER_CHECK: usize = 150;
/// Steps between two attempts to read a room whose last reads failed or changed nothing: one second.
const STEPS_PER_RETRY: u64 = 10;
/// A check takes about 40 µs of Redis, so that a namespace takes 4 % of it at most. With more than 15,000 rooms the interval
/// of the check grows: a million rooms are checked in 17 minutes. A position expires after a day without a check.
const MAX_CHECKS_PER_SECOND: usize = 1_000;
/// Rooms at which requests wait that one step visits. All of them are visited in less than a second, unless the shards
/// have more than 40,960 requests in different rooms.
const MAX_WAITING_PER_STEP: usize = 4_096;
/// Maximum time for a request to wait for Redis, plus up to a second.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The checks that are due.
#[derive(Debug, Default)]
pub(super) struct CheckBudget {
    due: usize,
    /// Parts of a check, of which there are [`STEPS_PER_CHECK`].
    parts: usize,
}

// === impl CheckBudget ===

impl CheckBudget {
    /// One step has passed.
    fn on_step(&mut self, rooms: usize) {
        let steps_per_second = 1_000 / STEP.as_millis() as usize;
        let parts = self.parts + rooms.min(MAX_CHECKS_PER_SECOND / steps_per_second * STEPS_PER_CHECK);
        // If Redis is too slow for them, they do not accumulate.
        self.due = (self.due + parts / STEPS_PER_CHECK).min(MAX_CHECKS_PER_SECOND);
        self.parts = parts % STEPS_PER_CHECK;
    }

    /// Takes a check. Returns `false` if none is due.
    pub(super) fn take(&mut self) -> bool {
        let is_due = self.due > 0;
        self.due -= usize::from(is_due);
        is_due
    }
}

// === impl NamespaceSubscriber ===

impl NamespaceSubscriber {
    /// Makes checks and retries due, and answers requests that have waited too long.
    pub(super) fn on_step(&mut self, step: u64) {
        self.checks.on_step(self.rooms.len());
        if step.is_multiple_of(STEPS_PER_RETRY) {
            self.retries_due = self.retry_queue.len();
        }
        self.answer_timed_out();
        self.drain_queues();
    }

    fn answer_timed_out(&mut self) {
        let Some(deadline) = Instant::now().checked_sub(RECOVERY_TIMEOUT) else { return };
        for _ in 0..self.waiting.len().min(MAX_WAITING_PER_STEP) {
            let Some(room) = self.waiting.pop() else { return };
            let Some(state) = self.rooms.get_mut(&room) else { continue };
            let timed_out = state.take_timed_out(deadline);
            if state.has_requests() {
                self.waiting.push(&room);
            }
            for request in timed_out {
                let recovery = Recovery::unavailable(request.since);
                self.shared.fanout.reply(request.reply(Some(recovery)));
            }
        }
    }

    /// Starts a check of a room, or the read that it needs.
    pub(super) fn check(&mut self, room: &str) {
        let Some(state) = self.rooms.get_mut(room) else { return };
        if state.needs_read() {
            self.retry_queue.push(room);
        } else if state.has_history() && state.position().is_some() && self.shared.health.is_ready() {
            let check = Check { position: state.position() };
            let request = ReadRequest { after: state.check_after(), subscribe_first: false };
            self.spawn_read(room, request, Some(check));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checks within so many seconds.
    fn checks(rooms: usize, seconds: usize) -> usize {
        let mut budget = CheckBudget::default();
        let mut taken = 0;
        for _ in 0..seconds * 10 {
            budget.on_step(rooms);
            taken += std::iter::from_fn(|| budget.take().then_some(())).count();
        }
        taken
    }

    #[test]
    fn every_room_is_checked_in_fifteen_seconds_and_a_million_with_a_thousand_checks_per_second() {
        for rooms in [0, 1, 7, 1_000, 15_000] {
            assert_eq!(checks(rooms, 15), rooms);
            assert_eq!(checks(rooms, 150), 10 * rooms);
        }
        assert_eq!(checks(15_001, 15), 15_000);
        assert_eq!(checks(1_000_000, 60), 60_000);
    }

    #[test]
    fn checks_that_redis_is_too_slow_for_do_not_accumulate() {
        let mut budget = CheckBudget::default();
        (0..10_000).for_each(|_| budget.on_step(1_000_000));
        assert_eq!(std::iter::from_fn(|| budget.take().then_some(())).count(), MAX_CHECKS_PER_SECOND);
    }
}
