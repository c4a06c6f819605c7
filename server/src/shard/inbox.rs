//! What may be asked of a shard, and the queue in which it waits.
//!
//! Each kind of message has a bound of its own, so that none takes another's place. Publications together may hold
//! [`PUBLICATION_BYTES`], and whoever publishes waits when they do. Answers are as many as the shard itself has asked
//! for, which it bounds. The other messages belong to a request that waits: beyond [`REQUESTS`] it is refused.

use super::events::Told;
use super::keeper::RecoveryReply;
use super::sid::Sid;
use super::stream::Stream;
use crate::close_reason::CloseReason;
use crate::frame::Frame;
use bytes::Bytes;
use crossbeam_queue::SegQueue;
use nodevent_protocol::engine_io::session::Millis;
use nodevent_protocol::history::Position;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// What the publications in one inbox may hold together. Bytes.
const PUBLICATION_BYTES: usize = 32 * 1024 * 1024;
/// What a publication counts for at least, so that the number of small ones is bounded too. Bytes.
const PUBLICATION_FLOOR: usize = 2048;
/// Messages in one inbox that are neither publications nor answers.
const REQUESTS: usize = 16_384;

/// A publication on its way to the members of one room, encoded.
#[derive(Debug)]
pub struct EncodedPublication {
    /// The namespace's number.
    pub namespace: u16,
    /// The room's name.
    pub room: Box<str>,
    /// What each member is given.
    pub frame: Frame,
    /// Its place in the room's history, where it has one.
    pub position: Option<Position>,
    /// What it was counted for when its place in the inboxes was reserved. Bytes.
    cost: u32,
}

/// A socket on which a WebSocket handshake was asked for and is granted.
#[derive(Debug)]
pub struct Attach {
    /// The socket, registered nowhere.
    pub stream: Stream,
    /// The handshake's answer, which is yet to be sent: so it goes out with the first packet, in one write.
    pub answer: Vec<u8>,
    /// What was read behind the handshake.
    pub read_ahead: Bytes,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a WebSocket was opened for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// A new session.
    Open,
    /// To become the transport of this session, which has said that it may.
    Upgrade(Sid),
    /// To become the transport of a session that has one already, or is about to: it is told so and closed.
    Superfluous,
}

/// The beginning of an answer of Server-SendOutcome Events.
#[derive(Debug)]
pub struct Listen {
    /// The namespace's number.
    pub namespace: u16,
    /// The room, to which the reader was admitted.
    pub room: Box<str>,
    /// The position after which it has missed everything.
    pub since: Option<String>,
    /// What it is told; its capacity bounds the number of publications that wait.
    pub told: mpsc::Sender<Told>,
    /// Bytes that wait; whoever takes from `told` subtracts.
    pub waiting: Arc<AtomicUsize>,
    /// Gets the session's id.
    pub answer: oneshot::Sender<Sid>,
}

/// A message to a shard.
#[derive(Debug)]
pub enum ToShard {
    /// Deliver to the members here.
    Publication(Arc<EncodedPublication>),
    /// The answer to a question asked of the keeper.
    Answer(Box<RecoveryReply>),
    /// Take over a WebSocket.
    Attach(Box<Attach>),
    /// Begin a session on long-polling.
    Open {
        /// Gets the open packet.
        answer: oneshot::Sender<Opened>,
    },
    /// Whether there is a session of that id.
    Find {
        /// Which.
        sid: Sid,
        /// Gets the answer.
        answer: oneshot::Sender<bool>,
    },
    /// A WebSocket is about to be opened for a session.
    UpgradeBegins {
        /// Which.
        sid: Sid,
        /// Whether it may.
        answer: oneshot::Sender<UpgradeAnswer>,
    },
    /// The WebSocket that was about to be opened for a session will not come.
    UpgradeGone {
        /// Which.
        sid: Sid,
    },
    /// A GET of a session.
    Poll {
        /// Whose.
        sid: Sid,
        /// Gets what is there, as soon as something is.
        answer: oneshot::Sender<PollAnswer>,
    },
    /// The browser gave up its GET.
    PollGone {
        /// Whose.
        sid: Sid,
    },
    /// A POST of a session begins; its body is yet to come.
    PostBegins {
        /// Whose.
        sid: Sid,
        /// Whether it may.
        answer: oneshot::Sender<PostAnswer>,
    },
    /// The body of a POST that was let begin.
    Post {
        /// Whose.
        sid: Sid,
        /// PollQueue, as `protocol` has them.
        body: Bytes,
        /// How it went.
        answer: oneshot::Sender<PostAnswer>,
    },
    /// A POST ended without a usable body.
    PostGone {
        /// Whose.
        sid: Sid,
        /// Why the session ends with it. `None`: the body was too large, and the browser is told.
        ends: Option<CloseReason>,
    },
    /// Begin an answer of Server-SendOutcome Events.
    Listen(Box<Listen>),
    /// The reader of such an answer is gone.
    ListenerGone {
        /// Whose.
        sid: Sid,
    },
    /// End all connections within that time. Milliseconds.
    Drain {
        /// Over how long.
        spread: Millis,
    },
    /// End at once.
    Stop,
}

