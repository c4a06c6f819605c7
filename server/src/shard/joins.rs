//! From a join to its recovery: authorize, join, recover, merge.
//!
//! A member is in its room before its recovery is requested. So every publication is in the recovery, or arrives live, or
//! both. Until the recovery is here, live publications are buffered. Then the connection receives, in this order: what it
//! missed, the protocol's confirmation, and what was buffered and is newer than the recovery. Live publications that the
//! recovery contained already are dropped when they arrive. So nothing is missing, duplicated or out of order.

use super::Shard;
use super::audience::{membership_in_all, namespace_of_all, room_of_all};
use super::join_buffers::QueuedPublication;
use super::message::AuthorizeReply;
use super::slot::Slot;
use super::tracked::{Passed, measurable};
use crate::authorize::JoinRequest;
use crate::client::Client;
use crate::close_reason::CloseReason;
use crate::encoding::{Encoding, Frame};
use crate::history::{Recovery, RecoveryReply, RecoveryRequest, ReplyTo, RequestId, Since};
use crate::hub::{JoinOutcome, LeaveOutcome, Membership, RoomId};
use crate::log::AUDIT;
use crate::outcome::Outcome;
use crate::protocol::{JoinError, Joined, RecoveryStatus, Subscribe, SubscribeReply};
use crate::publication::Notice;
use nodevent_protocol::action_cable::refresh::Refresh;
use nodevent_protocol::topic::{self, Topic};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// The result of a join, and why the connection must be closed after it, if it must.
pub(super) type JoinResult = Result<Outcome<(Joined, Option<CloseReason>)>, JoinError>;

/// A room that a connection may join.
#[derive(Debug, Clone, Copy)]
struct Room<'a> {
    name: &'a str,
    /// What restores the membership.
    kept: Option<&'a str>,
    /// When the membership ends. Milliseconds since the Unix epoch. `None`: with the connection.
    expires_ms: Option<u64>,
}

/// A join that waits for its authorization.
#[derive(Debug)]
pub(super) struct PendingJoin {
    namespace: u16,
    room: Box<str>,
    kept: Option<Box<str>>,
    since: Since,
    encoding: Arc<dyn Encoding>,
}

// === impl Shard ===

impl Shard {
    /// Joins a room; see [`crate::protocol::Core::subscribe`].
    pub(super) fn subscribe(&mut self, slot: u32, request: Subscribe<'_>) -> JoinResult {
        let Subscribe { namespace, room, credential, kept, since, encoding, request } = request;
        // Joins without a key count too: to reject one takes time as well.
        let (now, limit) = (self.now, self.settings.join_rate());
        if !self.session_mut(slot).is_some_and(|session| session.joins.allows(limit, now)) {
            return Err(self.reject_join(slot, namespace, JoinError::TooManyJoins));
        }
        let reply_to = self.reply_to(slot, request);
        let join_id = reply_to.join_id;
        let namespaces = Arc::clone(&self.namespaces);
        let authorizers = &namespaces.get(namespace).authorizers;
        let identity = self.session_mut(slot).and_then(|session| session.identities.valid(namespace, now).cloned());
        let identity = identity.as_deref();
        let client = Some(Client::of(self.peer(slot)));
        let join = JoinRequest { room, credential, identity, client, reply_to: Some(reply_to) };
        match authorizers.authorize(&join) {
            Outcome::Ready(Ok(expires_ms)) => {
                let expires_ms = expires_ms.filter(|_| namespaces.get(namespace).ends_expired_memberships);
                self.join(namespace, Room { name: room, kept, expires_ms }, since, encoding, reply_to)
            }
            Outcome::Ready(Err(error)) => Err(self.reject_join(slot, namespace, error)),
            Outcome::Pending if self.start_pending(slot, join_id, namespace) => {
                let (room, kept) = (room.into(), kept.map(|kept| measurable(kept).into()));
                let join = PendingJoin { namespace, room, kept, since, encoding: Arc::clone(encoding) };
                self.authorizations_pending.insert(join_id, join);
                Ok(Outcome::Pending)
            }
            Outcome::Pending | Outcome::Overloaded => Ok(Outcome::Overloaded),
        }
    }

