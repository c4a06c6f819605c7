//! What is held back for a connection that is about to be told what it has missed: pure decisions, no I/O.
//!
//! `recovery` says when something is held and let go; `delivery` asks about every emission.

use crate::frame::Frame;
use crate::hub::RoomId;
use nodevent_protocol::history::Position;

/// An emission in its room's queue.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its number on this shard.
    pub(super) number: u64,
    /// Its place in the room's history, where it has one.
    pub(super) position: Option<Position>,
    pub(super) frame: Frame,
}

/// The rooms of one connection whose live emissions are not simply put before it.
#[derive(Debug, Default)]
pub(super) struct Holds(Vec<Hold>);

#[derive(Debug)]
struct Hold {
    room: RoomId,
    /// The joins whose answers are awaited. While there are any, what comes live is held.
    awaited: Vec<u32>,
    held: Vec<Item>,
    bytes: usize,
    /// What is not newer than this has been heard already.
    floor: Option<Position>,
}

/// What becomes of a live emission.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Put it before the member.
    Deliver,
    /// It is held, and what is held together takes that many bytes.
    Held(usize),
    /// The member has it already.
    Known,
}

// === impl Holds ===

impl Holds {
    /// Whether every emission goes straight through.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Judges a live emission of `room`.
    pub(super) fn judge(&mut self, room: RoomId, item: &Item) -> Verdict {
        let Some(index) = self.0.iter().position(|hold| hold.room == room) else { return Verdict::Deliver };
        let hold = &mut self.0[index];
        if !hold.awaited.is_empty() {
            hold.bytes += item.frame.websocket().len();
            hold.held.push(item.clone());
            return Verdict::Held(hold.bytes);
        }
        match (item.position, hold.floor) {
            (Some(position), Some(floor)) if is_known(position, floor) => Verdict::Known,
            // Without a position it is not in the history, so the history tells nothing about it.
            (None, _) => Verdict::Deliver,
            _ => {
                self.0.swap_remove(index);
                self.tidy();
                Verdict::Deliver
            }
        }
    }

    /// Forgets the rooms that `keep` refuses.
    pub(super) fn retain(&mut self, keep: impl Fn(RoomId) -> bool) {
        self.0.retain(|hold| keep(hold.room));
        self.tidy();
    }

    /// An answer for `room` is awaited.
    pub(super) fn begin(&mut self, room: RoomId, ticket: u32) {
        match self.0.iter_mut().find(|hold| hold.room == room) {
            Some(hold) => hold.awaited.push(ticket),
            None => self.0.push(Hold { room, awaited: vec![ticket], held: Vec::new(), bytes: 0, floor: None }),
        }
    }

    /// Whether the answer to that join is still awaited: it is not, if the room was left meanwhile.
    pub(super) fn awaits(&self, room: RoomId, ticket: u32) -> bool {
        self.0.iter().any(|hold| hold.room == room && hold.awaited.contains(&ticket))
    }

    /// An answer is there; the last one hands out what is newer than it, and leaves the floor behind.
    pub(super) fn answered(&mut self, room: RoomId, ticket: u32, position: Option<Position>) -> Vec<Item> {
        let Some(hold) = self.0.iter_mut().find(|hold| hold.room == room) else {
            return Vec::new();
        };
        hold.awaited.retain(|one| *one != ticket);
        hold.floor = position.or(hold.floor);
        if !hold.awaited.is_empty() {
            return Vec::new();
        }
        hold.bytes = 0;
        let (held, floor) = (std::mem::take(&mut hold.held), hold.floor);
        let is_new = |item: &Item| match (item.position, floor) {
            (Some(position), Some(floor)) => !is_known(position, floor),
            _ => true,
        };
        if floor.is_none() {
            self.retain(|one| one != room);
        }
        held.into_iter().filter(is_new).collect()
    }

    /// Gives back the heap of an empty list: an idle connection holds none.
    fn tidy(&mut self) {
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }
}

