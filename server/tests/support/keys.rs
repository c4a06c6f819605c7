//! Room keys by the documented formula, without the product's own code.

use sha2::{Digest, Sha256};

/// An expiry in the far future with 13 digits: 2100-01-01.
pub const LATER: &str = "4102444800000";

/// `sha256(room + ts + secret)` in hex, `:`, `ts`.
pub fn key(room: &str, ts: &str, secret: &str) -> String {
    let hash = Sha256::digest(format!("{room}{ts}{secret}"));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}:{ts}")
}
