//! From a join to what was missed: replay, hold and merge.
//!
//! A member is in its room before the keeper is asked, so every emission is either in the answer or comes live, or
//! both. Until the answer is there, what comes live is held back. Then goes out, in this order: what was missed, the
//! acknowledgement, what was held and is newer than the answer. What still comes live and is not newer, because it
//! was on its way when the keeper answered, is sifted out. So nothing is missing, twice, or out of order.

use super::Shard;
use super::delivery::Item;
use super::keeper::{Answer, Ask, Asked, Asker, Since};
use super::operations::Caller;
use crate::dialect::Recovery;
use crate::frame::Frame;
use crate::hub::RoomId;
use crate::namespace::Namespace;
use nodevent_protocol::history::Position;
use std::sync::Arc;

/// The rooms of one connection whose live emissions are not simply put before it.
#[derive(Debug, Default)]
pub(super) struct Holds(Vec<Hold>);

#[derive(Debug)]
struct Hold {
    room: RoomId,
    /// Answers that are awaited. While there are any, what comes live is held.
    awaited: u32,
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
        if hold.awaited > 0 {
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

    fn begin(&mut self, room: RoomId) {
        match self.0.iter_mut().find(|hold| hold.room == room) {
            Some(hold) => hold.awaited += 1,
            None => self.0.push(Hold { room, awaited: 1, held: Vec::new(), bytes: 0, floor: None }),
        }
    }

    /// An answer is there; the last one hands out what is newer than it, and leaves the floor behind.
    fn answered(&mut self, room: RoomId, position: Option<Position>) -> Vec<Item> {
        let Some(hold) = self.0.iter_mut().find(|hold| hold.room == room) else {
            return Vec::new();
        };
        hold.awaited -= 1;
        hold.floor = position.or(hold.floor);
        if hold.awaited > 0 {
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

// === impl Shard ===

impl Shard {
    /// Asks what a new member of `room` has missed, and completes the join now or when the answer comes.
    pub(super) fn recover(
        &mut self,
        slot: u32,
        namespace: &Namespace,
        number: RoomId,
        room: &str,
        since: Option<&str>,
        id: Option<u64>,
    ) {
        let shard = self.number;
        let Some(session) = self.session_mut(slot) else { return };
        let asker = Asker { shard, slot, generation: session.generation, id };
        let since = match since.map(Position::parse) {
            None => Since::Nothing,
            Some(Some(position)) => Since::Position(position),
            Some(None) => Since::Unreadable,
        };
        let ask = Ask { asker, namespace: namespace.number, room: room.into(), since };
        let asked = self.keeper.get().map_or(Asked::NotKept, |keeper| keeper.ask(ask));
        if matches!(asked, Asked::NotKept) {
            return self.joined(slot, namespace, id, None);
        }
        if let Some(session) = self.session_mut(slot) {
            session.holds.begin(number);
        }
        if let Asked::Now(answer) = asked {
            self.answered(answer);
        }
    }

    /// Tells a connection that its join is complete.
    fn joined(&mut self, slot: u32, namespace: &Namespace, id: Option<u64>, recovery: Option<Recovery>) {
        if !self.tell_joined(slot, recovery) {
            let mut caller = Caller { shard: self, slot, namespace };
            namespace.dialect.joined(&mut caller, id, recovery);
        }
    }

    /// The keeper has answered.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Answer { asker, namespace, room, position, mut recovered, mut missed } = answer;
        let (slot, limit) = (asker.slot, self.settings.outbox);
        let member = |shard: &mut Self| {
            let session = shard.session_mut(slot).filter(|session| session.generation == asker.generation);
            session.is_some()
        };
        if !member(self) {
            return;
        }
        let Some(number) =
            self.hub.find(namespace, &room).filter(|id| self.hub.rooms_of(slot).any(|one| one == *id))
        else {
            return;
        };
        // What would not fit is not sent in part: the browser is told, and may ask the application.
        let bytes: usize = missed.iter().map(|frame| frame.websocket().len()).sum();
        if bytes > limit.saturating_sub(self.waiting(slot)) {
            missed.clear();
            recovered = false;
        }
        self.send_all(slot, &missed);
        if !member(self) {
            return;
        }
        let namespaces = Arc::clone(&self.namespaces);
        let namespace = namespaces.get(namespace);
        self.joined(slot, namespace, asker.id, Some(Recovery { position, recovered }));
        let Some(session) = self.session_mut(slot) else { return };
        let held: Vec<Frame> =
            session.holds.answered(number, position).into_iter().map(|item| item.frame).collect();
        self.send_all(slot, &held);
    }
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
        holds.begin(1);
        assert!(matches!(holds.judge(1, &item(5)), Verdict::Held(_)));
        assert!(matches!(holds.judge(1, &item(6)), Verdict::Held(_)));
        assert_eq!(holds.judge(2, &item(1)), Verdict::Deliver, "another room is not concerned");
        let merged: Vec<u64> = holds.answered(1, at(5)).iter().map(|item| item.number).collect();
        assert_eq!(merged, [6]);
    }

    #[test]
    fn what_was_on_its_way_when_the_answer_was_given_is_sifted_out() {
        let mut holds = Holds::default();
        holds.begin(1);
        assert!(holds.answered(1, at(5)).is_empty());
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
        holds.begin(1);
        holds.answered(1, at(50));
        let newer = Item { position: Some(Position { epoch: 8, offset: 1 }), ..item(0) };
        assert_eq!(holds.judge(1, &newer), Verdict::Deliver);
    }

    #[test]
    fn with_two_joins_of_one_room_under_way_everything_waits_for_the_second_answer() {
        let mut holds = Holds::default();
        holds.begin(1);
        holds.begin(1);
        assert!(matches!(holds.judge(1, &item(6)), Verdict::Held(_)));
        assert!(holds.answered(1, at(5)).is_empty());
        assert!(matches!(holds.judge(1, &item(7)), Verdict::Held(_)));
        let merged: Vec<u64> = holds.answered(1, at(6)).iter().map(|item| item.number).collect();
        assert_eq!(merged, [7]);
    }

    #[test]
    fn a_room_that_was_left_holds_nothing() {
        let mut holds = Holds::default();
        holds.begin(1);
        holds.retain(|room| room != 1);
        assert!(holds.is_empty());
        assert!(holds.answered(1, at(1)).is_empty());
    }

    #[test]
    fn an_answer_without_a_position_lets_everything_held_through() {
        let mut holds = Holds::default();
        holds.begin(1);
        holds.judge(1, &item(6));
        assert_eq!(holds.answered(1, None).len(), 1);
        assert!(holds.is_empty());
    }
}
