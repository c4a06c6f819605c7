//! What may be asked of a shard, and the bounded queue in which it waits.
//!
//! Bounds: emissions together may hold [`EMISSION_BYTES`], and whoever publishes waits when they do. The other
//! messages belong to a request that waits for its answer; when the queue is full the request is refused.

use super::events::Told;
use super::keeper::Answer;
use super::sid::Sid;
use super::stream::Stream;
use crate::close_reason::CloseReason;
use crate::frame::Frame;
use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use nodevent_protocol::engine_io::session::Millis;
use nodevent_protocol::history::Position;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// What the emissions in one inbox may hold together. Bytes.
const EMISSION_BYTES: usize = 32 * 1024 * 1024;
/// What an emission counts for at least, so that the number of small ones is bounded too. Bytes.
const EMISSION_FLOOR: usize = 2048;
/// Messages in one inbox: room for all emissions the bytes allow, and as much again for requests.
const CAPACITY: usize = 2 * EMISSION_BYTES / EMISSION_FLOOR;

/// An emission on its way to the members of one room, encoded.
#[derive(Debug)]
pub struct Emission {
    /// The namespace's number.
    pub namespace: u16,
    /// The room's name.
    pub room: Box<str>,
    /// What each member is given.
    pub frame: Frame,
    /// Its place in the room's history, where it has one.
    pub position: Option<Position>,
}

/// A socket whose WebSocket handshake is done.
#[derive(Debug)]
pub struct Attach {
    /// The socket, registered nowhere.
    pub stream: Stream,
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

/// The beginning of an answer of Server-Sent Events.
#[derive(Debug)]
pub struct Listen {
    /// The namespace's number.
    pub namespace: u16,
    /// The room, to which the reader was admitted.
    pub room: Box<str>,
    /// The position after which it has missed everything.
    pub since: Option<String>,
    /// What it is told; its capacity bounds the number of emissions that wait.
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
    Emission(Arc<Emission>),
    /// The answer to a question asked of the keeper.
    Answer(Box<Answer>),
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
    /// The handshake of a WebSocket for a session was not finished.
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
        /// Packets, as `protocol` has them.
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
    /// Begin an answer of Server-Sent Events.
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
    /// Packets.
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
    queue: ArrayQueue<ToShard>,
    /// Bytes that emissions may still take; see [`EMISSION_BYTES`].
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

/// The inbox is full, or the shard has stopped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server is busy")]
pub struct Busy;

// === impl Inbox ===

impl Inbox {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self {
            queue: ArrayQueue::new(CAPACITY),
            room: Semaphore::new(EMISSION_BYTES),
            asleep: AtomicBool::new(false),
            waker,
            connections: AtomicUsize::new(0),
        }
    }

    /// Takes the next message. Only the shard calls this.
    pub(super) fn take(&self) -> Option<ToShard> {
        let message = self.queue.pop()?;
        if let ToShard::Emission(emission) = &message {
            self.room.add_permits(cost(&emission.frame));
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
        self.queue.push(message).map_err(|_| Busy)?;
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It fails only when the shard is gone, and then nobody waits.
            let _ = self.waker.wake();
        }
        Ok(())
    }
}

fn cost(frame: &Frame) -> usize {
    frame.websocket().len().clamp(EMISSION_FLOOR, EMISSION_BYTES)
}

// === impl Shards ===

impl Shards {
    pub(super) fn new(inboxes: Vec<Arc<Inbox>>) -> Self {
        Self { inboxes: inboxes.into() }
    }

    /// Waits until every shard has room for `frame`, and reserves it.
    ///
    /// # Cancel safety
    /// Safe: what was reserved is given back.
    pub async fn reserve(&self, frame: &Frame) -> Reservation<'_> {
        let mut permits = Vec::with_capacity(self.inboxes.len());
        for inbox in self.inboxes.iter() {
            // The semaphore is never closed.
            if let Ok(permit) = inbox.room.acquire_many(cost(frame) as u32).await {
                permits.push(permit);
            }
        }
        Reservation { shards: self, permits }
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
    /// [`Busy`]: its inbox is full, or there is no such shard.
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
}

// === impl Reservation ===

impl Reservation<'_> {
    /// Puts an emission into every inbox. Its frame must be the one that was reserved for.
    pub fn deliver(self, emission: Emission) {
        for permit in self.permits {
            permit.forget();
        }
        let emission = Arc::new(emission);
        for inbox in self.shards.inboxes.iter() {
            if inbox.put(ToShard::Emission(Arc::clone(&emission))).is_err() {
                // Requests have filled their half and ours: give back what the shard will not.
                inbox.room.add_permits(cost(&emission.frame));
                tracing::error!("a shard's inbox is full of requests; an emission was not delivered there");
            }
        }
    }
}
