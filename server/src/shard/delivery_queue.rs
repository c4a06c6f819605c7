//! The rooms with queued publications: whose turn it is, what one batch holds, and how long a room cools down.
//!
//! Rooms wait in a round-robin queue. A pass over all members of a large room takes milliseconds. Most of that is the
//! fixed kernel cost of a write. So after such a pass the room cools down for as long as the pass took, and then sends
//! everything that arrived meanwhile in one write per member: a busy room uses at most half of its shard.
//!
//! What waits here counts towards the budget of the inbox, so that publishers wait if the shard cannot deliver fast enough.
//!
//! Every queued publication has a sequence number. This file knows neither connections nor sockets.

use super::audience::namespace_of_all;
use super::concatenator::Concatenator;
use crate::encoding::{Encoding, Frame};
use crate::histogram::ShardTimes;
use crate::hub::{Membership, RoomId};
use crate::publication::{Notice, Trace};
use crate::shared_pages::SharedPages;
use crate::spans::{Span, Spans, Step};
use hashbrown::HashMap;
use nodevent_protocol::history::Position;
use nodevent_protocol::page::PageHash;
use nodevent_protocol::publication::Marks;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A shorter pass over all members is followed by no cooldown.
const MIN_PASS_FOR_COOLDOWN: Duration = Duration::from_millis(1);
/// The longest cooldown of a room. Measured with 2,000 publications a second to 1,000 members: with 3 ms the slowest
/// deliveries arrive 2 ms sooner than with 8 ms, for 5 % more CPU time. Without a cooldown everything is slower.
const MAX_COOLDOWN: Duration = Duration::from_millis(3);
/// Maximum size of one batch, unless a single publication is larger. Bytes.
const MAX_BATCH_BYTES: usize = 128 * 1024;
/// Encodings for which a batch keeps its bytes until the end of the pass. With more, such as one for each page, members that
/// share one of the others get bytes of their own.
const MAX_ENCODINGS: usize = 128;
/// Encodings for which a batch has pages: with more of them, few members share each.
const MAX_PAGES: usize = 4;
/// Buffers that are kept for queues.
const MAX_SPARE: usize = 64;
/// The largest one. Notices.
const MAX_SPARE_CAPACITY: usize = 32;
/// The size that encodings add to a publication, roughly. Bytes.
const FRAME_OVERHEAD: usize = 40;

/// The rooms with queued publications.
#[derive(Debug, Default)]
pub(super) struct DeliveryQueue {
    /// The sequence number of the last publication.
    pub(super) last: u64,
    pub(super) rooms: HashMap<RoomId, RoomQueue>,
    /// The rooms that have something to deliver, each with the number of its queue: the id of a room that is gone is used
    /// again.
    turns: VecDeque<(RoomId, u64)>,
    /// The number of the last queue.
    last_queue: u64,
    /// What notices had reserved in the inbox that wait no more. Bytes.
    released: usize,
    /// Rooms of all connections that have been queued, of which some may be gone since; see `audience`.
    rooms_of_all: Vec<RoomId>,
    /// Empty buffers of queues that are gone, for the next ones: most rooms are quiet, and have a queue for one publication only.
    spare: Vec<Vec<Queued>>,
    /// Rooms that cool down, by the end of their cooldown. Some may be gone since.
    cooling_down: BinaryHeap<Reverse<(Instant, RoomId)>>,
}

/// The queue of one room.
#[derive(Debug, Default)]
pub(super) struct RoomQueue {
    /// Its number among all queues.
    number: u64,
    /// Notices that are not in a batch yet.
    pub(super) waiting: VecDeque<Queued>,
    pub(super) batch: Option<Batch>,
    /// The end of its cooldown. Until then it is not in the queue of turns.
    cooldown_until: Option<Instant>,
}

/// A notice with its sequence number on this shard.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub(super) seq: u64,
    pub(super) notice: Notice,
    /// What it has reserved in the inbox until it is in a batch. Bytes.
    reserved: u32,
    /// When it came from its engine.
    arrived: Instant,
}

/// The frames of a batch in one encoding, concatenated.
#[derive(Debug)]
pub(super) struct EncodedBatch {
    encoding: Arc<dyn Encoding>,
    pub(super) bytes: Arc<[u8]>,
    /// The same bytes for the sockets of many members.
    pub(super) pages: Option<SharedPages>,
}

