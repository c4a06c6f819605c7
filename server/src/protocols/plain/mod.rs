//! The protocol `plain`: JSON objects over a WebSocket, for clients without Socket.IO.
//!
//! Its lines are defined in [`nodevent_protocol::plain`] and in `protocol/README.md` section 9.

mod access;
mod encoding;
mod endpoint;
mod identity;
mod page;

use super::Mount;
use super::page_rooms::PageSettings;
use crate::calls::{Call, CallResult};
use crate::close_reason::CloseReason;
use crate::encoding::Encoding;
use crate::history::{RequestId, Since};
use crate::http::Endpoint;
use crate::mailbox::{MailboxError, acknowledged_text, messages_text};
use crate::namespace::Namespaces;
use crate::outcome::Outcome;
use crate::pages::PageEvent;
use crate::presence::{PresenceError, PresenceResult};
use crate::protocol::{
    Core, IdentifyReply, JoinError, Joined, MailboxDelivery, Message, Millis, NEVER, Protocol, Subscribe,
    SubscribeReply,
};
use crate::token::TokenError;
use access::{Access, Admission};
use encoding::PlainEncoding;
use endpoint::PlainEndpoint;
use identity::Positions;
use nodevent_protocol::plain::{self, Command};
use nodevent_protocol::topic::Topic;
use page::{NamedPage, Page};
use std::sync::Arc;

/// The name of the protocol in the configuration.
const NAME: &str = "plain";
/// The shortest time that a client stays away after the server stops. Milliseconds.
const MIN_RECONNECT_DELAY: Millis = 500;
/// The range over which clients that leave together return. Milliseconds.
const RECONNECT_SPREAD: Millis = 1_000;

/// State that all connections share.
#[derive(Debug)]
struct Settings {
    namespaces: Arc<Namespaces>,
    encoding: Arc<dyn Encoding>,
    ping_interval: Millis,
    ping_timeout: Millis,
    /// From the opening of a connection to its first join. Milliseconds.
    connect_timeout: Millis,
    max_message_size: usize,
    /// By the namespace's id. `None`: its clients belong to no pages.
    pages: Vec<Option<Arc<PageSettings>>>,
}

/// One connection, in one namespace.
#[derive(Debug)]
struct Plain {
    settings: Arc<Settings>,
    namespace: u16,
    heartbeat: Heartbeat,
    /// When the connection must have joined a room, or have a user.
    join_by: Millis,
    access: Access,
    /// What the client has received, for the joins that follow a token that is being verified.
    positions: Option<Box<Positions>>,
    /// The page that the handshake has named, until the connection is open.
    named_page: Option<Box<NamedPage>>,
    /// Its page. `None`: it has named none, or the visitor is not known.
    page: Option<Box<Page>>,
}

/// The heartbeat: pings of the WebSocket layer, which clients answer by themselves.
#[derive(Debug, Clone, Copy)]
enum Heartbeat {
    /// The next ping is due.
    PingAt(Millis),
    /// A pong must arrive.
    PongBy(Millis),
}

/// Mounts the protocol for the namespaces that use it.
pub fn mount(mount: &Mount<'_>) -> Option<Arc<dyn Endpoint>> {
    let served: Vec<u16> = mount.namespaces_with(NAME).collect();
    let limits = &mount.config.limits;
    let encoding: Arc<dyn Encoding> = Arc::new(PlainEncoding);
    let pages = mount.namespaces.iter().map(|one| PageSettings::of_rooms(mount, one.id, &encoding)).collect();
    let settings = Arc::new(Settings {
        namespaces: Arc::clone(mount.namespaces),
        encoding,
        pages,
        ping_interval: limits.ping_interval.as_millis() as Millis,
        ping_timeout: limits.ping_timeout.as_millis() as Millis,
        connect_timeout: limits.connect_timeout.as_millis() as Millis,
        max_message_size: limits.max_message_size,
    });
    (!served.is_empty()).then(|| Arc::new(PlainEndpoint::new(settings, served)) as Arc<dyn Endpoint>)
}

