//! Room keys: a key proves that its holder may join one room until a time. There are two formats.
//!
//! The formula of NoDevent 3: `key = lowercase_hex(SHA-256(room + ts + secret)) + ":" + ts`. It has no separators. It
//! is safe only because `ts` always has 13 digits: so there is one way to split `room + ts`. Both [`sign`] and
//! [`verify`] require that, and `verify` hashes `ts` as it was received. Such a key opens the room in every namespace
//! with the secret.
//!
//! A bound key names its namespace: `key = "v2_" + lowercase_hex(HMAC-SHA-256(secret, message)) + ":" + ts`. The
//! message has the lengths of namespace and room, so nothing can move from one to the other. [`sign_bound`] signs it,
//! `verify` accepts both.
//!
//! # Source
//! `protocol/README.md` section 5, and RFC 2104 for HMAC.

use hmac::{Hmac, KeyInit as _, Mac as _};
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
/// What bound keys begin with. Hashes of the formula never do.
const BOUND: &str = "v2_";
/// How long a bound key may be valid if nothing else is configured: 30 days. Milliseconds.
pub const MAX_BOUND_LIFETIME_MS: u64 = 30 * 24 * 60 * 60 * 1000;

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
    /// The text after the first colon is not 13 digits.
    BadTime,
    /// The key is valid for longer than the maximum lifetime.
    LifetimeTooLong,
    /// The key has expired.
    TimeHasPassed,
    /// The hash is that of another room, time or secret.
    BadKey,
}

/// The rules by which keys are verified.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The namespace that bound keys must name, with its leading slash.
    pub namespace: &'a str,
    /// Any of them may have signed the key. Without secrets every key is refused; callers must not verify keys of
    /// namespaces without secrets.
    pub secrets: &'a [Secret],
    /// The longest time from now at which a key may still expire. `None`: [`MAX_BOUND_LIFETIME_MS`] for bound keys, and
    /// no limit for others. Milliseconds.
    pub max_lifetime_ms: Option<u64>,
    /// Whether only bound keys are accepted.
    pub requires_bound: bool,
}

/// Signs a key for `room` that expires at `expires_ms`, by the formula of NoDevent 3.
///
/// # Units
/// `expires_ms` is milliseconds since the Unix epoch.
///
/// # Errors
/// Returns [`ExpiryError`] if the expiry does not have exactly 13 digits. No server would accept such a key.
pub fn sign(room: &str, expires_ms: u64, secret: &Secret) -> Result<String, ExpiryError> {
    let ts = timestamp(expires_ms)?;
    Ok(format_key("", &hash(room, &ts, secret), &ts))
}

/// Signs a key for `room` of `namespace` that expires at `expires_ms`. No other namespace accepts it.
///
/// # Units
/// `expires_ms` is milliseconds since the Unix epoch.
///
/// # Errors
/// As [`sign`].
pub fn sign_bound(namespace: &str, room: &str, expires_ms: u64, secret: &Secret) -> Result<String, ExpiryError> {
    let ts = timestamp(expires_ms)?;
    Ok(format_key(BOUND, &bound_hash(namespace, room, &ts, secret), &ts))
}

/// Verifies that `key` opens `room` at `now_ms`. Returns when it expires.
///
/// The hash is compared with that of every secret in constant time, whichever of them matches.
///
/// # Units
/// `now_ms` and the result are milliseconds since the Unix epoch.
///
/// # Errors
/// Returns the first [`Refusal`] in the order of section 5 of the README. A key that expires now is still valid.
pub fn verify(room: &str, key: &str, rules: &Rules<'_>, now_ms: u64) -> Result<u64, Refusal> {
    let (received, ts) = match key.split_once(':') {
        Some((received, ts)) if !received.is_empty() => (received, ts),
        _ => return Err(Refusal::BadSig),
    };
    let expires_ms = parse_timestamp(ts).ok_or(Refusal::BadTime)?;
    let bound = received.strip_prefix(BOUND);
    let max_lifetime_ms = rules.max_lifetime_ms.or(bound.map(|_| MAX_BOUND_LIFETIME_MS));
    if max_lifetime_ms.is_some_and(|max| expires_ms > now_ms.saturating_add(max)) {
        return Err(Refusal::LifetimeTooLong);
    }
    if expires_ms < now_ms {
        return Err(Refusal::TimeHasPassed);
    }
    let expected = |secret: &Secret| match bound {
        Some(_) => bound_hash(rules.namespace, room, ts, secret),
        None => hash(room, ts, secret),
    };
    let received = bound.unwrap_or(received).as_bytes();
    let good = rules
        .secrets
        .iter()
        .fold(Choice::from(0), |good, secret| good | expected(secret).as_slice().ct_eq(received));
    let is_accepted = bound.is_some() || !rules.requires_bound;
    if good.into() && is_accepted { Ok(expires_ms) } else { Err(Refusal::BadKey) }
}

