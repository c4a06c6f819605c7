//! Up to where a page has received its streams. Pure decisions, no I/O.
//!
//! A position is sent before a ping, and the pong shows that it has arrived. So what is stored may be behind what the page
//! has received by what was sent since, and is never ahead of it.

use crate::history::Since;
use crate::protocol::Millis;
use nodevent_protocol::action_cable::stored::CableKey;
use nodevent_protocol::history::Position;

/// The cursor of one subscription.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) key: CableKey,
    /// The position of the join.
    joined: Option<Position>,
    /// What the connection was sent in the stream when it joined.
    sent_before: Option<Position>,
    /// What precedes the ping whose pong has not arrived.
    pinged: Option<Position>,
    stored: Option<Position>,
    /// When it must be stored again, so that it is kept.
    renew_at: Millis,
}

// === impl Cursor ===

impl Cursor {
    pub(super) fn new(key: CableKey) -> Self {
        Self { key, joined: None, sent_before: None, pinged: None, stored: None, renew_at: 0 }
    }

    /// The subscription is complete up to a position. `sent`: what members of the stream were sent, which this one may have
    /// received in part.
    pub(super) fn joined(&mut self, joined: Option<Position>, sent: Option<Position>) {
        (self.joined, self.sent_before) = (joined, sent);
    }

    /// The position of the page, if `sent` is what members were sent now.
    fn position(&self, sent: Option<Position>) -> Option<Position> {
        match (self.joined, sent) {
            (Some(joined), Some(sent)) if joined.epoch == sent.epoch => {
                Some(if sent.offset > joined.offset { sent } else { joined })
            }
            (Some(joined), sent) if sent == self.sent_before => Some(joined),
            (joined, sent) => sent.or(joined),
        }
    }

    /// Whether a ping should follow, to store a position.
    pub(super) fn needs_ping(&self, sent: Option<Position>, now: Millis) -> bool {
        let position = self.position(sent);
        position.is_some() && (position != self.stored || now >= self.renew_at)
    }

    /// Whether the position of the join has not been stored, and no ping follows it.
    pub(super) fn is_new(&self) -> bool {
        self.stored.is_none() && self.pinged.is_none() && self.joined.is_some()
    }

    /// A ping follows what was sent.
    pub(super) fn ping(&mut self, sent: Option<Position>) {
        self.pinged = self.position(sent);
    }

    /// The pong has arrived. Returns the position to store, if it is another one, or must be stored again.
    pub(super) fn pong(&mut self, now: Millis, renewal: Millis) -> Option<Position> {
        let position = self.pinged.take()?;
        if self.stored == Some(position) && now < self.renew_at {
            return None;
        }
        (self.stored, self.renew_at) = (Some(position), now + renewal);
        Some(position)
    }
}

/// Where a page continues whose cursor was found: at the later one of both.
pub(super) fn continued(found: Option<&str>, since: Since) -> Since {
    let Some(cursor) = found.and_then(Position::parse) else { return since };
    match since {
        Since::Position(rendered) if rendered.epoch == cursor.epoch && rendered.offset > cursor.offset => since,
        // The stream was created after the page has stored its cursor.
        Since::Position(rendered) if cursor.is_absent() && !rendered.is_absent() => since,
        _ => Since::Position(cursor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENEWAL: Millis = 1_000;

    fn at(epoch: u64, offset: u64) -> Option<Position> {
        Some(Position { epoch, offset })
    }

    fn cursor(joined: Option<Position>, sent: Option<Position>) -> Cursor {
        let mut cursor = Cursor::new(CableKey::cursor("", "p", "s", "i"));
        cursor.joined(joined, sent);
        cursor
    }

    #[test]
    fn only_what_precedes_a_ping_is_stored() {
        let mut cursor = cursor(at(1, 5), at(1, 3));
        assert!(cursor.is_new());
        cursor.ping(at(1, 3));
        assert!(!cursor.is_new());
        assert_eq!(cursor.pong(0, RENEWAL), at(1, 5));
        assert_eq!(cursor.pong(0, RENEWAL), None, "a pong without a ping");
        assert!(!cursor.needs_ping(at(1, 3), 1));
        assert!(cursor.needs_ping(at(1, 6), 1));
        cursor.ping(at(1, 6));
        assert_eq!(cursor.pong(1, RENEWAL), at(1, 6));
    }

    #[test]
    fn a_position_is_stored_again_so_that_it_is_kept() {
        let mut cursor = cursor(at(1, 5), None);
        cursor.ping(None);
        assert_eq!(cursor.pong(0, RENEWAL), at(1, 5));
        cursor.ping(None);
        assert_eq!(cursor.pong(10, RENEWAL), None, "it is stored");
        assert!(cursor.needs_ping(None, RENEWAL));
        cursor.ping(None);
        assert_eq!(cursor.pong(RENEWAL, RENEWAL), at(1, 5));
    }

    #[test]
    fn what_was_sent_before_the_join_in_another_epoch_is_not_what_the_page_has() {
        let old = at(7, 9);
        assert_eq!(cursor(at(1, 5), old).position(old), at(1, 5));
        assert_eq!(cursor(at(1, 5), old).position(at(1, 6)), at(1, 6));
        assert_eq!(cursor(at(1, 5), old).position(at(2, 1)), at(2, 1), "the history began again");
        assert_eq!(cursor(None, None).position(None), None);
        assert_eq!(cursor(None, None).position(at(1, 1)), at(1, 1));
    }

    #[test]
    fn a_page_continues_at_the_later_position() {
        let since = |offset| Since::Position(Position { epoch: 1, offset });
        assert_eq!(continued(None, since(3)), since(3));
        assert_eq!(continued(Some("0000000000000001:5"), since(3)), since(5));
        assert_eq!(continued(Some("0000000000000001:5"), since(8)), since(8), "the page was rendered again");
        assert_eq!(continued(Some("0000000000000001:5"), Since::FirstJoin), since(5));
        let other = Since::Position(Position { epoch: 2, offset: 5 });
        assert_eq!(continued(Some("0000000000000002:5"), since(8)), other);
        assert_eq!(continued(Some("f000000000000002:5"), since(8)), since(8), "the stream did not exist");
        assert_eq!(continued(Some("x"), since(3)), since(3));
    }
}