// === impl Plain ===

impl Plain {
    fn new(settings: &Arc<Settings>, namespace: u16, named_page: Option<Box<NamedPage>>) -> Self {
        let settings = Arc::clone(settings);
        let (heartbeat, access) = (Heartbeat::PingAt(NEVER), Access::Granted);
        Self { settings, namespace, heartbeat, join_by: NEVER, access, positions: None, named_page, page: None }
    }

    fn on_line(&mut self, line: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        let max_room_name = self.settings.namespaces.get(self.namespace).limits.max_name_bytes;
        let command = match Command::parse(line, max_room_name) {
            Ok(command) => command,
            Err((error, id)) => {
                core.send_text(&plain::error(&error.to_string(), error.hint(), None, id));
                return Ok(());
            }
        };
        match self.access.admit(command, line.len(), self.settings.max_message_size) {
            Admission::Run(command) => self.run(command, core),
            Admission::Reject(error, id) => {
                core.send_text(&plain::error(error.as_str(), identity::HINT, None, id));
            }
            Admission::Held => {}
            Admission::TooMuch => return Err(CloseReason::TooManyPendingJoins),
        }
        Ok(())
    }

    fn run(&mut self, command: Command, core: &mut dyn Core) {
        match command {
            Command::Join { room, key, since, id } => {
                // The application has decided about the rooms of the page.
                let key = key.or_else(|| self.credential_of_page(&room));
                let joined = core.subscribe(Subscribe {
                    namespace: self.namespace,
                    room: &room,
                    credential: key.as_ref(),
                    kept: None,
                    since: Since::parse(since.as_deref()),
                    encoding: &self.settings.encoding,
                    request: id.into(),
                });
                self.on_join_outcome(Topic::Room(&room), id, joined, core);
            }
            Command::Leave { room, id } => {
                core.unsubscribe(self.namespace, &room, &self.settings.encoding);
                core.send_text(&plain::left(&room, id));
            }
            Command::Token { token, since_user, since, id } => {
                self.positions = Some(Box::new(Positions { of_user: since_user, of_rooms: since }));
                self.identify(Some(&token), id.into(), core);
            }
            Command::Broadcast { since, id } => {
                let since = Since::parse(since.as_deref());
                let joined = core.recover_all(self.namespace, since, &self.settings.encoding, id.into());
                self.on_join_outcome(Topic::All, id, joined, core);
            }
            Command::Presence { room, id } => match core.presence(self.namespace, &room, id.into()) {
                Ok(Outcome::Pending) => {}
                Ok(Outcome::Ready(list)) => core.send_text(&plain::presence(&list.text, id)),
                Ok(Outcome::Overloaded) => {
                    fail(&PresenceError::TooMany, presence_hint(PresenceError::TooMany), id, core)
                }
                Err(error) => fail(&error, presence_hint(error), id, core),
            },
            Command::Mailbox { id } => {
                if let Err(error) = core.open_mailbox(self.namespace) {
                    fail(&error, mailbox_hint(error), id, core);
                }
            }
            Command::Acknowledge { acknowledgement, id } => {
                match core.acknowledge_messages(self.namespace, acknowledgement, id) {
                    Ok(Outcome::Pending) => {}
                    Ok(Outcome::Ready(removed)) => {
                        core.send_text(&plain::removed(removed.count, removed.unread, id));
                    }
                    Ok(Outcome::Overloaded) => {
                        fail(&MailboxError::Busy, mailbox_hint(MailboxError::Busy), id, core)
                    }
                    Err(error) => fail(&error, mailbox_hint(error), id, core),
                }
            }
            Command::Call { method, path, body, id } => {
                let call = Call::with_json(&method, &path, body.as_deref());
                match core.call(self.namespace, call, self.connection_id(), id) {
                    // It needs no room.
                    Ok(()) => self.join_by = NEVER,
                    Err(error) => core.send_text(&plain::call_failed(error.as_str(), error.status(), id)),
                }
            }
            Command::Ping { payload } => core.send_text(&plain::pong(&payload)),
        }
    }

