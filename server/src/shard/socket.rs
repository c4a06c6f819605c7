//! The transport WebSocket: from readiness to messages, and from messages to writes.
//!
//! An idle socket has no buffer: what is read goes into the shard's one read buffer, and what cannot be written now goes
//! into the send buffer.

use super::Shard;
use super::message::{Attach, Purpose};
use super::slot::{Session, Slot, Transport, WebSocket, token_of};
use crate::client::Client;
use crate::close_reason::CloseReason;
use crate::connect_info::ConnectInfo;
use crate::connection_id::ConnectionId;
use crate::protocol::{Core as _, Message, OpenProtocol};
use crate::send_buffer::FlushOutcome;
use bytes::Bytes;
use nodevent_protocol::websocket::{self, Opcode, Violation};
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// The state after a read.
enum ReadOutcome {
    /// The socket is empty, or is read no more. Its next readiness event will be reported.
    Done,
    /// The socket may have more, which is not reported again.
    More,
}

// === impl Shard ===

impl Shard {
    /// Takes over a socket whose WebSocket handshake was accepted, and sends the response.
    pub(super) fn attach(&mut self, attach: Attach) {
        let Attach { stream, response, read_ahead, deflate, purpose } = attach;
        match purpose {
            Purpose::Open(protocol, info) => {
                let socket = WebSocket::new(stream, deflate);
                self.open_websocket(socket, response, &read_ahead, protocol, info);
            }
            Purpose::Upgrade(id) => {
                let slot = self.open_probe(Some(id), stream, deflate);
                self.attach_probe(slot, Some(id), response, &read_ahead);
            }
            Purpose::Rejected => {
                let slot = self.open_probe(None, stream, deflate);
                self.attach_probe(slot, None, response, &read_ahead);
            }
        }
    }

    fn open_websocket(
        &mut self,
        socket: WebSocket,
        response: Vec<u8>,
        read_ahead: &Bytes,
        protocol: OpenProtocol,
        info: ConnectInfo,
    ) {
        let slot = self.open_session(Transport::WebSocket(socket), protocol, info);
        if !self.watch(slot) {
            return;
        }
        self.collect_during(slot, |shard| {
            if let Some(reason) = shard.send_control(slot, &response) {
                return shard.close(slot, reason);
            }
            shard.with_protocol(slot, |protocol, core| protocol.opened(core));
            shard.read_first(slot, read_ahead);
        });
    }

    fn attach_probe(&mut self, slot: u32, id: Option<ConnectionId>, response: Vec<u8>, read_ahead: &Bytes) {
        if !self.watch(slot) {
            return;
        }
        if let Some(reason) = self.send_control(slot, &response) {
            return self.fail(slot, reason);
        }
        self.reject_probe_without_session(slot);
        self.read_first(slot, read_ahead);
        if let Some(id) = id {
            // What the client sent at once precedes a poll that came with it.
            self.read(slot, false);
            self.answer_poll(id.slot);
        }
    }

    /// Registers a socket. If that fails, closes its connection and returns `false`.
    fn watch(&mut self, slot: u32) -> bool {
        let Self { poll, slots, .. } = self;
        let socket = slots.get_mut(slot as usize).and_then(Slot::socket);
        let registered = socket.map(|socket| socket.stream.register(poll.registry(), token_of(slot)));
        if let Some(Err(error)) = registered {
            tracing::warn!(%error, "could not register a socket with epoll; closing the connection");
            self.close(slot, CloseReason::ConnectionLost);
            return false;
        }
        true
    }

    /// Sends bytes that belong to the WebSocket layer. Returns why the connection must be closed, if it must.
    pub(super) fn send_control(&mut self, slot: u32, bytes: &[u8]) -> Option<CloseReason> {
        match self.collect_control(slot, bytes) {
            Some(collected) => collected,
            None => self.write(slot, bytes),
        }
    }

    /// Writes bytes to a socket. Returns why the connection must be closed, if it must.
    pub(super) fn write(&mut self, slot: u32, bytes: &[u8]) -> Option<CloseReason> {
        let limit = self.settings.send_buffer;
        let socket = self.slots.get_mut(slot as usize).and_then(Slot::socket)?;
        let sent = socket.send(bytes, || bytes.into(), limit);
        self.after_send(slot, sent)
    }

