//! The bounded queue between the threads that emit and the task that publishes.
//!
//! It preserves the order, counts its publications (including those the task has taken and the engine has not
//! confirmed), and lets a thread wait until everything queued so far is settled. It knows neither Ruby nor any engine.

use crate::signal::{Signal, Waited};
use bytes::{Bytes, BytesMut};
use nodevent_protocol::history::Position;
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
    /// Its sequence number in this queue, from 1.
    pub(crate) number: u64,
    /// Makes repeated publishes one publication.
    pub(crate) idempotency_key: Option<Box<str>>,
    /// The receipt that a caller waits on, if one does.
    pub(crate) receipt: Option<Arc<Receipt>>,
    /// When it was emitted.
    pub(crate) emitted_at: Instant,
}

impl PublicationRef {
    /// A publication without a body, emitted now.
    pub(crate) fn empty(channel: Arc<str>) -> Self {
        let (body, emitted_at) = (Bytes::new(), Instant::now());
        Self { channel, body, number: 0, idempotency_key: None, receipt: None, emitted_at }
    }
}

/// The size of an allocation for texts: memory that one thread allocates and another one frees is expensive. Bytes.
const CHUNK_BYTES: usize = 32 * 1024;
/// The maximum of allocations that are kept for further texts.
const MAX_SPARE_CHUNKS: usize = 4;

/// What waits in the queue.
#[derive(Debug)]
enum Queued {
    /// A text in [`State::texts`], to the channel of the queue without a receipt.
    Text {
        length: usize,
        emitted_at: Instant,
    },
    Other(Box<PublicationRef>),
}

/// Texts in the order of their publications, in few allocations. None is divided.
#[derive(Debug, Default)]
struct Texts {
    chunks: VecDeque<BytesMut>,
    /// Chunks that were full. They can be used again as soon as their publications are settled.
    spare: Vec<BytesMut>,
}

/// What was taken from the queue.
struct Taken {
    queued: VecDeque<Queued>,
    /// The texts, in the chunks that they were in.
    texts: VecDeque<BytesMut>,
    /// The channel of the texts.
    channel: Option<Arc<str>>,
    /// The sequence number of the first publication.
    number: u64,
}

/// The engine's confirmation of one publication.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Confirmation {
    /// Redis: the number of subscribed servers.
    Receivers(i64),
    /// Redis with a history: the number of subscribed servers, and the publication's position.
    Stored(i64, Position),
    /// A server with a history: the publication's position.
    Position(Position),
    /// The engine accepted it and returned no details.
    Accepted,
}

/// The confirmation, or why the publication will never be published.
pub(crate) type PublishResult = Result<Confirmation, Arc<str>>;

/// The place where one caller waits for the result of its publication.
#[derive(Debug, Default)]
pub(crate) struct Receipt {
    /// The result, as soon as there is one.
    pub(crate) result: Signal<Option<PublishResult>>,
    /// [`WAITING`], then either [`SENT`] or [`ABANDONED`].
    state: AtomicU8,
}

/// Not yet given to the engine.
const WAITING: u8 = 0;
/// Given to the engine at least once.
const SENT: u8 = 1;
/// The caller no longer waits and the publication was not sent; it never will be.
const ABANDONED: u8 = 2;

/// The limits of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Publications, including those in flight.
    pub(crate) publications: usize,
    /// Bytes of their JSON.
    pub(crate) bytes: usize,
}

/// Why a publication was not queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rejected {
    /// The queue has reached one of its limits.
    Full,
    /// The publisher was closed.
    Closed,
}

/// A bounded queue; see the head of this file.
#[derive(Debug)]
pub(crate) struct Queue {
    bounds: Bounds,
    state: Signal<State>,
    /// Wakes the publishing task.
    arrived: Notify,
    /// Ends the task's pause before its next attempt; used by a flush.
    retry_now: Notify,
}

#[derive(Debug, Default)]
struct State {
    queued: VecDeque<Queued>,
    texts: Texts,
    /// The channel of all texts: that of the first one.
    channel: Option<Arc<str>>,
    /// Bytes of all publications, queued and in flight.
    bytes: usize,
    /// Publications ever accepted.
    accepted: u64,
    /// Publications that were confirmed, rejected or withdrawn: always the oldest ones.
    settled: u64,
    /// Failed attempts to reach the engine.
    failures: u64,
    /// Why the last attempt failed, if it did.
    last_error: Option<Arc<str>>,
    closed: bool,
}

// === impl Queue ===

