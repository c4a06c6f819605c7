//! Cursors, sessions and whispers of connections of Action Cable: requests to the engine, and its replies.

use super::Shard;
use crate::cable::{Cable, CableQuery, CableReply, CableReplyTo, CableRequest, CableWrite};
use crate::client::Client;
use crate::outcome::Outcome;
use std::sync::Arc;

// === impl Shard ===

impl Shard {
    fn cable(&self, namespace: u16) -> Option<Arc<dyn Cable>> {
        self.engines.get(namespace)?.cable.clone()
    }

    /// Reads a cursor or a session; see [`crate::protocol::Core::read_cable`].
    pub(super) fn read_cable(
        &mut self,
        slot: u32,
        namespace: u16,
        query: CableQuery,
        number: u64,
    ) -> Outcome<Option<Box<str>>> {
        let Some(cable) = self.cable(namespace) else { return Outcome::Ready(None) };
        let client = Client::of(self.peer(slot));
        let (shard, generation) = (self.number, self.session_mut(slot).map_or(0, |session| session.generation));
        let reply_to = CableReplyTo { shard, slot, generation, namespace, number };
        cable.read(CableRequest { reply_to, client, query })
    }

    /// Writes a cursor or a session.
    pub(super) fn write_cable(&mut self, slot: u32, namespace: u16, write: CableWrite) {
        let client = Client::of(self.peer(slot));
        if let Some(cable) = self.cable(namespace) {
            cable.write(client, write);
        }
    }

    /// Sends a publication that is not stored to the members of a room.
    pub(super) fn whisper(&mut self, slot: u32, namespace: u16, room: &str, text: String) {
        let client = Client::of(self.peer(slot));
        if let Some(cable) = self.cable(namespace) {
            cable.whisper(client, room, text);
        }
    }

    /// A reply arrived.
    pub(super) fn on_cable_reply(&mut self, reply: CableReply) {
        let CableReply { reply_to: CableReplyTo { slot, generation, namespace, number, .. }, found } = reply;
        if self.is_open(slot, generation) {
            self.with_protocol(slot, |protocol, core| protocol.cable_read(namespace, number, found, core));
        }
    }
}
