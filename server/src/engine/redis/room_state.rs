//! The state of one room with members on this server: pure decisions, no I/O.
//!
//! The rule: the members of a room receive its publications without a gap and in the order of their offsets. A publication
//! that was lost on the way from Redis is detected by its offset and read from the history. If the history does not have
//! it any more, the members receive a gap notice. What one client requests never delays what the others receive.
//!
//! | state | `position` | `has_gap` | a publication arrives | a read returns |
//! |---|---|---|---|---|
//! | unknown | `None` | no | delivered: the state is *current* from there on | *current* |
//! | unknown, stale | `None` | yes | not delivered: the next read includes it | *gap*, then a second read |
//! | absent | absent | no | the first of a room is delivered: *current*; any other: *gap* | *absent*, or *current* |
//! | current | of a publication | no | the next offset is delivered, a newer one or a new epoch: *gap* | *current* |
//! | gap | absent or not | yes | not delivered: a read includes it | *current*, with a notice if something is lost |
//!
//! `newest_undelivered` is the newest publication that was not delivered and that the read in progress may not include.
//! If there is one when the read returns, the state is *gap* again.
//!
//! Only the script assigns positions, but any program that may publish in Redis can write one into a publication. So a position is
//! a claim until it is compared with the history: one that is not the next causes a read, which moves the state to what is
//! stored; and a check finds a delivered position that is not stored. Its members receive a gap notice.
//!
//! [`super::subscriber`] executes the decisions.

use super::script::HistorySlice;
use crate::history::{Recovery, RecoveryRequest, Since};
use crate::publication::Publication;
use nodevent_protocol::history::{OffsetJump, Position};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Instant;

/// Reads in a row that may change nothing before the next one has to wait.
const MAX_VAIN_READS: u8 = 2;

/// A room with members on this server.
#[derive(Debug)]
pub(super) struct RoomState {
    /// The shards on which it has members, one bit each.
    shards: u64,
    /// The position up to which everything was delivered. `None`: not known yet.
    position: Option<Position>,
    /// The offset of the first publication that was delivered while the position was unknown, until a read returns.
    delivered_from: Option<u64>,
    /// A hash of the publication at `position`, if it arrived live.
    newest_hash: Option<u64>,
    /// Whether a read has shown that this publication is the stored one.
    newest_verified: bool,
    /// Requests that wait for a read.
    pending: Vec<PendingRecovery>,
    /// The read in progress.
    in_flight: Option<ReadInFlight>,
    /// Whether publications may be missing: they must be read before anything else is delivered.
    has_gap: bool,
    /// The newest publication that was not delivered, if it arrived after the start of the last read.
    newest_undelivered: Option<Position>,
    /// Whether members were admitted while the position was unknown. They may have missed something.
    admitted_without_position: bool,
    /// Whether the last read failed.
    last_read_failed: bool,
    /// How many reads in a row changed nothing although something is missing.
    vain_reads: u8,
    /// Whether it has a history. Without one it has no position, and a read only subscribes.
    has_history: bool,
    /// Whether its channel is subscribed.
    subscribed: bool,
}

/// A request of a new member.
#[derive(Debug)]
struct PendingRecovery {
    request: RecoveryRequest,
    queued_at: Instant,
    /// The read must show at least this position. What was delivered before the request is not buffered for its member.
    min_position: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ReadInFlight {
    /// The offset after which it reads. `None`: the position alone.
    after: Option<u64>,
    /// The room's position when it started.
    position: Option<Position>,
    /// Whether it subscribes first, on the present connection.
    subscribe_first: bool,
}

/// A read to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadRequest {
    /// The offset after which to read. `None`: the position alone.
    pub(super) after: Option<u64>,
    /// Whether to subscribe to the room's channel first.
    pub(super) subscribe_first: bool,
}

/// What to do with a publication from Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// Deliver it.
    Deliver,
    /// Ignore it: it was delivered before, or the read in progress covers it.
    Ignore,
    /// Read the history: something before it is missing. The read returns the publication too.
    Gap,
    /// Notify the members of a gap, then deliver it.
    DeliverAfterGap,
}