    /// Counts a join that waits. Returns `false` if its client, its namespace or the shard has too many.
    fn start_pending(&mut self, slot: u32, join_id: u32, namespace: u16) -> bool {
        let address = self.session_mut(slot).map(|session| session.info.peer());
        let is_allowed =
            address.is_some_and(|address| self.pending_joins.add(join_id, Client::of(address), namespace));
        if !is_allowed {
            let namespace = &*self.namespaces.get(namespace).name;
            tracing::warn!(namespace, client = ?address, "too many joins wait; closing the connection");
        }
        is_allowed
    }

    /// A join does not wait any more. Another recovery of its client may now be requested.
    fn end_pending(&mut self, join_id: u32) {
        let mut ended = Some(join_id);
        while let Some(next) = ended.take().and_then(|join_id| self.pending_joins.remove(join_id, self.now)) {
            ended = self.request_recovery(next);
        }
    }

    /// Requests recoveries that have waited for too long for others of their client, so that all of them time out
    /// together if the engine is unavailable.
    pub(super) fn request_overdue_recoveries(&mut self) {
        for request in self.pending_joins.take_overdue(self.now) {
            if let Some(join_id) = self.request_recovery(request) {
                self.end_pending(join_id);
            }
        }
    }

    /// Requests a recovery of a join that waits. Returns the join if it waits no longer.
    fn request_recovery(&mut self, request: RecoveryRequest) -> Option<u32> {
        let ReplyTo { slot, generation, join_id, .. } = request.reply_to;
        let (reply_to, namespace, room) = (request.reply_to, request.namespace, request.room.clone());
        let engine = self.engines.get(namespace).filter(|_| self.is_open(slot, generation));
        match engine.map(|engine| engine.history.recover(request)) {
            Some(Outcome::Pending) => None,
            // As if it had arrived: the protocol of the connection may be in the middle of something else.
            Some(Outcome::Ready(reply)) => {
                let reply = reply.unwrap_or(RecoveryReply { reply_to, namespace, room, recovery: None });
                self.ready_recoveries.push_back(reply);
                None
            }
            Some(Outcome::Overloaded) => {
                self.close_later(slot, generation, CloseReason::TooManyPendingJoins);
                Some(join_id)
            }
            None => Some(join_id),
        }
    }

    /// Completes joins whose recoveries were ready when it was their turn, for as long as a turn lasts.
    pub(super) fn complete_ready_joins(&mut self) {
        let began = Instant::now();
        while let Some(reply) = self.ready_recoveries.pop_front() {
            self.on_recovery_reply(reply);
            if began.elapsed() >= super::REPLIES_TURN {
                return;
            }
        }
    }

    /// Joins a room to which the connection is admitted.
    fn join(
        &mut self,
        namespace: u16,
        Room { name: room, kept, expires_ms }: Room<'_>,
        since: Since,
        encoding: &Arc<dyn Encoding>,
        reply_to: ReplyTo,
    ) -> JoinResult {
        let slot = reply_to.slot;
        let encoding = &self.wire_encoding(slot, Some((namespace, room)), encoding);
        let client = Client::of(self.peer(slot));
        // Rooms of which it is a member already are in its share.
        let share = self.memberships.check(client);
        let max_rooms = if share.is_ok() { self.namespaces.get(namespace).limits.max_rooms } else { 0 };
        // The connection's users are memberships too, and do not count.
        let max_rooms = max_rooms + self.session_mut(slot).map_or(0, |session| session.identities.len());
        let rooms_before = self.hub.len();
        let encoding_id = self.encodings.acquire(encoding);
        let joined = self.hub.join(slot, namespace, room, encoding_id, max_rooms);
        if !matches!(joined, JoinOutcome::Joined(_)) {
            self.encodings.release(encoding_id);
        }
        let id = match joined {
            JoinOutcome::TooManyRooms => {
                if share.is_err() {
                    tracing::warn!(?client, "join rejected: `limits: max_memberships` is reached");
                }
                return Err(self.reject_join(slot, namespace, JoinError::TooManyRooms));
            }
            JoinOutcome::AlreadyMember(id) if since == Since::FirstJoin => {
                self.set_expiry(slot, Membership { room: id, encoding: encoding_id }, false, expires_ms);
                if let Some(session) = self.session_mut(slot) {
                    session.tracked.join(namespace, id, room, kept, since);
                }
                // It receives the room already and does not say up to where, so no position is known to be behind it.
                self.metrics.joins.fetch_add(1, Relaxed);
                let has_history =
                    self.engines.get(namespace).is_some_and(|engine| engine.history.has_history(room));
                let recovery = has_history.then_some(RecoveryStatus { position: None, recovered: true });
                return Ok(Outcome::Ready((Joined { recovery }, None)));
            }
            JoinOutcome::Joined(id) => {
                self.memberships.add(client);
                id
            }
            JoinOutcome::AlreadyMember(id) => id,
        };
        let membership = Membership { room: id, encoding: encoding_id };
        self.set_expiry(slot, membership, matches!(joined, JoinOutcome::Joined(_)), expires_ms);
        let shares = self.hub.memberships_of(slot).filter(|one| one.room == id).count() > 1;
        if let Some(session) = self.session_mut(slot) {
            session.shares_a_room |= shares;
            session.tracked.join(namespace, id, room, kept, since);
        }
        // A dialect may join the topic of a user.
        let added = (self.hub.len() - rooms_before) as i64;
        match Topic::parse(room) {
            Topic::User(_) => self.metrics.users.fetch_add(added, Relaxed),
            Topic::Room(_) | Topic::All => self.metrics.rooms.fetch_add(added, Relaxed),
        };
        self.metrics.joins.fetch_add(1, Relaxed);
        self.mark_joined(slot);
        let reply_to = ReplyTo { encoding: encoding_id, ..reply_to };
        let outcome = self.recover(membership, encoding, namespace, room, since, reply_to);
        if matches!(outcome, Outcome::Ready(_)) {
            self.enter_presence(slot, id);
        }
        Ok(outcome)
    }

