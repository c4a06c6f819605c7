//! Tests of the state of a room, event by event.

use super::*;
use crate::client::Client;
use crate::history::{ReplyTo, RequestId};
use std::time::Duration;

fn at(offset: u64) -> Position {
    Position { epoch: 1, offset }
}

fn in_epoch_2(offset: u64) -> Position {
    Position { epoch: 2, offset }
}

/// The position of a room that does not exist, at a time.
fn absent(millis: u64) -> Position {
    Position { epoch: Position::absent_epoch(7), offset: millis }
}

pub(super) fn request(since: Since) -> RecoveryRequest {
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
        client: Client::of([10, 0, 0, 1].into()),
        since,
        requested_at: Instant::now(),
    }
}

fn since(offset: u64) -> Since {
    Since::Position(at(offset))
}

fn read_after(after: Option<u64>) -> Option<ReadRequest> {
    Some(ReadRequest { after, subscribe_first: false })
}

pub(super) fn result(position: Position, count: usize) -> ReadResult {
    ReadResult { position, born: None, jump: None, count, confirms_newest: None }
}

fn backfill(deliver: usize, gap: bool) -> Backfill {
    Backfill { deliver, gap }
}

/// A room with a member whose first read returned `position`.
fn room_at(position: Position) -> RoomState {
    let mut room = RoomState::new(true, true);
    room.add_shard(0);
    assert_eq!(room.start_read(), read_after(None));
    room.on_read_completed(result(position, 0));
    room
}

#[test]
fn publications_in_order_are_delivered_and_duplicates_are_ignored() {
    let mut room = room_at(at(3));
    assert_eq!(room.on_publication(at(4), 0), Disposition::Deliver);
    assert_eq!(room.on_publication(at(4), 0), Disposition::Ignore);
    assert_eq!(room.on_publication(at(5), 0), Disposition::Deliver);
}

#[test]
fn lost_publication_is_detected_by_the_next_one_and_read() {
    let mut room = room_at(at(3));
    assert_eq!(room.on_publication(at(6), 0), Disposition::Backfill);
    assert_eq!(room.start_read(), read_after(Some(3)));
    assert_eq!(room.on_publication(at(7), 0), Disposition::Backfill, "what arrives meanwhile waits for its turn");
    assert_eq!(room.start_read(), None, "one read is in progress");
    assert_eq!(room.on_read_completed(result(at(7), 4)).0, backfill(4, false));
    assert_eq!(room.on_publication(at(8), 0), Disposition::Deliver);
}

#[test]
fn publication_that_arrives_during_a_read_and_is_not_in_it_is_read_next() {
    let mut room = room_at(at(3));
    room.on_publication(at(5), 0);
    room.start_read();
    room.on_publication(at(6), 0);
    assert_eq!(room.on_read_completed(result(at(5), 2)).0, backfill(2, false));
    assert_eq!(room.on_publication(at(7), 0), Disposition::Backfill);
    assert_eq!(room.start_read(), read_after(Some(5)), "6 is read even if no other publication follows");
    assert_eq!(room.on_read_completed(result(at(7), 2)).0, backfill(2, false));
    assert_eq!(room.start_read(), None);
}

#[test]
fn publications_that_the_history_does_not_have_are_a_gap() {
    let mut room = room_at(at(3));
    room.on_publication(at(200), 0);
    room.start_read();
    assert_eq!(room.on_read_completed(result(at(200), 100)).0, backfill(100, true));
}

#[test]
fn new_epoch_is_a_gap_and_is_read_from_its_beginning() {
    let mut room = room_at(at(3));
    assert_eq!(room.on_publication(in_epoch_2(3), 0), Disposition::Backfill);
    assert_eq!(room.start_read(), read_after(Some(3)));
    assert_eq!(room.on_read_completed(result(in_epoch_2(3), 0)).0, backfill(0, true));
    assert_eq!(room.start_read(), read_after(Some(0)));
    assert_eq!(room.on_read_completed(result(in_epoch_2(3), 3)).0, backfill(3, false));
    assert_eq!(room.start_read(), None);
}

