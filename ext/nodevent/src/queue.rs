//! The bounded queue between the threads that emit and the one task that publishes.
//!
//! It keeps the order, counts what is in it (also what the task has in hand and the engine has not confirmed),
//! and lets a thread wait until everything up to now is settled. It knows neither Ruby nor any engine.

use crate::signal::{Signal, Waited};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// One publication on its way to the engine.
#[derive(Debug)]
pub(crate) struct PublicationRef {
    /// The namespace with its leading slash.
    pub(crate) channel: Arc<str>,
    /// The publication's JSON text, published byte for byte.
    pub(crate) body: Bytes,
    /// Its place among all that this queue has taken in.
    pub(crate) number: u64,
    /// What makes a repeated publish one publication.
    pub(crate) idempotency_key: Option<Box<str>>,
    /// Where a caller waits for the engine's answer, if one does.
    pub(crate) receipt: Option<Arc<Receipt>>,
    /// When it was emitted.
    pub(crate) since: Instant,
}

/// What the engine answered to one publication.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// Redis: how many servers heard it.
    Receivers(i64),
    /// The engine keeps a history: where the publication stands in it.
    Position(Box<str>),
    /// The engine has it and says no more.
    Accepted,
}

/// The answer, or why the publication will never be published.
pub(crate) type Settled = Result<Answer, Arc<str>>;

/// Where one caller waits for the answer to its publication.
#[derive(Debug, Default)]
pub(crate) struct Receipt {
    /// The answer, once there is one.
    pub(crate) settled: Signal<Option<Settled>>,
    /// [`WAITING`], then [`SENT`] or [`ABANDONED`], whichever comes first.
    fate: AtomicU8,
}

/// Not yet handed to the engine.
const WAITING: u8 = 0;
/// Handed to the engine by the task, at least once.
const SENT: u8 = 1;
/// The caller no longer waits and the publication was not sent: it never will be.
const ABANDONED: u8 = 2;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Publications, those in the task's hand included.
    pub(crate) publications: usize,
    /// Bytes of their JSON.
    pub(crate) bytes: usize,
}

/// Why a publication was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// As many publications wait as may.
    Full,
    /// The publisher was closed.
    Closed,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Queue {
    bounds: Bounds,
    state: Signal<State>,
    /// Wakes the task; the callers hold the other end.
    arrived: Notify,
    /// Cuts the task's pause before its next attempt short; a flush holds the other end.
    hurry: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<PublicationRef>,
    /// Bytes of what waits and of what is in hand.
    bytes: usize,
    /// Publications ever taken in.
    accepted: u64,
    /// Publications the engine has answered to, or that were given up: always the oldest ones.
    settled: u64,
    /// Attempts to reach the engine that failed.
    failures: u64,
    /// Why the last attempt failed, if it did.
    away: Option<Arc<str>>,
    closed: bool,
}

// === impl Queue ===

