//! Live publications that wait for the recovery of a join. Pure decisions, no I/O.
//!
//! `joins` starts and stops the buffering. `delivery` classifies every publication. One connection owns one value.

use crate::encoding::{Encoding, Frame};
use crate::hub::Membership;
use crate::publication::Notice;
use nodevent_protocol::history::Position;
use nodevent_protocol::publication::PublicationId;
use std::sync::Arc;

/// A publication for one member, or the notice that the member does not receive it.
#[derive(Debug, Clone)]
pub(super) struct QueuedPublication {
    /// Its place in the room's history, if it has one.
    pub(super) position: Option<Position>,
    /// Up to where something may be missing, if it is the notice of a gap.
    pub(super) gap: Option<Position>,
    /// The event of which it is a copy, if the member receives one of the copies.
    pub(super) id: Option<PublicationId>,
    pub(super) frame: Frame,
    /// The frame if the member has received another copy, for what is buffered.
    pub(super) skipped: Option<Frame>,
}

/// The memberships of one connection whose live publications are buffered or compared with a recovery.
#[derive(Debug, Default)]
pub(super) struct JoinBuffers(Vec<JoinBuffer>);

#[derive(Debug)]
struct JoinBuffer {
    membership: Membership,
    /// The joins that wait for a recovery. While there are any, live publications are buffered.
    pending_joins: Vec<u32>,
    buffered: Vec<QueuedPublication>,
    bytes: usize,
    /// The member has received everything up to this position.
    recovered_up_to: Option<Position>,
}

/// The decision about a live publication.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The member receives it.
    Deliver,
    /// It is buffered. The membership's buffer has that many bytes.
    Buffered(usize),
    /// The member has it already.
    Duplicate,
}

// === impl QueuedPublication ===

impl QueuedPublication {
    /// A notice for a member, in its encoding. `None`: the member does not receive it, and does not follow positions.
    pub(super) fn new(
        notice: &Notice,
        is_for: bool,
        encoding: &Arc<dyn Encoding>,
        may_be_buffered: bool,
    ) -> Option<Self> {
        let frame = if is_for { notice.frame(encoding) } else { notice.skipped(encoding)? };
        let id = notice.id().filter(|_| is_for && !encoding.receives_each_copy());
        let skipped = id.filter(|_| may_be_buffered).and_then(|_| notice.skipped(encoding));
        let gap = match notice {
            Notice::Publication(_) => None,
            Notice::Gap(gap) => Some(gap.position),
        };
        Some(Self { position: notice.position(), gap, id, frame, skipped })
    }

    /// Whether a member that has received everything up to a position has no use for it. The notice of an older gap would only
    /// say that something is missing, and move the member's position back.
    fn is_covered_by(&self, recovered_up_to: Position) -> bool {
        self.position.or(self.gap).is_some_and(|position| is_duplicate(position, recovered_up_to))
    }
}

// === impl JoinBuffers ===

impl JoinBuffers {
    /// Whether every publication is delivered at once.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decides about a live publication.
    pub(super) fn classify(&mut self, membership: Membership, item: &QueuedPublication) -> Decision {
        let Some(index) = self.0.iter().position(|buffer| buffer.membership == membership) else {
            return Decision::Deliver;
        };
        let buffer = &mut self.0[index];
        if !buffer.pending_joins.is_empty() {
            buffer.bytes += item.frame.websocket().len();
            buffer.buffered.push(item.clone());
            return Decision::Buffered(buffer.bytes);
        }
        match (item.position, buffer.recovered_up_to) {
            (_, Some(recovered_up_to)) if item.is_covered_by(recovered_up_to) => Decision::Duplicate,
            // Without a position it is not in the history, so the recovery does not contain it.
            (None, _) => Decision::Deliver,
            _ => {
                self.0.swap_remove(index);
                self.shrink();
                Decision::Deliver
            }
        }
    }

    /// Whether a join of a membership waits for a recovery.
    pub(super) fn is_buffering(&self, membership: Membership) -> bool {
        self.0.iter().any(|buffer| buffer.membership == membership && !buffer.pending_joins.is_empty())
    }

