//! Authorizers: who may join a room, and who may publish over HTTP.
//!
//! A namespace has a chain of authorizers for joins. The first one that recognises a credential decides. An authorizer
//! that has to ask somewhere replies later, through the shard's inbox ([`Outcome::Pending`]).

use crate::capability;
use crate::client::Client;
use crate::clock::now_ms;
use crate::history::ReplyTo;
use crate::identity::Identity;
use crate::outcome::Outcome;
use crate::protocol::JoinError;
use crate::publish_key::PublishKey;
use crate::revocation::RevocationList;
use crate::token::{TokenError, TokenVerifier};
use arc_swap::ArcSwap;
use nodevent_protocol::key::{self, Refusal, Secret};
use nodevent_protocol::topic::Topic;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::{Arc, OnceLock};
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
    /// Who the connection is, unless its identity has expired.
    pub identity: Option<&'a Identity>,
    /// Whose connection it is, as limits see it. `None`: it is not a connection.
    pub client: Option<Client>,
    /// The destination of a later reply. `None`: the caller cannot wait, and treats [`Outcome::Pending`] as a rejection.
    pub reply_to: Option<ReplyTo>,
}

/// A decision about a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The connection may join.
    Admit,
    /// It may join, with a credential that is valid until a time. Milliseconds since the Unix epoch.
    AdmitUntil(u64),
    /// It may not.
    Reject(JoinError),
    /// This authorizer does not recognise the credential: the next one decides.
    Pass,
}

/// The authorizers of a namespace, in order.
#[derive(Debug)]
pub struct Authorizers {
    chain: Vec<Box<dyn Authorizer>>,
    /// Those of room keys, whose rules can change. `None`: the namespace has no room keys.
    room_keys: Option<Arc<RoomKeys>>,
}

/// Admits everything: the rooms of an open namespace.
#[derive(Debug)]
pub struct OpenRooms;

/// Verifies room keys.
#[derive(Debug)]
pub struct RoomKeys {
    /// The namespace that bound keys must name.
    namespace: Box<str>,
    rules: ArcSwap<RoomKeyRules>,
}

/// What room keys must fulfil.
#[derive(Debug, Clone)]
pub struct RoomKeyRules {
    /// The secrets of which one has signed them.
    pub secrets: Vec<Secret>,
    /// The longest time from now at which a key may still expire, if it is configured.
    pub max_lifetime: Option<Duration>,
    /// Whether only bound keys are accepted.
    pub requires_bound: bool,
}

/// Admits connections with an identity to every room: the rooms of an open namespace in which every connection has one.
#[derive(Debug)]
pub struct RoomsOfUsers;

/// How the dialects of a namespace join rooms that no client can ask for.
///
/// They send a credential that only this process knows. With a question in it, the application decides about the join.
pub struct DialectJoins {
    credential: String,
    /// Set once, before the first connection. Empty: questions are rejected.
    application: OnceLock<Arc<dyn Authorizer>>,
}

/// Admits what the dialects of a namespace join.
#[derive(Debug)]
pub struct DialectRooms(pub Arc<DialectJoins>);

/// Admits connections to the rooms that their identity lists.
#[derive(Debug)]
pub struct IdentityRooms(Arc<RevocationList>);

/// Rejects users who were revoked from a room.
#[derive(Debug)]
pub struct RevokedMembers(Arc<RevocationList>);

/// Verifies room keys that are tokens.
#[derive(Debug)]
pub struct RoomTokens(pub Arc<TokenVerifier>);

/// Decides who may publish over HTTP.
#[derive(Debug)]
pub struct PublishAuthorizer {
    /// The keys that publishers may send. Empty: only programs on this machine may publish, if the listener allows that.
    keys: ArcSwap<Vec<Arc<PublishKey>>>,
}

/// A decision about a publisher.
#[derive(Debug, Clone)]
pub enum PublishVerdict {
    /// It may publish.
    Admit(Publisher),
    /// It sent no key, or a wrong one.
    WrongKey,
    /// No key is configured, and it may not publish without one.
    NotLocal,
}

