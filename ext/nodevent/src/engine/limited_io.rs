//! Limits what a peer may send in response to one request, before anything reads it.
//!
//! The HTTP client limits neither the number of interim responses (status 1xx) nor what they cost: a program in the place
//! of the server could keep a core busy until the timeout, again and again. Here each connection fails as soon as it has
//! delivered more than a response may have.

use hyper::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;
use tower_service::Service;

/// The maximum size of a response with its heads. The body alone has a smaller limit. Bytes.
const MAX_RESPONSE: usize = 2 * 1024 * 1024;
/// How much is read at a time. Bytes.
const CHUNK: usize = 16 * 1024;

/// Makes connections whose responses are limited.
#[derive(Clone, Debug)]
pub(super) struct LimitedConnector(pub(super) HttpsConnector<HttpConnector>);

/// A connection whose responses are limited.
pub(super) struct LimitedIo<S> {
    stream: S,
    /// Bytes since the last request. Those of a request are written before its response is read.
    read: usize,
}

impl Service<Uri> for LimitedConnector {
    type Response = LimitedIo<MaybeHttpsStream<TokioIo<TcpStream>>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move { Ok(LimitedIo { stream: connecting.await?, read: 0 }) })
    }
}

impl<S: Read + Unpin> Read for LimitedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let length = out.remaining().min(CHUNK);
        let mut read = ReadBuf::uninit(&mut chunk[..length]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, read.unfilled()))?;
        self.read += read.filled().len();
        if self.read > MAX_RESPONSE {
            return Poll::Ready(Err(io::Error::other("the response is larger than 2 MB")));
        }
        out.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> Write for LimitedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.read = 0;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.read = 0;
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }
}

impl<S: Connection> Connection for LimitedIo<S> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}
