//! Rooms and their members on one shard.
//!
//! The hub owns rooms and memberships, in both directions. It does not know connections, only the numbers of their slots.
//! It does not deliver: the shard above it walks the members.

use crate::interest::Interest;
use hashbrown::HashTable;
use nodevent_protocol::history::Position;
use smallvec::SmallVec;
use std::sync::Arc;

/// A connection's slot on its shard.
pub type Slot = u32;
/// A room's id on its shard. It is used again after the room is gone.
pub type RoomId = u32;
/// The number of an encoding in the shard's table. The hub stores it and does not know what it means.
pub type EncodingId = u32;

/// A member of a room. A connection that joined a room with two encodings is two members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// The connection.
    pub slot: Slot,
    /// The encoding in which it receives the room's publications.
    pub encoding: EncodingId,
}

/// A connection's membership: the room and the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The room.
    pub room: RoomId,
    /// The encoding in which the connection receives the room's publications.
    pub encoding: EncodingId,
}

/// The rooms of one shard and their members.
#[derive(Debug)]
pub struct Hub {
    rooms: slab::Slab<Room>,
    /// Room ids by namespace and name.
    names: HashTable<RoomId>,
    /// Where publishers see which rooms have members here.
    interest: Arc<Interest>,
    shard: usize,
    /// Per slot: the connection's memberships. Most connections are in one room, which needs no memory of its own.
    memberships: Vec<SmallVec<[Entry; 1]>>,
}

#[derive(Debug)]
struct Room {
    namespace: u16,
    name: Box<str>,
    members: Vec<Member>,
    /// Up to where all members have received it. `None`: nothing with a position was delivered.
    delivered: Option<Position>,
    /// Up to where the engine has sent it, in order and without a gap. `None`: not known yet.
    sent: Option<Position>,
    /// Whether the engine knows that it has members here. Until then it sends the room only as long as others follow it.
    is_followed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    membership: Membership,
    /// Index in the room's `members`.
    index: u32,
}

/// The result of a join.
#[derive(Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    /// The connection is a new member.
    Joined(RoomId),
    /// The connection was a member already.
    AlreadyMember(RoomId),
    /// The connection is in as many rooms as allowed.
    TooManyRooms,
}

/// The result of a leave.
#[derive(Debug, PartialEq, Eq)]
pub enum LeaveOutcome {
    /// The connection was not a member.
    NotMember,
    /// The connection left. The room has other members.
    Left,
    /// The connection left and the room is empty, so it is gone.
    RoomEmptied(EmptiedRoom),
}

/// A room that has no members here any more.
#[derive(Debug, PartialEq, Eq)]
pub struct EmptiedRoom {
    /// The id it had.
    pub id: RoomId,
    /// Its namespace's id.
    pub namespace: u16,
    /// Its name.
    pub name: Box<str>,
}

// === impl Hub ===

impl Hub {
    /// Returns the rooms of the shard with that number: none yet.
    pub fn new(interest: Arc<Interest>, shard: u8) -> Self {
        let (rooms, names, memberships) = (slab::Slab::new(), HashTable::new(), Vec::new());
        Self { rooms, names, interest, shard: usize::from(shard), memberships }
    }

    /// Makes a connection a member of a room. Joining twice with the same encoding is one membership.
    pub fn join(
        &mut self,
        slot: Slot,
        namespace: u16,
        room: &str,
        encoding: EncodingId,
        max_rooms: usize,
    ) -> JoinOutcome {
        let index = slot as usize;
        if self.memberships.len() <= index {
            self.memberships.resize_with(index + 1, SmallVec::new);
        }
        let hash = self.interest.hash(namespace, room);
        let found = self.find_hashed(hash, namespace, room);
        if let Some(id) = found
            && self.is_member(slot, Membership { room: id, encoding })
        {
            return JoinOutcome::AlreadyMember(id);
        }
        if self.memberships[index].len() >= max_rooms {
            return JoinOutcome::TooManyRooms;
        }
        let id = found.unwrap_or_else(|| self.create(hash, namespace, room));
        let members = &mut self.rooms[id as usize].members;
        let membership = Membership { room: id, encoding };
        self.memberships[index].push(Entry { membership, index: members.len() as u32 });
        members.push(Member { slot, encoding });
        JoinOutcome::Joined(id)
    }