    /// Sends a small text message before what waits for a WebSocket. `None`: its transport is another one.
    pub(super) fn send_text_first(&mut self, slot: u32, text: &str) -> Option<CloseReason> {
        let mut bytes = Vec::with_capacity(text.len() + 10);
        websocket::encode(&mut bytes, websocket::Opcode::Text, text.as_bytes());
        let socket = self.slots.get_mut(slot as usize).and_then(Slot::socket)?;
        let sent = socket.send_first(&bytes);
        self.after_send(slot, sent)
    }

    /// Reads what arrived together with the handshake.
    fn read_first(&mut self, slot: u32, read_ahead: &Bytes) {
        if !read_ahead.is_empty() {
            let mut bytes = read_ahead.to_vec();
            self.on_bytes(slot, &mut bytes);
        }
        // TLS may have decrypted more than was read ahead, which the kernel does not report.
        let socket = self.slots.get_mut(slot as usize).and_then(Slot::socket);
        if socket.is_some_and(|socket| !socket.stream.short_read_means_drained()) {
            self.read_later(slot);
        }
    }

    /// Reads a socket that the operating system reports: now, or in a later turn.
    pub(super) fn on_readable(&mut self, slot: u32, is_ended: bool, may_read: bool) {
        // A socket that has its turn later must not have one now as well: others would wait for it twice.
        let socket = self.slots.get_mut(slot as usize).and_then(Slot::socket);
        match socket {
            Some(socket) if !socket.is_read_later && may_read => self.read(slot, is_ended),
            Some(socket) if !socket.is_read_later => self.read_later(slot),
            _ => {}
        }
    }

    /// Reads a socket in a later turn.
    pub(super) fn read_later(&mut self, slot: u32) {
        let owner = self.owner_of(slot).unwrap_or(slot);
        let client = Client::of(self.peer(owner));
        if let Some(socket) = self.slots.get_mut(slot as usize).and_then(Slot::socket) {
            socket.is_read_later = true;
            self.read_again.push(client, slot);
        }
    }

    /// Reads sockets that the last turns left, as long as a turn lasts.
    pub(super) fn read_leftovers(&mut self) {
        let mut waiting = self.read_again.len();
        if waiting == 0 {
            return;
        }
        let began = Instant::now();
        while waiting > 0 && began.elapsed() < super::READ_TURN {
            waiting -= 1;
            let Some((_, slot)) = self.read_again.pop() else { return };
            if let Some(socket) = self.slots.get_mut(slot as usize).and_then(Slot::socket) {
                socket.is_read_later = false;
                self.read(slot, true);
            }
        }
    }

