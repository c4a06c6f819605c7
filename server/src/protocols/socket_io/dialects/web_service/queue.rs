//! What one connection was sent of its user's mailbox and has not acknowledged, in the order of the mailbox.
//!
//! Decides whether an acknowledgement is out of order, without I/O.

use crate::mailbox::{Acknowledgement, MessageId, StoredMessage};
use crate::web_service;
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Messages that are remembered. Older ones stay in the mailbox.
const MAX_MESSAGES: usize = 4096;

/// The messages that a connection has not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Sent>,
    /// What was acknowledged, and is to be removed from the mailbox.
    up_to: Option<MessageId>,
    ids: VecDeque<MessageId>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    /// The acknowledgement that removes it. Those of a batch have the same. `None`: none does.
    ack_id: Option<u64>,
    id: MessageId,
    /// The hash of the event's name.
    event: u64,
    resync: bool,
}

/// The result of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// What it acknowledges is to be removed.
    InOrder,
    /// It was sent with `resync`, and an earlier message of its event is not acknowledged.
    OutOfOrder,
    /// Nothing is known of it: another connection was faster.
    Unknown,
}

// === impl Queue ===

impl Queue {
    /// A message was sent.
    pub(super) fn push(&mut self, ack_id: Option<u64>, message: &StoredMessage) {
        let Some(read) = web_service::parse(&message.text) else { return };
        let mut hasher = DefaultHasher::new();
        read.event.hash(&mut hasher);
        if self.messages.len() >= MAX_MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(Sent { ack_id, id: message.id, event: hasher.finish(), resync: read.resync });
    }

    /// The client has acknowledged.
    pub(super) fn acknowledge(&mut self, ack_id: u64) -> Acknowledged {
        let is_it = |sent: &Sent| sent.ack_id == Some(ack_id);
        let Some(first) = self.messages.iter().position(is_it) else { return Acknowledged::Unknown };
        let (one, count) = (self.messages[first], self.messages.iter().filter(|sent| is_it(sent)).count());
        // The callback of a batch is never out of order.
        let has_earlier = self.messages.iter().take(first).any(|sent| sent.event == one.event);
        if count == 1 && one.resync && has_earlier {
            return Acknowledged::OutOfOrder;
        }
        let acknowledged = self.messages.iter().filter(|sent| is_it(sent)).map(|sent| sent.id);
        if first == 0 && count > 1 {
            self.up_to = self.up_to.max(acknowledged.max());
        } else {
            self.ids.extend(acknowledged);
        }
        self.messages.retain(|sent| !is_it(sent));
        Acknowledged::InOrder
    }

    /// Acknowledges everything that was sent. Returns the acknowledgements that are not expected any more.
    pub(super) fn clear(&mut self) -> Vec<u64> {
        self.up_to = self.up_to.max(self.messages.back().map(|sent| sent.id));
        ack_ids(self.messages.drain(..))
    }

    /// Messages were removed from the mailbox. Returns the acknowledgements that are not expected any more.
    pub(super) fn remove(&mut self, removed: &Acknowledgement) -> Vec<u64> {
        // Both may have thousands, and each connection of a user learns of them.
        let removed_ids: HashSet<MessageId> = removed.ids.iter().copied().collect();
        let is_removed = |id: MessageId| removed.up_to.is_some_and(|last| id <= last) || removed_ids.contains(&id);
        let mut gone = Vec::new();
        self.messages.retain(|sent| {
            let is_gone = is_removed(sent.id);
            gone.extend(is_gone.then_some(*sent));
            !is_gone
        });
        let ids = ack_ids(gone.into_iter());
        if ids.is_empty() {
            return ids;
        }
        // A batch is acknowledged as a whole.
        let expected: HashSet<u64> = self.messages.iter().filter_map(|sent| sent.ack_id).collect();
        ids.into_iter().filter(|id| !expected.contains(id)).collect()
    }

    /// Drops the oldest acknowledgement that is expected.
    pub(super) fn drop_oldest(&mut self) -> Option<u64> {
        let oldest = self.messages.iter().find_map(|sent| sent.ack_id)?;
        for sent in self.messages.iter_mut().filter(|sent| sent.ack_id == Some(oldest)) {
            sent.ack_id = None;
        }
        Some(oldest)
    }

    /// Takes what is to be removed from the mailbox, at most so many ids.
    pub(super) fn take_acknowledged(&mut self, max: usize) -> Option<Acknowledgement> {
        let up_to = self.up_to.take();
        self.ids.retain(|id| up_to.is_none_or(|last| *id > last));
        let ids: Vec<MessageId> = self.ids.drain(..self.ids.len().min(max)).collect();
        (up_to.is_some() || !ids.is_empty()).then_some(Acknowledgement { up_to, ids })
    }
}

