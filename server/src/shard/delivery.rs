//! From an emission to its members: the hot path.
//!
//! A room that has something to say stands in a queue of turns. In its turn, all emissions that wait for it are
//! laid end to end in one shared buffer, and that buffer is written to its members, at most [`TURN`] of them
//! before the next room, the sockets and the timers have theirs. So a hot room batches by itself, and a quiet one
//! does not wait for it.
//!
//! Every emission has a number, and every connection the number up to which everything was put before it. Where a
//! connection is in several rooms that speak at once, what it has missed of all of them is merged by number: it
//! hears a namespace in the order in which the engine gave it.

use super::Shard;
use super::inbox::Emission;
use super::slot::{Carrier, Session, Slot};
use super::socket::Sent;
use crate::close_reason::CloseReason;
use crate::frame::Frame;
use crate::hub::{Hub, RoomId};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Members that are written to before anybody else has a turn.
const TURN: usize = 512;
/// What one buffer of emissions laid end to end may hold, but for a single larger one. Bytes.
const BATCH: usize = 128 * 1024;

/// The rooms that have something to say.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// The number of the last emission.
    last: u64,
    rooms: HashMap<RoomId, Speaking>,
    turns: VecDeque<RoomId>,
}

/// A room that has something to say.
#[derive(Debug, Default)]
struct Speaking {
    /// Emissions that are not in a batch yet, by number.
    waiting: VecDeque<(u64, Frame)>,
    batch: Option<Batch>,
}

/// Emissions that are on their way to the members of one room.
#[derive(Debug)]
struct Batch {
    frames: Vec<(u64, Frame)>,
    /// The frames end to end, as WebSockets are given them.
    laid: Arc<[u8]>,
    /// Members below this index have not had it; from high to low, so that leaving disturbs nothing.
    left: usize,
}

// === impl Delivery ===

impl Delivery {
    pub(super) fn has_work(&self) -> bool {
        !self.turns.is_empty()
    }

    /// A room is gone, and with it whoever might have heard.
    pub(super) fn forget(&mut self, room: RoomId) {
        self.rooms.remove(&room);
    }

    fn add(&mut self, room: RoomId, frame: Frame) {
        self.last += 1;
        let speaking = self.rooms.entry(room).or_insert_with(|| {
            self.turns.push_back(room);
            Speaking::default()
        });
        speaking.waiting.push_back((self.last, frame));
    }

    /// Everything that `rooms` have said after `after`, in order.
    fn missed(&self, rooms: impl Iterator<Item = RoomId>, after: u64) -> Vec<(u64, Frame)> {
        let mut missed = Vec::new();
        for speaking in rooms.filter_map(|room| self.rooms.get(&room)) {
            let batch = speaking.batch.iter().flat_map(|batch| &batch.frames);
            missed.extend(batch.chain(&speaking.waiting).filter(|(number, _)| *number > after).cloned());
        }
        missed.sort_unstable_by_key(|(number, _)| *number);
        missed
    }
}

// === impl Batch ===

impl Batch {
    /// Lays end to end what waits, as far as a batch goes.
    fn of(waiting: &mut VecDeque<(u64, Frame)>, members: usize) -> Option<Self> {
        let mut frames: Vec<(u64, Frame)> = Vec::with_capacity(waiting.len().min(1024));
        let mut bytes = 0;
        while let Some((_, frame)) = waiting.front() {
            bytes += frame.websocket().len();
            if !frames.is_empty() && bytes > BATCH {
                break;
            }
            frames.extend(waiting.pop_front());
        }
        let laid = match frames.as_slice() {
            [] => return None,
            [(_, only)] => Arc::clone(only.websocket()),
            several => {
                let mut laid = Vec::with_capacity(bytes);
                several.iter().for_each(|(_, frame)| laid.extend_from_slice(frame.websocket()));
                laid.into()
            }
        };
        Some(Self { frames, laid, left: members })
    }

    fn first(&self) -> u64 {
        self.frames.first().map_or(0, |(number, _)| *number)
    }

    fn last(&self) -> u64 {
        self.frames.last().map_or(0, |(number, _)| *number)
    }
}

// === impl Shard ===

impl Shard {
    /// An emission came from the engine.
    pub(super) fn accept_emission(&mut self, emission: &Emission) {
        if let Some(room) = self.hub.find(emission.namespace, &emission.room) {
            self.delivery.add(room, emission.frame.clone());
        }
    }

