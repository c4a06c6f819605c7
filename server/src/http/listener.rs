//! The listeners: bind, accept, and serve HTTP on what is accepted.

use super::request_phase::{PhaseBody, RequestPhase};
use super::timed_stream::TimedStream;
use super::tls::{self, TlsError};
use super::websocket::UpgradeGrant;
use super::{Http, HttpService};
use crate::config::listen::Listen;
use crate::shard::Stream;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use std::convert::Infallible;
use std::error::Error as _;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// What the kernel may hold unsent for one connection before it accepts no more. By default it would accept megabytes,
/// which no limit of ours would count. Bytes.
const NOTSENT_LOWAT: u32 = 256 * 1024;
/// The largest head of a request. Bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The response to a request whose header did not arrive in time.
const HEADER_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 22\r\n\r\nRequest header timeout";
/// Pause after the operating system refused to accept, for example because there are no file descriptors left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address is taken.
    #[error("port {0} is in use (on {1}); stop what listens there, or set another `port`")]
    Busy(u16, String),
    /// Ports below 1024 belong to root.
    #[error("permission denied for port {0} (on {1}): ports below 1024 need root or CAP_NET_BIND_SERVICE")]
    Forbidden(u16, String),
    /// The host does not resolve, or is not an address of this machine.
    #[error("cannot listen on {0}: {1}")]
    Other(String, String),
    /// The certificate or key is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A bound listener, which does not accept yet.
pub struct Bound {
    listener: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
    address: SocketAddr,
    publishes_locally: Option<bool>,
}

/// Where the service leaves an accepted WebSocket handshake for the task that owns the socket.
#[derive(Clone, Default)]
struct Handover(Arc<Mutex<Option<GrantedUpgrade>>>);

/// An accepted WebSocket handshake, and its response.
struct GrantedUpgrade {
    grant: UpgradeGrant,
    response: Vec<u8>,
}

/// How an HTTP connection ended.
enum Ended {
    /// The client or a response closed it, or a shard takes it over.
    Normally,
    /// No request arrived in time.
    TimedOut,
    /// It broke, or the client violated HTTP.
    Failed(hyper::Error),
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

// === impl Bound ===

impl Bound {
    /// Binds. Port 0 picks a free one.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let tls = listen.tls.as_ref().map(|files| tls::acceptor(&files.cert, &files.key)).transpose()?;
        let place = format!("{}:{}", listen.host, listen.port);
        let other = |error: io::Error| ListenError::Other(place.clone(), error.to_string());
        let mut addresses = (listen.host.as_str(), listen.port).to_socket_addrs().map_err(other)?;
        let wanted = addresses.next().ok_or_else(|| other(io::ErrorKind::AddrNotAvailable.into()))?;
        let socket = if wanted.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.map_err(other)?;
        socket.set_reuseaddr(true).map_err(other)?;
        let listener =
            socket.bind(wanted).and_then(|()| socket.listen(BACKLOG)).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => ListenError::Busy(listen.port, listen.host.clone()),
                io::ErrorKind::PermissionDenied => ListenError::Forbidden(listen.port, listen.host.clone()),
                _ => other(error),
            })?;
        // Every accepted socket inherits both: small messages leave at once, and what exceeds the limit waits in the send
        // buffer, where it is bounded and counted.
        SockRef::from(&listener).set_tcp_nodelay(true).map_err(other)?;
        SockRef::from(&listener).set_tcp_notsent_lowat(NOTSENT_LOWAT).map_err(other)?;
        let address = listener.local_addr().map_err(other)?;
        Ok(Self { listener, tls, address, publishes_locally: listen.publish_locally })
    }

    /// Whether programs on this machine may publish here without a key. `None`: as on all listeners.
    pub(crate) fn publishes_locally(&self) -> Option<bool> {
        self.publishes_locally
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the listener.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match self.address {
            SocketAddr::V6(address) if address.ip().is_unspecified() => {
                format!("{scheme}://localhost:{}", address.port())
            }
            SocketAddr::V4(address) if address.ip().is_unspecified() => {
                format!("{scheme}://localhost:{}", address.port())
            }
            address => format!("{scheme}://{address}"),
        }
    }

    /// Accepts and serves until `stop` is set. Then accepts no more.
    pub async fn serve(self, service: HttpService, mut stop: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // A connection that was gone before it was accepted is not a failure.
                    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                        if !failing {
                            tracing::error!(%error, "cannot accept connections; raise the limit of open files");
                        }
                        failing = true;
                        tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                    }
                    continue;
                }
            };
            if failing {
                tracing::info!("accepting connections again");
                failing = false;
            }
            let service = service.clone();
            let Some(tls) = self.tls.clone() else {
                tokio::spawn(serve_http(stream, service, peer));
                continue;
            };
            tokio::spawn(async move {
                let http = service.http();
                match tokio::time::timeout(http.settings.request_timeout, tls.accept(stream)).await {
                    Ok(Ok(stream)) => serve_http(stream, service, peer).await,
                    Ok(Err(error)) => {
                        tracing::debug!(client = %peer.ip().to_canonical(), %error, "TLS handshake failed")
                    }
                    Err(_) => {
                        http.metrics.request_timeouts.fetch_add(1, Relaxed);
                        tracing::info!(client = %peer.ip().to_canonical(), "TLS handshake timed out");
                    }
                }
            });
        }
    }
}

