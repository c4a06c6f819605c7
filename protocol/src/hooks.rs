//! Hooks: the journal of events for the application, as it is stored in Redis, and the signature of a batch.
//!
//! The keys and scripts are here and not in the server because they are part of the protocol between programs that share
//! a Redis, as those of [`crate::history`] are.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt::Write as _;

macro_rules! script {
    ($file:literal) => {
        concat!(include_str!("../redis/hooks_prelude.lua"), include_str!(concat!("../redis/", $file)))
    };
}

/// Adds events. The text documents its keys and arguments.
pub const APPEND: &str = script!("hooks_append.lua");
/// Makes a server the one that sends, and reads the oldest events.
pub const TAKE: &str = script!("hooks_take.lua");
/// Removes events.
pub const DONE: &str = script!("hooks_done.lua");
/// Reads, resends or deletes dead letters.
pub const DEAD: &str = script!("hooks_dead.lua");

/// The header with the signature of a batch.
pub const SIGNATURE_HEADER: &str = "x-nodevent-signature";

/// Signs the body of a batch.
///
/// # Shape
/// `t=<seconds since 1970>,v1=<64 hexadecimal digits>`: the HMAC-SHA256 of `<seconds>.<body>`.
#[must_use]
pub fn sign(secret: &[u8], seconds: u64, body: &[u8]) -> String {
    let mut signature = format!("t={seconds},v1=");
    for byte in hmac(secret, seconds, body).finalize().into_bytes() {
        let _ = write!(signature, "{byte:02x}");
    }
    signature
}

fn hmac(secret: &[u8], seconds: u64, body: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length");
    hmac.update(format!("{seconds}.").as_bytes());
    hmac.update(body);
    hmac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_vectors() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/hooks.json");
        let vectors: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for vector in vectors["signatures"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().unwrap();
            let seconds = vector["seconds"].as_u64().unwrap();
            assert_eq!(sign(text("secret").as_bytes(), seconds, text("body").as_bytes()), text("signature"));
        }
    }
}
