//! The messages to a shard, and their replies.

use super::Settings;
pub use super::body_stream::StreamReceiver;
pub use super::poll_response::PollResponse;
use super::stream::Stream;
use crate::byte_budget::BudgetedBytes;
use crate::cable::CableReply;
use crate::calls::CallReply;
use crate::close_reason::CloseReason;
use crate::connect_info::ConnectInfo;
use crate::connection_id::ConnectionId;
use crate::connection_state::ClaimReply;
use crate::encoding::Frame;
use crate::history::{RecoveryReply, ReplyTo};
use crate::identity_provider::IdentityReply;
use crate::mailbox::{MailboxNotice, MailboxReply};
use crate::pages::{PageNotice, PageReply};
use crate::presence::PresenceReply;
use crate::protocol::{JoinError, Millis, OpenProtocol};
use crate::publication::Notice;
use crate::revocation::Revocation;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// A notice on its way to the members of one room.
#[derive(Debug)]
pub struct Broadcast {
    /// The namespace's id.
    pub namespace: u16,
    /// The hash of its room; see [`crate::interest`]. `None`: it is for all connections.
    pub(super) hash: Option<u64>,
    /// The message to the members.
    pub notice: Notice,
    /// The size that was reserved for it in the inboxes. Bytes.
    pub(super) cost: u32,
    /// When it came from its engine.
    pub(super) arrived: Instant,
}

/// What happened in a mailbox, on its way to the user's connections.
#[derive(Debug)]
pub struct MailboxBroadcast {
    /// The namespace's id.
    pub namespace: u16,
    /// What happened.
    pub notice: MailboxNotice,
    /// The size that was reserved for it in the inboxes. Bytes.
    pub(super) cost: u32,
}

/// A change of the subscriptions of a page, on its way to the page's connections.
#[derive(Debug)]
pub struct PageBroadcast {
    /// The namespace's id.
    pub namespace: u16,
    /// What has changed.
    pub notice: PageNotice,
    /// The size that was reserved for it in the inboxes. Bytes.
    pub(super) cost: u32,
}

/// A socket whose WebSocket handshake was accepted.
pub struct Attach {
    /// The socket, registered nowhere.
    pub stream: Stream,
    /// The response to the handshake, which has not been sent: it leaves together with the protocol's first message.
    pub response: Vec<u8>,
    /// Bytes that were read after the request.
    pub read_ahead: Bytes,
    /// Whether permessage-deflate was negotiated.
    pub deflate: bool,
    /// The purpose of the WebSocket.
    pub purpose: Purpose,
}

/// The purpose of a WebSocket.
pub enum Purpose {
    /// A new connection.
    Open(OpenProtocol, ConnectInfo),
    /// To become the transport of this connection, which expects it.
    Upgrade(ConnectionId),
    /// To become the transport of a connection that does not expect it. It is closed with that reason.
    Rejected,
}

/// A message to a shard.
pub enum ToShard {
    /// Use these settings from now on.
    Settings(Arc<Settings>),
    /// Deliver to the members here.
    Broadcast(Arc<Broadcast>),
    /// The reply to a recovery request.
    Recovered(Box<RecoveryReply>),
    /// The members of a room that a connection asked for.
    Present(Box<PresenceReply>),
    /// The reply of an authorizer.
    Authorized(AuthorizeReply),
    /// Notify the connections of a user of what happened in the user's mailbox.
    MailboxNotice(Arc<MailboxBroadcast>),
    /// Notices of a namespace may have been lost: read the mailboxes of its connections again.
    MailboxNoticesLost {
        /// The namespace's id.
        namespace: u16,
    },
    /// The reply to a request about a mailbox.
    MailboxReply(Box<MailboxReply>),
    /// Notify the connections of a page that its subscriptions have changed.
    PageNotice(Arc<PageBroadcast>),
    /// Notices of a namespace may have been lost: read the subscriptions of its pages again.
    PageNoticesLost {
        /// The namespace's id.
        namespace: u16,
    },
    /// The subscriptions of a page.
    PageReply(Box<PageReply>),
    /// The application's reply to a call.
    Called(Box<CallReply>),
    /// The reply to a request for an identity.
    Identified(IdentityReply),
    /// The reply to a request to mark a connection as restored.
    Claimed(ClaimReply),
    /// What was found of a cursor or a session of Action Cable.
    Cable(CableReply),
    /// End the connections and memberships that these revocations affect.
    Revoke {
        /// The namespace's id.
        namespace: u16,
        /// The revocations. The namespace's list has them already.
        revocations: Arc<[Revocation]>,
    },
    /// Take over a WebSocket.
    Attach(Box<Attach>),
    /// A request of a connection on long-polling.
    Polling(PollingRequest),
    /// The upgrade of a connection on long-polling to a WebSocket.
    Upgrade(UpgradeRequest),
    /// A stream opens or closes.
    Stream(StreamRequest),
    /// Close all connections within that time. Milliseconds.
    Drain {
        /// The time over which to spread them.
        spread: Millis,
    },
    /// Stop now.
    Stop,
}

/// The reply of an authorizer that could not decide at once.
#[derive(Debug)]
pub struct AuthorizeReply {
    /// The join.
    pub reply_to: ReplyTo,
    /// The decision.
    pub result: Result<(), JoinError>,
}

