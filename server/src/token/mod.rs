//! Tokens: JSON Web Tokens that say who a connection is, or that open one room.
//!
//! Owns every decision about a token, without I/O and without a clock. `key` has the keys that verify them, `claims` what
//! a token says, `error` why it is rejected, and `crypto` the verification of signatures. The configuration makes a
//! [`Settings`]; the shards and the authorizers use the [`TokenVerifier`].
//!
//! A token is checked in this order: size, shape, nesting, algorithm, `kid`, signature, audience and issuer, times, and
//! at last what it says. So claims are read only after the signature.
//!
//! # Source
//! RFC 7515 (signatures), RFC 7519 (claims), RFC 8725 (best practices).

mod claims;
mod crypto;
mod error;
mod key;
mod remote;

pub use claims::{MAX_INFO_BYTES, MAX_USER_BYTES};
pub use error::TokenError;
pub use jsonwebtoken::Algorithm;
pub use key::{ALGORITHMS, KeyError, TokenKey};
pub use remote::RemoteKeys;

use crate::identity::Identity;
use crate::revocation::RevocationList;
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::Claims;
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest token. Proxies and servers limit all headers of a request to about as much. Bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How deep objects and arrays of a token's header and claims may be nested.
pub const MAX_DEPTH: usize = 16;
/// The longest id of a key. Bytes.
pub const MAX_KEY_ID_BYTES: usize = 255;
/// The difference between two clocks that is tolerated, if nothing else is configured.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// How long a token may be valid, if nothing else is configured.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The time for which a connection stays open after its token has expired, if nothing else is configured.
pub const GRACE: Duration = Duration::from_secs(30);

/// The tokens of a namespace.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The keys that verify them.
    pub keys: Vec<TokenKey>,
    /// The algorithms that they may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// The audiences of which they must name one. None: they must not name any.
    pub audiences: Vec<String>,
    /// The issuers of which they must name one. None: any.
    pub issuers: Vec<String>,
    /// The tolerated difference between two clocks.
    pub leeway: Duration,
    /// The longest time from now for which they may be valid.
    pub max_lifetime: Duration,
    /// How long a connection stays open after its token has expired.
    pub grace: Duration,
    /// Whether a connection needs one.
    pub is_required: bool,
    /// Where a request for a connection may contain one.
    pub sources: Vec<TokenSource>,
}

/// A place in the request for a connection that may contain a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A header of this name, in lower case. `authorization` has the scheme `Bearer` before the token.
    Header(Box<str>),
    /// A cookie of this name.
    Cookie(Box<str>),
    /// A query parameter of this name.
    Query(Box<str>),
}

/// A token that came with the request for a connection. It cannot be printed.
#[derive(Clone)]
pub struct RequestToken {
    /// Where it was.
    pub source: TokenSource,
    /// The token.
    pub text: Box<str>,
}

/// Verifies the tokens of a namespace.
#[derive(Debug)]
pub struct TokenVerifier {
    namespace: Arc<str>,
    /// The longest name of a room. Bytes.
    max_room_name: usize,
    settings: Settings,
    /// The keys that verify them: those of the settings, until they are replaced.
    keys: ArcSwap<Vec<TokenKey>>,
    /// What `jsonwebtoken` checks, for each algorithm that is allowed.
    validations: Vec<Validation>,
    /// The tokens that count no longer.
    revocations: Arc<RevocationList>,
    /// Keys that are read while the server runs.
    remote: Option<Arc<RemoteKeys>>,
}

/// The part of a token's header that selects the key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<Value>,
    /// Extensions without which the token must not be accepted.
    crit: Option<Value>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            algorithms: ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect(),
            audiences: Vec::new(),
            issuers: Vec::new(),
            leeway: LEEWAY,
            max_lifetime: MAX_LIFETIME,
            grace: GRACE,
            is_required: false,
            sources: Vec::new(),
        }
    }
}

impl Settings {
    /// What `jsonwebtoken` checks: the algorithm, the signature, `aud` and `iss`. Times are checked here, because only
    /// [`crate::clock`] reads the wall clock.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        let mut required = Vec::new();
        if !self.audiences.is_empty() {
            validation.set_audience(&self.audiences);
            required.push("aud");
        }
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

// === impl RequestToken ===

impl std::fmt::Debug for RequestToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestToken").field("source", &self.source).finish_non_exhaustive()
    }
}

