//! What a page is subscribed to, and what its connection has joined: the difference is joined and left.

use super::Pakyow;
use crate::calls::ConnectionEvent;
use crate::history::{RequestId, Since};
use crate::outcome::Outcome;
use crate::protocol::{Core, JoinError, Joined, Millis, NEVER, Subscribe};
use nodevent_protocol::history::Position;
use nodevent_protocol::pages::{ITSELF, Subscription, topic_of};
use nodevent_protocol::pakyow;

/// Time after which a page is read again that could not be read, or joined. Milliseconds.
const RETRY: Millis = 1_000;
/// The range over which connections retry that failed together. Milliseconds.
const RETRY_SPREAD: Millis = 1_000;

/// What a connection has joined, and joins.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Few, so a list.
    channels: Vec<Channel>,
    /// The number of the last join.
    last: u64,
}

#[derive(Debug)]
struct Channel {
    name: Box<str>,
    /// The number of its join.
    number: u64,
    state: Join,
    /// Up to where the page has received it: before the join, or with it.
    received: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Pending,
    Complete,
    /// It was rejected. The next read of the page repeats it, and does not return the position again.
    Rejected,
}

// === impl Pakyow ===

impl Pakyow {
    /// Reads the page, or reads it again.
    pub(super) fn read_page(&mut self, core: &mut dyn Core) {
        self.renew_at = NEVER;
        let Some(page) = self.visitor.page else { return };
        match core.open_page(self.settings.namespace, page) {
            Outcome::Ready(subscriptions) => self.on_subscriptions(&subscriptions, core),
            Outcome::Pending => {}
            Outcome::Overloaded => self.retry(core),
        }
    }

    /// The page is read again in a moment.
    pub(super) fn retry(&mut self, core: &mut dyn Core) {
        self.renew_at = core.now() + RETRY + rand::random::<Millis>() % RETRY_SPREAD;
    }

    /// The page was read.
    pub(super) fn on_subscriptions(&mut self, subscriptions: &[Subscription], core: &mut dyn Core) {
        self.renew_at = core.now() + self.renew_interval(core.now());
        let is_wanted = |name: &str| name == ITSELF || subscriptions.iter().any(|(channel, _)| **channel == *name);
        let gone: Vec<Box<str>> = self
            .subscriptions
            .channels
            .iter()
            .filter(|one| !is_wanted(&one.name))
            .map(|one| one.name.clone())
            .collect();
        self.on_unsubscribed(&gone, core);
        // What is published to the page itself needs no subscription.
        let itself = [(Box::from(ITSELF), None)];
        for (channel, since) in subscriptions.iter().chain(&itself) {
            if let Some(since) = self.subscriptions.start_join(channel, *since) {
                self.join(channel, since, core);
            }
        }
        if !std::mem::replace(&mut self.is_active, true) {
            core.notify_call(self.settings.namespace, ConnectionEvent::Join, Some(&self.visitor.connection));
        }
    }

    /// The page is not subscribed to these any more.
    pub(super) fn on_unsubscribed(&mut self, channels: &[Box<str>], core: &mut dyn Core) {
        let Some(page) = self.visitor.page else { return };
        for name in channels.iter().filter(|name| ***name != *ITSELF) {
            let Some(index) = self.subscriptions.channels.iter().position(|one| one.name == *name) else {
                continue;
            };
            self.subscriptions.channels.swap_remove(index);
            core.unsubscribe(self.settings.namespace, &topic_of(page, name), &self.settings.encoding);
        }
    }

