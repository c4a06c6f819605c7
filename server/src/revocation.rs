//! Revocations: tokens of a user, of a room, or of a user in a room that were issued before a time count no longer.
//!
//! Owns the decision and the bounded list that each server has in memory. Engines fill the list and remember it; shards end
//! the connections and memberships. No I/O.
//!
//! The times of revocations are compared with those of tokens, so they are wall clock times. Two rules make sure that a clock
//! that jumps makes no revocation worthless. One is forgotten only when its time is over by the wall clock and as much
//! monotonic time has passed. And if the clock has gone back behind the time of a token that was accepted, a revocation
//! from now on counts from that token on.

use crate::clock::now_ms;
use hashbrown::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Maximum number of revocations of a namespace.
pub const MAX_REVOCATIONS: usize = 100_000;

/// The time for which a revocation is remembered if tokens are not configured: as long as tokens are valid by default.
const DEFAULT_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);
/// How far clocks may differ if tokens are not configured.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);

/// A revocation.
#[derive(Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What is revoked.
    pub target: Target,
    /// Tokens that were issued before this time count no longer. Milliseconds since the Unix epoch.
    pub before_ms: u64,
    /// When all of them have expired. Milliseconds since the Unix epoch.
    pub until_ms: u64,
}

/// What a revocation is for. At least one is given.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// A user. `None`: everyone in the room.
    pub user: Option<Box<str>>,
    /// A room. `None`: the connections of the user.
    pub room: Option<Box<str>>,
}

/// The revocations of a namespace, as far as a server knows them.
#[derive(Debug)]
pub struct RevocationList {
    all: RwLock<HashMap<Target, Times>>,
    /// Whether there are any, so that most checks need no lock.
    is_used: AtomicBool,
    /// The time for which a revocation is remembered.
    memory: Duration,
    /// How far a token may be issued in the future, because clocks differ.
    leeway: Duration,
    /// The latest time at which an accepted token was issued. Milliseconds since the Unix epoch.
    newest_issued_ms: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    before_ms: u64,
    until_ms: u64,
    /// When it is over, whatever the wall clock does. `None`: never.
    until: Option<Instant>,
}

/// The present, on both clocks.
#[derive(Debug, Clone, Copy)]
struct Now {
    wall_ms: u64,
    instant: Instant,
}

/// The list is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {MAX_REVOCATIONS} revocations, which have not expired")]
pub struct ListFull;

// === impl Target ===

impl Target {
    /// The connections of a user.
    pub fn user(user: &str) -> Self {
        Self { user: Some(user.into()), room: None }
    }

    /// A room, or a user in it.
    pub fn room(room: &str, user: Option<&str>) -> Self {
        Self { user: user.map(Into::into), room: Some(room.into()) }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A user is a person.
        let (user, room) = (self.user.is_some(), self.room.is_some());
        f.debug_struct("Target").field("has_user", &user).field("has_room", &room).finish()
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation").field("target", &self.target).field("before_ms", &self.before_ms).finish()
    }
}

// === impl Now ===

impl Now {
    fn read() -> Self {
        Self { wall_ms: now_ms(), instant: Instant::now() }
    }
}

// === impl Times ===

impl Times {
    fn is_over(&self, now: Now) -> bool {
        self.until_ms <= now.wall_ms && self.until.is_some_and(|until| until <= now.instant)
    }
}

// === impl RevocationList ===

impl Default for RevocationList {
    fn default() -> Self {
        Self::new(DEFAULT_MEMORY, DEFAULT_LEEWAY)
    }
}

impl RevocationList {
    /// An empty list. `memory` is the longest time for which a token is valid, and `leeway` how far clocks may differ.
    pub fn new(memory: Duration, leeway: Duration) -> Self {
        let (is_used, newest_issued_ms) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { all: RwLock::default(), is_used, memory, leeway, newest_issued_ms }
    }

    /// A token or an identity of this time was accepted.
    pub fn accepted(&self, issued_ms: u64) {
        self.newest_issued_ms.fetch_max(issued_ms, Relaxed);
    }

    /// The time of a revocation from now on, in milliseconds since the Unix epoch: after all tokens that were accepted,
    /// also if the clock has gone back.
    pub fn now_ms(&self) -> u64 {
        self.after_accepted(now_ms())
    }

