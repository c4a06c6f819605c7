//! The implementation of [`Operations`] for one connection in one namespace.

use super::dialect::Operations;
use super::dialect_states::{DialectState, DialectStates};
use super::pending_acks::PendingAcks;
use super::requests_with_parts::RequestsWithParts;
use crate::calls::{Call, CallError};
use crate::encoding::Encoding;
use crate::history::{RequestId, Since};
use crate::identity::Identity;
use crate::identity_provider::Identify;
use crate::mailbox::{Acknowledgement, MailboxError, Removed};
use crate::namespace::Namespace;
use crate::outcome::Outcome;
use crate::presence::{PresenceError, RoomPresence};
use crate::protocol::{Core, JoinError, Joined, Subscribe};
use crate::protocols::engine_io::{self, Version};
use crate::token::TokenError;
use nodevent_protocol::socket_io::{encode_ack, encode_binary_ack, encode_binary_event, encode_event};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// One connection in one namespace.
pub(super) struct InNamespace<'a> {
    namespace: &'a Namespace,
    version: Version,
    encoding: &'a Arc<dyn Encoding>,
    acks: &'a mut PendingAcks,
    requests: &'a mut RequestsWithParts,
    states: &'a mut DialectStates,
    core: &'a mut dyn Core,
}

// === impl InNamespace ===

impl<'a> InNamespace<'a> {
    pub(super) fn new(
        namespace: &'a Namespace,
        version: Version,
        encoding: &'a Arc<dyn Encoding>,
        acks: &'a mut PendingAcks,
        requests: &'a mut RequestsWithParts,
        states: &'a mut DialectStates,
        core: &'a mut dyn Core,
    ) -> Self {
        Self { namespace, version, encoding, acks, requests, states, core }
    }

    fn send_event(&mut self, ack_id: Option<u64>, args: &str, attachments: &[Vec<u8>]) {
        let name = &*self.namespace.name;
        self.send(args, attachments, |packet| match attachments.len() {
            0 => encode_event(packet, name, ack_id, args),
            count => encode_binary_event(packet, name, ack_id, args, count),
        });
    }

    fn send(&mut self, args: &str, attachments: &[Vec<u8>], write: impl FnOnce(&mut String)) {
        engine_io::send_message(self.core, args.len() + self.namespace.name.len() + 24, write);
        for attachment in attachments {
            self.core.send(&[self.version.binary(attachment)]);
        }
    }
}

impl Operations for InNamespace<'_> {
    fn max_room_name(&self) -> usize {
        self.namespace.limits.max_name_bytes
    }

    fn max_rooms(&self) -> usize {
        self.namespace.limits.max_rooms
    }

    fn join(
        &mut self,
        room: &str,
        key: Option<&Value>,
        since: Option<&str>,
        request: RequestId,
    ) -> Result<Outcome<Joined>, JoinError> {
        self.core.subscribe(Subscribe {
            namespace: self.namespace.id,
            room,
            credential: key,
            since: Since::parse(since),
            encoding: self.encoding,
            request,
        })
    }

    fn join_by_token(&mut self, room: &str, since: Option<&str>) -> Result<Outcome<Joined>, JoinError> {
        self.join(room, None, since, RequestId::UNREQUESTED)
    }

    fn join_user(&mut self, since: Option<&str>) -> Outcome<Joined> {
        self.core.join_user(self.namespace.id, Since::parse(since), self.encoding)
    }

    fn recover_all(&mut self, since: Option<&str>, request: RequestId) -> Result<Outcome<Joined>, JoinError> {
        self.core.recover_all(self.namespace.id, Since::parse(since), self.encoding, request)
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.core.identity(self.namespace.id)
    }

    fn users(&self) -> Vec<String> {
        self.core.users(self.namespace.id)
    }

    fn identify(&mut self, token: &str, request: RequestId) -> Result<Outcome<Arc<Identity>>, TokenError> {
        let identify = Identify { namespace: self.namespace.id, token: Some(token), query: &[], request };
        Ok(match self.core.identify(identify)? {
            Outcome::Ready(identity) => Outcome::Ready(identity.ok_or(TokenError::NotConfigured)?),
            Outcome::Pending => Outcome::Pending,
            Outcome::Overloaded => Outcome::Overloaded,
        })
    }

    fn open_mailbox(&mut self) -> Result<(), MailboxError> {
        self.core.open_mailbox(self.namespace.id)
    }

    fn acknowledge_messages(
        &mut self,
        acknowledgement: Acknowledgement,
        request: Option<u64>,
    ) -> Result<Outcome<Removed>, MailboxError> {
        self.core.acknowledge_messages(self.namespace.id, acknowledgement, request)
    }

    fn grace(&self) -> Duration {
        self.namespace.grace()
    }

    fn reject_join(&mut self, error: JoinError) -> JoinError {
        self.core.reject_join(self.namespace.id, error)
    }

    fn start_parts(&mut self, ack_id: u64, parts: u16) -> bool {
        self.requests.start(self.namespace.id, ack_id, parts)
    }

    fn finish_part(&mut self, request: RequestId, result: String) -> Option<Vec<String>> {
        self.requests.finish_part(self.namespace.id, request, result)
    }

    fn leave(&mut self, room: &str) -> bool {
        self.core.unsubscribe(self.namespace.id, room, self.encoding)
    }

    fn presence(&mut self, room: &str, request: RequestId) -> Result<Outcome<Arc<RoomPresence>>, PresenceError> {
        self.core.presence(self.namespace.id, room, request)
    }

    fn call(&mut self, call: Call, number: u64) -> Result<(), CallError> {
        self.core.call(self.namespace.id, call, None, number)
    }

    fn acknowledge(&mut self, ack_id: u64, args: &str, attachments: &[Vec<u8>]) {
        let name = &*self.namespace.name;
        self.send(args, attachments, |packet| match attachments.len() {
            0 => encode_ack(packet, name, ack_id, args),
            count => encode_binary_ack(packet, name, ack_id, args, count),
        });
    }

    fn emit(&mut self, args: &str, attachments: &[Vec<u8>]) {
        self.send_event(None, args, attachments);
    }

    fn state(&mut self) -> Option<&mut DialectState> {
        self.states.get_mut(self.namespace.id)
    }

    fn set_state(&mut self, state: DialectState) {
        self.states.set(self.namespace.id, state);
    }

    fn emit_with_ack(&mut self, args: &str, attachments: &[Vec<u8>]) -> Option<u64> {
        let id = self.acks.start(self.namespace.id)?;
        self.send_event(Some(id), args, attachments);
        Some(id)
    }

    fn forget_ack(&mut self, id: u64) {
        self.acks.end(self.namespace.id, id);
    }
}
