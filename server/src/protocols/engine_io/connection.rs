//! One connection of either version of Engine.IO.
//!
//! What the versions have in common is here, also what is passed on to the layer above, so that neither version can lack a
//! part of it. What differs is a [`VersionSession`].

use super::{Settings, Upper};
use crate::calls::CallResult;
use crate::close_reason::CloseReason;
use crate::encoding::{Encoding, Frame};
use crate::history::RequestId;
use crate::pages::PageEvent;
use crate::presence::PresenceResult;
use crate::protocol::{
    Core, IdentifyReply, MailboxDelivery, Message, Millis, PollingProtocol, Probe, Protocol, SubscribeReply,
    TransportKind,
};
use nodevent_protocol::engine_io::handshake::Handshake;
use nodevent_protocol::engine_io::session::Timing;
use nodevent_protocol::engine_io::upgrade::{Probed, UpgradeError};
use std::fmt;
use std::sync::Arc;

/// What differs between the versions: packets, bodies and heartbeats.
pub(super) trait VersionSession: fmt::Debug + Send {
    /// The session of a connection that is opened now.
    fn new(now: Millis, timing: &Timing, is_websocket: bool) -> Self;

    /// Decodes what arrived, and passes messages to the layer above.
    ///
    /// # Errors
    /// The reason to close the connection.
    fn received<U: Upper>(
        &mut self,
        message: Message<'_>,
        timing: &Timing,
        upper: &mut U,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason>;

    /// When [`VersionSession::on_deadline`] is due.
    fn deadline(&self) -> Millis;

    /// Heartbeats and timeouts.
    ///
    /// # Errors
    /// The reason to close the connection.
    fn on_deadline(&mut self, timing: &Timing, core: &mut dyn Core) -> Result<(), CloseReason>;

    /// See [`PollingProtocol::start_upgrade`].
    fn start_upgrade(&mut self, now: Millis, timing: &Timing) -> bool;

    /// A text arrived on the WebSocket that is being probed. `None`: it is not a packet.
    fn on_probe(&mut self, text: &str) -> Option<Result<Probed, UpgradeError>>;

    /// See [`PollingProtocol::cancel_upgrade`].
    fn cancel_upgrade(&mut self);

    /// See [`PollingProtocol::is_upgrade_pending`].
    fn is_upgrade_pending(&self) -> bool;

    /// See [`PollingProtocol::is_probe_answered`].
    fn is_probe_answered(&self) -> bool;
}

/// One connection.
#[derive(Debug)]
pub(super) struct EngineIo<S, U> {
    settings: Arc<Settings>,
    session: S,
    upper: U,
}

// === impl EngineIo ===

impl<S: VersionSession, U: Upper> EngineIo<S, U> {
    /// A connection that is about to be opened.
    pub(super) fn new(settings: &Arc<Settings>, upper: U) -> Self {
        Self { session: S::new(0, &settings.timing, true), settings: Arc::clone(settings), upper }
    }
}

impl<S: VersionSession, U: Upper> Protocol for EngineIo<S, U> {
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.upper.opening(core);
        let is_websocket = core.transport() == TransportKind::WebSocket;
        self.session = S::new(core.now(), &self.settings.timing, is_websocket);
        let packet = open_packet(&self.settings, core);
        core.send_text(&packet);
        self.upper.opened(core);
        Ok(())
    }

    fn received(&mut self, message: Message<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.session.received(message, &self.settings.timing, &mut self.upper, core)
    }

    fn deadline(&self) -> Millis {
        self.session
            .deadline()
            .min(self.upper.connect_deadline())
            .min(self.upper.message_deadline())
            .min(self.upper.refresh_deadline())
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
        if core.now() >= self.upper.refresh_deadline() {
            self.upper.on_refresh(core);
        }
        if core.now() < self.session.deadline() {
            return Ok(());
        }
        self.session.on_deadline(&self.settings.timing, core)
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        self.upper.subscribed(reply, core);
    }

    fn identified(&mut self, reply: IdentifyReply, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.upper.identified(reply, core)
    }

    fn claimed(&mut self, namespace: u16, is_first: Option<bool>, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.upper.claimed(namespace, is_first, core)
    }

    fn revoked(&mut self, namespace: u16, room: Option<&str>, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.upper.revoked(namespace, room, core)
    }

    fn membership_expired(&mut self, namespace: u16, room: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.upper.membership_expired(namespace, room, core)
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

    fn page(&mut self, namespace: u16, event: &PageEvent<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.upper.page(namespace, event, core)
    }

    fn called(&mut self, namespace: u16, number: u64, result: &CallResult, core: &mut dyn Core) {
        self.upper.called(namespace, number, result, core);
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
        // Ends a waiting poll: with a noop if the client closed the connection, else with a close packet.
        if core.transport() == TransportKind::Polling {
            core.send_text(if reason == CloseReason::ClientClosed { "6" } else { "1" });
        }
    }

    fn as_polling(&mut self) -> Option<&mut dyn PollingProtocol> {
        Some(self)
    }
}

impl<S: VersionSession, U: Upper> PollingProtocol for EngineIo<S, U> {
    fn start_upgrade(&mut self, now: Millis) -> bool {
        self.session.start_upgrade(now, &self.settings.timing)
    }

    fn on_probe(&mut self, message: Message<'_>) -> Result<Probe, CloseReason> {
        let Message::Text(text) = message else { return Err(CloseReason::Malformed) };
        match self.session.on_probe(text).ok_or(CloseReason::Malformed)? {
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
        self.session.is_upgrade_pending()
    }

    fn is_probe_answered(&self) -> bool {
        self.session.is_probe_answered()
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
    handshake.to_packet()
}