    /// Requests what a new member has missed, and sends it if it is there at once.
    fn recover(
        &mut self,
        membership: Membership,
        encoding: &Arc<dyn Encoding>,
        namespace: u16,
        room: &str,
        since: Since,
        reply_to: ReplyTo,
    ) -> Outcome<(Joined, Option<CloseReason>)> {
        let engines = Arc::clone(&self.engines);
        let Some(engine) = engines.get(namespace) else { return Outcome::Overloaded };
        let join_id = reply_to.join_id;
        let requested_at = Instant::now();
        let client = Client::of(self.peer(reply_to.slot));
        let request = RecoveryRequest { reply_to, namespace, room: room.into(), client, since, requested_at };
        if engine.history.follows_rooms()
            && let Some(position) = self.hub.sent(membership.room)
            && (since == Since::FirstJoin || since == Since::Position(position))
        {
            let reply = request.reply(Some(Recovery::up_to_date(position)));
            return Outcome::Ready(self.complete_at_once(membership, encoding, &reply));
        }
        if engine.history.may_wait(room) && !self.start_pending(reply_to.slot, join_id, namespace) {
            return Outcome::Overloaded;
        }
        let outcome = match self.pending_joins.request(request, self.now) {
            Some(request) => engine.history.recover(request),
            None => Outcome::Pending,
        };
        if !matches!(outcome, Outcome::Pending) {
            self.end_pending(join_id);
        }
        let reply = match outcome {
            Outcome::Ready(None) => {
                self.complete(reply_to.slot, membership, Joined { recovery: None });
                return Outcome::Ready((Joined { recovery: None }, None));
            }
            Outcome::Ready(Some(reply)) => Some(reply),
            Outcome::Pending => None,
            Outcome::Overloaded => return Outcome::Overloaded,
        };
        match reply {
            Some(reply) => Outcome::Ready(self.complete_at_once(membership, encoding, &reply)),
            None => {
                self.start_buffering(membership, reply_to);
                Outcome::Pending
            }
        }
    }

    /// Buffers what comes for a membership until the reply to a join is here.
    fn start_buffering(&mut self, membership: Membership, reply_to: ReplyTo) {
        if let Some(session) = self.session_mut(reply_to.slot) {
            session.join_buffers.start_buffering(membership, reply_to.join_id);
        }
    }

    /// Completes a join whose recovery is there at once.
    fn complete_at_once(
        &mut self,
        membership: Membership,
        encoding: &Arc<dyn Encoding>,
        reply: &RecoveryReply,
    ) -> (Joined, Option<CloseReason>) {
        self.start_buffering(membership, reply.reply_to);
        let (joined, close) = self.send_missed(membership, Some(encoding), reply);
        self.complete(reply.reply_to.slot, membership, joined);
        (joined, close.or_else(|| self.release_buffered(membership, Some(encoding), reply, joined)))
    }