#[test]
fn check_finds_what_no_publication_has_shown() {
    let mut room = room_at(at(3));
    assert_eq!(room.on_checked(result(at(3), 0), Some(at(3))), CheckResult::UpToDate);
    assert_eq!(room.on_checked(result(at(2), 0), Some(at(2))), CheckResult::UpToDate, "3 arrived during the check");
    assert_eq!(room.on_checked(result(at(4), 0), Some(at(3))), CheckResult::Behind);
    assert_eq!(room.start_read(), read_after(Some(3)));
    assert_eq!(room.on_read_completed(result(at(4), 1)).0, backfill(1, false));
}

#[test]
fn check_finds_a_new_epoch_without_a_publication() {
    let mut room = room_at(at(3));
    assert_eq!(room.on_checked(result(in_epoch_2(2), 0), Some(at(3))), CheckResult::Behind);
    assert_eq!(room.start_read(), read_after(Some(3)));
    assert_eq!(room.on_read_completed(result(in_epoch_2(2), 0)).0, backfill(0, true));
    assert_eq!(room.start_read(), read_after(Some(0)));
    assert_eq!(room.on_read_completed(result(in_epoch_2(2), 2)).0, backfill(2, false));
    assert_eq!(room.start_read(), None);
}

#[test]
fn requests_that_need_no_read_are_answered_at_once() {
    let room = room_at(at(3));
    let recovered = |since| room.immediate_recovery(since).map(|recovery| recovery.recovered);
    assert_eq!(recovered(Since::FirstJoin), Some(true));
    assert_eq!(recovered(since(3)), Some(true));
    assert_eq!(recovered(since(2)), None);
    assert_eq!(recovered(since(4)), None, "it may be on its way to this server");
    assert_eq!(recovered(Since::Beginning), None);
    assert_eq!(recovered(Since::Invalid), Some(false));
    assert_eq!(recovered(Since::Position(in_epoch_2(3))), Some(false), "a foreign epoch");
    assert!(RoomState::new(true, true).immediate_recovery(Since::FirstJoin).is_none(), "nothing is known yet");
}

#[test]
fn requests_share_one_read() {
    let mut room = room_at(at(9));
    let now = Instant::now();
    for offset in [5, 3, 4] {
        room.enqueue(request(since(offset)), now);
    }
    assert_eq!(room.start_read(), read_after(Some(3)));
    room.enqueue(request(since(4)), now);
    room.enqueue(request(since(1)), now);
    assert_eq!(room.start_read(), None, "one read is in progress");
    let (_, answered) = room.on_read_completed(result(at(9), 6));
    assert_eq!(answered.len(), 4, "the request for more waits for the next read");
    assert_eq!(room.start_read(), read_after(Some(1)));
}

#[test]
fn read_older_than_a_request_does_not_answer_it() {
    let mut room = room_at(at(3));
    let now = Instant::now();
    room.enqueue(request(since(2)), now);
    room.start_read();
    assert_eq!(room.on_publication(at(4), 0), Disposition::Deliver);
    room.enqueue(request(since(2)), now);
    let (_, answered) = room.on_read_completed(result(at(3), 1));
    assert_eq!(answered.len(), 1, "the second came after 4 was delivered, and would never receive it");
    room.start_read();
    assert_eq!(room.on_read_completed(result(at(4), 2)).1.len(), 1);
}

/// Issue 12, attack 3: a client that made reads of a room fail or take long muted it for all members of the server.
#[test]
fn publications_are_delivered_while_the_first_read_is_pending() {
    let mut room = RoomState::new(true, true);
    room.add_shard(0);
    room.enqueue(request(since(1)), Instant::now());
    assert_eq!(room.start_read(), read_after(Some(1)));
    assert_eq!(room.on_publication(at(4), 0), Disposition::Deliver);
    room.on_read_failed();
    assert_eq!(room.on_publication(at(5), 0), Disposition::Deliver);
    assert_eq!(room.start_read(), read_after(Some(1)), "the request is retried");
    let (first, answered) = room.on_read_completed(result(at(5), 4));
    assert_eq!((first, answered.len()), (backfill(0, false), 1), "nothing is delivered twice");
    assert_eq!(room.on_publication(at(6), 0), Disposition::Deliver);
}

