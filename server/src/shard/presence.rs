//! Who is present: reports the rooms of connections with an identity to the engine, and asks it for the members of a room.
//!
//! A connection is present from the end of its recovery to the end of its membership, whatever happens to its token
//! meanwhile.

use super::Shard;
use crate::client::Client;
use crate::fair_shares::FairShares;
use crate::history::RequestId;
use crate::hub::{LeaveOutcome, RoomId};
use crate::identity::Identity;
use crate::outcome::Outcome;
use crate::presence::{
    ConnectionRequest, Presence, PresenceError, PresenceReply, PresenceReplyTo, PresenceResult, RoomPresence,
};
use hashbrown::HashMap;
use std::sync::Arc;

/// Requests of a shard that may wait for an engine. Clients share them.
const MAX_REQUESTS: usize = 8_192;

/// The connections that are present, and the requests that wait.
#[derive(Debug)]
pub(super) struct Present {
    /// By slot and room: as whom.
    connections: HashMap<(u32, RoomId), Arc<Identity>>,
    requests: FairShares,
}

impl Default for Present {
    fn default() -> Self {
        Self { connections: HashMap::new(), requests: FairShares::new(MAX_REQUESTS) }
    }
}

// === impl Shard ===

impl Shard {
    /// A connection is in a room, and its recovery is complete.
    pub(super) fn enter_presence(&mut self, slot: u32, room: RoomId) {
        if self.session_mut(slot).is_some_and(|session| session.enters_on_request) {
            return;
        }
        let Some((namespace, name)) = self.hub.name(room) else { return };
        let Some(presence) = self.engines.get(namespace).and_then(|engine| engine.presence.as_ref()) else {
            return;
        };
        let Some(super::slot::Slot::Session(session)) = self.slots.get(slot as usize) else { return };
        let Some(identity) = session.identities.get(namespace).filter(|one| !one.user.is_empty()) else { return };
        if let hashbrown::hash_map::Entry::Vacant(entry) = self.present.connections.entry((slot, room))
            && presence.local().enter(name, identity)
        {
            entry.insert(Arc::clone(identity));
        }
    }

    /// A membership of a connection has ended with this outcome.
    pub(super) fn leave_presence(&mut self, slot: u32, room: RoomId, outcome: &LeaveOutcome) {
        // It may be in the room with another encoding.
        if self.present.connections.is_empty() || self.hub.memberships_of(slot).any(|one| one.room == room) {
            return;
        }
        let named = match outcome {
            LeaveOutcome::RoomEmptied(room) => Some((room.namespace, &*room.name)),
            LeaveOutcome::Left => self.hub.name(room),
            LeaveOutcome::NotMember => None,
        };
        let Some((namespace, name)) = named else { return };
        let Some(identity) = self.present.connections.remove(&(slot, room)) else { return };
        if let Some(presence) = self.engines.get(namespace).and_then(|engine| engine.presence.as_ref()) {
            presence.local().leave(name, &identity.user);
        }
    }

    /// A connection has a new identity: of the same user, or its first one.
    pub(super) fn update_presence(&mut self, slot: u32, namespace: u16) {
        let Some(presence) = self.engines.get(namespace).and_then(|engine| engine.presence.clone()) else { return };
        let rooms: Vec<RoomId> = self.hub.memberships_of(slot).map(|one| one.room).collect();
        if self.session_mut(slot).is_some_and(|session| session.enters_on_request) {
            // It stays present as the one that it was, and with the info that it has sent.
            return;
        }
        for room in rooms {
            if !self.present.connections.contains_key(&(slot, room)) {
                self.enter_presence(slot, room);
                continue;
            }
            let Some((_, name)) = self.hub.name(room).filter(|(of, _)| *of == namespace) else { continue };
            if let Some(super::slot::Slot::Session(session)) = self.slots.get(slot as usize)
                && let Some(identity) = session.identities.get(namespace)
            {
                presence.local().update(name, identity);
            }
        }
    }

