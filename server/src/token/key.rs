//! The secrets and public keys that verify tokens.
//!
//! Owns which keys are accepted: at the start, not when a token arrives.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use nodevent_protocol::key::Secret;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use thiserror::Error;

/// The modulus of the shortest RSA key that is accepted. Bytes: 2048 bits.
const MIN_RSA_BYTES: usize = 256;
/// A point of prime256v1: a tag, and two coordinates of 32 bytes.
const P256_POINT_BYTES: usize = 1 + 2 * 32;

/// The algorithms that tokens may be signed with, by their names in `alg`.
pub const ALGORITHMS: [(&str, Algorithm); 5] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
];

/// A secret or public key that verifies tokens. It cannot be printed.
#[derive(Clone)]
pub struct TokenKey {
    /// Its id, which tokens name in `kid`. `None`: it verifies tokens of every `kid`, and without one.
    pub id: Option<Box<str>>,
    /// The algorithms that it may be used with.
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
    /// When it ends. Milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
}

/// A reason why a text is not a key. Contains nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is not PEM, or its content is not a key of RSA or prime256v1.
    #[error("is not a public key of RSA or prime256v1 in PEM")]
    NotPublicKey,
    /// It is a private key.
    #[error("is a private key; the server only needs the public key")]
    PrivateKey,
    /// It is an RSA key of fewer than 2048 bits.
    #[error("is an RSA key of fewer than 2048 bits")]
    ShortRsaKey,
    /// It is a key of another curve than prime256v1.
    #[error("is a key of another curve than prime256v1")]
    WrongCurve,
    /// It is not a JSON Web Key Set.
    #[error("is not a JSON Web Key Set (`{{\"keys\": […]}}`)")]
    NotKeySet,
    /// The key set contains a secret.
    #[error("contains a secret (`kty: oct`); write it in `secrets`")]
    SecretInKeySet,
    /// The key set contains no key that is supported.
    #[error("contains no key for RS256 or ES256")]
    NoKey,
}

// === impl TokenKey ===

impl TokenKey {
    /// A secret for HS256, HS384 and HS512.
    pub fn secret(secret: &Secret) -> Option<Self> {
        DecodingKey::from_secret(secret.as_bytes()).ok().map(Self::new)
    }

    /// A public key in PEM, for RS256 or ES256.
    ///
    /// # Errors
    /// The text is not such a key.
    pub fn public(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::PrivateKey);
        }
        let is_public = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"];
        if !is_public.iter().any(|label| pem.contains(label)) {
            return Err(KeyError::NotPublicKey);
        }
        let key = DecodingKey::from_ec_pem(pem.as_bytes()).or_else(|_| DecodingKey::from_rsa_pem(pem.as_bytes()));
        Self::new(key.map_err(|_| KeyError::NotPublicKey)?).checked()
    }

    /// The public keys of a JSON Web Key Set that RS256 or ES256 can use. Keys for encryption and for other algorithms
    /// are skipped, and so are those of types that this version does not know.
    ///
    /// # Errors
    /// The text is not a key set, or contains an unacceptable key, or no key.
    pub fn key_set(json: &str) -> Result<Vec<Self>, KeyError> {
        #[derive(Deserialize)]
        struct KeySet {
            keys: Vec<Value>,
        }
        let set: KeySet = serde_json::from_str(json).map_err(|_| KeyError::NotKeySet)?;
        let mut keys = Vec::new();
        for key in set.keys {
            if key["kty"] == "oct" {
                return Err(KeyError::SecretInKeySet);
            }
            // RFC 7517, section 5: those of a type that is not understood are ignored.
            if let Ok(jwk) = serde_json::from_value::<Jwk>(key) {
                keys.extend(Self::of_jwk(&jwk)?);
            }
        }
        if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(keys) }
    }

    fn of_jwk(jwk: &Jwk) -> Result<Option<Self>, KeyError> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::OctetKey(_) => return Err(KeyError::SecretInKeySet),
            AlgorithmParameters::RSA(_) => KeyAlgorithm::RS256,
            AlgorithmParameters::EllipticCurve(one) if one.curve == EllipticCurve::P256 => KeyAlgorithm::ES256,
            _ => return Ok(None),
        };
        let common = &jwk.common;
        let is_for_signatures = common.public_key_use.as_ref().is_none_or(|one| *one == PublicKeyUse::Signature);
        if !is_for_signatures || common.key_algorithm.is_some_and(|one| one != algorithm) {
            return Ok(None);
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|_| KeyError::NotPublicKey)?;
        let id = common.key_id.as_deref().map(Into::into);
        Self { id, ..Self::new(key) }.checked().map(Some)
    }

    fn new(key: DecodingKey) -> Self {
        let is_own = |(_, algorithm): &(&str, Algorithm)| algorithm.family() == key.family();
        let algorithms = ALGORITHMS.iter().filter(|one| is_own(one)).map(|(_, algorithm)| *algorithm).collect();
        Self { id: None, algorithms, key, until_ms: None }
    }

    /// Checks the size of a public key.
    fn checked(self) -> Result<Self, KeyError> {
        let is_right = match (self.key.family(), self.key.kind()) {
            // PKCS #1 adds at least 12 bytes around the modulus.
            (AlgorithmFamily::Rsa, DecodingKeyKind::SecretOrDer(der)) => der.len() >= MIN_RSA_BYTES + 12,
            (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, .. }) => n.len() >= MIN_RSA_BYTES,
            (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => point.len() == P256_POINT_BYTES,
            _ => return Err(KeyError::NotPublicKey),
        };
        match (is_right, self.key.family()) {
            (true, _) => Ok(self),
            (false, AlgorithmFamily::Rsa) => Err(KeyError::ShortRsaKey),
            (false, _) => Err(KeyError::WrongCurve),
        }
    }

    /// The same key with an id and an end.
    #[must_use]
    pub fn with(self, id: Option<String>, until_ms: Option<u64>) -> Self {
        Self { id: id.map(String::into_boxed_str), until_ms, ..self }
    }

    /// Whether it may be used with this algorithm.
    pub fn can_use(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether it has ended.
    pub fn has_ended(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| now_ms > until)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, algorithms, until_ms, .. } = self;
        f.debug_struct("TokenKey")
            .field("id", id)
            .field("algorithms", algorithms)
            .field("until_ms", until_ms)
            .finish_non_exhaustive()
    }
}
