//! The transport WebSocket: from readiness to messages, from packets to writes.
//!
//! An idle socket holds no buffer: what is read goes into the shard's one read buffer, what cannot be written now
//! goes into the outbox.

use super::inbox::{Attach, Purpose};
use super::slot::{Probe, Session, Slot, Transport, WebSocket};
use super::upgrade::NOBODY;
use super::{Above, Shard};
use crate::close_reason::CloseReason;
use crate::outbox::{FlushOutcome, SendOutcome};
use mio::Token;
use nodevent_protocol::engine_io::Packet;
use nodevent_protocol::engine_io::payload::{self, Part};
use nodevent_protocol::websocket::{self, Message, Opcode};
use std::io;
use std::ops::ControlFlow;

/// Reads of one socket before the others have their turn.
const READS: usize = 4;

// === impl Shard ===

impl Shard {
    /// Takes over a socket whose WebSocket handshake is granted, and answers it.
    pub(super) fn attach(&mut self, attach: Attach) {
        let Attach { stream, answer, read_ahead, purpose } = attach;
        let slot = match purpose {
            Purpose::Open => self.begin(Transport::WebSocket(WebSocket::new(stream))),
            Purpose::Upgrade(sid) => self.begin_probe(Some(sid), stream),
            Purpose::Superfluous => self.begin_probe(None, stream),
        };
        let Self { poll, slots, .. } = self;
        let socket = slots.get_mut(slot as usize).and_then(Slot::socket);
        let registered = socket.map(|socket| socket.stream.register(poll.registry(), Token(slot as usize + 1)));
        if let Some(Err(error)) = registered {
            tracing::warn!(%error, "a socket cannot be watched; its connection is closed");
            return self.close(slot, CloseReason::Lost);
        }
        match (purpose, self.settings.above) {
            (Purpose::Open, Above::SocketIo) => {
                let open = self.open_packet(slot);
                self.introduce(slot, &answer, Some(&open));
            }
            (Purpose::Open, Above::Echo { pause }) => {
                self.introduce(slot, &answer, None);
                std::thread::sleep(pause);
                let open = self.open_packet(slot);
                self.send_text(slot, &open);
            }
            _ => self.introduce(slot, &answer, None),
        }
        if let Some(Slot::Probe(Probe { session: NOBODY, .. })) = self.slots.get(slot as usize) {
            tracing::info!("an upgrade was refused: the session has one, or has ended");
            self.dismiss(slot, Some((Some(1008), "the session has another transport, or has ended")));
        }
        if !read_ahead.is_empty() {
            let mut bytes = read_ahead.to_vec();
            self.received(slot, &mut bytes);
        }
        // TLS may have decrypted more than was read ahead, which the kernel does not report.
        let is_tls = self.slots.get_mut(slot as usize).and_then(Slot::socket);
        if is_tls.is_some_and(|socket| !socket.stream.tells_by_short_reads()) {
            self.unread.push_back(slot);
        }
        if let Purpose::Upgrade(sid) = purpose {
            // What the browser sent at once counts before a poll that came with it.
            self.read(slot, false);
            self.answer_poll(sid.slot);
        }
    }

    /// The operating system reports a socket.
    pub(super) fn socket_ready(&mut self, slot: u32, readable: bool, ended: bool, writable: bool) {
        if writable {
            self.flush(slot);
        }
        if readable || ended {
            self.read(slot, ended);
        }
    }

    /// Reads on where the last turn stopped for the sake of the others.
    pub(super) fn read_leftovers(&mut self) {
        for _ in 0..self.unread.len() {
            if let Some(slot) = self.unread.pop_front() {
                self.read(slot, true);
            }
        }
    }