/// A publisher that was admitted.
#[derive(Debug, Clone)]
pub enum Publisher {
    /// It sent this key, which may be limited to rooms and users.
    Key(Arc<PublishKey>),
    /// It needs no key.
    Keyless,
}

// === impl Authorizers ===

impl Authorizers {
    /// The authorizers of a namespace: room keys, or open rooms if it has no secrets.
    pub fn new(
        namespace: &str,
        secrets: Vec<Secret>,
        max_lifetime: Option<Duration>,
        requires_bound: bool,
    ) -> Self {
        if secrets.is_empty() {
            return Self::from(vec![Box::new(OpenRooms) as Box<dyn Authorizer>]);
        }
        let rules = ArcSwap::from_pointee(RoomKeyRules { secrets, max_lifetime, requires_bound });
        let keys = Arc::new(RoomKeys { namespace: namespace.into(), rules });
        let chain = vec![Box::new(Arc::clone(&keys)) as Box<dyn Authorizer>];
        Self { chain, room_keys: Some(keys) }
    }

    /// The secrets of room keys as they are now. `None`: the namespace has no room keys.
    pub fn secrets(&self) -> Option<Vec<Secret>> {
        self.room_keys.as_ref().map(|keys| keys.rules.load().secrets.clone())
    }

    /// Replaces the rules for room keys, for joins from now on. Returns `false` if the namespace has no room keys.
    pub fn set_room_key_rules(&self, rules: RoomKeyRules) -> bool {
        let Some(keys) = self.room_keys.as_ref().filter(|_| !rules.secrets.is_empty()) else { return false };
        keys.rules.store(Arc::new(rules));
        true
    }

    /// Asks the authorizers in order. Returns until when the credential is valid, if it expires: milliseconds since the Unix
    /// epoch. A credential that no authorizer recognises is rejected.
    pub fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Result<Option<u64>, JoinError>> {
        for authorizer in &self.chain {
            match authorizer.authorize(request) {
                Outcome::Ready(Verdict::Pass) => {}
                Outcome::Ready(Verdict::Admit) => return Outcome::Ready(Ok(None)),
                Outcome::Ready(Verdict::AdmitUntil(expires_ms)) => return Outcome::Ready(Ok(Some(expires_ms))),
                Outcome::Ready(Verdict::Reject(error)) => return Outcome::Ready(Err(error)),
                Outcome::Pending => return Outcome::Pending,
                Outcome::Overloaded => return Outcome::Overloaded,
            }
        }
        let is_missing = matches!(request.credential, None | Some(Value::Null));
        Outcome::Ready(Err(of_refusal(if is_missing { Refusal::MustProvideKey } else { Refusal::BadKey })))
    }

    /// Puts the authorizers of identities before the others: rooms that an identity lists, and tokens that are room keys.
    #[must_use]
    pub fn with_identities(
        mut self,
        revocations: &Arc<RevocationList>,
        tokens: Option<&Arc<TokenVerifier>>,
    ) -> Self {
        if let Some(tokens) = tokens {
            self.chain.insert(0, Box::new(RoomTokens(Arc::clone(tokens))));
        }
        self.chain.insert(0, Box::new(IdentityRooms(Arc::clone(revocations))));
        self
    }

    /// Opens every room to connections with an identity, whatever credential they send.
    #[must_use]
    pub fn with_rooms_of_users(mut self) -> Self {
        self.chain.insert(0, Box::new(RoomsOfUsers));
        self
    }

    /// Puts the rooms that a protocol or dialect joins itself before the others.
    #[must_use]
    pub fn with_dialect_rooms(mut self, joins: &Arc<DialectJoins>) -> Self {
        self.chain.insert(0, Box::new(DialectRooms(Arc::clone(joins))));
        self
    }

