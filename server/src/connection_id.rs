//! The id of a connection. It names the connection's shard and slot, so no table of connections exists, and it cannot be
//! guessed. Engine.IO uses it as the session id.
//!
//! # Shape
//! base64url of five bytes for shard and slot, and sixteen random bytes: 28 characters. The five bytes are masked with
//! a keyed hash of the random ones: unmasked, the slot would show how many connections the server has.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use subtle::ConstantTimeEq;

/// Length of the text form. Characters.
const TEXT_LENGTH: usize = 28;

/// The key of the mask, which no other process knows.
static MASK: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A connection's id.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionId {
    /// The shard's number.
    pub shard: u8,
    /// The slot on that shard.
    pub slot: u32,
    /// Makes it impossible to guess.
    nonce: [u8; 16],
}

// === impl ConnectionId ===

impl ConnectionId {
    /// A new id for that slot.
    pub fn new(shard: u8, slot: u32) -> Self {
        Self { shard, slot, nonce: rand::random() }
    }

    /// Parses the text form. `None`: it is not an id.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_LENGTH {
            return None;
        }
        let mut bytes = [0; 21];
        URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (head, nonce) = bytes.split_at(5);
        let nonce = nonce.try_into().ok()?;
        let mut head: [u8; 5] = head.try_into().ok()?;
        mask(&mut head, &nonce);
        Some(Self { shard: head[0], slot: u32::from_be_bytes([head[1], head[2], head[3], head[4]]), nonce })
    }

    /// Compares two ids in constant time.
    pub fn is(&self, other: &Self) -> bool {
        self.shard == other.shard && self.slot == other.slot && bool::from(self.nonce.ct_eq(&other.nonce))
    }
}

impl std::fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut head = [0; 5];
        head[0] = self.shard;
        head[1..].copy_from_slice(&self.slot.to_be_bytes());
        mask(&mut head, &self.nonce);
        let mut bytes = [0; 21];
        bytes[..5].copy_from_slice(&head);
        bytes[5..].copy_from_slice(&self.nonce);
        let mut text = [0; TEXT_LENGTH];
        // It has the length of the text.
        let length = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).unwrap_or_default();
        f.write_str(std::str::from_utf8(&text[..length]).unwrap_or_default())
    }
}

/// Masks shard and slot, or removes the mask.
fn mask(head: &mut [u8; 5], nonce: &[u8; 16]) {
    let mask = MASK.hash_one(nonce).to_be_bytes();
    head.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_differs_from_every_other() {
        let id = ConnectionId::new(3, 70_000);
        let read = ConnectionId::parse(&id.to_string()).unwrap();
        assert!(read.is(&id));
        assert_eq!((read.shard, read.slot), (3, 70_000));
        assert!(!ConnectionId::new(3, 70_000).is(&id));
    }

    #[test]
    fn an_id_does_not_show_its_slot() {
        let heads: std::collections::HashSet<String> =
            (0..100).map(|_| ConnectionId::new(0, 0).to_string()[..6].to_owned()).collect();
        assert!(heads.len() > 90, "{} different heads", heads.len());
    }

    #[test]
    fn other_texts_are_not_ids() {
        for text in ["", "x", "ä".repeat(14).as_str(), "!".repeat(28).as_str(), "A".repeat(29).as_str()] {
            assert!(ConnectionId::parse(text).is_none(), "{text}");
        }
    }
}
