//! The subscriptions of one connection. Pure decisions, no I/O.
//!
//! The core limits how many there are: each is a membership, or becomes one. A reply is found by the number of its request,
//! so one for a subscription that was ended, and perhaps made again, changes nothing.

use super::cursors::Cursor;
use super::encoding::CableEncoding;
use super::extended::OwnedEntry;
use crate::history::Since;
use std::sync::Arc;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    list: Vec<Subscription>,
    /// The number of the last request.
    last_request: u64,
    /// Requests for histories that wait: their numbers and identifiers.
    histories: Vec<(u64, Arc<CableEncoding>)>,
    /// What long identifiers hold. Bytes.
    long_bytes: usize,
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    encoding: Arc<CableEncoding>,
    /// The number of the request that made it.
    request: u64,
    state: State,
    /// Up to where its page has received it. `None`: its tag names no page.
    pub(super) cursor: Option<Box<Cursor>>,
    /// As whom the client wants to be present as soon as it is confirmed.
    pub(super) entry: Option<Box<OwnedEntry>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Confirmed,
    /// Its cursor is being read. The page has this if there is none.
    Reading(Since),
    /// It is being joined.
    Waiting(Confirmation),
    /// It was that of an earlier connection, and its client has not said what it has.
    Restored,
}

/// What a client is to learn as soon as a subscription is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Confirmation {
    /// Whether the client has named a position or a time.
    pub(super) has_position: bool,
    pub(super) expects: Expects,
}

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expects {
    /// The confirmation of its subscription.
    Subscription,
    /// That of a history: it knows that it is subscribed.
    History,
    /// Nothing: it has not asked.
    Nothing,
}

// === impl Subscription ===

impl Subscription {
    /// One that waits for the reply to a request.
    pub(super) fn waiting(encoding: Arc<CableEncoding>, request: u64, has_position: bool) -> Self {
        let state = State::Waiting(Confirmation { has_position, expects: Expects::Subscription });
        Self { encoding, request, state, cursor: None, entry: None }
    }

    /// One whose cursor is read first.
    pub(super) fn reading(encoding: Arc<CableEncoding>, request: u64, since: Since) -> Self {
        Self { encoding, request, state: State::Reading(since), cursor: None, entry: None }
    }

    /// One of an earlier connection.
    pub(super) fn restored(encoding: Arc<CableEncoding>, request: u64) -> Self {
        Self { encoding, request, state: State::Restored, cursor: None, entry: None }
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.state == State::Confirmed
    }

    /// The request with which a restored one is joined.
    pub(super) fn restored_by(&self) -> Option<u64> {
        (self.state == State::Restored).then_some(self.request)
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

    /// The number of those whose cursor is being read.
    pub(super) fn reading(&self) -> usize {
        self.list.iter().filter(|one| matches!(one.state, State::Reading(_))).count()
    }

    /// What long identifiers hold. Bytes.
    pub(super) fn long_bytes(&self) -> usize {
        self.long_bytes
    }

    /// All identifiers, as JSON.
    pub(super) fn identifiers(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|one| one.encoding.identifier())
    }

    /// The requests with which restored ones are joined.
    pub(super) fn restored(&self) -> Vec<u64> {
        self.list.iter().filter_map(Subscription::restored_by).collect()
    }

