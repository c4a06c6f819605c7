//! Which stream a subscription is for, and whether the client may subscribe to it.
//!
//! Names that the application has signed are verified here, without a request to it.

use crate::config::action_cable::ActionCable;
use crate::history::Since;
use crate::protocol::JoinError;
use nodevent_protocol::action_cable::identifier::{self, Requested};
use nodevent_protocol::action_cable::signed_name::{self, SignedNameError};
use nodevent_protocol::key::{Refusal, Secret};
use nodevent_protocol::room;

/// The streams of a namespace.
#[derive(Debug)]
pub(super) struct Streams {
    keys: Vec<Secret>,
    has_public: bool,
    /// The longest name. Bytes.
    max_name: usize,
}

/// A stream to which the client may subscribe.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) stream: String,
    /// Whether its messages are streams of Turbo.
    pub(super) is_turbo: bool,
    /// What the page has, if its tag says so.
    pub(super) since: Since,
    /// The id of the page, if its tag has it.
    pub(super) page: Option<Box<str>>,
}

// === impl Streams ===

impl Streams {
    pub(super) fn new(config: &ActionCable, max_name: usize) -> Self {
        Self { keys: config.keys.clone(), has_public: config.has_public_streams, max_name }
    }

    /// Finds the stream that the text of an identifier names.
    ///
    /// # Errors
    /// Why the subscription is rejected.
    pub(super) fn find(&self, identifier: &str, now_ms: u64) -> Result<Found, JoinError> {
        match identifier::parse(identifier).ok_or(JoinError::BadRoom)? {
            Requested::Signed { token, is_turbo, since, page } => {
                let found = self.verify(&token, now_ms)?;
                let page = page.map(|page| page.into_owned().into());
                Ok(Found { is_turbo, since: Since::parse(since.as_deref()), page, ..found })
            }
            Requested::Public(stream) if self.has_public => self.check(stream.into_owned()),
            Requested::Public(_) => Err(JoinError::Unauthorized("Stream is not public")),
            // With an application that has channels it is asked.
            Requested::Channel => Err(JoinError::Unauthorized("Channel is not served")),
        }
    }

    /// Finds the stream whose name the application has signed.
    ///
    /// # Errors
    /// As [`Streams::find`].
    pub(super) fn verify(&self, token: &str, now_ms: u64) -> Result<Found, JoinError> {
        let (stream, _) = signed_name::verify(token, &self.keys, now_ms).map_err(reason)?;
        self.check(stream)
    }

    /// A stream that the application has named, if its name is one of a room.
    ///
    /// # Errors
    /// [`JoinError::BadRoom`].
    pub(super) fn check(&self, stream: String) -> Result<Found, JoinError> {
        room::check(&stream, self.max_name).map_err(|_| JoinError::BadRoom)?;
        Ok(Found { stream, is_turbo: false, since: Since::FirstJoin, page: None })
    }
}

/// Why a name is rejected, for the log. A forged one counts as a wrong key.
fn reason(error: SignedNameError) -> JoinError {
    JoinError::Unauthorized(match error {
        SignedNameError::BadSignature => return JoinError::WrongKey(Refusal::BadKey.as_str()),
        SignedNameError::Expired => Refusal::TimeHasPassed.as_str(),
        SignedNameError::OtherPurpose => "Stream name is signed for another purpose",
        _ => "Malformed stream name",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn streams(has_public_streams: bool) -> Streams {
        let keys = ["old", "new"].map(|key| Secret::new(key).unwrap()).to_vec();
        Streams::new(&ActionCable { keys, has_public_streams, ..ActionCable::default() }, 20)
    }

    fn turbo(token: &str) -> String {
        json!({"channel": "Turbo::StreamsChannel", "signed_stream_name": token}).to_string()
    }

    fn sign(name: &str) -> String {
        signed_name::sign(name, &Secret::new("new").unwrap())
    }

    #[test]
    fn a_signed_name_is_a_stream_and_a_name_without_a_signature_only_if_streams_are_public() {
        let found = |stream: &str, is_turbo| Found {
            stream: stream.to_owned(),
            is_turbo,
            since: Since::FirstJoin,
            page: None,
        };
        assert_eq!(streams(false).find(&turbo(&sign("posts")), 0), Ok(found("posts", true)));
        let public = json!({"channel": "$pubsub", "stream_name": "chat"}).to_string();
        assert_eq!(streams(true).find(&public, 0), Ok(found("chat", false)));
        assert!(streams(false).find(&public, 0).is_err());
    }

    #[test]
    fn no_name_reaches_the_topics_of_users_and_of_all_connections() {
        for name in ["", "\u{1}all", "\u{1}user:1", &"x".repeat(21)] {
            assert_eq!(streams(true).find(&turbo(&sign(name)), 0), Err(JoinError::BadRoom), "{name:?}");
        }
        let public = json!({"channel": "$pubsub", "stream_name": "\u{1}all"}).to_string();
        assert_eq!(streams(true).find(&public, 0), Err(JoinError::BadRoom));
    }

    #[test]
    fn a_forged_name_counts_as_a_wrong_key() {
        let forged = signed_name::sign("posts", &Secret::new("other").unwrap());
        assert_eq!(streams(true).find(&turbo(&forged), 0), Err(JoinError::WrongKey("Bad key")));
    }
}
