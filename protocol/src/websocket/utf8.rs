//! Text that arrives in pieces. It is checked as it arrives, also if a piece ends within a character.

/// The text so far, and the first bytes of an incomplete character.
#[derive(Debug, Default)]
pub(super) struct Text {
    whole: String,
    tail: [u8; 4],
    tail_len: usize,
}

/// The bytes are not UTF-8, whatever follows.
#[derive(Debug)]
pub(super) struct NotUtf8;

// === impl Text ===

impl Text {
    /// Returns how many bytes have arrived.
    pub(super) fn len(&self) -> usize {
        self.whole.len() + self.tail_len
    }

    /// Returns the memory of what has arrived. Bytes.
    pub(super) fn capacity(&self) -> usize {
        self.whole.capacity()
    }

    /// Appends a piece. Fails at the first byte that no UTF-8 text can have there.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), NotUtf8> {
        while self.tail_len > 0 {
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
            bytes = rest;
            *self.tail.get_mut(self.tail_len).ok_or(NotUtf8)? = byte;
            self.tail_len += 1;
            match std::str::from_utf8(&self.tail[..self.tail_len]) {
                Ok(character) => {
                    self.whole.push_str(character);
                    self.tail_len = 0;
                }
                Err(error) if error.error_len().is_some() => return Err(NotUtf8),
                Err(_) => {}
            }
        }
        let Some(chunk) = bytes.utf8_chunks().next() else { return Ok(()) };
        self.whole.push_str(chunk.valid());
        // Invalid bytes at the very end may be an incomplete character.
        let cut = chunk.invalid();
        let at_end = chunk.valid().len() + cut.len() == bytes.len();
        if !at_end || std::str::from_utf8(cut).is_err_and(|error| error.error_len().is_some()) {
            return Err(NotUtf8);
        }
        self.tail[..cut.len()].copy_from_slice(cut);
        self.tail_len = cut.len();
        Ok(())
    }

    /// Returns the text. Fails if it ends within a character.
    pub(super) fn finish(self) -> Result<String, NotUtf8> {
        if self.tail_len == 0 { Ok(self.whole) } else { Err(NotUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_joined_whatever_the_cuts() {
        let whole = "aé☃😀\u{10ffff}\0";
        for first in 0..=whole.len() {
            for second in first..=whole.len() {
                let mut text = Text::default();
                text.push(&whole.as_bytes()[..first]).unwrap();
                text.push(&whole.as_bytes()[first..second]).unwrap();
                text.push(&whole.as_bytes()[second..]).unwrap();
                assert_eq!(text.len(), whole.len());
                assert_eq!(text.finish().unwrap(), whole);
            }
        }
    }

    #[test]
    fn invalid_byte_fails_immediately() {
        // F4 90 is not the start of a character, but F4 alone may be.
        let mut text = Text::default();
        text.push(b"\xf4").unwrap();
        assert!(text.push(b"\x90").is_err());
    }

    #[test]
    fn incomplete_character_within_a_piece_fails_immediately() {
        assert!(Text::default().push(b"\xc2 ").is_err());
        assert!(Text::default().push(b"\xe2\x98\xe2\x98\x83").is_err());
    }

    #[test]
    fn text_that_ends_within_a_character_is_invalid() {
        let mut text = Text::default();
        text.push("☃".as_bytes().split_at(2).0).unwrap();
        assert!(text.finish().is_err());
    }
}
