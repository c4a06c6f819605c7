//! Signed names of streams: `ActiveSupport::MessageVerifier` with SHA-256 and JSON, as `Turbo.signed_stream_verifier` is.
//!
//! ```text
//! data  = Base64 of the name as JSON, or of an envelope
//! token = data + "--" + lowercase_hex(HMAC-SHA-256(key, data))
//! ```
//!
//! An envelope has an expiry: `{"_rails":{"data":<name>,"exp":"2030-01-01T00:00:00.000Z","pur":null}}` from Rails 7.1
//! on, and `{"_rails":{"message":"<Base64 of the name as JSON>",…}}` before.
//!
//! # Source
//! Rails 6.1.7, 7.2.2 and 8.1.3 (`ActiveSupport::MessageVerifier`, `ActiveSupport::Messages::Metadata`); turbo-rails 2.0.21.

use crate::key::Secret;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// The digits of a signature.
const DIGITS: usize = 2 * 32;
/// What separates data and signature.
const SEPARATOR: &str = "--";
/// URL-safe Base64, with or without padding.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a signed name is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedNameError {
    /// It is not data, two hyphens, and 64 digits.
    #[error("Malformed stream name")]
    Malformed,
    /// No key has signed it.
    #[error("Bad stream name signature")]
    BadSignature,
    /// It was signed, and is not the name of a stream.
    #[error("Signed text is not a stream name")]
    NotAName,
    /// It was signed for another purpose.
    #[error("Stream name is signed for another purpose")]
    OtherPurpose,
    /// It has expired.
    #[error("Stream name has expired")]
    Expired,
}

/// Returns the name that one of `keys` has signed, and when it expires: milliseconds since the Unix epoch.
///
/// The signature is compared with that of every key in constant time, whichever of them matches.
///
/// # Units
/// `now_ms` is milliseconds since the Unix epoch. A name that expires now has expired, as in Rails.
///
/// # Errors
/// [`SignedNameError`].
pub fn verify(token: &str, keys: &[Secret], now_ms: u64) -> Result<(String, Option<u64>), SignedNameError> {
    let (data, digits) = split(token).ok_or(SignedNameError::Malformed)?;
    let is_signed = keys
        .iter()
        .fold(Choice::from(0), |good, key| good | signature(data, key).as_bytes().ct_eq(digits.as_bytes()));
    if !bool::from(is_signed) {
        return Err(SignedNameError::BadSignature);
    }
    read(data, now_ms)
}

/// Signs a name that does not expire.
#[must_use]
pub fn sign(name: &str, key: &Secret) -> String {
    sign_json(&Value::from(name).to_string(), key)
}

/// Signs the text of a JSON value: a name, or an envelope.
#[must_use]
pub fn sign_json(json: &str, key: &Secret) -> String {
    let data = STANDARD.encode(json);
    let digits = signature(&data, key);
    format!("{data}{SEPARATOR}{digits}")
}

/// Splits at the separator before the last 64 characters: the data may contain it too.
fn split(token: &str) -> Option<(&str, &str)> {
    let (rest, digits) = token.split_at_checked(token.len().checked_sub(DIGITS)?)?;
    let data = rest.strip_suffix(SEPARATOR)?;
    (!data.is_empty()).then_some((data, digits))
}