    /// The encoding in which a connection receives a room: that of its protocol, or the one that compresses it. As long as it is
    /// a member of the room, that stays the same.
    fn wire_encoding(
        &mut self,
        slot: u32,
        room: Option<(u16, &str)>,
        encoding: &Arc<dyn Encoding>,
    ) -> Arc<dyn Encoding> {
        let Some(deflate) = self.settings.deflate.clone() else { return Arc::clone(encoding) };
        let room = room.and_then(|(namespace, room)| self.hub.find(namespace, room));
        if let Some(membership) = room.and_then(|room| self.membership(slot, room, encoding))
            && let Some(known) = self.encodings.get(membership.encoding)
        {
            return Arc::clone(known);
        }
        match self.session_mut(slot).is_some_and(|session| session.deflates()) {
            true => deflate.encoding(encoding),
            false => Arc::clone(encoding),
        }
    }

    /// The membership of a connection in a room that it has joined with an encoding of its protocol.
    pub(super) fn membership(&self, slot: u32, room: RoomId, encoding: &Arc<dyn Encoding>) -> Option<Membership> {
        let mut all = self.encodings.find_all(encoding).map(|encoding| Membership { room, encoding });
        all.find(|membership| self.hub.is_member(slot, *membership))
    }

    /// Compresses from now on what a connection receives whose transport has become a WebSocket. What waits for a recovery
    /// stays as it is.
    pub(super) fn deflate_memberships(&mut self, slot: u32) {
        let Some(deflate) = self.settings.deflate.clone() else { return };
        if !self.session_mut(slot).is_some_and(|session| session.deflates()) {
            return;
        }
        let memberships: Vec<Membership> = self.hub.memberships_of(slot).collect();
        for membership in memberships {
            if self.session_mut(slot).is_none_or(|session| session.join_buffers.is_buffering(membership)) {
                continue;
            }
            let encoding = self.encodings.get(membership.encoding);
            // Refreshes that wait are for a member with its encoding.
            let Some(encoding) = encoding.filter(|one| one.plain().is_none() && !one.merges_refreshes()) else {
                continue;
            };
            let id = self.encodings.acquire(&deflate.encoding(encoding));
            if self.hub.change_encoding(slot, membership, id) {
                self.encodings.release(membership.encoding);
                let changed = Membership { encoding: id, ..membership };
                if let Some(session) = self.session_mut(slot) {
                    session.expiries.changed(membership, changed);
                    session.join_buffers.changed(membership, changed);
                }
            } else {
                self.encodings.release(id);
            }
        }
    }

    /// Sends the connection what was published to its user; see [`crate::protocol::Core::join_user`].
    pub(super) fn join_user(
        &mut self,
        slot: u32,
        namespace: u16,
        since: Since,
        encoding: &Arc<dyn Encoding>,
    ) -> Outcome<(Joined, Option<CloseReason>)> {
        let nothing = Outcome::Ready((Joined { recovery: None }, None));
        let Some(topic) = self.topic_of_user(slot, namespace) else { return nothing };
        let users_before = self.hub.len();
        let encoding = &self.wire_encoding(slot, Some((namespace, &topic)), encoding);
        let id = self.encodings.acquire(encoding);
        let room = match self.hub.join(slot, namespace, &topic, id, usize::MAX) {
            JoinOutcome::Joined(room) => {
                // Without a limit, because the number of connections has one.
                let client = Client::of(self.peer(slot));
                self.memberships.add(client);
                self.metrics.users.fetch_add((self.hub.len() - users_before) as i64, Relaxed);
                self.mark_joined(slot);
                room
            }
            JoinOutcome::AlreadyMember(room) => {
                self.encodings.release(id);
                if since == Since::FirstJoin {
                    return nothing;
                }
                room
            }
            // There is no limit.
            JoinOutcome::TooManyRooms => return Outcome::Overloaded,
        };
        let reply_to = self.reply_to(slot, RequestId::UNREQUESTED);
        let membership = Membership { room, encoding: id };
        if let Some(session) = self.session_mut(slot) {
            session.tracked.join(namespace, room, &topic, None, since);
        }
        self.recover(membership, encoding, namespace, &topic, since, ReplyTo { encoding: id, ..reply_to })
    }

    /// The topic of the connection's user in a namespace.
    fn topic_of_user(&mut self, slot: u32, namespace: u16) -> Option<String> {
        let identity = self.session_mut(slot)?.identities.get(namespace).filter(|one| !one.user.is_empty());
        identity.map(|identity| topic::of_user(&identity.user))
    }

