//! The transport long-polling: GETs that wait for messages, POSTs that bring them.

use super::Shard;
use super::message::{PollReply, PollingFormat, PollingRequest, PostReply};
use super::slot::{Polling, Session, Transport};
use crate::client::Client;
use crate::close_reason::CloseReason;
use crate::connect_info::ConnectInfo;
use crate::connection_id::ConnectionId;
use crate::encoding::Frame;
use crate::protocol::{Message, OpenProtocol};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The connection of a request, and whether it can be served.
enum Lookup<'a> {
    Unknown,
    WrongTransport,
    Polling(&'a mut Polling),
}

// === impl Shard ===

impl Shard {
    pub(super) fn on_polling_request(&mut self, request: PollingRequest) {
        match request {
            PollingRequest::Open { protocol, format, info, reply } => {
                self.open_polling(protocol, format, info, reply);
            }
            PollingRequest::Find { id, reply } => {
                let _ = reply.send(!matches!(self.lookup(id), Lookup::Unknown));
            }
            PollingRequest::Poll { id, version, reply } => self.on_poll(id, version, reply),
            PollingRequest::PollAborted { id } => self.on_poll_aborted(id),
            PollingRequest::Written { id } => self.on_written(id),
            PollingRequest::Discarded { id } => self.on_discarded(id),
            PollingRequest::PostStarted { id, version, reply } => self.on_post_started(id, version, reply),
            PollingRequest::Post { id, body, reply } => self.on_post(id, &body, reply),
            PollingRequest::PostAborted { id, close } => self.on_post_aborted(id, close),
        }
    }

    /// Opens a connection. Its first messages are the reply.
    fn open_polling(
        &mut self,
        protocol: OpenProtocol,
        format: PollingFormat,
        info: ConnectInfo,
        reply: oneshot::Sender<Vec<Frame>>,
    ) {
        let polling = Polling { format, ..Polling::default() };
        let slot = self.open_session(Transport::Polling(Box::new(polling)), protocol, info);
        self.with_protocol(slot, |protocol, core| protocol.opened(core));
        let Some(Session { transport: Transport::Polling(polling), .. }) = self.session_mut(slot) else { return };
        if reply.send(polling.queue.take()).is_err() {
            self.close(slot, CloseReason::ConnectionLost);
        }
    }

    fn on_poll(&mut self, id: ConnectionId, version: u8, reply: oneshot::Sender<PollReply>) {
        self.catch_up(id);
        let arrived_during_upgrade = self.session_mut(id.slot).is_some_and(|session| session.awaits_probe());
        let rejection = match self.lookup(id) {
            Lookup::Unknown => PollReply::Unknown,
            Lookup::WrongTransport => PollReply::WrongTransport,
            Lookup::Polling(polling) if polling.format.version != version => PollReply::WrongTransport,
            Lookup::Polling(polling) if polling.poll.is_some() => {
                self.close(id.slot, CloseReason::ConcurrentRequest);
                PollReply::Concurrent
            }
            Lookup::Polling(polling) => {
                polling.poll = Some(reply);
                polling.arrived_during_upgrade = arrived_during_upgrade;
                return self.answer_poll(id.slot);
            }
        };
        let _ = reply.send(rejection);
    }

    /// Reads the probing WebSocket and runs due timers, before a GET is served.
    fn catch_up(&mut self, id: ConnectionId) {
        let Some(session) = self.session_mut(id.slot).filter(|session| session.id.is(&id)) else { return };
        if let Some(probe) = session.probe {
            self.read(probe, false);
        }
        self.fire_deadlines(id.slot);
        self.arm(id.slot);
    }

    /// The client gave up its GET, so the connection is lost.
    fn on_poll_aborted(&mut self, id: ConnectionId) {
        if let Lookup::Polling(polling) = self.lookup(id)
            && polling.poll.as_ref().is_some_and(oneshot::Sender::is_closed)
        {
            self.close(id.slot, CloseReason::PollAborted);
        }
    }

    /// The response to the last GET was written. Another GET waits for that.
    fn on_written(&mut self, id: ConnectionId) {
        if let Lookup::Polling(_) = self.lookup(id) {
            self.answer_poll(id.slot);
        }
    }