    fn after_accepted(&self, now_ms: u64) -> u64 {
        let newest_ms = self.newest_issued_ms.load(Relaxed);
        // As far as the leeway, a token may be from a machine whose clock is ahead.
        let leeway = u64::try_from(self.leeway.as_millis()).unwrap_or(u64::MAX);
        if newest_ms > now_ms.saturating_add(leeway) { newest_ms.saturating_add(1) } else { now_ms }
    }

    /// A revocation from now on. It is remembered until the tokens that it affects have expired.
    pub fn revocation(&self, target: Target, before_ms: u64) -> Revocation {
        let memory = u64::try_from(self.memory.as_millis()).unwrap_or(u64::MAX);
        Revocation { target, before_ms, until_ms: now_ms().saturating_add(memory) }
    }

    /// Adds a revocation. Two of one target are one, with the later times. Returns whether more tokens are rejected than
    /// before.
    ///
    /// # Errors
    /// [`ListFull`]: nothing has changed.
    pub fn add(&self, revocation: &Revocation) -> Result<bool, ListFull> {
        self.add_at(revocation, Now::read())
    }

    fn add_at(&self, revocation: &Revocation, now: Now) -> Result<bool, ListFull> {
        let Revocation { target, before_ms, until_ms } = revocation;
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_REVOCATIONS && !all.contains_key(target) {
            all.retain(|_, times| !times.is_over(now));
            if all.len() >= MAX_REVOCATIONS {
                return Err(ListFull);
            }
        }
        let until = now.instant.checked_add(Duration::from_millis(until_ms.saturating_sub(now.wall_ms)));
        let times = all.entry(target.clone()).or_insert(Times { before_ms: 0, until_ms: 0, until });
        let is_news = *before_ms > times.before_ms;
        times.before_ms = times.before_ms.max(*before_ms);
        times.until_ms = times.until_ms.max(*until_ms);
        times.until = times.until.zip(until).map(|(one, other)| one.max(other));
        self.is_used.store(true, Relaxed);
        Ok(is_news)
    }

    /// Whether the identity of a user counts no longer. `issued_ms` is 0 if that is not known.
    pub fn rejects_user(&self, user: &str, issued_ms: u64) -> bool {
        self.rejects(&Target::user(user), issued_ms)
    }

    /// Whether a token for a room counts no longer.
    pub fn rejects_room(&self, room: &str, user: Option<&str>, issued_ms: u64) -> bool {
        self.is_used.load(Relaxed)
            && (self.rejects(&Target::room(room, None), issued_ms)
                || user.is_some_and(|user| self.rejects(&Target::room(room, Some(user)), issued_ms)))
    }

    /// Whether a user may not be in a room with an identity of this time, whatever key opens the room.
    pub fn rejects_member(&self, room: &str, user: &str, issued_ms: u64) -> bool {
        self.rejects(&Target::room(room, Some(user)), issued_ms)
    }

    fn rejects(&self, target: &Target, issued_ms: u64) -> bool {
        if !self.is_used.load(Relaxed) {
            return false;
        }
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.get(target).is_some_and(|times| issued_ms < times.before_ms)
    }

    /// Forgets revocations whose tokens have expired.
    pub fn remove_expired(&self) {
        self.remove_expired_at(Now::read());
    }

