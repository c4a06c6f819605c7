//! The acknowledgements that the server has requested from one connection and not received.
//!
//! Their number is limited, because a client may never acknowledge. A connection without any uses no heap.

/// Acknowledgements that may be pending per connection.
const MAX_PENDING_ACKS: usize = 1024;

/// The pending acknowledgements of one connection.
#[derive(Debug, Default)]
pub(super) struct PendingAcks(Option<Box<Requested>>);

#[derive(Debug, Default)]
struct Requested {
    /// The id of the last event that requested one.
    last: u64,
    /// Namespace and id of each.
    pending: Vec<(u16, u64)>,
}

// === impl PendingAcks ===

impl PendingAcks {
    /// Returns an id for an event that requests an acknowledgement. `None`: too many are pending.
    pub(super) fn start(&mut self, namespace: u16) -> Option<u64> {
        let requested = self.0.get_or_insert_default();
        if requested.pending.len() >= MAX_PENDING_ACKS {
            return None;
        }
        requested.last += 1;
        requested.pending.push((namespace, requested.last));
        Some(requested.last)
    }

    /// An acknowledgement arrived. Returns `false` if it was not requested, or has arrived before.
    pub(super) fn end(&mut self, namespace: u16, id: u64) -> bool {
        let Some(requested) = &mut self.0 else { return false };
        let found = requested.pending.iter().position(|&one| one == (namespace, id));
        found.map(|index| requested.pending.swap_remove(index)).is_some()
    }

    /// Drops the acknowledgements of a namespace that the connection has left.
    pub(super) fn forget(&mut self, namespace: u16) {
        if let Some(requested) = &mut self.0 {
            requested.pending.retain(|&(one, _)| one != namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_counts_once_and_only_in_its_namespace() {
        let mut pending_acks = PendingAcks::default();
        let id = pending_acks.start(1).unwrap();
        assert!(!pending_acks.end(0, id));
        assert!(!pending_acks.end(1, id + 1));
        assert!(pending_acks.end(1, id));
        assert!(!pending_acks.end(1, id));
    }

    #[test]
    fn a_client_that_never_acknowledges_gets_no_more_requests() {
        let mut pending_acks = PendingAcks::default();
        let ids: Vec<_> = (0..MAX_PENDING_ACKS).map(|_| pending_acks.start(0).unwrap()).collect();
        assert_eq!(pending_acks.start(0), None);
        assert!(pending_acks.end(0, ids[7]));
        assert!(pending_acks.start(0).is_some_and(|id| !ids.contains(&id)));
        pending_acks.forget(0);
        assert!(pending_acks.start(0).is_some());
    }
}
