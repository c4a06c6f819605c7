//! Room keys: a key proves that its holder may join one room until a time.
//!
//! `key = lowercase_hex(SHA-256(room + ts + secret)) + ":" + ts`. The formula has no separators. It is safe only because
//! `ts` always has 13 digits: so there is one way to split `room + ts`. Both [`sign`] and [`verify`] require that, and
//! `verify` hashes `ts` as it was received.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

/// The first expiry with 13 digits: 2001-09-09, in milliseconds.
const EARLIEST_MS: u64 = 1_000_000_000_000;
/// The last expiry with 13 digits: 2286-11-20, in milliseconds.
const LATEST_MS: u64 = 9_999_999_999_999;
/// 32 bytes of SHA-256, two hexadecimal digits each.
const HASH_DIGITS: usize = 2 * 32;

/// A secret of a namespace, which signs its keys. It cannot be printed.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

/// A reason why a value cannot be a secret.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SecretError {
    /// With an empty secret anyone could sign.
    #[error("the secret is empty; write a long random string, or remove it to leave the rooms open")]
    Empty,
}

/// A reason why a key cannot be signed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ExpiryError {
    /// The expiry is not a time in milliseconds with exactly 13 digits.
    #[error("the expiry {0} is not in milliseconds between 2001-09-09 and 2286-11-20 (exactly 13 digits)")]
    OutOfRange(u64),
}

/// A reason why a key does not open a room. `Display` is the text on the wire.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{}", self.as_str())]
pub enum Refusal {
    /// The key is absent or `null`.
    MustProvideKey,
    /// It is not a string of the form `<something>:<anything>`.
    BadSig,
    /// The text after the first colon is not 13 digits, or is beyond the maximum lifetime.
    BadTime,
    /// The key has expired.
    TimeHasPassed,
    /// The hash is that of another room, time or secret.
    BadKey,
}

/// Signs a key for `room` that expires at `expires_ms`.
///
/// # Units
/// `expires_ms` is milliseconds since the Unix epoch.
///
/// # Errors
/// Returns [`ExpiryError`] if the expiry does not have exactly 13 digits. No server would accept such a key.
pub fn sign(room: &str, expires_ms: u64, secret: &Secret) -> Result<String, ExpiryError> {
    if !(EARLIEST_MS..=LATEST_MS).contains(&expires_ms) {
        return Err(ExpiryError::OutOfRange(expires_ms));
    }
    let ts = expires_ms.to_string();
    let hash = hash(room, &ts, secret);
    let mut key = String::with_capacity(HASH_DIGITS + 1 + ts.len());
    key.extend(hash.iter().map(|&digit| char::from(digit)));
    key.push(':');
    key.push_str(&ts);
    Ok(key)
}

/// Verifies that `key` opens `room` at `now_ms`. Returns when it expires.
///
/// Without secrets every key is refused; callers must not verify keys of namespaces without secrets. The hash is compared
/// with that of every secret in constant time, whichever of them matches.
///
/// # Units
/// `now_ms` and the result are milliseconds since the Unix epoch; `max_ttl_ms` is a lifetime in milliseconds.
///
/// # Errors
/// Returns the first [`Refusal`] in the order of section 5 of the README. A key that expires now is still valid.
pub fn verify(
    room: &str,
    key: &str,
    secrets: &[Secret],
    now_ms: u64,
    max_ttl_ms: Option<u64>,
) -> Result<u64, Refusal> {
    let (received, ts) = match key.split_once(':') {
        Some((received, ts)) if !received.is_empty() => (received, ts),
        _ => return Err(Refusal::BadSig),
    };
    let expires_ms = parse_timestamp(ts).ok_or(Refusal::BadTime)?;
    if max_ttl_ms.is_some_and(|max_ttl| expires_ms > now_ms.saturating_add(max_ttl)) {
        return Err(Refusal::BadTime);
    }
    if expires_ms < now_ms {
        return Err(Refusal::TimeHasPassed);
    }
    let good = secrets
        .iter()
        .fold(Choice::from(0), |good, secret| good | hash(room, ts, secret).as_slice().ct_eq(received.as_bytes()));
    if good.into() { Ok(expires_ms) } else { Err(Refusal::BadKey) }
}

