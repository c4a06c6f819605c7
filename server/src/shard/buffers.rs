//! The budget of all buffers of a shard: what waits for clients, also for those that are closing, and messages of
//! clients that have not arrived completely. When it is exceeded, connections of the clients that hold the most are
//! closed, those with the largest buffers first.
//!
//! Members of one room share the bytes that wait for them, so the sum of all buffers says little about memory. A scan
//! counts shared bytes once. It runs a few times per second, only while something waits, and looks only at the
//! connections for which something has waited since the last one.

use super::Shard;
use super::slot::{Closing, Session, Slot, Transport};
use crate::client::Client;
use crate::close_reason::CloseReason;
use crate::protocol::{Millis, NEVER};
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// Time between two scans. Milliseconds.
const SCAN_INTERVAL: Millis = 250;
/// Pause after a scan, in units of the time that it took.
const PAUSE_FACTOR: Millis = 20;

/// When the next scan is due, and what it looks at.
#[derive(Debug)]
pub(super) struct BufferScan {
    due: Millis,
    /// The budget of the shard. Bytes.
    budget: usize,
    /// The number of shards.
    shards: usize,
    /// The slots, with their generations, for which something waits or has waited a moment ago.
    watched: Vec<(u32, u32)>,
}

/// A buffer of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Buffer {
    /// Its size, with what it shares. Bytes.
    bytes: usize,
    slot: u32,
    generation: u32,
}

/// What the connections of one client hold.
#[derive(Debug, Default)]
struct OfClient {
    /// Its size. What several of them share counts once. Bytes.
    held: usize,
    buffers: Vec<Buffer>,
    shared: HashSet<*const u8>,
}

// === impl BufferScan ===

impl BufferScan {
    /// `budget` is that of one of `shards`. Bytes.
    pub(super) fn new(budget: usize, shards: usize) -> Self {
        Self { due: NEVER, budget, shards, watched: Vec::new() }
    }

    /// The number of shards.
    pub(super) fn shards(&self) -> usize {
        self.shards
    }

    /// When the next scan is due, if one is.
    pub(super) fn due(&self) -> Option<Millis> {
        (self.due != NEVER).then_some(self.due)
    }

    /// Something waits for a connection, or a part of a message has arrived. `is_watched` belongs to that connection.
    pub(super) fn watch(&mut self, slot: u32, generation: u32, is_watched: &mut bool, now: Millis) {
        if *is_watched {
            return;
        }
        *is_watched = true;
        self.watched.push((slot, generation));
        if self.due == NEVER {
            self.due = now + SCAN_INTERVAL;
        }
    }
}

/// Chooses buffers of `excess` bytes: always the largest of the client that holds the most.
fn largest(clients: impl IntoIterator<Item = OfClient>, excess: usize) -> Vec<Buffer> {
    let (mut chosen, mut freed) = (Vec::new(), 0);
    let sorted = clients.into_iter().map(|mut of_client| {
        of_client.buffers.sort_unstable();
        (of_client.held, of_client.buffers)
    });
    let mut clients: BinaryHeap<(usize, Vec<Buffer>)> = sorted.collect();
    while freed < excess {
        let Some((held, mut buffers)) = clients.pop() else { break };
        let Some(buffer) = buffers.pop() else { continue };
        freed += buffer.bytes;
        chosen.push(buffer);
        clients.push((held.saturating_sub(buffer.bytes), buffers));
    }
    chosen
}

// === impl Shard ===

impl Shard {
    /// Closes connections if the budget is exceeded.
    pub(super) fn scan_buffers(&mut self) {
        if self.now < self.buffer_scan.due {
            return;
        }
        let began = Instant::now();
        let buffers = self.take_watched();
        if !self.buffer_scan.watched.is_empty() {
            self.buffer_scan.due = self.now + SCAN_INTERVAL;
        }
        // Responses to polls that are not written belong to no shard.
        let responses = self.settings.poll_responses.bytes() / self.buffer_scan.shards;
        let budget = self.buffer_scan.budget.saturating_sub(responses);
        // If the sum with all shared bytes fits, they need not be looked at.
        if buffers.iter().map(|(_, buffer)| buffer.bytes).sum::<usize>() > budget {
            self.close_largest(buffers, budget);
        }
        if self.buffer_scan.due != NEVER {
            // A long scan is followed by a longer pause.
            let pause = PAUSE_FACTOR * began.elapsed().as_millis() as Millis;
            self.buffer_scan.due = self.now + SCAN_INTERVAL.max(pause);
        }
    }