/// Notices that are being delivered to the members of one room.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) items: Vec<Queued>,
    /// The frames of all items, concatenated, for each encoding that a member has needed so far, up to [`MAX_ENCODINGS`]. The
    /// last entry is then that of the last member.
    pub(super) bytes: SmallVec<[EncodedBatch; 1]>,
    /// Members below this index have not received it. The pass goes from high to low, so that a leave, which swaps with
    /// the last, cannot skip a member.
    pub(super) remaining: usize,
    /// When the pass started.
    started: Instant,
    /// Whether an item is not for all members, or is a copy of which they may have received another.
    has_marks: bool,
    /// Whether an item is the notice of a gap.
    pub(super) has_gap: bool,
}

// === impl DeliveryQueue ===

impl DeliveryQueue {
    pub(super) fn has_work(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Takes the next room whose turn it is. Queues that are gone are passed over.
    pub(super) fn next_turn(&mut self) -> Option<RoomId> {
        loop {
            let (room, number) = self.turns.pop_front()?;
            if self.rooms.get(&room).is_some_and(|queue| queue.number == number) {
                return Some(room);
            }
        }
    }

    /// Takes the next batch of a room out of its queue: the rest of the last one, or what waits. `None`: there is nothing,
    /// and the queue is gone.
    pub(super) fn take_batch(&mut self, room: RoomId, members: usize) -> Option<Batch> {
        let queue = self.rooms.get_mut(&room)?;
        if queue.batch.is_none() {
            queue.batch = Batch::take_from(&mut queue.waiting, members);
            let items = queue.batch.iter().flat_map(|batch| &batch.items);
            self.released += items.map(|item| item.reserved as usize).sum::<usize>();
        }
        let batch = queue.batch.take();
        if batch.is_none() {
            self.rooms.remove(&room);
        }
        batch
    }

    /// A notice that no room here receives had reserved so many bytes of the inbox.
    pub(super) fn release(&mut self, reserved: u32) {
        self.released += reserved as usize;
    }

    /// Takes what is to be given back to the inbox. Bytes.
    pub(super) fn take_released(&mut self) -> usize {
        std::mem::take(&mut self.released)
    }

    /// The end of the next cooldown.
    pub(super) fn next_cooldown_end(&self) -> Option<Instant> {
        self.cooling_down.peek().map(|Reverse((at, _))| *at)
    }

    /// Puts rooms whose cooldown is over back into the queue of turns, if they have something to deliver.
    pub(super) fn end_cooldowns(&mut self, now: impl Fn() -> Instant) {
        while let Some(at) = self.next_cooldown_end().filter(|at| *at <= now()) {
            let Some(Reverse((_, room))) = self.cooling_down.pop() else { return };
            let Some(queue) = self.rooms.get_mut(&room).filter(|one| one.cooldown_until == Some(at)) else {
                continue;
            };
            queue.cooldown_until = None;
            if queue.waiting.is_empty() {
                self.rooms.remove(&room);
            } else {
                self.turns.push_back((room, queue.number));
            }
        }
    }

    /// Ends a room's turn: its pass continues later, or it cools down, or its next batch follows.
    pub(super) fn end_turn(&mut self, room: RoomId, batch: Batch, now: Instant) {
        let Some(queue) = self.rooms.get_mut(&room) else { return };
        let pass = now.saturating_duration_since(batch.started);
        if batch.remaining > 0 {
            queue.batch = Some(batch);
            self.turns.push_back((room, queue.number));
            return;
        }
        let mut items = batch.items;
        if self.spare.len() < MAX_SPARE && items.capacity() <= MAX_SPARE_CAPACITY {
            items.clear();
            self.spare.push(items);
        }
        if pass >= MIN_PASS_FOR_COOLDOWN {
            let until = now + pass.min(MAX_COOLDOWN);
            queue.cooldown_until = Some(until);
            self.cooling_down.push(Reverse((until, room)));
        } else if queue.waiting.is_empty() {
            self.rooms.remove(&room);
        } else {
            self.turns.push_back((room, queue.number));
        }
    }

    /// Drops the queue of a room that has no members any more.
    pub(super) fn forget(&mut self, room: RoomId) {
        if let Some(queue) = self.rooms.remove(&room) {
            self.released += queue.waiting.iter().map(|item| item.reserved as usize).sum::<usize>();
        }
    }

    /// Adds a notice that has reserved so many bytes of the inbox, until it is in a batch or its room is gone.
    pub(super) fn add(&mut self, room: RoomId, notice: Notice, reserved: u32, arrived: Instant) {
        self.last += 1;
        let queue = self.rooms.entry(room).or_insert_with(|| {
            self.last_queue += 1;
            self.turns.push_back((room, self.last_queue));
            if namespace_of_all(room).is_some() && !self.rooms_of_all.contains(&room) {
                self.rooms_of_all.push(room);
            }
            let waiting = self.spare.pop().unwrap_or_default().into();
            RoomQueue { number: self.last_queue, waiting, ..RoomQueue::default() }
        });
        queue.waiting.push_back(Queued { seq: self.last, notice, reserved, arrived });
    }

    /// The namespaces for all of whose connections something is queued.
    pub(super) fn namespaces_of_all(&mut self) -> impl Iterator<Item = u16> + '_ {
        let rooms = &self.rooms;
        self.rooms_of_all.retain(|room| rooms.contains_key(room));
        self.rooms_of_all.iter().filter_map(|room| namespace_of_all(*room))
    }

