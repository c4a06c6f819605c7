//! The transport WebSocket: from readiness to messages, from packets to writes.
//!
//! An idle socket holds no buffer: what is read goes into the shard's one read buffer, what cannot be written now
//! goes into the outbox.

use super::Shard;
use super::inbox::Attach;
use super::sid::Sid;
use super::slot::{Carrier, NEVER, Probe, Session, Slot, WebSocket};
use crate::close_reason::CloseReason;
use crate::outbox::{Flushed, Sent};
use mio::Token;
use nodevent_protocol::engine_io::Packet;
use nodevent_protocol::engine_io::payload::{self, Part};
use nodevent_protocol::engine_io::session::Probed;
use nodevent_protocol::websocket::{self, Message, Opcode};
use std::io;
use std::ops::ControlFlow;

/// Reads of one socket before the others have their turn.
const READS: usize = 4;

// === impl Shard ===

impl Shard {
    /// Takes over a socket whose WebSocket handshake is done.
    pub(super) fn attach(&mut self, attach: Attach) {
        let Attach { stream, read_ahead, upgrades } = attach;
        let slot = match upgrades {
            None => self.begin(Carrier::WebSocket(WebSocket::new(stream))),
            Some(sid) => match self.begin_probe(sid, stream) {
                Some(slot) => slot,
                None => return,
            },
        };
        let Self { poll, slots, .. } = self;
        let socket = slots.get_mut(slot as usize).and_then(Slot::socket);
        let registered = socket.map(|socket| socket.stream.register(poll.registry(), Token(slot as usize + 1)));
        if let Some(Err(error)) = registered {
            tracing::warn!(%error, "a socket cannot be watched; its connection is closed");
            return self.close(slot, CloseReason::Lost);
        }
        if upgrades.is_none() {
            let open = self.open_packet(slot);
            self.send_text(slot, &open);
        }
        if !read_ahead.is_empty() {
            let mut bytes = read_ahead.to_vec();
            self.received(slot, &mut bytes);
        }
    }

