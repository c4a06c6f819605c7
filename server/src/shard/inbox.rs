//! What may be asked of a shard, and the queue in which it waits.
//!
//! Each kind of message has a bound of its own, so that none takes another's place. Publications together may hold
//! [`PUBLICATION_BYTES`], and whoever publishes waits when they do. Answers are as many as the shard itself has asked
//! for, which it bounds. The other messages belong to a request that waits: beyond [`REQUESTS`] it is refused.

pub use super::body_stream::StreamReceiver;
use super::stream::Stream;
use crate::close_reason::CloseReason;
use crate::connect_info::ConnectInfo;
use crate::connection_id::ConnectionId;
use crate::encoding::Frame;
use crate::history::{RecoveryReply, ReplyTo};
use crate::protocol::{Millis, Protocol};
use crate::publication::Notice;
use bytes::Bytes;
use crossbeam_queue::SegQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Semaphore, oneshot};

/// What the publications in one inbox may hold together. Bytes.
const PUBLICATION_BYTES: usize = 32 * 1024 * 1024;
/// What a publication counts for at least, so that the number of small ones is bounded too. Bytes.
const PUBLICATION_FLOOR: usize = 2048;
/// Messages in one inbox that are neither publications nor answers.
const REQUESTS: usize = 16_384;

/// A notice on its way to the members of one room.
#[derive(Debug)]
pub struct Broadcast {
    /// The namespace's id.
    pub namespace: u16,
    /// What the members receive.
    pub notice: Notice,
    /// What was reserved for it in the inboxes. Bytes.
    cost: u32,
}

/// A socket whose WebSocket handshake was accepted.
#[derive(Debug)]
pub struct Attach {
    /// The socket, registered nowhere.
    pub stream: Stream,
    /// The response to the handshake, which has not been sent: it leaves together with the protocol's first message.
    pub response: Vec<u8>,
    /// What was read behind the request.
    pub read_ahead: Bytes,
    /// What the WebSocket is for.
    pub purpose: Purpose,
}

/// What a WebSocket was opened for.
#[derive(Debug)]
pub enum Purpose {
    /// A new connection.
    Open(Box<dyn Protocol>, ConnectInfo),
    /// To become the transport of this connection, which expects it.
    Upgrade(ConnectionId),
    /// To become the transport of a connection that does not expect it. It is told so and closed.
    Rejected,
}

/// A message to a shard.
#[derive(Debug)]
pub enum ToShard {
    /// Deliver to the members here.
    Broadcast(Arc<Broadcast>),
    /// The reply to a recovery request.
    Recovered(Box<RecoveryReply>),
    /// The reply of an authorizer.
    Authorized(AuthorizeReply),
    /// Take over a WebSocket.
    Attach(Box<Attach>),
    /// A request of a connection on long-polling.
    Polling(PollingRequest),
    /// The upgrade of a connection on long-polling to a WebSocket.
    Upgrade(UpgradeRequest),
    /// A stream opens or closes.
    Stream(StreamRequest),
    /// Close all connections within that time. Milliseconds.
    Drain {
        /// The time over which to spread them.
        spread: Millis,
    },
    /// Stop now.
    Stop,
}

/// The reply of an authorizer that could not decide at once.
#[derive(Debug)]
pub struct AuthorizeReply {
    /// The join.
    pub reply_to: ReplyTo,
    /// The decision. The text of a rejection goes to the client.
    pub result: Result<(), &'static str>,
}

/// A request of a connection on long-polling.
#[derive(Debug)]
pub enum PollingRequest {
    /// Open a connection.
    Open {
        /// What its messages mean.
        protocol: Box<dyn Protocol>,
        /// The request.
        info: ConnectInfo,
        /// Receives the first messages.
        reply: oneshot::Sender<Vec<Frame>>,
    },
    /// Whether there is a connection with that id.
    Find {
        /// The connection.
        id: ConnectionId,
        /// Receives the result.
        reply: oneshot::Sender<bool>,
    },
    /// A GET.
    Poll {
        /// The connection.
        id: ConnectionId,
        /// Receives messages as soon as there are any.
        reply: oneshot::Sender<PollReply>,
    },
    /// The client gave up its GET.
    PollAborted {
        /// The connection.
        id: ConnectionId,
    },
    /// A POST started. Its body is still to come.
    PostStarted {
        /// The connection.
        id: ConnectionId,
        /// Receives whether it may continue.
        reply: oneshot::Sender<PostReply>,
    },
    /// The body of a POST.
    Post {
        /// The connection.
        id: ConnectionId,
        /// The body.
        body: Bytes,
        /// Receives the result.
        reply: oneshot::Sender<PostReply>,
    },
    /// A POST ended without a usable body.
    PostAborted {
        /// The connection.
        id: ConnectionId,
        /// Why the connection is closed. `None`: it stays open.
        close: Option<CloseReason>,
    },
}

/// The upgrade of a connection on long-polling to a WebSocket.
#[derive(Debug)]
pub enum UpgradeRequest {
    /// A WebSocket is about to be opened for a connection.
    Start {
        /// The connection.
        id: ConnectionId,
        /// Receives whether it may be opened.
        reply: oneshot::Sender<UpgradeReply>,
    },
    /// That WebSocket will not come.
    Cancelled {
        /// The connection.
        id: ConnectionId,
    },
}

