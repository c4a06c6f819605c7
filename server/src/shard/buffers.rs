//! The budget of all buffers of a shard: what waits for clients, also for those that are closing, and messages of clients that have not arrived completely.
//! When it is exceeded, the connections with the largest buffers are closed.
//!
//! Members of one room share the bytes that wait for them, so the sum of all buffers says little about memory. A scan
//! counts shared bytes once. It runs a few times per second, and only while something waits.

use super::Shard;
use super::slot::{Slot, Transport};
use crate::close_reason::CloseReason;
use crate::protocol::{Millis, NEVER};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

/// Time between two scans. Milliseconds.
const SCAN_INTERVAL: Millis = 250;
/// Pause after a scan, in units of the time that it took.
const PAUSE_FACTOR: Millis = 20;

/// When the next scan is due.
#[derive(Debug)]
pub(super) struct BufferScan {
    due: Millis,
    /// The budget of the shard. Bytes.
    budget: usize,
}

// === impl BufferScan ===

impl BufferScan {
    pub(super) fn new(budget: usize) -> Self {
        Self { due: NEVER, budget }
    }

    /// When the next scan is due, if one is.
    pub(super) fn due(&self) -> Option<Millis> {
        (self.due != NEVER).then_some(self.due)
    }

    /// Something waits for a connection, or a part of a message has arrived.
    pub(super) fn request(&mut self, now: Millis) {
        if self.due == NEVER {
            self.due = now + SCAN_INTERVAL;
        }
    }
}

// === impl Shard ===

impl Shard {
    /// Closes the connections with the largest buffers if the budget is exceeded.
    pub(super) fn scan_buffers(&mut self) {
        if self.now < self.buffer_scan.due {
            return;
        }
        self.buffer_scan.due = NEVER;
        let mut buffers: Vec<(usize, u32)> = Vec::new();
        for (slot, one) in &self.slots {
            let waiting = match one {
                Slot::Session(session) => session.waiting() + session.arriving(),
                Slot::Probe(probe) => probe.socket.as_ref().map_or(0, |socket| socket.decoder.buffered()),
                Slot::Closing(closing) => closing.socket.send_buffer.bytes(),
            };
            if waiting > 0 {
                buffers.push((waiting, slot as u32));
            }
        }
        if buffers.is_empty() {
            return;
        }
        self.buffer_scan.request(self.now);
        // If the sum with all shared bytes fits, they need not be looked at.
        if buffers.iter().map(|(waiting, _)| waiting).sum::<usize>() <= self.buffer_scan.budget {
            return;
        }
        let began = Instant::now();
        let (mut seen, mut held) = (HashSet::new(), 0);
        for (waiting, slot) in &buffers {
            let one = self.slots.get(*slot as usize);
            if let Some(Slot::Session(session)) = one {
                held += session.arriving();
            }
            let mut count = |bytes: &Arc<[u8]>| {
                if seen.insert(bytes.as_ptr()) {
                    held += bytes.len();
                }
            };
            let session = match one {
                Some(Slot::Session(session)) => session,
                Some(Slot::Closing(closing)) => {
                    closing.socket.send_buffer.parts().for_each(&mut count);
                    continue;
                }
                _ => {
                    held += waiting;
                    continue;
                }
            };
            match &session.transport {
                Transport::WebSocket(socket) => socket.send_buffer.parts().for_each(&mut count),
                Transport::Polling(polling) => polling.queue.frames().for_each(|frame| count(frame.shared())),
                Transport::Stream(_) | Transport::Closed => held += session.waiting(),
            }
        }
        // A long scan is followed by a longer pause.
        self.buffer_scan.due = self.now + SCAN_INTERVAL.max(PAUSE_FACTOR * began.elapsed().as_millis() as Millis);
        let Some(excess) = held.checked_sub(self.buffer_scan.budget).filter(|excess| *excess > 0) else { return };
        buffers.sort_unstable_by(|one, other| other.cmp(one));
        tracing::warn!(
            bytes = held,
            budget = self.buffer_scan.budget,
            "the buffers exceed limits: send_buffers_total"
        );
        let mut freed = 0;
        for (waiting, slot) in buffers {
            if freed >= excess {
                return;
            }
            freed += waiting;
            self.fail(slot, CloseReason::SendBuffersFull);
        }
    }
}
