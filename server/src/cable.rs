//! The capability *cable*: what engines do for the protocol `action_cable` besides histories.
//!
//! A *cursor* is the position up to which a page has received a stream, so that the page receives the rest after a
//! reconnect, although it names the position of its rendering again. A *session* is what a connection of the extended
//! protocol was subscribed to. A *whisper* is a message of a client to the others of a stream, which no history has.
//!
//! Cursors and sessions expire, and there are only so many: a client without a place has none, and receives what follows
//! the position that it names. Engines implement [`Cable`], shards call it.

use crate::client::Client;
use crate::outcome::Outcome;
use nodevent_protocol::action_cable::stored::CableKey;
use nodevent_protocol::history::Position;
use std::fmt;
use std::time::Duration;

/// The time for which a session can be restored.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(300);
/// The shortest time for which a cursor is kept after its page has last confirmed something. A page that is connected
/// confirms at least every [`CURSOR_RENEWAL`].
const MIN_CURSOR_LIFETIME: Duration = Duration::from_secs(900);
/// See [`cursor_lifetime`].
pub const CURSOR_RENEWAL: Duration = Duration::from_secs(300);
/// The longest session. A connection with more subscriptions is not restored. Bytes.
pub const MAX_SESSION: usize = 16 * 1024;

/// The time for which a cursor is kept, in a stream whose history has this age.
pub fn cursor_lifetime(age: Duration) -> Duration {
    age.max(MIN_CURSOR_LIFETIME)
}

/// Keeps cursors and sessions, and passes whispers on.
pub trait Cable: Send + Sync {
    /// Reads a cursor or a session. [`Outcome::Ready`] and the reply: `None` if there is none, or the engine is
    /// unavailable.
    fn read(&self, request: CableRequest) -> Outcome<Option<Box<str>>>;

    /// Writes a cursor or a session, now or soon.
    fn write(&self, client: Client, write: CableWrite);

    /// Sends a publication of a client to the members of a room on all servers. It is lost if too many wait.
    fn whisper(&self, client: Client, room: &str, text: String);
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CableQuery {
    /// A cursor. The connection that reads it moves it from now on.
    Cursor {
        /// Its name.
        key: CableKey,
        /// The connection.
        holder: u64,
    },
    /// A session, which is removed.
    Session {
        /// Its name.
        key: CableKey,
    },
}

/// What is written.
#[derive(Clone, PartialEq, Eq)]
pub enum CableWrite {
    /// The page has received its stream up to a position.
    Cursor {
        /// The name of the cursor.
        key: CableKey,
        /// The connection that has sent it.
        holder: u64,
        /// The stream.
        stream: Box<str>,
        /// The position.
        position: Position,
    },
    /// A connection has ended.
    Session {
        /// The name of its session.
        key: CableKey,
        /// What it was subscribed to, at most [`MAX_SESSION`] bytes.
        text: Box<str>,
    },
}

/// A request of a connection.
#[derive(Debug, Clone, Copy)]
pub struct CableRequest {
    /// The destination of a later reply.
    pub reply_to: CableReplyTo,
    /// Clients share what may wait, and what is kept.
    pub client: Client,
    /// What is read.
    pub query: CableQuery,
}

/// The destination of a reply: a connection, which may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CableReplyTo {
    /// The shard.
    pub shard: u8,
    /// The connection's slot on the shard.
    pub slot: u32,
    /// The slot's occupant.
    pub generation: u32,
    /// The namespace's id.
    pub namespace: u16,
    /// The protocol's own number of the request.
    pub number: u64,
}

/// The reply to a [`CableRequest`].
#[derive(Debug)]
pub struct CableReply {
    /// The connection.
    pub reply_to: CableReplyTo,
    /// What was found: a position or a session, as text. `None`: nothing, or the engine is unavailable.
    pub found: Option<Box<str>>,
}

// === impl CableQuery ===

impl CableQuery {
    /// The name.
    pub fn key(&self) -> CableKey {
        match self {
            Self::Cursor { key, .. } | Self::Session { key } => *key,
        }
    }
}

// === impl CableWrite ===

impl CableWrite {
    /// The name.
    pub fn key(&self) -> CableKey {
        match self {
            Self::Cursor { key, .. } | Self::Session { key, .. } => *key,
        }
    }
}

impl fmt::Debug for CableWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A session contains signed names, which are credentials.
        f.debug_struct("CableWrite").field("key", &self.key()).finish_non_exhaustive()
    }
}