    /// Rejects users who were revoked from a room, before any other authorizer.
    #[must_use]
    pub fn with_revocations(mut self, revocations: &Arc<RevocationList>) -> Self {
        self.chain.insert(0, Box::new(RevokedMembers(Arc::clone(revocations))));
        self
    }
}

impl From<Vec<Box<dyn Authorizer>>> for Authorizers {
    fn from(chain: Vec<Box<dyn Authorizer>>) -> Self {
        Self { chain, room_keys: None }
    }
}

// === impl OpenRooms ===

impl Authorizer for OpenRooms {
    fn authorize(&self, _request: &JoinRequest<'_>) -> Outcome<Verdict> {
        Outcome::Ready(Verdict::Admit)
    }
}

// === impl DialectJoins ===

impl DialectJoins {
    /// Sets who decides about questions.
    pub fn set_application(&self, application: Arc<dyn Authorizer>) {
        let _ = self.application.set(application);
    }

    /// The credential of a join that the dialect has decided.
    pub fn credential(&self) -> Value {
        Value::from(&*self.credential)
    }

    /// The credential of a join about which the application decides.
    pub fn question(&self, question: Value) -> Value {
        json!({"credential": self.credential, "question": question})
    }

    fn is_own(&self, credential: &Value) -> bool {
        credential.as_str().is_some_and(|text| constant_time_eq(text.as_bytes(), self.credential.as_bytes()))
    }
}

impl Default for DialectJoins {
    fn default() -> Self {
        Self { credential: format!("{:032x}", rand::random::<u128>()), application: OnceLock::new() }
    }
}

impl fmt::Debug for DialectJoins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The credential opens every room of the namespace.
        f.debug_struct("DialectJoins").finish_non_exhaustive()
    }
}

// === impl DialectRooms ===

impl Authorizer for DialectRooms {
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
        let Some(credential) = request.credential else { return Outcome::Ready(Verdict::Pass) };
        if self.0.is_own(credential) {
            return Outcome::Ready(Verdict::Admit);
        }
        match self.0.application.get().filter(|_| self.0.is_own(&credential["credential"])) {
            Some(application) => application.authorize(request),
            None => Outcome::Ready(Verdict::Pass),
        }
    }
}

// === impl IdentityRooms ===

impl Authorizer for IdentityRooms {
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
        let Some(identity) = request.identity.filter(|identity| identity.opens(request.room)) else {
            return Outcome::Ready(Verdict::Pass);
        };
        let is_revoked = self.0.rejects_room(request.room, Some(&identity.user), identity.issued_ms);
        Outcome::Ready(match (is_revoked, request.credential) {
            (false, _) => Verdict::Admit,
            (true, None | Some(Value::Null)) => Verdict::Reject(of_token_error(TokenError::Revoked)),
            (true, Some(_)) => Verdict::Pass,
        })
    }
}

// === impl RoomsOfUsers ===

impl Authorizer for RoomsOfUsers {
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
        Outcome::Ready(if request.identity.is_some() { Verdict::Admit } else { Verdict::Pass })
    }
}

// === impl RevokedMembers ===

impl Authorizer for RevokedMembers {
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
        let is_revoked = request
            .identity
            .is_some_and(|identity| self.0.rejects_member(request.room, &identity.user, identity.issued_ms));
        Outcome::Ready(if is_revoked {
            Verdict::Reject(of_token_error(TokenError::Revoked))
        } else {
            Verdict::Pass
        })
    }
}

// === impl RoomTokens ===

impl Authorizer for RoomTokens {
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
        // A key of the other formats has a colon, which a token never has.
        let token = request.credential.and_then(Value::as_str).filter(|text| !text.contains(':'));
        let Some(token) = token.filter(|text| text.contains('.')) else { return Outcome::Ready(Verdict::Pass) };
        let user = request.identity.map(|identity| &*identity.user);
        Outcome::Ready(match self.0.check_room_key(token, request.room, user, now_ms()) {
            Ok(expires_ms) => Verdict::AdmitUntil(expires_ms),
            Err(error) => Verdict::Reject(of_token_error(error)),
        })
    }
}