    /// Reads what is there; `ended` tells that the other side has ended behind it.
    pub(super) fn read(&mut self, slot: u32, ended: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut more = true;
        for _ in 0..READS {
            let Some(socket) = self.slots.get_mut(slot as usize).and_then(Slot::socket) else {
                more = false;
                break;
            };
            match socket.stream.read(&mut scratch) {
                Ok(0) => {
                    more = false;
                    self.ended(slot);
                    break;
                }
                Ok(count) => {
                    // The kernel reports the end of a stream by itself, so a short read need not be made sure of.
                    more = ended || count == scratch.len() || !socket.stream.tells_by_short_reads();
                    self.received(slot, &mut scratch[..count]);
                    if !more {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    more = false;
                    break;
                }
                Err(_) => {
                    more = false;
                    self.ended(slot);
                    break;
                }
            }
        }
        self.scratch = scratch;
        if more {
            self.unread.push_back(slot);
        }
    }

    /// The other side of a socket is gone.
    fn ended(&mut self, slot: u32) {
        match self.slots.get(slot as usize) {
            Some(Slot::Session(_)) => self.close(slot, CloseReason::Lost),
            Some(_) => self.release(slot),
            None => {}
        }
    }

    /// Bytes came from a socket.
    fn received(&mut self, slot: u32, bytes: &mut [u8]) {
        let max_payload = self.settings.max_payload;
        let Some(one) = self.slots.get_mut(slot as usize) else { return };
        if matches!(one, Slot::Closing(_)) {
            // CloseFrame was said; what still comes is of no interest.
            return;
        }
        // Where the socket is: a probing one moves to its session's slot in the middle of what it reads.
        let mut place = (slot, one.generation());
        let Some(socket) = one.socket() else { return };
        let mut decoder = std::mem::take(&mut socket.decoder);
        let result = decoder.feed(bytes, max_payload, &mut |message| {
            if let Some(moved) = self.message(place.0, message) {
                place = moved;
            }
            if self.is_open(place) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if !self.is_open(place) {
            return;
        }
        if let Err(violation) = result {
            return self.fail(place.0, CloseReason::Violation(violation));
        }
        if let Some(socket) = self.slots.get_mut(place.0 as usize).and_then(Slot::socket) {
            socket.decoder = decoder;
        }
        if let Some(Slot::Probe(probe)) = self.slots.get(place.0 as usize) {
            // The session's waiting poll goes now, so that the browser can send the last packet of the upgrade.
            let session = probe.session;
            self.answer_poll(session);
        }
    }

    /// Whether the connection of that slot and generation still reads.
    fn is_open(&self, (slot, generation): (u32, u32)) -> bool {
        let one = self.slots.get(slot as usize).filter(|one| one.generation() == generation);
        matches!(one, Some(Slot::Session(_) | Slot::Probe(_)))
    }

    /// Ends what is in a slot for what came on its socket: a connection, or only a probing WebSocket.
    pub(super) fn fail(&mut self, slot: u32, reason: CloseReason) {
        if let Some(Slot::Probe(_)) = self.slots.get(slot as usize) {
            tracing::info!(reason = reason.name(), detail = reason.detail(), "an upgrade to WebSocket was ended");
            self.dismiss(slot, reason.close_frame());
        } else {
            self.close(slot, reason);
        }
    }

    /// A WebSocket message. Answers the place to which the socket has moved, if it has.
    fn message(&mut self, slot: u32, message: Message<'_>) -> Option<(u32, u32)> {
        match message {
            Message::Text(text) => match payload::decode_packet(text) {
                Ok(Part::Text(packet)) => return self.carried(slot, packet),
                // Browsers that were told to speak base64 do so here too.
                Ok(Part::Binary(bytes)) => return self.carried(slot, Packet::Binary(&bytes)),
                Err(malformed) => {
                    tracing::debug!(%malformed, "a connection is closed");
                    self.fail(slot, CloseReason::Malformed);
                }
            },
            Message::Binary(bytes) => return self.carried(slot, Packet::Binary(bytes)),
            Message::Ping(payload) => self.pong(slot, Some(payload)),
            Message::Pong(_) => self.pong(slot, None),
            Message::Close { code, .. } => self.closed_by_browser(slot, code),
        }
        None
    }

    /// An Engine.IO packet came on a WebSocket. Answers the place to which the socket has moved, if it has.
    fn carried(&mut self, slot: u32, packet: Packet<'_>) -> Option<(u32, u32)> {
        match self.slots.get(slot as usize) {
            Some(Slot::Session(_)) => {
                self.packet(slot, packet);
                None
            }
            Some(Slot::Probe(probe)) => {
                let session = probe.session;
                self.probe_packet(slot, session, &packet)
            }
            _ => None,
        }
    }

    /// Answers a close frame with one of the same code.
    fn closed_by_browser(&mut self, slot: u32, code: Option<u16>) {
        let close_frame = Some((code, ""));
        if let Some(Slot::Probe(_)) = self.slots.get(slot as usize) {
            self.dismiss(slot, close_frame);
        } else {
            self.close_with(slot, CloseReason::Closed, close_frame);
        }
    }

    /// Answers a ping of the WebSocket layer; a pong of that layer only counts.
    fn pong(&mut self, slot: u32, payload: Option<&[u8]>) {
        let (limit, now, per_second) = (self.settings.outbox, self.now, self.settings.packets_per_second);
        if let Some(session) = self.session_mut(slot)
            && !session.packets.allows(per_second, now)
        {
            return self.close(slot, CloseReason::PacketRate);
        }
        let Some(payload) = payload else { return };
        let mut bytes = Vec::with_capacity(payload.len() + 2);
        websocket::encode(&mut bytes, Opcode::Pong, payload);
        let Some(socket) = self.slots.get_mut(slot as usize).and_then(Slot::socket) else { return };
        let sent = socket.send(&bytes, || bytes.as_slice().into(), limit);
        self.sent(slot, sent);
    }

    fn flush(&mut self, slot: u32) {
        let now = self.now;
        let Some(one) = self.slots.get_mut(slot as usize) else { return };
        let closing = matches!(one, Slot::Closing(_));
        let Some(socket) = one.socket() else { return };
        let WebSocket { stream, outbox, .. } = socket;
        let flushed = match stream.flush() {
            Ok(true) if outbox.is_empty() => Ok(FlushOutcome::Drained),
            Ok(true) => outbox.flush(|parts| stream.write_vectored(parts)),
            Ok(false) => Ok(FlushOutcome::Blocked),
            Err(error) => Err(error),
        };
        match flushed {
            Ok(FlushOutcome::Drained) => {
                if closing {
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
            Err(_) => self.ended(slot),
        }
    }

    /// Does what follows from a send.
    pub(super) fn sent(&mut self, slot: u32, sent: SendOutcome) {
        match sent {
            SendOutcome::Sent => {}
            SendOutcome::Queued => {
                let now = self.now;
                if let Some(session) = self.session_mut(slot)
                    && session.stalled_since.is_none()
                {
                    session.stalled_since = Some(now);
                    self.arm(slot);
                }
            }
            SendOutcome::Overflow => self.close(slot, CloseReason::OutboxFull),
            SendOutcome::Broken => self.ended(slot),
        }
    }
}
