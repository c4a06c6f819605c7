//! Room keys, by the formula of the README and not by our own code.

use sha2::{Digest, Sha256};

/// A time far away and yet of 13 digits: 2100-01-01.
pub const LATER: &str = "4102444800000";

/// `sha256(room + ts + secret)` in hex, `:`, `ts`.
pub fn key(room: &str, ts: &str, secret: &str) -> String {
    let hash = Sha256::digest(format!("{room}{ts}{secret}"));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}:{ts}")
}
