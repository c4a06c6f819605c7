//! The implementation of [`Core`] for one connection.
//!
//! It lives for one call into the protocol. It never closes the connection itself: it remembers the reason, and the
//! shard closes the connection when the protocol has returned.

use super::Shard;
use super::slot::Session;
use crate::cable::{CableQuery, CableWrite};
use crate::calls::{Call, CallError, ConnectionEvent};
use crate::close_reason::CloseReason;
use crate::connect_info::ConnectInfo;
use crate::connection_id::ConnectionId;
use crate::connection_state::{Sealer, State};
use crate::encoding::{Encoding, Frame};
use crate::history::{RequestId, Since};
use crate::hub::{Member, Membership};
use crate::identity::Identity;
use crate::identity_provider::Identify;
use crate::mailbox::{Acknowledgement, MailboxError, Removed};
use crate::outcome::Outcome;
use crate::presence::{PresenceError, RoomPresence};
use crate::protocol::{Core, JoinError, Joined, Millis, Subscribe, TransportKind};
use crate::token::TokenError;
use nodevent_protocol::history::Position;
use nodevent_protocol::page::PageHash;
use nodevent_protocol::pages::{PageDigest, Subscription};
use nodevent_protocol::topic::Topic;
use nodevent_protocol::websocket::{self, Opcode};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A connection, for its protocol.
pub(super) struct Connection<'a> {
    shard: &'a mut Shard,
    slot: u32,
    /// Why the connection must be closed.
    close: Option<CloseReason>,
}

// === impl Connection ===

impl<'a> Connection<'a> {
    pub(super) fn new(shard: &'a mut Shard, slot: u32) -> Self {
        Self { shard, slot, close: None }
    }

    /// Why the connection must be closed, if it must.
    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        self.close
    }

    /// Remembers why the connection must be closed after a join, if it must.
    fn after_join(&mut self, outcome: Outcome<(Joined, Option<CloseReason>)>) -> Outcome<Joined> {
        match outcome {
            Outcome::Ready((joined, close)) => {
                self.close = self.close.or(close);
                Outcome::Ready(joined)
            }
            Outcome::Pending => Outcome::Pending,
            Outcome::Overloaded => {
                self.close = Some(CloseReason::TooManyPendingJoins);
                Outcome::Overloaded
            }
        }
    }

    /// Counts the wrong key of a rejected join, if it had one.
    fn count_wrong_key(&mut self, error: JoinError) {
        if !self.shard.count_rejection(self.slot, error) {
            self.close = Some(CloseReason::WrongKeys);
        }
    }

    fn session(&self) -> Option<&Session> {
        match self.shard.slots.get(self.slot as usize) {
            Some(super::slot::Slot::Session(session)) => Some(session),
            _ => None,
        }
    }
}

