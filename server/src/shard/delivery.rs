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
use super::holds::{Item, Verdict};
use super::inbox::Emission;
use super::slot::{Carrier, Session, Slot};
use crate::close_reason::CloseReason;
use crate::frame::Frame;
use crate::hub::{Hub, RoomId};
use crate::outbox::Sent;
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
    waiting: VecDeque<Item>,
    batch: Option<Batch>,
}

/// Emissions that are on their way to the members of one room.
#[derive(Debug)]
struct Batch {
    items: Vec<Item>,
    /// Their frames end to end, as WebSockets are given them.
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

    fn add(&mut self, room: RoomId, emission: &Emission) {
        self.last += 1;
        let speaking = self.rooms.entry(room).or_insert_with(|| {
            self.turns.push_back(room);
            Speaking::default()
        });
        let (position, frame) = (emission.position, emission.frame.clone());
        speaking.waiting.push_back(Item { number: self.last, position, frame });
    }

    /// Everything that `rooms` have said after `after` and is not in a batch taken out of here.
    fn missed(&self, rooms: impl Iterator<Item = RoomId>, after: u64) -> Vec<(RoomId, Item)> {
        let mut missed = Vec::new();
        for (room, speaking) in rooms.filter_map(|room| Some((room, self.rooms.get(&room)?))) {
            let batch = speaking.batch.iter().flat_map(|batch| &batch.items);
            let new = batch.chain(&speaking.waiting).filter(|item| item.number > after);
            missed.extend(new.map(|item| (room, item.clone())));
        }
        missed
    }
}

// === impl Batch ===

impl Batch {
    /// Lays end to end what waits, as far as a batch goes.
    fn of(waiting: &mut VecDeque<Item>, members: usize) -> Option<Self> {
        let mut items: Vec<Item> = Vec::with_capacity(waiting.len().min(1024));
        let mut bytes = 0;
        while let Some(item) = waiting.front() {
            bytes += item.frame.websocket().len();
            if !items.is_empty() && bytes > BATCH {
                break;
            }
            items.extend(waiting.pop_front());
        }
        let laid = lay(items.iter().map(|item| &item.frame))?;
        Some(Self { items, laid, left: members })
    }

    fn first(&self) -> u64 {
        self.items.first().map_or(0, |item| item.number)
    }

    fn last(&self) -> u64 {
        self.items.last().map_or(0, |item| item.number)
    }
}

/// Frames end to end, as WebSockets are given them. `None`: there are none.
pub(super) fn lay<'a>(mut frames: impl ExactSizeIterator<Item = &'a Frame> + Clone) -> Option<Arc<[u8]>> {
    if frames.len() < 2 {
        return frames.next().map(|only| Arc::clone(only.websocket()));
    }
    let mut laid = Vec::with_capacity(frames.clone().map(|frame| frame.websocket().len()).sum());
    frames.for_each(|frame| laid.extend_from_slice(frame.websocket()));
    Some(laid.into())
}

// === impl Shard ===

impl Shard {
    /// An emission came from the engine.
    pub(super) fn accept_emission(&mut self, emission: &Emission) {
        if let Some(room) = self.hub.find(emission.namespace, &emission.room) {
            self.delivery.add(room, emission);
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
            let step = Step { hub, delivery, room, batch: &batch, alone, limit: settings.outbox };
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
    room: RoomId,
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
        let simple = session.holds.is_empty()
            && session.delivered < self.batch.first()
            && (self.alone || self.hub.rooms_of(member).len() == 1);
        if simple {
            session.delivered = last;
            let frames = self.batch.items.iter().map(|item| &item.frame);
            return (self.batch.items.len() as u64, session.put(frames, &self.batch.laid, self.limit));
        }
        let mut items = self.delivery.missed(self.hub.rooms_of(member), session.delivered);
        let batch = self.batch.items.iter().filter(|item| item.number > session.delivered);
        items.extend(batch.map(|item| (self.room, item.clone())));
        items.sort_unstable_by_key(|(_, item)| item.number);
        session.delivered = self.delivery.last;
        let mut frames = Vec::with_capacity(items.len());
        for (room, item) in items {
            match session.holds.judge(room, &item) {
                Verdict::Deliver => frames.push(item.frame),
                Verdict::Held(bytes) if bytes > self.limit => return (0, Sent::Full),
                Verdict::Held(_) | Verdict::Known => {}
            }
        }
        match lay(frames.iter()) {
            Some(laid) => (frames.len() as u64, session.put(frames.iter(), &laid, self.limit)),
            None => (0, Sent::Whole),
        }
    }
}
