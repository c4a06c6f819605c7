//! The hot path: from a publication to the members of its room.
//!
//! Rooms with queued publications wait in a round-robin queue. On its turn, a room's queued frames are concatenated into
//! one shared buffer per encoding, and that buffer is written to at most [`MEMBERS_PER_TURN`] members before the next
//! room, the sockets and the timers have their turn. So a busy room batches by itself, and a quiet room does not wait
//! for it.
//!
//! A pass over all members of a large room takes milliseconds. Most of that is the fixed kernel cost of a write. So after such a pass the room cools down for as long as the pass took, and then sends everything that
//! arrived meanwhile in one write per member: a busy room uses at most half of its shard.
//!
//! Every queued publication has a sequence number, and every connection the number up to which it has received
//! everything. If a connection is in several rooms with queued publications, its share of all of them is merged by that
//! number: it receives the publications of a namespace in the engine's order.

use super::Shard;
use super::concatenator::Concatenator;
use super::encodings::Encodings;
use super::join_buffers::{Decision, QueuedPublication};
use super::message::Broadcast;
use super::slot::{Session, Slot, Transport};
use crate::close_reason::CloseReason;
use crate::encoding::{Encoding, Frame};
use crate::hub::{EncodingId, Hub, Member, Membership, RoomId};
use crate::publication::Notice;
use crate::send_buffer::SendOutcome;
use hashbrown::HashMap;
use nodevent_protocol::page::PageHash;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Members that are written to before others have their turn.
const MEMBERS_PER_TURN: usize = 512;
/// A shorter pass over all members is followed by no cooldown.
const MIN_PASS_FOR_COOLDOWN: Duration = Duration::from_millis(1);
/// The longest cooldown of a room. Measured with 2,000 publications a second to 1,000 members: with 3 ms the slowest
/// deliveries arrive 2 ms sooner than with 8 ms, for 5 % more CPU time. Without a cooldown everything is slower.
const MAX_COOLDOWN: Duration = Duration::from_millis(3);
/// Maximum size of one batch, unless a single publication is larger. Bytes.
const MAX_BATCH_BYTES: usize = 128 * 1024;
/// What encodings add to a publication, roughly. Bytes.
const FRAME_OVERHEAD: usize = 40;

/// The rooms with queued publications.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// The sequence number of the last publication.
    last: u64,
    rooms: HashMap<RoomId, RoomQueue>,
    turns: VecDeque<RoomId>,
    /// Rooms that cool down, by the end of their cooldown. Some may be gone since.
    cooling_down: BinaryHeap<Reverse<(Instant, RoomId)>>,
}

/// The queue of one room.
#[derive(Debug, Default)]
struct RoomQueue {
    /// Notices that are not in a batch yet.
    waiting: VecDeque<Queued>,
    batch: Option<Batch>,
    /// The end of its cooldown. Until then it is not in the queue of turns.
    cooldown_until: Option<Instant>,
}

/// A notice with its sequence number on this shard.
#[derive(Debug, Clone)]
struct Queued {
    seq: u64,
    notice: Notice,
}

/// Notices that are being delivered to the members of one room.
#[derive(Debug)]
struct Batch {
    items: Vec<Queued>,
    /// The frames of all items, concatenated, for each encoding that a member has needed so far.
    bytes: Vec<(EncodingId, Arc<[u8]>)>,
    /// The version of the table of encodings for which `bytes` is valid.
    encodings_version: u64,
    /// Members below this index have not received it. The pass goes from high to low, so that a leave, which swaps with
    /// the last, cannot skip a member.
    remaining: usize,
    /// When the pass started.
    started: Instant,
    /// Whether an item is not for all members.
    has_except: bool,
}

// === impl Delivery ===

impl Delivery {
    pub(super) fn has_work(&self) -> bool {
        !self.turns.is_empty()
    }

    /// The end of the next cooldown.
    pub(super) fn next_cooldown_end(&self) -> Option<Instant> {
        self.cooling_down.peek().map(|Reverse((at, _))| *at)
    }

    /// Puts rooms whose cooldown is over back into the queue of turns, if they have something to deliver.
    fn end_cooldowns(&mut self, now: impl Fn() -> Instant) {
        while let Some(at) = self.next_cooldown_end().filter(|at| *at <= now()) {
            let Some(Reverse((_, room))) = self.cooling_down.pop() else { return };
            let Some(queue) = self.rooms.get_mut(&room).filter(|one| one.cooldown_until == Some(at)) else {
                continue;
            };
            queue.cooldown_until = None;
            if queue.waiting.is_empty() {
                self.rooms.remove(&room);
            } else {
                self.turns.push_back(room);
            }
        }
    }