/// The result of comparing the delivered position with the stored one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CheckResult {
    /// Everything was delivered.
    UpToDate,
    /// Publications are missing: read the history.
    Behind,
    /// The delivered position is not stored: notify the members of a gap, and read the history.
    NotStored,
}

/// What to do with the publications of a read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Backfill {
    /// How many of the last publications to deliver.
    pub(super) deliver: usize,
    /// Whether publications before them are lost: notify the members first.
    pub(super) gap: bool,
}

/// What a read says about a room, without the publications themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadResult {
    /// The room's position.
    pub(super) position: Position,
    /// The absent position at which the room was created.
    pub(super) born: Option<Position>,
    /// The last jump of its offset.
    pub(super) jump: Option<OffsetJump>,
    /// How many publications were read.
    pub(super) count: usize,
    /// Whether the newest publication that was delivered live is the stored one. `None`: the read does not include it.
    pub(super) confirms_newest: Option<bool>,
}

// === impl ReadResult ===

impl ReadResult {
    /// Summarizes a read. `newest` is [`RoomState::unverified`] when the read returned.
    pub(super) fn new(
        slice: &HistorySlice,
        publications: &[Arc<Publication>],
        newest: Option<(Position, u64)>,
    ) -> Self {
        let confirms_newest = newest.and_then(|(position, hash)| {
            let mut stored = publications.iter().filter(|one| one.position == Some(position));
            stored.next().map(|one| hash_of(&one.text) == hash)
        });
        let &HistorySlice { position, born, jump, .. } = slice;
        Self { position, born, jump, count: publications.len(), confirms_newest }
    }
}

/// Returns a hash of a publication's text, to distinguish two publications with one position.
pub(super) fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

// === impl RoomState ===

impl RoomState {
    /// Returns the state of a room for which nothing is known yet.
    pub(super) fn new(has_history: bool, subscribed: bool) -> Self {
        Self {
            has_history,
            subscribed,
            shards: 0,
            position: None,
            delivered_from: None,
            newest_hash: None,
            newest_verified: false,
            pending: Vec::new(),
            in_flight: None,
            has_gap: false,
            newest_undelivered: None,
            admitted_without_position: false,
            last_read_failed: false,
            vain_reads: 0,
        }
    }

    /// Records that a shard has members of the room.
    pub(super) fn add_shard(&mut self, shard: u8) {
        self.shards |= 1 << (shard % 64);
    }

    /// Records that a shard has no members any more. Returns whether the state can be dropped.
    pub(super) fn remove_shard(&mut self, shard: u8) -> bool {
        self.shards &= !(1 << (shard % 64));
        self.can_be_dropped()
    }

    /// Returns whether the room has no members, no requests, and no read in progress whose result would need this state.
    pub(super) fn can_be_dropped(&self) -> bool {
        self.shards == 0 && self.pending.is_empty() && self.in_flight.is_none()
    }

    /// Returns whether the room has a history.
    pub(super) fn has_history(&self) -> bool {
        self.has_history
    }

    /// Returns whether requests can be answered at once because there is no history and the channel is subscribed.
    pub(super) fn is_ready_without_history(&self) -> bool {
        !self.has_history && self.subscribed
    }