// === impl RoomKeys ===

impl Authorizer for Arc<RoomKeys> {
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
        let current = self.rules.load();
        let rules = key::Rules {
            namespace: &self.namespace,
            secrets: &current.secrets,
            max_lifetime_ms: current.max_lifetime.map(|max| max.as_millis() as u64),
            requires_bound: current.requires_bound,
        };
        let verified = key::verify_value(request.room, request.credential, &rules, now_ms());
        Outcome::Ready(match verified {
            Ok(expires_ms) => Verdict::AdmitUntil(expires_ms),
            Err(refusal) => Verdict::Reject(of_refusal(refusal)),
        })
    }
}

// === impl PublishAuthorizer ===

impl PublishAuthorizer {
    /// Requires one of these keys. Without keys, requires a publisher that may publish without one.
    pub fn new(keys: Vec<PublishKey>) -> Self {
        Self { keys: ArcSwap::from_pointee(keys.into_iter().map(Arc::new).collect()) }
    }

    /// Replaces the keys, for requests from now on.
    pub fn set_keys(&self, keys: Vec<PublishKey>) {
        self.keys.store(Arc::new(keys.into_iter().map(Arc::new).collect()));
    }

    /// Decides by the key that a publisher sent, and by whether its request may do without one: `may_be_keyless` if no
    /// key is configured, `is_trusted` in any case.
    pub fn authorize(&self, key: Option<&[u8]>, may_be_keyless: bool, is_trusted: bool) -> PublishVerdict {
        let keys = self.keys.load();
        if is_trusted || keys.is_empty() && may_be_keyless {
            return PublishVerdict::Admit(Publisher::Keyless);
        }
        if keys.is_empty() {
            return PublishVerdict::NotLocal;
        }
        // All keys are compared, so that the time does not reveal which one is similar.
        let is_own = |one: &&Arc<PublishKey>| key.is_some_and(|key| constant_time_eq(one.key.as_bytes(), key));
        let found = keys.iter().filter(is_own).fold(None, |found, one| found.or(Some(one)));
        found.map_or(PublishVerdict::WrongKey, |one| PublishVerdict::Admit(Publisher::Key(Arc::clone(one))))
    }
}

// === impl Publisher ===

impl Publisher {
    /// Whether it may publish to this target.
    pub fn may_publish_to(&self, topic: Topic<'_>) -> bool {
        match self {
            Self::Key(key) => key.allows(topic),
            Self::Keyless => true,
        }
    }

    /// An idempotency key, as engines know it. Those of a publisher with limits are its own, so that it cannot take the key of
    /// another one's publication.
    pub fn idempotency_key(&self, key: &str) -> String {
        match self {
            Self::Key(own) if own.limit.is_some() => format!("{}:{}:{key}", own.id.len(), own.id),
            Self::Key(_) | Self::Keyless => key.to_owned(),
        }
    }

    /// Whether it may publish to some users only, or to none.
    pub fn is_limited_to_users(&self) -> bool {
        match self {
            Self::Key(key) => key.limit.as_ref().is_some_and(|limit| !limit.has_all_users()),
            Self::Keyless => false,
        }
    }

    /// What engines need to know of it.
    pub fn of_engine(&self) -> capability::Publisher<'_> {
        match self {
            Self::Key(key) => capability::Publisher { name: &key.id, is_limited: key.limit.is_some() },
            Self::Keyless => capability::Publisher { name: "", is_limited: false },
        }
    }
}

/// The rejection of a join with such a key.
fn of_refusal(refusal: Refusal) -> JoinError {
    match refusal {
        Refusal::BadKey => JoinError::WrongKey(refusal.as_str()),
        _ => JoinError::Unauthorized(refusal.as_str()),
    }
}

