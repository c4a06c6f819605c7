//! Engine.IO, versions 4 and 3: messages over a WebSocket or HTTP long-polling, with heartbeats and the upgrade from one to
//! the other. [`EngineIo`] is a connection of version 4; `version_3` has those of version 3.
//!
//! What the messages mean is up to the layer above, [`Upper`]: Socket.IO, or the echo application of the conformance
//! suite.
//!
//! # Source
//! The Engine.IO protocol, revisions 4 and 3.

mod endpoint;
mod payload_body;
mod payload_response;
mod version_3;

pub use endpoint::EngineIoEndpoint;
use payload_response::payload_response;

use crate::close_reason::CloseReason;
use crate::encoding::{Encoding, Frame};
use crate::history::RequestId;
use crate::http::connections::PollingFormat;
use crate::presence::PresenceResult;
use crate::protocol::{
    Core, IdentifyReply, MailboxDelivery, Message, Millis, NEVER, PollingProtocol, Probe, Protocol, SubscribeReply,
    TransportKind,
};
use nodevent_protocol::engine_io::handshake::Handshake;
use nodevent_protocol::engine_io::payload::{self, Part};
use nodevent_protocol::engine_io::session::{Due, Incoming, Probed, Session, Timing};
use nodevent_protocol::engine_io::{Packet, packet};
use nodevent_protocol::engine_io_3;
use std::fmt;
use std::sync::Arc;

/// The version that a client speaks, as `EIO` in its handshake names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The clients of Socket.IO 1 and 2.
    V3 {
        /// Whether the client cannot read bytes (`b64=1`).
        is_text_only: bool,
    },
    /// The clients of Socket.IO 3 and 4.
    V4,
}

/// The layer above Engine.IO.
pub trait Upper: fmt::Debug + Send {
    /// The open packet is about to be sent.
    fn opening(&mut self, core: &mut dyn Core) {
        let _ = core;
    }

    /// The connection is open, and the open packet was sent.
    fn opened(&mut self, core: &mut dyn Core);

    /// Writes a packet with ASCII only. `None`: it is so already, or there is no other way to write it. Clients of version 3
    /// disagree about other characters on long-polling.
    fn ascii(packet: &str) -> Option<String>
    where
        Self: Sized,
    {
        let _ = packet;
        None
    }

    /// A text message arrived.
    ///
    /// # Errors
    /// The reason to close the connection.
    fn text(&mut self, text: &str, core: &mut dyn Core) -> Result<(), CloseReason>;

    /// A binary message arrived.
    ///
    /// # Errors
    /// The reason to close the connection.
    fn binary(&mut self, bytes: &[u8], core: &mut dyn Core) -> Result<(), CloseReason>;

    /// When the connection must have entered a namespace, or whatever this layer waits for. Then it is closed.
    fn connect_deadline(&self) -> Millis;

    /// When a message of several parts must be complete. Then the connection is closed.
    fn message_deadline(&self) -> Millis {
        NEVER
    }

    /// See [`Protocol::arriving`].
    fn arriving(&self) -> usize {
        0
    }

    /// See [`Protocol::subscribed`].
    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core);

    /// See [`Protocol::identified`].
    ///
    /// # Errors
    /// The reason to close the connection.
    fn identified(&mut self, reply: IdentifyReply, core: &mut dyn Core) -> Result<(), CloseReason> {
        let _ = (reply, core);
        Ok(())
    }

    /// See [`Protocol::revoked`].
    ///
    /// # Errors
    /// The reason to close the connection.
    fn revoked(&mut self, namespace: u16, room: Option<&str>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let _ = (namespace, room, core);
        Ok(())
    }

    /// See [`Protocol::presence_listed`].
    fn presence_listed(
        &mut self,
        namespace: u16,
        request: RequestId,
        result: &PresenceResult,
        core: &mut dyn Core,
    ) {
        let _ = (namespace, request, result, core);
    }

    /// See [`Protocol::identity_expired`].
    fn identity_expired(&mut self, namespace: u16, core: &mut dyn Core) {
        let _ = (namespace, core);
    }

    /// See [`Protocol::mailbox`].
    fn mailbox(&mut self, namespace: u16, delivery: &MailboxDelivery<'_>, core: &mut dyn Core) {
        let _ = (namespace, delivery, core);
    }

    /// See [`Protocol::encoding_in`].
    fn encoding_in(&self, namespace: u16) -> Option<&Arc<dyn Encoding>> {
        let _ = namespace;
        None
    }

    /// See [`Protocol::closing`].
    fn closing(&mut self, reason: CloseReason, core: &mut dyn Core);
}

