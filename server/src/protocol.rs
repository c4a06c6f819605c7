//! The interface between protocols and the core.
//!
//! A [`Protocol`] gives the bytes of one connection their meaning. The [`Core`] does on its behalf what every protocol
//! needs: join rooms, recover, send, close. Protocols live in [`crate::protocols`], the core in [`crate::shard`]. Neither
//! knows the other.
//!
//! All calls run on the connection's shard and must not block.

use crate::cable::{CableQuery, CableWrite};
use crate::calls::{Call, CallError, CallResult, ConnectionEvent};
use crate::close_reason::CloseReason;
use crate::connect_info::ConnectInfo;
use crate::connection_id::ConnectionId;
use crate::connection_state::{Sealer, State};
use crate::encoding::{Encoding, Frame};
use crate::history::{RequestId, Since};
use crate::identity::Identity;
use crate::identity_provider::Identify;
use crate::mailbox::{Acknowledgement, MailboxError, Removed, StoredMessage};
use crate::outcome::Outcome;
use crate::pages::PageEvent;
use crate::presence::{PresenceError, PresenceResult, RoomPresence};
use crate::token::TokenError;
use nodevent_protocol::history::Position;
use nodevent_protocol::page::PageHash;
use nodevent_protocol::pages::{PageDigest, Subscription};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// Time on a shard's monotonic clock. Milliseconds.
pub type Millis = u64;

/// No deadline.
pub const NEVER: Millis = Millis::MAX;

/// Makes the protocol of one connection, on the connection's shard: what a connection keeps for its life is allocated
/// there, away from what a request allocates and frees.
pub type OpenProtocol = Box<dyn FnOnce() -> Box<dyn Protocol> + Send>;

/// The meaning of one connection's bytes.
pub trait Protocol: fmt::Debug + Send {
    /// The connection is open. What is sent here leaves together with the response to the handshake.
    ///
    /// # Errors
    /// The reason to close the connection.
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason>;

    /// A message arrived.
    ///
    /// # Errors
    /// The reason to close the connection.
    fn received(&mut self, message: Message<'_>, core: &mut dyn Core) -> Result<(), CloseReason>;

    /// When [`Protocol::on_deadline`] is due, for heartbeats and timeouts.
    fn deadline(&self) -> Millis;

    /// What of a client is kept beyond what clients need: a message that has arrived in part, commands that wait, long names. Bytes
    /// that count towards the budget of all connections.
    fn arriving(&self) -> usize {
        0
    }

    /// The deadline has passed.
    ///
    /// # Errors
    /// The reason to close the connection.
    fn on_deadline(&mut self, core: &mut dyn Core) -> Result<(), CloseReason>;

    /// The reply to a [`Core::subscribe`] that was pending. What the connection had missed has been sent.
    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core);

    /// The reply to a [`Core::presence`] that was pending.
    fn presence_listed(
        &mut self,
        namespace: u16,
        request: RequestId,
        result: &PresenceResult,
        core: &mut dyn Core,
    ) {
        let _ = (namespace, request, result, core);
    }

    /// The connection's identity in a namespace has expired. The connection is closed after the grace period of the
    /// configuration, unless [`Core::identify`] accepts a new token before.
    fn identity_expired(&mut self, namespace: u16, core: &mut dyn Core) {
        let _ = (namespace, core);
    }

    /// Messages from the mailbox that [`Core::open_mailbox`] has opened, and what else happens in it.
    fn mailbox(&mut self, namespace: u16, delivery: &MailboxDelivery<'_>, core: &mut dyn Core) {
        let _ = (namespace, delivery, core);
    }

    /// What happens to the subscriptions of the page that [`Core::open_page`] has named.
    ///
    /// # Errors
    /// The reason to close the connection.
    fn page(&mut self, namespace: u16, event: &PageEvent<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let _ = (namespace, event, core);
        Ok(())
    }

    /// Whether the client receives responses to its calls as they are.
    fn passes_responses_on(&self) -> bool {
        true
    }

    /// The reply to a [`Core::call`], with its number.
    fn called(&mut self, namespace: u16, number: u64, result: &CallResult, core: &mut dyn Core) {
        let _ = (namespace, number, result, core);
    }

    /// The reply to a [`Core::identify`] that was pending.
    ///
    /// # Errors
    /// The reason to close the connection. A protocol that never calls [`Core::identify`] receives none.
    fn identified(&mut self, reply: IdentifyReply, core: &mut dyn Core) -> Result<(), CloseReason> {
        let _ = (reply, core);
        Ok(())
    }