/// A stream opens or closes.
#[derive(Debug)]
pub enum StreamRequest {
    /// Open a connection.
    Open(Box<OpenStream>),
    /// The reader is gone.
    Closed {
        /// The connection.
        id: ConnectionId,
    },
}

/// A connection to open on a stream.
#[derive(Debug)]
pub struct OpenStream {
    /// What its messages mean.
    pub protocol: Box<dyn Protocol>,
    /// The request.
    pub info: ConnectInfo,
    /// Receives the connection's messages.
    pub reply: oneshot::Sender<StreamReceiver>,
}

/// The reply to [`PollingRequest::Poll`].
#[derive(Debug)]
pub enum PollReply {
    /// Messages.
    Frames(Vec<Frame>),
    /// There is no connection with that id.
    Unknown,
    /// The connection is not on long-polling.
    WrongTransport,
    /// Another GET was waiting, so the connection was closed.
    Concurrent,
}

/// The reply to [`UpgradeRequest::Start`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeReply {
    /// The WebSocket may be opened.
    Accepted,
    /// There is no connection with that id.
    Unknown,
    /// The connection has a WebSocket, or another one is expected.
    Rejected,
}

/// The reply to [`PollingRequest::PostStarted`] and [`PollingRequest::Post`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostReply {
    /// Accepted.
    Accepted,
    /// There is no connection with that id.
    Unknown,
    /// The connection is not on long-polling.
    WrongTransport,
    /// The connection was closed because of it.
    Closed(CloseReason),
}

/// The queue before one shard.
#[derive(Debug)]
pub struct Inbox {
    queue: SegQueue<ToShard>,
    /// Messages in it that count against [`REQUESTS`].
    requests: AtomicUsize,
    /// Bytes that publications may still take; see [`PUBLICATION_BYTES`].
    publication_budget: Semaphore,
    /// Whether the thread sleeps, or is about to.
    asleep: AtomicBool,
    waker: mio::Waker,
    /// Connections of the shard, for choosing the least_loaded.
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
            publication_budget: Semaphore::new(PUBLICATION_BYTES),
            asleep: AtomicBool::new(false),
            waker,
            connections: AtomicUsize::new(0),
        }
    }

    /// Takes the next message. Only the shard calls this.
    pub(super) fn take(&self) -> Option<ToShard> {
        let message = self.queue.pop()?;
        match &message {
            ToShard::Broadcast(broadcast) => self.publication_budget.add_permits(broadcast.cost as usize),
            message if message.is_request() => drop(self.requests.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        Some(message)
    }

    /// Announces sleep; `false`: there is something to take after all.
    pub(super) fn prepare_to_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let empty = self.queue.is_empty();
        if !empty {
            self.asleep.store(false, Ordering::SeqCst);
        }
        empty
    }

    /// Ends the announcement of sleep.
    pub(super) fn mark_awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Keeps the number of connections by which [`Shards::least_loaded`] chooses.
    pub(super) fn count_connections(&self, now: usize) {
        self.connections.store(now, Ordering::Relaxed);
    }

    pub(super) fn put(&self, message: ToShard) -> Result<(), Busy> {
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
        !matches!(
            self,
            Self::Broadcast(_) | Self::Recovered(_) | Self::Authorized(_) | Self::Drain { .. } | Self::Stop
        )
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
            if let Ok(permit) = inbox.publication_budget.acquire_many(cost).await {
                permits.push(permit);
            }
        }
        Reservation { shards: self, permits, cost }
    }

    /// The shard with the fewest connections.
    pub fn least_loaded(&self) -> u8 {
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
    /// Puts a notice into every inbox.
    pub fn deliver(self, namespace: u16, notice: Notice) {
        for permit in self.permits {
            permit.forget();
        }
        let broadcast = Arc::new(Broadcast { namespace, notice, cost: self.cost });
        for inbox in self.shards.inboxes.iter() {
            // Only requests are ever refused.
            let _ = inbox.put(ToShard::Broadcast(Arc::clone(&broadcast)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::Publication;

    #[test]
    fn requests_in_plenty_are_refused_and_take_no_place_from_publications_and_orders() {
        let poll = mio::Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
        let shards = Shards::new(vec![Arc::clone(&inbox)]);
        let aborted = || ToShard::Polling(PollingRequest::PollAborted { id: ConnectionId::new(0, 0) });
        for _ in 0..REQUESTS {
            assert_eq!(shards.send(0, aborted()), Ok(()));
        }
        assert_eq!(shards.send(0, aborted()), Err(Busy));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let place = runtime.block_on(shards.reserve(1));
        place.deliver(0, Notice::Publication(Publication::in_room("r", "{}", None)));
        shards.stop();
        let taken: Vec<ToShard> = std::iter::from_fn(|| inbox.take()).collect();
        assert_eq!(taken.len(), REQUESTS + 2);
        assert!(matches!(taken[REQUESTS], ToShard::Broadcast(_)));
        assert!(matches!(taken[REQUESTS + 1], ToShard::Stop));
        assert_eq!(shards.send(0, aborted()), Ok(()), "their places are free again");
        assert_eq!(inbox.publication_budget.available_permits(), PUBLICATION_BYTES);
    }
}
