//! The transport long-polling: what the requests of a session, which the edge hands in, lead to.

use super::Shard;
use super::inbox::{Opened, PollAnswer, PostAnswer};
use super::sid::Sid;
use super::slot::{Carrier, Polling, Session};
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
        let slot = self.begin(Carrier::Polling(Box::default()));
        let open = self.open_packet(slot);
        if answer.send(Opened(open.into_bytes())).is_err() {
            self.close(slot, CloseReason::Lost);
        }
    }

    /// A GET came.
    pub(super) fn poll_begins(&mut self, sid: Sid, answer: oneshot::Sender<PollAnswer>) {
        let verdict = match self.find(sid) {
            Found::Unknown => PollAnswer::Unknown,
            Found::WrongTransport => PollAnswer::WrongTransport,
            Found::Polling(polling) if polling.poll.is_some() => {
                self.close(sid.slot, CloseReason::Overlap);
                PollAnswer::Overlap
            }
            Found::Polling(polling) => {
                polling.poll = Some(answer);
                return self.answer_poll(sid.slot);
            }
        };
        let _ = answer.send(verdict);
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
                PostAnswer::Refused
            }
            Found::Polling(polling) => {
                polling.posting = true;
                PostAnswer::Ok
            }
        };
        if answer.send(verdict).is_err() && verdict == PostAnswer::Ok {
            self.post_gone(sid);
        }
    }

    /// A POST ended without a usable body.
    pub(super) fn post_gone(&mut self, sid: Sid) {
        if let Found::Polling(polling) = self.find(sid) {
            polling.posting = false;
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
        // A session that ends in the middle of its own packets has said what it wanted.
        let verdict = match std::str::from_utf8(body) {
            Err(_) => PostAnswer::Refused,
            Ok(text) => payload::decode(text)
                .map_while(|part| match part {
                    Ok(_) if self.session_mut(slot).is_none() => None,
                    Ok(Part::Text(packet)) => {
                        self.packet(slot, packet);
                        Some(true)
                    }
                    Ok(Part::Binary(bytes)) => {
                        self.packet(slot, Packet::Binary(&bytes));
                        Some(true)
                    }
                    Err(malformed) => {
                        tracing::debug!(%malformed, "a connection is closed");
                        Some(false)
                    }
                })
                .find(|whole| !whole)
                .map_or(PostAnswer::Ok, |_| PostAnswer::Refused),
        };
        if verdict == PostAnswer::Refused {
            self.close(slot, CloseReason::Malformed);
        }
        let _ = answer.send(verdict);
    }

    /// Lets a waiting GET go, if there is something for it.
    pub(super) fn answer_poll(&mut self, slot: u32) {
        let Some(session) = self.session_mut(slot) else { return };
        let upgrading = session.engine_io.is_upgrading();
        let Session { carrier: Carrier::Polling(polling), .. } = session else { return };
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
            Some(session) if session.sid.is(&sid) => match &mut session.carrier {
                Carrier::Polling(polling) => Found::Polling(polling),
                Carrier::WebSocket(_) | Carrier::Events(_) | Carrier::Gone => Found::WrongTransport,
            },
            _ => Found::Unknown,
        }
    }
}
