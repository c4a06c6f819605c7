//! The state that a shard stores per connection. Small, and without heap memory of its transport while the connection
//! is idle.

use super::body_stream::BodyStream;
use super::expiries::Expiries;
use super::identities::Identities;
use super::join_buffers::JoinBuffers;
use super::mailbox::OwnMailboxes;
use super::message::{PollReply, PollingFormat};
use super::poll_response::LastResponse;
use super::stream::Stream;
use super::tracked::{Passed, Tracked};
use crate::client::Client;
use crate::connect_info::ConnectInfo;
use crate::connection_id::ConnectionId;
use crate::encoding::{Encoding, Frame};
use crate::protocol::{Millis, NEVER, Protocol, TransportKind};
use crate::rate_limit::TokenBucket;
use crate::send_buffer::{PollQueue, SendBuffer, SendOutcome};
use crate::shared_pages::SharedPages;
use mio::Token;
use nodevent_protocol::page::PageHash;
use nodevent_protocol::websocket;
use std::borrow::Borrow;
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;

/// An entry of a shard's table. Its index is the slot's number everywhere else.
#[derive(Debug)]
pub(super) enum Slot {
    /// A connection.
    Session(Session),
    /// A WebSocket that may become the transport of a connection on long-polling.
    Probe(Probe),
    /// A socket that was sent a close frame and may still read it.
    Closing(Closing),
}

/// A connection, whatever its transport.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: ConnectionId,
    pub(super) info: ConnectInfo,
    /// The page it belongs to, if the client named it.
    pub(super) page: Option<PageHash>,
    /// `None` while it runs.
    pub(super) protocol: Option<Box<dyn Protocol>>,
    pub(super) transport: Transport,
    /// The slot of the WebSocket that may become its transport.
    pub(super) probe: Option<u32>,
    /// The sequence number up to which it has received everything; see `delivery`.
    pub(super) last_delivered: u64,
    /// Memberships whose live publications are buffered or compared with a recovery; see `joins`. Rarely any.
    pub(super) join_buffers: JoinBuffers,
    /// Who it is in each namespace.
    pub(super) identities: Identities,
    /// Which of its memberships expire.
    pub(super) expiries: Expiries,
    /// The mailboxes of its users.
    pub(super) mailboxes: OwnMailboxes,
    /// What it receives, if it can be restored.
    pub(super) tracked: Tracked,
    /// When it is closed because the server stops.
    pub(super) drain_at: Millis,
    /// Time since which its socket has accepted nothing, although data is queued.
    pub(super) stalled_since: Option<Millis>,
    pub(super) messages: TokenBucket,
    pub(super) joins: TokenBucket,
    pub(super) bytes: TokenBucket,
    /// Wrong keys that it has sent, up to the limit.
    pub(super) wrong_keys: u8,
    /// States that it has ended by leaving namespaces.
    pub(super) ended_states: u8,
    /// Its calls that the application has not replied to.
    pub(super) calls: u16,
    /// Whether it has joined a room.
    pub(super) has_joined: bool,
    /// Whether the next scan of the buffers looks at it.
    pub(super) is_watched: bool,
    /// Whether it has asked for what was published to all connections, so that a gap there concerns it.
    pub(super) has_asked_for_all: bool,
    /// Whether it has ever been in one room with two encodings.
    pub(super) shares_a_room: bool,
    /// Whether it is present only in rooms for which its client has requested that.
    pub(super) enters_on_request: bool,
    pub(super) timer_at: Millis,
    pub(super) generation: u32,
    /// When it was opened. Seconds since the shard started.
    pub(super) opened_at_s: u32,
}

/// A connection's transport.
#[derive(Debug)]
pub(super) enum Transport {
    WebSocket(WebSocket),
    Polling(Box<Polling>),
    Stream(BodyStream),
    /// The connection is being closed.
    Closed,
}

/// A WebSocket and what waits for it.
#[derive(Debug)]
pub(super) struct WebSocket {
    pub(super) stream: Stream,
    pub(super) decoder: websocket::Decoder,
    pub(super) send_buffer: SendBuffer,
    /// Whether it is read again in a later turn.
    pub(super) is_read_later: bool,
    /// Whether permessage-deflate was negotiated.
    deflate: bool,
}

/// Long-polling and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Polling {
    pub(super) format: PollingFormat,
    pub(super) queue: PollQueue,
    /// The response to the GET before.
    pub(super) last_response: LastResponse,
    /// The GET that waits.
    pub(super) poll: Option<oneshot::Sender<PollReply>>,
    /// Whether that GET arrived while a WebSocket was expected, whose messages it may have overtaken.
    pub(super) arrived_during_upgrade: bool,
    /// Whether a POST is in progress.
    pub(super) is_posting: bool,
}

