//! What a shard asks of whoever keeps the rooms' history, and what it is answered.
//!
//! The shard knows this trait only; the engines implement it, so that no module reaches back.

use crate::frame::Frame;
use nodevent_protocol::history::Position;

/// Keeps the history of rooms.
pub trait RoomHistory: Send + Sync {
    /// What a new member has missed. The member is in the room already, so that nothing can fall between.
    fn ask(&self, ask: RecoveryRequest) -> RecoveryOutcome;

    /// Whether the room has a history.
    fn keeps(&self, namespace: u16, room: &str) -> bool;

    /// A room has no members on that shard any more.
    fn rest(&self, shard: u8, namespace: u16, room: &str);
}

/// Who asks, to be found again when the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The shard.
    pub shard: u8,
    /// The slot on it.
    pub slot: u32,
    /// The slot's tenant.
    pub generation: u32,
    /// Tells its joins apart: one may be taken back before it is answered.
    pub join_id: u32,
    /// The id under which the browser awaits its acknowledgement.
    pub id: Option<u64>,
}

/// A question.
#[derive(Debug)]
pub struct RecoveryRequest {
    /// Who asks.
    pub reply_to: ReplyTo,
    /// The namespace's number.
    pub namespace: u16,
    /// The room's name.
    pub room: Box<str>,
    /// The position after which it has missed everything.
    pub since: Since,
}

/// What a member says it has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Nothing: it joins for the first time.
    FirstJoin,
    /// Everything up to a position.
    Position(Position),
    /// Nothing, and it wants all that is kept.
    Beginning,
    /// Something that is no position of ours.
    Invalid,
}

/// How a question is taken.
#[derive(Debug)]
pub enum RecoveryOutcome {
    /// The room has no history.
    NoHistory,
    /// Here is the answer.
    Ready(RecoveryReply),
    /// It comes through the inbox.
    Pending,
    /// Too many wait already: there is no telling what would be missed.
    Overloaded,
}

/// An answer.
#[derive(Debug)]
pub struct RecoveryReply {
    /// Who asked.
    pub reply_to: ReplyTo,
    /// The namespace's number.
    pub namespace: u16,
    /// The room's name.
    pub room: Box<str>,
    /// Where the room stands, once what was missed is delivered. `None`: the engine could not be asked.
    pub position: Option<Position>,
    /// Whether nothing is missing.
    pub recovered: bool,
    /// What was missed, in order. Empty unless `recovered`.
    pub missed: Vec<Frame>,
}
