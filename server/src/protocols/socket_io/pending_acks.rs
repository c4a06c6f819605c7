//! The acknowledgements a connection owes us: which of our events it has yet to answer.
//!
//! Bounded, since a browser that never answers would otherwise have us remember for ever; nothing on the heap while
//! nothing is pending_acks.

/// Acknowledgements that one connection may owe at a time.
const MAX_PENDING_ACKS: usize = 128;

/// What one connection owes.
#[derive(Debug, Default)]
pub(super) struct PendingAcks {
    /// The id of the last event that asked for one.
    last: u64,
    /// Namespace and id of each.
    list: Vec<(u16, u64)>,
}

// === impl PendingAcks ===

impl PendingAcks {
    /// An id for an event that asks for an acknowledgement. `None`: too many are owed.
    pub(super) fn start(&mut self, namespace: u16) -> Option<u64> {
        if self.list.len() >= MAX_PENDING_ACKS {
            return None;
        }
        self.last += 1;
        self.list.push((namespace, self.last));
        Some(self.last)
    }

    /// An acknowledgement came. `false`: nobody asked for it, or it came before.
    pub(super) fn end(&mut self, namespace: u16, id: u64) -> bool {
        let found = self.list.iter().position(|&one| one == (namespace, id));
        found.map(|index| self.list.swap_remove(index)).is_some()
    }

    /// The connection left a namespace, and owes it nothing.
    pub(super) fn forget(&mut self, namespace: u16) {
        self.list.retain(|&(one, _)| one != namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_counts_once_and_in_its_namespace() {
        let mut pending_acks = PendingAcks::default();
        let id = pending_acks.start(1).unwrap();
        assert!(!pending_acks.end(0, id));
        assert!(!pending_acks.end(1, id + 1));
        assert!(pending_acks.end(1, id));
        assert!(!pending_acks.end(1, id));
    }

    #[test]
    fn who_answers_nothing_is_asked_no_more() {
        let mut pending_acks = PendingAcks::default();
        let ids: Vec<_> = (0..MAX_PENDING_ACKS).map(|_| pending_acks.start(0).unwrap()).collect();
        assert_eq!(pending_acks.start(0), None);
        assert!(pending_acks.end(0, ids[7]));
        assert!(pending_acks.start(0).is_some_and(|id| !ids.contains(&id)));
        pending_acks.forget(0);
        assert!(pending_acks.start(0).is_some());
    }
}