    /// Those that are confirmed and belong to a page.
    pub(super) fn of_pages(&mut self) -> impl Iterator<Item = (&Arc<CableEncoding>, &mut Cursor)> {
        let confirmed = self.list.iter_mut().filter(|one| one.state == State::Confirmed);
        confirmed.filter_map(|one| Some((&one.encoding, one.cursor.as_deref_mut()?)))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn find(&self, identifier: &str) -> Option<&Subscription> {
        self.list.iter().find(|one| one.encoding.identifier() == identifier)
    }

    pub(super) fn find_mut(&mut self, identifier: &str) -> Option<&mut Subscription> {
        self.list.iter_mut().find(|one| one.encoding.identifier() == identifier)
    }

    pub(super) fn add(&mut self, subscription: Subscription) {
        // A vector that grows by itself would begin with room for four. Most connections have few.
        self.list.reserve_exact(1);
        self.long_bytes += subscription.encoding.long_bytes();
        self.list.push(subscription);
    }

    pub(super) fn remove(&mut self, identifier: &str) -> Option<Subscription> {
        let index = self.list.iter().position(|one| one.encoding.identifier() == identifier)?;
        self.histories.retain(|(_, encoding)| encoding.identifier() != identifier);
        let removed = self.list.remove(index);
        self.long_bytes -= removed.encoding.long_bytes();
        if self.list.is_empty() {
            self.list = Vec::new();
        }
        Some(removed)
    }

    /// Removes the subscriptions to a stream.
    pub(super) fn remove_stream(&mut self, stream: &str) -> Vec<Subscription> {
        let is_it = |one: &Subscription| one.encoding.stream() == stream;
        let (removed, list) = std::mem::take(&mut self.list).into_iter().partition::<Vec<_>, _>(is_it);
        self.list = list;
        self.long_bytes -= removed.iter().map(|one| one.encoding.long_bytes()).sum::<usize>();
        self.histories.retain(|(_, encoding)| encoding.stream() != stream);
        removed
    }

    /// The cursor of a subscription was read. Returns what its page has if there is none. `None`: it was ended.
    pub(super) fn take_reading(&mut self, request: u64) -> Option<Since> {
        match self.made_by(request)?.state {
            State::Reading(since) => Some(since),
            _ => None,
        }
    }

    /// A subscription is about to be joined. Returns its encoding.
    pub(super) fn join(&mut self, request: u64, confirmation: Confirmation) -> Option<Arc<CableEncoding>> {
        let subscription = self.made_by_mut(request)?;
        subscription.state = State::Waiting(confirmation);
        Some(Arc::clone(&subscription.encoding))
    }

    /// The reply to a request arrived. Returns what the client is to learn. `None`: its subscription was ended.
    pub(super) fn confirm(&mut self, request: u64) -> Option<Confirmation> {
        let waiting = self.made_by_mut(request)?;
        match std::mem::replace(&mut waiting.state, State::Confirmed) {
            State::Waiting(confirmation) => Some(confirmation),
            other => {
                waiting.state = other;
                None
            }
        }
    }

    /// The subscription that a request has made.
    pub(super) fn made_by(&self, request: u64) -> Option<&Subscription> {
        self.list.iter().find(|one| one.request == request)
    }

    /// As [`Subscriptions::made_by`].
    pub(super) fn made_by_mut(&mut self, request: u64) -> Option<&mut Subscription> {
        self.list.iter_mut().find(|one| one.request == request)
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
        Arc::new(Encodings::new(true, true)).get(identifier, "s", true, false)
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
        let confirmation = Confirmation { has_position: true, expects: Expects::Subscription };
        assert_eq!(subscriptions.confirm(second), Some(confirmation));
        assert!(subscriptions.find("a").unwrap().is_confirmed());
        assert_eq!(subscriptions.confirm(second), None, "once");
    }

    #[test]
    fn only_long_identifiers_hold_bytes_until_they_are_removed() {
        let mut subscriptions = Subscriptions::default();
        for identifier in ["a", &"b".repeat(1_000), &"c".repeat(2_000)] {
            let request = subscriptions.next_request();
            subscriptions.add(Subscription::waiting(encoding(identifier), request, false));
        }
        assert_eq!(
            subscriptions.long_bytes(),
            2 * (1_000 - 512) + 2 * (2_000 - 512),
            "two copies, beyond 512 bytes"
        );
        subscriptions.remove(&"b".repeat(1_000));
        assert_eq!(subscriptions.long_bytes(), 2 * (2_000 - 512));
        assert_eq!(subscriptions.remove_stream("s").len(), 2);
        assert_eq!(subscriptions.long_bytes(), 0);
    }

    #[test]
    fn a_history_that_waits_ends_with_its_subscription() {
        let mut subscriptions = Subscriptions::default();
        for identifier in ["a", "b"] {
            let request = subscriptions.next_request();
            subscriptions.add(Subscription::waiting(encoding(identifier), request, false));
            assert!(subscriptions.confirm(request).is_some());
        }
        let (one, two) = (subscriptions.next_request(), subscriptions.next_request());
        subscriptions.wait_for_history("a", one);
        subscriptions.wait_for_history("b", two);
        subscriptions.remove("a");
        assert_eq!(subscriptions.take_history(one), None);
        assert_eq!(subscriptions.take_history(two).as_deref(), Some("b"));
        assert_eq!(subscriptions.take_history(two), None);
    }

    #[test]
    fn a_cursor_that_was_read_for_a_subscription_that_was_ended_joins_nothing() {
        let mut subscriptions = Subscriptions::default();
        let first = subscriptions.next_request();
        subscriptions.add(Subscription::reading(encoding("a"), first, Since::Invalid));
        assert_eq!((subscriptions.reading(), subscriptions.confirm(first)), (1, None));
        assert_eq!(subscriptions.take_reading(first), Some(Since::Invalid));
        let confirmation = Confirmation { has_position: true, expects: Expects::Subscription };
        assert!(subscriptions.join(first, confirmation).is_some());
        assert_eq!((subscriptions.reading(), subscriptions.take_reading(first)), (0, None), "once");
        subscriptions.remove("a");
        assert!(subscriptions.take_reading(first).is_none() && subscriptions.join(first, confirmation).is_none());
    }

    #[test]
    fn a_restored_subscription_is_joined_as_soon_as_its_client_says_what_it_has() {
        let mut subscriptions = Subscriptions::default();
        let request = subscriptions.next_request();
        subscriptions.add(Subscription::restored(encoding("a"), request));
        assert_eq!((subscriptions.restored(), subscriptions.confirm(request)), (vec![request], None));
        let confirmation = Confirmation { has_position: true, expects: Expects::History };
        assert!(subscriptions.join(request, confirmation).is_some());
        assert!(subscriptions.restored().is_empty());
        assert_eq!(subscriptions.confirm(request), Some(confirmation));
    }
}