    /// The reply to a [`Core::claim`] that was pending. `None`: the engine is unavailable.
    ///
    /// # Errors
    /// The reason to close the connection. A protocol that never calls [`Core::claim`] receives none.
    fn claimed(&mut self, namespace: u16, is_first: Option<bool>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let _ = (namespace, is_first, core);
        Ok(())
    }

    /// The reply to a [`Core::read_cable`] that was pending, with its number.
    ///
    /// # Errors
    /// The reason to close the connection. A protocol that never calls [`Core::read_cable`] receives none.
    fn cable_read(
        &mut self,
        namespace: u16,
        number: u64,
        found: Option<Box<str>>,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        let _ = (namespace, number, found, core);
        Ok(())
    }

    /// The connection's membership of a room was revoked, and has ended. `None` as the room: its identity was revoked, and
    /// the connection will be closed with [`CloseReason::Revoked`].
    ///
    /// # Errors
    /// The reason to close the connection.
    fn revoked(&mut self, namespace: u16, room: Option<&str>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let _ = (namespace, room, core);
        Ok(())
    }

    /// The key with which the connection joined a room has expired, and with it the membership. Only in namespaces with
    /// `expiry: leave`.
    ///
    /// # Errors
    /// The reason to close the connection.
    fn membership_expired(&mut self, namespace: u16, room: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        let _ = (namespace, room, core);
        Ok(())
    }

    /// The encoding in which the connection receives what is published to all connections of a namespace, if it is in that
    /// namespace. Connections of one protocol in one namespace share it. `None`: they do not receive it.
    fn encoding_in(&self, namespace: u16) -> Option<&Arc<dyn Encoding>> {
        let _ = namespace;
        None
    }

    /// The connection is about to be closed. Last messages can be sent here.
    fn closing(&mut self, reason: CloseReason, core: &mut dyn Core);

    /// The additional capability of protocols that work over HTTP long-polling, and may upgrade to a WebSocket.
    fn as_polling(&mut self) -> Option<&mut dyn PollingProtocol> {
        None
    }
}

/// What a connection receives from the mailbox of its user.
#[derive(Debug)]
pub enum MailboxDelivery<'a> {
    /// Messages, in the order of the mailbox.
    Messages {
        /// The messages. None in the first delivery if the mailbox is empty.
        messages: &'a [Arc<StoredMessage>],
        /// Messages in the mailbox.
        unread: u64,
        /// Whether this is the first delivery: what the client has and is not in this delivery or one until `is_last`, is
        /// not in the mailbox any more.
        is_first: bool,
        /// Whether there were no more messages in the mailbox.
        is_last: bool,
    },
    /// A connection of the user, or the application, has acknowledged messages.
    Acknowledged {
        /// The messages.
        acknowledgement: &'a Acknowledgement,
        /// Messages in the mailbox.
        unread: u64,
    },
    /// The reply to [`Core::acknowledge_messages`].
    Reply {
        /// The number that the client gave to the request, if it did.
        request: Option<u64>,
        /// The result.
        result: Result<Removed, MailboxError>,
    },
}

/// The additional methods of a protocol over long-polling.
pub trait PollingProtocol {
    /// A WebSocket for this connection was requested. Returns whether it may be opened.
    fn start_upgrade(&mut self, now: Millis) -> bool;

