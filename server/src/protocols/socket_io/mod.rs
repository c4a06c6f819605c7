//! Socket.IO, protocol 5, above Engine.IO: namespaces, events, acknowledgements.
//!
//! The events of a namespace belong to its [`Dialect`].
//!
//! # Source
//! The Socket.IO protocol, revision 5.

pub mod arguments;
pub mod dialect;
pub mod dialects;
mod operations;
mod pending_acks;
mod requests_with_parts;

use super::Mount;
use super::engine_io::{self, EngineIoEndpoint, Upper};
use crate::close_reason::CloseReason;
use crate::connection_id::ConnectionId;
use crate::encoding::{Encoding, Frame};
use crate::history::RequestId;
use crate::http::Endpoint;
use crate::namespace::Namespaces;
use crate::presence::PresenceResult;
use crate::protocol::{Core, Millis, NEVER, SubscribeReply};
use dialect::{Ack, Dialect, Event};
use nodevent_protocol::engine_io::session::Timing;
use nodevent_protocol::history::Position;
use nodevent_protocol::page::PageHash;
use nodevent_protocol::socket_io::session::{Input, ProtocolError, Session};
use nodevent_protocol::socket_io::{encode_connect, encode_connect_error, encode_event};
use nodevent_protocol::websocket::Violation;
use operations::InNamespace;
use pending_acks::PendingAcks;
use requests_with_parts::RequestsWithParts;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The name of the protocol in the configuration.
const NAME: &str = "socket_io";

/// State that all connections share.
#[derive(Debug)]
pub struct Settings {
    /// The namespaces of the process.
    pub namespaces: Arc<Namespaces>,
    /// By the namespace's id: its dialect and encoding. `None`: it is not served over Socket.IO.
    channels: Vec<Option<Channel>>,
    /// From the opening of a connection to its first namespace. Milliseconds.
    connect_timeout: Millis,
    /// The largest message a client may send, with its attachments. Bytes.
    max_message_size: usize,
}

/// A namespace that is served over Socket.IO.
#[derive(Debug, Clone)]
pub struct Channel {
    dialect: Arc<dyn Dialect>,
    encoding: Arc<dyn Encoding>,
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
    session: Session,
    acks: PendingAcks,
    requests: RequestsWithParts,
    /// When the connection must have entered a namespace.
    connect_by: Millis,
}

/// Mounts Socket.IO for the namespaces that use it.
pub fn mount(mount: &Mount<'_>) -> Option<Arc<dyn Endpoint>> {
    let mut channels = vec![None; mount.namespaces.iter().count()];
    for id in mount.namespaces_with(NAME) {
        let named = &mount.namespaces.get(id).dialect;
        let (_, dialect) = dialects::REGISTRY.iter().find(|(name, _)| name == named)?;
        channels[usize::from(id)] = Some(dialect());
    }
    channels.iter().any(Option::is_some).then(|| endpoint(mount, channels))
}

/// Serves these dialects, by the namespace's id, at the configured path.
pub fn endpoint(mount: &Mount<'_>, dialects: Vec<Option<Arc<dyn Dialect>>>) -> Arc<dyn Endpoint> {
    let settings = Arc::new(Settings::new(mount, dialects));
    let upper = move || SocketIo::new(Arc::clone(&settings));
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
            Some(Channel { dialect, encoding })
        };
        let channels = dialects.into_iter().enumerate().map(channel).collect();
        Self {
            namespaces,
            channels,
            connect_timeout: millis(mount.config.limits.connect_timeout),
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
        self.event(&self.dialect.publication(text))
    }

    fn gap(&self, room: &str, position: Position) -> Frame {
        self.event(&self.dialect.gap(room, position))
    }
}

// === impl SocketIo ===