    /// Everything with a sequence number above the start and up to the end of `range` in these rooms, except in a batch that
    /// was taken out.
    pub(super) fn undelivered(
        &self,
        memberships: impl Iterator<Item = Membership>,
        range: Range<u64>,
    ) -> Vec<(Membership, Queued)> {
        let mut undelivered = Vec::new();
        for membership in memberships {
            let Some(queue) = self.rooms.get(&membership.room) else { continue };
            let batch = queue.batch.iter().flat_map(|batch| &batch.items);
            let newer = batch.chain(&queue.waiting).filter(|item| item.seq > range.start && item.seq <= range.end);
            undelivered.extend(newer.map(|item| (membership, item.clone())));
        }
        undelivered
    }
}

// === impl Batch ===

impl Batch {
    /// The position of its last item that has one.
    pub(super) fn position(&self) -> Option<Position> {
        self.items.iter().rev().find_map(|item| item.notice.position())
    }

    /// Takes from `waiting` as much as one batch may hold.
    fn take_from(waiting: &mut VecDeque<Queued>, members: usize) -> Option<Self> {
        let mut bytes = 0;
        let mut fits = |item: &Queued| {
            bytes += item.notice.size() + FRAME_OVERHEAD;
            bytes <= MAX_BATCH_BYTES
        };
        let count = waiting.iter().position(|item| !fits(item)).map_or(waiting.len(), |count| count.max(1));
        // Mostly it is everything: the memory becomes that of the batch.
        let rest = waiting.split_off(count);
        let items = Vec::from(std::mem::replace(waiting, rest));
        let has_marks = items.iter().any(|item| item.notice.marks() != Marks::default());
        let has_gap = items.iter().any(|item| matches!(item.notice, Notice::Gap(_)));
        (!items.is_empty()).then(|| Self {
            items,
            has_marks,
            has_gap,
            bytes: SmallVec::new(),
            remaining: members,
            started: Instant::now(),
        })
    }

    /// Records how long its publications have taken, at the end of its pass.
    pub(super) fn record_times(&self, now: Instant, times: &ShardTimes) {
        for item in self.items.iter().filter(|item| matches!(item.notice, Notice::Publication(_))) {
            times.publish_to_write.record(self.started.saturating_duration_since(item.arrived));
            times.delivery.record(now.saturating_duration_since(item.arrived));
        }
    }

