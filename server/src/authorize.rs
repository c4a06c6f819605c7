//! Authorizers: who may join a room, and who may publish over HTTP.
//!
//! A namespace has a chain of authorizers for joins. The first one that recognises a credential decides. An authorizer
//! that has to ask somewhere replies later, through the shard's inbox ([`Outcome::Pending`]).

use crate::clock::now_ms;
use crate::history::ReplyTo;
use crate::outcome::Outcome;
use nodevent_protocol::key::{self, Secret};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Decides whether a connection may join a room.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Decides now, or replies to `request.reply_to` later.
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict>;
}

/// A join to decide about.
#[derive(Debug)]
pub struct JoinRequest<'a> {
    /// The room's name.
    pub room: &'a str,
    /// The room key or token that the client sent.
    pub credential: Option<&'a Value>,
    /// Where a later reply goes. `None`: the caller cannot wait, and takes [`Outcome::Pending`] for a rejection.
    pub reply_to: Option<ReplyTo>,
}

/// A decision about a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The connection may join.
    Admit,
    /// It may not. The text goes to the client.
    Reject(&'static str),
    /// This authorizer does not recognise the credential: the next one decides.
    Pass,
}

/// The authorizers of a namespace, in order.
#[derive(Debug)]
pub struct Authorizers {
    chain: Vec<Box<dyn Authorizer>>,
}

/// Admits everything: the rooms of an open namespace.
#[derive(Debug)]
pub struct OpenRooms;

/// Verifies room keys.
#[derive(Debug)]
pub struct RoomKeys {
    secrets: Vec<Secret>,
    /// The longest time from now at which a key may still expire.
    max_ttl: Option<Duration>,
}

/// Decides who may publish over HTTP.
#[derive(Debug)]
pub struct PublishAuthorizer {
    /// What a publisher has to send. `None`: it has to run on this machine.
    key: Option<Secret>,
}

/// A decision about a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishVerdict {
    /// It may publish.
    Admit,
    /// It sent no key, or a wrong one.
    WrongKey,
    /// No key is configured, and it does not run on this machine.
    NotLocal,
}

// === impl Authorizers ===

impl Authorizers {
    /// The authorizers of a namespace with these secrets: room keys, or open rooms if there are none.
    pub fn new(secrets: Vec<Secret>, max_ttl: Option<Duration>) -> Self {
        match secrets.is_empty() {
            true => Self::from(vec![Box::new(OpenRooms) as Box<dyn Authorizer>]),
            false => Self::from(vec![Box::new(RoomKeys { secrets, max_ttl }) as Box<dyn Authorizer>]),
        }
    }

    /// Asks the authorizers in order. A credential that no authorizer recognises is rejected.
    pub fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Result<(), &'static str>> {
        for authorizer in &self.chain {
            match authorizer.authorize(request) {
                Outcome::Ready(Verdict::Pass) => {}
                Outcome::Ready(Verdict::Admit) => return Outcome::Ready(Ok(())),
                Outcome::Ready(Verdict::Reject(text)) => return Outcome::Ready(Err(text)),
                Outcome::Pending => return Outcome::Pending,
                Outcome::Overloaded => return Outcome::Overloaded,
            }
        }
        Outcome::Ready(Err(key::Refusal::BadKey.as_str()))
    }
}

impl From<Vec<Box<dyn Authorizer>>> for Authorizers {
    fn from(chain: Vec<Box<dyn Authorizer>>) -> Self {
        Self { chain }
    }
}

// === impl OpenRooms ===

impl Authorizer for OpenRooms {
    fn authorize(&self, _request: &JoinRequest<'_>) -> Outcome<Verdict> {
        Outcome::Ready(Verdict::Admit)
    }
}

// === impl RoomKeys ===

impl Authorizer for RoomKeys {
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
        let max_ttl = self.max_ttl.map(|max_ttl| max_ttl.as_millis() as u64);
        let verified = key::verify_value(request.room, request.credential, &self.secrets, now_ms(), max_ttl);
        Outcome::Ready(match verified {
            Ok(_) => Verdict::Admit,
            Err(refusal) => Verdict::Reject(refusal.as_str()),
        })
    }
}

