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
use super::audience::{membership_in_all, namespace_of_all, room_of_all};
use super::concatenator::Concatenator;
use super::delivery_queue::{Batch, DeliveryQueue, EncodedBatch, Queued};
use super::encodings::Encodings;
use super::join_buffers::{Decision, QueuedPublication};
use super::message::Broadcast;
use super::received::Received;
use super::slot::{Session, Slot, Transport, token_of};
use super::tracked::Passed;
use crate::close_reason::CloseReason;
use crate::deflate::Deflate;
use crate::encoding::{Encoding, Frame};
use crate::hub::{Hub, Member, Membership, RoomId};
use crate::protocol::Millis;
use crate::publication::Notice;
use crate::send_buffer::SendOutcome;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Members of a room that are written to before other rooms have their turn.
pub(super) const MEMBERS_PER_TURN: usize = 512;
/// Time for deliveries before requests, sockets and timers have their turn again.
const DELIVERY_TURN: Duration = Duration::from_millis(2);
/// Members between two checks of the time.
const MEMBERS_PER_CHECK: usize = 64;
/// Bytes that are encoded and copied between two checks of the time. They may be compressed too.
const BYTES_PER_CHECK: usize = 16 * 1024;
/// Further copies of the same publications that one connection may be sent at once, unless its send buffer may be larger: a page
/// that subscribes to one stream very often would make all others wait. Bytes.
const MAX_REPEATED_BYTES: usize = 4 * 1024 * 1024;
/// Memberships up to which it is cheap to look whether something is queued in one of them.
const MAX_COMPARED: usize = 4;

// === impl Shard ===