    /// Ends a room's turn: its pass continues later, or it cools down, or its next batch follows.
    fn end_turn(&mut self, room: RoomId, batch: Batch, now: Instant) {
        let Some(queue) = self.rooms.get_mut(&room) else { return };
        let pass = now.saturating_duration_since(batch.started);
        if batch.remaining > 0 {
            queue.batch = Some(batch);
            self.turns.push_back(room);
        } else if pass >= MIN_PASS_FOR_COOLDOWN {
            let until = now + pass.min(MAX_COOLDOWN);
            queue.cooldown_until = Some(until);
            self.cooling_down.push(Reverse((until, room)));
        } else if queue.waiting.is_empty() {
            self.rooms.remove(&room);
        } else {
            self.turns.push_back(room);
        }
    }

    /// Drops the queue of a room that has no members any more.
    pub(super) fn forget(&mut self, room: RoomId) {
        self.rooms.remove(&room);
    }

    fn add(&mut self, room: RoomId, notice: Notice) {
        self.last += 1;
        let queue = self.rooms.entry(room).or_insert_with(|| {
            self.turns.push_back(room);
            RoomQueue::default()
        });
        queue.waiting.push_back(Queued { seq: self.last, notice });
    }

    /// Everything with a sequence number above `after` in these rooms, except in a batch that was taken out.
    fn undelivered_since(
        &self,
        memberships: impl Iterator<Item = Membership>,
        after: u64,
    ) -> Vec<(Membership, Queued)> {
        let mut undelivered = Vec::new();
        for membership in memberships {
            let Some(queue) = self.rooms.get(&membership.room) else { continue };
            let batch = queue.batch.iter().flat_map(|batch| &batch.items);
            let newer = batch.chain(&queue.waiting).filter(|item| item.seq > after);
            undelivered.extend(newer.map(|item| (membership, item.clone())));
        }
        undelivered
    }
}

// === impl Batch ===

impl Batch {
    /// Takes from `waiting` as much as one batch may hold.
    fn take_from(waiting: &mut VecDeque<Queued>, members: usize) -> Option<Self> {
        let mut items: Vec<Queued> = Vec::with_capacity(waiting.len().min(1024));
        let mut bytes = 0;
        while let Some(item) = waiting.front() {
            bytes += item.notice.size() + FRAME_OVERHEAD;
            if !items.is_empty() && bytes > MAX_BATCH_BYTES {
                break;
            }
            items.extend(waiting.pop_front());
        }
        let has_except = items.iter().any(|item| item.notice.except().is_some());
        (!items.is_empty()).then(|| Self {
            items,
            has_except,
            bytes: Vec::new(),
            encodings_version: 0,
            remaining: members,
            started: Instant::now(),
        })
    }

    fn first(&self) -> u64 {
        self.items.first().map_or(0, |item| item.seq)
    }

    fn last(&self) -> u64 {
        self.items.last().map_or(0, |item| item.seq)
    }

    /// Whether the connections of a page receive all items.
    fn is_for(&self, page: Option<PageHash>) -> bool {
        !self.has_except || page.is_none() || self.items.iter().all(|item| item.notice.is_for(page))
    }

    fn frames<'a>(
        &'a self,
        encoding: &'a Arc<dyn Encoding>,
    ) -> impl ExactSizeIterator<Item = &'a Frame> + Clone + 'a {
        self.items.iter().map(|item| item.notice.frame(encoding))
    }

    /// The index in `bytes` of the frames in an encoding. `None`: no membership uses that encoding any more.
    fn concatenated(
        &mut self,
        id: EncodingId,
        encodings: &Encodings,
        concatenator: &mut Concatenator,
    ) -> Option<usize> {
        if let Some(index) = self.bytes.iter().position(|(one, _)| *one == id) {
            return Some(index);
        }
        let bytes = concatenator.concat(self.frames(encodings.get(id)?))?;
        self.bytes.push((id, bytes));
        Some(self.bytes.len() - 1)
    }
}

// === impl Shard ===

impl Shard {
    /// Queues what came from an engine.
    pub(super) fn accept_broadcast(&mut self, broadcast: &Broadcast) {
        if let Some(room) = self.hub.find(broadcast.namespace, broadcast.notice.room()) {
            self.delivery.add(room, broadcast.notice.clone());
        }
    }

