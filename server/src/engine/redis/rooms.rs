//! The rooms of a namespace that have members on this server, and the two sweeps over all of them, room by room.
//!
//! There may be millions of them, so nothing here takes a time that grows with their number. What concerns all rooms,
//! such as a lost connection, is counted; a room learns of it when it is next used. The subscriber decides how many
//! rooms of a sweep it visits at a time.

use super::room_state::RoomState;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use std::hash::RandomState;
use std::sync::Arc;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    by_name: HashMap<Arc<str>, Room, RandomState>,
    /// All rooms. A sweep visits them from the end to the beginning: where a room is removed, the last one takes its place,
    /// so that a sweep may visit a room twice and misses none of those that it found.
    order: Vec<Arc<str>>,
    losses: Losses,
    /// The sweep of the rooms that may have lost something. The rooms before this index are still to be visited.
    to_recheck: usize,
    /// Whether something was lost again during that sweep.
    recheck_again: bool,
    /// The sweep of the periodic check, which begins again at its end.
    to_check: usize,
}

#[derive(Debug)]
struct Room {
    state: RoomState,
    /// Its index in the order.
    index: usize,
    /// The losses of which its state knows.
    known: Losses,
}

/// How often something was lost for all rooms.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Losses {
    messages: u64,
    subscriptions: u64,
}

// === impl Rooms ===

impl Rooms {
    /// The number of rooms.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The state of a room.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut RoomState> {
        let room = self.by_name.get_mut(name)?;
        room.learn(self.losses);
        Some(&mut room.state)
    }

    /// The state of a room, which is added if there is none.
    pub(super) fn get_or_add(&mut self, name: &str, new: impl FnOnce() -> RoomState) -> &mut RoomState {
        let known = self.losses;
        let room = match self.by_name.entry_ref(name) {
            EntryRef::Occupied(room) => room.into_mut(),
            EntryRef::Vacant(vacant) => {
                let name: Arc<str> = name.into();
                let index = self.order.len();
                self.order.push(Arc::clone(&name));
                vacant.insert_with_key(name, Room { state: new(), index, known })
            }
        };
        room.learn(known);
        &mut room.state
    }

    /// Removes a room.
    pub(super) fn remove(&mut self, name: &str) {
        let Some(Room { index, .. }) = self.by_name.remove(name) else { return };
        self.order.swap_remove(index);
        if let Some(moved) = self.order.get(index).and_then(|moved| self.by_name.get_mut(moved)) {
            moved.index = index;
        }
    }

    /// Any message may have been lost: all rooms are to be rechecked.
    pub(super) fn on_messages_lost(&mut self) {
        self.losses.messages += 1;
        match self.to_recheck {
            0 => self.to_recheck = self.order.len(),
            _ => self.recheck_again = true,
        }
    }

    /// The channels of all rooms may not be subscribed any more.
    pub(super) fn on_subscriptions_lost(&mut self) {
        self.losses.subscriptions += 1;
    }

    /// The next room that may have lost something. `None`: all of them have been visited since the last loss.
    pub(super) fn next_to_recheck(&mut self) -> Option<Arc<str>> {
        let room = previous(&self.order, &mut self.to_recheck);
        if self.to_recheck == 0 && std::mem::take(&mut self.recheck_again) {
            self.to_recheck = self.order.len();
        }
        room
    }

    /// The next room of the periodic check. `None`: there are no rooms.
    pub(super) fn next_to_check(&mut self) -> Option<Arc<str>> {
        if self.to_check == 0 {
            self.to_check = self.order.len();
        }
        previous(&self.order, &mut self.to_check)
    }
}

// === impl Room ===

impl Room {
    /// Marks what was lost since it was last used.
    fn learn(&mut self, losses: Losses) {
        if self.known.subscriptions != losses.subscriptions {
            self.state.mark_unsubscribed();
        }
        if self.known.messages != losses.messages {
            self.state.mark_possibly_stale();
        }
        self.known = losses;
    }
}

