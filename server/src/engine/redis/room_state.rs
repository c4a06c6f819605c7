//! What a server knows of a room that has members on it: pure decisions, no I/O.
//!
//! The rule: a server passes on the publications of a live room without a gap, as the engine numbered them. What is
//! lost on the way from Redis is noticed by its offset and read from the history; what the history no longer has,
//! the members are told.

use crate::history::{RecoveryRequest, Since};
use nodevent_protocol::history::{OffsetJump, Position};
use std::time::Instant;

/// A room with members on this server.
#[derive(Debug)]
pub(super) struct RoomState {
    /// The shards it has members on, a bit each.
    shards: u64,
    /// Up to where everything has been passed on. `None`: not known yet.
    position: Option<Position>,
    /// Questions that wait for a read.
    pending: Vec<PendingRecovery>,
    /// The read that is under way.
    in_flight: Option<ReadInFlight>,
    /// Whether something was gap: read, and pass on what is missing.
    has_gap: bool,
    /// The newest that came and was not passed on, since a read was to bring it.
    newest_undelivered: Option<Position>,
    /// Whether somebody was let in while nobody knew where the room stands.
    admitted_without_position: bool,
    /// Whether it has a history. Without one there is no position, and a read does no more than subscribe.
    has_history: bool,
    /// Whether its channel is subscribed to.
    subscribed: bool,
}

#[derive(Debug)]
struct PendingRecovery {
    request: RecoveryRequest,
    queued_at: Instant,
    /// A read must show at min_position this to be an answer: what was passed on before the question came is not held back
    /// for the one who asked.
    min_position: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ReadInFlight {
    /// The offset after which is read; `None`: the position alone.
    after: Option<u64>,
    /// The epoch in which it began.
    epoch: Option<u64>,
    /// Whether it subscribe_first first, on the link that stands.
    subscribe_first: bool,
}

/// What a read is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadRequest {
    /// The offset after which to read; `None`: the position alone.
    pub(super) after: Option<u64>,
    /// Whether to subscribe to the room's channel first.
    pub(super) subscribe: bool,
}

/// What to do with a publication that came from Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// Pass it on.
    Deliver,
    /// It has been passed on before, or is covered by a read that is under way.
    Ignore,
    /// Something before it was gap: read. The publication itself is in the history.
    Gap,
    /// The room's memory was gap: tell the members, then read from the new beginning.
    NewEpoch,
}

/// What to do with what a read has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Backfill {
    /// How many of the last publications that were found are to be passed on.
    pub(super) deliver: usize,
    /// Whether something before them is gone: the members are told.
    pub(super) gap: bool,
}

// === impl RoomState ===

impl RoomState {
    /// A room that has a history or not, and whose channel is heard already or not.
    pub(super) fn new(has_history: bool, subscribed: bool) -> Self {
        Self {
            has_history,
            subscribed,
            shards: 0,
            position: None,
            pending: Vec::new(),
            in_flight: None,
            has_gap: false,
            newest_undelivered: None,
            admitted_without_position: false,
        }
    }

    /// A shard has members of it.
    pub(super) fn add_shard(&mut self, shard: u8) {
        self.shards |= 1 << (shard % 64);
    }

    /// A shard has none any more. `true`: no shard has.
    pub(super) fn remove_shard(&mut self, shard: u8) -> bool {
        self.shards &= !(1 << (shard % 64));
        self.can_be_dropped()
    }

    /// Whether no shard has members of it, nobody waits, and no read is under way that might find it forgotten.
    pub(super) fn can_be_dropped(&self) -> bool {
        self.shards == 0 && self.pending.is_empty() && self.in_flight.is_none()
    }

    /// Whether it has a history.
    pub(super) fn has_history(&self) -> bool {
        self.has_history
    }

    /// Whether a question can be answered at once with nothing: there is no history, and the room is heard.
    pub(super) fn is_ready_without_history(&self) -> bool {
        !self.has_history && self.subscribed
    }

