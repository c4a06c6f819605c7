//! The transport *stream*: messages become the body of one HTTP response that does not end, such as Server-Sent Events.
//!
//! The shard sends into a bounded channel. The HTTP side takes from it as fast as the client reads. The frames are those of
//! all other members, and count as waiting until they are written.

use crate::encoding::Frame;
use crate::send_buffer::SendOutcome;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Messages that may wait for one reader. Their bytes are limited by the send buffer.
const MAX_MESSAGES: usize = 1024;

/// The shard's end of a stream.
#[derive(Debug)]
pub(super) struct BodyStream {
    messages: mpsc::Sender<Frame>,
    waiting: Arc<AtomicUsize>,
}

/// The HTTP side's end of a stream.
pub struct StreamReceiver {
    messages: mpsc::Receiver<Frame>,
    /// Bytes that are not written.
    waiting: Arc<AtomicUsize>,
    /// Called when the receiver is dropped: the reader is gone.
    on_drop: Box<dyn Fn() + Send + Sync>,
}

/// A message that counts as waiting until it is written, which drops it.
#[derive(Debug)]
pub struct UnwrittenFrame {
    frame: Frame,
    waiting: Arc<AtomicUsize>,
}

/// Creates both ends of a stream. `on_drop` is called when the HTTP side's end is dropped.
pub(super) fn channel(on_drop: impl Fn() + Send + Sync + 'static) -> (BodyStream, StreamReceiver) {
    let (sender, receiver) = mpsc::channel(MAX_MESSAGES);
    let waiting = Arc::new(AtomicUsize::new(0));
    let stream = BodyStream { messages: sender, waiting: Arc::clone(&waiting) };
    (stream, StreamReceiver { messages: receiver, waiting, on_drop: Box::new(on_drop) })
}

// === impl StreamReceiver ===

impl StreamReceiver {
    /// The next message, as soon as there is one. `None`: the connection was closed.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<UnwrittenFrame>> {
        let Self { messages, waiting, .. } = self;
        messages
            .poll_recv(context)
            .map(|frame| Some(UnwrittenFrame { frame: frame?, waiting: Arc::clone(waiting) }))
    }
}

// === impl UnwrittenFrame ===

impl AsRef<[u8]> for UnwrittenFrame {
    fn as_ref(&self) -> &[u8] {
        self.frame.payload()
    }
}

impl Drop for UnwrittenFrame {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.frame.payload().len(), Relaxed);
    }
}

impl fmt::Debug for StreamReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReceiver").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Drop for StreamReceiver {
    fn drop(&mut self) {
        (self.on_drop)();
    }
}

// === impl BodyStream ===

impl BodyStream {
    /// Bytes that wait for the reader.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    pub(super) fn send(&self, frames: impl Iterator<Item = impl Borrow<Frame>>, limit: usize) -> SendOutcome {
        for frame in frames {
            let frame = frame.borrow();
            // A protocol may have no message for what happened.
            if frame.payload().is_empty() {
                continue;
            }
            if self.waiting.fetch_add(frame.payload().len(), Relaxed) > limit {
                return SendOutcome::Overflow;
            }
            match self.messages.try_send(frame.clone()) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => return SendOutcome::Overflow,
                Err(mpsc::error::TrySendError::Closed(_)) => return SendOutcome::Broken,
            }
        }
        SendOutcome::Sent
    }
}
