//! What a shard keeps per connection. Small, and without heap while the connection is idle.

use super::events::Events;
use super::inbox::PollAnswer;
use super::join_buffers::JoinBuffers;
use super::pending_acks::PendingAcks;
use super::rate::Rate;
use super::sid::Sid;
use super::stream::Stream;
use crate::frame::Frame;
use crate::outbox::{Outbox, PollQueue, SendOutcome};
use nodevent_protocol::engine_io::session::Millis;
use nodevent_protocol::{engine_io, socket_io, websocket};
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;

/// No deadline.
pub(super) const NEVER: Millis = Millis::MAX;

/// One place in a shard's table; its number is also the number of its socket's token and of its outbox in the hub.
#[derive(Debug)]
pub(super) enum Slot {
    /// A connection.
    Session(Session),
    /// A WebSocket that a connection on long-polling may change to.
    Probe(Probe),
    /// A socket that has been told close_frame and may read it.
    Closing(Closing),
}

/// A connection, whatever its transport.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) sid: Sid,
    pub(super) transport: Transport,
    pub(super) engine_io: engine_io::session::Session,
    pub(super) socket_io: socket_io::session::Session,
    /// The slot of the WebSocket it may change to.
    pub(super) probe: Option<u32>,
    /// Number of the last publication that was put before it; see `delivery`.
    pub(super) delivered: u64,
    /// Rooms whose live publications are held back or sifted; see `recovery`. Rarely any.
    pub(super) join_buffers: JoinBuffers,
    /// The acknowledgements it owes us.
    pub(super) pending_acks: PendingAcks,
    /// When it must have connected a namespace.
    pub(super) connect_by: Millis,
    /// When it must go, because the server stops.
    pub(super) leave_at: Millis,
    /// Since when its socket takes nothing of what waits.
    pub(super) stalled_since: Option<Millis>,
    pub(super) packets: Rate,
    pub(super) joins: Rate,
    pub(super) armed: Millis,
    pub(super) generation: u32,
}

/// The transport a connection is on.
#[derive(Debug)]
pub(super) enum Transport {
    WebSocket(WebSocket),
    Polling(Box<Polling>),
    Events(Events),
    /// It is ending.
    Closed,
}

/// A WebSocket and what waits for it.
#[derive(Debug)]
pub(super) struct WebSocket {
    pub(super) stream: Stream,
    pub(super) decoder: websocket::Decoder,
    pub(super) outbox: Outbox,
}

/// Long-polling and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Polling {
    pub(super) packets: PollQueue,
    /// The GET that waits.
    pub(super) poll: Option<oneshot::Sender<PollAnswer>>,
    /// Whether that GET came while a WebSocket was on its way here, whose packets it may have overtaken.
    pub(super) overtakes: bool,
    /// Whether a POST is under way.
    pub(super) posting: bool,
}

/// A WebSocket that is not yet its session's transport.
#[derive(Debug)]
pub(super) struct Probe {
    /// `None` while it moves elsewhere.
    pub(super) socket: Option<WebSocket>,
    /// The session's slot.
    pub(super) session: u32,
    pub(super) armed: Millis,
    pub(super) generation: u32,
}

/// A socket that has been told close_frame.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) socket: WebSocket,
    pub(super) until: Millis,
    pub(super) armed: Millis,
    pub(super) generation: u32,
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

    /// The deadline it is armed for.
    pub(super) fn armed(&mut self) -> &mut Millis {
        match self {
            Self::Session(one) => &mut one.armed,
            Self::Probe(one) => &mut one.armed,
            Self::Closing(one) => &mut one.armed,
        }
    }

    /// Its nearest deadline. A probe has none of its own: its session keeps the time.
    pub(super) fn deadline(&self, write_stall: Millis) -> Millis {
        match self {
            Self::Session(one) => one
                .engine_io
                .deadline()
                .min(one.connect_by)
                .min(one.leave_at)
                .min(one.stalled_since.map_or(NEVER, |since| since + write_stall)),
            Self::Probe(_) => NEVER,
            Self::Closing(one) => one.until,
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
    /// Whether a WebSocket that may become its transport has been announced and has not arrived.
    pub(super) fn awaits_probe(&self) -> bool {
        self.probe.is_none() && self.engine_io.upgrade_pending()
    }

    /// Puts frames before the connection, which `laid` holds end to end; bounded by `limit` bytes that wait.
    pub(super) fn put<'a>(
        &mut self,
        frames: impl Iterator<Item = &'a Frame>,
        laid: &Arc<[u8]>,
        limit: usize,
    ) -> SendOutcome {
        match &mut self.transport {
            Transport::WebSocket(socket) => socket.send(laid, || Arc::clone(laid), limit),
            Transport::Polling(polling) => {
                frames.for_each(|frame| polling.packets.push(frame.clone()));
                if polling.packets.bytes() > limit { SendOutcome::Overflow } else { SendOutcome::Sent }
            }
            Transport::Events(events) => events.put(frames, limit),
            Transport::Closed => SendOutcome::Sent,
        }
    }

    /// How much waits for its transport. Bytes.
    pub(super) fn waiting(&self) -> usize {
        match &self.transport {
            Transport::WebSocket(socket) => socket.outbox.bytes(),
            Transport::Polling(polling) => polling.packets.bytes(),
            Transport::Events(events) => events.waiting(),
            Transport::Closed => 0,
        }
    }
}

// === impl WebSocket ===

impl WebSocket {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, decoder: websocket::Decoder::default(), outbox: Outbox::default() }
    }

    /// Writes `bytes` now if nothing waits; what the socket does not take, `shared` puts into the outbox.
    pub(super) fn send(&mut self, bytes: &[u8], shared: impl FnOnce() -> Arc<[u8]>, limit: usize) -> SendOutcome {
        let mut written = 0;
        if self.outbox.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) if count == bytes.len() => return SendOutcome::Sent,
                Ok(count) => written = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return SendOutcome::Broken,
            }
        }
        if self.outbox.bytes() + bytes.len() - written > limit {
            return SendOutcome::Overflow;
        }
        self.outbox.push(shared(), written);
        SendOutcome::Queued
    }
}