    /// Where it stands, if a question can be answered without asking Redis: the one who asks has heard everything,
    /// or asks for nothing.
    pub(super) fn position_if_caught_up(&self, since: Since) -> Option<Position> {
        let position = self.position.filter(|_| !self.has_gap)?;
        match since {
            Since::FirstJoin => Some(position),
            Since::Position(since) if since == position => Some(position),
            _ => None,
        }
    }

    /// A question that needs a read.
    pub(super) fn enqueue(&mut self, request: RecoveryRequest, now: Instant) {
        self.pending.push(PendingRecovery { request, queued_at: now, min_position: self.position });
    }

    /// Something may have been gap: read.
    pub(super) fn mark_possibly_stale(&mut self) {
        self.has_gap = self.has_history;
    }

    /// Its channel may not be subscribed to any more: subscribe again.
    pub(super) fn mark_unsubscribed(&mut self) {
        self.subscribed = false;
        if let Some(reading) = &mut self.in_flight {
            reading.subscribe_first = false;
        }
    }

    /// Whether a read is wanted and none is under way.
    pub(super) fn needs_read(&self) -> bool {
        let lacks = self.has_history && (self.has_gap || self.position.is_none());
        self.in_flight.is_none() && (lacks || !self.subscribed || !self.pending.is_empty())
    }

    /// The read that is to be begun now, if one is.
    pub(super) fn start_read(&mut self) -> Option<ReadRequest> {
        if !self.needs_read() {
            return None;
        }
        let asked = self.pending.iter().filter_map(|waiting| match waiting.request.since {
            Since::Position(since) => Some(since.offset),
            Since::Beginning => Some(0),
            Since::FirstJoin | Since::Invalid => None,
        });
        // While nobody listened something may have been published.
        let own = self.position.filter(|_| self.has_gap || !self.subscribed).map(|position| position.offset);
        let after = asked.chain(own).min();
        let (epoch, subscribe) = (self.position.map(|position| position.epoch), !self.subscribed);
        self.in_flight = Some(ReadInFlight { after, epoch, subscribe_first: subscribe });
        Some(ReadRequest { after, subscribe })
    }

    /// A publication came from Redis.
    pub(super) fn on_publication(&mut self, position: Position) -> Disposition {
        let Some(known) = self.position else {
            // The first read is under way. It may or may not have seen this one.
            self.newest_undelivered = Some(position);
            return Disposition::Ignore;
        };
        if position.epoch != known.epoch {
            self.has_gap = position.offset > 1;
            self.position = Some(if self.has_gap { Position { offset: 0, ..position } } else { position });
            self.newest_undelivered = self.has_gap.then_some(position);
            return Disposition::NewEpoch;
        }
        if position.offset <= known.offset {
            return Disposition::Ignore;
        }
        if self.has_gap || position.offset > known.offset + 1 {
            self.has_gap = true;
            self.newest_undelivered = Some(position);
            return Disposition::Gap;
        }
        self.position = Some(position);
        Disposition::Deliver
    }

    /// Redis tells where the room stands. `true`: something was lost on the way here.
    pub(super) fn check_position(&mut self, found: Position) -> bool {
        let behind = self.position.is_some_and(|known| known.epoch != found.epoch || known.offset < found.offset);
        self.has_gap |= behind;
        behind
    }

