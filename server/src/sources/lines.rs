//! Lines in a stream of bytes, without I/O.

/// The longest line. A longer one is several texts. Bytes.
pub(super) const MAX_LINE: usize = 16 * 1024;

/// The bytes of a line that is not complete.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

// === impl Lines ===

impl Lines {
    /// Adds bytes. Returns the lines that are complete, without their ends. Empty lines are left out.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in part.chunks(MAX_LINE) {
                if self.0.len() + part.len() > MAX_LINE + 1 {
                    complete.extend(self.end());
                }
                self.0.extend_from_slice(part);
                if part.ends_with(b"\n") {
                    complete.extend(self.end());
                }
            }
        }
        complete
    }

    /// Returns what there is of a line, whose end will not come.
    pub(super) fn end(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.0);
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.is_empty()).then(|| String::from_utf8_lossy(line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_complete_whatever_the_pieces_are() {
        let text = "one\r\n\ntwo \u{fc}\nthree";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let complete: Vec<String> = text.as_bytes().chunks(size).flat_map(|piece| lines.push(piece)).collect();
            assert_eq!(complete, ["one", "two \u{fc}"], "{size}");
            assert_eq!(lines.end().as_deref(), Some("three"));
            assert_eq!(lines.end(), None);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_several_texts() {
        let mut lines = Lines::default();
        let complete = lines.push(&vec![b'x'; 5 * MAX_LINE]);
        assert!(complete.iter().all(|line| line.len() <= MAX_LINE + 1));
        let rest = lines.end().map_or(0, |line| line.len());
        assert!(rest <= MAX_LINE + 1);
        assert_eq!(complete.iter().map(String::len).sum::<usize>() + rest, 5 * MAX_LINE);
    }
}
