//! One HTTP connection: its requests, its timeouts, and the handing over of its socket to a shard.

use super::admission::CountedRequest;
use super::coalesced_stream::CoalescedStream;
use super::peer::Source;
use super::request_phase::{PhaseBody, RequestPhase};
use super::timed_stream::TimedStream;
use super::websocket::UpgradeGrant;
use super::{Http, HttpService};
use crate::metrics::Metrics;
use crate::shard::{DeferredWakes, Stream};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::error::Error as _;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

/// The largest head of a request. Bytes.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Time in which a socket that closes to make room may take the end of the stream.
const MAX_LAST_WRITE: Duration = Duration::from_millis(100);
/// The response to a request that the HTTP library would understand differently from other programs.
const BAD_FRAMING: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 17\r\n\r\nMalformed request";
/// The response to a request whose header did not arrive in time.
const HEADER_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 22\r\n\r\nRequest header timeout";
/// Passes an accepted WebSocket handshake from the service to the task that owns the socket.
#[derive(Clone, Default)]
struct Handover(Arc<Mutex<Option<GrantedUpgrade>>>);

/// An accepted WebSocket handshake, and its response.
struct GrantedUpgrade {
    grant: UpgradeGrant,
    response: Vec<u8>,
}

/// The end of an HTTP connection.
enum Ended {
    /// The client or a response closed it, or a shard takes it over.
    Normally,
    /// No request arrived in time.
    TimedOut,
    /// It broke, or the client violated HTTP.
    Failed(hyper::Error),
    /// It broke, or the client did not read, when responses were sent that were ready.
    Unsent(io::Error),
}

// === impl Handover ===

impl Handover {
    fn put(&self, granted: GrantedUpgrade) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(granted);
    }

    fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<GrantedUpgrade> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Serves HTTP on a stream, until it ends or a WebSocket handshake is accepted. Then hands the socket to a shard, which