    fn remove_expired_at(&self, now: Now) {
        if !self.is_used.load(Relaxed) {
            return;
        }
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, times| !times.is_over(now));
        self.is_used.store(!all.is_empty(), Relaxed);
    }

    /// All revocations.
    pub fn all(&self) -> Vec<Revocation> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let one = |(target, times): (&Target, &Times)| Revocation {
            target: target.clone(),
            before_ms: times.before_ms,
            until_ms: times.until_ms,
        };
        all.iter().map(one).collect()
    }

    /// Number of revocations.
    pub fn len(&self) -> usize {
        self.all.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_were_issued_before_are_rejected_and_later_ones_are_not() {
        let list = RevocationList::default();
        assert!(!list.rejects_user("ann", 0));
        list.add(&list.revocation(Target::user("ann"), 1000)).unwrap();
        assert!(list.rejects_user("ann", 999) && list.rejects_user("ann", 0), "also without a time of issue");
        assert!(!list.rejects_user("ann", 1000) && !list.rejects_user("bob", 999));
        list.add(&list.revocation(Target::user("ann"), 500)).unwrap();
        assert!(list.rejects_user("ann", 999), "an earlier time does not replace a later one");
        assert!(!list.rejects_room("ann", None, 0) && !list.rejects_room("r", Some("ann"), 0));
    }

    #[test]
    fn a_room_is_revoked_for_everyone_or_for_one_user() {
        let list = RevocationList::default();
        list.add(&list.revocation(Target::room("r", None), 1000)).unwrap();
        list.add(&list.revocation(Target::room("s", Some("ann")), 1000)).unwrap();
        assert!(list.rejects_room("r", None, 999) && list.rejects_room("r", Some("bob"), 999));
        assert!(list.rejects_room("s", Some("ann"), 999) && !list.rejects_room("s", Some("bob"), 999));
        assert!(!list.rejects_room("s", None, 999));
        assert!(list.rejects_member("s", "ann", 999) && !list.rejects_member("r", "ann", 999));
    }

    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn a_clock_that_jumps_makes_nothing_that_is_revoked_valid_again() {
        let list = RevocationList::new(HOUR, Duration::from_secs(30));
        let start = Now { wall_ms: 1000 * HOUR_MS, instant: Instant::now() };
        let of_ann =
            Revocation { target: Target::user("ann"), before_ms: start.wall_ms, until_ms: start.wall_ms + HOUR_MS };
        list.add_at(&of_ann, start).unwrap();
        let is_kept = |wall_ms: u64, later: Duration| {
            list.remove_expired_at(Now { wall_ms, instant: start.instant + later });
            list.rejects_user("ann", start.wall_ms - 1)
        };
        assert!(is_kept(start.wall_ms + 5 * HOUR_MS, Duration::ZERO), "a jump ahead");
        assert!(is_kept(start.wall_ms - 5 * HOUR_MS, 2 * HOUR), "a jump back: tokens are valid for longer");
        assert!(!is_kept(start.wall_ms + HOUR_MS, HOUR), "an hour has passed");
        // A time that no clock reaches does not overflow.
        list.add_at(&Revocation { until_ms: u64::MAX, ..of_ann }, start).unwrap();
        assert!(is_kept(start.wall_ms + 5 * HOUR_MS, 5 * HOUR));
    }

    #[test]
    fn a_revocation_from_now_on_is_for_all_tokens_that_were_accepted_also_if_the_clock_goes_back() {
        let list = RevocationList::new(HOUR, Duration::from_secs(30));
        let now_ms = 1000 * HOUR_MS;
        assert_eq!(list.after_accepted(now_ms), now_ms);
        list.accepted(now_ms);
        list.accepted(now_ms - 1);
        assert_eq!(list.after_accepted(now_ms - 30_000), now_ms - 30_000, "clocks may differ by the leeway");
        assert_eq!(list.after_accepted(now_ms - 3 * HOUR_MS), now_ms + 1);
        assert_eq!(list.after_accepted(now_ms + 3 * HOUR_MS), now_ms + 3 * HOUR_MS);
    }

    #[test]
    fn the_list_is_bounded_and_forgets_what_has_expired() {
        let list = RevocationList::default();
        let expired =
            |user: usize| Revocation { target: Target::user(&user.to_string()), before_ms: 1, until_ms: 1 };
        for user in 0..MAX_REVOCATIONS {
            list.add(&expired(user)).unwrap();
        }
        let until_ms = u64::MAX;
        for user in 0..MAX_REVOCATIONS {
            list.add(&Revocation { until_ms, ..expired(user + MAX_REVOCATIONS) }).unwrap();
        }
        assert_eq!(list.add(&expired(usize::MAX)), Err(ListFull));
        list.add(&Revocation { before_ms: 7, ..expired(MAX_REVOCATIONS) }).expect("one that is listed");
        assert_eq!(list.len(), MAX_REVOCATIONS);
        list.remove_expired();
        assert_eq!(list.len(), MAX_REVOCATIONS);
        let list = RevocationList::default();
        list.add(&expired(1)).unwrap();
        list.remove_expired();
        assert!(list.is_empty() && !list.rejects_user("1", 0));
    }
}
