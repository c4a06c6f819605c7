//! The listeners, on TCP and on Unix sockets: bind, accept, and learn who the client is. `connection` serves what is accepted.

use super::admission::Limit;
use super::inherited::{Inherited, ListeningSocket};
use super::peer::Source;
use super::tls::{Certificate, TlsError};
use super::unix_socket::UnixSocket;
use super::{HttpService, connection, proxy_protocol, tls_handshake};
use crate::client::Client;
use crate::config::listen::Listen;
use socket2::SockRef;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// Maximum unsent bytes that the kernel holds for one connection before it accepts no more. By default it would accept
/// megabytes, which no limit would count. Bytes.
const NOTSENT_LOWAT: u32 = 256 * 1024;
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
    /// A Unix socket cannot be created.
    #[error("cannot listen on the Unix socket {0}: {1}")]
    Socket(PathBuf, String),
    /// A socket that another program has opened cannot be used.
    #[error(
        "systemd passes the socket {0}, but {1}; write a listener with this address, or delete it from the .socket unit"
    )]
    Inherited(String, String),
    /// The certificate or key is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A bound listener, which does not accept yet.
pub struct Bound {
    listener: Listener,
    tls: Option<(Arc<Certificate>, TlsAcceptor)>,
    publishes_locally: Option<bool>,
    proxy_protocol: bool,
}

/// Where connections come from.
enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixSocket),
}

/// Tracks whether connections are refused because of a limit, to log only the start and the end.
#[derive(Debug, Default)]
struct Shortage {
    is_logged: bool,
}

// === impl Bound ===

impl Bound {
    /// Binds. Port 0 picks a free one.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(listen: &Listen) -> Result<Self, ListenError> {
        Self::bind_or_take(listen, &mut Inherited::default())
    }

    /// The same, or takes the socket of its address that another program has opened.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind_or_take(listen: &Listen, inherited: &mut Inherited) -> Result<Self, ListenError> {
        let with_acceptor =
            |certificate: Arc<Certificate>| certificate.acceptor().map(|acceptor| (certificate, acceptor));
        let tls = listen.tls.as_ref().map(|files| Certificate::open(files).and_then(with_acceptor)).transpose()?;
        let listener = match &listen.socket {
            Some(socket) => Listener::Unix(UnixSocket::bind_or_take(&socket.path, socket.mode, inherited)?),
            None => Listener::bind_tcp(listen, inherited)?,
        };
        let (publishes_locally, proxy_protocol) = (listen.publish_locally, listen.proxy_protocol);
        Ok(Self { listener, tls, publishes_locally, proxy_protocol })
    }

    /// Whether programs on this machine may publish here without a key. `None`: as on all listeners.
    pub(crate) fn publishes_locally(&self) -> Option<bool> {
        self.publishes_locally
    }

    /// The URL of the listener. That of a Unix socket is its path.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.listener {
            Listener::Unix(socket) => format!("unix:{}", socket.path().display()),
            Listener::Tcp(_, address) if address.ip().is_unspecified() => {
                format!("{scheme}://localhost:{}", address.port())
            }
            Listener::Tcp(_, address) => format!("{scheme}://{address}"),
        }
    }

    /// The socket for the server that replaces this one.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn share(&self) -> io::Result<ListeningSocket> {
        match &self.listener {
            Listener::Tcp(listener, _) => listener.as_fd().try_clone_to_owned().map(ListeningSocket::tcp),
            Listener::Unix(socket) => socket.share(),
        }
    }

    /// Its certificate, if it has one.
    pub(crate) fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.tls.as_ref().map(|(certificate, _)| certificate)
    }

    /// Accepts and serves until `stop` is set. Then accepts no more. A change of `reload` makes it read its certificate
    /// again.
    pub async fn serve(self, service: HttpService, reload: watch::Receiver<()>, mut stop: watch::Receiver<bool>) {
        if let Some((certificate, _)) = &self.tls {
            tokio::spawn(Arc::clone(certificate).watch(reload));
        }
        let mut shortage = Shortage::default();
        let mut stopped = pin!(stop.wait_for(|stop| *stop));
        loop {
            let accepted = tokio::select! {
                _ = &mut stopped => return,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // A connection that was gone before it was accepted is not a failure.
                    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                        shortage.begins(&format!("{error}; {}", Limit::OpenFiles.as_str()));
                        tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                    }
                    continue;
                }
            };
            let phase = service.new_phase();
            let admitted = match service.admit(stream.as_raw_fd(), peer, &phase) {
                Ok(admitted) => admitted,
                Err(limit) => {
                    shortage.begins_at(limit);
                    service.http().metrics.rejected_connections.fetch_add(1, Relaxed);
                    tracing::info!(client = %peer, reason = limit.as_str(), "connection closed before its request");
                    continue;
                }
            };
            let (service, phase) = match admitted.limit {
                Some(limit) => {
                    shortage.begins_at(limit);
                    let service = service.health_checks_only();
                    let phase = service.new_phase();
                    (service, phase)
                }
                None => {
                    shortage.ends();
                    (service.clone(), phase)
                }
            };
            let tls = self.tls.as_ref().map(|(_, acceptor)| acceptor.clone());
            let proxy_protocol = self.proxy_protocol;
            if tls.is_none() && !proxy_protocol {
                // A task of its own, because it is much smaller than the one below.
                tokio::spawn(async move {
                    let _admitted = admitted;
                    connection::serve(stream, service, Source::Tcp(peer), phase).await;
                });
                continue;
            }
            tokio::spawn(async move {
                let _admitted = admitted;
                let identified = tokio::select! {
                    identified = identify(stream, tls, peer, proxy_protocol, &service) => identified,
                    () = phase.closing() => return,
                };
                match identified {
                    Some(Identified::Plain(stream, source)) => {
                        connection::serve(stream, service, source, phase).await
                    }
                    Some(Identified::Tls(stream, source)) => {
                        connection::serve(*stream, service, source, phase).await
                    }
                    None => {}
                }
            });
        }
    }
}

