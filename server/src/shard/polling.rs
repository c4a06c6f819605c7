//! The transport long-polling: what the requests of a session, which the edge hands in, lead to.

use super::Shard;
use super::inbox::{Opened, PollAnswer, PostAnswer};
use super::sid::Sid;
use super::slot::{Polling, Session, Transport};
use crate::close_reason::CloseReason;
use crate::frame::Frame;
use nodevent_protocol::engine_io::Packet;
use nodevent_protocol::engine_io::payload::{self, Part};
use tokio::sync::oneshot;

/// Whether a request's session can be served.
enum Found<'a> {
    Unknown,
    WrongTransport,
    Polling(&'a mut Polling),
}

// === impl Shard ===

impl Shard {
    /// Begins a session on long-polling.
    pub(super) fn open_polling(&mut self, answer: oneshot::Sender<Opened>) {
        let slot = self.begin(Transport::Polling(Box::default()));
        let open = self.open_packet(slot);
        if answer.send(Opened(open.into_bytes())).is_err() {
            self.close(slot, CloseReason::Lost);
        }
    }

    /// A GET came.
    pub(super) fn poll_begins(&mut self, sid: Sid, answer: oneshot::Sender<PollAnswer>) {
        self.catch_up(sid);
        let overtakes = self.session_mut(sid.slot).is_some_and(|session| session.awaits_probe());
        let verdict = match self.find(sid) {
            Found::Unknown => PollAnswer::Unknown,
            Found::WrongTransport => PollAnswer::WrongTransport,
            Found::Polling(polling) if polling.poll.is_some() => {
                self.close(sid.slot, CloseReason::Overlap);
                PollAnswer::Overlap
            }
            Found::Polling(polling) => {
                polling.poll = Some(answer);
                polling.overtakes = overtakes;
                return self.answer_poll(sid.slot);
            }
        };
        let _ = answer.send(verdict);
    }

    /// Whether there is a session of that id.
    pub(super) fn knows(&mut self, sid: Sid) -> bool {
        !matches!(self.find(sid), Found::Unknown)
    }

    /// Does what counts before a GET that comes now: what has come due, and what stood on the wire before it.
    fn catch_up(&mut self, sid: Sid) {
        let now = self.now;
        let Some(session) = self.session_mut(sid.slot).filter(|session| session.sid.is(&sid)) else { return };
        let (probe, overdue) = (session.probe, session.engine_io.deadline() <= now);
        if let Some(probe) = probe {
            self.read(probe, false);
        }
        if overdue {
            self.due(sid.slot);
            self.arm(sid.slot);
        }
    }

    /// The browser gave up its GET: with it the connection is lost.
    pub(super) fn poll_gone(&mut self, sid: Sid) {
        if let Found::Polling(polling) = self.find(sid)
            && polling.poll.as_ref().is_some_and(oneshot::Sender::is_closed)
        {
            self.close(sid.slot, CloseReason::PollAborted);
        }
    }

    /// A POST begins.
    pub(super) fn post_begins(&mut self, sid: Sid, answer: oneshot::Sender<PostAnswer>) {
        let verdict = match self.find(sid) {
            Found::Unknown => PostAnswer::Unknown,
            Found::WrongTransport => PostAnswer::WrongTransport,
            Found::Polling(polling) if polling.posting => {
                self.close(sid.slot, CloseReason::Overlap);
                PostAnswer::Closed(CloseReason::Overlap)
            }
            Found::Polling(polling) => {
                polling.posting = true;
                PostAnswer::Ok
            }
        };
        if answer.send(verdict).is_err() && verdict == PostAnswer::Ok {
            self.post_gone(sid, Some(CloseReason::PostAborted));
        }
    }

    /// A POST ended without a usable body.
    pub(super) fn post_gone(&mut self, sid: Sid, ends: Option<CloseReason>) {
        let Found::Polling(polling) = self.find(sid) else { return };
        polling.posting = false;
        if let Some(reason) = ends {
            self.close(sid.slot, reason);
        }
    }

    /// The body of a POST.
    pub(super) fn post(&mut self, sid: Sid, body: &[u8], answer: oneshot::Sender<PostAnswer>) {
        let slot = sid.slot;
        match self.find(sid) {
            Found::Polling(polling) => polling.posting = false,
            // The upgrade to WebSocket may overtake the last POST; its packets count all the same.
            Found::WrongTransport => {}
            Found::Unknown => {
                let _ = answer.send(PostAnswer::Unknown);
                return;
            }
        }
        let generation = self.slots[slot as usize].generation();
        let is_here =
            |shard: &mut Self| shard.session_mut(slot).is_some_and(|session| session.generation == generation);
        let mut parts = std::str::from_utf8(body).ok().map(payload::decode);
        while is_here(self) {
            match parts.as_mut().map(Iterator::next) {
                Some(None) => break,
                Some(Some(Ok(Part::Text(packet)))) => self.packet(slot, packet),
                Some(Some(Ok(Part::Binary(bytes)))) => self.packet(slot, Packet::Binary(&bytes)),
                Some(Some(Err(_))) | None => self.close(slot, CloseReason::Malformed),
            }
        }
        let verdict = match self.last_closed {
            // A session that said goodbye in its own packets has said what it wanted.
            (closed, Some(reason)) if closed == generation && reason != CloseReason::Closed => {
                PostAnswer::Closed(reason)
            }
            _ => PostAnswer::Ok,
        };
        let _ = answer.send(verdict);
    }

    /// Lets a waiting GET go, if there is something for it.
    pub(super) fn answer_poll(&mut self, slot: u32) {
        let Some(session) = self.session_mut(slot) else { return };
        if session.awaits_probe() {
            // For a moment: that WebSocket may be this session's transport as soon as it is here.
            return;
        }
        let upgrading = session.engine_io.probe_answered();
        let Session { transport: Transport::Polling(polling), .. } = session else { return };
        let Some(waiting) = &polling.poll else { return };
        if waiting.is_closed() {
            // Its end has been reported, or is about to be.
            return;
        }
        if upgrading && polling.packets.is_empty() {
            polling.packets.push(Frame::text("6"));
        }
        if polling.packets.is_empty() {
            return;
        }
        if let Some(poll) = polling.poll.take() {
            let _ = poll.send(PollAnswer::Payload(polling.packets.take_payload()));
        }
    }

    fn find(&mut self, sid: Sid) -> Found<'_> {
        match self.session_mut(sid.slot) {
            Some(session) if session.sid.is(&sid) => match &mut session.transport {
                Transport::Polling(polling) => Found::Polling(polling),
                Transport::WebSocket(_) | Transport::Events(_) | Transport::Closed => Found::WrongTransport,
            },
            _ => Found::Unknown,
        }
    }
}