    /// Ends the membership of a connection whose identity in a namespace is removed.
    pub(super) fn leave_user(&mut self, slot: u32, namespace: u16) {
        let Some(topic) = self.topic_of_user(slot, namespace) else { return };
        let Some(room) = self.hub.find(namespace, &topic) else { return };
        let ended: Vec<Membership> = self.hub.memberships_of(slot).filter(|one| one.room == room).collect();
        for membership in ended {
            self.leave(slot, membership);
        }
    }

    /// Sends the connection what was published to all; see [`crate::protocol::Core::recover_all`].
    pub(super) fn recover_all(
        &mut self,
        slot: u32,
        namespace: u16,
        since: Since,
        encoding: &Arc<dyn Encoding>,
        request: RequestId,
    ) -> JoinResult {
        let (now, limit) = (self.now, self.settings.join_rate());
        if !self.session_mut(slot).is_some_and(|session| session.joins.allows(limit, now)) {
            return Err(self.reject_join(slot, namespace, JoinError::TooManyJoins));
        }
        let membership = membership_in_all(namespace);
        if let Some(session) = self.session_mut(slot) {
            session.has_asked_for_all = true;
            session.tracked.join(namespace, membership.room, topic::ALL, None, since);
        }
        let reply_to = ReplyTo { encoding: membership.encoding, ..self.reply_to(slot, request) };
        let encoding = &self.wire_encoding(slot, None, encoding);
        Ok(self.recover(membership, encoding, namespace, topic::ALL, since, reply_to))
    }

    /// The destination of a reply to a connection's next join.
    fn reply_to(&mut self, slot: u32, request: RequestId) -> ReplyTo {
        self.generation = self.generation.wrapping_add(1);
        let join_id = self.generation;
        let (shard, generation) = (self.number, self.session_mut(slot).map_or(0, |session| session.generation));
        ReplyTo { shard, slot, generation, join_id, encoding: 0, request }
    }

    /// A recovery arrived.
    pub(super) fn on_recovery_reply(&mut self, reply: RecoveryReply) {
        let since = self.pending_joins.since(reply.reply_to.join_id);
        self.end_pending(reply.reply_to.join_id);
        let ReplyTo { slot, generation, .. } = reply.reply_to;
        if self.is_open(slot, generation) {
            self.collect_during(slot, |shard| shard.complete_join(&reply));
            if let Some(since) = since {
                self.times.recovery.record(since.elapsed());
            }
        }
    }

    /// Completes a join that has waited for its recovery.
    fn complete_join(&mut self, reply: &RecoveryReply) {
        let ReplyTo { slot, generation, join_id, encoding, .. } = reply.reply_to;
        let room = match &*reply.room {
            topic::ALL => Some(room_of_all(reply.namespace)),
            room => self.hub.find(reply.namespace, room),
        };
        let pending = room.map(|room| Membership { room, encoding }).filter(|membership| {
            let session = self.session_mut(slot);
            session.is_some_and(|session| session.join_buffers.is_pending(*membership, join_id))
        });
        let Some(membership) = pending else {
            // The room was left before this reply. If it was joined again, that join has a reply of its own.
            let recovery = RecoveryStatus { position: None, recovered: true };
            return self.confirm(reply, Joined { recovery: Some(recovery) });
        };
        if let Some(position) = reply.recovery.as_ref().and_then(|recovery| recovery.position) {
            self.hub.start_at(membership.room, position);
        }
        let encoding = match namespace_of_all(membership.room) {
            Some(namespace) => {
                let own = self.session_mut(slot).and_then(|session| session.encoding_in(namespace)).cloned();
                own.map(|encoding| self.wire_encoding(slot, None, &encoding))
            }
            None => self.encodings.get(membership.encoding).cloned(),
        };
        let (joined, close) = self.send_missed(membership, encoding.as_ref(), reply);
        if let Some(reason) = close {
            return self.close(slot, reason);
        }
        self.complete(slot, membership, joined);
        self.confirm(reply, joined);
        if self.is_open(slot, generation)
            && let Some(reason) = self.release_buffered(membership, encoding.as_ref(), reply, joined)
        {
            self.close(slot, reason);
        }
        // After the recovery, so that the connection receives its own `enter`.
        if self.is_open(slot, generation) {
            self.enter_presence(slot, membership.room);
        }
        self.answer_poll(slot);
    }

