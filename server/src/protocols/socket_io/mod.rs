//! Socket.IO, protocols 5 and 4, above Engine.IO 4 and 3: namespaces, events, acknowledgements.
//!
//! The events of a namespace belong to its [`Dialect`], which does not know the version. Publications look the same in
//! both, so members of both share their frames.
//!
//! # Source
//! The Socket.IO protocol, revisions 5 and 4.

pub mod arguments;
mod connect_request;
pub mod dialect;
mod dialect_states;
pub mod dialects;
mod held;
mod operations;
mod pages;
mod pending_acks;
mod recovery;
mod requests_with_parts;

use super::Mount;
use super::engine_io::{self, EngineIoEndpoint, Upper, Version};
use super::page_rooms::PageSettings;
use crate::calls::CallResult;
use crate::close_reason::CloseReason;
use crate::connection_id::ConnectionId;
use crate::encoding::{Encoding, Frame};
use crate::history::{RequestId, Since};
use crate::http::{Endpoint, query};
use crate::identity_provider::Identify;
use crate::namespace::{Namespace, Namespaces};
use crate::outcome::Outcome;
use crate::pages::PageEvent;
use crate::presence::PresenceResult;
use crate::protocol::{Core, IdentifyReply, MailboxDelivery, Millis, NEVER, SubscribeReply};
use crate::token::{TokenError, TokenSource};
use connect_request::ConnectRequest;
use dialect::{Ack, Dialect, Event};
use dialect_states::DialectStates;
use held::{Held, TooMuch};
use nodevent_protocol::engine_io::session::Timing;
use nodevent_protocol::history::Position;
use nodevent_protocol::page::PageHash;
use nodevent_protocol::socket_io::session::{Input, ProtocolError, Revision, Session};
use nodevent_protocol::socket_io::{
    ascii, encode_connect, encode_connect_4, encode_connect_error, encode_connect_with_pid, encode_error_4,
    encode_event,
};
use nodevent_protocol::topic::Topic;
use nodevent_protocol::websocket::Violation;
use operations::{InNamespace, State};
use pages::Pages;
use pending_acks::PendingAcks;
use recovery::{Recovery, Restore};
use requests_with_parts::RequestsWithParts;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The namespace that the server connects clients of protocol 4 to.
const ROOT: &str = "/";
/// The part of a join that restores a connection. No client has requested it.
const RESTORED: RequestId = RequestId { number: None, part: u16::MAX - 1 };
/// The name of the protocol in the configuration.
const NAME: &str = "socket_io";
/// The size that the type of a packet, its namespace's comma, and the name of an event add to a publication, roughly. Bytes.
const EVENT_OVERHEAD: usize = 40;

/// State that all connections share.
#[derive(Debug)]
pub struct Settings {
    /// The namespaces of the process.
    pub namespaces: Arc<Namespaces>,
    /// By the namespace's id: its dialect and encoding. `None`: it is not served over Socket.IO.
    channels: Vec<Option<Channel>>,
    /// From the opening of a connection to its first namespace. Milliseconds.
    connect_timeout: Millis,
    /// From a packet to the last of its attachments. Milliseconds.
    attachments_timeout: Millis,
    /// The largest message a client may send, with its attachments. Bytes.
    max_message_size: usize,
}

/// A namespace that is served over Socket.IO.
#[derive(Debug, Clone)]
pub struct Channel {
    dialect: Arc<dyn Dialect>,
    encoding: Arc<dyn Encoding>,
    /// `None`: its clients belong to no pages.
    pages: Option<Arc<PageSettings>>,
}

/// The encoding for members of a namespace.
#[derive(Debug)]
struct SocketIoEncoding {
    namespace: Arc<str>,
    dialect: Arc<dyn Dialect>,
}

/// One connection.
#[derive(Debug)]
pub struct SocketIo {
    settings: Arc<Settings>,
    version: Version,
    session: Session,
    acks: PendingAcks,
    requests: RequestsWithParts,
    states: DialectStates,
    pages: Pages,
    /// Namespaces that wait for a decision about who the client is.
    held: Held,
    recovery: Recovery,
    /// When the connection must have entered a namespace.
    connect_by: Millis,
    /// When the last attachment of a packet must be here.
    attachments_by: Millis,
}

