//! The body of a response to a poll: messages, separated by 0x1e.
//!
//! Large messages are the shared frames themselves, so that a client that does not read has no copy of its own. Small
//! ones are copied into pieces.

use crate::encoding::Frame;
use axum::body::Bytes;
use hyper::body::{Body, Frame as BodyFrame, SizeHint};
use nodevent_protocol::engine_io::payload::{self, SEPARATOR};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

/// A message of at least this size is not copied. Bytes.
const MIN_SHARED: usize = 4 * 1024;
/// Small messages are copied into pieces of about this size. Bytes.
const PIECE: usize = 16 * 1024;

/// The body. It keeps `K` until its bytes are written.
pub(super) struct PayloadBody<K> {
    frames: vec::IntoIter<Frame>,
    /// A large message that is next.
    large: Option<Frame>,
    is_first: bool,
    /// Bytes that follow.
    left: usize,
    kept: Arc<K>,
}

/// A part of the body, which keeps `K` too.
struct Part<T, K> {
    bytes: T,
    _kept: Arc<K>,
}

// === impl Part ===

impl<K> AsRef<[u8]> for Part<Vec<u8>, K> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<K> AsRef<[u8]> for Part<Frame, K> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.payload()
    }
}

// === impl PayloadBody ===

impl<K: Send + Sync + 'static> PayloadBody<K> {
    pub(super) fn new(frames: Vec<Frame>, kept: K) -> Self {
        let messages: usize = frames.iter().map(encoded_length).sum();
        let left = messages + frames.len().saturating_sub(1);
        Self { frames: frames.into_iter(), large: None, is_first: true, left, kept: Arc::new(kept) }
    }

    /// The next part.
    fn next(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.large.take() {
            return Some(self.part(frame));
        }
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let Some(frame) = self.frames.next() else { break };
            if !std::mem::take(&mut self.is_first) {
                piece.push(SEPARATOR);
            }
            if frame.is_binary() {
                let mut packet = Vec::with_capacity(encoded_length(&frame));
                payload::push_binary(&mut packet, frame.payload());
                piece.append(&mut packet);
            } else if frame.payload().len() < MIN_SHARED {
                piece.extend_from_slice(frame.payload());
            } else {
                self.large = Some(frame);
                break;
            }
        }
        match piece.is_empty() {
            true => self.large.take().map(|frame| self.part(frame)),
            false => Some(self.part(piece)),
        }
    }

    fn part<T: Send + 'static>(&self, bytes: T) -> Bytes
    where
        Part<T, K>: AsRef<[u8]>,
    {
        Bytes::from_owner(Part { bytes, _kept: Arc::clone(&self.kept) })
    }
}

/// A body of one part, which keeps `K` until it is written.
pub(super) fn in_one_part<K: Send + Sync + 'static>(bytes: Vec<u8>, kept: K) -> Bytes {
    Bytes::from_owner(Part { bytes, _kept: Arc::new(kept) })
}

/// The length of a message in a payload. Binary messages are in base64.
fn encoded_length(frame: &Frame) -> usize {
    match frame.is_binary() {
        true => 1 + 4 * frame.payload().len().div_ceil(3),
        false => frame.payload().len(),
    }
}

impl<K: Send + Sync + 'static> Body for PayloadBody<K> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let part = self.next();
        self.left = self.left.saturating_sub(part.as_ref().map_or(0, Bytes::len));
        Poll::Ready(part.map(|part| Ok(BodyFrame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body as AnyBody, to_bytes};

    fn frames(lengths: &[usize]) -> Vec<Frame> {
        let text = |length: &usize| Frame::text(&format!("4{}", "x".repeat(*length)));
        lengths.iter().map(text).chain([Frame::binary(&[1, 2, 3, 4])]).collect()
    }

    /// The payload in one piece.
    fn expected(frames: &[Frame]) -> Vec<u8> {
        let mut expected = Vec::new();
        for frame in frames {
            match frame.is_binary() {
                true => payload::push_binary(&mut expected, frame.payload()),
                false => payload::push(&mut expected, frame.payload()),
            }
        }
        expected
    }

    #[tokio::test]
    async fn pieces_are_the_payload_and_have_its_length() {
        for lengths in [
            &[][..],
            &[0],
            &[1, 2, 3],
            &[MIN_SHARED - 1],
            &[MIN_SHARED, MIN_SHARED],
            &[5, 100_000, 6, 7, PIECE, 1],
            &[1_000; 100],
        ] {
            let body = PayloadBody::new(frames(lengths), ());
            let (length, expected) = (body.left, expected(&frames(lengths)));
            let bytes = to_bytes(AnyBody::new(body), usize::MAX).await.unwrap();
            assert_eq!(bytes, expected, "{lengths:?}");
            assert_eq!(bytes.len(), length);
        }
    }

    #[test]
    fn large_messages_are_shared_and_what_is_kept_lasts_until_the_last_part_is_written() {
        let (frames, kept) = (frames(&[1, 50_000]), Arc::new(()));
        let shared = frames[1].payload().as_ptr();
        let mut body = PayloadBody::new(frames, Arc::clone(&kept));
        let parts: Vec<_> = std::iter::from_fn(|| body.next()).collect();
        assert!(parts.iter().any(|part| part.as_ptr() == shared));
        drop(body);
        assert_eq!(Arc::strong_count(&kept), 2);
        drop(parts);
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
