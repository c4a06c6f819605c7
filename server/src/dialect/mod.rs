//! What a namespace's browsers say and hear, translated into the few operations of the core.
//!
//! One file per dialect. **Architecture Invariant:** only a dialect knows an old client's event names; nothing
//! outside this folder does.

mod nodevent;

pub use nodevent::NodEvent;

use crate::admission::Admission;
use crate::frame::Frame;
use nodevent_protocol::history::Position;

/// The language of one namespace.
pub trait Dialect: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Decides whether a connection is let into the namespace. `auth` is the text of a JSON object.
    ///
    /// # Errors
    /// What the browser is told in its connect error.
    fn admit(&self, admission: &Admission, auth: Option<&str>) -> Result<(), String>;

    /// A connection has been let in.
    fn welcome(&self, _operations: &mut dyn Operations, _auth: Option<&str>) {}

    /// A connection said something.
    fn event(&self, operations: &mut dyn Operations, call: Call);

    /// A connection acknowledged an event that was sent by [`Operations::ask`].
    fn answered(&self, _operations: &mut dyn Operations, _answer: Answer) {}

    /// A join that was asked for by [`Operations::join`] is complete: what was missed has been sent.
    fn joined(&self, operations: &mut dyn Operations, id: Option<u64>, recovery: Option<Recovery>);

    /// A publication as this dialect's browsers hear it. `text` is the publication's, with its position where it has one.
    fn frame(&self, namespace: &str, text: &str) -> Frame;

    /// What the members of a room are told when publications may be missing that cannot be had any more.
    fn lost(&self, namespace: &str, room: &str, position: Position) -> Frame;
}

/// An event that a connection sent.
#[derive(Debug)]
pub struct Call {
    /// The text of a JSON array: the event's name, then its arguments.
    pub args: String,
    /// The id under which an acknowledgement is awaited.
    pub id: Option<u64>,
    /// Binary attachments, in the order of their placeholders.
    pub attachments: Vec<Vec<u8>>,
}

/// The acknowledgement of an event that was sent to a connection.
#[derive(Debug)]
pub struct Answer {
    /// The id that [`Operations::ask`] answered.
    pub id: u64,
    /// The text of a JSON array.
    pub args: String,
    /// Binary attachments, in the order of their placeholders.
    pub attachments: Vec<Vec<u8>>,
}

/// What a dialect may have done for the connection that called, in the namespace it called in.
pub trait Operations {
    /// Who is let in there.
    fn admission(&self) -> &Admission;

    /// The longest name a room may have there. Bytes.
    fn longest_room(&self) -> usize;

    /// Makes the connection a member of a room, and sends it what it has missed since the position `since`.
    /// [`Dialect::joined`] is called with `id` when that is done: at once, or later.
    ///
    /// # Errors
    /// [`JoinRefused`]: nothing has changed, and nothing is called.
    fn join(&mut self, room: &str, since: Option<&str>, id: Option<u64>) -> Result<(), JoinRefused>;

    /// Ends the membership in a room. `false`: there was none.
    fn leave(&mut self, room: &str) -> bool;

    /// Acknowledges a call; `args` is the text of a JSON array.
    fn acknowledge(&mut self, id: u64, args: &str, attachments: &[Vec<u8>]);

    /// Sends an event to this connection alone; `args` is the text of a JSON array, its name first.
    fn emit(&mut self, args: &str, attachments: &[Vec<u8>]);

    /// Sends an event to this connection alone and asks for its acknowledgement, with which [`Dialect::answered`]
    /// is called. Answers the id under which it is awaited; `None`: the connection owes too many, nothing was sent.
    fn ask(&mut self, args: &str, attachments: &[Vec<u8>]) -> Option<u64>;

    /// Counts and logs a join that the dialect itself refused. `refusal` is none of the browser's words.
    fn refused_join(&mut self, refusal: &'static str);
}

/// Where a join stands in its room's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Everything up to here has been sent or had been heard before. `None`: the engine could not be asked.
    pub position: Option<Position>,
    /// Whether nothing is missing since the position that was named. Without one nothing can be.
    pub recovered: bool,
}

/// Why the core refused a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{}", self.as_str())]
pub enum JoinRefused {
    /// The connection is in as many rooms as it may be.
    TooManyRooms,
    /// The connection has joined faster than it may.
    TooFast,
}

// === impl JoinRefused ===

impl JoinRefused {
    /// What the browser is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooManyRooms => "Too many rooms",
            Self::TooFast => "Too many joins",
        }
    }
}