    /// Ends a membership.
    pub fn leave(&mut self, slot: Slot, membership: Membership) -> LeaveOutcome {
        let position = self.entries(slot).iter().position(|entry| entry.membership == membership);
        position.map_or(LeaveOutcome::NotMember, |index| self.end(slot, index))
    }

    /// Changes the encoding of a membership. Returns `false` if there is none, or the connection has the other one too.
    pub fn change_encoding(&mut self, slot: Slot, membership: Membership, encoding: EncodingId) -> bool {
        let changed = Membership { encoding, ..membership };
        if self.is_member(slot, changed) {
            return false;
        }
        let entries = self.memberships.get_mut(slot as usize);
        let entry = entries.and_then(|all| all.iter_mut().find(|entry| entry.membership == membership));
        let Some(entry) = entry else { return false };
        entry.membership = changed;
        self.rooms[membership.room as usize].members[entry.index as usize].encoding = encoding;
        true
    }

    /// Ends all memberships of a connection in `namespace`, or in all namespaces. Calls `ended` for each.
    pub fn leave_all(
        &mut self,
        slot: Slot,
        namespace: Option<u16>,
        mut ended: impl FnMut(Membership, LeaveOutcome),
    ) {
        let Some(mut index) = self.memberships.get(slot as usize).map(SmallVec::len) else { return };
        while index > 0 {
            index -= 1;
            let membership = self.memberships[slot as usize][index].membership;
            if namespace.is_none_or(|one| one == self.rooms[membership.room as usize].namespace) {
                let outcome = self.end(slot, index);
                ended(membership, outcome);
            }
        }
        let entries = &mut self.memberships[slot as usize];
        if entries.is_empty() {
            *entries = SmallVec::new();
        }
    }

    /// Finds a room by its name, if it has members here.
    pub fn find(&self, namespace: u16, room: &str) -> Option<RoomId> {
        self.find_hashed(self.interest.hash(namespace, room), namespace, room)
    }

    /// Finds a room by its name and the hash that [`Interest::hash`] returns for it.
    pub fn find_hashed(&self, hash: u64, namespace: u16, room: &str) -> Option<RoomId> {
        let rooms = &self.rooms;
        self.names
            .find(hash, |&id| {
                let one = &rooms[id as usize];
                one.namespace == namespace && *one.name == *room
            })
            .copied()
    }

    /// The namespace and the name of a room that has members here.
    pub fn name(&self, room: RoomId) -> Option<(u16, &str)> {
        self.rooms.get(room as usize).map(|one| (one.namespace, &*one.name))
    }

    /// The members of a room, in no particular order.
    pub fn members(&self, room: RoomId) -> &[Member] {
        self.rooms.get(room as usize).map_or(&[], |one| &one.members)
    }

    /// Up to where all members of a room have received it, as far as it was delivered here.
    pub fn delivered(&self, room: RoomId) -> Option<Position> {
        self.rooms.get(room as usize)?.delivered
    }

    /// All members of a room have received it up to a position.
    pub fn set_delivered(&mut self, room: RoomId, position: Position) {
        if let Some(room) = self.rooms.get_mut(room as usize) {
            room.delivered = Some(position);
        }
    }

    /// Up to where the engine has sent a room to this shard, which it has replied to follow. What comes next follows it.
    pub fn sent(&self, room: RoomId) -> Option<Position> {
        self.rooms.get(room as usize).filter(|room| room.is_followed)?.sent
    }

    /// The engine has sent a publication of a room. An older one than the last is not from the engine's own script.
    pub fn set_sent(&mut self, room: RoomId, position: Position) {
        if let Some(room) = self.rooms.get_mut(room as usize)
            && room.sent.is_none_or(|sent| sent.epoch != position.epoch || sent.offset < position.offset)
        {
            room.sent = Some(position);
        }
    }

