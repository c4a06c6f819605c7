//! The transport Server-SendOutcome Events: one room, one way, for whoever reads a plain HTTP answer.

use super::Shard;
use super::events::{Events, Told};
use super::inbox::Listen;
use super::sid::Sid;
use super::slot::{NEVER, Session, Transport};
use crate::close_reason::CloseReason;
use crate::dialect::Recovery;
use crate::hub::Joined;
use nodevent_protocol::engine_io::Packet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

// === impl Shard ===

impl Shard {
    /// Begins an answer.
    pub(super) fn listen(&mut self, listen: Listen) {
        let Listen { namespace, room, since, told, waiting, answer } = listen;
        let slot = self.begin(Transport::Events(Events::new(told, waiting)));
        let Some(session) = self.session_mut(slot) else { return };
        session.connect_by = NEVER;
        if answer.send(session.sid).is_err() {
            return self.close(slot, CloseReason::Lost);
        }
        let namespaces = Arc::clone(&self.namespaces);
        let namespace = namespaces.get(namespace);
        let before = self.hub.len();
        let (Joined::New(number) | Joined::Already(number)) = self.hub.join(slot, namespace.number, &room, 1)
        else {
            return self.close(slot, CloseReason::Lost);
        };
        self.metrics.rooms.fetch_add((self.hub.len() - before) as i64, Relaxed);
        self.metrics.joins.fetch_add(1, Relaxed);
        self.recover(slot, namespace, number, &room, since.as_deref(), None);
    }

    /// The reader of an answer is gone.
    pub(super) fn listener_gone(&mut self, sid: Sid) {
        if self.session_mut(sid.slot).is_some_and(|session| session.sid.is(&sid)) {
            self.close(sid.slot, CloseReason::Lost);
        }
    }

    /// Shows a connection that we are here: a ping, which it answers; or a line, on which nothing comes back.
    pub(super) fn beat(&mut self, slot: u32) {
        let (now, timing) = (self.now, self.settings.timing);
        let Some(session) = self.session_mut(slot) else { return };
        let Session { transport: Transport::Events(events), engine_io, .. } = session else {
            return self.send_text(slot, "2");
        };
        let sent = events.tell(Told::Beat);
        // A reader that is gone is noticed by the connection itself.
        let _ = engine_io.on_packet(Packet::Pong(""), now, &timing);
        self.sent(slot, sent);
    }

    /// If the connection is such an answer: what the transport is told in place of the dialect's acknowledgement.
    pub(super) fn tell_joined(&mut self, slot: u32, recovery: Option<Recovery>) -> bool {
        let Some(Session { transport: Transport::Events(events), .. }) = self.session_mut(slot) else {
            return false;
        };
        let recovery = recovery.unwrap_or(Recovery { position: None, recovered: false });
        let sent = events.tell(Told::Joined(recovery));
        self.sent(slot, sent);
        true
    }
}
