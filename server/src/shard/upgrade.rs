//! The upgrade of a connection from long-polling to a WebSocket.
//!
//! The WebSocket has a slot of its own, a *probe*, until the connection's protocol says that it is the transport.

use super::Shard;
use super::message::{PollReply, PollResponse, UpgradeReply, UpgradeRequest};
use super::slot::{Probe, Session, Slot, Transport, WebSocket, token_of};
use super::stream::Stream;
use crate::client::Client;
use crate::close_reason::{CloseFrame, CloseReason};
use crate::connection_id::ConnectionId;
use crate::protocol::{self, Message, NEVER, PollingProtocol};
use std::net::{IpAddr, Ipv4Addr};
use tokio::sync::oneshot;

/// The connection of a WebSocket that no connection expects.
const NO_SESSION: u32 = u32::MAX;

// === impl Session ===

impl Session {
    fn polling_protocol(&mut self) -> Option<&mut dyn PollingProtocol> {
        self.protocol.as_mut()?.as_polling()
    }
}

// === impl Shard ===

impl Shard {
    pub(super) fn on_upgrade_request(&mut self, request: UpgradeRequest) {
        match request {
            UpgradeRequest::Start { id, version, reply } => self.start_upgrade(id, version, reply),
            UpgradeRequest::Cancelled { id } => self.on_upgrade_cancelled(id),
        }
    }

    /// A WebSocket is about to be opened for a connection.
    fn start_upgrade(&mut self, id: ConnectionId, version: u8, reply: oneshot::Sender<UpgradeReply>) {
        let now = self.now;
        let session = self.session_mut(id.slot).filter(|session| session.id.is(&id));
        let result = match session {
            None => UpgradeReply::Unknown,
            Some(Session { transport: Transport::Polling(polling), .. }) if polling.format.version != version => {
                UpgradeReply::WrongVersion
            }
            Some(session) => match session.polling_protocol().is_some_and(|protocol| protocol.start_upgrade(now)) {
                true => UpgradeReply::Accepted,
                false => UpgradeReply::Rejected,
            },
        };
        if result == UpgradeReply::Accepted {
            self.arm(id.slot);
        }
        if reply.send(result).is_err() && result == UpgradeReply::Accepted {
            self.on_upgrade_cancelled(id);
        }
    }

    /// That WebSocket will not come: its request is gone.
    fn on_upgrade_cancelled(&mut self, id: ConnectionId) {
        if let Some(session) = self.session_mut(id.slot)
            && session.id.is(&id)
            && session.awaits_probe()
        {
            if let Some(protocol) = session.polling_protocol() {
                protocol.cancel_upgrade();
            }
            self.answer_poll(id.slot);
        }
    }

    /// A probing WebSocket is gone. Its connection may try another.
    pub(super) fn cancel_upgrade(&mut self, session: u32, probe: u32) {
        if let Some(session) = self.session_mut(session)
            && session.probe == Some(probe)
        {
            session.probe = None;
            if let Some(protocol) = session.polling_protocol() {
                protocol.cancel_upgrade();
            }
        }
    }

    /// Puts a WebSocket into a slot that may become the transport of the connection `id`, if that still expects it.
    pub(super) fn open_probe(&mut self, id: Option<ConnectionId>, stream: Stream, deflate: bool) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let socket = Some(WebSocket::new(stream, deflate));
        let client = Client::of(id.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |id| self.peer(id.slot)));
        let probe = Probe { socket, session: NO_SESSION, client, is_watched: false, timer_at: NEVER, generation };
        let slot = self.slots.insert(Slot::Probe(probe)) as u32;
        let session = id.and_then(|id| {
            let session = self.session_mut(id.slot)?;
            (session.id.is(&id) && session.awaits_probe()).then(|| session.probe = Some(slot))?;
            Some(id.slot)
        });
        if let (Some(Slot::Probe(probe)), Some(session)) = (self.slots.get_mut(slot as usize), session) {
            probe.session = session;
        }
        slot
    }

    /// Closes a probing WebSocket that no connection expects.
    pub(super) fn reject_probe_without_session(&mut self, slot: u32) {
        if let Some(Slot::Probe(Probe { session: NO_SESSION, .. })) = self.slots.get(slot as usize) {
            tracing::info!("upgrade rejected: session already upgraded or closed");
            self.close_probe(slot, Some((Some(1008), "session already upgraded or closed")));
        }
    }

    /// A message arrived on a probing WebSocket. Returns where the socket is after an upgrade.
    pub(super) fn on_probe_message(&mut self, slot: u32, session: u32, message: Message<'_>) -> Option<(u32, u32)> {
        match self.session_mut(session)?.polling_protocol()?.on_probe(message) {
            Ok(protocol::Probe::Reply(frame)) => {
                if let Some(reason) = self.send_control(slot, frame.websocket()) {
                    self.fail(slot, reason);
                }
            }
            Ok(protocol::Probe::Upgraded) => return self.upgrade(slot, session),
            Err(reason) => self.fail(slot, reason),
        }
        None
    }

    /// Makes the probing WebSocket its connection's transport, and sends what waited for the next poll.
    fn upgrade(&mut self, slot: u32, session: u32) -> Option<(u32, u32)> {
        // The caller has the probe's decoder, and puts it into the connection's socket.
        let Slot::Probe(Probe { socket: Some(mut socket), .. }) = self.slots.remove(slot as usize) else {
            return None;
        };
        let Self { poll, slots, .. } = self;
        let Some(Slot::Session(owner)) = slots.get_mut(session as usize) else { return None };
        let registered = socket.stream.reregister(poll.registry(), token_of(session));
        owner.probe = None;
        let (place, id) = ((session, owner.generation), owner.id);
        let old = std::mem::replace(&mut owner.transport, Transport::WebSocket(socket));
        if registered.is_err() {
            self.close(session, CloseReason::ConnectionLost);
            return None;
        }
        if let Transport::Polling(mut polling) = old {
            if let Some(poll) = polling.poll.take() {
                let noop = self.session_mut(session)?.polling_protocol()?.noop();
                let _ = poll.send(match polling.arrived_during_upgrade {
                    true => PollReply::WrongTransport,
                    false => PollReply::Messages(PollResponse::last(vec![noop], polling.format, id)),
                });
            }
            if let Some(reason) = self.send(session, &polling.queue.take()) {
                self.close(session, reason);
                return None;
            }
        }
        self.deflate_memberships(session);
        // What arrived behind the last message of the upgrade, and has not been read, is read under the new token.
        self.read_later(session);
        self.arm(session);
        Some(place)
    }

    /// Closes a probing WebSocket. Its connection stays as it is.
    pub(super) fn close_probe(&mut self, slot: u32, close_frame: CloseFrame<'_>) {
        let Some(Slot::Probe(probe)) = self.slots.get_mut(slot as usize) else { return };
        let (session, socket) = (probe.session, probe.socket.take());
        self.cancel_upgrade(session, slot);
        match socket {
            Some(socket) => self.send_close_frame(slot, socket, close_frame),
            None => self.release(slot),
        }
    }
}
