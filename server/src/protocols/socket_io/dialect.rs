//! Dialects of Socket.IO: the events that a namespace's clients send and receive.
//!
//! A dialect translates between the events of one kind of client and the few operations of the core. It is one file in
//! `dialects/`, and one line in `dialects/mod.rs`; `CONTRIBUTING.md` has the recipe.
//!
//! **Architecture Invariant:** only a dialect knows the event names of its clients.

use crate::calls::{Call, CallError, CallResult};
use crate::history::RequestId;
use crate::identity::Identity;
use crate::identity_provider::IdentityResult;
use crate::mailbox::{Acknowledgement, MailboxError, Removed};
use crate::namespace::Namespace;
use crate::outcome::Outcome;
use crate::presence::{PresenceError, PresenceResult, RoomPresence};
use crate::protocol::{JoinError, Joined, MailboxDelivery};
use crate::protocols::Mount;
use crate::token::TokenError;
use nodevent_protocol::history::Position;
use nodevent_protocol::pages::PageDigest;
use nodevent_protocol::topic::Topic;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use super::connect_request::ConnectRequest;
pub use super::dialect_states::DialectState;

/// Makes the dialect of a namespace, which is one of the mount.
pub type MakeDialect = fn(&Mount<'_>, &Namespace) -> Arc<dyn Dialect>;

/// The events of one kind of client.
pub trait Dialect: fmt::Debug + Send + Sync {
    /// Decides whether a connection may enter the namespace, before anything else does.
    ///
    /// # Errors
    /// The message of the client's connect error.
    fn connect(&self, request: &ConnectRequest) -> Result<(), String> {
        let _ = request;
        Ok(())
    }

    /// The token in a request to enter the namespace. Text that is not a token is rejected later. The namespace's provider
    /// may take time to decide about it; the request is pending until then.
    fn token(&self, request: &ConnectRequest) -> Option<String> {
        let _ = request;
        None
    }

    /// The message of the connect error if the token is rejected, unless the provider says more.
    fn rejected(&self, error: TokenError) -> Cow<'static, str> {
        error.as_str().into()
    }

    /// A connection has entered the namespace. [`Operations::identity`] is who it is.
    fn connected(&self, operations: &mut dyn Operations, request: &ConnectRequest) {
        let _ = (operations, request);
    }

    /// The connection continues an earlier one, in which it was in a topic. A dialect that knows how calls
    /// [`Operations::rejoin`], and every authorizer decides again. `kept` is what the dialect kept of the request to
    /// join it.
    fn restore(&self, operations: &mut dyn Operations, topic: Topic<'_>, kept: Option<&str>) {
        // The connection's user is restored with its identity.
        if let Topic::Room(_) = topic {
            let credential: Option<Value> = kept.and_then(|kept| serde_json::from_str(kept).ok());
            operations.rejoin(topic, credential.as_ref(), kept);
        }
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

    /// The result of an [`Operations::join_by_token`] or [`Operations::join_user`] that was pending.
    fn joined_by_token(
        &self,
        operations: &mut dyn Operations,
        topic: Topic<'_>,
        result: Result<Joined, JoinError>,
    ) {
        let _ = (operations, topic, result);
    }

    /// The result of an [`Operations::identify`] that was pending. `request` is the one that was passed to it.
    fn identified(&self, operations: &mut dyn Operations, request: RequestId, result: IdentityResult) {
        let _ = (operations, request, result);
    }

    /// The connection's membership of a room was revoked, and has ended. `None` as the room: its user was revoked, and the
    /// server will close the connection now.
    fn revoked(&self, operations: &mut dyn Operations, room: Option<&str>) {
        let _ = (operations, room);
    }

    /// The key with which the connection joined a room has expired, and with it the membership. Only in namespaces with
    /// `expiry: leave`.
    fn membership_expired(&self, operations: &mut dyn Operations, room: &str) {
        let _ = (operations, room);
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

    /// The reply to an [`Operations::call`], with its number.
    fn called(&self, operations: &mut dyn Operations, number: u64, result: &CallResult) {
        let _ = (operations, number, result);
    }

    /// The connection has joined a room to which the application has subscribed its page, or could not, and tries again
    /// later. What it had missed has been sent. `None` as the room: what is published to the page itself.
    fn page_room_joined(
        &self,
        operations: &mut dyn Operations,
        room: Option<&str>,
        result: Result<Joined, JoinError>,
    ) {
        let _ = (operations, room, result);
    }

    /// The connection's page is not subscribed to a room any more, and the connection has left it.
    fn page_room_left(&self, operations: &mut dyn Operations, room: &str) {
        let _ = (operations, room);
    }

    /// Messages from the mailbox that [`Operations::open_mailbox`] has opened, and what else happens in it.
    fn mailbox(&self, operations: &mut dyn Operations, delivery: &MailboxDelivery<'_>) {
        let _ = (operations, delivery);
    }

    /// The server is shutting down, and will close the connection now.
    fn draining(&self, operations: &mut dyn Operations) {
        let _ = operations;
    }

    /// Whether publications to this topic are of this dialect, if it shares its namespace with another one.
    fn owns(&self, topic: Topic<'_>) -> bool {
        let _ = topic;
        true
    }

    /// Appends a publication, which is the text of a JSON object, to a packet: as the text of a JSON array with the event's name
    /// first.
    fn write_publication(&self, packet: &mut String, text: &str);

    /// Encodes the notice of a gap: the text of a JSON array with the event's name first.
    fn gap(&self, topic: Topic<'_>, position: Position) -> String;

    /// Encodes the notice that a connection does not receive the publication at `position`: the text of a JSON array with
    /// the event's name first. `None`: clients do not follow positions.
    fn skipped(&self, topic: Topic<'_>, position: Position) -> Option<String> {
        let _ = (topic, position);
        None
    }
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

/// Why a client cannot show a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageError {
    /// The namespace has no pages.
    NotConfigured,
    /// The visitor is not known, or it cannot be the id of a page.
    Unknown,
}

/// The operations that a dialect can use, for a connection in its namespace.
pub trait Operations {
    /// The longest name of a room. Bytes.
    fn max_room_name(&self) -> usize;

    /// Maximum number of rooms of a connection.
    fn max_rooms(&self) -> usize;

    /// Joins a room, and sends what the connection has missed since the position `since`. If the connection is restored
    /// later, the key is presented again. [`Outcome::Ready`]: the dialect confirms the join. [`Outcome::Pending`]:
    /// [`Dialect::joined`] follows. [`Outcome::Overloaded`]: the connection will be closed.
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

    /// Joins a topic that the dialect has decided about, with a credential of [`crate::authorize::DialectJoins`]. If
    /// the connection is restored later, [`Dialect::restore`] receives `kept`. Otherwise as [`Operations::join`].
    ///
    /// # Errors
    /// [`JoinError`]: nothing has changed.
    fn join_decided(
        &mut self,
        topic: &str,
        credential: &Value,
        kept: Option<&str>,
        request: RequestId,
    ) -> Result<Outcome<Joined>, JoinError>;

    /// Joins a topic of the connection that is restored, and sends what was missed. The result is no concern of the
    /// dialect.
    fn rejoin(&mut self, topic: Topic<'_>, credential: Option<&Value>, kept: Option<&str>);

    /// Joins a room that the connection's token lists, without a request of the client. [`Outcome::Pending`]:
    /// [`Dialect::joined_by_token`] follows. Otherwise as [`Operations::join`].
    ///
    /// # Errors
    /// [`JoinError`]: nothing has changed.
    fn join_by_token(&mut self, room: &str, since: Option<&str>) -> Result<Outcome<Joined>, JoinError>;

    /// Sends what was published to the connection's user since a position, before what is live. Every connection with an
    /// identity receives what is published to its user, also if the dialect does not call this. [`Outcome::Pending`]:
    /// [`Dialect::joined_by_token`] follows.
    fn join_user(&mut self, since: Option<&str>) -> Outcome<Joined>;

    /// Sends what was published to all connections since a position, before what is live. Every connection receives what
    /// is published to all, also if the dialect does not call this. [`Outcome::Pending`]: [`Dialect::joined`] follows.
    ///
    /// # Errors
    /// [`JoinError::TooManyJoins`]: nothing has changed.
    fn recover_all(&mut self, since: Option<&str>, request: RequestId) -> Result<Outcome<Joined>, JoinError>;

    /// Who the connection is, even if its identity has expired.
    fn identity(&self) -> Option<Arc<Identity>>;

    /// The users whose publications the connection receives, also those that were joined by their topic.
    fn users(&self) -> Vec<String>;

    /// Verifies a new token of the connection's user, or of a connection without a user. The identity that it returns
    /// replaces the old one. [`Outcome::Pending`]: [`Dialect::identified`] follows. [`Outcome::Overloaded`]: nothing has
    /// changed.
    ///
    /// # Errors
    /// The token was rejected. The connection keeps the identity that it had.
    fn identify(&mut self, token: &str, request: RequestId) -> Result<Outcome<Arc<Identity>>, TokenError>;

    /// Opens the mailbox of the connection's user; see [`crate::protocol::Core::open_mailbox`].
    ///
    /// # Errors
    /// The namespace has no mailboxes, or the connection no user.
    fn open_mailbox(&mut self) -> Result<(), MailboxError>;

    /// Removes messages from the mailbox; see [`crate::protocol::Core::acknowledge_messages`].
    ///
    /// # Errors
    /// Nothing has changed, or the engine is unavailable.
    fn acknowledge_messages(
        &mut self,
        acknowledgement: Acknowledgement,
        request: Option<u64>,
    ) -> Result<Outcome<Removed>, MailboxError>;

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

    /// The connection shows the page with this id from now on. It joins the rooms to which the application has subscribed
    /// the page, and leaves those of the page before; [`Dialect::page_room_joined`] and [`Dialect::page_room_left`]
    /// follow. `received` is up to where the client has received rooms. Returns the name of the page.
    ///
    /// # Errors
    /// [`PageError`]: nothing has changed.
    fn set_page(
        &mut self,
        connection_id: &str,
        received: Vec<(Box<str>, Position)>,
    ) -> Result<PageDigest, PageError>;

    /// Requests the members of a room that the connection is in. [`Outcome::Pending`]: [`Dialect::presence_listed`] follows.
    ///
    /// # Errors
    /// [`PresenceError`].
    fn presence(&mut self, room: &str, request: RequestId) -> Result<Outcome<Arc<RoomPresence>>, PresenceError>;

    /// Calls the application. [`Dialect::called`] follows with the same number.
    ///
    /// # Errors
    /// Nothing was sent.
    fn call(&mut self, call: Call, number: u64) -> Result<(), CallError>;

    /// Acknowledges an event. `args` is the text of a JSON array.
    fn acknowledge(&mut self, ack_id: u64, args: &str, attachments: &[Vec<u8>]);

    /// Sends an event to this connection. `args` is the text of a JSON array with the event's name first.
    fn emit(&mut self, args: &str, attachments: &[Vec<u8>]);

    /// Writes what was sent so far, so that it does not leave together with what follows.
    fn flush(&mut self);

    /// What the dialect remembers of this connection, until it leaves the namespace.
    fn state(&mut self) -> Option<&mut DialectState>;

    /// Sets what the dialect remembers of this connection.
    fn set_state(&mut self, state: DialectState);

    /// Sends an event to this connection and requests an acknowledgement; [`Dialect::acknowledged`] follows. Returns its
    /// id. `None`: too many acknowledgements are pending, and nothing was sent.
    fn emit_with_ack(&mut self, args: &str, attachments: &[Vec<u8>]) -> Option<u64>;

    /// An acknowledgement is not expected any more, and makes place for another.
    fn forget_ack(&mut self, id: u64);
}