fn signature(data: &str, key: &Secret) -> String {
    // HMAC accepts keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return String::new() };
    mac.update(data.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().fold(String::with_capacity(DIGITS), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}

/// Reads what was signed.
fn read(data: &str, now_ms: u64) -> Result<(String, Option<u64>), SignedNameError> {
    match decode(data).ok_or(SignedNameError::NotAName)? {
        Value::String(name) => Ok((name, None)),
        Value::Object(mut members) => {
            let Some(Value::Object(mut envelope)) = members.remove("_rails") else {
                return Err(SignedNameError::NotAName);
            };
            if envelope.get("pur").is_some_and(|purpose| !purpose.is_null()) {
                return Err(SignedNameError::OtherPurpose);
            }
            let expires_ms = match envelope.get("exp") {
                None | Some(Value::Null) => None,
                Some(expiry) => Some(expiry.as_str().and_then(milliseconds).ok_or(SignedNameError::NotAName)?),
            };
            if expires_ms.is_some_and(|expires_ms| now_ms >= expires_ms) {
                return Err(SignedNameError::Expired);
            }
            let name = match (envelope.remove("data"), envelope.remove("message")) {
                (Some(name), None) => Some(name),
                (None, Some(Value::String(message))) => decode(&message),
                _ => None,
            };
            match name {
                Some(Value::String(name)) => Ok((name, expires_ms)),
                _ => Err(SignedNameError::NotAName),
            }
        }
        _ => Err(SignedNameError::NotAName),
    }
}

/// Decodes Base64 with JSON in it.
fn decode(data: &str) -> Option<Value> {
    let json = STANDARD.decode(data).or_else(|_| URL_SAFE.decode(data)).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Milliseconds since the Unix epoch of a time as Rails writes it: ISO 8601 in UTC, with or without fractions of a second.
fn milliseconds(time: &str) -> Option<u64> {
    let number = |from: usize, to: usize| {
        let digits = time.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<u64>().ok()
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let bytes = time.as_bytes();
    if !separators.iter().all(|(at, byte)| bytes.get(*at) == Some(byte)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_time = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let fraction = match time.get(19..)?.strip_suffix('Z')? {
        "" => 0,
        fraction => {
            let digits = fraction.strip_prefix('.').filter(|digits| (1..=9).contains(&digits.len()))?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            let padded = format!("{digits:0<3}");
            padded.get(..3).filter(|_| is_number)?.parse().ok()?
        }
    };
    // Days since the epoch in the Gregorian calendar, with years that begin in March.
    let (shifted, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    is_time.then_some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn key(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn verified(json: &str) -> Result<String, SignedNameError> {
        verify(&sign_json(json, &key("k")), &[key("k")], NOW).map(|(name, _)| name)
    }

    #[test]
    fn a_name_is_signed_by_any_of_the_keys() {
        let token = sign("posts", &key("old"));
        assert!(token.starts_with("InBvc3RzIg==--"), "{token}");
        assert_eq!(verify(&token, &[key("new"), key("old")], NOW), Ok(("posts".to_owned(), None)));
        assert_eq!(verify(&token, &[key("new")], NOW), Err(SignedNameError::BadSignature));
        assert_eq!(verify(&token, &[], NOW), Err(SignedNameError::BadSignature));
    }

    #[test]
    fn data_may_contain_the_separator() {
        // URL-safe Base64 has hyphens.
        let data = "Im_--z-8i";
        let token = format!("{data}--{}", signature(data, &key("k")));
        assert_eq!(split(&token).map(|(data, _)| data), Some(data));
    }

    #[test]
    fn every_changed_character_is_refused() {
        let token = sign("posts:1", &key("k"));
        for index in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&changed, &[key("k")], NOW).is_err(), "{changed}");
        }
        assert!(verify(&token.to_uppercase(), &[key("k")], NOW).is_err());
        for text in ["", "--", &"0".repeat(64), &format!("--{}", "0".repeat(64)), "ü--", &token[..token.len() - 1]]
        {
            assert!(verify(text, &[key("k")], NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn envelopes_of_old_and_new_rails_expire_and_have_no_purpose() {
        let old = r#"{"_rails":{"message":"InBvc3RzIg==","exp":"2030-01-01T00:00:00.000Z","pur":null}}"#;
        let new = r#"{"_rails":{"data":"posts","exp":"2030-01-01T00:00:00.000Z"}}"#;
        for envelope in [old, new] {
            assert_eq!(verified(envelope).as_deref(), Ok("posts"), "{envelope}");
            let expired = envelope.replace("2030", "2020");
            assert_eq!(verified(&expired), Err(SignedNameError::Expired), "{expired}");
            for wrong in ["soon", "2030-01-01", "2030-13-01T00:00:00.000Z", "2030-01-01T00:00:00+01:00"] {
                let wrong = envelope.replace("2030-01-01T00:00:00.000Z", wrong);
                assert_eq!(verified(&wrong), Err(SignedNameError::NotAName), "{wrong}");
            }
        }
        let other = r#"{"_rails":{"data":"posts","pur":"login"}}"#;
        assert_eq!(verified(other), Err(SignedNameError::OtherPurpose));
        for text in [
            "1",
            "[]",
            "{}",
            "null",
            r#"{"_rails":{}}"#,
            r#"{"_rails":{"data":1}}"#,
            r#"{"_rails":{"message":1}}"#,
            "{",
        ] {
            assert_eq!(verified(text), Err(SignedNameError::NotAName), "{text}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (time, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500),
            ("2026-11-29T20:34:27.123Z", 1_795_984_467_123),
            ("2100-03-01T00:00:00.000000000Z", 4_107_542_400_000),
        ] {
            assert_eq!(milliseconds(time), Some(expected), "{time}");
        }
        for time in [
            "",
            "2026-11-29",
            "2026-11-29T20:34:27",
            "2026-11-29T20:34:27.Z",
            "2026-11-29T24:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(milliseconds(time), None, "{time}");
        }
    }
}
