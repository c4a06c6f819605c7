//! A queue that contains each room at most once, so the number of rooms bounds it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Rooms in the order in which they were pushed.
#[derive(Debug, Default)]
pub(super) struct UniqueQueue {
    order: VecDeque<Arc<str>>,
    queued: HashSet<Arc<str>>,
}

// === impl UniqueQueue ===

impl UniqueQueue {
    /// Appends a room unless the queue contains it.
    pub(super) fn push(&mut self, room: &str) {
        if !self.queued.contains(room) {
            let room: Arc<str> = room.into();
            self.queued.insert(Arc::clone(&room));
            self.order.push_back(room);
        }
    }

    /// The number of rooms.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Removes the first room.
    pub(super) fn pop(&mut self) -> Option<Arc<str>> {
        let room = self.order.pop_front()?;
        self.queued.remove(&room);
        Some(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_queued_once_and_may_be_queued_again_after_its_turn() {
        let mut queue = UniqueQueue::default();
        for room in ["a", "b", "a", "a"] {
            queue.push(room);
        }
        assert_eq!(queue.pop().as_deref(), Some("a"));
        queue.push("a");
        assert_eq!(queue.pop().as_deref(), Some("b"));
        assert_eq!(queue.pop().as_deref(), Some("a"));
        assert_eq!(queue.pop(), None);
    }
}