/// The answer to [`ToShard::Open`]: the body of the handshake's response.
#[derive(Debug)]
pub struct Opened(pub Vec<u8>);

/// The answer to [`ToShard::Poll`].
#[derive(Debug, PartialEq, Eq)]
pub enum PollAnswer {
    /// PollQueue.
    Payload(Vec<u8>),
    /// No session of that id.
    Unknown,
    /// The session is there, but not on long-polling.
    WrongTransport,
    /// Another GET waits; the session is closed for it.
    Overlap,
}

/// The answer to [`ToShard::UpgradeBegins`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeAnswer {
    /// It may.
    Ok,
    /// No session of that id.
    Unknown,
    /// The session is on a WebSocket, or another is on its way.
    Superfluous,
}

/// The answer to [`ToShard::PostBegins`] and [`ToShard::Post`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostAnswer {
    /// It is fine.
    Ok,
    /// No session of that id.
    Unknown,
    /// The session is there, but not on long-polling.
    WrongTransport,
    /// The session was closed for it.
    Closed(CloseReason),
}

/// The queue before one shard.
#[derive(Debug)]
pub struct Inbox {
    queue: SegQueue<ToShard>,
    /// Messages in it that count against [`REQUESTS`].
    requests: AtomicUsize,
    /// Bytes that publications may still take; see [`PUBLICATION_BYTES`].
    room: Semaphore,
    /// Whether the thread sleeps, or is about to.
    asleep: AtomicBool,
    waker: mio::Waker,
    /// Connections of the shard, for choosing the emptiest.
    connections: AtomicUsize,
}

/// The inboxes of all shards; what the rest of the process holds of them.
#[derive(Debug, Clone)]
pub struct Shards {
    inboxes: Arc<[Arc<Inbox>]>,
}

/// Too many requests wait already.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server is busy")]
pub struct Busy;

// === impl Inbox ===

impl Inbox {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self {
            queue: SegQueue::new(),
            requests: AtomicUsize::new(0),
            room: Semaphore::new(PUBLICATION_BYTES),
            asleep: AtomicBool::new(false),
            waker,
            connections: AtomicUsize::new(0),
        }
    }

    /// Takes the next message. Only the shard calls this.
    pub(super) fn take(&self) -> Option<ToShard> {
        let message = self.queue.pop()?;
        match &message {
            ToShard::Publication(publication) => self.room.add_permits(publication.cost as usize),
            message if message.is_request() => drop(self.requests.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        Some(message)
    }

    /// Announces sleep; `false`: there is something to take after all.
    pub(super) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let empty = self.queue.is_empty();
        if !empty {
            self.asleep.store(false, Ordering::SeqCst);
        }
        empty
    }

    /// Ends the announcement of sleep.
    pub(super) fn is_awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Keeps the number of connections by which [`Shards::emptiest`] chooses.
    pub(super) fn count_connections(&self, now: usize) {
        self.connections.store(now, Ordering::Relaxed);
    }

    fn put(&self, message: ToShard) -> Result<(), Busy> {
        if message.is_request() && self.requests.fetch_add(1, Ordering::Relaxed) >= REQUESTS {
            self.requests.fetch_sub(1, Ordering::Relaxed);
            return Err(Busy);
        }
        self.queue.push(message);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It fails only when the shard is gone, and then nobody waits.
            let _ = self.waker.wake();
        }
        Ok(())
    }
}

// === impl ToShard ===

impl ToShard {
    /// Whether it counts against [`REQUESTS`].
    fn is_request(&self) -> bool {
        !matches!(self, Self::Publication(_) | Self::Answer(_) | Self::Drain { .. } | Self::Stop)
    }
}

