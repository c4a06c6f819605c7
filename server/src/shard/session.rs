//! The life of a connection: open, run its protocol, send, close.
//!
//! The transports are below it. What the connection's protocol may do is in `connection`.

use super::Shard;
use super::audience::namespace_of_all;
use super::connection::Connection;
use super::expiries::Expiries;
use super::identities::Identities;
use super::join_buffers::JoinBuffers;
use super::mailbox::OwnMailboxes;
use super::message::{PollReply, PollResponse};
use super::slot::{Closing, Session, Slot, Transport, WebSocket, token_of};
use super::tracked::Tracked;
use crate::address_limits::{AddressLimit, WRONG_KEYS_PER_CONNECTION};
use crate::client::Client;
use crate::close_reason::{CloseFrame, CloseReason};
use crate::connect_info::ConnectInfo;
use crate::connection_id::ConnectionId;
use crate::encoding::Frame;
use crate::protocol::{JoinError, Millis, NEVER, OpenProtocol, Protocol};
use crate::rate_limit::TokenBucket;
use crate::send_buffer::SendOutcome;
use nodevent_protocol::websocket;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering::Relaxed;

/// Time for a socket to read its close frame. Milliseconds.
const CLOSE_LINGER: Millis = 2_000;
/// Sockets of probes that may be closing, per shard.
const MAX_CLOSING_PROBES: usize = 256;

// === impl Shard ===

impl Shard {
    /// Puts a new connection into a slot. The caller runs [`Protocol::opened`].
    pub(super) fn open_session(&mut self, transport: Transport, protocol: OpenProtocol, info: ConnectInfo) -> u32 {
        let protocol = protocol();
        let client = Client::of(info.peer());
        self.generation = self.generation.wrapping_add(1);
        let (now, settings) = (self.now, &self.settings);
        let entry = self.slots.vacant_entry();
        let slot = entry.key() as u32;
        entry.insert(Slot::Session(Session {
            id: ConnectionId::new(self.number, slot),
            page: info.page(),
            info,
            protocol: Some(protocol),
            transport,
            probe: None,
            last_delivered: 0,
            join_buffers: JoinBuffers::default(),
            identities: Identities::default(),
            expiries: Expiries::default(),
            mailboxes: OwnMailboxes::default(),
            tracked: Tracked::default(),
            drain_at: NEVER,
            stalled_since: None,
            messages: TokenBucket::new(settings.message_rate(), now),
            joins: TokenBucket::new(settings.join_rate(), now),
            bytes: TokenBucket::new(settings.byte_rate(), now),
            wrong_keys: 0,
            ended_states: 0,
            calls: 0,
            has_joined: false,
            is_watched: false,
            has_asked_for_all: false,
            shares_a_room: false,
            enters_on_request: false,
            timer_at: NEVER,
            generation: self.generation,
            opened_at_s: (now / 1_000) as u32,
        }));
        self.metrics.connections_opened.fetch_add(1, Relaxed);
        self.metrics.connections.fetch_add(1, Relaxed);
        self.sessions += 1;
        self.inbox.count_connections(self.sessions);
        self.make_room(slot, client);
        slot
    }

    /// Closes the oldest connections that have joined no room, if there are too many.
    fn make_room(&mut self, slot: u32, client: Client) {
        let limits = self.roomless_limits;
        if let Some(oldest) = self.roomless.add(slot, self.generation, client, limits) {
            self.close(oldest, CloseReason::Displaced);
        }
        let slots = &self.slots;
        let is_roomless = |slot: u32, generation: u32| {
            let one = slots.get(slot as usize);
            matches!(one, Some(Slot::Session(session)) if session.generation == generation && !session.has_joined)
        };
        if let Some(oldest) = self.roomless.oldest(limits, is_roomless) {
            self.close(oldest, CloseReason::Displaced);
        }
    }

