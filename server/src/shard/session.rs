//! The life of a connection: how it begins, what its messages lead to, what it is sent, how it ends.
//!
//! Below it stand the transports (`socket`, `polling`), above it the dialects.

use super::delivery::lay;
use super::inbox::PollAnswer;
use super::join_buffers::JoinBuffers;
use super::operations::Caller;
use super::pending_acks::PendingAcks;
use super::rate::Rate;
use super::sid::Sid;
use super::slot::{Closing, NEVER, Probe, Session, Slot, Transport, WebSocket};
use super::{Above, Shard};
use crate::close_reason::CloseReason;
use crate::dialect::{Answer, Call};
use crate::frame::Frame;
use crate::hub::Gone;
use crate::outbox::SendOutcome;
use nodevent_protocol::engine_io::handshake::Handshake;
use nodevent_protocol::engine_io::session::{Incoming, Millis};
use nodevent_protocol::engine_io::{self, Packet};
use nodevent_protocol::socket_io::session::Input;
use nodevent_protocol::websocket::Violation;
use nodevent_protocol::{socket_io, websocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What is said in a close frame: a code, or none where the other side gave none, and a reason. `None`: nothing.
pub(super) type CloseFrame<'a> = Option<(Option<u16>, &'a str)>;

/// How long a socket that was told close_frame may take to read it. Milliseconds.
const CLOSE_LINGER: Millis = 2_000;

// === impl Shard ===