    /// A message arrived on a WebSocket that is not the connection's transport yet.
    ///
    /// # Errors
    /// The reason to close that WebSocket. The connection stays as it is.
    fn on_probe(&mut self, message: Message<'_>) -> Result<Probe, CloseReason>;

    /// The WebSocket is gone, or will not come.
    fn cancel_upgrade(&mut self);

    /// Whether a WebSocket is expected or being probed.
    fn is_upgrade_pending(&self) -> bool;

    /// Whether the probe was answered, so the client waits for its poll to end before it upgrades.
    fn is_probe_answered(&self) -> bool;

    /// The message that ends a waiting poll and means nothing.
    fn noop(&self) -> Frame;
}

/// The result of a message on a probing WebSocket.
#[derive(Debug)]
pub enum Probe {
    /// Send this on the WebSocket.
    Reply(Frame),
    /// The WebSocket is the connection's transport from now on.
    Upgraded,
}

/// A message from a client.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    /// A text message of a WebSocket.
    Text(&'a str),
    /// A binary message of a WebSocket.
    Binary(&'a [u8]),
    /// A pong of the WebSocket layer.
    Pong,
    /// The body of a POST on long-polling. The protocol counts the messages in it with [`Core::count_message`].
    Body(&'a [u8]),
}

/// The transport of a connection's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// A WebSocket.
    WebSocket,
    /// HTTP long-polling.
    Polling,
    /// The body of one HTTP response, such as Server-Sent Events.
    Stream,
}

/// A request to join a room.
#[derive(Debug)]
pub struct Subscribe<'a> {
    /// The namespace's id.
    pub namespace: u16,
    /// The room's name.
    pub room: &'a str,
    /// The room key or token that the client sent.
    pub credential: Option<&'a Value>,
    /// What the client presents again to join the room if it is restored: for the protocol alone.
    pub kept: Option<&'a str>,
    /// The publications that the client claims to have received.
    pub since: Since,
    /// The encoding in which the connection receives the room's publications.
    pub encoding: &'a Arc<dyn Encoding>,
    /// The protocol's own id of the request, to find it again in [`Protocol::subscribed`].
    pub request: RequestId,
}

/// The reply to a [`Subscribe`], [`Core::join_user`] or [`Core::recover_all`] that was pending.
#[derive(Debug)]
pub struct SubscribeReply<'a> {
    /// The namespace's id.
    pub namespace: u16,
    /// The room's name, or that of another [`Topic`](nodevent_protocol::topic::Topic).
    pub room: &'a str,
    /// The id from [`Subscribe::request`].
    pub request: RequestId,
    /// The result.
    pub result: Result<Joined, JoinError>,
}

/// A complete join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The result of the recovery. `None`: the room has no history.
    pub recovery: Option<RecoveryStatus>,
}

/// The result of a recovery, for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryStatus {
    /// The connection has received everything up to this position. `None`: the engine is unavailable.
    pub position: Option<Position>,
    /// Whether nothing is missing since the position that the client named. For a first join nothing can be missing.
    pub recovered: bool,
}

/// Why a join was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{}", self.as_str())]
pub enum JoinError {
    /// The room's name is missing, empty, too long, or not a string or integer.
    BadRoom,
    /// An authorizer rejected it. The text is the old contract's own.
    Unauthorized(&'static str),
    /// The client has sent a key, token, name or password that is not a right one: it may be guessing. Limits count it.
    WrongKey(&'static str),
    /// It could not be decided: too many wait for the application, or it does not respond.
    Undecided,
    /// The connection is in as many rooms as allowed.
    TooManyRooms,
    /// The connection joins faster than allowed.
    TooManyJoins,
}

/// The reply to a [`Core::identify`] that was pending.
#[derive(Debug)]
pub struct IdentifyReply {
    /// The namespace's id.
    pub namespace: u16,
    /// The id from [`Identify::request`].
    pub request: RequestId,
    /// The result.
    pub result: Result<Arc<Identity>, TokenError>,
    /// What the provider says to the client about a rejection, instead of the error's text.
    pub reason: Option<Arc<str>>,
}

/// Why a token was rejected. The core has counted and logged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentifyError {
    /// The reason, for the client.
    pub error: TokenError,
    /// Why the connection must be closed, if it has sent too many forged tokens. The core does that.
    pub close: Option<CloseReason>,
}

// === impl JoinError ===

impl JoinError {
    /// The text for the client.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRoom => "Bad room",
            Self::Unauthorized(text) | Self::WrongKey(text) => text,
            Self::Undecided => "Cannot be decided now",
            Self::TooManyRooms => "Too many rooms",
            Self::TooManyJoins => "Too many joins",
        }
    }
}

/// The operations of the core that a protocol can use, on behalf of one connection.
pub trait Core {
    /// Now.
    fn now(&self) -> Millis;

    /// The connection's id.
    fn id(&self) -> ConnectionId;

    /// The request that opened the connection.
    fn info(&self) -> &ConnectInfo;

    /// The token that came with the connection's request, if the namespace reads it there. It is forgotten with this call,
    /// unless several namespaces read it.
    fn take_request_token(&mut self, namespace: u16) -> Option<Box<str>>;

    /// The parameters of the connection's request that the namespace's provider lists, as a query. They are forgotten with
    /// this call: they are for the first namespace that reads them.
    fn take_query(&mut self, namespace: u16) -> Option<Box<str>>;