/// Verifies the key in the arguments of a `join`, as [`verify`] does: absent, `null`, or any JSON.
///
/// # Errors
/// As [`verify`], and [`Refusal::MustProvideKey`] if there is no key.
pub fn verify_value(room: &str, key: Option<&Value>, rules: &Rules<'_>, now_ms: u64) -> Result<u64, Refusal> {
    match key {
        None | Some(Value::Null) => Err(Refusal::MustProvideKey),
        Some(Value::String(key)) => verify(room, key, rules, now_ms),
        Some(_) => Err(Refusal::BadSig),
    }
}

/// The 13 digits of an expiry.
fn timestamp(expires_ms: u64) -> Result<String, ExpiryError> {
    match (EARLIEST_MS..=LATEST_MS).contains(&expires_ms) {
        true => Ok(expires_ms.to_string()),
        false => Err(ExpiryError::OutOfRange(expires_ms)),
    }
}

fn format_key(prefix: &str, hash: &[u8; HASH_DIGITS], ts: &str) -> String {
    let mut key = String::with_capacity(prefix.len() + HASH_DIGITS + 1 + ts.len());
    key.push_str(prefix);
    key.extend(hash.iter().map(|&digit| char::from(digit)));
    key.push(':');
    key.push_str(ts);
    key
}

/// Parses a timestamp. It has 13 ASCII digits, of which the first is not `0`.
fn parse_timestamp(ts: &str) -> Option<u64> {
    let digits = ts.as_bytes();
    let canonical = digits.len() == 13 && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
    if canonical { ts.parse().ok() } else { None }
}

/// Returns the hexadecimal digits of the hash of `room + ts + secret`.
fn hash(room: &str, ts: &str, secret: &Secret) -> [u8; HASH_DIGITS] {
    let mut sha = Sha256::new();
    sha.update(room);
    sha.update(ts);
    sha.update(secret.as_bytes());
    hex(&sha.finalize())
}