/// Mounts Socket.IO for the namespaces that use it.
pub fn mount(mount: &Mount<'_>) -> Option<Arc<dyn Endpoint>> {
    let mut channels = vec![None; mount.namespaces.iter().count()];
    for id in mount.namespaces_with(NAME) {
        channels[usize::from(id)] = Some(dialects::make(mount, mount.namespaces.get(id))?);
    }
    channels.iter().any(Option::is_some).then(|| endpoint(mount, channels))
}

/// Serves these dialects, by the namespace's id, at the configured path.
pub fn endpoint(mount: &Mount<'_>, dialects: Vec<Option<Arc<dyn Dialect>>>) -> Arc<dyn Endpoint> {
    let settings = Arc::new(Settings::new(mount, dialects));
    let upper = move |version| SocketIo::new(Arc::clone(&settings), version);
    Arc::new(EngineIoEndpoint::new(&mount.config.path, engine_io_settings(mount), upper))
}

/// Returns the encoding for members of a namespace in a dialect.
pub fn encoding(namespace: &str, dialect: Arc<dyn Dialect>) -> Arc<dyn Encoding> {
    Arc::new(SocketIoEncoding { namespace: namespace.into(), dialect })
}

/// The Engine.IO settings of a configuration.
pub fn engine_io_settings(mount: &Mount<'_>) -> engine_io::Settings {
    let limits = &mount.config.limits;
    engine_io::Settings {
        timing: Timing {
            ping_interval: millis(limits.ping_interval),
            ping_timeout: millis(limits.ping_timeout),
            upgrade_timeout: millis(limits.request_timeout),
        },
        max_message_size: limits.max_message_size,
        allows_version_3: mount.namespaces.iter().any(|namespace| namespace.allows_eio3),
    }
}

fn millis(duration: Duration) -> Millis {
    duration.as_millis() as Millis
}

// === impl Settings ===

impl Settings {
    fn new(mount: &Mount<'_>, dialects: Vec<Option<Arc<dyn Dialect>>>) -> Self {
        let namespaces = Arc::clone(mount.namespaces);
        let channel = |(id, dialect): (usize, Option<Arc<dyn Dialect>>)| {
            let dialect = dialect?;
            let encoding = encoding(&namespaces.get(id as u16).name, Arc::clone(&dialect));
            let pages = PageSettings::of_rooms(mount, id as u16, &encoding);
            Some(Channel { dialect, encoding, pages })
        };
        let channels = dialects.into_iter().enumerate().map(channel).collect();
        Self {
            namespaces,
            channels,
            connect_timeout: millis(mount.config.limits.connect_timeout),
            attachments_timeout: millis(mount.config.limits.request_timeout),
            max_message_size: mount.config.limits.max_message_size,
        }
    }

    fn channel(&self, namespace: u16) -> Option<&Channel> {
        self.channels.get(usize::from(namespace))?.as_ref()
    }

    /// The id of a namespace that is served over Socket.IO.
    fn resolve(&self, name: &str) -> Option<u16> {
        self.namespaces.id(name).filter(|id| self.channel(*id).is_some())
    }
}

// === impl SocketIoEncoding ===

impl SocketIoEncoding {
    fn event(&self, args: &str) -> Frame {
        Frame::text(&engine_io::message(args.len() + self.namespace.len() + 4, |packet| {
            encode_event(packet, &self.namespace, None, args);
        }))
    }
}

impl Encoding for SocketIoEncoding {
    fn publication(&self, text: &str, _position: Option<Position>) -> Frame {
        let capacity = text.len() + self.namespace.len() + EVENT_OVERHEAD;
        Frame::text(&engine_io::message(capacity, |packet| {
            encode_event(packet, &self.namespace, None, "");
            self.dialect.write_publication(packet, text);
        }))
    }

