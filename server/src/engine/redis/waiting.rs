//! Messages of other programs that wait for their delivery, limited in number and in bytes.
//!
//! A program that may publish in a channel may fill the queue while its reader waits for a Redis that does not respond. So
//! the channel with the most bytes loses its oldest message, and a flood in one channel costs no other channel anything.
//! What is dropped is counted. What is left stays in the order of its arrival.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Messages that wait.
const MAX_WAITING: usize = 1024;
/// Their memory. Bytes. One message may always wait, whatever its size.
const MAX_BYTES: usize = 32 << 20;
/// What a message takes in addition to its text. Bytes.
const OVERHEAD: usize = 256;

/// A message that can wait.
pub trait Message {
    /// What it was published to.
    fn channel(&self) -> &str;
    /// The bytes of its text and names.
    fn size(&self) -> usize;
}

/// The end that fills the queue.
#[derive(Debug)]
pub(super) struct Sender<M: Message>(Arc<Shared<M>>);

/// The end that reads it.
#[derive(Debug)]
pub struct Receiver<M: Message>(Arc<Shared<M>>);

#[derive(Debug)]
struct Shared<M> {
    queue: Mutex<Queue<M>>,
    arrived: Notify,
    is_closed: AtomicBool,
}

/// The queue and its limits, without I/O.
#[derive(Debug)]
struct Queue<M> {
    /// By the number of arrival.
    messages: BTreeMap<u64, M>,
    next_number: u64,
    bytes: usize,
    channels: HashMap<Arc<str>, OfChannel>,
    /// The channels by their bytes.
    ranks: BTreeSet<(usize, Arc<str>)>,
    /// Messages that were dropped and are not counted yet.
    dropped: u64,
}

/// What waits of one channel.
#[derive(Debug, Default)]
struct OfChannel {
    numbers: VecDeque<u64>,
    bytes: usize,
}

// === impl Queue ===

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Self {
            messages: BTreeMap::new(),
            next_number: 0,
            bytes: 0,
            channels: HashMap::new(),
            ranks: BTreeSet::new(),
            dropped: 0,
        }
    }
}

impl<M: Message> Queue<M> {
    fn push(&mut self, message: M) {
        let (number, cost) = (self.next_number, message.size() + OVERHEAD);
        self.next_number += 1;
        self.bytes += cost;
        let known = self.channels.get_key_value(message.channel()).map(|(channel, _)| Arc::clone(channel));
        let channel = known.unwrap_or_else(|| message.channel().into());
        let of_channel = self.channels.entry(Arc::clone(&channel)).or_default();
        let before = of_channel.bytes;
        of_channel.numbers.push_back(number);
        of_channel.bytes += cost;
        self.ranks.remove(&(before, Arc::clone(&channel)));
        self.ranks.insert((before + cost, channel));
        self.messages.insert(number, message);
        while self.messages.len() > 1 && (self.messages.len() > MAX_WAITING || self.bytes > MAX_BYTES) {
            let largest = self.ranks.last().and_then(|(_, channel)| self.channels.get(channel));
            let Some(number) = largest.and_then(|of_channel| of_channel.numbers.front().copied()) else { return };
            self.remove(number);
            self.dropped += 1;
        }
    }

    fn pop(&mut self) -> Option<M> {
        let number = *self.messages.first_key_value()?.0;
        self.remove(number)
    }

    /// Removes the oldest message of a channel.
    fn remove(&mut self, number: u64) -> Option<M> {
        let message = self.messages.remove(&number)?;
        let cost = message.size() + OVERHEAD;
        self.bytes -= cost;
        let (channel, of_channel) = self.channels.get_key_value(message.channel())?;
        let (channel, before) = (Arc::clone(channel), of_channel.bytes);
        self.ranks.remove(&(before, Arc::clone(&channel)));
        let of_channel = self.channels.get_mut(&channel)?;
        of_channel.numbers.pop_front();
        of_channel.bytes -= cost;
        match of_channel.numbers.is_empty() {
            true => drop(self.channels.remove(&channel)),
            false => drop(self.ranks.insert((before - cost, channel))),
        }
        Some(message)
    }
}

// === impl Shared ===

impl<M> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.is_closed.store(true, SeqCst);
        self.arrived.notify_one();
    }
}

/// Returns both ends.
pub(super) fn channel<M: Message>() -> (Sender<M>, Receiver<M>) {
    let shared =
        Arc::new(Shared { queue: Mutex::default(), arrived: Notify::new(), is_closed: AtomicBool::new(false) });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

// === impl Sender ===

impl<M: Message> Sender<M> {
    /// Never waits.
    pub(super) fn send(&self, message: M) {
        self.0.lock().push(message);
        self.0.arrived.notify_one();
    }

    /// The messages that were dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.0.lock().dropped)
    }

    /// Whether the receiver is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed.load(SeqCst)
    }
}

impl<M: Message> Drop for Sender<M> {
    fn drop(&mut self) {
        self.0.close();
    }
}

// === impl Receiver ===

impl<M: Message> Receiver<M> {
    /// Waits for the next message. `None`: the sender is gone.
    ///
    /// # Cancel safety
    /// Safe: a message is removed when it is returned.
    pub async fn recv(&mut self) -> Option<M> {
        tokio::task::coop::consume_budget().await;
        loop {
            if let Some(message) = self.0.lock().pop() {
                return Some(message);
            }
            if self.0.is_closed.load(SeqCst) {
                return None;
            }
            self.0.arrived.notified().await;
        }
    }
}

impl<M: Message> Drop for Receiver<M> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Message for (&'static str, usize, usize) {
        fn channel(&self) -> &str {
            self.0
        }

        fn size(&self) -> usize {
            self.2
        }
    }

    /// Weakness 8: what waited was limited in number only.
    #[test]
    fn what_waits_is_limited_in_bytes_and_a_flood_costs_no_other_channel_anything() {
        for size in [0, 1 << 20] {
            let mut queue = Queue::default();
            (0..20).for_each(|number| queue.push(("other", number, 10)));
            for number in 0..5000 {
                queue.push(("flood", number, size));
                assert!(queue.bytes <= MAX_BYTES && queue.messages.len() <= MAX_WAITING);
            }
            let waiting = queue.messages.len();
            assert_eq!(queue.dropped as usize, 5020 - waiting);
            let all: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
            assert_eq!(all[..20].iter().map(|one| (one.0, one.1)).collect::<Vec<_>>().last(), Some(&("other", 19)));
            assert!(all[20..].iter().map(|one| one.1).eq(5020 - waiting..5000), "the newest, in order");
            assert_eq!((queue.bytes, queue.channels.len(), queue.ranks.len()), (0, 0, 0));
        }
    }

    #[tokio::test]
    async fn a_message_that_is_larger_than_the_limit_waits_alone_and_the_end_is_reported() {
        let (sender, mut receiver) = channel();
        sender.send(("a", 1, MAX_BYTES + 1));
        sender.send(("a", 2, 1));
        assert_eq!((sender.take_dropped(), sender.take_dropped(), sender.is_closed()), (1, 0, false));
        drop(sender);
        assert_eq!(receiver.recv().await, Some(("a", 2, 1)));
        assert_eq!(receiver.recv().await, None);
        let (sender, receiver) = channel::<(&str, usize, usize)>();
        drop(receiver);
        assert!(sender.is_closed());
    }
}
