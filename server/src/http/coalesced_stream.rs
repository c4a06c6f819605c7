//! One write for the responses to pipelined requests.
//!
//! The HTTP library writes each response by itself, and each write may wake the client. Small writes are held
//! here instead, until the library has served all requests that have arrived: the task of the connection then calls
//! [`CoalescedStream::poll_send`]. What a client does not read is not held: the next write waits until the socket has
//! taken what is here.

use bytes::{Buf as _, Bytes, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that is held. Larger writes go to the socket at once. Bytes.
const MAX_HELD: usize = 8 * 1024;

/// A socket whose small writes are sent together. The HTTP library and the task of the connection share it.
pub(super) struct CoalescedStream<S>(Arc<Mutex<Coalesced<S>>>);

struct Coalesced<S> {
    socket: S,
    held: BytesMut,
}

// === impl CoalescedStream ===

impl<S: AsyncWrite + Unpin> CoalescedStream<S> {
    pub(super) fn new(socket: S) -> Self {
        Self(Arc::new(Mutex::new(Coalesced { socket, held: BytesMut::new() })))
    }

    /// Another handle of the same socket.
    pub(super) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Sends what is held.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut coalesced = self.locked();
        if coalesced.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(coalesced.poll_send(cx))?;
        Pin::new(&mut coalesced.socket).poll_flush(cx)
    }

    /// The socket, and what is held. `None`: there is another handle.
    pub(super) fn into_inner(self) -> Option<(S, Bytes)> {
        let coalesced = Arc::into_inner(self.0)?.into_inner().unwrap_or_else(PoisonError::into_inner);
        Some((coalesced.socket, coalesced.held.freeze()))
    }
}

impl<S> CoalescedStream<S> {
    fn locked(&self) -> MutexGuard<'_, Coalesced<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Coalesced ===

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    /// Writes what is held.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CoalescedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.locked().socket).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CoalescedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut coalesced = self.locked();
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        if coalesced.held.len() + bytes <= MAX_HELD {
            for part in parts {
                coalesced.held.extend_from_slice(part);
            }
            return Poll::Ready(Ok(bytes));
        }
        ready!(coalesced.poll_send(cx))?;
        Pin::new(&mut coalesced.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.locked().socket.is_write_vectored()
    }

    /// What is held is sent later.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut coalesced = self.locked();
        if !coalesced.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut coalesced.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut coalesced = self.locked();
        ready!(coalesced.poll_send(cx))?;
        Pin::new(&mut coalesced.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test]
    async fn small_writes_are_sent_together_and_in_order() {
        let (here, mut there) = duplex(64 * 1024);
        let mut stream = CoalescedStream::new(here);
        let mut bytes = vec![0; 64 * 1024];
        for part in ["a", "bc"] {
            stream.write_all(part.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert!(there.read(&mut bytes).now_or_never().is_none(), "they are held");
        poll_fn(|cx| stream.poll_send(cx)).await.unwrap();
        assert_eq!(there.read(&mut bytes).await.unwrap(), 3);
        stream.write_all(b"d").await.unwrap();
        stream.write_all(&[b'e'; MAX_HELD]).await.unwrap();
        assert_eq!(there.read(&mut bytes[3..]).await.unwrap(), 1 + MAX_HELD, "a large write is not held");
        assert_eq!(bytes[..5], *b"abcde");
    }

    #[tokio::test]
    async fn what_a_client_does_not_read_is_limited() {
        let (here, mut there) = duplex(10);
        let mut stream = CoalescedStream::new(here);
        stream.write_all(&[b'a'; MAX_HELD]).await.unwrap();
        assert!(stream.write_all(b"b").now_or_never().is_none(), "10 bytes are sent, and the rest waits");
        assert!(poll_fn(|cx| stream.poll_send(cx)).now_or_never().is_none());
        let mut bytes = Vec::new();
        let sent = async {
            poll_fn(|cx| stream.poll_send(cx)).await.unwrap();
            stream.write_all(b"b").await.unwrap();
            stream.shutdown().await.unwrap();
            drop(stream);
        };
        tokio::join!(sent, there.read_to_end(&mut bytes)).1.unwrap();
        assert_eq!((bytes.len(), bytes.last()), (MAX_HELD + 1, Some(&b'b')));
    }

    #[tokio::test]
    async fn the_socket_is_returned_with_what_is_held() {
        let (here, _there) = duplex(10);
        let mut stream = CoalescedStream::new(here);
        stream.write_all(b"a").await.unwrap();
        let other = stream.share();
        assert!(stream.into_inner().is_none());
        assert_eq!(other.into_inner().unwrap().1, "a");
    }
}