    /// Records the spans of its sampled publications, at the end of its pass.
    pub(super) fn record_spans(&self, now: Instant, spans: &Spans, namespace: u16, shard: u8) {
        for item in &self.items {
            let Some(Trace { context, .. }) = item.notice.trace().copied() else { continue };
            for (step, began, ended) in
                [(Step::FanOut, item.arrived, self.started), (Step::Write, self.started, now)]
            {
                spans.add(Span { context, step, namespace, shard: Some(shard), began, ended });
            }
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.items.first().map_or(0, |item| item.seq)
    }

    pub(super) fn last(&self) -> u64 {
        self.items.last().map_or(0, |item| item.seq)
    }

    /// Whether a connection of this page receives all items, whatever it has received before.
    pub(super) fn is_for(&self, page: Option<PageHash>) -> bool {
        !self.has_marks
            || self.items.iter().all(|item| {
                let marks = item.notice.marks();
                marks.id.is_none() && !marks.excludes_users && (page.is_none() || item.notice.is_for(page))
            })
    }

    pub(super) fn frames<'a>(
        &'a self,
        encoding: &'a Arc<dyn Encoding>,
    ) -> impl ExactSizeIterator<Item = Frame> + 'a {
        self.items.iter().map(|item| item.notice.frame(encoding))
    }

    /// The index in `bytes` of the frames in an encoding. `None`: there are no items. `copied` grows by the bytes that were
    /// encoded and copied.
    pub(super) fn concatenated(
        &mut self,
        encoding: &Arc<dyn Encoding>,
        concatenator: &mut Concatenator,
        copied: &mut usize,
    ) -> Option<usize> {
        let is_it = |one: &Arc<dyn Encoding>| std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(encoding));
        if let Some(index) = self.bytes.iter().position(|one| is_it(&one.encoding)) {
            return Some(index);
        }
        let frames: SmallVec<[Frame; 8]> = self.frames(encoding).collect();
        let bytes = concatenator.concat(frames.iter())?;
        *copied += bytes.len();
        self.bytes.truncate(MAX_ENCODINGS);
        let has_few = self.bytes.len() < MAX_PAGES;
        let pages = has_few.then(|| SharedPages::new(&bytes, self.remaining)).flatten();
        self.bytes.push(EncodedBatch { encoding: Arc::clone(encoding), bytes, pages });
        Some(self.bytes.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::Publication;
    use crate::shard::delivery::MEMBERS_PER_TURN;

    const ROOM: RoomId = 7;

    fn publication() -> Notice {
        Notice::Publication(Publication::stored("r", "{}", None))
    }

    /// Takes all turns.
    fn turns(delivery: &mut DeliveryQueue) -> Vec<RoomId> {
        std::iter::from_fn(|| delivery.next_turn()).collect()
    }

    /// Delivers `count` publications of a room in a pass that takes `pass`.
    fn deliver(delivery: &mut DeliveryQueue, count: usize, pass: Duration) -> Instant {
        for _ in 0..count {
            delivery.add(ROOM, publication(), 10, Instant::now());
        }
        assert_eq!(delivery.next_turn(), Some(ROOM));
        let mut batch = delivery.take_batch(ROOM, 3).unwrap();
        batch.remaining = 0;
        let end = batch.started + pass;
        delivery.end_turn(ROOM, batch, end);
        end
    }

    #[test]
    fn a_room_cools_down_as_long_as_its_pass_took_and_then_delivers_everything_queued_meanwhile() {
        let mut delivery = DeliveryQueue::default();
        let pass = Duration::from_millis(3);
        let end = deliver(&mut delivery, 1, pass);
        delivery.add(ROOM, publication(), 10, Instant::now());
        delivery.add(ROOM, publication(), 10, Instant::now());
        assert!(!delivery.has_work());
        delivery.end_cooldowns(|| end + pass - Duration::from_nanos(1));
        assert!(!delivery.has_work(), "it still cools down");
        delivery.end_cooldowns(|| end + pass);
        assert!(delivery.has_work());
        assert_eq!(delivery.take_batch(ROOM, 3).unwrap().items.len(), 2);
    }

    #[test]
    fn a_quiet_room_waits_for_at_most_one_turn_of_a_busy_room() {
        const QUIET: RoomId = 8;
        let mut delivery = DeliveryQueue::default();
        for _ in 0..1000 {
            delivery.add(ROOM, publication(), 10, Instant::now());
        }
        delivery.add(QUIET, publication(), 10, Instant::now());
        // The busy room has its turn, and most of its members have not received the batch yet.
        assert_eq!(delivery.next_turn(), Some(ROOM));
        let mut batch = delivery.take_batch(ROOM, 10 * MEMBERS_PER_TURN).unwrap();
        batch.remaining -= MEMBERS_PER_TURN;
        let now = batch.started;
        delivery.end_turn(ROOM, batch, now);
        for _ in 0..1000 {
            delivery.add(ROOM, publication(), 10, Instant::now());
        }
        assert_eq!(turns(&mut delivery), [QUIET, ROOM], "more publications in the busy room change nothing");
    }

    #[test]
    fn a_cooldown_has_a_maximum() {
        let mut delivery = DeliveryQueue::default();
        let end = deliver(&mut delivery, 1, Duration::from_secs(1));
        assert_eq!(delivery.next_cooldown_end(), Some(end + MAX_COOLDOWN));
    }

    #[test]
    fn a_room_without_publications_after_its_cooldown_is_dropped() {
        let mut delivery = DeliveryQueue::default();
        let end = deliver(&mut delivery, 1, MAX_COOLDOWN);
        delivery.end_cooldowns(|| end + MAX_COOLDOWN);
        assert!(!delivery.has_work() && delivery.rooms.is_empty() && delivery.next_cooldown_end().is_none());
    }

    #[test]
    fn a_merge_takes_what_is_queued_up_to_a_number() {
        let mut delivery = DeliveryQueue::default();
        for room in [ROOM, ROOM + 1, ROOM, ROOM + 1, ROOM] {
            delivery.add(room, publication(), 10, Instant::now());
        }
        let memberships = [ROOM, ROOM + 1].map(|room| Membership { room, encoding: 0 });
        let taken = |range| {
            let items = delivery.undelivered(memberships.into_iter(), range);
            items.into_iter().map(|(membership, item)| (membership.room, item.seq)).collect::<Vec<_>>()
        };
        assert_eq!(taken(1..4), [(ROOM, 3), (ROOM + 1, 2), (ROOM + 1, 4)]);
        assert_eq!(taken(4..9), [(ROOM, 5)]);
        assert!(taken(5..5).is_empty());
    }

    #[test]
    fn a_short_pass_is_followed_by_no_cooldown() {
        let mut delivery = DeliveryQueue::default();
        deliver(&mut delivery, 1, MIN_PASS_FOR_COOLDOWN / 2);
        assert!(delivery.rooms.is_empty());
        delivery.add(ROOM, publication(), 10, Instant::now());
        assert!(delivery.has_work());
    }

    #[test]
    fn the_cooldown_of_a_room_that_is_gone_does_not_affect_the_room_that_has_its_id_now() {
        let mut delivery = DeliveryQueue::default();
        let end = deliver(&mut delivery, 1, MAX_COOLDOWN);
        delivery.forget(ROOM);
        delivery.add(ROOM, publication(), 10, Instant::now());
        delivery.end_cooldowns(|| end + MAX_COOLDOWN);
        assert_eq!(turns(&mut delivery), [ROOM], "one turn, not two");
    }

    #[test]
    fn the_turn_of_a_room_that_is_gone_does_not_go_to_the_room_that_has_its_id_now() {
        let mut delivery = DeliveryQueue::default();
        for _ in 0..3 {
            delivery.add(ROOM, publication(), 10, Instant::now());
            delivery.forget(ROOM);
        }
        assert!(turns(&mut delivery).is_empty());
        delivery.add(ROOM, publication(), 10, Instant::now());
        delivery.forget(ROOM);
        delivery.add(ROOM, publication(), 10, Instant::now());
        assert_eq!(turns(&mut delivery), [ROOM], "one turn, not two");
    }

    #[test]
    fn a_notice_gives_back_its_place_in_the_inbox_when_it_waits_no_more() {
        let mut delivery = DeliveryQueue::default();
        delivery.add(ROOM, publication(), 10, Instant::now());
        delivery.add(ROOM, publication(), 5, Instant::now());
        assert_eq!(delivery.take_released(), 0);
        assert!(delivery.take_batch(ROOM, 1).is_some());
        assert_eq!([delivery.take_released(), delivery.take_released()], [15, 0]);
        delivery.add(ROOM, publication(), 20, Instant::now());
        delivery.forget(ROOM);
        delivery.release(1);
        assert_eq!(delivery.take_released(), 21);
    }
}