    /// The reply of an authorizer arrived.
    pub(super) fn on_authorize_reply(&mut self, reply: AuthorizeReply) {
        let AuthorizeReply { reply_to, result } = reply;
        self.end_pending(reply_to.join_id);
        let Some(join) = self.authorizations_pending.remove(&reply_to.join_id) else { return };
        if !self.is_open(reply_to.slot, reply_to.generation) {
            return;
        }
        let PendingJoin { namespace, room, kept, since, encoding } = join;
        let outcome = match result {
            Ok(()) => {
                let room = Room { name: &room, kept: kept.as_deref(), expires_ms: None };
                self.join(namespace, room, since, &encoding, reply_to)
            }
            Err(error) => Err(self.reject_join(reply_to.slot, namespace, error)),
        };
        let is_guessing = result.is_err_and(|error| !self.count_rejection(reply_to.slot, error));
        let (result, close) = match outcome {
            Ok(Outcome::Pending) => return,
            Ok(Outcome::Overloaded) => return self.close(reply_to.slot, CloseReason::TooManyPendingJoins),
            Ok(Outcome::Ready((joined, close))) => (Ok(joined), close),
            Err(error) => (Err(error), None),
        };
        if let Some(reason) = close {
            return self.close(reply_to.slot, reason);
        }
        self.with_protocol(reply_to.slot, |protocol, core| {
            protocol.subscribed(SubscribeReply { namespace, room: &room, request: reply_to.request, result }, core);
            if is_guessing { Err(CloseReason::WrongKeys) } else { Ok(()) }
        });
    }

    /// Sends what a member has missed. If that does not fit into the send buffer, nothing is sent, and the client learns
    /// that it was not recovered.
    fn send_missed(
        &mut self,
        membership: Membership,
        encoding: Option<&Arc<dyn Encoding>>,
        reply: &RecoveryReply,
    ) -> (Joined, Option<CloseReason>) {
        let Some(Recovery { position, mut recovered, publications }) = reply.recovery.clone() else {
            return (Joined { recovery: None }, None);
        };
        if publications.is_empty() {
            self.metrics.failed_recoveries.fetch_add(u64::from(!recovered), Relaxed);
            return (Joined { recovery: Some(RecoveryStatus { position, recovered }) }, None);
        }
        let slot = reply.reply_to.slot;
        let (page, generation) =
            self.session_mut(slot).map_or((None, 0), |session| (session.page, session.generation));
        let space = self.settings.send_buffer.saturating_sub(self.waiting(slot));
        // A whole history may be requested again and again. What does not fit is not encoded.
        let own = publications.iter().filter(|one| one.is_for(page));
        let may_fit = own.map(|one| one.text.len()).sum::<usize>() <= space;
        let encoding = encoding.filter(|_| may_fit);
        let mut frames: Vec<Frame> = Vec::new();
        // Of refreshes, one at the end is enough.
        let mut refresh: Option<Refresh> = None;
        let merges = encoding.is_some_and(|encoding| encoding.merges_refreshes());
        let mut received = Vec::new();
        for (publication, encoding) in publications.into_iter().zip(std::iter::repeat(encoding)) {
            let Some(encoding) = encoding else { break };
            if merges && let Some(later) = Refresh::of_publication(&publication.text) {
                match &mut refresh {
                    Some(refresh) => refresh.merge(&later),
                    None => refresh = Some(later),
                }
            }
            let id = publication.marks.id.filter(|_| !encoding.receives_each_copy());
            let has_other = id.is_some_and(|id| self.received.contains(reply.namespace, id, generation));
            let passed = Passed { room: membership.room, position: publication.position, id: publication.marks.id };
            let frame = if publication.is_for(page) && !has_other {
                received.extend(id);
                Some(publication.frame_for_one(encoding))
            } else {
                Notice::Publication(publication).skipped(encoding)
            };
            let Some(session) = self.session_mut(slot) else { break };
            match frame {
                Some(frame) => frames.push(session.stamp(reply.namespace, passed, encoding, frame)),
                None => session.tracked.pass(passed),
            }
        }
        frames.extend(encoding.zip(refresh).and_then(|(encoding, refresh)| encoding.refresh(&refresh)));
        let bytes: usize = frames.iter().map(|frame| frame.websocket().len()).sum();
        if !may_fit || bytes > space {
            frames.clear();
            received.clear();
            recovered = false;
        }
        for id in received {
            self.received.insert(reply.namespace, id, generation, self.now);
        }
        if !recovered {
            self.metrics.failed_recoveries.fetch_add(1, Relaxed);
        }
        let close = self.send(slot, &frames);
        (Joined { recovery: Some(RecoveryStatus { position, recovered }) }, close)
    }

