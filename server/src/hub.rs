//! Who is in which room, on one shard.
//!
//! It owns rooms and memberships, in both directions. It does not know connections, only the numbers of their
//! outboxes; it does not deliver. The shard above it walks the members.

use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// The number of a member's outbox on its shard.
pub type Member = u32;
/// The number of a room on its shard. Used again after the room is gone.
pub type RoomId = u32;

/// The rooms of one shard and their members.
#[derive(Debug, Default)]
pub struct Hub {
    rooms: slab::Slab<Room>,
    /// Room numbers by namespace and name.
    names: HashTable<RoomId>,
    hasher: RandomState,
    /// Per member: where it stands in which room.
    memberships: Vec<Vec<Membership>>,
}

#[derive(Debug)]
struct Room {
    namespace: u16,
    name: Box<str>,
    members: Vec<Member>,
}

#[derive(Debug, Clone, Copy)]
struct Membership {
    room: RoomId,
    /// Index in the room's `members`.
    place: u32,
}

/// How a join came out.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    /// A new member.
    New(RoomId),
    /// It was a member already.
    Already(RoomId),
    /// It is in as many rooms as it may be.
    TooMany,
}

/// How a leave came out.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// It was no member.
    NotIn,
    /// It is out; the room has other members.
    Out,
    /// It is out, and the room with it.
    Last(Gone),
}

/// A room that has no members here any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone {
    /// The number it had.
    pub id: RoomId,
    /// Its namespace's number.
    pub namespace: u16,
    /// Its name.
    pub name: Box<str>,
}

// === impl Hub ===

impl Hub {
    /// Makes `member` a member of a room. Joining twice is one membership.
    pub fn join(&mut self, member: Member, namespace: u16, room: &str, most: usize) -> Joined {
        let member_index = member as usize;
        if self.memberships.len() <= member_index {
            self.memberships.resize_with(member_index + 1, Vec::new);
        }
        if let Some(id) = self.find(namespace, room)
            && self.memberships[member_index].iter().any(|one| one.room == id)
        {
            return Joined::Already(id);
        }
        if self.memberships[member_index].len() >= most {
            return Joined::TooMany;
        }
        let id = self.find_or_open(namespace, room);
        let members = &mut self.rooms[id as usize].members;
        self.memberships[member_index].push(Membership { room: id, place: members.len() as u32 });
        members.push(member);
        Joined::New(id)
    }

    /// Ends a membership.
    pub fn leave(&mut self, member: Member, namespace: u16, room: &str) -> Left {
        let Some(id) = self.find(namespace, room) else { return Left::NotIn };
        let Some(index) = self.memberships(member).iter().position(|one| one.room == id) else {
            return Left::NotIn;
        };
        self.end(member, index)
    }

    /// Ends all memberships in `namespace`, or all there are; calls `gone` for each room that is empty now.
    pub fn leave_all(&mut self, member: Member, namespace: Option<u16>, mut gone: impl FnMut(Gone)) {
        let Some(mut index) = self.memberships.get(member as usize).map(Vec::len) else { return };
        while index > 0 {
            index -= 1;
            let room = self.memberships[member as usize][index].room;
            if namespace.is_none_or(|one| one == self.rooms[room as usize].namespace)
                && let Left::Last(room) = self.end(member, index)
            {
                gone(room);
            }
        }
        let memberships = &mut self.memberships[member as usize];
        if memberships.is_empty() {
            *memberships = Vec::new();
        }
    }

    /// The room of that name, if it has members here.
    pub fn find(&self, namespace: u16, room: &str) -> Option<RoomId> {
        let hash = self.hasher.hash_one((namespace, room));
        let rooms = &self.rooms;
        self.names
            .find(hash, |&id| {
                let one = &rooms[id as usize];
                one.namespace == namespace && *one.name == *room
            })
            .copied()
    }

    /// The members of a room, in no order that means anything.
    pub fn members(&self, room: RoomId) -> &[Member] {
        self.rooms.get(room as usize).map_or(&[], |one| &one.members)
    }

