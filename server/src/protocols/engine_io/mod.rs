//! Engine.IO, versions 4 and 3: messages over a WebSocket or HTTP long-polling, with heartbeats and the upgrade from one to
//! the other. `connection` is one connection; `version_4` and `version_3` have what differs.
//!
//! What the messages mean is up to the layer above, [`Upper`]: Socket.IO, or the echo application of the conformance
//! suite.
//!
//! # Source
//! The Engine.IO protocol, revisions 4 and 3.

mod connection;
mod endpoint;
mod payload_body;
mod payload_response;
mod version_3;
mod version_4;

pub use endpoint::EngineIoEndpoint;
use payload_response::payload_response;

use crate::calls::CallResult;
use crate::close_reason::CloseReason;
use crate::encoding::{Encoding, Frame};
use crate::history::RequestId;
use crate::http::connections::PollingFormat;
use crate::pages::PageEvent;
use crate::presence::PresenceResult;
use crate::protocol::{Core, IdentifyReply, MailboxDelivery, Millis, NEVER, SubscribeReply};
#[cfg(doc)]
use crate::protocol::{PollingProtocol, Protocol};
use nodevent_protocol::engine_io::session::Timing;
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

    /// When [`Upper::on_refresh`] is due.
    fn refresh_deadline(&self) -> Millis {
        NEVER
    }

    /// Sends what a client must receive from time to time.
    fn on_refresh(&mut self, core: &mut dyn Core) {
        let _ = core;
    }

    /// See [`Protocol::claimed`].
    ///
    /// # Errors
    /// The reason to close the connection.
    fn claimed(&mut self, namespace: u16, is_first: Option<bool>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let _ = (namespace, is_first, core);
        Ok(())
    }

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

    /// See [`Protocol::membership_expired`].
    ///
    /// # Errors
    /// The reason to close the connection.
    fn membership_expired(&mut self, namespace: u16, room: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
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

    /// See [`Protocol::page`].
    ///
    /// # Errors
    /// The reason to close the connection.
    fn page(&mut self, namespace: u16, event: &PageEvent<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let _ = (namespace, event, core);
        Ok(())
    }

    /// See [`Protocol::called`].
    fn called(&mut self, namespace: u16, number: u64, result: &CallResult, core: &mut dyn Core) {
        let _ = (namespace, number, result, core);
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
