//! The capability *mailboxes*: what is stored for a user until one of the user's connections acknowledges it.
//!
//! Engines implement [`Mailboxes`]. Shards and HTTP know this trait only. A shard pages through a mailbox with
//! [`Mailboxes::request`], and learns from [`MailboxNotice`]s what happens in it meanwhile.

use crate::client::Client;
use crate::outcome::{Outcome, Pending, Unavailable};
pub use nodevent_protocol::mailbox::{Acknowledgement, MessageId};
use serde_json::json;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Stores messages for users until they are acknowledged.
pub trait Mailboxes: Send + Sync {
    /// What this namespace stores.
    fn settings(&self) -> &MailboxSettings;

    /// Stores a message, and notifies the user's connections on all servers. When the future completes, the engine has
    /// the message, or has decided not to store it.
    ///
    /// # Errors
    /// [`Unavailable`]: as far as the engine knows, it does not have the message.
    fn store<'a>(&'a self, message: &'a NewMessage<'a>) -> Pending<'a, Stored>;

    /// Reads a page.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn read<'a>(&'a self, user: &'a str, page: PageRequest) -> Pending<'a, MailboxPage>;

    /// Removes messages, and notifies the user's connections on all servers.
    ///
    /// # Errors
    /// [`Unavailable`]: the engine may or may not have removed them.
    fn acknowledge<'a>(&'a self, user: &'a str, acknowledgement: &'a Acknowledgement) -> Pending<'a, Removed>;

    /// Reads or acknowledges for a connection of the user. After [`Outcome::Pending`] the reply arrives through the shard's
    /// inbox.
    fn request(&self, request: MailboxRequest) -> Outcome<MailboxReply>;

    /// A connection of this user was opened. One call of [`Mailboxes::disconnected`] follows.
    fn connected(&self, user: &str);

    /// A connection of this user was closed.
    fn disconnected(&self, user: &str);
}

/// What the mailboxes of a namespace store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxSettings {
    /// Messages of one user.
    pub count: usize,
    /// The length of all messages of one user. Bytes.
    pub bytes: usize,
    /// How long messages are kept while their user is not connected. Zero: without a limit.
    pub age: Duration,
    /// Whether messages for users who were never seen are stored.
    pub keep_unknown: bool,
    /// The longest message. Bytes.
    pub max_message: usize,
    /// Users who were never seen and have a mailbox.
    pub max_mailboxes: usize,
    /// Memory of all mailboxes in the memory engine. Bytes.
    pub max_memory: usize,
}

/// A message to store.
#[derive(Debug)]
pub struct NewMessage<'a> {
    /// The user.
    pub user: &'a str,
    /// The text of a JSON object, as [`nodevent_protocol::mailbox::message_text`] makes it.
    pub text: &'a str,
    /// How long it is kept at most.
    pub ttl: Option<Duration>,
    /// The same key stores once, within the age of the mailbox.
    pub idempotency_key: Option<&'a str>,
    /// Whether its publisher is limited to some users, who must not fill the mailboxes of others.
    pub is_limited: bool,
}

/// What became of a [`NewMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored. `dropped`: so many of the oldest messages were removed for it.
    Stored {
        /// Its id.
        id: MessageId,
        /// Messages that were removed.
        dropped: u64,
    },
    /// It was stored before with the same idempotency key, and may have been acknowledged since.
    Duplicate(MessageId),
    /// The user was never seen, or has been away for longer than the age of mailboxes.
    Unknown,
    /// There is no place for another mailbox.
    Full,
}

/// A message in a mailbox.
#[derive(Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// The text of a JSON object: `{"event", "message", "sent", "id"}`.
    pub text: Box<str>,
}

/// Which part of a mailbox to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// The id after which to read.
    pub after: MessageId,
    /// Messages at most.
    pub count: usize,
    /// Bytes at most. One message is always returned.
    pub bytes: usize,
}

/// A part of a mailbox, oldest message first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxPage {
    /// The messages.
    pub messages: Vec<Arc<StoredMessage>>,
    /// The id of the newest message that was ever stored.
    pub newest: MessageId,
    /// Messages in the mailbox.
    pub unread: u64,
    /// Whether there are messages after the page.
    pub has_more: bool,
}

/// The result of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Messages that were removed by it, not before it.
    pub count: u64,
    /// Messages that are left.
    pub unread: u64,
}

/// The connection that waits for a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxReplyTo {
    /// The shard.
    pub shard: u8,
    /// The connection's slot on the shard.
    pub slot: u32,
    /// The slot's occupant: a slot is used again.
    pub generation: u32,
    /// The namespace's id.
    pub namespace: u16,
    /// The client, whose requests have their turns with those of others.
    pub client: Client,
    /// The number of the next notice on the shard when the request was made.
    pub next_notice: u64,
}

/// A request for a connection.
#[derive(Debug)]
pub struct MailboxRequest {
    /// The destination of the reply.
    pub reply_to: MailboxReplyTo,
    /// The connection's user.
    pub user: Box<str>,
    /// What to do.
    pub action: MailboxAction,
}

