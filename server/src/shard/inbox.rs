//! The queue in front of one shard.
//!
//! Each kind of message has its own limit, so that none takes another's place. The publications in an inbox may hold
//! [`PUBLICATION_BYTES`]; beyond that, publishers wait. Replies are as many as the shard has requested, which it limits.
//! All other messages belong to a request that waits; beyond [`MAX_REQUESTS`] they are rejected.

use super::message::ToShard;
use crossbeam_queue::SegQueue;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// What the publications in one inbox may hold together. Bytes.
pub(super) const PUBLICATION_BYTES: usize = 32 * 1024 * 1024;
/// Messages in one inbox that are neither publications nor replies.
const MAX_REQUESTS: usize = 16_384;

/// The queue in front of one shard.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: SegQueue<ToShard>,
    /// Messages in it that count against [`MAX_REQUESTS`].
    requests: AtomicUsize,
    /// Bytes that publications may still take; see [`PUBLICATION_BYTES`].
    publication_budget: Semaphore,
    /// Whether the thread sleeps, or is about to.
    asleep: AtomicBool,
    waker: mio::Waker,
    /// Connections of the shard, for choosing the least loaded one.
    connections: AtomicUsize,
}

/// Too many requests wait.
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

    /// Announces that the thread is about to sleep. Returns `false` if there is something to take after all.
    pub(super) fn prepare_to_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let empty = self.queue.is_empty();
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
        if message.is_request() && self.requests.fetch_add(1, Ordering::Relaxed) >= MAX_REQUESTS {
            self.requests.fetch_sub(1, Ordering::Relaxed);
            return Err(Busy);
        }
        self.queue.push(message);
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
        self.connections() + self.queue.len()
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
    use crate::shard::message::PollingRequest;
    use std::sync::Arc;

    #[test]
    fn a_flood_of_requests_is_rejected_and_takes_no_place_from_publications_and_orders() {
        let poll = mio::Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
        let shards = Shards::new(vec![Arc::clone(&inbox)]);
        let aborted = || ToShard::Polling(PollingRequest::PollAborted { id: ConnectionId::new(0, 0) });
        for _ in 0..MAX_REQUESTS {
            assert_eq!(shards.send(0, aborted()), Ok(()));
        }
        assert_eq!(shards.send(0, aborted()), Err(Busy));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let place = runtime.block_on(shards.reserve(1));
        place.deliver(0, Notice::Publication(Publication::in_room("r", "{}", None)));
        shards.stop();
        let taken: Vec<ToShard> = std::iter::from_fn(|| inbox.take()).collect();
        assert_eq!(taken.len(), MAX_REQUESTS + 2);
        assert!(matches!(taken[MAX_REQUESTS], ToShard::Broadcast(_)));
        assert!(matches!(taken[MAX_REQUESTS + 1], ToShard::Stop));
        assert_eq!(shards.send(0, aborted()), Ok(()), "the places of the requests are free again");
        assert_eq!(inbox.publication_budget.available_permits(), PUBLICATION_BYTES);
    }
}
