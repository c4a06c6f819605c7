//! Concatenates frames, so that a connection receives all of them in one write.

use crate::encoding::Frame;
use std::sync::Arc;

/// Memory that is kept for the next frames. Bytes.
const MAX_KEPT: usize = 256 * 1024;

/// Concatenates frames as WebSockets send them.
///
/// It keeps its buffer: the page faults of a new one for each batch would cost more than the copy.
#[derive(Debug, Default)]
pub(super) struct Concatenator(Vec<u8>);

// === impl Concatenator ===

impl Concatenator {
    /// Returns the bytes of all frames. `None`: there are no frames.
    pub(super) fn concat<'a>(
        &mut self,
        mut frames: impl ExactSizeIterator<Item = &'a Frame> + Clone,
    ) -> Option<Arc<[u8]>> {
        if frames.len() < 2 {
            return frames.next().map(|only| Arc::clone(only.websocket()));
        }
        let Self(buffer) = self;
        buffer.clear();
        buffer.reserve(frames.clone().map(|frame| frame.websocket().len()).sum());
        frames.for_each(|frame| buffer.extend_from_slice(frame.websocket()));
        let bytes = Arc::from(buffer.as_slice());
        if buffer.capacity() > MAX_KEPT {
            *buffer = Vec::new();
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concat(concatenator: &mut Concatenator, texts: &[&str]) -> Option<Vec<u8>> {
        let frames: Vec<Frame> = texts.iter().map(|text| Frame::text(text)).collect();
        concatenator.concat(frames.iter()).map(|bytes| bytes.to_vec())
    }

    #[test]
    fn frames_follow_each_other_and_nothing_of_earlier_ones_remains() {
        let mut concatenator = Concatenator::default();
        assert_eq!(concat(&mut concatenator, &[]), None);
        assert_eq!(concat(&mut concatenator, &["abc", "d"]).unwrap(), b"\x81\x03abc\x81\x01d");
        assert_eq!(concat(&mut concatenator, &["", "e"]).unwrap(), b"\x81\x00\x81\x01e");
        assert_eq!(concat(&mut concatenator, &["f"]).unwrap(), b"\x81\x01f");
    }

    #[test]
    fn memory_for_large_frames_is_not_kept() {
        let mut concatenator = Concatenator::default();
        let large = "x".repeat(MAX_KEPT);
        assert_eq!(
            concat(&mut concatenator, &[&large, &large]).map(|bytes| bytes.len()),
            Some(2 * (MAX_KEPT + 10))
        );
        assert_eq!(concatenator.0.capacity(), 0);
    }
}
