//! Dialects of Socket.IO: the events that a namespace's clients send and receive.
//!
//! A dialect translates between the events of one kind of client and the few operations of the core. It is one file in
//! `dialects/`, and one line in `dialects/mod.rs`; `CONTRIBUTING.md` has the recipe.
//!
//! **Architecture Invariant:** only a dialect knows the event names of its clients.

use crate::history::RequestId;
use crate::identity::Identity;
use crate::outcome::Outcome;
use crate::presence::{PresenceError, PresenceResult, RoomPresence};
use crate::protocol::{JoinError, Joined};
use crate::token::TokenError;
use nodevent_protocol::history::Position;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Makes a dialect.
pub type MakeDialect = fn() -> Arc<dyn Dialect>;

/// The events of one kind of client.
pub trait Dialect: fmt::Debug + Send + Sync {
    /// Decides whether a connection may enter the namespace. `auth` is the text of a JSON object.
    ///
    /// # Errors
    /// The message of the client's connect error.
    fn connect(&self, auth: Option<&str>) -> Result<(), String> {
        let _ = auth;
        Ok(())
    }

    /// The token in the auth payload of a connect packet. Text that is not a token is rejected later.
    fn token(&self, auth: Option<&str>) -> Option<String> {
        let _ = auth;
        None
    }

    /// A connection has entered the namespace. [`Operations::identity`] is who it is.
    fn connected(&self, operations: &mut dyn Operations, auth: Option<&str>) {
        let _ = (operations, auth);
    }

    /// A client sent an event.
    fn event(&self, operations: &mut dyn Operations, event: Event);

    /// A client acknowledged an event that was sent with [`Operations::emit_with_ack`].
    fn acknowledged(&self, operations: &mut dyn Operations, ack: Ack) {
        let _ = (operations, ack);
    }

    /// The result of an [`Operations::join`] that was pending. What the connection had missed has been sent. `request` is
    /// the one that was passed to the join.
    fn joined(&self, operations: &mut dyn Operations, request: RequestId, result: Result<Joined, JoinError>);

    /// The result of an [`Operations::join_by_token`] that was pending.
    fn joined_by_token(&self, operations: &mut dyn Operations, room: &str, result: Result<Joined, JoinError>) {
        let _ = (operations, room, result);
    }

    /// The result of an [`Operations::presence`] that was pending.
    fn presence_listed(&self, operations: &mut dyn Operations, request: RequestId, result: &PresenceResult) {
        let _ = (operations, request, result);
    }

    /// The connection's identity has expired. The connection is closed after the grace period of the configuration, unless
    /// [`Operations::identify`] accepts a new token before.
    fn identity_expired(&self, operations: &mut dyn Operations) {
        let _ = operations;
    }

    /// The server is shutting down, and will close the connection now.
    fn draining(&self, operations: &mut dyn Operations) {
        let _ = operations;
    }

    /// Encodes a publication, which is the text of a JSON object: the text of a JSON array with the event's name first.
    fn publication(&self, text: &str) -> String;

    /// Encodes the notice of a gap: the text of a JSON array with the event's name first.
    fn gap(&self, room: &str, position: Position) -> String;
}

/// An event from a client.
#[derive(Debug)]
pub struct Event {
    /// The text of a JSON array: the event's name, then its arguments.
    pub args: String,
    /// The id of the acknowledgement that the client expects.
    pub ack_id: Option<u64>,
    /// Binary attachments, in the order of their placeholders.
    pub attachments: Vec<Vec<u8>>,
}

/// A client's acknowledgement.
#[derive(Debug)]
pub struct Ack {
    /// The id that [`Operations::emit_with_ack`] returned.
    pub id: u64,
    /// The text of a JSON array.
    pub args: String,
    /// Binary attachments, in the order of their placeholders.
    pub attachments: Vec<Vec<u8>>,
}

/// The operations that a dialect can use, for a connection in its namespace.
pub trait Operations {
    /// The longest name of a room. Bytes.
    fn max_room_name(&self) -> usize;

    /// Maximum number of rooms of a connection.
    fn max_rooms(&self) -> usize;

    /// Joins a room, and sends what the connection has missed since the position `since`. [`Outcome::Ready`]: the
    /// dialect confirms the join. [`Outcome::Pending`]: [`Dialect::joined`] follows. [`Outcome::Overloaded`]: the
    /// connection will be closed.
    ///
    /// # Errors
    /// [`JoinError`]: nothing has changed.
    fn join(
        &mut self,
        room: &str,
        key: Option<&Value>,
        since: Option<&str>,
        request: RequestId,
    ) -> Result<Outcome<Joined>, JoinError>;

    /// Joins a room that the connection's token lists, without a request of the client. [`Outcome::Pending`]:
    /// [`Dialect::joined_by_token`] follows. Otherwise as [`Operations::join`].
    ///
    /// # Errors
    /// [`JoinError`]: nothing has changed.
    fn join_by_token(&mut self, room: &str, since: Option<&str>) -> Result<Outcome<Joined>, JoinError>;

    /// Who the connection is, even if its identity has expired.
    fn identity(&self) -> Option<Arc<Identity>>;

    /// Verifies a new token of the connection's user, or of a connection without a user. The identity that it returns
    /// replaces the old one.
    ///
    /// # Errors
    /// The token was rejected. The connection keeps the identity that it had.
    fn identify(&mut self, token: &str) -> Result<Arc<Identity>, TokenError>;

    /// How long a connection stays open after its identity has expired.
    fn grace(&self) -> Duration;

    /// Counts and logs a join that the dialect itself rejects, and returns the error.
    fn reject_join(&mut self, error: JoinError) -> JoinError;

    /// Starts a request with parts, whose results arrive one by one with [`Operations::finish_part`]. Returns `false` if
    /// the connection has too many such requests.
    fn start_parts(&mut self, ack_id: u64, parts: u16) -> bool;

    /// Adds the result of a part. Returns all results, in the order of the parts, if it was the last one.
    fn finish_part(&mut self, request: RequestId, result: String) -> Option<Vec<String>>;

    /// Leaves a room. Returns whether the connection was a member.
    fn leave(&mut self, room: &str) -> bool;

    /// Requests the members of a room that the connection is in. [`Outcome::Pending`]: [`Dialect::presence_listed`] follows.
    ///
    /// # Errors
    /// [`PresenceError`].
    fn presence(&mut self, room: &str, request: RequestId) -> Result<Outcome<Arc<RoomPresence>>, PresenceError>;

    /// Acknowledges an event. `args` is the text of a JSON array.
    fn acknowledge(&mut self, ack_id: u64, args: &str, attachments: &[Vec<u8>]);

    /// Sends an event to this connection. `args` is the text of a JSON array with the event's name first.
    fn emit(&mut self, args: &str, attachments: &[Vec<u8>]);

    /// Sends an event to this connection and requests an acknowledgement; [`Dialect::acknowledged`] follows. Returns its
    /// id. `None`: too many acknowledgements are pending, and nothing was sent.
    fn emit_with_ack(&mut self, args: &str, attachments: &[Vec<u8>]) -> Option<u64>;
}
