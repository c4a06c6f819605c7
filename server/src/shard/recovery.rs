//! From a join to what was missed: replay, hold and merge.
//!
//! A member is in its room before the keeper is asked, so every publication is either in the answer or comes live, or
//! both. Until the answer is there, what comes live is held back. Then goes out, in this order: what was missed, the
//! acknowledgement, what was held and is newer than the answer. What still comes live and is not newer, because it
//! was on its way when the keeper answered, is sifted out. So nothing is missing, twice, or out of order.

use super::Shard;
use super::keeper::{RecoveryOutcome, RecoveryReply, RecoveryRequest, ReplyTo, Since};
use super::operations::Caller;
use crate::close_reason::CloseReason;
use crate::dialect::Recovery;
use crate::frame::Frame;
use crate::hub::RoomId;
use crate::namespace::Namespace;
use nodevent_protocol::history::Position;
use std::sync::Arc;

/// Questions of one shard whose answers may be awaited at a time; beyond, a join closes its connection.
const ASKED: usize = 65_536;

// === impl Shard ===

impl Shard {
    /// Asks what a new member of `room` has missed, and completes the join now or when the answer comes.
    pub(super) fn recover(
        &mut self,
        slot: u32,
        namespace: &Namespace,
        number: RoomId,
        room: &str,
        since: Option<&str>,
        id: Option<u64>,
    ) {
        let shard = self.number;
        self.generation = self.generation.wrapping_add(1);
        let join_id = self.generation;
        let Some(session) = self.session_mut(slot) else { return };
        let reply_to = ReplyTo { shard, slot, generation: session.generation, join_id, id };
        let since = match since.map(Position::parse) {
            None => Since::FirstJoin,
            Some(Some(position)) => Since::Position(position),
            Some(None) => Since::Invalid,
        };
        let ask = RecoveryRequest { reply_to, namespace: namespace.number, room: room.into(), since };
        if self.asked >= ASKED {
            tracing::error!(
                "too many joins wait for their room's history; the connection is closed, and may come back"
            );
            return self.close(slot, CloseReason::EngineBusy);
        }
        let asked = self.keeper.get().map_or(RecoveryOutcome::NoHistory, |keeper| keeper.ask(ask));
        match asked {
            RecoveryOutcome::NoHistory => return self.joined(slot, namespace, id, None),
            RecoveryOutcome::Overloaded => return self.close(slot, CloseReason::EngineBusy),
            RecoveryOutcome::Pending => self.asked += 1,
            RecoveryOutcome::Ready(_) => {}
        }
        if let Some(session) = self.session_mut(slot) {
            session.join_buffers.start_buffering(number, join_id);
        }
        if let RecoveryOutcome::Ready(answer) = asked {
            self.answered(answer);
        }
    }

    /// Completes the join of one that was a member already and does not say what it has heard.
    pub(super) fn joined_already(&mut self, slot: u32, namespace: &Namespace, room: &str, id: Option<u64>) {
        let kept = self.keeps(namespace, room);
        self.joined(slot, namespace, id, kept.then_some(Recovery { position: None, recovered: true }));
    }

    /// Whether the room has a history.
    fn keeps(&self, namespace: &Namespace, room: &str) -> bool {
        self.keeper.get().is_some_and(|keeper| keeper.keeps(namespace.number, room))
    }

    /// Tells a connection that its join is complete.
    fn joined(&mut self, slot: u32, namespace: &Namespace, id: Option<u64>, recovery: Option<Recovery>) {
        if !self.tell_joined(slot, recovery) {
            let mut caller = Caller { shard: self, slot, namespace };
            namespace.dialect.joined(&mut caller, id, recovery);
        }
    }

    /// The keeper has answered what waited for it.
    pub(super) fn answered_later(&mut self, answer: RecoveryReply) {
        self.asked -= 1;
        self.answered(answer);
    }

    fn answered(&mut self, answer: RecoveryReply) {
        let RecoveryReply { reply_to, namespace, room, position, mut recovered, mut missed } = answer;
        let (slot, limit) = (reply_to.slot, self.settings.outbox);
        let member = |shard: &mut Self| {
            let session = shard.session_mut(slot).filter(|session| session.generation == reply_to.generation);
            session.is_some()
        };
        if !member(self) {
            return;
        }
        let Some(number) =
            self.hub.find(namespace, &room).filter(|id| self.hub.rooms_of(slot).any(|one| one == *id))
        else {
            return;
        };
        if !self.session_mut(slot).is_some_and(|session| session.join_buffers.is_pending(number, reply_to.join_id))
        {
            // The room was left, and joined anew, before this answer came: that join has an answer of its own.
            let namespaces = Arc::clone(&self.namespaces);
            let recovery = Recovery { position: None, recovered: true };
            return self.joined(slot, namespaces.get(namespace), reply_to.id, Some(recovery));
        }
        // What would not fit is not sent in part: the browser is told, and may ask the application.
        let bytes: usize = missed.iter().map(|frame| frame.websocket().len()).sum();
        if bytes > limit.saturating_sub(self.waiting(slot)) {
            missed.clear();
            recovered = false;
        }
        self.send_all(slot, &missed);
        if !member(self) {
            return;
        }
        let namespaces = Arc::clone(&self.namespaces);
        let namespace = namespaces.get(namespace);
        let kept = position.is_some() || self.keeps(namespace, &room);
        self.joined(slot, namespace, reply_to.id, kept.then_some(Recovery { position, recovered }));
        let Some(session) = self.session_mut(slot) else { return };
        let held: Vec<Frame> = session
            .join_buffers
            .stop_buffering(number, reply_to.join_id, position)
            .into_iter()
            .map(|item| item.frame)
            .collect();
        self.send_all(slot, &held);
    }
}
