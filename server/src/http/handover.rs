//! Connections that the application hands over: a Unix socket that receives their descriptors.
//!
//! An application on this machine accepts a connection of a browser and reads the head of a request. Then it passes the
//! socket on, with what it has read and what it knows about the visitor. From then on the connection is served as one
//! that was accepted here: the same limits, origins and protocols. The application keeps nothing of it.
//!
//! The permissions of the socket and the user at its other end decide who may hand over: the user of this server alone.
//! `protocol/README.md` defines the message. Everything in it is bounded, and so are the number of messages that are
//! being received and their time.

use super::connection::{self, IntoSocket};
use super::inherited::{Inherited, ListeningSocket};
use super::listener::{ListenError, tune};
use super::peer::Source;
use super::unix_socket::UnixSocket;
use super::{Http, HttpService};
use crate::clock::now_ms;
use crate::connect_info::VisitorIdentities;
use crate::namespace::Namespace;
use crate::shard::Stream;
use crate::stated_identity::{self, BadIdentity};
use bytes::{Buf as _, Bytes};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use serde::Deserialize;
use serde_json::value::RawValue;
use socket2::{SockRef, Type};
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};

/// Only the owner may connect.
const MODE: u32 = 0o600;
/// The beginning of each message: the name and the version of the format.
const MAGIC: &[u8] = b"NDH1";
/// The fixed part of a message: [`MAGIC`], and the lengths of the details and of what was read. Bytes.
const FIXED: usize = 12;
/// The largest details: the address of the client and its identities. Bytes.
const MAX_DETAILS: usize = 64 * 1024;
/// The largest part of a request that the application has read. Bytes.
const MAX_READ: usize = connection::MAX_HEAD_BYTES + 64 * 1024;
/// Messages that are being received at a time.
const MAX_PENDING: usize = 256;
/// Time in which a message must arrive.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Descriptors in a message for which there is room. One is expected; a second one shows that it is another message.
const MAX_DESCRIPTORS: usize = 2;
/// Bytes that are read at a time.
const CHUNK: usize = 16 * 1024;
/// The server starts no programs, to which descriptors would pass otherwise.
#[cfg(target_os = "linux")]
const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const RECEIVE: RecvFlags = RecvFlags::empty();

/// A bound socket for connections that are handed over. It does not accept yet. Its file is deleted on drop.
pub struct BoundHandover(UnixSocket);

