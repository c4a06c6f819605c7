//! From a publication to its members: the hot path.
//!
//! A room that has something to say stands in a queue of turns. In its turn, all publications that wait for it are
//! laid end to end in one shared buffer, and that buffer is written to its members, at most [`TURN`] of them
//! before the next room, the sockets and the timers have theirs. So a hot room batches by itself, and a quiet one
//! does not wait for it.
//!
//! A walk over all members of a large room takes milliseconds, and most of it is the kernel's price of a write,
//! whatever its length. So a room rests after such a walk for as long as the walk took, and speaks of everything
//! that came meanwhile at once: a hot room takes at most half of its shard, and fewer and longer writes.
//!
//! Every publication has a number, and every connection the number up to which everything was put before it. Where a
//! connection is in several rooms that speak at once, what it has missed of all of them is merged by number: it
//! hears a namespace in the order in which the engine gave it.

use super::Shard;
use super::inbox::EncodedPublication;
use super::join_buffers::{Decision, QueuedPublication};
use super::slot::{Session, Slot, Transport};
use crate::close_reason::CloseReason;
use crate::frame::Frame;
use crate::hub::{Hub, RoomId};
use crate::outbox::SendOutcome;
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Members that are written to before anybody else has a turn.
const TURN: usize = 512;
/// A walk over all members that took less is followed by no rest.
const WALK: Duration = Duration::from_millis(1);
/// The longest rest of a room. Seen with 2,000 publications a second to 1,000 members: with 3 ms the slowest deliveries come
/// 2 ms sooner than with 8 ms, for a twentieth more time on the processor; without any rest everything is slower.
const REST: Duration = Duration::from_millis(3);
/// What one buffer of publications laid end to end may hold, but for a single larger one. Bytes.
const BATCH: usize = 128 * 1024;

/// The rooms that have something to say.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// The number of the last publication.
    last: u64,
    rooms: HashMap<RoomId, RoomQueue>,
    turns: VecDeque<RoomId>,
    /// Rooms that rest, by the end of their rest; some may be gone since.
    resting: BinaryHeap<Reverse<(Instant, RoomId)>>,
}

/// A room that has something to say.
#[derive(Debug, Default)]
struct RoomQueue {
    /// Publications that are not in a batch yet, by number.
    waiting: VecDeque<QueuedPublication>,
    batch: Option<Batch>,
    /// Until when it rests; it stands in no queue of turns while it does.
    rests: Option<Instant>,
}

/// Publications that are on their way to the members of one room.
#[derive(Debug)]
struct Batch {
    items: Vec<QueuedPublication>,
    /// Their frames end to end, as WebSockets are given them.
    laid: Arc<[u8]>,
    /// Members below this index have not had it; from high to low, so that leaving disturbs nothing.
    left: usize,
    /// When the walk over them began.
    began: Instant,
}

// === impl Delivery ===

impl Delivery {
    pub(super) fn has_work(&self) -> bool {
        !self.turns.is_empty()
    }

    /// When the next rest ends.
    pub(super) fn next_rest(&self) -> Option<Instant> {
        self.resting.peek().map(|Reverse((at, _))| *at)
    }

    /// Gives the rooms that have rested their turn, where they have something to say.
    fn end_rests(&mut self, now: impl Fn() -> Instant) {
        while let Some(at) = self.next_rest().filter(|at| *at <= now()) {
            let Some(Reverse((_, room))) = self.resting.pop() else { return };
            let Some(speaking) = self.rooms.get_mut(&room).filter(|one| one.rests == Some(at)) else { continue };
            speaking.rests = None;
            if speaking.waiting.is_empty() {
                self.rooms.remove(&room);
            } else {
                self.turns.push_back(room);
            }
        }
    }

    /// Ends a room's turn: its walk goes on, or it rests, or it is the next room's turn.
    fn end_turn(&mut self, room: RoomId, batch: Batch, now: Instant) {
        let Some(speaking) = self.rooms.get_mut(&room) else { return };
        let walk = now.saturating_duration_since(batch.began);
        if batch.left > 0 {
            speaking.batch = Some(batch);
            self.turns.push_back(room);
        } else if walk >= WALK {
            let until = now + walk.min(REST);
            speaking.rests = Some(until);
            self.resting.push(Reverse((until, room)));
        } else if speaking.waiting.is_empty() {
            self.rooms.remove(&room);
        } else {
            self.turns.push_back(room);
        }
    }

