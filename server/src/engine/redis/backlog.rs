//! The messages from Redis that wait for the subscriber, limited in number and in bytes.
//!
//! The client's own queue is limited in number only, and the subscriber waits whenever the shards do. So a task, the
//! [`Intake`], takes messages out of the client's queue as they arrive. If too much waits, the room with the most bytes
//! loses its oldest message, so that a flood to one room costs no other room anything. The subscriber learns how many
//! were dropped, and in which rooms, before it receives the next one. What is left stays in the order of its arrival.
//!
//! Messages are copied: one of the client's keeps everything alive that arrived in the same read. Their rooms are read only
//! while much waits; the first [`DIVIDED_FROM`] count as one room.

use super::{BACKLOG, Shared};
use fred::types::{Message, Value};
use nodevent_protocol::history::REVOKED;
use nodevent_protocol::pages::parse_notice;
use nodevent_protocol::publication;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{Hash as _, Hasher as _};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};

/// Maximum bytes of the messages that wait. One message may always wait, whatever its size.
const MAX_BYTES: usize = 64 << 20;
/// What waits is divided by rooms from so many messages on.
const DIVIDED_FROM: usize = BACKLOG / 8;
/// And from so many bytes on.
const DIVIDED_FROM_BYTES: usize = MAX_BYTES / 8;
/// The account of the messages that arrived before.
const UNDIVIDED: RoomHash = 0;
/// Rooms of dropped messages that are remembered.
const MAX_DROPPED_ROOMS: usize = 256;
/// What a message takes in addition to its text. Bytes.
const OVERHEAD: usize = 64;

/// What arrived from Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A message of the health probe.
    Probe,
    /// The text of a publication.
    Publication(Box<[u8]>),
    /// The announcement that the subscriptions of a page have changed, in the order of publications.
    PageNotice(Box<[u8]>),
}

/// What the subscriber takes out of the backlog.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Received(Received),
    /// Messages were dropped between the last one and the next one.
    Dropped(Dropped),
}

/// Messages that were dropped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// The number of messages.
    pub(super) count: u64,
    /// Their rooms. `None`: they may be of any room.
    pub(super) rooms: Option<HashSet<Box<str>>>,
}

/// A room in the accounts of the queue: the hash of its name, or [`UNDIVIDED`].
type RoomHash = u64;

/// The queue and its limits, without I/O.
#[derive(Debug, Default)]
struct Queue {
    /// In the order of arrival. `None`: it was dropped.
    waiting: VecDeque<Entry>,
    /// Messages in `waiting`.
    count: usize,
    bytes: usize,
    next_number: u64,
    rooms: HashMap<RoomHash, OfRoom>,
    /// The rooms by their bytes.
    ranks: BTreeSet<(usize, RoomHash)>,
    /// Messages that were dropped since the subscriber learnt of it.
    dropped: Option<Dropped>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    room: RoomHash,
    received: Option<Received>,
}

/// What waits of one room.
#[derive(Debug, Default)]
struct OfRoom {
    /// The numbers of its entries.
    numbers: VecDeque<u64>,
    bytes: usize,
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
    /// Appends a message. Drops others as long as there are too many, or all together are too large.
    fn push(&mut self, received: Received) {
        let is_divided = self.count >= DIVIDED_FROM || self.bytes >= DIVIDED_FROM_BYTES;
        let room = if is_divided { received.room_hash() } else { UNDIVIDED };
        let (number, cost) = (self.next_number, received.cost());
        self.next_number += 1;
        (self.count, self.bytes) = (self.count + 1, self.bytes + cost);
        self.waiting.push_back(Entry { number, room, received: Some(received) });
        let of_room = self.rooms.entry(room).or_default();
        let before = of_room.bytes;
        of_room.numbers.push_back(number);
        of_room.bytes += cost;
        self.ranks.remove(&(before, room));
        self.ranks.insert((before + cost, room));
        while self.count > 1 && (self.count > BACKLOG || self.bytes > MAX_BYTES) {
            self.drop_one();
        }
        if self.waiting.len() > 2 * BACKLOG {
            self.waiting.retain(|entry| entry.received.is_some());
        }
    }

