//! Refreshes of Turbo: at most one for each stream and interval, spread over the viewers.
//!
//! A refresh makes a page load again, so all before it are not needed, and one that arrives during the interval waits for
//! its end. Encodings that say so receive nothing at the position of a refresh, and this sends the merged one instead.
//! Until a member has received it, [`Refreshes::held_since`] is its position: what follows is not confirmed for it.
//!
//! A room has one gate, and a membership one refresh that waits, so there are no more of them than memberships. To very many
//! members it is assigned in turns.

use super::Shard;
use super::slot::Slot;
use crate::encoding::Encoding;
use crate::hub::{EncodingId, Member, Membership, RoomId};
use crate::namespace::RefreshSettings;
use crate::protocol::Millis;
use crate::publication::Notice;
use hashbrown::HashMap;
use nodevent_protocol::action_cable::refresh::Refresh;
use nodevent_protocol::history::Position;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The time over which one viewer more spreads a refresh. Milliseconds.
const MILLIS_PER_VIEWER: Millis = 1;
/// Time for refreshes that are due, before others have their turn again.
const TURN: Duration = Duration::from_millis(2);
/// Time to assign refreshes to members, before others have their turn again.
const SPREAD_TURN: Duration = Duration::from_millis(1);
/// Members to which a refresh is assigned before the time is looked at, and other rooms have their turn.
const MEMBERS_PER_TURN: usize = 128;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    gates: HashMap<RoomId, Gate>,
    /// The gates by the time at which they open. Some may be gone since.
    opening: BinaryHeap<Reverse<(Millis, RoomId)>>,
    waiting: HashMap<(u32, RoomId, EncodingId), Waiting>,
    /// The refreshes that wait, by their time. Some may be gone since.
    due: BinaryHeap<Reverse<(Millis, u32, RoomId, EncodingId)>>,
    /// The refreshes that are being assigned to members.
    spreads: HashMap<RoomId, Spread>,
    /// The rooms in `spreads`, in the order of their turns. Some may be gone since.
    turns: VecDeque<RoomId>,
}

/// A refresh that is being assigned to the members of a room.
#[derive(Debug)]
struct Spread {
    merged: Merged,
    window: Millis,
    /// Members below this index have none. It goes from high to low, so that a leave, which swaps with the last, cannot skip a
    /// member.
    remaining: usize,
}

/// The refreshes of one room.
#[derive(Debug)]
struct Gate {
    opens_at: Millis,
    window: Millis,
    interval: Millis,
    held: Option<Merged>,
}

/// Refreshes that are one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Merged {
    refresh: Refresh,
    /// The position of the first one.
    first: Option<Position>,
}

/// A refresh that waits for one membership.
#[derive(Debug)]
struct Waiting {
    at: Millis,
    generation: u32,
    /// Held, so that its number is not used again: it names the stream.
    encoding: Arc<dyn Encoding>,
    merged: Merged,
}

// === impl Merged ===

impl Merged {
    fn add(&mut self, later: &Self) {
        self.refresh.merge(&later.refresh);
        self.first = self.first.or(later.first);
    }
}

// === impl Refreshes ===

impl Refreshes {
    /// When something is due.
    pub(super) fn next(&self) -> Option<Millis> {
        if !self.turns.is_empty() {
            return Some(0);
        }
        let opening = self.opening.peek().map(|Reverse((at, _))| *at);
        opening.into_iter().chain(self.due.peek().map(|Reverse((at, ..))| *at)).min()
    }

    /// The position of the first refresh that a member of a room has not received.
    pub(super) fn held_since(&self, member: Member, room: RoomId) -> Option<Position> {
        let own = self.waiting.get(&(member.slot, room, member.encoding)).and_then(|waiting| waiting.merged.first);
        // What waits for the member is older than what is being assigned, and that is older than what the gate holds.
        own.or_else(|| self.spreads.get(&room)?.merged.first)
            .or_else(|| self.gates.get(&room)?.held.as_ref()?.first)
    }

    /// A room is gone, and its id may be used again.
    pub(super) fn forget(&mut self, room: RoomId) {
        self.gates.remove(&room);
        self.spreads.remove(&room);
    }