    fn join(&mut self, name: &str, since: Option<Position>, core: &mut dyn Core) {
        let Some(page) = self.visitor.page else { return };
        self.subscriptions.last += 1;
        let number = self.subscriptions.last;
        let channel = Channel { name: name.into(), number, state: Join::Pending, received: since };
        self.subscriptions.channels.push(channel);
        let request = RequestId { number: Some(number), part: 0 };
        let joined = core.subscribe(Subscribe {
            namespace: self.settings.namespace,
            room: &topic_of(page, name),
            credential: Some(&self.settings.joins.credential()),
            kept: None,
            since: since.map_or(Since::FirstJoin, Since::Position),
            encoding: &self.settings.encoding,
            request,
        });
        match joined {
            Ok(Outcome::Ready(joined)) => self.on_joined(request, Ok(joined), core),
            // The connection is closed if the server is overloaded.
            Ok(Outcome::Pending | Outcome::Overloaded) => {}
            Err(error) => self.on_joined(request, Err(error), core),
        }
    }

    /// A join is complete, or was rejected.
    pub(super) fn on_joined(&mut self, request: RequestId, result: Result<Joined, JoinError>, core: &mut dyn Core) {
        let channels = &mut self.subscriptions.channels;
        let Some(index) = channels.iter().position(|one| Some(one.number) == request.number) else { return };
        match result {
            Ok(Joined { recovery }) => {
                let channel = &mut channels[index];
                channel.state = Join::Complete;
                if let Some(recovery) = recovery {
                    channel.received = recovery.position.or(channel.received);
                    if !recovery.recovered {
                        core.send_text(&pakyow::gap(&channel.name));
                    }
                }
            }
            Err(_) => {
                channels[index].state = Join::Rejected;
                // Too many joins in a short time. The core has logged it.
                self.retry(core);
            }
        }
    }

    /// Up to where the page has received its channels.
    pub(super) fn received_up_to(&self, core: &dyn Core) -> Vec<Subscription> {
        let Some(page) = self.visitor.page else { return Vec::new() };
        let up_to = |channel: &Channel| {
            let delivered = match channel.state {
                Join::Complete => core.delivered(self.settings.namespace, &topic_of(page, &channel.name)),
                // What was delivered to other members waits for the join.
                Join::Pending | Join::Rejected => None,
            };
            later(channel.received, delivered)
        };
        self.subscriptions.channels.iter().map(|channel| (channel.name.clone(), up_to(channel))).collect()
    }
}

// === impl Subscriptions ===

impl Subscriptions {
    /// Returns the position from which a channel is to be joined. `None`: it is joined already.
    fn start_join(&mut self, name: &str, since: Option<Position>) -> Option<Option<Position>> {
        let Some(index) = self.channels.iter().position(|one| *one.name == *name) else { return Some(since) };
        if self.channels[index].state != Join::Rejected {
            return None;
        }
        let rejected = self.channels.swap_remove(index);
        Some(later(since, rejected.received))
    }
}

/// The later of two positions. What was delivered last counts if they cannot be compared.
fn later(received: Option<Position>, delivered: Option<Position>) -> Option<Position> {
    match (received, delivered) {
        (Some(one), Some(other)) if one.epoch == other.epoch && one.offset > other.offset => Some(one),
        (one, other) => other.or(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_join_is_repeated_from_its_position() {
        let at = Some(Position { epoch: 1, offset: 5 });
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.start_join("a", at), Some(at));
        let channel = |state| Channel { name: "a".into(), number: 1, state, received: at };
        subscriptions.channels.push(channel(Join::Pending));
        assert_eq!(subscriptions.start_join("a", None), None);
        subscriptions.channels[0].state = Join::Rejected;
        assert_eq!(subscriptions.start_join("a", None), Some(at), "the engine returns it once");
        assert!(subscriptions.channels.is_empty());
    }

    #[test]
    fn the_later_position_counts() {
        let at = |epoch, offset| Some(Position { epoch, offset });
        assert_eq!(later(at(1, 5), at(1, 3)), at(1, 5));
        assert_eq!(later(at(1, 3), at(1, 5)), at(1, 5));
        assert_eq!(later(at(1, 5), at(2, 3)), at(2, 3));
        assert_eq!((later(at(1, 5), None), later(None, at(1, 3)), later(None, None)), (at(1, 5), at(1, 3), None));
    }
}
