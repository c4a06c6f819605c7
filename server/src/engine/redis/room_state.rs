//! The state of one room with members on this server: pure decisions, no I/O.
//!
//! The rule: the members of a room receive its publications without a gap and in the order of their offsets. A
//! publication that was lost on the way from Redis is detected by its offset and read from the history. If the history
//! does not have it any more, the members receive a gap notice. What one client requests never delays what the others
//! receive.
//!
//! | state | `position` | `needs_backfill` | a publication arrives | a read returns |
//! |---|---|---|---|---|
//! | unknown | `None` | no | delivered: the state is *current* from there on | *current* |
//! | unknown, stale | `None` | yes | not delivered: the next read includes it | *behind*, then a second read |
//! | absent | absent | no | the first of a room is delivered: *current*; any other: *behind* | *absent*, or *current* |
//! | current | of a publication | no | the next offset is delivered, a newer one or a new epoch: *behind* | *current* |
//! | behind | absent or not | yes | not delivered: a read includes it | *current*, with a notice if something is lost |
//!
//! `newest_undelivered` is the newest publication that was not delivered and that the read in progress may not include.
//! If there is one when the read returns, the state is *behind* again.
//!
//! Only the script assigns positions, but any program that may publish in Redis can write one into a publication. So a
//! position is a claim until it is compared with the history: one that is not the next causes a read, which moves the
//! state to what is stored; and a check finds a delivered position that is not stored. Its members receive a gap
//! notice.
//!
//! [`super::subscriber`] executes the decisions.

use super::script::HistorySlice;
use crate::client::Client;
use crate::history::{Recovery, RecoveryRequest, Since};
use crate::publication::Publication;
use nodevent_protocol::history::{OffsetJump, Position};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Instant;

/// Clients in whose turns a read may be.
const MAX_CLIENTS: usize = 16;
/// Reads in a row that may change nothing before the next one has to wait.
const MAX_READS_WITHOUT_PROGRESS: u8 = 2;

/// A room with members on this server.
#[derive(Debug)]
pub(super) struct RoomState {
    /// Whether it is the topic of all connections, whose channel is that of the namespace: it always has members, and its
    /// channel is always subscribed.
    permanent: bool,
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
    /// Whether a read has answered requests a moment ago. Later ones wait for the end of the pause.
    pausing: bool,
    /// The read in progress.
    in_flight: Option<ReadInFlight>,
    /// Whether publications may be missing: they must be read before anything else is delivered.
    needs_backfill: bool,
    /// The newest publication that was not delivered, if it arrived after the start of the last read.
    newest_undelivered: Option<Position>,
    /// Whether members were admitted while the position was unknown. They may have missed something.
    admitted_without_position: bool,
    /// Whether the last read failed.
    last_read_failed: bool,
    /// Number of reads in a row that changed nothing although something is missing.
    reads_without_progress: u8,
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

/// The decision about a publication from Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// Deliver it.
    Deliver,
    /// Ignore it: it was delivered before, or the read in progress covers it.
    Ignore,
    /// Read the history: something before it is missing. The read returns the publication too.
    Backfill,
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

/// The decision about the publications of a read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Backfill {
    /// Number of publications to deliver, counted from the last one.
    pub(super) deliver: usize,
    /// Whether publications before them are lost: notify the members first.
    pub(super) gap: bool,
}

