//! What a namespace's browsers say and hear, translated into the few operations of the core.
//!
//! One file per dialect. **Architecture Invariant:** only a dialect knows an old client's event names; nothing
//! outside this folder does.

mod nodevent;

pub use nodevent::NodEvent;

use crate::frame::Frame;
use crate::namespace::Namespace;
use nodevent_protocol::emission::Emission;

/// The language of one namespace.
pub trait Dialect: Send + Sync {
    /// Decides whether a connection is let into the namespace. `auth` is the text of a JSON object.
    ///
    /// # Errors
    /// What the browser is told in its connect error.
    fn admit(&self, namespace: &Namespace, auth: Option<&str>) -> Result<(), String>;

    /// A connection has been let in.
    fn welcome(&self, _operations: &mut dyn Operations, _auth: Option<&str>) {}

    /// A connection said something.
    fn event(&self, operations: &mut dyn Operations, call: Call);

    /// An emission as this dialect's browsers hear it.
    fn frame(&self, namespace: &str, emission: &Emission<'_>) -> Frame;
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

/// What a dialect may have done for the connection that called, in the namespace it called in.
pub trait Operations {
    /// That namespace.
    fn namespace(&self) -> &Namespace;

    /// Makes the connection a member of a room.
    ///
    /// # Errors
    /// [`JoinRefused`]: nothing has changed.
    fn join(&mut self, room: &str) -> Result<(), JoinRefused>;

    /// Ends the membership in a room. `false`: there was none.
    fn leave(&mut self, room: &str) -> bool;

    /// Acknowledges a call; `args` is the text of a JSON array.
    fn acknowledge(&mut self, id: u64, args: &str, attachments: &[Vec<u8>]);

    /// Sends an event to this connection alone; `args` is the text of a JSON array, its name first.
    fn emit(&mut self, args: &str, attachments: &[Vec<u8>]);

    /// Counts a join that the dialect itself refused.
    fn count_refused_join(&mut self);
}

/// Why the core refused a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRefused {
    /// The connection is in as many rooms as it may be.
    #[error("Too many rooms")]
    TooManyRooms,
    /// The connection has joined faster than it may.
    #[error("Too many joins")]
    TooFast,
}