    /// A membership has another encoding.
    pub(super) fn changed(&mut self, from: Membership, to: Membership) {
        for buffer in self.0.iter_mut().filter(|buffer| buffer.membership == from) {
            buffer.membership = to;
        }
    }

    /// Drops the memberships for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl Fn(Membership) -> bool) {
        self.0.retain(|buffer| keep(buffer.membership));
        self.shrink();
    }

    /// Starts buffering for a join.
    pub(super) fn start_buffering(&mut self, membership: Membership, join_id: u32) {
        match self.0.iter_mut().find(|buffer| buffer.membership == membership) {
            Some(buffer) => buffer.pending_joins.push(join_id),
            None => {
                // A vector that grows by itself would begin with room for four.
                self.0.reserve_exact(1);
                self.0.push(JoinBuffer {
                    membership,
                    pending_joins: vec![join_id],
                    buffered: Vec::new(),
                    bytes: 0,
                    recovered_up_to: None,
                });
            }
        }
    }

    /// Whether a join still waits for its recovery. It does not if the room was left meanwhile.
    pub(super) fn is_pending(&self, membership: Membership, join_id: u32) -> bool {
        self.0.iter().any(|buffer| buffer.membership == membership && buffer.pending_joins.contains(&join_id))
    }

    /// The recovery of a join is complete. After the last one, returns what is newer than the recovery.
    pub(super) fn stop_buffering(
        &mut self,
        membership: Membership,
        join_id: u32,
        position: Option<Position>,
    ) -> Vec<QueuedPublication> {
        let Some(buffer) = self.0.iter_mut().find(|buffer| buffer.membership == membership) else {
            return Vec::new();
        };
        buffer.pending_joins.retain(|one| *one != join_id);
        buffer.recovered_up_to = position.or(buffer.recovered_up_to);
        if !buffer.pending_joins.is_empty() {
            return Vec::new();
        }
        buffer.bytes = 0;
        // This may stay until the next publication: without memory that is not needed.
        buffer.pending_joins = Vec::new();
        let (buffered, recovered_up_to) = (std::mem::take(&mut buffer.buffered), buffer.recovered_up_to);
        let is_new =
            |item: &QueuedPublication| !recovered_up_to.is_some_and(|position| item.is_covered_by(position));
        if recovered_up_to.is_none() {
            self.retain(|one| one != membership);
        }
        buffered.into_iter().filter(is_new).collect()
    }

    /// Frees the memory of an empty list: an idle connection holds none.
    fn shrink(&mut self) {
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }
}