/// Moves an index to the one before it, and returns what is there. `None`: it is at the beginning.
fn previous(order: &[Arc<str>], index: &mut usize) -> Option<Arc<str>> {
    *index = (*index).min(order.len());
    *index = index.checked_sub(1)?;
    order.get(*index).map(Arc::clone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodevent_protocol::history::Position;
    use std::collections::HashSet;
    use std::time::{Duration, Instant};

    fn add(rooms: &mut Rooms, name: &str) {
        rooms.get_or_add(name, || RoomState::new(true, true));
    }

    fn with(count: usize) -> Rooms {
        let mut rooms = Rooms::default();
        (0..count).for_each(|number| add(&mut rooms, &number.to_string()));
        rooms
    }

    /// Everything that the sweep visits until its end.
    fn rechecked(rooms: &mut Rooms) -> Vec<Arc<str>> {
        std::iter::from_fn(|| rooms.next_to_recheck()).collect()
    }

    #[test]
    fn sweep_visits_every_room_although_others_come_and_go() {
        for removed_after in 0..40 {
            let mut rooms = with(40);
            rooms.on_messages_lost();
            let mut visited: HashSet<Arc<str>> =
                (0..removed_after).filter_map(|_| rooms.next_to_recheck()).collect();
            let gone: Vec<String> =
                (0..40).filter(|number| number % 3 == removed_after % 3).map(|n| n.to_string()).collect();
            gone.iter().for_each(|room| rooms.remove(room));
            add(&mut rooms, "new");
            visited.extend(rechecked(&mut rooms));
            let missed: Vec<_> =
                rooms.order.iter().filter(|room| !visited.contains(*room) && &***room != "new").collect();
            assert!(missed.is_empty(), "{missed:?} after {removed_after}");
            for (index, room) in rooms.order.iter().enumerate() {
                assert_eq!(rooms.by_name[room].index, index);
            }
            assert_eq!(rooms.len(), rooms.by_name.len());
        }
    }

    #[test]
    fn loss_during_a_sweep_starts_another_one_after_it() {
        let mut rooms = with(10);
        rooms.on_messages_lost();
        (0..4).for_each(|_| assert!(rooms.next_to_recheck().is_some()));
        rooms.on_messages_lost();
        rooms.on_messages_lost();
        assert_eq!(rechecked(&mut rooms).len(), 6 + 10);
        assert_eq!(rechecked(&mut rooms).len(), 0);
    }

    #[test]
    fn room_learns_of_a_loss_when_it_is_used_and_once() {
        let mut rooms = with(2);
        let state = rooms.get_mut("0").unwrap();
        state.start_read().unwrap();
        let read = super::super::room_state::ReadResult {
            position: Position { epoch: 1, offset: 5 },
            born: None,
            jump: None,
            count: 0,
            confirms_newest: None,
        };
        state.on_read_completed(read);
        assert!(!rooms.get_mut("0").unwrap().needs_read());
        rooms.on_messages_lost();
        let request = rooms.get_mut("0").unwrap().start_read().unwrap();
        assert!(!request.subscribe_first);
        rooms.get_mut("0").unwrap().on_read_completed(read);
        assert!(!rooms.get_mut("0").unwrap().needs_read(), "the loss is known");
        rooms.on_subscriptions_lost();
        assert!(rooms.get_mut("0").unwrap().start_read().unwrap().subscribe_first);
        add(&mut rooms, "later");
        assert!(!rooms.get_mut("later").unwrap().start_read().unwrap().subscribe_first);
    }

    #[test]
    fn check_visits_all_rooms_again_and_again() {
        let mut rooms = with(3);
        let names: Vec<_> = (0..7).filter_map(|_| rooms.next_to_check()).collect();
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["2", "1", "0", "2", "1", "0", "2"]);
        (0..3).for_each(|number| rooms.remove(&number.to_string()));
        assert_eq!(rooms.next_to_check(), None);
        rooms.on_messages_lost();
        assert_eq!(rooms.next_to_recheck(), None);
    }

    #[test]
    fn nothing_takes_a_time_that_grows_with_the_number_of_rooms() {
        let mut rooms = with(1_000_000);
        // Generous: each takes a few microseconds.
        let is_short = |what: &str, action: &mut dyn FnMut()| {
            let started = Instant::now();
            action();
            let time = started.elapsed();
            assert!(time < Duration::from_millis(20), "{what} took {time:?}");
        };
        is_short("a loss", &mut || {
            rooms.on_messages_lost();
            rooms.on_subscriptions_lost();
        });
        is_short("256 rooms of a sweep", &mut || {
            for _ in 0..256 {
                let room = rooms.next_to_recheck().unwrap();
                assert!(rooms.get_mut(&room).unwrap().start_read().unwrap().subscribe_first);
            }
        });
        is_short("100 checks", &mut || {
            for _ in 0..100 {
                let room = rooms.next_to_check().unwrap();
                assert!(!rooms.get_mut(&room).unwrap().can_be_dropped() || rooms.len() == 1_000_000);
            }
        });
        is_short("256 rooms that end", &mut || (0..256).for_each(|number| rooms.remove(&number.to_string())));
    }
}
