//! Pages: a browser page keeps one id across its connections, so that a publication can exclude the page that caused it.
//!
//! Publications contain the hash of the id, not the id itself: all members of a room can read a publication, and must
//! not be able to exclude another page from what they cause.

use sha2::{Digest, Sha256};
use std::fmt;

/// The maximum length of a page id. Bytes.
pub const MAX_ID_BYTES: usize = 64;
/// The length of the text form.
const HASH_DIGITS: usize = 16;

/// The hash of a page's id, as the member `except` of a publication contains it.
///
/// # Shape
/// As text sixteen lower-case hexadecimal digits: the first eight bytes of the SHA-256 of the id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageHash(u64);

// === impl PageHash ===

impl PageHash {
    /// Hashes a page id. `None`: it is not 1 to 64 printable ASCII characters.
    #[must_use]
    pub fn of(id: &str) -> Option<Self> {
        let is_valid = (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        let digest: [u8; 32] = Sha256::digest(id.as_bytes()).into();
        let (first, _) = digest.split_first_chunk()?;
        is_valid.then(|| Self(u64::from_be_bytes(*first)))
    }

    /// Parses the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_valid = text.len() == HASH_DIGITS && text.bytes().all(is_digit);
        is_valid.then(|| u64::from_str_radix(text, 16).ok())?.map(Self)
    }
}

impl fmt::Display for PageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_the_beginning_of_the_sha_256() {
        let hash = PageHash::of("abc").unwrap();
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea");
        assert_eq!(PageHash::parse("ba7816bf8f01cfea"), Some(hash));
    }

    #[test]
    fn what_is_not_a_page_id_or_a_hash_is_none() {
        for id in ["", "a b", "ä", "a\n", &"x".repeat(MAX_ID_BYTES + 1)] {
            assert_eq!(PageHash::of(id), None, "{id:?}");
        }
        for text in
            ["", "ba7816bf8f01cfe", "ba7816bf8f01cfea0", "BA7816BF8F01CFEA", "+a7816bf8f01cfea", "ä816bf8f01cfea"]
        {
            assert_eq!(PageHash::parse(text), None, "{text:?}");
        }
    }
}