/// Whether `position` is not newer than `recovered_up_to`. A position of another epoch is newer: epochs follow each
/// other.
fn is_duplicate(position: Position, recovered_up_to: Position) -> bool {
    position.epoch == recovered_up_to.epoch && position.offset <= recovered_up_to.offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(room: u32) -> Membership {
        Membership { room, encoding: 0 }
    }

    fn item(offset: u64) -> QueuedPublication {
        let position = Some(Position { epoch: 7, offset });
        QueuedPublication { position, gap: None, id: None, frame: Frame::text("4x"), skipped: None }
    }

    fn at(offset: u64) -> Option<Position> {
        Some(Position { epoch: 7, offset })
    }

    #[test]
    fn live_publications_are_buffered_and_merged_with_the_recovery() {
        let mut buffers = JoinBuffers::default();
        buffers.start_buffering(room(1), 1);
        assert!(matches!(buffers.classify(room(1), &item(5)), Decision::Buffered(_)));
        assert!(matches!(buffers.classify(room(1), &item(6)), Decision::Buffered(_)));
        assert_eq!(buffers.classify(room(2), &item(1)), Decision::Deliver, "another room is not affected");
        let merged: Vec<u64> =
            buffers.stop_buffering(room(1), 1, at(5)).iter().map(|item| item.position.unwrap().offset).collect();
        assert_eq!(merged, [6]);
    }

    #[test]
    fn publications_that_the_recovery_contained_are_duplicates() {
        let mut buffers = JoinBuffers::default();
        buffers.start_buffering(room(1), 1);
        assert!(buffers.stop_buffering(room(1), 1, at(5)).is_empty());
        assert_eq!(buffers.classify(room(1), &item(4)), Decision::Duplicate);
        assert_eq!(buffers.classify(room(1), &item(5)), Decision::Duplicate);
        let plain = QueuedPublication { position: None, ..item(0) };
        assert_eq!(
            buffers.classify(room(1), &plain),
            Decision::Deliver,
            "a publication without a position is not in the history"
        );
        assert_eq!(buffers.classify(room(1), &item(6)), Decision::Deliver);
        assert!(buffers.is_empty(), "no further comparison is needed");
    }

    /// A member received the notice of a gap that its recovery had filled, with an older position than it had.
    #[test]
    fn the_notice_of_a_gap_that_the_recovery_covers_is_a_duplicate() {
        let gap =
            |epoch, offset| QueuedPublication { position: None, gap: Some(Position { epoch, offset }), ..item(0) };
        let mut buffers = JoinBuffers::default();
        buffers.start_buffering(room(1), 1);
        for notice in [gap(7, 4), gap(7, 5), gap(7, 6), gap(8, 1)] {
            buffers.classify(room(1), &notice);
        }
        let merged = buffers.stop_buffering(room(1), 1, at(5));
        let gaps: Vec<_> = merged.iter().map(|item| item.gap.unwrap()).collect();
        assert_eq!(gaps, [Position { epoch: 7, offset: 6 }, Position { epoch: 8, offset: 1 }]);
        assert_eq!(buffers.classify(room(1), &gap(7, 5)), Decision::Duplicate);
        assert_eq!(buffers.classify(room(1), &gap(7, 6)), Decision::Deliver);
        assert_eq!(buffers.classify(room(1), &item(5)), Decision::Duplicate, "it is still compared");
    }

    #[test]
    fn a_publication_of_a_newer_epoch_is_newer_whatever_its_offset() {
        let mut buffers = JoinBuffers::default();
        buffers.start_buffering(room(1), 1);
        buffers.stop_buffering(room(1), 1, at(50));
        let newer = QueuedPublication { position: Some(Position { epoch: 8, offset: 1 }), ..item(0) };
        assert_eq!(buffers.classify(room(1), &newer), Decision::Deliver);
    }

    #[test]
    fn with_two_pending_joins_of_one_room_everything_waits_for_the_second_recovery() {
        let mut buffers = JoinBuffers::default();
        buffers.start_buffering(room(1), 1);
        buffers.start_buffering(room(1), 2);
        assert!(matches!(buffers.classify(room(1), &item(6)), Decision::Buffered(_)));
        assert!(buffers.stop_buffering(room(1), 1, at(5)).is_empty());
        assert!(matches!(buffers.classify(room(1), &item(7)), Decision::Buffered(_)));
        let merged: Vec<u64> =
            buffers.stop_buffering(room(1), 2, at(6)).iter().map(|item| item.position.unwrap().offset).collect();
        assert_eq!(merged, [7]);
    }

    #[test]
    fn a_room_that_was_left_buffers_nothing() {
        let mut buffers = JoinBuffers::default();
        buffers.start_buffering(room(1), 1);
        buffers.retain(|membership| membership != room(1));
        assert!(buffers.is_empty());
        assert!(buffers.stop_buffering(room(1), 1, at(1)).is_empty());
    }

    #[test]
    fn a_recovery_without_a_position_releases_everything_buffered() {
        let mut buffers = JoinBuffers::default();
        buffers.start_buffering(room(1), 1);
        buffers.classify(room(1), &item(6));
        assert_eq!(buffers.stop_buffering(room(1), 1, None).len(), 1);
        assert!(buffers.is_empty());
    }

    #[test]
    fn the_recovery_of_a_cancelled_join_does_not_complete_the_next_join() {
        let mut buffers = JoinBuffers::default();
        buffers.start_buffering(room(1), 1);
        buffers.retain(|membership| membership != room(1));
        buffers.start_buffering(room(1), 2);
        assert!(!buffers.is_pending(room(1), 1));
        assert!(matches!(buffers.classify(room(1), &item(6)), Decision::Buffered(_)));
        let merged: Vec<u64> =
            buffers.stop_buffering(room(1), 2, at(5)).iter().map(|item| item.position.unwrap().offset).collect();
        assert_eq!(merged, [6]);
    }
}
