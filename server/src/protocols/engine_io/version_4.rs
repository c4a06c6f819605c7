//! Version 4 of Engine.IO, of the clients of Socket.IO 3 and 4: the session of one connection.
//!
//! # Source
//! The Engine.IO protocol, revision 4.

use super::Upper;
use super::connection::VersionSession;
use crate::close_reason::CloseReason;
use crate::protocol::{Core, Message, Millis};
use nodevent_protocol::engine_io::payload::{self, Part};
use nodevent_protocol::engine_io::session::{Due, Incoming, Session, Timing};
use nodevent_protocol::engine_io::upgrade::{Probed, UpgradeError};
use nodevent_protocol::engine_io::{Packet, packet};

/// The session.
#[derive(Debug)]
pub(super) struct Version4(Session);

// === impl Version4 ===

impl Version4 {
    fn on_packet<U: Upper>(
        &mut self,
        packet: Packet<'_>,
        timing: &Timing,
        upper: &mut U,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        match self.0.on_packet(packet, core.now(), timing) {
            Ok(Incoming::Nothing) => Ok(()),
            Ok(Incoming::Closed) => Err(CloseReason::ClientClosed),
            Ok(Incoming::Text(text)) => upper.text(text, core),
            Ok(Incoming::Binary(bytes)) => upper.binary(bytes, core),
            Err(error) => {
                tracing::debug!(%error, "closing a connection: Engine.IO protocol error");
                Err(CloseReason::Malformed)
            }
        }
    }

    fn on_part<U: Upper>(
        &mut self,
        part: Result<Part<'_>, packet::Malformed>,
        timing: &Timing,
        upper: &mut U,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        match part {
            Ok(Part::Text(packet)) => self.on_packet(packet, timing, upper, core),
            Ok(Part::Binary(bytes)) => self.on_packet(Packet::Binary(&bytes), timing, upper, core),
            Err(error) => {
                tracing::debug!(%error, "closing a connection: malformed Engine.IO packet");
                Err(CloseReason::Malformed)
            }
        }
    }

    fn on_body<U: Upper>(
        &mut self,
        body: &[u8],
        timing: &Timing,
        upper: &mut U,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        let body = std::str::from_utf8(body).map_err(|_| CloseReason::Malformed)?;
        for part in payload::decode(body) {
            core.count_message()?;
            self.on_part(part, timing, upper, core)?;
        }
        Ok(())
    }
}

impl VersionSession for Version4 {
    fn new(now: Millis, timing: &Timing, is_websocket: bool) -> Self {
        Self(Session::new(now, timing, is_websocket))
    }

    fn received<U: Upper>(
        &mut self,
        message: Message<'_>,
        timing: &Timing,
        upper: &mut U,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        match message {
            // Clients that use base64 on polling do so on WebSockets too.
            Message::Text(text) => self.on_part(payload::decode_packet(text), timing, upper, core),
            Message::Binary(bytes) => self.on_packet(Packet::Binary(bytes), timing, upper, core),
            Message::Pong => Ok(()),
            Message::Body(body) => self.on_body(body, timing, upper, core),
        }
    }

    fn deadline(&self) -> Millis {
        self.0.deadline()
    }

    fn on_deadline(&mut self, timing: &Timing, core: &mut dyn Core) -> Result<(), CloseReason> {
        match self.0.due(core.now(), timing) {
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

    fn start_upgrade(&mut self, now: Millis, timing: &Timing) -> bool {
        self.0.start_upgrade(now, timing)
    }

    fn on_probe(&mut self, text: &str) -> Option<Result<Probed, UpgradeError>> {
        let Ok(Part::Text(packet)) = payload::decode_packet(text) else { return None };
        Some(self.0.on_probe_packet(&packet))
    }

    fn cancel_upgrade(&mut self) {
        self.0.cancel_upgrade();
    }

    fn is_upgrade_pending(&self) -> bool {
        self.0.upgrade_pending()
    }

    fn is_probe_answered(&self) -> bool {
        self.0.probe_answered()
    }
}
