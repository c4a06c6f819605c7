//! One queue of timers per shard.
//!
//! A slot has at most one timer that counts. When it fires early, because a deadline has moved, it is set again.

use super::Shard;
use super::slot::Slot;
use crate::close_reason::CloseReason;
use crate::protocol::{Millis, NEVER};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Time for timers before others have their turn again.
const TIMERS_TURN: Duration = Duration::from_millis(2);

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BinaryHeap<Reverse<(Millis, u32, u32)>>,
}

// === impl Timers ===

impl Timers {
    pub(super) fn add(&mut self, at: Millis, slot: u32, generation: u32) {
        self.queue.push(Reverse((at, slot, generation)));
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.queue.peek().map(|Reverse((at, ..))| *at)
    }

    fn take(&mut self, now: Millis) -> Option<(Millis, u32, u32)> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry)
    }
}

// === impl Shard ===

impl Shard {
    /// Sets the slot's timer for its nearest deadline, unless it fires before that anyway.
    pub(super) fn arm(&mut self, slot: u32) {
        let Some(one) = self.slots.get_mut(slot as usize) else { return };
        let (deadline, generation) = (one.deadline(self.settings.write_timeout), one.generation());
        if deadline < *one.timer_at() {
            *one.timer_at() = deadline;
            self.timers.add(deadline, slot, generation);
        }
    }

    /// Does what is due, as long as a turn lasts: thousands of connections may time out at once.
    pub(super) fn run_timers(&mut self) {
        if self.timers.next().is_none_or(|at| at > self.now) {
            return;
        }
        let began = Instant::now();
        while began.elapsed() < TIMERS_TURN
            && let Some((at, slot, generation)) = self.timers.take(self.now)
        {
            let Some(one) = self.slots.get_mut(slot as usize) else { continue };
            if one.generation() != generation || *one.timer_at() != at {
                continue;
            }
            *one.timer_at() = NEVER;
            self.fire_deadlines(slot);
            self.arm(slot);
        }
    }

    /// Does what is due for one slot.
    pub(super) fn fire_deadlines(&mut self, slot: u32) {
        let now = self.now;
        let Some(one) = self.slots.get_mut(slot as usize) else { return };
        let session = match one {
            Slot::Session(session) => session,
            Slot::Probe(_) => return,
            Slot::Closing(closing) => {
                if now >= closing.until {
                    self.release(slot);
                }
                return;
            }
        };
        if now >= session.drain_at {
            return self.close(slot, CloseReason::Draining);
        }
        if session.stalled_since.is_some_and(|since| now >= since + self.settings.write_timeout) {
            return self.close(slot, CloseReason::WriteStalled);
        }
        if now >= session.identities.deadline() && !self.expire_identities(slot) {
            return;
        }
        let Some(session) = self.session_mut(slot) else { return };
        if now >= session.expiries.deadline() && !self.expire_memberships(slot) {
            return;
        }
        if self.is_protocol_due(slot) {
            self.read_overdue(slot);
        }
        if self.is_protocol_due(slot) {
            self.with_protocol(slot, |protocol, core| protocol.on_deadline(core));
        }
    }

    fn is_protocol_due(&mut self, slot: u32) -> bool {
        let now = self.now;
        let protocol = self.session_mut(slot).and_then(|session| session.protocol.as_ref());
        protocol.is_some_and(|protocol| now >= protocol.deadline())
    }
}