impl Shard {
    /// Puts a new session into a slot. The caller sends the open packet, [`Shard::open_packet`].
    pub(super) fn begin(&mut self, transport: Transport) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        let (now, settings) = (self.now, &self.settings);
        let entry = self.slots.vacant_entry();
        let slot = entry.key() as u32;
        entry.insert(Slot::Session(Session {
            sid: Sid::new(self.number, slot),
            engine_io: engine_io::session::Session::new(
                now,
                &settings.timing,
                matches!(transport, Transport::WebSocket(_)),
            ),
            transport,
            socket_io: socket_io::session::Session::default(),
            probe: None,
            delivered: 0,
            join_buffers: JoinBuffers::default(),
            pending_acks: PendingAcks::default(),
            connect_by: if settings.above == Above::SocketIo { now + settings.connect_timeout } else { NEVER },
            leave_at: NEVER,
            stalled_since: None,
            packets: Rate::new(settings.packets_per_second, now),
            joins: Rate::new(settings.joins_per_second, now),
            armed: NEVER,
            generation: self.generation,
        }));
        self.metrics.connections_opened.fetch_add(1, Relaxed);
        self.metrics.connections.fetch_add(1, Relaxed);
        self.inbox.count_connections(self.slots.len());
        self.arm(slot);
        slot
    }

    /// The open packet of a session.
    pub(super) fn open_packet(&self, slot: u32) -> String {
        let Some(Slot::Session(session)) = self.slots.get(slot as usize) else { return String::new() };
        let upgrades: &[&str] = match session.transport {
            Transport::Polling(_) => &["websocket"],
            Transport::WebSocket(_) | Transport::Events(_) | Transport::Closed => &[],
        };
        let handshake = Handshake {
            sid: &session.sid.to_string(),
            upgrades,
            ping_interval_ms: self.settings.timing.ping_interval,
            ping_timeout_ms: self.settings.timing.ping_timeout,
            max_payload: self.settings.max_payload,
        };
        format!("0{}", handshake.to_json())
    }

    pub(super) fn session_mut(&mut self, slot: u32) -> Option<&mut Session> {
        match self.slots.get_mut(slot as usize) {
            Some(Slot::Session(session)) => Some(session),
            _ => None,
        }
    }

    /// An Engine.IO packet came on the session's transport.
    pub(super) fn packet(&mut self, slot: u32, packet: Packet<'_>) {
        let (now, timing, per_second) = (self.now, self.settings.timing, self.settings.packets_per_second);
        let Some(session) = self.session_mut(slot) else { return };
        if !session.packets.allows(per_second, now) {
            return self.close(slot, CloseReason::PacketRate);
        }
        match session.engine_io.on_packet(packet, now, &timing) {
            Ok(Incoming::Nothing) => self.arm(slot),
            Ok(Incoming::Closed) => self.close(slot, CloseReason::Closed),
            Ok(Incoming::Text(text)) => self.text(slot, text),
            Ok(Incoming::Binary(bytes)) => self.binary(slot, bytes),
            Err(wrong) => {
                tracing::debug!(%wrong, "a connection is closed");
                self.close(slot, CloseReason::Malformed);
            }
        }
    }

    fn text(&mut self, slot: u32, text: &str) {
        if matches!(self.settings.above, Above::Echo { .. }) {
            return self.send_text(slot, &format!("4{text}"));
        }
        let namespaces = Arc::clone(&self.namespaces);
        let Some(session) = self.session_mut(slot) else { return };
        let input = session.socket_io.text(text, |name| namespaces.number(name));
        self.input(slot, input);
    }

    fn binary(&mut self, slot: u32, bytes: &[u8]) {
        if matches!(self.settings.above, Above::Echo { .. }) {
            return self.send(slot, &Frame::binary(bytes));
        }
        let (namespaces, limit) = (Arc::clone(&self.namespaces), self.settings.max_payload);
        let Some(session) = self.session_mut(slot) else { return };
        // A message and its attachments together are one message.
        if session.socket_io.held() + bytes.len() > limit {
            return self.close(slot, CloseReason::Violation(Violation::TooBig { limit }));
        }
        let input = session.socket_io.binary(bytes, |name| namespaces.number(name));
        self.input(slot, input);
    }

    fn input(&mut self, slot: u32, input: Result<Option<Input>, socket_io::session::ProtocolError>) {
        match input {
            Ok(None) => {}
            Ok(Some(Input::Connect { namespace, auth })) => self.connect(slot, namespace, auth.as_deref()),
            Ok(Some(Input::ConnectToUnknown { namespace })) => {
                let mut packet = String::from("4");
                socket_io::encode_connect_error(&mut packet, &namespace, "Invalid namespace");
                self.send_text(slot, &packet);
            }
            Ok(Some(Input::Event { namespace, id, args, attachments })) => {
                let namespaces = Arc::clone(&self.namespaces);
                let namespace = namespaces.get(namespace);
                let mut caller = Caller { shard: self, slot, namespace };
                namespace.dialect.event(&mut caller, Call { args, id, attachments });
            }
            Ok(Some(Input::Ack { namespace, id, args, attachments })) => {
                // One that nobody asked for says nothing, as in the reference implementation.
                if self.session_mut(slot).is_some_and(|session| session.pending_acks.end(namespace, id)) {
                    let namespaces = Arc::clone(&self.namespaces);
                    let namespace = namespaces.get(namespace);
                    let mut caller = Caller { shard: self, slot, namespace };
                    namespace.dialect.answered(&mut caller, Answer { id, args, attachments });
                }
            }
            Ok(Some(Input::Disconnect { namespace })) => {
                if let Some(session) = self.session_mut(slot) {
                    session.pending_acks.forget(namespace);
                }
                self.leave_rooms(slot, Some(namespace));
            }
            Err(wrong) => {
                tracing::debug!(%wrong, "a connection is closed");
                self.close(slot, CloseReason::Malformed);
            }
        }
    }

    fn connect(&mut self, slot: u32, number: u16, auth: Option<&str>) {
        let namespaces = Arc::clone(&self.namespaces);
        let namespace = namespaces.get(number);
        let mut packet = String::from("4");
        if let Err(refusal) = namespace.dialect.admit(&namespace.admission, auth) {
            socket_io::encode_connect_error(&mut packet, &namespace.name, &refusal);
            return self.send_text(slot, &packet);
        }
        let Some(session) = self.session_mut(slot) else { return };
        session.socket_io.admitted(number);
        session.connect_by = NEVER;
        socket_io::encode_connect(&mut packet, &namespace.name, &Sid::new(0, 0).to_string()[8..]);
        self.send_text(slot, &packet);
        let mut caller = Caller { shard: self, slot, namespace };
        namespace.dialect.welcome(&mut caller, auth);
    }

    pub(super) fn leave_rooms(&mut self, slot: u32, namespace: Option<u16>) {
        let mut gone = Vec::new();
        self.hub.leave_all(slot, namespace, |room| gone.push(room));
        for room in gone {
            self.room_gone(&room);
        }
        // A hold of a room that was left would wait for nothing.
        let rooms: Vec<_> = self.hub.rooms_of(slot).collect();
        if let Some(session) = self.session_mut(slot) {
            session.join_buffers.retain(|room| rooms.contains(&room));
        }
    }

    /// A room has no members here any more.
    pub(super) fn room_gone(&mut self, room: &Gone) {
        self.delivery.forget(room.id);
        self.metrics.rooms.fetch_sub(1, Relaxed);
        if let Some(keeper) = self.keeper.get() {
            keeper.rest(self.number, room.namespace, &room.name);
        }
    }

    /// Tells a connection how long to stay away before it comes back.
    pub(super) fn say_drain(&mut self, slot: u32) {
        let Some(session) = self.session_mut(slot) else { return };
        let connected = session.socket_io.connected().to_vec();
        // Half a second up to one and a half, so that those who leave together do not return together.
        let wait = 500 + u64::from(rand::random::<u16>()) % 1000;
        for number in connected {
            let mut packet = String::from("4");
            let namespaces = Arc::clone(&self.namespaces);
            let args = format!("[\"drain\",{{\"wait\":{wait}}}]");
            socket_io::encode_event(&mut packet, &namespaces.get(number).name, None, &args);
            self.send_text(slot, &packet);
        }
    }

    /// Sends a small packet to one connection.
    pub(super) fn send_text(&mut self, slot: u32, packet: &str) {
        match self.slots.get(slot as usize) {
            Some(Slot::Session(Session { transport: Transport::Polling(_), .. })) => {
                self.send(slot, &Frame::text(packet))
            }
            Some(Slot::Session(_) | Slot::Probe(_)) => self.introduce(slot, &[], Some(packet)),
            _ => {}
        }
    }

    /// Sends the answer to a WebSocket handshake, and a first packet with it.
    pub(super) fn introduce(&mut self, slot: u32, answer: &[u8], packet: Option<&str>) {
        let limit = self.settings.outbox;
        if let Some(
            Slot::Session(Session { transport: Transport::WebSocket(socket), .. })
            | Slot::Probe(Probe { socket: Some(socket), .. }),
        ) = self.slots.get_mut(slot as usize)
        {
            let mut out = std::mem::take(&mut self.out);
            out.clear();
            out.extend_from_slice(answer);
            if let Some(packet) = packet {
                websocket::encode(&mut out, websocket::Opcode::Text, packet.as_bytes());
            }
            let sent = socket.send(&out, || out.as_slice().into(), limit);
            self.out = out;
            self.sent(slot, sent);
        }
    }

    /// Sends a packet to one connection.
    pub(super) fn send(&mut self, slot: u32, frame: &Frame) {
        self.send_all(slot, std::slice::from_ref(frame));
    }

    /// Sends packets to one connection, in one write.
    pub(super) fn send_all(&mut self, slot: u32, frames: &[Frame]) {
        let limit = self.settings.outbox;
        let Some(laid) = lay(frames.iter()) else { return };
        let Some(session) = self.session_mut(slot) else { return };
        let sent = session.put(frames.iter(), &laid, limit);
        self.answer_poll(slot);
        // A poll that waited may just have taken what was too much. On the other transports something was dropped.
        if sent != SendOutcome::Overflow || self.waiting(slot) > limit || !self.is_polling(slot) {
            self.sent(slot, sent);
        }
    }

    /// How much waits for a connection. Bytes.
    pub(super) fn waiting(&mut self, slot: u32) -> usize {
        self.session_mut(slot).map_or(0, |session| session.waiting())
    }

    fn is_polling(&mut self, slot: u32) -> bool {
        self.session_mut(slot).is_some_and(|session| matches!(session.transport, Transport::Polling(_)))
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason) {
        self.close_with(slot, reason, reason.close_frame());
    }

    /// Ends a connection with these words.
    pub(super) fn close_with(&mut self, slot: u32, reason: CloseReason, close_frame: CloseFrame<'_>) {
        let Some(one) = self.slots.get_mut(slot as usize) else { return };
        if !matches!(one, Slot::Session(_)) {
            return self.release(slot);
        }
        self.leave_rooms(slot, None);
        let Some(Slot::Session(session)) = self.slots.get_mut(slot as usize) else { return };
        self.last_closed = (session.generation, Some(reason));
        let probe = session.probe.take();
        match std::mem::replace(&mut session.transport, Transport::Closed) {
            Transport::WebSocket(socket) => self.send_close_frame(slot, socket, close_frame),
            Transport::Events(_) | Transport::Closed => self.release(slot),
            Transport::Polling(mut polling) => {
                // A poll that waits is let go: with a noop if the browser said goodbye, else with a close packet.
                if let Some(poll) = polling.poll.take() {
                    polling.packets.push(Frame::text(if reason == CloseReason::Closed { "6" } else { "1" }));
                    let _ = poll.send(PollAnswer::Payload(polling.packets.take_payload()));
                }
                self.release(slot);
            }
        }
        if let Some(probe) = probe {
            self.dismiss(probe, Some((Some(1001), "the session has ended")));
        }
        self.metrics.closed(reason);
        if reason.is_remarkable() {
            tracing::info!(reason = reason.name(), detail = reason.detail(), "a connection was closed");
        } else {
            tracing::debug!(reason = reason.name(), "a connection ended");
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
            SendOutcome::Queued | SendOutcome::Overflow => {}
        }
        self.generation = self.generation.wrapping_add(1);
        let (until, generation) = (self.now + CLOSE_LINGER, self.generation);
        self.slots[slot as usize] = Slot::Closing(Closing { socket, until, armed: NEVER, generation });
        self.arm(slot);
    }

    /// Gives a slot free, and with it its socket.
    pub(super) fn release(&mut self, slot: u32) {
        if !self.slots.contains(slot as usize) {
            return;
        }
        let one = self.slots.remove(slot as usize);
        if let Slot::Probe(probe) = one {
            self.upgrade_lost(probe.session, slot);
        }
        self.inbox.count_connections(self.slots.len());
    }
}
