//! The queue in front of one shard.
//!
//! Each kind of message has its own limit, so that none takes another's place. The publications in an inbox, and those
//! that the shard has taken and not begun to deliver, may hold [`PUBLICATION_BYTES`]; beyond that, publishers wait.
//! Replies are as many as the shard has requested, which it limits. All other messages belong to a request of a client
//! that waits. They have a queue of their own, so that a flood of them delays no publication, and clients have their turns in
//! it, so that one of them delays no other; beyond [`MAX_REQUESTS`] they are rejected and counted. The end of a request is
//! always accepted: a connection would wait for it for ever.

use super::message::ToShard;
use crate::client::Client;
use crate::fair_queue::FairQueue;
use crate::metrics::Metrics;
use crossbeam_queue::SegQueue;
use smallvec::SmallVec;
use std::cell::RefCell;
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
    /// Requests of clients that the shard has not seen.
    requests: SegQueue<(Client, ToShard)>,
    /// The number of requests, with those that the shard has seen and not taken.
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

thread_local! {
    /// The inboxes that are woken when the [`DeferredWakes`] of this thread end. `None`: there are none.
    static DEFERRED: RefCell<Option<SmallVec<[Arc<Inbox>; 8]>>> = const { RefCell::new(None) };
}

/// While it lives, what this thread puts into inboxes wakes no shard. Then each is woken once.
///
/// A request with many publications, or many pipelined requests, would wake a shard for each of them. It must not live while
/// the thread may sleep.
#[derive(Debug)]
pub struct DeferredWakes(());

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

    /// Takes the request of the client whose turn it is. Only the shard calls this, with the requests that it has seen.
    pub(super) fn take_request(&self, seen: &mut FairQueue<Client, ToShard>) -> Option<ToShard> {
        while let Some((client, request)) = self.requests.pop() {
            seen.push(client, request);
        }
        let (_, request) = seen.pop()?;
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

    /// Adds a publication, a reply, or an order of the process.
    pub(super) fn put(self: &Arc<Self>, message: ToShard) {
        debug_assert!(!message.is_request(), "clients have their turns");
        self.messages.push(message);
        self.wake_or_defer();
    }

    /// Adds a request of a client, or what belongs to one.
    pub(super) fn put_request(self: &Arc<Self>, client: Client, request: ToShard) -> Result<(), Busy> {
        if self.request_count.fetch_add(1, Ordering::Relaxed) >= MAX_REQUESTS && !request.is_end_of_request() {
            self.request_count.fetch_sub(1, Ordering::Relaxed);
            self.metrics.overloaded_requests.fetch_add(1, Ordering::Relaxed);
            return Err(Busy);
        }
        self.requests.push((client, request));
        self.wake_or_defer();
        Ok(())
    }

    fn wake_or_defer(self: &Arc<Self>) {
        let defer = |deferred: &RefCell<Option<SmallVec<[Arc<Self>; 8]>>>| {
            let mut deferred = deferred.borrow_mut();
            let Some(deferred) = deferred.as_mut() else { return false };
            if !deferred.iter().any(|one| Arc::ptr_eq(one, self)) {
                deferred.push(Arc::clone(self));
            }
            true
        };
        // A thread that ends has none any more.
        if !DEFERRED.try_with(defer).unwrap_or(false) {
            self.wake();
        }
    }

    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It fails only when the shard has stopped, and then no thread waits.
            let _ = self.waker.wake();
        }
    }

    /// Waits until publications of `cost` bytes fit, and reserves the place.
    pub(super) async fn reserve(&self, cost: u32) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.publication_budget.acquire_many(cost).await.ok()
    }

    /// Connections of the shard, and messages that may become one.
    pub(super) fn load(&self) -> usize {
        self.connections() + self.request_count.load(Ordering::Relaxed)
    }

    /// Connections of the shard.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

// === impl DeferredWakes ===

impl DeferredWakes {
    /// Wakes no shard from now on. One that is within another one ends both.
    #[must_use]
    pub fn begin() -> Self {
        DEFERRED.with_borrow_mut(|deferred| {
            deferred.get_or_insert_default();
        });
        Self(())
    }
}

