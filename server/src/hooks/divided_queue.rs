//! A queue of events in which clients that connect, disconnect, enter and leave take nothing from other events.
//!
//! Every client that can reach the server can cause the events `connected` and `disconnected`. They get at most half of the
//! queue, and are dropped before any other event. Users can cause `entered` and `left`, in an open namespace for rooms that
//! they make up. These are dropped next.

use std::collections::VecDeque;
use std::ops::AddAssign;

/// Which part of the queue an event takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `connected` and `disconnected`.
    Connections,
    /// `entered` and `left`.
    Members,
    /// All other events.
    Others,
}

/// The parts, in the order in which they are dropped.
const PARTS: usize = 3;

/// How many events were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// `connected` and `disconnected`.
    pub connections: u64,
    /// Other events.
    pub others: u64,
}

/// See the head of this file.
#[derive(Debug)]
pub struct DividedQueue<T> {
    /// By [`Part`].
    parts: [OfPart<T>; PARTS],
    /// The numbers of the oldest and the next event.
    first: i64,
    next: i64,
}

#[derive(Debug)]
struct OfPart<T> {
    /// By their numbers.
    events: VecDeque<Entry<T>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    number: i64,
    bytes: usize,
    event: T,
}

// === impl Dropped ===

impl Dropped {
    /// All of them.
    pub fn total(self) -> u64 {
        self.connections + self.others
    }
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.others += other.others;
    }
}

// === impl OfPart ===

impl<T> OfPart<T> {
    fn pop(&mut self) -> Option<T> {
        let Entry { bytes, event, .. } = self.events.pop_front()?;
        self.bytes -= bytes;
        Some(event)
    }

    fn retain(&mut self, mut keeps: impl FnMut(&T) -> bool) {
        let bytes = &mut self.bytes;
        self.events.retain(|entry| {
            let is_kept = keeps(&entry.event);
            if !is_kept {
                *bytes -= entry.bytes;
            }
            is_kept
        });
    }
}

// === impl DividedQueue ===

impl<T> Default for DividedQueue<T> {
    fn default() -> Self {
        Self { parts: [(); PARTS].map(|()| OfPart { events: VecDeque::new(), bytes: 0 }), first: 0, next: 0 }
    }
}

impl<T> DividedQueue<T> {
    /// Appends an event of so many bytes.
    pub fn push(&mut self, part: Part, bytes: usize, event: T) {
        let entry = Entry { number: self.next, bytes, event };
        self.next += 1;
        let of_part = self.of(part);
        of_part.bytes += bytes;
        of_part.events.push_back(entry);
    }

    /// Puts an event before all others.
    pub fn push_front(&mut self, part: Part, bytes: usize, event: T) {
        self.first -= 1;
        let entry = Entry { number: self.first, bytes, event };
        let of_part = self.of(part);
        of_part.bytes += bytes;
        of_part.events.push_front(entry);
    }

    /// The oldest event.
    pub fn front(&self) -> Option<&T> {
        self.iter().next()
    }

    /// Removes the oldest event.
    pub fn pop_front(&mut self) -> Option<T> {
        let number = |of_part: &OfPart<T>| of_part.events.front().map_or(i64::MAX, |entry| entry.number);
        self.parts.iter_mut().min_by_key(|of_part| number(of_part))?.pop()
    }

