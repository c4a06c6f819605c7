//! Version 3 of Engine.IO, of the clients of Socket.IO 1 and 2: one connection.
//!
//! # Source
//! The Engine.IO protocol, revision 3.

use super::{Settings, Upper, open_packet, send_closing};
use crate::close_reason::CloseReason;
use crate::encoding::Frame;
use crate::protocol::{Core, Message, Millis, PollingProtocol, Probe, Protocol, SubscribeReply, TransportKind};
use nodevent_protocol::engine_io::Malformed;
use nodevent_protocol::engine_io::upgrade::Probed;
use nodevent_protocol::engine_io_3::packet::{self, Part};
use nodevent_protocol::engine_io_3::payload::{self, TextEncoding};
use nodevent_protocol::engine_io_3::session::{Due, Incoming, Session};
use std::sync::Arc;

/// One connection.
#[derive(Debug)]
pub(super) struct EngineIo3<U> {
    settings: Arc<Settings>,
    session: Session,
    /// How the client encodes text in the bodies of POSTs.
    encoding: TextEncoding,
    upper: U,
}

// === impl EngineIo3 ===

impl<U: Upper> EngineIo3<U> {
    /// A connection that is about to be opened.
    pub(super) fn new(settings: &Arc<Settings>, upper: U) -> Self {
        Self {
            session: Session::new(0, &settings.timing, true),
            settings: Arc::clone(settings),
            encoding: TextEncoding::default(),
            upper,
        }
    }

    fn on_part(&mut self, part: Result<Part<'_>, Malformed>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let part = part.map_err(|error| {
            tracing::debug!(%error, "closing a connection: malformed Engine.IO packet");
            CloseReason::Malformed
        })?;
        match self.session.on_packet(part.packet(), core.now(), &self.settings.timing) {
            Incoming::Nothing => Ok(()),
            Incoming::Ping(text) => {
                core.send_text(&format!("3{text}"));
                Ok(())
            }
            Incoming::Closed => Err(CloseReason::ClientClosed),
            Incoming::Text(text) => self.upper.text(text, core),
            Incoming::Binary(bytes) => self.upper.binary(bytes, core),
        }
    }

    fn on_body(&mut self, body: &[u8], core: &mut dyn Core) -> Result<(), CloseReason> {
        let mut encoding = self.encoding;
        let read = payload::decode(body, &mut encoding).try_for_each(|part| {
            core.count_message()?;
            self.on_part(part, core)
        });
        self.encoding = encoding;
        read
    }
}

impl<U: Upper> Protocol for EngineIo3<U> {
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
            Message::Text(text) => self.on_part(packet::decode_text(text), core),
            Message::Binary(bytes) => self.on_part(packet::decode_binary(bytes), core),
            Message::Pong => Ok(()),
            Message::Body(body) => self.on_body(body, core),
        }
    }

    fn deadline(&self) -> Millis {
        self.session.deadline().min(self.upper.connect_deadline())
    }

    fn on_deadline(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        if core.now() >= self.upper.connect_deadline() {
            return Err(CloseReason::ConnectTimeout);
        }
        match self.session.due(core.now()) {
            Due::Nothing => Ok(()),
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

    fn identity_expired(&mut self, namespace: u16, core: &mut dyn Core) {
        self.upper.identity_expired(namespace, core);
    }

    fn closing(&mut self, reason: CloseReason, core: &mut dyn Core) {
        self.upper.closing(reason, core);
        send_closing(reason, core);
    }

    fn as_polling(&mut self) -> Option<&mut dyn PollingProtocol> {
        Some(self)
    }
}

impl<U: Upper> PollingProtocol for EngineIo3<U> {
    fn start_upgrade(&mut self, now: Millis) -> bool {
        self.session.upgrade.start(now, &self.settings.timing)
    }

    fn on_probe(&mut self, message: Message<'_>) -> Result<Probe, CloseReason> {
        let Message::Text(text) = message else { return Err(CloseReason::Malformed) };
        let part = packet::decode_text(text).map_err(|_| CloseReason::Malformed)?;
        match self.session.upgrade.on_packet(&part.packet()) {
            Ok(Probed::Reply) => Ok(Probe::Reply(Frame::text("3probe"))),
            Ok(Probed::Upgraded) => Ok(Probe::Upgraded),
            Err(error) => {
                tracing::debug!(%error, "closing a probing WebSocket");
                Err(CloseReason::Malformed)
            }
        }
    }

    fn cancel_upgrade(&mut self) {
        self.session.upgrade.cancel();
    }

    fn is_upgrade_pending(&self) -> bool {
        self.session.upgrade.is_pending()
    }

    fn is_probe_answered(&self) -> bool {
        self.session.upgrade.is_probe_answered()
    }

    fn noop(&self) -> Frame {
        Frame::text("6")
    }
}
