//! The capability *presence*: who is in a room.
//!
//! Members are users: connections with an [`crate::identity::Identity`]. A user with several connections is one member. A
//! connection without an identity is not present. Shards report who joins and leaves to [`LocalPresence`]; the engine brings
//! that together with what other servers report, and publishes `enter`, `leave` and `count` into the room.
//!
//! In reading order: [`Settings`], `local` (the members on this server), `roster` (who is in one room, for engines that keep
//! it in this process), `list` (the replies).

mod list;
mod local;
mod roster;
mod settings;

pub use list::{MAX_LIST_BYTES, Member, RoomPresence};
pub use local::{Change, LocalPresence};
pub use roster::Roster;
pub use settings::Settings;

use crate::client::Client;
use crate::history::RequestId;
use crate::outcome::Outcome;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The shortest time between two publications of the number of members of a large room.
pub const COUNT_INTERVAL: std::time::Duration = std::time::Duration::from_secs(2);

/// Knows who is in which room.
pub trait Presence: Send + Sync {
    /// The members on this server, which shards report.
    fn local(&self) -> &LocalPresence;

    /// Requests the members of a room. After [`Outcome::Pending`] the result goes to `reply_to`.
    fn list(&self, room: &str, reply_to: PresenceReplyTo) -> Outcome<Arc<RoomPresence>>;
}

/// The destination of a list.
#[derive(Debug)]
pub enum PresenceReplyTo {
    /// A connection, through the inbox of its shard.
    Connection(ConnectionRequest),
    /// A request over HTTP, and its client.
    Http(Client, oneshot::Sender<PresenceResult>),
}

/// A request of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRequest {
    /// The shard.
    pub shard: u8,
    /// The connection's slot on the shard.
    pub slot: u32,
    /// The slot's occupant: a slot is used again.
    pub generation: u32,
    /// The namespace's id.
    pub namespace: u16,
    /// The client whose share of the waiting requests it takes.
    pub client: Client,
    /// The protocol's own id of the request.
    pub request: RequestId,
}

// === impl PresenceReplyTo ===

impl PresenceReplyTo {
    /// The client who waits.
    pub fn client(&self) -> Client {
        match self {
            Self::Connection(request) => request.client,
            Self::Http(client, _) => *client,
        }
    }

    /// Whether the client has given up.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Http(_, reply) if reply.is_closed())
    }
}

/// The reply to a request of a connection.
#[derive(Debug)]
pub struct PresenceReply {
    /// The request.
    pub reply_to: ConnectionRequest,
    /// The members.
    pub result: PresenceResult,
}

/// The members of a room, or why there is no list.
pub type PresenceResult = Result<Arc<RoomPresence>, PresenceError>;

/// Why there is no list of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// The room's name is missing, empty, too long, or not a string or integer.
    #[error("Bad room")]
    BadRoom,
    /// The connection is not in the room.
    #[error("Not a member")]
    NotMember,
    /// The configuration does not enable presence for the room.
    #[error("No presence in this room")]
    NotEnabled,
    /// The client requests faster than allowed, or too many requests wait.
    #[error("Too many requests")]
    TooMany,
    /// The engine is unavailable.
    #[error("Presence is unavailable")]
    Unavailable,
}