    /// A refresh is to be assigned to so many members. Those to which an earlier one was not assigned receive both as one.
    fn spread(&mut self, room: RoomId, new: Merged, window: Millis, members: usize) {
        match self.spreads.get_mut(&room) {
            Some(spread) => {
                spread.merged.add(&new);
                spread.remaining = members;
            }
            None => {
                self.spreads.insert(room, Spread { merged: new, window, remaining: members });
                self.turns.push_back(room);
            }
        }
    }

    /// Accepts a refresh.
    fn accept(&mut self, room: RoomId, new: Merged, settings: RefreshSettings, now: Millis) -> Accepted {
        let RefreshSettings { interval, window } = settings;
        match self.gates.get_mut(&room) {
            Some(gate) if now < gate.opens_at => match &mut gate.held {
                Some(held) => {
                    held.add(&new);
                    Accepted::Merged
                }
                None => {
                    gate.held = Some(new);
                    Accepted::Held
                }
            },
            _ => {
                let opens_at = now + interval;
                self.gates.insert(room, Gate { opens_at, window, interval, held: None });
                self.opening.push(Reverse((opens_at, room)));
                Accepted::Now(new)
            }
        }
    }

    /// Takes the next gate that opens and holds something. Gates that hold nothing are forgotten.
    fn open_next(&mut self, now: Millis) -> Option<(RoomId, Merged, Millis)> {
        while let Some(Reverse((at, room))) = self.opening.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.opening.pop();
            let Some(gate) = self.gates.get_mut(&room).filter(|gate| gate.opens_at == at) else { continue };
            let Some(held) = gate.held.take() else {
                self.gates.remove(&room);
                continue;
            };
            gate.opens_at = now + gate.interval;
            let window = gate.window;
            self.opening.push(Reverse((gate.opens_at, room)));
            return Some((room, held, window));
        }
        None
    }

    /// A refresh waits for a membership. One that waits already is merged with it.
    fn wait(&mut self, member: Member, room: RoomId, new: Waiting) {
        let key = (member.slot, room, member.encoding);
        let waiting = self
            .waiting
            .get_mut(&key)
            .filter(|one| one.generation == new.generation && Arc::ptr_eq(&one.encoding, &new.encoding));
        if let Some(waiting) = waiting {
            return waiting.merged.add(&new.merged);
        }
        self.due.push(Reverse((new.at, member.slot, room, member.encoding)));
        self.waiting.insert(key, new);
    }

    /// Takes the next refresh that is due.
    fn take_due(&mut self, now: Millis) -> Option<(Member, RoomId, Waiting)> {
        while let Some(Reverse((at, slot, room, encoding))) =
            self.due.peek().copied().filter(|Reverse((at, ..))| *at <= now)
        {
            self.due.pop();
            let key = (slot, room, encoding);
            if self.waiting.get(&key).is_some_and(|waiting| waiting.at == at)
                && let Some(waiting) = self.waiting.remove(&key)
            {
                return Some((Member { slot, encoding }, room, waiting));
            }
        }
        None
    }
}

/// What becomes of a refresh.
#[derive(Debug, PartialEq, Eq)]
enum Accepted {
    Now(Merged),
    Held,
    Merged,
}

// === impl Shard ===

impl Shard {
    /// Looks whether a publication is a refresh, which is merged for the members whose encoding says so.
    pub(super) fn accept_refresh(&mut self, namespace: u16, room: RoomId, notice: &Notice) {
        let Some(settings) = self.namespaces.get(namespace).refreshes else { return };
        let Notice::Publication(publication) = notice else { return };
        let Some(refresh) = Refresh::of_publication(&publication.text) else { return };
        let merged = Merged { refresh, first: publication.position };
        match self.refreshes.accept(room, merged, settings, self.now) {
            Accepted::Now(merged) => {
                self.refreshes.spread(room, merged, settings.window, self.hub.members(room).len());
                // One viewer does not wait.
                self.spread_next();
            }
            Accepted::Held => {}
            Accepted::Merged => {
                self.metrics.merged_refreshes.fetch_add(1, Relaxed);
            }
        }
    }