impl SocketIo {
    fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            session: Session::default(),
            acks: PendingAcks::default(),
            requests: RequestsWithParts::default(),
            connect_by: NEVER,
        }
    }

    fn on_input(
        &mut self,
        input: Result<Option<Input>, ProtocolError>,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        match input {
            Ok(None) => {}
            Ok(Some(Input::Connect { namespace, auth })) => self.on_connect(namespace, auth.as_deref(), core),
            Ok(Some(Input::ConnectToUnknown { namespace })) => {
                send(core, |packet| encode_connect_error(packet, &namespace, "Invalid namespace"));
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
                core.unsubscribe_all(namespace);
                core.forget_identity(namespace);
            }
            Err(error) => {
                tracing::debug!(%error, "closing a connection: Socket.IO protocol error");
                return Err(CloseReason::Malformed);
            }
        }
        Ok(())
    }

    fn on_connect(&mut self, namespace: u16, auth: Option<&str>, core: &mut dyn Core) {
        let settings = Arc::clone(&self.settings);
        let Some(channel) = settings.channel(namespace) else { return };
        let name = &settings.namespaces.get(namespace).name;
        if let Err(message) = channel.dialect.connect(auth) {
            return send(core, |packet| encode_connect_error(packet, name, &message));
        }
        let of_request = core.take_request_token(namespace);
        let token = channel.dialect.token(auth).or(of_request.map(String::from));
        if let Err(error) = core.identify(namespace, token.as_deref()) {
            return send(core, |packet| encode_connect_error(packet, name, error.as_str()));
        }
        if let Some(page) = auth.and_then(page_of) {
            core.set_page(page);
        }
        self.session.admitted(namespace);
        self.connect_by = NEVER;
        let sid = ConnectionId::new(0, 0).to_string();
        send(core, |packet| encode_connect(packet, name, &sid[8..]));
        self.in_namespace(namespace, core, |dialect, operations| dialect.connected(operations, auth));
    }

    /// Runs the dialect of a namespace.
    fn in_namespace(
        &mut self,
        namespace: u16,
        core: &mut dyn Core,
        run: impl FnOnce(&dyn Dialect, &mut InNamespace<'_>),
    ) {
        let settings = Arc::clone(&self.settings);
        let Some(channel) = settings.channel(namespace) else { return };
        let namespace = settings.namespaces.get(namespace);
        let mut operations =
            InNamespace::new(namespace, &channel.encoding, &mut self.acks, &mut self.requests, core);
        run(&*channel.dialect, &mut operations);
    }
}

impl Upper for SocketIo {
    fn opened(&mut self, now: Millis) {
        self.connect_by = now + self.settings.connect_timeout;
    }

    fn text(&mut self, text: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        let settings = Arc::clone(&self.settings);
        let input = self.session.text(text, |name| settings.resolve(name));
        self.on_input(input, core)
    }

    fn binary(&mut self, bytes: &[u8], core: &mut dyn Core) -> Result<(), CloseReason> {
        let settings = Arc::clone(&self.settings);
        // A message and its attachments together are one message.
        if self.session.buffered_bytes() + bytes.len() > settings.max_message_size {
            return Err(CloseReason::Violation(Violation::TooBig { limit: settings.max_message_size }));
        }
        let input = self.session.binary(bytes, |name| settings.resolve(name));
        self.on_input(input, core)
    }

    fn connect_deadline(&self) -> Millis {
        self.connect_by
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        let SubscribeReply { namespace, room, request, result } = reply;
        self.in_namespace(namespace, core, |dialect, operations| match request {
            RequestId::UNREQUESTED => dialect.joined_by_token(operations, room, result),
            request => dialect.joined(operations, request, result),
        });
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

    fn identity_expired(&mut self, namespace: u16, core: &mut dyn Core) {
        self.in_namespace(namespace, core, |dialect, operations| dialect.identity_expired(operations));
    }

    fn closing(&mut self, reason: CloseReason, core: &mut dyn Core) {
        if reason == CloseReason::Draining {
            for namespace in self.session.connected().to_vec() {
                self.in_namespace(namespace, core, |dialect, operations| dialect.draining(operations));
            }
        }
    }
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
