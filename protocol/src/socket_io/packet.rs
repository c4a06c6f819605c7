//! What a browser can say in Socket.IO, and why a text says nothing.

use thiserror::Error;

/// The most binary attachments of one packet, as the reference implementation has it.
pub const MAX_ATTACHMENTS: usize = 10;

/// What a browser sent. Its JSON stands as it came, checked to be JSON; a namespace begins with `/`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Packet {
    /// `0`: enter a namespace.
    Connect {
        /// The namespace, without a query string.
        namespace: String,
        /// A JSON object.
        auth: Option<String>,
    },
    /// `1`: leave a namespace.
    Disconnect {
        /// The namespace, without a query string.
        namespace: String,
    },
    /// `2` and `5`: something happened.
    Event {
        /// The namespace, without a query string.
        namespace: String,
        /// By which the ack is to be sent, where one is wanted.
        id: Option<u64>,
        /// A JSON array whose first element is the event's name: a string that is not reserved, or a number.
        args: String,
        /// What the placeholders in `args` stand for.
        attachments: Vec<Vec<u8>>,
    },
    /// `3` and `6`: the answer to an event of ours.
    Ack {
        /// The namespace, without a query string.
        namespace: String,
        /// Which event it answers.
        id: u64,
        /// A JSON array.
        args: String,
        /// What the placeholders in `args` stand for.
        attachments: Vec<Vec<u8>>,
    },
}

/// Why a message is not a Socket.IO packet. The session that sent it is to be closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Malformed {
    /// It does not begin with the digit of a packet that a browser may send.
    #[error("the packet is of no known type")]
    UnknownType,
    /// The number of attachments is not a number followed by `-`.
    #[error("the number of attachments is not a number")]
    BadAttachments,
    /// More than [`MAX_ATTACHMENTS`] are announced.
    #[error("more than {MAX_ATTACHMENTS} attachments are announced")]
    TooManyAttachments,
    /// A placeholder names no attachment, or an attachment has no placeholder.
    #[error("placeholders and attachments do not fit")]
    BadPlaceholder,
    /// The id has too many digits, or an ack has none.
    #[error("the ack id is missing or too large")]
    BadId,
    /// What follows is not JSON, or not of the shape that the packet's type has.
    #[error("the arguments are not JSON of the right shape")]
    BadArguments,
    /// The event's name is one that Socket.IO keeps for itself.
    #[error("the event's name is reserved")]
    ReservedEvent,
    /// A text came where an attachment was awaited.
    #[error("a text came where an attachment was awaited")]
    AttachmentAwaited,
    /// A binary message came where none was awaited.
    #[error("a binary message came where none was awaited")]
    UnexpectedAttachment,
}

// === impl Malformed ===

impl Malformed {
    /// A short name for counters.
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
    /// The namespace it is for.
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
