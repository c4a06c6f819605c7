//! The messages from Redis that wait for the subscriber, limited in number and in bytes.
//!
//! The client's own queue is limited in number only, and the subscriber waits whenever the shards do. So a task, the
//! [`Intake`], takes messages out of the client's queue as they arrive. If too much waits, the oldest messages are dropped,
//! and the subscriber learns how many before it receives the next one.
//!
//! Messages are copied: one of the client's keeps everything alive that arrived in the same read.

use super::{BACKLOG, Shared};
use fred::types::{Message, Value};
use nodevent_protocol::history::REVOKED;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};

/// Maximum bytes of the messages that wait. One message may always wait, whatever its size.
const MAX_BYTES: usize = 64 << 20;
/// What a message takes in addition to its text. Bytes.
const OVERHEAD: usize = 64;

/// What arrived from Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A message of the health probe.
    Probe,
    /// The text of a publication.
    Publication(Box<[u8]>),
}

/// What the subscriber takes out of the backlog.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Received(Received),
    /// So many messages were dropped between the last one and the next one.
    Dropped(u64),
}

/// The queue and its limits, without I/O.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Received>,
    bytes: usize,
    /// Messages that were dropped since the subscriber learnt of it.
    dropped: u64,
}

#[derive(Debug, Default)]
struct Channel {
    queue: Mutex<Queue>,
    arrived: Notify,
}

/// The end of the subscriber.
#[derive(Debug)]
pub(super) struct Backlog(Arc<Channel>);

/// The end of the client: see the head of this file.
#[derive(Debug)]
pub(super) struct Intake {
    channel: Arc<Channel>,
    shared: Arc<Shared>,
    max_publication_bytes: usize,
}

// === impl Queue ===

impl Queue {
    /// Appends a message. Drops the oldest ones as long as there are too many, or all together are too large.
    fn push(&mut self, received: Received) {
        self.bytes += received.cost();
        self.waiting.push_back(received);
        while self.waiting.len() > 1 && (self.waiting.len() > BACKLOG || self.bytes > MAX_BYTES) {
            self.bytes -= self.waiting.pop_front().map_or(0, |oldest| oldest.cost());
            self.dropped += 1;
        }
    }

    /// Removes what the subscriber must know next.
    fn pop(&mut self) -> Option<Next> {
        if self.dropped > 0 {
            return Some(Next::Dropped(std::mem::take(&mut self.dropped)));
        }
        let received = self.waiting.pop_front()?;
        self.bytes -= received.cost();
        Some(Next::Received(received))
    }
}

// === impl Received ===

impl Received {
    fn cost(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Probe => 0,
                Self::Publication(text) => text.len(),
            }
    }
}

// === impl Backlog ===

/// Returns both ends. Publications of more than `max_publication_bytes` do not enter; they are counted.
pub(super) fn backlog(shared: Arc<Shared>, max_publication_bytes: usize) -> (Intake, Backlog) {
    let channel = Arc::<Channel>::default();
    (Intake { channel: Arc::clone(&channel), shared, max_publication_bytes }, Backlog(channel))
}

impl Backlog {
    /// Waits for the next message.
    ///
    /// # Cancel safety
    /// Safe: a message is removed when it is returned.
    pub(super) async fn next(&self) -> Next {
        // Without this, the subscriber would never let other tasks run while messages wait.
        tokio::task::coop::consume_budget().await;
        loop {
            if let Some(next) = self.0.lock().pop() {
                return next;
            }
            self.0.arrived.notified().await;
        }
    }
}

// === impl Channel ===

impl Channel {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Intake ===

impl Intake {
    /// Runs until the client is gone.
    pub(super) async fn run(self, mut messages: broadcast::Receiver<Message>) {
        loop {
            match messages.recv().await {
                Ok(message) => self.on_message(&message),
                // It arrived faster than this task could run.
                Err(RecvError::Lagged(dropped)) => self.channel.lock().dropped += dropped,
                Err(RecvError::Closed) => return,
            }
            self.channel.arrived.notify_one();
        }
    }

