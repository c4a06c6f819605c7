//! The capability *history*: what a shard requests for a new member of a room, and what it receives.
//!
//! Engines implement [`RoomHistory`]. Shards know this trait only, so neither side imports the other.

use crate::client::Client;
use crate::outcome::Outcome;
use crate::publication::Publication;
use nodevent_protocol::history::{OffsetJump, Position};
use std::sync::Arc;
use std::time::Instant;

/// Recovers what new members of rooms have missed.
pub trait RoomHistory: Send + Sync {
    /// Requests what a new member has missed. The member is in the room already, so no publication can fall between
    /// the request and its reply.
    ///
    /// [`Outcome::Ready`] with `None`: the room has no history. After [`Outcome::Pending`] the reply arrives through the
    /// shard's inbox.
    fn recover(&self, request: RecoveryRequest) -> Outcome<Option<RecoveryReply>>;

    /// Whether [`RoomHistory::recover`] may be pending for that room.
    fn may_wait(&self, room: &str) -> bool;

    /// Whether a room has a history.
    fn has_history(&self, room: &str) -> bool;

    /// Whether everything that happens in a room with members comes to their shard, in order and without a gap. Then the
    /// shard knows the position of such a room, and makes no request for a member who continues from there.
    fn follows_rooms(&self) -> bool;

    /// A room has no members on that shard any more.
    fn room_empty(&self, shard: u8, room: &str);
}

/// The destination of a reply: a join of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The shard.
    pub shard: u8,
    /// The connection's slot on the shard.
    pub slot: u32,
    /// The slot's occupant: a slot is used again.
    pub generation: u32,
    /// Distinguishes the connection's joins: one may be cancelled before its reply arrives.
    pub join_id: u32,
    /// The encoding of the membership, by its number on the shard.
    pub encoding: u32,
    /// The protocol's own id of the request.
    pub request: RequestId,
}

/// A protocol's own id of a request, to find it again when the reply arrives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestId {
    /// The number that the client gave to the request, if it did.
    pub number: Option<u64>,
    /// The number of this part of the request, from 1. 0: the request has no parts.
    pub part: u16,
}

/// A request for what a new member has missed.
#[derive(Debug)]
pub struct RecoveryRequest {
    /// The destination of the reply.
    pub reply_to: ReplyTo,
    /// The namespace's id.
    pub namespace: u16,
    /// The room's name.
    pub room: Box<str>,
    /// The client that has joined.
    pub client: Client,
    /// The position up to which the member has received everything.
    pub since: Since,
    /// When the member joined. An engine that is unavailable replies within a time from then on.
    pub requested_at: Instant,
}

/// The publications that a member claims to have received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Since {
    /// Nothing: this is its first join, so it has missed nothing.
    FirstJoin,
    /// Everything up to a position.
    Position(Position),
    /// Nothing, and it wants everything that is stored.
    Beginning,
    /// Everything that was published before a time. Milliseconds since the Unix epoch. Engines replace it by the position that
    /// it represents.
    Time(u64),
    /// Something that is not a position.
    Invalid,
}

/// The publications that a member has missed.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// The room's position after `publications`. `None`: the engine is unavailable.
    pub position: Option<Position>,
    /// Whether nothing is missing.
    pub recovered: bool,
    /// The publications after the member's position, in order. Empty unless `recovered`.
    pub publications: Vec<Arc<Publication>>,
}

/// The reply to a [`RecoveryRequest`].
#[derive(Debug)]
pub struct RecoveryReply {
    /// The join.
    pub reply_to: ReplyTo,
    /// The namespace's id.
    pub namespace: u16,
    /// The room's name.
    pub room: Box<str>,
    /// The recovery. `None`: the room has no history.
    pub recovery: Option<Recovery>,
}

// === impl RequestId ===