    /// A room is gone, and with it whoever might have heard.
    pub(super) fn forget(&mut self, room: RoomId) {
        self.rooms.remove(&room);
    }

    fn add(&mut self, room: RoomId, publication: &EncodedPublication) {
        self.last += 1;
        let speaking = self.rooms.entry(room).or_insert_with(|| {
            self.turns.push_back(room);
            RoomQueue::default()
        });
        let (position, frame) = (publication.position, publication.frame.clone());
        speaking.waiting.push_back(QueuedPublication { seq: self.last, position, frame });
    }

    /// Everything that `rooms` have said after `after` and is not in a batch taken out of here.
    fn missed(&self, rooms: impl Iterator<Item = RoomId>, after: u64) -> Vec<(RoomId, QueuedPublication)> {
        let mut missed = Vec::new();
        for (room, speaking) in rooms.filter_map(|room| Some((room, self.rooms.get(&room)?))) {
            let batch = speaking.batch.iter().flat_map(|batch| &batch.items);
            let new = batch.chain(&speaking.waiting).filter(|item| item.seq > after);
            missed.extend(new.map(|item| (room, item.clone())));
        }
        missed
    }
}

// === impl Batch ===

impl Batch {
    /// Lays end to end what waits, as far as a batch goes.
    fn of(waiting: &mut VecDeque<QueuedPublication>, members: usize) -> Option<Self> {
        let mut items: Vec<QueuedPublication> = Vec::with_capacity(waiting.len().min(1024));
        let mut bytes = 0;
        while let Some(item) = waiting.front() {
            bytes += item.frame.websocket().len();
            if !items.is_empty() && bytes > BATCH {
                break;
            }
            items.extend(waiting.pop_front());
        }
        let laid = lay(items.iter().map(|item| &item.frame))?;
        Some(Self { items, laid, left: members, began: Instant::now() })
    }

    fn first(&self) -> u64 {
        self.items.first().map_or(0, |item| item.seq)
    }