/// What a connection requests.
#[derive(Debug)]
pub enum MailboxAction {
    /// Read a page.
    Read(PageRequest),
    /// Remove messages.
    Acknowledge {
        /// The messages.
        acknowledgement: Acknowledgement,
        /// The number that the client gave to the request, if it did.
        request: Option<u64>,
    },
}

/// The reply to a [`MailboxRequest`].
#[derive(Debug, PartialEq, Eq)]
pub struct MailboxReply {
    /// The connection.
    pub reply_to: MailboxReplyTo,
    /// The result.
    pub result: MailboxResult,
}

/// The result of a [`MailboxAction`].
#[derive(Debug, PartialEq, Eq)]
pub enum MailboxResult {
    /// A page was read.
    Read(Result<MailboxPage, Unavailable>),
    /// Messages were removed.
    Acknowledged {
        /// The number that the client gave to the request, if it did.
        request: Option<u64>,
        /// The result.
        result: Result<Removed, Unavailable>,
    },
}

/// What happened in the mailbox of one user.
#[derive(Debug)]
pub struct MailboxNotice {
    /// The user.
    pub user: Box<str>,
    /// Messages in the mailbox now.
    pub unread: u64,
    /// What happened.
    pub event: MailboxEvent,
}

/// See [`MailboxNotice`].
#[derive(Debug)]
pub enum MailboxEvent {
    /// A message was stored.
    Stored {
        /// The message.
        message: Arc<StoredMessage>,
        /// The id of the message before it, which may have been removed.
        previous: MessageId,
    },
    /// Messages were acknowledged.
    Acknowledged(Acknowledgement),
}

/// Why a request about a mailbox was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{}", self.as_str())]
pub enum MailboxError {
    /// The namespace has no mailboxes.
    NotConfigured,
    /// The connection has no user.
    NoUser,
    /// The ids are not a list of ids.
    BadIds,
    /// Too many ids in one acknowledgement.
    TooManyIds,
    /// Too many acknowledgements wait for the engine.
    Busy,
    /// The engine is unavailable.
    Unavailable,
}

/// Ids in one acknowledgement.
pub const MAX_IDS: usize = 1000;

// === impl MailboxSettings ===

impl MailboxSettings {
    /// How long an idempotency key is stored.
    pub fn idempotency_ttl(&self) -> Duration {
        nodevent_protocol::mailbox::idempotency_ttl(self.age)
    }

    /// Whether a message for a user who was never seen is stored.
    pub fn stores_for_unknown(&self) -> bool {
        self.keep_unknown || self.age.is_zero()
    }

    /// The mailboxes of users who were never seen up to which a message may make another one. A publisher that is limited to
    /// some users leaves the other half to those that are not.
    pub fn max_mailboxes_for(&self, new: &NewMessage<'_>) -> usize {
        if new.is_limited { self.max_mailboxes.div_ceil(2) } else { self.max_mailboxes }
    }

    /// The memory up to which a message may be stored, as for [`MailboxSettings::max_mailboxes_for`]. Bytes.
    pub fn max_memory_for(&self, new: &NewMessage<'_>) -> usize {
        if new.is_limited { self.max_memory / 2 } else { self.max_memory }
    }
}

// === impl MailboxNotice ===

impl MailboxNotice {
    /// Its size. Bytes.
    pub fn size(&self) -> usize {
        self.user.len()
            + match &self.event {
                MailboxEvent::Stored { message, .. } => message.text.len(),
                MailboxEvent::Acknowledged(acknowledgement) => 8 * acknowledgement.ids.len(),
            }
    }
}

/// What clients receive from a mailbox: the text of a JSON object. The arguments are those of
/// [`crate::protocol::MailboxDelivery::Messages`].
pub fn messages_text(messages: &[Arc<StoredMessage>], unread: u64, is_first: bool, is_last: bool) -> String {
    let bytes: usize = messages.iter().map(|message| message.text.len() + 1).sum();
    let mut text = String::with_capacity(bytes + 80);
    text.push_str("{\"messages\":[");
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&message.text);
    }
    let _ = write!(text, "],\"unread\":{unread},\"first\":{is_first},\"last\":{is_last}}}");
    text
}

/// What clients receive of an acknowledgement: the text of a JSON object.
pub fn acknowledged_text(acknowledgement: &Acknowledgement, unread: u64) -> String {
    let ids: Vec<String> = acknowledgement.ids.iter().map(ToString::to_string).collect();
    let mut text = json!({"ids": ids, "unread": unread});
    if let Some(last) = acknowledgement.up_to {
        text["up_to"] = last.to_string().into();
    }
    text.to_string()
}

// === impl MailboxError ===

impl MailboxError {
    /// The text for the client.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "No mailboxes",
            Self::NoUser => "No user",
            Self::BadIds => "Bad ids",
            Self::TooManyIds => "Too many ids",
            Self::Busy => "Busy",
            Self::Unavailable => "Unavailable",
        }
    }
}
