//! Text that arrives in pieces: checked as it comes, even where a piece ends within a character.

/// Text so far, and the first bytes of a character whose rest has not come yet.
#[derive(Debug, Default)]
pub(super) struct Text {
    whole: String,
    tail: [u8; 4],
    tail_len: usize,
}

/// The bytes are not UTF-8, whatever may follow.
#[derive(Debug)]
pub(super) struct NotUtf8;

// === impl Text ===

impl Text {
    /// How many bytes have come.
    pub(super) fn len(&self) -> usize {
        self.whole.len() + self.tail_len
    }

    /// Adds the next piece; fails at the first byte that no UTF-8 text could have there.
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
        for chunk in bytes.utf8_chunks() {
            self.whole.push_str(chunk.valid());
            let cut = chunk.invalid();
            if cut.is_empty() {
                continue;
            }
            // A chunk that is only cut short is the last one; any other ends in a byte that is wrong.
            if std::str::from_utf8(cut).is_err_and(|error| error.error_len().is_some()) {
                return Err(NotUtf8);
            }
            self.tail[..cut.len()].copy_from_slice(cut);
            self.tail_len = cut.len();
        }
        Ok(())
    }

    /// The text, if it does not end within a character.
    pub(super) fn finish(self) -> Result<String, NotUtf8> {
        if self.tail_len == 0 { Ok(self.whole) } else { Err(NotUtf8) }
    }
}
