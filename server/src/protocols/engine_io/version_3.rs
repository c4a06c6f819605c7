//! Version 3 of Engine.IO, of the clients of Socket.IO 1 and 2: the session of one connection.
//!
//! # Source
//! The Engine.IO protocol, revision 3.

use super::Upper;
use super::connection::VersionSession;
use crate::close_reason::CloseReason;
use crate::protocol::{Core, Message, Millis};
use nodevent_protocol::engine_io::Malformed;
use nodevent_protocol::engine_io::session::Timing;
use nodevent_protocol::engine_io::upgrade::{Probed, UpgradeError};
use nodevent_protocol::engine_io_3::packet::{self, Part};
use nodevent_protocol::engine_io_3::payload::{self, TextEncoding};
use nodevent_protocol::engine_io_3::session::{Due, Incoming, Session};

/// The session.
#[derive(Debug)]
pub(super) struct Version3 {
    session: Session,
    /// How the client encodes text in the bodies of POSTs.
    encoding: TextEncoding,
}

// === impl Version3 ===

impl Version3 {
    fn on_part<U: Upper>(
        &mut self,
        part: Result<Part<'_>, Malformed>,
        timing: &Timing,
        upper: &mut U,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        let part = part.map_err(|error| {
            tracing::debug!(%error, "closing a connection: malformed Engine.IO packet");
            CloseReason::Malformed
        })?;
        match self.session.on_packet(part.packet(), core.now(), timing) {
            Incoming::Nothing => Ok(()),
            Incoming::Ping(text) => {
                core.send_text(&format!("3{text}"));
                Ok(())
            }
            Incoming::Closed => Err(CloseReason::ClientClosed),
            Incoming::Text(text) => upper.text(text, core),
            Incoming::Binary(bytes) => upper.binary(bytes, core),
        }
    }

    fn on_body<U: Upper>(
        &mut self,
        body: &[u8],
        timing: &Timing,
        upper: &mut U,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        let mut encoding = self.encoding;
        let read = payload::decode(body, &mut encoding).try_for_each(|part| {
            core.count_message()?;
            self.on_part(part, timing, upper, core)
        });
        self.encoding = encoding;
        read
    }
}

impl VersionSession for Version3 {
    fn new(now: Millis, timing: &Timing, is_websocket: bool) -> Self {
        Self { session: Session::new(now, timing, is_websocket), encoding: TextEncoding::default() }
    }

    fn received<U: Upper>(
        &mut self,
        message: Message<'_>,
        timing: &Timing,
        upper: &mut U,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        match message {
            Message::Text(text) => self.on_part(packet::decode_text(text), timing, upper, core),
            Message::Binary(bytes) => self.on_part(packet::decode_binary(bytes), timing, upper, core),
            Message::Pong => Ok(()),
            Message::Body(body) => self.on_body(body, timing, upper, core),
        }
    }

    fn deadline(&self) -> Millis {
        self.session.deadline()
    }

    fn on_deadline(&mut self, _timing: &Timing, core: &mut dyn Core) -> Result<(), CloseReason> {
        match self.session.due(core.now()) {
            Due::Nothing => Ok(()),
            Due::PingTimeout => Err(CloseReason::PingTimeout),
            Due::UpgradeTimeout => {
                core.upgrade_timed_out();
                Ok(())
            }
        }
    }

    fn start_upgrade(&mut self, now: Millis, timing: &Timing) -> bool {
        self.session.upgrade.start(now, timing)
    }

    fn on_probe(&mut self, text: &str) -> Option<Result<Probed, UpgradeError>> {
        let part = packet::decode_text(text).ok()?;
        Some(self.session.upgrade.on_packet(&part.packet()))
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
}
