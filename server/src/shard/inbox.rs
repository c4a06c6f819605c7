//! The queue in front of one shard.
//!
//! Each kind of message has its own limit, so that none takes another's place. The publications in an inbox, and those
//! that the shard has taken and not begun to deliver, may hold [`PUBLICATION_BYTES`]; beyond that, publishers wait.
//! Replies are as many as the shard has requested, which it limits. All other messages belong to a request of a client
//! that waits. They have a queue of their own, so that a flood of them delays no publication; beyond [`MAX_REQUESTS`]
//! they are rejected and counted. The end of a request is always accepted: a connection would wait for it for ever.

use super::message::ToShard;
use crate::metrics::Metrics;
use crossbeam_queue::SegQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Maximum total size of the publications in one inbox. Bytes.
pub(super) const PUBLICATION_BYTES: usize = 32 * 1024 * 1024;
/// Maximum number of requests in one inbox.
const MAX_REQUESTS: usize = 16_384;

/// The queue in front of one shard.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Publications, replies and orders of the process.
    messages: SegQueue<ToShard>,
    /// Requests of clients.
    requests: SegQueue<ToShard>,
    /// Their number.
    request_count: AtomicUsize,
    /// Bytes that publications may still take; see [`PUBLICATION_BYTES`].
    publication_budget: Semaphore,
    /// Whether the thread sleeps, or is about to.
    asleep: AtomicBool,
    waker: mio::Waker,
    /// Connections of the shard, for choosing the least loaded one.
    connections: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// Too many requests wait.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server is busy")]
pub struct Busy;

// === impl Inbox ===

impl Inbox {
    pub(super) fn new(waker: mio::Waker, metrics: Arc<Metrics>) -> Self {
        Self {
            messages: SegQueue::new(),
            requests: SegQueue::new(),
            request_count: AtomicUsize::new(0),
            publication_budget: Semaphore::new(PUBLICATION_BYTES),
            asleep: AtomicBool::new(false),
            waker,
            connections: AtomicUsize::new(0),
            metrics,
        }
    }

    /// Takes the next publication, reply or order. Only the shard calls this.
    pub(super) fn take_message(&self) -> Option<ToShard> {
        self.messages.pop()
    }

    /// Gives back what publications had reserved that the shard has taken and that wait there no more. Bytes.
    pub(super) fn release(&self, reserved: usize) {
        if reserved > 0 {
            self.publication_budget.add_permits(reserved);
        }
    }

    /// Takes the next request of a client. Only the shard calls this.
    pub(super) fn take_request(&self) -> Option<ToShard> {
        let request = self.requests.pop()?;
        self.request_count.fetch_sub(1, Ordering::Relaxed);
        Some(request)
    }

    /// Announces that the thread is about to sleep. Returns `false` if there is something to take after all.
    pub(super) fn prepare_to_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let empty = self.messages.is_empty() && self.requests.is_empty();
        if !empty {
            self.asleep.store(false, Ordering::SeqCst);
        }
        empty
    }

    /// The thread is awake again.
    pub(super) fn mark_awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Publishes the number of connections, by which the least loaded shard is chosen.
    pub(super) fn count_connections(&self, now: usize) {
        self.connections.store(now, Ordering::Relaxed);
    }

    pub(super) fn put(&self, message: ToShard) -> Result<(), Busy> {
        if !message.is_request() {
            self.messages.push(message);
        } else if self.request_count.fetch_add(1, Ordering::Relaxed) < MAX_REQUESTS || message.is_end_of_request() {
            self.requests.push(message);
        } else {
            self.request_count.fetch_sub(1, Ordering::Relaxed);
            self.metrics.overloaded_requests.fetch_add(1, Ordering::Relaxed);
            return Err(Busy);
        }
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It fails only when the shard has stopped, and then no thread waits.
            let _ = self.waker.wake();
        }
        Ok(())
    }

    /// Waits until publications of `cost` bytes fit, and reserves the place.
    pub(super) async fn reserve(&self, cost: u32) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.publication_budget.acquire_many(cost).await.ok()
    }

    /// Connections of the shard, and messages that may become one.
    pub(super) fn load(&self) -> usize {
        self.connections() + self.requests.len()
    }

    /// Connections of the shard.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection_id::ConnectionId;
    use crate::publication::{Notice, Publication};
    use crate::shard::Shards;
    use crate::shard::message::{PollingRequest, UpgradeRequest};

    #[test]
    fn a_flood_of_requests_is_rejected_and_takes_no_place_from_publications_and_orders() {
        let poll = mio::Poll::new().unwrap();
        let metrics = Arc::new(Metrics::default());
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let inbox = Arc::new(Inbox::new(waker, Arc::clone(&metrics)));
        let shards = Shards::new(vec![Arc::clone(&inbox)]);
        let id = ConnectionId::new(0, 0);
        let request =
            || ToShard::Upgrade(UpgradeRequest::Start { id, version: 4, reply: tokio::sync::oneshot::channel().0 });
        let aborted = || ToShard::Polling(PollingRequest::PollAborted { id });
        for _ in 0..MAX_REQUESTS {
            assert_eq!(shards.send(0, request()), Ok(()));
        }
        assert_eq!(metrics.overloaded_requests.load(Ordering::Relaxed), 0);
        assert_eq!(shards.send(0, request()), Err(Busy));
        assert_eq!(shards.send(1, request()), Err(Busy), "there is no such shard");
        assert_eq!(metrics.overloaded_requests.load(Ordering::Relaxed), 1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let place = runtime.block_on(shards.reserve(1));
        place.deliver(0, Notice::Publication(Publication::stored("r", "{}", None)));
        shards.stop();
        let Some(ToShard::Broadcast(broadcast)) = inbox.take_message() else { panic!("a publication") };
        assert!(inbox.publication_budget.available_permits() < PUBLICATION_BYTES, "it may wait in the shard");
        inbox.release(broadcast.cost as usize);
        assert!(matches!(inbox.take_message(), Some(ToShard::Stop)));
        assert_eq!(shards.send(0, aborted()), Ok(()), "the end of a request that was accepted before is not lost");
        let requests: Vec<_> = std::iter::from_fn(|| inbox.take_request()).collect();
        assert_eq!(requests.len(), MAX_REQUESTS + 1);
        assert!(matches!(requests.last(), Some(ToShard::Polling(PollingRequest::PollAborted { .. }))), "in order");
        assert_eq!(shards.send(0, request()), Ok(()), "the places of the requests are free again");
        assert_eq!(inbox.publication_budget.available_permits(), PUBLICATION_BYTES);
    }
}