    fn gap(&self, topic: Topic<'_>, position: Position) -> Frame {
        self.event(&self.dialect.gap(topic, position))
    }

    fn with_offset(&self, frame: &Frame, offset: &str) -> Option<Frame> {
        let packet = std::str::from_utf8(frame.payload()).ok()?;
        Some(Frame::text(&recovery::with_offset(packet, offset)?))
    }

    fn skipped(&self, topic: Topic<'_>, position: Position) -> Option<Frame> {
        self.dialect.skipped(topic, position).map(|args| self.event(&args))
    }
}

// === impl SocketIo ===

impl SocketIo {
    fn new(settings: Arc<Settings>, version: Version) -> Self {
        let revision = match version {
            Version::V3 { .. } => Revision::V4,
            Version::V4 => Revision::V5,
        };
        Self {
            settings,
            version,
            session: Session::new(revision),
            acks: PendingAcks::default(),
            requests: RequestsWithParts::default(),
            states: DialectStates::default(),
            pages: Pages::default(),
            held: Held::default(),
            recovery: Recovery::default(),
            connect_by: NEVER,
            attachments_by: NEVER,
        }
    }

    /// Measures the time of a packet until its last attachment.
    fn await_attachments(&mut self, now: Millis) {
        self.attachments_by = match self.session.awaits_attachments() {
            true => self.attachments_by.min(now + self.settings.attachments_timeout),
            false => NEVER,
        };
    }

    fn on_input(
        &mut self,
        input: Result<Option<Input>, ProtocolError>,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        let input = match input {
            Ok(Some(input)) => match self.held.hold(input, self.settings.max_message_size) {
                Ok(input) => Ok(input),
                Err(TooMuch) => return Err(CloseReason::TooManyPendingJoins),
            },
            other => other,
        };
        match input {
            Ok(None) => {}
            Ok(Some(Input::Connect { namespace, query, auth })) => {
                self.on_connect(namespace, query, auth, core)?;
            }
            Ok(Some(Input::ConnectAgain { namespace })) => {
                let name = &self.settings.namespaces.get(namespace).name;
                send(core, |packet| encode_connect_4(packet, name));
            }
            Ok(Some(Input::ConnectToUnknown { namespace })) => {
                self.reject_connect(&namespace, "Invalid namespace", core);
            }
            Ok(Some(Input::EventToUnconnected { namespace })) => {
                // The server has confirmed the connection to `/`, even if it does not serve it.
                if namespace == ROOT && self.served_root().is_none() {
                    self.reject_connect(ROOT, "Invalid namespace", core);
                }
            }
            Ok(Some(Input::Event { namespace, id, args, attachments })) => {
                let event = Event { args, ack_id: id, attachments };
                self.in_namespace(namespace, core, |dialect, operations| dialect.event(operations, event));
            }
            Ok(Some(Input::Ack { namespace, id, args, attachments })) => {
                // An acknowledgement that was not requested is ignored, as in the reference implementation.
                if self.acks.end(namespace, id) {
                    let ack = Ack { id, args, attachments };
                    self.in_namespace(namespace, core, |dialect, operations| {
                        dialect.acknowledged(operations, ack);
                    });
                }
            }
            Ok(Some(Input::Disconnect { namespace })) => {
                self.acks.forget(namespace);
                self.requests.forget(namespace);
                self.states.take(namespace);
                self.pages.remove(namespace, core);
                if self.recovery.remove(namespace) {
                    core.end_tracking(namespace);
                }
                core.unsubscribe_all(namespace);
                core.forget_identity(namespace);
                core.disconnected(namespace);
            }
            Err(error) => {
                tracing::debug!(%error, "closing a connection: Socket.IO protocol error");
                return Err(CloseReason::Malformed);
            }
        }
        Ok(())
    }

    /// The id of `/`, if clients of protocol 4 may enter it.
    fn served_root(&self) -> Option<u16> {
        let root = self.settings.resolve(ROOT)?;
        self.settings.namespaces.get(root).allows_eio3.then_some(root)
    }

