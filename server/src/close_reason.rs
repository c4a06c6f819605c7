//! Why a connection ended. A value, not an error: every connection ends, and the operator may ask why.

use nodevent_protocol::websocket::Violation;

/// Why a connection ended; its name is the label in metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The browser went away without a word, or its connection broke.
    Lost,
    /// The browser said goodbye.
    Closed,
    /// A pong did not come in time.
    PingTimeout,
    /// No namespace was connected in time.
    ConnectTimeout,
    /// A WebSocket frame that RFC 6455 forbids, or a message longer than the limit.
    Violation(Violation),
    /// A packet that is none, or is not allowed now.
    Malformed,
    /// Two polls, or two posts, at a time on one session.
    Overlap,
    /// A poll was given up by the browser.
    PollAborted,
    /// A post broke off, and what it carried is lost.
    PostAborted,
    /// The body of a post did not arrive in time.
    PostTimeout,
    /// The outbox reached its bound: the connection reads more slowly than its rooms speak.
    OutboxFull,
    /// Nothing could be written for the write-stall time.
    WriteStalled,
    /// More packets a second than allowed.
    PacketRate,
    /// The server stops.
    Draining,
    /// More joins wait for the engine than may: it comes back, and asks again.
    EngineBusy,
}

// === impl CloseReason ===

impl CloseReason {
    /// All reasons that have a fixed name, for metrics that start at zero.
    pub const NAMES: [&'static str; 16] = [
        "lost",
        "closed",
        "ping_timeout",
        "connect_timeout",
        "violation",
        "malformed",
        "overlap",
        "poll_aborted",
        "outbox_full",
        "write_stalled",
        "packet_rate",
        "draining",
        "too_big",
        "post_aborted",
        "post_timeout",
        "engine_busy",
    ];

    /// The label in metrics and logs.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The place of [`CloseReason::name`] in [`CloseReason::NAMES`].
    pub fn index(self) -> usize {
        match self {
            Self::Lost => 0,
            Self::Closed => 1,
            Self::PingTimeout => 2,
            Self::ConnectTimeout => 3,
            Self::Violation(Violation::TooBig { .. }) => 12,
            Self::Violation(_) => 4,
            Self::Malformed => 5,
            Self::Overlap => 6,
            Self::PollAborted => 7,
            Self::OutboxFull => 8,
            Self::WriteStalled => 9,
            Self::PacketRate => 10,
            Self::Draining => 11,
            Self::PostAborted => 13,
            Self::PostTimeout => 14,
            Self::EngineBusy => 15,
        }
    }

    /// More than the name, where there is more to say. Nothing in it comes from the browser.
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::Violation(Violation::TooBig { .. }) => None,
            Self::Violation(violation) => Some(violation.name()),
            _ => None,
        }
    }

    /// What a WebSocket is told: a close code of RFC 6455 section 7.4.1 and a reason a developer can read.
    /// `None`: nothing can or need be said any more.
    pub fn close_frame(self) -> Option<(Option<u16>, &'static str)> {
        let (code, text) = match self {
            Self::Lost | Self::PollAborted | Self::PostAborted | Self::OutboxFull | Self::WriteStalled => {
                return None;
            }
            Self::Closed => (1000, ""),
            Self::Draining => (1001, "server stops"),
            Self::Violation(violation) => (violation.close_code(), violation.name()),
            Self::PingTimeout => (1008, "ping timeout"),
            Self::ConnectTimeout => (1008, "no namespace connected in time"),
            Self::Malformed => (1008, "malformed packet"),
            Self::Overlap => (1008, "overlapping requests"),
            Self::PacketRate => (1008, "too many packets"),
            Self::PostTimeout => (1008, "the body did not arrive in time"),
            Self::EngineBusy => (1013, "too many joins wait; come back"),
        };
        Some((Some(code), text))
    }

    /// Whether somebody has to look at it: it tells of a hostile or broken peer, or of a bound that was reached.
    pub fn is_remarkable(self) -> bool {
        !matches!(
            self,
            Self::Lost | Self::Closed | Self::Draining | Self::PollAborted | Self::PostAborted | Self::PingTimeout
        )
    }
}