/// The settings of all connections.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Heartbeat and upgrade times.
    pub timing: Timing,
    /// The largest message a client may send. Bytes.
    pub max_message_size: usize,
    /// Whether clients may speak version 3.
    pub allows_version_3: bool,
}

/// One connection.
#[derive(Debug)]
pub struct EngineIo<U> {
    settings: Arc<Settings>,
    session: Session,
    upper: U,
}

// === impl EngineIo ===

impl<U: Upper> EngineIo<U> {
    /// A connection that is about to be opened.
    pub fn new(settings: &Arc<Settings>, upper: U) -> Self {
        Self { session: Session::new(0, &settings.timing, true), settings: Arc::clone(settings), upper }
    }

    fn on_packet(&mut self, packet: Packet<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        match self.session.on_packet(packet, core.now(), &self.settings.timing) {
            Ok(Incoming::Nothing) => Ok(()),
            Ok(Incoming::Closed) => Err(CloseReason::ClientClosed),
            Ok(Incoming::Text(text)) => self.upper.text(text, core),
            Ok(Incoming::Binary(bytes)) => self.upper.binary(bytes, core),
            Err(error) => {
                tracing::debug!(%error, "closing a connection: Engine.IO protocol error");
                Err(CloseReason::Malformed)
            }
        }
    }

    fn on_part(
        &mut self,
        part: Result<Part<'_>, packet::Malformed>,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        match part {
            Ok(Part::Text(packet)) => self.on_packet(packet, core),
            Ok(Part::Binary(bytes)) => self.on_packet(Packet::Binary(&bytes), core),
            Err(error) => {
                tracing::debug!(%error, "closing a connection: malformed Engine.IO packet");
                Err(CloseReason::Malformed)
            }
        }
    }

    fn on_body(&mut self, body: &[u8], core: &mut dyn Core) -> Result<(), CloseReason> {
        let body = std::str::from_utf8(body).map_err(|_| CloseReason::Malformed)?;
        for part in payload::decode(body) {
            core.count_message()?;
            self.on_part(part, core)?;
        }
        Ok(())
    }
}

impl<U: Upper> Protocol for EngineIo<U> {
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.upper.opening(core);
        let is_websocket = core.transport() == TransportKind::WebSocket;
        self.session = Session::new(core.now(), &self.settings.timing, is_websocket);
        let packet = open_packet(&self.settings, core);
        core.send_text(&packet);
        self.upper.opened(core);
        Ok(())
    }

    fn received(&mut self, message: Message<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        match message {
            // Clients that use base64 on polling do so on WebSockets too.
            Message::Text(text) => self.on_part(payload::decode_packet(text), core),
            Message::Binary(bytes) => self.on_packet(Packet::Binary(bytes), core),
            Message::Pong => Ok(()),
            Message::Body(body) => self.on_body(body, core),
        }
    }

    fn deadline(&self) -> Millis {
        self.session.deadline().min(self.upper.connect_deadline()).min(self.upper.message_deadline())
    }

    fn arriving(&self) -> usize {
        self.upper.arriving()
    }

    fn on_deadline(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        if core.now() >= self.upper.connect_deadline() {
            return Err(CloseReason::ConnectTimeout);
        }
        if core.now() >= self.upper.message_deadline() {
            return Err(CloseReason::MessageTimeout);
        }
        match self.session.due(core.now(), &self.settings.timing) {
            Due::Nothing => Ok(()),
            Due::Ping => {
                core.send_text("2");
                Ok(())
            }
            Due::PingTimeout => Err(CloseReason::PingTimeout),
            Due::UpgradeTimeout => {
                core.upgrade_timed_out();
                Ok(())
            }
        }
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        self.upper.subscribed(reply, core);
    }

    fn identified(&mut self, reply: IdentifyReply, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.upper.identified(reply, core)
    }

    fn revoked(&mut self, namespace: u16, room: Option<&str>, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.upper.revoked(namespace, room, core)
    }

    fn presence_listed(
        &mut self,
        namespace: u16,
        request: RequestId,
        result: &PresenceResult,
        core: &mut dyn Core,
    ) {
        self.upper.presence_listed(namespace, request, result, core);
    }

    fn identity_expired(&mut self, namespace: u16, core: &mut dyn Core) {
        self.upper.identity_expired(namespace, core);
    }

    fn mailbox(&mut self, namespace: u16, delivery: &MailboxDelivery<'_>, core: &mut dyn Core) {
        self.upper.mailbox(namespace, delivery, core);
    }

    fn encoding_in(&self, namespace: u16) -> Option<&Arc<dyn Encoding>> {
        self.upper.encoding_in(namespace)
    }

    fn closing(&mut self, reason: CloseReason, core: &mut dyn Core) {
        self.upper.closing(reason, core);
        send_closing(reason, core);
    }

    fn as_polling(&mut self) -> Option<&mut dyn PollingProtocol> {
        Some(self)
    }
}