// === impl EncodedPublication ===

impl EncodedPublication {
    /// A publication for the members of `room`.
    pub fn new(namespace: u16, room: &str, frame: Frame, position: Option<Position>) -> Self {
        Self { namespace, room: room.into(), frame, position, cost: 0 }
    }
}

// === impl Shards ===

impl Shards {
    pub(super) fn new(inboxes: Vec<Arc<Inbox>>) -> Self {
        Self { inboxes: inboxes.into() }
    }

    /// Waits until every shard has room for a publication of about `bytes`, and reserves it.
    ///
    /// # Cancel safety
    /// Safe: what was reserved is given back.
    pub async fn reserve(&self, bytes: usize) -> Reservation<'_> {
        let cost = bytes.clamp(PUBLICATION_FLOOR, PUBLICATION_BYTES) as u32;
        let mut permits = Vec::with_capacity(self.inboxes.len());
        for inbox in self.inboxes.iter() {
            // The semaphore is never closed.
            if let Ok(permit) = inbox.room.acquire_many(cost).await {
                permits.push(permit);
            }
        }
        Reservation { shards: self, permits, cost }
    }

    /// The shard with the fewest connections.
    pub fn emptiest(&self) -> u8 {
        let least = self.inboxes.iter().enumerate().min_by_key(|(_, inbox)| {
            // Those that are on their way count already.
            inbox.connections.load(Ordering::Relaxed) + inbox.queue.len()
        });
        least.map_or(0, |(number, _)| number as u8)
    }

    /// Connections on all shards.
    pub fn connections(&self) -> usize {
        self.inboxes.iter().map(|inbox| inbox.connections.load(Ordering::Relaxed)).sum()
    }

    /// Sends to the shard of that number.
    ///
    /// # Errors
    /// [`Busy`]: too many requests wait in its inbox, or there is no such shard.
    pub fn send(&self, shard: u8, message: ToShard) -> Result<(), Busy> {
        self.inboxes.get(usize::from(shard)).ok_or(Busy)?.put(message)
    }

    /// Tells all shards to end their connections within `spread` milliseconds.
    pub fn drain(&self, spread: Millis) {
        for inbox in self.inboxes.iter() {
            let _ = inbox.put(ToShard::Drain { spread });
        }
    }

    /// Tells all shards to end now.
    pub fn stop(&self) {
        for inbox in self.inboxes.iter() {
            let _ = inbox.put(ToShard::Stop);
        }
    }
}

/// Room in every inbox, until it is used or dropped.
#[derive(Debug)]
pub struct Reservation<'a> {
    shards: &'a Shards,
    permits: Vec<tokio::sync::SemaphorePermit<'a>>,
    cost: u32,
}

// === impl Reservation ===

impl Reservation<'_> {
    /// Puts a publication into every inbox.
    pub fn deliver(self, publication: EncodedPublication) {
        for permit in self.permits {
            permit.forget();
        }
        let publication = Arc::new(EncodedPublication { cost: self.cost, ..publication });
        for inbox in self.shards.inboxes.iter() {
            // Only requests are ever refused.
            let _ = inbox.put(ToShard::Publication(Arc::clone(&publication)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_plenty_are_refused_and_take_no_place_from_publications_and_orders() {
        let poll = mio::Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
        let shards = Shards::new(vec![Arc::clone(&inbox)]);
        let gone = || ToShard::PollGone { sid: Sid::new(0, 0) };
        for _ in 0..REQUESTS {
            assert_eq!(shards.send(0, gone()), Ok(()));
        }
        assert_eq!(shards.send(0, gone()), Err(Busy));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let place = runtime.block_on(shards.reserve(1));
        place.deliver(EncodedPublication::new(0, "r", Frame::text("4x"), None));
        shards.stop();
        let taken: Vec<ToShard> = std::iter::from_fn(|| inbox.take()).collect();
        assert_eq!(taken.len(), REQUESTS + 2);
        assert!(matches!(taken[REQUESTS], ToShard::Publication(_)));
        assert!(matches!(taken[REQUESTS + 1], ToShard::Stop));
        assert_eq!(shards.send(0, gone()), Ok(()), "their places are free again");
        assert_eq!(inbox.room.available_permits(), PUBLICATION_BYTES);
    }
}