// === impl PublishAuthorizer ===

impl PublishAuthorizer {
    /// Requires this key, or the local machine.
    pub fn new(key: Option<Secret>) -> Self {
        Self { key }
    }

    /// Decides by the key that a publisher sent, or by where it runs.
    pub fn authorize(&self, key: Option<&[u8]>, is_local: bool) -> PublishVerdict {
        match (&self.key, key) {
            (None, _) if is_local => PublishVerdict::Admit,
            (None, _) => PublishVerdict::NotLocal,
            (Some(expected), Some(key)) if constant_time_eq(expected.as_bytes(), key) => PublishVerdict::Admit,
            (Some(_), _) => PublishVerdict::WrongKey,
        }
    }
}

/// Compares two keys in a time that reveals neither where they differ nor how long the right one is.
fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one).ct_eq(&Sha256::digest(other)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn authorize(authorizers: &Authorizers, credential: Option<&Value>) -> Result<(), &'static str> {
        match authorizers.authorize(&JoinRequest { room: "r", credential, reply_to: None }) {
            Outcome::Ready(result) => result,
            other => panic!("not decided: {other:?}"),
        }
    }

    #[test]
    fn without_a_secret_any_key_or_none_opens_a_room() {
        // N-35
        let open = Authorizers::new(vec![], None);
        assert!(authorize(&open, None).is_ok());
        assert!(authorize(&open, Some(&"rubbish".into())).is_ok());
    }

    #[test]
    fn with_two_valid_secrets_a_key_of_either_opens_the_room() {
        let both = Authorizers::new(vec![secret("new"), secret("old")], None);
        let key = key::sign("r", 4_102_444_800_000, &secret("old")).unwrap();
        assert!(authorize(&both, Some(&key.into())).is_ok());
        let key = key::sign("r", 4_102_444_800_000, &secret("other")).unwrap();
        assert_eq!(authorize(&both, Some(&key.into())), Err("Bad key"));
    }

    #[test]
    fn a_key_beyond_the_maximum_lifetime_is_rejected() {
        let short = Authorizers::new(vec![secret("s")], Some(Duration::from_secs(60)));
        let key = key::sign("r", 4_102_444_800_000, &secret("s")).unwrap();
        assert_eq!(authorize(&short, Some(&key.into())), Err("Bad time"));
    }

    /// Recognises one text, and leaves all others to the next authorizer.
    #[derive(Debug)]
    struct Only(&'static str, Verdict);

    impl Authorizer for Only {
        fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
            let is_known = request.credential.is_some_and(|credential| credential == self.0);
            Outcome::Ready(if is_known { self.1 } else { Verdict::Pass })
        }
    }

    #[test]
    fn the_first_authorizer_that_recognises_a_credential_decides() {
        let chain: Vec<Box<dyn Authorizer>> = vec![
            Box::new(Only("a", Verdict::Reject("not a"))),
            Box::new(Only("a", Verdict::Admit)),
            Box::new(Only("b", Verdict::Admit)),
        ];
        let authorizers = Authorizers::from(chain);
        assert_eq!(authorize(&authorizers, Some(&"a".into())), Err("not a"));
        assert_eq!(authorize(&authorizers, Some(&"b".into())), Ok(()));
        assert_eq!(authorize(&authorizers, Some(&"c".into())), Err("Bad key"), "no authorizer recognises it");
    }

    #[test]
    fn without_a_publish_key_only_this_machine_may_publish() {
        let open = PublishAuthorizer::new(None);
        assert_eq!(open.authorize(None, true), PublishVerdict::Admit);
        assert_eq!(open.authorize(Some(b"guess"), false), PublishVerdict::NotLocal);
    }

    #[test]
    fn with_a_publish_key_nothing_else_admits_a_publisher() {
        let keyed = PublishAuthorizer::new(Some(secret("54321")));
        assert_eq!(keyed.authorize(Some(b"54321"), false), PublishVerdict::Admit);
        assert_eq!(keyed.authorize(Some(b"5432"), true), PublishVerdict::WrongKey);
        assert_eq!(keyed.authorize(None, true), PublishVerdict::WrongKey);
    }
}
