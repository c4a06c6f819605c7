//! A queue in which a room stands once, however often it is sent there: bounded by the number of rooms.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Rooms that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct UniqueQueue {
    order: VecDeque<Arc<str>>,
    waiting: HashSet<Arc<str>>,
}

// === impl UniqueQueue ===

impl UniqueQueue {
    /// Puts a room at the end, if it does not stand there already.
    pub(super) fn push(&mut self, room: &str) {
        if !self.waiting.contains(room) {
            let room: Arc<str> = room.into();
            self.waiting.insert(Arc::clone(&room));
            self.order.push_back(room);
        }
    }

    /// The room whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Arc<str>> {
        let room = self.order.pop_front()?;
        self.waiting.remove(&room);
        Some(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_stands_in_the_queue_once_and_may_come_again_after_its_turn() {
        let mut turns = UniqueQueue::default();
        for room in ["a", "b", "a", "a"] {
            turns.push(room);
        }
        assert_eq!(turns.pop().as_deref(), Some("a"));
        turns.push("a");
        assert_eq!(turns.pop().as_deref(), Some("b"));
        assert_eq!(turns.pop().as_deref(), Some("a"));
        assert_eq!(turns.pop(), None);
    }
}
