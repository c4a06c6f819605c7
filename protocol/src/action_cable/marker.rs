//! Markers: what the servers of a namespace publish in the channels of a stock Redis adapter, so that they number its
//! messages alike.
//!
//! Other programs that may publish there may publish markers too. So a marker is signed with a key of the namespace's
//! streams. Without such a key, one that is signed with the empty key is valid.
//!
//! # Shape
//! `<32 hexadecimal digits>-<64 hexadecimal digits>`: a random number, and the HMAC-SHA256 of
//! `nodevent:marker:1:<channel prefix>:<number>`. A *report* is what a server publishes when it has published everything before
//! a marker: the same, of `nodevent:reached:1:<channel prefix>:<number>`.

use crate::key::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt::Write as _;

/// The digits of the number.
const NUMBER_DIGITS: usize = 32;

/// The kinds of texts, which begin what is signed.
const MARKER: &str = "nodevent:marker:1";
const REACHED: &str = "nodevent:reached:1";

/// Returns the marker of a random number, signed with the first key.
#[must_use]
pub fn marker(number: u128, prefix: &str, keys: &[Secret]) -> String {
    sign(MARKER, number, prefix, keys)
}

/// Returns the report that a server has reached a marker.
#[must_use]
pub fn reached(number: u128, prefix: &str, keys: &[Secret]) -> String {
    sign(REACHED, number, prefix, keys)
}

fn sign(kind: &str, number: u128, prefix: &str, keys: &[Secret]) -> String {
    let mut text = format!("{number:032x}-");
    let key = keys.first().map_or(&[][..], Secret::as_bytes);
    for byte in hmac(kind, number, prefix, key).finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Returns the number of a marker that is signed with one of the keys. `None`: it is not one.
#[must_use]
pub fn verify(text: &[u8], prefix: &str, keys: &[Secret]) -> Option<u128> {
    verify_kind(MARKER, text, prefix, keys)
}

/// Returns the number of the marker that a signed report is about. `None`: it is not a report.
#[must_use]
pub fn verify_reached(text: &[u8], prefix: &str, keys: &[Secret]) -> Option<u128> {
    verify_kind(REACHED, text, prefix, keys)
}

fn verify_kind(kind: &str, text: &[u8], prefix: &str, keys: &[Secret]) -> Option<u128> {
    let text = std::str::from_utf8(text).ok()?;
    let (digits, signature) = text.split_once('-').filter(|(digits, _)| digits.len() == NUMBER_DIGITS)?;
    let number = u128::from_str_radix(digits, 16).ok().filter(|number| format!("{number:032x}") == digits)?;
    let signature = bytes_of(signature)?;
    let is_signed = |key: &[u8]| hmac(kind, number, prefix, key).verify_slice(&signature).is_ok();
    let is_valid = if keys.is_empty() { is_signed(&[]) } else { keys.iter().any(|key| is_signed(key.as_bytes())) };
    is_valid.then_some(number)
}

/// The bytes of 64 lowercase hexadecimal digits.
fn bytes_of(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn hmac(kind: &str, number: u128, prefix: &str, key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    hmac.update(format!("{kind}:{prefix}:{number:032x}").as_bytes());
    hmac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_needs_a_key_and_its_exact_form() {
        let keys = ["first-key", "second-key"].map(|key| Secret::new(key).unwrap());
        let text = marker(7, "app", &keys);
        assert_eq!(text.len(), NUMBER_DIGITS + 1 + 64);
        assert_eq!(verify(text.as_bytes(), "app", &keys), Some(7));
        let of_second = marker(7, "app", &keys[1..]);
        assert_eq!(verify(of_second.as_bytes(), "app", &keys), Some(7), "while keys are exchanged");
        assert_eq!(verify(text.as_bytes(), "app2", &keys), None);
        assert_eq!(verify(text.as_bytes(), "app", &keys[1..]), None);
        assert_eq!(verify(text.as_bytes(), "app", &[]), None);
        assert_eq!(verify(marker(7, "app", &[]).as_bytes(), "app", &[]), Some(7));
        assert_eq!(verify(marker(7, "app", &[]).as_bytes(), "app", &keys), None);
        let long = "y".repeat(65);
        let other_number = text.replacen('7', "8", 1);
        let wrong = ["x", "", long.as_str(), &text[..32], &text[1..], &text.to_uppercase(), &other_number];
        for wrong in wrong.into_iter().filter(|wrong| *wrong != text) {
            assert_eq!(verify(wrong.as_bytes(), "app", &keys), None, "{wrong}");
        }
        assert_eq!(verify(b"\xff", "app", &keys), None);
    }

    #[test]
    fn a_marker_is_not_a_report_and_a_report_is_not_a_marker() {
        let (marker, report) = (marker(7, "app", &[]), reached(7, "app", &[]));
        assert_eq!(verify_reached(report.as_bytes(), "app", &[]), Some(7));
        assert_eq!(verify_reached(marker.as_bytes(), "app", &[]), None);
        assert_eq!(verify(report.as_bytes(), "app", &[]), None);
    }
}