    /// Gives the next room its turn.
    pub(super) fn deliver_turn(&mut self) {
        let Some(room) = self.delivery.turns.pop_front() else { return };
        let members = self.hub.members(room).len();
        let Some(speaking) = self.delivery.rooms.get_mut(&room) else { return };
        if speaking.batch.is_none() {
            speaking.batch = Batch::of(&mut speaking.waiting, members);
        }
        // Taken out while the members are walked; put back if it is not through.
        let Some(mut batch) = speaking.batch.take() else {
            self.delivery.rooms.remove(&room);
            return;
        };
        let alone = self.delivery.rooms.len() == 1;
        batch.left = batch.left.min(members);
        let until = batch.left.saturating_sub(TURN);
        let Self { slots, hub, delivery, settings, doomed, now, timers, .. } = self;
        let mut put = 0;
        for index in (until..batch.left).rev() {
            let member = hub.members(room)[index];
            let Some(Slot::Session(session)) = slots.get_mut(member as usize) else { continue };
            let step = Step { hub, delivery, batch: &batch, alone, limit: settings.outbox };
            let (count, sent) = step.put_before(member, session);
            put += count;
            match sent {
                Sent::Whole => {}
                Sent::Queued => {
                    if session.stalled_since.is_none() {
                        session.stalled_since = Some(*now);
                        let by = *now + settings.write_stall;
                        if by < session.armed {
                            session.armed = by;
                            timers.add(by, member, session.generation);
                        }
                    }
                }
                Sent::Full => doomed.push((member, CloseReason::OutboxFull)),
                Sent::Broken => doomed.push((member, CloseReason::Lost)),
            }
            if matches!(session.carrier, Carrier::Polling(_)) {
                self.polls.push(member);
            }
        }
        self.metrics.deliveries.fetch_add(put, Relaxed);
        batch.left = until;
        self.end_turn(room, batch);
        for member in std::mem::take(&mut self.polls) {
            self.answer_poll(member);
        }
        for (member, reason) in std::mem::take(&mut self.doomed) {
            self.close(member, reason);
        }
    }

    /// Puts the room back into the queue, or lets it rest.
    fn end_turn(&mut self, room: RoomId, batch: Batch) {
        let Some(speaking) = self.delivery.rooms.get_mut(&room) else { return };
        if batch.left > 0 {
            speaking.batch = Some(batch);
        } else if speaking.waiting.is_empty() {
            self.delivery.rooms.remove(&room);
            return;
        }
        self.delivery.turns.push_back(room);
    }
}

/// One member's share of a turn.
struct Step<'a> {
    hub: &'a Hub,
    delivery: &'a Delivery,
    batch: &'a Batch,
    /// Whether no other room has anything to say.
    alone: bool,
    limit: usize,
}

// === impl Step ===

impl Step<'_> {
    /// Puts the batch, or what the member has missed of all its rooms, before it. Answers how many emissions.
    fn put_before(&self, member: u32, session: &mut Session) -> (u64, Sent) {
        let last = self.batch.last();
        if session.delivered >= last {
            return (0, Sent::Whole);
        }
        let simple = session.delivered < self.batch.first() && (self.alone || self.hub.rooms_of(member).len() == 1);
        if simple {
            session.delivered = last;
            return (self.batch.frames.len() as u64, self.put(session, &self.batch.frames, &self.batch.laid));
        }
        let mut frames = self.delivery.missed(self.hub.rooms_of(member), session.delivered);
        frames.extend(self.batch.frames.iter().filter(|(number, _)| *number > session.delivered).cloned());
        frames.sort_unstable_by_key(|(number, _)| *number);
        session.delivered = self.delivery.last;
        let laid = match frames.as_slice() {
            [] => return (0, Sent::Whole),
            [(_, only)] => Arc::clone(only.websocket()),
            several => several.iter().flat_map(|(_, frame)| frame.websocket().iter().copied()).collect(),
        };
        (frames.len() as u64, self.put(session, &frames, &laid))
    }

    fn put(&self, session: &mut Session, frames: &[(u64, Frame)], laid: &Arc<[u8]>) -> Sent {
        match &mut session.carrier {
            Carrier::WebSocket(socket) => socket.send(laid, || Arc::clone(laid), self.limit),
            Carrier::Polling(polling) => {
                frames.iter().for_each(|(_, frame)| polling.packets.push(frame.clone()));
                if polling.packets.bytes() > self.limit { Sent::Full } else { Sent::Whole }
            }
            Carrier::Gone => Sent::Whole,
        }
    }
}