    /// Drops the oldest message of the room with the most bytes.
    fn drop_one(&mut self) {
        let Some((_, room)) = self.ranks.last().copied() else { return };
        let Some(number) = self.rooms.get(&room).and_then(|of_room| of_room.numbers.front().copied()) else {
            return;
        };
        let Ok(index) = self.waiting.binary_search_by_key(&number, |entry| entry.number) else { return };
        let Some(received) = self.waiting[index].received.take() else { return };
        self.forget(room, received.cost());
        let dropped = self.dropped.get_or_insert_with(|| Dropped { count: 0, rooms: Some(HashSet::new()) });
        dropped.count += 1;
        match (&mut dropped.rooms, received.room()) {
            (Some(rooms), Some(room)) if rooms.len() < MAX_DROPPED_ROOMS => drop(rooms.insert(room)),
            (Some(rooms), Some(room)) if rooms.contains(&room) => {}
            (_, Some(_)) => dropped.rooms = None,
            // It was no publication.
            (_, None) => {}
        }
    }

    /// Counts the oldest message of a room as gone.
    fn forget(&mut self, room: RoomHash, cost: usize) {
        (self.count, self.bytes) = (self.count - 1, self.bytes - cost);
        let Some(of_room) = self.rooms.get_mut(&room) else { return };
        self.ranks.remove(&(of_room.bytes, room));
        of_room.numbers.pop_front();
        of_room.bytes -= cost;
        // The account of most messages stays, so that a message allocates nothing but its text.
        match of_room.numbers.is_empty() && room != UNDIVIDED {
            true => drop(self.rooms.remove(&room)),
            false => drop(self.ranks.insert((of_room.bytes, room))),
        }
    }

    /// Removes what the subscriber must know next.
    fn pop(&mut self) -> Option<Next> {
        if let Some(dropped) = self.dropped.take() {
            return Some(Next::Dropped(dropped));
        }
        loop {
            let Entry { room, received, .. } = self.waiting.pop_front()?;
            if let Some(received) = received {
                self.forget(room, received.cost());
                return Some(Next::Received(received));
            }
        }
    }

    /// Messages of unknown rooms were lost before they arrived here.
    fn on_lagged(&mut self, count: u64) {
        let before = self.dropped.take().map_or(0, |dropped| dropped.count);
        self.dropped = Some(Dropped { count: before + count, rooms: None });
    }
}

// === impl Received ===

impl Received {
    fn cost(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Probe => 0,
                Self::Publication(text) | Self::PageNotice(text) => text.len(),
            }
    }

    /// The room to which it was published. Empty: to no room. `None`: it is not a publication.
    fn room(&self) -> Option<Box<str>> {
        let Self::Publication(text) = self else { return None };
        Some(publication::parse(text).ok()?.topic.as_ref().into())
    }

    fn room_hash(&self) -> RoomHash {
        let mut hasher = DefaultHasher::new();
        self.room().hash(&mut hasher);
        hasher.finish().max(UNDIVIDED + 1)
    }
}

// === impl Backlog ===

/// Returns both ends. Publications of more than `max_publication_bytes` do not enter; they are counted.
pub(super) fn backlog(shared: Arc<Shared>, max_publication_bytes: usize) -> (Intake, Backlog) {
    let channel = Arc::<Channel>::default();
    (Intake { channel: Arc::clone(&channel), shared, max_publication_bytes }, Backlog(channel))
}

impl Backlog {
    /// One in which messages wait.
    #[cfg(test)]
    pub(super) fn holding(count: usize) -> Self {
        let channel = Arc::<Channel>::default();
        (0..count).for_each(|_| channel.lock().push(Received::Probe));
        Self(channel)
    }

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
                Err(RecvError::Lagged(dropped)) => self.channel.lock().on_lagged(dropped),
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
        self.channel.lock().push(match parse_notice(bytes).is_some() {
            true => Received::PageNotice(bytes.into()),
            false => Received::Publication(bytes.into()),
        });
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

