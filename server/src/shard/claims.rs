//! Connections that present the state of an earlier one: each state is used once.

use super::Shard;
use crate::client::Client;
use crate::connection_state::{ClaimReply, ClaimReplyTo, ClaimRequest, ConnectionStates, State};
use crate::outcome::Outcome;
use nodevent_protocol::publication::PublicationId;
use std::sync::Arc;

/// States that one connection may end by leaving namespaces: each is remembered for its time. After these, the connection
/// has none.
const MAX_ENDED_STATES: u8 = 8;

// === impl Shard ===

impl Shard {
    /// Whether a connection may have a state, after those that it has ended.
    pub(super) fn may_track(&mut self, slot: u32) -> bool {
        self.session_mut(slot).is_some_and(|session| session.ended_states < MAX_ENDED_STATES)
    }

    /// Marks the connection that has a state as restored; see [`crate::protocol::Core::claim`].
    pub(super) fn claim(&mut self, slot: u32, namespace: u16, state: &State) -> Outcome<bool> {
        let (shard, generation) = (self.number, self.session_mut(slot).map_or(0, |session| session.generation));
        let reply_to = ClaimReplyTo { shard, slot, generation, namespace };
        self.request_claim(slot, namespace, Some(reply_to), state.instance)
    }

    /// The client of a connection has left a namespace: its states are not valid any more.
    pub(super) fn end_tracking(&mut self, slot: u32, namespace: u16) {
        let instance = self.session_mut(slot).and_then(|session| {
            let instance = session.tracked.end(namespace)?;
            session.ended_states = session.ended_states.saturating_add(1);
            Some(instance)
        });
        if let Some(instance) = instance {
            // If the engine is unavailable, they remain valid for their time.
            let _ = self.request_claim(slot, namespace, None, instance);
        }
    }

    fn request_claim(
        &mut self,
        slot: u32,
        namespace: u16,
        reply_to: Option<ClaimReplyTo>,
        instance: u64,
    ) -> Outcome<bool> {
        let client = Client::of(self.peer(slot));
        let settings = self.namespaces.get(namespace).connection_state.as_ref();
        let states: Option<&Arc<dyn ConnectionStates>> =
            self.engines.get(namespace).and_then(|engine| engine.states.as_ref());
        match (settings, states) {
            (Some(settings), Some(states)) => {
                states.claim(ClaimRequest { reply_to, client, instance, lifetime: settings.memory() })
            }
            _ => Outcome::Ready(false),
        }
    }

    /// The reply to a claim arrived.
    pub(super) fn on_claim_reply(&mut self, reply: ClaimReply) {
        let ClaimReply { reply_to: ClaimReplyTo { slot, generation, namespace, .. }, is_first } = reply;
        if self.is_open(slot, generation) {
            self.with_protocol(slot, |protocol, core| protocol.claimed(namespace, is_first, core));
        }
    }

    /// The connection has received copies before it was restored.
    pub(super) fn remember(&mut self, slot: u32, namespace: u16, received: &[PublicationId]) {
        let now = self.now;
        let Some(session) = self.session_mut(slot) else { return };
        session.tracked.remember(namespace, received);
        let generation = session.generation;
        for id in received {
            self.received.insert(namespace, *id, generation, now);
        }
    }
}