/// Returns the hexadecimal digits of the hash of a bound key.
fn bound_hash(namespace: &str, room: &str, ts: &str, secret: &Secret) -> [u8; HASH_DIGITS] {
    // HMAC accepts keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return [0; HASH_DIGITS] };
    for part in [namespace, room, ts] {
        mac.update(part.len().to_string().as_bytes());
        mac.update(b":");
        mac.update(part.as_bytes());
    }
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> [u8; HASH_DIGITS] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; HASH_DIGITS];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(bytes) {
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
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MustProvideKey => "Must provide key",
            Self::BadSig => "Bad sig",
            Self::BadTime => "Bad time",
            Self::LifetimeTooLong => "Lifetime too long",
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

    fn verify_with(secrets: &[Secret], room: &str, key: &str, now_ms: u64) -> Result<u64, Refusal> {
        let rules = Rules { namespace: "/a", secrets, max_lifetime_ms: None, requires_bound: false };
        verify(room, key, &rules, now_ms)
    }

    #[test]
    fn signed_key_opens_its_room_and_returns_its_expiry() {
        // N-40
        let key = sign("theroom", NOW + 1, &secret("asdf")).unwrap();
        assert_eq!(verify_with(&[secret("asdf")], "theroom", &key, NOW), Ok(NOW + 1));
    }

    #[test]
    fn key_of_one_room_does_not_open_a_shorter_or_longer_one() {
        // N-42: digits move between the room and the time; only the signed split is valid.
        let key = sign("User_12", NOW, &secret("asdf")).unwrap();
        let (hash, ts) = key.split_once(':').unwrap();
        let joined = format!("User_12{ts}");
        for split in 1..joined.len() {
            let (room, ts) = joined.split_at(split);
            let result = verify_with(&[secret("asdf")], room, &format!("{hash}:{ts}"), 0);
            assert_eq!(result.is_ok(), room == "User_12", "{room} {ts}");
        }
    }

    #[test]
    fn bound_key_opens_its_room_in_its_namespace_only() {
        let secrets = [secret("asdf")];
        let key = sign_bound("/a", "bc", NOW, &secrets[0]).unwrap();
        for (namespace, room, opens) in [
            ("/a", "bc", true),
            ("/b", "bc", false),
            ("/ab", "c", false),
            ("/", "abc", false),
            ("/a", "b", false),
            ("/a", "2:bc", false),
            ("/a2:", "bc", false),
        ] {
            for requires_bound in [false, true] {
                let rules = Rules { namespace, secrets: &secrets, max_lifetime_ms: None, requires_bound };
                assert_eq!(verify(room, &key, &rules, NOW).is_ok(), opens, "{namespace} {room}");
            }
        }
    }

    #[test]
    fn formats_are_not_exchangeable_and_the_formula_can_be_refused() {
        let secrets = [secret("asdf")];
        let (bound, formula) =
            (sign_bound("/a", "r", NOW, &secrets[0]).unwrap(), sign("r", NOW, &secrets[0]).unwrap());
        assert_eq!(verify_with(&secrets, "r", &bound[BOUND.len()..], NOW), Err(Refusal::BadKey));
        assert_eq!(verify_with(&secrets, "r", &format!("{BOUND}{formula}"), NOW), Err(Refusal::BadKey));
        let rules = Rules { namespace: "/a", secrets: &secrets, max_lifetime_ms: None, requires_bound: true };
        assert_eq!(verify("r", &formula, &rules, NOW), Err(Refusal::BadKey));
        assert_eq!(verify("r", &bound, &rules, NOW), Ok(NOW));
    }

    #[test]
    fn every_configured_secret_opens_and_a_removed_one_does_not() {
        let (old, new) = (secret("old"), secret("new"));
        for key in [sign("r", NOW, &old).unwrap(), sign_bound("/a", "r", NOW, &old).unwrap()] {
            assert_eq!(verify_with(&[new.clone(), old.clone()], "r", &key, NOW), Ok(NOW));
            assert_eq!(verify_with(std::slice::from_ref(&new), "r", &key, NOW), Err(Refusal::BadKey));
        }
    }

    #[test]
    fn bound_keys_have_a_maximum_lifetime_by_default() {
        let secrets = [secret("asdf")];
        let expires = NOW + MAX_BOUND_LIFETIME_MS;
        let key = |expires| sign_bound("/a", "r", expires, &secrets[0]).unwrap();
        assert_eq!(verify_with(&secrets, "r", &key(expires), NOW), Ok(expires));
        assert_eq!(verify_with(&secrets, "r", &key(expires + 1), NOW), Err(Refusal::LifetimeTooLong));
        let longer = Rules {
            namespace: "/a",
            secrets: &secrets,
            max_lifetime_ms: Some(2 * MAX_BOUND_LIFETIME_MS),
            requires_bound: false,
        };
        assert_eq!(verify("r", &key(expires + 1), &longer, NOW), Ok(expires + 1));
    }

    #[test]
    fn maximum_lifetime_does_not_overflow() {
        let secrets = [secret("asdf")];
        let key = sign("r", LATEST_MS, &secrets[0]).unwrap();
        let rules =
            Rules { namespace: "/a", secrets: &secrets, max_lifetime_ms: Some(u64::MAX), requires_bound: false };
        assert_eq!(verify("r", &key, &rules, NOW), Ok(LATEST_MS));
    }

    #[test]
    fn secret_cannot_be_printed_and_is_not_empty() {
        assert_eq!(format!("{:?}", secret("asdf")), "Secret(…)");
        assert_eq!(Secret::new("").unwrap_err(), SecretError::Empty);
    }

    #[test]
    fn expiry_in_seconds_is_refused_with_a_hint() {
        for signed in [sign("r", NOW / 1000, &secret("asdf")), sign_bound("/a", "r", NOW / 1000, &secret("asdf"))] {
            let error = signed.unwrap_err();
            assert!(error.to_string().contains("milliseconds"), "{error}");
        }
    }
}