/// The acknowledgements of messages, each once.
fn ack_ids(messages: impl Iterator<Item = Sent>) -> Vec<u64> {
    let mut ids: Vec<u64> = messages.filter_map(|sent| sent.ack_id).collect();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> MessageId {
        MessageId::parse(&number.to_string()).unwrap()
    }

    /// Messages with these events, numbered from 1, each with the acknowledgement of its number.
    fn queue(events: &[&str], resync: bool) -> Queue {
        let mut queue = Queue::default();
        for (index, event) in events.iter().enumerate() {
            let number = index as u64 + 1;
            queue.push(Some(number), &message(number, event, resync));
        }
        queue
    }

    fn message(number: u64, event: &str, resync: bool) -> StoredMessage {
        StoredMessage { id: id(number), text: web_service::mailbox_text(event, "[]", resync, 1).into() }
    }

    fn ids(numbers: &[u64]) -> Option<Acknowledgement> {
        Some(Acknowledgement { up_to: None, ids: numbers.iter().copied().map(id).collect() })
    }

    #[test]
    fn w34_in_order_simultaneous_acknowledgements_are_never_out_of_order() {
        let mut queue = queue(&["e", "e", "e"], true);
        for number in 1..=3 {
            assert_eq!(queue.acknowledge(number), Acknowledged::InOrder);
        }
        assert_eq!(queue.take_acknowledged(10), ids(&[1, 2, 3]));
        assert_eq!(queue.acknowledge(1), Acknowledged::Unknown);
    }

    #[test]
    fn w32_an_acknowledgement_before_an_earlier_one_of_its_event_clears_all_events() {
        let mut queue = queue(&["e", "other", "e", "later"], true);
        assert_eq!(queue.acknowledge(3), Acknowledged::OutOfOrder);
        assert_eq!(queue.clear(), [1, 2, 3, 4]);
        assert_eq!(queue.take_acknowledged(10), Some(Acknowledgement { up_to: Some(id(4)), ids: Vec::new() }));
        assert_eq!(queue.take_acknowledged(10), None);
    }

    #[test]
    fn w33_without_resync_and_for_another_event_order_does_not_matter() {
        assert_eq!(queue(&["e", "e"], false).acknowledge(2), Acknowledged::InOrder);
        assert_eq!(queue(&["other", "e"], true).acknowledge(2), Acknowledged::InOrder);
    }

    #[test]
    fn w25_w26_a_batch_is_acknowledged_without_what_was_sent_after_it() {
        let mut queue = Queue::default();
        (1..=3).for_each(|number| queue.push(Some(7), &message(number, "e", true)));
        queue.push(Some(8), &message(4, "e", false));
        assert_eq!(queue.acknowledge(7), Acknowledged::InOrder);
        assert_eq!(queue.take_acknowledged(10), Some(Acknowledgement { up_to: Some(id(3)), ids: Vec::new() }));
        assert_eq!(queue.acknowledge(8), Acknowledged::InOrder);
        assert_eq!(queue.take_acknowledged(10), ids(&[4]));
    }

    #[test]
    fn w35_what_another_tab_has_acknowledged_is_not_expected_any_more() {
        let mut queue = queue(&["e", "e", "e"], true);
        assert_eq!(queue.remove(&ids(&[1]).unwrap()), [1]);
        assert_eq!(queue.acknowledge(2), Acknowledged::InOrder);
        let mut of_batch = Queue::default();
        (1..=2).for_each(|number| of_batch.push(Some(7), &message(number, "e", false)));
        assert!(of_batch.remove(&ids(&[1]).unwrap()).is_empty(), "a part of a batch is left");
        assert_eq!(of_batch.remove(&ids(&[2]).unwrap()), [7]);
    }

    #[test]
    fn acknowledgements_are_removed_in_parts() {
        let mut queue = queue(&["a", "b", "c"], false);
        (1..=3).for_each(|number| assert_eq!(queue.acknowledge(number), Acknowledged::InOrder));
        assert_eq!(queue.take_acknowledged(2), ids(&[1, 2]));
        assert_eq!(queue.take_acknowledged(2), ids(&[3]));
        assert_eq!(queue.take_acknowledged(2), None);
    }

    #[test]
    fn the_oldest_callback_gives_way_and_its_message_stays() {
        let mut queue = queue(&["e", "e"], false);
        assert_eq!((queue.drop_oldest(), queue.acknowledge(1)), (Some(1), Acknowledged::Unknown));
        assert_eq!((queue.drop_oldest(), queue.drop_oldest()), (Some(2), None));
        assert_eq!(queue.take_acknowledged(2), None);
    }
}
