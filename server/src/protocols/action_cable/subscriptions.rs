//! The subscriptions of one connection. Pure decisions, no I/O.
//!
//! The core limits how many there are: each is a membership. A reply is found by the number of its request, so one for a
//! subscription that was ended, and perhaps made again, changes nothing.

use super::encoding::CableEncoding;
use std::sync::Arc;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    list: Vec<Subscription>,
    /// The number of the last request.
    last_request: u64,
    /// Requests for histories that wait: their numbers and identifiers.
    histories: Vec<(u64, Arc<CableEncoding>)>,
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    encoding: Arc<CableEncoding>,
    /// The number of the request that made it. 0: it was never pending.
    request: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Confirmed,
    /// `has_position`: the client has named a position.
    Waiting {
        has_position: bool,
    },
}

// === impl Subscription ===

impl Subscription {
    /// One that is confirmed at once.
    pub(super) fn confirmed(encoding: Arc<CableEncoding>) -> Self {
        Self { encoding, request: 0, state: State::Confirmed }
    }

    /// One that waits for the reply to a request.
    pub(super) fn waiting(encoding: Arc<CableEncoding>, request: u64, has_position: bool) -> Self {
        Self { encoding, request, state: State::Waiting { has_position } }
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.state == State::Confirmed
    }

    pub(super) fn encoding(&self) -> &Arc<CableEncoding> {
        &self.encoding
    }
}

// === impl Subscriptions ===

impl Subscriptions {
    /// The number of the next request.
    pub(super) fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn find(&self, identifier: &str) -> Option<&Subscription> {
        self.list.iter().find(|one| one.encoding.identifier() == identifier)
    }

    pub(super) fn add(&mut self, subscription: Subscription) {
        // A vector that grows by itself would begin with room for four. Most connections have few.
        self.list.reserve_exact(1);
        self.list.push(subscription);
    }

    pub(super) fn remove(&mut self, identifier: &str) -> Option<Subscription> {
        let index = self.list.iter().position(|one| one.encoding.identifier() == identifier)?;
        self.histories.retain(|(_, encoding)| encoding.identifier() != identifier);
        let removed = self.list.remove(index);
        if self.list.is_empty() {
            self.list = Vec::new();
        }
        Some(removed)
    }

    /// Removes the subscriptions to a stream.
    pub(super) fn remove_stream(&mut self, stream: &str) -> Vec<Subscription> {
        let is_it = |one: &Subscription| one.encoding.stream() == stream;
        let (removed, list) = std::mem::take(&mut self.list).into_iter().partition(is_it);
        self.list = list;
        self.histories.retain(|(_, encoding)| encoding.stream() != stream);
        removed
    }

    /// The reply to a request arrived. Returns whether the client had named a position. `None`: its subscription was ended.
    pub(super) fn confirm(&mut self, request: u64) -> Option<bool> {
        let waiting = self.list.iter_mut().find(|one| one.request == request)?;
        match std::mem::replace(&mut waiting.state, State::Confirmed) {
            State::Waiting { has_position } => Some(has_position),
            State::Confirmed => None,
        }
    }

    /// The subscription that a request has made.
    pub(super) fn confirmed_by(&self, request: u64) -> Option<&Subscription> {
        self.list.iter().find(|one| one.request == request)
    }

    /// A request for the history of a subscription waits.
    pub(super) fn wait_for_history(&mut self, identifier: &str, request: u64) {
        if let Some(encoding) = self.find(identifier).map(|one| Arc::clone(&one.encoding)) {
            self.histories.push((request, encoding));
        }
    }

    /// The reply to a request for a history arrived. Returns the identifier. `None`: it is another request.
    pub(super) fn take_history(&mut self, request: u64) -> Option<String> {
        let index = self.histories.iter().position(|(one, _)| *one == request)?;
        let (_, encoding) = self.histories.swap_remove(index);
        Some(encoding.identifier().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoding::Encodings;
    use super::*;

    fn encoding(identifier: &str) -> Arc<CableEncoding> {
        Arc::new(Encodings::new(true)).get(identifier, "s", true, false)
    }

    #[test]
    fn a_reply_for_a_subscription_that_was_ended_and_made_again_confirms_nothing() {
        let mut subscriptions = Subscriptions::default();
        let first = subscriptions.next_request();
        subscriptions.add(Subscription::waiting(encoding("a"), first, false));
        assert!(subscriptions.remove("a").is_some());
        let second = subscriptions.next_request();
        subscriptions.add(Subscription::waiting(encoding("a"), second, true));
        assert_eq!(subscriptions.confirm(first), None);
        assert!(!subscriptions.find("a").unwrap().is_confirmed());
        assert_eq!(subscriptions.confirm(second), Some(true));
        assert!(subscriptions.find("a").unwrap().is_confirmed());
        assert_eq!(subscriptions.confirm(second), None, "once");
    }

    #[test]
    fn a_history_that_waits_ends_with_its_subscription() {
        let mut subscriptions = Subscriptions::default();
        for identifier in ["a", "b"] {
            subscriptions.add(Subscription::confirmed(encoding(identifier)));
        }
        let (one, two) = (subscriptions.next_request(), subscriptions.next_request());
        subscriptions.wait_for_history("a", one);
        subscriptions.wait_for_history("b", two);
        subscriptions.remove("a");
        assert_eq!(subscriptions.take_history(one), None);
        assert_eq!(subscriptions.take_history(two).as_deref(), Some("b"));
        assert_eq!(subscriptions.take_history(two), None);
    }
}