    /// All events, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let mut parts = self.parts.each_ref().map(|of_part| of_part.events.iter().peekable());
        std::iter::from_fn(move || {
            let numbers = parts.iter_mut().map(|part| part.peek().map_or(i64::MAX, |entry| entry.number));
            let (oldest, _) = numbers.enumerate().min_by_key(|(_, number)| *number)?;
            parts[oldest].next().map(|entry| &entry.event)
        })
    }

    /// Removes the events for which this is false.
    pub fn retain(&mut self, mut keeps: impl FnMut(&T) -> bool) {
        self.parts.iter_mut().for_each(|of_part| of_part.retain(&mut keeps));
    }

    /// Drops events until there are at most so many of at most so many bytes. One event may stay whatever its size.
    pub fn drop_excess(&mut self, max: usize, max_bytes: usize) -> Dropped {
        let mut dropped = Dropped::default();
        let connections = self.of(Part::Connections);
        while connections.events.len() > (max / 2).max(1)
            || (connections.events.len() > 1 && connections.bytes > max_bytes / 2)
        {
            dropped.connections += connections.pop().map_or(0, |_| 1);
        }
        while self.len() > 1 && (self.len() > max || self.bytes() > max_bytes) {
            match self.of(Part::Connections).pop() {
                Some(_) => dropped.connections += 1,
                None => dropped.others += self.parts.iter_mut().find_map(OfPart::pop).map_or(0, |_| 1),
            }
        }
        dropped
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|of_part| of_part.events.len()).sum()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all events.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|of_part| of_part.bytes).sum()
    }

    fn of(&mut self, part: Part) -> &mut OfPart<T> {
        let [connections, members, others] = &mut self.parts;
        match part {
            Part::Connections => connections,
            Part::Members => members,
            Part::Others => others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weakness 10: clients that connect and go pushed the events of others out of the journal.
    #[test]
    fn clients_that_connect_push_out_no_other_event() {
        let mut queue = DividedQueue::default();
        (0..5).for_each(|number| queue.push(Part::Others, 10, number));
        let mut dropped = Dropped::default();
        for number in 5..1000 {
            queue.push(Part::Connections, 10, number);
            dropped += queue.drop_excess(8, 1000);
            assert!(queue.len() <= 8);
        }
        assert_eq!((dropped.connections, dropped.others), (992, 0));
        assert_eq!(queue.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 997, 998, 999]);
        // The same by their bytes, and half of it at most.
        let mut queue = DividedQueue::default();
        (0..100).for_each(|number| queue.push(Part::Connections, 10, number));
        assert_eq!(queue.drop_excess(1000, 100).connections, 95);
        (100..110).for_each(|number| queue.push(Part::Others, 10, number));
        assert_eq!(queue.drop_excess(1000, 100), Dropped { connections: 5, others: 0 });
        queue.push(Part::Others, 10, 110);
        assert_eq!(queue.drop_excess(1000, 100), Dropped { connections: 0, others: 1 });
        assert_eq!((queue.len(), queue.bytes(), queue.front()), (10, 100, Some(&101)));
    }

    #[test]
    fn users_who_enter_and_leave_push_out_nothing_but_connections() {
        let mut queue = DividedQueue::default();
        queue.push(Part::Connections, 10, 0);
        (1..5).for_each(|number| queue.push(Part::Others, 10, number));
        let mut dropped = Dropped::default();
        for number in 5..100 {
            queue.push(Part::Members, 10, number);
            dropped += queue.drop_excess(8, 1000);
        }
        assert_eq!((dropped.connections, dropped.others), (1, 91));
        assert_eq!(queue.iter().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 96, 97, 98, 99]);
        (100..104).for_each(|number| queue.push(Part::Others, 10, number));
        assert_eq!(queue.drop_excess(8, 1000), Dropped { connections: 0, others: 4 });
        assert_eq!(queue.iter().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 100, 101, 102, 103]);
    }

    #[test]
    fn all_parts_are_one_sequence() {
        let mut queue = DividedQueue::default();
        for (part, number) in [(Part::Others, 1), (Part::Connections, 2), (Part::Others, 3), (Part::Members, 4)] {
            queue.push(part, 1, number);
        }
        assert_eq!(queue.pop_front(), Some(1));
        queue.push_front(Part::Connections, 1, 0);
        queue.retain(|number| *number != 3);
        let all: Vec<_> = std::iter::from_fn(|| queue.pop_front()).collect();
        assert_eq!(all, [0, 2, 4]);
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }
}