/// Whether `position` is not newer than `floor`. Of another epoch it is newer: epochs come one after the other.
fn is_known(position: Position, floor: Position) -> bool {
    position.epoch == floor.epoch && position.offset <= floor.offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(offset: u64) -> Item {
        Item { number: offset, position: Some(Position { epoch: 7, offset }), frame: Frame::text("4x") }
    }

    fn at(offset: u64) -> Option<Position> {
        Some(Position { epoch: 7, offset })
    }

    #[test]
    fn what_comes_while_the_answer_is_awaited_is_held_and_merged() {
        let mut holds = Holds::default();
        holds.begin(1, 1);
        assert!(matches!(holds.judge(1, &item(5)), Verdict::Held(_)));
        assert!(matches!(holds.judge(1, &item(6)), Verdict::Held(_)));
        assert_eq!(holds.judge(2, &item(1)), Verdict::Deliver, "another room is not concerned");
        let merged: Vec<u64> = holds.answered(1, 1, at(5)).iter().map(|item| item.number).collect();
        assert_eq!(merged, [6]);
    }

    #[test]
    fn what_was_on_its_way_when_the_answer_was_given_is_sifted_out() {
        let mut holds = Holds::default();
        holds.begin(1, 1);
        assert!(holds.answered(1, 1, at(5)).is_empty());
        assert_eq!(holds.judge(1, &item(4)), Verdict::Known);
        assert_eq!(holds.judge(1, &item(5)), Verdict::Known);
        let plain = Item { position: None, ..item(0) };
        assert_eq!(holds.judge(1, &plain), Verdict::Deliver, "what has no position is not in the history");
        assert_eq!(holds.judge(1, &item(6)), Verdict::Deliver);
        assert!(holds.is_empty(), "from here on nothing needs sifting");
    }

    #[test]
    fn an_emission_of_a_newer_epoch_is_newer_whatever_its_offset() {
        let mut holds = Holds::default();
        holds.begin(1, 1);
        holds.answered(1, 1, at(50));
        let newer = Item { position: Some(Position { epoch: 8, offset: 1 }), ..item(0) };
        assert_eq!(holds.judge(1, &newer), Verdict::Deliver);
    }

    #[test]
    fn with_two_joins_of_one_room_under_way_everything_waits_for_the_second_answer() {
        let mut holds = Holds::default();
        holds.begin(1, 1);
        holds.begin(1, 2);
        assert!(matches!(holds.judge(1, &item(6)), Verdict::Held(_)));
        assert!(holds.answered(1, 1, at(5)).is_empty());
        assert!(matches!(holds.judge(1, &item(7)), Verdict::Held(_)));
        let merged: Vec<u64> = holds.answered(1, 2, at(6)).iter().map(|item| item.number).collect();
        assert_eq!(merged, [7]);
    }

    #[test]
    fn a_room_that_was_left_holds_nothing() {
        let mut holds = Holds::default();
        holds.begin(1, 1);
        holds.retain(|room| room != 1);
        assert!(holds.is_empty());
        assert!(holds.answered(1, 1, at(1)).is_empty());
    }

    #[test]
    fn an_answer_without_a_position_lets_everything_held_through() {
        let mut holds = Holds::default();
        holds.begin(1, 1);
        holds.judge(1, &item(6));
        assert_eq!(holds.answered(1, 1, None).len(), 1);
        assert!(holds.is_empty());
    }

    #[test]
    fn the_answer_to_a_join_that_was_taken_back_is_not_taken_for_that_of_the_next() {
        let mut holds = Holds::default();
        holds.begin(1, 1);
        holds.retain(|room| room != 1);
        holds.begin(1, 2);
        assert!(!holds.awaits(1, 1));
        assert!(matches!(holds.judge(1, &item(6)), Verdict::Held(_)));
        let merged: Vec<u64> = holds.answered(1, 2, at(5)).iter().map(|item| item.number).collect();
        assert_eq!(merged, [6]);
    }
}