// === impl TokenVerifier ===

impl TokenVerifier {
    /// Verifies tokens for `namespace`. `max_room_name` is in bytes.
    pub fn new(namespace: &str, max_room_name: usize, settings: Settings) -> Self {
        crypto::install();
        let validations = settings.algorithms.iter().map(|algorithm| settings.validation(*algorithm)).collect();
        let memory = settings.max_lifetime.saturating_add(settings.leeway.saturating_mul(2));
        let revocations = Arc::new(RevocationList::new(memory, settings.leeway));
        let keys = ArcSwap::from_pointee(settings.keys.clone());
        Self { namespace: namespace.into(), max_room_name, settings, keys, validations, revocations, remote: None }
    }

    /// Replaces the keys, for tokens that are verified from now on.
    pub fn set_keys(&self, keys: Vec<TokenKey>) {
        self.keys.store(Arc::new(keys));
    }

    /// The same with keys that are read while the server runs.
    #[must_use]
    pub fn with_remote(self, remote: Option<Arc<RemoteKeys>>) -> Self {
        Self { remote, ..self }
    }

    /// Keys that are read while the server runs.
    pub fn remote(&self) -> Option<&Arc<RemoteKeys>> {
        self.remote.as_ref()
    }

    /// The revocations that it checks.
    pub fn revocations(&self) -> &Arc<RevocationList> {
        &self.revocations
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a text has the shape of a token, which this verifier decides about.
    pub fn recognises(&self, text: &str) -> bool {
        text.split('.').count() == 3
    }

    /// The identity of a connection that presents this token.
    ///
    /// # Units
    /// `now_ms` is milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The token is not valid for a connection to the namespace now.
    pub fn identity(&self, token: &str, now_ms: u64) -> Result<Identity, TokenError> {
        let claims = self.verify(token, now_ms)?;
        if claims.room.is_some() {
            return Err(TokenError::RoomKey);
        }
        let user = claims.user.ok_or(TokenError::MissingUser)?;
        let issued_ms = claims.issued_ms.unwrap_or(0);
        if self.revocations.rejects_user(&user, issued_ms) {
            return Err(TokenError::Revoked);
        }
        self.revocations.accepted(issued_ms);
        Ok(Identity {
            user,
            expires_ms: claims.expires_ms,
            issued_ms,
            info: claims.info,
            rooms: claims.rooms,
            site: None,
        })
    }

    /// Checks that a token is a key to `room` for a connection of `user`. Returns until when it is accepted.
    /// Milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The token does not open the room now.
    pub fn check_room_key(
        &self,
        token: &str,
        room: &str,
        user: Option<&str>,
        now_ms: u64,
    ) -> Result<u64, TokenError> {
        let claims = self.verify(token, now_ms)?;
        let opened = claims.room.ok_or(TokenError::NotRoomKey)?;
        if *opened != *room {
            return Err(TokenError::WrongRoom);
        }
        if claims.user.as_deref().is_some_and(|own| user != Some(own)) {
            return Err(TokenError::WrongUser);
        }
        let (issued_ms, revocations) = (claims.issued_ms.unwrap_or(0), &self.revocations);
        let of_user = claims.user.as_deref().is_some_and(|user| revocations.rejects_user(user, issued_ms));
        match of_user || revocations.rejects_room(room, user, issued_ms) {
            true => Err(TokenError::Revoked),
            false => {
                revocations.accepted(issued_ms);
                Ok(claims.expires_ms.saturating_add(self.settings.leeway.as_millis() as u64))
            }
        }
    }

    fn verify(&self, token: &str, now_ms: u64) -> Result<Claims, TokenError> {
        let header = read_header(token)?;
        let algorithm = algorithm_of(&header)?;
        let validation = self
            .validations
            .iter()
            .find(|one| one.algorithms.contains(&algorithm))
            .ok_or(TokenError::AlgorithmNotAllowed)?;
        let mut result = Err(TokenError::BadSignature);
        let own = self.keys.load();
        let remote = self.remote.as_ref().map(|remote| remote.get(Instant::now())).unwrap_or_default();
        let selected =
            self.select_keys(&header, algorithm, now_ms, own.iter().chain(remote.iter())).inspect_err(|error| {
                if let (TokenError::UnknownKeyId | TokenError::MissingKeyId, Some(remote)) = (error, &self.remote) {
                    remote.report_unknown();
                }
            });
        for key in selected? {
            match jsonwebtoken::decode::<Box<RawValue>>(token, &key.key, validation) {
                Ok(data) => {
                    result = Ok(data.claims);
                    break;
                }
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => {}
                    other => return Err(translate(other)),
                },
            }
        }
        let claims = Claims::read(result?.get(), self.max_room_name)?;
        self.check_times(&claims, now_ms)?;
        match &claims.namespace {
            Some(namespace) if **namespace != *self.namespace => Err(TokenError::WrongNamespace),
            _ => Ok(claims),
        }
    }

