//! Reasons for the end of a connection: values, not errors, because every connection ends.

use nodevent_protocol::websocket::Violation;

/// The content of a close frame: a code, or none if the other side sent none, and a text. `None`: no close frame is sent.
pub type CloseFrame<'a> = Option<(Option<u16>, &'a str)>;

/// The reason for the end of a connection; its name is the label in metrics and in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client disappeared without closing, or its connection broke.
    ConnectionLost,
    /// The client closed the connection.
    ClientClosed,
    /// A pong did not arrive in time.
    PingTimeout,
    /// No namespace was connected in time.
    ConnectTimeout,
    /// A WebSocket frame that RFC 6455 forbids, or a message longer than the limit.
    Violation(Violation),
    /// A packet that is invalid, or not allowed in this state.
    Malformed,
    /// Two polls, or two posts, at the same time on one session.
    ConcurrentRequest,
    /// The client aborted a poll.
    PollAborted,
    /// A post ended before its body did, so its packets are lost.
    PostAborted,
    /// The body of a post did not arrive in time.
    PostTimeout,
    /// The attachments of a packet did not arrive in time.
    MessageTimeout,
    /// The send buffer is full: the client reads more slowly than its rooms publish.
    SendBufferFull,
    /// What waits for all clients, and messages that have not arrived completely, exceed their budget, and its buffers are
    /// among the largest.
    SendBuffersFull,
    /// Nothing could be written for `limits: write_timeout`.
    WriteStalled,
    /// More packets per second than allowed.
    PacketRate,
    /// More bytes per second than allowed.
    ByteRate,
    /// It had joined no room, and newer connections of its address, or of all addresses, took its place.
    Displaced,
    /// More wrong keys than allowed, from this connection and from its address.
    WrongKeys,
    /// The server is shutting down.
    Draining,
    /// Too many joins are waiting for the engine; the client reconnects and joins again.
    TooManyPendingJoins,
    /// Its token has expired, and no new one arrived in time.
    TokenExpired,
    /// Its user was revoked.
    Revoked,
    /// Its token is missing or was rejected, and its protocol ends such connections.
    Unauthorized,
}

// === impl CloseReason ===

impl CloseReason {
    /// Every name, so that metrics can start at zero.
    pub const NAMES: [&'static str; 24] = [
        "lost",
        "closed",
        "ping_timeout",
        "connect_timeout",
        "violation",
        "malformed",
        "overlap",
        "poll_aborted",
        "send_buffer_full",
        "write_stalled",
        "packet_rate",
        "draining",
        "too_big",
        "post_aborted",
        "post_timeout",
        "too_many_pending_joins",
        "byte_rate",
        "displaced",
        "send_buffers_full",
        "wrong_keys",
        "token_expired",
        "message_timeout",
        "revoked",
        "unauthorized",
    ];

    /// The meaning of each of [`CloseReason::NAMES`], for the reference.
    pub const MEANINGS: [&'static str; Self::NAMES.len()] = [
        "The client disappeared without closing, or its connection broke.",
        "The client closed the connection.",
        "A pong did not arrive within `ping: timeout`. Many at once: a network or a proxy failed.",
        "The client did not enter a namespace within `limits: connect_timeout`.",
        "The client broke the WebSocket protocol. The log has the detail.",
        "The client sent an invalid packet, or one that is not allowed in this state.",
        "Two polls or two posts arrived at the same time on one session.",
        "The client aborted a poll.",
        "The client reads too slowly: `limits: send_buffer` is full. It reconnects and recovers.",
        "Nothing could be written for `limits: write_timeout`.",
        "The client sent more than `limits: packets_per_second`.",
        "The server was shutting down.",
        "The client sent a message larger than `limits: max_message_size`.",
        "A post ended before its body did.",
        "The body of a post did not arrive within `limits: request_timeout`.",
        "Too many joins were waiting for the engine. The client reconnects and joins again.",
        "The client sent more than `limits: bytes_per_second`.",
        "The connection had joined no room, and `limits: max_roomless_per_address` was reached. Many: a client opens connections \
         and leaves them. If the server is behind a proxy, set `trusted_proxies`.",
        "What waited for all clients, and messages that had not arrived completely, exceeded `limits: send_buffers_total`, and \
         this connection was among those with the most. The client reconnects and recovers.",
        "The client sent more than 20 wrong keys, and its address more than `limits: wrong_keys_per_second_per_address`.",
        "The token of the connection had expired, and no new one arrived within `token: grace`. Many: pages cannot get new tokens.",
        "The client announced attachments that did not arrive within `limits: request_timeout`.",
        "The user of the connection was revoked, by the API or `nodevent revoke`.",
        "A client of Action Cable had no token, or one that was rejected, or the application did not admit it.",
    ];