    fn begin_probe(&mut self, sid: Sid, stream: crate::shard::Stream) -> Option<u32> {
        let (now, timing) = (self.now, self.settings.timing);
        let session = self.session_mut(sid.slot).filter(|session| session.sid.is(&sid))?;
        if !session.engine_io.start_upgrade(now, &timing) {
            tracing::info!("a second upgrade of one session was refused");
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        let slot = self.slots.insert(Slot::Probe(Probe {
            socket: WebSocket::new(stream),
            session: sid.slot,
            armed: NEVER,
            generation: self.generation,
        })) as u32;
        if let Some(session) = self.session_mut(sid.slot) {
            session.probe = Some(slot);
        }
        self.arm(sid.slot);
        Some(slot)
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
    fn read(&mut self, slot: u32, ended: bool) {
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
            // Farewell was said; what still comes is of no interest.
            return;
        }
        let owner = match one {
            Slot::Probe(probe) => Some(probe.session),
            _ => None,
        };
        let mut place = (slot, one.generation());
        let Some(socket) = one.socket() else { return };
        let mut decoder = std::mem::take(&mut socket.decoder);
        let result = decoder.feed(bytes, max_payload, &mut |message| {
            self.message(place.0, message);
            match self.place_now(place, owner) {
                Some(now) => {
                    place = now;
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(()),
            }
        });
        let (slot, generation) = place;
        if let Err(violation) = result {
            return match self.slots.get(slot as usize) {
                Some(Slot::Session(_)) => {
                    tracing::info!(%violation, "a WebSocket broke the protocol");
                    self.close(slot, CloseReason::Violation(violation));
                }
                _ => self.release(slot),
            };
        }
        if let Some(one) = self.slots.get_mut(slot as usize)
            && one.generation() == generation
            && let Some(socket) = one.socket()
        {
            socket.decoder = decoder;
        }
    }

    /// Where the socket of a slot and generation is after a message: where it was, or, behind the last packet of an
    /// upgrade, in the place of its `owner`. `None`: nobody wants to hear more of it.
    fn place_now(&self, place: (u32, u32), owner: Option<u32>) -> Option<(u32, u32)> {
        let (slot, generation) = place;
        match self.slots.get(slot as usize) {
            Some(one @ (Slot::Session(_) | Slot::Probe(_))) if one.generation() == generation => {
                return Some(place);
            }
            _ => {}
        }
        let owner = owner.filter(|owner| *owner != slot)?;
        match self.slots.get(owner as usize) {
            Some(Slot::Session(session)) if matches!(session.carrier, Carrier::WebSocket(_)) => {
                Some((owner, session.generation))
            }
            _ => None,
        }
    }

    fn message(&mut self, slot: u32, message: Message<'_>) {
        match message {
            Message::Text(text) => match payload::decode_packet(text) {
                Ok(Part::Text(packet)) => self.carried(slot, packet),
                // Browsers that were told to speak base64 do so here too.
                Ok(Part::Binary(bytes)) => self.carried(slot, Packet::Binary(&bytes)),
                Err(malformed) => {
                    tracing::debug!(%malformed, "a connection is closed");
                    self.close(slot, CloseReason::Malformed);
                }
            },
            Message::Binary(bytes) => self.carried(slot, Packet::Binary(bytes)),
            Message::Ping(payload) => self.pong(slot, payload),
            Message::Pong(_) => {}
            Message::Close { .. } => self.close(slot, CloseReason::Closed),
        }
    }

    /// An Engine.IO packet came on a WebSocket.
    fn carried(&mut self, slot: u32, packet: Packet<'_>) {
        match self.slots.get(slot as usize) {
            Some(Slot::Session(_)) => self.packet(slot, packet),
            Some(Slot::Probe(probe)) => {
                let session = probe.session;
                self.probe_packet(slot, session, &packet);
            }
            _ => {}
        }
    }

    /// Answers a ping of the WebSocket layer.
    fn pong(&mut self, slot: u32, payload: &[u8]) {
        let (limit, now, per_second) = (self.settings.outbox, self.now, self.settings.packets_per_second);
        if let Some(session) = self.session_mut(slot)
            && !session.packets.allows(per_second, now)
        {
            return self.close(slot, CloseReason::PacketRate);
        }
        let mut bytes = Vec::with_capacity(payload.len() + 2);
        websocket::encode(&mut bytes, Opcode::Pong, payload);
        let Some(socket) = self.slots.get_mut(slot as usize).and_then(Slot::socket) else { return };
        let sent = socket.send(&bytes, || bytes.as_slice().into(), limit);
        self.sent(slot, sent);
    }

    /// A packet on a probing WebSocket.
    fn probe_packet(&mut self, slot: u32, session: u32, packet: &Packet<'_>) {
        let Some(owner) = self.session_mut(session) else { return self.release(slot) };
        match owner.engine_io.hear_probe(packet) {
            Ok(Probed::Answer) => {
                self.send_text(slot, "3probe");
                self.answer_poll(session);
            }
            Ok(Probed::Upgraded) => self.upgrade(slot, session),
            Err(wrong) => {
                tracing::info!(%wrong, "an upgrade to WebSocket was ended");
                self.release(slot);
            }
        }
    }

    /// Makes the probing WebSocket its session's transport, and sends what waited for the next poll.
    fn upgrade(&mut self, slot: u32, session: u32) {
        // Its decoder is in use: whoever feeds it puts it back where the socket is then; see `received`.
        let Slot::Probe(Probe { mut socket, .. }) = self.slots.remove(slot as usize) else { return };
        let Self { poll, slots, .. } = self;
        let Some(Slot::Session(owner)) = slots.get_mut(session as usize) else { return };
        let registered = socket.stream.reregister(poll.registry(), Token(session as usize + 1));
        owner.probe = None;
        let old = std::mem::replace(&mut owner.carrier, Carrier::WebSocket(socket));
        if registered.is_err() {
            return self.close(session, CloseReason::Lost);
        }
        if let Carrier::Polling(mut polling) = old {
            if let Some(answer) = polling.poll.take() {
                let _ = answer.send(super::inbox::PollAnswer::Payload(b"6".to_vec()));
            }
            for frame in polling.packets.take() {
                self.send(session, &frame);
            }
        }
        // What came behind the last packet of the upgrade, and is not read yet, is read under the new token.
        self.unread.push_back(session);
        self.arm(session);
    }

    fn flush(&mut self, slot: u32) {
        let now = self.now;
        let Some(one) = self.slots.get_mut(slot as usize) else { return };
        let closing = matches!(one, Slot::Closing(_));
        let Some(socket) = one.socket() else { return };
        let WebSocket { stream, outbox, .. } = socket;
        let flushed = match stream.flush() {
            Ok(true) if outbox.is_empty() => Ok(Flushed::Empty),
            Ok(true) => outbox.flush(|parts| stream.write_vectored(parts)),
            Ok(false) => Ok(Flushed::Nothing),
            Err(error) => Err(error),
        };
        match flushed {
            Ok(Flushed::Empty) => {
                if closing {
                    stream.finish();
                }
                if let Slot::Session(Session { stalled_since, .. }) = one {
                    *stalled_since = None;
                }
            }
            Ok(Flushed::Some) => {
                if let Slot::Session(session) = one {
                    session.stalled_since = Some(now);
                }
            }
            Ok(Flushed::Nothing) => {}
            Err(_) => self.ended(slot),
        }
    }

    /// Does what follows from a send.
    pub(super) fn sent(&mut self, slot: u32, sent: Sent) {
        match sent {
            Sent::Whole => {}
            Sent::Queued => {
                let now = self.now;
                if let Some(session) = self.session_mut(slot)
                    && session.stalled_since.is_none()
                {
                    session.stalled_since = Some(now);
                    self.arm(slot);
                }
            }
            Sent::Full => self.close(slot, CloseReason::OutboxFull),
            Sent::Broken => self.ended(slot),
        }
    }
}