    /// Gives the next room its turn.
    pub(super) fn deliver_next_batch(&mut self) {
        self.delivery.end_cooldowns(Instant::now);
        let Some(room) = self.delivery.turns.pop_front() else { return };
        let members = self.hub.members(room).len();
        let Some(queue) = self.delivery.rooms.get_mut(&room) else { return };
        if queue.batch.is_none() {
            queue.batch = Batch::take_from(&mut queue.waiting, members);
        }
        // Taken out during the pass, and put back if the pass is not complete.
        let Some(mut batch) = queue.batch.take() else {
            self.delivery.rooms.remove(&room);
            return;
        };
        if batch.encodings_version != self.encodings.version() {
            batch.encodings_version = self.encodings.version();
            batch.bytes.clear();
        }
        let only_active_room = self.delivery.rooms.len() == 1;
        batch.remaining = batch.remaining.min(members);
        let until = batch.remaining.saturating_sub(MEMBERS_PER_TURN);
        let Self {
            slots,
            hub,
            delivery,
            encodings,
            concatenator,
            settings,
            to_close,
            now,
            timers,
            buffer_scan,
            ..
        } = self;
        let mut delivered = 0;
        for index in (until..batch.remaining).rev() {
            let Member { slot, encoding } = hub.members(room)[index];
            let Some(Slot::Session(session)) = slots.get_mut(slot as usize) else { continue };
            let Some(bytes) = batch.concatenated(encoding, encodings, concatenator) else { continue };
            let delivery = MemberDelivery {
                hub,
                delivery,
                encodings,
                room,
                batch: &batch,
                bytes,
                only_active_room,
                limit: settings.send_buffer,
            };
            let (count, sent) = delivery.deliver_to(slot, encoding, session, concatenator);
            delivered += count;
            match sent {
                SendOutcome::Sent => {}
                SendOutcome::Queued => {
                    buffer_scan.request(*now);
                    if let Some(by) = session.start_write_timeout(*now, settings.write_timeout) {
                        timers.add(by, slot, session.generation);
                    }
                }
                SendOutcome::Overflow => to_close.push((slot, CloseReason::SendBufferFull)),
                SendOutcome::Broken => to_close.push((slot, CloseReason::ConnectionLost)),
            }
            match session.transport {
                Transport::WebSocket(_) | Transport::Closed => {}
                Transport::Stream(_) => buffer_scan.request(*now),
                Transport::Polling(_) => {
                    buffer_scan.request(*now);
                    self.polls_to_answer.push(slot);
                }
            }
        }
        self.metrics.deliveries.fetch_add(delivered, Relaxed);
        batch.remaining = until;
        self.delivery.end_turn(room, batch, Instant::now());
        for slot in std::mem::take(&mut self.polls_to_answer) {
            self.answer_poll(slot);
        }
        for (slot, reason) in std::mem::take(&mut self.to_close) {
            self.close(slot, reason);
        }
    }
}

/// One member's share of a turn.
struct MemberDelivery<'a> {
    hub: &'a Hub,
    delivery: &'a Delivery,
    encodings: &'a Encodings,
    room: RoomId,
    batch: &'a Batch,
    /// The index of the member's encoding in the batch's `bytes`.
    bytes: usize,
    /// Whether no other room has queued publications.
    only_active_room: bool,
    limit: usize,
}

// === impl MemberDelivery ===

