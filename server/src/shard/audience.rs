//! The topic of all connections of a namespace, as one of the shard's rooms.
//!
//! No connection is a member of it: that would cost each of them memory and time. The shard delivers to all connections
//! whose protocol is in the namespace. Its room has a number that the hub never assigns.

use crate::hub::{EncodingId, Membership, RoomId};

/// The number of the room of the namespace 0. Those of the others are below it, one each. The hub counts from 0.
const FIRST: RoomId = RoomId::MAX;
/// The encoding of a membership in it. The connection's protocol knows the encoding.
const ENCODING: EncodingId = EncodingId::MAX;

/// The room of all connections of a namespace.
pub(super) fn room_of_all(namespace: u16) -> RoomId {
    FIRST - RoomId::from(namespace)
}

/// The namespace of a room of all connections. `None`: it is another room.
pub(super) fn namespace_of_all(room: RoomId) -> Option<u16> {
    u16::try_from(FIRST - room).ok()
}

/// A connection's membership in it.
pub(super) fn membership_in_all(namespace: u16) -> Membership {
    Membership { room: room_of_all(namespace), encoding: ENCODING }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_of_all_connections_are_no_rooms_of_the_hub() {
        for namespace in [0, 1, u16::MAX] {
            assert_eq!(namespace_of_all(room_of_all(namespace)), Some(namespace));
        }
        for room in [0, 1, 1_000_000, RoomId::MAX - RoomId::from(u16::MAX) - 1] {
            assert_eq!(namespace_of_all(room), None);
        }
    }
}
