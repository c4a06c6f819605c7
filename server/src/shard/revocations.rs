//! Ends the connections and memberships that a revocation affects.
//!
//! All revocations of one turn are applied together, with one walk over the connections. A client that arrives later is
//! rejected by [`crate::revocation::RevocationList`], which knows a revocation before the shards do.

use super::Shard;
use super::slot::Slot;
use crate::close_reason::CloseReason;
use crate::hub::Membership;
use crate::identity::Identity;
use crate::revocation::{Revocation, Target};
use hashbrown::HashMap;
use std::sync::Arc;

/// Revocations of one namespace.
pub(super) type Revoked = (u16, Arc<[Revocation]>);

/// The times of revocations, by namespace and target.
type Times<'a> = HashMap<(u16, &'a Target), u64>;

// === impl Shard ===

impl Shard {
    /// Applies the revocations that have arrived.
    pub(super) fn apply_revocations(&mut self) {
        if self.revoked.is_empty() {
            return;
        }
        let revoked: Vec<Revoked> = std::mem::take(&mut self.revoked);
        let (mut times, mut has_users) = (Times::new(), false);
        for (namespace, list) in &revoked {
            for one in list.iter() {
                has_users |= one.target.user.is_some();
                let before = times.entry((*namespace, &one.target)).or_default();
                *before = one.before_ms.max(*before);
            }
        }
        if has_users {
            self.revoke_users(&times);
        }
        for ((namespace, target), before_ms) in &times {
            if let (None, Some(room)) = (&target.user, &target.room) {
                self.revoke_room(*namespace, room, *before_ms);
            }
        }
    }

    /// Ends connections of users, and memberships of users in rooms.
    fn revoke_users(&mut self, times: &Times<'_>) {
        let (mut ended, mut left) = (Vec::new(), Vec::new());
        for (slot, one) in &self.slots {
            let Slot::Session(session) = one else { continue };
            for (namespace, identity) in session.identities.all() {
                let before = |target: &Target| times.get(&(namespace, target)).copied().unwrap_or(0);
                if identity.issued_ms < before(&Target::user(&identity.user)) {
                    ended.push((slot as u32, namespace));
                    break;
                }
                let memberships = self.hub.memberships_of(slot as u32);
                for (room, membership) in memberships.filter_map(|one| Some((self.hub.name(one.room)?, one))) {
                    let is_revoked = room.0 == namespace
                        && identity.issued_ms < before(&Target::room(room.1, Some(&identity.user)));
                    if is_revoked {
                        left.push((slot as u32, namespace, Box::<str>::from(room.1), membership));
                    }
                }
            }
        }
        for (slot, namespace, room, membership) in left {
            self.end_revoked(slot, namespace, &room, membership);
        }
        for (slot, namespace) in ended {
            let closed = self.with_protocol(slot, |protocol, core| protocol.revoked(namespace, None, core));
            if closed.is_none() {
                self.close(slot, CloseReason::Revoked);
            }
        }
    }

    /// Ends the memberships of a room, except those of users whose newer token lists it.
    fn revoke_room(&mut self, namespace: u16, room: &str, before_ms: u64) {
        let Some(id) = self.hub.find(namespace, room) else { return };
        let members: Vec<_> = self.hub.members(id).to_vec();
        for member in members {
            let identity = self.session_mut(member.slot).and_then(|session| session.identities.get(namespace));
            let has_newer = |identity: &Arc<Identity>| identity.issued_ms >= before_ms && identity.opens(room);
            if !identity.is_some_and(has_newer) {
                self.end_revoked(member.slot, namespace, room, Membership { room: id, encoding: member.encoding });
            }
        }
    }

    /// Ends a membership, and notifies its connection.
    fn end_revoked(&mut self, slot: u32, namespace: u16, room: &str, membership: Membership) {
        if self.leave(slot, membership) {
            self.with_protocol(slot, |protocol, core| protocol.revoked(namespace, Some(room), core));
        }
    }
}