/// A WebSocket that is not its connection's transport yet.
#[derive(Debug)]
pub(super) struct Probe {
    /// `None` while it moves.
    pub(super) socket: Option<WebSocket>,
    /// The connection's slot.
    pub(super) session: u32,
    /// The address of its client.
    pub(super) client: Client,
    /// Whether the next scan of the buffers looks at it.
    pub(super) is_watched: bool,
    pub(super) timer_at: Millis,
    pub(super) generation: u32,
}

/// A socket that was sent a close frame.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) socket: WebSocket,
    /// The address of its client.
    pub(super) client: Client,
    /// Whether the next scan of the buffers looks at it.
    pub(super) is_watched: bool,
    pub(super) until: Millis,
    pub(super) timer_at: Millis,
    pub(super) generation: u32,
    /// Keeps the place of its connection among all connections until the socket is gone. `None`: it was a probe.
    pub(super) _place: Option<ConnectInfo>,
}

/// The token of the socket in a slot. 0 is that of the inbox.
pub(super) fn token_of(slot: u32) -> Token {
    Token(slot as usize + 1)
}

// === impl Slot ===

impl Slot {
    pub(super) fn generation(&self) -> u32 {
        match self {
            Self::Session(one) => one.generation,
            Self::Probe(one) => one.generation,
            Self::Closing(one) => one.generation,
        }
    }

    /// The time of its timer.
    pub(super) fn timer_at(&mut self) -> &mut Millis {
        match self {
            Self::Session(one) => &mut one.timer_at,
            Self::Probe(one) => &mut one.timer_at,
            Self::Closing(one) => &mut one.timer_at,
        }
    }

    /// Its nearest deadline. A probe has none of its own: its connection measures the time.
    pub(super) fn deadline(&self, write_timeout: Millis) -> Millis {
        match self {
            Self::Session(one) => {
                let protocol = one.protocol.as_ref().map_or(NEVER, |protocol| protocol.deadline());
                let stalled = one.stalled_since.map_or(NEVER, |since| since + write_timeout);
                protocol.min(one.drain_at).min(stalled).min(one.identities.deadline()).min(one.expiries.deadline())
            }
            Self::Probe(_) => NEVER,
            Self::Closing(one) => one.until,
        }
    }

    /// Whose it is, as limits see it.
    pub(super) fn client(&self) -> Client {
        match self {
            Self::Session(one) => Client::of(one.info.peer()),
            Self::Probe(one) => one.client,
            Self::Closing(one) => one.client,
        }
    }

    /// What waits for it, and the memory of a message that has not arrived completely. Bytes.
    pub(super) fn buffered(&self) -> usize {
        match self {
            Self::Session(one) => one.waiting() + one.arriving(),
            Self::Probe(_) => self.arriving(),
            Self::Closing(one) => one.socket.send_buffer.bytes(),
        }
    }

    /// The memory of a message that has not arrived completely. Bytes.
    pub(super) fn arriving(&self) -> usize {
        match self {
            Self::Session(one) => one.arriving(),
            Self::Probe(one) => one.socket.as_ref().map_or(0, |socket| socket.decoder.buffered()),
            Self::Closing(_) => 0,
        }
    }

    /// Whether the next scan of the buffers looks at it.
    pub(super) fn is_watched(&mut self) -> Option<&mut bool> {
        match self {
            Self::Session(one) => Some(&mut one.is_watched),
            Self::Probe(one) => Some(&mut one.is_watched),
            Self::Closing(one) => Some(&mut one.is_watched),
        }
    }

    pub(super) fn socket(&mut self) -> Option<&mut WebSocket> {
        match self {
            Self::Session(Session { transport: Transport::WebSocket(socket), .. }) => Some(socket),
            Self::Session(_) => None,
            Self::Probe(one) => one.socket.as_mut(),
            Self::Closing(one) => Some(&mut one.socket),
        }
    }
}

// === impl Session ===

impl Session {
    /// The encoding in which it receives what is published to all connections of a namespace, if it is in that namespace.
    pub(super) fn encoding_in(&self, namespace: u16) -> Option<&Arc<dyn Encoding>> {
        self.protocol.as_ref()?.encoding_in(namespace)
    }

    /// Whether it can receive publications that are compressed. The frames of one that can be restored are its own, so they
    /// are not.
    pub(super) fn deflates(&self) -> bool {
        matches!(&self.transport, Transport::WebSocket(socket) if socket.deflate) && !self.tracked.is_on()
    }

    /// Whether a WebSocket that may become its transport was requested and has not arrived.
    pub(super) fn awaits_probe(&mut self) -> bool {
        self.probe.is_none()
            && self
                .protocol
                .as_mut()
                .and_then(|protocol| protocol.as_polling())
                .is_some_and(|polling| polling.is_upgrade_pending())
    }