/// Why a connection is not taken over.
#[derive(Debug, thiserror::Error)]
enum HandoverError {
    #[error("the program at the other end belongs to the user {0}, not to the server's")]
    User(u32),
    #[error("too many connections are being handed over")]
    Pending,
    #[error("it did not arrive in time")]
    Late,
    #[error("it ended before it was complete")]
    Ended,
    #[error("it is not a message of this version; use the gem and the server of one release")]
    Format,
    #[error("its {0} is larger than {1} bytes")]
    TooLarge(&'static str, usize),
    #[error("it has no descriptor of a connected socket")]
    Descriptor,
    #[error("its details are not JSON of the expected form")]
    Details,
    #[error("the identity for {0}: {1}")]
    Identity(String, BadIdentity),
    #[error("{0}")]
    Limit(&'static str),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What the application says about a connection.
#[derive(Deserialize)]
struct Details<'a> {
    /// The client, if the descriptor is not its own socket.
    client: Option<IpAddr>,
    /// Who the visitor is, by namespace.
    #[serde(borrow, default)]
    identities: BTreeMap<String, &'a RawValue>,
}

/// A message, as it arrived.
struct Message {
    details: Bytes,
    /// The head of a request, and what was read after it.
    read: Bytes,
    descriptor: OwnedFd,
}

/// Serves a connection to its end.
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that was handed over: what the application has read of it comes first.
struct HandedOver {
    read: Bytes,
    stream: TcpStream,
}

// === impl BoundHandover ===

impl BoundHandover {
    /// Binds. Replaces the file of a server that no longer runs.
    ///
    /// # Errors
    /// [`ListenError::Socket`].
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        Self::bind_or_take(path, &mut Inherited::default())
    }

    /// The same, or takes the socket of this path that another program has opened.
    ///
    /// # Errors
    /// [`ListenError::Socket`].
    pub fn bind_or_take(path: &Path, inherited: &mut Inherited) -> Result<Self, ListenError> {
        UnixSocket::bind_or_take(path, MODE, inherited).map(Self)
    }

    /// The socket for the server that replaces this one.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn share(&self) -> io::Result<ListeningSocket> {
        self.0.share()
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Accepts and serves until `stop` is set. Then accepts no more.
    pub async fn serve(self, service: HttpService, mut stop: watch::Receiver<bool>) {
        let pending = Arc::new(Semaphore::new(MAX_PENDING));
        let own = rustix::process::geteuid().as_raw();
        loop {
            let (stream, user) = tokio::select! {
                accepted = self.0.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let admitted = match Arc::clone(&pending).try_acquire_owned() {
                _ if user != own => Err(HandoverError::User(user)),
                permit => permit.map_err(|_| HandoverError::Pending),
            };
            let service = service.clone();
            tokio::spawn(async move {
                match admitted {
                    Ok(permit) => {
                        if let Some(connection) = take_over(stream, &service).await {
                            drop(permit);
                            connection.await;
                        }
                    }
                    Err(error) => reject(stream, &service.http(), &error).await,
                }
            });
        }
    }
}

/// Receives one message, and replies to it. Returns the serving of the connection.
async fn take_over(mut stream: UnixStream, service: &HttpService) -> Option<Serving> {
    let received = tokio::time::timeout(TIMEOUT, Message::receive(&stream)).await;
    let accepted = received.unwrap_or(Err(HandoverError::Late)).and_then(|message| message.accept(service));
    match accepted {
        Ok(connection) => {
            service.http().metrics.handovers.fetch_add(1, Relaxed);
            // The application may not wait for the reply.
            let _ = stream.write_all(b"ok\n").await;
            Some(connection)
        }
        Err(error) => {
            reject(stream, &service.http(), &error).await;
            None
        }
    }
}

/// Counts, logs and reports a connection that is not taken over. The reply is one line.
async fn reject(mut stream: UnixStream, http: &Http, error: &HandoverError) {
    http.metrics.rejected_handovers.fetch_add(1, Relaxed);
    tracing::warn!("a connection was not taken over: {error}");
    let _ = tokio::time::timeout(TIMEOUT, stream.write_all(format!("error: {error}\n").as_bytes())).await;
}

// === impl Message ===

impl Message {
    /// Receives a message.
    ///
    /// # Cancel safety
    /// Not cancel safe: what was received is lost, and its descriptor closed.
    async fn receive(stream: &UnixStream) -> Result<Self, HandoverError> {
        let (mut bytes, mut chunk, mut descriptors) = (Vec::new(), vec![0; CHUNK], Vec::new());
        let (details, end) = loop {
            if let Some(lengths) = lengths(&bytes)?.filter(|(_, end)| bytes.len() >= *end) {
                break lengths;
            }
            let receiving = || receive_some(stream, &mut chunk, &mut descriptors);
            match stream.async_io(Interest::READABLE, receiving).await? {
                0 => return Err(HandoverError::Ended),
                count => bytes.extend_from_slice(&chunk[..count]),
            }
            if descriptors.len() > 1 {
                return Err(HandoverError::Descriptor);
            }
        };
        if bytes.len() > end {
            return Err(HandoverError::Format);
        }
        let descriptor = descriptors.pop().ok_or(HandoverError::Descriptor)?;
        let mut bytes = Bytes::from(bytes);
        bytes.advance(FIXED);
        Ok(Self { details: bytes.split_to(details), read: bytes, descriptor })
    }

    /// Decides about the connection. Returns the serving of it.
    fn accept(self, service: &HttpService) -> Result<Serving, HandoverError> {
        let http = service.http();
        let Details { client, identities } =
            serde_json::from_slice(&self.details).map_err(|_| HandoverError::Details)?;
        let visitor = visitor(&http, identities)?;
        let (socket, peer) = connected(self.descriptor)?;
        // The socket of a proxy on this machine has no address of its own.
        let peer = peer.or(client).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_canonical();
        let phase = service.new_phase();
        let admitted = match service.admit(socket.as_raw_fd(), peer, &phase) {
            Ok(admitted) => match admitted.limit {
                None => admitted,
                Some(limit) => return Err(HandoverError::Limit(limit.as_str())),
            },
            Err(limit) => return Err(HandoverError::Limit(limit.as_str())),
        };
        let stream = HandedOver { read: self.read, stream: TcpStream::from_std(socket)? };
        let service = service.clone().with_visitor(visitor);
        Ok(Box::pin(async move {
            let _admitted = admitted;
            // Until the runtime knows that the socket is writable, the HTTP library would drop a response that it gives
            // before it has read the body of its request.
            if !matches!(tokio::time::timeout(TIMEOUT, stream.stream.writable()).await, Ok(Ok(()))) {
                return;
            }
            connection::serve(stream, service, Source::HandedOver(peer), phase).await;
        }))
    }
}

/// The length of the details, and the end of the message. `None`: the fixed part is incomplete.
fn lengths(bytes: &[u8]) -> Result<Option<(usize, usize)>, HandoverError> {
    let begun = bytes.len().min(MAGIC.len());
    if bytes[..begun] != MAGIC[..begun] {
        return Err(HandoverError::Format);
    }
    let Some((fixed, _)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let length = |from: usize| u32::from_be_bytes([fixed[from], fixed[from + 1], fixed[from + 2], fixed[from + 3]]);
    let (details, read) = (length(4) as usize, length(8) as usize);
    if details > MAX_DETAILS {
        return Err(HandoverError::TooLarge("text about the visitor", MAX_DETAILS));
    }
    if read > MAX_READ {
        return Err(HandoverError::TooLarge("request", MAX_READ));
    }
    Ok(Some((details, FIXED + details + read)))
}

/// Reads what has arrived, with descriptors.
fn receive_some(stream: &UnixStream, into: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(into)], &mut control, RECEIVE)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(all) = message {
            descriptors.extend(all);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other(
            "its descriptor was not received: too many files are open, or it has several",
        ));
    }
    Ok(received.bytes)
}

