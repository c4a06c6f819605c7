//! The socket of an HTTP connection: it waits only so long for the client to read, and notes when the client sends.
//!
//! The HTTP library would hold a response that is not read for ever. Any progress restarts the write timeout. What was
//! read is given to [`RequestPhase`], which decides how long the server waits for a request, and rejects what the
//! library would accept.

use super::request_phase::RequestPhase;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The socket.
pub(super) struct TimedStream<S> {
    socket: S,
    /// Maximum time for which the socket may accept nothing.
    timeout: Duration,
    /// Runs while something waits to be written.
    stall: Option<Pin<Box<Sleep>>>,
    phase: RequestPhase,
}

// === impl TimedStream ===

impl<S> TimedStream<S> {
    /// # Units
    /// `timeout` is how long the socket may accept nothing.
    pub(super) fn new(socket: S, timeout: Duration, phase: RequestPhase) -> Self {
        Self { socket, timeout, stall: None, phase }
    }

    pub(super) fn into_inner(self) -> S {
        self.socket
    }

    /// Passes the result of a write on, or fails if it has been pending for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let timeout = self.timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the response was not read in time")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let filled = into.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, into);
        let arrived = &into.filled()[filled..];
        if !arrived.is_empty() {
            self.phase.on_bytes(arrived).map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))?;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.watch(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    fn timed<S>(socket: S, timeout: Duration) -> TimedStream<S> {
        TimedStream::new(socket, timeout, RequestPhase::new(timeout, timeout))
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_for_too_long_is_closed() {
        let (here, _there) = duplex(4);
        let mut patient = timed(here, Duration::from_millis(20));
        let error = patient.write_all(b"more than four").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// The client takes longer than the timeout in total, but always makes progress within it.
    #[tokio::test]
    async fn a_client_that_reads_slowly_is_served() {
        let (here, mut there) = duplex(1);
        let mut patient = timed(here, Duration::from_secs(1));
        let reading = tokio::spawn(async move {
            for _ in 0..8 {
                sleep(Duration::from_millis(200)).await;
                there.read_u8().await.unwrap();
            }
        });
        patient.write_all(b"8 bytes!").await.unwrap();
        reading.await.unwrap();
    }
}
