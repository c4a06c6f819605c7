//! The transport *stream*: messages become the body of one HTTP response that does not end, such as Server-Sent Events.
//!
//! The shard sends into a bounded channel. The HTTP side takes from it as fast as the client reads.

use super::Shard;
use super::inbox::Inbox;
use super::message::{OpenStream, StreamRequest, ToShard};
use super::slot::Transport;
use crate::close_reason::CloseReason;
use crate::connection_id::ConnectionId;
use crate::encoding::Frame;
use crate::outbox::SendOutcome;
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

/// The HTTP side's end of a stream. When it is dropped, the connection is closed.
#[derive(Debug)]
pub struct StreamReceiver {
    id: ConnectionId,
    messages: mpsc::Receiver<Frame>,
    /// Bytes that wait in the channel.
    waiting: Arc<AtomicUsize>,
    inbox: Arc<Inbox>,
}

// === impl StreamReceiver ===

impl StreamReceiver {
    /// The next message, as soon as there is one. `None`: the connection was closed.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        self.messages.poll_recv(context).map(|frame| {
            let frame = frame?;
            self.waiting.fetch_sub(frame.payload().len(), Relaxed);
            Some(frame)
        })
    }
}

impl Drop for StreamReceiver {
    fn drop(&mut self) {
        let _ = self.inbox.put(ToShard::Stream(StreamRequest::Closed { id: self.id }));
    }
}

// === impl BodyStream ===

impl BodyStream {
    /// Bytes that wait for the reader.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    pub(super) fn send<'a>(&self, frames: impl Iterator<Item = &'a Frame>, limit: usize) -> SendOutcome {
        for frame in frames {
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

// === impl Shard ===

impl Shard {
    pub(super) fn on_stream_request(&mut self, request: StreamRequest) {
        match request {
            StreamRequest::Open(open) => self.open_stream(*open),
            StreamRequest::Closed { id } => {
                if self.session_mut(id.slot).is_some_and(|session| session.id.is(&id)) {
                    self.close(id.slot, CloseReason::ConnectionLost);
                }
            }
        }
    }

    fn open_stream(&mut self, open: OpenStream) {
        let OpenStream { protocol, info, reply } = open;
        let (sender, messages) = mpsc::channel(MAX_MESSAGES);
        let waiting = Arc::new(AtomicUsize::new(0));
        let stream = BodyStream { messages: sender, waiting: Arc::clone(&waiting) };
        let slot = self.open_session(Transport::Stream(stream), protocol, info);
        let inbox = Arc::clone(&self.inbox);
        let Some(session) = self.session_mut(slot) else { return };
        let receiver = StreamReceiver { id: session.id, messages, waiting, inbox };
        // If the request is gone, dropping the receiver closes the connection.
        let _ = reply.send(receiver);
        self.with_protocol(slot, |protocol, core| protocol.opened(core));
    }
}