    /// Sends frames, which `bytes` holds concatenated. At most `limit` bytes may wait, or one message that is larger.
    pub(super) fn send(
        &mut self,
        frames: impl Iterator<Item = impl Borrow<Frame>>,
        bytes: &Arc<[u8]>,
        limit: usize,
    ) -> SendOutcome {
        match &mut self.transport {
            Transport::WebSocket(socket) => socket.send(bytes, || Arc::clone(bytes), limit),
            Transport::Polling(polling) => {
                frames.for_each(|frame| polling.queue.push(frame.borrow().clone()));
                if polling.queue.exceeds(limit) { SendOutcome::Overflow } else { SendOutcome::Sent }
            }
            Transport::Stream(stream) => stream.send(frames, limit),
            Transport::Closed => SendOutcome::Sent,
        }
    }

    /// A frame that it receives, with an offset if it can be restored.
    pub(super) fn stamp(
        &mut self,
        namespace: u16,
        passed: Passed,
        encoding: &Arc<dyn Encoding>,
        frame: Frame,
    ) -> Frame {
        if !self.tracked.is_on() {
            return frame;
        }
        let user = self.identities.get(namespace).map_or("", |identity| &*identity.user);
        self.tracked.stamp(namespace, user, passed, encoding, frame)
    }

    /// Bytes that wait for its transport.
    pub(super) fn waiting(&self) -> usize {
        match &self.transport {
            Transport::WebSocket(socket) => socket.send_buffer.bytes(),
            Transport::Polling(polling) => polling.queue.bytes(),
            Transport::Stream(stream) => stream.waiting(),
            Transport::Closed => 0,
        }
    }

    /// The memory of a message that has not arrived completely. Bytes.
    pub(super) fn arriving(&self) -> usize {
        let in_transport = match &self.transport {
            Transport::WebSocket(socket) => socket.decoder.buffered(),
            Transport::Polling(_) | Transport::Stream(_) | Transport::Closed => 0,
        };
        in_transport + self.protocol.as_ref().map_or(0, |protocol| protocol.arriving())
    }

    /// It is about to be closed: deliveries pass it over.
    pub(super) fn receive_nothing_more(&mut self) {
        self.last_delivered = u64::MAX;
    }

    pub(super) fn transport_kind(&self) -> TransportKind {
        match &self.transport {
            Transport::WebSocket(_) | Transport::Closed => TransportKind::WebSocket,
            Transport::Polling(_) => TransportKind::Polling,
            Transport::Stream(_) => TransportKind::Stream,
        }
    }

    /// Starts the write timeout, if it is not running. Returns the time for which a timer is to be added, if one is.
    pub(super) fn start_write_timeout(&mut self, now: Millis, write_timeout: Millis) -> Option<Millis> {
        if self.stalled_since.is_some() {
            return None;
        }
        self.stalled_since = Some(now);
        let by = now + write_timeout;
        (by < self.timer_at).then(|| {
            self.timer_at = by;
            by
        })
    }
}

// === impl WebSocket ===

impl WebSocket {
    pub(super) fn new(stream: Stream, deflate: bool) -> Self {
        let decoder = if deflate { websocket::Decoder::with_deflate() } else { websocket::Decoder::default() };
        Self { stream, decoder, send_buffer: SendBuffer::default(), is_read_later: false, deflate }
    }

    /// Writes `bytes` now if nothing waits. What the socket does not accept, `shared` puts into the send buffer.
    pub(super) fn send(&mut self, bytes: &[u8], shared: impl FnOnce() -> Arc<[u8]>, limit: usize) -> SendOutcome {
        self.send_by(|stream| stream.write(bytes), bytes, shared, limit)
    }

    /// As [`WebSocket::send`], of bytes that are in `pages` too.
    pub(super) fn send_pages(&mut self, pages: &SharedPages, bytes: &Arc<[u8]>, limit: usize) -> SendOutcome {
        self.send_by(|stream| stream.write_pages(pages, bytes), bytes, || Arc::clone(bytes), limit)
    }

    fn send_by(
        &mut self,
        write: impl FnOnce(&mut Stream) -> io::Result<usize>,
        bytes: &[u8],
        shared: impl FnOnce() -> Arc<[u8]>,
        limit: usize,
    ) -> SendOutcome {
        // A protocol may have no message for what happened.
        if bytes.is_empty() {
            return SendOutcome::Sent;
        }
        let mut written = 0;
        if self.send_buffer.is_empty() {
            match write(&mut self.stream) {
                Ok(count) if count == bytes.len() => return SendOutcome::Sent,
                Ok(count) => written = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return SendOutcome::Broken,
            }
        }
        // A connection that reads can always receive the largest publication, whatever the limit.
        if !self.send_buffer.is_empty() && self.send_buffer.bytes() + bytes.len() > limit {
            return SendOutcome::Overflow;
        }
        self.send_buffer.push(shared(), written);
        SendOutcome::Queued
    }

    /// Sends a small message before what waits. Messages of the heartbeat are few, so the limit does not count.
    pub(super) fn send_first(&mut self, bytes: &[u8]) -> SendOutcome {
        if self.send_buffer.is_empty() {
            return self.send(bytes, || bytes.into(), usize::MAX);
        }
        self.send_buffer.push_first(bytes.into());
        SendOutcome::Queued
    }
}