    /// The response to the last GET is not sent, so the client would miss its messages.
    fn on_discarded(&mut self, id: ConnectionId) {
        if self.session_mut(id.slot).is_some_and(|session| session.id.is(&id)) {
            self.close(id.slot, CloseReason::SendBuffersFull);
        }
    }

    fn on_post_started(&mut self, id: ConnectionId, version: u8, reply: oneshot::Sender<PostReply>) {
        let result = match self.lookup(id) {
            Lookup::Unknown => PostReply::Unknown,
            Lookup::WrongTransport => PostReply::WrongTransport,
            Lookup::Polling(polling) if polling.format.version != version => PostReply::WrongTransport,
            Lookup::Polling(polling) if polling.is_posting => {
                self.close(id.slot, CloseReason::ConcurrentRequest);
                PostReply::Closed(CloseReason::ConcurrentRequest)
            }
            Lookup::Polling(polling) => {
                polling.is_posting = true;
                PostReply::Accepted
            }
        };
        if reply.send(result).is_err() && result == PostReply::Accepted {
            self.on_post_aborted(id, Some(CloseReason::PostAborted));
        }
    }

    fn on_post_aborted(&mut self, id: ConnectionId, close: Option<CloseReason>) {
        let Lookup::Polling(polling) = self.lookup(id) else { return };
        polling.is_posting = false;
        if let Some(reason) = close {
            self.close(id.slot, reason);
        }
    }

    fn on_post(&mut self, id: ConnectionId, body: &[u8], reply: oneshot::Sender<PostReply>) {
        match self.lookup(id) {
            Lookup::Polling(polling) => polling.is_posting = false,
            // The upgrade to a WebSocket may overtake the last POST. Its messages are accepted anyway.
            Lookup::WrongTransport => {}
            Lookup::Unknown => {
                let _ = reply.send(PostReply::Unknown);
                return;
            }
        }
        if !self.count_bytes(id.slot, body.len()) {
            let _ = reply.send(PostReply::Closed(CloseReason::ByteRate));
            return;
        }
        let closed = self.with_protocol(id.slot, |protocol, core| protocol.received(Message::Body(body), core));
        self.watch_arriving(id.slot);
        let _ = reply.send(match closed {
            // The client has closed the connection with its own message, so this is not an error.
            None | Some(CloseReason::ClientClosed) => PostReply::Accepted,
            Some(reason) => PostReply::Closed(reason),
        });
    }

    /// Answers a waiting GET, if there is something for it.
    pub(super) fn answer_poll(&mut self, slot: u32) {
        let (client, inbox) = (Client::of(self.peer(slot)), Arc::clone(&self.inbox));
        let Some(session) = self.session_mut(slot) else { return };
        if !matches!(session.transport, Transport::Polling(_)) || session.awaits_probe() {
            // A WebSocket that is expected may be the connection's transport as soon as it is here.
            return;
        }
        let noop = session.protocol.as_mut().and_then(|protocol| {
            let polling = protocol.as_polling()?;
            polling.is_probe_answered().then(|| polling.noop())
        });
        let Transport::Polling(polling) = &mut session.transport else { return };
        let Some(waiting) = &polling.poll else { return };
        if waiting.is_closed() {
            // Its abort has been reported, or is about to be.
            return;
        }
        if polling.queue.is_empty()
            && let Some(noop) = noop
        {
            polling.queue.push(noop);
        }
        if polling.queue.is_empty() || !polling.last_response.is_written() {
            return;
        }
        if let Some(poll) = polling.poll.take() {
            let frames = polling.queue.take();
            let response = polling.last_response.send(frames, polling.format, session.id, (client, &inbox));
            let _ = poll.send(PollReply::Messages(response));
        }
    }

    fn lookup(&mut self, id: ConnectionId) -> Lookup<'_> {
        match self.session_mut(id.slot) {
            Some(session) if session.id.is(&id) => match &mut session.transport {
                Transport::Polling(polling) => Lookup::Polling(polling),
                Transport::WebSocket(_) | Transport::Stream(_) | Transport::Closed => Lookup::WrongTransport,
            },
            _ => Lookup::Unknown,
        }
    }
}