impl Shard {
    /// Queues what came from an engine.
    pub(super) fn accept_broadcast(&mut self, broadcast: &Broadcast) {
        let room = match broadcast.hash {
            None => (self.sessions > 0).then(|| room_of_all(broadcast.namespace)),
            Some(hash) => self.hub.find_hashed(hash, broadcast.namespace, broadcast.notice.topic()),
        };
        match room {
            Some(room) => {
                match &broadcast.notice {
                    Notice::Publication(publication) => {
                        if let Some(position) = publication.position {
                            self.hub.set_sent(room, position);
                        }
                    }
                    Notice::Gap(gap) => self.hub.continue_from(room, gap.position),
                }
                self.accept_refresh(broadcast.namespace, room, &broadcast.notice);
                self.delivery.add(room, broadcast.notice.clone(), broadcast.cost, broadcast.arrived);
            }
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
        let all = namespace_of_all(room);
        let members = match all {
            None => self.hub.members(room).len(),
            // A number above that of every slot. Connections are not counted again during the pass: those that are opened
            // meanwhile may receive it too.
            Some(_) => self.slots.iter().next_back().map_or(0, |(slot, _)| slot + 1),
        };
        // Taken out during the pass, and put back if the pass is not complete.
        let Some(mut batch) = self.delivery.take_batch(room, members) else { return };
        let only_active_room = self.delivery.rooms.len() == 1;
        let namespaces: SmallVec<[u16; 1]> = self.delivery.namespaces_of_all().collect();
        if all.is_none() {
            batch.remaining = batch.remaining.min(members);
        }
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
            received,
            poll,
            ..
        } = self;
        let (mut delivered, mut index, mut copied) = (0, from, 0);
        // The last encoding that was wrapped: members share few.
        let mut deflated: Option<(Arc<dyn Encoding>, Arc<dyn Encoding>)> = None;
        while index > until {
            let is_check = copied >= BYTES_PER_CHECK || (from - index).is_multiple_of(MEMBERS_PER_CHECK);
            if index < from && is_check {
                if began.elapsed() >= DELIVERY_TURN {
                    break;
                }
                copied = 0;
            }
            index -= 1;
            // Of all connections, the protocol knows the encoding; of a member, the table.
            let (slot, own, id) = match all {
                None => {
                    let Member { slot, encoding } = hub.members(room)[index];
                    (slot, None, encoding)
                }
                Some(namespace) => {
                    let Some(Slot::Session(session)) = slots.get(index) else { continue };
                    let Some(encoding) = session.encoding_in(namespace) else { continue };
                    let own = match settings.deflate.as_ref().filter(|_| session.deflates()) {
                        None => Arc::clone(encoding),
                        Some(deflate) => match &deflated {
                            Some((plain, known)) if Arc::ptr_eq(plain, encoding) => Arc::clone(known),
                            _ => {
                                let wrapped = deflate.encoding(encoding);
                                deflated = Some((Arc::clone(encoding), Arc::clone(&wrapped)));
                                wrapped
                            }
                        },
                    };
                    (index as u32, Some(own), 0)
                }
            };
            let Some(Slot::Session(session)) = slots.get_mut(slot as usize) else { continue };
            let Some(encoding) = own.as_ref().or_else(|| encodings.get(id)) else { continue };
            // With another of its memberships it was sent everything.
            if session.last_delivered >= batch.last() {
                continue;
            }
            let Some(bytes) = batch.concatenated(encoding, concatenator, &mut copied) else { continue };
            let mut delivery = MemberDelivery {
                hub,
                delivery,
                encodings,
                received,
                namespaces: &namespaces,
                room,
                batch: &batch,
                bytes,
                only_active_room,
                limit: settings.send_buffer,
                deflate: settings.deflate.as_ref(),
                now: *now,
                copied: &mut copied,
            };
            let (count, sent) = delivery.deliver_to(slot, encoding, session, concatenator);
            delivered += count;
            let sent = match (sent, &mut session.transport) {
                (SendOutcome::Queued, Transport::WebSocket(socket)) => {
                    let reported = socket.stream.report_writable(poll.registry(), token_of(slot));
                    reported.map_or(SendOutcome::Broken, |()| sent)
                }
                _ => sent,
            };
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
        let now = Instant::now();
        if index == 0 {
            batch.record_times(now, &self.times);
            if self.metrics.spans.are_on() {
                let of_room = || self.hub.name(room).map(|(namespace, _)| namespace);
                let namespace = all.or_else(of_room).unwrap_or_default();
                batch.record_spans(now, &self.metrics.spans, namespace, self.number);
            }
        }
        if index == 0
            && all.is_none()
            && let Some(position) = batch.position()
        {
            self.hub.set_delivered(room, position);
        }
        self.delivery.end_turn(room, batch, now);
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
    received: &'a mut Received,
    /// The namespaces for all of whose connections something is queued.
    namespaces: &'a [u16],
    room: RoomId,
    batch: &'a Batch,
    /// The index of the member's encoding in the batch's `bytes`.
    bytes: usize,
    /// Whether no other room has queued publications.
    only_active_room: bool,
    limit: usize,
    deflate: Option<&'a Arc<Deflate>>,
    now: Millis,
    /// Bytes that were encoded and copied since the last check of the time.
    copied: &'a mut usize,
}

// === impl MemberDelivery ===

impl MemberDelivery<'_> {
    /// Sends a member the batch, or its share of all its rooms. Returns how many publications it received.
    fn deliver_to(
        &mut self,
        slot: u32,
        encoding: &Arc<dyn Encoding>,
        session: &mut Session,
        concatenator: &mut Concatenator,
    ) -> (u64, SendOutcome) {
        let last = self.batch.last();
        let has_nothing_else = self.has_nothing_else(slot, session);
        let is_simple = session.join_buffers.is_empty()
            && !session.tracked.is_on()
            && session.last_delivered < self.batch.first()
            && self.batch.is_for(session.page)
            && (!self.batch.has_gap || session.has_asked_for_all || namespace_of_all(self.room).is_none())
            && has_nothing_else;
        if is_simple {
            session.last_delivered = last;
            let EncodedBatch { bytes, pages, .. } = &self.batch.bytes[self.bytes];
            let sent = match (pages, &mut session.transport) {
                (Some(pages), Transport::WebSocket(socket)) => socket.send_pages(pages, bytes, self.limit),
                _ => session.send(self.batch.frames(encoding), bytes, self.limit),
            };
            return (self.batch.items.len() as u64, sent);
        }
        // Without other rooms, what waits behind the batch is left for the next one, which is then a simple one again.
        let until = if has_nothing_else { last } else { self.delivery.last };
        let (frames, count) = match self.merge(slot, session, until) {
            Ok(merged) => merged,
            Err(overflow) => return (0, overflow),
        };
        match concatenator.concat(frames.iter()) {
            Some(bytes) => (count, session.send(frames.iter(), &bytes, self.limit)),
            None => (0, SendOutcome::Sent),
        }
    }

    /// Whether nothing is queued for the connection but this batch, and that once.
    fn has_nothing_else(&self, slot: u32, session: &Session) -> bool {
        let is_all = namespace_of_all(self.room).is_some();
        let mut memberships = self.hub.memberships_of(slot);
        if !is_all && memberships.len() == 1 && self.namespaces.is_empty() {
            return true;
        }
        let has_other = |one: Membership| one.room != self.room && self.delivery.rooms.contains_key(&one.room);
        !session.shares_a_room
            && (self.only_active_room
                || self.namespaces.len() == usize::from(is_all)
                    && memberships.len() <= MAX_COMPARED
                    && !memberships.any(has_other))
    }

    /// The user of a connection in the namespace of one of its memberships.
    fn user<'a>(&self, membership: Membership, session: &'a Session) -> Option<&'a str> {
        let of_all = || namespace_of_all(membership.room);
        let namespace = self.hub.name(membership.room).map(|(namespace, _)| namespace).or_else(of_all)?;
        session.identities.get(namespace).map(|identity| &*identity.user)
    }

    /// Merges what a member has not received yet from all its rooms up to the sequence number `until`, in the engine's order.
    /// Returns the frames, and how many of them are publications.
    fn merge(&mut self, slot: u32, session: &mut Session, until: u64) -> Result<(Vec<Frame>, u64), SendOutcome> {
        let after = session.last_delivered;
        let deflate = self.deflate.filter(|_| session.deflates());
        let own = |namespace: u16| {
            let encoding = session.encoding_in(namespace)?;
            let encoding = deflate.map_or_else(|| Arc::clone(encoding), |deflate| deflate.encoding(encoding));
            Some((room_of_all(namespace), encoding))
        };
        let of_all: SmallVec<[(RoomId, Arc<dyn Encoding>); 1]> =
            self.namespaces.iter().filter_map(|namespace| own(*namespace)).collect();
        let in_all = of_all.iter().filter_map(|(room, _)| namespace_of_all(*room)).map(membership_in_all);
        let memberships: SmallVec<[Membership; 8]> = self.hub.memberships_of(slot).chain(in_all).collect();
        let mut items = self.delivery.undelivered(memberships.iter().copied(), after..until);
        for membership in memberships.into_iter().filter(|membership| membership.room == self.room) {
            let newer = self.batch.items.iter().filter(|item| item.seq > after);
            items.extend(newer.map(|item| (membership, item.clone())));
        }
        items.sort_by_key(|(_, item)| item.seq);
        session.last_delivered = until;
        let (mut frames, mut count) = (Vec::with_capacity(items.len()), 0);
        let (mut repeated, mut last_seq, max_repeated) = (0, after, self.limit.max(MAX_REPEATED_BYTES));
        for (membership, Queued { notice, seq, .. }) in items {
            *self.copied += notice.size();
            if std::mem::replace(&mut last_seq, seq) == seq {
                repeated += notice.size();
            }
            if repeated > max_repeated {
                return Err(SendOutcome::Overflow);
            }
            // A gap there concerns those who want what was published to all while they were disconnected.
            let is_of_all = namespace_of_all(membership.room).is_some();
            if is_of_all && matches!(notice, Notice::Gap(_)) && !session.has_asked_for_all {
                continue;
            }
            let own = of_all.iter().find(|(room, _)| *room == membership.room).map(|(_, encoding)| encoding);
            let Some(encoding) = own.or_else(|| self.encodings.get(membership.encoding)) else { continue };
            let is_for = notice.is_for(session.page)
                && !(notice.marks().excludes_users && notice.excludes(self.user(membership, session)));
            let passed = Passed { room: membership.room, position: notice.position(), id: notice.id() };
            let Some(item) = QueuedPublication::new(&notice, is_for, encoding, !session.join_buffers.is_empty())
            else {
                // During a recovery, its position is behind this one.
                if session.join_buffers.is_empty() {
                    session.tracked.pass(passed);
                }
                continue;
            };
            let namespace = self.hub.name(membership.room).map(|(namespace, _)| namespace);
            let namespace = namespace.or_else(|| namespace_of_all(membership.room)).unwrap_or_default();
            match session.join_buffers.classify(membership, &item) {
                Decision::Deliver => match item.id {
                    Some(id) if !self.received.insert(namespace, id, session.generation, self.now) => {
                        match notice.skipped(encoding) {
                            Some(frame) => frames.push(session.stamp(namespace, passed, encoding, frame)),
                            None => session.tracked.pass(passed),
                        }
                    }
                    _ => {
                        count += u64::from(is_for);
                        frames.push(session.stamp(namespace, passed, encoding, item.frame));
                    }
                },
                Decision::Buffered(bytes) if bytes > self.limit => return Err(SendOutcome::Overflow),
                Decision::Buffered(_) | Decision::Duplicate => {}
            }
        }
        Ok((frames, count))
    }
}