#[test]
fn first_read_shows_whether_the_publications_before_it_were_delivered_completely() {
    let first_read = |found, first| {
        let mut room = RoomState::new(true, true);
        room.start_read();
        assert_eq!(room.on_publication(first, 0), Disposition::Deliver);
        room.on_read_completed(result(found, 0)).0
    };
    assert_eq!(first_read(at(3), at(4)), backfill(0, false));
    assert_eq!(first_read(at(5), at(4)), backfill(0, false), "5 is on its way");
    assert_eq!(first_read(at(2), at(4)), backfill(0, true), "3 was lost on the way");
    assert_eq!(first_read(absent(1), at(1)), backfill(0, false));
    assert_eq!(first_read(absent(1), at(2)), backfill(0, true));
    assert_eq!(first_read(at(3), in_epoch_2(1)), backfill(0, true));
    let mut room = RoomState::new(true, true);
    room.start_read();
    room.on_publication(at(1 << 50), 0);
    room.on_read_completed(result(at(3), 0));
    assert_eq!(room.start_read(), read_after(Some(3)), "a claimed position does not stay");
}

#[test]
fn large_request_that_fails_does_not_delay_what_others_miss() {
    let mut room = room_at(at(50));
    room.enqueue(request(Since::Beginning), Instant::now());
    room.on_publication(at(52), 0);
    assert_eq!(room.start_read(), read_after(Some(0)));
    room.on_read_failed();
    assert!(room.should_wait());
    assert_eq!(room.start_read(), read_after(Some(50)), "without the request");
    let (missing, answered) = room.on_read_completed(result(at(52), 2));
    assert_eq!((missing, answered.len()), (backfill(2, false), 0));
    assert_eq!(room.start_read(), read_after(Some(0)), "the request is retried");
}

#[test]
fn read_that_would_fail_again_answers_all_requests_and_delivery_goes_on() {
    let mut room = RoomState::new(true, true);
    room.add_shard(0);
    room.enqueue(request(since(1)), Instant::now());
    room.start_read();
    assert_eq!(room.on_read_rejected().len(), 1);
    assert_eq!(room.on_publication(at(4), 0), Disposition::DeliverAfterGap);
    assert_eq!(room.on_publication(at(5), 0), Disposition::Deliver);
    assert_eq!(room.start_read(), None);
    room.enqueue(request(since(1)), Instant::now());
    room.start_read();
    assert_eq!(room.on_read_rejected().len(), 1);
    assert_eq!(room.on_publication(at(6), 0), Disposition::Deliver, "the others have missed nothing");
    assert_eq!(room.on_publication(at(8), 0), Disposition::Backfill);
    room.start_read();
    room.on_read_rejected();
    assert_eq!(room.on_publication(at(9), 0), Disposition::DeliverAfterGap);
}

/// Issue 12, attack 10: a position that was never stored caused one read after the other.
#[test]
fn position_that_is_not_stored_causes_one_read() {
    let mut room = room_at(at(3));
    assert_eq!(room.on_publication(at(1 << 50), 0), Disposition::Backfill);
    assert_eq!(room.start_read(), read_after(Some(3)));
    assert_eq!(room.on_read_completed(result(at(3), 0)).0, backfill(0, false));
    assert_eq!(room.start_read(), None);
    assert_eq!(room.on_publication(at(4), 0), Disposition::Deliver);
}

/// Issue 12, attack 10: members missed the publications whose positions another publisher had claimed.
#[test]
fn claimed_position_is_found_by_the_true_one_or_by_a_check() {
    let mut room = room_at(at(3));
    assert_eq!(room.on_publication(at(4), 0xbad), Disposition::Deliver);
    assert_eq!(room.on_publication(at(4), 4), Disposition::DeliverAfterGap);
    assert_eq!(room.on_publication(at(4), 4), Disposition::Ignore);
    for claimed in 5..=7 {
        assert_eq!(room.on_publication(at(claimed), 0xbad), Disposition::Deliver);
    }
    assert_eq!(room.on_publication(at(5), 5), Disposition::DeliverAfterGap);
    room.enqueue(request(since(6)), Instant::now());
    assert_eq!(room.on_checked(result(at(5), 0), Some(at(7))), CheckResult::NotStored);
    assert_eq!(room.start_read(), read_after(Some(5)));
    let (missing, answered) = room.on_read_completed(result(at(6), 1));
    assert_eq!((missing, answered.len()), (backfill(1, false), 1));
    assert_eq!(room.on_publication(at(7), 7), Disposition::Deliver);
}