    /// Makes a connection present; see [`crate::protocol::Core::enter`].
    pub(super) fn enter_on_request(
        &mut self,
        slot: u32,
        namespace: u16,
        room: &str,
        info: Option<&str>,
    ) -> Result<(), PresenceError> {
        let id = self.hub.find(namespace, room).ok_or(PresenceError::NotMember)?;
        if !self.hub.memberships_of(slot).any(|one| one.room == id) {
            return Err(PresenceError::NotMember);
        }
        let presence = self.engines.get(namespace).and_then(|engine| engine.presence.clone());
        let presence = presence.filter(|one| one.local().settings().includes(room));
        let presence = presence.ok_or(PresenceError::NotEnabled)?;
        let (now, limit) = (self.now, self.settings.join_rate());
        let session = self.session_mut(slot).ok_or(PresenceError::NotMember)?;
        if !session.joins.allows(limit, now) {
            return Err(PresenceError::TooMany);
        }
        let identity = session.identities.valid(namespace, now).filter(|one| !one.user.is_empty());
        let own = Arc::clone(identity.ok_or(PresenceError::NotEnabled)?);
        let mut stated = Identity::clone(&own);
        if let Some(info) = info {
            stated.info = Some(info.into());
        }
        match self.present.connections.entry((slot, id)) {
            hashbrown::hash_map::Entry::Occupied(_) => presence.local().update(room, &stated),
            hashbrown::hash_map::Entry::Vacant(entry) if presence.local().enter(room, &stated) => {
                // Without what it says about itself, which presence keeps as far as it is not too long.
                entry.insert(own);
            }
            hashbrown::hash_map::Entry::Vacant(_) => return Err(PresenceError::TooMany),
        }
        Ok(())
    }

    /// A connection is not present in a room any more; see [`crate::protocol::Core::exit`].
    pub(super) fn exit_on_request(&mut self, slot: u32, namespace: u16, room: &str) {
        let Some(id) = self.hub.find(namespace, room) else { return };
        let Some(identity) = self.present.connections.remove(&(slot, id)) else { return };
        if let Some(presence) = self.engines.get(namespace).and_then(|engine| engine.presence.as_ref()) {
            presence.local().leave(room, &identity.user);
        }
    }

    /// Requests the members of a room; see [`crate::protocol::Core::presence`].
    pub(super) fn request_presence(
        &mut self,
        slot: u32,
        namespace: u16,
        room: &str,
        request: RequestId,
    ) -> Result<Outcome<Arc<RoomPresence>>, PresenceError> {
        let client = Client::of(self.peer(slot));
        let id = self.hub.find(namespace, room).ok_or(PresenceError::NotMember)?;
        if !self.hub.memberships_of(slot).any(|one| one.room == id) {
            return Err(PresenceError::NotMember);
        }
        let engines = Arc::clone(&self.engines);
        let presence = engines.get(namespace).and_then(|engine| engine.presence.as_ref());
        let includes = |one: &&Arc<dyn Presence>| one.local().settings().includes(room);
        let presence = presence.filter(includes).ok_or(PresenceError::NotEnabled)?;
        let (now, limit, shard) = (self.now, self.settings.join_rate(), self.number);
        let session = self.session_mut(slot).ok_or(PresenceError::NotMember)?;
        if !session.joins.allows(limit, now) {
            return Err(PresenceError::TooMany);
        }
        let generation = session.generation;
        self.present.requests.check(client).map_err(|_| PresenceError::TooMany)?;
        let reply_to = ConnectionRequest { shard, slot, generation, namespace, client, request };
        let outcome = presence.list(room, PresenceReplyTo::Connection(reply_to));
        if matches!(outcome, Outcome::Pending) {
            self.present.requests.add(client);
        }
        Ok(outcome)
    }

    /// The members of a room arrived.
    pub(super) fn on_presence_reply(&mut self, reply: PresenceReply) {
        let PresenceReply { reply_to, result } = reply;
        let ConnectionRequest { slot, generation, namespace, client, request, .. } = reply_to;
        self.present.requests.remove(client);
        if self.is_open(slot, generation) {
            self.present_listed(slot, namespace, request, &result);
        }
    }

    fn present_listed(&mut self, slot: u32, namespace: u16, request: RequestId, result: &PresenceResult) {
        self.with_protocol(slot, |protocol, core| {
            protocol.presence_listed(namespace, request, result, core);
            Ok(())
        });
    }
}