    fn on_join_outcome(
        &mut self,
        topic: Topic<'_>,
        id: Option<u64>,
        outcome: Result<Outcome<Joined>, JoinError>,
        core: &mut dyn Core,
    ) {
        match outcome {
            Ok(Outcome::Ready(joined)) => self.on_joined(topic, id, Ok(joined), core),
            Ok(Outcome::Pending | Outcome::Overloaded) => {}
            Err(error) => self.on_joined(topic, id, Err(error), core),
        }
    }

    fn on_joined(
        &mut self,
        topic: Topic<'_>,
        id: Option<u64>,
        result: Result<Joined, JoinError>,
        core: &mut dyn Core,
    ) {
        core.send_text(&match (result, topic) {
            (Ok(Joined { recovery }), _) => {
                if topic != Topic::All {
                    self.join_by = NEVER;
                }
                plain::joined(topic, id, recovery.map(|recovery| (recovery.position, recovery.recovered)))
            }
            (Err(error), Topic::Room(room)) => plain::error(error.as_str(), hint(error), Some(room), id),
            (Err(error), _) => plain::error(error.as_str(), hint(error), None, id),
        });
    }
}

/// The reply to a request that failed and concerns no room.
fn fail(error: &dyn std::error::Error, hint: &str, id: Option<u64>, core: &mut dyn Core) {
    core.send_text(&plain::error(&error.to_string(), hint, None, id));
}

/// The hint for a client that gets no list of members.
fn presence_hint(error: PresenceError) -> &'static str {
    match error {
        PresenceError::BadRoom => plain::CommandError::BadRoom.hint(),
        PresenceError::NotMember => "join the room first",
        PresenceError::NotEnabled => "write the room's prefix into `presence: { rooms: […] }` of the namespace",
        PresenceError::TooMany | PresenceError::Unavailable => "retry later",
    }
}

/// The hint for a client whose request about its mailbox was rejected.
fn mailbox_hint(error: MailboxError) -> &'static str {
    match error {
        MailboxError::NotConfigured => "write `mailbox: on` below the namespace in the configuration",
        MailboxError::NoUser => identity::HINT,
        MailboxError::BadIds => plain::CommandError::BadIds.hint(),
        MailboxError::TooManyIds => plain::CommandError::TooManyIds.hint(),
        MailboxError::Busy | MailboxError::Unavailable => "retry later",
    }
}

/// The hint for a client whose join was rejected.
fn hint(error: JoinError) -> &'static str {
    match error {
        JoinError::BadRoom => plain::CommandError::BadRoom.hint(),
        JoinError::Unauthorized(_) | JoinError::WrongKey(_) => "send a valid key for this room as `key`",
        JoinError::TooManyRooms => "leave rooms, or raise `limits: max_rooms_per_connection`",
        JoinError::Undecided => "retry later",
        JoinError::TooManyJoins => "retry later, or raise `limits: joins_per_second`",
    }
}