    /// A read has found that the room stands at `found`, and `count` publications before that. What is to be passed on,
    /// and the questions that it answers.
    pub(super) fn on_read_completed(
        &mut self,
        found: Position,
        jump: Option<OffsetJump>,
        count: usize,
    ) -> (Backfill, Vec<RecoveryRequest>) {
        let reading = self.take_in_flight();
        let after = reading.and_then(|reading| reading.after);
        let began = reading.and_then(|reading| reading.epoch);
        let backfill = match self.position {
            // The epoch has changed since this read began, and it tells of the one before: nothing that counts now.
            Some(known) if known.epoch != found.epoch && began == Some(found.epoch) => {
                return (Backfill::default(), Vec::new());
            }
            None => {
                self.position = Some(found);
                // Who was let in while nobody could be asked may have missed what was published since.
                Backfill {
                    deliver: 0,
                    gap: std::mem::take(&mut self.admitted_without_position) && found.offset > 0,
                }
            }
            Some(known) if known.epoch != found.epoch => {
                self.position = Some(Position { epoch: found.epoch, offset: 0 });
                self.has_gap = found.offset > 0;
                Backfill { deliver: 0, gap: true }
            }
            Some(known) if found.offset <= known.offset => {
                // The publication that was missed is older than this read, or nothing was missed.
                self.has_gap = false;
                Backfill::default()
            }
            // This read did not begin at what is missing; the next one will.
            Some(known) if after.is_none_or(|after| after > known.offset) => Backfill::default(),
            Some(known) => {
                let missing = found.count_since(known, jump).and_then(|missing| usize::try_from(missing).ok());
                self.position = Some(found);
                self.has_gap = false;
                Backfill {
                    deliver: missing.map_or(count, |missing| missing.min(count)),
                    gap: missing.is_none_or(|missing| missing > count),
                }
            }
        };
        // What came while this read was under way may be newer than what it found: then look again.
        if let (Some(newest_undelivered), Some(known)) = (self.newest_undelivered, self.position) {
            if newest_undelivered.epoch == known.epoch && newest_undelivered.offset <= known.offset {
                self.newest_undelivered = None;
            } else {
                self.has_gap = true;
            }
        }
        let waiting = std::mem::take(&mut self.pending);
        let (answered, waiting): (Vec<PendingRecovery>, Vec<PendingRecovery>) =
            waiting.into_iter().partition(|waiting| {
                let new_enough = waiting.min_position.is_none_or(|min_position| {
                    min_position.epoch != found.epoch || min_position.offset <= found.offset
                });
                let far_enough = match waiting.request.since {
                    Since::Position(since) => after.is_some_and(|after| after <= since.offset),
                    Since::Beginning => after == Some(0),
                    Since::FirstJoin | Since::Invalid => true,
                };
                new_enough && far_enough
            });
        self.pending = waiting;
        (backfill, answered.into_iter().map(|waiting| waiting.request).collect())
    }

    /// A read of a room without a history is done: its channel is subscribed to. The questions that this answers.
    pub(super) fn on_subscribed(&mut self) -> Vec<RecoveryRequest> {
        self.take_in_flight();
        if !self.subscribed {
            return Vec::new();
        }
        std::mem::take(&mut self.pending).into_iter().map(|waiting| waiting.request).collect()
    }

    /// Takes out the read that is done.
    fn take_in_flight(&mut self) -> Option<ReadInFlight> {
        let reading = self.in_flight.take();
        self.subscribed |= reading.is_some_and(|reading| reading.subscribe_first);
        reading
    }

    /// A read has failed.
    pub(super) fn on_read_failed(&mut self) {
        self.in_flight = None;
    }

    /// The questions that have waited since before `before` and wait no longer: whoever asked is let in without an
    /// answer.
    pub(super) fn take_timed_out(&mut self, before: Instant) -> Vec<RecoveryRequest> {
        if self.pending.iter().all(|waiting| waiting.queued_at > before) {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut self.pending);
        let (over, waiting): (Vec<PendingRecovery>, Vec<PendingRecovery>) =
            waiting.into_iter().partition(|waiting| waiting.queued_at <= before);
        self.pending = waiting;
        self.admitted_without_position |= self.position.is_none();
        over.into_iter().map(|waiting| waiting.request).collect()
    }

    /// Where everything has been passed on to.
    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{ReplyTo, RequestId};

    fn at(offset: u64) -> Position {
        Position { epoch: 1, offset }
    }

    fn ask(since: Since) -> RecoveryRequest {
        RecoveryRequest {
            reply_to: ReplyTo {
                shard: 0,
                slot: 0,
                generation: 0,
                join_id: 0,
                encoding: 0,
                request: RequestId::default(),
            },
            namespace: 0,
            room: "r".into(),
            since,
        }
    }

    fn order(after: Option<u64>) -> Option<ReadRequest> {
        Some(ReadRequest { after, subscribe: false })
    }

