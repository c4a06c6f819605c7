//! Connections on a stream: they open with a request and close when its reader is gone.

use super::Shard;
use super::body_stream;
use super::message::{OpenStream, StreamRequest, ToShard};
use super::slot::{Session, Transport};
use crate::client::Client;
use crate::close_reason::CloseReason;
use std::sync::Arc;

// === impl Shard ===

impl Shard {
    pub(super) fn on_stream_request(&mut self, request: StreamRequest) {
        match request {
            StreamRequest::Open(open) => self.open_stream(*open),
            StreamRequest::Closed { id } => {
                if self.session_mut(id.slot).is_some_and(|session| session.id.is(&id)) {
                    self.close(id.slot, CloseReason::ConnectionLost);
                }
            }
        }
    }

    fn open_stream(&mut self, open: OpenStream) {
        let OpenStream { protocol, info, reply } = open;
        let slot = self.open_session(Transport::Closed, protocol, info);
        let (client, inbox) = (Client::of(self.peer(slot)), Arc::clone(&self.inbox));
        let Some(Session { id, transport, .. }) = self.session_mut(slot) else { return };
        let id = *id;
        let (stream, receiver) = body_stream::channel(move || {
            let _ = inbox.put_request(client, ToShard::Stream(StreamRequest::Closed { id }));
        });
        *transport = Transport::Stream(stream);
        // If the request is gone, dropping the receiver closes the connection.
        let _ = reply.send(receiver);
        self.with_protocol(slot, |protocol, core| protocol.opened(core));
    }
}