impl RequestId {
    /// The part of a join that no client has requested, because a token lists its room.
    pub const UNREQUESTED: Self = Self { number: None, part: u16::MAX };
    /// The part of a join that the subscriptions of the connection's page cause. It has a number of theirs.
    pub const OF_PAGE: u16 = u16::MAX - 2;
    /// The last part of a request that a client may number.
    pub const MAX_PART: u16 = u16::MAX - 3;
}

impl From<Option<u64>> for RequestId {
    fn from(number: Option<u64>) -> Self {
        Self { number, part: 0 }
    }
}

// === impl Since ===

impl Since {
    /// Parses the position that a client sent. `None`: it sent none.
    pub fn parse(since: Option<&str>) -> Self {
        match since.map(Position::parse) {
            None => Self::FirstJoin,
            Some(Some(position)) => Self::Position(position),
            Some(None) => Self::Invalid,
        }
    }
}

// === impl RecoveryRequest ===

impl RecoveryRequest {
    /// The reply with this recovery.
    pub fn reply(self, recovery: Option<Recovery>) -> RecoveryReply {
        let Self { reply_to, namespace, room, .. } = self;
        RecoveryReply { reply_to, namespace, room, recovery }
    }
}

// === impl Recovery ===

impl Recovery {
    /// Nothing was missed up to `position`.
    pub fn up_to_date(position: Position) -> Self {
        Self { position: Some(position), recovered: true, publications: Vec::new() }
    }

    /// Nothing can be recovered; the room is at `position`.
    pub fn missed(position: Position) -> Self {
        Self { position: Some(position), recovered: false, publications: Vec::new() }
    }

    /// The engine is unavailable. Only a first join is certain to have missed nothing.
    pub fn unavailable(since: Since) -> Self {
        Self { position: None, recovered: since == Since::FirstJoin, publications: Vec::new() }
    }

    /// Selects from `stored` what a member has missed. `stored` must be without a gap up to `position`, and contain
    /// everything after `since` that is still stored.
    pub fn select(
        position: Position,
        jump: Option<OffsetJump>,
        since: Since,
        stored: impl DoubleEndedIterator<Item = Arc<Publication>> + ExactSizeIterator,
    ) -> Self {
        let missed = match since {
            Since::FirstJoin => Some(0),
            Since::Beginning => Some(stored.len() as u64),
            Since::Position(since) => position.count_since(since, jump),
            Since::Time(_) | Since::Invalid => None,
        };
        match missed.and_then(|missed| usize::try_from(missed).ok()) {
            Some(missed) if missed <= stored.len() => {
                let mut publications: Vec<_> = stored.rev().take(missed).collect();
                publications.reverse();
                Self { position: Some(position), recovered: true, publications }
            }
            _ => Self::missed(position),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(offset: u64, since: Since, stored: u64) -> (bool, Vec<String>) {
        let stored: Vec<_> = (offset - stored + 1..=offset)
            .map(|offset| Publication::stored("r", offset.to_string(), None))
            .collect();
        let recovery = Recovery::select(Position { epoch: 1, offset }, None, since, stored.into_iter());
        (recovery.recovered, recovery.publications.iter().map(|publication| publication.text.to_string()).collect())
    }

    fn since(epoch: u64, offset: u64) -> Since {
        Since::Position(Position { epoch, offset })
    }

    #[test]
    fn a_member_receives_what_it_missed_and_nothing_else() {
        assert_eq!(select(5, since(1, 3), 5), (true, vec!["4".into(), "5".into()]));
        assert_eq!(select(5, since(1, 5), 0), (true, vec![]), "a quiet room");
        assert_eq!(select(5, Since::FirstJoin, 5), (true, vec![]), "a first join has missed nothing");
    }

    #[test]
    fn an_incomplete_history_is_never_replayed() {
        assert_eq!(select(5, since(1, 1), 3), (false, vec![]), "2 was evicted");
        assert_eq!(select(5, since(2, 4), 5), (false, vec![]), "another epoch");
        assert_eq!(select(5, since(1, 6), 5), (false, vec![]), "a position that was never assigned");
        assert_eq!(select(5, Since::Invalid, 5), (false, vec![]));
    }
}
