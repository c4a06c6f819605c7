//! The response to a GET on long-polling, until it is written or given up with its socket.
//!
//! The next GET of the connection waits for that. Otherwise a client that reads nothing could collect responses, each as
//! large as a send buffer.

use super::inbox::Inbox;
use super::message::{PollingFormat, PollingRequest, ToShard};
use crate::client::Client;
use crate::connection_id::ConnectionId;
use crate::encoding::Frame;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

/// It is not written.
const UNWRITTEN: u8 = 0;
/// It is not written, and a GET waits for it.
const AWAITED: u8 = 1;
/// It is written, or given up.
const WRITTEN: u8 = 2;

/// Messages for a GET. It is written as soon as this, or what was made of it, is dropped.
#[derive(Debug)]
pub struct PollResponse {
    /// The messages.
    pub frames: Vec<Frame>,
    /// How the body looks.
    pub format: PollingFormat,
    /// To be kept until they are written.
    pub unwritten: Unwritten,
}

/// The HTTP side's end: a response that is not written until this is dropped.
pub struct Unwritten {
    state: Arc<AtomicU8>,
    id: ConnectionId,
    /// The client. `None`: no GET will wait for it.
    inbox: Option<(Client, Arc<Inbox>)>,
}

/// The shard's end. `None`: nothing was sent.
#[derive(Debug, Default)]
pub(super) struct LastResponse(Option<Arc<AtomicU8>>);

// === impl LastResponse ===

impl LastResponse {
    /// Whether it is written, so that the next one may follow. Otherwise [`PollingRequest::Written`] follows.
    pub(super) fn is_written(&mut self) -> bool {
        let Some(state) = &self.0 else { return true };
        let is_written = state.compare_exchange(UNWRITTEN, AWAITED, SeqCst, SeqCst) == Err(WRITTEN);
        if is_written {
            self.0 = None;
        }
        is_written
    }

    /// The next response. This is its connection's last one from now on.
    pub(super) fn send(
        &mut self,
        frames: Vec<Frame>,
        format: PollingFormat,
        id: ConnectionId,
        (client, inbox): (Client, &Arc<Inbox>),
    ) -> PollResponse {
        let state = Arc::new(AtomicU8::new(UNWRITTEN));
        self.0 = Some(Arc::clone(&state));
        PollResponse {
            frames,
            format,
            unwritten: Unwritten { state, id, inbox: Some((client, Arc::clone(inbox))) },
        }
    }
}

// === impl PollResponse ===

impl PollResponse {
    /// A response after which the connection is gone, or on another transport.
    pub(super) fn last(frames: Vec<Frame>, format: PollingFormat, id: ConnectionId) -> Self {
        Self { frames, format, unwritten: Unwritten { state: Arc::default(), id, inbox: None } }
    }
}

// === impl Unwritten ===

impl Drop for Unwritten {
    fn drop(&mut self) {
        if self.state.swap(WRITTEN, SeqCst) == AWAITED
            && let Some((client, inbox)) = &self.inbox
        {
            // The end of a request is always accepted.
            let _ = inbox.put_request(*client, ToShard::Polling(PollingRequest::Written { id: self.id }));
        }
    }
}

impl fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwritten").field("state", &self.state).finish_non_exhaustive()
    }
}