    /// Sends what was buffered during a recovery and is newer than it.
    fn release_buffered(
        &mut self,
        membership: Membership,
        encoding: Option<&Arc<dyn Encoding>>,
        reply: &RecoveryReply,
        joined: Joined,
    ) -> Option<CloseReason> {
        let (reply_to, namespace) = (&reply.reply_to, reply.namespace);
        let position = joined.recovery.and_then(|recovery| recovery.position);
        let Self { slots, received, now, .. } = self;
        let Some(Slot::Session(session)) = slots.get_mut(reply_to.slot as usize) else { return None };
        let buffered = session.join_buffers.stop_buffering(membership, reply_to.join_id, position);
        let frame = |item: QueuedPublication| {
            let passed = Passed { room: membership.room, position: item.position, id: item.id };
            let frame = match item.id {
                Some(id) if !received.insert(namespace, id, reply_to.generation, *now) => item.skipped,
                _ => Some(item.frame),
            };
            match (frame, encoding) {
                (Some(frame), Some(encoding)) => Some(session.stamp(namespace, passed, encoding, frame)),
                (frame, _) => {
                    session.tracked.pass(passed);
                    frame
                }
            }
        };
        let frames: Vec<Frame> = buffered.into_iter().filter_map(frame).collect();
        self.send(reply_to.slot, &frames)
    }

    /// A join is complete: what the member had missed was sent.
    fn complete(&mut self, slot: u32, membership: Membership, joined: Joined) {
        if let Some(session) = self.session_mut(slot) {
            session.tracked.recovered(membership.room, joined.recovery);
        }
    }

    /// Lets the protocol confirm a join that was pending.
    fn confirm(&mut self, reply: &RecoveryReply, joined: Joined) {
        let RecoveryReply { reply_to, namespace, room, .. } = reply;
        let request = reply_to.request;
        self.with_protocol(reply_to.slot, |protocol, core| {
            let reply = SubscribeReply { namespace: *namespace, room, request, result: Ok(joined) };
            protocol.subscribed(reply, core);
            Ok(())
        });
    }

    /// Ends a membership. Returns whether there was one.
    pub(super) fn leave(&mut self, slot: u32, membership: Membership) -> bool {
        match self.hub.leave(slot, membership) {
            LeaveOutcome::NotMember => false,
            outcome => {
                self.end_membership(slot, membership, outcome);
                true
            }
        }
    }

    /// Does what follows the end of a membership.
    pub(super) fn end_membership(&mut self, slot: u32, membership: Membership, outcome: LeaveOutcome) {
        self.leave_presence(slot, membership.room, &outcome);
        self.encodings.release(membership.encoding);
        let client = Client::of(self.peer(slot));
        self.memberships.remove(client);
        if let Some(session) = self.session_mut(slot) {
            session.join_buffers.retain(|one| one != membership);
            session.expiries.left(membership);
            session.tracked.leave(membership.room);
        }
        if let LeaveOutcome::RoomEmptied(room) = outcome {
            self.delivery.forget(room.id);
            self.refreshes.forget(room.id);
            match Topic::parse(&room.name) {
                Topic::User(_) => self.metrics.users.fetch_sub(1, Relaxed),
                Topic::Room(_) | Topic::All => self.metrics.rooms.fetch_sub(1, Relaxed),
            };
            if let Some(engine) = self.engines.get(room.namespace) {
                engine.history.room_empty(self.number, &room.name);
            }
        }
    }

    /// Counts and logs a rejected join.
    pub(super) fn reject_join(&mut self, slot: u32, namespace: u16, error: JoinError) -> JoinError {
        self.metrics.rejected_joins.fetch_add(1, Relaxed);
        let client = self.peer(slot);
        let namespace = &*self.namespaces.get(namespace).name;
        tracing::info!(namespace, reason = error.as_str(), %client, "join rejected");
        if let JoinError::Unauthorized(reason) | JoinError::WrongKey(reason) = error {
            tracing::info!(target: AUDIT, namespace, %client, reason, "audit: key rejected");
        }
        error
    }
}