#[test]
fn read_or_check_verifies_the_newest_live_publication() {
    let confirms =
        |confirms, position, count| ReadResult { confirms_newest: Some(confirms), ..result(position, count) };
    let mut room = room_at(at(3));
    room.on_publication(at(4), 0xbad);
    assert_eq!(room.check_after(), Some(3));
    assert_eq!(room.on_checked(confirms(false, at(4), 1), Some(at(4))), CheckResult::NotStored);
    assert_eq!(room.start_read(), read_after(Some(3)));
    assert_eq!(room.on_read_completed(result(at(4), 1)).0, backfill(1, false), "what is stored");
    room.on_publication(at(5), 0xbad);
    room.on_publication(at(7), 7);
    assert_eq!(room.start_read(), read_after(Some(4)));
    assert_eq!(room.on_read_completed(confirms(false, at(7), 3)).0, backfill(3, true));
    // Verified: the history need not have it any more when a later one is read.
    room.on_publication(at(8), 8);
    assert_eq!(room.on_checked(confirms(true, at(8), 1), Some(at(8))), CheckResult::UpToDate);
    assert_eq!(room.check_after(), None);
    room.mark_possibly_stale();
    assert_eq!(room.start_read(), read_after(Some(8)));
    assert_eq!(room.on_read_completed(result(at(9), 1)).0, backfill(1, false));
}

#[test]
fn claimed_epoch_changes_nothing() {
    let mut room = room_at(at(3));
    assert_eq!(room.on_publication(in_epoch_2(1), 0), Disposition::Backfill);
    assert_eq!(room.start_read(), read_after(Some(3)));
    assert_eq!(room.on_read_completed(result(at(3), 0)).0, backfill(0, false));
    assert_eq!(room.start_read(), None);
    assert_eq!(room.on_publication(at(4), 0), Disposition::Deliver);
}

#[test]
fn reads_that_change_nothing_wait_for_the_next_tick() {
    let mut room = room_at(at(3));
    room.on_publication(at(1 << 50), 0);
    for read in 0..3 {
        assert_eq!(room.should_wait(), read >= 2);
        room.start_read();
        room.on_publication(at((1 << 50) + read), 0);
        room.on_read_completed(result(at(3), 0));
    }
    room.start_read();
    room.on_read_completed(result(at(4), 1));
    assert!(!room.should_wait());
}

#[test]
fn request_waits_a_limited_time_for_redis() {
    let mut room = RoomState::new(true, true);
    let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(60));
    room.enqueue(request(Since::FirstJoin), early);
    room.enqueue(request(Since::FirstJoin), late);
    room.start_read();
    assert_eq!(room.take_timed_out(early).len(), 1);
    assert_eq!(room.take_timed_out(early).len(), 0, "it was taken");
    room.on_read_failed();
    assert_eq!(room.start_read(), read_after(None), "the read is retried for the other");
}

#[test]
fn member_admitted_without_a_position_receives_a_gap_when_the_position_is_known() {
    let admitted = || {
        let mut room = RoomState::new(true, true);
        room.add_shard(0);
        room.enqueue(request(Since::FirstJoin), Instant::now());
        room.start_read();
        assert_eq!(room.take_timed_out(Instant::now()).len(), 1);
        room.on_read_failed();
        room
    };
    let mut room = admitted();
    room.start_read();
    assert_eq!(room.on_read_completed(result(at(1), 0)).0, backfill(0, true));
    room.mark_possibly_stale();
    room.start_read();
    assert_eq!(room.on_read_completed(result(at(1), 0)).0, Backfill::default(), "one notice is enough");
    let mut room = admitted();
    room.start_read();
    assert_eq!(room.on_read_completed(result(absent(1), 0)).0, Backfill::default(), "nothing was published");
    assert_eq!(admitted().on_publication(at(9), 0), Disposition::DeliverAfterGap);
}