    /// Returns the buffers of all watched connections. Those for which nothing waits are watched no more.
    fn take_watched(&mut self) -> Vec<(Client, Buffer)> {
        self.buffer_scan.due = NEVER;
        let mut buffers = Vec::new();
        let Self { buffer_scan, slots, .. } = self;
        buffer_scan.watched.retain(|&(slot, generation)| {
            let one = slots.get_mut(slot as usize).filter(|one| one.generation() == generation);
            let Some((client, bytes)) = one.map(|one| (one.client(), one.buffered())) else { return false };
            if bytes > 0 {
                buffers.push((client, Buffer { bytes, slot, generation }));
            } else if let Some(is_watched) = slots.get_mut(slot as usize).and_then(Slot::is_watched) {
                *is_watched = false;
            }
            bytes > 0
        });
        buffers
    }

    /// Closes connections if their buffers exceed the budget although what they share counts once.
    fn close_largest(&mut self, buffers: Vec<(Client, Buffer)>, budget: usize) {
        let (mut seen, mut held) = (HashSet::new(), 0);
        let mut clients: HashMap<Client, OfClient> = HashMap::new();
        for (client, buffer) in buffers {
            let of_client = clients.entry(client).or_insert_with(|| OfClient {
                held: self.settings.poll_responses.bytes_of(client) / self.buffer_scan.shards,
                ..OfClient::default()
            });
            of_client.buffers.push(buffer);
            let mut add = |bytes: usize| {
                held += bytes;
                of_client.held += bytes;
            };
            let Some(one) = self.slots.get(buffer.slot as usize) else { continue };
            add(one.arriving());
            let mut count = |bytes: &Arc<[u8]>| {
                if seen.insert(bytes.as_ptr()) {
                    held += bytes.len();
                }
                if of_client.shared.insert(bytes.as_ptr()) {
                    of_client.held += bytes.len();
                }
            };
            match one {
                Slot::Closing(Closing { socket, .. })
                | Slot::Session(Session { transport: Transport::WebSocket(socket), .. }) => {
                    socket.send_buffer.parts().for_each(&mut count);
                }
                Slot::Session(Session { transport: Transport::Polling(polling), .. }) => {
                    polling.queue.frames().for_each(|frame| count(frame.shared()));
                }
                Slot::Session(session) => {
                    held += session.waiting();
                    of_client.held += session.waiting();
                }
                Slot::Probe(_) => {}
            }
        }
        let Some(excess) = held.checked_sub(budget).filter(|excess| *excess > 0) else { return };
        tracing::warn!(bytes = held, budget, "the buffers exceed limits: send_buffers_total");
        for Buffer { slot, generation, .. } in largest(clients.into_values(), excess) {
            self.close_later(slot, generation, CloseReason::SendBuffersFull);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(first_slot: u32, held: usize, buffers: &[usize]) -> OfClient {
        let buffers = (first_slot..).zip(buffers).map(|(slot, &bytes)| Buffer { bytes, slot, generation: 0 });
        OfClient { held, buffers: buffers.collect(), shared: HashSet::new() }
    }

    fn chosen(clients: Vec<OfClient>, excess: usize) -> Vec<u32> {
        largest(clients, excess).into_iter().map(|buffer| buffer.slot).collect()
    }

    #[test]
    fn the_client_with_the_most_loses_its_connections_before_one_with_the_largest_buffer() {
        let clients = || vec![client(0, 90, &[90]), client(10, 400, &[80, 70, 60, 80, 60, 50])];
        assert_eq!(chosen(clients(), 100), [13, 10]);
        assert_eq!(chosen(clients(), 360), [13, 10, 11, 14, 12, 0], "in the end the other one holds more");
        assert_eq!(chosen(clients(), 10_000).len(), 7);
    }

    #[test]
    fn what_a_client_shares_counts_once() {
        let members_of_a_room = client(0, 100, &[100; 20]);
        assert_eq!(chosen(vec![members_of_a_room, client(100, 300, &[150, 150])], 250), [101, 100]);
    }

    #[test]
    fn a_connection_is_watched_once() {
        let (mut scan, mut is_watched) = (BufferScan::new(100, 1), false);
        scan.watch(1, 2, &mut is_watched, 7);
        scan.watch(1, 2, &mut is_watched, 8);
        assert_eq!((scan.watched, scan.due), (vec![(1, 2)], 7 + SCAN_INTERVAL));
    }
}