impl MemberDelivery<'_> {
    /// Sends a member the batch, or its share of all its rooms. Returns how many publications it received.
    fn deliver_to(
        &self,
        slot: u32,
        encoding: EncodingId,
        session: &mut Session,
        concatenator: &mut Concatenator,
    ) -> (u64, SendOutcome) {
        let last = self.batch.last();
        if session.last_delivered >= last {
            return (0, SendOutcome::Sent);
        }
        let is_simple = session.join_buffers.is_empty()
            && session.last_delivered < self.batch.first()
            && self.batch.is_for(session.page)
            && (self.hub.memberships_of(slot).len() == 1 || self.only_active_room && !session.shares_a_room);
        if is_simple {
            let Some(encoding) = self.encodings.get(encoding) else { return (0, SendOutcome::Sent) };
            session.last_delivered = last;
            let sent = session.send(self.batch.frames(encoding), &self.batch.bytes[self.bytes].1, self.limit);
            return (self.batch.items.len() as u64, sent);
        }
        let frames = match self.merge(slot, session) {
            Ok(frames) => frames,
            Err(overflow) => return (0, overflow),
        };
        match concatenator.concat(frames.iter()) {
            Some(bytes) => (frames.len() as u64, session.send(frames.iter(), &bytes, self.limit)),
            None => (0, SendOutcome::Sent),
        }
    }

    /// Merges what a member has not received yet from all its rooms, in the engine's order.
    fn merge(&self, slot: u32, session: &mut Session) -> Result<Vec<Frame>, SendOutcome> {
        let after = session.last_delivered;
        let mut items = self.delivery.undelivered_since(self.hub.memberships_of(slot), after);
        let here = self.hub.memberships_of(slot).filter(|membership| membership.room == self.room);
        for membership in here {
            let newer = self.batch.items.iter().filter(|item| item.seq > after);
            items.extend(newer.map(|item| (membership, item.clone())));
        }
        items.retain(|(_, item)| item.notice.is_for(session.page));
        items.sort_by_key(|(_, item)| item.seq);
        session.last_delivered = self.delivery.last;
        let mut frames = Vec::with_capacity(items.len());
        for (membership, Queued { notice, .. }) in items {
            let Some(encoding) = self.encodings.get(membership.encoding) else { continue };
            let item = QueuedPublication { position: notice.position(), frame: notice.frame(encoding).clone() };
            match session.join_buffers.classify(membership, &item) {
                Decision::Deliver => frames.push(item.frame),
                Decision::Buffered(bytes) if bytes > self.limit => return Err(SendOutcome::Overflow),
                Decision::Buffered(_) | Decision::Duplicate => {}
            }
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::Publication;

    const ROOM: RoomId = 7;

    fn publication() -> Notice {
        Notice::Publication(Publication::in_room("r", "{}", None))
    }

    /// Delivers `count` publications of a room in a pass that takes `pass`.
    fn deliver(delivery: &mut Delivery, count: usize, pass: Duration) -> Instant {
        for _ in 0..count {
            delivery.add(ROOM, publication());
        }
        assert_eq!(delivery.turns.pop_front(), Some(ROOM));
        let mut batch = Batch::take_from(&mut delivery.rooms.get_mut(&ROOM).unwrap().waiting, 3).unwrap();
        batch.remaining = 0;
        let end = batch.started + pass;
        delivery.end_turn(ROOM, batch, end);
        end
    }

    #[test]
    fn a_room_cools_down_as_long_as_its_pass_took_and_then_delivers_everything_queued_meanwhile() {
        let mut delivery = Delivery::default();
        let pass = Duration::from_millis(3);
        let end = deliver(&mut delivery, 1, pass);
        delivery.add(ROOM, publication());
        delivery.add(ROOM, publication());
        assert!(!delivery.has_work());
        delivery.end_cooldowns(|| end + pass - Duration::from_nanos(1));
        assert!(!delivery.has_work(), "it still cools down");
        delivery.end_cooldowns(|| end + pass);
        assert!(delivery.has_work());
        let waiting = &mut delivery.rooms.get_mut(&ROOM).unwrap().waiting;
        assert_eq!(Batch::take_from(waiting, 3).unwrap().items.len(), 2);
    }

    #[test]
    fn a_quiet_room_waits_for_at_most_one_turn_of_a_busy_room() {
        const QUIET: RoomId = 8;
        let mut delivery = Delivery::default();
        for _ in 0..1000 {
            delivery.add(ROOM, publication());
        }
        delivery.add(QUIET, publication());
        // The busy room has its turn, and most of its members have not received the batch yet.
        assert_eq!(delivery.turns.pop_front(), Some(ROOM));
        let mut batch =
            Batch::take_from(&mut delivery.rooms.get_mut(&ROOM).unwrap().waiting, 10 * MEMBERS_PER_TURN).unwrap();
        batch.remaining -= MEMBERS_PER_TURN;
        let now = batch.started;
        delivery.end_turn(ROOM, batch, now);
        for _ in 0..1000 {
            delivery.add(ROOM, publication());
        }
        assert_eq!(delivery.turns, [QUIET, ROOM], "more publications in the busy room change nothing");
    }

    #[test]
    fn a_cooldown_has_a_maximum() {
        let mut delivery = Delivery::default();
        let end = deliver(&mut delivery, 1, Duration::from_secs(1));
        assert_eq!(delivery.next_cooldown_end(), Some(end + MAX_COOLDOWN));
    }

    #[test]
    fn a_room_without_publications_after_its_cooldown_is_dropped() {
        let mut delivery = Delivery::default();
        let end = deliver(&mut delivery, 1, MAX_COOLDOWN);
        delivery.end_cooldowns(|| end + MAX_COOLDOWN);
        assert!(!delivery.has_work() && delivery.rooms.is_empty() && delivery.next_cooldown_end().is_none());
    }

    #[test]
    fn a_short_pass_is_followed_by_no_cooldown() {
        let mut delivery = Delivery::default();
        deliver(&mut delivery, 1, MIN_PASS_FOR_COOLDOWN / 2);
        assert!(delivery.rooms.is_empty());
        delivery.add(ROOM, publication());
        assert!(delivery.has_work());
    }

    #[test]
    fn the_cooldown_of_a_room_that_is_gone_does_not_affect_the_room_that_has_its_id_now() {
        let mut delivery = Delivery::default();
        let end = deliver(&mut delivery, 1, MAX_COOLDOWN);
        delivery.forget(ROOM);
        delivery.add(ROOM, publication());
        delivery.end_cooldowns(|| end + MAX_COOLDOWN);
        assert_eq!(delivery.turns, [ROOM], "one turn, not two");
    }
}