// === impl Listener ===

impl Listener {
    fn bind_tcp(listen: &Listen, inherited: &mut Inherited) -> Result<Self, ListenError> {
        let place = format!("{}:{}", listen.host, listen.port);
        let other = |error: io::Error| ListenError::Other(place.clone(), error.to_string());
        let addresses = (listen.host.as_str(), listen.port).to_socket_addrs().map_err(other)?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let wanted = *addresses.first().ok_or_else(|| other(io::ErrorKind::AddrNotAvailable.into()))?;
        let listener = match inherited.take_tcp(&addresses) {
            Some(listener) => TcpListener::from_std(listener).map_err(other)?,
            None => open(wanted).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => ListenError::Busy(listen.port, listen.host.clone()),
                io::ErrorKind::PermissionDenied => ListenError::Forbidden(listen.port, listen.host.clone()),
                _ => other(error),
            })?,
        };
        // Every accepted socket inherits it.
        tune(&SockRef::from(&listener)).map_err(other)?;
        let address = listener.local_addr().map_err(other)?;
        Ok(Self::Tcp(listener, address))
    }

    /// Accepts a connection. The clients of a Unix socket are programs on this machine, and so are their addresses.
    async fn accept(&self) -> io::Result<(TcpStream, IpAddr)> {
        match self {
            Self::Tcp(listener, _) => {
                listener.accept().await.map(|(stream, peer)| (stream, peer.ip().to_canonical()))
            }
            Self::Unix(socket) => {
                let stream = socket.try_accept().await?;
                // Everything that is done with an accepted socket is the same for both kinds.
                let descriptor = OwnedFd::from(stream.into_std()?);
                Ok((TcpStream::from_std(descriptor.into())?, IpAddr::V4(Ipv4Addr::LOCALHOST)))
            }
        }
    }
}

/// Opens a listening socket. The unspecified address of IPv6 includes IPv4, and is that of IPv4 where there is no IPv6.
fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let opened = listen_on(address);
    match &opened {
        Err(error) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && is_without_ipv6(error) => {
            listen_on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        _ => opened,
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    if address.is_ipv6() {
        SockRef::from(&socket).set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Sets what sockets of clients need: small messages leave at once, and what exceeds the limit waits in the send buffer,
/// where it is bounded and counted.
pub(super) fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)
}

/// A connection whose client is known, after its TLS handshake.
enum Identified {
    Plain(TcpStream, Source),
    Tls(Box<TlsStream<TcpStream>>, Source),
}

/// Learns the client of a connection, and does the TLS handshake. Logs and counts a failure.
async fn identify(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    peer: IpAddr,
    proxy_protocol: bool,
    service: &HttpService,
) -> Option<Identified> {
    let (http, timeout) = (service.http(), service.timeouts().0);
    let (stream, source) = if proxy_protocol {
        match tokio::time::timeout(timeout, client_of(stream, peer, service)).await {
            Ok(client) => client?,
            Err(_) => {
                http.metrics.request_timeouts.fetch_add(1, Relaxed);
                tracing::info!(client = %peer, "connection closed: its header of the PROXY protocol did not arrive in time");
                return None;
            }
        }
    } else {
        (stream, Source::Tcp(peer))
    };
    let Some(tls) = tls else { return Some(Identified::Plain(stream, source)) };
    let client = source.address();
    let handshake = tls_handshake::accept(&http.tls_turns, &tls, stream, Client::of(client));
    match tokio::time::timeout(timeout, handshake).await {
        Ok(Ok(stream)) => Some(Identified::Tls(Box::new(stream), source)),
        Ok(Err(error)) => {
            tracing::debug!(%client, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            http.metrics.request_timeouts.fetch_add(1, Relaxed);
            tracing::info!(%client, "TLS handshake timed out");
            None
        }
    }
}

/// The client that a trusted proxy names. Logs and counts a connection of others, and one without the header.
async fn client_of(mut stream: TcpStream, peer: IpAddr, service: &HttpService) -> Option<(TcpStream, Source)> {
    let http = service.http();
    let reason = match http.settings().trusted_proxies.contains(peer) {
        false => "it is not in `trusted_proxies`".to_owned(),
        true => match proxy_protocol::read(&mut stream).await {
            Ok(Some(client)) => return Some((stream, Source::Proxied(client))),
            Ok(None) => return Some((stream, Source::Unnamed(peer))),
            Err(error) => error.to_string(),
        },
    };
    http.metrics.rejected_requests.fetch_add(1, Relaxed);
    tracing::info!(client = %peer, "connection closed on a listener with the PROXY protocol: {reason}");
    None
}

// === impl Shortage ===

impl Shortage {
    /// The share of one address concerns no other one.
    fn begins_at(&mut self, limit: Limit) {
        if limit != Limit::Share {
            self.begins(limit.as_str());
        }
    }

    fn begins(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_logged, true) {
            tracing::error!("cannot accept connections: {reason}");
        }
    }

    fn ends(&mut self) {
        if std::mem::take(&mut self.is_logged) {
            tracing::info!("accepting connections again");
        }
    }
}