    /// Connects a client of protocol 4 to `/`, as it expects. If `/` is not served, the client can still enter others.
    fn connect_to_root(&mut self, core: &mut dyn Core) {
        match self.served_root() {
            Some(root) => {
                // Such a client presents no state, so there is no reason to close.
                let _ = self.on_connect(root, None, None, core);
            }
            None => send(core, |packet| encode_connect_4(packet, ROOT)),
        }
    }

    fn reject_connect(&self, namespace: &str, message: &str, core: &mut dyn Core) {
        send(core, |packet| match self.version {
            Version::V3 { .. } => encode_error_4(packet, namespace, message),
            Version::V4 => encode_connect_error(packet, namespace, message),
        });
    }

    fn on_connect(
        &mut self,
        namespace: u16,
        query: Option<String>,
        auth: Option<String>,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        let settings = Arc::clone(&self.settings);
        let Some(channel) = settings.channel(namespace) else { return Ok(()) };
        let config = settings.namespaces.get(namespace);
        let name = &config.name;
        if self.version != Version::V4 && !config.allows_eio3 {
            self.reject_connect(name, "Unsupported protocol version", core);
            return Ok(());
        }
        let request = ConnectRequest { auth, query, handshake: core.take_query(namespace) };
        if let Err(message) = channel.dialect.connect(&request) {
            self.reject_connect(name, &message, core);
            return Ok(());
        }
        let of_request = core.take_request_token(namespace);
        let of_packet =
            channel.dialect.token(&request).or_else(|| token_in_query(config, request.query.as_deref()));
        let token = of_packet.or(of_request.map(String::from));
        let listed = config.provider.get().map_or(&[][..], |provider| &provider.listed().query);
        let query: Vec<(Box<str>, Box<str>)> =
            listed.iter().filter_map(|name| Some((name.clone(), request.parameter(name)?.into()))).collect();
        let identify =
            Identify { namespace, token: token.as_deref(), query: &query, request: RequestId::default() };
        match core.identify(identify) {
            Ok(Outcome::Ready(_)) => return self.enter(namespace, request, core),
            Ok(Outcome::Pending) => {
                // What follows is accepted, and held.
                self.session.admitted(namespace);
                self.held.start(namespace, request);
            }
            Ok(Outcome::Overloaded) => {
                let message = channel.dialect.rejected(TokenError::ApplicationUnavailable);
                self.reject_connect(name, &message, core);
            }
            Err(error) => self.reject_connect(name, &channel.dialect.rejected(error), core),
        }
        Ok(())
    }

    /// Completes the connect packet of a client that may enter the namespace.
    fn admit(&mut self, namespace: u16, request: &ConnectRequest, core: &mut dyn Core) {
        if let Some(page) = request.auth().and_then(page_of) {
            core.set_page(page);
        }
        if self.start_offsets(namespace, request, core) {
            return;
        }
        self.session.admitted(namespace);
        core.connected(namespace);
        self.connect_by = NEVER;
        self.send_connect(namespace, None, core);
        self.admitted(namespace, request, core);
    }

    /// Does what follows the connect packet.
    fn admitted(&mut self, namespace: u16, request: &ConnectRequest, core: &mut dyn Core) {
        let settings = Arc::clone(&self.settings);
        self.in_namespace(namespace, core, |dialect, operations| dialect.connected(operations, request));
        // Whatever the dialect does, the connection receives what is published to its user.
        if let Some(channel) = settings.channel(namespace).filter(|_| core.identity(namespace).is_some()) {
            let _ = core.join_user(namespace, Since::FirstJoin, &channel.encoding);
        }
    }

    /// Confirms that a client is in a namespace.
    fn send_connect(&self, namespace: u16, pid: Option<&str>, core: &mut dyn Core) {
        let name = &self.settings.namespaces.get(namespace).name;
        if self.version != Version::V4 {
            // Its id is that of the Engine.IO session.
            return send(core, |packet| encode_connect_4(packet, name));
        }
        let sid = ConnectionId::new(0, 0).to_string();
        send(core, |packet| match pid {
            Some(pid) => encode_connect_with_pid(packet, name, &sid[8..], pid),
            None => encode_connect(packet, name, &sid[8..]),
        });
    }