impl Queue {
    /// Creates an empty queue.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Signal::default(), arrived: Notify::new(), retry_now: Notify::new() }
    }

    /// Queues a publication. Never waits for the engine.
    ///
    /// # Errors
    /// The queue is full or closed.
    pub(crate) fn push(&self, publication: PublicationRef) -> Result<(), Rejected> {
        let (length, publication) = (publication.body.len(), Queued::Other(Box::new(publication)));
        self.admit(length, |state| state.queued.push_back(publication))
    }

    /// Queues the text of a publication without a receipt, in parts. Most calls allocate nothing.
    ///
    /// # Errors
    /// As for [`Queue::push`].
    pub(crate) fn push_text(&self, channel: &Arc<str>, parts: &[&[u8]]) -> Result<(), Rejected> {
        let length = parts.iter().map(|part| part.len()).sum();
        let emitted_at = Instant::now();
        self.admit(length, |state| {
            if *state.channel.get_or_insert_with(|| Arc::clone(channel)) == *channel {
                state.texts.push(length, parts);
                state.queued.push_back(Queued::Text { length, emitted_at });
            } else {
                let body = parts.concat().into();
                let publication = PublicationRef { body, emitted_at, ..PublicationRef::empty(Arc::clone(channel)) };
                state.queued.push_back(Queued::Other(Box::new(publication)));
            }
        })
    }

    fn admit(&self, length: usize, add: impl FnOnce(&mut State)) -> Result<(), Rejected> {
        let was_empty = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(Rejected::Closed);
            }
            let bytes = state.bytes + length;
            if state.pending() >= self.bounds.publications || (bytes > self.bounds.bytes && state.pending() > 0) {
                return Err(Rejected::Full);
            }
            let was_empty = state.queued.is_empty();
            state.bytes = bytes;
            state.accepted += 1;
            add(&mut state);
            was_empty
        };
        if was_empty {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Takes the oldest publications: at least one, and otherwise at most `max` of at most `bytes` in total. Waits
    /// until there are some; returns `None` if the queue is closed and empty. Each must be settled later.
    ///
    /// # Cancel safety
    /// Nothing is taken if the wait is cancelled.
    pub(crate) async fn take(&self, max: usize, bytes: usize) -> Option<VecDeque<PublicationRef>> {
        loop {
            let taken = {
                let mut state = self.state.lock();
                if state.queued.is_empty() && state.closed {
                    return None;
                }
                (!state.queued.is_empty()).then(|| state.oldest(max, bytes))
            };
            match taken {
                Some(taken) => return Some(taken.into_publications()),
                None => self.arrived.notified().await,
            }
        }
    }

    /// Marks the `count` oldest publications, of `bytes` in total, as settled.
    pub(crate) fn settle(&self, count: usize, bytes: usize) {
        self.state.change(|state| {
            state.settled += count as u64;
            state.bytes = state.bytes.saturating_sub(bytes);
            state.last_error = None;
        });
    }

    /// Records a failed attempt to reach the engine.
    pub(crate) fn failed_to_reach(&self, reason: &str) {
        self.state.change(|state| {
            state.failures += 1;
            state.last_error = Some(reason.into());
        });
    }

    /// Waits for `length`, or until a flush asks for an immediate retry.
    pub(crate) async fn pause(&self, length: std::time::Duration) {
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            () = self.retry_now.notified() => {}
        }
    }

    /// Accepts no more publications; those in the queue are still published.
    pub(crate) fn close(&self) {
        self.state.change(|state| state.closed = true);
        self.arrived.notify_one();
    }

    /// Whether the queue is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// The number of publications that are not settled.
    pub(crate) fn pending(&self) -> usize {
        self.state.lock().pending()
    }

    /// Why the engine cannot be reached, if it cannot.
    pub(crate) fn last_error(&self) -> Option<Arc<str>> {
        self.state.lock().last_error.clone()
    }

    /// Starts a wait until everything queued before this call is settled. Ends a pause between two attempts.
    pub(crate) fn flush(&self, mode: FlushMode) -> Flush<'_> {
        let state = self.state.lock();
        let flush = Flush {
            queue: self,
            up_to: state.accepted,
            failures_allowed: (mode == FlushMode::OneAttempt)
                .then_some(state.failures + 1 + u64::from(state.last_error.is_none())),
        };
        drop(state);
        self.retry_now.notify_one();
        flush
    }
}

impl State {
    fn pending(&self) -> usize {
        // Both only grow and `settled` never overtakes, so the limit on publications bounds the difference.
        (self.accepted - self.settled) as usize
    }

    fn oldest(&mut self, max: usize, bytes: usize) -> Taken {
        let mut sum = 0;
        let fitting = self.queued.iter().take(max).take_while(|queued| {
            sum += queued.length();
            sum <= bytes
        });
        let count = fitting.count().max(1);
        // Those in the queue are the last that were accepted.
        let number = self.accepted - self.queued.len() as u64 + 1;
        let queued: VecDeque<_> = if count == self.queued.len() {
            std::mem::replace(&mut self.queued, VecDeque::with_capacity(count))
        } else {
            self.queued.drain(..count).collect()
        };
        let texts = self.texts.take(queued.iter().filter_map(Queued::text_length));
        Taken { queued, texts, channel: self.channel.clone(), number }
    }
}