    /// Reads what is there. `is_ended`: the other side has ended the stream behind it.
    pub(super) fn read(&mut self, slot: u32, is_ended: bool) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        if matches!(self.read_into(slot, is_ended, &mut buffer), ReadOutcome::More) {
            self.read_later(slot);
        }
        self.read_buffer = buffer;
    }

    /// Reads what a client has sent before its deadline counts: a server that was stopped or busy may not have read it yet.
    pub(super) fn read_overdue(&mut self, slot: u32) {
        let socket = self.slots.get_mut(slot as usize).and_then(Slot::socket);
        let Some(is_read_later) = socket.map(|socket| socket.is_read_later) else { return };
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let outcome = self.read_into(slot, false, &mut buffer);
        self.read_buffer = buffer;
        if matches!(outcome, ReadOutcome::More) && !is_read_later {
            self.read_later(slot);
        }
    }

    /// Reads once, so that other sockets have their turn.
    fn read_into(&mut self, slot: u32, is_ended: bool, buffer: &mut [u8]) -> ReadOutcome {
        let Some(socket) = self.slots.get_mut(slot as usize).and_then(Slot::socket) else {
            return ReadOutcome::Done;
        };
        match socket.stream.read(buffer) {
            Ok(count @ 1..) => {
                // The kernel reports the end of a stream by itself, so a short read need not be confirmed.
                let is_drained = !is_ended && count < buffer.len() && socket.stream.short_read_means_drained();
                self.on_bytes(slot, &mut buffer[..count]);
                if is_drained { ReadOutcome::Done } else { ReadOutcome::More }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => ReadOutcome::More,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ReadOutcome::Done,
            Ok(0) | Err(_) => {
                self.on_peer_closed(slot);
                ReadOutcome::Done
            }
        }
    }

    /// The other side of a socket is gone.
    fn on_peer_closed(&mut self, slot: u32) {
        match self.slots.get(slot as usize) {
            Some(Slot::Session(_)) => self.close(slot, CloseReason::ConnectionLost),
            Some(_) => self.release(slot),
            None => {}
        }
    }

    /// Bytes arrived on a socket.
    fn on_bytes(&mut self, slot: u32, bytes: &mut [u8]) {
        self.collect_during(slot, |shard| shard.decode(slot, bytes));
    }

    /// Handles the messages in what arrived on a socket.
    fn decode(&mut self, slot: u32, bytes: &mut [u8]) {
        let max_message_size = self.settings.max_message_size;
        let Some(owner) = self.owner_of(slot) else { return };
        if !self.count_bytes(owner, bytes.len()) {
            return;
        }
        let Some(one) = self.slots.get_mut(slot as usize) else { return };
        // Where the socket is: a probing one moves to its connection's slot in the middle of what it reads.
        let mut place = (slot, one.generation());
        let Some(socket) = one.socket() else { return };
        let mut decoder = std::mem::take(&mut socket.decoder);
        let result = decoder.feed(bytes, max_message_size, &mut |message| {
            if let Some(moved) = self.on_message(place.0, message) {
                place = moved;
            }
            if self.still_reads(place) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if !self.still_reads(place) {
            return;
        }
        if let Err(violation) = result {
            return self.fail(place.0, CloseReason::Violation(violation));
        }
        if let Some(socket) = self.slots.get_mut(place.0 as usize).and_then(Slot::socket) {
            socket.decoder = decoder;
        }
        self.watch_arriving(place.0);
        if let Some(Slot::Probe(probe)) = self.slots.get(place.0 as usize) {
            // The connection's waiting poll ends now, so that the client can send the last message of the upgrade.
            let session = probe.session;
            self.answer_poll(session);
        }
    }

    /// Has the next scan of the buffers look at a slot if a part of a message has arrived.
    pub(super) fn watch_arriving(&mut self, slot: u32) {
        let Self { buffer_scan, slots, now, .. } = self;
        let Some(one) = slots.get_mut(slot as usize) else { return };
        let generation = one.generation();
        if one.arriving() > 0
            && let Some(is_watched) = one.is_watched()
        {
            buffer_scan.watch(slot, generation, is_watched, *now);
        }
    }

    /// Returns the slot of the connection to which a socket belongs, whose limits apply: its own, or that of the
    /// connection for which it is a probe. `None`: nothing reads from it.
    fn owner_of(&self, slot: u32) -> Option<u32> {
        match self.slots.get(slot as usize)? {
            Slot::Session(_) => Some(slot),
            Slot::Probe(probe) => Some(probe.session),
            Slot::Closing(_) => None,
        }
    }

    /// Counts a message of a connection or of its probe. Returns `false` if there are too many, and closes the
    /// connection.
    fn count_message_of(&mut self, owner: u32) -> bool {
        let (now, limit) = (self.now, self.settings.message_rate());
        let allowed = self.session_mut(owner).is_none_or(|session| session.messages.allows(limit, now));
        if !allowed {
            self.close(owner, CloseReason::PacketRate);
        }
        allowed
    }

    /// Whether the occupant of that slot and generation still reads.
    fn still_reads(&self, (slot, generation): (u32, u32)) -> bool {
        let one = self.slots.get(slot as usize).filter(|one| one.generation() == generation);
        matches!(one, Some(Slot::Session(_) | Slot::Probe(_)))
    }

    /// Closes the occupant of a slot because of what arrived on its socket: a connection, or only a probing WebSocket.
    pub(super) fn fail(&mut self, slot: u32, reason: CloseReason) {
        if let Some(Slot::Probe(_)) = self.slots.get(slot as usize) {
            tracing::info!(reason = reason.name(), detail = reason.detail(), "an upgrade to WebSocket failed");
            self.close_probe(slot, reason.close_frame());
        } else {
            self.close(slot, reason);
        }
    }

    /// A WebSocket message arrived. Returns the place to which the socket has moved, if it has.
    fn on_message(&mut self, slot: u32, message: websocket::Message<'_>) -> Option<(u32, u32)> {
        let message = match message {
            websocket::Message::Text(text) => Message::Text(text),
            websocket::Message::Binary(bytes) => Message::Binary(bytes),
            websocket::Message::Ping(payload) => {
                self.on_ping(slot, payload);
                return None;
            }
            websocket::Message::Deflated { is_text, payload } => return self.on_deflated(slot, is_text, payload),
            websocket::Message::Pong(_) => Message::Pong,
            websocket::Message::Close { code, .. } => {
                self.on_close_frame(slot, code);
                return None;
            }
        };
        if let Some(Slot::Probe(probe)) = self.slots.get(slot as usize) {
            let session = probe.session;
            if !self.count_message_of(session) {
                return None;
            }
            return self.on_probe_message(slot, session, message);
        }
        self.with_protocol(slot, |protocol, core| {
            core.count_message()?;
            protocol.received(message, core)
        });
        None
    }

    /// A compressed message arrived. It counts as what it inflates to. Returns the place to which the socket has moved, if it has.
    fn on_deflated(&mut self, slot: u32, is_text: bool, payload: &[u8]) -> Option<(u32, u32)> {
        let owner = self.owner_of(slot)?;
        let mut inflater = self.inflater.take().unwrap_or_default();
        let inflated = inflater.inflate(payload, self.settings.max_message_size);
        let (length, cost) = inflated.as_ref().map_or((0, 0), |inflated| (inflated.bytes.len(), inflated.cost));
        self.metrics.inflate_input_bytes.fetch_add(payload.len() as u64, Relaxed);
        self.metrics.inflate_output_bytes.fetch_add(length as u64, Relaxed);
        let message = inflated.and_then(|inflated| match is_text {
            true => {
                std::str::from_utf8(inflated.bytes).map(websocket::Message::Text).map_err(|_| Violation::BadText)
            }
            false => Ok(websocket::Message::Binary(inflated.bytes)),
        });
        let moved = match message {
            // The bytes that arrived are counted already.
            Ok(_) if !self.count_bytes(owner, cost.saturating_sub(payload.len())) => None,
            Ok(message) => self.on_message(slot, message),
            Err(violation) => {
                self.fail(slot, CloseReason::Violation(violation));
                None
            }
        };
        self.inflater = Some(inflater);
        moved
    }

    /// Replies to a close frame with one of the same code.
    fn on_close_frame(&mut self, slot: u32, code: Option<u16>) {
        let close_frame = Some((code, ""));
        if let Some(Slot::Probe(_)) = self.slots.get(slot as usize) {
            self.close_probe(slot, close_frame);
        } else {
            self.close_with(slot, CloseReason::ClientClosed, close_frame);
        }
    }

    /// Replies to a ping of the WebSocket layer. It counts as a message.
    fn on_ping(&mut self, slot: u32, payload: &[u8]) {
        let owner = self.owner_of(slot);
        if !owner.is_some_and(|owner| self.count_message_of(owner)) {
            return;
        }
        let mut bytes = Vec::with_capacity(payload.len() + 2);
        websocket::encode(&mut bytes, Opcode::Pong, payload);
        if let Some(reason) = self.send_control(slot, &bytes) {
            self.fail(slot, reason);
        }
    }

    /// Writes what waits for a socket.
    pub(super) fn flush(&mut self, slot: u32) {
        let now = self.now;
        let Some(one) = self.slots.get_mut(slot as usize) else { return };
        let is_closing = matches!(one, Slot::Closing(_));
        let Some(socket) = one.socket() else { return };
        let WebSocket { stream, send_buffer, .. } = socket;
        let flushed = match stream.flush() {
            Ok(true) if send_buffer.is_empty() => Ok(FlushOutcome::Drained),
            Ok(true) => send_buffer.flush(|parts| stream.write_vectored(parts)),
            Ok(false) => Ok(FlushOutcome::Blocked),
            Err(error) => Err(error),
        };
        match flushed {
            Ok(FlushOutcome::Drained) => {
                if is_closing {
                    stream.finish();
                }
                if let Slot::Session(Session { stalled_since, .. }) = one {
                    *stalled_since = None;
                }
            }
            Ok(FlushOutcome::Partial) => {
                if let Slot::Session(session) = one {
                    session.stalled_since = Some(now);
                }
            }
            Ok(FlushOutcome::Blocked) => {}
            Err(_) => {
                let generation = one.generation();
                self.close_later(slot, generation, CloseReason::ConnectionLost);
            }
        }
    }
}
