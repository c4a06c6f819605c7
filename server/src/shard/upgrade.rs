//! From long-polling to WebSocket: a socket that stands beside its session until it becomes its transport.
//!
//! The edge announces it before the browser hears of it, so that a poll cannot slip in between: while it is on its way,
//! polls are held; what it brings counts before them.

use super::Shard;
use super::inbox::{PollAnswer, UpgradeAnswer};
use super::session::CloseFrame;
use super::sid::Sid;
use super::slot::{NEVER, Probe, Slot, Transport, WebSocket};
use super::stream::Stream;
use crate::close_reason::CloseReason;
use mio::Token;
use nodevent_protocol::engine_io::Packet;
use nodevent_protocol::engine_io::session::Probed;
use tokio::sync::oneshot;

/// The session of a WebSocket that no session waits for.
pub(super) const NOBODY: u32 = u32::MAX;

// === impl Shard ===

impl Shard {
    /// A WebSocket is about to be opened for a session.
    pub(super) fn upgrade_begins(&mut self, sid: Sid, answer: oneshot::Sender<UpgradeAnswer>) {
        let (now, timing) = (self.now, self.settings.timing);
        let session = self.session_mut(sid.slot).filter(|session| session.sid.is(&sid));
        let verdict = match session.map(|session| session.engine_io.start_upgrade(now, &timing)) {
            None => UpgradeAnswer::Unknown,
            Some(true) => UpgradeAnswer::Ok,
            Some(false) => UpgradeAnswer::Superfluous,
        };
        if verdict == UpgradeAnswer::Ok {
            self.arm(sid.slot);
        }
        if answer.send(verdict).is_err() && verdict == UpgradeAnswer::Ok {
            self.upgrade_gone(sid);
        }
    }

    /// That WebSocket will not come: whoever asked for it is gone.
    pub(super) fn upgrade_gone(&mut self, sid: Sid) {
        if let Some(session) = self.session_mut(sid.slot)
            && session.sid.is(&sid)
            && session.awaits_probe()
        {
            session.engine_io.cancel_upgrade();
            self.answer_poll(sid.slot);
        }
    }

    /// A probing WebSocket is gone; its session may try another.
    pub(super) fn upgrade_lost(&mut self, session: u32, probe: u32) {
        if let Some(owner) = self.session_mut(session)
            && owner.probe == Some(probe)
        {
            owner.probe = None;
            owner.engine_io.cancel_upgrade();
        }
    }

    /// Puts a WebSocket into a slot that may become the transport of the session `sid`, if that still waits for it.
    pub(super) fn begin_probe(&mut self, sid: Option<Sid>, stream: Stream) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot = self.slots.insert(Slot::Probe(Probe {
            socket: Some(WebSocket::new(stream)),
            session: NOBODY,
            armed: NEVER,
            generation,
        })) as u32;
        let session = sid.and_then(|sid| {
            let session = self.session_mut(sid.slot)?;
            (session.sid.is(&sid) && session.awaits_probe()).then(|| session.probe = Some(slot))?;
            Some(sid.slot)
        });
        if let (Some(Slot::Probe(probe)), Some(session)) = (self.slots.get_mut(slot as usize), session) {
            probe.session = session;
        }
        slot
    }

    /// A packet on a probing WebSocket. Answers where the socket is after an upgrade.
    pub(super) fn probe_packet(&mut self, slot: u32, session: u32, packet: &Packet<'_>) -> Option<(u32, u32)> {
        match self.session_mut(session)?.engine_io.on_probe_packet(packet) {
            Ok(Probed::Answer) => self.send_text(slot, "3probe"),
            Ok(Probed::Upgraded) => return self.upgrade(slot, session),
            Err(wrong) => {
                tracing::debug!(%wrong, "an upgrade is ended");
                self.fail(slot, CloseReason::Malformed);
            }
        }
        None
    }

    /// Makes the probing WebSocket its session's transport, and sends what waited for the next poll.
    fn upgrade(&mut self, slot: u32, session: u32) -> Option<(u32, u32)> {
        // The frame in hand is the probe's: whoever reads puts the decoder into the session's socket.
        let Slot::Probe(Probe { socket: Some(mut socket), .. }) = self.slots.remove(slot as usize) else {
            return None;
        };
        self.inbox.count_connections(self.slots.len());
        let Self { poll, slots, .. } = self;
        let Some(Slot::Session(owner)) = slots.get_mut(session as usize) else { return None };
        let registered = socket.stream.reregister(poll.registry(), Token(session as usize + 1));
        owner.probe = None;
        let place = (session, owner.generation);
        let old = std::mem::replace(&mut owner.transport, Transport::WebSocket(socket));
        if registered.is_err() {
            self.close(session, CloseReason::Lost);
            return None;
        }
        if let Transport::Polling(mut polling) = old {
            if let Some(answer) = polling.poll.take() {
                let _ = answer.send(match polling.overtakes {
                    true => PollAnswer::WrongTransport,
                    false => PollAnswer::Payload(b"6".to_vec()),
                });
            }
            for frame in polling.packets.take() {
                self.send(session, &frame);
            }
        }
        // What came behind the last packet of the upgrade, and is not read yet, is read under the new token.
        self.unread.push_back(session);
        self.arm(session);
        Some(place)
    }

    /// Ends a probing WebSocket; its session stays as it is.
    pub(super) fn dismiss(&mut self, slot: u32, close_frame: CloseFrame<'_>) {
        let Some(Slot::Probe(probe)) = self.slots.get_mut(slot as usize) else { return };
        let (session, socket) = (probe.session, probe.socket.take());
        self.upgrade_lost(session, slot);
        match socket {
            Some(socket) => self.send_close_frame(slot, socket, close_frame),
            None => self.release(slot),
        }
    }
}