#[test]
fn restart_of_redis_is_a_gap_only_if_something_is_lost() {
    let jump = |from, lossless| Some(OffsetJump { from, to: 1000, lossless });
    let after_restart = |found: u64, jump, count| {
        let mut room = room_at(at(10));
        room.on_publication(at(found), 0);
        room.mark_possibly_stale();
        assert_eq!(room.start_read(), read_after(Some(10)));
        room.on_read_completed(ReadResult { jump, ..result(at(found), count) }).0
    };
    assert_eq!(after_restart(1000, jump(10, true), 0), backfill(0, false));
    assert_eq!(after_restart(1002, jump(12, true), 4), backfill(4, false));
    assert_eq!(after_restart(1002, jump(12, false), 4), backfill(4, true));
    assert_eq!(after_restart(1002, jump(8, true), 2), backfill(2, true), "10 was received, and is forgotten");
}

#[test]
fn read_of_the_epoch_before_is_ignored() {
    let mut room = room_at(at(3));
    room.enqueue(request(since(2)), Instant::now());
    assert_eq!(room.start_read(), read_after(Some(2)));
    // A check finds the new epoch first.
    room.on_checked(result(in_epoch_2(1), 0), Some(at(3)));
    room.position = Some(in_epoch_2(1));
    room.needs_backfill = false;
    let (nothing, answered) = room.on_read_completed(result(at(3), 1));
    assert_eq!((nothing, answered.len()), (Backfill::default(), 0));
    assert_eq!(room.position(), Some(in_epoch_2(1)), "what was delivered is not delivered again");
    assert_eq!(room.start_read(), read_after(Some(2)), "the next read answers the request");
    assert_eq!(room.on_read_completed(result(in_epoch_2(1), 0)).1.len(), 1);
}

#[test]
fn first_publication_of_a_room_follows_its_absent_position() {
    let mut room = room_at(absent(100));
    assert_eq!(room.on_publication(at(1), 0), Disposition::Deliver);
    assert_eq!(room.on_publication(at(2), 0), Disposition::Deliver);
}

#[test]
fn room_that_was_created_unnoticed_is_read_from_its_beginning() {
    let created = |born: Position| {
        let mut room = room_at(absent(100));
        assert_eq!(room.on_publication(at(3), 0), Disposition::Backfill);
        assert_eq!(room.start_read(), read_after(Some(0)));
        room.on_read_completed(ReadResult { born: Some(born), ..result(at(3), 3) }).0
    };
    assert_eq!(created(absent(150)), backfill(3, false));
    let evicted = Position { epoch: Position::absent_epoch(8), offset: 150 };
    assert_eq!(created(evicted), backfill(3, true), "an earlier room of that name may have been evicted");
}

#[test]
fn position_of_an_absent_room_is_refreshed_and_a_forgotten_room_is_a_gap() {
    let mut room = room_at(absent(100));
    assert_eq!(room.on_checked(result(absent(200), 0), Some(absent(100))), CheckResult::UpToDate);
    assert_eq!(room.position(), Some(absent(200)));
    let overtaken = room.on_checked(result(absent(150), 0), Some(absent(200)));
    assert_eq!(overtaken, CheckResult::UpToDate, "the replies overtook each other");
    let other = Position { epoch: Position::absent_epoch(8), offset: 300 };
    let restarted = room.on_checked(result(other, 0), room.position());
    assert_eq!(restarted, CheckResult::Behind, "Redis restarted or evicted rooms");
    assert_eq!(room.start_read(), read_after(Some(0)));
    assert_eq!(room.on_read_completed(result(other, 0)).0, backfill(0, true));
    let mut room = room_at(at(3));
    assert_eq!(room.on_checked(result(absent(400), 0), Some(at(3))), CheckResult::Behind);
    room.start_read();
    assert_eq!(room.on_read_completed(result(absent(400), 0)).0, backfill(0, true));
    assert_eq!(room.start_read(), None);
}