    /// Sends refreshes that are due, as long as a turn lasts.
    pub(super) fn send_refreshes(&mut self) {
        if self.refreshes.next().is_none_or(|at| at > self.now) {
            return;
        }
        let began = Instant::now();
        while let Some((room, merged, window)) = self.refreshes.open_next(self.now) {
            self.refreshes.spread(room, merged, window, self.hub.members(room).len());
        }
        while began.elapsed() < SPREAD_TURN && self.spread_next() {}
        let began = Instant::now();
        while began.elapsed() < TURN
            && let Some((member, room, waiting)) = self.refreshes.take_due(self.now)
        {
            if self.is_open(member.slot, waiting.generation) {
                self.send_refresh(member, room, &waiting);
            }
        }
    }

    /// Assigns a refresh to some members of the room whose turn it is, each at a time of its own. Returns `false` if there is none.
    fn spread_next(&mut self) -> bool {
        let Self { slots, hub, encodings, refreshes, now, .. } = self;
        let Some(room) = refreshes.turns.pop_front() else { return false };
        let Some(Spread { merged, window, remaining }) = refreshes.spreads.remove(&room) else { return true };
        let members = hub.members(room);
        let spread = window.min(MILLIS_PER_VIEWER * members.len() as Millis);
        let until = remaining.min(members.len());
        let from = until.saturating_sub(MEMBERS_PER_TURN);
        for member in members[from..until].iter().rev() {
            let Some(Slot::Session(session)) = slots.get(member.slot as usize) else { continue };
            let Some(encoding) = encodings.get(member.encoding).filter(|one| one.merges_refreshes()) else {
                continue;
            };
            // One viewer does not wait.
            let delay = if spread > MILLIS_PER_VIEWER { rand::random::<Millis>() % spread } else { 0 };
            let (at, generation, encoding) = (*now + delay, session.generation, Arc::clone(encoding));
            refreshes.wait(*member, room, Waiting { at, generation, encoding, merged: merged.clone() });
        }
        if from > 0 {
            refreshes.spreads.insert(room, Spread { merged, window, remaining: from });
            refreshes.turns.push_back(room);
        }
        true
    }

    fn send_refresh(&mut self, member: Member, room: RoomId, waiting: &Waiting) {
        let is_same = |one: &Arc<dyn Encoding>| Arc::ptr_eq(one, &waiting.encoding);
        let membership = Membership { room, encoding: member.encoding };
        let is_member =
            self.encodings.get(member.encoding).is_some_and(is_same) && self.hub.is_member(member.slot, membership);
        if is_member
            && let Some(frame) = waiting.encoding.refresh(&waiting.merged.refresh)
            && let Some(reason) = self.send(member.slot, &[frame])
        {
            self.close(member.slot, reason);
        }
    }