impl Queued {
    fn length(&self) -> usize {
        match self {
            Self::Text { length, .. } => *length,
            Self::Other(publication) => publication.body.len(),
        }
    }

    fn text_length(&self) -> Option<usize> {
        match self {
            Self::Text { length, .. } => Some(*length),
            Self::Other(_) => None,
        }
    }
}

impl Texts {
    /// Adds a text of `length` bytes.
    fn push(&mut self, length: usize, parts: &[&[u8]]) {
        if self.chunks.back().is_none_or(|last| last.capacity() - last.len() < length) {
            let free =
                self.spare.iter_mut().position(|chunk| length <= CHUNK_BYTES && chunk.try_reclaim(CHUNK_BYTES));
            let chunk = free.map(|index| self.spare.swap_remove(index));
            self.chunks.push_back(chunk.unwrap_or_else(|| BytesMut::with_capacity(length.max(CHUNK_BYTES))));
        }
        if let Some(last) = self.chunks.back_mut() {
            parts.iter().for_each(|part| last.extend_from_slice(part));
        }
    }

    /// Removes the oldest texts, which have these lengths.
    fn take(&mut self, lengths: impl Iterator<Item = usize>) -> VecDeque<BytesMut> {
        let (mut taken, mut sum) = (VecDeque::new(), 0);
        for length in lengths {
            while let Some(first) = self.chunks.front()
                && first.len() < sum + length
                && let Some(mut full) = self.chunks.pop_front()
            {
                // It contains the texts before this one. A long text has a chunk of its own.
                taken.push_back(full.split_to(sum));
                if self.spare.len() < MAX_SPARE_CHUNKS && sum <= CHUNK_BYTES {
                    self.spare.push(full);
                }
                sum = 0;
            }
            sum += length;
        }
        taken.extend(self.chunks.front_mut().filter(|_| sum > 0).map(|first| first.split_to(sum)));
        taken
    }
}

/// Removes the first text.
fn next(texts: &mut VecDeque<BytesMut>, length: usize) -> Bytes {
    while let Some(first) = texts.front_mut() {
        if first.len() >= length {
            return first.split_to(length).freeze();
        }
        texts.pop_front();
    }
    Bytes::new()
}

impl Taken {
    fn into_publications(self) -> VecDeque<PublicationRef> {
        let Self { queued, mut texts, channel, number } = self;
        let channel = channel.unwrap_or_default();
        let publication = |(number, queued)| match queued {
            Queued::Other(publication) => PublicationRef { number, ..*publication },
            Queued::Text { length, emitted_at } => {
                let (channel, body) = (Arc::clone(&channel), next(&mut texts, length));
                PublicationRef { channel, body, number, idempotency_key: None, receipt: None, emitted_at }
            }
        };
        (number..).zip(queued).map(publication).collect()
    }
}

/// Time for which a flush continues while the engine is unavailable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FlushMode {
    /// Until its deadline.
    UntilDeadline,
    /// Until a new attempt has failed: an exit should not wait for an unavailable engine.
    OneAttempt,
}

/// A wait until everything queued up to a point is settled.
#[derive(Debug)]
pub(crate) struct Flush<'a> {
    queue: &'a Queue,
    up_to: u64,
    failures_allowed: Option<u64>,
}

impl Flush<'_> {
    /// Waits. `Ready(true)`: everything is settled; `Ready(false)`: the attempt failed.
    pub(crate) fn wait(&self, deadline: Option<Instant>, interrupted: &AtomicBool) -> Waited<bool> {
        self.queue.state.wait(deadline, interrupted, |state| {
            if state.settled >= self.up_to {
                Some(true)
            } else if self.failures_allowed.is_some_and(|failures| state.failures >= failures) {
                Some(false)
            } else {
                None
            }
        })
    }

    /// Wakes the waiter, which then checks its flag.
    pub(crate) fn wake(&self) {
        self.queue.state.wake();
    }
}

// === impl Receipt ===

impl Receipt {
    /// Hands the result to the waiting caller.
    pub(crate) fn settle(&self, result: PublishResult) {
        self.result.change(|slot| *slot = Some(result));
    }

    /// Marks the publication as sent. Returns `false` if the caller has withdrawn it.
    pub(crate) fn mark_sent(&self) -> bool {
        self.state.compare_exchange(WAITING, SENT, Ordering::AcqRel, Ordering::Acquire) != Err(ABANDONED)
    }

    /// Marks the publication as not sent: the attempt failed before anything left this process.
    pub(crate) fn mark_unsent(&self) {
        // If the caller has left in the meantime, its error says that the publication may arrive, and it may.
        let _ = self.state.compare_exchange(SENT, WAITING, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Records that the caller no longer waits. `true`: the publication is withdrawn; `false`: it was sent and may
    /// arrive.
    pub(crate) fn abandon(&self) -> bool {
        self.state.compare_exchange(WAITING, ABANDONED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