    /// The engine continues a room from a position, whatever it has sent before.
    pub fn continue_from(&mut self, room: RoomId, position: Position) {
        if let Some(room) = self.rooms.get_mut(room as usize) {
            room.sent = Some(position);
        }
    }

    /// The engine has replied to a member that a room is at a position, so it follows the room for this shard.
    ///
    /// What it has sent before for others may be older, and the reply may be older than what it has sent. Unless it is the
    /// first case, the next reply decides.
    pub fn start_at(&mut self, room: RoomId, position: Position) {
        if let Some(room) = self.rooms.get_mut(room as usize)
            && !room.is_followed
            && room.sent.is_none_or(|sent| sent.epoch == position.epoch && sent.offset <= position.offset)
        {
            (room.sent, room.is_followed) = (Some(position), true);
        }
    }

    /// Whether a connection has this membership.
    pub fn is_member(&self, slot: Slot, membership: Membership) -> bool {
        self.memberships_of(slot).any(|one| one == membership)
    }

    /// The memberships of a connection.
    pub fn memberships_of(&self, slot: Slot) -> impl ExactSizeIterator<Item = Membership> + '_ {
        self.entries(slot).iter().map(|entry| entry.membership)
    }

    /// Number of rooms that have members here.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether no room has members here.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    fn entries(&self, slot: Slot) -> &[Entry] {
        self.memberships.get(slot as usize).map_or(&[], SmallVec::as_slice)
    }

    fn create(&mut self, hash: u64, namespace: u16, name: &str) -> RoomId {
        let (members, delivered, sent) = (Vec::new(), None, None);
        let room = Room { namespace, name: name.into(), members, delivered, sent, is_followed: false };
        let id = self.rooms.insert(room) as RoomId;
        let (rooms, interest) = (&self.rooms, &self.interest);
        self.names.insert_unique(hash, id, |&id| {
            let one = &rooms[id as usize];
            interest.hash(one.namespace, &one.name)
        });
        self.interest.add(self.shard, hash);
        id
    }

    /// Ends the membership at `index` of the connection's list.
    fn end(&mut self, slot: Slot, index: usize) -> LeaveOutcome {
        let Entry { membership, index } = self.memberships[slot as usize].swap_remove(index);
        let room = membership.room;
        let members = &mut self.rooms[room as usize].members;
        members.swap_remove(index as usize);
        if let Some(&Member { slot: moved, encoding }) = members.get(index as usize) {
            let moved_membership = Membership { room, encoding };
            let mut entries = self.memberships[moved as usize].iter_mut();
            if let Some(entry) = entries.find(|entry| entry.membership == moved_membership) {
                entry.index = index;
            }
        }
        if !self.rooms[room as usize].members.is_empty() {
            return LeaveOutcome::Left;
        }
        let Room { namespace, name, .. } = self.rooms.remove(room as usize);
        let hash = self.interest.hash(namespace, &name);
        if let Ok(entry) = self.names.find_entry(hash, |&id| id == room) {
            entry.remove();
        }
        self.interest.remove(self.shard, hash);
        LeaveOutcome::RoomEmptied(EmptiedRoom { id: room, namespace, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// The encoding of the tests that need only one.
    const PLAIN: EncodingId = 0;

    fn hub() -> Hub {
        Hub::new(Arc::new(Interest::new(1)), 0)
    }

    fn join(hub: &mut Hub, slot: Slot, namespace: u16, room: &str) -> RoomId {
        match hub.join(slot, namespace, room, PLAIN, 100) {
            JoinOutcome::Joined(room) | JoinOutcome::AlreadyMember(room) => room,
            JoinOutcome::TooManyRooms => panic!("too many rooms"),
        }
    }

    fn slots(hub: &Hub, room: RoomId) -> Vec<Slot> {
        hub.members(room).iter().map(|member| member.slot).collect()
    }

    fn leave(hub: &mut Hub, slot: Slot, room: RoomId) -> LeaveOutcome {
        hub.leave(slot, Membership { room, encoding: PLAIN })
    }

    #[test]
    fn joining_twice_is_one_membership() {
        // N-33
        let mut hub = hub();
        let room = join(&mut hub, 1, 0, "r");
        assert_eq!(hub.join(1, 0, "r", PLAIN, 10), JoinOutcome::AlreadyMember(room));
        assert_eq!(slots(&hub, room), [1]);
    }

    #[test]
    fn room_knows_up_to_where_it_was_sent_for_as_long_as_it_has_members() {
        let at = |offset| Position { epoch: 1, offset };
        let mut hub = hub();
        let room = join(&mut hub, 1, 0, "r");
        assert_eq!(hub.sent(room), None);
        hub.start_at(room, at(3));
        hub.set_sent(room, at(4));
        hub.start_at(room, at(3));
        assert_eq!(hub.sent(room), Some(at(4)), "a reply that is older than what was sent");
        leave(&mut hub, 1, room);
        let room = join(&mut hub, 1, 0, "r");
        assert_eq!(hub.sent(room), None, "the engine may not have followed it meanwhile");
    }

    #[test]
    fn what_is_sent_for_members_elsewhere_says_nothing_about_a_room_that_is_not_followed_here() {
        let at = |epoch, offset| Position { epoch, offset };
        let mut hub = hub();
        let room = join(&mut hub, 1, 0, "r");
        hub.set_sent(room, at(1, 4));
        assert_eq!(hub.sent(room), None, "the engine may stop sending it at any time");
        hub.start_at(room, at(1, 3));
        assert_eq!(hub.sent(room), None, "the reply of a read during which it was sent further");
        hub.start_at(room, at(2, 4));
        assert_eq!(hub.sent(room), None, "one of both is older");
        hub.start_at(room, at(1, 7));
        assert_eq!(hub.sent(room), Some(at(1, 7)), "the engine did not follow it for 5 and 6");
    }

    #[test]
    fn a_forged_older_position_does_not_move_a_room_back_and_a_gap_does() {
        let at = |epoch, offset| Position { epoch, offset };
        let mut hub = hub();
        let room = join(&mut hub, 1, 0, "r");
        hub.start_at(room, at(1, 9));
        hub.set_sent(room, at(1, 2));
        assert_eq!(hub.sent(room), Some(at(1, 9)));
        hub.continue_from(room, at(1, 8));
        assert_eq!(hub.sent(room), Some(at(1, 8)), "9 was not stored");
        hub.set_sent(room, at(2, 1));
        assert_eq!(hub.sent(room), Some(at(2, 1)));
    }

    #[test]
    fn one_connection_can_join_a_room_with_two_encodings() {
        let mut hub = hub();
        let room = join(&mut hub, 1, 0, "r");
        assert_eq!(hub.join(1, 0, "r", 7, 10), JoinOutcome::Joined(room));
        assert_eq!(hub.members(room), [Member { slot: 1, encoding: PLAIN }, Member { slot: 1, encoding: 7 }]);
        assert_eq!(leave(&mut hub, 1, room), LeaveOutcome::Left);
        assert_eq!(hub.members(room), [Member { slot: 1, encoding: 7 }]);
    }

    #[test]
    fn the_encoding_of_one_membership_changes_and_nothing_else() {
        let mut hub = hub();
        let room = join(&mut hub, 1, 0, "r");
        join(&mut hub, 2, 0, "r");
        let (plain, other) = (Membership { room, encoding: PLAIN }, Membership { room, encoding: 7 });
        assert!(hub.change_encoding(1, plain, 7));
        assert!(hub.is_member(1, other) && !hub.is_member(1, plain) && hub.is_member(2, plain));
        assert_eq!(hub.members(room), [Member { slot: 1, encoding: 7 }, Member { slot: 2, encoding: PLAIN }]);
        assert!(!hub.change_encoding(1, plain, 8), "no such membership");
        assert!(!hub.change_encoding(3, plain, 8), "no such connection");
        assert_eq!(hub.join(1, 0, "r", PLAIN, 9), JoinOutcome::Joined(room));
        assert!(!hub.change_encoding(1, plain, 7), "it has both");
        assert_eq!(hub.leave(1, other), LeaveOutcome::Left);
        assert_eq!(hub.members(room).len(), 2);
        assert_eq!(hub.leave(1, plain), LeaveOutcome::Left);
        assert_eq!(hub.members(room), [Member { slot: 2, encoding: PLAIN }]);
    }

    #[test]
    fn a_room_is_gone_when_its_last_member_leaves() {
        let mut hub = hub();
        let room = join(&mut hub, 1, 0, "r");
        join(&mut hub, 2, 0, "r");
        assert_eq!(leave(&mut hub, 1, room), LeaveOutcome::Left);
        assert_eq!(leave(&mut hub, 1, room), LeaveOutcome::NotMember);
        let emptied = EmptiedRoom { id: room, namespace: 0, name: "r".into() };
        assert_eq!(leave(&mut hub, 2, room), LeaveOutcome::RoomEmptied(emptied));
        assert!(hub.is_empty());
        assert_eq!(hub.find(0, "r"), None);
    }

    #[test]
    fn publishers_see_which_rooms_have_members_here() {
        let interest = Arc::new(Interest::new(2));
        let mut hub = Hub::new(Arc::clone(&interest), 1);
        let shards = || interest.shards(interest.hash(0, "r")).collect::<Vec<_>>();
        let room = join(&mut hub, 1, 0, "r");
        join(&mut hub, 2, 0, "r");
        assert_eq!(shards(), [1]);
        leave(&mut hub, 1, room);
        assert_eq!(shards(), [1]);
        hub.leave_all(2, None, |_, _| {});
        assert!(shards().is_empty());
    }

    #[test]
    fn rooms_of_the_same_name_in_two_namespaces_are_two_rooms() {
        // N-30
        let mut hub = hub();
        let room = join(&mut hub, 1, 0, "r");
        join(&mut hub, 2, 1, "r");
        assert_eq!(slots(&hub, room), [1]);
        hub.leave_all(1, Some(1), |_, _| {});
        assert_eq!(slots(&hub, room), [1], "a membership in another namespace is untouched");
    }

    #[test]
    fn a_connection_cannot_exceed_its_room_limit_and_a_room_joined_already_does_not_count() {
        // N-52
        let mut hub = hub();
        hub.join(1, 0, "a", PLAIN, 2);
        hub.join(1, 0, "b", PLAIN, 2);
        assert_eq!(hub.join(1, 0, "c", PLAIN, 2), JoinOutcome::TooManyRooms);
        assert!(matches!(hub.join(1, 0, "a", PLAIN, 2), JoinOutcome::AlreadyMember(_)));
    }

    /// Random joins and leaves against a plain model: both directions must always agree.
    #[test]
    fn both_directions_agree_after_any_churn() {
        // X-05
        let mut hub = hub();
        let mut model: BTreeMap<(u16, u32), BTreeSet<Member>> = BTreeMap::new();
        let mut seed = 0x9e37_79b9_u64;
        let mut next = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..20_000 {
            let (slot, namespace, room) = (next(40) as u32, next(2) as u16, next(15) as u32);
            let (name, encoding) = (format!("room-{room}"), next(2) as u32);
            let member = Member { slot, encoding };
            match next(5) {
                0..=2 => {
                    hub.join(slot, namespace, &name, encoding, 100);
                    model.entry((namespace, room)).or_default().insert(member);
                }
                3 => {
                    if let Some(room) = hub.find(namespace, &name) {
                        hub.leave(slot, Membership { room, encoding });
                    }
                    model.entry((namespace, room)).or_default().remove(&member);
                }
                _ => {
                    hub.leave_all(slot, None, |_, _| {});
                    model.values_mut().for_each(|members| members.retain(|member| member.slot != slot));
                }
            }
        }
        for ((namespace, room), members) in &model {
            let found: BTreeSet<Member> = hub
                .find(*namespace, &format!("room-{room}"))
                .map(|id| hub.members(id).iter().copied().collect())
                .unwrap_or_default();
            assert_eq!(&found, members);
        }
        assert_eq!(hub.len(), model.values().filter(|members| !members.is_empty()).count());
    }
}
