//! The packets of browsers, and the reasons why a text is not a packet.

use thiserror::Error;

/// Maximum number of attachments of a packet, as in the reference implementation.
pub const MAX_ATTACHMENTS: usize = 10;

/// A packet from a browser. Its JSON is as it was received, and was checked to be JSON. A namespace begins with `/`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Packet {
    /// `0`: connects to a namespace.
    Connect {
        /// The namespace, without a query string.
        namespace: String,
        /// The query string that followed the namespace, as clients of protocol 4 send it. Not decoded.
        query: Option<String>,
        /// A JSON object.
        auth: Option<String>,
    },
    /// `1`: disconnects from a namespace.
    Disconnect {
        /// The namespace, without a query string.
        namespace: String,
    },
    /// `2` and `5`: an event.
    Event {
        /// The namespace, without a query string.
        namespace: String,
        /// The id for the ack, if one is expected.
        id: Option<u64>,
        /// A JSON array whose first element is the event's name: a number, or a string that is not reserved.
        args: String,
        /// The attachments of the placeholders in `args`.
        attachments: Vec<Vec<u8>>,
    },
    /// `3` and `6`: the ack of an event of the server.
    Ack {
        /// The namespace, without a query string.
        namespace: String,
        /// The id of the event.
        id: u64,
        /// A JSON array.
        args: String,
        /// The attachments of the placeholders in `args`.
        attachments: Vec<Vec<u8>>,
    },
}

/// A reason why a message is not a Socket.IO packet. The session must be closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Malformed {
    /// It does not begin with the digit of a packet that browsers may send.
    #[error("unknown packet type")]
    UnknownType,
    /// The number of attachments is not a number followed by `-`.
    #[error("the number of attachments is not a number")]
    BadAttachments,
    /// More than [`MAX_ATTACHMENTS`] are announced.
    #[error("more than {MAX_ATTACHMENTS} attachments are announced")]
    TooManyAttachments,
    /// A placeholder without an attachment, or an attachment without a placeholder.
    #[error("placeholder count does not match attachments")]
    BadPlaceholder,
    /// The id has too many digits, or an ack has none.
    #[error("the ack id is missing or too large")]
    BadId,
    /// The rest is not JSON, or not of the shape that the packet's type requires.
    #[error("the arguments are not JSON of the right shape")]
    BadArguments,
    /// The event has a name that is reserved for Socket.IO.
    #[error("the event's name is reserved")]
    ReservedEvent,
    /// A text message arrived, but an attachment was expected.
    #[error("a text message arrived instead of an attachment")]
    AttachmentAwaited,
    /// A binary message arrived, but no attachment was expected.
    #[error("unexpected binary message")]
    UnexpectedAttachment,
}

// === impl Malformed ===

impl Malformed {
    /// Returns a short name for counters.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown_type",
            Self::BadAttachments => "bad_attachments",
            Self::TooManyAttachments => "too_many_attachments",
            Self::BadPlaceholder => "bad_placeholder",
            Self::BadId => "bad_id",
            Self::BadArguments => "bad_arguments",
            Self::ReservedEvent => "reserved_event",
            Self::AttachmentAwaited => "attachment_awaited",
            Self::UnexpectedAttachment => "unexpected_attachment",
        }
    }
}

// === impl Packet ===

impl Packet {
    /// Returns its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Connect { namespace, .. }
            | Self::Disconnect { namespace }
            | Self::Event { namespace, .. }
            | Self::Ack { namespace, .. } => namespace,
        }
    }
}