    /// A room that stands at `offset`, with nothing under way.
    fn live(offset: u64) -> RoomState {
        let mut live = RoomState::new(true, true);
        live.add_shard(0);
        assert_eq!(live.start_read(), order(None));
        live.on_read_completed(at(offset), None, 0);
        live
    }

    #[test]
    fn publications_in_order_pass_and_those_heard_before_do_not() {
        let mut live = live(3);
        assert_eq!(live.on_publication(at(4)), Disposition::Deliver);
        assert_eq!(live.on_publication(at(4)), Disposition::Ignore);
        assert_eq!(live.on_publication(at(2)), Disposition::Ignore);
        assert_eq!(live.on_publication(at(5)), Disposition::Deliver);
    }

    #[test]
    fn a_lost_publication_is_noticed_by_the_next_one_and_read() {
        let mut live = live(3);
        assert_eq!(live.on_publication(at(6)), Disposition::Gap);
        assert_eq!(live.start_read(), order(Some(3)));
        assert_eq!(live.on_publication(at(7)), Disposition::Gap, "what comes meanwhile waits for its turn");
        assert_eq!(live.start_read(), None, "one is under way");
        let (backfill, _) = live.on_read_completed(at(7), None, 4);
        assert_eq!(backfill, Backfill { deliver: 4, gap: false });
        assert_eq!(live.on_publication(at(8)), Disposition::Deliver);
    }

    #[test]
    fn what_comes_during_a_mend_and_is_not_in_it_is_noticed_again() {
        let mut live = live(3);
        live.on_publication(at(5));
        live.start_read();
        live.on_publication(at(6));
        assert_eq!(live.on_read_completed(at(5), None, 2).0, Backfill { deliver: 2, gap: false });
        assert_eq!(live.on_publication(at(7)), Disposition::Gap);
        assert_eq!(live.start_read(), order(Some(5)), "6 is read, though nothing need come after it");
        assert_eq!(live.on_read_completed(at(7), None, 2).0, Backfill { deliver: 2, gap: false });
        assert_eq!(live.start_read(), None);
    }

    #[test]
    fn what_the_history_no_longer_has_is_told() {
        let mut live = live(3);
        live.on_publication(at(200));
        live.start_read();
        assert_eq!(live.on_read_completed(at(200), None, 100).0, Backfill { deliver: 100, gap: true });
    }

    #[test]
    fn a_new_epoch_is_told_and_read_from_its_beginning() {
        let mut live = live(3);
        assert_eq!(live.on_publication(Position { epoch: 2, offset: 3 }), Disposition::NewEpoch);
        assert_eq!(live.start_read(), order(Some(0)));
        assert_eq!(
            live.on_read_completed(Position { epoch: 2, offset: 3 }, None, 3).0,
            Backfill { deliver: 3, gap: false }
        );
        let mut first = super::tests::live(3);
        assert_eq!(first.on_publication(Position { epoch: 2, offset: 1 }), Disposition::NewEpoch);
        assert_eq!(first.position(), Some(Position { epoch: 2, offset: 1 }));
    }

    #[test]
    fn a_check_notices_what_no_publication_has_shown() {
        let mut live = live(3);
        assert!(!live.check_position(at(3)));
        assert!(!live.check_position(at(2)), "on its way when Redis was asked");
        assert!(live.check_position(at(4)));
        assert_eq!(live.start_read(), order(Some(3)));
        assert_eq!(live.on_read_completed(at(4), None, 1).0, Backfill { deliver: 1, gap: false });
    }

    #[test]
    fn an_epoch_lost_in_silence_is_noticed_by_a_check() {
        let mut live = live(3);
        assert!(live.check_position(Position { epoch: 2, offset: 2 }));
        assert_eq!(live.start_read(), order(Some(3)));
        assert_eq!(
            live.on_read_completed(Position { epoch: 2, offset: 2 }, None, 0).0,
            Backfill { deliver: 0, gap: true }
        );
        assert_eq!(live.start_read(), order(Some(0)));
        assert_eq!(
            live.on_read_completed(Position { epoch: 2, offset: 2 }, None, 2).0,
            Backfill { deliver: 2, gap: false }
        );
        assert_eq!(live.start_read(), None);
    }