#[test]
fn member_of_an_absent_room_has_missed_nothing_while_the_room_is_absent() {
    let room = room_at(absent(100));
    let recovered = |since| room.immediate_recovery(Since::Position(since)).map(|recovery| recovery.recovered);
    assert_eq!(recovered(absent(50)), Some(true));
    assert_eq!(recovered(absent(150)), Some(true), "another server asked Redis later");
    assert_eq!(recovered(Position { epoch: Position::absent_epoch(8), offset: 50 }), Some(false));
    assert_eq!(recovered(at(3)), Some(false), "that room is forgotten");
    assert_eq!(room_at(at(3)).immediate_recovery(Since::Position(absent(50))).map(|_| ()), None);
}

#[test]
fn channel_is_subscribed_first_and_again_after_a_lost_connection() {
    let mut room = RoomState::new(true, false);
    room.add_shard(0);
    assert_eq!(room.start_read(), Some(ReadRequest { after: None, subscribe_first: true }));
    room.on_read_completed(result(at(3), 0));
    room.mark_possibly_stale();
    assert_eq!(room.start_read(), read_after(Some(3)));
    room.mark_unsubscribed();
    room.on_read_completed(result(at(3), 0));
    let again = Some(ReadRequest { after: Some(3), subscribe_first: true });
    assert_eq!(room.start_read(), again, "and reads: nothing arrived while it was not subscribed");
    room.mark_unsubscribed();
    assert_eq!(room.on_read_completed(result(at(4), 1)).0, backfill(1, false));
    let read = room.start_read().map(|read| read.subscribe_first);
    assert_eq!(read, Some(true), "that subscription was on the previous connection");
}

#[test]
fn room_without_history_is_subscribed_and_reads_nothing() {
    let mut room = RoomState::new(false, false);
    room.add_shard(0);
    room.enqueue(request(Since::FirstJoin), Instant::now());
    let subscribe = Some(ReadRequest { after: None, subscribe_first: true });
    assert_eq!(room.start_read(), subscribe);
    assert!(!room.is_ready_without_history());
    assert_eq!(room.on_subscribed().len(), 1);
    assert!(room.is_ready_without_history() && !room.needs_read());
    room.mark_unsubscribed();
    room.mark_possibly_stale();
    assert_eq!(room.start_read(), subscribe);
}

#[test]
fn room_is_not_dropped_during_a_read() {
    let mut room = room_at(at(1));
    room.mark_possibly_stale();
    room.start_read();
    assert!(!room.remove_shard(0));
    room.on_read_completed(result(at(1), 0));
    assert!(room.can_be_dropped());
}

#[test]
fn room_is_dropped_when_its_last_shard_has_no_members() {
    let mut room = room_at(at(1));
    room.add_shard(1);
    assert!(!room.remove_shard(0));
    assert!(room.remove_shard(1));
}

#[test]
fn requests_wait_for_the_pause_after_a_read_and_share_the_next_one() {
    let mut room = room_at(at(3));
    room.enqueue(request(since(1)), Instant::now());
    assert_eq!(room.start_read(), read_after(Some(1)));
    assert_eq!(room.on_read_completed(result(at(3), 2)).1.len(), 1);
    room.start_pause();
    room.enqueue(request(since(2)), Instant::now());
    room.enqueue(request(since(1)), Instant::now());
    assert_eq!(room.start_read(), None);
    assert!(!room.can_be_dropped());
    room.end_pause();
    assert_eq!(room.start_read(), read_after(Some(1)));
    assert_eq!(room.on_read_completed(result(at(3), 2)).1.len(), 2);
}

#[test]
fn what_is_missing_is_read_at_once_during_a_pause() {
    let mut room = room_at(at(3));
    room.start_pause();
    room.enqueue(request(since(1)), Instant::now());
    assert_eq!(room.on_publication(at(5), 0), Disposition::Backfill);
    assert_eq!(room.start_read(), read_after(Some(1)), "the members do not wait, and nor does the request");
    let (missing, answered) = room.on_read_completed(result(at(5), 4));
    assert_eq!((missing, answered.len()), (backfill(2, false), 1));
}
