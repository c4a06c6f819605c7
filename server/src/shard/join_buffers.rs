//! What is held back for a connection that is about to be told what it has missed: pure decisions, no I/O.
//!
//! `recovery` says when something is held and let go; `delivery` asks about every publication.

use crate::frame::Frame;
use crate::hub::RoomId;
use nodevent_protocol::history::Position;

/// A publication in its room's queue.
#[derive(Debug, Clone)]
pub(super) struct QueuedPublication {
    /// Its number on this shard.
    pub(super) seq: u64,
    /// Its place in the room's history, where it has one.
    pub(super) position: Option<Position>,
    pub(super) frame: Frame,
}

/// The rooms of one connection whose live publications are not simply put before it.
#[derive(Debug, Default)]
pub(super) struct JoinBuffers(Vec<JoinBuffer>);

#[derive(Debug)]
struct JoinBuffer {
    room: RoomId,
    /// The joins whose answers are pending_joins. While there are any, what comes live is buffered.
    pending_joins: Vec<u32>,
    buffered: Vec<QueuedPublication>,
    bytes: usize,
    /// What is not newer than this has been heard already.
    recovered_up_to: Option<Position>,
}

/// What becomes of a live publication.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Put it before the member.
    Deliver,
    /// It is buffered, and what is held together takes that many bytes.
    Buffered(usize),
    /// The member has it already.
    Duplicate,
}

// === impl JoinBuffers ===

impl JoinBuffers {
    /// Whether every publication goes straight through.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Judges a live publication of `room`.
    pub(super) fn classify(&mut self, room: RoomId, item: &QueuedPublication) -> Decision {
        let Some(index) = self.0.iter().position(|hold| hold.room == room) else { return Decision::Deliver };
        let hold = &mut self.0[index];
        if !hold.pending_joins.is_empty() {
            hold.bytes += item.frame.websocket().len();
            hold.buffered.push(item.clone());
            return Decision::Buffered(hold.bytes);
        }
        match (item.position, hold.recovered_up_to) {
            (Some(position), Some(recovered_up_to)) if is_known(position, recovered_up_to) => Decision::Duplicate,
            // Without a position it is not in the history, so the history tells nothing about it.
            (None, _) => Decision::Deliver,
            _ => {
                self.0.swap_remove(index);
                self.shrink();
                Decision::Deliver
            }
        }
    }

    /// Forgets the rooms that `keep` refuses.
    pub(super) fn retain(&mut self, keep: impl Fn(RoomId) -> bool) {
        self.0.retain(|hold| keep(hold.room));
        self.shrink();
    }

    /// An answer for `room` is pending_joins.
    pub(super) fn start_buffering(&mut self, room: RoomId, join_id: u32) {
        match self.0.iter_mut().find(|hold| hold.room == room) {
            Some(hold) => hold.pending_joins.push(join_id),
            None => self.0.push(JoinBuffer {
                room,
                pending_joins: vec![join_id],
                buffered: Vec::new(),
                bytes: 0,
                recovered_up_to: None,
            }),
        }
    }

    /// Whether the answer to that join is still pending_joins: it is not, if the room was left meanwhile.
    pub(super) fn is_pending(&self, room: RoomId, join_id: u32) -> bool {
        self.0.iter().any(|hold| hold.room == room && hold.pending_joins.contains(&join_id))
    }

    /// An answer is there; the last one hands out what is newer than it, and leaves the recovered_up_to behind.
    pub(super) fn stop_buffering(
        &mut self,
        room: RoomId,
        join_id: u32,
        position: Option<Position>,
    ) -> Vec<QueuedPublication> {
        let Some(hold) = self.0.iter_mut().find(|hold| hold.room == room) else {
            return Vec::new();
        };
        hold.pending_joins.retain(|one| *one != join_id);
        hold.recovered_up_to = position.or(hold.recovered_up_to);
        if !hold.pending_joins.is_empty() {
            return Vec::new();
        }
        hold.bytes = 0;
        let (buffered, recovered_up_to) = (std::mem::take(&mut hold.buffered), hold.recovered_up_to);
        let is_new = |item: &QueuedPublication| match (item.position, recovered_up_to) {
            (Some(position), Some(recovered_up_to)) => !is_known(position, recovered_up_to),
            _ => true,
        };
        if recovered_up_to.is_none() {
            self.retain(|one| one != room);
        }
        buffered.into_iter().filter(is_new).collect()
    }

    /// Gives back the heap of an empty list: an idle connection holds none.
    fn shrink(&mut self) {
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }
}

