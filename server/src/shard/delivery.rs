//! The hot path: from a publication to the members of its room.
//!
//! On a room's turn, its queued frames are concatenated into one shared buffer per encoding, and that buffer is written
//! to at most [`MEMBERS_PER_TURN`] members before the next room has its turn. So a busy room batches by itself, and a quiet
//! room does not wait for it. [`super::delivery_queue`] decides whose turn it is. After [`DELIVERY_TURN`], the sockets and
//! the timers have their turn, however many rooms there are and whatever their size.
//!
//! Every connection has the sequence number up to which it has received everything. If it is in several rooms with queued
//! publications, its share of all of them is merged by that number: it receives the publications of a namespace in the
//! engine's order.

use super::Shard;
use super::concatenator::Concatenator;
use super::delivery_queue::{Batch, DeliveryQueue, Queued};
use super::encodings::Encodings;
use super::join_buffers::{Decision, QueuedPublication};
use super::message::Broadcast;
use super::slot::{Session, Slot, Transport};
use crate::close_reason::CloseReason;
use crate::encoding::Frame;
use crate::hub::{EncodingId, Hub, Member, RoomId};
use crate::send_buffer::SendOutcome;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Members of a room that are written to before other rooms have their turn.
pub(super) const MEMBERS_PER_TURN: usize = 512;
/// Time for deliveries before requests, sockets and timers have their turn again.
const DELIVERY_TURN: Duration = Duration::from_millis(2);
/// Members between two checks of the time.
const MEMBERS_PER_CHECK: usize = 64;

// === impl Shard ===

impl Shard {
    /// Queues what came from an engine.
    pub(super) fn accept_broadcast(&mut self, broadcast: &Broadcast) {
        match self.hub.find(broadcast.namespace, broadcast.notice.room()) {
            Some(room) => self.delivery.add(room, broadcast.notice.clone(), broadcast.cost),
            None => self.delivery.release(broadcast.cost),
        }
    }

    /// Gives rooms their turns, as long as a turn of deliveries lasts.
    pub(super) fn deliver(&mut self) {
        self.delivery.end_cooldowns(Instant::now);
        if !self.delivery.has_work() {
            return;
        }
        let began = Instant::now();
        while let Some(room) = self.delivery.next_turn() {
            self.deliver_to_room(room, began);
            if began.elapsed() >= DELIVERY_TURN {
                return;
            }
        }
    }

    /// Gives a room its turn. `began` is when the turn of all deliveries began.
    fn deliver_to_room(&mut self, room: RoomId, began: Instant) {
        let members = self.hub.members(room).len();
        // Taken out during the pass, and put back if the pass is not complete.
        let Some(mut batch) = self.delivery.take_batch(room, members) else { return };
        if batch.encodings_version != self.encodings.version() {
            batch.encodings_version = self.encodings.version();
            batch.bytes.clear();
        }
        let only_active_room = self.delivery.rooms.len() == 1;
        batch.remaining = batch.remaining.min(members);
        let (from, until) = (batch.remaining, batch.remaining.saturating_sub(MEMBERS_PER_TURN));
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
        let (mut delivered, mut index) = (0, from);
        while index > until {
            if index < from && (from - index).is_multiple_of(MEMBERS_PER_CHECK) && began.elapsed() >= DELIVERY_TURN
            {
                break;
            }
            index -= 1;
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
                    buffer_scan.watch(slot, session.generation, &mut session.is_watched, *now);
                    if let Some(by) = session.start_write_timeout(*now, settings.write_timeout) {
                        timers.add(by, slot, session.generation);
                    }
                }
                SendOutcome::Overflow => {
                    session.receive_nothing_more();
                    to_close.push_back((slot, session.generation, CloseReason::SendBufferFull));
                }
                SendOutcome::Broken => {
                    session.receive_nothing_more();
                    to_close.push_back((slot, session.generation, CloseReason::ConnectionLost));
                }
            }
            match session.transport {
                Transport::WebSocket(_) | Transport::Closed => {}
                Transport::Stream(_) => {
                    buffer_scan.watch(slot, session.generation, &mut session.is_watched, *now);
                }
                Transport::Polling(_) => {
                    buffer_scan.watch(slot, session.generation, &mut session.is_watched, *now);
                    self.polls_to_answer.push(slot);
                }
            }
        }
        self.metrics.deliveries.fetch_add(delivered, Relaxed);
        batch.remaining = index;
        self.delivery.end_turn(room, batch, Instant::now());
        for slot in std::mem::take(&mut self.polls_to_answer) {
            self.answer_poll(slot);
        }
    }
}

/// One member's share of a turn.
struct MemberDelivery<'a> {
    hub: &'a Hub,
    delivery: &'a DeliveryQueue,
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
