//! Connections that present the state of an earlier one: each state is used once.

use super::Shard;
use crate::connection_state::{ClaimReply, ClaimReplyTo, ClaimRequest, ConnectionStates, State};
use crate::outcome::Outcome;
use nodevent_protocol::publication::PublicationId;
use std::sync::Arc;

// === impl Shard ===

impl Shard {
    /// Marks the connection that has a state as restored; see [`crate::protocol::Core::claim`].
    pub(super) fn claim(&mut self, slot: u32, namespace: u16, state: &State) -> Outcome<bool> {
        let (shard, generation) = (self.number, self.session_mut(slot).map_or(0, |session| session.generation));
        let reply_to = ClaimReplyTo { shard, slot, generation, namespace };
        self.request_claim(namespace, Some(reply_to), state.instance)
    }

    /// The client of a connection has left a namespace: its states are not valid any more.
    pub(super) fn end_tracking(&mut self, slot: u32, namespace: u16) {
        let instance = self.session_mut(slot).and_then(|session| session.tracked.end(namespace));
        if let Some(instance) = instance {
            // If the engine is unavailable, they remain valid for their time.
            let _ = self.request_claim(namespace, None, instance);
        }
    }

    fn request_claim(&self, namespace: u16, reply_to: Option<ClaimReplyTo>, instance: u64) -> Outcome<bool> {
        let settings = self.namespaces.get(namespace).connection_state.as_ref();
        let states: Option<&Arc<dyn ConnectionStates>> =
            self.engines.get(namespace).and_then(|engine| engine.states.as_ref());
        match (settings, states) {
            (Some(settings), Some(states)) => {
                states.claim(ClaimRequest { reply_to, instance, lifetime: settings.lifetime() })
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
            self.received.insert(*id, generation, now);
        }
    }
}