    fn last(&self) -> u64 {
        self.items.last().map_or(0, |item| item.seq)
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
    /// A publication came from the engine.
    pub(super) fn accept_publication(&mut self, publication: &EncodedPublication) {
        if let Some(room) = self.hub.find(publication.namespace, &publication.room) {
            self.delivery.add(room, publication);
        }
    }

    /// Gives the next room its turn.
    pub(super) fn deliver_turn(&mut self) {
        self.delivery.end_rests(Instant::now);
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
                SendOutcome::Sent => {}
                SendOutcome::Queued => {
                    if session.stalled_since.is_none() {
                        session.stalled_since = Some(*now);
                        let by = *now + settings.write_stall;
                        if by < session.armed {
                            session.armed = by;
                            timers.add(by, member, session.generation);
                        }
                    }
                }
                SendOutcome::Overflow => doomed.push((member, CloseReason::OutboxFull)),
                SendOutcome::Broken => doomed.push((member, CloseReason::Lost)),
            }
            if matches!(session.transport, Transport::Polling(_)) {
                self.polls.push(member);
            }
        }
        self.metrics.deliveries.fetch_add(put, Relaxed);
        batch.left = until;
        self.delivery.end_turn(room, batch, Instant::now());
        for member in std::mem::take(&mut self.polls) {
            self.answer_poll(member);
        }
        for (member, reason) in std::mem::take(&mut self.doomed) {
            self.close(member, reason);
        }
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
    /// Puts the batch, or what the member has missed of all its rooms, before it. Answers how many publications.
    fn put_before(&self, member: u32, session: &mut Session) -> (u64, SendOutcome) {
        let last = self.batch.last();
        if session.delivered >= last {
            return (0, SendOutcome::Sent);
        }
        let simple = session.join_buffers.is_empty()
            && session.delivered < self.batch.first()
            && (self.alone || self.hub.rooms_of(member).len() == 1);
        if simple {
            session.delivered = last;
            let frames = self.batch.items.iter().map(|item| &item.frame);
            return (self.batch.items.len() as u64, session.put(frames, &self.batch.laid, self.limit));
        }
        let mut items = self.delivery.missed(self.hub.rooms_of(member), session.delivered);
        let batch = self.batch.items.iter().filter(|item| item.seq > session.delivered);
        items.extend(batch.map(|item| (self.room, item.clone())));
        items.sort_unstable_by_key(|(_, item)| item.seq);
        session.delivered = self.delivery.last;
        let mut frames = Vec::with_capacity(items.len());
        for (room, item) in items {
            match session.join_buffers.classify(room, &item) {
                Decision::Deliver => frames.push(item.frame),
                Decision::Buffered(bytes) if bytes > self.limit => return (0, SendOutcome::Overflow),
                Decision::Buffered(_) | Decision::Duplicate => {}
            }
        }
        match lay(frames.iter()) {
            Some(laid) => (frames.len() as u64, session.put(frames.iter(), &laid, self.limit)),
            None => (0, SendOutcome::Sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = 7;

    fn publication() -> EncodedPublication {
        EncodedPublication::new(0, "r", Frame::text("4x"), None)
    }

    /// A room that has said `count` publications to its last member after a walk that took `walk`.
    fn walked(delivery: &mut Delivery, count: usize, walk: Duration) -> Instant {
        for _ in 0..count {
            delivery.add(ROOM, &publication());
        }
        assert_eq!(delivery.turns.pop_front(), Some(ROOM));
        let mut batch = Batch::of(&mut delivery.rooms.get_mut(&ROOM).unwrap().waiting, 3).unwrap();
        batch.left = 0;
        let end = batch.began + walk;
        delivery.end_turn(ROOM, batch, end);
        end
    }

    #[test]
    fn a_room_rests_as_long_as_its_walk_took_and_then_says_all_that_came_meanwhile() {
        let mut delivery = Delivery::default();
        let walk = Duration::from_millis(3);
        let end = walked(&mut delivery, 1, walk);
        delivery.add(ROOM, &publication());
        delivery.add(ROOM, &publication());
        assert!(!delivery.has_work());
        delivery.end_rests(|| end + walk - Duration::from_nanos(1));
        assert!(!delivery.has_work(), "it rests yet");
        delivery.end_rests(|| end + walk);
        assert!(delivery.has_work());
        let waiting = &mut delivery.rooms.get_mut(&ROOM).unwrap().waiting;
        assert_eq!(Batch::of(waiting, 3).unwrap().items.len(), 2);
    }

    #[test]
    fn a_quiet_room_waits_for_one_turn_of_a_hot_one_at_most() {
        const QUIET: RoomId = 8;
        let mut delivery = Delivery::default();
        for _ in 0..1000 {
            delivery.add(ROOM, &publication());
        }
        delivery.add(QUIET, &publication());
        // The hot room has its turn, and most of its members are yet to be written to.
        assert_eq!(delivery.turns.pop_front(), Some(ROOM));
        let mut batch = Batch::of(&mut delivery.rooms.get_mut(&ROOM).unwrap().waiting, 10 * TURN).unwrap();
        batch.left -= TURN;
        let now = batch.began;
        delivery.end_turn(ROOM, batch, now);
        for _ in 0..1000 {
            delivery.add(ROOM, &publication());
        }
        assert_eq!(delivery.turns, [QUIET, ROOM], "and what is said meanwhile in the hot room changes nothing");
    }

    #[test]
    fn a_rest_is_bounded() {
        let mut delivery = Delivery::default();
        let end = walked(&mut delivery, 1, Duration::from_secs(1));
        assert_eq!(delivery.next_rest(), Some(end + REST));
    }

    #[test]
    fn a_room_that_has_nothing_to_say_after_its_rest_is_forgotten() {
        let mut delivery = Delivery::default();
        let end = walked(&mut delivery, 1, REST);
        delivery.end_rests(|| end + REST);
        assert!(!delivery.has_work() && delivery.rooms.is_empty() && delivery.next_rest().is_none());
    }

    #[test]
    fn a_short_walk_is_followed_by_no_rest() {
        let mut delivery = Delivery::default();
        walked(&mut delivery, 1, WALK / 2);
        assert!(delivery.rooms.is_empty());
        delivery.add(ROOM, &publication());
        assert!(delivery.has_work());
    }

    #[test]
    fn the_end_of_a_rest_of_a_room_that_is_gone_means_nothing_to_the_room_that_has_its_number_now() {
        let mut delivery = Delivery::default();
        let end = walked(&mut delivery, 1, REST);
        delivery.forget(ROOM);
        delivery.add(ROOM, &publication());
        delivery.end_rests(|| end + REST);
        assert_eq!(delivery.turns, [ROOM], "one turn, not two");
    }
}