impl Queue {
    /// An empty queue.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Signal::default(), arrived: Notify::new(), hurry: Notify::new() }
    }

    /// Takes a publication in, or says at once why not. Never waits for the engine.
    pub(crate) fn push(&self, mut publication: PublicationRef) -> Result<(), Refused> {
        let was_empty = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(Refused::Closed);
            }
            let bytes = state.bytes + publication.body.len();
            if state.pending() >= self.bounds.publications || (bytes > self.bounds.bytes && state.pending() > 0) {
                return Err(Refused::Full);
            }
            let was_empty = state.waiting.is_empty();
            state.bytes = bytes;
            state.accepted += 1;
            publication.number = state.accepted;
            state.waiting.push_back(publication);
            was_empty
        };
        if was_empty {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// The oldest publications, at most `most` of at most `bytes` together (but at least one). Waits until there are
    /// some; `None` when the queue is closed and empty. Each must be settled later.
    ///
    /// # Cancel safety
    /// Nothing is taken when the wait is cancelled.
    pub(crate) async fn take(&self, most: usize, bytes: usize) -> Option<VecDeque<PublicationRef>> {
        loop {
            {
                let mut state = self.state.lock();
                if !state.waiting.is_empty() {
                    return Some(state.oldest(most, bytes));
                }
                if state.closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// The `count` oldest publications in hand, of `bytes` together, have found their end.
    pub(crate) fn settle(&self, count: usize, bytes: usize) {
        self.state.change(|state| {
            state.settled += count as u64;
            state.bytes = state.bytes.saturating_sub(bytes);
            state.away = None;
        });
    }

    /// The engine could not be reached.
    pub(crate) fn failed_to_reach(&self, reason: &str) {
        self.state.change(|state| {
            state.failures += 1;
            state.away = Some(reason.into());
        });
    }

    /// Waits for the end of a pause, or until a flush is in a hurry.
    pub(crate) async fn pause(&self, length: std::time::Duration) {
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            () = self.hurry.notified() => {}
        }
    }

    /// No more is taken in; what waits is still published.
    pub(crate) fn close(&self) {
        self.state.change(|state| state.closed = true);
        self.arrived.notify_one();
    }

    /// Whether no more is taken in.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Publications taken in and not settled.
    pub(crate) fn pending(&self) -> usize {
        self.state.lock().pending()
    }

    /// Why the engine cannot be reached at the moment.
    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        self.state.lock().away.clone()
    }

    /// A wait until everything taken in before this call is settled. Starts an attempt at once where one was put off.
    pub(crate) fn flush(&self, patience: Patience) -> Flush<'_> {
        let state = self.state.lock();
        let flush = Flush {
            queue: self,
            upto: state.accepted,
            give_up_after: (patience == Patience::OneAttempt)
                .then_some(state.failures + 1 + u64::from(state.away.is_none())),
        };
        drop(state);
        self.hurry.notify_one();
        flush
    }
}

impl State {
    fn pending(&self) -> usize {
        // Both only grow and settled never overtakes, so the difference is what a bound has let in.
        (self.accepted - self.settled) as usize
    }

    fn oldest(&mut self, most: usize, bytes: usize) -> VecDeque<PublicationRef> {
        let mut sum = 0;
        let fitting = self.waiting.iter().take(most).take_while(|publication| {
            sum += publication.body.len();
            sum <= bytes
        });
        let count = fitting.count().max(1);
        if count == self.waiting.len() {
            std::mem::take(&mut self.waiting)
        } else {
            self.waiting.drain(..count).collect()
        }
    }
}

/// How long a flush goes on while the engine is away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Patience {
    /// Until its deadline.
    UntilDeadline,
    /// Until a fresh attempt has failed: at exit nobody wants to wait for what is not there.
    OneAttempt,
}

/// A wait until everything up to a point is settled.
#[derive(Debug)]
pub(crate) struct Flush<'a> {
    queue: &'a Queue,
    upto: u64,
    give_up_after: Option<u64>,
}

impl Flush<'_> {
    /// Waits. `Ready(true)`: all settled; `Ready(false)`: given up.
    pub(crate) fn wait(&self, deadline: Option<Instant>, interrupted: &AtomicBool) -> Waited<bool> {
        self.queue.state.wait(deadline, interrupted, |state| {
            if state.settled >= self.upto {
                Some(true)
            } else if self.give_up_after.is_some_and(|failures| state.failures >= failures) {
                Some(false)
            } else {
                None
            }
        })
    }

    /// Makes the waiter look at its flag.
    pub(crate) fn wake(&self) {
        self.queue.state.wake();
    }
}

// === impl Receipt ===

impl Receipt {
    /// Gives the waiting caller its answer.
    pub(crate) fn settle(&self, settled: Settled) {
        self.settled.change(|slot| *slot = Some(settled));
    }

    /// The task is about to send. `false`: the caller has left, and the publication with it.
    pub(crate) fn begin(&self) -> bool {
        self.fate.compare_exchange(WAITING, SENT, Ordering::AcqRel, Ordering::Acquire) != Err(ABANDONED)
    }

    /// The attempt failed before anything left this process.
    pub(crate) fn undo(&self) {
        // Where the caller left meanwhile it was told that the publication may arrive, and so it may.
        let _ = self.fate.compare_exchange(SENT, WAITING, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The caller leaves. `true`: the publication is withdrawn; `false`: it was sent already, and may arrive.
    pub(crate) fn abandon(&self) -> bool {
        self.fate.compare_exchange(WAITING, ABANDONED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