impl Protocol for Plain {
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.heartbeat = Heartbeat::PingAt(core.now() + self.settings.ping_interval);
        self.join_by = core.now() + self.settings.connect_timeout;
        core.send_text(&plain::hello(self.settings.ping_interval));
        self.identify_on_open(core);
        self.open_page(core);
        Ok(())
    }

    fn received(&mut self, message: Message<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        match message {
            Message::Text(text) => {
                for (index, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
                    if index > 0 {
                        core.count_message()?;
                    }
                    self.on_line(line, core)?;
                }
            }
            Message::Pong => {
                if let Heartbeat::PongBy(_) = self.heartbeat {
                    self.heartbeat = Heartbeat::PingAt(core.now() + self.settings.ping_interval);
                }
            }
            Message::Binary(_) | Message::Body(_) => return Err(CloseReason::Malformed),
        }
        Ok(())
    }

    fn arriving(&self) -> usize {
        self.access.held_bytes()
    }

    fn deadline(&self) -> Millis {
        let (Heartbeat::PingAt(at) | Heartbeat::PongBy(at)) = self.heartbeat;
        at.min(self.join_by).min(self.page_deadline())
    }

    fn on_deadline(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        if core.now() >= self.join_by {
            return Err(CloseReason::ConnectTimeout);
        }
        self.read_due_page(core);
        match self.heartbeat {
            Heartbeat::PongBy(by) if core.now() >= by => Err(CloseReason::PingTimeout),
            Heartbeat::PingAt(at) if core.now() >= at => {
                self.heartbeat = Heartbeat::PongBy(core.now() + self.settings.ping_timeout);
                core.ping();
                core.send_text(&plain::heartbeat(self.settings.ping_interval));
                Ok(())
            }
            Heartbeat::PongBy(_) | Heartbeat::PingAt(_) => Ok(()),
        }
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        if !self.on_page_joined(&reply, core) {
            self.on_joined(Topic::parse(reply.room), reply.request.number, reply.result, core);
        }
    }

    fn presence_listed(
        &mut self,
        _namespace: u16,
        request: RequestId,
        result: &PresenceResult,
        core: &mut dyn Core,
    ) {
        match result {
            Ok(list) => core.send_text(&plain::presence(&list.text, request.number)),
            Err(error) => fail(error, presence_hint(*error), request.number, core),
        }
    }

    fn page(&mut self, _namespace: u16, event: &PageEvent<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.on_page_event(event, core);
        Ok(())
    }

    fn called(&mut self, _namespace: u16, number: u64, result: &CallResult, core: &mut dyn Core) {
        core.send_text(&match result {
            Ok(called) => plain::called(&called.text(), number),
            Err(error) => plain::call_failed(error.as_str(), error.status(), number),
        });
    }

    fn mailbox(&mut self, _namespace: u16, delivery: &MailboxDelivery<'_>, core: &mut dyn Core) {
        match delivery {
            MailboxDelivery::Messages { messages, unread, is_first, is_last } => {
                core.send_text(&plain::mailbox(&messages_text(messages, *unread, *is_first, *is_last)));
            }
            MailboxDelivery::Acknowledged { acknowledgement, unread } => {
                core.send_text(&plain::acknowledged(&acknowledged_text(acknowledgement, *unread)));
            }
            MailboxDelivery::Reply { request, result: Ok(removed) } => {
                core.send_text(&plain::removed(removed.count, removed.unread, *request));
            }
            MailboxDelivery::Reply { request, result: Err(error) } => {
                fail(error, mailbox_hint(*error), *request, core);
            }
        }
    }

    fn identity_expired(&mut self, namespace: u16, core: &mut dyn Core) {
        let grace = self.settings.namespaces.get(namespace).grace().as_millis() as Millis;
        core.send_text(&plain::expired(grace));
    }

    fn identified(&mut self, reply: IdentifyReply, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.on_identified(reply.request, reply.result.map(Some), None, core);
        self.read_due_page(core);
        Ok(())
    }

    fn revoked(&mut self, _namespace: u16, room: Option<&str>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let hint = "request a new token for the room and join it again";
        core.send_text(&match room {
            Some(room) => plain::error("Membership has been revoked", hint, Some(room), None),
            None => plain::error(TokenError::Revoked.as_str(), identity::HINT, None, None),
        });
        Ok(())
    }

    fn membership_expired(&mut self, _namespace: u16, room: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        let hint = "request a new key for the room and join it again";
        core.send_text(&plain::error("Membership has expired", hint, Some(room), None));
        Ok(())
    }

    fn encoding_in(&self, namespace: u16) -> Option<&Arc<dyn Encoding>> {
        (namespace == self.namespace).then_some(&self.settings.encoding)
    }

    fn closing(&mut self, reason: CloseReason, core: &mut dyn Core) {
        self.close_page(core);
        if reason == CloseReason::Draining {
            let reconnect_after = MIN_RECONNECT_DELAY + rand::random::<Millis>() % RECONNECT_SPREAD;
            core.send_text(&plain::closing("server shutting down", reconnect_after));
        }
    }
}