impl<U: Upper> PollingProtocol for EngineIo<U> {
    fn start_upgrade(&mut self, now: Millis) -> bool {
        self.session.start_upgrade(now, &self.settings.timing)
    }

    fn on_probe(&mut self, message: Message<'_>) -> Result<Probe, CloseReason> {
        let Message::Text(text) = message else { return Err(CloseReason::Malformed) };
        let Ok(Part::Text(packet)) = payload::decode_packet(text) else { return Err(CloseReason::Malformed) };
        match self.session.on_probe_packet(&packet) {
            Ok(Probed::Reply) => Ok(Probe::Reply(Frame::text("3probe"))),
            Ok(Probed::Upgraded) => Ok(Probe::Upgraded),
            Err(error) => {
                tracing::debug!(%error, "closing a probing WebSocket");
                Err(CloseReason::Malformed)
            }
        }
    }

    fn cancel_upgrade(&mut self) {
        self.session.cancel_upgrade();
    }

    fn is_upgrade_pending(&self) -> bool {
        self.session.upgrade_pending()
    }

    fn is_probe_answered(&self) -> bool {
        self.session.probe_answered()
    }

    fn noop(&self) -> Frame {
        Frame::text("6")
    }
}

/// The open packet of a connection.
fn open_packet(settings: &Settings, core: &dyn Core) -> String {
    let is_websocket = core.transport() == TransportKind::WebSocket;
    let upgrades: &[&str] = if is_websocket { &[] } else { &["websocket"] };
    let handshake = Handshake {
        sid: &core.id().to_string(),
        upgrades,
        ping_interval_ms: settings.timing.ping_interval,
        ping_timeout_ms: settings.timing.ping_timeout,
        max_payload: settings.max_message_size,
    };
    format!("0{}", handshake.to_json())
}

/// Ends a waiting poll: with a noop if the client closed the connection, else with a close packet.
fn send_closing(reason: CloseReason, core: &mut dyn Core) {
    if core.transport() == TransportKind::Polling {
        core.send_text(if reason == CloseReason::ClientClosed { "6" } else { "1" });
    }
}

// === impl Version ===

impl Version {
    /// The number of the version.
    pub fn number(self) -> u8 {
        match self {
            Self::V3 { .. } => 3,
            Self::V4 => 4,
        }
    }

    fn polling_format(self) -> PollingFormat {
        let is_text_only = self == Self::V3 { is_text_only: true };
        PollingFormat { version: self.number(), is_text_only }
    }

    /// Returns a binary message.
    pub fn binary(self, data: &[u8]) -> Frame {
        match self {
            Self::V4 => Frame::binary(data),
            Self::V3 { is_text_only: false } => Frame::binary(&engine_io_3::packet::encode_binary(data)),
            Self::V3 { is_text_only: true } => Frame::text(&engine_io_3::packet::encode_base64(data)),
        }
    }
}

/// Sends one message: `write` appends it to the packet.
pub fn send_message(core: &mut dyn Core, capacity: usize, write: impl FnOnce(&mut String)) {
    core.send_text(&message(capacity, write));
}

/// The text of a message packet: `write` appends the message.
pub fn message(capacity: usize, write: impl FnOnce(&mut String)) -> String {
    let mut packet = String::with_capacity(capacity + 1);
    packet.push('4');
    write(&mut packet);
    packet
}

/// No deadline of the layer above.
pub const NO_DEADLINE: Millis = NEVER;
