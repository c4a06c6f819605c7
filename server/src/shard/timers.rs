//! When each slot wants to be looked at next: one queue per shard, at most a few entries per slot.
//!
//! A slot is armed for its nearest deadline. When that comes, the slot says what is due and is armed again; a
//! deadline that has moved away is simply met early and armed anew.

use super::Shard;
use super::slot::{NEVER, Slot};
use crate::close_reason::CloseReason;
use nodevent_protocol::engine_io::session::{Due, Millis};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::Relaxed;

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
    /// Sees to it that the slot is looked at by its nearest deadline.
    pub(super) fn arm(&mut self, slot: u32) {
        let Some(one) = self.slots.get_mut(slot as usize) else { return };
        let (deadline, generation) = (one.deadline(self.settings.write_stall), one.generation());
        if deadline < *one.armed() {
            *one.armed() = deadline;
            self.timers.add(deadline, slot, generation);
        }
    }

    pub(super) fn run_timers(&mut self) {
        while let Some((at, slot, generation)) = self.timers.take(self.now) {
            let Some(one) = self.slots.get_mut(slot as usize) else { continue };
            if one.generation() != generation || *one.armed() != at {
                continue;
            }
            *one.armed() = NEVER;
            self.due(slot);
            self.arm(slot);
        }
    }

    /// Does what has come due for one slot.
    pub(super) fn due(&mut self, slot: u32) {
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
        if now >= session.leave_at {
            self.say_drain(slot);
            return self.close(slot, CloseReason::Draining);
        }
        if now >= session.connect_by {
            return self.close(slot, CloseReason::ConnectTimeout);
        }
        if session.stalled_since.is_some_and(|since| now >= since + self.settings.write_stall) {
            return self.close(slot, CloseReason::WriteStalled);
        }
        match session.engine_io.due(now, &self.settings.timing) {
            Due::Nothing => {}
            Due::Ping => self.beat(slot),
            Due::PingTimeout => self.close(slot, CloseReason::PingTimeout),
            Due::UpgradeTimeout => {
                let probe = session.probe.take();
                self.metrics.upgrade_timeouts.fetch_add(1, Relaxed);
                tracing::info!("an upgrade to WebSocket was not finished in time");
                if let Some(probe) = probe {
                    self.dismiss(probe, Some((Some(1008), "the upgrade was not finished in time")));
                }
                self.answer_poll(slot);
            }
        }
    }
}
