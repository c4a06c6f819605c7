//! The socket of an HTTP connection: it waits only so long for the client to read, and notes when the client sends.
//!
//! The HTTP library would hold a response that is not read for ever. While something waits to be written, the client must
//! read [`MIN_RATE`] on average over the write timeout: a client that reads a byte now and then keeps no socket. What was
//! read is given to [`RequestPhase`], which decides how long the server waits for a request, and rejects what the
//! library would accept.

use super::request_phase::RequestPhase;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// What a client must read while something waits. Bytes per second.
const MIN_RATE: u64 = 1024;

/// The socket.
pub(super) struct TimedStream<S> {
    socket: S,
    /// Time over which the rate is measured, and so the maximum time for which the socket may accept nothing.
    timeout: Duration,
    /// Present while something waits to be written.
    unread: Option<Unread>,
    phase: RequestPhase,
}

/// What a client has read since it was measured the last time.
struct Unread {
    timer: Pin<Box<Sleep>>,
    written: u64,
}

// === impl TimedStream ===

impl<S> TimedStream<S> {
    /// # Units
    /// `timeout` is how long the socket may accept less than [`MIN_RATE`].
    pub(super) fn new(socket: S, timeout: Duration, phase: RequestPhase) -> Self {
        Self { socket, timeout, unread: None, phase }
    }

    pub(super) fn into_inner(self) -> S {
        self.socket
    }

    /// Passes the result of a write on, or fails if the client reads too slowly. `written`: its bytes.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
        written: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = &result {
            if let (Some(unread), Ok(done)) = (&mut self.unread, done) {
                unread.written += written(done) as u64;
            }
            return result;
        }
        let (timeout, phase) = (self.timeout, &self.phase);
        let unread = self.unread.get_or_insert_with(|| {
            phase.on_unread();
            Unread { timer: Box::pin(sleep(timeout)), written: 0 }
        });
        loop {
            ready!(unread.timer.as_mut().poll(cx));
            if u128::from(unread.written) * 1000 < u128::from(MIN_RATE) * timeout.as_millis() || unread.written == 0
            {
                let reason = "the response was not read in time";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
            }
            unread.written = 0;
            unread.timer.as_mut().reset(Instant::now() + timeout);
        }
    }

    /// As [`TimedStream::watch`], for a result after which nothing waits.
    fn watch_end(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if result.is_ready() && self.unread.take().is_some() {
            self.phase.on_read();
        }
        self.watch(cx, result, |()| 0)
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
        self.watch(cx, written, |written| *written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.watch(cx, written, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.watch_end(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.watch_end(cx, shut)
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

    /// Writes 8 parts, of which the client reads one every 200 ms.
    async fn write_to_slow_client(part: usize) -> io::Result<()> {
        let (here, mut there) = duplex(part);
        let mut patient = timed(here, Duration::from_secs(1));
        let reading = tokio::spawn(async move {
            let mut bytes = vec![0; part];
            for _ in 0..8 {
                sleep(Duration::from_millis(200)).await;
                there.read_exact(&mut bytes).await?;
            }
            io::Result::Ok(())
        });
        patient.write_all(&vec![b'x'; 8 * part]).await?;
        reading.await.unwrap()
    }

    /// The client takes longer than the timeout in total, but reads more than the minimum.
    #[tokio::test]
    async fn a_client_that_reads_slowly_is_served() {
        write_to_slow_client(1024).await.unwrap();
    }

    /// Weakness 15: a client that reads a byte now and then kept its socket.
    #[tokio::test]
    async fn a_client_that_reads_less_than_the_minimum_is_closed() {
        let error = write_to_slow_client(1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
