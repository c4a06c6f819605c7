//! The timeouts of an HTTP connection between and during its requests.
//!
//! Owns the phases of a connection. The HTTP library has one timeout for an idle connection and for the head of a
//! request, but a client may be idle for much longer than it may take for a head. [`super::timed_stream`] notes what
//! arrives, `connection` when a request begins, and [`PhaseBody`] when its response ends.

use super::admission::CountedRequest;
use super::head_scanner::{BadFraming, HeadScanner};
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// The phase of an HTTP connection, shared by the parts that change it. They all run in the connection's task.
#[derive(Debug, Clone)]
pub(super) struct RequestPhase(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The end of the phase. `None`: the phase lasts as long as it needs.
    deadline: Option<Instant>,
    head_timeout: Duration,
    keep_alive_timeout: Duration,
    /// Whether a request has been complete.
    has_served: bool,
    /// When it was decided to close the connection, to make room for another one.
    closing_since: Option<Instant>,
    /// Whether that ends a response too.
    is_aborted: bool,
    /// Since when a response waits for the client to read.
    unread_since: Option<Instant>,
    /// The task of the connection.
    waker: Option<Waker>,
    scanner: HeadScanner,
    bad_framing: Option<BadFraming>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The head of a request is arriving, or the first one of the connection is awaited.
    Head,
    /// A request is served. `body`, the write timeout and [`Closable::Unread`] limit this phase.
    Serving,
    /// The last response has ended.
    Idle,
}

/// Connections that may be closed to make room for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closable {
    /// No request has been complete on it.
    Silent,
    /// No request is being served.
    Idle,
    /// The client has not read a response for [`MAX_UNREAD`].
    Unread,
}

/// Time for which a response may wait for its client if others wait for the socket. A client that reads empties the HTTP
/// library's buffer several times per second.
const MAX_UNREAD: Duration = Duration::from_secs(2);

/// The body of a response. After it, the connection is idle.
#[derive(Debug)]
pub(super) struct PhaseBody {
    body: Body,
    phase: RequestPhase,
    /// The request counts as one of its client until then.
    _counted: Option<CountedRequest>,
}

// === impl RequestPhase ===

impl RequestPhase {
    /// A new connection, whose first request is awaited.
    pub(super) fn new(head_timeout: Duration, keep_alive_timeout: Duration) -> Self {
        Self(Arc::new(Mutex::new(State {
            phase: Phase::Head,
            deadline: Some(Instant::now() + head_timeout),
            head_timeout,
            keep_alive_timeout,
            has_served: false,
            closing_since: None,
            is_aborted: false,
            unread_since: None,
            waker: None,
            scanner: HeadScanner::default(),
            bad_framing: None,
        })))
    }

    /// Begins the time of the first request, after a TLS handshake.
    pub(super) fn restart(&self) {
        let mut state = self.state();
        state.deadline = Some(Instant::now() + state.head_timeout);
    }

    /// When the connection is to be closed if nothing changes. The task is woken if that is brought forward.
    pub(super) fn deadline(&self, cx: &Context<'_>) -> Option<Instant> {
        let mut state = self.state();
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        match state.phase {
            Phase::Serving => state.closing_since.filter(|_| state.is_aborted),
            Phase::Head | Phase::Idle => state.closing_since.or(state.deadline),
        }
    }

    /// Closes the connection if it is closable in that way. Returns false if it is not, or is closing already.
    pub(super) fn close(&self, closable: Closable) -> bool {
        let mut state = self.state();
        let is_serving = state.phase == Phase::Serving;
        let is_closable = match closable {
            Closable::Silent => !is_serving && !state.has_served,
            Closable::Idle => !is_serving,
            Closable::Unread => is_serving && state.unread_since.is_some_and(|since| since.elapsed() >= MAX_UNREAD),
        };
        if !is_closable || state.closing_since.is_some() {
            return false;
        }
        state.closing_since = Some(Instant::now());
        state.is_aborted = closable == Closable::Unread;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        true
    }

    /// Whether [`RequestPhase::close`] has ended a response.
    pub(super) fn is_aborted(&self) -> bool {
        self.state().is_aborted
    }

    /// A response begins to wait for the client to read.
    pub(super) fn on_unread(&self) {
        self.state().unread_since = Some(Instant::now());
    }

    /// The client has read, or the system has taken, what waited.
    pub(super) fn on_read(&self) {
        self.state().unread_since = None;
    }

    /// Whether [`RequestPhase::close`] has succeeded.
    pub(super) fn is_closing(&self) -> bool {
        self.state().closing_since.is_some()
    }

    /// Resolves when the connection is to be closed. For the time before its first request.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn closing(&self) {
        poll_fn(|cx| {
            self.deadline(cx);
            if self.is_closing() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The framing error of a request, and whether an earlier request is still being served.
    pub(super) fn bad_framing(&self) -> Option<(BadFraming, bool)> {
        let state = self.state();
        state.bad_framing.map(|bad| (bad, state.phase == Phase::Serving))
    }

    /// Bytes have arrived. The first ones on an idle connection begin a request.
    ///
    /// # Errors
    /// [`BadFraming`], which is kept.
    pub(super) fn on_bytes(&self, bytes: &[u8]) -> Result<(), BadFraming> {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            (state.phase, state.deadline) = (Phase::Head, Some(Instant::now() + state.head_timeout));
        }
        let scanned = state.scanner.scan(bytes);
        state.bad_framing = scanned.err();
        scanned
    }

    /// The head of a request is complete.
    pub(super) fn on_request(&self) {
        let mut state = self.state();
        (state.phase, state.deadline, state.has_served) = (Phase::Serving, None, true);
    }

    /// Whether the head of a request is awaited or arriving.
    pub(super) fn awaits_request(&self) -> bool {
        self.state().phase == Phase::Head
    }

    /// Whether a request is being served.
    pub(super) fn is_serving(&self) -> bool {
        self.state().phase == Phase::Serving
    }

    fn on_response_end(&self) {
        let mut state = self.state();
        (state.phase, state.deadline) = (Phase::Idle, Some(Instant::now() + state.keep_alive_timeout));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl PhaseBody ===

impl PhaseBody {
    pub(super) fn new(body: Body, phase: RequestPhase, counted: Option<CountedRequest>) -> Self {
        Self { body, phase, _counted: counted }
    }
}

impl HttpBody for PhaseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for PhaseBody {
    /// The HTTP library drops the body as soon as it has read the end.
    fn drop(&mut self) {
        self.phase.on_response_end();
    }
}