    /// Runs the dialect of a namespace.
    fn in_namespace(
        &mut self,
        namespace: u16,
        core: &mut dyn Core,
        run: impl FnOnce(&dyn Dialect, &mut InNamespace<'_>),
    ) {
        self.with_operations(namespace, None, core, run);
    }

    fn with_operations(
        &mut self,
        namespace: u16,
        restore: Option<&mut Restore>,
        core: &mut dyn Core,
        run: impl FnOnce(&dyn Dialect, &mut InNamespace<'_>),
    ) {
        let settings = Arc::clone(&self.settings);
        let Some(channel) = settings.channel(namespace) else { return };
        let namespace = settings.namespaces.get(namespace);
        let mut operations = InNamespace::new(
            namespace,
            self.version,
            channel,
            State {
                acks: &mut self.acks,
                requests: &mut self.requests,
                states: &mut self.states,
                pages: &mut self.pages,
            },
            core,
        )
        .restoring(restore);
        run(&*channel.dialect, &mut operations);
    }
}

impl Upper for SocketIo {
    fn opened(&mut self, core: &mut dyn Core) {
        self.connect_by = core.now() + self.settings.connect_timeout;
        if self.version != Version::V4 {
            self.connect_to_root(core);
        }
    }

    fn ascii(packet: &str) -> Option<String> {
        ascii::escape(packet)
    }

    fn text(&mut self, text: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        let settings = Arc::clone(&self.settings);
        let input = self.session.text(text, |name| settings.resolve(name));
        self.await_attachments(core.now());
        self.on_input(input, core)?;
        self.read_due_pages(core);
        self.send_due_offsets(core);
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8], core: &mut dyn Core) -> Result<(), CloseReason> {
        let settings = Arc::clone(&self.settings);
        // A message and its attachments together are one message.
        if self.session.buffered_bytes() + bytes.len() > settings.max_message_size {
            return Err(CloseReason::Violation(Violation::TooBig { limit: settings.max_message_size }));
        }
        let input = self.session.binary(bytes, |name| settings.resolve(name));
        self.await_attachments(core.now());
        self.on_input(input, core)?;
        self.send_due_offsets(core);
        Ok(())
    }

    fn refresh_deadline(&self) -> Millis {
        self.recovery.refresh_at().min(self.pages.read_at())
    }

    fn on_refresh(&mut self, core: &mut dyn Core) {
        self.read_due_pages(core);
        if core.now() >= self.recovery.refresh_at() {
            self.refresh_offsets(core);
        }
    }

    fn connect_deadline(&self) -> Millis {
        self.connect_by
    }

    fn message_deadline(&self) -> Millis {
        self.attachments_by
    }

    fn arriving(&self) -> usize {
        self.session.buffered_bytes() + self.held.bytes() + self.recovery.bytes()
    }

    fn encoding_in(&self, namespace: u16) -> Option<&Arc<dyn Encoding>> {
        let is_in = self.session.connected().contains(&namespace) && !self.held.contains(namespace);
        self.settings.channel(namespace).filter(|_| is_in).map(|channel| &channel.encoding)
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        if self.on_page_joined(&reply, core) {
            return;
        }
        let SubscribeReply { namespace, room, request, result } = reply;
        if self.on_restored(namespace, room, request == RESTORED, result) {
            self.in_namespace(namespace, core, |dialect, operations| match request {
                RequestId::UNREQUESTED => dialect.joined_by_token(operations, Topic::parse(room), result),
                request => dialect.joined(operations, request, result),
            });
        }
        self.end_restore(namespace, core);
        self.read_due_pages(core);
        self.send_due_offsets(core);
    }

    fn claimed(&mut self, namespace: u16, is_first: Option<bool>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let Some(held) = self.held.end(namespace) else { return Ok(()) };
        // The client comes back, and presents its state again.
        let is_first = is_first.ok_or(CloseReason::TooManyPendingJoins)?;
        self.enter_claimed(namespace, &held.request, is_first, core);
        held.inputs.into_iter().try_for_each(|input| self.on_input(Ok(Some(input)), core))?;
        self.read_due_pages(core);
        self.send_due_offsets(core);
        Ok(())
    }

    fn page(&mut self, namespace: u16, event: &PageEvent<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.on_page_event(namespace, event, core);
        Ok(())
    }

    fn identified(&mut self, reply: IdentifyReply, core: &mut dyn Core) -> Result<(), CloseReason> {
        let IdentifyReply { namespace, request, result, reason } = reply;
        let Some(held) = self.held.end(namespace) else {
            self.in_namespace(namespace, core, |dialect, operations| {
                dialect.identified(operations, request, result)
            });
            return Ok(());
        };
        match result {
            Ok(_) => {
                self.enter(namespace, held.request, core)?;
                held.inputs.into_iter().try_for_each(|input| self.on_input(Ok(Some(input)), core))?;
                self.read_due_pages(core);
                self.send_due_offsets(core);
                Ok(())
            }
            Err(error) => {
                self.session.remove(namespace);
                let settings = Arc::clone(&self.settings);
                let of_dialect = || settings.channel(namespace).map(|channel| channel.dialect.rejected(error));
                let message = reason.as_deref().map(Cow::Borrowed).or_else(of_dialect).unwrap_or_default();
                self.reject_connect(&settings.namespaces.get(namespace).name, &message, core);
                Ok(())
            }
        }
    }

    fn revoked(&mut self, namespace: u16, room: Option<&str>, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.in_namespace(namespace, core, |dialect, operations| dialect.revoked(operations, room));
        Ok(())
    }

    fn membership_expired(&mut self, namespace: u16, room: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.in_namespace(namespace, core, |dialect, operations| dialect.membership_expired(operations, room));
        Ok(())
    }

    fn presence_listed(
        &mut self,
        namespace: u16,
        request: RequestId,
        result: &PresenceResult,
        core: &mut dyn Core,
    ) {
        self.in_namespace(namespace, core, |dialect, operations| {
            dialect.presence_listed(operations, request, result);
        });
    }

    fn called(&mut self, namespace: u16, number: u64, result: &CallResult, core: &mut dyn Core) {
        self.in_namespace(namespace, core, |dialect, operations| dialect.called(operations, number, result));
    }

    fn identity_expired(&mut self, namespace: u16, core: &mut dyn Core) {
        self.in_namespace(namespace, core, |dialect, operations| dialect.identity_expired(operations));
    }

    fn mailbox(&mut self, namespace: u16, delivery: &MailboxDelivery<'_>, core: &mut dyn Core) {
        self.in_namespace(namespace, core, |dialect, operations| dialect.mailbox(operations, delivery));
    }

    fn closing(&mut self, reason: CloseReason, core: &mut dyn Core) {
        self.pages.close(core);
        if reason == CloseReason::Draining {
            let mut connected = self.session.connected().to_vec();
            connected.retain(|namespace| !self.held.contains(*namespace));
            for namespace in connected {
                self.in_namespace(namespace, core, |dialect, operations| dialect.draining(operations));
            }
        }
    }
}

/// The token in the query of a connect packet, where clients of protocol 4 send what belongs to one namespace.
fn token_in_query(namespace: &Namespace, query: Option<&str>) -> Option<String> {
    let sources = &namespace.tokens.as_ref()?.settings().sources;
    sources.iter().find_map(|source| match source {
        TokenSource::Query(name) => query::decoded(query, name).filter(|token| !token.is_empty()),
        _ => None,
    })
}

/// The page that a client names in the auth payload of its connect packet.
fn page_of(auth: &str) -> Option<PageHash> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Auth<'a> {
        #[serde(borrow)]
        page_id: Cow<'a, str>,
    }
    serde_json::from_str(auth).ok().and_then(|Auth { page_id }| PageHash::of(&page_id))
}

fn send(core: &mut dyn Core, write: impl FnOnce(&mut String)) {
    engine_io::send_message(core, 64, write);
}
