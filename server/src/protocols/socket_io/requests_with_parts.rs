//! Requests of one connection that have several parts, such as a join of many rooms: they are acknowledged when the
//! results of all parts are known.
//!
//! Their number is limited. A connection without any uses no heap.

use crate::history::RequestId;

/// Requests with parts that may be pending per connection.
const MAX_REQUESTS: usize = 16;

/// The requests of one connection.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "8 bytes instead of 24 in a connection that has none")]
pub(super) struct RequestsWithParts(Option<Box<Vec<Request>>>);

#[derive(Debug)]
struct Request {
    namespace: u16,
    ack_id: u64,
    results: Vec<Option<String>>,
    /// Parts without a result.
    missing: u16,
}

// === impl RequestsWithParts ===

impl RequestsWithParts {
    /// Starts a request. Returns `false` if there are too many, or one with that id.
    pub(super) fn start(&mut self, namespace: u16, ack_id: u64, parts: u16) -> bool {
        let requests = self.0.get_or_insert_default();
        let is_known = requests.iter().any(|one| (one.namespace, one.ack_id) == (namespace, ack_id));
        if is_known || requests.len() >= MAX_REQUESTS {
            return false;
        }
        requests.push(Request { namespace, ack_id, results: vec![None; usize::from(parts)], missing: parts });
        true
    }

    /// Adds the result of a part. Returns all results if it was the last one.
    pub(super) fn finish_part(&mut self, namespace: u16, id: RequestId, result: String) -> Option<Vec<String>> {
        let requests = self.0.as_mut()?;
        let ack_id = id.number?;
        let index = requests.iter().position(|one| (one.namespace, one.ack_id) == (namespace, ack_id))?;
        let request = &mut requests[index];
        let part = request.results.get_mut(usize::from(id.part.checked_sub(1)?))?;
        request.missing -= u16::from(part.replace(result).is_none());
        if request.missing > 0 {
            return None;
        }
        let request = requests.swap_remove(index);
        if requests.is_empty() {
            self.0 = None;
        }
        Some(request.results.into_iter().flatten().collect())
    }

    /// Drops the requests of a namespace that the connection has left.
    pub(super) fn forget(&mut self, namespace: u16) {
        if let Some(requests) = &mut self.0 {
            requests.retain(|one| one.namespace != namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u64, part: u16) -> RequestId {
        RequestId { number: Some(number), part }
    }

    #[test]
    fn a_request_is_complete_with_the_result_of_its_last_part_whatever_their_order() {
        let mut requests = RequestsWithParts::default();
        assert!(requests.start(1, 7, 2));
        assert!(!requests.start(1, 7, 2), "the id is in use");
        assert_eq!(requests.finish_part(1, part(7, 2), "b".into()), None);
        assert_eq!(requests.finish_part(2, part(7, 1), "x".into()), None, "another namespace");
        assert_eq!(requests.finish_part(1, part(7, 1), "a".into()), Some(vec!["a".into(), "b".into()]));
        assert!(requests.0.is_none(), "no memory is left");
    }

    #[test]
    fn the_number_of_requests_is_limited_and_those_of_a_namespace_end_with_it() {
        let mut requests = RequestsWithParts::default();
        assert!((0..MAX_REQUESTS as u64).all(|id| requests.start(1, id, 1)));
        assert!(!requests.start(1, 99, 1));
        requests.forget(1);
        assert!(requests.start(1, 99, 1));
    }
}