/// How the bodies of a connection on long-polling look. Only its endpoint knows what that means: the shard keeps it,
/// returns it with the messages, and rejects requests of another version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PollingFormat {
    /// The version of the protocol.
    pub version: u8,
    /// Whether the client cannot read bytes.
    pub is_text_only: bool,
}

/// A request of a connection on long-polling.
pub enum PollingRequest {
    /// Open a connection.
    Open {
        /// What its messages mean.
        protocol: OpenProtocol,
        /// How its bodies look.
        format: PollingFormat,
        /// The request.
        info: ConnectInfo,
        /// Receives the first messages.
        reply: oneshot::Sender<Vec<Frame>>,
    },
    /// Whether there is a connection with that id.
    Find {
        /// The connection.
        id: ConnectionId,
        /// Receives the result.
        reply: oneshot::Sender<bool>,
    },
    /// A GET.
    Poll {
        /// The connection.
        id: ConnectionId,
        /// The version of the protocol.
        version: u8,
        /// Receives messages as soon as there are any.
        reply: oneshot::Sender<PollReply>,
    },
    /// The client gave up its GET.
    PollAborted {
        /// The connection.
        id: ConnectionId,
    },
    /// The response to the last GET was written, or given up with its socket. A GET waits for that.
    Written {
        /// The connection.
        id: ConnectionId,
    },
    /// The response to a GET is not sent: the responses that are not written hold too much. The connection is closed.
    Discarded {
        /// The connection.
        id: ConnectionId,
    },
    /// A POST started. Its body is still to come.
    PostStarted {
        /// The connection.
        id: ConnectionId,
        /// The version of the protocol.
        version: u8,
        /// Receives whether it may continue.
        reply: oneshot::Sender<PostReply>,
    },
    /// The body of a POST.
    Post {
        /// The connection.
        id: ConnectionId,
        /// The body.
        body: BudgetedBytes,
        /// Receives the result.
        reply: oneshot::Sender<PostReply>,
    },
    /// A POST ended without a usable body.
    PostAborted {
        /// The connection.
        id: ConnectionId,
        /// Why the connection is closed. `None`: it stays open.
        close: Option<CloseReason>,
    },
}

/// The upgrade of a connection on long-polling to a WebSocket.
#[derive(Debug)]
pub enum UpgradeRequest {
    /// A WebSocket is about to be opened for a connection.
    Start {
        /// The connection.
        id: ConnectionId,
        /// The version of the protocol.
        version: u8,
        /// Receives whether it may be opened.
        reply: oneshot::Sender<UpgradeReply>,
    },
    /// That WebSocket will not come.
    Cancelled {
        /// The connection.
        id: ConnectionId,
    },
}

/// A stream opens or closes.
pub enum StreamRequest {
    /// Open a connection.
    Open(Box<OpenStream>),
    /// The reader is gone.
    Closed {
        /// The connection.
        id: ConnectionId,
    },
}

/// A connection to open on a stream.
pub struct OpenStream {
    /// What its messages mean.
    pub protocol: OpenProtocol,
    /// The request.
    pub info: ConnectInfo,
    /// Receives the connection's messages.
    pub reply: oneshot::Sender<StreamReceiver>,
}

/// The reply to [`PollingRequest::Poll`].
#[derive(Debug)]
pub enum PollReply {
    /// Messages.
    Messages(PollResponse),
    /// There is no connection with that id.
    Unknown,
    /// The connection is not on long-polling, or speaks another version of the protocol.
    WrongTransport,
    /// Another GET was waiting, so the connection was closed.
    Concurrent,
}

/// The reply to [`UpgradeRequest::Start`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeReply {
    /// The WebSocket may be opened.
    Accepted,
    /// There is no connection with that id.
    Unknown,
    /// The connection has a WebSocket, or another one is expected.
    Rejected,
    /// The connection speaks another version of the protocol.
    WrongVersion,
}

/// The reply to [`PollingRequest::PostStarted`] and [`PollingRequest::Post`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostReply {
    /// Accepted.
    Accepted,
    /// There is no connection with that id.
    Unknown,
    /// The connection is not on long-polling, or speaks another version of the protocol.
    WrongTransport,
    /// The connection was closed because of it.
    Closed(CloseReason),
}

// === impl ToShard ===

impl ToShard {
    /// Whether it belongs to a request, whose number in an inbox is limited.
    pub(super) fn is_request(&self) -> bool {
        !matches!(
            self,
            Self::Broadcast(_)
                | Self::Settings(_)
                | Self::Recovered(_)
                | Self::Present(_)
                | Self::Authorized(_)
                | Self::MailboxNotice(_)
                | Self::MailboxNoticesLost { .. }
                | Self::MailboxReply(_)
                | Self::PageNotice(_)
                | Self::PageNoticesLost { .. }
                | Self::PageReply(_)
                | Self::Called(_)
                | Self::Identified(_)
                | Self::Claimed(_)
                | Self::Cable(_)
                | Self::Revoke { .. }
                | Self::Drain { .. }
                | Self::Stop
        )
    }

    /// Whether it is the end of a request that was accepted before. There are no more of them than requests.
    pub(super) fn is_end_of_request(&self) -> bool {
        matches!(
            self,
            Self::Polling(
                PollingRequest::PollAborted { .. }
                    | PollingRequest::PostAborted { .. }
                    | PollingRequest::Written { .. }
                    | PollingRequest::Discarded { .. }
            ) | Self::Upgrade(UpgradeRequest::Cancelled { .. })
                | Self::Stream(StreamRequest::Closed { .. })
        )
    }
}