    #[test]
    fn who_has_heard_everything_is_answered_without_a_read() {
        let live = live(3);
        assert_eq!(live.position_if_caught_up(Since::FirstJoin), Some(at(3)));
        assert_eq!(live.position_if_caught_up(Since::Position(at(3))), Some(at(3)));
        assert_eq!(live.position_if_caught_up(Since::Position(at(2))), None);
        assert_eq!(live.position_if_caught_up(Since::Invalid), None);
        assert_eq!(
            RoomState::new(true, true).position_if_caught_up(Since::FirstJoin),
            None,
            "nothing is known yet"
        );
    }

    #[test]
    fn many_who_come_back_share_one_read() {
        let mut live = live(9);
        let now = Instant::now();
        for offset in [5, 3, 4] {
            live.enqueue(ask(Since::Position(at(offset))), now);
        }
        assert_eq!(live.start_read(), order(Some(3)));
        live.enqueue(ask(Since::Position(at(4))), now);
        live.enqueue(ask(Since::Position(at(1))), now);
        assert_eq!(live.start_read(), None, "one is under way");
        let (_, answered) = live.on_read_completed(at(9), None, 6);
        assert_eq!(answered.len(), 4, "the one that asked for more waits for the next");
        assert_eq!(live.start_read(), order(Some(1)));
    }

    #[test]
    fn a_read_older_than_the_question_is_no_answer() {
        let mut live = live(3);
        let now = Instant::now();
        live.enqueue(ask(Since::Position(at(2))), now);
        live.start_read();
        assert_eq!(live.on_publication(at(4)), Disposition::Deliver);
        live.enqueue(ask(Since::Position(at(2))), now);
        let (_, answered) = live.on_read_completed(at(3), None, 1);
        assert_eq!(answered.len(), 1, "the second has asked after 4 was passed on, and would never hear it");
        live.start_read();
        assert_eq!(live.on_read_completed(at(4), None, 2).1.len(), 1);
    }

    #[test]
    fn an_publication_during_the_first_read_is_looked_for_after_it() {
        let mut live = RoomState::new(true, true);
        live.add_shard(0);
        live.enqueue(ask(Since::FirstJoin), Instant::now());
        assert_eq!(live.start_read(), order(None));
        assert_eq!(live.on_publication(at(4)), Disposition::Ignore);
        let (backfill, answered) = live.on_read_completed(at(3), None, 0);
        assert_eq!((backfill, answered.len()), (Backfill::default(), 1));
        assert_eq!(live.start_read(), order(Some(3)));
        assert_eq!(live.on_read_completed(at(4), None, 1).0, Backfill { deliver: 1, gap: false });
    }

    #[test]
    fn a_question_waits_only_so_long_for_a_redis_that_is_away() {
        let mut live = RoomState::new(true, true);
        let (early, late) = (Instant::now(), Instant::now() + std::time::Duration::from_secs(60));
        live.enqueue(ask(Since::FirstJoin), early);
        live.enqueue(ask(Since::FirstJoin), late);
        live.start_read();
        assert_eq!(live.take_timed_out(early).len(), 1);
        assert_eq!(live.take_timed_out(early).len(), 0, "once");
        live.on_read_failed();
        assert_eq!(live.start_read(), order(None), "it is tried again for the other");
    }

    #[test]
    fn who_was_let_in_blindly_is_told_once_it_is_known_where_the_room_stands() {
        let mut live = RoomState::new(true, true);
        live.add_shard(0);
        live.enqueue(ask(Since::FirstJoin), Instant::now());
        live.start_read();
        assert_eq!(live.take_timed_out(Instant::now()).len(), 1);
        live.on_read_failed();
        live.start_read();
        assert_eq!(live.on_read_completed(at(1), None, 0).0, Backfill { deliver: 0, gap: true });
        live.mark_possibly_stale();
        live.start_read();
        assert_eq!(live.on_read_completed(at(1), None, 0).0, Backfill::default(), "once");
    }

