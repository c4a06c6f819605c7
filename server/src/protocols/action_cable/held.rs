//! What a client sends before it is decided who it is: held in order, and bounded.

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Held {
    texts: Vec<String>,
    bytes: usize,
}

// === impl Held ===

impl Held {
    /// Adds a message. Returns `false` if too much is held.
    pub(super) fn add(&mut self, text: &str, max_count: usize, max_bytes: usize) -> bool {
        if self.texts.len() >= max_count || self.bytes + text.len() > max_bytes {
            return false;
        }
        self.bytes += text.len();
        self.texts.push(text.to_owned());
        true
    }

    /// The bytes of all.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes all, in their order.
    pub(super) fn take(self) -> Vec<String> {
        self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_in_order() {
        let mut held = Held::default();
        assert!(held.add("a", 2, 10) && held.add("b", 2, 10) && !held.add("c", 2, 10));
        assert_eq!(held.take(), ["a", "b"]);
        let mut held = Held::default();
        assert!(held.add("123456", 9, 10) && !held.add("12345", 9, 10) && held.add("1234", 9, 10));
        assert_eq!(held.bytes(), 10);
    }
}