    /// A publication to a room with a number in its message, as JSON of about `size` bytes.
    fn published(room: &str, number: usize, size: usize) -> Received {
        let padding = "x".repeat(size);
        let text = format!(r#"{{"room":"{room}","event":"{number}","message":"{padding}"}}"#);
        Received::Publication(text.into_bytes().into())
    }

    /// Takes everything out. Returns the number of dropped messages and the numbers of the others.
    fn drain(queue: &mut Queue) -> (u64, Vec<usize>) {
        let (mut dropped, mut numbers) = (0, Vec::new());
        while let Some(next) = queue.pop() {
            match next {
                Next::Dropped(more) => dropped += more.count,
                Next::Received(Received::Publication(text)) => {
                    let event = publication::parse(&text).ok().map(|one| one.event.into_owned());
                    numbers.push(match event {
                        Some(event) => event.parse().unwrap(),
                        None => usize::from_be_bytes(*text.first_chunk().unwrap()),
                    });
                }
                Next::Received(Received::Probe | Received::PageNotice(_)) => {}
            }
        }
        assert_eq!((queue.bytes, queue.count, queue.rooms.len(), queue.ranks.len()), (0, 0, 1, 1));
        (dropped, numbers)
    }

    #[test]
    fn the_oldest_are_dropped_beyond_the_bytes_and_the_others_stay_in_order() {
        let mut queue = Queue::default();
        for number in 0..500 {
            queue.push(text(number, 1 << 20));
            assert!(queue.bytes <= MAX_BYTES);
        }
        // The subscriber learns of it first.
        assert!(matches!(queue.pop(), Some(Next::Dropped(Dropped { count: 437, .. }))));
        let (dropped, numbers) = drain(&mut queue);
        assert_eq!((dropped, numbers.len(), numbers.last()), (0, 63, Some(&499)));
        assert!(numbers.is_sorted(), "{numbers:?}");
    }

    #[test]
    fn messages_are_dropped_beyond_the_number() {
        let mut queue = Queue::default();
        (0..10 * BACKLOG).for_each(|number| queue.push(text(number, 8)));
        assert!(queue.waiting.len() <= 2 * BACKLOG + 1, "what was dropped takes no memory");
        let (dropped, numbers) = drain(&mut queue);
        assert_eq!((dropped, numbers.len()), (9 * BACKLOG as u64, BACKLOG));
        assert!(numbers.is_sorted());
    }

    /// Weakness 23: a publisher that was limited to its rooms made all rooms of the namespace lose publications.
    #[test]
    fn a_flood_to_one_room_costs_no_other_room_anything() {
        for size in [0, 100_000] {
            let mut queue = Queue::default();
            (0..20).for_each(|number| queue.push(published("other", number, 10)));
            for number in 0..2 * BACKLOG {
                queue.push(published("flood", 1_000_000 + number, size));
                if number % 100 == 0 {
                    queue.push(published("other", 20 + number / 100, 10));
                }
            }
            let Some(Next::Dropped(dropped)) = queue.pop() else { panic!("much was dropped") };
            let rooms = dropped.rooms.unwrap();
            assert!(dropped.count > BACKLOG as u64 / 2 && rooms.contains("flood"), "{size}");
            let (_, numbers) = drain(&mut queue);
            let others: Vec<_> = numbers.iter().copied().filter(|number| *number < 1_000_000).collect();
            // The first ones were not divided when they arrived.
            let lost = 20 + 2 * BACKLOG / 100 + 1 - others.len();
            assert!(lost == 0, "{size}: {lost} of {} were lost", 20 + 2 * BACKLOG / 100);
            assert!(others.is_sorted() && numbers.iter().filter(|number| **number >= 1_000_000).is_sorted());
        }
    }

    #[test]
    fn message_that_is_larger_than_the_limit_waits_alone() {
        let mut queue = Queue::default();
        queue.push(text(1, MAX_BYTES + 1));
        queue.push(text(2, 10));
        assert_eq!(drain(&mut queue), (1, vec![2]));
    }

    #[test]
    fn drops_between_two_messages_are_reported_between_them() {
        let mut queue = Queue::default();
        queue.push(text(1, 8));
        assert!(matches!(queue.pop(), Some(Next::Received(_))));
        queue.on_lagged(3);
        queue.push(Received::Probe);
        assert_eq!(queue.pop(), Some(Next::Dropped(Dropped { count: 3, rooms: None })));
        assert_eq!(queue.pop(), Some(Next::Received(Received::Probe)));
        assert_eq!(queue.pop(), None);
    }
}