/// Whether `position` is not newer than `recovered_up_to`. Of another epoch it is newer: epochs come one after the other.
fn is_known(position: Position, recovered_up_to: Position) -> bool {
    position.epoch == recovered_up_to.epoch && position.offset <= recovered_up_to.offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(offset: u64) -> QueuedPublication {
        QueuedPublication { seq: offset, position: Some(Position { epoch: 7, offset }), frame: Frame::text("4x") }
    }

    fn at(offset: u64) -> Option<Position> {
        Some(Position { epoch: 7, offset })
    }

    #[test]
    fn what_comes_while_the_answer_is_awaited_is_held_and_merged() {
        let mut join_buffers = JoinBuffers::default();
        join_buffers.start_buffering(1, 1);
        assert!(matches!(join_buffers.classify(1, &item(5)), Decision::Buffered(_)));
        assert!(matches!(join_buffers.classify(1, &item(6)), Decision::Buffered(_)));
        assert_eq!(join_buffers.classify(2, &item(1)), Decision::Deliver, "another room is not concerned");
        let merged: Vec<u64> = join_buffers.stop_buffering(1, 1, at(5)).iter().map(|item| item.seq).collect();
        assert_eq!(merged, [6]);
    }

    #[test]
    fn what_was_on_its_way_when_the_answer_was_given_is_sifted_out() {
        let mut join_buffers = JoinBuffers::default();
        join_buffers.start_buffering(1, 1);
        assert!(join_buffers.stop_buffering(1, 1, at(5)).is_empty());
        assert_eq!(join_buffers.classify(1, &item(4)), Decision::Duplicate);
        assert_eq!(join_buffers.classify(1, &item(5)), Decision::Duplicate);
        let plain = QueuedPublication { position: None, ..item(0) };
        assert_eq!(
            join_buffers.classify(1, &plain),
            Decision::Deliver,
            "what has no position is not in the history"
        );
        assert_eq!(join_buffers.classify(1, &item(6)), Decision::Deliver);
        assert!(join_buffers.is_empty(), "from here on nothing needs sifting");
    }

    #[test]
    fn an_publication_of_a_newer_epoch_is_newer_whatever_its_offset() {
        let mut join_buffers = JoinBuffers::default();
        join_buffers.start_buffering(1, 1);
        join_buffers.stop_buffering(1, 1, at(50));
        let newer = QueuedPublication { position: Some(Position { epoch: 8, offset: 1 }), ..item(0) };
        assert_eq!(join_buffers.classify(1, &newer), Decision::Deliver);
    }

    #[test]
    fn with_two_joins_of_one_room_under_way_everything_waits_for_the_second_answer() {
        let mut join_buffers = JoinBuffers::default();
        join_buffers.start_buffering(1, 1);
        join_buffers.start_buffering(1, 2);
        assert!(matches!(join_buffers.classify(1, &item(6)), Decision::Buffered(_)));
        assert!(join_buffers.stop_buffering(1, 1, at(5)).is_empty());
        assert!(matches!(join_buffers.classify(1, &item(7)), Decision::Buffered(_)));
        let merged: Vec<u64> = join_buffers.stop_buffering(1, 2, at(6)).iter().map(|item| item.seq).collect();
        assert_eq!(merged, [7]);
    }

    #[test]
    fn a_room_that_was_left_holds_nothing() {
        let mut join_buffers = JoinBuffers::default();
        join_buffers.start_buffering(1, 1);
        join_buffers.retain(|room| room != 1);
        assert!(join_buffers.is_empty());
        assert!(join_buffers.stop_buffering(1, 1, at(1)).is_empty());
    }

    #[test]
    fn an_answer_without_a_position_lets_everything_held_through() {
        let mut join_buffers = JoinBuffers::default();
        join_buffers.start_buffering(1, 1);
        join_buffers.classify(1, &item(6));
        assert_eq!(join_buffers.stop_buffering(1, 1, None).len(), 1);
        assert!(join_buffers.is_empty());
    }

    #[test]
    fn the_answer_to_a_join_that_was_taken_back_is_not_taken_for_that_of_the_next() {
        let mut join_buffers = JoinBuffers::default();
        join_buffers.start_buffering(1, 1);
        join_buffers.retain(|room| room != 1);
        join_buffers.start_buffering(1, 2);
        assert!(!join_buffers.is_pending(1, 1));
        assert!(matches!(join_buffers.classify(1, &item(6)), Decision::Buffered(_)));
        let merged: Vec<u64> = join_buffers.stop_buffering(1, 2, at(5)).iter().map(|item| item.seq).collect();
        assert_eq!(merged, [6]);
    }
}