/// The result of a read of a room, without the publications themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadResult {
    /// The room's position.
    pub(super) position: Position,
    /// The absent position at which the room was created.
    pub(super) born: Option<Position>,
    /// The last jump of its offset.
    pub(super) jump: Option<OffsetJump>,
    /// Number of publications that were read.
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
            permanent: false,
            shards: 0,
            position: None,
            delivered_from: None,
            newest_hash: None,
            newest_verified: false,
            pending: Vec::new(),
            in_flight: None,
            pausing: false,
            needs_backfill: false,
            newest_undelivered: None,
            admitted_without_position: false,
            last_read_failed: false,
            reads_without_progress: 0,
        }
    }

    /// Returns the state of the topic of all connections.
    pub(super) fn permanent(has_history: bool) -> Self {
        Self { permanent: true, ..Self::new(has_history, true) }
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
        !self.permanent && self.shards == 0 && self.pending.is_empty() && self.in_flight.is_none()
    }

    /// Returns whether publications for its members wait for a read.
    pub(super) fn is_behind(&self) -> bool {
        self.needs_backfill
    }

    /// Returns some of the clients whose requests wait for a read.
    pub(super) fn clients(&self) -> Vec<Client> {
        let mut clients: Vec<Client> = Vec::new();
        for PendingRecovery { request, .. } in &self.pending {
            if clients.len() >= MAX_CLIENTS {
                break;
            }
            if !clients.contains(&request.client) {
                clients.push(request.client);
            }
        }
        clients
    }

    /// Returns whether requests wait for a read.
    pub(super) fn has_requests(&self) -> bool {
        !self.pending.is_empty()
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

    /// Returns the recovery of a member if it needs no read: the member has received everything, or claims a position
    /// from which nothing can be recovered.
    pub(super) fn immediate_recovery(&self, since: Since) -> Option<Recovery> {
        let position = self.position.filter(|_| !self.needs_backfill)?;
        match since {
            Since::FirstJoin => Some(Recovery::up_to_date(position)),
            Since::Invalid => Some(Recovery::missed(position)),
            Since::Position(since) if since == position => Some(Recovery::up_to_date(position)),
            Since::Position(since) if since.is_absent() && position.is_absent() => {
                let unchanged = since.is_absent_until(position) || position.is_absent_until(since);
                Some(if unchanged { Recovery::up_to_date(position) } else { Recovery::missed(position) })
            }
            // The read shows whether the room was created after that.
            Since::Position(since) if since.is_absent() => None,
            Since::Position(since) if since.epoch != position.epoch => Some(Recovery::missed(position)),
            Since::Position(_) | Since::Beginning | Since::Time(_) => None,
        }
    }

    /// Queues a request that needs a read.
    pub(super) fn enqueue(&mut self, request: RecoveryRequest, now: Instant) {
        self.pending.push(PendingRecovery { request, queued_at: now, min_position: self.position });
    }

    /// Records that publications may have been lost on the way.
    pub(super) fn mark_possibly_stale(&mut self) {
        self.needs_backfill = self.has_history;
    }

    /// Records that the channel may not be subscribed any more.
    pub(super) fn mark_unsubscribed(&mut self) {
        if self.permanent {
            return;
        }
        self.subscribed = false;
        if let Some(read) = &mut self.in_flight {
            read.subscribe_first = false;
        }
    }

    /// Returns whether a read is needed and none is in progress.
    pub(super) fn needs_read(&self) -> bool {
        let incomplete = self.has_history && (self.needs_backfill || self.position.is_none());
        let requested = !self.pending.is_empty() && !self.pausing;
        self.in_flight.is_none() && (incomplete || !self.subscribed || requested)
    }

    /// Lets later requests wait, so that members who return at the same time share the next read. What is missing is read
    /// at once all the same.
    pub(super) fn start_pause(&mut self) {
        self.pausing = true;
    }

    /// Ends the pause: requests that have waited may be read for.
    pub(super) fn end_pause(&mut self) {
        self.pausing = false;
    }

    /// Returns whether the next read should wait for the next retry, because the last ones failed or changed nothing.
    pub(super) fn should_wait(&self) -> bool {
        self.last_read_failed || self.reads_without_progress >= MAX_READS_WITHOUT_PROGRESS
    }

    /// Starts the next read, if one is needed.
    pub(super) fn start_read(&mut self) -> Option<ReadRequest> {
        if !self.needs_read() {
            return None;
        }
        // While the channel was not subscribed something may have been published.
        let own = self.position.filter(|_| self.needs_backfill || !self.subscribed);
        // Including the newest live publication, to verify it.
        let verified = u64::from(self.unverified().is_some());
        let own =
            own.map(|position| if position.is_absent() { 0 } else { position.offset.saturating_sub(verified) });
        let requested = self.pending.iter().filter_map(|pending| match pending.request.since {
            Since::Position(since) if since.is_absent() => Some(0),
            Since::Position(since) => Some(since.offset),
            Since::Beginning => Some(0),
            Since::FirstJoin | Since::Time(_) | Since::Invalid => None,
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
            if self.needs_backfill {
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
        if self.needs_backfill || !is_next {
            self.needs_backfill = true;
            self.newest_undelivered = Some(position);
            return Disposition::Backfill;
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
            (self.newest_hash, self.needs_backfill) = (None, true);
            return CheckResult::NotStored;
        }
        if self.reset_if_not_stored(stored, at_start) {
            self.needs_backfill = true;
            return CheckResult::NotStored;
        }
        let is_behind = if known.is_absent_until(stored) {
            // Later members receive a position that is not older than necessary.
            self.position = Some(stored);
            false
        } else {
            known.epoch != stored.epoch || (known.offset < stored.offset && !known.is_absent())
        };
        self.needs_backfill |= is_behind;
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
        let before = self.position;
        let in_flight = self.take_in_flight();
        let after = in_flight.and_then(|in_flight| in_flight.after);
        let at_start = in_flight.and_then(|in_flight| in_flight.position);
        self.last_read_failed = false;
        let is_outdated = self.position.is_some_and(|known| known.epoch != read.position.epoch)
            && at_start.is_some_and(|at_start| at_start.epoch == read.position.epoch);
        if is_outdated {
            // The epoch has changed since the read started, and its result is from the one before.
            self.count_progress(before, false);
            return (Backfill::default(), Vec::new());
        }
        let was_reset = self.reset_if_not_stored(read.position, at_start);
        let mut backfill = self.advance_to(read, after);
        backfill.gap |= was_reset;
        if before != self.position {
            self.newest_hash = None;
        }
        self.rearm_if_newer();
        let answered = self.take_answerable(read.position, after);
        self.count_progress(before, !answered.is_empty());
        (backfill, answered)
    }

    /// Counts a read that leads to the next one although it has neither answered a request nor come closer to the end
    /// of a gap. Another epoch is not progress, nor is a later time of an absent room: a Redis whose replies contradict
    /// each other can name a new one each time.
    fn count_progress(&mut self, before: Option<Position>, answered: bool) {
        let advanced = match (before, self.position) {
            (Some(before), Some(now)) => {
                before.epoch == now.epoch && before.offset < now.offset && !now.is_absent()
            }
            (None, _) => true,
            (Some(_), None) => false,
        };
        let is_stuck = self.needs_read() && !answered && !(advanced && self.needs_backfill);
        self.reads_without_progress = if is_stuck { self.reads_without_progress.saturating_add(1) } else { 0 };
    }

    /// Moves the position to the one that a read found, as far as the read shows everything in between.
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
                (self.position, self.needs_backfill) = (Some(found), true);
            }
            return Backfill { deliver: 0, gap: !follows };
        }
        if found.is_absent() {
            let unchanged = known.is_absent_until(found) || found.is_absent_until(known);
            self.position = Some(if unchanged && known.offset > found.offset { known } else { found });
            self.needs_backfill = false;
            return Backfill { deliver: 0, gap: !unchanged };
        }
        // The position from which this room continues, and whether it continues from there without a gap.
        let (start, follows) = match known.is_absent() {
            true => (Position { offset: 0, ..found }, born.is_some_and(|born| known.is_absent_until(born))),
            false => (known, true),
        };
        if start.epoch != found.epoch {
            self.position = Some(Position { offset: 0, ..found });
            self.needs_backfill = found.offset > 0;
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
            self.needs_backfill = false;
            return Backfill { deliver: usize::from(contradicts_newest), gap: contradicts_newest };
        }
        if after.is_none_or(|after| after > verified_from) {
            // This read does not include what is missing. For a room that was created, the next one must.
            self.needs_backfill |= known.is_absent();
            return Backfill { deliver: 0, gap: contradicts_newest };
        }
        // The publication to verify may have been trimmed.
        let is_unverified = to_verify && confirms_newest != Some(true);
        let missing = found.count_since(start, jump).and_then(|missing| usize::try_from(missing).ok());
        self.position = Some(found);
        self.needs_backfill = false;
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
                self.needs_backfill = true;
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
                // The subscriber has replaced a time by a position.
                Since::FirstJoin | Since::Time(_) | Since::Invalid => true,
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
        if self.needs_backfill || self.position.is_none() {
            (self.position, self.delivered_from, self.needs_backfill) = (None, None, false);
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
mod hostile;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