    /// The keys that may have signed a token.
    fn select_keys<'a>(
        &self,
        header: &Header,
        algorithm: Algorithm,
        now_ms: u64,
        keys: impl Iterator<Item = &'a TokenKey>,
    ) -> Result<Vec<&'a TokenKey>, TokenError> {
        let id = key_id_of(header)?;
        let mut selected: Vec<&TokenKey> = keys.filter(|key| key.id.is_none() || key.id.as_deref() == id).collect();
        if selected.is_empty() {
            return Err(match id {
                None => TokenError::MissingKeyId,
                Some(id) if id.contains(['/', '\\']) => TokenError::BadKeyId,
                Some(_) => TokenError::UnknownKeyId,
            });
        }
        selected.retain(|key| key.can_use(algorithm));
        if selected.is_empty() {
            return Err(TokenError::AlgorithmNotAllowed);
        }
        selected.retain(|key| !key.has_ended(now_ms));
        if selected.is_empty() { Err(TokenError::KeyEnded) } else { Ok(selected) }
    }

    fn check_times(&self, claims: &Claims, now_ms: u64) -> Result<(), TokenError> {
        let leeway = millis(self.settings.leeway);
        let latest = now_ms.saturating_add(leeway);
        if now_ms > claims.expires_ms.saturating_add(leeway) {
            return Err(TokenError::Expired);
        }
        if claims.not_before_ms.is_some_and(|not_before| not_before > latest) {
            return Err(TokenError::NotYetValid);
        }
        if claims.issued_ms.is_some_and(|issued| issued > latest) {
            return Err(TokenError::IssuedInFuture);
        }
        let max_lifetime = millis(self.settings.max_lifetime);
        // From its issue too: a revocation is remembered for that long.
        let longest = claims.issued_ms.map_or(latest, |issued| issued.saturating_add(leeway).min(latest));
        if claims.expires_ms > longest.saturating_add(max_lifetime) {
            return Err(TokenError::LifetimeTooLong);
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Checks the size, shape and nesting of a token. Returns what selects its key, which nothing has verified.
fn read_header(token: &str) -> Result<Header, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed);
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
    let (header, claims) = (decode(header)?, decode(claims)?);
    if [&header, &claims].iter().any(|json| depth(json) > MAX_DEPTH) {
        return Err(TokenError::TooDeep);
    }
    let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
    // None is known here.
    if header.crit.is_some() { Err(TokenError::Malformed) } else { Ok(header) }
}

/// How deep the objects and arrays of a JSON text are nested. The text need not be valid.
pub(crate) fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut is_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn algorithm_of(header: &Header) -> Result<Algorithm, TokenError> {
    if header.alg.eq_ignore_ascii_case("none") {
        return Err(TokenError::Unsigned);
    }
    let known = ALGORITHMS.iter().find(|(name, _)| *name == header.alg);
    known.map(|(_, algorithm)| *algorithm).ok_or(TokenError::UnknownAlgorithm)
}

/// The `kid` of a token. It is only compared with the ids of the configuration.
fn key_id_of(header: &Header) -> Result<Option<&str>, TokenError> {
    match &header.kid {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if (1..=MAX_KEY_ID_BYTES).contains(&id.len()) => Ok(Some(id)),
        Some(_) => Err(TokenError::BadKeyId),
    }
}

fn translate(error: &ErrorKind) -> TokenError {
    match error {
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => match claim.as_str() {
            "aud" => TokenError::WrongAudience,
            "iss" => TokenError::WrongIssuer,
            _ => TokenError::Malformed,
        },
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::AlgorithmNotAllowed,
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
