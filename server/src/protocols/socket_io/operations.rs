//! The implementation of [`Operations`] for one connection in one namespace.

use super::dialect::{Operations, PageError};
use super::dialect_states::{DialectState, DialectStates};
use super::pages::Pages;
use super::pending_acks::PendingAcks;
use super::recovery::{Restore, with_offset};
use super::requests_with_parts::RequestsWithParts;
use super::{Channel, RESTORED};
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
use crate::protocols::page_rooms::PageSettings;
use crate::token::TokenError;
use nodevent_protocol::history::Position;
use nodevent_protocol::pages::PageDigest;
use nodevent_protocol::socket_io::{encode_ack, encode_binary_ack, encode_binary_event, encode_event};
use nodevent_protocol::topic::{self, Topic};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// One connection in one namespace.
pub(super) struct InNamespace<'a> {
    namespace: &'a Namespace,
    version: Version,
    encoding: &'a Arc<dyn Encoding>,
    page_settings: Option<&'a Arc<PageSettings>>,
    state: State<'a>,
    /// The state from which the connection is being restored.
    restore: Option<&'a mut Restore>,
    core: &'a mut dyn Core,
}

/// What the connection remembers of its namespaces.
pub(super) struct State<'a> {
    pub(super) acks: &'a mut PendingAcks,
    pub(super) requests: &'a mut RequestsWithParts,
    pub(super) states: &'a mut DialectStates,
    pub(super) pages: &'a mut Pages,
}

// === impl InNamespace ===

impl<'a> InNamespace<'a> {
    pub(super) fn new(
        namespace: &'a Namespace,
        version: Version,
        channel: &'a Channel,
        state: State<'a>,
        core: &'a mut dyn Core,
    ) -> Self {
        let Channel { encoding, pages, .. } = channel;
        Self { namespace, version, encoding, page_settings: pages.as_ref(), state, restore: None, core }
    }

    /// The connection is being restored: joins begin where it was, and their outcomes are recorded.
    pub(super) fn restoring(self, restore: Option<&'a mut Restore>) -> Self {
        Self { restore, ..self }
    }

    /// Whether the connection has a user.
    pub(super) fn has_user(&self) -> bool {
        self.core.identity(self.namespace.id).is_some()
    }

    /// Joins the topic of the connection's user again.
    pub(super) fn rejoin_user(&mut self) {
        let topic = self.topic_of_user();
        if !self.was_joined(&topic) {
            let _ = self.join_user(None);
        }
    }

    fn topic_of_user(&self) -> String {
        self.identity().map(|identity| topic::of_user(&identity.user)).unwrap_or_default()
    }

    /// Sends what was missed of the topic of all connections.
    pub(super) fn rejoin_all(&mut self) {
        let _ = self.recover_all(None, RESTORED);
    }

    /// See [`Restore::was_joined`].
    pub(super) fn was_joined(&self, topic: &str) -> bool {
        self.restore.as_ref().is_some_and(|restore| restore.was_joined(topic))
    }

    /// See [`Restore::settle`].
    pub(super) fn settle(&mut self, topic: &str) {
        if let Some(restore) = &mut self.restore {
            restore.settle(topic);
        }
    }

    /// The position from which a topic is joined.
    fn since(&self, topic: &str, since: Option<&str>) -> Since {
        match &self.restore {
            Some(restore) if since.is_none() => restore.since(topic),
            _ => Since::parse(since),
        }
    }

    fn subscribe(
        &mut self,
        topic: &str,
        credential: Option<&Value>,
        kept: Option<&str>,
        since: Since,
        request: RequestId,
    ) -> Result<Outcome<Joined>, JoinError> {
        let outcome = self.core.subscribe(Subscribe {
            namespace: self.namespace.id,
            room: topic,
            credential,
            kept,
            since,
            encoding: self.encoding,
            request,
        });
        self.on_outcome(topic, &outcome);
        outcome
    }

    /// Records the outcome of a join, if the connection is being restored.
    fn on_outcome(&mut self, topic: &str, outcome: &Result<Outcome<Joined>, JoinError>) {
        if let Some(restore) = &mut self.restore {
            restore.on_outcome(topic, outcome);
        }
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
        let kept = key.filter(|_| self.namespace.connection_state.is_some()).map(Value::to_string);
        // The application has decided about the rooms of the page.
        let of_page = match key {
            None | Some(Value::Null) => self.state.pages.credential(self.namespace.id, room),
            Some(_) => None,
        };
        self.subscribe(room, of_page.as_ref().or(key), kept.as_deref(), self.since(room, since), request)
    }

