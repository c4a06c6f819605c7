//! Violations of RFC 6455, and the close code for each.

use thiserror::Error;

/// A violation by a client. The connection must be closed with [`Violation::close_code`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit is set that no negotiated extension allows there.
    #[error("a reserved bit is set")]
    ReservedBits,
    /// The opcode is reserved.
    #[error("the opcode {0} is reserved")]
    UnknownOpcode(u8),
    /// A control frame without FIN.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A frame of a browser must be masked.
    #[error("the frame is not masked")]
    Unmasked,
    /// A control frame carries at most 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// The length could be encoded in fewer bytes, or has its highest bit set.
    #[error("payload length is not minimally encoded")]
    BadLength,
    /// A continuation without a message.
    #[error("a continuation has nothing to continue")]
    UnexpectedContinuation,
    /// A new message before the end of the previous one.
    #[error("a message begins within another")]
    ExpectedContinuation,
    /// A close frame with one byte, or with a code that must not be sent.
    #[error("the close frame has no valid code")]
    BadCloseCode,
    /// The reason of a close frame is not UTF-8.
    #[error("the reason of the close frame is not UTF-8")]
    BadCloseReason,
    /// A text message is not UTF-8.
    #[error("a text message is not UTF-8")]
    BadText,
    /// A compressed message cannot be inflated.
    #[error("a compressed message is not valid")]
    BadDeflate,
    /// The length of a message exceeds the limit.
    #[error("a message is longer than {limit} bytes")]
    TooBig {
        /// The limit in bytes.
        limit: usize,
    },
}

// === impl Violation ===

impl Violation {
    /// Returns the code of the close frame to send.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            Self::BadText | Self::BadCloseReason | Self::BadDeflate => 1007,
            Self::TooBig { .. } => 1009,
            _ => 1002,
        }
    }

    /// Returns a short name for counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved_bits",
            Self::UnknownOpcode(_) => "unknown_opcode",
            Self::FragmentedControl => "fragmented_control",
            Self::Unmasked => "unmasked",
            Self::LongControl => "long_control",
            Self::BadLength => "bad_length",
            Self::UnexpectedContinuation => "unexpected_continuation",
            Self::ExpectedContinuation => "expected_continuation",
            Self::BadCloseCode => "bad_close_code",
            Self::BadCloseReason => "bad_close_reason",
            Self::BadText => "bad_text",
            Self::BadDeflate => "bad_deflate",
            Self::TooBig { .. } => "too_big",
        }
    }
}
