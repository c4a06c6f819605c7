//! When the memberships of one connection expire, in namespaces with `expiry: leave`.
//!
//! A membership lasts as long as the key that opened the room was valid when it arrived, or the last one with which the room
//! was joined again. Times are monotonic. A connection without such memberships uses no heap.

use super::Shard;
use crate::clock::now_ms;
use crate::hub::Membership;
use crate::protocol::{Millis, NEVER};

/// The memberships of one connection that expire.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "8 bytes instead of 24 in a connection that has none")]
pub(super) struct Expiries(Option<Box<Vec<(Membership, Millis)>>>);

// === impl Expiries ===

impl Expiries {
    /// A room was joined, with permission until a time. [`NEVER`]: without a limit. A room that is joined again is left
    /// at the later time.
    pub(super) fn joined(&mut self, membership: Membership, is_new: bool, at: Millis) {
        let known = self.0.iter_mut().flat_map(|all| all.iter_mut()).find(|(one, _)| *one == membership);
        match known {
            Some((_, until)) if at != NEVER => *until = at.max(*until),
            Some(_) => self.left(membership),
            // It was joined with permission that does not expire.
            None if !is_new || at == NEVER => {}
            None => {
                let all = self.0.get_or_insert_default();
                all.reserve_exact(1);
                all.push((membership, at));
            }
        }
    }

    /// A room was left.
    pub(super) fn left(&mut self, membership: Membership) {
        let Some(all) = &mut self.0 else { return };
        all.retain(|(one, _)| *one != membership);
        if all.is_empty() {
            self.0 = None;
        }
    }

    /// A membership has another encoding.
    pub(super) fn changed(&mut self, from: Membership, to: Membership) {
        for (membership, _) in self.0.iter_mut().flat_map(|all| all.iter_mut()) {
            if *membership == from {
                *membership = to;
            }
        }
    }

    /// When the next membership expires.
    pub(super) fn deadline(&self) -> Millis {
        self.0.iter().flat_map(|all| all.iter()).map(|(_, at)| *at).min().unwrap_or(NEVER)
    }

    /// The memberships that have expired.
    fn due(&self, now: Millis) -> Vec<Membership> {
        let all = self.0.iter().flat_map(|all| all.iter());
        all.filter(|(_, at)| *at <= now).map(|(membership, _)| *membership).collect()
    }
}

// === impl Shard ===

impl Shard {
    /// A room was joined with permission until a time, in milliseconds since the Unix epoch. `None`: without a limit.
    pub(super) fn set_expiry(&mut self, slot: u32, membership: Membership, is_new: bool, expires_ms: Option<u64>) {
        let at = expires_ms.map_or(NEVER, |at| self.now.saturating_add(at.saturating_sub(now_ms())));
        if let Some(session) = self.session_mut(slot) {
            session.expiries.joined(membership, is_new, at);
        }
    }

    /// Ends the memberships of a connection that have expired, and notifies it. Returns `false` if the connection was
    /// closed.
    pub(super) fn expire_memberships(&mut self, slot: u32) -> bool {
        let now = self.now;
        let due = self.session_mut(slot).map(|session| session.expiries.due(now)).unwrap_or_default();
        for membership in due {
            let name = self.hub.name(membership.room).map(|(namespace, room)| (namespace, Box::<str>::from(room)));
            if !self.leave(slot, membership) {
                // No membership without its room; the entry must not make the timer fire again.
                if let Some(session) = self.session_mut(slot) {
                    session.expiries.left(membership);
                }
                continue;
            }
            let Some((namespace, room)) = name else { continue };
            let closed =
                self.with_protocol(slot, |protocol, core| protocol.membership_expired(namespace, &room, core));
            if closed.is_some() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(room: u32) -> Membership {
        Membership { room, encoding: 0 }
    }

    #[test]
    fn a_membership_expires_with_the_last_key_of_its_room() {
        let mut expiries = Expiries::default();
        expiries.joined(room(1), true, 100);
        expiries.joined(room(2), true, 200);
        assert_eq!((expiries.deadline(), expiries.due(100)), (100, vec![room(1)]));
        expiries.joined(room(1), false, 300);
        expiries.joined(room(1), false, 150);
        assert_eq!((expiries.deadline(), expiries.due(250)), (200, vec![room(2)]));
        expiries.left(room(2));
        expiries.left(room(1));
        assert_eq!(expiries.deadline(), NEVER);
        assert!(expiries.0.is_none(), "no memory is left");
    }

    #[test]
    fn permission_without_a_limit_is_not_shortened_by_a_key() {
        let mut expiries = Expiries::default();
        expiries.joined(room(1), true, NEVER);
        expiries.joined(room(1), false, 100);
        assert_eq!(expiries.deadline(), NEVER);
        expiries.joined(room(2), true, 100);
        expiries.joined(room(2), false, NEVER);
        assert_eq!(expiries.deadline(), NEVER, "a permission without a limit replaces one that expires");
    }
}