    /// The position up to which a member was sent everything; see [`crate::protocol::Core::sent`].
    pub(super) fn sent_up_to(&self, member: Member, room: RoomId) -> Option<Position> {
        let delivered = self.hub.delivered(room)?;
        let held = self.refreshes.held_since(member, room).filter(|held| held.epoch == delivered.epoch);
        let offset = held.map_or(delivered.offset, |held| delivered.offset.min(held.offset.saturating_sub(1)));
        Some(Position { offset, ..delivered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Frame;
    use nodevent_protocol::topic::Topic;

    const MEMBER: Member = Member { slot: 3, encoding: 4 };

    #[derive(Debug)]
    struct Plain;

    impl Encoding for Plain {
        fn publication(&self, text: &str, _position: Option<Position>) -> Frame {
            Frame::text(text)
        }

        fn gap(&self, _topic: Topic<'_>, _position: Position) -> Frame {
            Frame::nothing()
        }
    }

    const SETTINGS: RefreshSettings = RefreshSettings { interval: 1_000, window: 100 };

    fn merged(offset: u64, request_id: &str) -> Merged {
        let first = Some(Position { epoch: 1, offset });
        Merged { refresh: Refresh { request_id: Some(request_id.into()) }, first }
    }

    #[test]
    fn the_first_one_is_sent_at_once_and_the_others_of_the_interval_are_one_at_its_end() {
        let mut refreshes = Refreshes::default();
        assert_eq!(refreshes.accept(7, merged(1, "a"), SETTINGS, 0), Accepted::Now(merged(1, "a")));
        assert_eq!(refreshes.accept(7, merged(2, "a"), SETTINGS, 10), Accepted::Held);
        for offset in 3..100 {
            assert_eq!(refreshes.accept(7, merged(offset, "b"), SETTINGS, 20), Accepted::Merged);
        }
        assert_eq!(refreshes.held_since(MEMBER, 7), Some(Position { epoch: 1, offset: 2 }));
        assert_eq!((refreshes.next(), refreshes.open_next(999)), (Some(1_000), None));
        let (room, held, window) = refreshes.open_next(1_000).unwrap();
        assert_eq!((room, window, held.refresh.request_id), (7, 100, None));
        // The next interval has begun.
        assert_eq!(refreshes.accept(7, merged(100, "a"), SETTINGS, 1_500), Accepted::Held);
        assert!(refreshes.open_next(2_000).is_some() && refreshes.open_next(3_000).is_none());
        assert!(refreshes.gates.is_empty() && refreshes.next().is_none(), "nothing is left of a quiet stream");
    }

    #[test]
    fn streams_do_not_delay_each_other_and_a_room_that_is_gone_leaves_nothing() {
        let mut refreshes = Refreshes::default();
        for room in [1, 2] {
            assert!(matches!(refreshes.accept(room, merged(1, "a"), SETTINGS, 0), Accepted::Now(_)));
            assert_eq!(refreshes.accept(room, merged(2, "a"), SETTINGS, 0), Accepted::Held);
        }
        refreshes.forget(1);
        assert_eq!(refreshes.held_since(MEMBER, 1), None);
        let (room, ..) = refreshes.open_next(1_000).unwrap();
        assert_eq!((room, refreshes.open_next(1_000)), (2, None));
    }

    #[test]
    fn a_refresh_that_is_being_assigned_is_held_and_a_later_one_is_merged() {
        let mut refreshes = Refreshes::default();
        refreshes.spread(7, merged(1, "a"), 100, 1_000);
        assert_eq!(refreshes.next(), Some(0), "it is due");
        assert_eq!(refreshes.held_since(MEMBER, 7), Some(Position { epoch: 1, offset: 1 }));
        refreshes.spreads.get_mut(&7).unwrap().remaining = 10;
        refreshes.spread(7, merged(5, "b"), 100, 1_001);
        let spread = &refreshes.spreads[&7];
        assert_eq!((spread.remaining, spread.merged.first.unwrap().offset), (1_001, 1));
        assert_eq!((&spread.merged.refresh.request_id, refreshes.turns.len()), (&None, 1));
        refreshes.forget(7);
        assert_eq!(refreshes.held_since(MEMBER, 7), None);
    }

    #[test]
    fn a_viewer_has_one_refresh_that_waits() {
        let (mut refreshes, encoding): (_, Arc<dyn Encoding>) = (Refreshes::default(), Arc::new(Plain));
        let waiting = |offset, at| {
            let encoding = Arc::clone(&encoding);
            Waiting { at, generation: 1, encoding, merged: merged(offset, "a") }
        };
        refreshes.wait(MEMBER, 7, waiting(5, 100));
        refreshes.wait(MEMBER, 7, waiting(6, 50));
        assert_eq!(refreshes.held_since(MEMBER, 7), Some(Position { epoch: 1, offset: 5 }));
        assert_eq!(refreshes.held_since(Member { slot: 4, ..MEMBER }, 7), None);
        assert!(refreshes.take_due(99).is_none());
        let (of, room, taken) = refreshes.take_due(100).unwrap();
        assert_eq!((of, room, taken.merged.first), (MEMBER, 7, Some(Position { epoch: 1, offset: 5 })));
        assert!(refreshes.waiting.is_empty() && refreshes.take_due(1_000).is_none());
    }
}