impl Drop for DeferredWakes {
    fn drop(&mut self) {
        let deferred = DEFERRED.take();
        deferred.into_iter().flatten().for_each(|inbox| inbox.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection_id::ConnectionId;
    use crate::interest::Interest;
    use crate::publication::{Notice, Publication};
    use crate::shard::Shards;
    use crate::shard::message::{PollingRequest, UpgradeRequest};

    fn client(host: u8) -> Client {
        Client::of([10, 0, 0, host].into())
    }

    #[test]
    fn deferred_wakes_wake_each_shard_once_and_others_wake_it_meanwhile() {
        let mut poll = mio::Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap(), Arc::default()));
        let mut is_woken = || {
            let mut events = mio::Events::with_capacity(1);
            poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
            !events.is_empty()
        };
        let put = |inbox: &Arc<Inbox>| inbox.put(ToShard::Drain { spread: 0 });
        assert!(inbox.prepare_to_sleep());
        let deferred = DeferredWakes::begin();
        put(&inbox);
        put(&inbox);
        assert!(!is_woken(), "the thread has more for it");
        drop(deferred);
        assert!(is_woken());
        assert_eq!(std::iter::from_fn(|| inbox.take_message()).count(), 2);
        assert!(inbox.prepare_to_sleep());
        let deferred = DeferredWakes::begin();
        put(&inbox);
        std::thread::scope(|scope| scope.spawn(|| put(&inbox)).join()).unwrap();
        assert!(is_woken(), "another thread has deferred nothing");
        drop(deferred);
        assert!(!is_woken(), "it is awake");
        assert_eq!(std::iter::from_fn(|| inbox.take_message()).count(), 2);
        assert!(inbox.prepare_to_sleep());
        put(&inbox);
        assert!(is_woken(), "nothing is deferred any more");
    }

    #[test]
    fn requests_of_one_client_delay_another_one_by_one_of_them() {
        let poll = mio::Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap(), Arc::default()));
        let request = |slot| ToShard::Polling(PollingRequest::PollAborted { id: ConnectionId::new(0, slot) });
        let mut seen = FairQueue::default();
        for slot in 0..1_000 {
            inbox.put_request(client(1), request(slot)).unwrap();
        }
        let mut take = || match inbox.take_request(&mut seen) {
            Some(ToShard::Polling(PollingRequest::PollAborted { id })) => id.slot,
            _ => panic!("a request"),
        };
        assert_eq!(take(), 0);
        for slot in [2_000, 2_001] {
            inbox.put_request(client(2), request(slot)).unwrap();
        }
        assert_eq!([take(), take(), take(), take()], [1, 2_000, 2, 2_001]);
        assert_eq!(inbox.load(), 1_000 - 3, "those that the shard has seen count");
    }

    #[test]
    fn a_flood_of_requests_is_rejected_and_takes_no_place_from_publications_and_orders() {
        let poll = mio::Poll::new().unwrap();
        let metrics = Arc::new(Metrics::default());
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let inbox = Arc::new(Inbox::new(waker, Arc::clone(&metrics)));
        let interest = Arc::new(Interest::new(1));
        let shards = Shards::new(vec![Arc::clone(&inbox)], Arc::clone(&interest));
        let id = ConnectionId::new(0, 0);
        let request =
            || ToShard::Upgrade(UpgradeRequest::Start { id, version: 4, reply: tokio::sync::oneshot::channel().0 });
        let aborted = || ToShard::Polling(PollingRequest::PollAborted { id });
        for _ in 0..MAX_REQUESTS {
            assert_eq!(shards.send_request(0, client(1), request()), Ok(()));
        }
        assert_eq!(metrics.overloaded_requests.load(Ordering::Relaxed), 0);
        assert_eq!(shards.send_request(0, client(1), request()), Err(Busy));
        assert_eq!(shards.send_request(1, client(1), request()), Err(Busy), "there is no such shard");
        assert_eq!(metrics.overloaded_requests.load(Ordering::Relaxed), 1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let publish = || {
            let place = runtime.block_on(shards.reserve(1));
            place.deliver(0, Notice::Publication(Publication::stored("r", "{}", None)));
        };
        publish();
        assert!(inbox.messages.is_empty(), "the shard has no members of the room");
        interest.add(0, interest.hash(0, "r"));
        publish();
        shards.stop();
        let Some(ToShard::Broadcast(broadcast)) = inbox.take_message() else { panic!("a publication") };
        assert!(inbox.publication_budget.available_permits() < PUBLICATION_BYTES, "it may wait in the shard");
        inbox.release(broadcast.cost as usize);
        assert!(matches!(inbox.take_message(), Some(ToShard::Stop)));
        let accepted = shards.send_request(0, client(1), aborted());
        assert_eq!(accepted, Ok(()), "the end of a request that was accepted before is not lost");
        let mut seen = FairQueue::default();
        let requests: Vec<_> = std::iter::from_fn(|| inbox.take_request(&mut seen)).collect();
        assert_eq!(requests.len(), MAX_REQUESTS + 1);
        assert!(matches!(requests.last(), Some(ToShard::Polling(PollingRequest::PollAborted { .. }))), "in order");
        assert_eq!(
            shards.send_request(0, client(1), request()),
            Ok(()),
            "the places of the requests are free again"
        );
        assert_eq!(inbox.publication_budget.available_permits(), PUBLICATION_BYTES);
    }
}
