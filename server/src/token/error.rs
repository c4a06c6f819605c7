//! Why a token, or a connection without one, is rejected: the texts for clients, and the labels of the metric.
//!
//! No error contains a part of the token.

use std::fmt;

/// A reason to reject a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenError {
    /// The namespace requires a token, and the client sent none.
    Missing,
    /// The namespace has no `token` in its configuration.
    NotConfigured,
    /// Longer than [`super::MAX_TOKEN_BYTES`].
    TooLong,
    /// Not three parts of base64url with JSON objects in the first two, or with a header that is not supported.
    Malformed,
    /// Its header or claims are nested deeper than [`super::MAX_DEPTH`].
    TooDeep,
    /// `alg: none`.
    Unsigned,
    /// An `alg` that the server does not know.
    UnknownAlgorithm,
    /// An `alg` that the configuration, or the key that `kid` selects, does not allow.
    AlgorithmNotAllowed,
    /// All keys have an id, and the token names none.
    MissingKeyId,
    /// `kid` is not a text of at most [`super::MAX_KEY_ID_BYTES`] bytes, or is a path.
    BadKeyId,
    /// No key has the id in `kid`.
    UnknownKeyId,
    /// The key or secret was valid `until` a time that has passed.
    KeyEnded,
    /// No key or secret of the configuration has signed it.
    BadSignature,
    /// It has no `exp`.
    MissingExpiry,
    /// `exp` is not a time in seconds.
    BadExpiry,
    /// `exp` has passed.
    Expired,
    /// `nbf` is not a time in seconds.
    BadNotBefore,
    /// `nbf` has not come.
    NotYetValid,
    /// `iat` is not a time in seconds.
    BadIssuedAt,
    /// `iat` has not come.
    IssuedInFuture,
    /// It is valid for longer than `max_lifetime`.
    LifetimeTooLong,
    /// `aud` names none of the configured audiences, is missing although some are configured, or is present although
    /// none are.
    WrongAudience,
    /// `iss` is not one of the configured issuers.
    WrongIssuer,
    /// `sub` is missing.
    MissingUser,
    /// `sub` is not a text of 1 to [`super::MAX_USER_BYTES`] bytes without control characters.
    BadUser,
    /// `rooms` is not a list of names of rooms.
    BadRooms,
    /// `info` is longer than [`super::MAX_INFO_BYTES`].
    InfoTooLong,
    /// `room` is not the name of a room.
    BadRoom,
    /// `ns` names another namespace, or is not text.
    WrongNamespace,
    /// It has `room`, so it opens this room and identifies no user.
    RoomKey,
    /// It has no `room`, so it does not open one.
    NotRoomKey,
    /// `room` is another room.
    WrongRoom,
    /// `sub` is another user than that of the connection.
    WrongUser,
    /// It was issued before a revocation of its user or room, or does not say when.
    Revoked,
    /// The application said no.
    ApplicationRejected,
    /// The application did not decide: it did not respond in time, or not as it should, or too many requests wait.
    ApplicationUnavailable,
}

/// The labels of [`TokenError::TEXTS`].
const fn names() -> [&'static str; TokenError::COUNT] {
    let mut names = [""; TokenError::COUNT];
    let mut index = 0;
    while index < names.len() {
        names[index] = TokenError::TEXTS[index].0;
        index += 1;
    }
    names
}

// === impl TokenError ===

impl TokenError {
    /// The number of errors.
    const COUNT: usize = Self::ApplicationUnavailable as usize + 1;

    /// The label in metrics and the text for clients of each, in the order of the variants.
    pub const TEXTS: [(&'static str, &'static str); Self::COUNT] = [
        ("missing", "Must provide token"),
        ("not_configured", "Tokens are not configured"),
        ("too_long", "Token too long"),
        ("malformed", "Malformed token"),
        ("too_deep", "Token nested too deeply"),
        ("unsigned", "Unsigned token"),
        ("unknown_algorithm", "Unknown token algorithm"),
        ("algorithm_not_allowed", "Token algorithm not allowed"),
        ("missing_kid", "Token without kid"),
        ("bad_kid", "Bad token kid"),
        ("unknown_kid", "Unknown token kid"),
        ("key_ended", "Token key has ended"),
        ("bad_signature", "Bad token signature"),
        ("missing_exp", "Token without exp"),
        ("bad_exp", "Bad token exp"),
        ("expired", "Token has expired"),
        ("bad_nbf", "Bad token nbf"),
        ("not_yet_valid", "Token not valid yet"),
        ("bad_iat", "Bad token iat"),
        ("issued_in_future", "Token issued in the future"),
        ("lifetime_too_long", "Token lifetime too long"),
        ("wrong_audience", "Token for another audience"),
        ("wrong_issuer", "Token of another issuer"),
        ("missing_sub", "Token without sub"),
        ("bad_sub", "Bad token sub"),
        ("bad_rooms", "Bad token rooms"),
        ("info_too_long", "Token info too long"),
        ("bad_room", "Bad token room"),
        ("wrong_namespace", "Token for another namespace"),
        ("room_key", "Token is a room key"),
        ("not_room_key", "Token is not a room key"),
        ("wrong_room", "Token for another room"),
        ("wrong_user", "Token of another user"),
        ("revoked", "Token has been revoked"),
        ("application_rejected", "Rejected by the application"),
        ("application_unavailable", "Identity cannot be checked now"),
    ];

    /// Every label, so that metrics can start at zero.
    pub const NAMES: [&'static str; Self::COUNT] = names();

    /// The index of its label in [`TokenError::NAMES`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The label in metrics and logs.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The text for the client.
    pub fn as_str(self) -> &'static str {
        Self::TEXTS[self.index()].1
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for TokenError {}