/// Serves HTTP on a stream, until it ends or a WebSocket handshake is accepted. Then hands the socket to a shard, which
/// sends the response together with its own first message.
async fn serve_http(stream: impl IntoSocket, service: HttpService, peer: SocketAddr) {
    let (peer, http) = (peer.ip().to_canonical(), service.http());
    let handover = Handover::default();
    let granted = handover.clone();
    let phase = RequestPhase::new(http.settings.request_timeout, http.settings.keep_alive_timeout);
    let serving = phase.clone();
    let on_request = service_fn(move |request: hyper::Request<Incoming>| {
        let (service, granted, phase) = (service.clone(), granted.clone(), serving.clone());
        phase.on_request();
        Box::pin(async move {
            let mut response = service.serve(request.map(Body::new), peer).await;
            if let Some(grant) = response.extensions_mut().remove::<UpgradeGrant>() {
                granted.put(GrantedUpgrade { grant, response: head_of(&response) });
                // Nothing more is to be written here.
                return std::future::pending().await;
            }
            Ok::<_, Infallible>(response.map(|body| PhaseBody::new(body, phase)))
        })
    });
    let stream = TokioIo::new(TimedStream::new(stream, http.settings.write_timeout, phase.clone()));
    let mut connection = http1::Builder::new()
        // The phase has the timeouts.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(stream, on_request);
    let mut timeout = pin!(tokio::time::sleep(http.settings.request_timeout));
    let ended = poll_fn(|cx| {
        if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(result.err().map_or(Ended::Normally, Ended::Failed));
        }
        if handover.is_set() {
            return Poll::Ready(Ended::Normally);
        }
        let Some(deadline) = phase.deadline() else { return Poll::Pending };
        if timeout.deadline() != deadline {
            timeout.as_mut().reset(deadline);
        }
        timeout.as_mut().poll(cx).map(|()| Ended::TimedOut)
    })
    .await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    if let Some(GrantedUpgrade { grant, response }) = handover.take() {
        return match stream.into_inner().into_socket() {
            Ok(socket) => grant.attach(&http, socket, response, parts.read_buf),
            Err(error) => tracing::warn!(%error, "could not hand a socket to its shard"),
        };
    }
    if let Some(response) = count_end(&ended, !parts.read_buf.is_empty(), &http, peer) {
        let _ = stream.write_all(response).await;
    }
    let _ = stream.shutdown().await;
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
fn count_end(ended: &Ended, has_begun: bool, http: &Http, client: IpAddr) -> Option<&'static [u8]> {
    let metrics = &http.metrics;
    match ended {
        Ended::Normally => {}
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
        Ended::Failed(error) if is_stall(error) => {
            metrics.request_timeouts.fetch_add(1, Relaxed);
            tracing::info!(%client, "a response was not read in time");
        }
        Ended::Failed(error) => tracing::debug!(%client, %error, "HTTP connection closed"),
    }
    None
}

/// Whether [`TimedStream`] ended the connection.
fn is_stall(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::TimedOut)
}

/// A stream that can be taken back from the HTTP runtime.
trait IntoSocket: AsyncRead + AsyncWrite + Unpin + Send {
    fn into_socket(self) -> io::Result<Stream>;
}

impl IntoSocket for TcpStream {
    fn into_socket(self) -> io::Result<Stream> {
        Ok(Stream::plain(self.into_std()?))
    }
}

impl IntoSocket for tokio_rustls::server::TlsStream<TcpStream> {
    fn into_socket(self) -> io::Result<Stream> {
        let (tcp, tls) = self.into_inner();
        Ok(Stream::tls(tcp.into_std()?, tls))
    }
}