    /// The label in metrics and logs.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The index of [`CloseReason::name`] in [`CloseReason::NAMES`].
    pub fn index(self) -> usize {
        match self {
            Self::ConnectionLost => 0,
            Self::ClientClosed => 1,
            Self::PingTimeout => 2,
            Self::ConnectTimeout => 3,
            Self::Violation(Violation::TooBig { .. }) => 12,
            Self::Violation(_) => 4,
            Self::Malformed => 5,
            Self::ConcurrentRequest => 6,
            Self::PollAborted => 7,
            Self::SendBufferFull => 8,
            Self::WriteStalled => 9,
            Self::PacketRate => 10,
            Self::Draining => 11,
            Self::PostAborted => 13,
            Self::PostTimeout => 14,
            Self::TooManyPendingJoins => 15,
            Self::ByteRate => 16,
            Self::Displaced => 17,
            Self::SendBuffersFull => 18,
            Self::WrongKeys => 19,
            Self::TokenExpired => 20,
            Self::MessageTimeout => 21,
            Self::Revoked => 22,
            Self::Unauthorized => 23,
        }
    }

    /// Detail beyond the name, if there is any. Contains nothing that the client sent.
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::Violation(Violation::TooBig { .. }) => None,
            Self::Violation(violation) => Some(violation.name()),
            _ => None,
        }
    }

    /// The close frame for a WebSocket: a close code of RFC 6455 section 7.4.1 and a reason for developers.
    /// `None` if no close frame can be sent.
    pub fn close_frame(self) -> CloseFrame<'static> {
        let (code, text) = match self {
            Self::ConnectionLost
            | Self::PollAborted
            | Self::PostAborted
            | Self::SendBufferFull
            | Self::SendBuffersFull
            | Self::WriteStalled => {
                return None;
            }
            Self::ClientClosed => (1000, ""),
            Self::Draining => (1001, "server shutting down"),
            Self::Violation(violation) => (violation.close_code(), violation.name()),
            Self::PingTimeout => (1008, "ping timeout"),
            Self::ConnectTimeout => (1008, "no namespace or room joined in time"),
            Self::Malformed => (1008, "malformed packet"),
            Self::ConcurrentRequest => (1008, "overlapping requests"),
            Self::PacketRate => (1008, "too many packets"),
            Self::ByteRate => (1008, "too many bytes"),
            Self::WrongKeys => (1008, "too many wrong keys"),
            Self::TokenExpired => (1008, "token expired"),
            Self::Revoked => (1008, "revoked"),
            Self::Unauthorized => (1008, "unauthorized"),
            Self::Displaced => (1013, "too many connections without a room; reconnect later"),
            Self::PostTimeout => (1008, "request body timeout"),
            Self::MessageTimeout => (1008, "attachments timeout"),
            Self::TooManyPendingJoins => (1013, "too many pending joins; reconnect later"),
        };
        Some((Some(code), text))
    }

    /// Whether the operator should see it: it shows a hostile or broken client, or a limit that was reached.
    pub fn is_abnormal(self) -> bool {
        !matches!(
            self,
            Self::ConnectionLost
                | Self::ClientClosed
                | Self::Draining
                | Self::PollAborted
                | Self::PostAborted
                | Self::PingTimeout
                | Self::TokenExpired
                | Self::Revoked
                | Self::Unauthorized
        )
    }
}