    /// The rooms `member` is in.
    pub fn rooms_of(&self, member: Member) -> impl ExactSizeIterator<Item = RoomId> + '_ {
        self.memberships(member).iter().map(|one| one.room)
    }

    /// How many rooms have members here.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether no room has members here.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    fn memberships(&self, member: Member) -> &[Membership] {
        self.memberships.get(member as usize).map_or(&[], Vec::as_slice)
    }

    fn find_or_open(&mut self, namespace: u16, name: &str) -> RoomId {
        if let Some(id) = self.find(namespace, name) {
            return id;
        }
        let id = self.rooms.insert(Room { namespace, name: name.into(), members: Vec::new() }) as RoomId;
        let (rooms, hasher) = (&self.rooms, &self.hasher);
        let hash = |&id: &RoomId| {
            let one = &rooms[id as usize];
            hasher.hash_one((one.namespace, &*one.name))
        };
        self.names.insert_unique(hash(&id), id, hash);
        id
    }

    /// Ends the membership at `index` of `member`'s list.
    fn end(&mut self, member: Member, index: usize) -> Left {
        let Membership { room, place } = self.memberships[member as usize].swap_remove(index);
        let members = &mut self.rooms[room as usize].members;
        members.swap_remove(place as usize);
        if let Some(&moved) = members.get(place as usize)
            && let Some(one) = self.memberships[moved as usize].iter_mut().find(|one| one.room == room)
        {
            one.place = place;
        }
        if !self.rooms[room as usize].members.is_empty() {
            return Left::Out;
        }
        let gone = self.rooms.remove(room as usize);
        let hash = self.hasher.hash_one((gone.namespace, &*gone.name));
        if let Ok(entry) = self.names.find_entry(hash, |&id| id == room) {
            entry.remove();
        }
        Left::Last(Gone { id: room, namespace: gone.namespace, name: gone.name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn joining_twice_is_one_membership() {
        // N-33
        let mut hub = Hub::default();
        let Joined::New(room) = hub.join(1, 0, "r", 10) else { panic!("not new") };
        assert_eq!(hub.join(1, 0, "r", 10), Joined::Already(room));
        assert_eq!(hub.members(room), [1]);
    }

    #[test]
    fn the_last_to_leave_takes_the_room_along() {
        let mut hub = Hub::default();
        let Joined::New(room) = hub.join(1, 0, "r", 10) else { panic!("not new") };
        hub.join(2, 0, "r", 10);
        assert_eq!(hub.leave(1, 0, "r"), Left::Out);
        assert_eq!(hub.leave(1, 0, "r"), Left::NotIn);
        assert_eq!(hub.leave(2, 0, "r"), Left::Last(Gone { id: room, namespace: 0, name: "r".into() }));
        assert!(hub.is_empty());
        assert_eq!(hub.find(0, "r"), None);
    }

    #[test]
    fn a_room_of_the_same_name_in_another_namespace_is_another_room() {
        // N-30
        let mut hub = Hub::default();
        hub.join(1, 0, "r", 10);
        hub.join(2, 1, "r", 10);
        let room = hub.find(0, "r").unwrap();
        assert_eq!(hub.members(room), [1]);
        hub.leave_all(1, Some(1), |_| {});
        assert_eq!(hub.members(room), [1], "a membership elsewhere is untouched");
    }

    #[test]
    fn the_bound_on_rooms_is_kept_and_a_room_joined_already_does_not_count() {
        // N-52
        let mut hub = Hub::default();
        hub.join(1, 0, "a", 2);
        hub.join(1, 0, "b", 2);
        assert_eq!(hub.join(1, 0, "c", 2), Joined::TooMany);
        assert!(matches!(hub.join(1, 0, "a", 2), Joined::Already(_)));
    }

    /// Random joins and leaves against a plain model: both directions must always agree.
    #[test]
    fn both_directions_agree_after_any_churn() {
        // X-05
        let mut hub = Hub::default();
        let mut model: BTreeMap<(u16, u32), BTreeSet<u32>> = BTreeMap::new();
        let mut seed = 0x9e37_79b9_u64;
        let mut next = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..20_000 {
            let (member, namespace, room) = (next(40) as u32, next(2) as u16, next(15) as u32);
            let name = format!("room-{room}");
            match next(5) {
                0..=2 => {
                    hub.join(member, namespace, &name, 100);
                    model.entry((namespace, room)).or_default().insert(member);
                }
                3 => {
                    hub.leave(member, namespace, &name);
                    model.entry((namespace, room)).or_default().remove(&member);
                }
                _ => {
                    hub.leave_all(member, None, |_| {});
                    model.values_mut().for_each(|members| {
                        members.remove(&member);
                    });
                }
            }
        }
        for ((namespace, room), members) in &model {
            let found: BTreeSet<u32> = hub
                .find(*namespace, &format!("room-{room}"))
                .map(|id| hub.members(id).iter().copied().collect())
                .unwrap_or_default();
            assert_eq!(&found, members);
        }
        assert_eq!(hub.len(), model.values().filter(|members| !members.is_empty()).count());
    }
}