    /// Verifies a token or asks the application, and makes the user the connection's identity in a namespace. A connection
    /// that has an identity presents a new token of the same user. [`Outcome::Ready`] with `None`: the connection has no
    /// identity, and needs none. [`Outcome::Pending`]: [`Protocol::identified`] follows, unless the identity is forgotten
    /// before. [`Outcome::Overloaded`]: the connection must be rejected.
    ///
    /// # Errors
    /// The token was rejected, or is missing. The connection keeps the identity that it had.
    fn identify(&mut self, identify: Identify<'_>) -> Result<Outcome<Option<Arc<Identity>>>, TokenError>;

    /// The connection's identity in a namespace, even if it has expired.
    fn identity(&self, namespace: u16) -> Option<Arc<Identity>>;

    /// The users whose publications the connection receives in a namespace, also those that its dialect has added.
    fn users(&self, namespace: u16) -> Vec<String>;

    /// Sends the connection what was published to its user since a position, and from now on what is. A protocol calls it
    /// as soon as the connection with an identity can receive publications, and may call it again.
    /// [`Outcome::Ready`] and [`Outcome::Pending`]: as for [`Core::subscribe`], with [`RequestId::UNREQUESTED`].
    fn join_user(&mut self, namespace: u16, since: Since, encoding: &Arc<dyn Encoding>) -> Outcome<Joined>;

    /// Sends the connection what was published to all connections of a namespace since a position. It receives what is
    /// published from now on in any case. [`Outcome::Ready`] and [`Outcome::Pending`]: as for [`Core::subscribe`].
    ///
    /// # Errors
    /// [`JoinError::TooManyJoins`]. The core has counted and logged it.
    fn recover_all(
        &mut self,
        namespace: u16,
        since: Since,
        encoding: &Arc<dyn Encoding>,
        request: RequestId,
    ) -> Result<Outcome<Joined>, JoinError>;

    /// Removes the connection's identity in a namespace that it has left, and forgets an [`Core::identify`] that is
    /// pending. It does not receive what is published to its user any more.
    fn forget_identity(&mut self, namespace: u16);

    /// The client is in a namespace: what its protocol calls connecting is complete. For the hook `connected`.
    fn connected(&mut self, namespace: u16);

    /// The client has left a namespace, and is still connected to others. For the hook `disconnected`.
    fn disconnected(&mut self, namespace: u16);

    /// Opens the mailbox of the connection's user. [`Protocol::mailbox`] receives what is in it, oldest message first, and
    /// then what is stored in it.
    ///
    /// # Errors
    /// The namespace has no mailboxes, or the connection no user.
    fn open_mailbox(&mut self, namespace: u16) -> Result<(), MailboxError>;

    /// Removes messages from the mailbox of the connection's user. [`Outcome::Pending`]: [`MailboxDelivery::Reply`] follows.
    ///
    /// # Errors
    /// Nothing has changed, or the engine is unavailable.
    fn acknowledge_messages(
        &mut self,
        namespace: u16,
        acknowledgement: Acknowledgement,
        request: Option<u64>,
    ) -> Result<Outcome<Removed>, MailboxError>;

    /// Whether the connection may be tracked, and restored: it has not ended too many states.
    fn may_track(&mut self) -> bool;

    /// From now on frames of the namespace end with an offset from this sealer.
    fn track(&mut self, namespace: u16, sealer: Sealer);

    /// The client has left the namespace: it is not tracked any more, and its offsets are not valid.
    fn end_tracking(&mut self, namespace: u16);

    /// The sealed state of the connection in a namespace. `None`: it is not tracked.
    fn offset(&mut self, namespace: u16) -> Option<String>;

    /// Whether the client does not know the current state.
    fn needs_offset(&mut self, namespace: u16) -> bool;

    /// Marks the connection that has a state as restored. [`Outcome::Ready`]: whether it was not before.
    /// [`Outcome::Pending`]: [`Protocol::claimed`] follows. [`Outcome::Overloaded`]: the engine is unavailable.
    fn claim(&mut self, namespace: u16, state: &State) -> Outcome<bool>;

    /// The connection has received the copies that a state lists.
    fn remember(&mut self, namespace: u16, state: &State);

    /// Sets the page that the connection belongs to, which publications can exclude.
    fn set_page(&mut self, page: PageHash);

    /// The connection is one of this page, and of no other in the namespace. Returns the page's subscriptions, or they follow with [`Protocol::page`], as does
    /// every change. The protocol receives what follows their positions, which are not returned again. It may call this again, and
    /// must from time to time, so that the engine keeps the page.
    fn open_page(&mut self, namespace: u16, page: PageDigest) -> Outcome<Vec<Subscription>>;

    /// The connection is not one of its page in this namespace any more, or is about to be closed. It has received the channels
    /// of the page up to these positions.
    fn close_page(&mut self, namespace: u16, received: Vec<Subscription>);

    /// Up to where a room was delivered to its members here. `None`: nothing was, or the room has no history.
    fn delivered(&self, namespace: u16, room: &str) -> Option<Position>;

    /// The position up to which the connection was sent everything of a room in an encoding. `None`: it is not a member, nothing
    /// was published since it is, or the room has no history.
    fn sent(&self, namespace: u16, room: &str, encoding: &Arc<dyn Encoding>) -> Option<Position>;

    /// Reads a cursor or a session of Action Cable. [`Outcome::Ready`]: what was found, or nothing. [`Outcome::Pending`]:
    /// [`Protocol::cable_read`] follows. [`Outcome::Overloaded`]: it cannot be read.
    fn read_cable(&mut self, namespace: u16, query: CableQuery, number: u64) -> Outcome<Option<Box<str>>>;

    /// Writes a cursor or a session of Action Cable.
    fn write_cable(&mut self, namespace: u16, write: CableWrite);

    /// Sends a publication that is not stored to the members of a room.
    fn whisper(&mut self, namespace: u16, room: &str, text: String);

    /// From now on the connection is present in a room only after [`Core::enter`].
    fn enter_only_on_request(&mut self);

    /// Makes the connection present in a room that it is in, with this info instead of that of its identity.
    ///
    /// # Errors
    /// [`PresenceError`].
    fn enter(&mut self, namespace: u16, room: &str, info: Option<&str>) -> Result<(), PresenceError>;

    /// The connection is not present in a room any more.
    fn exit(&mut self, namespace: u16, room: &str);

    /// Calls the application. [`Protocol::called`] follows with the same number. `connection` is the id of the connection for
    /// the application, if it has one of its own.
    ///
    /// # Errors
    /// Nothing was sent.
    fn call(&mut self, namespace: u16, call: Call, connection: Option<&str>, number: u64) -> Result<(), CallError>;

    /// Notifies the application of an event, if its configuration says so.
    fn notify_call(&mut self, namespace: u16, event: ConnectionEvent, connection: Option<&str>);

    /// The current transport of the connection's messages.
    fn transport(&self) -> TransportKind;

    /// Joins a room. [`Outcome::Ready`]: what the connection had missed has been sent, and the protocol confirms the
    /// join. [`Outcome::Pending`]: [`Protocol::subscribed`] follows. [`Outcome::Overloaded`]: the connection will be
    /// closed, and the client can reconnect and try again.
    ///
    /// # Errors
    /// [`JoinError`]: nothing has changed. The core has counted and logged it.
    fn subscribe(&mut self, request: Subscribe<'_>) -> Result<Outcome<Joined>, JoinError>;

    /// Requests the members of a room that the connection is in. It counts against the rate of joins. After
    /// [`Outcome::Pending`], [`Protocol::presence_listed`] follows.
    ///
    /// # Errors
    /// [`PresenceError`].
    fn presence(
        &mut self,
        namespace: u16,
        room: &str,
        request: RequestId,
    ) -> Result<Outcome<Arc<RoomPresence>>, PresenceError>;

    /// Counts and logs a join that the protocol itself rejects, and returns the error. After too many wrong keys the
    /// connection will be closed.
    fn reject_join(&mut self, namespace: u16, error: JoinError) -> JoinError;

    /// Leaves a room. Returns whether the connection was a member.
    fn unsubscribe(&mut self, namespace: u16, room: &str, encoding: &Arc<dyn Encoding>) -> bool;

    /// Leaves all rooms of a namespace.
    fn unsubscribe_all(&mut self, namespace: u16);

    /// Sends a text message.
    fn send_text(&mut self, text: &str);

    /// Sends a small text message over a WebSocket, before the messages that wait because the client reads slowly. For
    /// heartbeats.
    fn send_text_first(&mut self, text: &str);

    /// Sends messages in one write.
    fn send(&mut self, frames: &[Frame]);

    /// Sends a ping of the WebSocket layer. [`Message::Pong`] follows.
    fn ping(&mut self);

    /// Writes what was sent so far, instead of waiting until the protocol returns.
    fn flush(&mut self);

    /// Counts a command of the client that means nothing, and that the protocol therefore ignores.
    fn count_ignored_command(&mut self);

    /// Counts one message against the connection's rate limit.
    ///
    /// # Errors
    /// The connection sends more messages than allowed.
    fn count_message(&mut self) -> Result<(), CloseReason>;

    /// Closes the WebSocket that was to become the connection's transport: its time is over.
    fn upgrade_timed_out(&mut self);
}