    /// The client's address.
    pub(super) fn peer(&mut self, slot: u32) -> IpAddr {
        self.session_mut(slot).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |session| session.info.peer())
    }

    /// A connection has joined a room.
    pub(super) fn mark_joined(&mut self, slot: u32) {
        if let Some(session) = self.session_mut(slot)
            && !session.has_joined
        {
            session.has_joined = true;
            let client = Client::of(session.info.peer());
            self.roomless.remove(slot, client);
        }
    }

    /// Counts the wrong key of a rejected join, if it had one. Returns `false` if the connection and its address have sent too
    /// many.
    pub(super) fn count_rejection(&mut self, slot: u32, error: JoinError) -> bool {
        !matches!(error, JoinError::WrongKey(_)) || self.count_wrong_key(slot)
    }

    /// Counts a wrong key. Returns `false` if the connection and its address have sent too many.
    pub(super) fn count_wrong_key(&mut self, slot: u32) -> bool {
        let Some(session) = self.session_mut(slot) else { return true };
        session.wrong_keys = session.wrong_keys.saturating_add(1);
        let (count, client) = (session.wrong_keys, session.info.peer());
        if self.settings.addresses.wrong_key(client).is_ok() || count <= WRONG_KEYS_PER_CONNECTION {
            return true;
        }
        self.metrics.count_address_limit(AddressLimit::WrongKeys);
        false
    }

    /// Counts bytes that a connection sent. Returns `false` if they are too many, and the connection was closed.
    pub(super) fn count_bytes(&mut self, slot: u32, bytes: usize) -> bool {
        let (now, limit) = (self.now, self.settings.byte_rate());
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let allowed = self.session_mut(slot).is_none_or(|session| session.bytes.allows_many(limit, bytes, now));
        if !allowed {
            self.close(slot, CloseReason::ByteRate);
        }
        allowed
    }

    pub(super) fn session_mut(&mut self, slot: u32) -> Option<&mut Session> {
        match self.slots.get_mut(slot as usize) {
            Some(Slot::Session(session)) => Some(session),
            _ => None,
        }
    }

    /// Whether this connection is still in its slot.
    pub(super) fn is_open(&self, slot: u32, generation: u32) -> bool {
        let one = self.slots.get(slot as usize);
        matches!(one, Some(Slot::Session(session)) if session.generation == generation)
    }

    /// Runs a connection's protocol, then does what follows: closes the connection, or answers its poll and sets its
    /// timer. Returns why the connection was closed, if it was.
    pub(super) fn with_protocol(
        &mut self,
        slot: u32,
        run: impl FnOnce(&mut dyn Protocol, &mut Connection<'_>) -> Result<(), CloseReason>,
    ) -> Option<CloseReason> {
        let session = self.session_mut(slot)?;
        let mut protocol = session.protocol.take()?;
        let collects = self.start_collecting(slot);
        let mut connection = Connection::new(self, slot);
        let result = run(&mut *protocol, &mut connection);
        let reason = connection.close_reason().or(result.err());
        if let Some(session) = self.session_mut(slot) {
            session.protocol = Some(protocol);
        }
        let reason = match reason {
            None if collects => self.end_collecting(slot),
            reason => reason,
        };
        let reason = match reason {
            None => {
                self.answer_poll(slot);
                // A poll that waited may just have taken what was too much.
                self.poll_queue_exceeds_limit(slot).then_some(CloseReason::SendBufferFull)
            }
            reason => reason,
        };
        match reason {
            Some(reason) => self.close(slot, reason),
            None => self.arm(slot),
        }
        reason
    }

    /// Ends all memberships of a connection, or those in one namespace.
    pub(super) fn leave_rooms(&mut self, slot: u32, namespace: Option<u16>) {
        let mut ended = Vec::new();
        self.hub.leave_all(slot, namespace, |membership, outcome| ended.push((membership, outcome)));
        for (membership, outcome) in ended {
            self.end_membership(slot, membership, outcome);
        }
        let is_over = |room| namespace_of_all(room).is_some_and(|one| namespace.is_none_or(|ended| ended == one));
        if let Some(session) = self.session_mut(slot) {
            session.join_buffers.retain(|one| !is_over(one.room));
        }
    }

    /// Sends messages to a connection in one write. Returns why the connection must be closed, if it must.
    pub(super) fn send(&mut self, slot: u32, frames: &[Frame]) -> Option<CloseReason> {
        if let Some(collected) = self.collect(slot, frames) {
            return collected;
        }
        let limit = self.settings.send_buffer;
        let bytes = self.concatenator.concat(frames.iter())?;
        let Self { slots, buffer_scan, now, .. } = self;
        let Some(Slot::Session(session)) = slots.get_mut(slot as usize) else { return None };
        let sent = session.send(frames.iter(), &bytes, limit);
        if !matches!(session.transport, Transport::WebSocket(_)) {
            buffer_scan.watch(slot, session.generation, &mut session.is_watched, *now);
        }
        // A poll may be about to take what is too much; see `with_protocol`.
        if sent == SendOutcome::Overflow && self.is_polling(slot) {
            return None;
        }
        self.after_send(slot, sent)
    }

    /// Sends a small text message to a connection.
    pub(super) fn send_text(&mut self, slot: u32, text: &str) -> Option<CloseReason> {
        if let Some(collected) = self.collect_text(slot, text) {
            return collected;
        }
        let limit = self.settings.send_buffer;
        let mut buffer = std::mem::take(&mut self.encode_buffer);
        let socket = self.session_mut(slot).and_then(|session| match &mut session.transport {
            Transport::WebSocket(socket) => Some(socket),
            _ => None,
        });
        let Some(socket) = socket else {
            self.encode_buffer = buffer;
            return self.send(slot, &[Frame::text(text)]);
        };
        buffer.clear();
        websocket::encode(&mut buffer, websocket::Opcode::Text, text.as_bytes());
        let sent = socket.send(&buffer, || buffer.as_slice().into(), limit);
        self.encode_buffer = buffer;
        self.after_send(slot, sent)
    }

    /// Does what follows a send. Returns why the connection must be closed, if it must.
    pub(super) fn after_send(&mut self, slot: u32, sent: SendOutcome) -> Option<CloseReason> {
        match sent {
            SendOutcome::Sent => None,
            SendOutcome::Queued => {
                let (now, write_timeout) = (self.now, self.settings.write_timeout);
                let Self { buffer_scan, slots, poll, .. } = self;
                let one = slots.get_mut(slot as usize)?;
                let socket = one.socket().map(|socket| &mut socket.stream);
                if socket.is_some_and(|one| one.report_writable(poll.registry(), token_of(slot)).is_err()) {
                    return Some(CloseReason::ConnectionLost);
                }
                let Slot::Session(session) = one else { return None };
                let generation = session.generation;
                buffer_scan.watch(slot, generation, &mut session.is_watched, now);
                if let Some(by) = session.start_write_timeout(now, write_timeout) {
                    self.timers.add(by, slot, generation);
                }
                None
            }
            SendOutcome::Overflow => Some(CloseReason::SendBufferFull),
            SendOutcome::Broken => Some(CloseReason::ConnectionLost),
        }
    }

    /// Bytes that wait for a connection.
    pub(super) fn waiting(&mut self, slot: u32) -> usize {
        self.write_collected(slot);
        self.session_mut(slot).map_or(0, |session| session.waiting())
    }

    fn poll_queue_exceeds_limit(&mut self, slot: u32) -> bool {
        let limit = self.settings.send_buffer;
        self.session_mut(slot).is_some_and(|session| match &session.transport {
            Transport::Polling(polling) => polling.queue.exceeds(limit),
            _ => false,
        })
    }

    fn is_polling(&mut self, slot: u32) -> bool {
        self.session_mut(slot).is_some_and(|session| matches!(session.transport, Transport::Polling(_)))
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason) {
        self.close_with(slot, reason, reason.close_frame());
    }

    /// Closes a connection with this close frame.
    pub(super) fn close_with(&mut self, slot: u32, reason: CloseReason, close_frame: CloseFrame<'_>) {
        let Some(one) = self.slots.get_mut(slot as usize) else { return };
        let Slot::Session(session) = one else { return self.release(slot) };
        if let Some(mut protocol) = session.protocol.take() {
            let mut connection = Connection::new(self, slot);
            protocol.closing(reason, &mut connection);
        }
        self.forget_pages(slot);
        // It is closed already: another reason makes no difference.
        let _ = self.end_collecting(slot);
        self.leave_rooms(slot, None);
        self.remove_mailboxes(slot, None);
        self.note_disconnected(slot, None, reason.name());
        self.forget_identity(slot, None);
        let Some(session) = self.session_mut(slot) else { return };
        let (client, has_joined, opened_at_s) = (session.info.peer(), session.has_joined, session.opened_at_s);
        if !has_joined {
            self.roomless.remove(slot, Client::of(client));
        }
        self.sessions -= 1;
        self.inbox.count_connections(self.sessions);
        let Some(session) = self.session_mut(slot) else { return };
        let (probe, id) = (session.probe.take(), session.id);
        match std::mem::replace(&mut session.transport, Transport::Closed) {
            Transport::WebSocket(socket) => self.send_close_frame(slot, socket, close_frame),
            Transport::Stream(_) | Transport::Closed => self.release(slot),
            Transport::Polling(mut polling) => {
                if let Some(poll) = polling.poll.take() {
                    let last = PollResponse::last(polling.queue.take(), polling.format, id);
                    let _ = poll.send(PollReply::Messages(last));
                }
                self.release(slot);
            }
        }
        if let Some(probe) = probe {
            self.close_probe(probe, Some((Some(1001), "the session has ended")));
        }
        self.metrics.closed(reason);
        let seconds = (self.now / 1_000) as u32 - opened_at_s;
        if reason.is_abnormal() {
            tracing::info!(reason = reason.name(), detail = reason.detail(), %client, seconds, "connection closed");
        } else {
            tracing::debug!(reason = reason.name(), %client, seconds, "connection closed");
        }
    }

    /// Sends a close frame, and leaves the socket in its slot for as long as the other side may take to read it.
    pub(super) fn send_close_frame(&mut self, slot: u32, mut socket: WebSocket, close_frame: CloseFrame<'_>) {
        let Some((code, text)) = close_frame else { return self.release(slot) };
        let mut bytes = Vec::new();
        match code {
            None => websocket::encode(&mut bytes, websocket::Opcode::Close, &[]),
            Some(code) => websocket::encode_close(&mut bytes, code, text),
        }
        let sent = socket.send(&bytes, || bytes.as_slice().into(), usize::MAX);
        match sent {
            SendOutcome::Sent => socket.stream.finish(),
            SendOutcome::Broken => return self.release(slot),
            SendOutcome::Queued | SendOutcome::Overflow => {
                if socket.stream.report_writable(self.poll.registry(), token_of(slot)).is_err() {
                    return self.release(slot);
                }
            }
        }
        self.generation = self.generation.wrapping_add(1);
        let (until, generation) = (self.now + CLOSE_LINGER, self.generation);
        let client = self.slots[slot as usize].client();
        let mut closing =
            Closing { socket, client, is_watched: false, until, timer_at: NEVER, generation, _place: None };
        if !closing.socket.send_buffer.is_empty() {
            self.buffer_scan.watch(slot, generation, &mut closing.is_watched, self.now);
        }
        let closed = std::mem::replace(&mut self.slots[slot as usize], Slot::Closing(closing));
        match (closed, &mut self.slots[slot as usize]) {
            (Slot::Session(session), Slot::Closing(closing)) => closing._place = Some(session.info),
            _ => self.limit_closing_probes(slot, generation),
        }
        self.arm(slot);
    }

    /// Bounds the sockets of probes that are closing, which are no connections and count as none: the oldest is released.
    fn limit_closing_probes(&mut self, slot: u32, generation: u32) {
        self.closing_probes.push_back((slot, generation));
        if self.closing_probes.len() > MAX_CLOSING_PROBES
            && let Some((oldest, generation)) = self.closing_probes.pop_front()
            && let Some(Slot::Closing(closing)) = self.slots.get(oldest as usize)
            && closing.generation == generation
        {
            self.release(oldest);
        }
    }

    /// Frees a slot, and with it its socket.
    pub(super) fn release(&mut self, slot: u32) {
        if !self.slots.contains(slot as usize) {
            return;
        }
        let one = self.slots.remove(slot as usize);
        if let Slot::Probe(probe) = one {
            self.cancel_upgrade(probe.session, slot);
        }
    }
}