    /// Returns the position up to which everything was delivered.
    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }

    /// Returns the position and the hash of the newest publication, if it arrived live and is not verified.
    pub(super) fn unverified(&self) -> Option<(Position, u64)> {
        self.position.zip(self.newest_hash).filter(|_| !self.newest_verified)
    }

    /// Returns the offset after which a check reads. `None`: only the position is compared.
    pub(super) fn check_after(&self) -> Option<u64> {
        self.unverified().map(|(position, _)| position.offset.saturating_sub(1))
    }

    fn set_newest(&mut self, position: Position, hash: u64) {
        (self.position, self.newest_hash, self.newest_verified) = (Some(position), Some(hash), false);
    }

    /// Returns the recovery of a member if it needs no read: the member has received everything, or claims a position from
    /// which nothing can be recovered.
    pub(super) fn immediate_recovery(&self, since: Since) -> Option<Recovery> {
        let position = self.position.filter(|_| !self.has_gap)?;
        match since {
            Since::FirstJoin => Some(Recovery::up_to_date(position)),
            Since::Invalid => Some(Recovery::missed(position)),
            Since::Position(since) if since == position => Some(Recovery::up_to_date(position)),
            Since::Position(since) if since.is_absent() && position.is_absent() => {
                let unchanged = since.is_absent_until(position) || position.is_absent_until(since);
                Some(if unchanged { Recovery::up_to_date(position) } else { Recovery::missed(position) })
            }
            // Whether the room was created after that, the read says.
            Since::Position(since) if since.is_absent() => None,
            Since::Position(since) if since.epoch != position.epoch => Some(Recovery::missed(position)),
            Since::Position(_) | Since::Beginning => None,
        }
    }

    /// Queues a request that needs a read.
    pub(super) fn enqueue(&mut self, request: RecoveryRequest, now: Instant) {
        self.pending.push(PendingRecovery { request, queued_at: now, min_position: self.position });
    }

    /// Records that publications may have been lost on the way.
    pub(super) fn mark_possibly_stale(&mut self) {
        self.has_gap = self.has_history;
    }

    /// Records that the channel may not be subscribed any more.
    pub(super) fn mark_unsubscribed(&mut self) {
        self.subscribed = false;
        if let Some(read) = &mut self.in_flight {
            read.subscribe_first = false;
        }
    }

    /// Returns whether a read is needed and none is in progress.
    pub(super) fn needs_read(&self) -> bool {
        let incomplete = self.has_history && (self.has_gap || self.position.is_none());
        self.in_flight.is_none() && (incomplete || !self.subscribed || !self.pending.is_empty())
    }

    /// Returns whether the next read should wait for the next tick, because the last ones failed or changed nothing.
    pub(super) fn should_wait(&self) -> bool {
        self.last_read_failed || self.vain_reads >= MAX_VAIN_READS
    }

    /// Starts the next read, if one is needed.
    pub(super) fn start_read(&mut self) -> Option<ReadRequest> {
        if !self.needs_read() {
            return None;
        }
        // While the channel was not subscribed something may have been published.
        let own = self.position.filter(|_| self.has_gap || !self.subscribed);
        // Including the newest live publication, to verify it.
        let verified = u64::from(self.unverified().is_some());
        let own =
            own.map(|position| if position.is_absent() { 0 } else { position.offset.saturating_sub(verified) });
        let requested = self.pending.iter().filter_map(|pending| match pending.request.since {
            Since::Position(since) if since.is_absent() => Some(0),
            Since::Position(since) => Some(since.offset),
            Since::Beginning => Some(0),
            Since::FirstJoin | Since::Invalid => None,
        });
        let after = match own {
            // A member may have requested more than Redis returns in time. The others do not wait for it.
            Some(own) if self.last_read_failed => Some(own),
            own => requested.chain(own).min(),
        };
        let (position, subscribe_first) = (self.position, !self.subscribed);
        // The script stores before it publishes, so this read includes every publication that has arrived.
        self.newest_undelivered = None;
        self.in_flight = Some(ReadInFlight { after, position, subscribe_first });
        Some(ReadRequest { after, subscribe_first })
    }

    /// Decides what happens to a publication from Redis. `hash` is that of its text.
    pub(super) fn on_publication(&mut self, position: Position, hash: u64) -> Disposition {
        let Some(known) = self.position else {
            if self.has_gap {
                self.newest_undelivered = Some(position);
                return Disposition::Ignore;
            }
            // Members whose recovery is pending have it buffered. The read in progress shows whether it is the next one.
            self.set_newest(position, hash);
            self.delivered_from = Some(position.offset);
            return match std::mem::take(&mut self.admitted_without_position) {
                true => Disposition::DeliverAfterGap,
                false => Disposition::Deliver,
            };
        };
        if position.epoch == known.epoch && position.offset <= known.offset {
            // What was read may still arrive. But publications arrive in order, and each one time: if another one with this
            // position or a later one has arrived, one of the two was not published by the script.
            let is_expected = match self.newest_hash {
                Some(newest) => position == known && newest == hash,
                None => true,
            };
            if is_expected {
                return Disposition::Ignore;
            }
            if position == known {
                self.set_newest(position, hash);
            }
            return Disposition::DeliverAfterGap;
        }
        let is_next = match known.is_absent() {
            true => position.offset == 1,
            false => position.epoch == known.epoch && position.offset == known.offset + 1,
        };
        if self.has_gap || !is_next {
            self.has_gap = true;
            self.newest_undelivered = Some(position);
            return Disposition::Gap;
        }
        self.set_newest(position, hash);
        Disposition::Deliver
    }

    /// Compares the position that Redis has, and the newest publication, with what was delivered. `at_start` is the
    /// delivered position when Redis was asked.
    pub(super) fn on_checked(&mut self, read: ReadResult, at_start: Option<Position>) -> CheckResult {
        let ReadResult { position: stored, confirms_newest, .. } = read;
        let Some(known) = self.position else { return CheckResult::UpToDate };
        self.newest_verified |= confirms_newest == Some(true);
        if confirms_newest == Some(false) {
            // Read again what is stored there.
            self.position = Some(Position { offset: known.offset.saturating_sub(1), ..known });
            (self.newest_hash, self.has_gap) = (None, true);
            return CheckResult::NotStored;
        }
        if self.reset_if_not_stored(stored, at_start) {
            self.has_gap = true;
            return CheckResult::NotStored;
        }
        let is_behind = if known.is_absent_until(stored) {
            // Later members receive a position that is not older than necessary.
            self.position = Some(stored);
            false
        } else {
            known.epoch != stored.epoch || (known.offset < stored.offset && !known.is_absent())
        };
        self.has_gap |= is_behind;
        if is_behind { CheckResult::Behind } else { CheckResult::UpToDate }
    }

    /// Moves the position back to `stored` if it was delivered before Redis was asked, and Redis does not have it. The
    /// script stores before it publishes.
    fn reset_if_not_stored(&mut self, stored: Position, at_start: Option<Position>) -> bool {
        let is_stored = |position: Position| {
            position.is_absent() || position.epoch != stored.epoch || position.offset <= stored.offset
        };
        if self.position.is_none_or(|known| known.epoch != stored.epoch) || at_start.is_none_or(is_stored) {
            return false;
        }
        (self.position, self.newest_hash) = (Some(stored), None);
        for pending in &mut self.pending {
            pending.min_position = pending.min_position.filter(|min| is_stored(*min));
        }
        true
    }

    /// Takes the result of a read. Returns what to deliver, and the requests that the read answers.
    pub(super) fn on_read_completed(&mut self, read: ReadResult) -> (Backfill, Vec<RecoveryRequest>) {
        let before = (self.position, self.has_gap);
        let in_flight = self.take_in_flight();
        let after = in_flight.and_then(|in_flight| in_flight.after);
        let at_start = in_flight.and_then(|in_flight| in_flight.position);
        self.last_read_failed = false;
        let is_outdated = self.position.is_some_and(|known| known.epoch != read.position.epoch)
            && at_start.is_some_and(|at_start| at_start.epoch == read.position.epoch);
        if is_outdated {
            // The epoch has changed since the read started, and its result is from the one before.
            return (Backfill::default(), Vec::new());
        }
        let was_reset = self.reset_if_not_stored(read.position, at_start);
        let mut backfill = self.advance_to(read, after);
        backfill.gap |= was_reset;
        if before.0 != self.position {
            self.newest_hash = None;
        }
        self.rearm_if_newer();
        let was_vain = self.has_gap && before == (self.position, true);
        self.vain_reads = if was_vain { self.vain_reads.saturating_add(1) } else { 0 };
        (backfill, self.take_answerable(read.position, after))
    }

    /// Moves the position to that of a read, as far as the read shows everything in between.
    fn advance_to(&mut self, read: ReadResult, after: Option<u64>) -> Backfill {
        let ReadResult { position: found, born, jump, count, confirms_newest } = read;
        let delivered_from = self.delivered_from.take();
        let Some(known) = self.position else {
            self.position = Some(found);
            // Members that were admitted without a position may have missed what was published since then.
            let missed = std::mem::take(&mut self.admitted_without_position);
            return Backfill { deliver: 0, gap: missed && !found.is_absent() && found.offset > 0 };
        };
        if let Some(first) = delivered_from {
            // What was delivered before this read returned must follow what the read shows.
            let follows = match found.epoch == known.epoch {
                true => found.offset + 1 >= first,
                false => found.is_absent() && first == 1,
            };
            if !follows {
                // Something was lost, or the publication had no true position: continue from what is stored.
                (self.position, self.has_gap) = (Some(found), true);
            }
            return Backfill { deliver: 0, gap: !follows };
        }
        if found.is_absent() {
            let unchanged = known.is_absent_until(found) || found.is_absent_until(known);
            self.position = Some(if unchanged && known.offset > found.offset { known } else { found });
            self.has_gap = false;
            return Backfill { deliver: 0, gap: !unchanged };
        }
        // The position from which this room continues, and whether it continues from there without a gap.
        let (start, follows) = match known.is_absent() {
            true => (Position { offset: 0, ..found }, born.is_some_and(|born| known.is_absent_until(born))),
            false => (known, true),
        };
        if start.epoch != found.epoch {
            self.position = Some(Position { offset: 0, ..found });
            self.has_gap = found.offset > 0;
            return Backfill { deliver: 0, gap: true };
        }
        // The newest live publication is verified. If another one is stored there, that one is delivered too.
        let to_verify = self.unverified().is_some();
        let verified_from = start.offset.saturating_sub(u64::from(to_verify));
        let contradicts_newest = confirms_newest == Some(false);
        self.newest_verified |= confirms_newest == Some(true);
        if contradicts_newest {
            self.newest_hash = None;
        }
        if found.offset <= start.offset {
            // Nothing is missing, or what is missing was published after this read.
            self.has_gap = false;
            return Backfill { deliver: usize::from(contradicts_newest), gap: contradicts_newest };
        }
        if after.is_none_or(|after| after > verified_from) {
            // This read does not include what is missing. For a room that was created, the next one must.
            self.has_gap |= known.is_absent();
            return Backfill { deliver: 0, gap: contradicts_newest };
        }
        // What was to be verified may have left the history.
        let is_unverified = to_verify && confirms_newest != Some(true);
        let missing = found.count_since(start, jump).and_then(|missing| usize::try_from(missing).ok());
        self.position = Some(found);
        self.has_gap = false;
        Backfill {
            deliver: missing.map_or(count, |missing| (missing + usize::from(contradicts_newest)).min(count)),
            gap: !follows || is_unverified || missing.is_none_or(|missing| missing > count),
        }
    }

    /// Requires another read if a publication arrived during this one and is newer.
    fn rearm_if_newer(&mut self) {
        if let (Some(newest), Some(known)) = (self.newest_undelivered, self.position) {
            if newest.epoch == known.epoch && newest.offset <= known.offset {
                self.newest_undelivered = None;
            } else {
                self.has_gap = true;
            }
        }
    }

    /// Takes the requests that a read answers.
    fn take_answerable(&mut self, found: Position, after: Option<u64>) -> Vec<RecoveryRequest> {
        self.take_pending(|pending| {
            let new_enough =
                pending.min_position.is_none_or(|min| min.epoch != found.epoch || min.offset <= found.offset);
            let far_enough = match pending.request.since {
                Since::Beginning => found.is_absent() || after == Some(0),
                Since::Position(since) if since.is_absent() => found.is_absent() || after == Some(0),
                // Nothing can be recovered from another epoch.
                Since::Position(since) => {
                    since.epoch != found.epoch || after.is_some_and(|after| after <= since.offset)
                }
                Since::FirstJoin | Since::Invalid => true,
            };
            new_enough && far_enough
        })
    }

    /// Takes the requests for which `take` is true.
    fn take_pending(&mut self, take: impl Fn(&PendingRecovery) -> bool) -> Vec<RecoveryRequest> {
        let pending = std::mem::take(&mut self.pending);
        let (taken, rest): (Vec<PendingRecovery>, Vec<PendingRecovery>) = pending.into_iter().partition(take);
        self.pending = rest;
        taken.into_iter().map(|pending| pending.request).collect()
    }

    /// Takes the requests that the subscription of a room without history answers.
    pub(super) fn on_subscribed(&mut self) -> Vec<RecoveryRequest> {
        self.take_in_flight();
        self.last_read_failed = false;
        if !self.subscribed {
            return Vec::new();
        }
        self.take_pending(|_| true)
    }

    fn take_in_flight(&mut self) -> Option<ReadInFlight> {
        let read = self.in_flight.take();
        self.subscribed |= read.is_some_and(|read| read.subscribe_first);
        read
    }

    /// Records that a read failed. A retry may succeed.
    pub(super) fn on_read_failed(&mut self) {
        self.in_flight = None;
        self.last_read_failed = true;
    }

    /// Records that a read failed and would fail again. Returns all requests: their members are admitted without a
    /// recovery. If something was to be read for all members, the next publication is delivered after a gap notice.
    pub(super) fn on_read_rejected(&mut self) -> Vec<RecoveryRequest> {
        self.on_read_failed();
        if self.has_gap || self.position.is_none() {
            (self.position, self.delivered_from, self.has_gap) = (None, None, false);
            self.admitted_without_position = true;
        }
        self.take_pending(|_| true)
    }

    /// Takes the requests that were queued at or before `deadline`. Their members are admitted without a recovery.
    pub(super) fn take_timed_out(&mut self, deadline: Instant) -> Vec<RecoveryRequest> {
        if self.pending.iter().all(|pending| pending.queued_at > deadline) {
            return Vec::new();
        }
        self.admitted_without_position |= self.position.is_none();
        self.take_pending(|pending| pending.queued_at <= deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn request(since: Since) -> RecoveryRequest {
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

    fn since(offset: u64) -> Since {
        Since::Position(at(offset))
    }

    fn read_after(after: Option<u64>) -> Option<ReadRequest> {
        Some(ReadRequest { after, subscribe_first: false })
    }

    fn result(position: Position, count: usize) -> ReadResult {
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
        assert_eq!(room.on_publication(at(6), 0), Disposition::Gap);
        assert_eq!(room.start_read(), read_after(Some(3)));
        assert_eq!(room.on_publication(at(7), 0), Disposition::Gap, "what arrives meanwhile waits for its turn");
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
        assert_eq!(room.on_publication(at(7), 0), Disposition::Gap);
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
        assert_eq!(room.on_publication(in_epoch_2(3), 0), Disposition::Gap);
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
        assert_eq!(
            room.on_checked(result(at(2), 0), Some(at(2))),
            CheckResult::UpToDate,
            "3 arrived during the check"
        );
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
        assert_eq!(room.on_publication(at(8), 0), Disposition::Gap);
        room.start_read();
        room.on_read_rejected();
        assert_eq!(room.on_publication(at(9), 0), Disposition::DeliverAfterGap);
    }

    /// Issue 12, attack 10: a position that was never stored caused one read after the other.
    #[test]
    fn position_that_is_not_stored_causes_one_read() {
        let mut room = room_at(at(3));
        assert_eq!(room.on_publication(at(1 << 50), 0), Disposition::Gap);
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
        assert_eq!(room.on_publication(in_epoch_2(1), 0), Disposition::Gap);
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
        room.has_gap = false;
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
            assert_eq!(room.on_publication(at(3), 0), Disposition::Gap);
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

    /// A room in Redis, the messages on their way from it, and one member on this server.
    #[derive(Default)]
    struct Model {
        /// Creations of the room.
        epoch: u64,
        offset: u64,
        /// Identifies a time in which no room was forgotten.
        forgotten: u64,
        time: u64,
        born: Option<Position>,
        /// The stored publications: offset and number.
        log: Vec<(u64, usize)>,
        published: usize,
        /// Position and number of what is on its way. Claims have no number.
        on_the_way: Vec<(Position, Option<usize>)>,
        /// The read in progress: its result, and the publications that it returned.
        read: Option<(ReadResult, Vec<(u64, usize)>)>,
        check: Option<(ReadResult, Vec<(u64, usize)>, Option<Position>)>,
        /// What the member received: publications, and gap notices as `None`.
        received: Vec<Option<usize>>,
    }

    impl Model {
        fn position(&self) -> Position {
            match self.offset {
                0 => Position { epoch: Position::absent_epoch(self.forgotten), offset: self.time },
                offset => Position { epoch: self.epoch, offset },
            }
        }

        fn publish(&mut self, is_lost: bool) {
            if self.offset == 0 {
                self.born = Some(self.position());
                self.epoch += 1;
            }
            self.offset += 1;
            self.log.push((self.offset, self.published));
            if self.log.len() > 5 {
                self.log.remove(0);
            }
            if !is_lost {
                self.on_the_way.push((self.position(), Some(self.published)));
            }
            self.published += 1;
        }

        fn forget(&mut self) {
            (self.offset, self.born) = (0, None);
            self.log.clear();
            self.forgotten += 1;
        }

        /// A read after an offset, and the publications that it returns.
        fn read_after(&self, after: Option<u64>) -> (ReadResult, Vec<(u64, usize)>) {
            let after = after.unwrap_or(u64::MAX);
            let read: Vec<_> = self.log.iter().copied().filter(|(offset, _)| *offset > after).collect();
            (ReadResult { born: self.born, ..result(self.position(), read.len()) }, read)
        }

        fn confirms_newest(room: &RoomState, result: &ReadResult, read: &[(u64, usize)]) -> Option<bool> {
            let (newest, hash) = room.unverified().filter(|(newest, _)| newest.epoch == result.position.epoch)?;
            let stored = read.iter().find(|(offset, _)| *offset == newest.offset)?;
            Some(stored.1 as u64 == hash)
        }

        fn start_check(&mut self, room: &RoomState) {
            let (result, read) = self.read_after(room.check_after());
            self.check = room.position().map(|position| (result, read, Some(position)));
        }

        fn start_read(&mut self, room: &mut RoomState) {
            if let Some(request) = room.start_read() {
                self.read = Some(self.read_after(request.after));
            }
        }

        /// Completes the read. Returns the position in the reply to the member, if it is answered.
        fn complete_read(&mut self, room: &mut RoomState) -> bool {
            let Some((mut result, read)) = self.read.take() else { return false };
            result.confirms_newest = Self::confirms_newest(room, &result, &read);
            let (backfill, answered) = room.on_read_completed(result);
            if backfill.gap {
                self.received.push(None);
            }
            self.received.extend(read.iter().skip(read.len() - backfill.deliver).map(|(_, number)| Some(*number)));
            !answered.is_empty()
        }

        fn receive(&mut self, room: &mut RoomState) {
            if self.on_the_way.is_empty() {
                return;
            }
            let (position, number) = self.on_the_way.remove(0);
            let disposition = room.on_publication(position, number.map_or(u64::MAX, |number| number as u64));

            if disposition == Disposition::DeliverAfterGap {
                self.received.push(None);
            }
            if matches!(disposition, Disposition::Deliver | Disposition::DeliverAfterGap) {
                self.received.extend(number.map(Some));
            }
        }

        fn complete_check(&mut self, room: &mut RoomState) {
            let Some((mut result, read, at_start)) = self.check.take() else { return };
            result.confirms_newest = Self::confirms_newest(room, &result, &read);
            if room.on_checked(result, at_start) == CheckResult::NotStored {
                self.received.push(None);
            }
        }
    }

    /// Steps in a random order: publications that arrive or are lost, reads that succeed or fail, a Redis that forgets the
    /// room, and positions that another publisher claimed. The member receives every publication, or a gap notice in its place.
    /// Without claims and losses it receives none twice.
    #[test]
    fn no_gap_is_silent_whatever_happens() {
        use rand::rngs::StdRng;
        use rand::{Rng as _, SeedableRng as _};
        for seed in 0..3_000_u64 {
            let mut random = StdRng::seed_from_u64(seed);
            // A claim together with a loss at the same position cannot be detected.
            let (claims, forgets, losses) = (seed % 3 == 0, seed % 2 == 0, seed % 3 == 1);
            let (mut model, mut room) = (Model::default(), RoomState::new(true, true));
            room.add_shard(0);
            room.enqueue(request(Since::FirstJoin), Instant::now());
            // What was published before the read that admits the member does not matter.
            let mut admitted_at = None;
            for _ in 0..60 {
                model.time += 1;
                match random.random_range(0..12_u32) {
                    0..=2 => model.publish(losses && random.random_range(0..4_u32) == 0),
                    3..=5 => model.receive(&mut room),
                    6 | 7 => model.start_read(&mut room),
                    8 => {
                        let shown = model.read.as_ref().map(|(read, _)| *read);
                        if model.complete_read(&mut room) && admitted_at.is_none() {
                            admitted_at = shown;
                        }
                    }
                    9 if random.random_range(0..2_u32) == 0 => {
                        if model.read.take().is_some() {
                            room.on_read_failed();
                        }
                    }
                    9 => model.start_check(&room),
                    10 => model.complete_check(&mut room),
                    _ if claims => {
                        let ahead = [1, 1, 2, 1000][random.random_range(0..4_usize)];
                        let epoch = model.epoch + u64::from(random.random_range(0..4_u32) == 0);
                        let offset = model.offset + ahead;
                        model.on_the_way.push((Position { epoch, offset }, None));
                    }
                    _ if forgets && random.random_range(0..4_u32) == 0 => model.forget(),
                    _ => room.mark_possibly_stale(),
                }
            }
            // Everything calms down.
            while !model.on_the_way.is_empty() {
                model.receive(&mut room);
            }
            for _ in 0..8 {
                if model.read.is_some() {
                    model.complete_read(&mut room);
                }
                model.complete_check(&mut room);
                model.start_read(&mut room);
                model.complete_read(&mut room);
                model.time += 1;
                model.start_check(&room);
            }
            model.check = None;
            assert!(!room.needs_read(), "seed {seed}: {room:?}");
            let known = room.position().expect("a position");
            let is_current = known == model.position() || known.is_absent_until(model.position());
            assert!(is_current, "seed {seed}: {known} instead of {}", model.position());
            // Each number is there, or a notice that follows everything before it.
            let Some(admitted_at) = admitted_at else { continue };
            let live: Vec<usize> = model.received.iter().copied().flatten().collect();
            let newest = live.iter().copied().max().unwrap_or_default();
            let last_notice = model.received.iter().rposition(Option::is_none);
            let after_notice: Vec<usize> =
                model.received[last_notice.map_or(0, |index| index + 1)..].iter().copied().flatten().collect();
            if last_notice.is_none() {
                assert!(live.windows(2).all(|two| two[0] < two[1]) || claims, "seed {seed}: {:?}", model.received);
            }
            let gaps = after_notice.windows(2).any(|two| two[1] > two[0] + 1);
            assert!(!gaps, "seed {seed}: {:?} since {admitted_at:?}", model.received);
            // The newest stored publication was delivered, unless the member was admitted after it.
            if let Some((offset, number)) = model.log.last()
                && !(admitted_at.position.epoch == model.epoch && admitted_at.position.offset >= *offset)
            {
                let is_noticed = last_notice.is_some();
                assert!(*number <= newest || is_noticed, "seed {seed}: {number} {:?}", model.received);
            }
        }
    }
}