impl Core for Connection<'_> {
    fn now(&self) -> Millis {
        self.shard.now
    }

    fn id(&self) -> ConnectionId {
        self.session().map_or_else(|| ConnectionId::new(self.shard.number, self.slot), |session| session.id)
    }

    fn info(&self) -> &ConnectInfo {
        self.session().map_or(&ConnectInfo::UNKNOWN, |session| &session.info)
    }

    fn take_request_token(&mut self, namespace: u16) -> Option<Box<str>> {
        let namespaces = Arc::clone(&self.shard.namespaces);
        let sources = &namespaces.get(namespace).tokens.as_ref()?.settings().sources;
        let session = self.shard.session_mut(self.slot)?;
        let token = session.info.token(sources).map(Into::into);
        if namespaces.iter().filter(|one| one.tokens.is_some()).count() == 1 {
            session.info.forget_token();
        }
        token
    }

    fn take_query(&mut self, namespace: u16) -> Option<Box<str>> {
        let namespaces = Arc::clone(&self.shard.namespaces);
        let provider = namespaces.get(namespace).provider.get()?;
        match provider.listed().query.is_empty() {
            true => None,
            false => self.shard.session_mut(self.slot)?.info.take_query(),
        }
    }

    fn identify(&mut self, identify: Identify<'_>) -> Result<Outcome<Option<Arc<Identity>>>, TokenError> {
        self.shard.identify(self.slot, identify).map_err(|rejected| {
            self.close = self.close.or(rejected.close);
            rejected.error
        })
    }

    fn identity(&self, namespace: u16) -> Option<Arc<Identity>> {
        self.session()?.identities.get(namespace).cloned()
    }

    fn users(&self, namespace: u16) -> Vec<String> {
        let hub = &self.shard.hub;
        let names = hub.memberships_of(self.slot).filter_map(|membership| hub.name(membership.room));
        let users = names.filter(|(of, _)| *of == namespace).filter_map(|(_, name)| match Topic::parse(name) {
            Topic::User(user) => Some(user.to_owned()),
            Topic::Room(_) | Topic::All => None,
        });
        users.collect()
    }

    fn join_user(&mut self, namespace: u16, since: Since, encoding: &Arc<dyn Encoding>) -> Outcome<Joined> {
        if self.close.is_some() {
            return Outcome::Overloaded;
        }
        let outcome = self.shard.join_user(self.slot, namespace, since, encoding);
        self.after_join(outcome)
    }

    fn recover_all(
        &mut self,
        namespace: u16,
        since: Since,
        encoding: &Arc<dyn Encoding>,
        request: RequestId,
    ) -> Result<Outcome<Joined>, JoinError> {
        if self.close.is_some() {
            return Ok(Outcome::Overloaded);
        }
        let outcome = self.shard.recover_all(self.slot, namespace, since, encoding, request)?;
        Ok(self.after_join(outcome))
    }

    fn forget_identity(&mut self, namespace: u16) {
        self.shard.pending_identities.cancel(self.slot, namespace);
        self.shard.leave_user(self.slot, namespace);
        self.shard.forget_identity(self.slot, Some(namespace));
        self.shard.remove_mailboxes(self.slot, Some(namespace));
    }

    fn open_mailbox(&mut self, namespace: u16) -> Result<(), MailboxError> {
        self.shard.open_mailbox(self.slot, namespace)
    }

    fn acknowledge_messages(
        &mut self,
        namespace: u16,
        acknowledgement: Acknowledgement,
        request: Option<u64>,
    ) -> Result<Outcome<Removed>, MailboxError> {
        self.shard.acknowledge_messages(self.slot, namespace, acknowledgement, request)
    }

    fn connected(&mut self, namespace: u16) {
        self.shard.note_connected(self.slot, namespace);
    }

    fn disconnected(&mut self, namespace: u16) {
        self.shard.note_disconnected(self.slot, Some(namespace), "left_namespace");
    }

    fn may_track(&mut self) -> bool {
        self.shard.may_track(self.slot)
    }

    fn track(&mut self, namespace: u16, sealer: Sealer) {
        if let Some(session) = self.shard.session_mut(self.slot) {
            session.tracked.start(namespace, sealer);
        }
    }

    fn end_tracking(&mut self, namespace: u16) {
        self.shard.end_tracking(self.slot, namespace);
    }

    fn offset(&mut self, namespace: u16) -> Option<String> {
        let session = self.shard.session_mut(self.slot)?;
        let user = session.identities.get(namespace).map_or("", |identity| &*identity.user);
        session.tracked.offset(namespace, user)
    }

    fn needs_offset(&mut self, namespace: u16) -> bool {
        self.shard.session_mut(self.slot).is_some_and(|session| session.tracked.is_changed(namespace))
    }

    fn claim(&mut self, namespace: u16, state: &State) -> Outcome<bool> {
        self.shard.claim(self.slot, namespace, state)
    }

    fn remember(&mut self, namespace: u16, state: &State) {
        self.shard.remember(self.slot, namespace, &state.received);
    }

    fn set_page(&mut self, page: PageHash) {
        if let Some(session) = self.shard.session_mut(self.slot) {
            session.page = Some(page);
        }
    }

    fn open_page(&mut self, namespace: u16, page: PageDigest) -> Outcome<Vec<Subscription>> {
        self.shard.open_page(self.slot, namespace, page)
    }

    fn close_page(&mut self, namespace: u16, received: Vec<Subscription>) {
        self.shard.close_page(self.slot, namespace, received);
    }

    fn delivered(&self, namespace: u16, room: &str) -> Option<Position> {
        let hub = &self.shard.hub;
        hub.find(namespace, room).and_then(|room| hub.delivered(room))
    }

    fn sent(&self, namespace: u16, room: &str, encoding: &Arc<dyn Encoding>) -> Option<Position> {
        let room = self.shard.hub.find(namespace, room)?;
        let Membership { encoding, .. } = self.shard.membership(self.slot, room, encoding)?;
        self.shard.sent_up_to(Member { slot: self.slot, encoding }, room)
    }

    fn read_cable(&mut self, namespace: u16, query: CableQuery, number: u64) -> Outcome<Option<Box<str>>> {
        self.shard.read_cable(self.slot, namespace, query, number)
    }

    fn write_cable(&mut self, namespace: u16, write: CableWrite) {
        self.shard.write_cable(self.slot, namespace, write);
    }

    fn whisper(&mut self, namespace: u16, room: &str, text: String) {
        self.shard.whisper(self.slot, namespace, room, text);
    }

    fn enter_only_on_request(&mut self) {
        if let Some(session) = self.shard.session_mut(self.slot) {
            session.enters_on_request = true;
        }
    }

    fn enter(&mut self, namespace: u16, room: &str, info: Option<&str>) -> Result<(), PresenceError> {
        self.shard.enter_on_request(self.slot, namespace, room, info)
    }

    fn exit(&mut self, namespace: u16, room: &str) {
        self.shard.exit_on_request(self.slot, namespace, room);
    }

    fn call(&mut self, namespace: u16, call: Call, connection: Option<&str>, number: u64) -> Result<(), CallError> {
        self.shard.call(self.slot, namespace, call, connection, number)
    }

    fn notify_call(&mut self, namespace: u16, event: ConnectionEvent, connection: Option<&str>) {
        self.shard.notify_call(self.slot, namespace, event, connection);
    }

    fn transport(&self) -> TransportKind {
        self.session().map_or(TransportKind::WebSocket, Session::transport_kind)
    }

    fn subscribe(&mut self, request: Subscribe<'_>) -> Result<Outcome<Joined>, JoinError> {
        if self.close.is_some() {
            return Ok(Outcome::Overloaded);
        }
        let outcome = self.shard.subscribe(self.slot, request);
        if let Err(error) = &outcome {
            self.count_wrong_key(*error);
        }
        outcome.map(|outcome| self.after_join(outcome))
    }

    fn presence(
        &mut self,
        namespace: u16,
        room: &str,
        request: RequestId,
    ) -> Result<Outcome<Arc<RoomPresence>>, PresenceError> {
        self.shard.request_presence(self.slot, namespace, room, request)
    }

    fn reject_join(&mut self, namespace: u16, error: JoinError) -> JoinError {
        self.count_wrong_key(error);
        self.shard.reject_join(self.slot, namespace, error)
    }

    fn unsubscribe(&mut self, namespace: u16, room: &str, encoding: &Arc<dyn Encoding>) -> bool {
        let Some(room) = self.shard.hub.find(namespace, room) else { return false };
        let Some(membership) = self.shard.membership(self.slot, room, encoding) else { return false };
        self.shard.leave(self.slot, membership)
    }

    fn unsubscribe_all(&mut self, namespace: u16) {
        self.shard.leave_rooms(self.slot, Some(namespace));
    }

    fn send_text(&mut self, text: &str) {
        if self.close.is_none() {
            self.close = self.shard.send_text(self.slot, text);
        }
    }

    fn send_text_first(&mut self, text: &str) {
        // What was sent before in this turn does not wait for the client.
        self.flush();
        if self.close.is_none() {
            self.close = self.shard.send_text_first(self.slot, text);
        }
    }

    fn send(&mut self, frames: &[Frame]) {
        if self.close.is_none() {
            self.close = self.shard.send(self.slot, frames);
        }
    }

    fn ping(&mut self) {
        let mut bytes = Vec::with_capacity(2);
        websocket::encode(&mut bytes, Opcode::Ping, &[]);
        if self.close.is_none() {
            self.close = self.shard.send_control(self.slot, &bytes);
        }
    }

    fn flush(&mut self) {
        self.close = self.close.or(self.shard.write_collected(self.slot));
    }

    fn count_ignored_command(&mut self) {
        self.shard.metrics.ignored_commands.fetch_add(1, Relaxed);
    }

    fn count_message(&mut self) -> Result<(), CloseReason> {
        if let Some(reason) = self.close {
            return Err(reason);
        }
        let (now, limit) = (self.shard.now, self.shard.settings.message_rate());
        match self.shard.session_mut(self.slot) {
            Some(session) => match session.messages.allows(limit, now) {
                true => Ok(()),
                false => Err(CloseReason::PacketRate),
            },
            None => Err(CloseReason::ConnectionLost),
        }
    }

    fn upgrade_timed_out(&mut self) {
        let probe = self.shard.session_mut(self.slot).and_then(|session| session.probe.take());
        self.shard.metrics.upgrade_timeouts.fetch_add(1, Relaxed);
        tracing::info!("an upgrade to WebSocket timed out");
        if let Some(probe) = probe {
            self.shard.close_probe(probe, Some((Some(1008), "upgrade timeout")));
        }
    }
}