    fn join_decided(
        &mut self,
        topic: &str,
        credential: &Value,
        kept: Option<&str>,
        request: RequestId,
    ) -> Result<Outcome<Joined>, JoinError> {
        self.subscribe(topic, Some(credential), kept, self.since(topic, None), request)
    }

    fn rejoin(&mut self, topic: Topic<'_>, credential: Option<&Value>, kept: Option<&str>) {
        let name = topic.name();
        let _ = self.subscribe(&name, credential, kept, self.since(&name, None), RESTORED);
    }

    fn join_by_token(&mut self, room: &str, since: Option<&str>) -> Result<Outcome<Joined>, JoinError> {
        self.join(room, None, since, RequestId::UNREQUESTED)
    }

    fn join_user(&mut self, since: Option<&str>) -> Outcome<Joined> {
        let topic = self.topic_of_user();
        let outcome = self.core.join_user(self.namespace.id, self.since(&topic, since), self.encoding);
        self.on_outcome(&topic, &Ok(outcome.clone()));
        outcome
    }

    fn recover_all(&mut self, since: Option<&str>, request: RequestId) -> Result<Outcome<Joined>, JoinError> {
        let since = self.since(topic::ALL, since);
        let outcome = self.core.recover_all(self.namespace.id, since, self.encoding, request);
        self.on_outcome(topic::ALL, &outcome);
        outcome
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
        self.state.requests.start(self.namespace.id, ack_id, parts)
    }

    fn finish_part(&mut self, request: RequestId, result: String) -> Option<Vec<String>> {
        self.state.requests.finish_part(self.namespace.id, request, result)
    }

    fn leave(&mut self, room: &str) -> bool {
        self.core.unsubscribe(self.namespace.id, room, self.encoding)
    }

    fn set_page(
        &mut self,
        connection_id: &str,
        received: Vec<(Box<str>, Position)>,
    ) -> Result<PageDigest, PageError> {
        let settings = (self.namespace.id, self.page_settings.ok_or(PageError::NotConfigured)?);
        let visitor = self.core.info().visitor(self.namespace.id);
        let page = visitor.and_then(|visitor| visitor.page(connection_id)).ok_or(PageError::Unknown)?;
        self.state.pages.set(settings, (connection_id, page), received, self.core);
        Ok(page)
    }

    fn presence(&mut self, room: &str, request: RequestId) -> Result<Outcome<Arc<RoomPresence>>, PresenceError> {
        self.core.presence(self.namespace.id, room, request)
    }

    fn call(&mut self, call: Call, number: u64) -> Result<(), CallError> {
        let connection = self.state.pages.connection_id(self.namespace.id);
        self.core.call(self.namespace.id, call, connection, number)
    }

    fn acknowledge(&mut self, ack_id: u64, args: &str, attachments: &[Vec<u8>]) {
        let name = &*self.namespace.name;
        self.send(args, attachments, |packet| match attachments.len() {
            0 => encode_ack(packet, name, ack_id, args),
            count => encode_binary_ack(packet, name, ack_id, args, count),
        });
    }

    fn emit(&mut self, args: &str, attachments: &[Vec<u8>]) {
        let offset = self.core.offset(self.namespace.id);
        match offset.and_then(|offset| with_offset(args, &offset)) {
            Some(args) => self.send_event(None, &args, attachments),
            None => self.send_event(None, args, attachments),
        }
    }

    fn flush(&mut self) {
        self.core.flush();
    }

    fn state(&mut self) -> Option<&mut DialectState> {
        self.state.states.get_mut(self.namespace.id)
    }

    fn set_state(&mut self, state: DialectState) {
        self.state.states.set(self.namespace.id, state);
    }

    fn emit_with_ack(&mut self, args: &str, attachments: &[Vec<u8>]) -> Option<u64> {
        let id = self.state.acks.start(self.namespace.id)?;
        self.send_event(Some(id), args, attachments);
        Some(id)
    }

    fn forget_ack(&mut self, id: u64) {
        self.state.acks.end(self.namespace.id, id);
    }
}