    fn on_message(&self, message: &Message) {
        if *message.channel == *self.shared.probe_channel {
            return self.channel.lock().push(Received::Probe);
        }
        let bytes: &[u8] = match &message.value {
            Value::Bytes(bytes) => bytes,
            Value::String(text) => text.as_bytes(),
            _ => return,
        };
        if bytes == REVOKED.as_bytes() {
            // It says only that there is something to read, so a forged one revokes nothing.
            return self.shared.revoked.notify_one();
        }
        if bytes.len() > self.max_publication_bytes {
            let fanout = &self.shared.fanout;
            fanout.metrics().count_oversized_publish();
            let (bytes, max) = (bytes.len(), self.max_publication_bytes);
            tracing::warn!(namespace = fanout.name(), bytes, max, "dropped a publish that is too large");
            return;
        }
        self.channel.lock().push(Received::Publication(bytes.into()));
    }
}

/// Counts what was dropped, and logs it.
pub(super) fn report_dropped(shared: &Shared, dropped: u64) {
    let fanout = &shared.fanout;
    fanout.metrics().engine_lagged_messages.fetch_add(dropped, Relaxed);
    tracing::warn!(
        dropped,
        namespace = fanout.name(),
        "receive queue overflowed; re-reading affected rooms from history"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: usize, size: usize) -> Received {
        let mut text = number.to_be_bytes().to_vec();
        text.resize(size.max(text.len()), b'x');
        Received::Publication(text.into())
    }

    /// Takes everything out. Returns the number of dropped messages and the numbers of the others.
    fn drain(queue: &mut Queue) -> (u64, Vec<usize>) {
        let (mut dropped, mut numbers) = (0, Vec::new());
        while let Some(next) = queue.pop() {
            match next {
                Next::Dropped(more) => dropped += more,
                Next::Received(Received::Publication(text)) => {
                    numbers.push(usize::from_be_bytes(*text.first_chunk().unwrap()));
                }
                Next::Received(Received::Probe) => {}
            }
        }
        assert_eq!((queue.bytes, queue.waiting.len()), (0, 0));
        (dropped, numbers)
    }

    #[test]
    fn the_oldest_are_dropped_beyond_the_bytes_and_the_others_stay_in_order() {
        let mut queue = Queue::default();
        for number in 0..500 {
            queue.push(text(number, 1 << 20));
            assert!(queue.bytes <= MAX_BYTES);
        }
        assert!(matches!(queue.pop(), Some(Next::Dropped(437))), "the subscriber learns of it first");
        assert_eq!(drain(&mut queue), (0, Vec::from_iter(437..500)));
    }

    #[test]
    fn the_oldest_are_dropped_beyond_the_number() {
        let mut queue = Queue::default();
        (0..BACKLOG + 10).for_each(|number| queue.push(text(number, 8)));
        assert_eq!(drain(&mut queue), (10, Vec::from_iter(10..BACKLOG + 10)));
    }

    #[test]
    fn message_that_is_larger_than_the_limit_waits_alone() {
        let mut queue = Queue::default();
        queue.push(text(1, 10));
        queue.push(text(2, MAX_BYTES + 1));
        assert_eq!(drain(&mut queue), (1, vec![2]));
        queue.push(text(3, MAX_BYTES + 1));
        queue.push(text(4, 10));
        assert_eq!(drain(&mut queue), (1, vec![4]));
    }

    #[test]
    fn drops_between_two_messages_are_reported_between_them() {
        let mut queue = Queue::default();
        queue.push(text(1, 8));
        assert!(matches!(queue.pop(), Some(Next::Received(_))));
        queue.dropped += 3;
        queue.push(Received::Probe);
        assert_eq!(queue.pop(), Some(Next::Dropped(3)));
        assert_eq!(queue.pop(), Some(Next::Received(Received::Probe)));
        assert_eq!(queue.pop(), None);
    }
}