/// Verifies the key in the arguments of a `join`, as [`verify`] does: absent, `null`, or any JSON.
///
/// # Errors
/// As [`verify`], and [`Refusal::MustProvideKey`] if there is no key.
pub fn verify_value(
    room: &str,
    key: Option<&Value>,
    secrets: &[Secret],
    now_ms: u64,
    max_ttl_ms: Option<u64>,
) -> Result<u64, Refusal> {
    match key {
        None | Some(Value::Null) => Err(Refusal::MustProvideKey),
        Some(Value::String(key)) => verify(room, key, secrets, now_ms, max_ttl_ms),
        Some(_) => Err(Refusal::BadSig),
    }
}

/// Parses a timestamp. It has 13 ASCII digits, of which the first is not `0`.
fn parse_timestamp(ts: &str) -> Option<u64> {
    let digits = ts.as_bytes();
    let canonical = digits.len() == 13 && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
    if canonical { ts.parse().ok() } else { None }
}

/// Returns the hexadecimal digits of the hash of `room + ts + secret`.
fn hash(room: &str, ts: &str, secret: &Secret) -> [u8; HASH_DIGITS] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut sha = Sha256::new();
    sha.update(room);
    sha.update(ts);
    sha.update(secret.as_bytes());
    let mut hex = [0; HASH_DIGITS];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(sha.finalize()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    hex
}

/// Returns a text that identifies a secret and from which it cannot be computed, if it is random: programs that share a
/// Redis compare it, to detect that they have different secrets.
///
/// # Shape
/// Sixteen lower-case hexadecimal digits.
#[must_use]
pub fn fingerprint(secret: &Secret) -> String {
    let mut hash = Sha256::new();
    hash.update(b"nodevent secret fingerprint:");
    hash.update(secret.as_bytes());
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

// === impl Secret ===

impl Secret {
    /// Returns a secret of these bytes.
    ///
    /// # Errors
    /// Returns [`SecretError::Empty`] for an empty secret.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let bytes = bytes.into();
        if bytes.is_empty() { Err(SecretError::Empty) } else { Ok(Self(bytes.into())) }
    }

    /// Returns the bytes, for signing. Never print them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

// === impl Refusal ===

impl Refusal {
    /// Returns the text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MustProvideKey => "Must provide key",
            Self::BadSig => "Bad sig",
            Self::BadTime => "Bad time",
            Self::TimeHasPassed => "Time has passed",
            Self::BadKey => "Bad key",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_750_000_000_000;

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    #[test]
    fn signed_key_opens_its_room_and_returns_its_expiry() {
        // N-40
        let key = sign("theroom", NOW + 1, &secret("asdf")).unwrap();
        assert_eq!(verify("theroom", &key, &[secret("asdf")], NOW, None), Ok(NOW + 1));
    }

    #[test]
    fn key_of_one_room_does_not_open_a_shorter_or_longer_one() {
        // N-42: digits move between the room and the time; only the signed split is valid.
        let key = sign("User_12", NOW, &secret("asdf")).unwrap();
        let (hash, ts) = key.split_once(':').unwrap();
        let joined = format!("User_12{ts}");
        for split in 1..joined.len() {
            let (room, ts) = joined.split_at(split);
            let result = verify(room, &format!("{hash}:{ts}"), &[secret("asdf")], 0, None);
            assert_eq!(result.is_ok(), room == "User_12", "{room} {ts}");
        }
    }

    #[test]
    fn every_configured_secret_opens_and_a_removed_one_does_not() {
        let (old, new) = (secret("old"), secret("new"));
        let key = sign("r", NOW, &old).unwrap();
        assert_eq!(verify("r", &key, &[new.clone(), old], NOW, None), Ok(NOW));
        assert_eq!(verify("r", &key, &[new], NOW, None), Err(Refusal::BadKey));
    }

    #[test]
    fn maximum_lifetime_does_not_overflow() {
        let key = sign("r", LATEST_MS, &secret("asdf")).unwrap();
        assert_eq!(verify("r", &key, &[secret("asdf")], NOW, Some(u64::MAX)), Ok(LATEST_MS));
    }

    #[test]
    fn secret_cannot_be_printed_and_is_not_empty() {
        assert_eq!(format!("{:?}", secret("asdf")), "Secret(…)");
        assert_eq!(Secret::new("").unwrap_err(), SecretError::Empty);
    }

    #[test]
    fn expiry_in_seconds_is_refused_with_a_hint() {
        let error = sign("r", NOW / 1000, &secret("asdf")).unwrap_err();
        assert!(error.to_string().contains("milliseconds"), "{error}");
    }
}
