//! Connections that are about to be closed. Each may be in many rooms, so thousands that are closed at once take their
//! turns, and others are not delayed.

use super::Shard;
use super::slot::Slot;
use crate::close_reason::CloseReason;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time for closing connections before others have their turn again.
const CLOSES_TURN: Duration = Duration::from_millis(1);

/// The connections that are about to be closed: slot, generation, and why.
pub(super) type Closes = VecDeque<(u32, u32, CloseReason)>;

// === impl Shard ===

impl Shard {
    /// Closes the occupant of a slot and generation in this turn or a later one. Until then it receives no publications.
    pub(super) fn close_later(&mut self, slot: u32, generation: u32, reason: CloseReason) {
        if let Some(Slot::Session(session)) = self.slots.get_mut(slot as usize)
            && session.generation == generation
        {
            session.receive_nothing_more();
        }
        self.to_close.push_back((slot, generation, reason));
    }

    /// Closes connections, as long as a turn lasts.
    pub(super) fn run_closes(&mut self) {
        if self.to_close.is_empty() {
            return;
        }
        let began = Instant::now();
        while let Some((slot, generation, reason)) = self.to_close.pop_front() {
            if self.slots.get(slot as usize).is_some_and(|one| one.generation() == generation) {
                self.fail(slot, reason);
            }
            if began.elapsed() >= CLOSES_TURN {
                return;
            }
        }
    }
}