    #[test]
    fn a_redis_that_was_started_again_loses_nothing_if_it_is_whole() {
        let jump = |from, lossless| Some(OffsetJump { from, to: 1000, lossless });
        let backfill = |found: u64, jump, count| {
            let mut live = live(10);
            live.on_publication(at(found));
            live.mark_possibly_stale();
            assert_eq!(live.start_read(), order(Some(10)));
            live.on_read_completed(at(found), jump, count).0
        };
        assert_eq!(backfill(1000, jump(10, true), 0), Backfill { deliver: 0, gap: false });
        assert_eq!(backfill(1002, jump(12, true), 4), Backfill { deliver: 4, gap: false });
        assert_eq!(backfill(1002, jump(12, false), 4), Backfill { deliver: 4, gap: true });
        assert_eq!(
            backfill(1002, jump(8, true), 2),
            Backfill { deliver: 2, gap: true },
            "10 was heard, and is forgotten"
        );
    }

    #[test]
    fn a_read_that_tells_of_the_epoch_before_counts_for_nothing() {
        let mut live = live(3);
        live.enqueue(ask(Since::Position(at(2))), Instant::now());
        assert_eq!(live.start_read(), order(Some(2)));
        assert_eq!(live.on_publication(Position { epoch: 2, offset: 1 }), Disposition::NewEpoch);
        let (backfill, answered) = live.on_read_completed(at(3), None, 1);
        assert_eq!((backfill, answered.len()), (Backfill::default(), 0));
        assert_eq!(
            live.position(),
            Some(Position { epoch: 2, offset: 1 }),
            "what was passed on is not passed on again"
        );
        assert_eq!(live.start_read(), order(Some(2)), "who asked is answered by the next one");
        assert_eq!(live.on_read_completed(Position { epoch: 2, offset: 1 }, None, 0).1.len(), 1);
    }

    #[test]
    fn a_channel_is_subscribed_to_once_and_again_after_the_link_was_lost() {
        let mut live = RoomState::new(true, false);
        live.add_shard(0);
        assert_eq!(live.start_read(), Some(ReadRequest { after: None, subscribe: true }));
        live.on_read_completed(at(3), None, 0);
        live.mark_possibly_stale();
        assert_eq!(live.start_read(), Some(ReadRequest { after: Some(3), subscribe: false }));
        live.mark_unsubscribed();
        live.on_read_completed(at(3), None, 0);
        let again = Some(ReadRequest { after: Some(3), subscribe: true });
        assert_eq!(live.start_read(), again, "and read, since something may have come while nobody listened");
        live.mark_unsubscribed();
        assert_eq!(live.on_read_completed(at(4), None, 1).0, Backfill { deliver: 1, gap: false });
        assert_eq!(live.start_read().map(|order| order.subscribe), Some(true), "that was on the link before");
    }

    #[test]
    fn a_room_without_a_history_is_subscribed_to_and_asks_for_nothing_more() {
        let mut live = RoomState::new(false, false);
        live.add_shard(0);
        live.enqueue(ask(Since::FirstJoin), Instant::now());
        assert_eq!(live.start_read(), Some(ReadRequest { after: None, subscribe: true }));
        assert!(!live.is_ready_without_history());
        assert_eq!(live.on_subscribed().len(), 1);
        assert!(live.is_ready_without_history() && !live.needs_read());
        live.mark_unsubscribed();
        live.mark_possibly_stale();
        assert_eq!(live.start_read(), Some(ReadRequest { after: None, subscribe: true }));
    }

    #[test]
    fn a_room_is_not_over_while_it_is_read() {
        let mut live = live(1);
        live.mark_possibly_stale();
        live.start_read();
        assert!(!live.remove_shard(0));
        live.on_read_completed(at(1), None, 0);
        assert!(live.can_be_dropped());
    }

    #[test]
    fn a_room_rests_when_its_last_shard_does() {
        let mut live = live(1);
        live.add_shard(1);
        assert!(!live.remove_shard(0));
        assert!(live.remove_shard(1));
    }
}