/// sends the response together with its own first message.
pub(super) async fn serve(stream: impl IntoSocket, service: HttpService, source: Source, phase: RequestPhase) {
    let http = service.http();
    phase.restart();
    let handover = Handover::default();
    let granted = handover.clone();
    let serving = phase.clone();
    let on_request = service_fn(move |request: hyper::Request<Incoming>| {
        let (service, granted, phase) = (service.clone(), granted.clone(), serving.clone());
        phase.on_request();
        let headers = request.headers();
        // What follows such a request cannot be checked; see `head_scanner`. The visitor of a connection that was handed over
        // is that of one request: a proxy may send those of others on it.
        let is_last = headers.contains_key(header::TRANSFER_ENCODING)
            || headers.contains_key(header::UPGRADE)
            || matches!(source, Source::HandedOver(_));
        Box::pin(async move {
            let mut response = service.serve(request.map(Body::new), source).await;
            if let Some(grant) = response.extensions_mut().remove::<UpgradeGrant>() {
                granted.put(GrantedUpgrade { grant, response: head_of(&response) });
                // Nothing more is to be written here.
                return std::future::pending().await;
            }
            if is_last {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let counted = response.extensions_mut().remove::<CountedRequest>();
            Ok::<_, Infallible>(response.map(|body| PhaseBody::new(body, phase, counted)))
        })
    });
    let stream = CoalescedStream::new(TimedStream::new(stream, http.settings().write_timeout, phase.clone()));
    let responses = stream.share();
    let mut connection = http1::Builder::new()
        // The phase has the timeouts.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), on_request);
    let mut timeout = pin!(tokio::time::sleep(http.settings().request_timeout));
    let ended = poll_fn(|cx| {
        let deferred = DeferredWakes::begin();
        let polled = connection.poll_without_shutdown(cx);
        drop(deferred);
        if let Poll::Ready(result) = polled {
            return Poll::Ready(result.err().map_or(Ended::Normally, Ended::Failed));
        }
        if handover.is_set() {
            return Poll::Ready(Ended::Normally);
        }
        if let Poll::Ready(Err(error)) = responses.poll_send(cx) {
            return Poll::Ready(Ended::Unsent(error));
        }
        let Some(deadline) = phase.deadline(cx) else { return Poll::Pending };
        if deadline <= Instant::now() {
            return Poll::Ready(Ended::TimedOut);
        }
        if timeout.deadline() != deadline {
            timeout.as_mut().reset(deadline);
        }
        timeout.as_mut().poll(cx).map(|()| Ended::TimedOut)
    })
    .await;
    let parts = connection.into_parts();
    drop(parts.io);
    // The library has given its handle back.
    let Some((mut stream, held)) = responses.into_inner() else { return };
    if let Some(GrantedUpgrade { grant, response }) = handover.take() {
        let response = if held.is_empty() { response } else { [&held, &*response].concat() };
        return match stream.into_inner().into_socket() {
            Ok((socket, unread)) => {
                let read_ahead =
                    if unread.is_empty() { parts.read_buf } else { [parts.read_buf, unread].concat().into() };
                grant.attach(&http, socket, response, read_ahead, source.address());
            }
            Err(error) => tracing::warn!(%error, "could not hand a socket to its shard"),
        };
    }
    let response = count_end(&ended, !parts.read_buf.is_empty(), &phase, &http, source.address());
    let last_write = async {
        if !matches!(ended, Ended::Unsent(_)) {
            let _ = stream.write_all(&held).await;
        }
        if let Some(response) = response {
            let _ = stream.write_all(response).await;
        }
        let _ = stream.shutdown().await;
    };
    if phase.is_closing() {
        // Another socket waits for its place.
        let _ = tokio::time::timeout(MAX_LAST_WRITE, last_write).await;
    } else {
        last_write.await;
    }
}

/// The header of the response to a handshake, as it is sent.
fn head_of(response: &Response) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Counts and logs what ended an HTTP connection. Returns the response that is still to be sent. `has_begun`: a part of a
/// request has arrived.
fn count_end(
    ended: &Ended,
    has_begun: bool,
    phase: &RequestPhase,
    http: &Http,
    client: IpAddr,
) -> Option<&'static [u8]> {
    let metrics = &http.metrics;
    if let Some((reason, is_serving)) = phase.bad_framing() {
        metrics.rejected_requests.fetch_add(1, Relaxed);
        tracing::info!(%client, %reason, "request rejected: malformed");
        return (!is_serving).then_some(BAD_FRAMING);
    }
    match ended {
        Ended::Normally => {}
        Ended::TimedOut if phase.is_aborted() => {
            metrics.request_timeouts.fetch_add(1, Relaxed);
            tracing::info!(%client, "a response was not read, and its socket was closed to make room");
        }
        Ended::TimedOut if has_begun => {
            metrics.request_timeouts.fetch_add(1, Relaxed);
            tracing::info!(%client, "request rejected: its header did not arrive in time");
            return Some(HEADER_TIMEOUT);
        }
        Ended::TimedOut => tracing::debug!(%client, "idle HTTP connection closed"),
        Ended::Failed(error) if error.is_parse_too_large() => {
            metrics.oversized_requests.fetch_add(1, Relaxed);
            tracing::info!(max_bytes = MAX_HEAD_BYTES, %client, "request rejected: header too large");
        }
        Ended::Failed(error) if error.is_parse() => {
            metrics.rejected_requests.fetch_add(1, Relaxed);
            tracing::info!(%client, "request rejected: not HTTP/1.1");
        }
        Ended::Failed(error) if error.source().and_then(|one| one.downcast_ref()).is_some_and(is_stall) => {
            count_stall(metrics, client);
        }
        Ended::Unsent(error) if is_stall(error) => count_stall(metrics, client),
        Ended::Unsent(error) => tracing::debug!(%client, %error, "HTTP connection closed"),
        Ended::Failed(error) => tracing::debug!(%client, %error, "HTTP connection closed"),
    }
    None
}

/// Whether [`TimedStream`] ended the connection.
fn is_stall(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// Counts and logs a response that was not read.
fn count_stall(metrics: &Metrics, client: IpAddr) {
    metrics.request_timeouts.fetch_add(1, Relaxed);
    tracing::info!(%client, "a response was not read in time");
}

/// A stream that can be taken back from the HTTP library.
pub(super) trait IntoSocket: AsyncRead + AsyncWrite + Unpin + Send {
    /// The socket, and what was read of it that the HTTP library has not seen.
    fn into_socket(self) -> io::Result<(Stream, Bytes)>;
}

impl IntoSocket for TcpStream {
    fn into_socket(self) -> io::Result<(Stream, Bytes)> {
        Ok((Stream::plain(self.into_std()?), Bytes::new()))
    }
}

impl IntoSocket for tokio_rustls::server::TlsStream<TcpStream> {
    fn into_socket(self) -> io::Result<(Stream, Bytes)> {
        let (tcp, tls) = self.into_inner();
        Ok((Stream::tls(tcp.into_std()?, tls), Bytes::new()))
    }
}

impl IntoSocket for UnixStream {
    fn into_socket(self) -> io::Result<(Stream, Bytes)> {
        // The publish socket serves no WebSockets.
        Err(io::ErrorKind::Unsupported.into())
    }
}