/// The rejection of a join with such a token.
pub fn of_token_error(error: TokenError) -> JoinError {
    match error {
        TokenError::BadSignature => JoinError::WrongKey(error.as_str()),
        _ => JoinError::Unauthorized(error.as_str()),
    }
}

/// Compares two keys in a time that reveals neither where they differ nor how long the right one is.
pub fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one).ct_eq(&Sha256::digest(other)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish_key::{NamePattern, TargetLimit};

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn authorize(authorizers: &Authorizers, credential: Option<&Value>) -> Result<(), &'static str> {
        match authorizers.authorize(&JoinRequest {
            room: "r",
            credential,
            identity: None,
            client: None,
            reply_to: None,
        }) {
            Outcome::Ready(result) => result.map(|_| ()).map_err(JoinError::as_str),
            other => panic!("not decided: {other:?}"),
        }
    }

    #[test]
    fn without_a_secret_any_key_or_none_opens_a_room() {
        // N-35
        let open = Authorizers::new("/a", vec![], None, false);
        assert!(authorize(&open, None).is_ok());
        assert!(authorize(&open, Some(&"rubbish".into())).is_ok());
    }

    #[test]
    fn with_two_valid_secrets_a_key_of_either_opens_the_room() {
        let both = Authorizers::new("/a", vec![secret("new"), secret("old")], None, false);
        let key = key::sign("r", 4_102_444_800_000, &secret("old")).unwrap();
        assert!(authorize(&both, Some(&key.into())).is_ok());
        let key = key::sign("r", 4_102_444_800_000, &secret("other")).unwrap();
        assert_eq!(authorize(&both, Some(&key.into())), Err("Bad key"));
    }

    #[test]
    fn the_expiry_of_a_key_is_that_of_the_permission_and_an_open_room_has_none() {
        let until = |authorizers: &Authorizers, credential: Option<&Value>| match authorizers
            .authorize(&JoinRequest { room: "r", credential, identity: None, client: None, reply_to: None })
        {
            Outcome::Ready(result) => result,
            other => panic!("not decided: {other:?}"),
        };
        let keyed = Authorizers::new("/a", vec![secret("s")], None, false);
        let key = key::sign("r", 4_102_444_800_000, &secret("s")).unwrap();
        assert_eq!(until(&keyed, Some(&key.into())), Ok(Some(4_102_444_800_000)));
        assert_eq!(until(&Authorizers::new("/a", vec![], None, false), None), Ok(None));
    }

    #[test]
    fn a_key_beyond_the_maximum_lifetime_is_rejected() {
        let short = Authorizers::new("/a", vec![secret("s")], Some(Duration::from_secs(60)), false);
        let key = key::sign("r", 4_102_444_800_000, &secret("s")).unwrap();
        assert_eq!(authorize(&short, Some(&key.into())), Err("Lifetime too long"));
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
            Box::new(Only("a", Verdict::Reject(JoinError::Unauthorized("not a")))),
            Box::new(Only("a", Verdict::Admit)),
            Box::new(Only("b", Verdict::Admit)),
        ];
        let authorizers = Authorizers::from(chain);
        assert_eq!(authorize(&authorizers, Some(&"a".into())), Err("not a"));
        assert_eq!(authorize(&authorizers, Some(&"b".into())), Ok(()));
        assert_eq!(authorize(&authorizers, Some(&"c".into())), Err("Bad key"), "no authorizer recognises it");
    }

    #[test]
    fn only_a_dialect_opens_the_rooms_of_its_namespace() {
        // X-04, R-17
        let joins = Arc::<DialectJoins>::default();
        let rooms = Authorizers::from(vec![Box::new(DialectRooms(Arc::clone(&joins))) as Box<dyn Authorizer>]);
        assert!(authorize(&rooms, Some(&joins.credential())).is_ok());
        for credential in [Value::Null, json!(""), json!({}), DialectJoins::default().credential()] {
            assert!(authorize(&rooms, Some(&credential)).is_err(), "{credential}");
        }
        assert!(authorize(&rooms, None).is_err());
        let question = joins.question(json!({"ident": 1}));
        assert!(authorize(&rooms, Some(&question)).is_err(), "without an application");
        joins.set_application(Arc::new(OpenRooms));
        assert!(authorize(&rooms, Some(&question)).is_ok());
        assert!(authorize(&rooms, Some(&json!({"credential": "x", "question": 1}))).is_err());
    }

    fn publish_key(id: &str, key: &str, rooms: &[&str]) -> PublishKey {
        let rooms: Vec<_> = rooms.iter().map(|room| NamePattern::parse(room).unwrap()).collect();
        let may_revoke = rooms.is_empty();
        let limit = (!rooms.is_empty()).then(|| TargetLimit { rooms, ..TargetLimit::default() });
        PublishKey { id: id.to_owned(), key: secret(key), limit, may_revoke }
    }

    #[test]
    fn without_publish_keys_only_a_request_that_may_be_keyless_is_admitted() {
        let none = PublishAuthorizer::new(Vec::new());
        for trusted in [false, true] {
            assert!(matches!(none.authorize(None, true, trusted), PublishVerdict::Admit(Publisher::Keyless)));
        }
        assert!(matches!(none.authorize(Some(b"guess"), false, false), PublishVerdict::NotLocal));
    }

    #[test]
    fn with_publish_keys_one_of_them_or_a_trusted_source_is_required() {
        let keys = vec![publish_key("new", "54321", &[]), publish_key("old", "12345", &[])];
        let keyed = PublishAuthorizer::new(keys);
        for (key, expected) in [("54321", Some("new")), ("12345", Some("old")), ("5432", None), ("", None)] {
            let id = match keyed.authorize(Some(key.as_bytes()), true, false) {
                PublishVerdict::Admit(Publisher::Key(key)) => Some(key.id.clone()),
                PublishVerdict::WrongKey => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(id.as_deref(), expected, "{key}");
        }
        assert!(matches!(keyed.authorize(None, true, false), PublishVerdict::WrongKey));
        assert!(matches!(keyed.authorize(None, true, true), PublishVerdict::Admit(Publisher::Keyless)));
    }

    #[test]
    fn a_key_publishes_to_its_rooms_only() {
        let limited = publish_key("game", "54321", &["lobby", "Game_*"]);
        let publisher = Publisher::Key(Arc::new(limited));
        for (room, allowed) in
            [("lobby", true), ("Game_", true), ("Game_7", true), ("lobby2", false), ("game_7", false)]
        {
            assert_eq!(publisher.may_publish_to(Topic::Room(room)), allowed, "{room}");
        }
        for topic in [Topic::User("7"), Topic::User("lobby"), Topic::All] {
            assert!(!publisher.may_publish_to(topic), "a key that is limited to rooms publishes to nothing else");
        }
        for topic in [Topic::Room("anything"), Topic::User("7"), Topic::All] {
            assert!(Publisher::Key(Arc::new(publish_key("all", "1", &[]))).may_publish_to(topic));
            assert!(Publisher::Keyless.may_publish_to(topic));
        }
    }

    #[test]
    fn a_key_publishes_to_users_and_all_connections_only_if_that_is_written() {
        let all = vec![NamePattern::parse("*").unwrap()];
        let limit = |limit| PublishKey { limit: Some(limit), ..publish_key("limited", "1", &[]) };
        let users = limit(TargetLimit { users: all, ..TargetLimit::default() });
        let broadcast = limit(TargetLimit { broadcast: true, ..TargetLimit::default() });
        for (topic, by_users, by_broadcast) in
            [(Topic::User("7"), true, false), (Topic::All, false, true), (Topic::Room("7"), false, false)]
        {
            assert_eq!((users.allows(topic), broadcast.allows(topic)), (by_users, by_broadcast), "{topic:?}");
        }
    }
}