/// Who the visitor is, by the ids of namespaces. An application may know more namespaces than this server.
fn visitor(http: &Http, identities: BTreeMap<String, &RawValue>) -> Result<VisitorIdentities, HandoverError> {
    let now = now_ms();
    let known = identities.iter().filter_map(|(name, json)| Some((http.namespaces.find(name)?, json.get())));
    let read = |(namespace, json): (&Namespace, &str)| {
        stated_identity::read(json.as_bytes(), namespace.limits.max_name_bytes, now, u64::MAX)
            .map(|identity| (namespace.id, Arc::new(identity)))
            .map_err(|error| HandoverError::Identity(namespace.name.to_string(), error))
    };
    known.map(read).collect()
}

/// The connected socket behind a descriptor, and its peer's address if it has one. Its type says TCP, but it may be a Unix
/// socket, to which a proxy has connected: nothing that is called on it later differs.
fn connected(descriptor: OwnedFd) -> Result<(std::net::TcpStream, Option<IpAddr>), HandoverError> {
    let socket = SockRef::from(&descriptor);
    if !socket.r#type().is_ok_and(|kind| kind == Type::STREAM) {
        return Err(HandoverError::Descriptor);
    }
    let peer = socket.peer_addr().map_err(|_| HandoverError::Descriptor)?;
    let address = peer.as_socket().map(|address| address.ip());
    match address {
        Some(_) => tune(&socket)?,
        None if peer.is_unix() => {}
        None => return Err(HandoverError::Descriptor),
    }
    socket.set_nonblocking(true)?;
    Ok((descriptor.into(), address))
}

// === impl HandedOver ===

impl AsyncRead for HandedOver {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let count = self.read.len().min(into.remaining());
        into.put_slice(&self.read.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HandedOver {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl IntoSocket for HandedOver {
    fn into_socket(self) -> io::Result<(Stream, Bytes)> {
        Ok((Stream::plain(self.stream.into_std()?), self.read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(details: u32, read: u32) -> Vec<u8> {
        [MAGIC, &details.to_be_bytes(), &read.to_be_bytes()].concat()
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_stored() {
        assert!(matches!(lengths(b"NDH"), Ok(None)));
        assert!(matches!(lengths(&fixed(2, 10)), Ok(Some((2, 24)))));
        assert!(matches!(lengths(b"GET / HTTP/1.1"), Err(HandoverError::Format)));
        assert!(matches!(lengths(b"NDH2"), Err(HandoverError::Format)));
        assert!(matches!(
            lengths(&fixed(64 * 1024 + 1, 0)),
            Err(HandoverError::TooLarge("text about the visitor", _))
        ));
        assert!(matches!(lengths(&fixed(0, 80 * 1024 + 1)), Err(HandoverError::TooLarge("request", _))));
        assert!(matches!(lengths(&fixed(u32::MAX, u32::MAX)), Err(HandoverError::TooLarge(..))));
        assert!(matches!(lengths(&fixed(64 * 1024, 80 * 1024)), Ok(Some(_))));
    }

    #[tokio::test]
    async fn only_the_owner_may_use_the_socket() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let bound = BoundHandover::bind(&folder.path().join("nodevent.sock")).unwrap();
        assert_eq!(std::fs::metadata(bound.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn only_connected_stream_sockets_are_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect(listener.local_addr().unwrap()).unwrap();
        let file = tempfile::tempfile().unwrap();
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        for descriptor in [OwnedFd::from(listener), udp.into(), file.into()] {
            assert!(matches!(connected(descriptor), Err(HandoverError::Descriptor)));
        }
        assert_eq!(connected(accepted.into()).unwrap().1, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert_eq!(connected(unix.into()).unwrap().1, None);
        drop(client);
    }
}
